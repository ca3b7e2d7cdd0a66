//! `huxiao report`: an account of a region's alarms, for the people who must answer for them.
//!
//! The alarms are read from a broker node, page by page; what is made of them is [`huxiao_core::report`]'s; here it is shown.
//!
//! Invariant: what a node did not give, or cannot be read, is said and never left out in silence.

mod csv;
mod fetch;
mod html;
mod json;
mod moment;
mod read;
mod sheet;
mod table;
mod untested;

use std::collections::BTreeMap;

use clap::{Args, Subcommand, ValueEnum};
use huxiao_core::WallTime;
use huxiao_core::report::{Alarm, Place, Report, SilentSchool, Standard, by_group, silent_schools};
use huxiao_runtime::clock::Clock;

use crate::args::{ConfigFiles, Global};
use crate::check::endpoint;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output;
use crate::role::RoleArg;

pub(crate) use csv::csv;
pub(crate) use html::page;
use moment::Moment;
pub(crate) use sheet::{Cell, Sheet};

/// Arguments of `report`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ReportArgs {
    #[command(subcommand)]
    command: Option<ReportCommand>,
    /// From when on: a time (2026-03-01T08:30:00+08:00), a date (its beginning in China), or how long ago (24h, 7d)
    ///
    /// An alarm belongs to the time at which it came to the region: a relay's clock may be wrong.
    #[arg(long, value_name = "TIME", required = true)]
    since: Option<Moment>,
    /// Until when, that time not included; without it until now
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// Broken down by what; csv without it has a line for each alarm, json and html have both
    #[arg(long, value_enum)]
    by: Option<By>,
    /// By the limits for which lines
    #[arg(long, value_enum, default_value = "good")]
    sla: Sla,
    /// The API of any broker node of the region: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL", conflicts_with = "files")]
    broker: Option<Endpoint>,
    #[command(flatten)]
    config: ConfigFiles,
    /// How it is shown; html is one page that needs nothing else
    #[arg(long, value_enum, default_value = "table")]
    output: Shape,
}

/// Accounts of something else than alarms.
#[derive(Debug, Subcommand)]
pub enum ReportCommand {
    /// List the schools that nobody has tested for longer than the plan says
    ///
    /// A test is a test press, or an alarm pressed as a test; what a relay does by itself each day is shown beside it. The record remembers
    /// the last of each school from the version on that keeps it. Exits 10 if there are any.
    Untested(untested::UntestedArgs),
}

/// What the figures are broken down by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The school where an alarm was raised.
    School,
    /// Each station that was to see it.
    Station,
    /// The city of its school, by the plan in force.
    City,
    /// The schools that were silent: how often, for how long, and whether they are still.
    Silence,
}

impl By {
    /// The column that names what it is broken down by.
    fn column(self) -> &'static str {
        match self {
            By::School | By::Silence => "school",
            By::Station => "station",
            By::City => "city",
        }
    }
}

/// Which limits hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Sla {
    /// Round trips up to 30 ms.
    Good,
    /// Mobile or slow lines.
    Rural,
}

/// How an account is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    /// For people.
    Table,
    /// One JSON value.
    Json,
    /// For spreadsheets (RFC 4180).
    Csv,
    /// A page for people.
    Html,
}

impl From<Sla> for Standard {
    fn from(sla: Sla) -> Self {
        match sla {
            Sla::Good => Standard::Good,
            Sla::Rural => Standard::Rural,
        }
    }
}

/// An account, and what it is of.
struct Account {
    since: WallTime,
    until: WallTime,
    made_at: WallTime,
    /// Which node gave the alarms.
    node: String,
    standard: Standard,
    by: Option<By>,
    /// Events that the node should have and did not give.
    missing: u64,
    alarms: Vec<Alarm>,
    report: Report,
    /// By city, if that is asked for.
    cities: Vec<Place<String>>,
    /// Schools that were silent, the longest first.
    silent: Vec<SilentSchool>,
}

impl Account {
    fn has(&self, by: By) -> bool {
        self.by.is_none_or(|asked| asked == by)
    }
}

/// That events are missing, in words, Chinese first; `None` if none is.
fn missing_words(missing: u64) -> Option<[String; 2]> {
    (missing > 0).then(|| {
        [
            format!("本节点缺少 {missing} 件已归档事件，统计可能不全"),
            format!("this node lacks {missing} archived events, so the account may be incomplete: ask another node"),
        ]
    })
}

/// Runs it.
///
/// # Errors
/// The node cannot be reached, or gives what cannot be read.
pub async fn run(args: ReportArgs, global: &Global) -> Outcome {
    if let Some(ReportCommand::Untested(args)) = args.command {
        return untested::run(args).await;
    }
    if args.broker.is_none() && args.config.files.is_empty() {
        return Err(Failure::new(Code::Usage, "say which node: --broker URL or --config FILE"));
    }
    let node = endpoint(args.broker.as_ref(), &args.config, Some(RoleArg::Broker))?;
    let made_at = Clock::system().wall();
    let since = args.since.ok_or_else(|| Failure::new(Code::Usage, "say from when on: --since TIME"))?;
    let since = since.before(made_at);
    let until = args.until.map_or(made_at, |until| until.before(made_at));
    if since >= until {
        return Err(Failure::new(Code::Usage, "--since is not before --until (which is now, where it is not given)"));
    }
    let client = &mut Client::new(node.clone());
    let fetched = fetch::alarms(client, since, until, global).await?;
    // In this order: whoever is back meanwhile has said so in what is read afterwards.
    let open = fetch::silent_now(client, global).await?;
    let silences = fetch::silences(client, since, global).await?;
    let missing = fetched.missing.max(silences.missing);
    if let Some([zh, en]) = missing_words(missing) {
        output::say(&format!("{zh}  {en}"));
    }
    let cities = match args.by {
        Some(By::City) => fetch::cities(client).await?,
        _ => BTreeMap::new(),
    };
    let standard = args.sla.into();
    let account = Account {
        since,
        until,
        made_at,
        node: node.to_string(),
        standard,
        by: args.by,
        missing,
        report: Report::of(&fetched.all, standard),
        cities: by_group(&fetched.all, &cities),
        silent: silent_schools(&silences.all, &open, &(since..until)),
        alarms: fetched.all,
    };
    match args.output {
        Shape::Json => output::finish_json(Code::Ok, &json::account(&account)),
        Shape::Table => output::finish(Code::Ok, &table::account(&account)),
        Shape::Csv => output::finish(Code::Ok, &csv::account(&account)),
        Shape::Html => output::finish(Code::Ok, &html::account(&account)),
    }
}

#[cfg(test)]
mod tests;
