//! What a school's plan makes its relay do, with real processes: the guard post, person warnings, presses that belong together, and the PIN.

use huxiao_pki::pin::PinHash;
use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

/// A plan by which the guard post is manned at all times, and a person warning must be sure.
const PLAN: &str = r#"
[[school]]
id = "school-001"
name = "第一小学"
stations = ["station-001"]

[[school.device]]
id = "post-1"
kind = "guard_post"
place = "南门岗亭"

[[school.duty]]
weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
from = "00:00"
to = "24:00"
absent_after = "10s"

[[school.person_list]]
list = "wanted"
threshold = 0.8

[[school.person_mute]]
person = "staff-1"
"#;

fn planned(lab: &mut Lab) {
    std::fs::write(lab.set_dir().join("plan.toml"), PLAN).unwrap();
    lab.start_all();
    wait_until("the relay has its school's plan", PATIENCE, || {
        let answer = http::get(&lab.relay_of("school-001"), "/v1/plan").ok()?;
        (answer.status == 200 && answer.json()["school"]["name"] == "第一小学").then_some(())
    });
}

fn of_kind(lab: &Lab, kind: &str) -> Vec<Value> {
    lab.inbox("station-001").into_values().filter(|row| row["kind"] == kind).collect()
}

fn duty(lab: &Lab) -> Value {
    http::get(&lab.relay_of("school-001"), "/v1/duty").unwrap().json()
}

#[test]
fn an_empty_post_is_told_once_also_by_a_relay_that_starts_without_its_region() {
    let mut lab = Lab::init(1, 1);
    planned(&mut lab);
    let unknown = lab.run(&["duty", "check-in", "--relay", &lab.relay_of("school-001"), "--post", "roof"]);
    assert!(unknown.code == Some(1) && unknown.stderr.contains("post-1"), "{unknown:?}");
    let absent = wait_until("the station is told that nobody is there", PATIENCE, || of_kind(&lab, "absent").pop());
    assert_eq!((&absent["details"]["post"], &absent["details"]["limit"]), (&json!("post-1"), &json!("10")));
    // The region goes, and the relay starts again: it knows its plan, and what it has told.
    lab.node("broker-1").kill9();
    lab.node("relay-001").kill9();
    lab.start("relay-001");
    lab.node("relay-001").wait_ready();
    let posts = duty(&lab);
    assert_eq!((&posts["posts"][0]["state"], &posts["posts"][0]["place"]), (&json!("absent"), &json!("南门岗亭")));
    let here =
        lab.run(&["duty", "check-in", "--relay", &lab.relay_of("school-001"), "--post", "post-1", "--sensor", "card"]);
    assert_eq!(here.code, Some(0), "{here:?}");
    wait_until("the post is manned", PATIENCE, || (duty(&lab)["posts"][0]["state"] != "absent").then_some(()));
    lab.start("broker-1");
    lab.node("broker-1").wait_ready();
    let back = wait_until("the station is told that the guard is back", PATIENCE, || of_kind(&lab, "return").pop());
    assert_eq!((&back["details"]["reason"], &back["details"]["sensor"]), (&json!("check_in"), &json!("card")));
    let firsts = of_kind(&lab, "absent").into_iter().filter(|row| row["id"] == absent["id"]).count();
    assert_eq!(firsts, 1);
}

#[test]
fn a_warning_goes_by_the_plan_and_says_what_it_must() {
    let mut lab = Lab::init(1, 1);
    planned(&mut lab);
    let warn = |details: Value| lab.try_raise("school-001", &[], &json!({ "kind": "person", "details": details }));
    let missing = warn(json!({ "person": "p-1", "list": "wanted" }));
    assert!(
        missing.status == 422 && missing.json()["error"]["message"].as_str().unwrap().contains("score"),
        "{missing:?}"
    );
    let below = warn(json!({ "person": "p-1", "list": "wanted", "score": "0.5" }));
    assert_eq!((below.status, &below.json()["withheld"]), (200, &json!("below_threshold")));
    let muted = warn(json!({ "person": "staff-1", "list": "wanted", "score": "0.99" }));
    assert_eq!((muted.status, &muted.json()["withheld"]), (200, &json!("muted")));
    let told = warn(json!({ "person": "p-1", "list": "wanted", "score": "0.93" }));
    assert_eq!(told.status, 202, "{told:?}");
    let id = told.json()["id"].as_str().unwrap().to_owned();
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    let [row] = &of_kind(&lab, "person")[..] else { panic!("one warning") };
    assert_eq!(row["details"], json!({ "person": "p-1", "list": "wanted", "score": "0.93" }));
}

