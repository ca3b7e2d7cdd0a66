//! What Huxiao reaches, measured: each subcommand prints one set of figures, beside what others reach in the same run.
//!
//! Invariants: everything stays on this machine, on its loopback interface or in network namespaces; every process that a bench starts
//! ends with it, also on ctrl-c; a bench never fails for being slow, and always for an alarm that was lost or came twice.

mod drill;
mod emulate;
mod error;
mod figures;
mod flood;
mod foundation;
mod http;
mod lab;
mod machine;
mod mqtt;
mod place;
mod plan;
mod process;
mod record;
mod region;
mod report;
mod scratch;
mod sla;
mod sse;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Measures Huxiao on this machine.
#[derive(Debug, Parser)]
#[command(name = "huxiao-benches", version)]
struct Cli {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Debug, Subcommand)]
enum Bench {
    /// The way of one alarm on loopback beside Mosquitto, the store beside plain files and plain sled, calls between nodes, and an idle relay
    Foundation(foundation::Args),
    /// A region of one broker node and of three: receipts, failures, a node that catches up
    Region(region::Args),
    /// The way of one alarm over emulated lines, good and bad, beside Mosquitto, NATS and plain QUIC
    Sla(sla::Args),
    /// The plan of a whole province: a route looked up, a change taken over
    Plan(plan::Args),
    /// What one step of a case costs in a full record, in memory alone
    Record(record::Args),
    /// Every school of a region presses within one second: when the alarms are in the stations' inboxes
    Drill(drill::Args),
    /// A thousand person warnings a second beside panic alarms: whether an alarm is the slower for it
    Flood(flood::Args),
    /// A link as bad as asked between two network namespaces, to try any program on (needs root)
    Emulate(emulate::Args),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = process::end_all_on_signals().and_then(|()| match cli.bench {
        Bench::Foundation(args) => foundation::run(&args),
        Bench::Region(args) => region::run(&args),
        Bench::Sla(args) => sla::run(&args),
        Bench::Plan(args) => plan::run(&args),
        Bench::Record(args) => record::run(&args),
        Bench::Drill(args) => drill::run(&args),
        Bench::Flood(args) => flood::run(&args),
        Bench::Emulate(args) => emulate::run(&args),
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Says something to the person at the terminal. A standard error that cannot be written to is no reason to stop.
fn say(words: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{words}");
}
