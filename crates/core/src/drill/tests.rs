//! Windows tag nothing outside themselves, and a book of drills is the same on every node.

use proptest::prelude::*;

use super::*;
use crate::id::{SchoolId, StationId};
use crate::plan::Plan;

const SECOND: i64 = 1_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn order(id: u8, from: i64, secs: u64, at: i64) -> OpenDrill {
    OpenDrill {
        id: DrillId([id; 16]),
        scope: Scope::Schools([SchoolId(name("s1"))].into()),
        devices: BTreeSet::new(),
        from: WallTime(from * SECOND),
        length: Span::from_secs(secs),
        by: "broker/r1/b1".parse().unwrap(),
        approver: Label::new("王所长").unwrap(),
        note: Text::default(),
        planned: false,
        at: WallTime(at * SECOND),
    }
}

fn close(id: u8, at: i64) -> CloseDrill {
    let (by, who) = ("broker/r1/b1".parse().unwrap(), Label::new("王所长").unwrap());
    CloseDrill { id: DrillId([id; 16]), by, who, note: Text::default(), at: WallTime(at * SECOND) }
}

fn plan() -> Plan {
    let mut plan = Plan::default();
    for (school, stations) in [("s1", vec!["p1"]), ("s2", vec!["p2"]), ("s3", vec!["p1", "p2"])] {
        let stations = stations.into_iter().map(|station| station.parse().unwrap()).collect();
        plan.add(SchoolId(name(school)), stations).unwrap();
    }
    plan
}

#[test]
fn a_drill_begins_after_it_was_announced_and_lasts_as_long_as_it_was_ordered() {
    let mut book = DrillBook::default();
    let drill = book.open(order(1, 100, 600, 100)).unwrap().unwrap();
    assert_eq!((drill.from, drill.until), (WallTime(105 * SECOND), WallTime(705 * SECOND)));
    let phases = [104, 105, 704, 705].map(|at| drill.phase(WallTime(at * SECOND)));
    assert_eq!(phases, [DrillPhase::Announced, DrillPhase::Running, DrillPhase::Running, DrillPhase::Over]);
    assert_eq!(book.open(order(1, 900, 60, 101)), None, "the same drill is opened once");
    let later = book.open(order(2, 400, 60, 100)).unwrap().unwrap();
    assert_eq!(later.from, WallTime(400 * SECOND));
    let closed = book.close(close(2, 200)).unwrap();
    assert_eq!(closed.phase(WallTime(400 * SECOND)), DrillPhase::Over, "it never begins");
    assert_eq!(closed.mode_at(WallTime(300 * SECOND)).lasts, Span::ZERO);
    assert_eq!(book.close(close(2, 201)), None);
    assert_eq!(book.close(close(1, 705)), None, "what is over is not ended");
    assert_eq!(book.close(close(9, 100)), None);
}

#[test]
fn what_is_no_drill_is_refused_by_name_and_remembered() {
    let mut book = DrillBook::default();
    let nobody = OpenDrill { approver: Label::default(), ..order(3, 0, 60, 0) };
    let none = OpenDrill { scope: Scope::Schools(BTreeSet::new()), ..order(4, 0, 60, 0) };
    let many = (0..=limits::DRILL_SCHOOLS).map(|at| SchoolId(name(&format!("s{at}")))).collect();
    let too_long = OpenDrill { scope: Scope::Schools(many), ..order(5, 0, 60, 0) };
    let cases = [
        (order(1, 0, 59, 0), DrillRefusal::Length),
        (order(2, 0, 1_801, 0), DrillRefusal::Length),
        (nobody, DrillRefusal::Approver),
        (none, DrillRefusal::NoSchool),
        (too_long, DrillRefusal::Scope),
        (order(6, -1_801, 60, 0), DrillRefusal::Window),
        (order(7, 15 * 86_400, 60, 0), DrillRefusal::Window),
    ];
    for (order, why) in cases {
        let id = order.id;
        assert_eq!(book.open(order), Some(Err(why)));
        assert_eq!(book.refusal(&id), Some(why));
    }
    assert_eq!(book.open(order(1, 0, 60, 0)), None, "a late copy has the answer of the first");
    for number in 10..10 + u8::try_from(limits::DRILLS_OPEN.min(200)).unwrap() {
        assert!(book.open(order(number, 1_000, 60, 0)).unwrap().is_ok());
    }
    book.check().unwrap();
}

#[test]
fn the_oldest_that_is_over_makes_room_and_what_is_open_never_does() {
    let mut book = DrillBook::default();
    let id = |number: usize| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&u64::try_from(number).unwrap().to_be_bytes());
        DrillId(id)
    };
    for number in 0..limits::DRILLS_KEPT + 10 {
        // Each is over when the next is opened.
        let at = i64::try_from(number).unwrap() * 100;
        let drill = OpenDrill { id: id(number), ..order(0, at, 60, at) };
        assert!(book.open(drill).unwrap().is_ok());
        book.check().unwrap();
    }
    assert_eq!(book.iter().count(), limits::DRILLS_KEPT);
    assert!(book.get(&id(9)).is_none() && book.get(&id(10)).is_some());
    let mut book = DrillBook::default();
    for number in 0..limits::DRILLS_OPEN {
        let drill = OpenDrill { id: id(number), ..order(0, 500, 60, 0) };
        assert!(book.open(drill).unwrap().is_ok());
    }
    assert_eq!(book.open(order(255, 500, 60, 0)), Some(Err(DrillRefusal::TooMany)));
    assert!(book.get(&id(0)).is_some());
}

