//! A broker node among relays and stations that come, go, and do what they may not.

mod cases;
mod climbs;
mod commands;
mod degraded;
mod drills;
mod plan;
mod school_plans;
mod troubles;

use super::*;
use crate::event::{Class, Kind, Text};
use crate::id::{EventId, Name, NodeName, PathId, RecordId, RelayId, SchoolId, SeatId, StationId};
use crate::lane::Lane;
use crate::message::{Degraded, EventCopy, Hello, Message, Refusal, Resume, WIRE_MINOR};
use crate::path::PathInfo;
use crate::plan::Plan;
use crate::receipt::{Receipt, Stage, Standing, Trail};
use crate::record::{Admission, Command, Entry, RecordLimits, RecordState};
use crate::relay::tests_support::{event, relay_id, seal};
use crate::time::{Now, Timestamp, WallTime};
use crate::{Machine, limits};

const RELAY: PathId = PathId(1);
const RECORD: RecordId = RecordId([1; 16]);

/// A node with an engine that commits when it is told to.
struct Bench {
    broker: Broker,
    now: u64,
    /// What the clock on the wall showed at the start, if it runs.
    wall: Option<i64>,
    proposals: Vec<Command>,
    index: u64,
    sent: Vec<(PathId, Class, Message)>,
    reports: Vec<Report>,
    journal: Vec<(JournalId, Command)>,
    archive: Vec<Entry>,
    recalls: Vec<(RecallTicket, Vec<EventId>)>,
}

impl Bench {
    fn new(plan: Plan, mut record: RecordState) -> Self {
        let config =
            BrokerConfig { region: name("r1"), node: name("n1"), province: None, seed: 1, software: "test".to_owned() };
        record.apply(1, Command::Found { record: RECORD });
        let (index, broker) = (record.last_index(), Broker::new(config, plan, record, vec![]));
        let mut bench = Self {
            broker,
            now: 0,
            wall: None,
            proposals: vec![],
            index,
            sent: vec![],
            reports: vec![],
            journal: vec![],
            archive: vec![],
            recalls: vec![],
        };
        bench.drain();
        bench
    }

    fn started() -> Self {
        let mut bench = Self::new(plan(), RecordState::default());
        bench.up(RELAY, NodeName::Relay(relay_id()));
        bench
    }

    fn step(&mut self, input: Input) {
        let now = self.clock();
        self.sent.clear();
        self.broker.handle(now, input);
        self.drain();
    }

    fn wait(&mut self, millis: u64) {
        let until = self.now + millis * 1_000;
        self.sent.clear();
        while let Some(due) = self.broker.poll_timeout().filter(|due| due.0 <= until) {
            self.now = self.now.max(due.0);
            let now = self.clock();
            self.broker.handle_timeout(now);
            self.drain();
        }
        self.now = until;
    }

    fn clock(&self) -> Now {
        let wall = self.wall.map_or(9, |start| start + i64::try_from(self.now).unwrap());
        Now { mono: Timestamp(self.now), wall: WallTime(wall) }
    }

