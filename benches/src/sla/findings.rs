//! All that the bench found, and what of the design's targets it says.
//!
//! Invariant: a ratio is taken between two runs of one bench, on lines with the same profile, and is missing where one of the two has no
//! such percentile.

use serde::Serialize;

use super::run::Outcome;
use super::system::System;
use super::tally::Times;
use crate::machine::Machine;

/// The whole of it, as it stands in the JSON file.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    /// The subcommand.
    pub(crate) bench: &'static str,
    /// Whether it was the short one.
    pub(crate) quick: bool,
    /// From which all dice come.
    pub(crate) seed: u64,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// The program that was measured.
    pub(crate) program: String,
    /// How each system was set up.
    pub(crate) settings: Vec<String>,
    /// Every system on every profile.
    pub(crate) outcomes: Vec<Outcome>,
    /// Huxiao on a narrow line: alarms alone, and beside a transfer.
    pub(crate) narrow: Vec<Outcome>,
    /// What else was timed or weighed.
    pub(crate) extras: Vec<Extra>,
    /// The design's targets, by profile.
    pub(crate) verdicts: Vec<Verdict>,
    /// How to read the figures.
    pub(crate) notes: Vec<String>,
    /// What was not measured, and why.
    pub(crate) skipped: Vec<String>,
    /// Alarms that Huxiao lost or showed twice. Anything here fails the bench.
    pub(crate) faults: Vec<String>,
    /// How long it took.
    pub(crate) took_seconds: f64,
}

/// A figure of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Extra {
    /// Of what.
    pub(crate) what: String,
    #[serde(flatten)]
    pub(crate) spread: Spread,
    /// Of what measure.
    pub(crate) unit: &'static str,
}

/// Some samples of one thing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) samples: u64,
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Nothing without samples.
    pub(crate) fn of(mut samples: Vec<f64>) -> Option<Self> {
        samples.sort_by(f64::total_cmp);
        Some(Self {
            samples: u64::try_from(samples.len()).unwrap_or(u64::MAX),
            least: *samples.first()?,
            median: *samples.get(samples.len() / 2)?,
            most: *samples.last()?,
        })
    }
}

/// What the bench says of one target on one profile.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// `T1` and so on.
    pub(crate) target: &'static str,
    /// Where.
    pub(crate) profile: String,
    /// What over what.
    pub(crate) what: String,
    pub(crate) value: f64,
    /// What it must be: at most, or at least. Nothing where the design asks nothing of this profile.
    pub(crate) bound: Option<Bound>,
    /// Whether it is.
    pub(crate) met: Option<bool>,
    /// Of how many samples.
    pub(crate) samples: u64,
}

/// A bound of a target.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Verdict {
    /// Says whether `value` is within `bound`.
    pub(crate) fn new(
        target: &'static str,
        profile: impl Into<String>,
        what: impl Into<String>,
        value: f64,
        bound: Option<Bound>,
        samples: u64,
    ) -> Self {
        let met = bound.map(|bound| match bound {
            Bound::AtMost(most) => value <= most,
            Bound::AtLeast(least) => value >= least,
        });
        Self { target, profile: profile.into(), what: what.into(), value, bound, met, samples }
    }
}

/// T1 to T4 on every profile that was run.
pub(crate) fn verdicts(outcomes: &[Outcome]) -> Vec<Verdict> {
    super::run::profiles(outcomes).into_iter().flat_map(|profile| on(profile, outcomes)).collect()
}

fn on(profile: &'static str, outcomes: &[Outcome]) -> Vec<Verdict> {
    let find = |system| outcomes.iter().find(|outcome| outcome.profile == profile && outcome.system == system);
    let Some(ours) = find(System::Huxiao) else { return Vec::new() };
    let times: Times = ours.figures.times;
    let mut found = Vec::new();
    let mut ratio = |target, what: String, above: Option<f64>, below: Option<f64>, bound| {
        if let Some((above, below)) = above.zip(below).filter(|(_, below)| *below > 0.0) {
            found.push(Verdict::new(target, profile, what, above / below, bound, times.samples));
        }
    };
    let clean = find(System::Clean).and_then(|clean| clean.figures.times.p99_ms);
    let bound = ["rural", "bad"].contains(&profile).then_some(Bound::AtMost(1.0));
    ratio("T1", "p99 of Huxiao over p99 of a single packet without loss".into(), times.p99_ms, clean, bound);
    let peers = [System::Mosquitto, System::Bridge, System::Nats];
    let best = peers.into_iter().filter_map(|peer| Some((peer, find(peer)?.figures.times.p99_ms?)));
    if let Some((peer, p99)) = best.min_by(|(_, a), (_, b)| a.total_cmp(b)) {
        let bound = (profile == "bad").then_some(Bound::AtLeast(15.0));
        ratio(
            "T2",
            format!("p99 of the best of the others ({}) over Huxiao's", peer.title()),
            Some(p99),
            times.p99_ms,
            bound,
        );
    }
    if profile == "lan" {
        let theirs = find(System::Mosquitto).and_then(|peer| peer.figures.times.p99_ms);
        let what = "p99 of Huxiao over p99 of Mosquitto QoS 1".into();
        ratio("T4", what, times.p99_ms, theirs, Some(Bound::AtMost(1.0)));
    }
    if let Some(wait) = ours.after_dark.p99_ms {
        let what = "p99 of the wait after the dark, line's delay not counted, ms";
        let bound = (profile == "outage").then_some(Bound::AtMost(300.0));
        found.push(Verdict::new("T3", profile, what, wait, bound, ours.after_dark.samples));
    }
    found
}

