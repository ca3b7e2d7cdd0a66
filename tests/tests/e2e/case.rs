//! The police's side of an alarm: from the officer who takes it to its closing, its history, and what an export of it tells.

use std::fs;

use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, Output, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

/// An alarm that officer 014 of the first station has.
fn taken(lab: &Lab) -> String {
    let id = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.displayed("station-001", &id);
    lab.ack("station-001", &id, "014");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    id
}

/// `huxiao case VERB ID --station … --officer …` and whatever else.
fn case(lab: &Lab, verb: &str, id: &str, station: &str, officer: &str, more: &[&str]) -> Output {
    let base = lab.base(station);
    lab.run(&[&["case", verb, id, "--station", &base, "--officer", officer], more].concat())
}

fn history(lab: &Lab, broker: &str, id: &str) -> Value {
    http::get(&lab.base(broker), &format!("/v1/events/{id}/case")).unwrap().json()
}

fn actions(history: &Value) -> Vec<&str> {
    history["steps"].as_array().unwrap().iter().map(|step| step["action"].as_str().unwrap()).collect()
}

#[test]
fn a_case_goes_its_way_and_its_history_can_be_proven() {
    let lab = Lab::running(1, 1);
    let mut screen = Stream::open(&lab.base("station-001"), "/v1/events", None).unwrap();
    let id = taken(&lab);
    let early = case(&lab, "onscene", &id, "station-001", "014", &[]);
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.stderr.contains("not_now") && early.stderr.contains("已接警"), "{early:?}");
    for (verb, more) in [
        ("dispatch", &["--note", "派两车"][..]),
        ("number", &["--number", "110-2026-7"]),
        ("enroute", &[]),
        ("onscene", &[]),
        ("help", &["--note", "两人持刀"]),
        ("note", &["--note", "已控制"]),
        ("handled", &[]),
    ] {
        let done = case(&lab, verb, &id, "station-001", "014", more);
        assert_eq!(done.code, Some(0), "{verb}: {done:?}");
    }
    let closed = case(&lab, "close", &id, "station-001", "014", &["--reason", "real", "--output", "json"]);
    assert_eq!(closed.code, Some(0), "{closed:?}");
    let closed: Value = serde_json::from_str(&closed.stdout).unwrap();
    assert_eq!((&closed["step"], &closed["case"]["state"]), (&json!(9), &json!("closed")));
    // Whoever follows the station has seen each step, and the event carries its case.
    loop {
        let message = screen.next_message().unwrap();
        if message.name == "case" && message.json()["case"]["state"] == "closed" {
            break;
        }
    }
    let event = http::get(&lab.base("station-001"), &format!("/v1/events/{id}")).unwrap().json();
    for (member, value) in [
        ("state", json!("closed")),
        ("close_reason", json!("real")),
        ("number_110", json!("110-2026-7")),
        ("level", json!(1)),
        ("steps", json!(9)),
        ("cancel_requested", json!(false)),
    ] {
        assert_eq!(event["case"][member], value, "{member} in {event}");
    }
    let broker = lab.base("broker-1");
    let shown = lab.run(&["case", "show", &id, "--broker", &broker]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in ["已结案", "dispatch", "派两车", "need_help", "两人持刀", "close real"] {
        assert!(shown.stdout.contains(words), "{words} in\n{}", shown.stdout);
    }
    let all = history(&lab, "broker-1", &id);
    assert_eq!(actions(&all)[0], "acknowledge");
    let here = history(&lab, "station-001", &id);
    assert_eq!((&here["steps"], &here["event"]), (&all["steps"], &all["event"]), "the station shows the same");
    let counted = |outcome| lab.metric("broker-1", "huxiao_case_orders_total", &format!("outcome=\"{outcome}\""));
    assert_eq!((counted("taken"), counted("not_now")), (8.0, 1.0), "and the node has counted them");
    // A case that went wrong is opened again.
    assert_eq!(case(&lab, "reopen", &id, "station-001", "014", &[]).code, Some(0));
    assert_eq!(case(&lab, "close", &id, "station-001", "014", &["--reason", "false"]).code, Some(0));
    proven(&lab, &broker, &id);
    // A node that starts anew has it all.
    let before = history(&lab, "broker-1", &id);
    let mut lab = lab;
    lab.node("broker-1").kill9();
    lab.start("broker-1");
    wait_until("the node has all of its log, and the same history of it", PATIENCE, || {
        let answer = http::get(&lab.base("broker-1"), &format!("/v1/events/{id}/case")).ok()?;
        (answer.status == 200 && answer.json() == before).then_some(())
    });
    lab.assert_calm();
}

