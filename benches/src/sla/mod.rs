//! The latency that one can promise: every system on every kind of line, pressed at the same instants, beside the bare line itself.
//!
//! Invariants:
//! * All systems meet the same presses, at the same instants, on lines with the same profile and the same seed, in one run of the bench.
//! * Times are from before the press to the arrival at the police side, on one clock. Nobody waits with the next press.
//! * Whatever goes wrong with one system, what the others did is shown.

mod bulk;
mod bytes;
mod findings;
mod line;
mod pictures;
mod plot;
mod presses;
mod restart;
mod run;
mod system;
mod table;
mod tally;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use huxiao_benches::emulator::{Emulator, Profile};

use self::findings::Findings;
use self::presses::Schedule;
use self::run::{Order, Outcome};
use self::system::System;
use crate::error::{BenchError, Trying};
use crate::foundation::build;
use crate::machine::Machine;
use crate::report::{self, Format};
use crate::scratch::{Scratch, target_dir};

/// One press in this time, on all lines but `lan`.
const EVERY: Duration = Duration::from_millis(1_500);
/// One press in this time on `lan`, where a system presses while the others rest.
const EVERY_ON_LAN: Duration = Duration::from_millis(100);
/// Rounds of `lan`: in each, all systems take their turn.
const LAN_ROUNDS: u32 = 3;
/// Single packets for each press: the tail of the line itself is to be known better than that of any system.
const PACKETS_PER_PRESS: u32 = 5;
/// Lines with dice of their own for each system on each profile in a full run: on one line, a few bad seconds make the whole tail of
/// a system in which one alarm waits for another.
const LINES: u32 = 2;
/// Presses of a full run, and of a quick one.
const PRESSES: u32 = 300;
const QUICK_PRESSES: u32 = 60;

/// What can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One building, nothing lost
    Lan,
    /// A town's wired line
    Town,
    /// A village's 4G
    Rural,
    /// The edge of a cell: one packet in six lost
    Bad,
    /// As rural, and dark for 8 s of every 60 s
    Outage,
    /// 32 kbit/s
    Thin,
    /// Alarms beside 5 MB of other events on a line of 256 kbit/s
    Bulk,
    /// Bytes of one alarm on a line that loses nothing
    Bytes,
    /// From the relay's start, and from the loss of its line's mapping, to an alarm at the station
    Restart,
}

/// Arguments of `sla`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Fewer presses, and of the lines only lan, rural, bad and outage: at most four minutes, builds not counted
    #[arg(long)]
    quick: bool,
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,..")]
    only: Vec<Part>,
    /// Only these systems
    #[arg(long, value_enum, value_delimiter = ',', value_name = "SYSTEM,..")]
    systems: Vec<System>,
    /// Presses of each system on each line
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    presses: Option<u32>,
    /// Lines of each profile, on which a system presses at the same time and whose alarms are counted together
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=8))]
    lines: Option<u32>,
    /// Measure this huxiao program instead of building one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Of all dice: the presses and the lines
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Put sla.json and the pictures into this folder; cargo's target folder otherwise
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Let the systems write below this folder; cargo's target folder otherwise
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// How the figures are shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// What all parts need to know.
pub(crate) struct Bench<'a> {
    program: &'a Path,
    scratch: &'a Scratch,
    seed: u64,
    presses: u32,
    lines: u32,
    quick: bool,
    systems: Vec<System>,
    /// How long after the last press alarms are waited for.
    patience: Duration,
}

