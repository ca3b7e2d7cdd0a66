//! T10: every school of a region presses within one second, as in a drill of the whole province, and each alarm must be in its station's
//! inbox soon after.
//!
//! The relays are the product's own machine and sessions, all in the process of the bench, which shares the processors with the region; what
//! they would write goes nowhere, since in the field each has a disk of its own. Broker nodes and stations are processes of the real program,
//! with their disks.
//!
//! Invariants:
//! * Presses are open-loop: each is due at its moment in the second, and its time counts from there.
//! * Every alarm that was pressed is looked for until it is found; one that stays away, or that a screen shows twice, is a fault and fails
//!   the bench.

mod fleet;
mod inboxes;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::figures::{Latency, Quantity, Samples};
use crate::foundation::build;
use crate::lab::{Lab, Site};
use crate::machine::Machine;
use crate::report::{Format, Report};
use crate::scratch::Scratch;

const PART: &str = "drill";
/// Broker nodes of the region.
const NODES: usize = 3;
/// How long the last alarm may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments of `drill`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Schools that press, each with a relay
    #[arg(long, default_value_t = 3_000, value_parser = clap::value_parser!(u16).range(1..=9_000))]
    relays: u16,
    /// Stations that answer for them, in turn
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    stations: u16,
    /// The time within which they press, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    within_ms: u64,
    /// How often they all press; the first time warms up and does not count
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(2..=20))]
    rounds: u8,
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

/// Measures and prints. False if an alarm was lost or shown twice.
///
/// # Errors
/// Something could not be measured; what was is printed.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    let began = Instant::now();
    let scratch = Scratch::new(args.dir.as_deref())?;
    let program = match &args.program {
        Some(program) => program.clone(),
        None => build::release()?,
    };
    let program = std::path::absolute(&program).unwrap_or(program);
    let mut report = Report::new("drill", false, Machine::here(scratch.path()));
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

fn measure(args: &Args, scratch: &Scratch, program: &std::path::Path, report: &mut Report) -> Result<(), BenchError> {
    let schools = (0..args.relays).map(|number| (fleet::school(number), number % args.stations));
    let site = Site::loopback(NODES)?;
    let lab = Lab::start_wide(program, scratch.path(), &site, args.stations, schools)?;
    let mut inboxes = inboxes::Inboxes::open(&lab)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = crate::error::Trying::trying(runtime, "start a runtime")?;
    crate::say(&format!("{} relays connect …", args.relays));
    let connecting = Instant::now();
    let fleet = runtime.block_on(fleet::Fleet::connect(&scratch.path().join("relays"), &lab, args.relays))?;
    let connected = connecting.elapsed();
    let within = Duration::from_millis(args.within_ms);
    let mut rounds = Vec::new();
    for round in 0..args.rounds {
        crate::say(&format!("all press, {} of {} …", round + 1, args.rounds));
        let pressed = runtime.block_on(fleet.press(within))?;
        let (samples, faults) = inboxes.await_all(&pressed, PATIENCE);
        report.faults.extend(faults);
        if round > 0 {
            rounds.push(samples);
        }
    }
    let stored = runtime.block_on(fleet.stop());
    figures(args, connected, &rounds, stored, report);
    Ok(())
}

fn figures(args: &Args, connected: Duration, rounds: &[Samples], stored: [u64; 2], report: &mut Report) {
    let name =
        format!("{} schools press within {} ms: press → station's inbox, at the screen", args.relays, args.within_ms);
    report.latencies.extend(Latency::new(PART, name, "station", rounds));
    let mut put = |name: &str, value: f64, unit| {
        report.quantities.push(Quantity { part: PART, name: name.to_owned(), value, unit, target: None });
    };
    put("all relays have two sessions after", connected.as_secs_f64(), "s");
    let [stored, pressed] = stored;
    put("presses whose relay has heard STORED, of all", to_f64(stored) / to_f64(pressed.max(1)) * 100.0, "%");
    report.notes.push(NOTE.to_owned());
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench are exact in an f64")]
fn to_f64(count: u64) -> f64 {
    count as f64
}

const NOTE: &str = "T10: none lost, p99 ≤ 2,000 ms, on 2 cores that also run the load; relays keep nothing on disk here, brokers and stations do";
