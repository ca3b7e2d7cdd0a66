//! How far a drill has come, and the account of it.

use std::time::Duration;

use clap::{Args, ValueEnum};
use huxiao_core::Span;
use huxiao_core::drill::DrillId;
use serde_json::{Value, json};

use super::At;
use crate::cluster::of_http;
use crate::exit::{Code, Failure, Outcome};
use crate::http::Client;
use crate::output::{self, Format};
use crate::report::{Cell, Sheet, csv, page};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Schools that did not press, of which a table names so many.
const NAMED: usize = 20;
/// Pages of schools at the most: more than a plan has.
const PAGES: usize = 100;

/// Arguments of `drill show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The drill's id
    id: DrillId,
    #[command(flatten)]
    at: At,
    /// Look again every two seconds until it is over or ctrl-c; with json, one object a line
    #[arg(long)]
    watch: bool,
    /// How it is shown
    #[arg(long, value_enum, default_value = "table")]
    output: Format,
}

/// Arguments of `drill report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The drill's id
    id: DrillId,
    #[command(flatten)]
    at: At,
    /// How it is shown; html is one page that needs nothing else
    #[arg(long, value_enum, default_value = "table")]
    output: Shape,
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

pub(super) async fn show(args: ShowArgs) -> Outcome {
    let mut client = args.at.client()?;
    let path = format!("/v1/drills/{}", args.id);
    loop {
        let drill = client.get_json(&path).await.map_err(of_http)?;
        let over = drill["phase"] == "over";
        if !args.watch || over {
            return last(&mut client, &drill, args.id, args.output).await;
        }
        let line = match args.output {
            Format::Json => format!("{drill}\n"),
            Format::Table => format!("{}  {}\n", phase(&drill), figures(&drill)),
        };
        if let Err(why) = output::print(&line) {
            return why.outcome();
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// All of it, with the schools that did not press.
async fn last(client: &mut Client, drill: &Value, id: DrillId, format: Format) -> Outcome {
    if format == Format::Json {
        return output::finish_json(Code::Ok, drill);
    }
    let mut rows = pairs(drill);
    rows.push(("figures", figures(drill)));
    let schools = schools(client, id).await?;
    let waits: Vec<String> = schools.iter().filter(|school| school["presses"] == 0).map(name).collect();
    if !waits.is_empty() {
        let mut words: Vec<String> = waits.iter().take(NAMED).cloned().collect();
        if waits.len() > NAMED {
            words.push(format!("… ({})", waits.len()));
        }
        rows.push(("未按 not pressed", words.join(", ")));
    }
    output::finish(Code::Ok, &output::pairs(&rows))
}

pub(super) async fn report(args: ReportArgs) -> Outcome {
    let mut client = args.at.client()?;
    let drill = client.get_json(&format!("/v1/drills/{}", args.id)).await.map_err(of_http)?;
    let schools = schools(&mut client, args.id).await?;
    match args.output {
        Shape::Json => output::finish_json(Code::Ok, &json!({ "drill": drill, "schools": schools })),
        Shape::Csv => output::finish(Code::Ok, &csv(&sheet(&schools))),
        Shape::Html => {
            let title = ("护校演练报告", "Huxiao drill report");
            let words: Vec<String> =
                pairs(&drill).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let words = [words, vec![figures(&drill)]].concat();
            output::finish(Code::Ok, &page(title, &words, &[sheet(&schools)]))
        }
        Shape::Table => {
            let mut rows = pairs(&drill);
            rows.push(("figures", figures(&drill)));
            let sheet = sheet(&schools);
            let header: Vec<String> = sheet.columns.iter().map(|(_, zh, en)| format!("{zh} {en}")).collect();
            let mut lines = output::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
            for row in &sheet.rows {
                lines.add_row(row.iter().map(Cell::shown));
            }
            output::finish(Code::Ok, &format!("{}\n{}", output::pairs(&rows), output::render(&lines)))
        }
    }
}

/// All schools in a drill's scope, page by page.
async fn schools(client: &mut Client, id: DrillId) -> Result<Vec<Value>, Failure> {
    let mut all = Vec::new();
    let mut path = format!("/v1/drills/{id}/schools");
    for _ in 0..PAGES {
        let page = client.get_json(&path).await.map_err(of_http)?;
        all.extend(page["schools"].as_array().into_iter().flatten().cloned());
        match page["next"].as_str() {
            Some(next) => path = format!("/v1/drills/{id}/schools?after={next}"),
            None => return Ok(all),
        }
    }
    Err(Failure::failed("the node gives more schools than a plan has"))
}

fn sheet(schools: &[Value]) -> Sheet {
    let count = |value: &Value| Cell::Count(value.as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or(0));
    let time = |value: &Value| Cell::Time(value.as_f64().and_then(|millis| Span::try_from_secs_f64(millis / 1e3).ok()));
    let row = |school: &Value| {
        let stations = school["stations"].as_array().into_iter().flatten().filter_map(Value::as_str);
        vec![
            Cell::Name(text(&school["school"])),
            Cell::Name(school["name"].as_str().unwrap_or_default().to_owned()),
            Cell::Name(stations.collect::<Vec<_>>().join(" ")),
            count(&school["presses"]),
            time(&school["displayed_ms"]),
            time(&school["taken_ms"]),
        ]
    };
    Sheet {
        title: ("按学校", "By school"),
        columns: vec![
            ("school", "学校", "school"),
            ("name", "名称", "name"),
            ("stations", "派出所", "stations"),
            ("presses", "按键次数", "presses"),
            ("displayed_ms", "按下到显示", "press to screen"),
            ("taken_ms", "按下到接警", "press to officer"),
        ],
        rows: schools.iter().map(row).collect(),
    }
}

/// What a drill is, for people.
pub(super) fn pairs(drill: &Value) -> Vec<(&'static str, String)> {
    let devices: Vec<&str> = drill["devices"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut rows = vec![
        ("drill", text(&drill["id"])),
        ("state", phase(drill)),
        ("scope", scope(drill)),
        ("from", text(&drill["from"])),
        ("until", text(&drill["until"])),
        ("approver", text(&drill["approver"])),
        ("by", text(&drill["by"])),
        ("note", drill["note"].as_str().unwrap_or_default().to_owned()),
    ];
    if !devices.is_empty() {
        rows.push(("devices", devices.join(", ")));
    }
    if let Some(closed) = drill.get("closed").filter(|closed| closed.is_object()) {
        rows.push(("ended", format!("{} by {} ({})", text(&closed["at"]), text(&closed["who"]), text(&closed["by"]))));
    }
    rows.retain(|(_, value)| !value.is_empty());
    rows
}

/// Its figures in one sentence, Chinese first.
fn figures(drill: &Value) -> String {
    let count = |name: &str| drill[name].as_u64().unwrap_or(0);
    let times = |name: &str| {
        let of = |p: &str| drill[name][p].as_f64().map_or_else(|| "–".to_owned(), |ms| format!("{:.2} s", ms / 1e3));
        format!("p50 {} p95 {}", of("p50"), of("p95"))
    };
    let (schools, pressed, displayed, taken) =
        (count("in_scope"), count("pressed"), count("displayed"), count("taken"));
    format!(
        "学校 {schools} 所，已按 {pressed}，已显示 {displayed}（{}），已接警 {taken}（{}）  {pressed} of {schools} schools pressed, {displayed} on a screen, {taken} taken; {} relays were told",
        times("displayed_ms"),
        times("taken_ms"),
        count("relays_told"),
    )
}

pub(super) fn phase(drill: &Value) -> String {
    let words = &drill["phase_text"];
    let text = |name: &str| words[name].as_str().unwrap_or_default();
    format!("{}  {}", text("zh"), text("en")).trim().to_owned()
}

pub(super) fn scope(drill: &Value) -> String {
    match drill["area"].as_str() {
        Some(area) => format!("area {area}"),
        None => {
            let schools: Vec<&str> =
                drill["schools"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            match schools.len() {
                0..=3 => schools.join(", "),
                many => format!("{}, … ({many})", schools[..3].join(", ")),
            }
        }
    }
}

fn name(school: &Value) -> String {
    format!("{} {}", text(&school["school"]), school["name"].as_str().unwrap_or_default()).trim().to_owned()
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().unwrap_or("–").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drill() -> Value {
        json!({
            "id": "0190a5b0-0000-7000-8000-000000000001", "phase": "running",
            "phase_text": { "zh": "演练进行中", "en": "A drill is on" }, "area": null, "schools": ["s1", "s2", "s3", "s4"],
            "devices": ["b1"], "from": "2026-11-24T08:00:00Z", "until": "2026-11-24T08:20:00Z", "by": "broker/r1/b1",
            "approver": "王所长", "note": "", "planned": false, "closed": null, "in_scope": 4, "pressed": 3, "displayed": 3,
            "taken": 1, "displayed_ms": { "p50": 120.0, "p95": 310.0 }, "taken_ms": { "p50": 5_000.0, "p95": 5_000.0 },
            "relays_told": 4,
        })
    }

    #[test]
    fn a_drill_is_shown_with_its_figures_in_words() {
        assert_eq!(scope(&drill()), "s1, s2, s3, … (4)");
        let words = figures(&drill());
        for part in
            ["学校 4 所，已按 3", "p50 0.12 s p95 0.31 s", "3 of 4 schools pressed", "1 taken", "4 relays were told"]
        {
            assert!(words.contains(part), "{part} in {words}");
        }
        let rows = pairs(&drill());
        assert!(rows.contains(&("state", "演练进行中  A drill is on".to_owned())));
        assert!(rows.contains(&("devices", "b1".to_owned())) && !rows.iter().any(|(name, _)| *name == "note"));
    }

    #[test]
    fn the_account_has_a_line_for_each_school_whether_it_pressed_or_not() {
        let schools = [
            json!({ "school": "s1", "name": "一小", "stations": ["p1", "p2"], "presses": 2, "displayed_ms": 120.5, "taken_ms": null }),
            json!({ "school": "s2", "name": "", "stations": ["p1"], "presses": 0, "displayed_ms": null, "taken_ms": null }),
        ];
        let text = csv(&sheet(&schools));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            ["school,name,stations,presses,displayed_ms,taken_ms", "s1,一小,p1 p2,2,120.500,", "s2,,p1,0,,",]
        );
        assert!(page(("护校演练报告", "x"), &[], &[sheet(&schools)]).contains("一小"));
    }
}
