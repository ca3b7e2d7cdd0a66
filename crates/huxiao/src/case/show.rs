//! `huxiao case show`: how a case stands, and its history.

use clap::Args;
use huxiao_core::EventId;
use huxiao_core::case::{State, Verb};
use serde_json::Value;

use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// Arguments of `case show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The alarm's id
    id: EventId,
    #[command(flatten)]
    node: Node,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Node {
    /// Ask this broker node: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL")]
    broker: Option<Endpoint>,
    /// Ask this station, which asks its region
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Option<Endpoint>,
}

/// Runs it.
///
/// # Errors
/// The node cannot be reached, or does not have the event.
pub(super) async fn run(args: ShowArgs) -> Outcome {
    let Some(endpoint) = args.node.broker.or(args.node.station) else {
        return Err(Failure::new(Code::Usage, "say which node: --broker URL or --station URL"));
    };
    let case = history(&mut Client::new(endpoint), &args.id).await?;
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &case),
        Format::Table => output::finish(Code::Ok, &table(&case)),
    }
}

/// A case with all of its steps, as far as the node has them.
///
/// # Errors
/// [`Failure`]
pub(crate) async fn history(client: &mut Client, id: &EventId) -> Result<Value, Failure> {
    let path = format!("/v1/events/{id}/case");
    let mut whole = client.get_json(&path).await.map_err(Failure::failed)?;
    while let Some(after) = whole["next"].as_u64() {
        let mut page = client.get_json(&format!("{path}?after={after}")).await.map_err(Failure::failed)?;
        whole["next"] = page["next"].take();
        // What was done between two pages is in the later one.
        whole["case"] = page["case"].take();
        if let (Some(steps), Value::Array(more)) = (whole["steps"].as_array_mut(), page["steps"].take()) {
            if more.is_empty() {
                return Err(Failure::failed(format!("the node promised more steps of {id} than it gave")));
            }
            steps.extend(more);
        }
    }
    Ok(whole)
}

/// How a case stands, in one line: Chinese first.
pub(crate) fn standing(case: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let state = text(&case["state"]);
    let words = state
        .parse::<State>()
        .map_or((String::new(), state.clone()), |state| (state.words().0.to_owned(), state.words().1.to_owned()));
    let mut line = format!("{}  {}", words.0, words.1);
    if case["owner"].is_object() {
        line.push_str(&format!(": officer {} ({})", text(&case["owner"]["officer"]), text(&case["owner"]["by"])));
    }
    if let Some(level) = case["level"].as_u64().filter(|level| *level > 0) {
        line.push_str(&format!("  [增援等级 level {level}]"));
    }
    if case["cancel_requested"] == Value::Bool(true) {
        line.push_str("  [学校申请撤销 the school asks to cancel]");
    }
    for (name, zh) in [("number_110", "110警情编号"), ("close_reason", "结案原因")] {
        if let Some(value) = case[name].as_str() {
            line.push_str(&format!("  {zh} {name} {value}"));
        }
    }
    line
}

fn table(case: &Value) -> String {
    if !case["case"].is_object() {
        return "非警情，无案件  no alarm, so no case\n".to_owned();
    }
    let mut steps = output::table(&["step", "at", "action", "state", "officer", "by", "note", "digest"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for step in case["steps"].as_array().into_iter().flatten() {
        let action = text(&step["action"]);
        let words = action.parse::<Verb>().map_or("", |verb| verb.words().0);
        let detail = text(&step["detail"]);
        let gap = if detail.is_empty() { "" } else { " " };
        let digest: String = text(&step["digest"]).chars().take(16).collect();
        steps.add_row([
            step["number"].to_string(),
            text(&step["at"]),
            format!("{words} {action}{gap}{detail}"),
            text(&step["state"]),
            text(&step["officer"]),
            text(&step["by"]),
            text(&step["note"]).replace('\n', " "),
            digest,
        ]);
    }
    let steps = if case["steps"].is_array() { format!("\n{}", output::render(&steps)) } else { String::new() };
    format!("{}  {}\n{steps}", text(&case["id"]), standing(&case["case"]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn people_read_where_a_case_stands_and_what_was_done() {
        let case = json!({
            "id": "0193",
            "case": {
                "state": "closed", "level": 2, "owner": { "by": "station/p1/a", "officer": "014" },
                "cancel_requested": true, "number_110": "A-7", "close_reason": "false", "steps": 1,
            },
            "steps": [{
                "number": 1, "at": "2026", "action": "close", "detail": "false", "state": "closed", "officer": "014",
                "by": "station/p1/a", "note": "一\n二", "digest": "00112233445566778899",
            }],
        });
        let table = super::table(&case);
        for words in [
            "已结案  closed: officer 014 (station/p1/a)",
            "level 2",
            "学校申请撤销",
            "number_110 A-7",
            "结案 close false",
            "一 二",
            "0011223344556677",
        ] {
            assert!(table.contains(words), "{words} in\n{table}");
        }
        assert!(!table.contains("8899"), "a digest is cut for people:\n{table}");
        assert!(super::table(&json!({ "id": "1", "case": null })).contains("no case"));
    }
}
