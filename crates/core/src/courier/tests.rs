//! The courier against its invariants, staged and at random.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::probe::Losses;

const EXPRESS: PathId = PathId(1);
const SECOND: PathId = PathId(2);
const BULK: PathId = PathId(3);
/// What an alarm takes on the wire here.
const BYTES: usize = 500;

fn millis(millis: u64) -> Timestamp {
    Timestamp(millis * 1_000)
}

fn seconds(secs: u64) -> Timestamp {
    millis(secs * 1_000)
}

fn express() -> PathInfo {
    PathInfo::plain(Lane::Express)
}

fn on_line(line: u16) -> PathInfo {
    PathInfo { uplink: UplinkId(line), ..express() }
}

fn drain(courier: &mut Courier<u32>) -> Vec<(u32, PathId)> {
    copies(courier).into_iter().map(|sent| (sent.key, sent.path)).collect()
}

fn copies(courier: &mut Courier<u32>) -> Vec<Transmit<u32>> {
    courier.check().unwrap();
    std::iter::from_fn(|| courier.poll_output()).collect()
}

impl Courier<u32> {
    /// When an item was last sent, in milliseconds.
    fn sent_at(&self, key: u32) -> u64 {
        self.items.get(&key).and_then(|item| item.flight).map_or(0, |flight| flight.sent.0 / 1_000)
    }
}

/// Lets time pass up to `until`; what was sent, and when.
fn run(courier: &mut Courier<u32>, until: Timestamp) -> Vec<(Timestamp, Transmit<u32>)> {
    let mut sent = Vec::new();
    while let Some(due) = courier.poll_timeout().filter(|due| *due <= until) {
        courier.handle_timeout(due);
        courier.poll_race();
        sent.extend(copies(courier).into_iter().map(|copy| (due, copy)));
        assert!(courier.poll_timeout() > Some(due), "it would spin at {due:?}");
    }
    sent
}

#[test]
fn an_alarm_goes_on_every_path_at_once_and_its_copies_follow_the_schedule() {
    let mut courier = Courier::new(1);
    courier.path_up(millis(0), EXPRESS, on_line(0));
    courier.path_up(millis(0), SECOND, on_line(1));
    courier.offer(millis(0), 7, Class::P0, false, BYTES);
    let first = copies(&mut courier);
    let shape = |sent: &[Transmit<u32>]| sent.iter().map(|copy| (copy.path, copy.form)).collect::<Vec<_>>();
    assert_eq!(shape(&first), [(EXPRESS, Form::Datagram), (SECOND, Form::Datagram)]);
    let later = run(&mut courier, seconds(4));
    let streams: Vec<_> = later.iter().filter(|(_, copy)| copy.form == Form::Stream).collect();
    assert!(streams.len() == 2 && streams.iter().all(|(at, _)| *at == millis(2)), "{streams:?}");
    let times: Vec<u64> = later[2..].iter().map(|(at, _)| at.0 / 1_000).collect();
    for (time, (low, high)) in times.iter().zip([(20, 20), (44, 56), (80, 110), (134, 191)]) {
        assert!((low..=high).contains(time), "{times:?}");
    }
    assert!(
        times.windows(2).all(|two| two[1] - two[0] <= 300),
        "a young alarm waits at most the longest gap: {times:?}"
    );
    let paths: BTreeSet<PathId> = later[2..].iter().map(|(_, copy)| copy.path).collect();
    assert_eq!(paths.len(), 2, "copies rotate");
    assert!(courier.settle(seconds(9), &7));
    assert!(!courier.settle(seconds(9), &7));
    assert_eq!(courier.poll_timeout(), None);
}

#[test]
fn a_path_that_loses_much_gets_its_first_copies_closer_together() {
    let by = |losses| {
        let mut courier = Courier::new(1);
        courier.path_up(millis(0), EXPRESS, express());
        courier.set_probed(EXPRESS, losses, None);
        courier.offer(millis(0), 7, Class::P0, false, BYTES);
        copies(&mut courier).len() + run(&mut courier, millis(70)).len()
    };
    let sent = [Losses::None, Losses::Unknown, Losses::Some].map(by);
    assert!(sent[0] < sent[1] && sent[1] + 2 < sent[2], "{sent:?}");
}

