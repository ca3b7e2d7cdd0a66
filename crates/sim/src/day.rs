//! A day of a small province: presses, reports, officers, and faults of every kind, from a seed.

use huxiao_core::{Kind, Rng};

use crate::check::{Check, Failure, Outcome};
use crate::faced::Met;
use crate::fault::Fault;
use crate::line::{Nat, Way};
use crate::node::Node;
use crate::people::press_of;
use crate::province::{Nature, Province, key};
use crate::world::{Action, MINUTE, SECOND, World};

/// After the faults: when officers take all that is left, several times, since what was refused for want of room comes a minute later, as
/// much as fits then.
const SWEEPS: [u64; 5] = [120 * SECOND, 190 * SECOND, 260 * SECOND, 330 * SECOND, 400 * SECOND];
/// From here on nothing more may be said or written.
const QUIET: u64 = 480 * SECOND;
/// Here the seats' sessions are cut and made once more: they must be given nothing.
const AGAIN: u64 = 540 * SECOND;
const END: u64 = 660 * SECOND;
/// The longest fault.
const LONGEST_FAULT: u64 = 4 * MINUTE;

/// How a day is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// How long there are presses and faults, in microseconds. Eleven minutes of calm follow.
    pub length: u64,
    /// Schools.
    pub schools: usize,
}

/// What came of a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Events that a relay called kept.
    pub kept: u64,
    /// Events that were shown at a station, once for each of its stations.
    pub arrived: u64,
    /// Events that a node called stored, once for each node.
    pub stored: u64,
    /// How near the busiest node came to what is allowed, in percent: wakes, packets.
    pub busiest: (u64, u64),
    /// Packets on all lines.
    pub packets: u64,
    /// What it had to do with.
    pub met: Met,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            kept: self.kept + other.kept,
            arrived: self.arrived + other.arrived,
            stored: self.stored + other.stored,
            busiest: (self.busiest.0.max(other.busiest.0), self.busiest.1.max(other.busiest.1)),
            packets: self.packets + other.packets,
            met: self.met.and(other.met),
        }
    }
}

/// The world of a seed, with its day laid out but not run.
#[must_use]
pub fn world(seed: u64, day: Day, nature: Nature) -> World {
    // In every fourth world there is one node: what it loses nobody else has.
    let province = Province { brokers: if seed % 4 == 3 { 1 } else { 3 }, ..Province::small(day.schools) };
    let mut world = World::new(seed, province, nature);
    if day.length > 120 * MINUTE {
        // A machine's check takes longer the more it holds, and a long day holds much.
        world.check_every = 25;
    }
    let mut rng = Rng::new(seed ^ 0x00DA_7000);
    lay_out_presses(&mut world, day, &mut rng);
    lay_out_faults(&mut world, day, &mut rng);
    if nature.late_plan {
        let routes = std::mem::take(&mut world.routes);
        world.routes = routes.iter().map(|_| Vec::new()).collect();
        let when = rng.below(day.length + 5 * SECOND);
        world.at(when, Action::Plan(routes));
    } else if rng.below(2) == 0 {
        // One school more or less for one station: what is under way stays with those that it was routed to.
        let mut routes = world.routes.clone();
        let school = below(&mut rng, routes.len());
        routes[school] = if routes[school].len() > 1 {
            vec![routes[school][0]]
        } else {
            vec![routes[school][0], 1 - routes[school][0]]
        };
        let when = rng.below(day.length);
        world.at(when, Action::Plan(routes));
    }
    for after in SWEEPS {
        world.at(day.length + after, Action::Sweep);
    }
    world.at(day.length + AGAIN, Action::CutSeats);
    world.quiet_from = day.length + QUIET;
    world
}

/// Runs a day that is laid out, and judges it.
///
/// # Errors
/// The first promise that was broken.
pub fn run(world: &mut World, day: Day) -> Result<Tally, Failure> {
    world.run_until(day.length + QUIET)?;
    let before = world.writes();
    world.run_until(day.length + AGAIN - 1)?;
    quiet(world, before)?;
    world.run_until(day.length + END)?;
    world.judge()?;
    let ledger = &world.ledger;
    Ok(Tally {
        kept: ledger.kept.len() as u64,
        arrived: ledger.arrived.len() as u64,
        stored: ledger.stored.len() as u64,
        busiest: ledger.busiest,
        packets: world.lines.iter().map(|line| line.packets[0] + line.packets[1]).sum(),
        met: ledger.met,
    })
}

fn quiet(world: &World, before: usize) -> Outcome {
    match world.writes() - before {
        0 => Ok(()),
        // A seat that speaks of what a record has forgotten gives up in the end, and writes that down.
        _ if world.nature.small_record || world.nature.loses_record => Ok(()),
        writes => Err(Failure::new(Check::Drains, format!("{writes} writes when all was said"))),
    }
}

