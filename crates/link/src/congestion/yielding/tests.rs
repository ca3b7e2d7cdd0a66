use std::cmp::Reverse;
use std::collections::BinaryHeap;

use huxiao_core::Rng;

use super::*;

/// Beside what it carries, each packet has so many bytes.
const HEADERS: u64 = 70;
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Packet {
    whose: usize,
    number: u64,
    sent: Span,
    bytes: u64,
}

/// One end of a transfer.
struct Sender {
    bulk: Yielding,
    in_flight: u64,
    /// Written and not sent.
    waiting: u64,
    rtt: Span,
    /// What the receiver has not acknowledged yet.
    unacked: Vec<Packet>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A packet is through the queue and the line, and was sent then.
    Arrives(Packet),
    /// The receiver has waited long enough for a second packet to acknowledge.
    Acknowledges(Packet),
    /// It is somebody's turn to write.
    Turn(usize),
    /// These are acknowledged, put off by so much.
    Acknowledged(Vec<Packet>, Span),
    Lost(Packet),
    Looks,
}

/// Transfers for `span` over `line`, `count` at once, and looks at its queue all the time after `settled`.
#[expect(clippy::too_many_lines, reason = "one loop over what can happen")]
fn transfer(line: Line, count: usize, span: Span, settled: Span, seed: u64) -> Outcome {
    let began = Instant::now();
    let mut rng = Rng::new(seed);
    let held_up = move |rng: &mut Rng| {
        // The sum of three uniform ones: mostly near the mean, never below nothing.
        let part = u64::try_from(line.jitter.as_micros()).unwrap() * 2 / 3;
        Span::from_micros((0..3).map(|_| rng.below(part + 1)).sum())
    };
    let takes = |bytes: u64| Span::from_micros(bytes * 8 * 1_000_000 / line.bits_a_second);
    let sender =
        || Sender { bulk: Yielding::new(1_200), in_flight: 0, waiting: 0, rtt: line.one_way * 2, unacked: Vec::new() };
    let mut senders: Vec<_> = (0..count).map(|_| sender()).collect();
    let (mut free_at, mut number, mut carried) = (Span::ZERO, 0_u64, 0_u64);
    let mut waits = Vec::new();
    let mut events: BinaryHeap<_> = (0..count).map(|whose| Reverse((Span::ZERO, Event::Turn(whose)))).collect();
    events.push(Reverse((Span::ZERO, Event::Looks)));
    while let Some(Reverse((now, event))) = events.pop() {
        if now > span {
            break;
        }
        match event {
            Event::Looks => {
                if now >= settled {
                    waits.push(free_at.saturating_sub(now));
                }
                events.push(Reverse((now + Span::from_millis(3), Event::Looks)));
            }
            Event::Turn(whose) => {
                let sender = &mut senders[whose];
                let (bytes, gap) = sender.bulk.turn(sender.rtt);
                sender.waiting += u64::try_from(bytes).unwrap();
                events.push(Reverse((now + gap, Event::Turn(whose))));
            }
            Event::Arrives(packet) => {
                let unacked = &mut senders[packet.whose].unacked;
                unacked.push(packet);
                if unacked.len() >= 2 {
                    let back = now + line.one_way + held_up(&mut rng);
                    events.push(Reverse((back, Event::Acknowledged(std::mem::take(unacked), Span::ZERO))));
                } else {
                    events.push(Reverse((now + PUT_OFF, Event::Acknowledges(packet))));
                }
            }
            Event::Acknowledges(packet) => {
                let unacked = &mut senders[packet.whose].unacked;
                if unacked.first() == Some(&packet) {
                    let back = now + line.one_way + held_up(&mut rng);
                    events.push(Reverse((back, Event::Acknowledged(std::mem::take(unacked), PUT_OFF))));
                }
            }
            Event::Acknowledged(packets, put_off) => {
                let sender = &mut senders[packets[0].whose];
                for packet in &packets {
                    sender.in_flight -= packet.bytes;
                    sender.bulk.on_ack(packet.bytes, false);
                }
                let last = packets.iter().map(|packet| packet.sent).max().unwrap_or_default();
                let took = now - last - put_off;
                sender.rtt = (sender.rtt * 7 + took) / 8;
                sender.bulk.on_end_acks(began + now, sender.rtt, Some(took));
            }
            Event::Lost(packet) => {
                let sender = &mut senders[packet.whose];
                sender.in_flight -= packet.bytes;
                sender.bulk.on_loss(began + now, began + packet.sent, false);
            }
        }
        // Whoever may send does.
        for (whose, sender) in senders.iter_mut().enumerate() {
            while sender.waiting > 0 && sender.in_flight + 1_200 < sender.bulk.window() {
                let bytes = sender.waiting.min(1_130) + HEADERS;
                sender.waiting -= bytes - HEADERS;
                sender.bulk.on_sent(began + now);
                sender.in_flight += bytes;
                number += 1;
                let packet = Packet { whose, number, sent: now, bytes };
                let queue = free_at.saturating_sub(now);
                if queue > takes(line.queue_bytes) || rng.below(100) < line.lost_percent {
                    // It is missed when those behind it are acknowledged.
                    events.push(Reverse((now + queue + line.one_way * 3, Event::Lost(packet))));
                    continue;
                }
                free_at = free_at.max(now) + takes(bytes);
                carried += if now >= settled { bytes } else { 0 };
                let arrives = free_at + line.one_way + held_up(&mut rng);
                events.push(Reverse((arrives, Event::Arrives(packet))));
            }
        }
    }
    waits.sort();
    let at = |percent: usize| waits[waits.len() * percent / 100];
    let could = line.bits_a_second / 8 * (span - settled).as_secs();
    Outcome { used: carried * 100 / could, wait: [at(50), at(99)] }
}

