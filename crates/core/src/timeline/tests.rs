//! Clocks that differ, are not known, or lie.

use proptest::prelude::*;

use super::*;
use crate::event::{Kind, Text};
use crate::receipt::{Standing, Step};
use crate::relay::tests_support::event;

const PRESS: i64 = 1_700_000_000_000_000;

fn node(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn relay() -> NodeName {
    NodeName::Relay(event(Kind::Panic).relay)
}

fn broker() -> NodeName {
    node("broker/r1/n1")
}

fn seat() -> NodeName {
    node("station/p1/d1")
}

/// How far each clock is ahead of the broker's, and whether its node knows.
#[derive(Debug, Clone, Copy, Default)]
struct Clocks {
    relay: i64,
    seat: i64,
    relay_knows: bool,
    seat_knows: bool,
}

/// The way of an alarm whose true times, in microseconds after the press, are these, in the order of [`Point::ALL`].
fn way(truth: [i64; 10], clocks: Clocks) -> (Event, Trail, Vec<Receipt>) {
    let mut event = event(Kind::Panic);
    let on = |ahead: i64, point: Point| WallTime(PRESS + truth[point as usize] + ahead);
    event.raised_at = on(clocks.relay, Point::Raised);
    let (relay_skew, seat_skew) =
        (clocks.relay_knows.then_some(clocks.relay), clocks.seat_knows.then_some(clocks.seat));
    let sent =
        Step { node: relay(), arrived: event.raised_at, left: Some(on(clocks.relay, Point::Sent)), skew: relay_skew };
    let passed = Step { node: broker(), arrived: on(0, Point::Received), left: Some(on(0, Point::Left)), skew: None };
    let came = Step { node: seat(), arrived: on(clocks.seat, Point::Arrived), left: None, skew: seat_skew };
    let receipt = |stage: Stage, by: NodeName, ahead, skew| Receipt {
        event: event.id,
        stage,
        at: on(ahead, stage.into()),
        by,
        officer: None,
        note: Text::default(),
        skew,
        standing: Standing::Settled,
    };
    let receipts = vec![
        receipt(Stage::Kept, relay(), clocks.relay, relay_skew),
        receipt(Stage::Stored, broker(), 0, None),
        receipt(Stage::Delivered, seat(), clocks.seat, seat_skew),
        receipt(Stage::Displayed, seat(), clocks.seat, seat_skew),
        receipt(Stage::Acknowledged, seat(), clocks.seat, seat_skew),
    ];
    (event, Trail::new(vec![sent, passed, came]), receipts)
}

fn laps(truth: [i64; 10], clocks: Clocks) -> Vec<Lap> {
    let (event, trail, receipts) = way(truth, clocks);
    timeline(&event, &trail, &receipts)
}

const TRUTH: [i64; 10] = [0, 900, 200, 20_200, 20_300, 22_000, 40_300, 41_000, 43_000, 4_200_000];

#[test]
fn every_stretch_of_the_way_is_told_with_what_it_follows() {
    let clocks = Clocks { relay: -7_000_000, seat: 3_600_000_000, relay_knows: true, seat_knows: true };
    let laps = laps(TRUTH, clocks);
    assert_eq!(laps.iter().map(|lap| lap.point).collect::<Vec<_>>(), Point::ALL[..10], "nothing was closed by itself");
    let at: Vec<_> = laps.iter().map(|lap| i64::try_from(lap.at.as_micros()).unwrap()).collect();
    assert_eq!(at, TRUTH);
    let took: Vec<_> = laps.iter().map(|lap| lap.took.as_micros()).collect();
    assert_eq!(took, [0, 900, 200, 20_000, 100, 1_800, 20_000, 700, 2_000, 4_157_000]);
    assert!(laps.iter().all(|lap| lap.exact), "{laps:?}");
}

#[test]
fn a_clock_that_nobody_compared_is_believed_as_it_stands_and_marked() {
    let laps = laps(TRUTH, Clocks { relay: 5_000_000, seat: 70_000, relay_knows: false, seat_knows: true });
    let exact: Vec<_> = laps.iter().filter(|lap| lap.exact).map(|lap| lap.point).collect();
    assert_eq!(exact, [Point::Raised, Point::Kept, Point::Sent], "the relay's own clock tells its own stretches");
    let of = |point: Point| laps.iter().find(|lap| lap.point == point).unwrap();
    assert_eq!(
        (of(Point::Received).at, of(Point::Received).took),
        (Span::ZERO, Span::ZERO),
        "before the press: a wrong clock"
    );
    assert_eq!(of(Point::Delivered).took, Span::from_micros(700), "known, though the press is not known against it");
}

#[test]
fn one_measure_of_a_node_serves_for_all_that_it_said() {
    let (event, trail, mut receipts) =
        way(TRUTH, Clocks { relay: 9_000_000, seat: -80_000, relay_knows: true, seat_knows: true });
    // The seat had measured nothing when the alarm came.
    receipts[2].skew = None;
    let mut steps = trail.steps().to_vec();
    steps[2].skew = None;
    let laps = timeline(&event, &Trail::new(steps), &receipts);
    assert!(laps.iter().all(|lap| lap.exact), "{laps:?}");
    assert_eq!(laps[6].at, Span::from_micros(40_300));
}

#[test]
fn receipts_alone_give_what_they_tell() {
    let (event, _, mut receipts) =
        way(TRUTH, Clocks { relay: 1_000, seat: 2_000_000, relay_knows: true, seat_knows: true });
    let received = Receipt { stage: Stage::Received, at: WallTime(PRESS + 20_200), ..receipts[1].clone() };
    receipts.insert(1, received);
    let laps = timeline(&event, &Trail::default(), &receipts);
    let told: Vec<_> = laps.iter().map(|lap| (lap.point.as_str(), lap.took.as_micros(), lap.exact)).collect();
    let expected = [
        ("raised", 0, true),
        ("kept", 900, true),
        ("received", 20_200, true),
        ("stored", 1_800, true),
        ("delivered", 20_800, true),
        ("displayed", 2_000, true),
        ("acknowledged", 4_157_000, true),
    ];
    assert_eq!(told, expected);
    let displayed = &receipts[4];
    assert_eq!(since_press(&event, &Trail::default(), &receipts, displayed), Some(Span::from_micros(43_000)));
}

#[test]
fn what_the_record_tells_of_its_admission_twice_is_not_exact() {
    let mut truth = TRUTH;
    truth[Point::Stored as usize] = truth[Point::Received as usize];
    let stored = laps(truth, Clocks::default()).into_iter().find(|lap| lap.point == Point::Stored).unwrap();
    assert!(!stored.exact, "no disk is as quick as that");
}

#[test]
fn a_screen_that_did_not_wait_for_the_disk_follows_the_arrival() {
    let mut truth = TRUTH;
    truth[Point::Delivered as usize] = 900_000;
    truth[Point::Displayed as usize] = 190_300;
    let laps = laps(truth, Clocks { seat: 55, seat_knows: true, relay_knows: true, relay: 0 });
    let displayed = laps.iter().find(|lap| lap.point == Point::Displayed).unwrap();
    assert_eq!((displayed.took, displayed.exact), (Span::from_millis(150), true));
    let officer = laps.iter().find(|lap| lap.point == Point::Acknowledged).unwrap();
    assert_eq!(officer.took, Span::from_micros(4_200_000 - 190_300));
}

#[test]
fn another_seat_is_told_of_apart() {
    let (event, trail, mut receipts) = way(TRUTH, Clocks { seat_knows: true, relay_knows: true, ..Clocks::default() });
    let other = node("station/p2/d1");
    receipts.push(Receipt { by: other.clone(), at: WallTime(PRESS + 50_300), skew: Some(0), ..receipts[2].clone() });
    let laps = timeline(&event, &trail, &receipts);
    let theirs = laps.iter().find(|lap| lap.by == other).unwrap();
    assert_eq!((theirs.point, theirs.took), (Point::Delivered, Span::from_micros(30_000)), "since it left the region");
}

#[test]
fn names_and_words_are_all_there_and_differ() {
    let names: std::collections::BTreeSet<_> = Point::ALL.into_iter().map(Point::as_str).collect();
    let words: std::collections::BTreeSet<_> = Point::ALL.into_iter().map(Point::words).collect();
    assert_eq!((names.len(), words.len()), (11, 11));
    assert!(Point::ALL.into_iter().all(|point| Point::known(point.as_str()) == Some(point)));
    assert_eq!(Point::known("elsewhere"), None);
}

proptest! {
    /// However the clocks are set: where each node knows by how much, the way is the same.
    #[test]
    fn the_way_does_not_depend_on_the_clocks(
        gaps in prop::array::uniform10(0..60_000_000_i64),
        relay in -100_000_000_000_000..100_000_000_000_000_i64,
        seat in -100_000_000_000_000..100_000_000_000_000_i64,
    ) {
        let mut truth = gaps;
        truth[0] = 0;
        for at in 1..truth.len() {
            truth[at] += truth[at - 1];
        }
        let known = Clocks { relay, seat, relay_knows: true, seat_knows: true };
        let plain = Clocks { relay: 0, seat: 0, ..known };
        prop_assert_eq!(laps(truth, known), laps(truth, plain));
    }

    /// Whatever anybody claims, it is told: in order, never negative, and exact only where the clocks are known.
    #[test]
    fn whatever_is_claimed_is_told(
        claims in prop::collection::vec((0..7_usize, 0..4_usize, any::<i64>(), prop::option::of(any::<i64>())), 0..32),
        raised in any::<i64>(),
        steps in prop::collection::vec((0..4_usize, any::<i64>(), prop::option::of(any::<i64>()), prop::option::of(any::<i64>())), 0..16),
    ) {
        let nodes = [relay(), broker(), seat(), node("station/p1/d2")];
        let mut event = event(Kind::Panic);
        event.raised_at = WallTime(raised);
        let receipts: Vec<_> = claims.into_iter().map(|(stage, by, at, skew)| Receipt {
            event: event.id,
            stage: Stage::ALL[stage],
            at: WallTime(at),
            by: nodes[by].clone(),
            officer: None,
            note: Text::default(),
            skew,
            standing: Standing::Settled,
        }).collect();
        let steps = steps.into_iter().map(|(node, arrived, left, skew)| Step {
            node: nodes[node].clone(),
            arrived: WallTime(arrived),
            left: left.map(WallTime),
            skew,
        }).collect();
        let laps = timeline(&event, &Trail::new(steps), &receipts);
        prop_assert!(laps.is_sorted_by_key(|lap| lap.point));
        prop_assert_eq!((laps[0].point, laps[0].at), (Point::Raised, Span::ZERO));
        for lap in laps.iter().filter(|lap| lap.exact) {
            prop_assert!(lap.took <= lap.at, "{:?} took longer than all before it", lap);
        }
        for receipt in &receipts {
            prop_assert!(since_press(&event, &Trail::default(), &receipts, receipt).is_some());
        }
    }
}
