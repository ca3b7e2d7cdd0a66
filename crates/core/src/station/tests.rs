//! A station with slow disks, repeated copies, and several hands reaching for one alarm.

use std::collections::BTreeMap;

use super::*;
use crate::event::{Class, Kind, Text};
use crate::id::{EventId, Name, NodeName, PathId, PersistSeq, SeatId};
use crate::lane::Lane;
use crate::message::{EventCopy, Message, Resume};
use crate::path::PathInfo;
use crate::receipt::{Receipt, Stage, Standing, Trail};
use crate::relay::tests_support::{event, seal};
use crate::time::{Now, Timestamp, WallTime};
use crate::{Machine, limits};

const PATH: PathId = PathId(1);

struct Bench {
    station: Station,
    now: u64,
}

impl Bench {
    fn new(rows: Vec<InboxRow>) -> Self {
        let config =
            StationConfig { seat: me(), next_seq: 1, marks: BTreeMap::new(), seed: 1, software: "test".to_owned() };
        let mut bench = Self { station: Station::new(at(0), config, rows), now: 0 };
        bench.drain();
        bench
    }

    fn connected() -> Self {
        let mut bench = Self::new(vec![]);
        bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
        bench
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

    fn wait(&mut self, millis: u64) -> Vec<Output> {
        let until = self.now + millis * 1_000;
        let mut outputs = Vec::new();
        while let Some(due) = self.station.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            self.station.handle_timeout(at(self.now));
            outputs.extend(self.drain());
        }
        self.now = until;
        outputs
    }

    fn hear(&mut self, message: Message) -> Vec<Output> {
        self.step(Input::Message(PATH, message))
    }

    fn keep_all(&mut self, outputs: &[Output]) -> Vec<Output> {
        let writes: Vec<PersistSeq> =
            outputs.iter().filter_map(|o| if let Output::Persist(seq, _) = o { Some(*seq) } else { None }).collect();
        writes.into_iter().flat_map(|seq| self.step(Input::Persisted(seq))).collect()
    }

    /// An alarm that is in the inbox and on disk.
    fn alarm(&mut self) -> EventId {
        let outputs = self.hear(copy(1, Kind::Panic, vec![]));
        self.keep_all(&outputs);
        id(1)
    }

    fn take(&mut self, ticket: u64, officer: &str) -> Vec<Output> {
        let officer = Name::new(officer).unwrap();
        self.step(Input::Acknowledge { ticket: AckTicket(ticket), event: id(1), officer, note: Text::default() })
    }
}

fn at(micros: u64) -> Now {
    Now { mono: Timestamp(micros), wall: WallTime(9) }
}

fn me() -> SeatId {
    SeatId { station: "p1".parse().unwrap(), seat: Name::new("a").unwrap() }
}

fn broker() -> NodeName {
    "broker/r1/n1".parse().unwrap()
}

fn id(number: u32) -> EventId {
    EventId::from_bytes(u128::from(number).to_be_bytes())
}

fn copy(number: u32, kind: Kind, receipts: Vec<Receipt>) -> Message {
    let mut event = event(kind);
    event.id = id(number);
    Message::Event(EventCopy { sealed: seal(&event), trail: Trail::default(), receipts })
}