#[test]
fn scopes_are_areas_by_their_leading_digits_or_listed_schools() {
    for (text, code) in [("36", "360000"), ("3611", "361100"), ("361102", "361102")] {
        assert_eq!(Scope::area(text), Ok(Scope::Area(code.parse().unwrap())));
    }
    for wrong in ["", "3", "361", "36110", "3611020", "0611", "ab"] {
        assert!(Scope::area(wrong).is_err(), "{wrong}");
    }
    let plan = plan();
    let scope = Scope::Schools([SchoolId(name("s1")), SchoolId(name("s3")), SchoolId(name("s9"))].into());
    let found: Vec<&str> = scope.schools(&plan).map(|school| school.id.0.as_str()).collect();
    assert_eq!(found, ["s1", "s3"], "what the plan does not name is in no scope");
    assert!(!scope.holds(&plan, &SchoolId(name("s9"))) && !scope.holds(&plan, &SchoolId(name("s2"))));
    let station = |text: &str| -> StationId { text.parse().unwrap() };
    assert_eq!(scope.stations(&plan), [station("p1"), station("p2")].into());
    assert!(scope.is_for(&plan, &station("p1")) && !scope.is_for(&plan, &station("p2")));
}

#[test]
fn figures_are_of_each_schools_first() {
    let mut tally = Tally::default();
    let school = |number: usize| SchoolId(name(&format!("s{number}")));
    for number in 0..20 {
        tally.pressed(&school(number));
        let after = Span::from_secs(u64::try_from(number).unwrap() + 1);
        tally.displayed(&school(number), after);
        tally.displayed(&school(number), Span::from_secs(900));
    }
    tally.pressed(&school(0));
    tally.taken(&school(3), Span::from_secs(7));
    tally.taken(&school(99), Span::from_secs(7));
    let counts = tally.counts(30);
    assert_eq!((counts.schools, counts.pressed, counts.presses), (30, 20, 21));
    assert_eq!((counts.displayed, counts.taken), (20, 1), "who did not press is taken by nobody");
    assert_eq!(counts.displayed_after, Some((Span::from_secs(10), Span::from_secs(19))));
    assert_eq!(counts.taken_after, Some((Span::from_secs(7), Span::from_secs(7))));
    assert_eq!(Tally::default().counts(1).taken_after, None);
}

proptest! {
    /// The one thing that must never happen: a press that is meant and is not shown as that.
    #[test]
    fn no_press_is_a_rehearsal_outside_a_window_or_at_a_button_that_is_not_listed(
        told in 0..100_000_000_u64,
        starts in 0..100_000_000_u64,
        lasts in 0..4_000_000_000_u64,
        pressed in 0..5_000_000_000_u64,
        listed in prop::collection::btree_set(0..4_u8, 0..3),
        device in prop::option::of(0..4_u8),
        kind in prop::sample::select(Kind::ALL),
    ) {
        let devices = listed.iter().map(|number| name(&format!("b{number}"))).collect();
        let (starts_in, lasts) = (Span::from_micros(starts), Span::from_micros(lasts));
        let mode = DrillMode { id: DrillId([1; 16]), starts_in, lasts, devices, approver: Label::default() };
        let window = Window::new(Timestamp(told), mode);
        let button = device.map(|number| name(&format!("b{number}")));
        let longest = Span::from_secs(u64::from(limits::PLAN_DRILL_MINUTES) * 60);
        let covers = window.covers(Timestamp(pressed), &kind, button.as_ref());
        let inside = pressed >= told + starts && pressed < told + starts + u64::try_from(lasts.min(longest).as_micros()).unwrap();
        let meant_for = listed.is_empty() || device.is_some_and(|device| listed.contains(&device));
        prop_assert_eq!(covers, inside && meant_for && is_rehearsed(&kind));
        prop_assert!(!covers || !matches!(kind, Kind::Duress | Kind::Cancel | Kind::Absent | Kind::Person | Kind::Tamper));
    }

    #[test]
    fn any_order_of_orders_leaves_a_book_that_can_be_read_back(
        orders in prop::collection::vec((0..12_u8, any::<bool>(), -2_000..4_000_i64, 0..2_000_u64, 0..3_000_i64), 0..80),
    ) {
        let mut book = DrillBook::default();
        for (id, closes, from, secs, at) in orders {
            if closes {
                if let Some(drill) = book.close(close(id, at)) {
                    prop_assert!(drill.end() <= drill.until && drill.phase(WallTime(at * SECOND)) == DrillPhase::Over);
                }
            } else if let Some(Ok(drill)) = book.open(order(id, from, secs, at)) {
                prop_assert_eq!(drill.phase(WallTime(at * SECOND)), DrillPhase::Announced, "nobody is taken by surprise");
            }
            book.check().map_err(TestCaseError::fail)?;
            prop_assert_eq!(DrillBook::from_image(book.image()), Ok(book.clone()));
        }
    }
}
