//! A relay and its school's plan: kept before it is answered for, watched over restarts, and the flood that warnings may be.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests_support::{relay_id, seal};
use super::*;
use crate::duty::Sensor;
use crate::event::{Class, Details, Kind, Mode, Text};
use crate::id::{EventId, Name, NodeName, PathId, RecordId};
use crate::lane::Lane;
use crate::message::Message;
use crate::path::PathInfo;
use crate::plan::{
    self, Device, DeviceKind, Hours, Label, Mute, PersonRules, PlanMark, School, SchoolPart, Threshold, Weekdays,
};
use crate::time::{Now, Timestamp, WallTime};
use crate::{Machine, limits};

const PATH: PathId = PathId(1);
/// 2026-11-30T07:00:00 in China, a Monday.
const SEVEN: i64 = 1_795_993_200_000_000;

struct Bench {
    relay: Relay,
    now: u64,
    wall: i64,
    outputs: Vec<Output>,
}

fn school() -> School {
    let mut school = School::bare(relay_id().school, vec!["p1".parse().unwrap()]);
    let kind = DeviceKind::GuardPost;
    school.devices = vec![Device { id: name("gate"), kind, place: Label::default(), zone: None, picture: None }];
    let hours = Hours { from: "07:00".parse().unwrap(), to: "08:30".parse().unwrap() };
    school.duty = vec![plan::Duty { days: Weekdays::from_bits(0b1_1111).unwrap(), hours, absent_secs: 60 }];
    school.persons = PersonRules {
        thresholds: vec![Threshold { list: name("wanted"), permille: 800 }],
        mutes: vec![Mute { person: Label::new("p-1").unwrap(), until: None }],
    };
    school
}

