//! How often a PIN may be tried: a few times at once, then after a pause that doubles.
//!
//! Invariant: however it is asked, no more than [`limits::PIN_TRIES`] wrong PINs are judged without a pause of at least
//! [`limits::PIN_PAUSE`] between two of those that follow.

use crate::limits;
use crate::time::{Span, Timestamp};

/// The tries of one relay since its last right one.
#[derive(Debug, Clone, Copy, Default)]
pub struct PinTries {
    wrong: u32,
    until: Timestamp,
}

impl PinTries {
    /// For how long nothing is judged; `None` if a PIN may be tried now.
    #[must_use]
    pub fn locked(&self, now: Timestamp) -> Option<Span> {
        (self.until > now).then(|| self.until.since(now))
    }

    /// A right PIN came.
    pub fn right(&mut self) {
        *self = Self::default();
    }

    /// A wrong one came.
    pub fn wrong(&mut self, now: Timestamp) {
        self.wrong = self.wrong.saturating_add(1);
        if let Some(beyond) = self.wrong.checked_sub(limits::PIN_TRIES) {
            let pause = limits::PIN_PAUSE.saturating_mul(1 << beyond.min(16));
            self.until = now + pause.min(limits::PIN_PAUSE_LONGEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guessing_is_slow_and_a_right_one_ends_that() {
        let (mut tries, mut now) = (PinTries::default(), Timestamp(0));
        for _ in 0..limits::PIN_TRIES {
            assert_eq!(tries.locked(now), None);
            tries.wrong(now);
        }
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = tries.locked(now).unwrap();
            pauses.push(pause);
            now = now + pause;
            assert_eq!(tries.locked(now), None);
            tries.wrong(now);
        }
        assert!(pauses.is_sorted() && pauses[0] == limits::PIN_PAUSE && pauses[7] == limits::PIN_PAUSE_LONGEST);
        tries.right();
        tries.wrong(now);
        assert_eq!(tries.locked(now), None);
    }
}
