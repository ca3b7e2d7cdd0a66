//! The record's state: the same log gives the same state, nothing open ever leaves, and what left never comes in again.

mod drills;
mod pages;
mod untested;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::case::{Action, ActionId, CaseOrder, CaseRefusal, Reason, State, verify};
use crate::event::{Kind, Text};
use crate::id::{EventId, Name, NodeName, RecordId, SeatId, StationId};
use crate::limits;
use crate::overdue::Rung;
use crate::receipt::{Receipt, Stage, Standing, Trail};
use crate::relay::tests_support::{event, seal};
use crate::time::WallTime;

const STATIONS: [&str; 2] = ["p1", "p2"];

fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn admit(number: u8, kind: Kind, routed: bool) -> Command {
    let mut event = event(kind);
    event.id = id(number);
    Command::Admit(Admission {
        sealed: seal(&event),
        trail: Trail::default(),
        at: WallTime(1),
        by: "broker/r1/n1".parse().unwrap(),
        stations: if routed { STATIONS.iter().map(|name| name.parse().unwrap()).collect() } else { vec![] },
        owed: false,
        joins: false,
    })
}

fn owed(number: u8) -> Command {
    match admit(number, Kind::Panic, true) {
        Command::Admit(admission) => Command::Admit(Admission { owed: true, ..admission }),
        other => other,
    }
}

fn note(number: u8, stage: Stage, seat: usize) -> Command {
    let seat = SeatId { station: STATIONS[seat % 2].parse().unwrap(), seat: Name::new(&format!("d{seat}")).unwrap() };
    Command::Note(receipt(number, stage, NodeName::Station(seat)))
}

