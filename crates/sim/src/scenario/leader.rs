//! The region's leader dies again and again: no alarm waits for an election, and what is stored waits for little else.

use huxiao_core::Stage;

use crate::check::{Check, Failure};
use crate::faced::Faced;
use crate::node::Node;
use crate::profile::TOWN;
use crate::province::{Nature, Province};
use crate::scenario::{Report, event_of, hold, latencies, press_every, quantile, spread};
use crate::world::{Action, MINUTE, SECOND, World};

const EVERY: u64 = SECOND / 2;
const UNTIL: u64 = 12 * MINUTE;
/// A leader is lost, another is there within 0.9 s, and a proposal that came to nothing is made again after two.
const STORED_WITHIN: u64 = 4 * SECOND;

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 3), Nature::default());
    world.judges = false;
    let well = press_every(&mut world, MINUTE, 2 * MINUTE, EVERY);
    let lost = press_every(&mut world, 2 * MINUTE, UNTIL, EVERY);
    let mut crash = 2 * MINUTE + SECOND / 4;
    while crash < UNTIL {
        world.run_until(crash)?;
        if let Some(leader) = world.region.leader {
            world.at(crash, Action::Crash(Node::Broker(leader)));
        }
        crash += 30 * SECOND + world.rng.below(SECOND);
    }
    world.run_until(UNTIL + MINUTE)?;
    let (before, during) = (latencies(&world, &well)?, latencies(&world, &lost)?);
    let mut stored = Vec::new();
    for press in &lost {
        let id = event_of(&world, *press)?;
        let raised = world.ledger.raised.get(&id).map_or(0, |raised| raised.at);
        let told = world.ledger.told.get(&(id, Stage::Stored)).copied();
        let told = told.ok_or_else(|| Failure::of(Check::Stored, id, format!("{id} was never stored")))?;
        stored.push(told.saturating_sub(raised));
    }
    stored.sort_unstable();
    let mut report = Report::default();
    report.say("leaders lost", world.ledger.met.times(Faced::LeaderLost));
    report.say("press to screen with a leader", spread(&before));
    report.say("press to screen while leaders die", spread(&during));
    report.say("press to stored while leaders die", spread(&stored));
    // With one of its two homes dead, an alarm goes over the other at the same instant.
    let most = 2 * quantile(&before, 1_000) + SECOND / 4;
    let slowest = quantile(&during, 1_000);
    hold(Check::InTime, slowest <= most, || format!("{slowest} µs to the screen, {most} µs are allowed"))?;
    let slowest = quantile(&stored, 1_000);
    hold(Check::Stored, slowest <= STORED_WITHIN, || format!("{slowest} µs until it was stored"))?;
    Ok(report)
}
