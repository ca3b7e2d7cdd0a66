//! How much bulk may have under way: as much as fills an idle line, and next to nothing in its queue. Pure.
//!
//! A controller that fills the line's queue until it overflows (Cubic) makes an alarm wait behind all of it: 64 KiB are two
//! seconds at 256 kbit/s. This one is of the kind of LEDBAT (RFC 6817, and draft-irtf-iccrg-ledbat-plus-plus for the
//! fractions): it compares how long packets take now with how long they took when the line was idle, and holds the difference,
//! which is the queue, below [`TARGET`].
//!
//! RFC 6817 compares minima. Over radio every packet is held up by some tens of milliseconds of its own, the lowest of many by the
//! least of them, and the difference between a minimum over a second and one over minutes would be taken for a queue. So both are
//! the same low quantile of about as many round trips each, and the lowest of those over some minutes stands for the idle line.
//!
//! What is allowed is not sent in one go, and not in whole packets where those are long: see [`Yielding::turn`]. Otherwise two packets
//! would leave for each acknowledgement, and 2,400 bytes before an alarm are 75 ms at 256 kbit/s.
//!
//! Invariants:
//!
//! * The window is never below two packets, and a loss or an ever longer queue brings it there in a few round trips.
//! * Memory is bounded, whatever the peer acknowledges.

use std::collections::VecDeque;
use std::time::Instant;

use huxiao_core::Span;

/// The queue that is aimed for, in time.
pub(super) const TARGET: Span = Span::from_millis(10);
/// Packets under way at the beginning, and after a pause.
const INITIAL_PACKETS: u64 = 4;
/// What a loss leaves of the window. Over radio most losses say nothing of a queue.
const AFTER_LOSS: f64 = 0.7;
/// Packets under way at least.
const LEAST_PACKETS: u64 = 2;
/// What a slow line is sent at a time. Headers are a tenth of such packets; whole ones (1,200 bytes) are 37 ms at 256 kbit/s.
const TURN_BYTES: u64 = 560;
/// Turns are no closer than this, which is a few ticks of the timer; they are longer instead.
const TURN_GAP: Span = Span::from_millis(4);
/// The share of what the window allows that turns make use of. What has to wait in the connection would leave in whole packets, two at a
/// time.
const PACE: f64 = 0.9;
/// The most that may be under way: what the other side gives credit for.
const MOST_BYTES: u64 = 4 * 1_024 * 1_024;
/// Round trips that say how the line is now: those of the last two, as many as that are.
const RECENT: usize = 64;
/// The same on a slow line, where so many take longer than a round trip.
const RECENT_LEAST: usize = 8;
/// Round trips that say how the line was: at least so many, of one second at least. On a fast line the quantile of more is the better
/// known, and there are no more of them to take the lowest of.
const SAMPLE: (usize, Span) = (32, Span::from_secs(1));
/// More than this are not kept.
const SAMPLE_MOST: usize = 256;
/// For so long the idle line is remembered, in slots of [`SLOT`]. A route that became longer looks like a queue until then.
const SLOTS: usize = 10;
/// See [`SLOTS`].
const SLOT: Span = Span::from_secs(30);
/// After this long without anything to send, what was learnt of the window is old.
const PAUSE: Span = Span::from_secs(1);

/// What a connection's bulk has learnt of its line.
#[derive(Debug, Clone)]
pub(super) struct Yielding {
    mtu: u64,
    window: f64,
    /// Until the first queue or loss the window grows by half in each round trip.
    slow_start: bool,
    /// Bytes of the acknowledgements that are being read, if the window was full.
    acked: u64,
    recent: VecDeque<(Instant, Span)>,
    sample: Vec<Span>,
    sample_began: Option<Instant>,
    idle: VecDeque<(Instant, Span)>,
    /// Losses of what was sent before this are one loss.
    recovery: Option<Instant>,
    sent: Option<Instant>,
}

