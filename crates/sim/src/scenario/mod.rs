//! Single situations, each with its figures: what a link, a peer or a middlebox can do to an alarm, and what it then costs.
//!
//! Invariant: the same seed prints the same figures. A scenario fails where a promise is broken, and prints everything else.

mod backlog;
mod clean;
mod deaf;
mod latency;
mod leader;
mod mute;
mod nat;
mod quorum;
mod sides;

use std::fmt::Display;

use huxiao_core::{EventId, Kind};

use crate::check::{Check, Failure};
use crate::people::press_of;
use crate::world::{SECOND, World};

/// What a scenario found.
#[derive(Debug, Default)]
pub struct Report {
    /// Figures, with what each is.
    pub figures: Vec<(String, String)>,
}

impl Report {
    fn say(&mut self, what: impl Into<String>, figure: impl Display) {
        self.figures.push((what.into(), figure.to_string()));
    }
}

/// One situation.
#[derive(Debug)]
pub struct Scenario {
    /// What to call it by.
    pub name: &'static str,
    /// What happens in it.
    pub about: &'static str,
    /// Runs it from a seed.
    pub run: fn(u64) -> Result<Report, Failure>,
}

/// All of them.
pub const ALL: &[Scenario] = &[
    Scenario {
        name: "backlog",
        about: "an hour without a link, 10,000 reports and 3 alarms queued, then it heals",
        run: backlog::run,
    },
    Scenario {
        name: "one-way",
        about: "nothing comes back to the school for an hour: alarms arrive, and traffic is bounded",
        run: deaf::one_way,
    },
    Scenario {
        name: "black-hole",
        about: "an uplink that takes packets and delivers none, beside a good one",
        run: deaf::black_hole,
    },
    Scenario {
        name: "lost-receipts",
        about: "receipts are lost for half an hour, events are not",
        run: deaf::lost_receipts,
    },
    Scenario {
        name: "mute-broker",
        about: "broker nodes that never send a receipt: bytes an hour for one alarm and for a hundred",
        run: mute::run,
    },
    Scenario { name: "nat", about: "a NAT that forgets its mapping every minute, whatever is sent", run: nat::run },
    Scenario {
        name: "quorum-lost",
        about: "ten minutes in which no broker node hears another: press to screen, and what is stored after",
        run: quorum::run,
    },
    Scenario {
        name: "two-sides",
        about: "officers on both sides of a cut take the same alarm: whose it is, and who knows",
        run: sides::run,
    },
    Scenario {
        name: "leader-lost",
        about: "the leader loses its power every half minute: press to screen, and to stored",
        run: leader::run,
    },
    Scenario {
        name: "clean",
        about: "one alarm on a clean link, acknowledged end to end: bytes on the wire for each path",
        run: clean::run,
    },
    Scenario { name: "rural", about: "2,000 presses over the rural profile", run: latency::rural },
    Scenario { name: "bad", about: "2,000 presses over the bad profile", run: latency::bad },
    Scenario { name: "outage", about: "2,000 presses over a rural line that is dark 8 s in 60", run: latency::outage },
    Scenario { name: "thin", about: "2,000 presses over 32 kbit/s, 300 ms, 5 % loss", run: latency::thin },
];

/// Presses an alarm at school 0 every so often. Gives the presses' places.
fn press_every(world: &mut World, from: u64, until: u64, every: u64) -> Vec<usize> {
    let count = (until - from) / every;
    (0..count).map(|at| world.press_at(from + at * every, 0, press_of(Kind::Panic), None)).collect()
}

/// The event of a press, which must have been kept.
fn event_of(world: &World, press: usize) -> Result<EventId, Failure> {
    let id = world.ledger.of_press.get(&press).copied();
    id.ok_or_else(|| Failure::new(Check::Kept, format!("press {press} was not kept")))
}

/// How long a press took to the screen of the first station.
fn latency(world: &World, press: usize) -> Result<u64, Failure> {
    let id = event_of(world, press)?;
    let arrived = world.ledger.arrived.get(&(id, 0)).copied();
    let raised = world.ledger.raised.get(&id).map(|raised| raised.at);
    let lost = || Failure::of(Check::InTime, id, format!("press {press} never arrived"));
    Ok(arrived.ok_or_else(lost)?.saturating_sub(raised.unwrap_or(0)))
}

fn latencies(world: &World, presses: &[usize]) -> Result<Vec<u64>, Failure> {
    let mut all = presses.iter().map(|press| latency(world, *press)).collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    Ok(all)
}

/// The value that `share` in a thousand of sorted values do not exceed.
fn quantile(sorted: &[u64], share: usize) -> u64 {
    let at = (sorted.len() * share).div_ceil(1_000).max(1) - 1;
    sorted.get(at).copied().unwrap_or(0)
}

fn millis(micros: u64) -> String {
    format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100)
}

fn spread(sorted: &[u64]) -> String {
    let [half, most, last] = [quantile(sorted, 500), quantile(sorted, 990), quantile(sorted, 1_000)];
    format!("p50 {}, p99 {}, max {} of {}", millis(half), millis(most), millis(last), sorted.len())
}

/// Holds a figure to a bound of the scenario.
fn hold(check: Check, holds: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(Failure::new(check, what())) }
}

/// Bytes that were put on the lines of school 0, both ways, whether they arrived or not.
fn school_bytes(world: &World) -> u64 {
    let [up, down] = both_ways(world);
    up + down
}

/// The same towards the region, and from it.
fn both_ways(world: &World) -> [u64; 2] {
    let lines = || world.school_lines(0).map(|line| world.lines[line].bytes);
    [lines().map(|bytes| bytes[0]).sum(), lines().map(|bytes| bytes[1]).sum()]
}

/// Both as hourly figures.
fn rates(before: [u64; 2], after: [u64; 2], micros: u64) -> String {
    let [up, down] = [0, 1].map(|way| an_hour(after[way] - before[way], micros));
    format!("{up} out, {down} in")
}

/// A second's worth of bytes as an hour's.
fn an_hour(bytes: u64, micros: u64) -> String {
    let hourly = bytes.saturating_mul(3_600 * SECOND / micros.max(1));
    format!("{} KiB an hour", hourly / 1_024)
}
