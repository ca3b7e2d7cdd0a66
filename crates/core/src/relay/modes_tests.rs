//! What is pressed at a relay is meant unless a drill or a test is on there.

use super::*;
use crate::Machine;
use crate::drill::{DrillId, DrillMode};
use crate::event::{Kind, Mode, Text};
use crate::id::{Name, PathId};
use crate::lane::Lane;
use crate::limits;
use crate::message::Message;
use crate::path::PathInfo;
use crate::plan::Label;
use crate::relay::tests_support::{relay_id, seal};
use crate::time::{Now, Span, Timestamp, WallTime};

const PATH: PathId = PathId(1);

struct Gate {
    relay: Relay,
    now: u64,
}

impl Gate {
    fn new() -> Self {
        let config = RelayConfig {
            relay: relay_id(),
            epoch: 1,
            next_slot: 1,
            copy_rate: limits::COPY_BYTES_PER_SECOND,
            spare_nodes: false,
            self_test: None,
            plan: None,
            seed: 1,
            seal,
            software: "test".to_owned(),
        };
        let mut gate = Self { relay: Relay::new(at(0), config, vec![]), now: 0 };
        gate.step(Input::PathUp(PATH, "broker/r1/n1".parse().unwrap(), PathInfo::plain(Lane::Express)));
        gate
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.relay.handle(at(self.now), input);
        self.drain()
    }

    fn drain(&mut self) -> Vec<Output> {
        let outputs = std::iter::from_fn(|| self.relay.poll_output()).collect();
        self.relay.check().unwrap();
        outputs
    }

    fn wait(&mut self, secs: u64) -> Vec<Mode> {
        let until = self.now + secs * 1_000_000;
        let mut told = Vec::new();
        while let Some(due) = self.relay.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.relay.handle_timeout(at(self.now));
            let modes = self.drain().into_iter();
            told.extend(
                modes.filter_map(|o| if let Output::Report(Report::Mode(mode)) = o { Some(mode.mode) } else { None }),
            );
        }
        self.now = until;
        told
    }

    fn told(&mut self, id: u8, starts: u64, lasts: u64, devices: &[&str]) -> Vec<Output> {
        let mode = DrillMode {
            id: DrillId([id; 16]),
            starts_in: Span::from_secs(starts),
            lasts: Span::from_secs(lasts),
            devices: devices.iter().map(|device| device.parse().unwrap()).collect(),
            approver: Label::default(),
        };
        self.step(Input::Message(PATH, Message::DrillMode(Box::new(mode))))
    }

    fn press_as(&mut self, kind: Kind, device: &str, mode: Mode, live: bool) -> Mode {
        let device = Some(Name::new(device).unwrap());
        let press =
            Press { kind, mode, device, zone: None, note: Text::default(), details: crate::event::Details::default() };
        self.step(Input::Raise { ticket: Ticket(1), press, idempotency_key: None, live });
        let last = self.relay.events().max_by_key(|view| view.slot()).unwrap();
        last.sealed().event.mode
    }

    fn press(&mut self, device: &str) -> Mode {
        self.now += 3_000_000;
        self.press_as(Kind::Panic, device, Mode::Live, false)
    }
}

fn at(micros: u64) -> Now {
    Now { mono: Timestamp(micros), wall: WallTime(1_700_000_000_000_000) }
}

