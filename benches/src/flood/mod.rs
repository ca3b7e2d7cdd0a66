//! A thousand person warnings a second beside one panic alarm every now and then: the alarm must not be the slower for it.
//!
//! In each round presses are measured from the button to the first screen three times: without warnings, with all warnings at relays of
//! other schools, and with all of them at the very relay of the button. All schools have the same station, so that the screen is shared too.
//!
//! Warnings are above the plan's threshold and each is of another person, so that a relay takes every one of them. It raises ten at once and
//! one a second as events of their own, and tells of the rest in their counts (limits of the product, not of the bench): so what reaches the
//! region is some events a second, and what the flood loads is the relays, their disks, and here the processors that all share.
//!
//! Invariants:
//! * Presses and warnings are open-loop: each is due at its moment, and its time counts from there.
//! * Every press is looked for until it is found, and every warning that a relay has taken must be in the count of an event on the screen;
//!   what stays away, or an alarm that is shown twice, is a fault and fails the bench.

mod screen;
mod warnings;

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::figures::{Latency, Quantity, Rate, Ratio, Round, Samples};
use crate::foundation::build;
use crate::http::Connection;
use crate::lab::{Lab, Site};
use crate::machine::Machine;
use crate::region::storm::Storm;
use crate::report::{Format, Report, number};
use crate::scratch::Scratch;
use screen::Screen;
use warnings::{SYSTEMS, Tally, Warnings};

const PART: &str = "flood";
/// Broker nodes of the region.
const NODES: usize = 3;
/// The school of the button, and one for each recognition system.
const SCHOOLS: u16 = 1 + SYSTEMS;
/// What an alarm may take beside the flood, over what it takes without.
const ALLOWED: f64 = 1.2;
const TARGET: &str = "≤ 1.2";
/// Presses before anything is counted.
const WARM_UP: Duration = Duration::from_secs(2);
/// After a flood, until the last of what joined has been told of: a relay raises one event a second.
const SETTLE: Duration = Duration::from_millis(2_500);
/// How long the plan, and the last warning, may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Arguments of `flood`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer and shorter rounds: less than a minute instead of three
    #[arg(long)]
    quick: bool,
    /// Person warnings a second, at all relays together
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    warnings: u32,
    /// How the figures are shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
    /// Measure this huxiao program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Write below this folder, whose disk is measured; cargo's target folder otherwise
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

/// Beside what the presses are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Calm,
    Elsewhere,
    Here,
}

impl Phase {
    const ALL: [Phase; 3] = [Phase::Calm, Phase::Elsewhere, Phase::Here];

    fn words(self) -> &'static str {
        ["no warnings", "warnings at other schools", "warnings at the same school"][self as usize]
    }
}

/// What was measured in one phase, round by round.
#[derive(Default)]
struct Measured {
    presses: Vec<Samples>,
    /// From a warning's moment to its answer.
    answers: Vec<Samples>,
    /// How many warnings were answered in what time.
    rates: Vec<(u32, Duration)>,
}

/// Measures and prints. False if an alarm was lost or shown twice, or a warning was lost.
///
/// # Errors
/// Something could not be measured; what was is printed.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    let scratch = Scratch::new(args.dir.as_deref())?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build::release()?,
    };
    let began = Instant::now();
    let program = std::path::absolute(&program).unwrap_or(program);
    let mut report = Report::new("flood", args.quick, Machine::here(scratch.path()));
    report.subjects.push(format!("{} ({})", build::version(&program)?, program.display()));
    if cfg!(debug_assertions) {
        report.notes.push("this is a debug build of the bench".into());
    }
    let measured = measure(args, &scratch, &program, &mut report);
    report.took_seconds = began.elapsed().as_secs_f64();
    report.print(args.output)?;
    measured?;
    Ok(report.faults.is_empty())
}

fn measure(args: &Args, scratch: &Scratch, program: &Path, report: &mut Report) -> Result<(), BenchError> {
    let (rounds, span) = if args.quick { (2, Duration::from_secs(4)) } else { (4, Duration::from_secs(9)) };
    let lab = Lab::start_many(program, scratch.path(), &Site::loopback(NODES)?, SCHOOLS, &warnings::rules())?;
    let here = vec![lab.relay()];
    let elsewhere: Vec<&str> = lab.other_relays().collect();
    here.iter().chain(&elsewhere).try_for_each(|relay| await_plan(relay))?;
    let screen = Screen::open(lab.station())?;
    let (mut pressed, mut tally) = (0, Tally::default());
    let mut measured: [Measured; 3] = std::array::from_fn(|_| Measured::default());
    press(&lab, &mut pressed, WARM_UP, "warm-up", report)?;
    for round in 1..=rounds {
        for (phase, of) in Phase::ALL.into_iter().zip(&mut measured) {
            crate::say(&format!("round {round} of {rounds}: {} …", phase.words()));
            let relays = match phase {
                Phase::Calm => None,
                Phase::Elsewhere => Some(&elsewhere),
                Phase::Here => Some(&here),
            };
            let warnings = relays.map(|relays| Warnings::begin(relays, args.warnings)).transpose()?;
            of.presses.push(press(&lab, &mut pressed, span, phase.words(), report)?);
            if let Some(warnings) = warnings {
                let (answered, took) = warnings.end()?;
                of.rates.push((u32::try_from(answered.answered()).unwrap_or(u32::MAX), took));
                of.answers.push(answered.took.clone());
                tally.add(&answered);
                thread::sleep(SETTLE);
            }
        }
    }
    let told = await_told(&screen, tally.taken());
    figures(args, &measured, report);
    account(&tally, told, report);
    Ok(())
}

