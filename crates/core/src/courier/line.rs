//! One line's budget of alarm copies: a token bucket, in bytes.
//!
//! Copies draw on it until a reserve is left. The reserve is for the instant at which a line that was dead shows life: what is pending
//! goes out then, and dead copies must not have spent that. First copies of an alarm may draw it into debt.
//!
//! Invariant: over any span, copies and flushes together are at most the burst and the rate times the span.

use crate::limits;
use crate::time::{Span, Timestamp};

/// Tokens that repeats leave untouched.
const RESERVE: i64 = limits::COPY_BURST_BYTES as i64 / 3;
/// How far first copies may draw on tokens that are still to come.
const DEBT: i64 = limits::COPY_BURST_BYTES as i64;

/// What a copy is sent for, which decides how much of the budget it may touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The item has never been sent.
    First,
    /// The line has shown life, or is new.
    Flush,
    /// It is time.
    Repeat,
}

/// The budget of one line. Counts in millionths of a byte, so that no span is too short to count.
#[derive(Debug, Clone)]
pub(super) struct Line {
    rate: u32,
    micro_tokens: i64,
    at: Timestamp,
}

const MICRO: i64 = 1_000_000;

impl Line {
    /// A line whose budget is full, of `rate` bytes a second.
    pub(super) fn new(now: Timestamp, rate: u32) -> Self {
        Self { rate: rate.max(1), micro_tokens: i64::from(limits::COPY_BURST_BYTES) * MICRO, at: now }
    }

    /// Lets the time pass.
    pub(super) fn refill(&mut self, now: Timestamp) {
        let micros = i64::try_from(now.since(self.at).as_micros()).unwrap_or(i64::MAX);
        self.at = self.at.max(now);
        let full = i64::from(limits::COPY_BURST_BYTES) * MICRO;
        self.micro_tokens = self.micro_tokens.saturating_add(micros.saturating_mul(i64::from(self.rate))).min(full);
    }

    fn floor(purpose: Purpose, bytes: u32) -> i64 {
        match purpose {
            Purpose::First => 1,
            Purpose::Flush => i64::from(bytes),
            Purpose::Repeat => i64::from(bytes) + RESERVE,
        }
    }

    /// Whether a copy of `bytes` may go now.
    pub(super) fn allows(&self, purpose: Purpose, bytes: u32) -> bool {
        self.micro_tokens >= Self::floor(purpose, bytes) * MICRO
    }

    /// A copy goes.
    pub(super) fn spend(&mut self, bytes: u32) {
        self.micro_tokens = (self.micro_tokens - i64::from(bytes) * MICRO).max(-DEBT * MICRO);
    }

    /// When a copy of `bytes` may go, if none goes before.
    pub(super) fn ready_at(&self, purpose: Purpose, bytes: u32) -> Timestamp {
        let short = Self::floor(purpose, bytes) * MICRO - self.micro_tokens;
        let micros = u64::try_from(short).unwrap_or(0).div_ceil(u64::from(self.rate));
        self.at + Span::from_micros(micros)
    }
}
