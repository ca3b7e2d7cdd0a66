//! Press to screen over the profiles of the field, beside what a single packet takes on the same line without loss.

use huxiao_core::{Cost, Rng};

use crate::check::Failure;
use crate::line::{Line, Way};
use crate::profile::{BAD, LAN, OUTAGE, Profile, RURAL, THIN};
use crate::province::{Nature, Province, Uplink};
use crate::scenario::{Report, event_of, latencies, millis, press_every, quantile, spread};
use crate::world::{MINUTE, SECOND, World};

const PRESSES: u64 = 2_000;
const EVERY: u64 = 3 * SECOND / 2;
const SAMPLES: u64 = 100_000;

/// What single packets take from school to seat where nothing is lost, sorted.
fn single(profile: Profile, seed: u64) -> Vec<u64> {
    let (mut school, mut seat) = (Line::new(profile.lossless(), 0), Line::new(LAN, 0));
    let mut rng = Rng::new(seed);
    let mut all: Vec<u64> = (0..SAMPLES)
        .filter_map(|_| {
            let there = school.carry(0, Way::Up, 0, 400, &mut rng)[0]?;
            Some(there + seat.carry(0, Way::Down, 0, 400, &mut rng)[0]?)
        })
        .collect();
    all.sort_unstable();
    all
}

fn run(world: &mut World) -> Result<Vec<usize>, Failure> {
    world.check_every = 1_000;
    world.judges = false;
    world.officers = 100;
    let from = 2 * MINUTE;
    let presses = press_every(world, from, from + PRESSES * EVERY, EVERY);
    world.run_until(from + PRESSES * EVERY + 2 * MINUTE)?;
    Ok(presses)
}

fn measure(report: &mut Report, words: &str, mut world: World, lossless: &[u64]) -> Result<World, Failure> {
    let presses = run(&mut world)?;
    let all = latencies(&world, &presses)?;
    let (p99, bare) = (quantile(&all, 990), quantile(lossless, 990));
    report.say(words, spread(&all));
    let ratio = p99 * 1_000 / bare.max(1);
    report
        .say(format!("{words}: p99 over that of the single packet"), format!("{}.{:03}", ratio / 1_000, ratio % 1_000));
    let copies = world.ledger.copies.values().sum::<u64>() * 10 / PRESSES;
    report.say(format!("{words}: copies of one alarm"), format!("{}.{}", copies / 10, copies % 10));
    Ok(world)
}

fn profile(seed: u64, profile: Profile) -> Result<Report, Failure> {
    let mut report = Report::default();
    let lossless = single(profile, seed);
    report.say("a single packet without loss", spread(&lossless));
    for (brokers, words) in [(1, "one line, one node"), (2, "one line, two nodes")] {
        let world = World::new(seed, Province::on(profile, brokers), Nature::default());
        let world = measure(&mut report, words, world, &lossless)?;
        if profile.dark.is_some() {
            let mut extra = Vec::new();
            for press in world.ledger.of_press.keys() {
                let id = event_of(&world, *press)?;
                let (Some(raised), Some(arrived)) = (world.ledger.raised.get(&id), world.ledger.arrived.get(&(id, 0)))
                else {
                    continue;
                };
                let light = world.lines[0].light_at(raised.at);
                if light > raised.at {
                    extra.push(arrived.saturating_sub(light + profile.delay));
                }
            }
            extra.sort_unstable();
            report.say(format!("{words}: pressed in the dark, after it beyond the delay"), spread(&extra));
        }
    }
    Ok(report)
}

pub(super) fn rural(seed: u64) -> Result<Report, Failure> {
    profile(seed, RURAL)
}

pub(super) fn bad(seed: u64) -> Result<Report, Failure> {
    let mut report = profile(seed, BAD)?;
    let line = Uplink { profile: BAD, cost: Cost::Free };
    let world = World::new(seed, Province::one(vec![line, line], 2), Nature::default());
    measure(&mut report, "two such lines, two nodes", world, &single(BAD, seed))?;
    Ok(report)
}

pub(super) fn outage(seed: u64) -> Result<Report, Failure> {
    profile(seed, OUTAGE)
}

pub(super) fn thin(seed: u64) -> Result<Report, Failure> {
    let mut report = profile(seed, THIN)?;
    let lossless = single(THIN, seed);
    let bits = THIN.rate.map_or(0, |rate| rate.bits);
    let packet = 400 * 8 * SECOND / bits.max(1);
    report.say("one copy takes of the line", millis(packet));
    let mut world = World::new(seed, Province::on(THIN, 2), Nature::default());
    world.copy_rate = 2_000;
    measure(&mut report, "two nodes, copies within 2,000 bytes a second", world, &lossless)?;
    Ok(report)
}
