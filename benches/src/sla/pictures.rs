//! The bench's pictures: how long the slowest alarms take, for each line; and on a line with dark times, press by press.
//!
//! Invariant: an alarm that never came is never left out in silence: its curve ends before it, or it is a cross at the top, and the legend
//! counts it.

use super::plot::{Axis, Chart, Series, Style};
use super::run::Outcome;
use super::system::System;

/// Every picture with its file's name.
pub(crate) fn all(outcomes: &[Outcome]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for profile in super::run::profiles(outcomes) {
        let of: Vec<&Outcome> = outcomes.iter().filter(|outcome| outcome.profile == profile).collect();
        files.push((format!("percentiles-{profile}.svg"), percentiles(profile, &of).svg()));
        if of.iter().any(|outcome| !outcome.darks.is_empty()) {
            files.push((format!("timeline-{profile}.svg"), timeline(profile, &of).svg()));
        }
    }
    files
}

/// Colours that stay apart for eyes that tell few of them (Okabe and Ito, 2008).
fn colour(system: System) -> &'static str {
    match system {
        System::Clean => "#000000",
        System::Bare => "#999999",
        System::Huxiao => "#d55e00",
        System::Mosquitto => "#0072b2",
        System::Bridge => "#56b4e9",
        System::Nats => "#009e73",
        System::Quic => "#cc79a7",
    }
}

fn style(system: System) -> Style {
    match system {
        System::Clean | System::Bare => Style::Dashed(1.5),
        System::Huxiao => Style::Line(3.0),
        _ => Style::Line(1.8),
    }
}

fn name(outcome: &Outcome) -> String {
    let lost = outcome.figures.lost;
    let title = outcome.system.title();
    if lost > 0 { format!("{title} ({lost} lost)") } else { title.to_owned() }
}

fn sorted(outcome: &Outcome) -> Vec<f64> {
    let mut times: Vec<f64> = outcome.alarms.iter().filter_map(|alarm| alarm.took_ms).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Latency by percentile. The horizontal axis counts nines, so that the tail has the room.
fn percentiles(profile: &str, outcomes: &[&Outcome]) -> Chart {
    let series = |outcome: &&Outcome| {
        let all = outcome.alarms.len() as f64;
        let points = sorted(outcome).into_iter().zip(0_u32..);
        let points = points.map(|(ms, rank)| (nines((f64::from(rank) + 0.5) / all), ms.log10()));
        Series {
            name: name(outcome),
            colour: colour(outcome.system),
            style: style(outcome.system),
            points: points.collect(),
            beyond: Vec::new(),
        }
    };
    let most = outcomes.iter().map(|outcome| outcome.alarms.len()).max().unwrap_or(0).max(10) as f64;
    let shares = [0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999];
    let end = nines(1.0 - 0.5 / most);
    let ticks = shares.into_iter().filter(|share| nines(*share) <= end);
    let presses = outcomes.iter().filter(|outcome| outcome.system.promises()).map(|outcome| outcome.alarms.len()).max();
    Chart {
        title: format!("{profile}: press → police side, {} presses for each system", presses.unwrap_or(0)),
        x: Axis {
            title: "share of alarms that were at least as fast".into(),
            range: (0.0, end),
            ticks: ticks.map(|share| (nines(share), format!("{} %", (share * 1e4).round() / 1e2))).collect(),
        },
        y: Axis::times("time (log scale)", outcomes.iter().flat_map(|outcome| sorted(outcome))),
        bands: Vec::new(),
        band_name: String::new(),
        series: drawn_last(outcomes).iter().map(series).collect(),
    }
}

/// 0.9 is 1, 0.99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// Huxiao over the others, the bare line below.
fn drawn_last<'a>(outcomes: &[&'a Outcome]) -> Vec<&'a Outcome> {
    let mut outcomes = outcomes.to_vec();
    outcomes.sort_by_key(|outcome| (outcome.system == System::Huxiao, outcome.system));
    outcomes
}

