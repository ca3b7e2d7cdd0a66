//! Drills and tests with real processes: announced first, tagged at the listed school alone, counted, and closed by themselves.

use std::time::Duration;

use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

fn at(lab: &Lab, node: &str, path: &str) -> Value {
    http::get(&lab.base(node), path).unwrap().json()
}

/// The relay of a school, as the lab calls it.
fn relay(school: &str) -> String {
    school.replace("school", "relay")
}

fn wait_mode(lab: &Lab, school: &str, mode: &str) {
    let relay = relay(school);
    wait_until(&format!("{relay} is in mode {mode}"), PATIENCE, || {
        (at(lab, &relay, "/v1/mode")["mode"] == mode).then_some(())
    });
}

/// Opens a drill of one school at the broker and gives its id.
fn open(lab: &Lab, school: &str, more: &[&str]) -> String {
    let base = lab.base("broker-1");
    let words = ["drill", "open", "--school", school, "--minutes", "10", "--approver", "王所长", "--output", "json"];
    let opened = lab.run(&[&words[..], &["--broker", &base], more].concat());
    assert_eq!(opened.code, Some(0), "{opened:?}");
    let drill: Value = serde_json::from_str(&opened.stdout).unwrap();
    drill["id"].as_str().unwrap().to_owned()
}

#[test]
fn a_drill_of_one_school_is_announced_tagged_counted_and_ended() {
    let lab = Lab::running(2, 1);
    let mut screen = Stream::open(&lab.base("station-001"), "/v1/events", None).unwrap();
    let id = open(&lab, "school-001", &[]);
    // The station hears of it before it begins.
    loop {
        let message = screen.next_message().unwrap();
        assert_ne!(message.name, "alarm", "nothing was pressed");
        if message.name == "drill" {
            let drill = message.json();
            assert_eq!((&drill["id"], &drill["phase"]), (&json!(id), &json!("announced")), "{drill}");
            break;
        }
    }
    assert_eq!(at(&lab, "station-001", "/v1/drills")["drills"][0]["approver"], "王所长");
    wait_mode(&lab, "school-001", "drill");
    assert_eq!(at(&lab, &relay("school-002"), "/v1/mode")["mode"], "live");
    let (rehearsal, alarm) = (lab.press("school-001"), lab.press("school-002"));
    lab.wait_inbox("station-001", &[rehearsal.clone(), alarm.clone()], PATIENCE);
    let flag = |id: &str| at(&lab, "station-001", &format!("/v1/events/{id}"))["drill"].clone();
    assert_eq!((flag(&rehearsal), flag(&alarm)), (json!(true), json!(false)));
    // A guard who means it says so.
    let meant = lab.raise("school-001", &json!({ "kind": "panic", "live": true }));
    lab.wait_inbox("station-001", std::slice::from_ref(&meant), PATIENCE);
    assert_eq!(flag(&meant), json!(false));
    lab.displayed("station-001", &rehearsal);
    lab.ack("station-001", &rehearsal, "014");
    let base = lab.base("broker-1");
    let figures = wait_until("the drill's figures", PATIENCE, || {
        let drill = at(&lab, "broker-1", &format!("/v1/drills/{id}"));
        (drill["taken"] == 1).then_some(drill)
    });
    for (name, count) in [("in_scope", 1), ("pressed", 1), ("presses", 1), ("displayed", 1)] {
        assert_eq!(figures[name], count, "{name} in {figures}");
    }
    let csv = lab.run(&["drill", "report", &id, "--broker", &base, "--output", "csv"]);
    assert!(csv.stdout.lines().nth(1).is_some_and(|line| line.starts_with("school-001,")), "{csv:?}");
    let shown = lab.run(&["drill", "show", &id, "--broker", &base]);
    assert!(shown.stdout.contains("学校 1 所，已按 1") && shown.stdout.contains("1 taken"), "{shown:?}");
    let listed = lab.run(&["drill", "list", "--broker", &base]);
    assert!(listed.stdout.contains(&id) && listed.stdout.contains("1/1"), "{listed:?}");
    // Ended: what is pressed from now on is meant, and whoever makes a rehearsal live has an alarm.
    let station = lab.base("station-001");
    let live = lab.run(&["case", "make-live", &rehearsal, "--station", &station, "--officer", "014"]);
    assert_eq!(live.code, Some(0), "{live:?}");
    assert_eq!(at(&lab, "station-001", &format!("/v1/events/{rehearsal}"))["case"]["live"], true);
    let closed = lab.run(&["drill", "close", &id, "--who", "王所长", "--station", &station]);
    assert_eq!(closed.code, Some(0), "{closed:?}");
    wait_mode(&lab, "school-001", "live");
    let after = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&after), PATIENCE);
    assert_eq!(flag(&after), json!(false));
}

