//! What a station knows of drills, and how its own orders about them end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;
use crate::Machine;
use crate::drill::{CloseDrill, Drill, DrillId, DrillOrder, DrillRefusal, OpenDrill, Scope};
use crate::event::{Kind, Text};
use crate::id::{EventId, Name, PathId, SeatId};
use crate::lane::Lane;
use crate::message::{DRILLS_SINCE, EventCopy, Hello, Message, WIRE_MINOR};
use crate::path::PathInfo;
use crate::plan::Label;
use crate::receipt::{Stage, Trail};
use crate::relay::tests_support::{event, seal};
use crate::time::{Now, Span, Timestamp, WallTime};

const SECOND: u64 = 1_000_000;

struct Desk {
    station: Station,
    now: u64,
}

impl Desk {
    fn new() -> Self {
        let seat = SeatId { station: "p1".parse().unwrap(), seat: Name::new("a").unwrap() };
        let config = StationConfig { seat, next_seq: 1, marks: BTreeMap::new(), seed: 1, software: String::new() };
        let mut desk = Self { station: Station::new(at(0), config, vec![]), now: 0 };
        for (path, minor) in [(1, WIRE_MINOR), (2, WIRE_MINOR), (3, DRILLS_SINCE - 1)] {
            let node = format!("broker/r1/n{path}").parse().unwrap();
            desk.step(Input::PathUp(PathId(path), node, PathInfo::plain(Lane::Express)));
            let hello = Hello { software: String::new(), wire_minor: minor, resume: None };
            desk.step(Input::Message(PathId(path), Message::Hello(hello)));
        }
        desk
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.station.handle(at(self.now), input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        let outputs = std::iter::from_fn(|| self.station.poll_output()).collect();
        self.station.check().unwrap();
        outputs
    }

    fn wait(&mut self, secs: u64) -> Vec<Output> {
        let until = self.now + secs * SECOND;
        let mut outputs = Vec::new();
        while let Some(due) = self.station.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.station.handle_timeout(at(self.now));
            outputs.extend(self.drain());
        }
        self.now = until;
        outputs
    }

    fn hear(&mut self, path: u64, message: Message) -> Vec<Output> {
        self.step(Input::Message(PathId(path), message))
    }
}

fn at(micros: u64) -> Now {
    Now { mono: Timestamp(micros), wall: WallTime(i64::try_from(micros).unwrap()) }
}

fn open(number: u8) -> OpenDrill {
    OpenDrill {
        id: DrillId([number; 16]),
        scope: Scope::Schools(["s1".parse().unwrap()].into()),
        devices: BTreeSet::new(),
        from: WallTime(0),
        length: Span::from_secs(600),
        by: "station/px/x".parse().unwrap(),
        approver: Label::new("王").unwrap(),
        note: Text::default(),
        planned: false,
        at: WallTime(0),
    }
}

fn drill(number: u8) -> Arc<Drill> {
    Arc::new(Drill { order: open(number), from: WallTime(5_000_000), until: WallTime(605_000_000), closed: None })
}

fn closed(number: u8) -> Arc<Drill> {
    let (by, who) = ("station/p1/a".parse().unwrap(), Label::new("王").unwrap());
    let closed = CloseDrill { id: DrillId([number; 16]), by, who, note: Text::default(), at: WallTime(100_000_000) };
    Arc::new(Drill { closed: Some(closed), ..(*drill(number)).clone() })
}

fn said(outputs: &[Output]) -> Vec<u64> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Send(path, _, _, Message::DrillOrder(_)) = o { Some(path.0) } else { None })
        .collect()
}

fn answers(outputs: Vec<Output>) -> Vec<Result<DrillId, DrillError>> {
    let answer = |o| if let Output::Drilled(_, a) = o { Some(a.map(|drill: Arc<Drill>| drill.id())) } else { None };
    outputs.into_iter().filter_map(answer).collect()
}

