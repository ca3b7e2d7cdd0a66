//! `huxiao report untested`: the schools whose test by hand is overdue.

use clap::{Args, ValueEnum};
use huxiao_runtime::time_format::parse_rfc3339;
use serde_json::Value;

use super::{Cell, Sheet, csv, page};
use crate::cluster::of_http;
use crate::exit::{Code, Failure, Outcome};
use crate::http::{Client, Endpoint};
use crate::output;

/// Arguments of `report untested`.
#[derive(Debug, Args)]
pub struct UntestedArgs {
    /// Days without a test, in the place of the plan's
    #[arg(long, value_name = "DAYS")]
    days: Option<u16>,
    /// The API of any broker node of the region: http://host:port or unix:/path
    #[arg(long, value_name = "URL", env = "HUXIAO_BROKER_URL")]
    broker: Endpoint,
    /// How it is shown; html is one page that needs nothing else
    #[arg(long, value_enum, default_value = "table")]
    output: UntestedShape,
}

/// How the list is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum UntestedShape {
    /// For people.
    Table,
    /// One JSON value.
    Json,
    /// For spreadsheets (RFC 4180).
    Csv,
    /// A page for people.
    Html,
}

/// Runs it.
///
/// # Errors
/// The node cannot be reached, or gives what cannot be read.
pub(super) async fn run(args: UntestedArgs) -> Outcome {
    let path = args.days.map_or_else(|| "/v1/tests".to_owned(), |days| format!("/v1/tests?days={days}"));
    let json = Client::new(args.broker).get_json(&path).await.map_err(of_http)?;
    let listed = json["untested"].as_array();
    let listed =
        listed.ok_or_else(|| Failure::failed("the node's answer is no list of schools: is it a broker node?"))?;
    let code = if listed.is_empty() { Code::Ok } else { Code::Unhealthy };
    let sheet = sheet(listed);
    let headline = format!(
        "方案中学校 {} 所，{} 所逾期未测试  {} schools in the plan, {} untested",
        json["schools"],
        listed.len(),
        json["schools"],
        listed.len()
    );
    match args.output {
        UntestedShape::Json => output::finish_json(code, &json),
        UntestedShape::Csv => output::finish(code, &csv(&sheet)),
        UntestedShape::Html => output::finish(code, &page(("未测试学校", "Untested schools"), &[headline], &[sheet])),
        UntestedShape::Table => {
            let header: Vec<String> = sheet.columns.iter().map(|(_, zh, en)| format!("{zh} {en}")).collect();
            let mut lines = output::table(&header.iter().map(String::as_str).collect::<Vec<_>>());
            for row in &sheet.rows {
                lines.add_row(row.iter().map(Cell::shown));
            }
            let lines = if sheet.rows.is_empty() { String::new() } else { format!("\n{}", output::render(&lines)) };
            output::finish(code, &format!("{headline}\n{lines}"))
        }
    }
}

fn sheet(listed: &[Value]) -> Sheet {
    let at = |value: &Value| match value.as_str().and_then(|at| parse_rfc3339(at).ok()) {
        Some(at) => Cell::At(at),
        None => Cell::Word(String::new(), "从未".to_owned(), "never".to_owned()),
    };
    let row = |school: &Value| {
        let text = |name: &str| school[name].as_str().unwrap_or_default().to_owned();
        let stations = school["stations"].as_array().into_iter().flatten().filter_map(Value::as_str);
        vec![
            Cell::Name(text("school")),
            Cell::Name(text("name")),
            Cell::Name(text("city")),
            Cell::Name(stations.collect::<Vec<_>>().join(" ")),
            Cell::Name(school["every_days"].to_string()),
            at(&school["by_hand"]),
            at(&school["by_itself"]),
        ]
    };
    Sheet {
        title: ("逾期未测试的学校", "Schools whose test is overdue"),
        columns: vec![
            ("school", "学校", "school"),
            ("name", "名称", "name"),
            ("city", "市", "city"),
            ("stations", "派出所", "stations"),
            ("every_days", "期限（天）", "days"),
            ("by_hand", "上次人工测试", "last by hand"),
            ("by_itself", "上次自检", "last by itself"),
        ],
        rows: listed.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_school_that_was_never_tested_says_so_to_people_and_nothing_to_programs() {
        let school = json!({
            "school": "s1", "name": "一小", "stations": ["p1"], "city": "361100", "every_days": 31, "by_hand": null,
            "by_itself": "2026-11-24T21:10:00Z",
        });
        let sheet = sheet(&[school]);
        assert_eq!(sheet.rows[0][5].shown(), "从未 never");
        let lines: Vec<String> = csv(&sheet).lines().map(str::to_owned).collect();
        assert_eq!(lines[1], "s1,一小,361100,p1,31,,2026-11-24T21:10:00.000000Z");
    }
}
