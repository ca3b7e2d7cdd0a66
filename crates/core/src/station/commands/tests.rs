//! Commands at the seat at which they are given: each officer is answered once, whatever the nodes say and however often.

use std::collections::BTreeMap;

use super::*;
use crate::Machine;
use crate::command::{Content, Instruction, Priority, Target};
use crate::event::Text;
use crate::id::{Name, StationId};
use crate::message::{Hello, WIRE_MINOR};
use crate::path::PathInfo;
use crate::relay::tests_support::{command, relay_id};
use crate::station::{Input, StationConfig};
use crate::time::WallTime;

const ONE: PathId = PathId(1);
const TWO: PathId = PathId(2);

struct Bench {
    station: Station,
    now: u64,
    said: Vec<(PathId, CommandId)>,
    answers: Vec<(AckTicket, Result<CommandState, CommandFailure>)>,
}

impl Bench {
    fn new() -> Self {
        let name = |text: &str| Name::new(text).unwrap();
        let seat = crate::id::SeatId { station: StationId(name("p1")), seat: name("a") };
        let (marks, software) = (BTreeMap::new(), String::new());
        let config = StationConfig { seat, next_seq: 1, marks, seed: 1, software };
        let now = Now { mono: Timestamp(0), wall: WallTime(0) };
        let mut bench = Self { station: Station::new(now, config, vec![]), now: 0, said: vec![], answers: vec![] };
        for (path, node) in [(ONE, "broker/r1/n1"), (TWO, "broker/r1/n2")] {
            bench.step(Input::PathUp(path, node.parse().unwrap(), PathInfo::plain(Lane::Express)));
            let hello = Hello { software: String::new(), wire_minor: WIRE_MINOR, resume: None };
            bench.step(Input::Message(path, Message::Hello(hello)));
        }
        bench
    }

    fn clock(&self) -> Now {
        Now { mono: Timestamp(self.now), wall: WallTime(0) }
    }

    fn step(&mut self, input: Input) {
        self.station.handle(self.clock(), input);
        self.drain();
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + millis * 1_000;
        while let Some(due) = self.station.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.station.handle_timeout(self.clock());
            self.drain();
        }
        self.now = until;
    }

    fn drain(&mut self) {
        while let Some(output) = self.station.poll_output() {
            match output {
                Output::Send(path, _, _, Message::CommandOrder(sealed)) => self.said.push((path, sealed.id())),
                Output::Commanded(ticket, answer) => self.answers.push((ticket, answer.map(|state| *state))),
                _ => {}
            }
        }
        self.station.check().unwrap();
    }

    fn give(&mut self, ticket: u64, number: u8) -> SealedCommand {
        let content = Content::Text(Text::new("x").unwrap());
        let instruction = Instruction::Broadcast { content, priority: Priority::Live, volume: None };
        let sealed = command(number, ("p1", "a"), Target::School(relay_id().school), instruction, 60);
        self.step(Input::Command(AckTicket(ticket), Box::new(sealed.clone())));
        sealed
    }

    fn hear(&mut self, path: PathId, sealed: &SealedCommand, standing: Standing, steps: u64) {
        let state = CommandState { sealed: sealed.clone(), receipts: vec![], progress: None, standing, steps };
        self.step(Input::Message(path, Message::CommandState(Box::new(state))));
    }

    fn refuse(&mut self, path: PathId, sealed: &SealedCommand, why: CommandRefusal) {
        self.step(Input::Message(path, Message::CommandRefused(sealed.id(), why)));
    }
}

#[test]
fn it_is_said_to_every_node_until_one_says_that_the_record_has_it() {
    let mut bench = Bench::new();
    let sealed = bench.give(1, 1);
    assert_eq!(bench.said, [(ONE, sealed.id()), (TWO, sealed.id())]);
    bench.wait(1_100);
    assert_eq!(bench.said.len(), 6);
    bench.hear(ONE, &sealed, Standing::Settled, 1);
    bench.hear(TWO, &sealed, Standing::Settled, 1);
    bench.wait(60_000);
    assert_eq!((bench.said.len(), bench.answers.len()), (6, 1));
    // The same once more is answered from what is known, and said to nobody.
    bench.give(2, 1);
    assert_eq!((bench.said.len(), bench.answers.len()), (6, 2));
    bench.hear(TWO, &sealed, Standing::Settled, 3);
    bench.hear(ONE, &sealed, Standing::Settled, 2);
    assert_eq!(bench.station.command_of(&sealed.id()).map(|state| state.steps), Some(3), "what is older says nothing");
}

#[test]
fn a_refusal_that_another_node_may_not_share_is_waited_for() {
    let mut bench = Bench::new();
    let sealed = bench.give(1, 1);
    bench.refuse(ONE, &sealed, CommandRefusal::NotYours);
    assert_eq!(bench.answers.len(), 0, "its plan may be old");
    bench.refuse(TWO, &sealed, CommandRefusal::NotYours);
    let refused = Err(CommandFailure::Refused { id: sealed.id(), why: CommandRefusal::NotYours });
    assert_eq!(bench.answers, [(AckTicket(1), refused)]);
    let sealed = bench.give(2, 2);
    bench.refuse(ONE, &sealed, CommandRefusal::BadSignature);
    assert_eq!(bench.answers.len(), 2, "that is so everywhere");
    let sealed = bench.give(3, 3);
    bench.wait(10_000);
    assert_eq!(bench.answers.last(), Some(&(AckTicket(3), Err(CommandFailure::NotConfirmed(sealed.id())))));
}

#[test]
fn a_provisional_one_is_answered_and_said_on_until_a_record_has_it() {
    let mut bench = Bench::new();
    let sealed = bench.give(1, 1);
    bench.hear(ONE, &sealed, Standing::Provisional, 5);
    assert_eq!(bench.answers[0].1.as_ref().map(|state| state.standing), Ok(Standing::Provisional));
    bench.said.clear();
    bench.wait(20_000);
    assert!(!bench.said.is_empty(), "its node may be lost");
    bench.hear(TWO, &sealed, Standing::Settled, 1);
    bench.said.clear();
    bench.wait(60_000);
    assert_eq!((bench.said.len(), bench.answers.len()), (0, 1));
    let known = bench.station.command_of(&sealed.id()).map(|state| state.standing);
    assert_eq!(known, Some(Standing::Settled), "the record's word goes before");
}