/// On a line of 32 kbit/s with 600 ms there and back, an alarm every second and a half: what does not fit stands in a queue.
#[test]
fn the_schedule_stretches_on_a_thin_line_instead_of_choking_it() {
    let mut courier = Courier::new(1);
    courier.path_up(millis(0), EXPRESS, express());
    courier.set_probed(EXPRESS, Losses::Some, Some(Span::from_millis(600)));
    let (mut free_at, mut late) = (0_u64, Vec::new());
    let mut answers: BTreeSet<(u64, u32)> = BTreeSet::new();
    for key in 0..60 {
        let pressed = u64::from(key) * 1_500;
        courier.offer(millis(pressed), key, Class::P0, false, BYTES);
        let mut first = None;
        loop {
            for copy in copies(&mut courier) {
                let now = courier.sent_at(copy.key);
                free_at = free_at.max(now) + 125;
                answers.insert((free_at + 600, copy.key));
                if copy.key == key {
                    first.get_or_insert(free_at);
                }
            }
            let answer = answers.first().map(|(at, _)| millis(*at));
            let due = courier.poll_timeout();
            let next = [answer, due].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= millis(pressed + 1_500)) else { break };
            courier.handle_timeout(next);
            courier.poll_race();
            while let Some((at, key)) = answers.first().copied().filter(|(at, _)| millis(*at) <= next) {
                answers.remove(&(at, key));
                courier.heard(next, EXPRESS);
                courier.settle(next, &key);
            }
        }
        late.push(first.unwrap() - pressed);
    }
    assert!(late.iter().all(|late| *late < 1_000), "the line is choked: {late:?}");
}

#[test]
fn a_receipt_stops_what_has_not_left_yet() {
    let mut courier = Courier::new(1);
    courier.path_up(millis(0), EXPRESS, express());
    courier.offer(millis(0), 7, Class::P0, false, BYTES);
    courier.settle(millis(0), &7);
    assert!(drain(&mut courier).is_empty());
    courier.offer(millis(1), 8, Class::P0, false, BYTES);
    drain(&mut courier);
    courier.settle(millis(2), &8);
    assert!(run(&mut courier, seconds(60)).is_empty());
}

#[test]
fn what_waits_for_a_path_goes_out_in_class_order_when_one_comes() {
    let mut courier = Courier::new(1);
    for (key, class) in [(1, Class::P4), (2, Class::P2), (3, Class::P0), (4, Class::P1), (5, Class::P0)] {
        courier.offer(seconds(0), key, class, true, BYTES);
    }
    assert!(drain(&mut courier).is_empty());
    courier.path_up(seconds(5), EXPRESS, express());
    let order: Vec<u32> = drain(&mut courier).into_iter().map(|(key, _)| key).collect();
    assert_eq!(order, [3, 5, 4, 2, 1]);
}

#[test]
fn a_lost_express_lane_puts_the_alarm_on_the_bulk_lane_at_once() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    courier.path_up(seconds(0), BULK, PathInfo::plain(Lane::Bulk));
    courier.offer(seconds(0), 1, Class::P0, false, BYTES);
    assert_eq!(drain(&mut courier), [(1, EXPRESS)]);
    courier.path_down(seconds(0), EXPRESS);
    assert_eq!(drain(&mut courier), [(1, BULK)]);
    courier.path_down(seconds(0), BULK);
    courier.handle_timeout(seconds(100));
    assert!(drain(&mut courier).is_empty());
    courier.path_up(seconds(100), EXPRESS, express());
    assert_eq!(drain(&mut courier), [(1, EXPRESS)], "it was dropped with its path");
}

