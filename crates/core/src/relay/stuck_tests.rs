//! A button that sticks, among others that do not, on a disk that takes its time.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::tests_support::{event, relay_id, seal};
use super::*;
use crate::event::{Details, Event, Kind, Mode, Text};
use crate::id::{EventId, Name, PathId, PersistSeq};
use crate::lane::Lane;
use crate::message::Message;
use crate::path::PathInfo;
use crate::receipt::{Receipt, Stage, Standing};
use crate::time::{Now, Timestamp, WallTime};
use crate::{Machine, limits};

const PATH: PathId = PathId(1);
const SECOND: u64 = 1_000_000;

/// A relay at its desk: its disk, its pressers, and all that it said.
struct Gatehouse {
    relay: Relay,
    life: u64,
    now: u64,
    disk: BTreeMap<u64, RelayRow>,
    writes: Vec<(PersistSeq, Write)>,
    answers: BTreeMap<u64, Result<Raised, RaiseError>>,
    raised: Vec<Event>,
    copies: Vec<EventId>,
    presses: u64,
    persists: usize,
}

fn press(kind: Kind, device: &str) -> Press {
    Press {
        kind,
        mode: Mode::Live,
        device: Some(Name::new(device).unwrap()),
        zone: None,
        note: Text::default(),
        details: Details::default(),
    }
}

fn relay(now: u64, life: u64, rows: Vec<RelayRow>) -> Relay {
    let config = RelayConfig {
        relay: relay_id(),
        epoch: life,
        next_slot: 1,
        copy_rate: limits::COPY_BYTES_PER_SECOND,
        plan: None,
        spare_nodes: false,
        self_test: None,
        seed: life,
        seal,
        software: "test".to_owned(),
    };
    Relay::new(at(now), config, rows)
}

fn at(micros: u64) -> Now {
    Now { mono: Timestamp(micros), wall: WallTime(1_700_000_000_000_000 + i64::try_from(micros).unwrap()) }
}

impl Gatehouse {
    fn new() -> Self {
        Self::with(vec![])
    }

    fn with(rows: Vec<RelayRow>) -> Self {
        let disk = rows.iter().map(|row| (row.slot, row.clone())).collect();
        let mut new = Self {
            relay: relay(0, 1, rows),
            life: 1,
            now: 0,
            disk,
            writes: vec![],
            answers: BTreeMap::new(),
            raised: vec![],
            copies: vec![],
            presses: 0,
            persists: 0,
        };
        new.drain();
        new
    }

