//! Start, reload and stop: signals, two nodes on one folder, wrong certificates, and what a supervisor is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, http, say, wait_until};
use rustix::process::Signal;
use serde_json::json;

use crate::PATIENCE;
use crate::rogue::valid;

/// A stop may take this long with everything open: the nodes' own limit is ten seconds.
const STOP: Duration = Duration::from_secs(8);

#[test]
fn a_stop_is_clean_and_quick_even_with_open_streams() {
    let mut lab = Lab::running(1, 1);
    lab.honest_alarm("school-001", "station-001");
    let mut streams = vec![
        Stream::open(&lab.base("station-001"), "/v1/events?from_seq=1", None).unwrap(),
        Stream::open(&lab.relay_of("school-001"), "/v1/events/stream", None).unwrap(),
    ];
    for name in ["relay-001", "station-001", "broker-1"] {
        let began = Instant::now();
        lab.node(name).stop();
        println!("{name} stopped in {:?}", began.elapsed());
        assert!(began.elapsed() < STOP, "{name} took {:?}", began.elapsed());
    }
    for stream in &mut streams {
        while stream.next_message().is_ok() {}
    }
    // And everything is as it was.
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
    assert_eq!(lab.inbox("station-001").len(), 2);
    lab.assert_calm();
}

#[test]
fn a_stop_keeps_what_was_just_pressed() {
    let mut lab = Lab::running(1, 1);
    for round in 0..3 {
        let mut ids: Vec<String> = (0..10).map(|_| lab.press("school-001")).collect();
        lab.node(["relay-001", "broker-1", "station-001"][round]).stop();
        if round > 0 {
            ids.push(lab.press("school-001"));
        }
        lab.start_all();
        lab.wait_inbox("station-001", &ids, PATIENCE);
    }
    lab.assert_calm();
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut lab = Lab::running(1, 1);
    for name in ["relay-001", "station-001", "broker-1"] {
        let node = lab.node(name);
        node.signal(Signal::TERM);
        node.signal(Signal::TERM);
        let began = Instant::now();
        node.wait_exit(STOP);
        println!("{name} ended in {:?} after two signals", began.elapsed());
    }
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
    lab.assert_calm();
}

#[test]
fn a_new_plan_is_taken_over_and_a_broken_one_is_not() {
    let mut lab = Lab::running(2, 2);
    let plan = lab.set_dir().join("plan.toml");
    let old = std::fs::read_to_string(&plan).unwrap();
    lab.honest_alarm("school-001", "station-001");
    let reloads = |lab: &Lab, outcome: &str| lab.metric("broker-1", "huxiao_reloads_total", outcome);

    // School 1 goes over to station 2.
    let moved = "[[school]]\nid = \"school-001\"\nstations = [\"station-002\"]\n\n\
                 [[school]]\nid = \"school-002\"\nstations = [\"station-002\"]\n";
    std::fs::write(&plan, moved).unwrap();
    lab.node("broker-1").signal(Signal::HUP);
    lab.wait_metric("broker-1", "huxiao_reloads_total", "ok", 0.0);
    lab.honest_alarm("school-001", "station-002");
    assert_eq!(lab.inbox("station-001").len(), 1, "the old station has only what was its own");

    // A broken file changes nothing, and the log says where it is broken.
    std::fs::write(&plan, "[[school]]\nid = \"school-001\"\nstation = [\"station-001\"]\n").unwrap();
    lab.node("broker-1").signal(Signal::HUP);
    lab.wait_metric("broker-1", "huxiao_reloads_total", "refused", 0.0);
    let log = lab.node("broker-1").log();
    assert!(log.contains("plan.toml:3:1"), "the log names file, line and column");
    lab.honest_alarm("school-001", "station-002");
    assert_eq!(lab.status("broker-1")["plan"]["schools"], 2);

    std::fs::write(&plan, old).unwrap();
    let before = reloads(&lab, "ok");
    lab.node("broker-1").signal(Signal::HUP);
    lab.wait_metric("broker-1", "huxiao_reloads_total", "ok", before);
    lab.honest_alarm("school-001", "station-001");

    // With a broken plan a broker does not start, and says why.
    std::fs::write(&plan, "[[school]]\nid = 7\n").unwrap();
    lab.node("broker-1").stop();
    let output = Lab::finish(lab.node_command("broker-1"));
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("plan.toml:2:6"), "{output:?}");
}

