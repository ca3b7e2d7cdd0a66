//! The relay in the trouble that it is there for.

use proptest::prelude::*;

use super::tests_support::{relay_id, seal};
use super::*;
use crate::event::{Class, Details, Kind, Mode, Text};
use crate::id::{EventId, Name, NodeName, PathId, PersistSeq, SeatId};
use crate::lamp::Lamp;
use crate::lane::Lane;
use crate::message::{Message, Refusal};
use crate::path::PathInfo;
use crate::receipt::{Receipt, Stage, Standing};
use crate::time::{Now, Timestamp, WallTime};
use crate::{Machine, limits};

const PATH: PathId = PathId(1);

/// A relay with a clock, whose outputs are looked at after each step.
struct Bench {
    relay: Relay,
    now: u64,
}

impl Bench {
    fn new(rows: Vec<RelayRow>) -> Self {
        let config = RelayConfig {
            relay: relay_id(),
            epoch: 1,
            next_slot: 1,
            copy_rate: limits::COPY_BYTES_PER_SECOND,
            plan: None,
            spare_nodes: false,
            self_test: None,
            seed: 1,
            seal,
            software: "test".to_owned(),
        };
        Self { relay: Relay::new(at(0), config, rows), now: 0 }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        self.relay.handle(at(self.now), input);
        self.drain()
    }

    fn wait(&mut self, millis: u64) -> Vec<Output> {
        let until = self.now + millis * 1_000;
        let mut outputs = Vec::new();
        while let Some(due) = self.relay.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.relay.handle_timeout(at(self.now));
            outputs.extend(self.drain());
        }
        self.now = until;
        outputs
    }

    fn drain(&mut self) -> Vec<Output> {
        let outputs = std::iter::from_fn(|| self.relay.poll_output()).collect();
        self.relay.check().unwrap();
        outputs
    }

    fn raise(&mut self, kind: Kind, key: Option<&str>) -> Vec<Output> {
        let press = Press {
            kind,
            mode: Mode::Live,
            device: None,
            zone: None,
            note: Text::default(),
            details: Details::default(),
        };
        self.step(Input::Raise { ticket: Ticket(7), press, idempotency_key: key.map(str::to_owned), live: false })
    }

    fn only_id(&self) -> EventId {
        let mut all = self.relay.events();
        let id = all.next().unwrap().sealed().event.id;
        assert!(all.next().is_none(), "there is more than one event");
        id
    }

    fn receipt(&mut self, id: EventId, stage: Stage, by: NodeName) -> Vec<Output> {
        self.receipt_as(id, stage, by, Standing::Settled)
    }

    fn receipt_as(&mut self, id: EventId, stage: Stage, by: NodeName, standing: Standing) -> Vec<Output> {
        let receipt = Receipt {
            event: id,
            stage,
            at: WallTime(5),
            by,
            officer: None,
            note: Text::default(),
            skew: None,
            standing,
        };
        self.step(Input::Message(PATH, Message::Receipts(vec![receipt])))
    }

    fn lamp(&self, id: EventId) -> Lamp {
        self.relay.get(&id).unwrap().lamp()
    }
}

fn at(micros: u64) -> Now {
    Now { mono: Timestamp(micros), wall: WallTime(1_700_000_000_000_000) }
}

fn broker() -> NodeName {
    "broker/r1/n1".parse().unwrap()
}

fn seat(number: usize) -> NodeName {
    NodeName::Station(SeatId { station: "p1".parse().unwrap(), seat: Name::new(&format!("d{number}")).unwrap() })
}

fn copies(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Send(_, _, _, Message::Event(_)))).count()
}

fn answers(outputs: &[Output]) -> Vec<&Result<Raised, RaiseError>> {
    outputs.iter().filter_map(|o| if let Output::Answer(_, answer) = o { Some(answer) } else { None }).collect()
}

fn persists(outputs: &[Output]) -> Vec<(PersistSeq, &Write)> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Persist(seq, write) = o { Some((*seq, write)) } else { None })
        .collect()
}