fn receipt(event: EventId, stage: Stage, by: &str) -> Receipt {
    let officer = (stage == Stage::Acknowledged).then(|| Name::new("wang").unwrap());
    Receipt {
        event,
        stage,
        at: WallTime(1),
        by: by.parse().unwrap(),
        officer,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

fn shown(outputs: &[Output]) -> Vec<bool> {
    outputs.iter().filter_map(|o| if let Output::Show { durable, .. } = o { Some(*durable) } else { None }).collect()
}

fn said(outputs: &[Output]) -> Vec<Stage> {
    let receipts =
        outputs.iter().filter_map(|o| if let Output::Send(_, _, _, Message::Receipts(r)) = o { Some(r) } else { None });
    receipts.flatten().map(|receipt| receipt.stage).collect()
}

fn answers(outputs: &[Output]) -> Vec<(u64, &Result<Acknowledged, AckError>)> {
    outputs
        .iter()
        .filter_map(|o| if let Output::Answer(ticket, answer) = o { Some((ticket.0, answer)) } else { None })
        .collect()
}

#[test]
fn delivered_is_said_and_the_screen_lit_when_the_disk_has_it() {
    let mut bench = Bench::connected();
    let outputs = bench.hear(copy(1, Kind::Panic, vec![]));
    assert!(shown(&outputs).is_empty() && said(&outputs).is_empty());
    let outputs = bench.keep_all(&outputs);
    assert_eq!((shown(&outputs), said(&outputs)), (vec![true], vec![Stage::Delivered]));
}

#[test]
fn slow_disk_does_not_keep_an_alarm_from_the_screen() {
    let mut bench = Bench::connected();
    let written = bench.hear(copy(1, Kind::Panic, vec![]));
    let outputs = bench.wait(150);
    assert_eq!((shown(&outputs), said(&outputs)), (vec![false], vec![]), "shown, and not said to be on disk");
    let outputs = bench.keep_all(&written);
    assert!(shown(&outputs).is_empty(), "it is on the screen already");
    assert!(outputs.iter().any(|output| matches!(output, Output::NowDurable(1))));
    assert_eq!(said(&outputs), [Stage::Delivered]);
}

#[test]
fn a_full_disk_shows_the_alarm_at_once_and_is_asked_again() {
    let mut bench = Bench::connected();
    bench.hear(copy(1, Kind::Panic, vec![]));
    let outputs = bench.step(Input::PersistFailed(PersistSeq(1), "full".to_owned()));
    assert_eq!((shown(&outputs), said(&outputs)), (vec![false], vec![]));
    let outputs = bench.wait(5_000);
    assert_eq!(said(&bench.keep_all(&outputs)), [Stage::Delivered]);
}

#[test]
fn a_repeated_copy_is_shown_once_and_answered_each_time() {
    let mut bench = Bench::connected();
    bench.alarm();
    for _ in 0..3 {
        let outputs = bench.hear(copy(1, Kind::Panic, vec![]));
        assert_eq!((shown(&outputs), said(&outputs)), (vec![], vec![Stage::Delivered]));
    }
    assert_eq!(bench.station.rows_from(0).count(), 1);
}

#[test]
fn an_officer_is_answered_when_the_disk_has_it_and_so_is_one_who_asks_twice() {
    let mut bench = Bench::connected();
    bench.alarm();
    let outputs = bench.take(1, "li");
    assert!(answers(&outputs).is_empty());
    assert_eq!(said(&outputs), [Stage::Acknowledged], "the school need not wait for this disk");
    assert!(answers(&bench.take(2, "li")).is_empty(), "it is not on disk yet");
    let outputs = bench.keep_all(&outputs);
    let repeated: Vec<_> =
        answers(&outputs).iter().map(|(ticket, answer)| (*ticket, answer.as_ref().unwrap().repeated)).collect();
    assert_eq!(repeated, [(1, false), (2, true)]);
    assert!(matches!(answers(&bench.take(3, "zhao"))[..], [(3, Err(AckError::Taken(_)))]));
    assert!(matches!(answers(&bench.take(4, "li"))[..], [(4, Ok(Acknowledged { repeated: true, .. }))]));
}

#[test]
fn who_came_too_late_learns_whose_it_is_and_stops_saying_it() {
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let outputs = bench.take(1, "li");
    bench.keep_all(&outputs);
    bench.hear(Message::Confirmed(vec![(alarm, Stage::Delivered)]));
    assert_eq!(bench.station.unconfirmed(), 1);
    let theirs = receipt(alarm, Stage::Acknowledged, "station/p2/a");
    bench.hear(Message::Receipts(vec![theirs.clone()]));
    let row = bench.station.get(&alarm).unwrap();
    assert_eq!(row.owner().unwrap().by, "station/p2/a".parse().unwrap());
    assert_eq!(bench.station.unconfirmed(), 1, "the region is to know who else went");
    let me = bench.station.me.clone();
    let own = Receipt { standing: Standing::Assisting, ..row.said(Stage::Acknowledged, &me).unwrap().clone() };
    bench.hear(Message::Receipts(vec![theirs, own.clone()]));
    let row = bench.station.get(&alarm).unwrap();
    assert_eq!((bench.station.unconfirmed(), row.unconfirmed.len()), (0, 0));
    assert_eq!(row.assisting().collect::<Vec<_>>(), [&own]);
    assert_eq!(row.owner().unwrap().by, "station/p2/a".parse().unwrap());
    assert!(said(&bench.wait(60_000)).is_empty());
}

/// Before minor 3, whoever came too late was told whose it is, and nothing else.
#[test]
fn an_answer_that_an_older_region_has_no_place_for_is_not_said_for_ever() {
    let hello = |wire_minor| Message::Hello(crate::Hello { software: String::new(), wire_minor, resume: None });
    for (minor, waits) in [(2, 0), (3, 1)] {
        let mut bench = Bench::connected();
        bench.hear(hello(minor));
        let alarm = bench.alarm();
        let outputs = bench.take(1, "li");
        bench.keep_all(&outputs);
        bench.hear(Message::Confirmed(vec![(alarm, Stage::Delivered)]));
        bench.hear(Message::Receipts(vec![receipt(alarm, Stage::Acknowledged, "station/p2/a")]));
        assert_eq!(bench.station.unconfirmed(), waits, "minor {minor}");
        assert_eq!(said(&bench.wait(60_000)).is_empty(), waits == 0, "minor {minor}");
        let row = bench.station.get(&alarm).unwrap();
        assert_eq!(row.owner().unwrap().by, "station/p2/a".parse().unwrap());
        assert_eq!(row.assisting().count(), 1 - waits, "minor {minor}");
    }
}

#[test]
fn what_a_node_without_quorum_took_is_provisional_until_the_record_has_it() {
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    bench.hear(Message::Confirmed(vec![(alarm, Stage::Delivered)]));
    let theirs = Receipt { standing: Standing::Provisional, ..receipt(alarm, Stage::Acknowledged, "station/p2/a") };
    bench.hear(Message::Receipts(vec![theirs.clone()]));
    assert!(!bench.station.get(&alarm).unwrap().is_finished(), "it may yet be lost with that node");
    let outputs = bench.take(1, "li");
    let outputs = bench.keep_all(&outputs);
    let done = answers(&outputs);
    let [(1, Ok(done))] = &done[..] else { panic!("{done:?}") };
    assert_eq!((done.owner.by.to_string(), done.receipt.standing), ("station/p2/a".to_owned(), Standing::Provisional));
    let me = bench.station.me.clone();
    let own = bench.station.get(&alarm).unwrap().said(Stage::Acknowledged, &me).unwrap().clone();
    bench.hear(Message::Receipts(vec![own]));
    assert_eq!(bench.station.unconfirmed(), 1, "said until the record has it");
    // The record has this seat's word first, whatever the clocks say.
    bench.hear(Message::Confirmed(vec![(alarm, Stage::Acknowledged)]));
    bench.hear(Message::Receipts(vec![Receipt { standing: Standing::Assisting, ..theirs }]));
    let row = bench.station.get(&alarm).unwrap();
    assert_eq!((&row.owner().unwrap().by, row.owner().unwrap().standing), (&me, Standing::Settled));
    assert_eq!((row.assisting().count(), bench.station.unconfirmed()), (1, 0));
}

#[test]
fn whether_another_officer_assists_is_asked_about_by_the_one_who_has_the_alarm() {
    let asks = |outputs: &[Output]| outputs.iter().any(|o| matches!(o, Output::Send(_, _, _, Message::Inquire(_))));
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let theirs = Receipt { standing: Standing::Provisional, ..receipt(alarm, Stage::Acknowledged, "station/p2/a") };
    let outputs = bench.take(1, "li");
    bench.keep_all(&outputs);
    bench.hear(Message::Receipts(vec![theirs.clone()]));
    bench.hear(Message::Confirmed(vec![(alarm, Stage::Delivered), (alarm, Stage::Acknowledged)]));
    assert_eq!(bench.station.unacknowledged().count(), 0, "it is this seat's");
    // The region healed while this seat was away: what it said of the other officer then was missed.
    let row = bench.station.get(&alarm).unwrap().clone();
    let mut bench = Bench::new(vec![row]);
    assert!(asks(&bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)))));
    assert!(asks(&bench.wait(10_000)) && bench.station.unacknowledged().count() == 0);
    bench.hear(Message::Receipts(vec![Receipt { standing: Standing::Assisting, ..theirs }]));
    assert_eq!(bench.station.get(&alarm).unwrap().assisting().count(), 1);
    assert!(!asks(&bench.wait(30_000)), "there is nothing more to ask");
    // Of one who assists alone it does not follow whose it is.
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let assists = Receipt { standing: Standing::Assisting, ..receipt(alarm, Stage::Acknowledged, "station/p2/a") };
    bench.hear(Message::Receipts(vec![assists]));
    assert!(asks(&bench.wait(10_000)));
    bench.hear(Message::Receipts(vec![receipt(alarm, Stage::Acknowledged, "station/p3/a")]));
    assert!(!asks(&bench.wait(30_000)));
}

