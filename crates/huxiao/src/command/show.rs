//! How commands to schools stand.

use clap::Args;
use huxiao_core::CommandId;
use huxiao_core::command::{CommandKind, CommandStage};
use serde_json::{Value, json};

use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output::{self, Format};

/// Which node is asked.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Node {
    /// Ask this station
    #[arg(long, value_name = "URL", env = "HUXIAO_STATION_URL")]
    station: Option<Endpoint>,
    /// Ask this broker node: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL")]
    broker: Option<Endpoint>,
    /// Ask this relay
    #[arg(long, value_name = "URL", env = "HUXIAO_RELAY_URL")]
    relay: Option<Endpoint>,
}

impl Node {
    fn client(self) -> Result<Client, Failure> {
        let endpoint = self.station.or(self.broker).or(self.relay);
        let none = || Failure::new(Code::Usage, "say which node: --station URL, --broker URL or --relay URL");
        endpoint.map(Client::new).ok_or_else(none)
    }
}

/// Arguments of `command list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    node: Node,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `command show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The command's id
    id: CommandId,
    #[command(flatten)]
    node: Node,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `notice show`.
#[derive(Debug, Args)]
pub struct NoticeArgs {
    #[command(flatten)]
    show: ShowArgs,
    /// Show each school too
    #[arg(long)]
    schools: bool,
}

/// Lists the latest commands.
pub(super) async fn list(args: ListArgs) -> Outcome {
    let answer = args.node.client()?.get_json("/v1/commands").await.map_err(Failure::failed)?;
    if args.output == Format::Json {
        return output::finish_json(Code::Ok, &answer);
    }
    let mut table = output::table(&["id", "kind", "to", "issued_at", "officer", "stage"]);
    for command in answer["commands"].as_array().into_iter().flatten() {
        let to = command["school"].as_str().or(command["area"].as_str()).unwrap_or_default();
        table.add_row([
            text(&command["id"]),
            kind(command),
            to.to_owned(),
            text(&command["issued_at"]),
            text(&command["officer"]),
            stage(&command["stage"]),
        ]);
    }
    output::finish(Code::Ok, &output::render(&table))
}

/// Shows one command.
pub(super) async fn one(args: ShowArgs) -> Outcome {
    let path = format!("/v1/commands/{}", args.id);
    let state = args.node.client()?.get_json(&path).await.map_err(Failure::failed)?;
    match args.output {
        Format::Json => output::finish_json(Code::Ok, &state),
        Format::Table => output::finish(Code::Ok, &table(&state)),
    }
}

/// Shows a notice, and its schools if they are wanted.
pub(super) async fn notice(args: NoticeArgs) -> Outcome {
    let NoticeArgs { show: ShowArgs { id, node, output }, schools } = args;
    let mut client = node.client()?;
    let mut state = client.get_json(&format!("/v1/commands/{id}")).await.map_err(Failure::failed)?;
    if schools {
        let mut all: Vec<Value> = Vec::new();
        let mut path = format!("/v1/commands/{id}/schools");
        loop {
            let mut page = client.get_json(&path).await.map_err(Failure::failed)?;
            if let Value::Array(some) = page["schools"].take() {
                all.extend(some);
            }
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/commands/{id}/schools?after={next}");
        }
        state["schools"] = json!(all);
    }
    match output {
        Format::Json => output::finish_json(Code::Ok, &state),
        Format::Table => output::finish(Code::Ok, &table(&state)),
    }
}

/// How a command stands, in one line: Chinese first.
pub(super) fn standing(state: &Value) -> String {
    let mut line = format!("{}  {}", kind(state), stage(&state["stage"]));
    if state["provisional"] == Value::Bool(true) {
        line.push_str("  [暂记，待区域恢复后确认 provisional until the region has its quorum again]");
    }
    let progress = &state["progress"];
    if progress.is_object() {
        let count = |name: &str| progress[name].as_u64().unwrap_or_default();
        line.push_str(&format!(
            "  学校 schools {}: 已收到 accepted {}, 播放中 playing {}, 已播完 finished {}, 失败 failed {}, 未达 expired {}",
            count("schools"),
            count("accepted"),
            count("playing"),
            count("finished"),
            count("failed"),
            count("expired"),
        ));
    }
    line
}

fn table(state: &Value) -> String {
    let mut out = format!("{}  {}\n", text(&state["id"]), standing(state));
    for (name, zh) in [
        ("school", "学校"),
        ("area", "区域"),
        ("officer", "民警"),
        ("reason", "事由"),
        ("text", "内容"),
        ("clip", "语音"),
        ("body", "录音"),
    ] {
        if let Some(value) = state[name].as_str().filter(|value| !value.is_empty()) {
            out.push_str(&format!("{zh} {name}: {value}\n"));
        }
    }
    let mut receipts = output::table(&["stage", "at", "by", "detail"]);
    for receipt in state["receipts"].as_array().into_iter().flatten() {
        let took = receipt["took_seconds"].as_f64().map(|took| format!(" {took:.1} s")).unwrap_or_default();
        receipts.add_row([
            stage(&receipt["stage"]),
            text(&receipt["at"]),
            text(&receipt["by"]),
            format!("{}{took}", text(&receipt["detail"]).replace('\n', " ")),
        ]);
    }
    out.push_str(&output::render(&receipts));
    if let Some(schools) = state["schools"].as_array() {
        let mut table = output::table(&["school", "stage"]);
        for school in schools {
            table.add_row([text(&school["school"]), stage(&school["stage"])]);
        }
        out.push_str(&output::render(&table));
    }
    out
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn kind(command: &Value) -> String {
    let name = text(&command["kind"]);
    let words = name.parse::<CommandKind>().map_or("", |kind| kind.words().0);
    format!("{words} {name}")
}

fn stage(value: &Value) -> String {
    let name = text(value);
    let words = name.parse::<CommandStage>().map_or("尚无回报", |stage| stage.words().0);
    format!("{words} {name}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn people_read_how_a_command_stands() {
        let state = json!({
            "id": "0193", "kind": "notice", "area": "3611", "officer": "014", "text": "就地避险", "stage": "playing",
            "provisional": true,
            "progress": { "schools": 30, "accepted": 20, "playing": 2, "finished": 10, "failed": 1, "expired": 0 },
            "receipts": [{ "stage": "finished", "at": "2026", "by": "relay/s/gate", "detail": "a\nb", "took_seconds": 1.25 }],
            "schools": [{ "school": "s1", "stage": null }],
        });
        let table = super::table(&state);
        for words in ["区域通告 notice", "正在执行 playing", "暂记", "accepted 20", "就地避险", "a b 1.2 s", "尚无回报"]
        {
            assert!(table.contains(words), "{words} in\n{table}");
        }
    }
}
