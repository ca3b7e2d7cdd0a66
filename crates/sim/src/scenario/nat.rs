//! NATs of carriers that drop a mapping after a while, whatever is sent.

use crate::check::{Check, Failure};
use crate::fault::Fault;
use crate::line::Nat;
use crate::profile::TOWN;
use crate::province::{Nature, Province};
use crate::scenario::{Report, hold, latencies, press_every, quantile, spread};
use crate::world::{Action, MINUTE, SECOND, World};

fn behind(seed: u64, nat: Option<Nat>) -> Result<Vec<u64>, Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 2), Nature::default());
    if let Some(nat) = nat {
        world.at(0, Action::Begin(Fault::Nat(0, nat)));
    }
    let presses = press_every(&mut world, 5 * MINUTE, 65 * MINUTE, 7 * SECOND);
    world.run_until(70 * MINUTE)?;
    latencies(&world, &presses)
}

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    let without = behind(seed, None)?;
    report.say("no NAT", spread(&without));
    let forgets = behind(seed, Some(Nat { every: MINUTE, black_hole: false }))?;
    report.say("forgets the way back, the next packet out makes a new one", spread(&forgets));
    let swallows = behind(seed, Some(Nat { every: MINUTE, black_hole: true }))?;
    report.say("forgets, and the old port is dead both ways", spread(&swallows));
    let worst = quantile(&forgets, 1_000);
    hold(Check::InTime, worst < 2 * SECOND, || format!("{worst} µs behind a NAT that forgets the way back"))?;
    let worst = quantile(&swallows, 1_000);
    hold(Check::InTime, worst < 5 * SECOND, || format!("{worst} µs behind a NAT whose old ports are dead"))?;
    Ok(report)
}
