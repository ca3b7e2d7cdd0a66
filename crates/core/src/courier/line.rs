//! One line's budget of alarm copies: a token bucket, in bytes.
//!
//! Copies draw on it until a reserve is left. The reserve is for the instant at which a line that was dead shows life: what is pending
//! goes out then, and dead copies must not have spent that. First copies of an alarm may draw it into debt.
//!
//! A line that turns out to be slower than its budget (answers take much longer than they did at their best, though nothing was silent)
//! gets a smaller one, and grows back while answers come quickly: on 32 kbit/s the schedule stretches instead of choking the line.
//!
//! Invariant: over any span, copies and flushes together are at most the burst, a third of it for those that are overdue, and the rate
//! times the span; and the burst once more for each time that everybody had fallen silent and somebody else was found.

use crate::limits;
use crate::time::{Span, Timestamp};

/// The least that a slow line's budget shrinks to, in bytes a second.
const LEAST_RATE: u32 = 1_000;

/// What a copy is sent for, which decides how much of the budget it may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The item has never been sent.
    First,
    /// The line has shown life, or is new.
    Flush,
    /// It is time.
    Repeat,
    /// It has been time for long, and first copies took all there was.
    Overdue,
}

/// The budget of one line. Counts in millionths of a byte, so that no span is too short to count.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// What it may have at most.
    full_rate: u32,
    /// Below this it grows back quickly: it carried that much without a queue.
    proven_rate: u32,
    rate: u32,
    micro_tokens: i64,
    at: Timestamp,
}

const MICRO: i64 = 1_000_000;

/// The burst of a line of this rate, which must let one whole copy pass.
fn burst(rate: u32) -> i64 {
    let share = i64::from(rate) * i64::from(limits::COPY_BURST_BYTES) / i64::from(limits::COPY_BYTES_PER_SECOND);
    share.max(limits::EVENT_BYTES as i64 + 512)
}

impl Line {
    /// A line whose budget is full, of `rate` bytes a second.
    pub(super) fn new(now: Timestamp, rate: u32) -> Self {
        let rate = rate.max(1);
        Self { full_rate: rate, proven_rate: rate, rate, micro_tokens: burst(rate) * MICRO, at: now }
    }

    /// Lets the time pass.
    pub(super) fn refill(&mut self, now: Timestamp) {
        let micros = i64::try_from(now.since(self.at).as_micros()).unwrap_or(i64::MAX);
        self.at = self.at.max(now);
        let full = burst(self.rate) * MICRO;
        self.micro_tokens = self.micro_tokens.saturating_add(micros.saturating_mul(i64::from(self.rate))).min(full);
    }

    /// It was proven to carry just now: what was spent on those who are dead is given back.
    pub(super) fn replenish(&mut self) {
        self.micro_tokens = burst(self.rate) * MICRO;
    }

    /// Nothing is known of it but that it may be thin: it begins with a quarter, and grows slowly.
    pub(super) fn careful(&mut self) {
        self.congested();
        self.congested();
        self.proven_rate = self.rate;
    }

    /// Answers take much longer than they could: what is sent stands in a queue.
    pub(super) fn congested(&mut self) {
        self.proven_rate = (self.rate / 4 * 3).max(LEAST_RATE.min(self.full_rate));
        self.rate = (self.rate / 2).max(LEAST_RATE.min(self.full_rate));
        self.micro_tokens = self.micro_tokens.min(burst(self.rate) * MICRO);
    }

    /// An answer came quickly.
    pub(super) fn flowing(&mut self) {
        let step = if self.rate < self.proven_rate { self.rate / 8 } else { self.rate / 64 };
        self.rate = (self.rate + step).min(self.full_rate);
    }

    /// Tokens that must be there; repeats leave a third of the burst for the others.
    fn floor(&self, purpose: Purpose, bytes: u32) -> i64 {
        match purpose {
            Purpose::First => 1,
            Purpose::Flush => i64::from(bytes),
            Purpose::Overdue => i64::from(bytes) - burst(self.rate) / 3,
            Purpose::Repeat => (i64::from(bytes) + burst(self.rate) / 3).min(burst(self.rate)),
        }
    }

    /// Whether a copy of `bytes` may go now.
    pub(super) fn allows(&self, purpose: Purpose, bytes: u32) -> bool {
        self.micro_tokens >= self.floor(purpose, bytes) * MICRO
    }

    /// A copy goes.
    pub(super) fn spend(&mut self, bytes: u32) {
        // First copies may draw on as much again as the burst.
        self.micro_tokens = (self.micro_tokens - i64::from(bytes) * MICRO).max(-burst(self.rate) * MICRO);
    }

    /// When a copy of `bytes` may go, if none goes before.
    pub(super) fn ready_at(&self, purpose: Purpose, bytes: u32) -> Timestamp {
        let short = self.floor(purpose, bytes) * MICRO - self.micro_tokens;
        let micros = u64::try_from(short).unwrap_or(0).div_ceil(u64::from(self.rate));
        self.at + Span::from_micros(micros)
    }
}
