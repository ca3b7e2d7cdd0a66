use proptest::prelude::*;

use super::*;
use crate::plan::{Device, Hours, Label, Weekdays};

const SECOND: i64 = 1_000_000;
/// 2026-11-30T07:00:00 in China, a Monday.
const SEVEN: i64 = 1_795_993_200 * SECOND;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn school(posts: &[&str], hours: &[(&str, &str, u16)]) -> School {
    let mut school = School::bare("s1".parse().unwrap(), vec!["p1".parse().unwrap()]);
    let post = |id: &&str| Device {
        id: name(id),
        kind: DeviceKind::GuardPost,
        place: Label::default(),
        zone: None,
        picture: None,
    };
    school.devices = posts.iter().map(post).collect();
    school.duty = hours
        .iter()
        .map(|(from, to, absent_secs)| plan::Duty {
            days: Weekdays::from_bits(0b1_1111).unwrap(),
            hours: Hours { from: from.parse().unwrap(), to: to.parse().unwrap() },
            absent_secs: *absent_secs,
        })
        .collect();
    school
}

/// A school with a clock on the wall that can be set, and a steady one that cannot.
struct Bench {
    duty: Duty,
    mono: u64,
    wall: i64,
    told: Vec<Told>,
}

impl Bench {
    fn at(wall: i64, school: &School) -> Self {
        let mut bench = Self { duty: Duty::default(), mono: 1_000, wall, told: Vec::new() };
        bench.duty.set_plan(bench.now(), Some(school));
        bench.pass(0);
        bench
    }

    fn now(&self) -> Now {
        Now { mono: Timestamp(self.mono), wall: WallTime(self.wall) }
    }

    fn pass(&mut self, seconds: i64) {
        for step in 0..=seconds {
            if step > 0 {
                self.mono += 1_000_000;
                self.wall += SECOND;
            }
            let now = self.now();
            if self.duty.poll_timeout().is_some_and(|at| at <= now.mono) {
                self.duty.look(now, now.wall);
            }
            while let Some(told) = self.duty.due(now.mono) {
                let id = EventId::from_bytes([u8::try_from(self.told.len() % 255).unwrap(); 16]);
                self.duty.told(&told, id);
                self.told.push(told);
                self.duty.check().unwrap();
            }
        }
    }

    fn check_in(&mut self, post: &str) -> bool {
        let now = self.now();
        let known = self.duty.check_in(now, &name(post), Sensor::Card, Text::default());
        self.pass(0);
        known
    }

    fn words(&self) -> Vec<String> {
        let word = |told: &Told| match told {
            Told::Absent { post, since, limit } => format!("{post} absent {} {limit}", (since.0 - SEVEN) / SECOND),
            Told::Return { post, reason, .. } => format!("{post} return {}", reason.as_str()),
        };
        self.told.iter().map(word).collect()
    }
}

#[test]
fn an_empty_post_is_told_once_and_so_is_the_guard_who_comes_back() {
    let mut bench = Bench::at(SEVEN - 60 * SECOND, &school(&["gate"], &[("07:00", "08:30", 60)]));
    bench.pass(60 + 50);
    assert!(bench.told.is_empty(), "duty has just begun");
    assert!(bench.check_in("gate") && !bench.check_in("roof"));
    bench.pass(59);
    assert_eq!(bench.duty.posts(Timestamp(bench.mono)).next().unwrap().state, PostState::Due);
    bench.pass(600);
    assert_eq!(bench.words(), ["gate absent 50 60"], "once, and not every minute");
    bench.check_in("gate");
    bench.check_in("gate");
    assert_eq!(bench.words()[1..], ["gate return check_in"]);
    bench.pass(100);
    assert_eq!(bench.told.len(), 3);
    bench.pass(2 * 3_600);
    assert_eq!(bench.words()[3..], ["gate return hours_end"]);
    assert_eq!(bench.duty.posts(Timestamp(bench.mono)).next().unwrap().state, PostState::Off);
}

