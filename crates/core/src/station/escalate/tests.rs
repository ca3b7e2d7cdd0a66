//! An officer asks for help, and the region hears it late, in part, or not at all.

use std::collections::BTreeMap;

use super::*;
use crate::Machine;
use crate::id::{NodeName, SeatId};
use crate::message::EventCopy;
use crate::path::PathInfo;
use crate::receipt::Trail;
use crate::relay::tests_support::{event, seal};
use crate::station::{Input, StationConfig};
use crate::time::WallTime;

fn at(millis: u64) -> Now {
    Now { mono: Timestamp(millis * 1_000), wall: WallTime(9) }
}

fn station(code: &str) -> StationId {
    code.parse().unwrap()
}

fn id() -> EventId {
    event(crate::Kind::Panic).id
}

/// A seat with one alarm in its inbox; without a session if it is not `connected`.
fn seat(connected: bool) -> Station {
    let seat = SeatId { station: station("p1"), seat: "a".parse().unwrap() };
    let config = StationConfig { seat, next_seq: 1, marks: BTreeMap::new(), seed: 1, software: "test".to_owned() };
    let mut station = Station::new(at(0), config, vec![]);
    let broker: NodeName = "broker/r1/n1".parse().unwrap();
    station.handle(at(0), Input::PathUp(PathId(1), broker, PathInfo::plain(Lane::Express)));
    let copy = EventCopy { sealed: seal(&event(crate::Kind::Panic)), trail: Trail::default(), receipts: vec![] };
    station.handle(at(0), Input::Message(PathId(1), Message::Event(copy)));
    if !connected {
        station.handle(at(0), Input::PathDown(PathId(1)));
    }
    drain(&mut station);
    station
}

fn drain(station: &mut Station) -> Vec<Output> {
    station.check().unwrap();
    std::iter::from_fn(|| station.poll_output()).collect()
}

fn ask(station: &mut Station, ticket: u64, to: &[&str]) -> Vec<Output> {
    let stations = to.iter().map(|code| code.parse().unwrap()).collect();
    let (event, officer) = (id(), Name::new("014").unwrap());
    let ticket = AckTicket(ticket);
    station.handle(at(0), Input::Escalate { ticket, event, stations, officer, note: Text::default() });
    drain(station)
}

fn orders(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Send(_, _, _, Message::Escalate(_)))).count()
}

fn answers(outputs: Vec<Output>) -> Vec<Result<Escalate, EscalateError>> {
    outputs.into_iter().filter_map(|o| if let Output::Escalated(_, answer) = o { Some(answer) } else { None }).collect()
}

fn hear(station: &mut Station, message: Message) -> Vec<Result<Escalate, EscalateError>> {
    station.handle(at(1), Input::Message(PathId(1), message));
    answers(drain(station))
}

#[test]
fn the_officer_is_answered_when_the_record_has_all_of_its_stations() {
    let mut seat = seat(true);
    assert_eq!(orders(&ask(&mut seat, 1, &["p2", "p3"])), 1);
    assert_eq!(hear(&mut seat, Message::Escalated(id(), vec![station("p2")])), []);
    let done = hear(&mut seat, Message::Escalated(id(), vec![station("p3")]));
    let [Ok(order)] = &done[..] else { panic!("{done:?}") };
    assert_eq!(order.officer, Some(Name::new("014").unwrap()));
    assert_eq!(hear(&mut seat, Message::Escalated(id(), vec![station("p3")])), [], "answered once");
}

#[test]
fn it_is_said_again_until_it_is_given_up() {
    let mut seat = seat(false);
    assert_eq!(orders(&ask(&mut seat, 1, &["p2"])), 0, "nobody is there to hear it");
    let broker: NodeName = "broker/r1/n1".parse().unwrap();
    seat.handle(at(200), Input::PathUp(PathId(2), broker, PathInfo::plain(Lane::Express)));
    assert_eq!(orders(&drain(&mut seat)), 1, "the first session that comes hears it");
    let mut said = 0;
    let mut given_up = Vec::new();
    for millis in (0..=10_000).step_by(100) {
        seat.handle_timeout(at(millis));
        let outputs = drain(&mut seat);
        said += orders(&outputs);
        given_up.extend(answers(outputs));
    }
    assert!((15..=20).contains(&said), "{said}");
    assert_eq!(given_up, [Err(EscalateError::NotConfirmed { event: id() })]);
}

#[test]
fn what_the_region_does_not_take_is_told_in_words() {
    let mut seat = seat(true);
    ask(&mut seat, 1, &["p2"]);
    let refused = hear(&mut seat, Message::Refused(id(), Refusal::NoRoom));
    assert_eq!(refused, [Err(EscalateError::Refused { event: id(), why: Refusal::NoRoom })]);
    ask(&mut seat, 2, &["p2"]);
    assert_eq!(hear(&mut seat, Message::Unknown(vec![id()])), [], "another node may know it");
    seat.handle_timeout(at(10_000));
    assert_eq!(answers(drain(&mut seat)), [Err(EscalateError::NotOurs(id()))]);
}

#[test]
fn what_is_open_is_bounded_and_strangers_are_unknown() {
    let mut seat = seat(true);
    for ticket in 0..limits::ESCALATIONS_OPEN as u64 {
        assert_eq!(answers(ask(&mut seat, ticket, &["p2"])), []);
    }
    assert_eq!(answers(ask(&mut seat, 99, &["p2"])), [Err(EscalateError::Busy)]);
    let event = EventId::from_bytes([9; 16]);
    let (officer, stations) = (Name::new("014").unwrap(), vec![station("p2")]);
    seat.handle(at(0), Input::Escalate { ticket: AckTicket(100), event, stations, officer, note: Text::default() });
    assert_eq!(answers(drain(&mut seat)), [Err(EscalateError::Unknown(event))]);
}
