//! Officers on two sides of a region that has come apart take the same alarm: one rule says whose it is, and both learn it.

use huxiao_core::{Kind, NodeName, Stage, Standing};

use crate::check::{Check, Failure};
use crate::fault::Fault;
use crate::people::press_of;
use crate::profile::{LAN, TOWN};
use crate::province::{Nature, Province, Seat};
use crate::scenario::{Report, event_of, hold};
use crate::world::{Action, MINUTE, SECOND, World};

const ROUNDS: u64 = 20;
/// The seat whose only node is the one that is cut off. Its officer is the first by the clock.
const ALONE: usize = 1;
/// Once the nodes hear each other: an election, the next look at what waits, and the seats' sessions with nodes that they had lost.
const AGREED_AFTER: u64 = 15 * SECOND;

pub(super) fn run(seed: u64) -> Result<Report, Failure> {
    let mut report = Report::default();
    let first = rounds(seed, Fault::Isolated(0))?;
    let whole = ROUNDS;
    report.say("one node cut off: the side with a quorum owns the alarm", format!("{} of {whole}", whole - first));
    hold(Check::Owner, first == 0, || format!("{first} provisional answers overtook one in the record"))?;
    let first = rounds(seed, Fault::Split)?;
    report.say("no quorum at all: the first by the clock owns it", format!("{first} of {whole}"));
    report.say("seats that name one owner and one who assists, and lamps that are right", format!("all of {whole}"));
    Ok(report)
}

/// How many alarms went to the officer who was alone.
fn rounds(seed: u64, apart: Fault) -> Result<u64, Failure> {
    let seat = |station| Seat { station, letter: "a", profile: LAN };
    let mut province = Province::on(TOWN, 3);
    province.schools[0].stations = vec![0, 1];
    province.stations = vec!["p1", "p2"];
    province.seats = vec![seat(0), seat(1)];
    let mut world = World::new(seed, province, Nature::default());
    (world.judges, world.officers) = (false, 0);
    let mut alone = 0;
    for round in 1..=ROUNDS {
        let begins = round * MINUTE;
        let lines = [0, 1].map(|seat| world.seat_line(seat));
        let parted =
            [(lines[ALONE], 1), (lines[ALONE], 2), (lines[0], 0)].map(|(line, node)| Fault::Parted(line, node));
        let heals = begins + 20 * SECOND;
        for fault in parted.into_iter().chain([apart]) {
            world.at(begins, Action::Begin(fault));
            world.at(heals, Action::End(fault));
        }
        let press = world.press_at(begins + 2 * SECOND, 0, press_of(Kind::Panic), None);
        world.run_until(begins + 4 * SECOND)?;
        let id = event_of(&world, press)?;
        world.at(begins + 4 * SECOND, Action::Officer(ALONE, id));
        world.at(begins + 7 * SECOND, Action::Officer(0, id));
        world.run_until(heals + AGREED_AFTER)?;
        let owner = world.region.oracle.owner(&id).cloned();
        let named = |at: usize| NodeName::Station(world.province.seat(at));
        let assists = if owner == Some(named(0)) { named(ALONE) } else { named(0) };
        alone += u64::from(owner == Some(named(ALONE)));
        for at in 0..world.seats.len() {
            let row = world.seats[at].machine.as_ref().and_then(|seat| seat.get(&id));
            let taken =
                row.map(|row| (row.owner().cloned(), row.assisting().map(|r| r.by.clone()).collect::<Vec<_>>()));
            let right = taken.as_ref().is_some_and(|(first, others)| {
                first.as_ref().map(|first| &first.by) == owner.as_ref() && *others == [assists.clone()]
            });
            hold(Check::Owner, right, || format!("{id}, owned by {owner:?}: seat {at} says {taken:?}"))?;
        }
        let relay = world.relays[0].machine.as_ref().and_then(|relay| relay.get(&id));
        let named = relay.and_then(|view| view.acknowledgements().first().map(|receipt| (*receipt).clone()));
        let right = named.as_ref().is_some_and(|named| Some(&named.by) == owner.as_ref());
        let settled = named.as_ref().is_some_and(|named| named.standing == Standing::Settled);
        let finished = relay.is_some_and(|view| view.is_finished() && view.receipt(Stage::Acknowledged).is_some());
        hold(Check::Kept, right && settled && finished, || format!("{id}: the school says {named:?}"))?;
    }
    Ok(alone)
}