#[test]
fn kept_is_not_said_before_the_disk_has_it_but_the_alarm_goes_at_once() {
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    let outputs = bench.raise(Kind::Panic, None);
    assert_eq!((copies(&outputs), answers(&outputs).len()), (1, 0));
    let seq = persists(&outputs)[0].0;
    let outputs = bench.step(Input::Persisted(seq));
    assert!(matches!(answers(&outputs)[..], [Ok(Raised { repeated: false, .. })]));
    assert!(bench.relay.get(&bench.only_id()).unwrap().is_kept());
}

#[test]
fn without_a_path_the_alarm_waits_and_the_lamp_says_dial_110_in_time() {
    let mut bench = Bench::new(vec![]);
    let outputs = bench.raise(Kind::Panic, None);
    bench.step(Input::Persisted(persists(&outputs)[0].0));
    let id = bench.only_id();
    assert_eq!(bench.lamp(id), Lamp::Kept);
    bench.wait(9_999);
    assert_eq!(bench.lamp(id), Lamp::Kept);
    let outputs = bench.wait(1);
    assert!(outputs.iter().any(|output| matches!(output, Output::Report(Report::Lamp(_, Lamp::Dial110)))));
    assert_eq!(
        copies(&bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)))),
        1,
        "it was dropped for want of a path"
    );
}

#[test]
fn same_key_twice_is_one_event() {
    let mut bench = Bench::new(vec![]);
    let first = bench.raise(Kind::Panic, Some("k"));
    assert!(answers(&bench.raise(Kind::Panic, Some("k"))).is_empty(), "it is not kept yet");
    let outputs = bench.step(Input::Persisted(persists(&first)[0].0));
    let id = bench.only_id();
    let expected =
        [&Ok(Raised { id, repeated: false, joined: false }), &Ok(Raised { id, repeated: true, joined: false })];
    assert_eq!(answers(&outputs), expected);
    let outputs = bench.raise(Kind::Fire, Some("k"));
    assert_eq!(answers(&outputs), [&Err(RaiseError::KeyReused { id })]);
    // And after a restart.
    let row = bench.relay.get(&id).unwrap().row.clone();
    let mut bench = Bench::new(vec![row]);
    let outputs = bench.raise(Kind::Panic, Some("k"));
    assert_eq!(answers(&outputs), [&Ok(Raised { id, repeated: true, joined: false })]);
}

#[test]
fn a_key_too_long_is_refused_with_its_length() {
    let mut bench = Bench::new(vec![]);
    let outputs = bench.raise(Kind::Panic, Some(&"k".repeat(129)));
    assert_eq!(answers(&outputs), [&Err(RaiseError::KeyTooLong { len: 129 })]);
    assert_eq!(bench.relay.events().count(), 0);
}

#[test]
fn a_full_disk_is_said_and_the_alarm_is_sent_and_kept_later() {
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    let outputs = bench.raise(Kind::Panic, Some("k"));
    assert_eq!(copies(&outputs), 1);
    let outputs = bench.step(Input::PersistFailed(persists(&outputs)[0].0, "full".to_owned()));
    assert!(matches!(answers(&outputs)[..], [Err(RaiseError::NotKept { .. })]));
    // Asking again asks the disk again.
    let outputs = bench.raise(Kind::Panic, Some("k"));
    let writes = persists(&outputs);
    assert_eq!(writes.len(), 1);
    bench.step(Input::PersistFailed(writes[0].0, "full".to_owned()));
    let outputs = bench.wait(5_000);
    let writes = persists(&outputs);
    assert_eq!(writes.len(), 1, "it is written again by itself");
    bench.step(Input::Persisted(writes[0].0));
    assert!(bench.relay.get(&bench.only_id()).unwrap().is_kept());
}

