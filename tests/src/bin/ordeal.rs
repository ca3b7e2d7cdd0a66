//! The ordeal of a region, as a program: `ordeal --minutes 30 --seed 7`. It needs root, `ip` and `nft`.
//!
//! It says what it did to the region and how quick alarms were meanwhile, and ends with a status other than zero if a promise was
//! broken; then the nodes' folder, with their logs, stays.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Parser;
use huxiao_tests::ordeal::schedule::Fault;
use huxiao_tests::ordeal::{Options, run};

/// Puts a region of real processes through one fault after the other, under presses, and judges what was promised.
#[derive(Debug, Parser)]
#[command(name = "ordeal")]
struct Args {
    /// About how long; every fault has at least one turn, which takes three to four minutes however few are asked for. From ten on, faults last
    /// as long as people would let them
    #[arg(long, value_name = "N", default_value_t = 2)]
    minutes: u64,
    /// What decides the sequence; from the clock if it is not given
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// This fault alone, or these
    #[arg(long, value_name = "FAULT")]
    only: Vec<Fault>,
    /// Presses a second, over all schools
    #[arg(long, value_name = "N", default_value_t = 20.0)]
    rate: f64,
    /// Broker nodes
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=7))]
    brokers: u8,
    /// How many seconds two nodes are dead, in place of what suits the length
    #[arg(long, value_name = "SECONDS")]
    quorum_loss: Option<u64>,
    /// Leave the nodes' folder where it is also when all went well
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let clock = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_secs());
    let options = Options {
        length: Duration::from_secs(args.minutes * 60),
        seed: args.seed.unwrap_or_else(clock),
        only: args.only,
        rate: args.rate.clamp(0.1, 1_000.0),
        brokers: usize::from(args.brokers),
        loss: args.quorum_loss.map(Duration::from_secs),
        keep: args.keep,
    };
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            // Nobody may be reading.
            let _ = writeln!(std::io::stderr().lock(), "SKIPPED: a region cannot be put to the ordeal here: {why}");
            ExitCode::SUCCESS
        }
    }
}
