//! The figures of the README, in one run on one machine: the way of one alarm beside Mosquitto, the store beside what it stands on, calls
//! between the nodes of a region, and what a relay costs that has nothing to do.
//!
//! Invariant: whatever goes wrong in one part, what the others found is printed.

pub(crate) mod alarms;
pub(crate) mod build;
mod idle;
pub(crate) mod loopback;
pub(crate) mod mosquitto;
mod peers;
pub(crate) mod probe;
mod store;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::figures::Quantity;
use crate::machine::Machine;
use crate::report::{Format, Report};
use crate::scratch::Scratch;

/// Arguments of `foundation`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds and samples: at most a minute instead of three, builds not counted
    #[arg(long)]
    quick: bool,
    /// How the figures are shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
    /// Measure this huxiao program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Write below this folder, whose disk is measured; cargo's target folder otherwise
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Build a fully static program too and tell its size (takes minutes)
    #[arg(long)]
    static_build: bool,
    /// Build from nothing and tell the time (takes minutes)
    #[arg(long)]
    clean_build: bool,
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Rounds of each comparison.
    pub(crate) rounds: usize,
    /// Presses of a round, and messages of a round of Mosquitto.
    pub(crate) presses: u32,
    /// Single commits of a round.
    pub(crate) commits: u32,
    /// Commits of a round that are kept in flight together.
    pub(crate) in_flight: u32,
    /// How long a relay is watched that has nothing to do.
    pub(crate) idle: Duration,
    /// One measurement of single or grouped commits ends after this, with fewer samples: disks differ a hundredfold.
    pub(crate) commit_limit: Duration,
    /// One side's part of a round of alarms ends after this.
    pub(crate) round_limit: Duration,
    /// No new round of the store begins after this.
    pub(crate) store_until: Instant,
    /// No new round at all begins after this.
    pub(crate) until: Instant,
}

impl Extent {
    fn new(quick: bool, began: Instant) -> Self {
        let idle = Duration::from_secs(10);
        let seconds = |s| began + Duration::from_secs(s);
        if quick {
            let (store_until, until) = (seconds(10), seconds(44));
            let (commit_limit, round_limit) = (Duration::from_millis(1_500), Duration::from_secs(8));
            let (rounds, presses, commits, in_flight) = (3, 100, 300, 6_400);
            Self { rounds, presses, commits, in_flight, idle, commit_limit, round_limit, store_until, until }
        } else {
            let (store_until, until) = (seconds(40), seconds(140));
            let (commit_limit, round_limit) = (Duration::from_secs(3), Duration::from_secs(18));
            let (rounds, presses, commits, in_flight) = (7, 300, 1_000, 19_200);
            Self { rounds, presses, commits, in_flight, idle, commit_limit, round_limit, store_until, until }
        }
    }
}

/// Measures and prints. False if an alarm was lost or came twice.
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
    let mut report = Report::new("foundation", args.quick, Machine::here(scratch.path()));
    let measured = measure(args, &Extent::new(args.quick, began), &scratch, program, &mut report);
    report.took_seconds = began.elapsed().as_secs_f64();
    report.print(args.output)?;
    measured?;
    Ok(report.faults.is_empty())
}

fn measure(
    args: &Args,
    extent: &Extent,
    scratch: &Scratch,
    program: PathBuf,
    report: &mut Report,
) -> Result<(), BenchError> {
    if cfg!(debug_assertions) {
        report.notes.push("this is a debug build: the store's figures are not those of the product".into());
    }
    if report.machine.is_in_memory() {
        report.notes.push("the folder is in memory: syncs cost nothing here; name one on a disk with --dir".into());
    }
    let program = std::path::absolute(&program).unwrap_or(program);
    report.subjects.push(format!("{} ({})", build::version(&program)?, program.display()));
    crate::say("the store …");
    let stored = store::measure(extent, scratch, report);
    crate::say("calls between nodes …");
    let called = peers::measure(extent, scratch, report);
    crate::say("an idle relay, then the way of an alarm …");
    let carried = loopback::measure(extent, scratch, &program, report);
    size(report, "program as built", &program);
    if args.static_build {
        crate::say("a fully static build …");
        size(report, "program, fully static (crt-static)", &build::fully_static(scratch)?);
    } else {
        report.skipped.push("the fully static program (--static-build)".into());
    }
    if args.clean_build {
        crate::say("a build from nothing …");
        let value = build::from_nothing(scratch)?.as_secs_f64();
        let name = "cargo build --release -p huxiao, from nothing".to_owned();
        report.quantities.push(Quantity { part: "build", name, value, unit: "s", target: None });
    } else {
        report.skipped.push("the time of a build from nothing (--clean-build)".into());
    }
    stored.and(called).and(carried)
}

#[expect(clippy::cast_precision_loss, reason = "a program's size is exact in an f64")]
fn size(report: &mut Report, name: &str, program: &std::path::Path) {
    let Ok(bytes) = std::fs::metadata(program).map(|meta| meta.len()) else { return };
    let value = bytes as f64 / f64::from(1 << 20);
    let target = Some("T12 ≤ 30 MiB");
    report.quantities.push(Quantity { part: "size", name: name.to_owned(), value, unit: "MiB", target });
}
