//! Samples become figures: percentiles of each round, medians over the rounds, ratios within a round.
//!
//! Invariant: a ratio is taken between two figures of one round and only then summed up, so that the noise of a shared machine, which
//! comes and goes, meets both sides.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest time that is told apart from longer ones.
const CEILING: Duration = Duration::from_secs(600);

/// The samples of one round.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Option<Histogram<u64>>);

impl Default for Samples {
    fn default() -> Self {
        Self::new()
    }
}

impl Samples {
    /// No samples.
    pub(crate) fn new() -> Self {
        let ceiling = u64::try_from(CEILING.as_nanos()).unwrap_or(u64::MAX);
        // Three figures from 1 ns to the ceiling: bounds that the histogram takes (tested).
        Self(Histogram::new_with_bounds(1, ceiling, 3).ok())
    }

    /// Takes one in.
    pub(crate) fn record(&mut self, took: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    /// Takes those of another one in.
    pub(crate) fn add(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.0, &other.0) {
            // Both have the same bounds, so that each value of one has its place in the other.
            let _ = histogram.add(other);
        }
    }

    /// What they come to; nothing without samples.
    pub(crate) fn round(&self) -> Option<Round> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        Some(Round {
            samples: histogram.len(),
            p50_ms: ms(histogram.value_at_quantile(0.50)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "nanoseconds of a short time are exact in an f64")]
fn ms(nanos: u64) -> f64 {
    nanos as f64 / 1e6
}

/// What the samples of one round come to, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Round {
    pub(crate) samples: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) max_ms: f64,
}

/// A time that was measured in several rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Latency {
    /// The part of the bench.
    pub(crate) part: &'static str,
    /// From where to where.
    pub(crate) name: String,
    /// What is on stable storage at its end.
    pub(crate) synced: &'static str,
    /// Samples of all rounds.
    pub(crate) samples: u64,
    /// The median of the rounds' medians.
    pub(crate) p50_ms: f64,
    /// The median of the rounds' 99th percentiles.
    pub(crate) p99_ms: f64,
    /// The slowest of all.
    pub(crate) max_ms: f64,
    /// Round by round.
    pub(crate) rounds: Vec<Round>,
}

impl Latency {
    /// Sums the rounds up; nothing if none has a sample.
    pub(crate) fn new(
        part: &'static str,
        name: impl Into<String>,
        synced: &'static str,
        rounds: &[Samples],
    ) -> Option<Self> {
        let rounds: Vec<Round> = rounds.iter().filter_map(Samples::round).collect();
        let of = |pick: fn(&Round) -> f64| median(rounds.iter().map(pick).collect());
        Some(Self {
            part,
            name: name.into(),
            synced,
            samples: rounds.iter().map(|round| round.samples).sum(),
            p50_ms: of(|round| round.p50_ms)?,
            p99_ms: of(|round| round.p99_ms)?,
            max_ms: rounds.iter().map(|round| round.max_ms).fold(0.0, f64::max),
            rounds,
        })
    }
}

/// A rate that was measured in several rounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Rate {
    /// The part of the bench.
    pub(crate) part: &'static str,
    /// What was done.
    pub(crate) name: String,
    /// What is on stable storage when one counts as done.
    pub(crate) synced: &'static str,
    /// How many were done, in all rounds.
    pub(crate) samples: u64,
    /// The median of the rounds.
    pub(crate) per_second: f64,
    /// Round by round.
    pub(crate) rounds: Vec<f64>,
}

impl Rate {
    /// Sums the rounds up: how many in what time.
    pub(crate) fn new(
        part: &'static str,
        name: impl Into<String>,
        synced: &'static str,
        rounds: &[(u32, Duration)],
    ) -> Option<Self> {
        let rates: Vec<f64> = rounds.iter().map(|(count, took)| f64::from(*count) / took.as_secs_f64()).collect();
        let samples = rounds.iter().map(|(count, _)| u64::from(*count)).sum();
        Some(Self { part, name: name.into(), synced, samples, per_second: median(rates.clone())?, rounds: rates })
    }
}

/// A single figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Quantity {
    /// The part of the bench.
    pub(crate) part: &'static str,
    /// What.
    pub(crate) name: String,
    /// How much.
    pub(crate) value: f64,
    /// Of what.
    pub(crate) unit: &'static str,
    /// The target of the design, if it has one.
    pub(crate) target: Option<&'static str>,
}

