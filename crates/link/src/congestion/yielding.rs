//! How much bulk may have under way: as much as fills an idle line, and next to nothing in its queue. Pure.
//!
//! A controller that fills the line's queue until it overflows (Cubic) makes an alarm wait behind all of it: 64 KiB are two
//! seconds at 256 kbit/s. This one is of the kind of LEDBAT (RFC 6817, and draft-irtf-iccrg-ledbat-plus-plus for the fractions and
//! the slowdowns): it compares how long packets take now with how long they took when the line was idle, and holds the difference,
//! which is the queue, below [`TARGET`].
//!
//! RFC 6817 compares minima. Over radio every packet is held up by some tens of milliseconds of its own, the lowest of many by the
//! least of them, and the difference between a minimum over a second and one over minutes would be taken for a queue. So both are
//! the same low quantile of about as many round trips each, and the lowest of those over some minutes stands for the idle line.
//!
//! Invariants:
//!
//! * The window is never below two packets, and a loss or an ever longer queue brings it there in a few round trips.
//! * Memory is bounded, whatever the peer acknowledges.

use std::collections::VecDeque;
use std::time::Instant;

use huxiao_core::Span;

/// The queue that is aimed for, in time.
pub(super) const TARGET: Span = Span::from_millis(15);
/// Packets under way at the beginning, and after a pause.
const INITIAL_PACKETS: u64 = 4;
/// Packets under way at least.
const LEAST_PACKETS: u64 = 2;
/// The most that may be under way: what the other side gives credit for.
const MOST_BYTES: u64 = 4 * 1_024 * 1_024;
/// Round trips that say how the line is now: those of the last two, as many as that are.
const RECENT: usize = 64;
/// The same on a slow line, where so many take longer than a round trip.
const RECENT_LEAST: usize = 4;
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
/// How many times as long as the slowdown itself lie between two slowdowns.
const SLOWDOWN_EVERY: u32 = 9;

/// What a connection's bulk has learnt of its line.
#[derive(Debug, Clone)]
pub(super) struct Yielding {
    mtu: u64,
    window: f64,
    /// Until the first queue or loss the window grows by half in each round trip, up to this.
    slow_start: Option<f64>,
    /// Bytes of the acknowledgements that are being read, if the window was full.
    acked: u64,
    recent: VecDeque<(Instant, Span)>,
    sample: Vec<Span>,
    sample_began: Option<Instant>,
    idle: VecDeque<(Instant, Span)>,
    /// Losses of what was sent before this are one loss.
    recovery: Option<Instant>,
    sent: Option<Instant>,
    slowdown: Slowdown,
}

/// From time to time the window is closed for two round trips, so that the queue runs empty: to see the idle line again, and so that
/// another transfer which began later does not take this one's queue for the line.
#[derive(Debug, Clone, Copy)]
enum Slowdown {
    NotYet,
    At(Instant),
    Closed { since: Instant, until: Instant, window: f64 },
    Reopening { since: Instant },
}

impl Yielding {
    /// Nothing is known of the line.
    pub(super) fn new(mtu: u16) -> Self {
        let mtu = u64::from(mtu);
        Self {
            mtu,
            window: to_f64(INITIAL_PACKETS * mtu),
            slow_start: Some(to_f64(MOST_BYTES)),
            acked: 0,
            recent: VecDeque::new(),
            sample: Vec::new(),
            sample_began: None,
            idle: VecDeque::new(),
            recovery: None,
            sent: None,
            slowdown: Slowdown::NotYet,
        }
    }

    /// How many bytes may be under way.
    pub(super) fn window(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is between the least and the most"
        )]
        let window = self.window as u64;
        window.clamp(LEAST_PACKETS * self.mtu, MOST_BYTES)
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
            self.slow_start = Some(to_f64(MOST_BYTES));
            self.slowdown = Slowdown::NotYet;
            self.recent.clear();
        }
        self.sent = Some(now);
    }

    /// A packet was acknowledged. `limited`: by what there was to send, not by the window.
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
        if self.slow_down(now, rtt) {
            return;
        }
        let Some(idle) = self.idle_line() else { return };
        let queue = low(self.recent.iter().map(|(_, took)| *took)).map_or(Span::ZERO, |now| now.saturating_sub(idle));
        let over = queue.as_secs_f64() / TARGET.as_secs_f64();
        if let Some(threshold) = self.slow_start {
            if over > 0.75 || self.window >= threshold {
                self.leave_slow_start(now);
            } else {
                self.window += acked / 2.0;
            }
        } else if over <= 1.0 {
            // A quarter of a packet in each round trip or, on a fast line where that is nothing, what lengthens the queue by a quarter
            // of the target.
            let quick = self.window * TARGET.as_secs_f64() / 4.0 / rtt.as_secs_f64().max(0.001);
            self.window += acked / self.window * (1.0 - over) * quick.max(to_f64(self.mtu) / 4.0);
        } else {
            self.window -= acked * ((over - 1.0) / 2.0).min(0.5);
        }
        self.bound();
    }

    /// A packet that left at `sent` was lost.
    pub(super) fn on_loss(&mut self, now: Instant, sent: Instant, persistent: bool) {
        if self.recovery.is_some_and(|recovery| sent <= recovery) {
            return;
        }
        self.recovery = Some(now);
        self.window = if persistent { 0.0 } else { self.window / 2.0 };
        self.bound();
        if self.slow_start.is_some() {
            self.leave_slow_start(now);
        }
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

    fn leave_slow_start(&mut self, now: Instant) {
        self.slow_start = None;
        self.slowdown = match self.slowdown {
            // The first one comes soon: what slow start has left in the queue was taken for the line.
            Slowdown::NotYet => Slowdown::At(now),
            Slowdown::Reopening { since } => now
                .checked_add(now.saturating_duration_since(since) * SLOWDOWN_EVERY)
                .map_or(Slowdown::NotYet, Slowdown::At),
            other => other,
        };
    }

    /// Closes and reopens the window when its time has come. Whether it is closed.
    fn slow_down(&mut self, now: Instant, rtt: Span) -> bool {
        match self.slowdown {
            Slowdown::At(at) if at <= now => {
                if let Some(until) = now.checked_add(rtt * 2) {
                    self.slowdown = Slowdown::Closed { since: now, until, window: self.window };
                }
                self.window = 0.0;
                self.bound();
                true
            }
            Slowdown::Closed { since, until, window } if until <= now => {
                self.slowdown = Slowdown::Reopening { since };
                self.slow_start = Some(window);
                self.recent.clear();
                false
            }
            Slowdown::Closed { .. } => true,
            Slowdown::NotYet | Slowdown::At(_) | Slowdown::Reopening { .. } => false,
        }
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

#[expect(clippy::cast_precision_loss, reason = "windows are megabytes at the most")]
fn to_f64(bytes: u64) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests;