    fn drain(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Propose(command) => self.proposals.push(command),
                Output::Send(path, class, _, message) => self.sent.push((path, class, message)),
                Output::Report(report) => self.reports.push(report),
                Output::RaceProvince => panic!("this region has no province"),
                Output::Journal(id, command) => self.journal.push((id, command)),
                Output::Unjournal(ids) => self.journal.retain(|(id, _)| !ids.contains(id)),
                Output::Archive(_, entry) => self.archive.push(*entry),
                Output::Recall(ticket, ids) => self.recalls.push((ticket, ids)),
                Output::Snapshot(..) => panic!("nobody asked for one"),
            }
        }
        self.broker.check().unwrap();
    }

    fn up(&mut self, path: PathId, peer: NodeName) {
        self.step(Input::SessionUp { path, peer, info: PathInfo::plain(Lane::Express), expired: false });
    }

    fn hear(&mut self, path: PathId, message: Message) {
        self.step(Input::Message(path, message));
    }

    fn greet(&mut self, path: PathId, seat: &SeatId, resume: Option<Resume>) {
        self.up(path, NodeName::Station(seat.clone()));
        self.hear(path, Message::Hello(Hello { software: String::new(), wire_minor: WIRE_MINOR, resume }));
    }

    fn greet_relay(&mut self, wire_minor: u32) {
        self.hear(RELAY, Message::Hello(Hello { software: String::new(), wire_minor, resume: None }));
    }

    /// Commits what was proposed. What was sent while doing so is there to be looked at.
    fn commit(&mut self) {
        let mut sent = Vec::new();
        for command in std::mem::take(&mut self.proposals) {
            self.index += 1;
            self.step(Input::Committed { index: self.index, command, replayed: false });
            sent.append(&mut self.sent);
        }
        self.sent = sent;
    }

    fn raise(&mut self, number: u8, kind: Kind) -> EventId {
        let message = copy(number, kind);
        self.hear(RELAY, message);
        id(number)
    }

    fn say(&mut self, path: PathId, seat: &SeatId, event: EventId, stage: Stage) {
        self.hear(path, Message::Receipts(vec![receipt(event, stage, seat)]));
    }

    fn events_to(&self, path: PathId) -> Vec<EventId> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.filter_map(|(.., m)| if let Message::Event(copy) = m { Some(copy.sealed.event.id) } else { None }).collect()
    }

    fn stages_to(&self, path: PathId) -> Vec<Stage> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.flat_map(|(.., m)| if let Message::Receipts(all) = m { all.clone() } else { vec![] })
            .map(|r| r.stage)
            .collect()
    }

    fn was_sent(&self, path: PathId, message: &Message) -> bool {
        self.sent.iter().any(|(to, _, sent)| *to == path && sent == message)
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn seat(station: &str, desk: &str) -> SeatId {
    SeatId { station: StationId(name(station)), seat: name(desk) }
}

fn plan() -> Plan {
    let mut plan = Plan::default();
    plan.add(SchoolId(name("s1")), vec![StationId(name("p1")), StationId(name("p2"))]).unwrap();
    plan
}

fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn copy(number: u8, kind: Kind) -> Message {
    let mut event = event(kind);
    event.id = id(number);
    Message::Event(EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] })
}