#[test]
fn what_a_station_has_but_the_record_does_not_is_still_carried() {
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    bench.raise(Kind::Fault, None);
    let id = bench.only_id();
    bench.receipt(id, Stage::Delivered, seat(1));
    let view = bench.relay.get(&id).unwrap();
    assert!(!view.is_stored() && !view.is_finished());
    assert!(copies(&bench.wait(20_000)) > 3, "nobody carries it to the record");
    bench.receipt(id, Stage::Stored, broker());
    assert!(bench.relay.get(&id).unwrap().is_finished());
    assert_eq!(copies(&bench.wait(60_000)), 0);
}

#[test]
fn what_a_node_without_quorum_and_a_station_have_rests_and_is_asked_about() {
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    bench.raise(Kind::Panic, None);
    let id = bench.only_id();
    bench.receipt_as(id, Stage::Received, broker(), Standing::Provisional);
    assert!(copies(&bench.wait(10_000)) > 3, "no station has it: its copies go on");
    bench.receipt(id, Stage::Delivered, seat(1));
    let rested = bench.wait(30_000);
    assert_eq!(copies(&rested), 0, "it keeps nobody from the line");
    let asks = rested.iter().filter(|output| matches!(output, Output::Send(.., Message::Inquire(ids)) if *ids == [id]));
    assert_eq!(asks.count(), 3);
    let outputs = bench.step(Input::Message(PATH, Message::Unknown(vec![id])));
    assert!(copies(&outputs) > 0, "a node that does not have it gets it");
    bench.receipt(id, Stage::Stored, broker());
    assert_eq!(copies(&bench.wait(30_000)), 0);
}

#[test]
fn what_the_region_has_forgotten_is_sent_again_until_it_is_finished() {
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    bench.raise(Kind::Panic, None);
    let id = bench.only_id();
    bench.receipt(id, Stage::Stored, broker());
    assert_eq!(copies(&bench.wait(60_000)), 0);
    let outputs = bench.step(Input::Message(PATH, Message::Unknown(vec![id])));
    assert_eq!(copies(&outputs), 1);
    bench.receipt(id, Stage::Acknowledged, seat(1));
    assert_eq!(bench.lamp(id), Lamp::Acknowledged);
    assert_eq!(copies(&bench.step(Input::Message(PATH, Message::Unknown(vec![id])))), 0);
}

#[test]
fn a_missed_answer_is_asked_for_at_once_by_a_new_path_and_then_every_ten_seconds() {
    let asks =
        |outputs: &[Output]| outputs.iter().filter(|o| matches!(o, Output::Send(_, _, _, Message::Inquire(_)))).count();
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    bench.raise(Kind::Panic, None);
    let id = bench.only_id();
    bench.receipt(id, Stage::Stored, broker());
    assert_eq!(asks(&bench.step(Input::PathUp(PathId(2), broker(), PathInfo::plain(Lane::Express)))), 1);
    assert_eq!(asks(&bench.wait(60_000)), 6, "one message a round, whatever the number of paths");
    bench.receipt(id, Stage::Acknowledged, seat(1));
    assert_eq!(asks(&bench.wait(60_000)), 0);
    for path in [PATH, PathId(2)] {
        bench.step(Input::PathDown(path));
    }
    assert_eq!(bench.relay.poll_timeout(), None, "a relay at rest has nothing to do but to probe its paths");
}

#[test]
fn whose_an_alarm_is_is_asked_until_the_record_has_said_it_though_it_is_known_who_assists() {
    let asks = |outputs: &[Output]| outputs.iter().any(|o| matches!(o, Output::Send(_, _, _, Message::Inquire(_))));
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    bench.raise(Kind::Panic, None);
    let id = bench.only_id();
    bench.receipt_as(id, Stage::Acknowledged, seat(1), Standing::Provisional);
    bench.receipt_as(id, Stage::Acknowledged, seat(2), Standing::Assisting);
    assert!(bench.relay.get(&id).unwrap().is_stored(), "who assists is so by the record");
    assert!(asks(&bench.wait(10_000)), "what was said of the owner was lost on the way");
    bench.receipt_as(id, Stage::Acknowledged, seat(1), Standing::Settled);
    let taken: Vec<_> =
        bench.relay.get(&id).unwrap().acknowledgements().iter().map(|r| (r.by.clone(), r.standing)).collect();
    assert_eq!(taken, [(seat(1), Standing::Settled), (seat(2), Standing::Assisting)]);
    assert!(!asks(&bench.wait(30_000)));
}

