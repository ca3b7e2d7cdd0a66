//! `huxiao relay mode`: what presses at a relay are now, and the switch to tests.

use clap::Args;
use huxiao_core::limits;
use serde_json::{Value, json};

use crate::cluster::of_http;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// Arguments of `relay mode`.
#[derive(Debug, Args)]
pub struct ModeArgs {
    /// The API of the relay: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL")]
    relay: Endpoint,
    /// Presses are tests for so many minutes
    #[arg(long, value_name = "MINUTES", conflicts_with = "live", value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::TEST_MODE_MINUTES)))]
    test: Option<u16>,
    /// Presses are no tests any longer
    #[arg(long)]
    live: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Runs it.
///
/// # Errors
/// The relay cannot be reached, or refuses.
pub async fn run(args: ModeArgs) -> Outcome {
    let mut client = Client::new(args.relay);
    let body = match (args.test, args.live) {
        (Some(minutes), _) => Some(json!({ "mode": "test", "minutes": minutes })),
        (None, true) => Some(json!({ "mode": "live" })),
        (None, false) => None,
    };
    let mode: Value = match body {
        Some(body) => {
            client.post("/v1/mode", &[], Some(&body)).await.map_err(of_http)?.json().map_err(Failure::failed)?
        }
        None => client.get_json("/v1/mode").await.map_err(of_http)?,
    };
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &mode),
        Format::Table => output::finish(Code::Ok, &output::pairs(&rows(&mode))),
    }
}

fn rows(mode: &Value) -> Vec<(&'static str, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seconds = |value: &Value| format!("{:.0} s", value.as_f64().unwrap_or_default());
    let words = match mode["mode"].as_str() {
        Some("live") | None => "真实  live: presses are meant".to_owned(),
        Some(name) => format!("{}  {name}: presses are no alarms", text(&mode["text"]["zh"])),
    };
    let mut rows = vec![("mode", words)];
    if let Some(drill) = mode.get("drill").filter(|drill| drill.is_object()) {
        let (id, approver) = (text(&drill["id"]), text(&drill["approver"]));
        let (starts, ends) = (seconds(&drill["starts_in_seconds"]), seconds(&drill["ends_in_seconds"]));
        rows.push(("drill", format!("{id} ({approver}), begins in {starts}, ends in {ends}")));
    }
    if mode["test_ends_in_seconds"].is_number() {
        rows.push(("test", format!("ends in {}", seconds(&mode["test_ends_in_seconds"]))));
    }
    rows
}
