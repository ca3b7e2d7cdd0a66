//! What a region finds out by itself is on the screens of whoever must act on it, and goes from there by itself when it is over.

use std::fs;
use std::time::Duration;

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

/// Silence and unwatched stations are found after half a minute and a whole one.
const LONG: Duration = Duration::from_secs(150);

/// Two schools of a county; its desk is the third station.
const PLAN: &str = r#"
[[area]]
code = "360000"
name = "江西省"

[[area]]
code = "361100"
name = "上饶市"

[[area]]
code = "361102"
name = "信州区"
desk = "station-003"

[[station]]
id = "station-001"
name = "西街派出所"
area = "361102"
phone = "0793-8000001"

[[station]]
id = "station-002"
area = "361102"

[[station]]
id = "station-003"
area = "361102"

[[school]]
id = "school-001"
name = "信州区第一小学"
area = "361102"
stations = ["station-001", "station-002"]

[[school]]
id = "school-002"
area = "361102"
stations = ["station-002"]
"#;

/// The events of one kind that a station shows.
fn of_kind(lab: &Lab, station: &str, kind: &str) -> Vec<Value> {
    let Ok(answer) = http::get(&lab.base(station), "/v1/events?limit=1000") else { return Vec::new() };
    let events = answer.json()["events"].as_array().cloned().unwrap_or_default();
    events.into_iter().filter(|event| event["kind"] == kind).collect()
}

fn wait_kind(lab: &Lab, station: &str, kind: &str) -> Value {
    wait_until(&format!("{station} shows {kind}"), LONG, || of_kind(lab, station, kind).into_iter().next())
}

/// What a broker's record says of an event.
fn recorded(lab: &Lab, node: &str, id: &str) -> Option<Value> {
    let answer = http::get(&lab.base(node), &format!("/v1/events/{id}")).ok()?;
    (answer.status == 200).then(|| answer.json())
}

#[test]
fn a_silent_school_and_an_unwatched_station_are_on_screens_and_cleared_when_they_are_back() {
    let mut lab = Lab::init(2, 3);
    fs::write(lab.set_dir().join("plan.toml"), PLAN).unwrap();
    lab.start_all();
    // What was never seen is not silent.
    wait_until("the region knows of both schools", PATIENCE, || {
        let json = http::get(&lab.base("broker-1"), "/v1/supervision").ok()?.json();
        (json["relays"]["known"] == 2 && json["stations"]["unwatched"] == json!([])).then_some(())
    });
    lab.node("relay-001").kill9();
    lab.node("station-001").stop();
    // Somebody stands at the other station, and says that it cannot be heard there.
    let deaf = http::post(&lab.base("station-002"), "/v1/audible", &[], &json!({ "on": false })).unwrap();
    assert_eq!(deaf.status, 200, "{}", deaf.body);

    let silent = wait_kind(&lab, "station-002", "silent");
    assert_eq!((&silent["school"], &silent["subject"]), (&json!("school-001"), &json!("school")));
    assert!(silent["note"].as_str().unwrap().contains("信州区第一小学"), "{silent}");
    let rows = wait_until("the county is told of both stations", LONG, || {
        Some(of_kind(&lab, "station-003", "unwatched")).filter(|rows| rows.len() == 2)
    });
    for row in &rows {
        assert_eq!((&row["class"], &row["subject"]), (&json!("P1"), &json!("station")));
        assert!(["station-001", "station-002"].contains(&row["school"].as_str().unwrap()), "{row}");
    }
    let first = rows.iter().find(|row| row["school"] == "station-001").unwrap();
    assert!(first["note"].as_str().unwrap().contains("0793-8000001"), "{first}");

    lab.start("relay-001");
    lab.start("station-001");
    let heard = http::post(&lab.base("station-002"), "/v1/audible", &[], &json!({ "on": true, "seconds": 3600 }));
    assert_eq!(heard.unwrap().status, 200);
    wait_kind(&lab, "station-002", "back");
    wait_kind(&lab, "station-001", "back");
    wait_until("both are watched again", LONG, || (of_kind(&lab, "station-003", "watched").len() == 2).then_some(()));
    for row in &rows {
        let id = row["id"].as_str().unwrap();
        let entry = recorded(&lab, "broker-1", id).unwrap();
        assert_eq!(
            (&entry["case"]["state"], &entry["case"]["close_reason"]),
            (&json!("closed"), &json!("other")),
            "{entry}"
        );
        assert!(entry["trouble"]["over"].is_string(), "{entry}");
        wait_until("the screen shows that it is closed", PATIENCE, || {
            let shown = http::get(&lab.base("station-003"), &format!("/v1/events/{id}")).ok()?.json();
            (shown["case"]["state"] == "closed").then_some(())
        });
    }
    let silent = recorded(&lab, "broker-1", silent["id"].as_str().unwrap()).unwrap();
    assert!(silent["trouble"]["over"].is_string(), "{silent}");
    assert_eq!(of_kind(&lab, "station-002", "silent").iter().filter(|row| row["class"] == "P2").count(), 1);
    let asked = ["report", "--since", "1h", "--by", "silence", "--output", "json", "--broker", &lab.base("broker-1")];
    let report = lab.run(&asked);
    assert_eq!(report.code, Some(0), "{report:?}");
    let report: Value = serde_json::from_str(&report.stdout).unwrap();
    let [school] = report["silent_schools"].as_array().unwrap().as_slice() else { panic!("one school: {report}") };
    assert_eq!((&school["name"], &school["times"], &school["still"]), (&json!("school-001"), &json!(1), &json!(false)));
    assert!(school["total_ms"].as_f64() > Some(0.0), "{school}");
    lab.assert_calm();
}

#[test]
fn no_relay_may_say_what_only_a_region_finds_out() {
    let lab = Lab::running(1, 1);
    for kind in ["silent", "unwatched", "outage", "back"] {
        let body = json!({ "kind": kind });
        let answer = http::post(&lab.base("relay-001"), "/v1/events", &[], &body).unwrap();
        assert_eq!(answer.status, 422, "{}", answer.body);
        assert_eq!(answer.json()["error"]["code"], "unknown_kind");
    }
    lab.assert_calm();
}
