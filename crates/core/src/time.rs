//! Time as the machines know it: two kinds that are never mixed.
//!
//! Timers run on [`Timestamp`], which only goes forward. People, receipts and trails read [`WallTime`], which an
//! administrator or a dead clock battery may move at will: no decision hangs on it.

use std::ops::{Add, Sub};

/// A length of time.
pub type Span = std::time::Duration;

/// Microseconds on a clock that never goes back, from an origin that only its process knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The span since `earlier`, zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Span {
        Span::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, span: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)))
    }
}

/// Microseconds since 1970-01-01 UTC, as some node's clock shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime(pub i64);

impl WallTime {
    /// Whole milliseconds since the epoch, zero before it.
    #[must_use]
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }
}

impl Sub for WallTime {
    type Output = i64;
    /// Microseconds from `earlier` to `self`; negative if the clock went back between the two.
    fn sub(self, earlier: WallTime) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The two clocks, read together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// For timers.
    pub mono: Timestamp,
    /// For people.
    pub wall: WallTime,
}
