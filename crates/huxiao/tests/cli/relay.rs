//! `relay paths` against a server that plays the relay.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::server::{Answer, Server};
use crate::{ended, program, run};

fn paths() -> Value {
    json!({
        "today_began": "2026-03-01T16:00:00.000000Z",
        "uplinks": [{
            "name": "lte", "interface": "wwan0", "cost": "metered", "present": true, "absent_because": null,
            "today_sent_bytes": 60 << 20, "today_received_bytes": 2 << 20, "daily_budget_bytes": 64 << 20,
            "warnings": [{ "zh": "今日流量已用八成以上", "en": "More than four fifths of today's data are used" }],
        }],
        "nodes": [{ "node": "10.0.0.1:7443", "name": "broker/r1/n1", "home": true, "dialled": true }],
        "paths": [{
            "uplink": "lte", "node": "10.0.0.1:7443", "name": "broker/r1/n1", "dialled": true, "health": "silent",
            "health_text": { "zh": "无应答", "en": "does not answer" }, "carrier": "tcp", "rtt_seconds": 0.25,
            "loss_ratio": 0.5, "silence_seconds": 12.0, "sessions": 1, "problem": null, "new_member": 7,
        }],
    })
}

fn relay() -> Server {
    Server::start(|request| match request.path.as_str() {
        "/v1/paths" => Answer::Json(200, paths().to_string()),
        _ => Answer::Json(404, "{}".to_owned()),
    })
}

#[test]
fn paths_are_shown_to_people_and_passed_on_to_machines() {
    let server = relay();
    let shown = run(["relay", "paths", "--url", &server.url]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    for words in
        ["lte", "62.0 MiB (96 %)", "64.0 MiB", "无应答 does not answer", "250.0 ms", "50 %", "12.0 s ago", "八成"]
    {
        assert!(shown.stdout.contains(words), "{words} in {}", shown.stdout);
    }
    let json = run(["relay", "paths", "--url", &server.url, "--output", "json"]);
    assert_eq!((json.code, json.json()), (Some(0), paths()));
    let by_environment = ended(program(["relay", "paths"]).env("HUXIAO_RELAY_URL", &server.url));
    assert_eq!(by_environment.stdout, shown.stdout);
}

#[test]
fn a_relay_that_is_not_there_is_a_failure_that_says_where() {
    let ended = run(["relay", "paths", "--url", "http://127.0.0.1:1"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("http://127.0.0.1:1") && ended.stdout.is_empty(), "{ended:?}");
    let stranger = Server::start(|_| Answer::Json(404, "{}".to_owned()));
    assert_eq!(run(["relay", "paths", "--url", &stranger.url]).code, Some(1));
}

#[test]
fn watching_looks_again_until_nobody_reads() {
    let server = relay();
    let mut command = program(["relay", "paths", "--watch", "--output", "json", "--url", &server.url]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(line, paths());
    }
    drop(lines);
    assert!(child.wait().unwrap().success(), "a reader that has enough is no failure");
}
