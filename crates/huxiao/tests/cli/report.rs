//! `report` against a server that plays a broker node.

use serde_json::{Value, json};

use crate::run;
use crate::server::{Answer, Server};

fn event(number: usize, test: bool) -> Value {
    let lap = |stage: &str, by: &str, at_ms: f64| json!({ "stage": stage, "by": by, "at_ms": at_ms, "took_ms": 1.0, "exact": true });
    json!({
        "id": format!("0193a5c0-0000-7000-8000-{number:012}"), "school": format!("school-{}", number % 2), "relay": "gate",
        "kind": "panic", "class": "P0", "test": test, "drill": false, "raised_at": "2026-03-01T08:30:00.000000Z",
        "stations": ["p1"], "acknowledged_by": { "by": "station/p1/d1", "officer": "014" },
        "timeline": [
            lap("received", "broker/r1/b1", 20.0), lap("stored", "broker/r1/b1", 20.0), lap("displayed", "station/p1/d1", 100.0),
            lap("acknowledged", "station/p1/d1", 4_100.0),
        ],
    })
}

/// What a node answers that knows of no silent school, if that is what it is asked.
fn nobody_silent(path: &str) -> Option<Answer> {
    let none = json!({ "events": [], "next": "0-9-ab", "more": false, "missing": 0, "troubles": [] });
    (path.starts_with("/v1/supervision") || path.contains("&kind=silent")).then(|| Answer::Json(200, none.to_string()))
}

/// A node that gives two pages, and cannot give the second at once.
fn node() -> Server {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |request| {
        if let Some(answer) = nobody_silent(&request.path) {
            return answer;
        }
        let page = |events: Vec<Value>, next: &str, more: bool| {
            Answer::Json(200, json!({ "events": events, "next": next, "more": more, "missing": 0 }).to_string())
        };
        match request.path.split_once("&after=") {
            None => page(vec![event(1, false), event(2, true)], "0-7-ab", true),
            Some((_, "0-7-ab")) if asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => {
                Answer::Json(503, json!({ "error": { "code": "behind", "message": "not caught up" } }).to_string())
            }
            Some((_, "0-7-ab")) => page(vec![event(3, false)], "0-9-ab", false),
            Some(_) => Answer::Json(404, "{}".to_owned()),
        }
    })
}

#[test]
fn an_account_is_made_of_all_pages() {
    let server = node();
    let ended =
        run(["report", "--since", "2026-03-01", "--until", "2026-03-02", "--broker", &server.url, "--output", "json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let json = ended.json();
    assert_eq!((&json["live"]["raised"], &json["test"]["raised"]), (&json!(2), &json!(1)), "{json}");
    assert_eq!(json["schools"].as_array().unwrap().len(), 2);
    assert!(ended.stderr.contains("trying again"), "{ended:?}");
    let first = &server.lines("GET")[0];
    assert!(
        first.contains("since=2026-02-28T16:00:00.000000Z&until=2026-03-01T16:00:00.000000Z&class=P0,P1"),
        "China's days: {first}"
    );
}

#[test]
fn every_shape_has_its_data_on_standard_output_alone() {
    for (shape, begins) in [("table", "time"), ("csv", "school,raised,answered"), ("html", "<!DOCTYPE html>")] {
        let server = node();
        let args = ["report", "--since", "30d", "--by", "school", "-q", "--broker", &server.url, "--output", shape];
        let ended = run(args);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.starts_with(begins), "{ended:?}");
    }
}

#[test]
fn what_is_missing_is_said() {
    let page = json!({ "events": [], "next": "9-9-ab", "more": false, "missing": 4 }).to_string();
    let server =
        Server::start(move |request| nobody_silent(&request.path).unwrap_or_else(|| Answer::Json(200, page.clone())));
    let ended = run(["report", "--since", "24h", "-q", "--broker", &server.url]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("本节点缺少 4 件已归档事件") && ended.stdout.contains("INCOMPLETE"), "{ended:?}");
}

#[test]
fn what_cannot_be_accounted_for_fails_in_words() {
    let answers = |body: Value| Server::start(move |_| Answer::Json(200, body.to_string()));
    let same = answers(json!({ "events": [], "next": "1-1-ab", "more": true }));
    let strange = answers(json!([1]));
    let nonsense = answers(json!({ "events": [{ "id": "x" }], "next": "1-1-ab", "more": false }));
    let refusing = Server::start(|_| {
        Answer::Json(409, json!({ "error": { "code": "other_record", "message": "begin again" } }).to_string())
    });
    for (server, said) in [
        (&same, "no page of events"),
        (&strange, "no page of events"),
        (&nonsense, "event \"x\""),
        (&refusing, "begin again"),
    ] {
        let ended = run(["report", "--since", "24h", "--broker", &server.url]);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""), "{ended:?}");
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
    for args in [
        vec!["--since", "24h"],
        vec!["--since", "soon", "--broker", "http://127.0.0.1:1"],
        vec!["--since", "24h", "--until", "25h", "--broker", "http://127.0.0.1:1"],
    ] {
        let ended = run([vec!["report"], args].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
}
