//! An officer acts on a case, and the region hears it late, answers otherwise, or not at all.

use super::*;
use crate::Machine;
use crate::case::{Action, Reason, State};
use crate::event::{Kind, Text};
use crate::id::{Name, NodeName, SeatId};
use crate::message::{CASES_SINCE, EventCopy, Hello, WIRE_MINOR};
use crate::path::PathInfo;
use crate::receipt::Trail;
use crate::relay::tests_support::{event, seal};
use crate::station::{Input, StationConfig};
use crate::time::WallTime;

fn at(millis: u64) -> Now {
    Now { mono: Timestamp(millis * 1_000), wall: WallTime(9) }
}

fn id() -> EventId {
    event(Kind::Panic).id
}

fn node(number: u64) -> NodeName {
    format!("broker/r1/n{number}").parse().unwrap()
}

fn hello(wire_minor: u32) -> Message {
    Message::Hello(Hello { software: String::new(), wire_minor, resume: None })
}

/// A seat with one alarm and as many sessions.
fn seat(sessions: u64) -> Station {
    let seat = SeatId { station: "p1".parse().unwrap(), seat: "a".parse().unwrap() };
    let (marks, software) = (BTreeMap::new(), "test".to_owned());
    let mut station = Station::new(at(0), StationConfig { seat, next_seq: 1, marks, seed: 1, software }, vec![]);
    for number in 1..=sessions {
        let info = PathInfo::plain(Lane::Express);
        station.handle(at(0), Input::PathUp(PathId(number), node(number), info));
        station.handle(at(0), Input::Message(PathId(number), hello(WIRE_MINOR)));
    }
    let copy = EventCopy { sealed: seal(&event(Kind::Panic)), trail: Trail::default(), receipts: vec![] };
    station.handle(at(0), Input::Message(PathId(1), Message::Event(copy)));
    drain(&mut station);
    station
}

fn drain(station: &mut Station) -> Vec<Output> {
    station.check().unwrap();
    std::iter::from_fn(|| station.poll_output()).collect()
}

fn order(number: u8) -> CaseOrder {
    CaseOrder {
        id: ActionId([number; 16]),
        event: id(),
        action: Action::Close(Reason::False),
        by: node(1),
        officer: Name::new("014").unwrap(),
        at: WallTime(0),
        note: Text::default(),
    }
}

fn ask(station: &mut Station, number: u8) -> Vec<Output> {
    station.handle(at(0), Input::Case(AckTicket(u64::from(number)), Box::new(order(number))));
    drain(station)
}

fn said(outputs: &[Output]) -> Vec<(PathId, CaseOrder)> {
    let said = |output: &Output| match output {
        Output::Send(path, _, _, Message::Case(order)) => Some((*path, (**order).clone())),
        _ => None,
    };
    outputs.iter().filter_map(said).collect()
}

fn answers(outputs: Vec<Output>) -> Vec<Result<CaseDone, CaseError>> {
    outputs.into_iter().filter_map(|o| if let Output::Cased(_, answer) = o { Some(answer) } else { None }).collect()
}

fn hear(station: &mut Station, path: u64, message: Message) -> Vec<Result<CaseDone, CaseError>> {
    station.handle(at(1), Input::Message(PathId(path), message));
    answers(drain(station))
}

fn summary(steps: u64) -> Summary {
    Summary {
        event: id(),
        state: State::Closed,
        level: 0,
        owner: None,
        cancel_requested: false,
        number_110: None,
        reason: Some(Reason::False),
        steps,
        last: None,
        bond: crate::record::Bond::Alone,
        presses: 0,
        live: false,
    }
}

fn no_quorum(number: u8) -> Message {
    Message::CaseRefused(ActionId([number; 16]), CaseRefusal::NoQuorum, None)
}