#[test]
fn after_a_silence_a_new_path_gets_a_copy_of_what_is_under_way_and_the_old_ones_get_none() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    courier.offer(seconds(0), 1, Class::P1, false, BYTES);
    courier.offer(seconds(0), 2, Class::P0, false, BYTES);
    drain(&mut courier);
    courier.path_up(millis(1), BULK, on_line(2));
    assert!(copies(&mut courier).is_empty(), "beside a path that lives, a new one has its turns and no more");
    courier.path_up(millis(600), SECOND, express());
    let sent = copies(&mut courier);
    assert!(sent.iter().all(|copy| copy.path == SECOND));
    let forms: Vec<_> = sent.iter().map(|copy| (copy.key, copy.form)).collect();
    assert_eq!(forms, [(2, Form::Datagram), (2, Form::Stream), (1, Form::Datagram), (1, Form::Stream)]);
}

#[test]
fn a_sign_of_life_after_a_silence_brings_everything_pending_at_once() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    for (key, class) in [(1, Class::P1), (2, Class::P0), (3, Class::P0)] {
        courier.offer(seconds(0), key, class, false, BYTES);
    }
    drain(&mut courier);
    let races = {
        let mut races = 0;
        while let Some(due) = courier.poll_timeout().filter(|due| *due <= seconds(8)) {
            courier.handle_timeout(due);
            races += u32::from(courier.poll_race());
            drain(&mut courier);
        }
        races
    };
    assert!((3..=5).contains(&races), "{races} races in eight seconds of silence");
    courier.heard(millis(8_021), EXPRESS);
    let order: Vec<u32> = drain(&mut courier).into_iter().map(|(key, _)| key).collect();
    // What a copy left of in the last few milliseconds is not sent again.
    assert!(order.len() >= 2 && order.iter().copied().is_sorted_by_key(|key| [9, 2, 0, 1][key as usize]), "{order:?}");
    courier.heard(millis(8_040), EXPRESS);
    assert!(drain(&mut courier).is_empty(), "it is no silence any more");
}

/// Each fresh session is greeted by its receiver, so there is always a sign of life: that alone must not begin the series of races anew.
#[test]
fn a_receiver_that_is_heard_and_settles_nothing_is_dialled_afresh_ever_more_slowly() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    courier.offer(seconds(0), 1, Class::P0, false, BYTES);
    let mut races = Vec::new();
    while let Some(due) = courier.poll_timeout().filter(|due| *due <= seconds(600)) {
        courier.handle_timeout(due);
        drain(&mut courier);
        if courier.poll_race() {
            races.push(due);
            courier.heard(due + Span::from_millis(60), EXPRESS);
            drain(&mut courier);
        }
    }
    assert!((50..140).contains(&races.len()), "{} races in ten minutes", races.len());
    // A receipt begins the series anew.
    courier.settle(seconds(600), &1);
    courier.offer(seconds(601), 2, Class::P0, false, BYTES);
    drain(&mut courier);
    let race = std::iter::from_fn(|| {
        let due = courier.poll_timeout()?;
        courier.handle_timeout(due);
        drain(&mut courier);
        Some((due, courier.poll_race()))
    });
    let first = race.take(100).find(|(_, race)| *race).map(|(due, _)| due);
    assert_eq!(first, Some(seconds(601) + RACE_AFTER));
}

/// A receiver that answers each copy at once, but with something else than a receipt, is alive: nothing is to be won by dialling it afresh.
#[test]
fn a_receiver_that_answers_every_copy_is_not_dialled_afresh() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    courier.offer(seconds(0), 1, Class::P0, false, BYTES);
    let mut races = 0;
    while let Some(due) = courier.poll_timeout().filter(|due| *due <= seconds(600)) {
        courier.handle_timeout(due);
        races += u32::from(courier.poll_race());
        if !drain(&mut courier).is_empty() {
            courier.heard(due + Span::from_micros(900), EXPRESS);
            drain(&mut courier);
        }
    }
    assert_eq!(races, 0);
}

