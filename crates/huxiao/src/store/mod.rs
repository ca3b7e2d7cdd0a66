//! `huxiao store`: look into a node's data, check it, rescue what can be rescued.
//!
//! Invariant: what is looked at is not changed; nothing is ever deleted.

mod rows;
mod salvage;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use huxiao_store::{CheckReport, Inspection, inspect};
use serde_json::json;

use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};

/// What can be done with stores.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Show what is in a store; its node may run on
    Inspect(InspectArgs),
    /// Read a whole store and hold it against its marks; its node must be stopped
    ///
    /// Exits 0 if it is whole, 10 if it is damaged, 3 if that cannot be found out.
    Check(CheckArgs),
    /// Print every row that can still be read, from any folder with a store's files, quarantined ones too
    Salvage(salvage::SalvageArgs),
}

/// Arguments of `store inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The node's data folder, or the store in it
    dir: PathBuf,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `store check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The node's data folder, or the store in it
    dir: PathBuf,
    /// What a node runs before it opens its store: prints the report as one line of JSON and exits 0 whatever it says
    #[arg(long)]
    trial: bool,
    /// How the report is shown
    #[arg(long, value_enum, default_value = "table", conflicts_with = "trial")]
    output: Format,
}

/// Runs one of them.
///
/// # Errors
/// [`Failure`]
pub fn run(command: StoreCommand, global: &Global) -> Outcome {
    match command {
        StoreCommand::Inspect(args) => look(&args),
        StoreCommand::Check(args) if args.trial => trial(&args.dir),
        StoreCommand::Check(args) => check(&args),
        StoreCommand::Salvage(args) => salvage::run(&args, global),
    }
}

/// The store of a data folder; any other folder as it is.
fn store_in(dir: &Path) -> PathBuf {
    let inner = dir.join("store");
    if !dir.join("database").is_dir() && inner.is_dir() { inner } else { dir.to_owned() }
}

fn trial(dir: &Path) -> Outcome {
    let report = huxiao_store::check(dir);
    let line = serde_json::to_string(&report).map_err(Failure::failed)?;
    output::finish(Code::Ok, &format!("{line}\n"))
}

fn check(args: &CheckArgs) -> Outcome {
    let dir = store_in(&args.dir);
    if !dir.join("database").is_dir() {
        return Err(Failure::unknown(format!("{} holds no store: give a node's data folder", args.dir.display())));
    }
    let report = in_child(&dir)?;
    let code = match &report {
        report if report.circumstance => Code::Unknown,
        report if report.readable && report.consistent => Code::Ok,
        _ => Code::Unhealthy,
    };
    if args.output == Format::Json {
        let mut json = serde_json::to_value(&report).map_err(Failure::failed)?;
        json["dir"] = dir.display().to_string().into();
        return output::finish_json(code, &json);
    }
    let verdict = match code {
        Code::Ok => "whole".to_owned(),
        Code::Unknown => format!("not known: {}", report.problem.unwrap_or_default()),
        _ => format!("damaged: {}", report.problem.unwrap_or_default()),
    };
    let rows = [
        ("store", dir.display().to_string()),
        ("verdict", verdict),
        ("rows", report.rows.to_string()),
        ("damaged rows", report.damaged_rows.to_string()),
        ("last commit", report.commit.to_string()),
        ("highest number", report.high.to_string()),
    ];
    output::finish(code, &output::pairs(&rows))
}

/// Reads the store in a process of its own: the engine may abort or hang on what it finds.
fn in_child(dir: &Path) -> Result<CheckReport, Failure> {
    let cannot = |why: String| Failure::unknown(format!("{} cannot be checked: {why}", dir.display()));
    let program = std::env::current_exe().map_err(|error| cannot(error.to_string()))?;
    let child = std::process::Command::new(program).args(["store", "check", "--trial"]).arg(dir).output();
    let child = child.map_err(|error| cannot(error.to_string()))?;
    let report = child.stdout.split(|byte| *byte == b'\n').rev().find_map(|line| serde_json::from_slice(line).ok());
    Ok(report.unwrap_or_else(|| CheckReport {
        problem: Some(format!("reading it ended the process that tried ({})", child.status)),
        ..CheckReport::default()
    }))
}

fn look(args: &InspectArgs) -> Outcome {
    let dir = store_in(&args.dir);
    let cannot = |error| Failure::failed(format!("{} cannot be looked at: {error}", dir.display()));
    let found = inspect(&dir, &std::env::temp_dir()).map_err(cannot)?;
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &as_json(&dir, &found)),
        Format::Table => output::finish(Code::Ok, &as_table(&dir, &found)),
    }
}

fn as_json(dir: &Path, found: &Inspection) -> serde_json::Value {
    let row = |(space, class, rows, bytes): &(&str, &str, u64, u64)| json!({ "space": space, "class": class, "rows": rows, "bytes": bytes });
    let (blocks, refillable, damaged) = found.black_box;
    json!({
        "dir": dir.display().to_string(),
        "readable": found.readable,
        "problem": found.problem,
        "rows": found.rows.iter().map(row).collect::<Vec<_>>(),
        "commit": { "database": found.commit.0, "mark": found.commit.1 },
        "count": { "tally": found.tally.0, "found": found.tally.1 },
        "high": found.high,
        "epoch": found.epoch,
        "black_box": { "blocks": blocks, "rows": refillable, "damaged_blocks": damaged },
        "quarantine": found.quarantine.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
    })
}

fn as_table(dir: &Path, found: &Inspection) -> String {
    let state = match (found.readable, &found.problem) {
        (true, None) => "readable".to_owned(),
        (true, Some(problem)) => format!("readable, with damage: {problem}"),
        (false, problem) => {
            format!(
                "not readable ({}); the counts are of what salvage finds",
                problem.as_deref().unwrap_or("no reason")
            )
        }
    };
    let mark = found.commit.1.map_or_else(|| "none".to_owned(), |commit| commit.to_string());
    let (blocks, refillable, damaged) = found.black_box;
    let rows = [
        ("store", dir.display().to_string()),
        ("database", state),
        ("last commit", format!("{} (mark beside it: {mark})", found.commit.0)),
        ("rows", format!("{} (tally: {})", found.tally.1, found.tally.0)),
        ("highest number", found.high.to_string()),
        ("starts", found.epoch.to_string()),
        ("black box", format!("{blocks} blocks, {refillable} rows, {damaged} damaged")),
        ("quarantine", found.quarantine.len().to_string()),
    ];
    let mut table = output::table(&["space", "class", "rows", "bytes"]);
    for (space, class, rows, bytes) in &found.rows {
        table.add_row([(*space).to_owned(), (*class).to_owned(), rows.to_string(), bytes.to_string()]);
    }
    format!("{}\n{}", output::pairs(&rows), output::render(&table))
}