#[test]
fn the_officer_is_answered_once_when_the_record_has_it() {
    let mut seat = seat(2);
    let orders = said(&ask(&mut seat, 1));
    assert_eq!(orders.len(), 2, "every node hears it");
    let me: NodeName = "station/p1/a".parse().unwrap();
    assert_eq!((&orders[0].1.by, orders[0].1.at), (&me, WallTime(9)), "who and when is the seat's to say");
    let taken = Message::CaseTaken(ActionId([1; 16]), 2, Box::new(summary(2)));
    let done = hear(&mut seat, 1, taken.clone());
    assert_eq!(done, [Ok(CaseDone { id: ActionId([1; 16]), step: 2, case: summary(2) })]);
    assert_eq!(hear(&mut seat, 2, taken), [], "answered once");
    assert_eq!(seat.get(&id()).unwrap().case.as_deref(), Some(&summary(2)));
}

#[test]
fn a_reason_that_holds_everywhere_is_told_at_once_and_another_only_if_all_say_so() {
    let mut seat = seat(2);
    ask(&mut seat, 1);
    let refused = Message::CaseRefused(ActionId([1; 16]), CaseRefusal::NotOwner, Some(Box::new(summary(3))));
    let told = hear(&mut seat, 1, refused);
    assert!(
        matches!(&told[..], [Err(CaseError::Refused { why: CaseRefusal::NotOwner, case: Some(_), .. })]),
        "{told:?}"
    );
    ask(&mut seat, 2);
    assert_eq!(hear(&mut seat, 1, no_quorum(2)), [], "the other node may be with the rest of the region");
    let told = hear(&mut seat, 2, no_quorum(2));
    assert!(matches!(&told[..], [Err(CaseError::Refused { why: CaseRefusal::NoQuorum, .. })]), "{told:?}");
}

#[test]
fn whoever_may_have_taken_it_along_leaves_it_in_doubt() {
    let mut seat = seat(2);
    ask(&mut seat, 1);
    seat.handle(at(2), Input::PathDown(PathId(1)));
    assert_eq!(hear(&mut seat, 2, no_quorum(1)), [], "the node that is gone may have brought it to the record");
    let mut given_up = Vec::new();
    let mut again = 0;
    for millis in (100..=10_100).step_by(100) {
        seat.handle_timeout(at(millis));
        let outputs = drain(&mut seat);
        again += said(&outputs).len();
        given_up.extend(answers(outputs));
    }
    assert!((15..=20).contains(&again), "{again}");
    assert_eq!(given_up, [Err(CaseError::NotConfirmed { event: id(), id: ActionId([1; 16]) })]);
}

#[test]
fn an_event_that_no_node_knows_is_told_as_such_in_the_end() {
    let mut seat = seat(1);
    ask(&mut seat, 1);
    let unknown = Message::CaseRefused(ActionId([1; 16]), CaseRefusal::Unknown, None);
    assert_eq!(hear(&mut seat, 1, unknown), [], "it may be about to hear of it");
    seat.handle_timeout(at(10_100));
    let told = answers(drain(&mut seat));
    assert!(matches!(&told[..], [Err(CaseError::Refused { why: CaseRefusal::Unknown, .. })]), "{told:?}");
}

#[test]
fn a_node_of_an_older_minor_is_not_told() {
    let mut seat = seat(0);
    seat.handle(at(0), Input::PathUp(PathId(5), node(5), PathInfo::plain(Lane::Express)));
    let copy = EventCopy { sealed: seal(&event(Kind::Panic)), trail: Trail::default(), receipts: vec![] };
    seat.handle(at(0), Input::Message(PathId(5), Message::Event(copy)));
    assert_eq!(said(&ask(&mut seat, 1)), [], "it has not greeted");
    seat.handle(at(1), Input::Message(PathId(5), hello(CASES_SINCE - 1)));
    assert_eq!(said(&drain(&mut seat)), []);
    seat.handle(at(2), Input::Message(PathId(5), hello(WIRE_MINOR)));
    assert_eq!(said(&drain(&mut seat)).len(), 1);
}

