//! The courier against its invariants, staged and at random.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const EXPRESS: PathId = PathId(1);
const SECOND: PathId = PathId(2);
const BULK: PathId = PathId(3);

fn seconds(secs: u64) -> Timestamp {
    Timestamp(secs * 1_000_000)
}

fn drain(courier: &mut Courier<u32>) -> Vec<(u32, PathId)> {
    courier.check().unwrap();
    std::iter::from_fn(|| courier.poll_output()).map(|sent| (sent.key, sent.path)).collect()
}

#[test]
fn the_first_copy_goes_on_every_path_and_repeats_on_one_after_another() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, Lane::Express);
    courier.path_up(seconds(0), SECOND, Lane::Express);
    courier.offer(seconds(0), 7, Class::P0, false);
    assert_eq!(drain(&mut courier), [(7, EXPRESS), (7, SECOND)]);
    let mut paths = BTreeSet::new();
    for _ in 0..2 {
        let due = courier.poll_timeout().unwrap();
        courier.handle_timeout(due);
        let sent = drain(&mut courier);
        assert_eq!(sent.len(), 1);
        paths.insert(sent[0].1);
    }
    assert_eq!(paths.len(), 2);
    assert!(courier.settle(seconds(9), &7));
    assert!(!courier.settle(seconds(9), &7));
    assert_eq!(courier.poll_timeout(), None);
}

#[test]
fn what_waits_for_a_path_goes_out_in_class_order_when_one_comes() {
    let mut courier = Courier::new(1);
    for (key, class) in [(1, Class::P4), (2, Class::P2), (3, Class::P0), (4, Class::P1), (5, Class::P0)] {
        courier.offer(seconds(0), key, class, true);
    }
    assert!(drain(&mut courier).is_empty());
    courier.path_up(seconds(5), EXPRESS, Lane::Express);
    let order: Vec<u32> = drain(&mut courier).into_iter().map(|(key, _)| key).collect();
    assert_eq!(order, [3, 5, 4, 2, 1]);
}

#[test]
fn a_lost_express_lane_puts_the_alarm_on_the_bulk_lane_at_once() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, Lane::Express);
    courier.path_up(seconds(0), BULK, Lane::Bulk);
    courier.offer(seconds(0), 1, Class::P0, false);
    assert_eq!(drain(&mut courier), [(1, EXPRESS)]);
    courier.path_down(seconds(0), EXPRESS);
    assert_eq!(drain(&mut courier), [(1, BULK)]);
    courier.path_down(seconds(0), BULK);
    courier.handle_timeout(seconds(100));
    assert!(drain(&mut courier).is_empty());
    courier.path_up(seconds(100), EXPRESS, Lane::Express);
    assert_eq!(drain(&mut courier), [(1, EXPRESS)], "it was dropped with its path");
}

#[test]
fn a_new_path_gets_a_copy_of_what_is_under_way_and_the_old_ones_get_none() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, Lane::Express);
    courier.offer(seconds(0), 1, Class::P1, false);
    courier.offer(seconds(0), 2, Class::P0, false);
    drain(&mut courier);
    courier.path_up(seconds(0), SECOND, Lane::Express);
    assert_eq!(drain(&mut courier), [(2, SECOND), (1, SECOND)]);
}

#[test]
fn a_window_full_of_bulk_does_not_hold_an_urgent_item_back() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, Lane::Express);
    for key in 0..200 {
        courier.offer(seconds(0), key, Class::P4, false);
    }
    assert_eq!(drain(&mut courier).len(), limits::COURIER_WINDOW);
    courier.offer(seconds(0), 1_000, Class::P1, false);
    assert_eq!(drain(&mut courier), [(1_000, EXPRESS)]);
    courier.offer(seconds(0), 1_001, Class::P0, false);
    assert_eq!(drain(&mut courier), [(1_001, EXPRESS)]);
    courier.settle(seconds(0), &0);
    assert!(drain(&mut courier).is_empty(), "the urgent item counts in the window of what is below it");
    courier.settle(seconds(0), &1_000);
    assert_eq!(drain(&mut courier), [(64, EXPRESS)]);
}

