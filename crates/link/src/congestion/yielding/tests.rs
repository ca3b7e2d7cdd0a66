use std::cmp::Reverse;
use std::collections::BinaryHeap;

use huxiao_core::Rng;

use super::*;

const PACKET: u64 = 1_200;
/// How long a receiver waits for a second packet.
const PUT_OFF: Span = Span::from_millis(25);

/// A line to transfer over, in one direction; acknowledgements come back over one without a queue.
#[derive(Clone, Copy)]
struct Line {
    bits_a_second: u64,
    one_way: Span,
    /// The mean by which a packet is held up each way.
    jitter: Span,
    queue_bytes: u64,
    lost_percent: u64,
}

const RURAL: Line = Line {
    bits_a_second: 256_000,
    one_way: Span::from_millis(60),
    jitter: Span::from_millis(16),
    queue_bytes: 64 * 1_024,
    lost_percent: 0,
};

/// What came of a transfer.
#[derive(Debug)]
struct Outcome {
    /// The share of the line that it used, in percent.
    used: u64,
    /// How long a packet that comes at any time waits for those before it: at the median, and for all but one in a hundred.
    wait: [Span; 2],
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A packet is through the queue and the line, and was sent then.
    Arrives(u64, Span),
    /// The receiver has waited long enough for a second packet to acknowledge.
    Acknowledges(u64),
    /// These are acknowledged, put off by so much.
    Acknowledged(Vec<(u64, Span)>, Span),
    Lost(u64, Span),
    Looks,
}

#[expect(clippy::too_many_lines, reason = "one loop over what can happen")]
/// Transfers for `span` over `line`, and looks at its queue all the time after `settled`.
fn transfer(line: Line, controllers: &mut [Yielding], span: Span, settled: Span, seed: u64) -> Outcome {
    let began = Instant::now();
    let mut rng = Rng::new(seed);
    let held_up = move |rng: &mut Rng| {
        // The sum of three uniform ones: mostly near the mean, never below nothing.
        let part = u64::try_from(line.jitter.as_micros()).unwrap() * 2 / 3;
        Span::from_micros((0..3).map(|_| rng.below(part + 1)).sum())
    };
    let takes = |bytes: u64| Span::from_micros(bytes * 8 * 1_000_000 / line.bits_a_second);
    let mut events = BinaryHeap::new();
    let mut in_flight = vec![0_u64; controllers.len()];
    let mut unacked: Vec<Vec<(u64, Span)>> = vec![Vec::new(); controllers.len()];
    let (mut free_at, mut now, mut number, mut carried) = (Span::ZERO, Span::ZERO, 0_u64, 0_u64);
    let mut waits = Vec::new();
    events.push(Reverse((Span::ZERO, Event::Looks)));
    loop {
        // Whoever may send does, one packet each in turn.
        loop {
            let may = |whose: &usize| in_flight[*whose] + PACKET <= controllers[*whose].window();
            let Some(whose) = (0..controllers.len()).find(may) else { break };
            controllers[whose].on_sent(began + now);
            in_flight[whose] += PACKET;
            number += 1;
            let id = number * 16 + u64::try_from(whose).unwrap();
            let waits = free_at.saturating_sub(now);
            let full = waits > takes(line.queue_bytes);
            let lost = full || rng.below(100) < line.lost_percent;
            if lost {
                // It is missed when those behind it are acknowledged.
                events.push(Reverse((now + waits + line.one_way * 3, Event::Lost(id, now))));
            }
            if !full {
                free_at = free_at.max(now) + takes(PACKET);
                carried += if now >= settled { PACKET } else { 0 };
                if !lost {
                    let arrives = free_at + line.one_way + held_up(&mut rng);
                    events.push(Reverse((arrives, Event::Arrives(id, now))));
                }
            }
        }
        let Some(Reverse((at, event))) = events.pop() else { break };
        now = at;
        if now > span {
            break;
        }
        let whose = |id: u64| usize::try_from(id % 16).unwrap();
        match event {
            Event::Looks => {
                if now >= settled {
                    waits.push(free_at.saturating_sub(now));
                }
                events.push(Reverse((now + Span::from_millis(3), Event::Looks)));
            }
            Event::Arrives(id, sent) => {
                let waiting = &mut unacked[whose(id)];
                waiting.push((id, sent));
                if waiting.len() >= 2 {
                    let back = now + line.one_way + held_up(&mut rng);
                    events.push(Reverse((back, Event::Acknowledged(std::mem::take(waiting), Span::ZERO))));
                } else {
                    events.push(Reverse((now + PUT_OFF, Event::Acknowledges(id))));
                }
            }
            Event::Acknowledges(id) => {
                let waiting = &mut unacked[whose(id)];
                if waiting.first().is_some_and(|(first, _)| *first == id) {
                    let back = now + line.one_way + held_up(&mut rng);
                    events.push(Reverse((back, Event::Acknowledged(std::mem::take(waiting), PUT_OFF))));
                }
            }
            Event::Acknowledged(packets, put_off) => {
                let controller = &mut controllers[whose(packets[0].0)];
                let mut last = Span::ZERO;
                for (id, sent) in &packets {
                    in_flight[whose(*id)] -= PACKET;
                    controller.on_ack(PACKET, false);
                    last = last.max(*sent);
                }
                controller.on_end_acks(began + now, line.one_way * 2 + line.jitter * 2, Some(now - last - put_off));
            }
            Event::Lost(id, sent) => {
                in_flight[whose(id)] -= PACKET;
                controllers[whose(id)].on_loss(began + now, began + sent, false);
            }
        }
    }
    waits.sort();
    let at = |percent: usize| waits[waits.len() * percent / 100];
    let could = line.bits_a_second / 8 * (span - settled).as_secs();
    Outcome { used: carried * 100 / could, wait: [at(50), at(99)] }
}