#[test]
fn a_rehearsal_that_nobody_takes_is_closed_when_the_drill_is_over() {
    let lab = Lab::running(1, 1);
    let id = open(&lab, "school-001", &["--device", "button"]);
    wait_mode(&lab, "school-001", "drill");
    let rehearsal = lab.raise("school-001", &json!({ "kind": "panic", "device": "button" }));
    let alarm = lab.raise("school-001", &json!({ "kind": "panic", "device": "other" }));
    lab.wait_inbox("station-001", &[rehearsal.clone(), alarm.clone()], PATIENCE);
    let base = lab.base("broker-1");
    let closed = lab.run(&["drill", "close", &id, "--who", "王所长", "--broker", &base]);
    assert_eq!(closed.code, Some(0), "{closed:?}");
    // A minute is left to whoever looks at it.
    let within = Duration::from_secs(100) + PATIENCE;
    wait_until("the rehearsal's case is closed by itself", within, || {
        let event = at(&lab, "station-001", &format!("/v1/events/{rehearsal}"));
        (event["case"]["state"] == "closed" && event["finished"] == true).then_some(())
    });
    let history = at(&lab, "broker-1", &format!("/v1/events/{rehearsal}/case"));
    let steps = history["steps"].as_array().unwrap();
    assert_eq!(
        (steps.len(), &steps[0]["detail"], &steps[0]["officer"]),
        (1, &json!("drill"), &Value::Null),
        "{history}"
    );
    lab.wait_lamp("school-001", &rehearsal, "over", PATIENCE);
    assert_eq!(at(&lab, "station-001", &format!("/v1/events/{alarm}"))["case"]["state"], "raised");
}

#[test]
fn tests_are_switched_on_at_the_relay_and_count_as_the_schools_test() {
    let lab = Lab::running(2, 1);
    let base = lab.base("broker-1");
    let untested = || lab.run(&["report", "untested", "--broker", &base, "--output", "csv"]);
    let before = untested();
    assert_eq!((before.code, before.stdout.lines().count()), (Some(10), 3), "{before:?}");
    let relay = lab.base(&relay("school-001"));
    let switched = lab.run(&["relay", "mode", "--relay", &relay, "--test", "5"]);
    assert!(switched.code == Some(0) && switched.stdout.contains("测试"), "{switched:?}");
    let test = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&test), PATIENCE);
    assert_eq!(at(&lab, "station-001", &format!("/v1/events/{test}"))["test"], true);
    wait_until("the record knows of the test", PATIENCE, || {
        let listed = untested().stdout;
        (!listed.contains("school-001") && listed.contains("school-002")).then_some(())
    });
    let switched = lab.run(&["relay", "mode", "--relay", &relay, "--live"]);
    assert!(switched.stdout.contains("live"), "{switched:?}");
    let alarm = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&alarm), PATIENCE);
    assert_eq!(at(&lab, "station-001", &format!("/v1/events/{alarm}"))["test"], false);
}

#[test]
fn a_relay_tests_itself_once_and_rings_nobody() {
    let mut lab = Lab::init(1, 1);
    let relay = relay("school-001");
    lab.start_all();
    // Its time is drawn from the window: so a short one is given, that has begun.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 8 * 3_600;
    let minute = now % 86_400 / 60;
    let to = (minute + 2).min(24 * 60);
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60, minute % 60);
    lab.node(&relay).stop();
    lab.node(&relay).set("relay.self_test", &format!("{}-{}", clock(minute), clock(to)));
    lab.start(&relay);
    lab.wait_connected(&relay);
    let shown = wait_until("the self-test is displayed", Duration::from_secs(130) + PATIENCE, || {
        let inbox = lab.inbox("station-001");
        let found = inbox.values().find(|event| event["kind"] == "self_test")?.clone();
        found["stages"]["displayed"].is_string().then_some(found)
    });
    assert_eq!((&shown["class"], &shown["test"], &shown["case"]), (&json!("P2"), &json!(true), &Value::Null));
    let id = shown["id"].as_str().unwrap().to_owned();
    // The way back, too: the relay knows that it was shown.
    lab.wait_stage("school-001", &id, "displayed", PATIENCE);
    // Not again after a restart on the same day.
    lab.node(&relay).stop();
    lab.start(&relay);
    lab.wait_connected(&relay);
    let press = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&press), PATIENCE);
    let tests = lab.inbox("station-001").values().filter(|event| event["kind"] == "self_test").count();
    assert_eq!(tests, 1);
}