/// Measures, prints, and writes files. False if Huxiao lost an alarm or showed one twice.
///
/// # Errors
/// There is no emulator here, or something could not be measured; what was is shown.
pub(crate) fn run(args: &Args) -> Result<bool, BenchError> {
    Emulator::available().map_err(|why| BenchError::answer("the link emulator", why))?;
    let scratch = Scratch::new(args.dir.as_deref())?;
    let program = match &args.program {
        Some(program) => std::path::absolute(program).trying_on("find", program)?,
        None => build::release()?,
    };
    let out = args.out.clone().unwrap_or_else(|| target_dir().join("sla"));
    std::fs::create_dir_all(&out).trying_on("make", &out)?;
    let patience = Duration::from_secs(if args.quick { 25 } else { 60 });
    let began = Instant::now();
    let mut findings = Findings {
        bench: "sla",
        quick: args.quick,
        seed: args.seed,
        machine: Machine::here(scratch.path()),
        program: format!("{} ({})", build::version(&program)?, program.display()),
        settings: Vec::new(),
        outcomes: Vec::new(),
        narrow: Vec::new(),
        extras: Vec::new(),
        verdicts: Vec::new(),
        notes: notes(patience),
        skipped: Vec::new(),
        faults: Vec::new(),
        took_seconds: 0.0,
    };
    let bench = Bench {
        program: &program,
        scratch: &scratch,
        seed: args.seed,
        presses: args.presses.unwrap_or(if args.quick { QUICK_PRESSES } else { PRESSES }),
        lines: args.lines.unwrap_or(if args.quick { 1 } else { LINES }),
        quick: args.quick,
        systems: systems(args, &mut findings),
        patience,
    };
    let load_before = load();
    let errors = bench.measure(&parts(args), &mut findings);
    findings.outcomes = run::pooled(std::mem::take(&mut findings.outcomes));
    findings.verdicts.splice(0..0, findings::verdicts(&findings.outcomes));
    findings.faults.extend(findings::faults(&findings.outcomes));
    findings.skipped.extend(errors.iter().map(|(what, error)| format!("{what}: {error}")));
    findings.notes.push(format!("load average of the machine: {load_before} before, {} after", load()));
    findings.took_seconds = began.elapsed().as_secs_f64();
    write(&findings, &out)?;
    report::print(&match args.output {
        Format::Table => table::text(&findings),
        // Numbers, texts and lists: nothing that JSON cannot hold.
        Format::Json => serde_json::to_string(&findings).unwrap_or_default() + "\n",
    })?;
    match errors.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(findings.faults.is_empty()),
    }
}

fn notes(patience: Duration) -> Vec<String> {
    let lost =
        format!("lost: had not come {} s after the last press, though a peer may still be trying", patience.as_secs());
    [
        "times are from before the press (for Huxiao: the write of the HTTP request to the relay) to the message in the hands of a \
         subscriber at the police side (for Huxiao: the station's event stream), one clock",
        "percentiles are by nearest rank over all presses; an alarm that never came is slower than all, so a percentile may be \"never\"",
        "presses and dice are the same for all systems on one line; several lines of a profile have different ones and are counted together",
        "bytes are those of IP packets sent into the line, both ways, keep-alives included, over the number of presses",
        "Huxiao syncs the disks of relay, broker and station; for the others see their settings",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([lost])
    .collect()
}

/// The processes that ran or wanted to run in the last minute, on average, as the kernel says it: whoever else is at work shows in it.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().filter(|first| !first.is_empty()).unwrap_or("unknown").to_owned()
}

/// Which systems are to be run: those that are asked for and there. The others are named.
fn systems(args: &Args, findings: &mut Findings) -> Vec<System> {
    let asked = |system: &System| args.systems.is_empty() || args.systems.contains(system);
    let mut there = Vec::new();
    for system in System::value_variants().iter().copied().filter(asked) {
        match system.missing() {
            Some(why) => findings.skipped.push(why),
            None => there.push(system),
        }
    }
    findings.settings.extend(there.iter().filter_map(|system| system.settings()));
    there
}

fn parts(args: &Args) -> Vec<Part> {
    let all = Part::value_variants().iter().copied();
    let quick = |part: &Part| !matches!(part, Part::Town | Part::Thin);
    all.filter(|part| if args.only.is_empty() { !args.quick || quick(part) } else { args.only.contains(part) })
        .collect()
}

impl Part {
    /// The line that it is about.
    fn profile(self) -> Option<Profile> {
        Profile::named(self.to_possible_value()?.get_name())
    }
}