#[test]
fn nothing_below_p1_goes_over_a_metered_line() {
    let metered = PathInfo { cost: Cost::Metered, uplink: UplinkId(1), ..express() };
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), SECOND, metered);
    for (key, class) in [(0, Class::P0), (1, Class::P1), (2, Class::P2), (3, Class::P3), (4, Class::P4)] {
        courier.offer(seconds(0), key, class, false, BYTES);
    }
    assert_eq!(drain(&mut courier), [(0, SECOND), (1, SECOND)]);
    courier.settle(seconds(1), &0);
    courier.settle(seconds(1), &1);
    assert!(run(&mut courier, seconds(600)).is_empty());
    courier.path_up(seconds(600), EXPRESS, express());
    assert_eq!(drain(&mut courier), [(2, EXPRESS), (3, EXPRESS), (4, EXPRESS)]);
    courier.path_down(seconds(601), EXPRESS);
    assert!(run(&mut courier, seconds(700)).is_empty(), "the free line was the only one for them");
}

#[test]
fn on_tcp_alone_an_alarm_is_sent_once_and_again_only_slowly() {
    let tcp = PathInfo { carrier: Carrier::Tcp, ..express() };
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, tcp);
    courier.offer(seconds(0), 1, Class::P0, false, BYTES);
    let sent = copies(&mut courier);
    assert!(sent.len() == 1 && sent[0].form == Form::Stream);
    let later = run(&mut courier, seconds(10));
    assert!((2..=6).contains(&later.len()) && later.iter().all(|(_, copy)| copy.form == Form::Stream), "{later:?}");
    // Copies that wait for a line's budget do not wait for ever when datagrams are gone.
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    courier.path_up(seconds(0), SECOND, PathInfo { uplink: UplinkId(1), ..tcp });
    (0..60).for_each(|key| courier.offer(seconds(0), key, Class::P0, false, BYTES));
    run(&mut courier, millis(300));
    courier.path_down(millis(300), EXPRESS);
    let keys: BTreeSet<u32> = run(&mut courier, seconds(10)).into_iter().map(|(_, copy)| copy.key).collect();
    assert_eq!(keys.len(), 60);
}

#[test]
fn whoever_else_there_is_is_dialled_before_a_silence_is_long_and_gets_all_that_is_under_way() {
    let known = PathInfo { rtt: Span::from_millis(5), ..express() };
    for others in [true, false] {
        let mut courier = Courier::new(4).with_others(others);
        courier.path_up(millis(0), EXPRESS, known);
        courier.heard(millis(1), EXPRESS);
        // More than the line's budget bears: what goes to the dead takes all of it.
        for key in 0..40 {
            courier.offer(millis(1_000), key, Class::P0, false, BYTES);
        }
        copies(&mut courier);
        run(&mut courier, millis(1_119));
        assert!(!courier.poll_deserted());
        run(&mut courier, millis(1_121));
        assert_eq!(courier.poll_deserted(), others);
        assert!(!courier.poll_deserted(), "it is said once");
        courier.path_up(millis(1_125), SECOND, known);
        let sent: BTreeSet<u32> = copies(&mut courier).iter().filter(|s| s.path == SECOND).map(|s| s.key).collect();
        let bears = u32::try_from(limits::COPY_BURST_BYTES as usize / BYTES / 2).unwrap();
        assert_eq!(sent.len() >= bears as usize, others, "{sent:?}");
        // One who takes sessions in and says nothing gets it once.
        courier.path_up(millis(1_127), BULK, known);
        assert!(copies(&mut courier).iter().filter(|sent| sent.path == BULK).count() <= SCOUTS);
        // Whoever answers ends it.
        courier.heard(millis(1_130), SECOND);
        run(&mut courier, millis(1_240));
        assert!(!courier.poll_deserted());
    }
}

#[test]
fn a_path_that_is_silent_gets_few_of_the_copies() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, on_line(0));
    courier.path_up(seconds(0), SECOND, on_line(1));
    courier.heard(seconds(10), SECOND);
    courier.offer(seconds(10), 1, Class::P0, false, BYTES);
    drain(&mut courier);
    let sent = run(&mut courier, millis(12_000));
    let dead = sent.iter().filter(|(_, copy)| copy.path == EXPRESS).count();
    assert!(dead >= 2 && dead * 2 < sent.len(), "{dead} of {} on the silent path", sent.len());
}