#[test]
fn a_clock_that_is_set_makes_no_absence() {
    let mut bench = Bench::at(SEVEN - 3_600 * SECOND, &school(&["gate"], &[("07:00", "08:30", 60)]));
    bench.pass(30);
    bench.wall += 3_700 * SECOND;
    bench.pass(40);
    assert!(bench.told.is_empty(), "by the clock, duty runs for long; by the steady one, it has just begun");
    bench.wall -= 3_700 * SECOND;
    bench.pass(120);
    assert!(bench.told.is_empty());
}

#[test]
fn what_was_told_before_a_restart_is_not_told_again() {
    let school = school(&["gate"], &[("07:00", "08:30", 60)]);
    let mut bench = Bench { duty: Duty::default(), mono: 1_000, wall: SEVEN + 600 * SECOND, told: Vec::new() };
    let event = EventId::from_bytes([9; 16]);
    bench.duty.restore(name("gate"), event, WallTime(SEVEN));
    bench.pass(10);
    assert!(bench.told.is_empty(), "no plan is known yet");
    bench.duty.set_plan(bench.now(), Some(&school));
    bench.pass(300);
    assert!(bench.told.is_empty() && bench.duty.holds(&event));
    bench.duty.set_plan(bench.now(), None);
    bench.pass(1);
    assert_eq!(bench.words(), ["gate return plan"]);
    assert!(!bench.duty.holds(&event) && bench.duty.posts(Timestamp(0)).next().is_none());
}

#[test]
fn a_school_without_a_listed_post_has_one() {
    let mut bench = Bench::at(SEVEN, &school(&[], &[("07:00", "08:30", 10)]));
    bench.pass(10);
    assert_eq!(bench.words(), ["post absent 0 10"]);
    let bench = Bench::at(SEVEN, &school(&[], &[]));
    assert_eq!((bench.duty.poll_timeout(), bench.duty.has(&name("post"))), (None, false));
}

#[test]
fn times_are_those_of_utc() {
    assert_eq!(rfc3339(WallTime(SEVEN)).as_deref(), Some("2026-11-29T23:00:00Z"));
    assert_eq!((rfc3339(WallTime(0)), rfc3339(WallTime(i64::MAX))), (None, None));
}

#[derive(Debug, Clone)]
enum Step {
    Pass(i64),
    CheckIn(&'static str),
    SetClock(i64),
    Plan(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0_i64..120, Just(3_600)].prop_map(Step::Pass),
        3 => prop::sample::select(vec!["gate", "back", "post"]).prop_map(Step::CheckIn),
        1 => (-7_200_i64..7_200).prop_map(Step::SetClock),
        1 => (0_usize..4).prop_map(Step::Plan),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn absences_and_returns_alternate(steps in prop::collection::vec(step(), 1..40)) {
        let plans = [
            school(&["gate"], &[("07:00", "08:30", 60)]),
            school(&["gate", "back"], &[("07:00", "08:00", 30), ("16:00", "17:30", 900)]),
            school(&[], &[("00:00", "24:00", 10)]),
            school(&["gate"], &[]),
        ];
        let mut bench = Bench::at(SEVEN, &plans[0]);
        for step in steps {
            match step {
                Step::Pass(seconds) => bench.pass(seconds),
                Step::CheckIn(post) => { bench.check_in(post); }
                Step::SetClock(seconds) => bench.wall += seconds * SECOND,
                Step::Plan(which) => bench.duty.set_plan(bench.now(), Some(&plans[which])),
            }
            bench.duty.check().unwrap();
        }
        for post in ["gate", "back", "post"] {
            let of = |told: &&Told| matches!(told, Told::Absent { post: of, .. } | Told::Return { post: of, .. } if of.as_str() == post);
            for (at, told) in bench.told.iter().filter(of).enumerate() {
                prop_assert_eq!(matches!(told, Told::Absent { .. }), at % 2 == 0, "{:?}", bench.words());
            }
        }
    }
}
