//! `huxiao relay paths`: each line of a running relay, and how it gets to each broker node.
//!
//! The JSON of the API is passed on whole: what a newer node adds is not lost.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use crate::args::{ConfigFiles, Global};
use crate::check::endpoint;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};
use crate::role::RoleArg;

/// Between two looks of `--watch`: the relay itself looks once a second.
const EVERY: Duration = Duration::from_secs(1);
/// What clears a terminal and puts its cursor into the corner (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Arguments of `relay paths`.
#[derive(Debug, Args)]
pub struct PathsArgs {
    /// The relay's API: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL", conflicts_with = "files")]
    url: Option<Endpoint>,
    #[command(flatten)]
    config: ConfigFiles,
    /// Look again every second until ctrl-c; with json, one object a line
    #[arg(long)]
    watch: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The relay cannot be reached, or is none.
pub async fn run(args: PathsArgs, global: &Global) -> Outcome {
    let endpoint = endpoint(args.url.as_ref(), &args.config, Some(RoleArg::Relay))?;
    let mut client = Client::new(endpoint);
    if !args.watch {
        let json = client.get_json("/v1/paths").await.map_err(Failure::failed)?;
        return match args.output {
            Format::Json => output::finish_json(Code::Ok, &json),
            Format::Table => output::finish(Code::Ok, &table(&json)),
        };
    }
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    let mut away = false;
    loop {
        match client.get_json("/v1/paths").await {
            Ok(json) => {
                if std::mem::take(&mut away) {
                    global.say("connected again");
                }
                let text = match args.output {
                    Format::Json => format!("{json}\n"),
                    Format::Table => format!("{clear}{}\n", table(&json)),
                };
                if let Err(error) = output::print(&text) {
                    return error.outcome();
                }
            }
            Err(error) if error.may_pass() => {
                if !std::mem::replace(&mut away, true) {
                    global.say(&format!("{error}; trying again"));
                }
            }
            Err(error) => return Err(Failure::failed(error)),
        }
        if output::reader_is_gone() {
            return Ok(Code::Ok);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// The lines, the ways to the broker nodes, and what is to be said of them.
fn table(json: &Value) -> String {
    let rows = |name: &str| json[name].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut uplinks = output::table(&["uplink", "cost", "there", "today", "budget"]);
    let mut words = Vec::new();
    for uplink in rows("uplinks") {
        let name = text(uplink, "name");
        let there = if uplink["present"] == true { "yes" } else { "no" };
        let budget = uplink["daily_budget_bytes"].as_u64();
        uplinks.add_row([
            name,
            text(uplink, "cost"),
            there,
            &today(uplink, budget),
            &budget.map_or("-".to_owned(), bytes),
        ]);
        words.extend(uplink["absent_because"].as_str().map(|why| format!("{name}: 未接通 not there: {why}\n")));
        let warnings = uplink["warnings"].as_array().into_iter().flatten();
        words.extend(warnings.map(|warning| format!("{name}: {}\n", both(warning))));
    }
    let mut paths = output::table(&["uplink", "node", "carrier", "health", "rtt", "loss", "last heard", "today"]);
    // A node that only stands by is not dialled, and there is nothing to be said of it.
    let shown = |path: &&Value| path["dialled"] == true || path["sessions"].as_u64() > Some(0);
    for path in rows("paths").iter().filter(shown) {
        let (uplink, name) = (text(path, "uplink"), text(path, "name"));
        let node = if name.is_empty() { text(path, "node") } else { name };
        paths.add_row([
            uplink.to_owned(),
            node.to_owned(),
            or_dash(path["carrier"].as_str().map(str::to_owned)),
            both(&path["health_text"]),
            or_dash(path["rtt_seconds"].as_f64().map(|rtt| format!("{:.1} ms", rtt * 1e3))),
            or_dash(path["loss_ratio"].as_f64().map(|loss| format!("{:.0} %", loss * 1e2))),
            or_dash(path["silence_seconds"].as_f64().map(|silence| format!("{silence:.1} s ago"))),
            today(path, None),
        ]);
        words.extend(path["problem"].as_str().map(|why| format!("{uplink} to {node}: {why}\n")));
    }
    let words = if words.is_empty() { String::new() } else { format!("\n{}", words.concat()) };
    format!("{}\n{}{words}", output::render(&uplinks), output::render(&paths))
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}

/// Chinese first.
fn both(words: &Value) -> String {
    format!("{} {}", text(words, "zh"), text(words, "en")).trim().to_owned()
}

fn or_dash(value: Option<String>) -> String {
    value.unwrap_or_else(|| "-".to_owned())
}

/// Today's bytes both ways, and which share of a budget that is.
fn today(json: &Value, budget: Option<u64>) -> String {
    let count = |name: &str| json[name].as_u64().unwrap_or(0);
    let used = count("today_sent_bytes").saturating_add(count("today_received_bytes"));
    match budget.filter(|budget| *budget > 0) {
        Some(budget) => format!("{} ({} %)", bytes(used), u128::from(used) * 100 / u128::from(budget)),
        None => bytes(used),
    }
}

/// A size with one digit behind the point, in the largest unit that leaves one before it.
fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.into_iter().find(|(_, size)| count >= *size) {
        Some((unit, size)) => format!("{}.{} {unit}", count / size, count % size * 10 / size),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_for_people() {
        let sizes = [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_600, "1.5 KiB"), (64 << 20, "64.0 MiB")];
        for (count, shown) in sizes {
            assert_eq!(bytes(count), shown);
        }
        assert!(bytes(u64::MAX).ends_with(" TiB"));
    }

    #[test]
    fn a_person_at_the_gatehouse_can_read_it() {
        let json = json!({
            "uplinks": [
                { "name": "fibre", "cost": "free", "present": true, "today_sent_bytes": 10, "today_received_bytes": 20,
                  "daily_budget_bytes": null, "warnings": [] },
                { "name": "lte", "cost": "metered", "present": false, "absent_because": "there is no interface wwan0",
                  "today_sent_bytes": 3 << 20, "today_received_bytes": 1 << 20, "daily_budget_bytes": 5 << 20,
                  "warnings": [{ "zh": "快用完了", "en": "nearly gone" }] },
            ],
            "paths": [
                { "uplink": "fibre", "node": "10.0.0.1:7443", "name": "broker/r1/n1", "dialled": true, "sessions": 2,
                  "health_text": { "zh": "畅通", "en": "answers" }, "carrier": "quic", "rtt_seconds": 0.0123,
                  "loss_ratio": 0.031, "silence_seconds": 1.26, "problem": null, "today_sent_bytes": 2048 },
                { "uplink": "fibre", "node": "10.0.0.2:7443", "name": null, "dialled": true, "sessions": 0,
                  "health_text": { "zh": "未连接", "en": "no session" }, "problem": "no answer from 10.0.0.2:7443" },
                { "uplink": "lte", "node": "10.0.0.3:7443", "dialled": false, "sessions": 0 },
            ],
        });
        let shown = table(&json);
        for words in [
            "broker/r1/n1   quic     畅通 answers",
            "12.3 ms  3 %   1.3 s ago",
            "2.0 KiB",
            "4.0 MiB (80 %)  5.0 MiB",
            "lte: 未接通 not there: there is no interface wwan0",
            "lte: 快用完了 nearly gone",
            "fibre to 10.0.0.2:7443: no answer",
        ] {
            assert!(shown.contains(words), "{words} in\n{shown}");
        }
        assert!(!shown.contains("10.0.0.3"), "a node that stands by is not listed:\n{shown}");
    }

    #[test]
    fn an_answer_of_another_shape_is_shown_as_far_as_it_goes() {
        for json in [Value::Null, json!([1]), json!({ "uplinks": 3, "paths": [7, { "dialled": true }] })] {
            assert!(table(&json).contains("uplink"), "{json}");
        }
    }
}
