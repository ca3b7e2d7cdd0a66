//! What became of each alarm of a run, and the figures that this comes to.
//!
//! Invariant: an alarm that never came counts as slower than all that did, so that losing an alarm makes no percentile better.

use std::time::{Duration, Instant};

use serde::Serialize;

/// An alarm at the police side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrival {
    /// Its number.
    pub(crate) number: u32,
    /// When it was there.
    pub(crate) at: Instant,
}

/// Presses and arrivals of one run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// When alarm i + 1 was pressed.
    pressed: Vec<Instant>,
    /// When it came first.
    arrived: Vec<Option<Instant>>,
    /// How often an alarm came again.
    repeats: u64,
}

impl Tally {
    /// Takes presses in, whose alarms are numbered on from those before, the first being 1.
    pub(crate) fn pressed(&mut self, at: &[Instant]) {
        self.pressed.extend(at);
        self.arrived.resize(self.arrived.len().max(self.pressed.len()), None);
    }

    /// The number of the next press.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.pressed.len() + 1).unwrap_or(u32::MAX)
    }

    /// Takes an arrival in; it may be told before its press is.
    pub(crate) fn arrived(&mut self, arrival: Arrival) {
        let Some(at) = usize::try_from(arrival.number).ok().and_then(|number| number.checked_sub(1)) else { return };
        if at >= self.arrived.len() {
            self.arrived.resize(at + 1, None);
        }
        match &mut self.arrived[at] {
            Some(_) => self.repeats += 1,
            first => *first = Some(arrival.at),
        }
    }

    /// Whether every press so far has arrived.
    pub(crate) fn is_complete(&self) -> bool {
        self.arrived.iter().take(self.pressed.len()).all(Option::is_some)
    }

    /// Press and arrival of each alarm.
    pub(crate) fn alarms(&self) -> impl Iterator<Item = (Instant, Option<Instant>)> {
        self.pressed.iter().copied().zip(self.arrived.iter().copied())
    }

    /// How long each alarm took.
    pub(crate) fn latencies(&self) -> Vec<Option<Duration>> {
        self.alarms().map(|(pressed, arrived)| Some(arrived?.saturating_duration_since(pressed))).collect()
    }

    /// What it comes to.
    pub(crate) fn figures(&self) -> Figures {
        let times = self.latencies();
        let delivered = times.iter().flatten().count();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        Figures {
            times: Times::of(&times),
            delivered: count(delivered),
            lost: count(times.len() - delivered),
            repeats: self.repeats,
        }
    }
}

/// What a run comes to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figures {
    #[serde(flatten)]
    pub(crate) times: Times,
    /// Alarms that came.
    pub(crate) delivered: u64,
    /// Alarms that had not come when the run ended.
    pub(crate) lost: u64,
    /// How often an alarm came again after the first time.
    pub(crate) repeats: u64,
}

/// Percentiles in milliseconds by nearest rank; nothing where the rank falls on an alarm that never came, or without samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub(crate) struct Times {
    /// Of how many alarms.
    pub(crate) samples: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p90_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
    /// Of those that came.
    pub(crate) max_ms: Option<f64>,
}

impl Times {
    /// Of these latencies; nothing stands for one that never came.
    pub(crate) fn of(times: &[Option<Duration>]) -> Self {
        let mut came: Vec<f64> = times.iter().flatten().map(Duration::as_secs_f64).map(|s| s * 1e3).collect();
        came.sort_by(f64::total_cmp);
        let rank = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            came.get(rank - 1).copied()
        };
        Self {
            samples: u64::try_from(times.len()).unwrap_or(u64::MAX),
            p50_ms: rank(50),
            p90_ms: rank(90),
            p99_ms: rank(99),
            max_ms: came.last().copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn percentiles_by_nearest_rank() {
        let times: Vec<_> = (1..=300).map(|n| Some(n * MS)).collect();
        let times = Times::of(&times);
        assert_eq!((times.samples, times.p50_ms, times.p90_ms), (300, Some(150.0), Some(270.0)));
        assert_eq!((times.p99_ms, times.max_ms), (Some(297.0), Some(300.0)));
        let one = Times::of(&[Some(5 * MS)]);
        assert_eq!((one.p50_ms, one.p99_ms), (Some(5.0), Some(5.0)));
        assert_eq!(Times::of(&[]), Times::default());
    }

    #[test]
    fn a_lost_alarm_is_slower_than_all() {
        let mut times: Vec<_> = (1..=98).map(|n| Some(n * MS)).collect();
        times.splice(0..0, [None, None]);
        let times = Times::of(&times);
        assert_eq!((times.p50_ms, times.p90_ms), (Some(50.0), Some(90.0)));
        assert_eq!((times.p99_ms, times.max_ms), (None, Some(98.0)));
    }

    #[test]
    fn arrivals_meet_their_presses_in_any_order() {
        let began = Instant::now();
        let mut tally = Tally::default();
        assert_eq!(tally.next(), 1);
        let arrive = |tally: &mut Tally, number, ms| tally.arrived(Arrival { number, at: began + ms * MS });
        arrive(&mut tally, 2, 30);
        arrive(&mut tally, 0, 31);
        tally.pressed(&[began, began + 10 * MS, began + 20 * MS]);
        assert_eq!(tally.next(), 4);
        arrive(&mut tally, 1, 40);
        arrive(&mut tally, 1, 50);
        assert!(!tally.is_complete());
        let figures = tally.figures();
        assert_eq!((figures.delivered, figures.lost, figures.repeats), (2, 1, 1));
        assert_eq!(tally.latencies(), [Some(40 * MS), Some(20 * MS), None]);
        arrive(&mut tally, 3, 60);
        assert!(tally.is_complete());
        assert_eq!(tally.figures().times.max_ms, Some(40.0));
    }
}