/// Presses at the usual pace for `span`. From each press to the first screen.
fn press(
    lab: &Lab,
    pressed: &mut usize,
    span: Duration,
    what: &str,
    report: &mut Report,
) -> Result<Samples, BenchError> {
    let outcome = Storm::begin(lab, *pressed, span)?.end(what, false)?;
    *pressed += outcome.pressed;
    report.faults.extend(outcome.faults);
    let mut samples = Samples::new();
    outcome.shown.into_iter().for_each(|took| samples.record(took));
    Ok(samples)
}

/// Waits until a relay goes by the plan of its school: until then it would take any warning.
fn await_plan(relay: &str) -> Result<(), BenchError> {
    let began = Instant::now();
    while Connection::open(relay)?.ask("GET", "/v1/plan", "")?.status != 200 {
        if began.elapsed() > PATIENCE {
            return Err(BenchError::Late { what: format!("{relay} has its plan"), seconds: PATIENCE.as_secs() });
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Waits until the screen has been told of so many warnings. How many events it was told, and of how many warnings.
fn await_told(screen: &Screen, taken: u64) -> (u64, u64) {
    let began = Instant::now();
    loop {
        let told = screen.told();
        if told.1 >= taken || began.elapsed() > PATIENCE {
            return told;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

type Pick = fn(&Round) -> f64;

fn figures(args: &Args, measured: &[Measured; 3], report: &mut Report) {
    let latency = |phase: Phase| {
        let name = format!("press → first screen, {}", phase.words());
        Latency::new(PART, name, "nothing surely", &measured[phase as usize].presses)
    };
    let [calm, elsewhere, here] = Phase::ALL.map(latency);
    for (phase, flooded) in [(Phase::Elsewhere, &elsewhere), (Phase::Here, &here)] {
        let quantiles: [(&str, Pick); 2] = [("p50", |round| round.p50_ms), ("p99", |round| round.p99_ms)];
        for (name, pick) in quantiles {
            let what = format!("press → first screen, {name}: {} over none", phase.words());
            let Some(ratio) = Ratio::of_times(&what, Some(TARGET), flooded.as_ref(), calm.as_ref(), pick) else {
                continue;
            };
            report.notes.push(verdict(&ratio));
            report.ratios.push(ratio);
        }
        let of = &measured[phase as usize];
        let rate = Rate::new(PART, format!("{}, answered", phase.words()), "relay, but for what joined", &of.rates);
        if rate.as_ref().is_some_and(|rate| rate.per_second < 0.95 * f64::from(args.warnings)) {
            report.notes.push(format!("{}: the relays took fewer than {} a second", phase.words(), args.warnings));
        }
        report.rates.extend(rate);
    }
    report.latencies.extend([calm, elsewhere, here].into_iter().flatten());
    for phase in [Phase::Elsewhere, Phase::Here] {
        let name = format!("warning → answer, {}", phase.words());
        report.latencies.extend(Latency::new(
            PART,
            name,
            "relay, but for what joined",
            &measured[phase as usize].answers,
        ));
    }
    report.notes.push(format!(
        "{SCHOOLS} relays, {NODES} broker nodes, one station, and the bench on one machine; {} warnings a second by {SYSTEMS} connections",
        args.warnings
    ));
}

fn verdict(ratio: &Ratio) -> String {
    let word = if ratio.median <= ALLOWED { "met" } else { "MISSED" };
    format!("{} = {} ({TARGET}): {word}", ratio.name, number(ratio.median))
}

/// What became of the warnings.
fn account(tally: &Tally, (events, told): (u64, u64), report: &mut Report) {
    let mut put = |name: &str, count: u64| {
        let (name, value) = (name.to_owned(), to_f64(count));
        report.quantities.push(Quantity { part: PART, name, value, unit: "", target: None });
    };
    put("warnings answered", tally.answered());
    put("of these taken as events of their own", tally.apart);
    put("of these taken into the count of another", tally.joined);
    put("of these held back by the plan", tally.withheld);
    put("of these told to come later (429)", tally.slowed);
    put("of these refused for want of room or else", tally.refused);
    put("events of them on the screen", events);
    put("warnings that these events stand for", told);
    if told != tally.taken() {
        report.faults.push(format!("{} warnings were taken, and the screen was told of {told}", tally.taken()));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are exact in an f64")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_judged_and_a_lost_warning_is_a_fault() {
        let ratio = |value: f64| Ratio::new("r", Some(TARGET), std::iter::once((value, 1.0))).unwrap();
        assert!(verdict(&ratio(1.2)).ends_with(": met") && verdict(&ratio(1.3)).ends_with(": MISSED"));
        let mut report = Report::new("flood", true, Machine::here(Path::new("/")));
        let tally = Tally { apart: 3, joined: 7, ..Tally::default() };
        account(&tally, (4, 10), &mut report);
        assert_eq!(report.faults, Vec::<String>::new());
        account(&tally, (4, 9), &mut report);
        assert_eq!(report.faults.len(), 1);
    }
}
