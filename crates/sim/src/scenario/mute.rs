//! Broker nodes that take everything and say nothing: what a relay then sends is bounded, however long it lasts.

use huxiao_core::{Kind, limits};

use crate::check::{Check, Failure};
use crate::people::press_of;
use crate::profile::TOWN;
use crate::province::{Nature, Province};
use crate::scenario::{Report, an_hour, hold, school_bytes};
use crate::world::{MINUTE, SECOND, World};

const HOUR: u64 = 60 * MINUTE;

/// Bytes on the line in each of the first two hours.
fn hours(seed: u64, alarms: u64) -> Result<[u64; 2], Failure> {
    let mut world = World::new(seed, Province::on(TOWN, 2), Nature::default());
    world.judges = false;
    // No officer answers either: what is not told cannot be taken.
    world.officers = 0;
    world.brokers.iter_mut().for_each(|broker| broker.mute = true);
    for at in 0..alarms {
        world.press_at(MINUTE + at * SECOND / 10, 0, press_of(Kind::Panic), None);
    }
    world.run_until(MINUTE - 1)?;
    let mut bytes = [0; 2];
    for (hour, sum) in (1..).zip(&mut bytes) {
        let before = school_bytes(&world);
        world.run_until(MINUTE + hour * HOUR)?;
        *sum = school_bytes(&world) - before;
    }
    Ok(bytes)
}

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    let idle = hours(seed, 0)?;
    report.say("no alarm: keep-alives and probes", an_hour(idle[1], HOUR));
    for alarms in [1, 100] {
        let bytes = hours(seed, alarms)?;
        report.say(format!("{alarms} alarms, the first hour"), an_hour(bytes[0] - idle[0], HOUR));
        report.say(format!("{alarms} alarms, the second hour"), an_hour(bytes[1] - idle[1], HOUR));
        // The budget of copies, their acknowledgements, and what is sent first.
        let most = u64::from(limits::COPY_BYTES_PER_SECOND) * 3_600 * 3 / 2 + 1_000_000;
        hold(Check::Storm, bytes.iter().all(|bytes| *bytes < most), || {
            format!("{bytes:?} bytes in an hour; {most} are allowed")
        })?;
    }
    Ok(report)
}
