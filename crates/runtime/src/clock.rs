//! The one place where a clock is read.
//!
//! Invariant: the monotonic half never goes back and is not moved by whoever sets the wall clock. It counts on
//! [`tokio::time::Instant`], so a test that pauses tokio's time pauses the machines with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use huxiao_core::{Now, Span, Timestamp, WallTime};
use tokio::time::Instant;

/// Reads both clocks for a machine. Cheap to clone; clones agree.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Instant,
    wall_offset_micros: Arc<AtomicI64>,
}

impl Clock {
    /// The clocks of this computer.
    #[must_use]
    pub fn system() -> Self {
        Self::with_wall_offset(0)
    }

    /// The clocks of a computer whose wall clock is wrong by `micros` (positive: ahead), as a gatehouse's with a dead battery.
    #[must_use]
    pub fn with_wall_offset(micros: i64) -> Self {
        Self { origin: Instant::now(), wall_offset_micros: Arc::new(AtomicI64::new(micros)) }
    }

    /// Sets the wall clock of this and all its clones forward (or, negative, back), as somebody with a watch in his hand does.
    pub fn step_wall(&self, micros: i64) {
        self.wall_offset_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Both clocks, read together.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { mono: self.timestamp(), wall: self.wall() }
    }

    /// The clock for timers.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        Timestamp(u64::try_from(self.origin.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The clock for people.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        let micros = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
        };
        WallTime(micros.saturating_add(self.wall_offset_micros.load(Ordering::Relaxed)))
    }

    /// The instant at which [`Clock::timestamp`] will have reached `at`; capped at thirty years, since tokio's timer has an end.
    #[must_use]
    pub fn instant(&self, at: Timestamp) -> Instant {
        const FAR: u64 = 30 * 365 * 86_400 * 1_000_000;
        self.origin + Span::from_micros(at.0.min(FAR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn timers_follow_the_monotonic_clock_and_people_the_offset_one() {
        let right = Clock::system();
        let wrong = Clock::with_wall_offset(-3_600_000_000);
        tokio::time::advance(Span::from_millis(1_500)).await;
        assert_eq!(right.timestamp(), Timestamp(1_500_000));
        assert_eq!(wrong.timestamp(), Timestamp(1_500_000));
        let behind = right.wall() - wrong.wall();
        assert!((3_599_000_000..=3_601_000_000).contains(&behind), "{behind}");
        assert_eq!(right.instant(Timestamp(2_000_000)) - Instant::now(), Span::from_millis(500));
        assert!(right.instant(Timestamp(u64::MAX)) > Instant::now());

        let clone = wrong.clone();
        clone.step_wall(3_600_000_000);
        let behind = right.wall() - wrong.wall();
        assert!((-1_000_000..=1_000_000).contains(&behind), "{behind}");
        assert_eq!(wrong.timestamp(), Timestamp(1_500_000), "timers do not move");
    }
}
