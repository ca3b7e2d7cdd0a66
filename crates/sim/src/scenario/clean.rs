//! What one alarm costs where nothing is lost.

use huxiao_core::{Kind, Stage};

use crate::check::{Check, Failure};
use crate::people::press_of;
use crate::profile::TOWN;
use crate::province::{Nature, Province};
use crate::scenario::{Report, event_of, hold, school_bytes};
use crate::world::{MINUTE, SECOND, World};

/// The most that one alarm, acknowledged end to end, may take of a path.
const ALLOWED: u64 = 4 * 1_024;

fn bytes(seed: u64, brokers: usize, presses: bool) -> Result<u64, Failure> {
    let mut world = World::new(seed, Province::on(TOWN.lossless(), brokers), Nature::default());
    world.officers = 100;
    let press = presses.then(|| world.press_at(2 * MINUTE, 0, press_of(Kind::Panic), None));
    world.run_until(2 * MINUTE - SECOND)?;
    let before = school_bytes(&world);
    world.run_until(3 * MINUTE)?;
    if let Some(press) = press {
        let id = event_of(&world, press)?;
        let told = world.ledger.told.contains_key(&(id, Stage::Acknowledged));
        hold(Check::Owner, told, || "nobody has acknowledged it".to_owned())?;
    }
    Ok(school_bytes(&world) - before)
}

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    for brokers in [1, 2] {
        let of_it = bytes(seed, brokers, true)?.saturating_sub(bytes(seed, brokers, false)?);
        let each = of_it / brokers as u64;
        report.say(format!("{brokers} paths: bytes on the school's line, both ways, for each path"), each);
        hold(Check::Storm, each <= ALLOWED, || format!("{each} bytes a path; {ALLOWED} are allowed"))?;
    }
    Ok(report)
}
