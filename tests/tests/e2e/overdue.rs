//! An alarm that nobody takes goes up in time, also when the leader dies at that very second; and stops going up when somebody takes it.

use std::fs;
use std::time::Duration;

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::Value;

use crate::PATIENCE;

/// One school; its county's desk is at the other station. Times as short as a plan may set them.
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
desk = "station-002"
escalation = { louder = "5s", county = "10s", city = "20s", province = "30s" }

[[school]]
id = "school-001"
area = "361102"
stations = ["station-001"]
"#;

fn lab(brokers: u16, plan: &str) -> Lab {
    let mut lab = Lab::with_brokers(brokers, 1, 2);
    fs::write(lab.set_dir().join("plan.toml"), plan).unwrap();
    lab.start_all();
    lab
}

/// What a broker's record says of an event.
fn recorded(lab: &Lab, node: &str, id: &str) -> Option<Value> {
    http::get(&lab.base(node), &format!("/v1/events/{id}"))
        .ok()
        .filter(|answer| answer.status == 200)
        .map(|answer| answer.json())
}

fn rungs(json: &Value) -> Vec<String> {
    json["overdue"].as_array().into_iter().flatten().map(|rung| rung["rung"].as_str().unwrap().to_owned()).collect()
}

/// The ownership that a station shows of an event.
fn rung_at(lab: &Lab, station: &str, id: &str) -> Option<String> {
    let shown = http::get(&lab.base(station), &format!("/v1/events/{id}")).ok()?;
    shown.json()["ownership"]["rung"].as_str().map(str::to_owned)
}

#[test]
fn an_alarm_that_nobody_takes_goes_to_the_county_in_time_and_no_further_once_taken() {
    let lab = lab(1, PLAN);
    let id = lab.press("school-001");
    for station in ["station-001", "station-002"] {
        // Who may see it sees it at once; what goes up is who owns it.
        lab.wait_inbox(station, std::slice::from_ref(&id), PATIENCE);
    }
    wait_until("the station is told louder", PATIENCE, || {
        (rung_at(&lab, "station-001", &id).as_deref() == Some("louder")).then_some(())
    });
    wait_until("the county owns it too", PATIENCE, || {
        (rung_at(&lab, "station-002", &id).as_deref() == Some("county")).then_some(())
    });
    let json = recorded(&lab, "broker-1", &id).unwrap();
    assert_eq!(rungs(&json), ["louder", "county"]);
    assert_eq!(json["owners"], serde_json::json!(["station-001", "station-002"]));
    lab.ack("station-002", &id, "014");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    // Past the city's and the province's time.
    std::thread::sleep(Duration::from_secs(22));
    assert_eq!(rungs(&recorded(&lab, "broker-1", &id).unwrap()), ["louder", "county"]);
    lab.assert_calm();
}

#[test]
fn a_leader_that_dies_at_the_second_at_which_an_alarm_goes_up_changes_nothing() {
    const BROKERS: [&str; 3] = ["broker-1", "broker-2", "broker-3"];
    // The city's turn is far off, so that a slow machine does not come to it.
    let plan = PLAN.replace("20s", "200s").replace("30s", "400s");
    let mut lab = lab(3, &plan);
    let id = lab.press("school-001");
    lab.wait_stage("school-001", &id, "stored", PATIENCE);
    std::thread::sleep(Duration::from_millis(9_700));
    let leader = BROKERS.into_iter().find(|node| {
        let status = http::get(&lab.base(node), "/v1/cluster");
        status.is_ok_and(|answer| answer.json()["state"] == "leader")
    });
    let leader = leader.expect("one of them leads");
    lab.node(leader).kill9();
    wait_until("the county owns it", PATIENCE, || {
        (rung_at(&lab, "station-002", &id).as_deref() == Some("county")).then_some(())
    });
    let rest: Vec<&str> = BROKERS.into_iter().filter(|node| *node != leader).collect();
    for node in &rest {
        let all = wait_until("the record has it", PATIENCE, || {
            recorded(&lab, node, &id)
                .map(|json| rungs(&json))
                .filter(|rungs| rungs.last().is_some_and(|rung| rung == "county"))
        });
        assert_eq!(all, ["louder", "county"], "each once, at {node}");
    }
    lab.start(leader);
    lab.ack("station-001", &id, "014");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    lab.assert_calm();
}
