//! `alarm send`, `show` and `ack` against a server that plays the node.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::run;
use crate::server::{Answer, Server};

const ID: &str = "0193a5c0-0000-7000-8000-000000000001";

/// The event after so many stages.
fn event(stages: &[&str]) -> Value {
    let times: Value = stages
        .iter()
        .enumerate()
        .map(|(at, stage)| ((*stage).to_owned(), json!(format!("2026-03-01T08:30:00.{:03}000Z", at + 1))))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let receipts: Vec<_> = stages.iter().map(|stage| json!({ "stage": stage })).collect();
    json!({
        "id": ID, "school": "school-001", "relay": "gate", "kind": "panic", "class": "P0", "note": "",
        "test": true, "drill": false, "raised_at": "2026-03-01T08:30:00.000000Z", "kept": true, "refused": false,
        "finished": stages.contains(&"acknowledged"), "lamp": "on_its_way", "lamp_text": {"zh": "发送中", "en": "On its way"},
        "stages": times, "receipts": receipts, "acknowledged_by": null,
    })
}

fn message(name: &str, event: &Value) -> (String, Duration) {
    (format!("event: {name}\ndata: {event}\n\n"), Duration::from_millis(20))
}

fn quiet(seconds: u64) -> (String, Duration) {
    ("event: heartbeat\ndata: {}\n\n".to_owned(), Duration::from_secs(seconds))
}

/// A relay that takes the press and tells of these stages one after the other.
fn relay(stages: &'static [&'static str]) -> Server {
    Server::start(move |request| match request.line().as_str() {
        "POST /v1/events" => Answer::Json(202, json!({ "id": ID, "repeated": false }).to_string()),
        line if line.starts_with("GET /v1/events/stream?id=") => {
            let told = (2..=stages.len()).map(|count| message("stage", &event(&stages[..count])));
            Answer::Stream(told.chain([quiet(30)]).collect())
        }
        _ => Answer::Json(200, event(&stages[..1]).to_string()),
    })
}

fn send(server: &Server, extra: &[&str]) -> crate::Ended {
    let args = ["alarm", "send", "--relay", &server.url, "--kind", "panic", "--test"];
    run(args.iter().chain(extra))
}

#[test]
fn a_press_ends_when_the_event_has_come_as_far_as_asked() {
    let server = relay(&["kept", "sent", "stored", "delivered", "displayed", "acknowledged"]);
    for wait in ["kept", "stored", "delivered", "displayed", "acknowledged"] {
        let sent = send(&server, &["--wait", wait, "--output", "json", "--zone", "gate", "-v"]);
        assert_eq!(sent.code, Some(0), "{wait}: {sent:?}");
        let json = sent.json();
        assert_eq!((&json["reached"], &json["wait"], &json["id"]), (&json!(true), &json!(wait), &json!(ID)));
        assert!(json["stage_ms"][wait].as_f64() > Some(0.0), "{json}");
        assert!(sent.stderr.contains("发送中  On its way"), "{sent:?}");
    }
    let press = server.requests().into_iter().find(|request| request.method == "POST").unwrap();
    let body: Value = serde_json::from_str(&press.body).unwrap();
    assert_eq!(body, json!({ "kind": "panic", "test": true, "drill": false, "zone": "gate" }));
    assert_eq!(press.header("content-type"), Some("application/json"));
    assert!(press.header("idempotency-key").unwrap().starts_with("cli-"));
    let table = send(&server, &["--wait", "stored"]);
    assert!(table.stdout.contains("测试") && table.stdout.contains("3.0"), "{table:?}");
    assert!(table.stderr.is_empty(), "nobody watches: {table:?}");
}

#[test]
fn a_press_that_does_not_come_so_far_in_time_exits_3_and_shows_how_far_it_came() {
    let server = relay(&["kept", "sent", "stored"]);
    let sent = send(&server, &["--wait", "displayed", "--timeout", "700ms", "--output", "json"]);
    assert_eq!(sent.code, Some(3), "{sent:?}");
    let json = sent.json();
    assert_eq!(json["reached"], false);
    assert!(json["stages"]["stored"].is_string() && json["stages"]["displayed"].is_null());
    assert!(sent.stderr.contains("is stored, not displayed"), "{sent:?}");
}

