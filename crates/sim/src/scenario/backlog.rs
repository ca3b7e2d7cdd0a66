//! A school without any link for an hour, and what goes first when it heals.

use huxiao_core::Kind;

use crate::check::{Check, Failure};
use crate::fault::Fault;
use crate::people::press_of;
use crate::profile::{LAN, TOWN};
use crate::province::{Nature, Province};
use crate::scenario::{Report, event_of, hold, millis, school_bytes};
use crate::world::{Action, MINUTE, SECOND, World};

const REPORTS: usize = 10_000;
const DARK_FROM: u64 = MINUTE;
const HEALED_AT: u64 = DARK_FROM + 60 * MINUTE;
/// How much later than the link an alarm may be there, beyond its way.
const ALLOWED: u64 = 300_000;

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 2), Nature::default());
    // With ten thousand events a machine's own check takes as long as a hundred steps.
    world.check_every = 1_000;
    world.at(DARK_FROM, Action::Begin(Fault::Dead(0)));
    world.at(HEALED_AT, Action::End(Fault::Dead(0)));
    let gap = (HEALED_AT - DARK_FROM - 4 * MINUTE) / REPORTS as u64;
    let reports: Vec<usize> = (0..REPORTS)
        .map(|at| world.press_at(DARK_FROM + 2 * MINUTE + at as u64 * gap, 0, press_of(Kind::Status), None))
        .collect();
    let alarms: Vec<usize> =
        [20, 40, 59].map(|minute| world.press_at(minute * MINUTE, 0, press_of(Kind::Panic), None)).to_vec();
    world.run_until(DARK_FROM + 5 * MINUTE)?;
    let before = school_bytes(&world);
    world.run_until(HEALED_AT)?;
    let dark = school_bytes(&world) - before;
    world.run_until(HEALED_AT + 30 * MINUTE)?;
    let mut report = Report::default();
    let way = TOWN.slow() + LAN.slow();
    let arrival = |press: usize| {
        let id = event_of(&world, press)?;
        let arrived = world.ledger.arrived.get(&(id, 0)).copied();
        arrived.ok_or_else(|| Failure::of(Check::Drains, id, format!("press {press} never arrived")))
    };
    let alarms = alarms.into_iter().map(arrival).collect::<Result<Vec<_>, _>>()?;
    let mut reports = reports.into_iter().map(arrival).collect::<Result<Vec<_>, _>>()?;
    reports.sort_unstable();
    let last = alarms.iter().copied().max().unwrap_or(0);
    for (at, arrived) in alarms.iter().enumerate() {
        let extra = arrived.saturating_sub(HEALED_AT + TOWN.delay + LAN.delay);
        report.say(format!("alarm {}: after the heal, beyond its one-way delay", at + 1), millis(extra));
        hold(Check::InTime, *arrived <= HEALED_AT + way + ALLOWED, || {
            format!(
                "an alarm came {} after the heal; {} and its way are allowed",
                millis(arrived - HEALED_AT),
                millis(ALLOWED)
            )
        })?;
    }
    let before = reports.iter().filter(|arrived| **arrived < last).count();
    report.say("reports that arrived before the last alarm", before);
    hold(Check::InTime, before == 0, || format!("{before} reports came before an alarm"))?;
    let drained = reports.last().map_or(0, |last| last - HEALED_AT);
    report.say("10,000 reports were all there after the heal by", format!("{} s", drained / SECOND));
    report.say("put on the dead line while it was dark (55 minutes)", format!("{} KiB", dark / 1_024));
    hold(Check::Drains, world.relays[0].machine.as_ref().is_some_and(|relay| relay.pending() == [0; 5]), || {
        "the relay still carries something half an hour after the heal".to_owned()
    })?;
    Ok(report)
}