#[test]
fn ack_survives_a_restart_and_the_broker_forgetting() {
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let outputs = bench.take(1, "li");
    bench.keep_all(&outputs);
    let row = bench.station.get(&alarm).unwrap().clone();
    // A restart before anybody confirmed it.
    let mut bench = Bench::new(vec![row]);
    let outputs = bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    assert_eq!(said(&outputs), [Stage::Acknowledged, Stage::Delivered]);
    bench.hear(Message::Confirmed(vec![(alarm, Stage::Acknowledged), (alarm, Stage::Delivered)]));
    assert_eq!(bench.station.unconfirmed(), 0);
    // A region that lost its record sends the event as if nobody had seen it.
    let outputs = bench.hear(copy(1, Kind::Panic, vec![]));
    assert!(shown(&outputs).is_empty());
    assert!(said(&outputs).contains(&Stage::Acknowledged));
}

#[test]
fn what_the_region_does_not_know_is_given_up_in_the_end_and_said_again_if_the_event_comes_back() {
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let outputs = bench.take(1, "li");
    bench.keep_all(&outputs);
    let orphaned = (0..720).any(|_| {
        let outputs = bench.hear(Message::Unknown(vec![alarm]));
        outputs.iter().any(|output| matches!(output, Output::Report(Report::Orphan(_))))
    });
    assert!(orphaned && bench.station.unconfirmed() == 0);
    assert!(said(&bench.hear(copy(1, Kind::Panic, vec![]))).contains(&Stage::Acknowledged));
}