/// Every alarm that Huxiao lost or showed twice.
pub(crate) fn faults(outcomes: &[Outcome]) -> Vec<String> {
    let mut faults = Vec::new();
    for Outcome { profile, figures, .. } in outcomes.iter().filter(|outcome| outcome.system == System::Huxiao) {
        if figures.lost > 0 {
            let all = figures.lost + figures.delivered;
            faults.push(format!(
                "{profile}: {} of {all} alarms had not reached the station when the run ended",
                figures.lost
            ));
        }
        if figures.repeats > 0 {
            faults.push(format!("{profile}: the station showed alarms twice, {} times", figures.repeats));
        }
    }
    faults
}

#[cfg(test)]
pub(crate) mod example {
    //! Findings for tests.

    use super::*;
    use crate::sla::tally::Figures;

    /// A run of 300 presses.
    pub(crate) fn outcome(profile: &'static str, system: System, p99: Option<f64>) -> Outcome {
        let times = Times { samples: 300, p50_ms: Some(1.0), p90_ms: Some(2.0), p99_ms: p99, max_ms: Some(900.0) };
        Outcome {
            profile,
            system,
            figures: Figures { times, delivered: 300, lost: 0, repeats: 0 },
            bytes_per_alarm: 1.0,
            packets_per_alarm: 1.0,
            after_dark: Times::default(),
            waits: Vec::new(),
            alarms: Vec::new(),
            darks: Vec::new(),
            remarks: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::example::outcome;
    use super::*;

    #[test]
    fn ratios_and_their_bounds() {
        let mut outcomes = vec![
            outcome("bad", System::Clean, Some(200.0)),
            outcome("bad", System::Huxiao, Some(250.0)),
            outcome("bad", System::Mosquitto, Some(20_000.0)),
            outcome("bad", System::Nats, Some(5_000.0)),
            outcome("lan", System::Huxiao, Some(1.0)),
            outcome("lan", System::Mosquitto, Some(2.0)),
            outcome("thin", System::Huxiao, None),
            outcome("thin", System::Clean, Some(1.0)),
            outcome("town", System::Nats, Some(1.0)),
        ];
        outcomes[1].after_dark.p99_ms = Some(7.0);
        let found = verdicts(&outcomes);
        let find = |target, profile| found.iter().find(|it| it.target == target && it.profile == profile);
        let value = |target, profile| find(target, profile).map(|it| (it.value, it.met));
        assert_eq!(value("T1", "bad"), Some((1.25, Some(false))));
        assert_eq!(value("T2", "bad"), Some((20.0, Some(true))));
        assert_eq!(value("T3", "bad"), Some((7.0, None)));
        assert_eq!(value("T4", "lan"), Some((0.5, Some(true))));
        assert_eq!(value("T2", "lan"), Some((2.0, None)));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn only_our_losses_and_repeats_are_faults() {
        let mut outcomes = vec![outcome("bad", System::Huxiao, None), outcome("bad", System::Nats, None)];
        outcomes[1].figures.lost = 3;
        assert_eq!(faults(&outcomes), Vec::<String>::new());
        (outcomes[0].figures.lost, outcomes[0].figures.repeats) = (1, 2);
        let faults = faults(&outcomes);
        assert!(faults.len() == 2 && faults[0].contains("1 of 301") && faults[1].contains("2 times"), "{faults:?}");
    }

    #[test]
    fn spreads() {
        assert_eq!(Spread::of(Vec::new()), None);
        assert_eq!(Spread::of(vec![3.0, 1.0, 2.0]), Some(Spread { samples: 3, least: 1.0, median: 2.0, most: 3.0 }));
    }
}
