//! Accounts reckoned by hand, and against a slow and simple one.

use proptest::prelude::*;

use super::*;
use crate::rng::Rng;

fn millis(number: u64) -> Reach {
    Reach::After(Span::from_millis(number))
}

/// A panic that was meant, on a screen of `p1` after so many milliseconds and answered there two seconds later.
fn alarm(number: u64, displayed: u64) -> Alarm {
    let at = WallTime(1_772_323_200_000_000 + i64::try_from(number).unwrap());
    Alarm {
        id: EventId::generate(at, &mut Rng::new(number)),
        kind: Kind::Panic,
        class: Class::P0,
        mode: Mode::Live,
        school: "s1".parse().unwrap(),
        stations: vec![("p1".parse().unwrap(), millis(displayed))],
        raised_at: at,
        reached: [
            millis(displayed / 2),
            millis(displayed - 1),
            millis(displayed),
            millis(displayed + 2_000),
            millis(2_000),
        ],
        answered_by: Some("p1".parse().unwrap()),
        false_press: None,
    }
}

/// The same, in nobody's hands and on no screen.
fn lost(number: u64) -> Alarm {
    let mut lost = alarm(number, 50);
    lost.reached = [millis(25), Reach::Never, Reach::Never, Reach::Never, Reach::Never];
    (lost.stations[0].1, lost.answered_by) = (Reach::Never, None);
    lost
}

fn spans(millis: &[u64]) -> Vec<Span> {
    millis.iter().map(|millis| Span::from_millis(*millis)).collect()
}

fn judged(report: &Report, measure: Measure, millis: u64, per_mille: usize) -> Judgement {
    let wanted = |limit: &Limit| {
        limit.measure == measure && limit.within == Span::from_millis(millis) && limit.per_mille == per_mille
    };
    *report.judgements.iter().find(|judgement| wanted(&judgement.limit)).unwrap()
}

#[test]
fn quantiles_are_values_that_were_measured() {
    let ten = spans(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100]);
    for (per_mille, wanted) in [(0, 10), (1, 10), (100, 10), (101, 20), (500, 50), (900, 90), (990, 100), (1_000, 100)]
    {
        assert_eq!(quantile(&ten, per_mille), Some(Span::from_millis(wanted)), "{per_mille}");
    }
    assert_eq!(quantile(&spans(&[7]), 500), Some(Span::from_millis(7)));
    assert_eq!(quantile(&spans(&[1, 2, 3]), 500), Some(Span::from_millis(2)));
    assert_eq!(quantile(&[], 500), None);
    let hundred: Vec<Span> = (1..=100).map(Span::from_millis).collect();
    assert_eq!(quantile(&hundred, 990), Some(Span::from_millis(99)));
}

#[test]
fn what_was_meant_is_counted_apart_and_everything_is_measured() {
    let mut drill = alarm(3, 400);
    drill.mode = Mode::Drill;
    let mut test = lost(4);
    (test.mode, test.kind, test.class) = (Mode::Test, Kind::Assist, Class::P1);
    let report = Report::of(&[alarm(1, 100), lost(2), drill, test], Standard::Good);
    assert_eq!(report.live(), Counts { raised: 2, answered: 1, false_presses: None });
    assert_eq!(report.live().unanswered(), 1);
    let kinds: Vec<_> =
        report.kinds.iter().map(|((class, kind, mode), counts)| (*class, kind.clone(), *mode, counts.raised)).collect();
    assert_eq!(
        kinds,
        [
            (Class::P0, Kind::Panic, Mode::Live, 2),
            (Class::P0, Kind::Panic, Mode::Drill, 1),
            (Class::P1, Kind::Assist, Mode::Test, 1)
        ]
    );
    let displayed = report.latencies[Measure::Displayed as usize].1;
    assert_eq!((displayed.measured, displayed.never, displayed.unclear), (2, 2, 0), "drills and tests too");
    assert_eq!((displayed.p50, displayed.max), (Some(Span::from_millis(100)), Some(Span::from_millis(400))));
    // Nobody need answer a test.
    assert_eq!(report.latencies[Measure::Acknowledged as usize].1.never, 1);
}

#[test]
fn a_limit_is_met_by_the_share_of_all_and_what_never_came_is_not_within_it() {
    // 19 of 20 within 300 ms are 95 %, 19 of 21 are not.
    let mut alarms: Vec<Alarm> = (1..=19).map(|number| alarm(number, 300)).chain([alarm(20, 301)]).collect();
    let report = Report::of(&alarms, Standard::Good);
    let judgement = judged(&report, Measure::Displayed, 300, 950);
    assert_eq!((judgement.within, judgement.of, judgement.met()), (19, 20, Some(true)));
    assert_eq!(judged(&report, Measure::Displayed, 150, 500).met(), Some(false), "none was so quick");
    assert_eq!(judged(&report, Measure::Displayed, 10_000, 1_000).met(), Some(true));
    assert!(!report.is_met());
    alarms.push(lost(21));
    let report = Report::of(&alarms, Standard::Good);
    let judgement = judged(&report, Measure::Displayed, 300, 950);
    assert_eq!((judgement.within, judgement.of, judgement.met()), (19, 21, Some(false)));
    assert!((judgement.share().unwrap() - 19.0 / 21.0).abs() < 1e-12);
    assert_eq!(judged(&report, Measure::Displayed, 10_000, 1_000).met(), Some(false), "one never came");
    // Slower lines may take longer.
    assert_eq!(judged(&Report::of(&alarms, Standard::Rural), Measure::Displayed, 450, 500).met(), Some(true));
}