fn receipt(number: u8, stage: Stage, by: NodeName) -> Receipt {
    Receipt {
        event: id(number),
        stage,
        at: WallTime(2),
        by,
        officer: None,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

fn escalate(number: u8, stations: &[&str]) -> Command {
    Command::Escalate {
        event: id(number),
        stations: stations.iter().map(|name| name.parse().unwrap()).collect(),
        by: "broker/r1/n1".parse().unwrap(),
        officer: None,
        at: WallTime(3),
        note: Text::default(),
    }
}

fn overdue(number: u8, rung: Rung, owner: &str) -> Command {
    Command::Overdue {
        event: id(number),
        rung,
        owners: vec![owner.parse().unwrap()],
        told: vec!["p2".parse().unwrap()],
        by: "broker/r1/n1".parse().unwrap(),
        at: WallTime(3),
    }
}

/// An officer's order; the same `order` is the same one.
fn case(number: u8, action: Action, station: &str, order: u8) -> Command {
    let mut id = [order; 16];
    id[0] = number;
    let order = CaseOrder {
        id: ActionId(id),
        event: self::id(number),
        action,
        by: format!("station/{station}/d1").parse().unwrap(),
        officer: Name::new("014").unwrap(),
        at: WallTime(4),
        note: Text::new("备注").unwrap(),
    };
    Command::Case { order: Box::new(order), heard: WallTime(5) }
}

fn actions() -> [Action; 8] {
    [
        Action::Dispatch,
        Action::Onscene,
        Action::Handled,
        Action::Close(Reason::False),
        Action::Reopen,
        Action::TakeOver,
        Action::Transfer("p7".parse().unwrap()),
        Action::Note,
    ]
}

/// The limits of a record that holds so many finished events, whether their cases are closed or open.
fn finished(finished: usize) -> RecordLimits {
    RecordLimits { finished, open_cases: finished, ..RecordLimits::default() }
}

/// Applies to a state and keeps the log, and what left.
struct Bench {
    state: RecordState,
    log: BTreeMap<u64, Command>,
    index: u64,
    archive: BTreeMap<u64, Entry>,
}

impl Bench {
    fn new(limits: RecordLimits) -> Self {
        Self { state: RecordState::new(limits), log: BTreeMap::new(), index: 0, archive: BTreeMap::new() }
    }

    fn commit(&mut self, command: Command) -> Effect {
        // Gaps, as an engine's own entries make them.
        self.index += 1 + self.index % 2;
        self.log.insert(self.index, command.clone());
        let applied = self.state.apply(self.index, command);
        for (number, entry) in applied.archived {
            assert_eq!(number, self.archive.len() as u64 + 1, "archive numbers have no gaps");
            self.archive.insert(number, (*entry).clone());
        }
        self.state.check().unwrap();
        applied.effect
    }
}

#[test]
fn the_first_admission_and_the_first_statement_of_a_seat_count() {
    let mut bench = Bench::new(finished(10));
    assert_eq!(bench.commit(admit(1, Kind::Panic, true)), Effect::Admitted(id(1)));
    assert_eq!(bench.commit(admit(1, Kind::Panic, true)), Effect::Nothing);
    assert!(matches!(bench.commit(note(1, Stage::Acknowledged, 3)), Effect::Noted(_)));
    assert_eq!(bench.commit(note(1, Stage::Acknowledged, 3)), Effect::Nothing);
    let Effect::Noted(late) = bench.commit(note(1, Stage::Acknowledged, 4)) else { panic!("it is on record too") };
    assert_eq!(late.standing, Standing::Assisting);
    let entry = bench.state.get(&id(1)).unwrap();
    assert_eq!(entry.owner(), Some(&entry.notes[0]));
    assert_eq!(entry.notes[0].standing, Standing::Settled);
    assert_eq!(entry.earlier_owner(&late), Some(&entry.notes[0]));
    assert_eq!(entry.receipts().len(), 4);
    assert_eq!(bench.commit(note(9, Stage::Delivered, 3)), Effect::Nothing);
}

#[test]
fn an_older_stamp_does_not_overtake_what_the_log_has_first() {
    let mut bench = Bench::new(finished(10));
    bench.commit(admit(1, Kind::Panic, true));
    bench.commit(note(1, Stage::Acknowledged, 3));
    let Command::Note(mut earlier) = note(1, Stage::Acknowledged, 4) else { panic!("a note") };
    (earlier.at, earlier.standing) = (WallTime(0), Standing::Provisional);
    bench.commit(Command::Note(earlier.clone()));
    let entry = bench.state.get(&id(1)).unwrap();
    assert_ne!(entry.owner().unwrap().by, earlier.by);
    assert_eq!(entry.notes[1].standing, Standing::Assisting);
}

#[test]
fn no_number_of_seats_keeps_the_officers_answer_out_of_the_record() {
    let mut bench = Bench::new(finished(10));
    bench.commit(admit(1, Kind::Panic, true));
    for seat in 0..60 {
        bench.commit(note(1, Stage::Delivered, seat));
        bench.commit(note(1, Stage::Displayed, seat));
    }
    assert!(matches!(bench.commit(note(1, Stage::Acknowledged, 59)), Effect::Noted(_)));
    let entry = bench.state.get(&id(1)).unwrap();
    assert!(entry.is_finished() && entry.receipts().len() <= limits::RECEIPTS_PER_EVENT);
    let unheard: NodeName = "station/p1/d59".parse().unwrap();
    assert!(entry.needs_no_more(&receipt(1, Stage::Delivered, unheard)), "a seat would say it for ever");
}

#[test]
fn a_record_is_founded_once_and_no_index_counts_twice() {
    let mut state = RecordState::default();
    let (one, two) = (RecordId([1; 16]), RecordId([2; 16]));
    assert_eq!(state.apply(3, Command::Found { record: one }).effect, Effect::Founded(one));
    assert_eq!(state.apply(3, admit(1, Kind::Panic, true)).effect, Effect::Nothing, "3 has been applied");
    assert_eq!(state.apply(4, Command::Found { record: two }).effect, Effect::Nothing);
    assert_eq!((state.record(), state.last_index(), state.len()), (Some(one), 4, 0));
}

#[test]
fn an_unrouted_event_is_for_a_station_from_the_index_of_its_route_on() {
    let mut bench = Bench::new(finished(10));
    bench.commit(admit(1, Kind::Panic, false));
    bench.commit(admit(2, Kind::Panic, true));
    assert_eq!(bench.state.unrouted().count(), 1);
    let station: StationId = "p1".parse().unwrap();
    let second = bench.index;
    bench.commit(Command::Route { event: id(1), stations: vec![station.clone()] });
    assert_eq!(bench.state.unrouted().count(), 0);
    let after: Vec<u64> = bench.state.for_station(&station, second).map(|(index, _)| index).collect();
    assert_eq!(after, [bench.index], "a seat that has all up to 2 lacks the event that was routed behind it");
    assert_eq!(bench.commit(Command::Route { event: id(1), stations: vec![station] }), Effect::Nothing);
}

#[test]
fn an_escalation_adds_stations_once_and_takes_none_away() {
    let mut bench = Bench::new(finished(0));
    bench.commit(admit(1, Kind::Panic, true));
    let third: StationId = "p3".parse().unwrap();
    let Effect::Escalated(_, new) = bench.commit(escalate(1, &["p1", "p3", "p3"])) else { panic!("p3 is new") };
    assert_eq!(new, std::slice::from_ref(&third));
    assert_eq!(bench.commit(escalate(1, &["p3"])), Effect::Nothing);
    let entry = bench.state.get(&id(1)).unwrap();
    assert_eq!((entry.since(&third), entry.admission.stations.len()), (Some(3), 3));
    assert_eq!(bench.state.for_station(&third, 0).count(), 1);
    for at in 0..limits::ESCALATIONS_PER_EVENT + 4 {
        bench.commit(escalate(1, &[&format!("q{at}")]));
    }
    assert_eq!(bench.state.get(&id(1)).unwrap().escalations.len(), limits::ESCALATIONS_PER_EVENT);
    // It leaves all lists when it leaves.
    bench.commit(note(1, Stage::Acknowledged, 1));
    assert_eq!((bench.state.len(), bench.archive.len()), (0, 1));
    assert_eq!(bench.state.for_station(&third, 0).count(), 0);
}

#[test]
fn an_event_stays_until_the_province_has_it_and_all_that_was_said_of_it() {
    let mut bench = Bench::new(finished(0));
    bench.commit(owed(1));
    bench.commit(note(1, Stage::Acknowledged, 1));
    assert_eq!(bench.state.get(&id(1)).unwrap().owed(), [Stage::Stored, Stage::Acknowledged]);
    bench.commit(Command::Forwarded { event: id(1), stages: vec![Stage::Stored] });
    assert_eq!(bench.state.len(), 1);
    bench.commit(Command::Forwarded { event: id(1), stages: vec![Stage::Acknowledged] });
    assert!(bench.state.is_empty() && bench.state.is_archived(&id(1)));
    assert_eq!(bench.commit(owed(1)), Effect::Nothing, "it has been here");
}

#[test]
fn too_many_events_in_all_leave_though_the_province_lacks_them() {
    let mut bench =
        Bench::new(RecordLimits { finished: 1, open_cases: 1, events: 3, archived_ids: 2, ..RecordLimits::default() });
    for number in 1..=9 {
        bench.commit(owed(number));
        bench.commit(note(number, Stage::Acknowledged, 1));
    }
    assert_eq!((bench.state.len(), bench.state.archived()), (3, 6));
    let remembered: Vec<EventId> = (1..=9).map(id).filter(|id| bench.state.is_archived(id)).collect();
    assert_eq!(remembered, [id(5), id(6)], "the youngest");
}

#[test]
fn parts_that_no_record_makes_are_refused() {
    let mut bench = Bench::new(finished(1));
    for number in 1..4 {
        bench.commit(admit(number, Kind::Panic, true));
        bench.commit(note(number, Stage::Acknowledged, 1));
    }
    let image = bench.state.image();
    let back = |image| RecordState::from_image(image, finished(1));
    assert_eq!(back(image.clone()).as_ref(), Ok(&bench.state));
    let twice = Image { entries: [image.entries.clone(), image.entries.clone()].concat(), ..image.clone() };
    assert_eq!(back(twice), Err(ImageError::SameIndex(image.entries[0].index)));
    let both = Image { archived_ids: vec![id(3)], ..image.clone() };
    assert_eq!(back(both), Err(ImageError::Twice(id(3))));
    let early = Image { last_index: 2, ..image.clone() };
    assert!(matches!(back(early), Err(ImageError::BehindTheEnd { .. })));
    let few = Image { archived: 1, ..image };
    assert_eq!(back(few), Err(ImageError::TooManyArchived { ids: 2, archived: 1 }));
}

#[test]
fn what_an_officer_does_is_a_step_and_who_may_not_is_told_why() {
    let mut bench = Bench::new(finished(10));
    bench.commit(admit(1, Kind::Panic, true));
    let acted = |effect| match effect {
        Effect::Acted(_, acted) => acted,
        other => panic!("{other:?}"),
    };
    let early = acted(bench.commit(case(1, Action::Dispatch, "p1", 1)));
    assert_eq!((early.outcome, early.changed), (Err(CaseRefusal::NotTaken), false));
    bench.commit(note(1, Stage::Acknowledged, 2));
    assert_eq!(acted(bench.commit(case(1, Action::Dispatch, "p1", 2))).outcome, Ok(2));
    let repeat = acted(bench.commit(case(1, Action::Dispatch, "p1", 2)));
    assert_eq!((repeat.outcome, repeat.changed), (Ok(2), false));
    // An id that two orders have says of neither that it is done, but of the first.
    for (action, station) in [(Action::Dispatch, "p2"), (Action::Enroute, "p1")] {
        let other = acted(bench.commit(case(1, action, station, 2)));
        assert_eq!((other.outcome, other.changed), (Err(CaseRefusal::IdUsed), false));
    }
    assert_eq!(acted(bench.commit(case(1, Action::Enroute, "p9", 3))).outcome, Err(CaseRefusal::Unknown));
    assert_eq!(acted(bench.commit(case(1, Action::Enroute, "p2", 4))).outcome, Err(CaseRefusal::NotOwner));
    let moved = acted(bench.commit(case(1, Action::Transfer("p7".parse().unwrap()), "p1", 5)));
    assert_eq!((moved.outcome, moved.stations), (Ok(3), vec!["p7".parse().unwrap()]));
    assert_eq!(bench.state.for_station(&"p7".parse().unwrap(), 0).count(), 1, "it is for that station now");
    assert_eq!(acted(bench.commit(case(1, Action::TakeOver, "p7", 6))).outcome, Ok(4));
    assert_eq!(bench.commit(case(9, Action::Note, "p1", 7)), Effect::Nothing, "no such event");
    // Below P1 there is no case.
    bench.commit(admit(2, Kind::Fault, true));
    assert_eq!(acted(bench.commit(case(2, Action::Note, "p1", 8))).outcome, Err(CaseRefusal::NoCase));
    let entry = bench.state.get(&id(1)).unwrap();
    let first = entry.case.history.steps().next().unwrap();
    assert_eq!((first.index, first.by.to_string().as_str()), (entry.index, "station/p1/d2"));
}

#[test]
fn an_event_of_another_region_has_its_case_there() {
    let mut bench = Bench::new(finished(10));
    let Command::Admit(mut admission) = admit(1, Kind::Panic, true) else { panic!("an admission") };
    let step =
        |node: &str| crate::receipt::Step { node: node.parse().unwrap(), arrived: WallTime(1), left: None, skew: None };
    admission.trail = Trail::new(vec![step("broker/below/n1"), step("broker/r1/n1")]);
    bench.commit(Command::Admit(admission));
    bench.commit(note(1, Stage::Acknowledged, 2));
    let Effect::Acted(_, acted) = bench.commit(case(1, Action::Dispatch, "p1", 1)) else { panic!("an order") };
    assert_eq!(acted.outcome, Err(CaseRefusal::Elsewhere));
}

#[test]
fn a_request_to_cancel_flags_the_open_cases_that_it_is_about_and_closes_none() {
    let mut bench = Bench::new(finished(10));
    for number in 1..=4 {
        bench.commit(admit(number, if number == 4 { Kind::Fault } else { Kind::Panic }, true));
    }
    bench.commit(note(1, Stage::Acknowledged, 2));
    bench.commit(note(2, Stage::Acknowledged, 2));
    bench.commit(case(2, Action::Close(Reason::False), "p1", 1));
    bench.index += 1;
    let applied = bench.state.apply(bench.index, admit(5, Kind::Cancel, true));
    assert_eq!(applied.cases, [id(1), id(3)], "what is closed and what has no case are not asked about");
    bench.state.check().unwrap();
    let case = |number| &bench.state.get(&id(number)).unwrap().case;
    assert_eq!((case(1).state, case(1).cancel_requested), (State::Acknowledged, true));
    assert_eq!((case(3).state, case(3).cancel_requested), (State::Raised, true));
    assert!(!case(2).cancel_requested && !case(5).cancel_requested);
}

#[test]
fn what_is_open_stays_while_there_is_room_and_what_is_closed_leaves_first() {
    let limits = RecordLimits { finished: 1, open_cases: 10, events: 4, archived_ids: 100, ..RecordLimits::default() };
    let mut bench = Bench::new(limits);
    for number in 1..=4 {
        bench.commit(admit(number, Kind::Panic, true));
        bench.commit(note(number, Stage::Acknowledged, 2));
    }
    assert_eq!(bench.state.len(), 4, "all are open");
    bench.commit(case(3, Action::Close(Reason::False), "p1", 1));
    assert_eq!(bench.state.len(), 4, "one closed may stay");
    bench.commit(admit(5, Kind::Panic, true));
    assert!(bench.state.is_archived(&id(3)), "the closed one makes room");
    bench.commit(admit(6, Kind::Panic, true));
    assert!(bench.state.is_archived(&id(1)), "then the oldest that an officer has");
    // What leaves by the very command that closes it.
    bench.commit(case(2, Action::Close(Reason::False), "p1", 2));
    bench.commit(case(4, Action::Close(Reason::False), "p1", 3));
    assert!(bench.state.is_archived(&id(2)) && !bench.state.is_archived(&id(4)));
    let closed = bench.archive.values().filter(|entry| entry.case.state == State::Closed).count();
    assert_eq!(closed, 2);
}

#[test]
fn a_long_case_leaves_in_several_rows_and_is_put_together_again() {
    let mut bench = Bench::new(RecordLimits { finished: 0, open_cases: 10, ..RecordLimits::default() });
    bench.commit(admit(1, Kind::Panic, true));
    bench.commit(note(1, Stage::Acknowledged, 2));
    for number in 0..10_000_u32 {
        let Command::Case { mut order, heard } = case(1, Action::Note, "p1", 0) else { panic!("an order") };
        order.id.0[4..8].copy_from_slice(&number.to_be_bytes());
        // Without `commit`, which keeps a log and looks at everything each time.
        bench.index += 1;
        bench.state.apply(bench.index, Command::Case { order, heard });
    }
    let whole = bench.state.get(&id(1)).unwrap().clone();
    assert_eq!(whole.case.steps(), 10_001);
    let image = bench.state.image();
    assert_eq!(RecordState::from_image(image, bench.state.limits()).as_ref(), Ok(&bench.state));
    bench.commit(case(1, Action::Close(Reason::False), "p1", 1));
    let rows = bench.archive.len();
    assert!(rows > 10 && bench.state.archived() == rows as u64, "{rows} rows");
    let mut parts = bench.archive.values();
    let mut again = parts.next().unwrap().clone();
    assert!(!again.is_whole() && !again.clone().join(&whole), "another row is no next part");
    assert!(parts.all(|part| again.join(part)));
    assert!(again.is_whole());
    assert_eq!((again.case.steps(), &again.notes), (10_002, &whole.notes));
    let mut last = (0, crate::case::genesis(&again.admission.sealed.bytes));
    for step in again.case.history.steps() {
        verify(last.0, &last.1, step).unwrap();
        last = (step.number, step.digest);
    }
}

#[test]
fn what_an_older_version_kept_of_a_case_is_who_took_it() {
    let mut bench = Bench::new(finished(10));
    bench.commit(admit(1, Kind::Panic, true));
    bench.commit(note(1, Stage::Acknowledged, 2));
    let entry = bench.state.get(&id(1)).unwrap();
    let mut old = Entry { case: crate::case::Case::default(), ..entry.clone() };
    old.derive_case();
    assert_eq!(&old, entry, "digest included: nodes that kept it themselves have the same");
}

fn command() -> impl Strategy<Value = Command> {
    let kinds = prop_oneof![Just(Kind::Panic), Just(Kind::Assist), Just(Kind::Status)];
    prop_oneof![
        3 => (0..40_u8, kinds, any::<bool>()).prop_map(|(number, kind, routed)| admit(number, kind, routed)),
        1 => (0..40_u8).prop_map(owed),
        4 => (0..40_u8, 4..7_usize, 0..6_usize).prop_map(|(number, stage, seat)| note(number, Stage::ALL[stage], seat)),
        1 => (0..40_u8).prop_map(|number| Command::Route { event: id(number), stations: vec!["p2".parse().unwrap()] }),
        1 => (0..40_u8, 0..4_usize).prop_map(|(number, at)| escalate(number, &[["p1", "p2", "p3", "p4"][at]])),
        2 => (0..40_u8, 0..4_usize).prop_map(|(number, at)| overdue(number, Rung::ALL[at], ["p1", "p3", "p4", "p5"][at])),
        3 => (0..40_u8, 0..8_usize, 0..2_usize, any::<u8>()).prop_map(|(number, at, station, order)| {
            case(number, actions()[at].clone(), STATIONS[station], order)
        }),
        1 => (0..40_u8, prop::collection::vec(3..7_usize, 1..4)).prop_map(|(number, stages)| Command::Forwarded {
            event: id(number),
            stages: stages.into_iter().map(|stage| Stage::ALL[stage]).collect(),
        }),
    ]
}

#[test]
fn a_rung_is_reached_once_in_order_and_not_after_an_officer_has_it() {
    let mut bench = Bench::new(finished(10));
    bench.commit(admit(1, Kind::Panic, true));
    let new: Vec<StationId> = vec!["county".parse().unwrap()];
    assert_eq!(bench.commit(overdue(1, Rung::County, "county")), Effect::Overdue(id(1), new));
    assert_eq!(bench.commit(overdue(1, Rung::County, "county")), Effect::Nothing);
    assert_eq!(bench.commit(overdue(1, Rung::Louder, "p1")), Effect::Nothing, "nothing goes down");
    bench.commit(note(1, Stage::Acknowledged, 0));
    assert_eq!(bench.commit(overdue(1, Rung::City, "city")), Effect::Nothing, "an officer has it");
    let owners: Vec<StationId> = ["p1", "county"].map(|owner| owner.parse().unwrap()).into();
    assert_eq!(bench.state.get(&id(1)).unwrap().owners(), owners);
    let image = bench.state.image();
    assert_eq!(RecordState::from_image(image, finished(10)).as_ref(), Ok(&bench.state));
    // What has no station gets its first by a route.
    bench.commit(admit(2, Kind::Panic, false));
    assert_eq!(bench.commit(overdue(2, Rung::County, "county")), Effect::Nothing);
    assert_eq!(bench.state.unrouted().count(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Every node has the same record after the same log, wherever it began: with the log's first command, or with a leader's snapshot and
    /// the rest. What is open stays, what left is known, and nothing is lost between record and archive.
    #[test]
    fn the_same_log_gives_the_same_record(
        commands in prop::collection::vec(command(), 1..200),
        keep in 0..12_usize,
        at in 0..200_usize,
    ) {
        let mut bench = Bench::new(finished(keep));
        let mut seen = BTreeSet::new();
        let mut snapshot = None;
        for (number, command) in commands.into_iter().enumerate() {
            if number == at {
                snapshot = Some(bench.state.image());
            }
            if let Effect::Admitted(id) = bench.commit(command) {
                prop_assert!(seen.insert(id), "{} came in twice", id);
            }
        }
        let archived: BTreeSet<EventId> = bench.archive.values().map(|entry| entry.admission.sealed.event.id).collect();
        prop_assert!(bench.archive.values().all(Entry::is_finished), "something open left");
        for id in &seen {
            prop_assert!(bench.state.get(id).is_some() != archived.contains(id), "{} is lost, or there twice", id);
            prop_assert_eq!(bench.state.is_archived(id), archived.contains(id));
        }
        prop_assert_eq!(bench.state.archived(), archived.len() as u64);
        for entry in bench.state.entries().map(|entry| &**entry).chain(bench.archive.values()) {
            prop_assert!(entry.overdue.windows(2).all(|two| two[0].rung < two[1].rung), "a rung is reached once");
            prop_assert!(entry.overdue.is_empty() || !entry.admission.stations.is_empty());
            let owners = entry.owners();
            prop_assert!(entry.overdue.iter().flat_map(|reached| &reached.owners).all(|owner| owners.contains(owner)));
        }
        let mut again = RecordState::new(finished(keep));
        let mut restored = snapshot.map(|image| RecordState::from_image(image, finished(keep)).unwrap());
        for (index, command) in bench.log.clone() {
            again.apply(index, command.clone());
            if let Some(restored) = &mut restored {
                // What the snapshot has already changes nothing.
                restored.apply(index, command);
            }
        }
        prop_assert_eq!(&again, &bench.state);
        if let Some(restored) = restored {
            prop_assert_eq!(&restored, &bench.state);
        }
        // Each command a second time changes nothing about owners, and admits nothing.
        let owners: Vec<_> = bench.state.entries().map(|entry| entry.owner().cloned()).collect();
        let len = bench.state.len();
        for (_, command) in bench.log.clone() {
            if matches!(command, Command::Admit(_)) {
                prop_assert_eq!(bench.commit(command), Effect::Nothing);
            }
        }
        let after: Vec<_> = bench.state.entries().map(|entry| entry.owner().cloned()).collect();
        prop_assert_eq!((owners, len), (after, bench.state.len()));
    }
}