#[test]
fn a_press_again_joins_its_case_and_another_button_is_its_child() {
    let lab = Lab::running(1, 1);
    let press = |device: &str| lab.raise("school-001", &json!({ "kind": "panic", "device": device }));
    let first = press("button-1");
    lab.wait_inbox("station-001", std::slice::from_ref(&first), PATIENCE);
    let (again, other) = (press("button-1"), press("button-2"));
    lab.wait_inbox("station-001", &[again.clone(), other.clone()], PATIENCE);
    let case = |id: &str| {
        let rows = lab.inbox("station-001");
        rows.into_values().find(|row| row["id"] == *id).map(|row| row["case"].clone()).unwrap_or_default()
    };
    wait_until("the station knows what belongs together", PATIENCE, || {
        let (root, repeat, child) = (case(&first), case(&again), case(&other));
        let counted = root["presses"] == 1 && root["level"] == 1;
        let joined = repeat["repeat"] == true && repeat["parent"] == *first.as_str();
        (counted && joined && child["parent"] == *first.as_str() && child["repeat"] == false).then_some(())
    });
    // One answer for both presses of the button; the other one has its own.
    let ack = lab.run(&["alarm", "ack", &again, "--station", &lab.base("station-001"), "--officer", "014"]);
    assert_eq!(ack.code, Some(0), "{ack:?}");
    for id in [&first, &again] {
        lab.wait_lamp("school-001", id, "acknowledged", PATIENCE);
    }
    assert_ne!(lab.lamp("school-001", &other), "acknowledged");
    lab.assert_calm();
}

#[test]
fn who_asks_to_cancel_knows_the_pin_and_who_is_made_to_raises_a_silent_alarm() {
    let mut lab = Lab::init(2, 1);
    for (key, pin) in [("relay.pin_hash", "2580"), ("relay.duress_pin_hash", "9911")] {
        lab.node("relay-001").set(key, &PinHash::of(pin).unwrap().to_string());
    }
    lab.start_all();
    let ask = |school: &str, body: Value| lab.try_raise(school, &[], &body);
    assert_eq!(ask("school-002", json!({ "kind": "cancel", "pin": "2580" })).error(), "pin_not_set");
    assert_eq!(ask("school-001", json!({ "kind": "cancel" })).error(), "pin_needed");
    assert_eq!(ask("school-001", json!({ "kind": "cancel", "pin": "0000" })).error(), "wrong_pin");
    let (right, forced) = (
        ask("school-001", json!({ "kind": "cancel", "pin": "2580" })),
        ask("school-001", json!({ "kind": "cancel", "pin": "9911" })),
    );
    assert_eq!((right.status, forced.status), (202, 202));
    let ids = [&right, &forced].map(|answer| answer.json()["id"].as_str().unwrap().to_owned());
    lab.wait_inbox("station-001", &ids, PATIENCE);
    let rows = lab.inbox("station-001");
    let kind = |id: &str| rows.values().find(|row| row["id"] == *id).map(|row| row["kind"].clone()).unwrap();
    assert_eq!((kind(&ids[0]), kind(&ids[1])), (json!("cancel"), json!("duress")));
    // At the school both look alike.
    for id in &ids {
        let shown = lab.at_relay("school-001", id);
        assert_eq!((&shown["kind"], &shown["details"]), (&json!("cancel"), &json!({})), "{shown}");
    }
    for _ in 0..5 {
        ask("school-001", json!({ "kind": "cancel", "pin": "1111" }));
    }
    assert_eq!(ask("school-001", json!({ "kind": "cancel", "pin": "2580" })).status, 429);
}