#[test]
fn a_session_taken_up_early_gets_few_of_the_copies_until_something_comes_on_it() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    courier.heard(seconds(0), EXPRESS);
    courier.offer(seconds(0), 1, Class::P0, false, BYTES);
    run(&mut courier, seconds(1));
    courier.path_up(seconds(1), SECOND, express());
    let scouts = copies(&mut courier);
    assert!(!scouts.is_empty() && scouts.iter().all(|copy| copy.path == SECOND));
    let sent = run(&mut courier, seconds(6));
    let early = sent.iter().filter(|(_, copy)| copy.path == SECOND).count();
    assert!(early >= 1 && early * 3 < sent.len(), "{early} of {} on the early session", sent.len());
}

#[test]
fn a_window_full_of_bulk_does_not_hold_an_urgent_item_back() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    for key in 0..200 {
        courier.offer(seconds(0), key, Class::P4, false, BYTES);
    }
    assert_eq!(drain(&mut courier).len(), limits::COURIER_WINDOW);
    courier.offer(seconds(0), 1_000, Class::P1, false, BYTES);
    assert_eq!(drain(&mut courier), [(1_000, EXPRESS)]);
    courier.offer(seconds(0), 1_001, Class::P0, false, BYTES);
    assert_eq!(drain(&mut courier), [(1_001, EXPRESS)]);
    courier.settle(seconds(0), &0);
    assert!(drain(&mut courier).is_empty(), "the urgent item counts in the window of what is below it");
    courier.settle(seconds(0), &1_000);
    assert_eq!(drain(&mut courier), [(64, EXPRESS)]);
}

/// However many alarms are pending and however little is heard, what goes over a line in an hour is bounded, and all have their turn.
#[test]
fn twenty_thousand_alarms_without_a_receipt_do_not_become_a_storm() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    for key in 0..20_000 {
        courier.offer(seconds(0), key, Class::P0, false, BYTES);
    }
    let mut sent = drain(&mut courier).len();
    assert!((limits::COURIER_WINDOW..limits::COURIER_WINDOW + 60).contains(&sent), "{sent} at once");
    let (mut turns, mut due) = (BTreeSet::new(), Timestamp(0));
    while let Some(next) = courier.poll_timeout().filter(|next| *next < seconds(600)) {
        assert!(next > due, "it would spin");
        due = next;
        courier.handle_timeout(due);
        while let Some(copy) = courier.poll_output() {
            turns.insert(copy.key);
            sent += 1;
        }
    }
    courier.check().unwrap();
    let bytes = sent * BYTES;
    let budget = 600 * usize::try_from(limits::COPY_BYTES_PER_SECOND).unwrap();
    assert!(bytes < budget + 64 * 1_024, "{bytes} bytes in ten minutes, of a budget of {budget}");
    assert!(turns.len() > 64);
    courier.offer(seconds(600), 20_000, Class::P0, false, BYTES);
    assert!(run(&mut courier, seconds(602)).iter().all(|(_, copy)| copy.key != 20_001));
}

/// Each receipt lets the next alarm go, so a receiver that answers gets everything at the speed of its answers.
#[test]
fn what_was_lost_is_sent_again_under_a_load_that_uses_the_budget_up() {
    let mut courier = Courier::new(1);
    courier.path_up(millis(0), EXPRESS, express());
    courier.offer(millis(0), 0, Class::P0, false, BYTES);
    let mut times = vec![millis(0)];
    for number in 1..1_200 {
        let pressed = millis(u64::from(number) * 50);
        let mut sent = run(&mut courier, pressed);
        courier.offer(pressed, number, Class::P0, false, BYTES);
        let answered = pressed + Span::from_millis(10);
        sent.extend(run(&mut courier, answered));
        courier.heard(answered, EXPRESS);
        courier.settle(answered, &number);
        sent.extend(copies(&mut courier).into_iter().map(|copy| (answered, copy)));
        times.extend(sent.iter().filter(|(_, copy)| copy.key == 0).map(|(at, _)| *at));
    }
    let longest = times.windows(2).map(|two| two[1].since(two[0])).max();
    assert!(longest < Some(LONGEST_GAP * 3 / 2) && times.last() > Some(&seconds(50)), "{longest:?}, {times:?}");
}

