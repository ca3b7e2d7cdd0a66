//! `huxiao cluster status`: who belongs to a region, who leads, how far each is.

use std::io::IsTerminal;
use std::time::Duration;

use serde_json::Value;

use super::Api;
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, HttpError};
use crate::output::{self, Format};

/// Between two looks of `--watch`.
const EVERY: Duration = Duration::from_secs(1);
/// What clears a terminal and puts its cursor into the corner (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(api: &Api, watch: bool, global: &Global) -> Outcome {
    let mut client = Client::new(api.endpoint()?);
    if !watch {
        let json = client.get_json("/v1/cluster").await.map_err(|error| match error {
            HttpError::Unreachable { .. } | HttpError::NoAnswer { .. } => Failure::unknown(error),
            error => Failure::failed(error),
        })?;
        let code = if json["degraded"].is_null() { Code::Ok } else { Code::Unhealthy };
        return match api.output {
            Format::Json => output::finish_json(code, &json),
            Format::Table => output::finish(code, &table(&json)),
        };
    }
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    let mut away = false;
    loop {
        match client.get_json("/v1/cluster").await {
            Ok(json) => {
                if std::mem::take(&mut away) {
                    global.say("connected again");
                }
                let text = match api.output {
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

/// The region for people.
pub(super) fn table(json: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("–").to_owned();
    let number = |value: &Value| value.as_u64().map_or_else(|| "–".to_owned(), |number| number.to_string());
    let mut rows = vec![
        ("region", text(&json["region"])),
        ("record", text(&json["record"])),
        ("leader", text(&json["leader"])),
        ("term", number(&json["term"])),
        ("entries", format!("{} in the log, {} in effect here", number(&json["last_log"]), number(&json["applied"]))),
        ("asked", format!("{} ({})", text(&json["me"]), text(&json["state"]))),
    ];
    if let Some(degraded) = json["degraded"].as_object() {
        let member = |name: &str| degraded.get(name).and_then(Value::as_str).unwrap_or_default();
        rows.push(("DEGRADED", format!("{} (since {})", member("why"), member("since"))));
    }
    let mut members = output::table(&["node", "role", "answers", "lag", "address", "store"]);
    for member in json["members"].as_array().into_iter().flatten() {
        let leads = member["leads"].as_bool() == Some(true);
        let answers = match (member["reachable"].as_bool(), member["silent_seconds"].as_f64()) {
            (Some(true), _) => "yes".to_owned(),
            (_, Some(silent)) => format!("silent for {silent:.0} s"),
            _ => "never did".to_owned(),
        };
        members.add_row([
            text(&member["name"]),
            if leads { "leader".to_owned() } else { text(&member["role"]) },
            answers,
            number(&member["lag"]),
            text(&member["addr"]),
            text(&member["store_id"]),
        ]);
    }
    format!("{}\n{}", output::pairs(&rows), output::render(&members))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_region_is_shown_with_who_is_silent() {
        let json = json!({
            "region": "east", "record": "ab", "leader": "b1", "term": 3, "last_log": 12, "applied": 11, "me": "b1",
            "state": "leader", "degraded": { "why": "only 1 of 3 nodes answers: b2, b3 silent", "since": "2026-11-24T08:00:00Z" },
            "members": [
                { "name": "b1", "role": "voter", "leads": true, "reachable": true, "lag": 0, "addr": "10.0.0.1:7443", "store_id": "1f" },
                { "name": "b2", "role": "learner", "leads": false, "reachable": false, "silent_seconds": 12.4, "lag": 7, "addr": "10.0.0.2:7443" },
            ],
        });
        let shown = table(&json);
        assert!(shown.contains("DEGRADED") && shown.contains("b2, b3 silent (since 2026-11-24T08:00:00Z)"), "{shown}");
        let line = |name: &str| shown.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        assert!(line("b1").contains("leader") && line("b1").contains("yes"), "{shown}");
        assert!(line("b2").contains("learner") && line("b2").contains("silent for 12 s"), "{shown}");
    }
}