impl Bench<'_> {
    /// All parts; what could not be measured, and why.
    fn measure(&self, parts: &[Part], findings: &mut Findings) -> Vec<(String, BenchError)> {
        let mut errors = Vec::new();
        if parts.contains(&Part::Lan) {
            crate::say("lan, one system after another …");
            Self::take(self.lan(), findings, &mut errors);
        }
        let ours = self.systems.contains(&System::Huxiao);
        if ours && parts.contains(&Part::Bytes) {
            crate::say("bytes of one alarm …");
            bytes::measure(self, findings).err().into_iter().for_each(|error| errors.push(("bytes".to_owned(), error)));
        }
        if ours && parts.contains(&Part::Restart) {
            crate::say("a start and a redial …");
            restart::measure(self, findings)
                .err()
                .into_iter()
                .for_each(|error| errors.push(("restart".to_owned(), error)));
        }
        let wide: Vec<Profile> =
            parts.iter().filter(|part| **part != Part::Lan).filter_map(|part| part.profile()).collect();
        std::thread::scope(|scope| {
            let bulk = (ours && parts.contains(&Part::Bulk)).then(|| scope.spawn(|| bulk::measure(self)));
            if !wide.is_empty() {
                let names: Vec<&str> = wide.iter().map(|profile| profile.name).collect();
                crate::say(&format!("{}, all systems at the same time …", names.join(", ")));
                Self::take(self.wide(&wide), findings, &mut errors);
            }
            match bulk.map(|bulk| bulk.join().unwrap_or_else(|_| Err(BenchError::answer("bulk", "a panic")))) {
                Some(Ok(found)) => found.tell(findings),
                Some(Err(error)) => errors.push(("bulk".to_owned(), error)),
                None => {}
            }
        });
        errors
    }

    fn take(
        runs: Vec<(String, Result<Outcome, BenchError>)>,
        findings: &mut Findings,
        errors: &mut Vec<(String, BenchError)>,
    ) {
        for (what, run) in runs {
            match run {
                Ok(outcome) => findings.outcomes.push(outcome),
                Err(error) => errors.push((what, error)),
            }
        }
    }

    /// One building. What is in the microseconds there is the machine's own time, so nobody else runs.
    fn lan(&self) -> Vec<(String, Result<Outcome, BenchError>)> {
        // Without loss there is only one bare line.
        let systems = self.systems.iter().copied().filter(|system| *system != System::Bare);
        let orders: Vec<Order> = systems.map(|system| self.order(system, Profile::lan(), 0, Duration::ZERO)).collect();
        let presses = self.presses.div_ceil(LAN_ROUNDS);
        let schedule = |round| Schedule::new(presses, EVERY_ON_LAN, self.seed.wrapping_add(round));
        let schedules: Vec<Schedule> = (0..u64::from(LAN_ROUNDS)).map(schedule).collect();
        named(&orders, run::in_turns(&orders, &schedules, self.patience))
    }

    /// All other lines.
    fn wide(&self, profiles: &[Profile]) -> Vec<(String, Result<Outcome, BenchError>)> {
        let places = (0..self.lines).flat_map(|line| profiles.iter().map(move |profile| (line, profile)));
        let step = EVERY / u32::try_from(profiles.len()).unwrap_or(1).saturating_mul(self.lines).max(1);
        let orders: Vec<Order> = (0..)
            .zip(places)
            .flat_map(|(place, (line, profile))| {
                self.systems.iter().map(move |system| self.order(*system, *profile, line, step * place))
            })
            .collect();
        let schedule = |order: &Order| {
            let times = if order.system.promises() { 1 } else { PACKETS_PER_PRESS };
            Schedule::new(self.presses * times, EVERY / times, order.seed)
        };
        named(&orders, run::together(&orders, &schedule, self.patience))
    }

    /// One system on one line, in a folder of its own.
    fn order(&self, system: System, profile: Profile, line: u32, after: Duration) -> Order {
        let folder = self.scratch.path().join(format!("{}-{line}-{system:?}", profile.name));
        // Every line has dice of its own; the systems on it meet the same.
        let kind = Profile::ALL.iter().position(|name| *name == profile.name).unwrap_or(0) as u64;
        let seed = self.seed.wrapping_mul(1_000).wrapping_add(u64::from(line) * 10 + kind);
        Order { system, profile, seed, program: self.program.to_path_buf(), folder, after }
    }
}

fn named(orders: &[Order], runs: Vec<Result<Outcome, BenchError>>) -> Vec<(String, Result<Outcome, BenchError>)> {
    let names = orders.iter().map(|order| format!("{} on {}", order.system.title(), order.profile.name));
    names.zip(runs).collect()
}

/// The JSON file and the pictures.
fn write(findings: &Findings, out: &Path) -> Result<(), BenchError> {
    let mut files = pictures::all(&findings.outcomes);
    // Numbers, texts and lists: nothing that JSON cannot hold.
    files.push(("sla.json".to_owned(), serde_json::to_string(findings).unwrap_or_default() + "\n"));
    for (name, content) in files {
        let path = out.join(name);
        std::fs::write(&path, content).trying_on("write", &path)?;
        crate::say(&format!("wrote {}", path.display()));
    }
    Ok(())
}
