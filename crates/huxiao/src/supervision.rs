//! `huxiao supervision show`: which schools are silent, and which stations nobody watches.
//!
//! The JSON of the API is passed on whole: what a newer node adds is not lost.

use clap::{Args, Subcommand};
use serde_json::Value;

use crate::args::ConfigFiles;
use crate::check::endpoint;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint, HttpError};
use crate::output::{self, Format};
use crate::role::RoleArg;

/// What can be done with the supervision of a region.
#[derive(Debug, Subcommand)]
pub enum SupervisionCommand {
    /// Show who is silent and since when: relays that no node of the region hears, stations that nobody watches, outages
    ///
    /// Exits 10 if anybody is silent or a node does not say who is with it, 3 if the node cannot be asked.
    Show(ShowArgs),
}

/// Arguments of `supervision show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The API of any broker node of the region: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL", conflicts_with = "files")]
    broker: Option<Endpoint>,
    #[command(flatten)]
    config: ConfigFiles,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// [`Failure`] with the code that the command documents.
pub async fn run(command: SupervisionCommand) -> Outcome {
    let SupervisionCommand::Show(args) = command;
    if args.broker.is_none() && args.config.files.is_empty() {
        return Err(Failure::new(Code::Usage, "say which node: --broker URL or --config FILE"));
    }
    let node = endpoint(args.broker.as_ref(), &args.config, Some(RoleArg::Broker))?;
    let json = Client::new(node).get_json("/v1/supervision").await.map_err(|error| match error {
        HttpError::Unreachable { .. } | HttpError::NoAnswer { .. } => Failure::unknown(error),
        error if error.may_pass() => Failure::unknown(error),
        error => Failure::failed(error),
    })?;
    let some = |list: &Value| list.as_array().is_some_and(|list| !list.is_empty());
    let unwell = some(&json["relays"]["silent"]) || some(&json["stations"]["unwatched"]) || some(&json["blind"]);
    let code = if unwell { Code::Unhealthy } else { Code::Ok };
    match args.output {
        Format::Json => output::finish_json(code, &json),
        Format::Table => output::finish(code, &table(&json)),
    }
}

/// Who is silent, for people.
#[expect(clippy::too_many_lines, reason = "one table after the other")]
fn table(json: &Value) -> String {
    let (relays, stations) = (&json["relays"], &json["stations"]);
    let count = |list: &Value| list.as_array().map_or(0, Vec::len);
    let mut rows = vec![
        ("node", format!("{} (watching since {})", text(&json["node"]), text(&json["watching_since"]))),
        (
            "relays",
            format!(
                "{} 台已知，{} 台失联  {} known, {} silent",
                relays["known"],
                count(&relays["silent"]),
                relays["known"],
                count(&relays["silent"])
            ),
        ),
        (
            "stations",
            format!(
                "方案中 {} 个，{} 个无人值守  {} in the plan, {} unwatched",
                stations["planned"],
                count(&stations["unwatched"]),
                stations["planned"],
                count(&stations["unwatched"])
            ),
        ),
    ];
    let blind: Vec<&str> = json["blind"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !blind.is_empty() {
        rows.push((
            "BLIND",
            format!("{}  does not say who is with it: nothing new is called silent", blind.join(", ")),
        ));
    }
    for outage in json["outages"].as_array().into_iter().flatten() {
        let silent = count(&outage["silent"]);
        rows.push((
            "OUTAGE",
            format!(
                "区域断联 {} {}: {silent}/{}  outage {} in {}, noticed {}: {silent} of {} relays are still silent",
                outage["outage"],
                text(&outage["scope"]),
                outage["relays"],
                outage["outage"],
                text(&outage["scope"]),
                text(&outage["noticed"]),
                outage["relays"],
            ),
        ));
    }
    let mut out = output::pairs(&rows);
    if count(&json["troubles"]) > 0 {
        let mut lines = output::table(&["已通报 told", "class", "since", "to"]);
        for row in json["troubles"].as_array().into_iter().flatten() {
            let to: Vec<&str> = row["stations"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            lines.add_row([text(&row["about"]), text(&row["class"]), text(&row["since"]), to.join(", ")]);
        }
        out.push_str(&format!("\n{}", output::render(&lines)));
    }
    let lists = [("silent", "relay", relays), ("unwatched", "station", stations)];
    for (list, name, of) in lists.into_iter().filter(|(list, _, of)| count(&of[*list]) > 0) {
        let mut lines = output::table(&[name, "since", "for", "outage", ""]);
        for row in of[list].as_array().into_iter().flatten() {
            let returning = if row["returning"].as_bool() == Some(true) { "恢复中 returning" } else { "" };
            let outage = row["outage"].as_u64().map_or_else(String::new, |outage| outage.to_string());
            lines.add_row([
                text(&row[name]),
                text(&row["since"]),
                length(&row["seconds"]),
                outage,
                returning.to_owned(),
            ]);
        }
        out.push_str(&format!("\n{}", output::render(&lines)));
    }
    out
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("–").to_owned()
}

fn length(seconds: &Value) -> String {
    match seconds.as_f64().unwrap_or_default() {
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds if seconds < 7_200.0 => format!("{:.0} min", seconds / 60.0),
        seconds if seconds < 172_800.0 => format!("{:.1} h", seconds / 3_600.0),
        seconds => format!("{:.1} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_is_silent_is_shown_with_since_when_and_why() {
        let json = json!({
            "node": "b1", "watching_since": "2026-11-24T08:00:00Z", "blind": ["b3"],
            "relays": { "known": 40, "silent": [
                { "relay": "relay/s1/gate", "since": "2026-11-24T09:00:00Z", "seconds": 65.2, "outage": 1, "returning": true },
                { "relay": "relay/s2/gate", "since": "2026-11-21T09:00:00Z", "seconds": 260_000.0, "outage": null, "returning": false },
            ] },
            "stations": { "planned": 3, "unwatched": [{ "station": "p9", "since": "2026-11-24T07:00:00Z", "seconds": 7_200.0 }] },
            "troubles": [{ "about": "silent/s2/gate", "class": "P1", "since": "2026", "stations": ["p1", "p2"] }],
            "outages": [{ "outage": 1, "scope": "361102", "noticed": "2026-11-24T09:00:30Z", "relays": 12, "silent": ["relay/s1/gate"] }],
        });
        let shown = table(&json);
        let line = |begin: &str| {
            shown
                .lines()
                .find(|line| line.starts_with(begin))
                .unwrap_or_else(|| panic!("{begin} in\n{shown}"))
                .to_owned()
        };
        assert!(line("relays").contains("40 台已知，2 台失联"), "{shown}");
        assert!(line("stations").contains("1 个无人值守"), "{shown}");
        assert!(line("BLIND").contains("b3") && line("OUTAGE").contains("1 of 12 relays"), "{shown}");
        assert!(line("relay/s1/gate").contains("65 s") && line("relay/s1/gate").contains("恢复中"), "{shown}");
        assert!(line("silent/s2/gate").contains("p1, p2") && line("OUTAGE").contains("361102"), "{shown}");
        assert!(line("relay/s2/gate").contains("3.0 d") && line("p9").contains("2.0 h"), "{shown}");
    }

    #[test]
    fn a_region_that_is_well_has_no_lists() {
        let json = json!({
            "node": "b1", "watching_since": "2026", "blind": [], "relays": { "known": 2, "silent": [] },
            "stations": { "planned": 1, "unwatched": [] }, "outages": [],
        });
        assert_eq!(table(&json).lines().count(), 3);
    }
}
