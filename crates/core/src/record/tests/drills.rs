//! Drills and tests in the record: what is over is closed once and by nobody, what is meant never is.

use super::*;
use crate::drill::{CloseDrill, DrillId, DrillRefusal, OpenDrill, Scope};
use crate::event::Mode;
use crate::plan::Label;
use crate::time::Span;

const MINUTE: i64 = 60_000_000;

fn admit_as(number: u8, kind: Kind, mode: Mode) -> Command {
    let mut event = event(kind);
    (event.id, event.mode) = (id(number), mode);
    let Command::Admit(admission) = admit(number, Kind::Panic, true) else { panic!("admitted") };
    Command::Admit(Admission { sealed: seal(&event), ..admission })
}

fn end(number: u8, at: i64) -> Command {
    Command::EndCase { event: id(number), by: "broker/r1/n1".parse().unwrap(), at: WallTime(at) }
}

fn open_drill(number: u8) -> Command {
    Command::OpenDrill(Box::new(OpenDrill {
        id: DrillId([number; 16]),
        scope: Scope::Schools(["s1".parse().unwrap()].into()),
        devices: [].into(),
        from: WallTime(0),
        length: Span::from_secs(if number == 9 { 0 } else { 600 }),
        by: "broker/r1/n1".parse().unwrap(),
        approver: Label::new("王").unwrap(),
        note: Text::default(),
        planned: false,
        at: WallTime(0),
    }))
}

fn close_drill(number: u8, at: i64) -> Command {
    let (by, who) = ("broker/r1/n1".parse().unwrap(), Label::new("王").unwrap());
    Command::CloseDrill(Box::new(CloseDrill {
        id: DrillId([number; 16]),
        by,
        who,
        note: Text::default(),
        at: WallTime(at),
    }))
}

#[test]
fn a_test_that_nobody_took_is_closed_after_five_minutes_and_finished_for_everybody() {
    let mut bench = Bench::new(RecordLimits::default());
    bench.commit(admit_as(1, Kind::Panic, Mode::Test));
    assert_eq!(bench.commit(end(1, 5 * MINUTE)), Effect::Nothing, "it came in a microsecond too late for that");
    let Effect::Ended(ended, Some(receipt)) = bench.commit(end(1, 5 * MINUTE + 1)) else { panic!("closed") };
    assert_eq!((ended, receipt.stage, receipt.officer), (id(1), Stage::Closed, None));
    let entry = bench.state.get(&id(1)).unwrap();
    assert!(entry.is_finished() && entry.is_closed() && entry.owner().is_none());
    let step = entry.case.history.last().unwrap().clone();
    assert_eq!((step.action, step.by.to_string().as_str()), (Action::Close(Reason::Test), "broker/r1/n1"));
    assert_eq!(bench.commit(end(1, 6 * MINUTE)), Effect::Nothing, "once");
    let entry = bench.state.get(&id(1)).unwrap();
    let before = crate::case::genesis(&entry.admission.sealed.bytes);
    assert_eq!(verify(0, &before, entry.case.history.last().unwrap()), Ok(()));
    // Who takes it late is told so, and the case stays closed.
    bench.commit(note(1, Stage::Acknowledged, 0));
    assert_eq!(bench.state.get(&id(1)).unwrap().case.state, State::Closed);
}

#[test]
fn a_drill_that_an_officer_has_is_closed_in_its_history_alone() {
    let mut bench = Bench::new(RecordLimits::default());
    bench.commit(admit_as(1, Kind::Panic, Mode::Drill));
    bench.commit(note(1, Stage::Acknowledged, 0));
    assert_eq!(bench.commit(end(1, MINUTE)), Effect::Ended(id(1), None));
    let entry = bench.state.get(&id(1)).unwrap();
    assert_eq!(entry.notes.iter().filter(|note| note.stage == Stage::Closed).count(), 0);
    assert_eq!(entry.case.closed.unwrap().0, Reason::Drill);
    // Its officer reopens it: then it is the officer's to close.
    let Effect::Acted(_, acted) = bench.commit(case(1, Action::Reopen, "p1", 1)) else { panic!("acted") };
    assert!(acted.outcome.is_ok());
    assert_eq!(bench.commit(end(1, 2 * MINUTE)), Effect::Nothing);
}

#[test]
fn what_an_officer_makes_live_is_never_closed_by_itself() {
    let mut bench = Bench::new(RecordLimits::default());
    for (number, mode) in [(1, Mode::Drill), (2, Mode::Test), (3, Mode::Live)] {
        bench.commit(admit_as(number, Kind::Panic, mode));
    }
    for number in [1, 2] {
        let Effect::Acted(_, acted) = bench.commit(case(number, Action::MakeLive, "p2", 1)) else { panic!("acted") };
        assert!(acted.outcome.is_ok(), "before anybody took it, and by whoever sees it: {acted:?}");
        assert!(bench.state.get(&id(number)).unwrap().is_live());
        let Effect::Acted(_, again) = bench.commit(case(number, Action::MakeLive, "p1", 2)) else { panic!("acted") };
        assert_eq!(again.outcome, Err(CaseRefusal::Live));
    }
    let Effect::Acted(_, acted) = bench.commit(case(3, Action::MakeLive, "p1", 1)) else { panic!("acted") };
    assert_eq!(acted.outcome, Err(CaseRefusal::Live), "what was meant is");
    for number in [1, 2, 3] {
        assert_eq!(bench.commit(end(number, 60 * MINUTE)), Effect::Nothing);
    }
    let image = bench.state.image();
    let again = RecordState::from_image(image, RecordLimits::default()).unwrap();
    assert_eq!(again, bench.state);
}

