//! No broker node hears another: the record takes nothing, and alarms reach their screens all the same.

use huxiao_core::Stage;

use crate::check::{Check, Failure};
use crate::fault::Fault;
use crate::profile::TOWN;
use crate::province::{Nature, Province};
use crate::scenario::{Report, event_of, hold, latencies, press_every, quantile, spread};
use crate::world::{Action, MINUTE, SECOND, World};

const FROM: u64 = 2 * MINUTE;
/// Once the nodes hear each other: an election, the next look at what waits, and the way there.
const STORED_AFTER_HEAL: u64 = 5 * SECOND;

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 3), Nature::default());
    world.judges = false;
    let well = press_every(&mut world, MINUTE, FROM, 5 * SECOND);
    let until = FROM + 10 * MINUTE;
    world.at(FROM, Action::Begin(Fault::Split));
    world.at(until, Action::End(Fault::Split));
    let lost = press_every(&mut world, FROM + 2 * SECOND, until - 10 * SECOND, 5 * SECOND);
    world.run_until(until)?;
    let (before, during) = (latencies(&world, &well)?, latencies(&world, &lost)?);
    let mut report = Report::default();
    report.say("press to screen with a quorum", spread(&before));
    report.say("quorum lost: press to screen", spread(&during));
    let most = 2 * quantile(&before, 1_000).max(quantile(&before, 990)) + SECOND;
    let slowest = quantile(&during, 990);
    hold(Check::InTime, slowest <= most, || format!("p99 is {slowest} µs without a quorum, {most} µs are allowed"))?;
    for press in &lost {
        let id = event_of(&world, *press)?;
        hold(Check::Durable, !world.region.oracle.admitted.contains(&id), || {
            format!("{id} was stored without a quorum")
        })?;
    }
    world.run_until(until + STORED_AFTER_HEAL)?;
    for press in &lost {
        let id = event_of(&world, *press)?;
        let stored = world.ledger.told.contains_key(&(id, Stage::Stored));
        hold(Check::Stored, stored, || format!("{id} is not stored {STORED_AFTER_HEAL} µs after the heal"))?;
    }
    report.say(
        "alarms of that time, all stored this soon after the heal",
        format!("{} in {} s", lost.len(), STORED_AFTER_HEAL / SECOND),
    );
    Ok(report)
}
