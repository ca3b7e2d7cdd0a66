//! Relays are told their school's part of the plan: when they greet, and when it changes, a bounded number at a time.

use std::sync::Arc;

use super::*;
use crate::plan::{Change, PlanMark, School};

const OTHER: PathId = PathId(500);

fn relay_of(school: &str) -> RelayId {
    RelayId { school: SchoolId(name(school)), device: name("gate") }
}

fn put(school: &str, silent: bool) -> Change {
    let mut school = School::bare(SchoolId(name(school)), vec![StationId(name("p1"))]);
    school.silent = silent;
    Change::School(Arc::new(school))
}

impl Bench {
    fn greet_as(&mut self, path: PathId, relay: &RelayId, wire_minor: u32) {
        self.up(path, NodeName::Relay(relay.clone()));
        self.hear(path, Message::Hello(Hello { software: String::new(), wire_minor, resume: None }));
    }

    /// What was told to whom: path, version, and whether the school is silent (`None`: it is not named).
    fn plans_told(&self) -> Vec<(PathId, u64, Option<bool>)> {
        let told = self.sent.iter().filter_map(|(path, class, message)| match message {
            Message::SchoolPlan(part) => {
                assert_eq!(*class, Class::P3, "it stands before no alarm");
                Some((*path, part.mark.version, part.school.as_ref().map(|school| school.silent)))
            }
            _ => None,
        });
        told.collect()
    }

    fn keeps(&mut self, path: PathId, version: u64) {
        self.hear(path, Message::PlanKept(PlanMark { record: Some(RECORD), version }));
    }
}

#[test]
fn a_relay_is_told_when_it_greets_and_when_its_school_changes() {
    let mut bench = Bench::new(plan(), RecordState::default());
    bench.greet_as(RELAY, &relay_of("s1"), WIRE_MINOR);
    assert_eq!(bench.plans_told(), [(RELAY, 0, Some(false))], "the node's own file");
    bench.keeps(RELAY, 0);
    bench.change(1, 0, vec![put("s1", true), put("s2", false)]);
    assert_eq!(bench.plans_told(), [(RELAY, 1, Some(true))]);
    bench.keeps(RELAY, 1);
    bench.change(2, 1, vec![put("s2", true)]);
    assert_eq!(bench.plans_told(), [], "nothing of its school is otherwise");
    bench.greet_as(OTHER, &relay_of("s2"), WIRE_MINOR);
    assert_eq!(bench.plans_told(), [(OTHER, 2, Some(true))]);
    bench.change(3, 2, vec![Change::Remove(crate::plan::Subject::School(SchoolId(name("s2"))))]);
    assert_eq!(bench.plans_told(), [(OTHER, 3, None)], "it is named no longer");
}

#[test]
fn one_that_does_not_answer_is_told_again_and_an_older_one_is_not_told() {
    let mut bench = Bench::new(plan(), RecordState::default());
    bench.greet_as(RELAY, &relay_of("s1"), 4);
    assert_eq!(bench.plans_told(), []);
    bench.greet_as(OTHER, &RelayId { device: name("gate-2"), ..relay_of("s1") }, WIRE_MINOR);
    assert_eq!(bench.plans_told().len(), 1);
    bench.wait(14_000);
    assert_eq!(bench.plans_told(), []);
    bench.wait(70_000);
    assert_eq!(bench.plans_told(), [(OTHER, 0, Some(false))]);
    bench.keeps(OTHER, 0);
    bench.wait(7_200_000);
    assert_eq!(bench.plans_told(), []);
}

#[test]
fn a_change_of_everything_is_told_a_window_at_a_time() {
    let mut bench = Bench::new(Plan::default(), RecordState::default());
    let count = 3 * limits::PLANS_UNDER_WAY as u64 + 7;
    let schools: Vec<String> = (0..count).map(|number| format!("t{number}")).collect();
    bench.change(1, 0, schools.iter().map(|school| put(school, false)).collect());
    for (number, school) in (1_000..).zip(&schools) {
        bench.greet_as(PathId(number), &relay_of(school), WIRE_MINOR);
        bench.keeps(PathId(number), 1);
    }
    bench.change(2, 1, schools.iter().map(|school| put(school, true)).collect());
    let mut told = bench.plans_told();
    assert_eq!(told.len(), limits::PLANS_UNDER_WAY);
    let mut seen = std::collections::BTreeSet::new();
    while let Some((path, version, silent)) = told.pop() {
        assert_eq!((version, silent), (2, Some(true)));
        assert!(seen.insert(path), "nobody is told twice");
        // The answer of one makes room for another.
        bench.keeps(path, 2);
        assert!(bench.plans_told().len() <= 1);
        told.extend(bench.plans_told());
        bench.wait(20);
        told.extend(bench.plans_told());
    }
    assert_eq!(seen.len() as u64, count);
}
