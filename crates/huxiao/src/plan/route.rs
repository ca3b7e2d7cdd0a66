//! `huxiao route test`: who would get an alarm, in which part, after how long, and why.

use std::path::PathBuf;

use clap::Args;
use huxiao_broker::{PlanFiles, route_json};
use huxiao_core::{Class, SchoolId, WallTime};
use huxiao_runtime::time_format::{parse_rfc3339, rfc3339};
use serde_json::Value;

use crate::cluster::{Api, of_http};
use crate::exit::{Code, Failure, Outcome};
use crate::http::Client;
use crate::output::{self, Format};

/// Arguments of `route test`.
#[derive(Debug, Args)]
pub struct RouteArgs {
    /// The school, by its code
    #[arg(long, value_name = "CODE")]
    school: SchoolId,
    /// When the alarm is raised, such as 2026-12-01T07:40:00+08:00; now without it
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<WallTime>,
    /// Its class
    #[arg(long, value_name = "CLASS", default_value = "P0", value_parser = class)]
    class: Class,
    /// Read plan files, and ask no node
    #[arg(long, value_name = "PATH", num_args = 1..)]
    plan: Vec<PathBuf>,
    #[command(flatten)]
    api: Api,
}

fn time(text: &str) -> Result<WallTime, String> {
    parse_rfc3339(text).map_err(|why| why.to_string())
}

fn class(text: &str) -> Result<Class, String> {
    let found = Class::ALL.into_iter().find(|class| class.as_str().eq_ignore_ascii_case(text));
    found.ok_or_else(|| "write P0, P1, P2, P3 or P4".to_owned())
}

/// Runs it.
///
/// # Errors
/// [`Failure`]: the plan cannot be read, or no node answers.
pub async fn run(args: &RouteArgs) -> Outcome {
    let json = if args.plan.is_empty() { asked(args).await? } else { read(args)? };
    // A school that no plan names is one whose alarm nobody sees.
    let code = if json["known"] == true { Code::Ok } else { Code::Unhealthy };
    match args.api.output {
        Format::Json => output::finish_json(code, &json),
        Format::Table => output::finish(code, &table(&json)),
    }
}

fn read(args: &RouteArgs) -> Result<Value, Failure> {
    let plan = PlanFiles::read(&args.plan).and_then(|files| files.plan()).map_err(Failure::config)?;
    let now = huxiao_runtime::clock::Clock::system().wall();
    Ok(route_json(&plan, &args.school, args.class, args.at.unwrap_or(now)))
}

async fn asked(args: &RouteArgs) -> Result<Value, Failure> {
    let mut path = format!("/v1/route/{}?class={}", args.school, args.class);
    if let Some(at) = args.at {
        path.push_str(&format!("&at={}", rfc3339(at)));
    }
    Client::new(args.api.endpoint()?).get_json(&path).await.map_err(of_http)
}

fn table(json: &Value) -> String {
    let text = |value: &Value| match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if json["known"] != true {
        return format!("no plan names school {}: its alarms would reach nobody\n", text(&json["school"]));
    }
    let mut rows = vec![
        ("school", format!("{} {}", text(&json["school"]), text(&json["name"]))),
        ("area", text(&json["area"])),
        ("alarm", format!("{} at {}", text(&json["class"]), text(&json["at"]))),
    ];
    if json["silent"] == true {
        rows.push(("silent", "nothing at the school shows or sounds it".to_owned()));
    }
    if let Some(hours) = json["drill"]["hours"].as_str() {
        rows.push(("drill", format!("a registered drill is on, {hours}")));
    }
    if let Some(hours) = json["duty"]["hours"].as_str() {
        rows.push(("duty", format!("the guard post is manned, {hours}")));
    }
    let after = |value: &Value| value.as_u64().map_or_else(|| "–".to_owned(), |secs| format!("{secs} s"));
    let mut reaches = output::table(&["station", "part", "sees it", "owns it", "why"]);
    for reach in json["reaches"].as_array().into_iter().flatten() {
        reaches.add_row([
            text(&reach["station"]),
            text(&reach["part"]),
            after(&reach["sees_after_seconds"]),
            after(&reach["owns_after_seconds"]),
            text(&reach["why"]),
        ]);
    }
    let mut times = output::table(&["step", "after", "set by"]);
    for time in json["times"].as_array().into_iter().flatten() {
        times.add_row([text(&time["step"]), after(&time["after_seconds"]), text(&time["from"])]);
    }
    format!("{}\n{}\n{}", output::pairs(&rows), output::render(&reaches), output::render(&times))
}
