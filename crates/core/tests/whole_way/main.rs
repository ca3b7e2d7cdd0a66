//! The whole way of an alarm and back, through everything that can go wrong: whatever was promised must hold when the trouble is
//! over. The same seed is the same run; a failing seed is printed with what went wrong.

#![expect(clippy::unwrap_used, reason = "a helper of tests: what is not there is a mistake of the test itself")]

mod carry;
mod disk;
mod trouble;
mod world;

use huxiao_core::lamp::Lamp;
use huxiao_core::{Class, Machine, Stage};
use world::{Nature, SEATS, World, broker_name};

/// Copies of one event that may go over all links together, through some ninety seconds of trouble and to three seats.
const COPIES_MAX: usize = 600;

fn run(seed: u64, nature: Nature) -> Result<World, String> {
    let mut world = World::new(seed, nature);
    world.run().map_err(|why| format!("at {} ms: {why}", world.now / 1_000))?;
    judge(&world)?;
    Ok(world)
}

/// What must hold at the end.
fn judge(world: &World) -> Result<(), String> {
    let (Some(relay), Some(broker)) = (&world.relay, &world.broker) else { return Err("a node is down".to_owned()) };
    // With a record that was lost, or that forgets what is finished, a seat that was away may miss what others have dealt with.
    let all_seats = !world.nature.loses_record && !world.nature.small_record;
    for (id, class) in &world.kept {
        let view = relay.get(id).ok_or(format!("{id} was kept, and the relay has lost it"))?;
        if !view.is_finished() {
            return Err(format!("{id} ({class}) never came to an end: {:?}", view.receipts()));
        }
        let lamp = view.lamp();
        let owned = view.receipt(Stage::Acknowledged).is_some();
        if *class <= Class::P1 && (!owned || (lamp != Lamp::Acknowledged && lamp != Lamp::Dark)) {
            return Err(format!("{id}: the lamp says {lamp:?}"));
        }
        let seats = world.seats.iter().flatten().filter(|seat| seat.get(id).is_some()).count();
        if seats < if all_seats { SEATS.len() } else { 1 } {
            return Err(format!("{id} ({class}) is in {seats} inboxes"));
        }
    }
    for id in world.stored.iter().filter(|_| all_seats) {
        let entry = broker.record().get(id).ok_or(format!("{id} was stored, and the record has lost it"))?;
        for seat in world.seats.iter().flatten() {
            let row = seat.get(id).ok_or(format!("{id} is stored, and a seat does not have it"))?;
            if row.owner().map(|owner| &owner.by) != entry.owner().map(|owner| &owner.by) {
                return Err(format!("{id}: {:?} for the record, {:?} for a seat", entry.owner(), row.owner()));
            }
        }
    }
    // What neither the relay nor the region had on disk when both lost their power is known to the seats alone.
    for id in world.taken.iter().filter(|id| all_seats && (world.kept.contains_key(*id) || world.stored.contains(*id)))
    {
        if broker.record().get(id).and_then(|entry| entry.owner()).is_none() {
            return Err(format!("{id}: an officer was told to have it, and the record knows of none"));
        }
    }
    if relay.pending() != [0; 5] {
        return Err(format!("the relay still carries {:?}", relay.pending()));
    }
    for (seat, view) in broker.desks() {
        if view.pending != [0; 5] || (all_seats && view.mark != broker.record().last_index()) {
            return Err(format!("the broker still carries to {seat:?}: {view:?}"));
        }
    }
    for seat in world.seats.iter().flatten() {
        // What the record has forgotten, or what its relay lost unsaid with the power, nobody can confirm.
        let open =
            seat.rows_from(0).find(|row| !row.unconfirmed.is_empty() && world.kept.contains_key(&row.sealed.event.id));
        if let Some(row) = open.filter(|_| all_seats) {
            return Err(format!("a seat's statements on {} are unconfirmed", row.sealed.event.id));
        }
        if !seat.nodes().contains(&broker_name()) {
            return Err("a seat has no session".to_owned());
        }
    }
    if let Some((id, copies)) = world.copies.iter().find(|(_, copies)| **copies > COPIES_MAX) {
        return Err(format!("{id} was sent {copies} times"));
    }
    if all_seats && world.copies_after_quiet > 0 {
        return Err(format!(
            "{} copies were sent when all was said, or to a seat that had all",
            world.copies_after_quiet
        ));
    }
    if world.writes_before_again > world.writes_before_quiet {
        return Err(format!("{} writes when all was said", world.writes_before_again - world.writes_before_quiet));
    }
    [relay.check(), broker.check()].into_iter().collect()
}

fn hold(seeds: std::ops::Range<u64>, nature: Nature) {
    let (mut events, mut stored, mut failures) = (0, 0, Vec::new());
    for seed in seeds {
        match run(seed, nature) {
            Ok(world) => {
                events += world.kept.len();
                stored += world.stored.len();
            }
            Err(why) => failures.push(format!("seed {seed}: {why}")),
        }
    }
    assert!(failures.is_empty(), "{} seeds failed:\n{}", failures.len(), failures[..failures.len().min(8)].join("\n"));
    assert!(events > 0 && stored > 0, "a world in which nothing happens shows nothing");
}

#[test]
fn what_was_promised_holds_after_crashes_cuts_and_failing_disks() {
    hold(0..500, Nature::default());
}

#[test]
fn a_lost_inbox_is_filled_again() {
    hold(10_000..10_100, Nature { loses_inboxes: true, ..Nature::default() });
}

#[test]
fn a_lost_record_loses_no_alarm() {
    hold(20_000..20_100, Nature { loses_record: true, ..Nature::default() });
}

#[test]
fn a_record_that_forgets_finished_events_keeps_what_is_open() {
    hold(30_000..30_100, Nature { small_record: true, ..Nature::default() });
}

#[test]
fn a_school_that_no_plan_knew_at_first_is_routed_in_the_end() {
    hold(40_000..40_100, Nature { late_plan: true, ..Nature::default() });
}

/// The checks themselves, checked: a driver that says "on disk" too early is found out.
///
/// Machines broken on purpose were found out by this world too: a courier that drops what it carries with its last path, a relay that
/// takes a station's receipt for the record's or does not hear "unknown", a statement confirmed without a record of it, a mark
/// told while something is outstanding, a log that gives its last index up, a seat that is not refilled or does not say again
/// what a region forgot, failed writes that are not repeated, missed answers that nobody asks for.
#[test]
fn a_disk_that_lies_is_found_out() {
    let liars = (0..20).filter(|seed| run(*seed, Nature { lying_disks: true, ..Nature::default() }).is_err()).count();
    assert!(liars > 10, "{liars} of 20 were found");
}
