//! `huxiao plan show` and `huxiao plan history`.

use serde_json::Value;

use crate::cluster::{Api, of_http};
use crate::exit::{Code, Failure, Outcome};
use crate::http::Client;
use crate::output::{self, Format};

async fn get(api: &Api, path: &str) -> Result<Value, Failure> {
    Client::new(api.endpoint()?).get_json(path).await.map_err(of_http)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) if text.is_empty() => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

pub(super) async fn run(api: &Api, school: Option<&str>) -> Outcome {
    let json = match school {
        None => get(api, "/v1/plan").await?,
        Some(code) => {
            let code: huxiao_core::Name =
                code.parse().map_err(|why: huxiao_core::NameError| Failure::new(Code::Usage, why.to_string()))?;
            get(api, &format!("/v1/plan/schools/{code}")).await?
        }
    };
    match (api.output, school) {
        (Format::Json, _) => output::finish_json(Code::Ok, &json),
        (Format::Table, None) => output::finish(Code::Ok, &plan(&json)),
        (Format::Table, Some(_)) => output::finish(Code::Ok, &school_table(&json)),
    }
}

fn plan(json: &Value) -> String {
    let version = match json["version"].as_u64() {
        Some(0) | None => "none: the node goes by its own file".to_owned(),
        Some(version) => version.to_string(),
    };
    let last = &json["last"];
    let mut rows = vec![
        ("version", version),
        ("digest", text(&json["digest"])),
        ("areas", text(&json["areas"])),
        ("stations", text(&json["stations"])),
        ("schools", text(&json["schools"])),
        ("regions", text(&json["regions"])),
    ];
    if !last.is_null() {
        rows.extend([("applied by", text(&last["who"])), ("at", text(&last["at"])), ("for", text(&last["note"]))]);
    }
    if json["as_applied"] == false {
        rows.push(("MISMATCH", "this plan does not have the digest with which it was applied".to_owned()));
    }
    if let Some(staged) = json["staged"].as_object() {
        let part = |key: &str| staged.get(key).map(text).unwrap_or_default();
        rows.push(("staged", format!("{} of {} parts of another change", part("have"), part("parts"))));
    }
    output::pairs(&rows)
}

fn school_table(json: &Value) -> String {
    let position = &json["position"];
    let place = if position.is_null() { "–".to_owned() } else { format!("{}, {}", position["lat"], position["lon"]) };
    let heads: [(&str, String); 10] = [
        ("school", text(&json["id"])),
        ("name", text(&json["name"])),
        ("address", text(&json["address"])),
        ("position", place),
        ("area", text(&json["area"])),
        ("alarms are", if json["silent"] == true { "silent" } else { "loud" }.to_owned()),
        ("stations", text(&json["stations"])),
        ("neighbours", text(&json["neighbours"])),
        ("tested every", format!("{} days", text(&json["test_every_days"]))),
        ("escalation", ladder(&json["escalation"])),
    ];
    let mut shown = output::pairs(&heads);
    for (key, columns) in [
        ("zones", &["id", "name", "line"][..]),
        ("devices", &["id", "kind", "place", "zone", "gb28181", "rtsp"]),
        ("contacts", &["name", "role", "phone"]),
        ("duty", &["weekdays", "from", "to", "absent_after_seconds"]),
        ("drills", &["date", "from", "to"]),
    ] {
        let items = json[key].as_array().map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() {
            continue;
        }
        let mut table = output::table(columns);
        for item in items {
            table.add_row(columns.iter().map(|column| text(&item[*column])));
        }
        shown.push_str(&format!("\n{key}\n{}", output::render(&table)));
    }
    shown
}

fn ladder(json: &Value) -> String {
    let steps = ["louder", "county", "city", "province"];
    let own: Vec<String> =
        steps.iter().filter_map(|step| Some(format!("{step} {} s", json[*step].as_u64()?))).collect();
    if own.is_empty() { "as the areas around it".to_owned() } else { own.join(", ") }
}

pub(super) async fn history(api: &Api) -> Outcome {
    let json = get(api, "/v1/plan/history").await?;
    if api.output == Format::Json {
        return output::finish_json(Code::Ok, &json);
    }
    let mut table = output::table(&["version", "at", "who", "schools", "stations", "digest", "note"]);
    for change in json["history"].as_array().into_iter().flatten() {
        let tally = |of: &str| {
            let tally = &change["counts"][of];
            format!("+{} ~{} -{}", tally["added"], tally["changed"], tally["removed"])
        };
        table.add_row([
            text(&change["version"]),
            text(&change["at"]),
            text(&change["who"]),
            tally("schools"),
            tally("stations"),
            text(&change["digest"]).chars().take(12).collect(),
            text(&change["note"]),
        ]);
    }
    output::finish(Code::Ok, &output::render(&table))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_plan_that_is_not_the_applied_one_is_said_to_be() {
        let json = json!({ "version": 3, "digest": "ab", "schools": 2, "last": { "who": "王" }, "as_applied": false });
        let shown = plan(&json);
        assert!(shown.contains("MISMATCH") && shown.contains('王'), "{shown}");
        assert!(plan(&json!({ "version": 0 })).contains("its own file"));
    }

    #[test]
    fn a_school_is_shown_with_what_it_has() {
        let json = json!({
            "id": "s1", "name": "一小", "silent": true, "stations": ["a", "b"], "escalation": { "county": 20 },
            "zones": [{ "id": "gate", "name": "", "line": "gate" }], "devices": [],
        });
        let shown = school_table(&json);
        assert!(shown.contains("a, b") && shown.contains("silent") && shown.contains("county 20 s"), "{shown}");
        assert!(shown.contains("zones") && !shown.contains("devices"), "{shown}");
    }
}