fn alone(line: Line, seed: u64) -> Outcome {
    transfer(line, 1, Span::from_secs(160), Span::from_secs(5), seed)
}

#[test]
fn a_slow_line_with_jitter_is_filled_and_its_queue_is_not() {
    for seed in 0..4 {
        let outcome = alone(RURAL, seed);
        println!("{outcome:?}");
        assert!(outcome.used >= 60, "{outcome:?}");
        // A packet takes 20 ms over it; a full queue would be two seconds.
        assert!(outcome.wait[0] <= Span::from_millis(20) && outcome.wait[1] <= Span::from_millis(60), "{outcome:?}");
    }
}

#[test]
fn faster_lines_are_filled() {
    for (bits_a_second, jitter) in [(2_000_000, 3), (10_000_000, 0), (10_000_000, 16), (20_000_000, 3)] {
        let line = Line { bits_a_second, jitter: Span::from_millis(jitter), queue_bytes: 256 * 1_024, ..RURAL };
        let outcome = transfer(line, 1, Span::from_secs(30), Span::from_secs(10), 1);
        println!("{bits_a_second} bit/s, jitter {jitter} ms: {outcome:?}");
        assert!(outcome.used >= 60, "{outcome:?}");
        assert!(outcome.wait[1] <= Span::from_millis(40), "{outcome:?}");
    }
}

#[test]
fn two_transfers_leave_the_queue_as_short() {
    let outcome = transfer(RURAL, 2, Span::from_secs(160), Span::from_secs(20), 1);
    println!("{outcome:?}");
    assert!(outcome.wait[1] <= Span::from_millis(100), "{outcome:?}");
    assert!(outcome.used >= 70, "{outcome:?}");
}

#[test]
fn losses_of_the_lines_own_leave_some_of_it() {
    let outcome = alone(Line { lost_percent: 4, ..RURAL }, 1);
    println!("{outcome:?}");
    assert!(outcome.used >= 30, "{outcome:?}");
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
            assert!((6_000..=MOST_BYTES + 4_500).contains(&bulk.window()), "{} bytes", bulk.window());
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
