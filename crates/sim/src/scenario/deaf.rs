//! Lines that carry one way only, nothing at all, or everything but receipts.

use huxiao_core::Cost;

use crate::check::{Check, Failure};
use crate::fault::Fault;
use crate::line::Way;
use crate::profile::TOWN;
use crate::province::{Nature, Province, Uplink};
use crate::scenario::{Report, both_ways, hold, latencies, latency, press_every, quantile, rates, spread};
use crate::world::{Action, MINUTE, SECOND, World};

const FROM: u64 = 2 * MINUTE;

/// Copies are budgeted: 8,000 bytes a second for each line, and a burst.
const BUDGET: u64 = huxiao_core::limits::COPY_BYTES_PER_SECOND as u64;

pub(super) fn one_way(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 2), Nature::default());
    world.judges = false;
    let until = FROM + 60 * MINUTE;
    world.at(FROM, Action::Begin(Fault::Cut(0, Way::Down)));
    world.at(until, Action::End(Fault::Cut(0, Way::Down)));
    let presses = press_every(&mut world, FROM + MINUTE, until, MINUTE);
    world.run_until(FROM)?;
    let before = both_ways(&world);
    world.run_until(until)?;
    let after = both_ways(&world);
    let mut report = Report::default();
    report.say("press to screen, one a minute", spread(&latencies(&world, &presses)?));
    report.say("on the line with up to 59 alarms that nobody answers", rates(before, after, until - FROM));
    let figures = rates(before, after, until - FROM);
    // Towards the region: the budget, and eight attempts every three seconds to each of two nodes, of two padded packets each. From it:
    // each attempt is a session to its node, which repeats its answer and its budget's streams until it dies of silence.
    let most = [BUDGET * 3_600 + 2 * 8 * 1_200 * 2 * 1_228, 2 * 6 * BUDGET * 3_600];
    let held = (0..2).all(|way| after[way] - before[way] < most[way]);
    hold(Check::Storm, held, || format!("{figures}; {most:?} bytes are allowed"))?;
    world.run_until(until + 10 * MINUTE)?;
    let pending = world.relays[0].machine.as_ref().map(huxiao_core::relay::Relay::pending).unwrap_or_default();
    hold(Check::Drains, pending == [0; 5], || format!("{pending:?} are pending ten minutes after the heal"))?;
    Ok(report)
}

fn two_lines(seed: u64, dead: bool) -> Result<(Vec<u64>, Vec<u64>), Failure> {
    let wired = Uplink { profile: TOWN, cost: Cost::Free };
    let mut world = World::new(seed, Province::one(vec![wired, wired], 2), Nature::default());
    world.judges = false;
    let until = FROM + 60 * MINUTE;
    if dead {
        world.at(FROM, Action::Begin(Fault::Dead(0)));
    }
    let presses = press_every(&mut world, FROM + SECOND, until, 20 * SECOND);
    world.run_until(until + MINUTE)?;
    // Before the first session has died of silence, and after.
    let (young, old) = presses.split_at(2);
    Ok((latencies(&world, young)?, latencies(&world, old)?))
}

pub(super) fn black_hole(seed: u64) -> Result<Report, Failure> {
    let ((_, both), (first, then)) = (two_lines(seed, false)?, two_lines(seed, true)?);
    let mut report = Report::default();
    report.say("both lines good", spread(&both));
    report.say("one swallows everything: the first 30 s", spread(&first));
    report.say("the same: after that", spread(&then));
    let (good, bad) = (quantile(&both, 990), quantile(&then, 990));
    hold(Check::InTime, bad <= 2 * good, || format!("p99 is {bad} µs beside a black hole and {good} µs without one"))?;
    Ok(report)
}

pub(super) fn lost_receipts(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 2), Nature::default());
    world.judges = false;
    let until = FROM + 30 * MINUTE;
    world.at(FROM, Action::Begin(Fault::NoReceipts(0)));
    world.at(until, Action::End(Fault::NoReceipts(0)));
    let presses = press_every(&mut world, FROM + SECOND, FROM + 20 * MINUTE, MINUTE);
    world.run_until(FROM)?;
    let before = both_ways(&world);
    world.run_until(until)?;
    let after = both_ways(&world);
    let bytes = after[0] - before[0] + after[1] - before[1];
    let mut report = Report::default();
    report.say("press to screen", spread(&latencies(&world, &presses)?));
    report.say("on the line with 19 alarms of which no receipt comes", rates(before, after, until - FROM));
    let copies = world.ledger.copies.values().copied().max().unwrap_or(0);
    report.say("copies of one alarm in half an hour, at the most", copies);
    // The relay's budget, and those of both nodes for what they answer.
    hold(Check::Storm, bytes < 3 * BUDGET * 1_800, || format!("{bytes} bytes in half an hour"))?;
    world.run_until(until + 5 * MINUTE)?;
    let pending = world.relays[0].machine.as_ref().map(huxiao_core::relay::Relay::pending).unwrap_or_default();
    hold(Check::Drains, pending == [0; 5], || format!("{pending:?} are pending five minutes after the heal"))?;
    latency(&world, presses[0])?;
    Ok(report)
}