fn receipt(event: EventId, stage: Stage, seat: &SeatId) -> Receipt {
    let by = NodeName::Station(seat.clone());
    let officer = (stage == Stage::Acknowledged).then(|| seat.seat.clone());
    Receipt {
        event,
        stage,
        at: WallTime(3),
        by,
        officer,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

#[test]
fn the_alarm_is_at_the_seat_before_the_record_has_it_and_stored_is_said_after() {
    let mut bench = Bench::started();
    bench.greet(PathId(2), &seat("p1", "a"), None);
    let event = bench.raise(1, Kind::Panic);
    assert_eq!(bench.events_to(PathId(2)), [event]);
    assert!(bench.stages_to(RELAY).is_empty(), "nothing is stored yet");
    bench.commit();
    assert_eq!(bench.stages_to(RELAY), [Stage::Stored]);
    assert!(bench.events_to(PathId(2)).is_empty(), "the seat was sent it already");
}

#[test]
fn an_event_for_another_school_is_refused_and_costs_nobody_else() {
    let mut bench = Bench::started();
    bench.greet(PathId(2), &seat("p1", "a"), None);
    let other = RelayId { school: SchoolId(name("s2")), device: name("gate") };
    bench.up(PathId(3), NodeName::Relay(other));
    bench.hear(PathId(3), copy(1, Kind::Panic));
    assert!(bench.was_sent(PathId(3), &Message::Refused(id(1), Refusal::OtherSchool)));
    let neighbour = RelayId { school: SchoolId(name("s1")), device: name("back-gate") };
    bench.up(PathId(4), NodeName::Relay(neighbour));
    bench.hear(PathId(4), copy(1, Kind::Panic));
    assert!(bench.was_sent(PathId(4), &Message::Refused(id(1), Refusal::OtherRelay)));
    assert!(bench.proposals.is_empty() && bench.events_to(PathId(2)).is_empty());
    bench.raise(1, Kind::Panic);
    assert_eq!(bench.events_to(PathId(2)), [id(1)], "the id was not burnt by those who may not use it");
}

#[test]
fn an_expired_certificate_does_not_silence_an_alarm() {
    let mut bench = Bench::new(plan(), RecordState::default());
    let peer = NodeName::Relay(relay_id());
    bench.step(Input::SessionUp { path: RELAY, peer, info: PathInfo::plain(Lane::Express), expired: true });
    bench.raise(1, Kind::Panic);
    assert_eq!(bench.proposals.len(), 1);
    bench.raise(2, Kind::Assist);
    assert!(bench.was_sent(RELAY, &Message::Refused(id(2), Refusal::Expired)));
}

#[test]
fn a_station_that_was_away_gets_alarms_first_and_history_last() {
    let mut bench = Bench::started();
    for (number, kind) in [(1, Kind::Panic), (2, Kind::Fault), (3, Kind::Assist), (4, Kind::Fire)] {
        bench.raise(number, kind);
    }
    bench.commit();
    let first = seat("p2", "a");
    bench.greet(PathId(9), &first, None);
    bench.say(PathId(9), &first, id(1), Stage::Acknowledged);
    bench.commit();
    bench.greet(PathId(2), &seat("p1", "a"), None);
    assert_eq!(bench.events_to(PathId(2)), [id(4), id(3), id(2), id(1)], "what nobody has taken goes first");
}

#[test]
fn a_station_resumes_at_its_mark_and_a_mark_of_another_record_counts_nothing() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    bench.raise(1, Kind::Panic);
    bench.commit();
    bench.say(PathId(2), &p1, id(1), Stage::Delivered);
    let mark =
        bench.sent.iter().find_map(|(.., m)| if let Message::Mark(mark) = m { Some(*mark) } else { None }).unwrap();
    assert_eq!(mark, Resume { record: RECORD, index: 2 });
    bench.step(Input::SessionDown(PathId(2)));
    bench.raise(2, Kind::Panic);
    bench.commit();
    bench.greet(PathId(3), &p1, Some(mark));
    assert_eq!(bench.events_to(PathId(3)), [id(2)]);
    bench.greet(PathId(4), &seat("p1", "b"), Some(Resume { record: RecordId([9; 16]), index: 99 }));
    assert_eq!(bench.events_to(PathId(4)), [id(1), id(2)]);
}

#[test]
fn a_seat_that_lost_its_inbox_is_given_again_what_it_once_had() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    bench.raise(1, Kind::Panic);
    bench.say(PathId(2), &p1, id(1), Stage::Delivered);
    bench.commit();
    bench.step(Input::SessionDown(PathId(2)));
    bench.greet(PathId(3), &p1, None);
    assert_eq!(bench.events_to(PathId(3)), [id(1)]);
}

#[test]
fn first_officer_wins_and_the_second_is_told_who() {
    let mut bench = Bench::started();
    bench.greet_relay(WIRE_MINOR);
    let (one, two) = (seat("p1", "a"), seat("p1", "b"));
    bench.greet(PathId(2), &one, None);
    bench.greet(PathId(3), &two, None);
    bench.raise(1, Kind::Panic);
    bench.commit();
    bench.say(PathId(2), &one, id(1), Stage::Acknowledged);
    assert!(!bench.stages_to(RELAY).contains(&Stage::Acknowledged), "who owns it is decided by the record");
    bench.say(PathId(3), &two, id(1), Stage::Acknowledged);
    bench.commit();
    let owner = receipt(id(1), Stage::Acknowledged, &one);
    let assists = Receipt { standing: Standing::Assisting, ..receipt(id(1), Stage::Acknowledged, &two) };
    assert!(bench.was_sent(PathId(2), &Message::Confirmed(vec![(id(1), Stage::Acknowledged)])));
    assert!(bench.was_sent(PathId(3), &Message::Receipts(vec![owner.clone(), assists.clone()])));
    assert!(!bench.was_sent(PathId(3), &Message::Confirmed(vec![(id(1), Stage::Acknowledged)])));
    assert!(bench.was_sent(PathId(2), &Message::Receipts(vec![assists.clone()])), "the owner hears who assists");
    assert!(bench.was_sent(RELAY, &Message::Receipts(vec![owner.clone()])));
    assert!(bench.was_sent(RELAY, &Message::Receipts(vec![assists.clone()])));
    // Told once more, should the answer have been lost.
    bench.say(PathId(3), &two, id(1), Stage::Acknowledged);
    assert!(bench.was_sent(PathId(3), &Message::Receipts(vec![owner, assists])));
    assert!(bench.proposals.is_empty());
}