#[test]
fn an_officers_answer_stands_for_a_screen_but_a_screen_for_no_disk() {
    let server = relay(&["kept", "sent", "displayed", "acknowledged"]);
    assert_eq!(send(&server, &["--wait", "delivered"]).code, Some(0), "finished: nothing more will come");
    let server = relay(&["kept", "sent", "displayed"]);
    assert_eq!(send(&server, &["--wait", "stored", "--timeout", "500ms"]).code, Some(3));
}

#[test]
fn attempts_that_fail_are_made_again_with_the_same_key() {
    let tries = AtomicUsize::new(0);
    let server = Server::start(move |request| match request.line().as_str() {
        "POST /v1/events" => match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Answer::Json(503, json!({ "error": { "code": "stopping", "message": "m" } }).to_string()),
            1 => Answer::Broken,
            _ => Answer::Json(202, json!({ "id": ID, "repeated": true }).to_string()),
        },
        _ => Answer::Json(200, event(&["kept"]).to_string()),
    });
    let sent = send(&server, &["--output", "json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert_eq!(sent.json()["repeated"], true);
    let presses: Vec<_> = server.requests().into_iter().filter(|request| request.method == "POST").collect();
    assert!(presses.len() >= 3);
    let keys: std::collections::BTreeSet<_> = presses.iter().map(|press| press.header("idempotency-key")).collect();
    assert_eq!(keys.len(), 1, "one key, so one alarm: {keys:?}");
}

#[test]
fn an_alarm_that_cannot_be_raised_exits_1() {
    let nobody =
        run(["alarm", "send", "--relay", "http://127.0.0.1:1", "--kind", "panic", "--test", "--timeout", "400ms"]);
    assert_eq!(nobody.code, Some(1), "{nobody:?}");
    assert!(nobody.stderr.contains("was not raised") && nobody.stderr.contains("cannot reach"), "{nobody:?}");
    assert!(nobody.stdout.is_empty());

    let body = json!({ "error": { "code": "unknown_kind", "message": "\"panik\" is not a kind; kinds are panic" } });
    let server = Server::start(move |_| Answer::Json(422, body.to_string()));
    let refused = send(&server, &[]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("kinds are panic"), "{refused:?}");
    assert_eq!(server.requests().len(), 1, "what is wrong is not sent again");
}

#[test]
fn an_alarm_that_the_relay_could_not_keep_is_followed_all_the_same() {
    let server = Server::start(move |request| match request.line().as_str() {
        "POST /v1/events" => {
            let body = json!({ "error": { "code": "not_kept", "message": "the disk is full" }, "id": ID });
            Answer::Json(507, body.to_string())
        }
        line if line.contains("stream") => {
            Answer::Stream(vec![message("stage", &event(&["sent", "stored"])), quiet(30)])
        }
        _ => Answer::Json(200, event(&["sent"]).to_string()),
    });
    let sent = send(&server, &["--wait", "stored", "--output", "json"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    assert!(sent.stderr.contains("could not keep it: the disk is full"), "{sent:?}");
}

#[test]
fn an_answer_lost_for_good_leaves_it_open_whether_the_alarm_was_raised() {
    let silent = || Answer::Stream(vec![quiet(5)]);
    for answer in [|| Answer::Broken, || Answer::Json(200, "hello".to_owned()), silent] {
        let server = Server::start(move |_| answer());
        let sent = send(&server, &["--timeout", "500ms"]);
        assert_eq!(sent.code, Some(3), "{sent:?}");
        assert!(sent.stderr.contains("whether the alarm was raised is not known"), "{sent:?}");
        assert!(sent.stdout.is_empty(), "{sent:?}");
    }
}

#[test]
fn an_event_is_shown_by_whichever_node_is_asked() {
    let server = relay(&["kept"]);
    for node in ["--relay", "--station"] {
        let shown = run(["alarm", "show", ID, node, &server.url]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.stdout.contains("一键报警  One-key alarm"), "{shown:?}");
    }
    assert_eq!(run(["alarm", "show", ID, "--relay", &server.url, "--output", "json"]).json()["stage_ms"]["kept"], 1.0);
    let body = json!({ "error": { "code": "unknown_event", "message": "it is not here" } });
    let empty = Server::start(move |_| Answer::Json(404, body.to_string()));
    let unknown = run(["alarm", "show", ID, "--station", &empty.url]);
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.stderr.contains("unknown_event") && unknown.stderr.contains("it is not here"), "{unknown:?}");
}

#[test]
fn an_officer_takes_an_alarm_or_learns_who_has_it() {
    let owner = json!({ "by": "station/s/desk-1", "officer": "014", "at": "2026-03-01T08:30:09.000000Z" });
    let done = json!({ "id": ID, "officer": "014", "at": "2026-03-01T08:30:09Z", "repeated": false, "owner": owner });
    let server = Server::start(move |_| Answer::Json(200, done.to_string()));
    let taken = run(["alarm", "ack", ID, "--station", &server.url, "--officer", "014", "--note", "已出警"]);
    assert_eq!(taken.code, Some(0), "{taken:?}");
    assert!(taken.stdout.contains("派出所已接警") && taken.stdout.contains("officer 014"), "{taken:?}");
    let request = &server.requests()[0];
    assert_eq!(request.line(), format!("POST /v1/events/{ID}/ack"));
    assert_eq!(serde_json::from_str::<Value>(&request.body).unwrap(), json!({ "officer": "014", "note": "已出警" }));

    for (status, code, exit, words) in [
        (409, "taken", 1, "already taken by officer 014 (station/s/desk-1, 2026-03-01T08:30:09.000000Z)"),
        (404, "unknown_event", 1, "unknown_event"),
        (507, "not_kept", 3, "not_kept"),
    ] {
        let body = json!({ "error": { "code": code, "message": "m" }, "owner": owner });
        let server = Server::start(move |_| Answer::Json(status, body.to_string()));
        let args = ["alarm", "ack", ID, "--station", &server.url, "--officer", "007"];
        let refused = run(args);
        assert_eq!(refused.code, Some(exit), "{refused:?}");
        assert!(refused.stderr.contains(words), "{words} in {refused:?}");
        let json = run(args.iter().chain(&["--output", "json"]));
        assert_eq!((json.code, &json.json()["owner"]["officer"]), (Some(exit), &json!("014")));
    }
}

/// An event with its way, as a node of this version tells it.
fn timed() -> Value {
    let mut event = event(&["kept", "received", "displayed"]);
    let lap = |stage: &str, by: &str, at: f64, took: f64, exact: bool| json!({ "stage": stage, "by": by, "at_ms": at, "took_ms": took, "exact": exact });
    event["count"] = json!(995);
    event["timeline"] = json!([
        lap("raised", "relay/school-001/gate", 0.0, 0.0, true),
        lap("kept", "relay/school-001/gate", 2.5, 2.5, true),
        lap("received", "broker/r1/n1", 50.0, 50.0, true),
        lap("displayed", "station/p1/d1", 200.0, 150.0, false),
    ]);
    event
}

#[test]
fn a_shown_event_has_its_way_as_a_waterfall() {
    let server = Server::start(move |_| Answer::Json(200, timed().to_string()));
    for node in ["--relay", "--station", "--broker"] {
        let shown = run(["alarm", "show", ID, node, &server.url]);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        let line = |words: &str| {
            let found = shown.stdout.lines().find(|line| line.contains(words));
            found.unwrap_or_else(|| panic!("{words} in {}", shown.stdout)).to_owned()
        };
        let received = line("区域中心收到  Received by the region");
        // Not a terminal: sixty columns for two hundred milliseconds.
        assert_eq!((received.matches('█').count(), received.matches('·').count()), (15, 0), "{received}");
        assert!(received.contains("broker/r1/n1") && received.contains("50.0 ms") && !received.contains('~'));
        let displayed = line("派出所已显示  On a police screen");
        assert_eq!((displayed.matches('█').count(), displayed.matches('·').count()), (45, 15), "{displayed}");
        assert!(displayed.contains("~150.0 ms") && displayed.contains("~200.0 ms"), "{displayed}");
        assert!(line("按键连续触发").contains("995") && line("One-key alarm").contains("×995"));
    }
    let json = run(["alarm", "show", ID, "--broker", &server.url, "--output", "json"]).json();
    assert_eq!(json["timeline"], timed()["timeline"]);
    assert_eq!(json["stage_ms"], json!({ "kept": 2.5, "received": 50.0, "displayed": 200.0 }), "on one clock");
}

#[test]
fn a_node_that_tells_no_way_is_shown_without_one() {
    let server = relay(&["kept"]);
    let shown = run(["alarm", "show", ID, "--relay", &server.url]);
    assert!(shown.stdout.contains("kept") && !shown.stdout.contains("since pressed"), "{shown:?}");
}
