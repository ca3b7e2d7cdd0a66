//! `huxiao dev`: a small province in one process, to see and to try.
//!
//! Everything in it is real: the three roles, QUIC with certificates made on the spot, stores on disk. Only the folder goes away at the
//! end, and the store's trial opening happens in this process.
//!
//! Invariant: nothing listens beyond loopback unless asked.

mod live;
mod press;
mod province;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use huxiao_runtime::clock::Clock;
use tokio::task::JoinSet;

use self::press::{Gate, Journey, officer};
use self::province::Province;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Press this many times, show where the time went, and end: 0 if every alarm made the whole way, else 1
    #[arg(long, value_name = "N")]
    pub press: Option<u32>,
    /// How the result of --press is shown
    #[arg(long, value_enum, default_value = "table")]
    pub output: Format,
    /// Schools
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub schools: u16,
    /// Stations
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub stations: u16,
    /// Keep certificates and stores here instead of in a folder that goes away with the process
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Seed of all that is random
    #[arg(long)]
    pub seed: Option<u64>,
    /// Listen on all interfaces instead of on loopback alone
    #[arg(long)]
    pub listen_all: bool,
}

/// Runs it.
pub fn run(args: &DevArgs) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::say(&format!("huxiao dev: no threads to run on: {error}"));
            return Code::Failed.into();
        }
    };
    let outcome = runtime.block_on(whole(args));
    // Threads that wait for a terminal would hold the process up.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            output::say(&format!("huxiao dev: {failure}"));
            failure.code.into()
        }
    }
}

async fn whole(args: &DevArgs) -> Outcome {
    let province = Province::start(args).await?;
    let outcome = match args.press {
        Some(count) => pressed(args, &province, count).await,
        None => watched(&province).await,
    };
    let stopped = province.stop().await;
    let code = outcome?;
    stopped.map(|()| code)
}

/// `--press N`: raises, takes and measures.
async fn pressed(args: &DevArgs, province: &Province, count: u32) -> Outcome {
    let mut officers = JoinSet::new();
    for (_, endpoint) in &province.stations {
        officers.spawn(officer(endpoint.clone(), Duration::ZERO));
    }
    let mut gates = Vec::new();
    for (school, endpoint) in &province.relays {
        gates.push(Gate::open(school, endpoint, Clock::system()).await?);
    }
    province.connected(Duration::from_secs(10)).await?;
    let mut journeys: Vec<Journey> = Vec::new();
    for turn in 0..count {
        let turn = usize::try_from(turn).unwrap_or(0) % gates.len().max(1);
        if let Some(gate) = gates.get_mut(turn) {
            journeys.push(gate.press(|_, _| ()).await?);
        }
    }
    officers.abort_all();
    let mut whole = true;
    for journey in report::incomplete(&journeys) {
        whole = false;
        let missing = journey.missing().join(", ");
        output::say(&format!("alarm {} of {}: missing {missing}", journey.id, journey.school));
    }
    let code = if whole { Code::Ok } else { Code::Failed };
    match args.output {
        Format::Json => output::finish_json(code, &report::json(&journeys)),
        Format::Table => {
            let mut table = output::table(&report::heads());
            table.add_rows(report::rows(&journeys));
            let note = format!(
                "milliseconds after the press, of {} alarms, each pressed after the one before was answered",
                journeys.len()
            );
            output::finish(code, &format!("{}{note}\n", output::render(&table)))
        }
    }
}

/// Without `--press`: says what is there, and raises an alarm at each Enter, until it is stopped.
async fn watched(province: &Province) -> Outcome {
    province.connected(Duration::from_secs(10)).await?;
    output::say(&province.banner());
    let stop = async {
        let mut term =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).map_err(Failure::failed)?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted.map_err(Failure::failed)?,
            _ = term.recv() => {}
        }
        Ok(Code::Ok)
    };
    tokio::select! {
        outcome = stop => outcome,
        outcome = live::enter(province) => outcome,
        failed = province.watch() => Err(Failure::failed(failed)),
    }
}