#[test]
fn a_refused_event_is_offered_again_after_a_minute_and_not_before() {
    let mut bench = Bench::new(vec![]);
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    bench.raise(Kind::Assist, None);
    let id = bench.only_id();
    for _ in 0..3 {
        bench.step(Input::Message(PATH, Message::Refused(id, Refusal::NoRoom)));
    }
    assert!(bench.relay.get(&id).unwrap().is_refused());
    assert_eq!(copies(&bench.wait(59_000)), 0);
    assert!(copies(&bench.wait(1_100)) >= 1);
}

#[test]
fn full_outbox_takes_p0_still() {
    let mut bench = Bench::new(vec![]);
    let rows: Vec<RelayRow> = (0..limits::RELAY_OPEN_EVENTS - limits::RELAY_RESERVED_FOR_P0).map(open_row).collect();
    bench.relay = Bench::new(rows).relay;
    assert!(matches!(answers(&bench.raise(Kind::Assist, None))[..], [Err(RaiseError::Full { .. })]));
    let outputs = bench.raise(Kind::Panic, None);
    assert_eq!((answers(&outputs).len(), persists(&outputs).len()), (0, 1));
}

fn open_row(number: usize) -> RelayRow {
    let mut event = tests_support::event(Kind::Assist);
    event.id = EventId::from_bytes((number as u128).to_be_bytes());
    RelayRow { slot: number as u64, sealed: seal(&event), idempotency_key: None, receipts: vec![] }
}

#[test]
fn finished_events_and_their_keys_are_forgotten_and_open_ones_are_not() {
    let mut bench = Bench::new(vec![]);
    bench.raise(Kind::Panic, Some("open"));
    let open = bench.only_id();
    let mut forgotten = 0;
    for number in 0..limits::RELAY_FINISHED_EVENTS + 50 {
        bench.now += 1_000;
        bench.relay.handle(
            at(bench.now),
            Input::Raise {
                ticket: Ticket(1),
                press: Press {
                    kind: Kind::Panic,
                    mode: Mode::Live,
                    device: None,
                    zone: None,
                    note: Text::default(),
                    details: Details::default(),
                },
                idempotency_key: Some(format!("k{number}")),
                live: false,
            },
        );
        std::iter::from_fn(|| bench.relay.poll_output()).for_each(drop);
        let id = bench.relay.events().map(|view| view.row.slot).max().unwrap();
        let id = bench.relay.events().find(|view| view.row.slot == id).unwrap().sealed().event.id;
        bench.relay.handle(at(bench.now), Input::Message(PATH, Message::Receipts(vec![taken(id)])));
        let outputs: Vec<Output> = std::iter::from_fn(|| bench.relay.poll_output()).collect();
        forgotten +=
            persists(&outputs).iter().filter(|(_, write)| matches!(write, Write::Forget(Class::P0, _))).count();
    }
    bench.relay.check().unwrap();
    assert_eq!(forgotten, 50);
    assert!(bench.relay.get(&open).is_some());
    assert_eq!(bench.relay.events().count(), limits::RELAY_FINISHED_EVENTS + 1);
    assert_eq!(bench.relay.oldest_unstored().unwrap().sealed().event.id, open);

    // It is finished last, so it is known longest: its lamp has to be looked at yet.
    bench.relay.handle(at(bench.now), Input::Message(PATH, Message::Receipts(vec![taken(open)])));
    bench.relay.check().unwrap();
    assert_eq!(bench.relay.get(&open).unwrap().lamp(), Lamp::Acknowledged);
    assert_eq!(bench.relay.events().count(), limits::RELAY_FINISHED_EVENTS);
}