#[test]
fn what_is_older_says_nothing_and_what_is_open_is_bounded() {
    let mut seat = seat(1);
    hear(&mut seat, 1, Message::Cases(vec![summary(5)]));
    hear(&mut seat, 1, Message::Cases(vec![Summary { state: State::Onscene, ..summary(4) }]));
    assert_eq!(seat.get(&id()).unwrap().case.as_deref(), Some(&summary(5)), "it was overtaken");
    let asked = Summary { cancel_requested: true, ..summary(5) };
    hear(&mut seat, 1, Message::Cases(vec![asked.clone()]));
    assert_eq!(seat.get(&id()).unwrap().case.as_deref(), Some(&asked));
    for number in 0..u8::try_from(limits::CASE_ORDERS_OPEN).unwrap() {
        assert_eq!(answers(ask(&mut seat, number)), []);
    }
    assert_eq!(answers(ask(&mut seat, 200)), [Err(CaseError::Busy)]);
    let event = EventId::from_bytes([9; 16]);
    seat.handle(at(0), Input::Case(AckTicket(1), Box::new(CaseOrder { event, ..order(201) })));
    assert_eq!(answers(drain(&mut seat)), [Err(CaseError::Unknown(event))]);
}

#[test]
fn a_history_is_asked_for_until_some_node_gives_it() {
    let mut seat = seat(2);
    let asks = |outputs: &[Output]| {
        outputs.iter().filter(|output| matches!(output, Output::Send(_, _, _, Message::CaseAsk(..)))).count()
    };
    let given = |outputs: Vec<Output>| -> Vec<Result<(Vec<crate::case::Step>, u64), crate::station::HistoryError>> {
        outputs
            .into_iter()
            .filter_map(|o| if let Output::History(_, answer) = o { Some(answer) } else { None })
            .collect()
    };
    seat.handle(at(0), Input::History(AckTicket(1), id(), 2));
    assert_eq!(asks(&drain(&mut seat)), 1, "one node, at first");
    seat.handle_timeout(at(500));
    assert_eq!(asks(&drain(&mut seat)), 2, "then all");
    let other = Message::CaseSteps(id(), vec![], 5);
    seat.handle(at(600), Input::Message(PathId(1), other));
    assert_eq!(given(drain(&mut seat)), [], "that is no answer to what was asked");
    seat.handle(at(700), Input::Message(PathId(1), Message::CaseSteps(id(), vec![], 2)));
    assert_eq!(given(drain(&mut seat)), [Ok((vec![], 2))]);
    seat.handle(at(800), Input::History(AckTicket(2), id(), 0));
    seat.handle_timeout(at(10_800));
    assert_eq!(given(drain(&mut seat)), [Err(crate::station::HistoryError::NoAnswer(id()))]);
}

#[test]
fn what_is_said_of_a_case_before_its_event_comes_is_not_lost() {
    let mut seat = seat(1);
    let mut other = event(Kind::Panic);
    other.id = EventId::from_bytes([7; 16]);
    let early = |steps| Summary { event: other.id, ..summary(steps) };
    hear(&mut seat, 1, Message::Cases(vec![early(4), early(3)]));
    let copy = EventCopy { sealed: seal(&other), trail: Trail::default(), receipts: vec![] };
    seat.handle(at(2), Input::Message(PathId(1), Message::Event(copy)));
    drain(&mut seat);
    assert_eq!(seat.get(&other.id).unwrap().case.as_deref(), Some(&early(4)));
    // Of events that never come, so many are remembered.
    for number in 0..2_000_u16 {
        let mut id = [1; 16];
        id[..2].copy_from_slice(&number.to_be_bytes());
        hear(&mut seat, 1, Message::Cases(vec![Summary { event: EventId::from_bytes(id), ..summary(2) }]));
    }
    assert_eq!(seat.cases.early.len(), limits::CASES_TOLD);
}