fn below(rng: &mut Rng, bound: usize) -> usize {
    usize::try_from(rng.below(bound as u64)).unwrap_or(0)
}

fn lay_out_presses(world: &mut World, day: Day, rng: &mut Rng) {
    let kinds = [
        Kind::Panic,
        Kind::Duress,
        Kind::Medical,
        Kind::Assist,
        Kind::Tamper,
        Kind::Fault,
        Kind::Mains,
        Kind::Status,
        Kind::Return,
    ];
    let presses = 6 + day.length / (40 * SECOND);
    for number in 0..usize::try_from(presses).unwrap_or(0) {
        let kind = kinds[below(rng, kinds.len())].clone();
        let school = below(rng, world.province.schools.len());
        let named = rng.below(10) < 6;
        let when = rng.below(day.length);
        let key = named.then(|| key(number).as_ref().to_owned());
        let place = world.press_at(when, school, press_of(kind), key);
        if named && rng.below(10) < 4 {
            world.at(when + rng.below(20 * SECOND), Action::Press(place));
        }
    }
}

fn lay_out_faults(world: &mut World, day: Day, rng: &mut Rng) {
    let nodes = world.nodes();
    let spans = 1 + day.length / (10 * MINUTE);
    for node in &nodes {
        for _ in 0..rng.below(spans + 1) {
            world.at(rng.below(day.length), Action::Crash(*node));
        }
        if rng.below(3) == 0 {
            let fault = if rng.below(2) == 0 { Fault::Disk(*node) } else { Fault::Slow(*node) };
            spell(world, day, rng, fault);
        }
    }
    if world.brokers.len() > 1 {
        for _ in 0..rng.below(spans + 2) {
            let fault = match rng.below(3) {
                0 => Fault::Split,
                _ => Fault::Isolated(below(rng, world.brokers.len())),
            };
            spell(world, day, rng, fault);
        }
        for _ in 0..rng.below(spans + 1) {
            two_sides(world, day, rng);
        }
    }
    for line in 0..world.lines.len() {
        for _ in 0..rng.below(spans + 2) {
            let fault = line_fault(world, line, rng);
            spell(world, day, rng, fault);
        }
    }
}

fn line_fault(world: &World, line: usize, rng: &mut Rng) -> Fault {
    match rng.below(12) {
        0 | 1 => Fault::Dead(line),
        2 => Fault::Cut(line, Way::Up),
        3 => Fault::Cut(line, Way::Down),
        4 => Fault::Parted(line, below(rng, world.brokers.len())),
        5 | 6 => Fault::Burst(line),
        7 => Fault::Duplicate(line),
        8 => Fault::Reorder(line),
        9 => Fault::Narrow(line),
        10 => Fault::NoReceipts(line),
        _ => Fault::Nat(line, Nat { every: 20 * SECOND + rng.below(MINUTE), black_hole: rng.below(2) == 0 }),
    }
}

/// One node is cut off, and one seat has only that one; an alarm is pressed, and officers of both sides reach for it. Now and then the node that
/// was cut off, or another, loses its power before they are one again.
fn two_sides(world: &mut World, day: Day, rng: &mut Rng) {
    let (node, alone) = (below(rng, world.brokers.len()), below(rng, world.seats.len()));
    let begins = rng.below(day.length);
    let ends = (begins + 10 * SECOND + rng.below(MINUTE / 2)).min(day.length);
    let split = if rng.below(3) == 0 { Fault::Split } else { Fault::Isolated(node) };
    let mut faults = vec![split];
    for (seat, other) in (0..world.seats.len()).flat_map(|seat| (0..world.brokers.len()).map(move |at| (seat, at))) {
        if (seat == alone) != (other == node) {
            faults.push(Fault::Parted(world.seat_line(seat), other));
        }
    }
    for fault in faults {
        world.at(begins, Action::Begin(fault));
        world.at(ends, Action::End(fault));
    }
    for _ in 0..2 {
        let (school, when) = (below(rng, world.province.schools.len()), begins + rng.below(3 * SECOND));
        world.press_at(when, school, press_of(Kind::Panic), None);
    }
    let middle = begins + (ends - begins) / 2;
    world.at(middle, Action::Sweep);
    if rng.below(3) == 0 {
        let crashes = if rng.below(2) == 0 { node } else { below(rng, world.brokers.len()) };
        world.at(middle + rng.below(10 * SECOND), Action::Crash(Node::Broker(crashes)));
    }
}

/// A fault that begins some time of the day and ends within it.
fn spell(world: &mut World, day: Day, rng: &mut Rng, fault: Fault) {
    let begins = rng.below(day.length);
    let longest = if rng.below(4) == 0 { LONGEST_FAULT } else { MINUTE / 2 };
    let ends = (begins + 1 + rng.below(longest)).min(day.length);
    world.at(begins, Action::Begin(fault));
    world.at(ends, Action::End(fault));
}