/// One figure over another, taken round by round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Ratio {
    /// What over what.
    pub(crate) name: String,
    /// The median of the rounds' ratios.
    pub(crate) median: f64,
    /// The smallest and the greatest.
    pub(crate) low: f64,
    /// See [`low`](Self::low).
    pub(crate) high: f64,
    /// In how many rounds.
    pub(crate) rounds: usize,
    /// The target of the design, if it has one.
    pub(crate) target: Option<&'static str>,
}

impl Ratio {
    /// Divides round by round. Nothing if a side has no rounds.
    pub(crate) fn new(
        name: &str,
        target: Option<&'static str>,
        pairs: impl Iterator<Item = (f64, f64)>,
    ) -> Option<Self> {
        let ratios: Vec<f64> = pairs.filter(|(_, below)| *below > 0.0).map(|(above, below)| above / below).collect();
        Some(Self {
            name: name.to_owned(),
            median: median(ratios.clone())?,
            low: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            high: ratios.iter().copied().fold(0.0, f64::max),
            rounds: ratios.len(),
            target,
        })
    }

    /// Of two times, by `pick`.
    pub(crate) fn of_times(
        name: &str,
        target: Option<&'static str>,
        above: Option<&Latency>,
        below: Option<&Latency>,
        pick: fn(&Round) -> f64,
    ) -> Option<Self> {
        let (above, below) = (above?.rounds.iter().map(pick), below?.rounds.iter().map(pick));
        Self::new(name, target, above.zip(below))
    }

    /// Of two rates.
    pub(crate) fn of_rates(name: &str, above: Option<&Rate>, below: Option<&Rate>) -> Option<Self> {
        Self::new(name, None, above?.rounds.iter().copied().zip(below?.rounds.iter().copied()))
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = *values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(millis: impl Iterator<Item = u64>) -> Samples {
        let mut samples = Samples::new();
        millis.for_each(|millis| samples.record(Duration::from_millis(millis)));
        samples
    }

    fn near(have: f64, want: f64) {
        assert!((have - want).abs() <= want * 0.002, "{have} is not {want}");
    }

    #[test]
    fn medians_over_rounds_and_the_slowest_of_all() {
        let rounds = [samples(1..=100), samples((1..=100).map(|n| n * 10)), samples((1..=100).map(|n| n * 2))];
        let latency = Latency::new("part", "name", "nothing", &rounds).unwrap();
        assert_eq!((latency.samples, latency.rounds.len()), (300, 3));
        near(latency.p50_ms, 100.0);
        near(latency.p99_ms, 198.0);
        near(latency.max_ms, 1_000.0);
        assert_eq!(Latency::new("part", "name", "nothing", &[Samples::new()]), None);
    }

    #[test]
    fn times_beyond_the_ceiling_are_kept_at_it() {
        let mut samples = Samples::new();
        samples.record(Duration::from_secs(6_000));
        near(samples.round().unwrap().max_ms, 600_000.0);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        let slow = [samples(std::iter::once(10)), samples(std::iter::once(1_000)), samples(std::iter::once(30))];
        let fast = [samples(std::iter::once(5)), samples(std::iter::once(500)), samples(std::iter::once(10))];
        let of = |rounds| Latency::new("part", "name", "nothing", rounds);
        let ratio = Ratio::of_times("r", None, of(&slow).as_ref(), of(&fast).as_ref(), |r| r.p99_ms).unwrap();
        near(ratio.median, 2.0);
        near(ratio.high, 3.0);
        near(ratio.low, 2.0);
        assert_eq!(ratio.rounds, 3);
        assert_eq!(Ratio::of_times("r", None, of(&slow).as_ref(), None, |r| r.p50_ms), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0]), Some(3.0));
        assert_eq!(median(vec![9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn rates() {
        let rounds = [(100, Duration::from_secs(1)), (100, Duration::from_millis(500)), (90, Duration::from_secs(3))];
        let rate = Rate::new("part", "name", "nothing", &rounds).unwrap();
        near(rate.per_second, 100.0);
        assert_eq!(rate.samples, 290);
    }
}
