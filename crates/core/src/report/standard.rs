//! How quick is quick enough: limits, and whether they were met.
//!
//! A limit says by when how many of all alarms must have come so far. It is met by share and not by a quantile, so that what never came is
//! counted too.

use super::Measure;
use crate::time::Span;

/// Which limits hold: those for the lines that a region's schools have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standard {
    /// Round trips up to 30 ms, hardly any loss.
    #[default]
    Good,
    /// Mobile or slow lines: round trips of 80 to 200 ms, some loss.
    Rural,
}

/// So many of all alarms must come so far within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// What is measured.
    pub measure: Measure,
    /// How long it may take.
    pub within: Span,
    /// For how many of a thousand.
    pub per_mille: usize,
    /// Whether it is a bound that rules and standards set, rather than an aim of our own.
    pub hard: bool,
}

const fn aim(measure: Measure, millis: u64, per_mille: usize) -> Limit {
    Limit { measure, within: Span::from_millis(millis), per_mille, hard: false }
}

const fn bound(measure: Measure, millis: u64, per_mille: usize) -> Limit {
    Limit { measure, within: Span::from_millis(millis), per_mille, hard: true }
}

const GOOD: [Limit; 14] = [
    aim(Measure::Stored, 90, 500),
    aim(Measure::Stored, 200, 950),
    aim(Measure::Stored, 300, 990),
    aim(Measure::Stored, 700, 999),
    aim(Measure::Displayed, 150, 500),
    aim(Measure::Displayed, 300, 950),
    aim(Measure::Displayed, 500, 990),
    aim(Measure::Displayed, 1_000, 999),
    bound(Measure::Displayed, 2_000, 999),
    bound(Measure::Displayed, 10_000, 1_000),
    aim(Measure::Answer, 5_000, 500),
    aim(Measure::Answer, 15_000, 950),
    aim(Measure::Answer, 30_000, 990),
    aim(Measure::Answer, 60_000, 999),
];
const RURAL: [Limit; 13] = [
    aim(Measure::Stored, 350, 500),
    aim(Measure::Stored, 800, 950),
    aim(Measure::Stored, 1_200, 990),
    aim(Measure::Stored, 3_500, 999),
    aim(Measure::Displayed, 450, 500),
    aim(Measure::Displayed, 1_000, 950),
    aim(Measure::Displayed, 2_000, 990),
    aim(Measure::Displayed, 5_000, 999),
    bound(Measure::Displayed, 10_000, 1_000),
    aim(Measure::Answer, 8_000, 500),
    aim(Measure::Answer, 20_000, 950),
    aim(Measure::Answer, 30_000, 990),
    aim(Measure::Answer, 60_000, 999),
];

impl Standard {
    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Standard::Good => "good",
            Standard::Rural => "rural",
        }
    }

    /// What it is called for people: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Standard::Good => ("良好线路", "good lines"),
            Standard::Rural => ("农村线路", "rural lines"),
        }
    }

    /// Its limits, by measure and rising.
    #[must_use]
    pub fn limits(self) -> &'static [Limit] {
        match self {
            Standard::Good => &GOOD,
            Standard::Rural => &RURAL,
        }
    }
}

/// A limit, and how many alarms kept to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    /// The limit.
    pub limit: Limit,
    /// Alarms that kept to it.
    pub within: usize,
    /// Alarms that can be judged: those whose time is known, and those that never came so far.
    pub of: usize,
}

impl Judgement {
    /// How far these alarms kept to `limit`: what was measured in ascending order, and how many never came so far.
    pub(super) fn of(limit: Limit, ascending: &[Span], never: usize) -> Self {
        let within = ascending.partition_point(|span| *span <= limit.within);
        Self { limit, within, of: ascending.len() + never }
    }

    /// Whether it was met; `None` if there is nothing to judge.
    #[must_use]
    pub fn met(&self) -> Option<bool> {
        (self.of > 0).then_some(self.within * 1_000 >= self.limit.per_mille * self.of)
    }

    /// The share that kept to it, from 0 to 1; `None` if there is nothing to judge.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of alarms are far below 2^52")]
    pub fn share(&self) -> Option<f64> {
        (self.of > 0).then(|| self.within as f64 / self.of as f64)
    }
}
