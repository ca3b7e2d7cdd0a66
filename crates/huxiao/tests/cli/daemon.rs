//! A real node alone: starting, stopping, and what its store is worth afterwards.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::{Ended, ended, program, run};

/// A node without the others of its lab.
struct Node {
    _folder: tempfile::TempDir,
    role: &'static str,
    dir: PathBuf,
    config: PathBuf,
    url: String,
    log: PathBuf,
    child: Option<Child>,
}

impl Node {
    fn new(role: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let quic = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let dir = folder.path().join("lab");
        let mut init = program(["lab", "init", "--brokers", &quic, "--schools", "1", "--stations", "1"]);
        assert_eq!(ended(init.arg(&dir)).code, Some(0));
        let list: serde_json::Value = serde_json::from_str(&fs::read_to_string(dir.join("lab.json")).unwrap()).unwrap();
        let nodes = list["nodes"].as_array().unwrap();
        let node = nodes.iter().find(|node| node["role"] == role).unwrap();
        let text = |name: &str| node[name].as_str().unwrap().to_owned();
        let (config, url, log) = (dir.join(text("config")), text("http"), folder.path().join("log"));
        Self { _folder: folder, role, dir, config, url, log, child: None }
    }

    fn start(&mut self) {
        let log = fs::File::create(&self.log).unwrap();
        let mut command = program([self.role, "run", "--log-format", "json", "--config"]);
        let child = command.arg(&self.config).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        self.child = Some(child);
        let ready = ended(program(["check", "ready", "--wait", "30s", "--config"]).arg(&self.config));
        assert_eq!(ready.code, Some(0), "{ready:?}\n{}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits until the log has these words.
    fn hears(&self, words: &str) {
        let begun = Instant::now();
        while !self.log().contains(words) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{words} in\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn stops(&mut self) -> Option<i32> {
        let mut child = self.child.take().unwrap();
        let begun = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            if begun.elapsed() > Duration::from_secs(30) {
                child.kill().unwrap();
                panic!("it had not ended after 30 s\n{}", self.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The schools in a broker node's plan.
    fn schools(&self) -> u64 {
        let mut stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str::<serde_json::Value>(body).unwrap()["plan"]["schools"].as_u64().unwrap()
    }

    fn send(&self, extra: &[&str]) -> Ended {
        let args = ["alarm", "send", "--relay", &self.url, "--kind", "panic", "--test", "--output", "json"];
        run(args.iter().chain(extra))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_relay_keeps_presses_reloads_and_drains() {
    let mut relay = Node::new("relay");
    relay.start();
    let sent = relay.send(&["--note", "甲"]);
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let id = sent.json()["id"].as_str().unwrap().to_owned();
    let far = relay.send(&["--wait", "stored", "--timeout", "1s"]);
    assert_eq!(far.code, Some(3), "its region is not there: {far:?}");

    let config = fs::read_to_string(&relay.config).unwrap();
    fs::write(&relay.config, format!("{config}\n[log]\nlevel = \"debug\"\n")).unwrap();
    relay.signal("-HUP");
    relay.hears("configuration: taken over");
    fs::write(&relay.config, format!("{config}\n[log]\nlevel = \"loud\"\nfromat = 7\n")).unwrap();
    relay.signal("-HUP");
    relay.hears("did you mean log.format?");

    relay.signal("-TERM");
    assert_eq!(relay.stops(), Some(0), "{}", relay.log());
    assert!(relay.log().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "{}", relay.log());

    fs::write(&relay.config, config).unwrap();
    relay.start();
    let shown = run(["alarm", "show", &id, "--relay", &relay.url, "--output", "json"]);
    assert_eq!(shown.json()["note"], "甲", "{shown:?}");
    relay.signal("-INT");
    assert_eq!(relay.stops(), Some(0), "{}", relay.log());
}

#[test]
fn a_plan_with_a_mistake_changes_nothing_and_the_next_good_one_is_taken() {
    let mut broker = Node::new("broker");
    broker.start();
    assert_eq!(broker.schools(), 1);
    let plan = broker.dir.join("plan.toml");
    let good = fs::read_to_string(&plan).unwrap();
    let second = |stations: &str| format!("{good}\n[[school]]\nid = \"school-009\"\nstations = {stations}\n");
    fs::write(&plan, second("7")).unwrap();
    broker.signal("-HUP");
    broker.hears("stations is an array");
    assert_eq!(broker.schools(), 1);
    fs::write(&plan, second("[\"station-001\"]")).unwrap();
    broker.signal("-HUP");
    let begun = Instant::now();
    while broker.schools() != 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{}", broker.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    broker.signal("-TERM");
    assert_eq!(broker.stops(), Some(0), "{}", broker.log());
}

#[test]
fn a_store_is_looked_into_checked_and_rescued() {
    let mut relay = Node::new("relay");
    relay.start();
    let ids: Vec<_> = (0..3).map(|_| relay.send(&[]).json()["id"].as_str().unwrap().to_owned()).collect();
    let data = relay.dir.join("data/relay-001");
    let store = |verb: &str, extra: &[&str]| ended(program(["store", verb]).arg(&data).args(extra));
    let running = store("check", &[]);
    assert_eq!(running.code, Some(3), "its node runs: {running:?}");
    relay.signal("-TERM");
    assert_eq!(relay.stops(), Some(0));

    let looked = store("inspect", &["--output", "json"]);
    let outbox: u64 = looked.json()["rows"].as_array().unwrap().iter().map(|row| row["rows"].as_u64().unwrap()).sum();
    assert!(looked.code == Some(0) && outbox >= 3, "{looked:?}");
    assert!(store("inspect", &[]).stdout.contains("outbox"));
    let whole = store("check", &["--output", "json"]);
    assert_eq!((whole.code, &whole.json()["consistent"]), (Some(0), &serde_json::json!(true)));
    let trial = store("check", &["--trial"]);
    assert_eq!((trial.code, trial.stdout.lines().count()), (Some(0), 1), "{trial:?}");

    foul(&data.join("store/database/db"), &ids[1]);
    let damaged = store("check", &[]);
    assert_eq!(damaged.code, Some(10), "{damaged:?}");
    assert!(damaged.stdout.contains("damaged"), "{damaged:?}");

    let rescued = store("salvage", &["--output", "ndjson"]);
    assert_eq!(rescued.code, Some(0), "{rescued:?}");
    for id in &ids {
        assert!(rescued.stdout.contains(id.as_str()), "the black box has all three: {rescued:?}");
    }
    assert!(store("salvage", &["--output", "table"]).stdout.contains("panic"));
    let new = relay.dir.join("rescued");
    let into = store("salvage", &["--into", new.to_str().unwrap()]);
    assert_eq!(into.code, Some(0), "{into:?}");
    assert_eq!(ended(program(["store", "check"]).arg(&new)).code, Some(0));
    assert_eq!(store("salvage", &["--into", new.to_str().unwrap()]).code, Some(1), "never over what is there");
    assert_eq!(run(["store", "check", "/nowhere"]).code, Some(3));
    assert_eq!(run(["store", "inspect", "/nowhere"]).code, Some(1));
}

/// Flips a byte of each place in the file where the event of this id is written.
fn foul(file: &Path, id: &str) {
    let hex: String = id.chars().filter(|c| *c != '-').collect();
    let needle: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect();
    let bytes = fs::read(file).unwrap();
    let places: Vec<_> =
        bytes.windows(16).enumerate().filter(|(_, window)| *window == needle).map(|(at, _)| at).collect();
    assert!(!places.is_empty(), "the row is not in the database's file");
    let open = fs::OpenOptions::new().write(true).open(file).unwrap();
    for at in places {
        open.write_all_at(&[bytes[at] ^ 0x40], at as u64).unwrap();
    }
}

#[test]
fn a_port_that_is_taken_exits_1_and_a_missing_key_78() {
    let relay = Node::new("relay");
    let taken = std::net::TcpListener::bind(relay.url.trim_start_matches("http://")).unwrap();
    let refused = ended(program(["relay", "run", "-q", "--config"]).arg(&relay.config));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("cannot listen on"), "{refused:?}");
    drop(taken);
    fs::remove_file(relay.dir.join("certs/relay-001-key.pem")).unwrap();
    let refused = ended(program(["relay", "run", "--config"]).arg(&relay.config));
    assert_eq!(refused.code, Some(78), "{refused:?}");
    assert!(refused.stderr.contains("relay-001-key.pem"), "{refused:?}");
}