#[test]
fn a_receiver_that_answers_gets_twenty_thousand_alarms_without_waiting_for_the_budget() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    for key in 0..20_000 {
        courier.offer(seconds(0), key, Class::P0, false, BYTES);
    }
    let mut arrived = BTreeSet::new();
    let mut rounds = 0_u64;
    while arrived.len() < 20_000 {
        rounds += 1;
        let now = millis(rounds);
        courier.handle_timeout(now);
        for (key, _) in drain(&mut courier) {
            arrived.insert(key);
            courier.settle(now, &key);
        }
        assert!(rounds < 1_000, "{} after {rounds} round trips", arrived.len());
    }
}

#[test]
fn alarms_whose_receipts_never_come_do_not_keep_new_ones_from_being_sent() {
    let mut courier = Courier::new(1);
    courier.path_up(seconds(0), EXPRESS, express());
    // A receiver that is heard and settles nothing.
    for key in 0..400 {
        courier.offer(seconds(0), key, Class::P0, false, BYTES);
    }
    let (mut unsent, mut next, mut longest) = (BTreeMap::new(), 1_000, Span::ZERO);
    for tick in 1..1_200 {
        let now = millis(tick * 100);
        courier.handle_timeout(now);
        courier.heard(now, EXPRESS);
        if tick > 600 && tick % 10 == 0 {
            courier.offer(now, next, Class::P0, false, BYTES);
            unsent.insert(next, now);
            next += 1;
        }
        for sent in copies(&mut courier) {
            if let Some(since) = unsent.remove(&sent.key) {
                longest = longest.max(now.since(since));
            }
        }
    }
    longest = unsent.values().map(|since| millis(120_000).since(*since)).fold(longest, Span::max);
    assert!(longest < Span::from_secs(3), "one of them waited {longest:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Offer(u32, u8, bool),
    Settle(u32),
    Up(u64, bool),
    Down(u64),
    Heard(u64),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..300_u32, 0..5_u8, any::<bool>()).prop_map(|(key, class, backlog)| Step::Offer(key, class, backlog)),
        2 => (0..300_u32).prop_map(Step::Settle),
        1 => (0..4_u64, any::<bool>()).prop_map(|(path, bulk)| Step::Up(path, bulk)),
        1 => (0..4_u64).prop_map(Step::Down),
        1 => (0..4_u64).prop_map(Step::Heard),
        2 => (0..8_000_000_u64).prop_map(Step::Wait),
        2 => (0..80_000_u64).prop_map(Step::Wait),
    ]
}

/// Four paths that differ in everything that a path has.
fn info(path: u64, bulk: bool) -> PathInfo {
    PathInfo {
        rtt: Span::from_millis(path * 300),
        lane: if bulk { Lane::Bulk } else { Lane::Express },
        uplink: UplinkId(u16::try_from(path / 2).unwrap()),
        carrier: if path == 3 { Carrier::Tcp } else { Carrier::Quic },
        cost: if path >= 2 { Cost::Metered } else { Cost::Free },
    }
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
                    courier.offer(now, key, class, backlog, BYTES);
                }
                Step::Settle(key) => prop_assert_eq!(courier.settle(now, &key), carried.remove(&key).is_some()),
                Step::Up(path, bulk) if !paths.contains(&PathId(path)) => {
                    paths.insert(PathId(path));
                    courier.path_up(now, PathId(path), info(path, bulk));
                }
                Step::Up(..) => {}
                Step::Down(path) => {
                    paths.remove(&PathId(path));
                    courier.path_down(now, PathId(path));
                }
                Step::Heard(path) => courier.heard(now, PathId(path)),
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
        courier.path_up(now, PathId(99), on_line(9));
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
