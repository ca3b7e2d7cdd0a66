//! A region's figures, on this machine's loopback: what `stored` costs with one node and with three, what a killed node and a lost quorum
//! do to alarms, how soon another node leads, how long a node that was away takes to catch up, and how many alarms a second become durable.
//!
//! Invariants:
//! * Presses of the storms are open-loop: one every 50 ms, whatever became of those before.
//! * Every press is looked for until it is found: one that stays away, or that a screen shows twice, is a fault and fails the bench.

mod cluster;
mod failures;
pub(crate) mod storm;
mod throughput;
mod volume;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::BenchError;
use crate::figures::{Latency, Ratio, Samples};
use crate::foundation::alarms::{Alarms, Round};
use crate::foundation::{build, probe};
use crate::lab::{Lab, Site};
use crate::machine::Machine;
use crate::report::{Format, Report};
use crate::scratch::Scratch;

const PART: &str = "region";
/// Presses before anything is counted.
const WARM_UP: u32 = 20;
/// Syncs of the bare disk before and again after each round, and round trips of the bare loopback before it.
const PROBES: u32 = 50;

/// Arguments of `region`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer rounds, shorter storms: about a minute and a half
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
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    rounds: usize,
    presses: u32,
    round_limit: Duration,
    /// How long one storm lasts.
    storm: Duration,
    /// Entries of the record that a node lacks before it comes back.
    missed: u64,
    /// How long alarms come as fast as they are stored.
    flood: Duration,
}

impl Extent {
    fn new(quick: bool) -> Self {
        let (rounds, presses, missed) = if quick { (2, 100, 10_000) } else { (5, 300, 100_000) };
        let storm = Duration::from_secs(if quick { 5 } else { 10 });
        let flood = Duration::from_secs(if quick { 5 } else { 15 });
        Self { rounds, presses, round_limit: Duration::from_secs(18), storm, missed, flood }
    }
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
    let mut report = Report::new("region", args.quick, Machine::here(scratch.path()));
    report.subjects.push(format!("{} ({})", build::version(&program)?, program.display()));
    let measured = measure(Extent::new(args.quick), &scratch, &program, &mut report);
    report.took_seconds = began.elapsed().as_secs_f64();
    report.print(args.output)?;
    measured?;
    Ok(report.faults.is_empty())
}

fn measure(extent: Extent, scratch: &Scratch, program: &Path, report: &mut Report) -> Result<(), BenchError> {
    if cfg!(debug_assertions) {
        report.notes.push("this is a debug build of the bench".into());
    }
    for nodes in [1, 3] {
        crate::say(&format!("a region of {nodes}: receipts …"));
        let folder = scratch.path().join(format!("of-{nodes}"));
        std::fs::create_dir_all(&folder).map_err(|error| BenchError::answer("the folder", error.to_string()))?;
        let mut lab = Lab::start(program, &folder, &Site::loopback(nodes)?)?;
        cluster::await_sound(&lab)?;
        receipts(extent, scratch, &lab, nodes, report)?;
        if nodes > 1 {
            failures::measure(extent, program, &mut lab, report)?;
        }
        throughput::measure(extent, &folder, &lab, report)?;
        if nodes > 1 {
            // Last: what its flood leaves to be delivered would be there for the others.
            volume::catch_up(extent, program, &folder, &mut lab, report)?;
        }
    }
    report.notes.push(NOTE.to_owned());
    Ok(())
}

/// T5: `stored` at the relay over one round trip and one sync, round by round.
fn receipts(extent: Extent, scratch: &Scratch, lab: &Lab, nodes: usize, report: &mut Report) -> Result<(), BenchError> {
    let mut alarms = Alarms::open(lab)?;
    alarms.round(WARM_UP, extent.round_limit, &mut Round::new())?;
    let (mut rounds, mut appends, mut trips) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..extent.rounds {
        let mut bare = probe::appends(scratch.path(), PROBES, extent.round_limit)?;
        trips.push(probe::round_trips(PROBES)?);
        let mut round = Round::new();
        let went = alarms.round(extent.presses, extent.round_limit, &mut round);
        rounds.push(round);
        went?;
        probe::more_appends(scratch.path(), PROBES, extent.round_limit, &mut bare)?;
        appends.push(bare);
    }
    report.faults.extend(alarms.audit(lab));
    let of = |name: &str, synced, pick: fn(&Round) -> &Samples| {
        let samples: Vec<Samples> = rounds.iter().map(|round| pick(round).clone()).collect();
        Latency::new(PART, format!("{nodes} node(s): {name}"), synced, &samples)
    };
    let stored = of("press → STORED, at the relay's reader", "a majority", |round| &round.stored);
    let inbox = of("press → on the station's disk, at the screen", "station", |round| &round.inbox);
    let arrived = of("raised → at the station, by the nodes' stamps", "nothing", |round| &round.stamped_arrived);
    let append = Latency::new(PART, "the bare disk: append + fdatasync", "the file", &appends);
    let trip = Latency::new(PART, "the bare loopback: UDP there and back", "nothing", &trips);
    if let (Some(stored), Some(append), Some(trip)) = (&stored, &append, &trip) {
        let bare = append.rounds.iter().zip(&trip.rounds).map(|(append, trip)| append.p50_ms + trip.p50_ms);
        let pairs = stored.rounds.iter().map(|round| round.p50_ms).zip(bare);
        let name = format!("{nodes} node(s): press → STORED over one fdatasync + one round trip, p50");
        report.ratios.extend(Ratio::new(&name, Some("T5 ≤ 3"), pairs));
    }
    report.latencies.extend([stored, inbox, arrived, append, trip].into_iter().flatten());
    Ok(())
}

const NOTE: &str = "all processes, and all their disks, are on one machine; times are the bench's own, from before its write to after its read";