fn alone(line: Line, seed: u64) -> Outcome {
    transfer(line, &mut [Yielding::new(1_200)], Span::from_secs(160), Span::from_secs(5), seed)
}

#[test]
fn a_slow_line_with_jitter_is_filled_and_its_queue_is_not() {
    for seed in 0..10 {
        let outcome = alone(RURAL, seed);
        println!("{outcome:?}");
        assert!(outcome.used >= 60, "{outcome:?}");
        // A packet takes 37 ms over it, so whoever comes finds on average half of one; a queue would be two seconds.
        assert!(outcome.wait[0] <= Span::from_millis(40) && outcome.wait[1] <= Span::from_millis(120), "{outcome:?}");
    }
}

#[test]
fn faster_lines_are_filled() {
    for (bits_a_second, jitter) in [(2_000_000, 3), (10_000_000, 0), (10_000_000, 16), (50_000_000, 3)] {
        let line = Line { bits_a_second, jitter: Span::from_millis(jitter), queue_bytes: 256 * 1_024, ..RURAL };
        let outcome = transfer(line, &mut [Yielding::new(1_200)], Span::from_secs(60), Span::from_secs(15), 1);
        println!("{bits_a_second} bit/s, jitter {jitter} ms: {outcome:?}");
        assert!(outcome.used >= 60, "{outcome:?}");
        assert!(outcome.wait[1] <= Span::from_millis(120), "{outcome:?}");
    }
}

#[test]
fn two_transfers_leave_the_queue_as_short() {
    let mut both = [Yielding::new(1_200), Yielding::new(1_200)];
    let outcome = transfer(RURAL, &mut both, Span::from_secs(160), Span::from_secs(20), 1);
    println!("{outcome:?}");
    assert!(outcome.wait[1] <= Span::from_millis(200), "{outcome:?}");
    assert!(outcome.used >= 70, "{outcome:?}");
}

#[test]
fn losses_of_the_lines_own_leave_some_of_it() {
    let outcome = alone(Line { lost_percent: 4, ..RURAL }, 1);
    println!("{outcome:?}");
    assert!(outcome.used >= 40, "{outcome:?}");
}

#[test]
fn the_window_stays_within_its_bounds_whatever_is_acknowledged() {
    for seed in 0..50 {
        let mut rng = Rng::new(seed);
        let mut bulk = Yielding::new(1_200);
        let mut now = Instant::now();
        for _ in 0..2_000 {
            now += Span::from_micros(rng.below(300_000));
            match rng.below(5) {
                0 => bulk.on_loss(now, now, rng.below(2) == 0),
                1 => bulk.on_sent(now),
                2 => bulk.on_mtu(u16::try_from(1_200 + rng.below(300)).unwrap()),
                _ => {
                    bulk.on_ack(rng.below(u64::MAX), rng.below(4) == 0);
                    let took = Span::from_micros(rng.below(1_000_000));
                    bulk.on_end_acks(
                        now,
                        Span::from_micros(rng.below(500_000)),
                        Some(took).filter(|_| rng.below(4) > 0),
                    );
                }
            }
            assert!((2_400..=MOST_BYTES).contains(&bulk.window()), "{} bytes", bulk.window());
            assert!(bulk.recent.len() <= RECENT && bulk.sample.len() <= SAMPLE_MOST && bulk.idle.len() <= SLOTS);
        }
    }
}

#[test]
fn a_longer_route_is_learnt_in_time() {
    let mut bulk = Yielding::new(1_200);
    let mut now = Instant::now();
    let mut acks = |bulk: &mut Yielding, millis: u64, seconds: u64| {
        let rtt = Span::from_millis(millis);
        for _ in 0..seconds * 10 {
            now += Span::from_millis(100);
            bulk.on_sent(now);
            bulk.on_ack(bulk.window(), false);
            bulk.on_end_acks(now, rtt, Some(rtt));
        }
        bulk.window()
    };
    let wide = acks(&mut bulk, 30, 60);
    let narrow = acks(&mut bulk, 130, 60);
    assert!(narrow < wide, "it looks like a queue: {wide} then {narrow}");
    let wide_again = acks(&mut bulk, 130, 600);
    assert!(wide_again > 10 * narrow, "and is the line: {narrow} then {wide_again}");
}