    fn drain(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            match output {
                Output::Persist(seq, write) => {
                    self.persists += 1;
                    self.writes.push((seq, write));
                }
                Output::Answer(ticket, answer) => {
                    assert!(self.answers.insert(ticket.0, answer).is_none(), "{ticket:?} is answered twice");
                }
                Output::Report(Report::Raised(sealed)) => self.raised.push((*sealed.event).clone()),
                Output::Send(_, _, _, Message::Event(copy)) => self.copies.push(copy.sealed.event.id),
                _ => {}
            }
        }
    }

    fn tell(&mut self, input: Input) {
        self.relay.handle(at(self.now), input);
        self.drain();
    }

    /// Presses, and gives the ticket.
    fn press(&mut self, press: Press, key: Option<&str>) -> u64 {
        self.presses += 1;
        let (ticket, idempotency_key) = (Ticket(self.presses), key.map(str::to_owned));
        self.tell(Input::Raise { ticket, press, idempotency_key, live: false });
        self.presses
    }

    /// The disk has done what it was asked for.
    fn sync(&mut self) {
        for (seq, write) in std::mem::take(&mut self.writes) {
            match write {
                Write::Put(row) => self.disk.insert(row.slot, row),
                Write::Forget(_, slot) => self.disk.remove(&slot),
                Write::PutCommand(_) | Write::ForgetCommand(_) => None,
            };
            self.tell(Input::Persisted(seq));
        }
    }

    /// The disk takes nothing.
    fn fail(&mut self) {
        for (seq, _) in std::mem::take(&mut self.writes) {
            self.tell(Input::PersistFailed(seq, "full".to_owned()));
        }
    }

    fn wait(&mut self, micros: u64) {
        let until = self.now + micros;
        while let Some(due) = self.relay.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.relay.handle_timeout(at(self.now));
            assert!(self.relay.poll_timeout().is_none_or(|next| next.0 > self.now), "it would spin");
            self.drain();
        }
        self.now = until;
    }

    /// Presses every `gap` for `long`.
    fn flood(&mut self, button: &Press, gap: u64, long: u64) {
        let end = self.now + long;
        while self.now < end {
            self.press(button.clone(), None);
            self.sync();
            self.wait(gap);
        }
        self.relay.check().unwrap();
    }

    fn crash(&mut self) {
        self.writes.clear();
        self.life += 1;
        self.relay = relay(self.now, self.life, self.disk.values().cloned().collect());
        self.drain();
    }

    fn acknowledge_all(&mut self) {
        let ids: Vec<_> = self.relay.events().map(|view| view.sealed().event.id).collect();
        for event in ids {
            let receipt = Receipt {
                event,
                stage: Stage::Acknowledged,
                at: WallTime(1),
                by: "station/p1/d1".parse().unwrap(),
                officer: None,
                note: Text::default(),
                skew: None,
                standing: Standing::Settled,
            };
            self.tell(Input::Message(PATH, Message::Receipts(vec![receipt])));
        }
    }

    /// What the events of this button say how often it was pressed.
    fn counted(&self, button: &Press) -> u64 {
        let of_it = self.raised.iter().filter(|event| event.device == button.device && event.kind == button.kind);
        of_it.map(|event| u64::from(event.count)).sum()
    }

    fn is_on_disk(&self, id: EventId) -> bool {
        self.disk.values().any(|row| row.sealed.event.id == id)
    }
}

#[test]
fn a_thousand_presses_a_second_are_a_handful_of_events_and_then_one_a_second() {
    let mut gate = Gatehouse::new();
    let stuck = press(Kind::Panic, "stuck");
    gate.flood(&stuck, 1_000, 10 * SECOND);
    gate.wait(5 * SECOND);
    assert_eq!((gate.counted(&stuck), gate.presses), (10_000, 10_000));
    assert!((14..=16).contains(&gate.raised.len()), "{} events", gate.raised.len());
    assert!(gate.raised[..5].iter().all(|event| event.count == 1));
    assert!(gate.raised.iter().enumerate().all(|(at, event)| event.seq == at as u64 + 1), "numbers without gaps");
    let all = gate.answers.values().filter(|answer| answer.is_ok()).count();
    let joined =
        gate.answers.values().filter(|answer| matches!(answer, Ok(raised) if raised.joined && raised.repeated));
    assert_eq!((all, joined.count()), (10_000, 9_995));
    assert_eq!(gate.relay.buttons.poll_timeout(), None, "a button that is quiet is no work");
    // And the next press is an alarm as ever.
    let ticket = gate.press(stuck, None);
    gate.sync();
    assert!(matches!(&gate.answers[&ticket], Ok(Raised { joined: false, repeated: false, .. })));
}

#[test]
fn a_fast_hand_is_no_stuck_button() {
    let mut gate = Gatehouse::new();
    gate.flood(&press(Kind::Panic, "button-1"), 250_000, 20 * SECOND);
    gate.wait(5 * SECOND);
    assert_eq!((gate.raised.len(), gate.presses), (80, 80));
}