#[test]
fn a_statement_is_not_confirmed_when_its_event_did_not_come_into_the_record() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    bench.raise(1, Kind::Panic);
    bench.say(PathId(2), &p1, id(1), Stage::Acknowledged);
    let admit = bench.proposals.remove(0);
    bench.step(Input::NotCommitted { command: admit, why: NotCommitted::Failed("io".to_owned()) });
    bench.commit();
    assert!(!bench.was_sent(PathId(2), &Message::Confirmed(vec![(id(1), Stage::Acknowledged)])));
    // Both are proposed again, the event first, whatever relay and seat do.
    bench.wait(2_500);
    assert!(matches!(bench.proposals[..], [Command::Admit(_), Command::Note(_)]), "{:?}", bench.proposals);
    bench.commit();
    assert!(bench.was_sent(PathId(2), &Message::Confirmed(vec![(id(1), Stage::Acknowledged)])));
    assert!(bench.stages_to(RELAY).contains(&Stage::Acknowledged));
}

#[test]
fn a_statement_that_is_said_again_and_again_is_handed_to_the_record_once() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    bench.raise(1, Kind::Panic);
    (0..50).for_each(|_| bench.say(PathId(2), &p1, id(1), Stage::Displayed));
    assert_eq!(bench.proposals.len(), 2);
    let note = bench.proposals.pop().unwrap();
    bench.step(Input::NotCommitted { command: note, why: NotCommitted::Failed("io".to_owned()) });
    bench.say(PathId(2), &p1, id(1), Stage::Displayed);
    assert_eq!(bench.proposals.len(), 1, "a failure is not tried again at once");
    bench.commit();
    assert!(matches!(bench.proposals[..], [Command::Note(_)]), "its event is there now");
}

#[test]
fn a_plan_that_comes_while_the_record_is_at_work_finds_its_alarm() {
    let mut bench = Bench::new(Plan::default(), RecordState::default());
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet(PathId(2), &seat("p1", "a"), None);
    bench.raise(1, Kind::Panic);
    assert!(bench.reports.iter().any(|report| matches!(report, Report::NoRoute(_))));
    bench.step(Input::Plan(plan()));
    assert_eq!(bench.events_to(PathId(2)), [id(1)], "the express lane waits for no record");
    bench.commit();
    let route = bench.proposals.remove(0);
    assert!(matches!(route, Command::Route { .. }));
    bench.step(Input::NotCommitted { command: route, why: NotCommitted::Failed("io".to_owned()) });
    bench.wait(5_000);
    bench.commit();
    assert_eq!(bench.broker.record().unrouted().count(), 0);
}

#[test]
fn a_record_full_of_open_events_takes_p0_only() {
    let mut bench = Bench::new(plan(), RecordState::new(RecordLimits { events: 3, ..RecordLimits::default() }));
    bench.up(RELAY, NodeName::Relay(relay_id()));
    for number in 1..=3 {
        bench.raise(number, Kind::Assist);
    }
    bench.commit();
    bench.raise(4, Kind::Assist);
    assert!(bench.was_sent(RELAY, &Message::Refused(id(4), Refusal::NoRoom)));
    bench.raise(5, Kind::Panic);
    bench.commit();
    assert_eq!(bench.stages_to(RELAY), [Stage::Stored]);
}