/// An export is whole, and shows what is done to it.
fn proven(lab: &Lab, broker: &str, id: &str) {
    let export = lab.run(&["audit", "export", "--broker", broker]);
    assert_eq!(export.code, Some(0), "{export:?}");
    assert!(export.stderr.contains("1 cases"), "{export:?}");
    let lines: Vec<&str> = export.stdout.lines().collect();
    assert_eq!(lines.len(), 13, "a case, eleven steps, the end: {export:?}");
    assert!(lines[0].contains(id));
    let verify = |name: &str, lines: &[String]| {
        let file = lab.dir().join(name);
        fs::write(&file, lines.concat()).unwrap();
        lab.run(&["audit", "verify", file.to_str().unwrap()])
    };
    let owned: Vec<String> = lines.iter().map(|line| format!("{line}\n")).collect();
    let whole = verify("whole.ndjson", &owned);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let mut changed = owned.clone();
    changed[2] = changed[2].replace("派两车", "派三车");
    let mut missing = owned.clone();
    missing.remove(4);
    let mut swapped = owned;
    swapped.swap(5, 6);
    for (name, lines, line) in [("changed", changed, 3), ("missing", missing, 5), ("swapped", swapped, 6)] {
        let verdict = verify(name, &lines);
        assert_eq!(verdict.code, Some(10), "{name}: {verdict:?}");
        assert!(verdict.stderr.contains(&format!("{name}:{line}:")), "{verdict:?}");
    }
    let none = lab.run(&["audit", "export", "--broker", broker, "--until", "2020-01-01T00:00:00Z"]);
    assert_eq!((none.code, none.stdout.lines().count()), (Some(0), 1), "{none:?}");
}

const BROKERS: [&str; 3] = ["broker-1", "broker-2", "broker-3"];

/// Waits until the nodes that run agree on a leader; gives its name in the lab.
fn leader(lab: &Lab, nodes: &[&str]) -> String {
    let first = wait_until("the region has a leader", PATIENCE, || {
        let cluster = |node: &&str| Some(http::get(&lab.base(node), "/v1/cluster").ok()?.json());
        let said: Option<Vec<Value>> = nodes.iter().map(cluster).collect();
        let said = said?;
        let first = said[0]["leader"].as_str()?.to_owned();
        said.iter().all(|json| json["leader"] == *first && json["degraded"].is_null()).then_some(first)
    });
    format!("broker-{}", first.trim_start_matches('b'))
}