impl Yielding {
    /// Nothing is known of the line.
    pub(super) fn new(mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            window: to_f64(INITIAL_PACKETS * mtu),
            slow_start: true,
            acked: 0,
            recent: VecDeque::new(),
            sample: Vec::new(),
            sample_began: None,
            idle: VecDeque::new(),
            recovery: None,
            sent: None,
        }
    }

    /// How many bytes may be under way. quinn lets a packet go only if there is room for a whole one, so there is room for one more; what
    /// is sent is governed by [`Yielding::turn`].
    pub(super) fn window(&self) -> u64 {
        whole(self.window).clamp(LEAST_PACKETS * self.mtu, MOST_BYTES) + 3 * self.mtu
    }

    /// How many bytes are to be written at a time, and how long until the next ones, where a round trip takes about `rtt`.
    pub(super) fn turn(&self, rtt: Span) -> (usize, Span) {
        let a_second = PACE * self.window / rtt.as_secs_f64().max(0.001);
        let bytes = whole(a_second * TURN_GAP.as_secs_f64()).max(TURN_BYTES);
        let gap = to_f64(bytes) / a_second.max(1.0);
        (usize::try_from(bytes).unwrap_or(usize::MAX), Span::from_secs_f64(gap))
    }

    /// The window that a connection begins with.
    pub(super) fn initial_window(&self) -> u64 {
        INITIAL_PACKETS * self.mtu
    }

    /// Packets have another size from now on.
    pub(super) fn on_mtu(&mut self, mtu: u16) {
        self.mtu = u64::from(mtu);
    }

    /// Something was sent.
    pub(super) fn on_sent(&mut self, now: Instant) {
        let pause = self.sent.map_or(Span::ZERO, |sent| now.saturating_duration_since(sent));
        if pause > PAUSE {
            self.window = self.window.min(to_f64(self.initial_window()));
            self.slow_start = true;
            self.recent.clear();
        }
        self.sent = Some(now);
    }

    /// A packet was acknowledged. `limited`: by what there was to send, neither by the window nor by the turns.
    pub(super) fn on_ack(&mut self, bytes: u64, limited: bool) {
        if !limited {
            self.acked = self.acked.saturating_add(bytes);
        }
    }

    /// That was all that one packet acknowledged. A round trip takes about `rtt`, and the last one took `took`: the time by which the
    /// receiver put off its acknowledgement is no part of it.
    pub(super) fn on_end_acks(&mut self, now: Instant, rtt: Span, took: Option<Span>) {
        let acked = to_f64(std::mem::take(&mut self.acked));
        if let Some(took) = took {
            self.remember(now, took, rtt);
        }
        let Some(idle) = self.idle_line() else { return };
        let queue = low(self.recent.iter().map(|(_, took)| *took)).map_or(Span::ZERO, |now| now.saturating_sub(idle));
        let over = queue.as_secs_f64() / TARGET.as_secs_f64();
        if self.slow_start {
            if over > 0.75 {
                self.slow_start = false;
            } else {
                self.window += acked / 2.0;
            }
        } else if over <= 1.0 {
            // A tenth of a packet in each round trip or, on a fast line where that is nothing, what lengthens the queue by a quarter
            // of the target.
            let quick = self.window * TARGET.as_secs_f64() / 4.0 / rtt.as_secs_f64().max(0.001);
            self.window += acked / self.window * (1.0 - over) * quick.max(to_f64(self.mtu) / 10.0);
        } else {
            self.window -= acked * ((over - 1.0) / 4.0).min(0.5);
        }
        self.bound();
    }

    /// A packet that left at `sent` was lost.
    pub(super) fn on_loss(&mut self, now: Instant, sent: Instant, persistent: bool) {
        if self.recovery.is_some_and(|recovery| sent <= recovery) {
            return;
        }
        self.recovery = Some(now);
        self.window = if persistent { 0.0 } else { self.window * AFTER_LOSS };
        self.bound();
        self.slow_start = false;
    }

    fn remember(&mut self, now: Instant, took: Span, rtt: Span) {
        self.recent.push_back((now, took));
        let old = |at: Instant| now.saturating_duration_since(at) > rtt * 2;
        while self.recent.len() > RECENT
            || (self.recent.len() > RECENT_LEAST && self.recent.front().is_some_and(|(at, _)| old(*at)))
        {
            self.recent.pop_front();
        }
        if self.sample.len() < SAMPLE_MOST {
            self.sample.push(took);
        }
        let began = *self.sample_began.get_or_insert(now);
        if self.sample.len() < SAMPLE.0 || now.saturating_duration_since(began) < SAMPLE.1 {
            return;
        }
        self.sample_began = None;
        let Some(sampled) = low(self.sample.drain(..)) else { return };
        match self.idle.back_mut().filter(|(began, _)| now.saturating_duration_since(*began) < SLOT) {
            Some((_, lowest)) => *lowest = sampled.min(*lowest),
            None => self.idle.push_back((now, sampled)),
        }
        if self.idle.len() > SLOTS {
            self.idle.pop_front();
        }
    }

    /// How long a round trip takes over the idle line.
    fn idle_line(&self) -> Option<Span> {
        let of_sample =
            low(self.sample.iter().copied()).filter(|_| self.sample.len() >= SAMPLE.0 || self.idle.is_empty());
        self.idle.iter().map(|(_, lowest)| *lowest).chain(of_sample).min()
    }

    fn bound(&mut self) {
        self.window = self.window.clamp(to_f64(LEAST_PACKETS * self.mtu), to_f64(MOST_BYTES));
    }
}

/// A low quantile: about the fifth part is below it, however many there are.
fn low(spans: impl Iterator<Item = Span>) -> Option<Span> {
    let mut spans: Vec<_> = spans.collect();
    spans.sort_unstable();
    let at = spans.len().saturating_sub(1) / 4;
    spans.get(at).copied()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "windows are megabytes at the most, and not negative"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}

#[expect(clippy::cast_precision_loss, reason = "windows are megabytes at the most")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