#[test]
fn one_relays_flood_does_not_take_another_schools_room() {
    let mut bench = Bench::started();
    for number in 0..limits::RELAY_OPEN_EVENTS {
        let mut event = event(Kind::Panic);
        event.id = EventId::from_bytes((number as u128).to_be_bytes());
        let copy = EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] };
        bench.broker.handle(Now::default(), Input::Message(RELAY, Message::Event(copy)));
        std::iter::from_fn(|| bench.broker.poll_output()).for_each(drop);
    }
    bench.raise(255, Kind::Panic);
    assert!(bench.proposals.is_empty() && bench.sent.is_empty());
    assert!(matches!(bench.reports.last(), Some(Report::Refused(_, _, Refusal::NoRoom))));
    let other = RelayId { school: SchoolId(name("s2")), device: name("gate") };
    bench.up(PathId(3), NodeName::Relay(other.clone()));
    let mut event = event(Kind::Panic);
    (event.id, event.relay) = (id(254), other);
    bench
        .hear(PathId(3), Message::Event(EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] }));
    assert_eq!(bench.proposals.len(), 1);
}

#[test]
fn a_seat_that_lost_its_express_lane_is_served_on_the_bulk_lane_at_once() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    let peer = NodeName::Station(p1);
    bench.step(Input::SessionUp { path: PathId(3), peer, info: PathInfo::plain(Lane::Bulk), expired: false });
    bench.raise(1, Kind::Panic);
    assert!(bench.events_to(PathId(3)).is_empty());
    bench.step(Input::SessionDown(PathId(2)));
    assert_eq!(bench.events_to(PathId(3)), [id(1)]);
}

#[test]
fn what_is_not_routed_to_a_station_it_neither_hears_nor_answers() {
    let mut bench = Bench::started();
    let stranger = seat("p9", "a");
    bench.greet(PathId(2), &stranger, None);
    bench.raise(1, Kind::Panic);
    bench.commit();
    assert!(bench.events_to(PathId(2)).is_empty());
    bench.say(PathId(2), &stranger, id(1), Stage::Acknowledged);
    assert!(bench.proposals.is_empty());
    bench.hear(PathId(2), Message::Inquire(vec![id(1)]));
    assert!(bench.sent.is_empty());
    let forged = receipt(id(1), Stage::Acknowledged, &seat("p1", "a"));
    bench.hear(PathId(2), Message::Receipts(vec![forged]));
    bench.hear(PathId(2), copy(7, Kind::Panic));
    assert!(bench.proposals.is_empty());
    let improper = bench.reports.iter().filter(|report| matches!(report, Report::Improper(..))).count();
    assert_eq!(improper, 3);
}

#[test]
fn an_answer_given_elsewhere_is_there_for_those_who_ask() {
    let mut bench = Bench::started();
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet(PathId(2), &one, None);
    bench.raise(1, Kind::Panic);
    bench.say(PathId(2), &one, id(1), Stage::Acknowledged);
    bench.commit();
    bench.greet(PathId(3), &two, Some(Resume { record: RECORD, index: 3 }));
    bench.hear(PathId(3), Message::Inquire(vec![id(1), id(9)]));
    assert_eq!(bench.stages_to(PathId(3)), [Stage::Received, Stage::Stored, Stage::Acknowledged]);
    bench.hear(RELAY, Message::Inquire(vec![id(1), id(9)]));
    assert!(bench.stages_to(RELAY).contains(&Stage::Acknowledged));
    assert!(bench.was_sent(RELAY, &Message::Unknown(vec![id(9)])));
}

#[test]
fn a_seat_that_comes_back_without_its_inbox_is_told_its_mark_anew_though_its_old_session_lingers() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.say(PathId(2), &p1, event, Stage::Delivered);
    bench.commit();
    // The seat loses its power and all that it has, twice; the node has not noticed that its earlier sessions are dead.
    for path in [PathId(3), PathId(4)] {
        bench.greet(path, &p1, None);
        assert_eq!(bench.events_to(path), [event]);
        bench.say(path, &p1, event, Stage::Delivered);
        let marks = bench.sent.iter().filter(|(.., message)| matches!(message, Message::Mark(_)));
        let told: Vec<PathId> = marks.map(|(to, ..)| *to).collect();
        assert_eq!(told, [path], "it is told where it is now, or is given everything again and again");
    }
}

