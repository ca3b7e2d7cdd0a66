//! `huxiao plan` and `huxiao route`: what a region's plan says, and how it is changed.
//!
//! Files are the source; the record of the region has what was applied last. Nothing here changes a plan but `plan apply`.

mod apply;
mod region;
mod route;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use huxiao_broker::{PlanFiles, counts_json, write_plan};
use huxiao_core::plan::{Counts, Plan, Province, Tally, province};
use serde_json::json;

use crate::args::Global;
use crate::cluster::Api;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Format};

pub use route::RouteArgs;
pub use route::run as route;

/// What can be done with a plan.
#[derive(Debug, Subcommand)]
pub enum PlanCommand {
    /// Check plan files: every mistake with file, line and column
    ///
    /// Exits 78 if there is one. No node is asked.
    Check(CheckArgs),
    /// Say how files differ from the plan that the region has
    Diff(DiffArgs),
    /// Make files the plan of the region, on all of its nodes at once, without a restart
    ///
    /// The difference is printed first. Alarms that are under way keep their stations.
    Apply(ApplyArgs),
    /// Show which plan is in force, or one school of it
    Show(ShowArgs),
    /// Show who changed the plan, when and what for
    History(Api),
    /// Write the plan of a made-up province, to try things at full size
    Generate(GenerateArgs),
}

/// What can be asked about the way of an alarm.
#[derive(Debug, Subcommand)]
pub enum RouteCommand {
    /// Say who would get an alarm of a school, in which part, after how long, and why
    Test(RouteArgs),
}

/// Arguments of `plan check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Plan files, and folders of such
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// How the answer is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Which files are held against which region.
#[derive(Debug, Args)]
pub struct Source {
    /// Plan files, and folders of such: together the whole plan
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The files are a part of the plan: what they do not name stays as it is
    #[arg(long)]
    partial: bool,
    #[command(flatten)]
    api: Api,
}

/// Arguments of `plan diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    #[command(flatten)]
    source: Source,
}

/// Arguments of `plan apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    source: Source,
    /// Who orders it
    #[arg(long, value_name = "NAME")]
    by: String,
    /// What for
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Arguments of `plan show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// One school, by its code
    #[arg(long, value_name = "CODE")]
    school: Option<String>,
    #[command(flatten)]
    api: Api,
}

/// Arguments of `plan generate`.
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// The folder; it must be empty or not there
    dir: PathBuf,
    /// How many schools
    #[arg(long, default_value_t = 30_000)]
    schools: usize,
    /// How many stations, duty desks not counted
    #[arg(long, default_value_t = 1_800)]
    stations: usize,
    /// The same seed makes the same province
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Runs one of them.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub async fn run(command: PlanCommand, global: &Global) -> Outcome {
    match command {
        PlanCommand::Check(args) => check(&args),
        PlanCommand::Diff(args) => apply::diff(&args.source).await,
        PlanCommand::Apply(args) => apply::run(&args, global).await,
        PlanCommand::Show(args) => show::run(&args.api, args.school.as_deref()).await,
        PlanCommand::History(api) => show::history(&api).await,
        PlanCommand::Generate(args) => generate(&args, global),
    }
}

fn check(args: &CheckArgs) -> Outcome {
    let files = PlanFiles::read(&args.paths).map_err(Failure::config)?;
    let (_, counts) = files.onto(&Plan::default()).map_err(Failure::config)?;
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &json!({ "ok": true, "counts": counts_json(&counts) })),
        Format::Table => {
            let Counts { areas, stations, schools, regions } = counts;
            output::finish(
                Code::Ok,
                &output::pairs(&[
                    ("areas", areas.added.to_string()),
                    ("stations", stations.added.to_string()),
                    ("schools", schools.added.to_string()),
                    ("regions", regions.added.to_string()),
                ]),
            )
        }
    }
}

/// A change's counts for people.
fn counted(counts: &Counts) -> String {
    let mut table = output::table(&["", "added", "changed", "removed"]);
    let rows = [
        ("areas", counts.areas),
        ("stations", counts.stations),
        ("schools", counts.schools),
        ("regions", counts.regions),
    ];
    for (name, Tally { added, changed, removed }) in rows {
        table.add_row([name.to_owned(), added.to_string(), changed.to_string(), removed.to_string()]);
    }
    output::render(&table)
}

fn generate(args: &GenerateArgs, global: &Global) -> Outcome {
    let size = Province { schools: args.schools, stations: args.stations, seed: args.seed };
    let plan = province(&size).map_err(|found| {
        let words: Vec<String> = found.iter().take(10).map(ToString::to_string).collect();
        Failure::failed(words.join("\n"))
    })?;
    let failed = |path: &std::path::Path, why: std::io::Error| Failure::failed(format!("{}: {why}", path.display()));
    if std::fs::read_dir(&args.dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(Failure::failed(format!("{} is not empty: give a folder that is", args.dir.display())));
    }
    std::fs::create_dir_all(&args.dir).map_err(|why| failed(&args.dir, why))?;
    let files = write_plan(&plan);
    for (name, text) in &files {
        let path = args.dir.join(name);
        std::fs::write(&path, text).map_err(|why| failed(&path, why))?;
    }
    global.say(&format!(
        "{} schools, {} stations and {} areas in {} files in {}",
        plan.schools(),
        plan.stations(),
        plan.areas(),
        files.len(),
        args.dir.display()
    ));
    Ok(Code::Ok)
}