#[test]
fn no_press_of_another_button_waits_for_one_that_sticks() {
    let mut gate = Gatehouse::new();
    gate.tell(Input::PathUp(PATH, "broker/r1/n1".parse().unwrap(), PathInfo::plain(Lane::Express)));
    let stuck = press(Kind::Panic, "stuck");
    for round in 0..20_u32 {
        gate.flood(&stuck, 1_000, SECOND / 2);
        let (raised, writes) = (gate.raised.len(), gate.persists);
        gate.press(press(Kind::Panic, &format!("other-{round}")), None);
        let new = gate.raised.last().unwrap().id;
        assert_eq!((gate.raised.len(), gate.persists), (raised + 1, writes + 1), "raised and written at once");
        assert!(gate.copies.contains(&new), "it is not on its way");
    }
    assert!(gate.raised.len() < 20 + 5 + 12, "{} events", gate.raised.len());
    // Nor is the line full of it: what goes out are copies of these events, and nobody has answered one in ten seconds.
    let each = gate.copies.len() / gate.raised.len();
    assert!(each < 30 && gate.copies.len() < 1_000, "{} copies of {} presses", gate.copies.len(), gate.presses);
}

#[test]
fn what_differs_or_has_a_key_never_joins() {
    let mut gate = Gatehouse::new();
    for number in 0..40 {
        gate.press(press(Kind::Panic, "button-1"), Some(&format!("key-{number}")));
        gate.press(press(Kind::Panic, &format!("button-{number}")), None);
        gate.press(Press { note: Text::new(&number.to_string()).unwrap(), ..press(Kind::Fire, "note") }, None);
    }
    gate.sync();
    gate.wait(5 * SECOND);
    assert_eq!(gate.raised.len(), 120);
    assert!(gate.raised.iter().all(|event| event.count == 1));
}

#[test]
fn whoever_joins_is_answered_when_the_event_is_on_disk_and_a_dead_disk_is_not_flooded() {
    let mut gate = Gatehouse::new();
    let stuck = press(Kind::Panic, "stuck");
    let tickets: Vec<u64> = (0..100).map(|_| gate.press(stuck.clone(), None)).collect();
    assert!(gate.answers.is_empty() && gate.persists == 5, "five events are being written, and nobody is told yet");
    gate.fail();
    assert!(tickets.iter().all(|ticket| matches!(gate.answers[ticket], Err(RaiseError::NotKept { .. }))));
    let before = gate.persists;
    let again: Vec<u64> = (0..100).map(|_| gate.press(stuck.clone(), None)).collect();
    assert_eq!(gate.persists, before + 1, "the disk is asked once for all of them");
    gate.sync();
    assert!(again.iter().all(|ticket| matches!(&gate.answers[ticket], Ok(raised) if raised.joined)));
    gate.wait(20 * SECOND);
    assert_eq!(gate.counted(&stuck), 200, "whatever the disk did, they were pressed");
}

#[test]
fn a_button_that_sticks_for_hours_leaves_the_outbox_to_others() {
    let mut gate = Gatehouse::new();
    let stuck = press(Kind::Panic, "stuck");
    gate.flood(&stuck, 100_000, 3_600 * SECOND);
    let events = gate.raised.len();
    assert!((640..=670).contains(&events), "{events} events in an hour");
    gate.wait(3 * SECOND);
    assert_eq!(gate.counted(&stuck), gate.presses, "what came last is told within seconds all the same");
}

#[test]
fn counts_for_which_the_outbox_has_no_room_are_told_when_it_has() {
    let room = limits::RELAY_OPEN_EVENTS - limits::RELAY_RESERVED_FOR_P0 - limits::PRESSES_APART;
    let row = |number: usize| {
        let event = Event { id: EventId::from_bytes((number as u128).to_be_bytes()), ..event(Kind::Assist) };
        RelayRow { slot: number as u64, sealed: seal(&event), idempotency_key: None, receipts: vec![] }
    };
    let mut gate = Gatehouse::with((0..room).map(row).collect());
    let stuck = press(Kind::Assist, "stuck");
    for _ in 0..2_000 {
        gate.press(stuck.clone(), None);
        gate.wait(1_000);
    }
    gate.sync();
    gate.wait(3 * SECOND);
    assert_eq!((gate.raised.len(), gate.counted(&stuck)), (5, 5));
    assert!(gate.answers.values().all(Result::is_ok), "they joined an event that is there");
    gate.acknowledge_all();
    gate.wait(2 * SECOND);
    assert_eq!((gate.raised.len(), gate.counted(&stuck)), (6, 2_000));
    gate.relay.check().unwrap();
}