#[test]
fn what_no_clock_can_tell_is_in_no_latency_and_misses_no_limit() {
    let mut unclear = alarm(1, 100);
    unclear.reached = [Reach::Unclear; 5];
    unclear.stations[0].1 = Reach::Unclear;
    let report = Report::of(&[unclear], Standard::Good);
    let displayed = report.latencies[Measure::Displayed as usize].1;
    assert_eq!((displayed.measured, displayed.unclear, displayed.never, displayed.p50), (0, 1, 0, None));
    assert!(report.judgements.iter().all(|judgement| judgement.met().is_none() && judgement.share().is_none()));
    assert!(report.is_met() && report.slowest.is_empty());
    assert_eq!(report.live().answered, 1);
}

#[test]
fn an_alarm_counts_at_each_of_its_stations_with_the_screen_there() {
    let mut both = alarm(1, 100);
    both.stations.push(("p2".parse().unwrap(), millis(900)));
    let mut elsewhere = alarm(2, 200);
    (elsewhere.school, elsewhere.mode) = ("s2".parse().unwrap(), Mode::Test);
    let report = Report::of(&[both, elsewhere], Standard::Good);
    let [p1, p2] = report.stations.as_slice() else { panic!("two stations") };
    assert_eq!((p1.live.raised, p1.rehearsed, p1.taken, p1.displayed.max), (1, 1, 1, Some(Span::from_millis(200))));
    assert_eq!((p2.live.answered, p2.rehearsed, p2.taken, p2.displayed.max), (1, 0, 0, Some(Span::from_millis(900))));
    let names: Vec<String> = report.schools.iter().map(|school| school.name.to_string()).collect();
    assert_eq!(names, ["s1", "s2"]);
    assert_eq!((report.schools[1].live.raised, report.schools[1].rehearsed), (0, 1));
}

#[test]
fn the_slowest_are_named_and_those_that_never_came_before_all() {
    let alarms: Vec<Alarm> = (1..=15).map(|number| alarm(number, number * 10)).chain([lost(99)]).collect();
    let report = Report::of(&alarms, Standard::Good);
    assert_eq!(report.slowest.len(), SLOWEST);
    assert_eq!((report.slowest[0].id, report.slowest[1].id), (alarms[15].id, alarms[14].id));
}

#[test]
fn false_presses_are_counted_where_cases_are_told_of() {
    let mut alarms = vec![alarm(1, 100), alarm(2, 100), alarm(3, 100)];
    (alarms[0].false_press, alarms[1].false_press) = (Some(true), Some(false));
    assert_eq!(Report::of(&alarms, Standard::Good).live().false_presses, Some(1));
    assert_eq!(Report::of(&alarms[2..], Standard::Good).live().false_presses, None);
}

#[test]
fn limits_of_a_standard_rise_and_name_shares() {
    for standard in [Standard::Good, Standard::Rural] {
        for pair in standard.limits().windows(2).filter(|pair| pair[0].measure == pair[1].measure) {
            assert!(pair[0].within < pair[1].within && pair[0].per_mille <= pair[1].per_mille, "{pair:?}");
        }
        assert!(standard.limits().iter().all(|limit| (1..=1_000).contains(&limit.per_mille)));
    }
}

fn reach() -> impl Strategy<Value = Reach> {
    prop_oneof![1 => Just(Reach::Never), 1 => Just(Reach::Unclear), 6 => (0..12_000_u64).prop_map(millis)]
}

proptest! {
    /// The smallest value that is not exceeded often enough, looked for one by one.
    #[test]
    fn a_quantile_is_what_counting_says(mut values in prop::collection::vec(0..50_u64, 0..60), per_mille in 1..=1_000_usize) {
        values.sort_unstable();
        let enough = |value: &u64| values.iter().filter(|other| *other <= value).count() * 1_000 >= per_mille * values.len();
        let naive = values.iter().copied().find(enough).map(Span::from_millis);
        prop_assert_eq!(quantile(&spans(&values), per_mille), naive);
    }

    /// Shares and counts as counting one by one gives them, whatever the order.
    #[test]
    fn an_account_is_what_counting_says(
        alarms in prop::collection::vec((reach(), reach(), 0..3_usize), 0..40),
        turn in 0..40_usize,
    ) {
        let modes = [Mode::Live, Mode::Drill, Mode::Test];
        let mut all: Vec<Alarm> = (1..).zip(&alarms).map(|(number, (displayed, answered, mode))| {
            let mut alarm = alarm(number, 1);
            alarm.mode = modes[*mode];
            alarm.reached = [millis(1), millis(1), *displayed, *answered, *answered];
            alarm.stations[0].1 = *displayed;
            alarm
        }).collect();
        let report = Report::of(&all, Standard::Good);
        for judgement in &report.judgements {
            let human = judgement.limit.measure == Measure::Answer;
            let counts = |alarm: &&Alarm| match alarm.reach(judgement.limit.measure) {
                Reach::Unclear => false,
                Reach::Never => !human || alarm.mode == Mode::Live,
                Reach::After(_) => true,
            };
            let judged: Vec<&Alarm> = all.iter().filter(counts).collect();
            let within = judged.iter().filter(|alarm| alarm.reach(judgement.limit.measure).span().is_some_and(|span| span <= judgement.limit.within));
            prop_assert_eq!((judgement.within, judgement.of), (within.count(), judged.len()));
        }
        let live = all.iter().filter(|alarm| alarm.mode == Mode::Live);
        prop_assert_eq!(report.live().raised, live.clone().count());
        prop_assert_eq!(report.live().unanswered(), live.filter(|alarm| !alarm.is_answered()).count());
        let by_school: usize = report.schools.iter().map(|school| school.live.raised + school.rehearsed).sum();
        prop_assert_eq!(by_school, all.len());
        if !all.is_empty() {
            let turn = turn % all.len();
            all.rotate_left(turn);
        }
        prop_assert_eq!(Report::of(&all, Standard::Good), report);
    }
}
