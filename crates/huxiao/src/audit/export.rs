//! `huxiao audit export`: every case that a broker node has, in its record and in its archive.
//!
//! Invariant: a case is printed once. What is printed has been held against its digests, so a broken history is not exported as a good one.

use std::collections::HashSet;

use clap::Args;
use huxiao_core::case::{Digest, genesis, verify};
use huxiao_core::{EventId, WallTime};
use huxiao_runtime::case_json::{StepJson, hex, unhex};
use huxiao_runtime::time_format::{parse_rfc3339, rfc3339};
use serde_json::Value;

use super::lines::{CaseLine, Line, Tally};
use crate::args::Global;
use crate::case::history;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output;

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The broker node's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL")]
    broker: Endpoint,
    /// Only alarms that came to the region at this time or later, such as 2026-03-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<WallTime>,
    /// Only alarms that came before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<WallTime>,
}

fn time(text: &str) -> Result<WallTime, String> {
    parse_rfc3339(text).map_err(|error| error.to_string())
}

/// Runs it.
///
/// # Errors
/// The node cannot be reached, or a history of it does not fit its digests.
pub(super) async fn run(args: ExportArgs, global: &Global) -> Outcome {
    let mut client = Client::new(args.broker);
    let (mut tally, mut seen) = (Tally::default(), HashSet::new());
    let mut cursor: Option<String> = None;
    loop {
        let page = client.get_json(&listing(cursor.as_deref(), args.since, args.until)).await;
        let page = page.map_err(Failure::failed)?;
        for id in page["cases"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let id: EventId = id.parse().map_err(|_| strange("an id that is none"))?;
            if seen.insert(id) {
                let case = history(&mut client, &id).await?;
                for line in lines(&id, &case)? {
                    let text = line.text();
                    tally.take(&line, &text);
                    if let Err(error) = output::print(&text) {
                        return error.outcome();
                    }
                }
            }
        }
        match page["next"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    let end = tally.end();
    let words = format!("{} cases, {} lines, SHA-256 {}", end.cases, end.lines, end.sha256);
    let printed = output::finish(Code::Ok, &Line::End(end).text());
    global.say(&words);
    printed
}

fn listing(cursor: Option<&str>, since: Option<WallTime>, until: Option<WallTime>) -> String {
    let cursor = cursor.map(|cursor| ("cursor", cursor.to_owned()));
    let times = [("since", since), ("until", until)].into_iter().filter_map(|(name, at)| Some((name, rfc3339(at?))));
    let query: Vec<String> = cursor.into_iter().chain(times).map(|(name, value)| format!("{name}={value}")).collect();
    if query.is_empty() { "/v1/cases".to_owned() } else { format!("/v1/cases?{}", query.join("&")) }
}

fn strange(what: &str) -> Failure {
    Failure::failed(format!("the node answered with {what}: is it a broker node's address?"))
}

/// The lines of one case, held against its digests.
fn lines(id: &EventId, case: &Value) -> Result<Vec<Line>, Failure> {
    let event = case["event"].as_str().and_then(unhex).ok_or_else(|| strange("an event without its bytes"))?;
    let mut last: (u64, Digest) = (0, genesis(&event));
    let mut lines = Vec::new();
    for step in case["steps"].as_array().into_iter().flatten() {
        let json: StepJson = serde_json::from_value(step.clone()).map_err(|error| strange(&error.to_string()))?;
        let step = json.step().map_err(|why| strange(&why))?;
        verify(last.0, &last.1, &step).map_err(|why| Failure::new(Code::Unhealthy, format!("{id}: {why}")))?;
        last = (step.number, step.digest);
        lines.push(Line::Step(json));
    }
    let (steps, digest) = (last.0, hex(&last.1));
    lines.insert(0, Line::Case(CaseLine { id: id.to_string(), event: hex(&event), steps, digest }));
    Ok(lines)
}