/// Latency press by press, with the dark times shaded.
fn timeline(profile: &str, outcomes: &[&Outcome]) -> Chart {
    let outcomes: Vec<&Outcome> = outcomes.iter().copied().filter(|outcome| outcome.system.promises()).collect();
    let series = |outcome: &&Outcome| Series {
        name: name(outcome),
        colour: colour(outcome.system),
        style: Style::Dots(if outcome.system == System::Huxiao { 2.6 } else { 1.8 }),
        points: outcome.alarms.iter().filter_map(|alarm| Some((alarm.pressed_s, alarm.took_ms?.log10()))).collect(),
        beyond: outcome.alarms.iter().filter(|alarm| alarm.took_ms.is_none()).map(|alarm| alarm.pressed_s).collect(),
    };
    let presses = outcomes.iter().flat_map(|outcome| outcome.alarms.iter().map(|alarm| alarm.pressed_s));
    let end = (presses.fold(1.0, f64::max) / 10.0).ceil() * 10.0;
    let step = if end > 240.0 { 60.0 } else { 30.0 };
    let ticks = std::iter::successors(Some(0.0), |at| Some(at + step)).take_while(|at| *at <= end);
    let longest = outcomes.iter().map(|outcome| &outcome.darks).max_by_key(|darks| darks.len());
    Chart {
        title: format!("{profile}: each press, press → police side"),
        x: Axis {
            title: "pressed at, s".into(),
            range: (0.0, end),
            ticks: ticks.map(|at| (at, format!("{at}"))).collect(),
        },
        y: Axis::times("time (log scale)", outcomes.iter().flat_map(|outcome| sorted(outcome))),
        bands: longest.into_iter().flatten().filter(|[from, _]| *from < end).map(|[from, to]| (*from, *to)).collect(),
        band_name: "line dark".into(),
        series: drawn_last(&outcomes).iter().map(series).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sla::run::Alarm;
    use crate::sla::tally::{Figures, Times};

    fn outcome(system: System, took: &[Option<f64>], darks: Vec<[f64; 2]>) -> Outcome {
        let alarms =
            took.iter().zip(0_u32..).map(|(took_ms, n)| Alarm { pressed_s: f64::from(n) * 10.0, took_ms: *took_ms });
        let lost = took.iter().filter(|took| took.is_none()).count() as u64;
        Outcome {
            profile: "outage",
            system,
            figures: Figures { times: Times::default(), delivered: 0, lost, repeats: 0 },
            bytes_per_alarm: 0.0,
            packets_per_alarm: 0.0,
            after_dark: Times::default(),
            waits: Vec::new(),
            alarms: alarms.collect(),
            darks,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn curves_end_before_what_never_came() {
        let ours = outcome(System::Huxiao, &[Some(100.0), Some(10.0), None, Some(1_000.0)], Vec::new());
        let theirs = outcome(System::Nats, &[Some(10.0); 4], Vec::new());
        let chart = percentiles("outage", &[&ours, &theirs]);
        let last = chart.series.last().unwrap();
        assert_eq!((last.name.as_str(), last.points.len()), ("Huxiao (1 lost)", 3));
        assert!((last.points[0].1 - 1.0).abs() < 1e-9 && (last.points[2].1 - 3.0).abs() < 1e-9);
        assert!((last.points[2].0 - nines(0.625)).abs() < 1e-9);
        assert!((nines(0.99) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_timeline_shades_the_dark_and_marks_what_never_came() {
        let ours = outcome(System::Huxiao, &[Some(100.0), None, Some(100.0)], vec![[5.0, 15.0]]);
        let bare = outcome(System::Bare, &[Some(100.0)], Vec::new());
        let files = all(&[bare.clone(), ours.clone()]);
        assert_eq!(
            files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["percentiles-outage.svg", "timeline-outage.svg"]
        );
        let chart = timeline("outage", &[&bare, &ours]);
        assert_eq!((chart.series.len(), chart.bands.len()), (1, 1));
        assert_eq!((chart.series[0].points.len(), chart.series[0].beyond.as_slice()), (2, &[10.0][..]));
    }
}
