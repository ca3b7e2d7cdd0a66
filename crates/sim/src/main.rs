//! `huxiao-sim`: days of a small province on virtual time, from seeds; and single situations with their figures.
//!
//! Invariant: what a failing seed prints is a command that runs it again.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use huxiao_sim::check::Check;
use huxiao_sim::day::Day;
use huxiao_sim::province::Nature;
use huxiao_sim::run::{self, Failed, Sum};
use huxiao_sim::scenario::{self, Report};
use huxiao_sim::world::MINUTE;

/// So many seeds meet everything that can befall a region.
const MANY: u64 = 500;

/// Runs days of a small province, with random faults, and holds them to what Huxiao promises.
///
/// A day is 30 minutes of presses and faults unless more is asked for, and eleven minutes of calm in which all must come to an end. There
/// are three broker nodes with one record (in every fourth world one node), and three seats at two stations. Every tenth seed's world loses
/// inboxes, another tenth a node's disk, another has a record that holds little, another a plan that comes late.
#[derive(Debug, Parser)]
#[command(name = "huxiao-sim", version, after_help = after_help())]
struct Cli {
    #[command(flatten)]
    seeds: Seeds,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one situation and print its figures; without a name, all of them
    Scenario {
        /// Which; see the list below
        name: Option<String>,
        /// Its dice
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
}

#[derive(Debug, Args)]
struct Seeds {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run this one alone, and say more of it
    #[arg(long, conflicts_with_all = ["seeds", "from"])]
    seed: Option<u64>,
    /// With --seed: print everything that happens
    #[arg(long, requires = "seed")]
    trace: bool,
    /// How long presses and faults go on, in minutes
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// The same in hours
    #[arg(long, conflicts_with = "minutes")]
    hours: Option<u64>,
    /// A whole day of 24 hours
    #[arg(long, conflicts_with_all = ["minutes", "hours"])]
    day: bool,
    /// How many schools there are
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=60))]
    schools: u8,
    /// How many threads run seeds; as many as the machine has processors if not given
    #[arg(long)]
    jobs: Option<usize>,
}

impl Seeds {
    fn minutes(&self) -> u64 {
        if self.day { 24 * 60 } else { self.hours.map_or(self.minutes, |hours| hours * 60).max(1) }
    }

    fn day(&self) -> Day {
        Day { length: self.minutes() * MINUTE, schools: usize::from(self.schools) }
    }
}

fn after_help() -> String {
    let mut help = "Checks:\n".to_owned();
    for (_, words) in Check::ALL {
        help.push_str(&format!("  {words}\n"));
    }
    help.push_str("\nScenarios:\n");
    for scenario in scenario::ALL {
        help.push_str(&format!("  {:<16} {}\n", scenario.name, scenario.about));
    }
    help.push_str("\nExit status: 0 all held, 1 a promise was broken, 2 the command was not understood.");
    help
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let held = match &cli.command {
        Some(Command::Scenario { name, seed }) => scenarios(name.as_deref(), *seed),
        None => match cli.seeds.seed {
            Some(seed) => Ok(one(seed, &cli.seeds)),
            None => Ok(many(&cli.seeds)),
        },
    };
    match held {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            say(&format!("error: {why}"));
            ExitCode::from(2)
        }
    }
}

/// Says something to the person at the terminal. An output that cannot be written to is no reason to stop.
fn say(words: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{words}");
}

fn many(args: &Seeds) -> bool {
    let began = Instant::now();
    let jobs = args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let sum = run::many(args.from, args.seeds, args.day(), jobs);
    for failed in &sum.failed {
        tell(failed, args);
    }
    let Sum { seeds, tally, failed } = &sum;
    say(&format!(
        "{seeds} seeds, each {} minutes of {} schools and eleven minutes of calm: {} failed, {:.1} s on {jobs} threads",
        args.minutes(),
        args.schools,
        failed.len(),
        began.elapsed().as_secs_f64(),
    ));
    say(&format!(
        "  {} events kept, {} arrivals at stations, {} stored, {} packets; busiest node: {} % of the wakes and {} % of the packets that are allowed",
        tally.kept, tally.arrived, tally.stored, tally.packets, tally.busiest.0, tally.busiest.1
    ));
    say(&format!("  {}", tally.met));
    if *seeds > 0 && tally.kept == 0 {
        say("nothing happened, which shows nothing");
        return false;
    }
    let lacking: Vec<&str> = tally.met.lacking().collect();
    if *seeds >= MANY && !lacking.is_empty() {
        say(&format!("some things never happened, so nothing is shown of them: {}", lacking.join(", ")));
        return false;
    }
    failed.is_empty()
}

fn tell(failed: &Failed, args: &Seeds) {
    let Failed { seed, nature, at, failure, story } = failed;
    say(&format!("seed {seed} ({}) failed after {at} s: {failure}", nature.as_str()));
    for line in story {
        say(&format!("    {line}"));
    }
    let (minutes, schools) = (args.minutes(), args.schools);
    say(&format!(
        "  again: cargo run --release -p huxiao-sim -- --seed {seed} --minutes {minutes} --schools {schools} --trace\n"
    ));
}

fn one(seed: u64, args: &Seeds) -> bool {
    let nature = Nature::of(seed);
    let (world, outcome) = run::one(seed, args.day(), nature, true);
    if args.trace {
        world.trace.all().for_each(say);
    }
    match outcome {
        Ok(tally) => {
            say(&format!("seed {seed} ({}) held: {tally:?}", nature.as_str()));
            true
        }
        Err(failure) => {
            let at = world.now / huxiao_sim::world::SECOND;
            let story = world.trace.about(failure.event, 40).into_iter().map(str::to_owned).collect();
            tell(&Failed { seed, nature, at, failure, story }, args);
            false
        }
    }
}

fn scenarios(name: Option<&str>, seed: u64) -> Result<bool, String> {
    let chosen: Vec<_> =
        scenario::ALL.iter().filter(|scenario| name.is_none_or(|name| name == scenario.name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = scenario::ALL.iter().map(|scenario| scenario.name).collect();
        return Err(format!("there is no scenario {:?}; there are {}", name.unwrap_or_default(), names.join(", ")));
    }
    let mut held = true;
    for scenario in chosen {
        say(&format!("{}: {}", scenario.name, scenario.about));
        match (scenario.run)(seed) {
            Ok(Report { figures }) => figures.iter().for_each(|(what, figure)| say(&format!("  {what:<58} {figure}"))),
            Err(failure) => {
                say(&format!("  failed: {failure}"));
                held = false;
            }
        }
        say("");
    }
    Ok(held)
}