#[test]
fn an_alarm_that_nobody_took_is_asked_about_until_somebody_has() {
    let asks =
        |outputs: &[Output]| outputs.iter().filter(|o| matches!(o, Output::Send(_, _, _, Message::Inquire(_)))).count();
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    bench.hear(Message::Confirmed(vec![(alarm, Stage::Delivered)]));
    assert_eq!(bench.station.unacknowledged().count(), 1);
    assert_eq!(asks(&bench.wait(30_000)), 3);
    assert_eq!(asks(&bench.step(Input::PathUp(PathId(2), broker(), PathInfo::plain(Lane::Express)))), 1);
    bench.hear(Message::Receipts(vec![receipt(alarm, Stage::Acknowledged, "station/p2/a")]));
    assert_eq!((asks(&bench.wait(30_000)), bench.station.unacknowledged().count()), (0, 0));
    for path in [PATH, PathId(2)] {
        bench.step(Input::PathDown(path));
    }
    assert_eq!(bench.station.poll_timeout(), None, "a station at rest has nothing to do but to probe its paths");
}

#[test]
fn a_mark_that_was_overtaken_takes_nothing_back() {
    let mut bench = Bench::connected();
    let mark = |index, life: u8| Message::Mark(Resume { record: crate::RecordId([life; 16]), index });
    let writes =
        |outputs: &[Output]| outputs.iter().filter(|o| matches!(o, Output::Persist(_, Write::Mark(..)))).count();
    assert_eq!(writes(&bench.hear(mark(9, 1))), 1);
    assert_eq!(writes(&bench.hear(mark(5, 1))), 0);
    assert_eq!(writes(&bench.hear(mark(1, 2))), 1, "another record begins anew");
    let outputs = bench.step(Input::PathUp(PathId(2), broker(), PathInfo::plain(Lane::Express)));
    let hello =
        outputs.iter().find_map(|o| if let Output::Send(_, _, _, Message::Hello(h)) = o { h.resume } else { None });
    assert_eq!(hello.unwrap().index, 1);
}