#[test]
fn two_nodes_on_one_folder_are_one_too_many() {
    let lab = Lab::running(1, 1);
    for (name, role) in [("relay-001", "relay"), ("station-001", "station"), ("broker-1", "broker")] {
        let mut second = lab.node_command(name);
        second.args(["--set", "http.listen=127.0.0.1:0"]);
        if role == "broker" {
            second.args(["--set", "broker.listen=127.0.0.1:0"]);
        }
        let output = Lab::finish(second);
        assert_ne!(output.code, Some(0), "{name}: {output:?}");
        let dir = lab.data_dir(name);
        assert!(output.stderr.contains(dir.to_str().unwrap()), "{name}: it names the folder: {output:?}");
        assert!(!output.stderr.contains("panicked"), "{name}: {output:?}");
        println!("{name}: {}", output.stderr.lines().last().unwrap_or_default());
    }
    lab.honest_alarm("school-001", "station-001");
}

#[test]
fn a_taken_port_is_said_and_costs_nothing() {
    let mut lab = Lab::running(1, 1);
    let taken = lab.base("station-001").trim_start_matches("http://").to_owned();
    lab.node("relay-001").stop();
    let mut command = lab.node_command("relay-001");
    command.arg("--set").arg(format!("http.listen={taken}"));
    let output = Lab::finish(command);
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains(&taken), "it names the address: {output:?}");
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
}

#[test]
fn a_certificate_of_the_wrong_role_or_pair_is_named() {
    let lab = Lab::init(1, 1);
    let (cert, key) = lab.issue("station/station-001/desk-1", valid());
    let file = |path: &Path| path.to_str().unwrap().to_owned();
    let mut wrong_role = lab.node_command("relay-001");
    wrong_role.arg("--set").arg(format!("tls.cert={}", file(&cert)));
    wrong_role.arg("--set").arg(format!("tls.key={}", file(&key)));
    let output = Lab::finish(wrong_role);
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("station/station-001/desk-1"), "it says whose it is: {output:?}");
    assert!(output.stderr.contains("relay"), "and what is wanted: {output:?}");

    let mut wrong_key = lab.node_command("station-001");
    wrong_key.arg("--set").arg(format!("tls.key={}", file(&key)));
    let output = Lab::finish(wrong_key);
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains(&file(&key)), "it names the key: {output:?}");

    let mut no_file = lab.node_command("broker-1");
    no_file.args(["--set", "tls.ca=/nowhere/ca.pem"]);
    let output = Lab::finish(no_file);
    assert_ne!(output.code, Some(0), "{output:?}");
    assert!(output.stderr.contains("/nowhere/ca.pem"), "{output:?}");
}

#[test]
fn readiness_says_in_words_what_is_and_what_is_not() {
    let mut lab = Lab::init(1, 1);
    lab.start("relay-001");
    let base = lab.base("relay-001");
    let verbose = |base: &str, path: &str| http::get(base, &format!("{path}?verbose")).unwrap();
    // A relay without a region keeps presses: it is ready, and says what is missing.
    wait_until("the relay says that it reaches nobody", PATIENCE, || {
        verbose(&base, "/readyz").body.contains("no broker node is reached").then_some(())
    });
    assert_eq!(verbose(&base, "/readyz").status, 200);
    let id = lab.press("school-001");
    assert_eq!(lab.lamp("school-001", &id), "kept");
    lab.start_all();
    wait_until("the relay says that it reaches a broker", PATIENCE, || {
        let answer = verbose(&base, "/readyz");
        answer.body.contains("[+] upstream ok").then_some(())
    });
    for name in lab.names() {
        let base = lab.base(&name);
        for path in ["/livez", "/readyz", "/healthz"] {
            assert_eq!(verbose(&base, path).status, 200, "{name}{path}");
        }
        assert!(verbose(&base, "/readyz").body.contains("[+] store ok"), "{name}");
        let version = http::get(&base, "/version").unwrap().json();
        assert_eq!(version["role"], lab.node(&name).role(), "{version}");
        let live = lab.run(&["check", "live", "--url", &base]);
        assert_eq!(live.code, Some(0), "{live:?}");
        let config = lab.node(&name).config().to_str().unwrap().to_owned();
        let ready = lab.run(&["check", "ready", "--config", &config]);
        assert_eq!(ready.code, Some(0), "{ready:?}");
    }
    lab.node("relay-001").stop();
    let gone = lab.run(&["check", "ready", "--url", &base]);
    assert_eq!(gone.code, Some(3), "{gone:?}");
}