#[test]
fn twenty_thousand_alarms_without_a_receipt_do_not_become_a_storm() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, Lane::Express);
    for key in 0..20_000 {
        courier.offer(seconds(0), key, Class::P0, false);
    }
    assert_eq!(drain(&mut courier).len(), 20_000);
    let mut repeats = 0;
    while let Some(due) = courier.poll_timeout().filter(|due| *due < seconds(3_600)) {
        courier.handle_timeout(due);
        repeats += std::iter::from_fn(|| courier.poll_output()).count();
    }
    assert!(repeats < 20_000 * 8 + 3_600 * 250, "{repeats} repeats in an hour");
    courier.offer(seconds(3_600), 20_000, Class::P0, false);
    drain(&mut courier);
    courier.handle_timeout(seconds(3_601));
    assert!(drain(&mut courier).iter().any(|(key, _)| *key == 20_000), "a young alarm is repeated soon all the same");
}

#[derive(Debug, Clone)]
enum Step {
    Offer(u32, u8, bool),
    Settle(u32),
    Up(u64, bool),
    Down(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..300_u32, 0..5_u8, any::<bool>()).prop_map(|(key, class, backlog)| Step::Offer(key, class, backlog)),
        2 => (0..300_u32).prop_map(Step::Settle),
        1 => (0..4_u64, any::<bool>()).prop_map(|(path, bulk)| Step::Up(path, bulk)),
        1 => (0..4_u64).prop_map(Step::Down),
        2 => (0..8_000_000_u64).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Items leave by settling alone; a P0 item goes out in the step that brings it if there is a path; of what goes out for the
    /// first time in one step, a higher class goes first; and with a path, every item is sent again and again.
    #[test]
    fn nothing_is_lost_and_nothing_overtakes(steps in prop::collection::vec(step(), 1..400)) {
        let mut courier = Courier::new(3);
        let mut now = Timestamp(0);
        let mut carried: BTreeMap<u32, Class> = BTreeMap::new();
        let mut paths: BTreeSet<PathId> = BTreeSet::new();
        for step in steps {
            let mut fresh_alarm = None;
            match step {
                Step::Offer(key, class, backlog) => {
                    let class = Class::from_number(class).unwrap();
                    if !carried.contains_key(&key) && class == Class::P0 && !paths.is_empty() {
                        fresh_alarm = Some(key);
                    }
                    carried.entry(key).or_insert(class);
                    courier.offer(now, key, class, backlog);
                }
                Step::Settle(key) => prop_assert_eq!(courier.settle(now, &key), carried.remove(&key).is_some()),
                Step::Up(path, bulk) if !paths.contains(&PathId(path)) => {
                    paths.insert(PathId(path));
                    courier.path_up(now, PathId(path), if bulk { Lane::Bulk } else { Lane::Express });
                }
                Step::Up(..) => {}
                Step::Down(path) => {
                    paths.remove(&PathId(path));
                    courier.path_down(now, PathId(path));
                }
                Step::Wait(micros) => {
                    now = Timestamp(now.0 + micros);
                    courier.handle_timeout(now);
                    prop_assert!(courier.poll_timeout().is_none_or(|due| due > now), "it would spin");
                }
            }
            courier.check().map_err(TestCaseError::fail)?;
            let sent: Vec<Transmit<u32>> = std::iter::from_fn(|| courier.poll_output()).collect();
            prop_assert!(sent.iter().all(|sent| paths.contains(&sent.path)), "sent on a path that is not there");
            prop_assert!(fresh_alarm.is_none_or(|key| sent.iter().any(|sent| sent.key == key)), "a P0 item waits");
            let first: Vec<Class> = sent.iter().filter(|sent| sent.attempt == 0).map(|sent| sent.class).collect();
            prop_assert!(first.is_sorted() || matches!(step, Step::Up(..)), "{:?}", first);
            prop_assert!(carried.keys().all(|key| courier.carries(key)));
            prop_assert_eq!(courier.pending().iter().sum::<usize>(), carried.len());
        }
        // With a path and receipts, all goes out.
        courier.path_up(now, PathId(99), Lane::Express);
        let mut rounds = 0;
        while !carried.is_empty() {
            rounds += 1;
            prop_assert!(rounds < 100_000, "{} items never go out", carried.len());
            while let Some(sent) = courier.poll_output() {
                courier.settle(now, &sent.key);
                carried.remove(&sent.key);
            }
            now = courier.poll_timeout().unwrap_or(now);
            courier.handle_timeout(now);
        }
        courier.check().map_err(TestCaseError::fail)?;
    }
}