#[test]
fn an_event_that_a_mended_store_holds_twice_is_shown_once() {
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let (first, mut second) = (bench.station.get(&alarm).unwrap().clone(), bench.station.get(&alarm).unwrap().clone());
    second.seq = 2;
    let bench = Bench::new(vec![first, second]);
    assert_eq!(bench.station.rows_from(0).count(), 1);
}

#[test]
fn a_row_that_was_written_short_says_again_what_it_can() {
    let mut bench = Bench::connected();
    let alarm = bench.alarm();
    let mut row = bench.station.get(&alarm).unwrap().clone();
    row.receipts.clear();
    row.unconfirmed = [Stage::Delivered, Stage::Displayed].into();
    let mut bench = Bench::new(vec![row]);
    let outputs = bench.step(Input::PathUp(PATH, broker(), PathInfo::plain(Lane::Express)));
    assert_eq!(said(&outputs), [Stage::Delivered]);
}

#[test]
fn a_full_inbox_lets_go_of_what_is_done_and_keeps_what_is_open() {
    let rows = (1..=u32::try_from(limits::INBOX_EVENTS).unwrap()).map(|number| {
        let (mut event, open) = (event(if number == 1 { Kind::Panic } else { Kind::Status }), number == 1);
        event.id = id(number);
        let receipts = vec![receipt(event.id, Stage::Delivered, "station/p1/a")];
        assert!(open == (event.class == Class::P0));
        InboxRow {
            seq: u64::from(number),
            sealed: seal(&event),
            trail: Trail::default(),
            received_at: WallTime(1),
            receipts,
            unconfirmed: [].into(),
            ownership: None,
            case: None,
            signature: None,
        }
    });
    let mut bench = Bench::new(rows.collect());
    let outputs = bench.hear(copy(4_000_000, Kind::Status, vec![]));
    assert!(outputs.iter().any(|output| matches!(output, Output::Persist(_, Write::Forget(Class::P3, 2)))));
    assert!(bench.station.get(&id(1)).is_some() && bench.station.get(&id(2)).is_none());
    assert_eq!(bench.station.rows_from(0).count(), limits::INBOX_EVENTS - 1);
}

#[test]
fn forty_seats_do_not_keep_this_ones_statements_out() {
    let mut bench = Bench::connected();
    let others: Vec<Receipt> =
        (0..40).map(|at| receipt(id(1), Stage::Delivered, &format!("station/p1/d{at}"))).collect();
    let outputs = bench.hear(copy(1, Kind::Panic, others));
    assert_eq!(said(&bench.keep_all(&outputs)), [Stage::Delivered]);
    let outputs = bench.take(1, "li");
    assert!(answers(&bench.keep_all(&outputs)).iter().all(|(_, answer)| answer.is_ok()));
    assert!(bench.station.get(&id(1)).unwrap().receipts.len() <= limits::RECEIPTS_PER_EVENT);
}
