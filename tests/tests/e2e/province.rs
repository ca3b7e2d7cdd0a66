//! A region and the province above it: what is pressed is on both screens, the line between them breaks, and officers of either help.

use std::collections::BTreeSet;
use std::time::Duration;

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

const DUTY: &str = "province-station-001";

fn running() -> Lab {
    let mut lab = Lab::with_province(1, 2);
    lab.start_all();
    lab
}

/// Waits until the province lacks nothing of what the region's record has.
fn wait_forwarded(lab: &Lab) {
    let settled = || {
        let province = &lab.status("broker-1")["province"];
        let pending: u64 = province["pending"].as_object()?.values().filter_map(Value::as_u64).sum();
        (pending == 0 && province["connected"].as_array()?.len() == 1).then_some(())
    };
    wait_until("the province has all", PATIENCE, settled);
}

/// An event as a broker node's record has it.
fn in_record(lab: &Lab, broker: &str, id: &str) -> Option<Value> {
    let answer = http::get(&lab.base(broker), &format!("/v1/events/{id}")).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn health(lab: &Lab, broker: &str) -> String {
    http::get(&lab.base(broker), "/readyz?verbose").unwrap().body
}

#[test]
fn the_provinces_screen_has_the_alarm_and_its_officer_may_take_it() {
    let lab = running();
    let id = lab.press("school-001");
    lab.wait_inbox(DUTY, std::slice::from_ref(&id), PATIENCE);
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.displayed(DUTY, &id);
    lab.wait_lamp("school-001", &id, "on_screen", PATIENCE);
    lab.ack(DUTY, &id, "900");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    let taken = lab.at_relay("school-001", &id);
    assert_eq!(taken["acknowledged_by"]["by"], "station/province-001/desk-1", "{taken}");
    let known = || {
        let inbox = lab.inbox("station-001");
        let row = inbox.values().find(|row| row["id"] == id)?;
        (row["acknowledged_by"]["officer"] == "900").then_some(())
    };
    wait_until("the region's station knows who has it", PATIENCE, known);
    wait_forwarded(&lab);
    let there = in_record(&lab, "province-broker-1", &id).unwrap();
    let nodes: Vec<&str> = there["trail"].as_array().unwrap().iter().map(|s| s["node"].as_str().unwrap()).collect();
    assert!(nodes.iter().any(|node| node.starts_with("broker/r1/")), "the trail names the region: {nodes:?}");
    lab.assert_calm();
}

#[test]
fn a_province_that_was_gone_has_every_alarm_once() {
    let mut lab = running();
    let mut pressed = vec![lab.press("school-001")];
    lab.wait_inbox(DUTY, &pressed, PATIENCE);
    lab.node("province-broker-1").kill9();
    pressed.extend((0..20).map(|_| lab.press("school-001")));
    lab.wait_inbox("station-001", &pressed, PATIENCE);
    lab.ack("station-001", &pressed[3], "014");
    lab.wait_lamp("school-001", &pressed[3], "acknowledged", PATIENCE);
    let waiting = || health(&lab, "broker-1").contains("wait for it").then_some(());
    wait_until("the region says in words what waits for the province", PATIENCE, waiting);
    lab.start("province-broker-1");
    lab.wait_inbox(DUTY, &pressed, Duration::from_secs(90));
    wait_forwarded(&lab);
    let rows = lab.inbox(DUTY);
    let ids: BTreeSet<&str> = rows.values().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), rows.len()), (pressed.len(), pressed.len()), "each once");
    let taken = in_record(&lab, "province-broker-1", &pressed[3]).unwrap();
    assert_eq!(taken["acknowledged_by"]["officer"], "014", "{taken}");
    assert_eq!(
        in_record(&lab, "broker-1", &pressed[3]).unwrap()["forwarded"].as_array().unwrap().last(),
        Some(&json!("acknowledged"))
    );
    lab.assert_calm();
}

#[test]
fn an_officer_has_another_station_see_an_alarm() {
    let lab = running();
    let id = lab.press("school-001");
    lab.wait_inbox(DUTY, std::slice::from_ref(&id), PATIENCE);
    // The school is station-001's. Its officer asks the neighbours; the province's could as well.
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    assert!(lab.inbox("station-002").is_empty());
    let from = lab.base(DUTY);
    let escalate = ["alarm", "escalate", &id, "--to", "station-002", "--station", &from, "--officer", "900"];
    let done = lab.run(&[escalate.as_slice(), &["--note", "两人持刀"]].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    lab.wait_inbox("station-002", std::slice::from_ref(&id), PATIENCE);
    let event = in_record(&lab, "broker-1", &id).unwrap();
    let wanted = json!({ "to": ["station-002"], "officer": "900", "note": "两人持刀" });
    for (member, value) in wanted.as_object().unwrap() {
        assert_eq!(&event["escalations"][0][member], value, "{event}");
    }
    // A station that does not have it asks nobody.
    let unknown = "019ab5f0-1c00-7aaa-8bbb-0123456789ab";
    let body = json!({ "to": ["station-002"], "officer": "014" });
    let answer = http::post(&lab.base("station-001"), &format!("/v1/events/{unknown}/escalate"), &[], &body).unwrap();
    assert_eq!((answer.status, answer.error().as_str()), (404, "unknown_event"));
    let nobody = http::post(
        &lab.base("station-001"),
        &format!("/v1/events/{id}/escalate"),
        &[],
        &json!({ "to": [], "officer": "014" }),
    );
    assert_eq!(nobody.unwrap().status, 422);
    lab.assert_calm();
}