#[test]
fn a_press_is_a_drill_in_the_window_at_a_listed_button_and_nowhere_else() {
    let mut gate = Gate::new();
    assert_eq!(gate.press("b1"), Mode::Live, "nobody said anything of a drill");
    let outputs = gate.told(1, 60, 600, &["b1"]);
    let heard = |o: &Output| matches!(o, Output::Send(_, _, _, Message::DrillHeard(id)) if *id == DrillId([1; 16]));
    assert!(outputs.iter().any(heard));
    assert_eq!(gate.press("b1"), Mode::Live, "it has not begun");
    assert_eq!(gate.wait(60), [Mode::Drill]);
    assert_eq!((gate.press("b1"), gate.press("b2")), (Mode::Drill, Mode::Live));
    assert_eq!(gate.press_as(Kind::Duress, "b1", Mode::Live, false), Mode::Live);
    assert_eq!(gate.press_as(Kind::Duress, "b1", Mode::Drill, false), Mode::Live);
    assert_eq!(
        gate.press_as(Kind::Panic, "b1", Mode::Live, true),
        Mode::Live,
        "whoever says that it is meant is believed"
    );
    assert_eq!(gate.press_as(Kind::Tamper, "b1", Mode::Live, false), Mode::Live);
    assert_eq!(gate.wait(600), [Mode::Live]);
    assert_eq!(gate.press("b1"), Mode::Live);
    assert_eq!(gate.press_as(Kind::Panic, "b1", Mode::Drill, false), Mode::Live, "no caller makes a drill of its own");
}

#[test]
fn a_drill_that_was_ended_is_not_begun_again_by_a_message_that_it_overtook() {
    let mut gate = Gate::new();
    gate.told(1, 0, 600, &[]);
    assert_eq!(gate.press("b1"), Mode::Drill);
    gate.told(1, 0, 0, &[]);
    assert_eq!(gate.press("b1"), Mode::Live);
    gate.told(1, 0, 590, &[]);
    assert_eq!(gate.press("b1"), Mode::Live);
    // And a copy that was long on its way makes none longer.
    gate.told(2, 0, 100, &[]);
    gate.wait(50);
    gate.told(2, 0, 100, &[]);
    gate.wait(48);
    assert_eq!(gate.press("b1"), Mode::Live);
    // Nor does a node that knows no measure.
    gate.told(3, 0, 86_400, &[]);
    gate.wait(1_800);
    assert_eq!(gate.press("b1"), Mode::Live);
}

#[test]
fn tests_are_switched_on_by_hand_and_off_by_themselves() {
    let mut gate = Gate::new();
    gate.step(Input::TestMode(Span::from_secs(600)));
    assert_eq!((gate.press("b1"), gate.relay.mode(Timestamp(gate.now)).mode), (Mode::Test, Mode::Test));
    assert_eq!(gate.press_as(Kind::Duress, "b1", Mode::Live, false), Mode::Live);
    assert_eq!(gate.press_as(Kind::Panic, "b1", Mode::Live, true), Mode::Live);
    assert_eq!(gate.press_as(Kind::Mains, "b1", Mode::Live, false), Mode::Live);
    assert_eq!(gate.wait(600), [Mode::Live]);
    assert_eq!(gate.press("b1"), Mode::Live);
    gate.step(Input::TestMode(Span::from_secs(86_400)));
    gate.wait(1_801);
    assert_eq!(gate.press("b1"), Mode::Live, "for half an hour at the most");
    gate.step(Input::TestMode(Span::from_secs(600)));
    gate.step(Input::TestMode(Span::ZERO));
    assert_eq!(gate.press("b1"), Mode::Live);
}

#[test]
fn a_button_that_sticks_beyond_the_end_of_a_drill_tells_what_is_meant() {
    let mut gate = Gate::new();
    gate.told(1, 0, 60, &[]);
    gate.wait(57);
    for _ in 0..80 {
        gate.now += 100_000;
        gate.wait(0);
        let press = Press {
            kind: Kind::Panic,
            mode: Mode::Live,
            device: Some("b1".parse().unwrap()),
            zone: None,
            note: Text::default(),
            details: crate::event::Details::default(),
        };
        gate.step(Input::Raise { ticket: Ticket(1), press, idempotency_key: None, live: false });
    }
    gate.wait(5);
    let mut events: Vec<_> = gate.relay.events().collect();
    events.sort_by_key(|view| view.slot());
    let modes: Vec<Mode> = events.iter().map(|view| view.sealed().event.mode).collect();
    assert_eq!((modes.first(), modes.last()), (Some(&Mode::Drill), Some(&Mode::Live)));
    assert!(modes.windows(2).filter(|two| two[0] != two[1]).count() == 1, "{modes:?}");
}