#[test]
fn what_nobody_had_and_the_region_closed_may_be_reopened_by_whoever_sees_it() {
    let mut bench = Bench::new(RecordLimits::default());
    bench.commit(admit_as(1, Kind::Panic, Mode::Drill));
    bench.commit(end(1, MINUTE));
    let order = match case(1, Action::Reopen, "p2", 1) {
        Command::Case { order, .. } => Command::Case { order, heard: WallTime(2 * MINUTE) },
        other => other,
    };
    let Effect::Acted(_, acted) = bench.commit(order) else { panic!("acted") };
    assert!(acted.outcome.is_ok(), "{acted:?}");
    let entry = bench.state.get(&id(1)).unwrap();
    assert_eq!(entry.case.owner.as_ref().unwrap().by.to_string(), "station/p2/d1");
}

#[test]
fn drills_and_tests_are_in_the_image_and_come_back() {
    let mut bench = Bench::new(RecordLimits::default());
    assert!(matches!(bench.commit(open_drill(1)), Effect::DrillOpened(_)));
    assert_eq!(bench.commit(open_drill(1)), Effect::Nothing);
    assert_eq!(bench.commit(open_drill(9)), Effect::DrillRefused(DrillId([9; 16]), DrillRefusal::Length));
    bench.commit(admit_as(1, Kind::Test, Mode::Test));
    bench.commit(admit_as(2, Kind::SelfTest, Mode::Test));
    bench.commit(admit_as(3, Kind::Panic, Mode::Live));
    let tested = bench.state.tests().of(&"s1".parse().unwrap());
    assert_eq!((tested.by_hand, tested.by_itself), (Some(WallTime(1)), Some(WallTime(1))));
    assert!(matches!(bench.commit(close_drill(1, MINUTE)), Effect::DrillClosed(_)));
    assert_eq!(bench.commit(close_drill(1, MINUTE)), Effect::Nothing);
    let again = RecordState::from_image(bench.state.image(), RecordLimits::default()).unwrap();
    assert_eq!(again, bench.state);
    assert_eq!(again.drills().refusal(&DrillId([9; 16])), Some(DrillRefusal::Length));
}

fn any_command() -> impl Strategy<Value = Command> {
    let kind = prop::sample::select(vec![Kind::Panic, Kind::Assist, Kind::Duress, Kind::Test]);
    let mode = prop::sample::select(vec![Mode::Live, Mode::Drill, Mode::Test]);
    let action = prop::sample::select(vec![
        Action::MakeLive,
        Action::Dispatch,
        Action::Close(Reason::False),
        Action::Reopen,
        Action::TakeOver,
    ]);
    prop_oneof![
        (0..6_u8, kind, mode).prop_map(|(number, kind, mode)| admit_as(number, kind, mode)),
        (0..6_u8, 0..10 * MINUTE).prop_map(|(number, at)| end(number, at)),
        (0..6_u8, 0..3_usize).prop_map(|(number, seat)| note(number, Stage::Acknowledged, seat)),
        (0..6_u8, action, 0..4_u8).prop_map(|(number, action, order)| case(number, action, "p1", order)),
        (0..3_u8).prop_map(open_drill),
        (0..3_u8, 0..10 * MINUTE).prop_map(|(number, at)| close_drill(number, at)),
    ]
}

proptest! {
    #[test]
    fn nothing_that_is_meant_is_closed_by_itself_and_nothing_twice(commands in prop::collection::vec(any_command(), 0..120)) {
        let mut bench = Bench::new(RecordLimits::default());
        let mut ended = BTreeSet::new();
        for command in commands {
            let meant: BTreeSet<EventId> =
                bench.state.entries().filter(|entry| entry.is_live()).map(|entry| entry.admission.sealed.event.id).collect();
            if let Effect::Ended(id, _) = bench.commit(command) {
                prop_assert!(!meant.contains(&id), "{id} was meant");
                prop_assert!(ended.insert(id), "{id} was closed by itself twice");
            }
        }
        for entry in bench.state.entries() {
            let by_itself = entry.case.history.steps().filter(|step| matches!(step.by, NodeName::Broker { .. })).count();
            prop_assert_eq!(by_itself, usize::from(ended.contains(&entry.admission.sealed.event.id)));
        }
        let again = RecordState::from_image(bench.state.image(), RecordLimits::default()).unwrap();
        prop_assert_eq!(again, bench.state);
    }
}