fn taken(event: EventId) -> Receipt {
    let (stage, note, standing) = (Stage::Acknowledged, Text::default(), Standing::Settled);
    Receipt { event, stage, at: WallTime(1), by: seat(1), officer: None, note, skew: None, standing }
}

#[test]
fn forty_seats_do_not_keep_the_officers_answer_out() {
    let mut bench = Bench::new(vec![]);
    bench.raise(Kind::Panic, None);
    let id = bench.only_id();
    bench.receipt(id, Stage::Stored, broker());
    for number in 0..40 {
        bench.receipt(id, Stage::Delivered, seat(number));
        bench.receipt(id, Stage::Displayed, seat(number));
    }
    bench.receipt(id, Stage::Acknowledged, seat(39));
    assert_eq!(bench.lamp(id), Lamp::Acknowledged);
    assert!(bench.relay.get(&id).unwrap().receipts().len() <= limits::RECEIPTS_PER_EVENT);
}

#[test]
fn an_event_that_a_mended_store_holds_twice_is_one_event() {
    let (first, mut second) = (open_row(1), open_row(1));
    second.slot = 2;
    second.receipts.push(Receipt {
        event: second.sealed.event.id,
        stage: Stage::Stored,
        at: WallTime(1),
        by: broker(),
        officer: None,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    });
    let mut bench = Bench::new(vec![first, second]);
    let outputs = bench.drain();
    assert!(persists(&outputs).iter().any(|(_, write)| matches!(write, Write::Forget(Class::P1, 2))));
    assert!(bench.relay.get(&bench.only_id()).unwrap().is_stored());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is heard in whatever order, a lamp goes one way: only a screen or an officer ends "dial 110".
    #[test]
    fn a_lamp_never_goes_back(heard in prop::collection::vec((0..7_usize, 0..4_usize, 0..4_000_u64), 1..40)) {
        let mut bench = Bench::new(vec![]);
        bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
        bench.raise(Kind::Panic, None);
        let id = bench.only_id();
        let mut shown = bench.lamp(id);
        for (stage, by, millis) in heard {
            bench.receipt(id, Stage::ALL[stage], if stage < 4 { broker() } else { seat(by) });
            bench.wait(millis);
            let now = bench.lamp(id);
            prop_assert!(now >= shown, "{:?} after {:?}", now, shown);
            shown = now;
        }
    }
}

#[test]
fn an_alarm_without_a_path_has_the_driver_dial_at_once_and_again() {
    let hurries = |outputs: &[Output]| outputs.iter().filter(|output| matches!(output, Output::Hurry)).count();
    let mut bench = Bench::new(Vec::new());
    assert_eq!(hurries(&bench.raise(Kind::Status, None)), 0, "a status report can wait for the next try");
    assert_eq!(hurries(&bench.raise(Kind::Panic, None)), 1);
    assert_eq!(hurries(&bench.wait(2_000)), 4, "twice a second, while nobody is reached");
    bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    assert_eq!(hurries(&bench.wait(2_000)), 4, "a session on which nothing has come may be one that leads nowhere");
    bench.step(Input::Message(PATH, Message::Probe(1)));
    assert_eq!(hurries(&bench.wait(2_000)), 0);
    assert_eq!(hurries(&bench.step(Input::PathDown(PATH))), 1);
}

#[test]
fn a_press_repeated_to_a_relay_that_died_before_its_disk_had_it_is_the_same_event() {
    let mut before = Bench::new(Vec::new());
    before.raise(Kind::Panic, Some("a1"));
    let mut after = Bench::new(Vec::new());
    after.now = 1_000_000;
    after.raise(Kind::Panic, Some("a1"));
    assert_eq!(before.only_id(), after.only_id());
    let mut without = Bench::new(Vec::new());
    without.raise(Kind::Panic, None);
    assert_ne!(without.only_id(), before.only_id());
}