#[test]
fn a_probe_is_a_sign_of_life_and_brings_what_is_pending_at_once() {
    let mut bench = Bench::started();
    let p1 = seat("p1", "a");
    bench.greet(PathId(2), &p1, None);
    let event = bench.raise(1, Kind::Panic);
    assert_eq!(bench.events_to(PathId(2)), [event]);
    // Long enough for the alarm to be old: its copies are seconds apart then.
    bench.wait(60_000);
    bench.wait(700);
    bench.hear(PathId(2), Message::Probe(1));
    assert_eq!(bench.events_to(PathId(2)), [event]);
}

#[test]
fn what_left_the_record_is_answered_out_of_the_archive_and_never_comes_in_again() {
    let mut bench =
        Bench::new(plan(), RecordState::new(RecordLimits { finished: 0, open_cases: 0, ..RecordLimits::default() }));
    bench.up(RELAY, NodeName::Relay(relay_id()));
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet(PathId(2), &one, None);
    bench.greet(PathId(3), &two, None);
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.say(PathId(2), &one, event, Stage::Acknowledged);
    bench.commit();
    assert!(bench.broker.record().is_archived(&event));
    bench.wait(1_000);
    bench.raise(1, Kind::Panic);
    bench.hear(RELAY, Message::Inquire(vec![event]));
    bench.hear(PathId(3), Message::Inquire(vec![event]));
    bench.say(PathId(3), &two, event, Stage::Acknowledged);
    assert!(bench.proposals.is_empty());
    assert_eq!(bench.recalls.len(), 4);
    for (ticket, ids) in std::mem::take(&mut bench.recalls) {
        assert_eq!(ids, [event]);
        bench.step(Input::Recalled(ticket, bench.archive.clone()));
        assert!(!bench.sent.is_empty(), "whoever asked hears");
        let owner = receipt(event, Stage::Acknowledged, &one);
        assert!(bench.sent.iter().any(|(.., m)| matches!(m, Message::Receipts(all) if all.contains(&owner))));
    }
    bench.say(PathId(3), &two, event, Stage::Displayed);
    assert!(bench.was_sent(PathId(3), &Message::Confirmed(vec![(event, Stage::Displayed)])));
}

#[test]
fn a_leaders_record_brings_what_was_missed_to_those_who_are_here() {
    let mut bench = Bench::started();
    let (one, two) = (seat("p1", "a"), seat("p2", "a"));
    bench.greet(PathId(2), &one, None);
    let first = bench.raise(1, Kind::Panic);
    bench.say(PathId(2), &one, first, Stage::Delivered);
    let admit = bench.proposals.remove(0);
    // Elsewhere the alarm was stored and taken, and another one came in.
    let mut record = bench.broker.record().clone();
    record.apply(10, admit);
    record.apply(11, Command::Note(receipt(first, Stage::Acknowledged, &two)));
    let Message::Event(other) = copy(2, Kind::Panic) else { panic!("a copy") };
    let stations = vec![StationId(name("p1"))];
    let by = NodeName::Broker { region: name("r1"), node: name("n2") };
    let other = Admission {
        sealed: other.sealed,
        trail: other.trail,
        at: WallTime(1),
        by,
        stations,
        owed: false,
        joins: false,
    };
    record.apply(12, Command::Admit(other));
    bench.step(Input::Restored(Box::new(record.clone())));
    assert_eq!(bench.stages_to(RELAY), [Stage::Stored, Stage::Acknowledged, Stage::Stored]);
    assert_eq!(bench.events_to(PathId(2)), [id(2)], "the first one it has");
    assert_eq!(bench.stages_to(PathId(2)), [Stage::Acknowledged]);
    assert_eq!(bench.broker.waiting(), 1, "what the seat said is not in that record");
    let old = RecordState::default();
    bench.step(Input::Restored(Box::new(old)));
    assert_eq!(bench.broker.record(), &record, "an older one brings nothing");
}
