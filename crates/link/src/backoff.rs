//! How long to wait before the next dial. Pure: the seed is given, nothing is read.
//!
//! Invariant: a delay lies between half and one and a half of the first at the beginning and of the last at the end ([`FIRST`] and
//! [`LAST`] for sessions), so a fleet that lost the same broker at the same instant does not come back at one instant.

use huxiao_core::{Rng, Span};

/// Around this long before the second attempt.
pub(crate) const FIRST: Span = Span::from_millis(100);
/// Around this long between attempts in the end.
pub(crate) const LAST: Span = Span::from_secs(5);
/// A session that lived this long was a success. One that ended sooner was taken and thrown out again, and is redialled no
/// faster than one that never came up.
pub(crate) const PROVEN_AFTER: Span = Span::from_secs(5);
/// How far a delay is moved either way, in percent.
const JITTER_PERCENT: u32 = 50;

/// The delays of one dialler.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Span,
    last: Span,
    next: Span,
    rng: Rng,
}

impl Backoff {
    /// A dialler that has not failed yet. Diallers of one fleet need different seeds.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::between(FIRST, LAST, seed)
    }

    /// The same with delays from around `first` to around `last`.
    pub(crate) fn between(first: Span, last: Span, seed: u64) -> Self {
        Self { first, last, next: first, rng: Rng::new(seed) }
    }

    /// How long to wait now. Doubles with each call until [`Backoff::reset`].
    pub fn delay(&mut self) -> Span {
        let around = self.next;
        self.next = (around * 2).min(self.last);
        self.rng.jitter(around, JITTER_PERCENT)
    }

    /// A session has lived: begin from the start.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_to_the_cap_and_stay_within_the_jitter() {
        for seed in 0..100 {
            let mut backoff = Backoff::new(seed);
            for around in [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000] {
                let delay = backoff.delay();
                let around = Span::from_millis(around);
                assert!(delay >= around / 2 && delay <= around * 3 / 2, "{delay:?} is not around {around:?}");
            }
        }
    }

    #[test]
    fn a_success_begins_from_the_start() {
        let mut backoff = Backoff::new(7);
        for _ in 0..9 {
            backoff.delay();
        }
        backoff.reset();
        assert!(backoff.delay() <= FIRST * 3 / 2);
    }

    #[test]
    fn a_fleet_does_not_come_back_at_one_instant() {
        let mut delays: Vec<_> = (0..1_000).map(|seed| Backoff::new(seed).delay()).collect();
        delays.sort();
        let busiest =
            delays.iter().map(|at| delays.iter().filter(|d| d >= &at && **d < *at + Span::from_millis(5)).count());
        assert!(busiest.max() < Some(100), "more than a tenth of the fleet within 5 ms of 100");
    }
}