#[test]
fn the_service_manager_is_told_of_start_reload_and_stop() {
    let mut lab = Lab::init(1, 1);
    let path = lab.dir().join("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let wait_for = |word: &str| {
        let mut buffer = [0; 4_096];
        let mut heard = Vec::new();
        loop {
            let len = socket.recv(&mut buffer).unwrap_or_else(|why| panic!("no {word}: {why}; heard {heard:?}"));
            let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
            if text.lines().any(|line| line == word) {
                return text;
            }
            heard.push(text);
        }
    };
    for name in ["broker-1", "relay-001", "station-001"] {
        lab.node(name).variable("NOTIFY_SOCKET", path.to_str().unwrap());
        lab.node(name).variable("WATCHDOG_USEC", "2000000");
        lab.node(name).start();
        let ready = wait_for("READY=1");
        assert!(ready.contains("STATUS="), "{name}: {ready}");
        wait_for("WATCHDOG=1");
        lab.node(name).signal(Signal::HUP);
        let reloading = wait_for("RELOADING=1");
        assert!(reloading.contains("MONOTONIC_USEC="), "{name}: {reloading}");
        wait_for("READY=1");
        lab.node(name).signal(Signal::TERM);
        wait_for("STOPPING=1");
        assert!(lab.node(name).wait_exit(PATIENCE).success(), "{name}");
    }
}

#[test]
fn a_store_in_use_is_not_for_checking() {
    let mut lab = Lab::running(1, 1);
    lab.honest_alarm("school-001", "station-001");
    let dir = lab.data_dir("relay-001").join("store").to_str().unwrap().to_owned();
    let refused = lab.run(&["store", "check", &dir]);
    assert!(!matches!(refused.code, Some(0 | 10)), "it is neither whole nor damaged: {refused:?}");
    assert!(format!("{}{}", refused.stdout, refused.stderr).contains("the store is in use"), "{refused:?}");
    lab.honest_alarm("school-001", "station-001");
    lab.node("relay-001").stop();
    let whole = lab.run(&["store", "check", &dir]);
    assert_eq!(whole.code, Some(0), "{whole:?}");
    let inspected = lab.run(&["store", "inspect", &dir]);
    assert_eq!(inspected.code, Some(0), "{inspected:?}");
    assert!(inspected.stdout.contains("outbox"), "{inspected:?}");
    let rows = lab.run(&["store", "salvage", &dir, "--output", "ndjson"]);
    assert_eq!(rows.code, Some(0), "{rows:?}");
    assert!(rows.stdout.contains("panic"), "rows can be read: {rows:?}");
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
}

/// A limit on the size of files stands for a disk that fails: it makes a write of the database fail for another reason than space.
#[test]
fn a_store_that_fails_ends_its_node_with_a_status_that_a_supervisor_sees() {
    for name in ["relay-001", "broker-1", "station-001"] {
        let mut lab = Lab::running(1, 1);
        lab.honest_alarm("school-001", "station-001");
        lab.node(name).stop();
        let database = lab.data_dir(name).join("store/database/db");
        let blocks = std::fs::metadata(&database).unwrap().len().div_ceil(512) + 64;
        lab.node(name).start_limited(blocks);
        lab.node(name).wait_ready();
        lab.start_all();
        let (mut kept, mut pressed) = (Vec::new(), 0);
        while lab.node(name).exited().is_none() {
            pressed += 1;
            assert!(pressed < 3_000, "{name}: its disk cannot take this, and it has not said so");
            // No two are alike: they are no button that sticks.
            let body = json!({ "kind": "panic", "note": format!("{pressed:01000}") });
            // The relay that is being ended may not answer.
            if let Ok(answer) = http::post(&lab.relay_of("school-001"), "/v1/events", &[], &body)
                && answer.status == 202
            {
                kept.push(answer.json()["id"].as_str().unwrap().to_owned());
            }
        }
        let status = lab.node(name).wait_exit(PATIENCE);
        assert!(status.code().is_some_and(|code| code != 0), "{name}: {status}");
        let log = lab.node(name).log();
        // A broker node may hear of it from the record's log, which is on the same disk.
        let by_its_record = name == "broker-1" && log.contains("the record's disk failed");
        assert!(log.contains("the store failed") || by_its_record, "{name} says why");
        // As its supervisor would.
        lab.start_all();
        lab.wait_inbox("station-001", &kept, PATIENCE);
        lab.honest_alarm("school-001", "station-001");
        say(&format!("failed store: {name} ended with {status} after {} alarms that were kept, all there", kept.len()));
        lab.assert_calm();
    }
}