#[test]
fn an_order_is_said_to_every_node_until_one_has_it_in_the_record() {
    let mut desk = Desk::new();
    let order = |number| Input::Drill(AckTicket(1), Box::new(DrillOrder::Open(open(number))));
    let outputs = desk.step(order(1));
    assert_eq!(said(&outputs), [1, 2], "a node of an older minor knows no drills");
    let by = |o: &Output| match o {
        Output::Send(_, _, _, Message::DrillOrder(order)) => Some(order.by().to_string()),
        _ => None,
    };
    assert_eq!(outputs.iter().find_map(by).as_deref(), Some("station/p1/a"), "in its own name, whoever wrote it");
    assert_eq!(said(&desk.wait(1)), [1, 2, 1, 2]);
    let soft = Err(DrillRefusal::NoQuorum);
    assert_eq!(answers(desk.hear(1, Message::DrillAnswer(DrillId([1; 16]), soft.clone()))), []);
    let outputs = desk.hear(2, Message::DrillAnswer(DrillId([1; 16]), Ok(drill(1))));
    assert!(outputs.iter().any(|o| matches!(o, Output::Report(Report::Drill(_)))));
    assert_eq!(answers(outputs), [Ok(DrillId([1; 16]))]);
    assert_eq!(answers(desk.hear(1, Message::DrillAnswer(DrillId([1; 16]), Ok(drill(1))))), [], "once");
    // That nobody may say otherwise is told when all have said it, or at once.
    desk.step(order(2));
    desk.hear(1, Message::DrillAnswer(DrillId([2; 16]), soft.clone()));
    let (id, why) = (DrillId([2; 16]), DrillRefusal::NoQuorum);
    assert_eq!(answers(desk.hear(2, Message::DrillAnswer(id, soft))), [Err(DrillError::Refused { id, why })]);
    desk.step(order(3));
    let (id, why) = (DrillId([3; 16]), DrillRefusal::NotYours);
    assert_eq!(answers(desk.hear(1, Message::DrillAnswer(id, Err(why)))), [Err(DrillError::Refused { id, why })]);
    desk.step(order(4));
    assert_eq!(answers(desk.wait(11)), [Err(DrillError::NotConfirmed { id: DrillId([4; 16]) })]);
    let nobody = OpenDrill { approver: Label::default(), ..open(5) };
    let outputs = desk.step(Input::Drill(AckTicket(1), Box::new(DrillOrder::Open(nobody))));
    let (id, why) = (DrillId([5; 16]), DrillRefusal::Approver);
    assert_eq!((said(&outputs), answers(outputs)), (vec![], vec![Err(DrillError::Refused { id, why })]));
}

#[test]
fn what_was_ended_stays_so_whoever_has_not_heard_it() {
    let mut desk = Desk::new();
    desk.hear(1, Message::Drills(vec![drill(1), drill(2)]));
    assert_eq!(desk.station.drills().count(), 2);
    let closes = |o: &Output| matches!(o, Output::Report(Report::Drill(drill)) if drill.closed.is_some());
    assert!(desk.hear(1, Message::Drills(vec![closed(1)])).iter().any(closes));
    assert_eq!(desk.hear(2, Message::Drills(vec![drill(1), drill(2)])).len(), 0);
    assert_eq!(desk.station.drills().filter(|drill| drill.closed.is_some()).count(), 1);
}

#[test]
fn a_self_test_counts_as_displayed_by_itself_and_nothing_else_does() {
    for (kind, by_itself) in [(Kind::SelfTest, true), (Kind::Test, false), (Kind::Panic, false)] {
        let mut desk = Desk::new();
        let mut event = event(kind);
        event.id = EventId::from_bytes([7; 16]);
        let copy = EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] };
        let outputs = desk.hear(1, Message::Event(copy));
        for output in outputs {
            if let Output::Persist(seq, _) = output {
                desk.step(Input::Persisted(seq));
            }
        }
        let row = desk.station.get(&event.id).unwrap();
        let displayed = row.receipts.iter().filter(|receipt| receipt.stage == Stage::Displayed).count();
        assert_eq!(displayed, usize::from(by_itself));
    }
}