#[test]
fn officers_of_a_region_act_on_one_case_though_its_leader_dies() {
    let mut lab = Lab::with_brokers(3, 1, 2);
    lab.start_all();
    let id = taken(&lab);
    // The second station has it too.
    let to = lab.base("station-001");
    let shared = lab.run(&["alarm", "escalate", &id, "--to", "station-002", "--station", &to, "--officer", "014"]);
    assert_eq!(shared.code, Some(0), "{shared:?}");
    lab.wait_inbox("station-002", std::slice::from_ref(&id), PATIENCE);
    let refused = case(&lab, "dispatch", &id, "station-002", "021", &["--output", "json"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    let refused: Value = serde_json::from_str(&refused.stdout).unwrap();
    assert_eq!((&refused["error"]["code"], &refused["case"]["owner"]["officer"]), (&json!("not_owner"), &json!("014")));
    assert_eq!(case(&lab, "dispatch", &id, "station-001", "014", &[]).code, Some(0));
    let dead = leader(&lab, &BROKERS);
    lab.node(&dead).kill9();
    let enroute = wait_until("the next step is taken", PATIENCE, || {
        let done =
            case(&lab, "enroute", &id, "station-001", "014", &["--action-id", "0193aaaa-0000-7000-8000-000000000001"]);
        (done.code == Some(0)).then_some(done)
    });
    assert!(enroute.stdout.contains("途中"), "{enroute:?}");
    lab.start(&dead);
    leader(&lab, &BROKERS);
    // Two officers at once: one closes it, the other takes it over. Both are answered, and all nodes say the same.
    let bases = [lab.base("station-001"), lab.base("station-002")];
    let path = format!("/v1/events/{id}/case");
    let bodies = [
        json!({ "action": "close", "officer": "014", "reason": "false" }),
        json!({ "action": "take_over", "officer": "021" }),
    ];
    let answers: Vec<_> = std::thread::scope(|scope| {
        let post = |(base, body): (&String, &Value)| {
            let path = &path;
            let (base, body) = (base.clone(), body.clone());
            scope.spawn(move || http::post(&base, path, &[], &body).unwrap())
        };
        let asked: Vec<_> = bases.iter().zip(&bodies).map(post).collect();
        asked.into_iter().map(|answer| answer.join().unwrap()).collect()
    });
    let (close, take) = (&answers[0], &answers[1]);
    let outcome = (close.status, take.status);
    assert!(outcome == (200, 409) || outcome == (409, 200), "{answers:?}");
    let code = if close.status == 409 { close.error() } else { take.error() };
    assert!(["not_owner", "not_now"].contains(&code.as_str()), "{answers:?}");
    // A node may be behind by a moment; the one that was dead, by more.
    let first = wait_until("a node has all of it", PATIENCE, || {
        let all = history(&lab, "broker-1", &id);
        (all["case"]["steps"] == 4).then_some(all)
    });
    let done = actions(&first).into_iter().filter(|action| *action == "enroute").count();
    assert_eq!(done, 1, "the same order said again is one step: {first}");
    for node in BROKERS {
        let same = || (history(&lab, node, &id) == first).then_some(());
        wait_until("every node has the same history, digests included", PATIENCE, same);
    }
    lab.assert_calm();
}

#[test]
fn a_request_of_the_school_closes_nothing_and_a_transfer_asks_another_station() {
    let mut lab = Lab::init(1, 2);
    let hash = huxiao_pki::pin::PinHash::of("2580").unwrap();
    lab.node("relay-001").set("relay.pin_hash", &hash.to_string());
    lab.start_all();
    let id = taken(&lab);
    lab.raise("school-001", &json!({ "kind": "cancel", "pin": "2580" }));
    let flagged = || (history(&lab, "broker-1", &id)["case"]["cancel_requested"] == true).then_some(());
    wait_until("the case is flagged", PATIENCE, flagged);
    assert_eq!(history(&lab, "broker-1", &id)["case"]["state"], "acknowledged");
    let moved = case(&lab, "transfer", &id, "station-001", "014", &["--to", "station-002"]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    lab.wait_inbox("station-002", std::slice::from_ref(&id), PATIENCE);
    let lost = case(&lab, "dispatch", &id, "station-001", "014", &[]);
    assert!(lost.code == Some(1) && lost.stderr.contains("not_taken"), "{lost:?}");
    assert_eq!(case(&lab, "take-over", &id, "station-002", "021", &[]).code, Some(0));
    assert_eq!(case(&lab, "dispatch", &id, "station-002", "021", &[]).code, Some(0));
    // The school is told nothing of it: to it the alarm is taken.
    assert_eq!(lab.lamp("school-001", &id), "acknowledged");
    for (body, code) in [
        (json!({ "action": "fly", "officer": "1" }), "bad_field"),
        (json!({ "action": "close", "officer": "1" }), "bad_field"),
        (json!({ "action": "note", "officer": "1", "reason": "real" }), "bad_field"),
        (json!({ "action": "acknowledge", "officer": "1" }), "bad_field"),
        (json!({ "action": "number", "officer": "1", "number": "9".repeat(65) }), "bad_field"),
        (json!({ "action": "note", "officer": "1", "action_id": "x" }), "bad_field"),
    ] {
        let answer = http::post(&lab.base("station-001"), &format!("/v1/events/{id}/case"), &[], &body).unwrap();
        assert_eq!((answer.status, answer.error().as_str()), (422, code), "{answer:?}");
    }
    lab.assert_calm();
}