fn part(version: u64, school: School) -> SchoolPart {
    SchoolPart { mark: PlanMark { record: Some(RecordId([1; 16])), version }, school: Some(Arc::new(school)) }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn person(person: &str, score: &str) -> Press {
    let details = [("person", person), ("list", "wanted"), ("score", score)];
    Press {
        kind: Kind::Person,
        mode: Mode::Live,
        device: Some(name("cam")),
        zone: None,
        note: Text::default(),
        details: Details::new(details).unwrap(),
    }
}

impl Bench {
    fn new(plan: Option<SchoolPart>, rows: Vec<RelayRow>) -> Self {
        let config = RelayConfig {
            relay: relay_id(),
            epoch: 1,
            next_slot: 1,
            copy_rate: limits::COPY_BYTES_PER_SECOND,
            plan,
            spare_nodes: false,
            self_test: None,
            seed: 1 + rows.len() as u64,
            seal,
            software: "test".to_owned(),
        };
        let now = Now { mono: Timestamp(0), wall: WallTime(SEVEN) };
        let mut bench = Self { relay: Relay::new(now, config, rows), now: 0, wall: SEVEN, outputs: vec![] };
        bench.drain();
        bench
    }

    fn clock(&self) -> Now {
        Now { mono: Timestamp(self.now), wall: WallTime(self.wall) }
    }

    fn drain(&mut self) {
        while let Some(output) = self.relay.poll_output() {
            if let Output::Persist(seq, _) = &output {
                let (now, seq) = (self.clock(), *seq);
                self.relay.handle(now, Input::Persisted(seq));
            }
            self.outputs.push(output);
        }
        self.relay.check().unwrap();
    }

    fn step(&mut self, input: Input) {
        let now = self.clock();
        self.outputs.clear();
        self.relay.handle(now, input);
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        let until = self.now + seconds * 1_000_000;
        self.outputs.clear();
        while let Some(due) = self.relay.poll_timeout().filter(|due| due.0 <= until) {
            self.wall += i64::try_from(due.0.saturating_sub(self.now)).unwrap();
            self.now = self.now.max(due.0);
            let now = self.clock();
            self.relay.handle_timeout(now);
            self.drain();
        }
        self.wall += i64::try_from(until - self.now).unwrap();
        self.now = until;
    }

    fn kinds(&self) -> Vec<Kind> {
        self.relay.events().map(|view| view.sealed().event.kind.clone()).collect()
    }

    fn warn(&mut self, press: Press) -> Result<Raised, RaiseError> {
        self.step(Input::Raise { ticket: Ticket(7), press, idempotency_key: None, live: false });
        let answer = self.outputs.iter().find_map(|output| match output {
            Output::Answer(_, answer) => Some(answer.clone()),
            _ => None,
        });
        answer.expect("it is answered")
    }

    fn rows(&self) -> Vec<RelayRow> {
        self.relay.events().map(|view| view.row.clone()).collect()
    }

    fn kept_said(&self) -> Vec<u64> {
        let said = self.outputs.iter().filter_map(|output| match output {
            Output::Send(_, _, _, Message::PlanKept(mark)) => Some(mark.version),
            _ => None,
        });
        said.collect()
    }
}

#[test]
fn the_region_hears_that_a_plan_is_here_only_when_it_is_on_the_disk() {
    let mut bench = Bench::new(None, vec![]);
    let node: NodeName = "broker/r1/n1".parse().unwrap();
    bench.step(Input::PathUp(PATH, node, PathInfo::plain(Lane::Express)));
    let tell = |part: &SchoolPart| Input::Message(PATH, Message::SchoolPlan(Box::new(part.clone())));
    bench.step(tell(&part(3, school())));
    assert!(bench.outputs.iter().any(|output| matches!(output, Output::KeepPlan(part) if part.mark.version == 3)));
    assert_eq!((bench.kept_said(), bench.relay.school_part().unwrap().mark.version), (vec![], 3));
    bench.step(Input::PlanKept(part(3, school()).mark));
    assert_eq!(bench.kept_said(), [3]);
    // An older one changes nothing, and is answered by what is here.
    bench.step(tell(&part(2, School { silent: true, ..school() })));
    assert_eq!((bench.kept_said(), bench.relay.school_part()), (vec![3], Some(&part(3, school()))));
    // Somebody else's is nobody's.
    bench.step(tell(&part(9, School::bare("s9".parse().unwrap(), vec!["p1".parse().unwrap()]))));
    assert_eq!(bench.relay.school_part().unwrap().mark.version, 3);
}

#[test]
fn an_empty_post_is_one_event_also_over_a_restart() {
    let mut bench = Bench::new(Some(part(1, school())), vec![]);
    bench.wait(600);
    assert_eq!(bench.kinds(), [Kind::Absent]);
    let absent = bench.relay.events().next().unwrap().sealed().event.clone();
    assert_eq!((absent.details.get("post"), absent.details.get("limit")), (Some("gate"), Some("60")));
    assert_eq!(crate::event::taxonomy::check(&absent.kind, &absent.details), Ok(()));
    let mut again = Bench::new(Some(part(1, school())), bench.rows());
    again.wait(600);
    assert_eq!(again.kinds(), [Kind::Absent], "it was told before");
    again.step(Input::CheckIn { post: name("gate"), sensor: Sensor::Card, person: Text::default() });
    assert_eq!(again.kinds(), [Kind::Absent, Kind::Return]);
    let back = again.relay.events().last().unwrap().sealed().event.clone();
    assert_eq!(crate::event::taxonomy::check(&back.kind, &back.details), Ok(()));
    let mut third = Bench::new(Some(part(1, school())), again.rows());
    third.wait(61 + 30);
    let absent = third.kinds().into_iter().filter(|kind| *kind == Kind::Absent).count();
    assert_eq!(absent, 2, "an absence that was over is told anew");
}

#[test]
fn warnings_below_the_threshold_and_of_muted_people_are_held_back() {
    let mut bench = Bench::new(Some(part(1, school())), vec![]);
    let below = bench.warn(person("p-2", "0.799")).unwrap_err();
    assert!(matches!(below, RaiseError::Withheld(plan::Withheld::BelowThreshold { score: 799, threshold: 800 })));
    let muted = bench.warn(person("p-1", "1.0")).unwrap_err();
    assert!(matches!(muted, RaiseError::Withheld(plan::Withheld::Muted { until: None })));
    assert!(bench.warn(person("p-2", "0.8")).is_ok());
    assert_eq!((bench.kinds(), bench.relay.withheld()), (vec![Kind::Person], [1, 1]));
}

#[test]
fn a_thousand_warnings_a_second_are_a_few_events_and_a_panic_goes_before_them() {
    let mut bench = Bench::new(None, vec![]);
    let node: NodeName = "broker/r1/n1".parse().unwrap();
    bench.step(Input::PathUp(PATH, node, PathInfo::plain(Lane::Express)));
    let mut told = 0_u64;
    for number in 0..3_000_u64 {
        bench.now = number * 1_000;
        bench.wall = SEVEN + i64::try_from(number).unwrap() * 1_000;
        assert!(bench.warn(person(&format!("p-{}", number % 40), "0.9")).is_ok());
        told += 1;
    }
    assert!(bench.kinds().len() <= limits::PERSON_BURST as usize + 3, "{} events", bench.kinds().len());
    let press = Press { kind: Kind::Panic, details: Details::default(), ..person("x", "1") };
    bench.step(Input::Raise { ticket: Ticket(8), press, idempotency_key: None, live: false });
    let first = bench.outputs.iter().find_map(|output| match output {
        Output::Send(_, class, _, Message::Event(copy)) => Some((*class, copy.sealed.event.kind.clone())),
        _ => None,
    });
    assert_eq!(first, Some((Class::P0, Kind::Panic)));
    // Everybody's turn comes, and no warning is left out of the counts.
    bench.wait(120);
    let counted: u64 = bench
        .relay
        .events()
        .map(|view| &view.sealed().event)
        .filter(|event| event.kind == Kind::Person)
        .map(|event| u64::from(event.count))
        .sum();
    assert_eq!(counted, told);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_warning_is_left_out_of_the_counts(warnings in prop::collection::vec((0_u8..6, 0_u64..4_000, 0_u16..1_000), 1..80)) {
        let mut bench = Bench::new(None, vec![]);
        let mut ids = std::collections::BTreeSet::<EventId>::new();
        let count = warnings.len() as u64;
        for (who, millis, score) in warnings {
            let until = millis * 1_000;
            bench.wait(0);
            bench.now += until;
            bench.wall += i64::try_from(until).unwrap();
            let raised = bench.warn(person(&format!("p-{who}"), &format!("0.{score:03}"))).unwrap();
            ids.insert(raised.id);
        }
        bench.wait(600);
        prop_assert!(ids.iter().all(|id| bench.relay.get(id).is_some()), "each is answered with an event that is there");
        let counted: u64 = bench.relay.events().map(|view| u64::from(view.sealed().event.count)).sum();
        prop_assert_eq!(counted, count);
    }
}