#[test]
fn ever_more_buttons_are_not_remembered_and_one_that_sticks_is_not_forgotten() {
    let mut gate = Gatehouse::new();
    let stuck = press(Kind::Panic, "stuck");
    gate.flood(&stuck, 1_000, SECOND / 10);
    for number in 0..3 * limits::BUTTONS_WATCHED {
        gate.press(press(Kind::Assist, &format!("button-{number}")), None);
    }
    gate.relay.check().unwrap();
    gate.sync();
    gate.wait(5 * SECOND);
    assert_eq!(gate.counted(&stuck), 100);
    // Where all stick, one more is not remembered: its presses are events.
    let mut gate = Gatehouse::new();
    for number in 0..limits::BUTTONS_WATCHED {
        for _ in 0..=limits::PRESSES_APART {
            gate.press(press(Kind::Panic, &format!("button-{number}")), None);
        }
    }
    let before = gate.raised.len();
    for _ in 0..20 {
        gate.press(press(Kind::Panic, "one-more"), None);
    }
    assert_eq!(gate.raised.len(), before + 20);
    gate.relay.check().unwrap();
}

#[derive(Debug, Clone)]
enum Deed {
    Press(usize),
    Burst(usize, u32),
    Wait(u64),
    Sync,
    Fail,
    Crash,
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        6 => (0..3_usize).prop_map(Deed::Press),
        4 => (0..3_usize, 1..40_u32).prop_map(|(button, times)| Deed::Burst(button, times)),
        4 => (0..1_800_000_u64).prop_map(Deed::Wait),
        4 => Just(Deed::Sync),
        1 => Just(Deed::Fail),
        1 => Just(Deed::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// However buttons are pressed, disks fail and the power goes: what was answered "kept" is on disk, as itself or as the event
    /// that it joined; the counts add up to the presses, and a crash loses of them only what joined after the button's last event.
    #[test]
    fn counts_add_up_to_presses(deeds in prop::collection::vec(deed(), 1..80)) {
        let mut gate = Gatehouse::new();
        let buttons = [press(Kind::Panic, "a"), press(Kind::Panic, "b"), press(Kind::Assist, "a")];
        let mut pressed = [0_u64; 3];
        let mut lost = [0_u64; 3];
        let settle = |gate: &mut Gatehouse| {
            for answer in gate.answers.values().flatten() {
                assert!(gate.is_on_disk(answer.id), "{answer:?} is not kept");
            }
            gate.relay.check().unwrap();
        };
        for deed in deeds {
            match deed {
                Deed::Press(button) => {
                    pressed[button] += 1;
                    gate.press(buttons[button].clone(), None);
                }
                Deed::Burst(button, times) => for _ in 0..times {
                    pressed[button] += 1;
                    gate.press(buttons[button].clone(), None);
                    gate.wait(2_000);
                },
                Deed::Wait(micros) => gate.wait(micros),
                Deed::Sync => gate.sync(),
                Deed::Fail => gate.fail(),
                Deed::Crash => {
                    for button in 0..3 {
                        let uncounted = pressed[button] - lost[button] - gate.counted(&buttons[button]);
                        prop_assert_eq!(uncounted, u64::from(gate.relay.buttons.joined(&buttons[button])));
                        lost[button] += uncounted;
                    }
                    gate.crash();
                }
            }
            settle(&mut gate);
        }
        gate.wait(10 * SECOND);
        gate.sync();
        settle(&mut gate);
        for button in 0..3 {
            prop_assert_eq!(gate.counted(&buttons[button]) + lost[button], pressed[button]);
        }
    }
}
