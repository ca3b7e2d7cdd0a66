use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;
use crate::event::{Kind, Sealed, Text};
use crate::id::{Name, StationId};
use crate::limits;
use crate::receipt::{Receipt, Stage, Standing};
use crate::relay::tests_support::{event, seal};
use crate::time::WallTime;

fn sealed() -> Sealed {
    seal(&event(Kind::Panic))
}

fn text(text: &str) -> Text {
    Text::new(text).unwrap()
}

fn acknowledged(station: &str, officer: &str) -> Receipt {
    Receipt {
        event: sealed().event.id,
        stage: Stage::Acknowledged,
        at: WallTime(1),
        by: format!("station/{station}/a").parse().unwrap(),
        officer: Some(Name::new(officer).unwrap()),
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

fn order(number: u8, action: Action, station: &str, officer: &str, note: &str) -> CaseOrder {
    CaseOrder {
        id: ActionId([number; 16]),
        event: sealed().event.id,
        action,
        by: format!("station/{station}/a").parse().unwrap(),
        officer: Name::new(officer).unwrap(),
        at: WallTime(2),
        note: text(note),
    }
}

struct Bench {
    case: Case,
    index: u64,
    orders: u8,
    heard: i64,
}

impl Bench {
    /// A case that officer 1 of p1 has.
    fn taken() -> Self {
        let mut bench = Self { case: Case::default(), index: 10, orders: 0, heard: 0 };
        assert!(bench.case.acknowledge(&sealed(), 10, &acknowledged("p1", "1")));
        bench
    }

    fn say(&mut self, action: Action, station: &str, officer: &str, note: &str) -> Result<u64, CaseRefusal> {
        self.index += 1;
        self.orders += 1;
        let order = order(self.orders, action, station, officer, note);
        let outcome = self.case.act(&sealed(), self.index, (&order, WallTime(self.heard)), false);
        self.case.check().unwrap();
        let again = self.case.act(&sealed(), self.index + 100, (&order, WallTime(self.heard)), false);
        assert_eq!(again, outcome, "what is said again has the answer that it had");
        outcome
    }

    /// Officer 1 of p1 does these.
    fn does(&mut self, actions: &[Action]) {
        for action in actions {
            self.say(action.clone(), "p1", "1", "").unwrap();
        }
    }
}

/// Every state with every action: what a change of the table changes is seen here.
#[test]
fn the_whole_table() {
    let mut table = String::new();
    for state in State::ALL {
        for verb in Verb::ALL {
            let after = next(state, *verb).map_or_else(|why| format!("! {}", why.as_str()), |state| state.to_string());
            writeln!(table, "{state} {verb} {after}").unwrap();
        }
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/case/table.txt");
    let frozen = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(table, frozen, "the table is another than {path}");
}

#[test]
fn a_case_goes_its_way_to_its_end() {
    let mut bench = Bench::taken();
    bench.does(&[Action::Dispatch, Action::Enroute, Action::Onscene, Action::NeedHelp, Action::Handled]);
    bench.does(&[Action::Close(Reason::Real)]);
    let case = &bench.case;
    assert_eq!((case.state, case.level, case.steps()), (State::Closed, 1, 7));
    assert_eq!(case.closed.map(|(reason, _)| reason), Some(Reason::Real));
    let mut last = (0, genesis(&sealed().bytes));
    for step in case.history.steps() {
        verify(last.0, &last.1, step).unwrap();
        last = (step.number, step.digest);
    }
    let summary = case.summary(sealed().event.id);
    assert_eq!(summary.last.map(|last| last.verb), Some(Verb::Close));
}

#[test]
fn a_changed_missing_or_exchanged_step_shows() {
    let mut bench = Bench::taken();
    bench.does(&[Action::Dispatch, Action::Enroute]);
    let steps: Vec<Step> = bench.case.history.steps().cloned().collect();
    let start = genesis(&sealed().bytes);
    assert_eq!(verify(0, &start, &steps[0]), Ok(()));
    assert_eq!(verify(1, &steps[0].digest, &steps[2]), Err(ChainError::Number { expected: 2, found: 3 }));
    assert_eq!(verify(0, &genesis(b"another event"), &steps[0]), Err(ChainError::Digest(1)));
    let changes: [fn(&mut Step); 11] = [
        |step| step.index += 1,
        |step| step.id = ActionId([9; 16]),
        |step| step.action = Action::Handled,
        |step| step.state = State::Closed,
        |step| step.level += 1,
        |step| step.by = "station/p1/b".parse().unwrap(),
        |step| step.officer = None,
        |step| step.at = WallTime(77),
        |step| step.heard = WallTime(77),
        |step| step.note = Text::new("x").unwrap(),
        |step| step.digest[31] ^= 1,
    ];
    for change in changes {
        let mut step = steps[1].clone();
        change(&mut step);
        assert_eq!(verify(1, &steps[0].digest, &step), Err(ChainError::Digest(2)), "{step:?}");
    }
}

#[test]
fn only_the_owners_station_brings_it_forward_and_any_may_take_it_over() {
    let mut bench = Bench::taken();
    assert_eq!(bench.say(Action::Dispatch, "p2", "2", ""), Err(CaseRefusal::NotOwner));
    assert_eq!(bench.say(Action::TakeOver, "p1", "1", ""), Err(CaseRefusal::Owns));
    assert_eq!(bench.say(Action::Note, "p2", "2", "看到两人"), Ok(2));
    // A colleague at the same station acts for the owner.
    assert_eq!(bench.say(Action::Dispatch, "p1", "9", ""), Ok(3));
    assert_eq!(bench.say(Action::TakeOver, "p2", "2", ""), Ok(4));
    assert_eq!(bench.case.state, State::Dispatched, "whose it is changes, and not where it stands");
    assert_eq!(bench.say(Action::Enroute, "p1", "1", ""), Err(CaseRefusal::NotOwner));
    assert_eq!(bench.say(Action::Enroute, "p2", "2", ""), Ok(5));
}

#[test]
fn a_transfer_leaves_it_open_until_somebody_takes_it() {
    let to: StationId = "p3".parse().unwrap();
    let mut bench = Bench::taken();
    assert_eq!(bench.say(Action::Transfer("p1".parse().unwrap()), "p1", "1", ""), Err(CaseRefusal::Owns));
    bench.does(&[Action::Dispatch, Action::Transfer(to)]);
    assert_eq!((bench.case.state, bench.case.owner.as_ref()), (State::Raised, None));
    assert_eq!(bench.say(Action::Dispatch, "p3", "3", ""), Err(CaseRefusal::NotTaken));
    assert_eq!(bench.say(Action::TakeOver, "p3", "3", ""), Ok(4));
    assert_eq!(bench.case.state, State::Acknowledged);
    // An acknowledgement is as good, and only where nobody has it.
    assert!(!bench.case.acknowledge(&sealed(), 50, &acknowledged("p2", "2")));
    assert_eq!(bench.say(Action::Transfer("p2".parse().unwrap()), "p3", "3", ""), Ok(5));
    assert!(bench.case.acknowledge(&sealed(), 50, &acknowledged("p2", "2")));
}

#[test]
fn nothing_is_done_about_an_alarm_that_nobody_took() {
    let mut bench = Bench { case: Case::default(), index: 0, orders: 0, heard: 0 };
    for action in [Action::Dispatch, Action::TakeOver, Action::Close(Reason::Test), Action::NeedHelp] {
        assert_eq!(bench.say(action, "p1", "1", ""), Err(CaseRefusal::NotTaken));
    }
    assert_eq!(bench.say(Action::Note, "p1", "1", "x"), Ok(1));
    assert_eq!(bench.say(Action::TakeOver, "p1", "1", ""), Err(CaseRefusal::NotTaken), "a note takes nothing");
    let acknowledge = bench.say(Action::Acknowledge, "p1", "1", "");
    assert!(matches!(acknowledge, Err(CaseRefusal::NotNow { .. })), "it comes as a receipt");
}

#[test]
fn closing_needs_a_reason_that_fits() {
    for (reason, note, closes) in [
        (Reason::False, "", true),
        (Reason::Accidental, "", true),
        (Reason::Test, "", true),
        (Reason::Drill, "", true),
        (Reason::Real, "", false),
        (Reason::Real, "电话处理完毕", true),
        (Reason::Other, "", false),
        (Reason::Other, "重复报警", true),
    ] {
        let outcome = Bench::taken().say(Action::Close(reason), "p1", "1", note);
        assert_eq!(outcome, if closes { Ok(2) } else { Err(CaseRefusal::NeedsNote) }, "{reason} {note}");
    }
}

#[test]
fn a_case_is_reopened_within_ten_minutes_and_not_later() {
    let minutes = i64::try_from(limits::CASE_REOPEN.as_micros()).unwrap();
    for (after, opens) in [(0, true), (minutes, true), (minutes + 1, false), (-5, true)] {
        let mut bench = Bench::taken();
        bench.heard = 1_000;
        bench.does(&[Action::Close(Reason::False)]);
        assert_eq!(bench.say(Action::Note, "p2", "2", "补充"), Ok(3), "a closed case takes notes");
        bench.heard += after;
        let outcome = bench.say(Action::Reopen, "p1", "1", "");
        assert_eq!(outcome, if opens { Ok(4) } else { Err(CaseRefusal::TooLate) });
        assert_eq!(bench.case.state, if opens { State::Acknowledged } else { State::Closed });
    }
}

#[test]
fn the_level_has_a_top_and_a_request_to_cancel_closes_nothing() {
    let mut bench = Bench::taken();
    for _ in 0..limits::CASE_LEVEL {
        bench.does(&[Action::NeedHelp]);
    }
    assert_eq!(bench.say(Action::NeedHelp, "p1", "1", ""), Err(CaseRefusal::TopLevel));
    assert!(bench.case.request_cancel() && !bench.case.request_cancel());
    assert_eq!((bench.case.state, bench.case.cancel_requested), (State::Acknowledged, true));
    bench.does(&[Action::Close(Reason::False)]);
    assert!(bench.case.cancel_requested, "it is never taken back");
}

/// A copy of a refused order that comes late must not be carried out, though it might be now.
#[test]
fn what_was_refused_stays_refused() {
    let mut bench = Bench::taken();
    let late = order(77, Action::Dispatch, "p2", "2", "");
    let say = |bench: &mut Bench| bench.case.act(&sealed(), 60, (&late, WallTime(0)), false);
    assert_eq!(say(&mut bench), Err(CaseRefusal::NotOwner));
    bench.say(Action::TakeOver, "p2", "2", "").unwrap();
    assert_eq!(say(&mut bench), Err(CaseRefusal::NotOwner));
    assert_eq!(bench.say(Action::Dispatch, "p2", "2", ""), Ok(3));
}

#[test]
fn ten_thousand_notes_are_kept_and_a_full_case_can_still_be_closed() {
    let mut case = Bench::taken().case;
    let note = |case: &mut Case, number: u32, full| {
        let mut id = [0xee; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        let order = CaseOrder { id: ActionId(id), ..order(0, Action::Note, "p1", "1", "第") };
        case.act(&sealed(), 20 + u64::from(number), (&order, WallTime(3)), full)
    };
    let shared = case.clone();
    for number in 0..10_000 {
        assert_eq!(note(&mut case, number, false), Ok(u64::from(number) + 2));
    }
    assert_eq!((case.steps(), shared.steps()), (10_001, 1), "a copy is a copy");
    assert_eq!(note(&mut case, 5_000, false), Ok(5_002), "an old order is known");
    let mut number = 10_000;
    while note(&mut case, number, false).is_ok() {
        number += 1;
    }
    assert_eq!(note(&mut case, number, false), Err(CaseRefusal::NoRoom));
    assert_eq!(case.history.len(), limits::CASE_STEPS - limits::CASE_STEPS_TO_END);
    let mut bench = Bench { case, index: 90_000, orders: 0, heard: 0 };
    bench.does(&[Action::Dispatch, Action::Enroute, Action::Onscene, Action::Handled, Action::Close(Reason::Real)]);
    // The same where the record is full of other cases.
    let mut bench = Bench::taken();
    assert_eq!(note(&mut bench.case, 1, true), Err(CaseRefusal::NoRoom));
    let close = order(9, Action::Close(Reason::False), "p1", "1", "");
    assert_eq!(bench.case.act(&sealed(), 30, (&close, WallTime(3)), true), Ok(2));
}

#[test]
fn a_long_history_is_cut_into_parts_and_put_together_again() {
    let mut bench = Bench::taken();
    for number in 1..=200_u8 {
        let order = order(number, Action::Note, "p1", "1", &"长".repeat(usize::from(number)));
        bench.case.act(&sealed(), 20 + u64::from(number), (&order, WallTime(3)), false).unwrap();
    }
    let history = &bench.case.history;
    for weight in [1, 500, 5_000, usize::MAX] {
        let parts = history.split(weight);
        assert_eq!(parts.len(), history.parts(weight));
        assert!(parts.iter().all(|part| part.weight() <= weight || part.len() == 1));
        let mut again = History::default();
        parts.iter().flat_map(History::steps).for_each(|step| assert!(again.push(step.clone())));
        assert_eq!(&again, history);
    }
    assert_eq!((History::default().split(9).len(), History::default().parts(9)), (1, 1));
}

#[test]
fn names_and_numbers_come_back() {
    for verb in Verb::ALL {
        assert_eq!(verb.as_str().parse(), Ok(*verb));
        assert_eq!(Verb::from_number(i32::from(verb.number())), Some(*verb));
    }
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(state));
        assert_eq!(State::from_number(i32::from(state.number())), Some(state));
    }
    for number in 1..=16 {
        let why = CaseRefusal::from_number(number, Some((Verb::Close, State::Raised)));
        assert_eq!(i32::from(why.number()), number);
    }
    assert_eq!(CaseRefusal::from_number(99, None), CaseRefusal::Other);
    assert_eq!(CaseRefusal::from_number(8, None), CaseRefusal::Other, "without what belongs to it");
    for action in [Action::Close(Reason::Drill), Action::Transfer("p7".parse().unwrap()), Action::Note] {
        assert_eq!(Action::from_parts(action.verb(), action.detail()), Ok(action));
    }
    assert!(Action::from_parts(Verb::Note, "x").is_err() && Action::from_parts(Verb::Close, "").is_err());
    assert!(
        CaseNumber::new("").is_err() && CaseNumber::new("a\nb").is_err() && CaseNumber::new(&"9".repeat(65)).is_err()
    );
}

fn actions() -> impl Strategy<Value = Vec<(u8, Action, u8, i64)>> {
    let plain = [
        Action::TakeOver,
        Action::Dispatch,
        Action::Enroute,
        Action::Onscene,
        Action::NeedHelp,
        Action::Handled,
        Action::Close(Reason::False),
        Action::Close(Reason::Real),
        Action::Reopen,
        Action::Transfer("p3".parse().unwrap()),
        Action::Note,
        Action::Number(CaseNumber::new("7").unwrap()),
    ];
    let one = (0..40_u8, prop::sample::select(plain.to_vec()), 0..3_u8, 0..700_i64);
    prop::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Any order and repetition of actions leads to a legal case; repeats change nothing; the same order makes the same chain.
    #[test]
    fn any_actions_lead_to_a_legal_case(actions in actions(), taken in 0..40_usize) {
        let mut cases = [Case::default(), Case::default()];
        let mut first = std::collections::BTreeMap::new();
        for (at, (id, action, station, seconds)) in actions.iter().enumerate() {
            // An id belongs to one order.
            let (action, station, seconds) = first.entry(*id).or_insert((action.clone(), *station, *seconds)).clone();
            let order = order(*id, action, &format!("p{station}"), "1", if id % 2 == 0 { "x" } else { "" });
            let heard = WallTime(seconds * 1_000_000);
            let mut outcomes = Vec::new();
            for (number, case) in cases.iter_mut().enumerate() {
                if at == taken {
                    case.acknowledge(&sealed(), 1, &acknowledged("p1", "1"));
                }
                let before = case.clone();
                let known = case.outcome(&order);
                let state = before.state;
                let outcome = case.act(&sealed(), at as u64 + 2, (&order, heard), false);
                case.check().unwrap();
                if known.is_some() {
                    prop_assert_eq!(known, Some(outcome));
                    prop_assert_eq!(&before, &*case);
                }
                if known.is_none() && outcome.is_ok() {
                    prop_assert_eq!(next(state, order.action.verb()), Ok(case.state));
                }
                // The second hears everything twice.
                if number == 1 {
                    let once = case.clone();
                    prop_assert_eq!(case.act(&sealed(), 9_999, (&order, heard), false), outcome);
                    prop_assert_eq!(&once, &*case);
                }
                outcomes.push(outcome);
            }
            prop_assert_eq!(outcomes[0], outcomes[1]);
        }
        prop_assert_eq!(&cases[0], &cases[1]);
        let mut last = (0, genesis(&sealed().bytes));
        for step in cases[0].history.steps() {
            prop_assert_eq!(verify(last.0, &last.1, step), Ok(()));
            last = (step.number, step.digest);
        }
    }
}
