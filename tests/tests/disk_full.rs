//! A disk that runs full under each role, on a small tmpfs of its own.
//!
//! What must hold: an alarm is delivered all the same and is kept as long as the ballast lasts; then the presser is told that it
//! is not kept here; lower classes are shed first, with a clear error; the node says how it is; when there is space again,
//! everything is kept. And a node starts on a full disk.
//!
//! Needs the right to mount.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests; clippy takes only functions marked as such for tests"
)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use huxiao_tests::lab::{Lab, http, say, wait_until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(40);

/// A tmpfs that is gone with this value.
struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    /// `None`, said in a line, where nothing may be mounted.
    fn mount(dir: &Path, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(dir).unwrap();
        let size = format!("size={mib}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Self { dir: dir.to_owned() });
        }
        say("SKIPPED: full disks need the right to mount");
        None
    }

    fn foreign_file(&self) -> PathBuf {
        self.dir.join("foreign")
    }

    /// Takes all the space that is left.
    fn fill(&self) {
        let mut file = OpenOptions::new().create(true).append(true).open(self.foreign_file()).unwrap();
        for size in [1 << 20, 64 << 10, 4 << 10] {
            while write_chunk(&mut file, size) {}
        }
    }

    /// Gives it back.
    fn free(&self) {
        std::fs::remove_file(self.foreign_file()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that was just killed may still hold a file for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.dir).output();
    }
}

fn write_chunk(file: &mut File, size: usize) -> bool {
    file.write_all(&vec![0xAA; size]).is_ok()
}

/// A lab in which `node` stands on a small disk, and that disk, to be dropped first. All nodes run.
fn lab_with_small_disk(node: &str) -> Option<(Lab, SmallDisk)> {
    let mut lab = Lab::init(1, 1);
    let disk = SmallDisk::mount(&lab.dir().join("small-disk"), 40)?;
    let data = disk.dir.join("data").to_str().unwrap().to_owned();
    lab.node(node).set("data.dir", &data);
    lab.node(node).set("store.ballast", "8MiB");
    lab.start_all();
    lab.honest_alarm("school-001", "station-001");
    Some((lab, disk))
}

fn store(lab: &Lab, node: &str) -> Value {
    lab.status(node)["store"].clone()
}

fn wait_store(lab: &Lab, node: &str, states: &[&str]) {
    wait_until(&format!("the store of {node} is {states:?}"), PATIENCE, || {
        states.contains(&store(lab, node)["state"].as_str().unwrap()).then_some(())
    });
}

/// Waits until the readiness page has `words`.
fn wait_words(lab: &Lab, node: &str, words: &str) {
    wait_until(&format!("{node} says {words:?}"), PATIENCE, || {
        http::get(&lab.base(node), "/readyz?verbose").ok()?.body.contains(words).then_some(())
    });
}

/// Fills the disk again and again while alarms are raised, until one is answered 507: then the ballast is used up. Every alarm
/// that was raised, kept or not.
fn press_until_not_kept(lab: &Lab, disk: &SmallDisk) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..200 {
        disk.fill();
        let answer = lab.try_raise("school-001", &[], &json!({ "kind": "panic", "note": "x".repeat(1_000) }));
        ids.push(answer.json()["id"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned());
        match answer.status {
            202 => {}
            507 => {
                assert_eq!(answer.error(), "not_kept", "{answer:?}");
                assert!(answer.body.contains("dial 110"), "it says what to do: {answer:?}");
                return ids;
            }
            _ => panic!("{answer:?}"),
        }
    }
    panic!("the disk was full 200 times and everything was kept");
}

#[test]
fn a_relay_on_a_full_disk_sends_every_alarm_and_says_what_it_cannot_keep() {
    let Some((mut lab, disk)) = lab_with_small_disk("relay-001") else { return };
    disk.fill();
    // As long as the ballast is not even touched, and then on what it gives.
    let mut ids: Vec<String> = Vec::new();
    while store(&lab, "relay-001")["ballast"] == true {
        ids.push(lab.raise("school-001", &json!({ "kind": "panic", "note": "x".repeat(1_000) })));
        assert!(ids.len() < 2_000, "the disk is full, and {} alarms were kept without giving anything up", ids.len());
    }
    let before_ballast = ids.len();
    ids.extend((0..20).map(|_| lab.press("school-001")));
    // With the ballast given up, only P0 is written. The rest is sent all the same.
    let shed = lab.try_raise("school-001", &[], &json!({ "kind": "status" }));
    assert_eq!((shed.status, shed.error().as_str()), (507, "not_kept"), "{shed:?}");
    ids.push(shed.json()["id"].as_str().unwrap().to_owned());
    wait_store(&lab, "relay-001", &["low", "full"]);
    wait_words(&lab, "relay-001", "[~] store degraded");
    assert_eq!(store(&lab, "relay-001")["ballast"], false);

    ids.extend(press_until_not_kept(&lab, &disk));
    wait_words(&lab, "relay-001", "full");
    lab.wait_inbox("station-001", &ids, PATIENCE);
    let not_kept = ids.last().unwrap().clone();
    // The presser of an alarm that is not kept here still sees that an officer has it.
    lab.displayed("station-001", &not_kept);
    lab.ack("station-001", &not_kept, "014");
    lab.wait_lamp("school-001", &not_kept, "acknowledged", PATIENCE);

    disk.free();
    wait_store(&lab, "relay-001", &["ready"]);
    for id in &ids {
        wait_until(&format!("{id} is kept after all"), PATIENCE, || {
            (lab.at_relay("school-001", id)["kept"] == true).then_some(())
        });
    }
    wait_until("the ballast is back", PATIENCE, || (store(&lab, "relay-001")["ballast"] == true).then_some(()));
    lab.raise("school-001", &json!({ "kind": "status" }));
    lab.node("relay-001").kill9();
    lab.start("relay-001");
    for id in &ids {
        assert_eq!(lab.at_relay("school-001", id)["kept"], true, "{id} is there after a restart");
    }
    lab.honest_alarm("school-001", "station-001");
    lab.assert_calm();
    say(&format!(
        "full disk of a relay: {} events, all delivered, all kept in the end; the ballast was given up after {before_ballast}",
        ids.len()
    ));
}

#[test]
fn a_broker_on_a_full_disk_passes_every_alarm_on_and_stores_it_later() {
    let Some((mut lab, disk)) = lab_with_small_disk("broker-1") else { return };
    disk.fill();
    let mut ids: Vec<String> = (0..5).map(|_| lab.press("school-001")).collect();
    for id in &ids {
        lab.wait_stage("school-001", id, "stored", PATIENCE);
    }
    // Until the record has no room for an alarm any more.
    wait_until("an alarm is not stored", Duration::from_secs(90), || {
        disk.fill();
        ids.push(lab.raise("school-001", &json!({ "kind": "panic", "note": "x".repeat(1_000) })));
        (store(&lab, "broker-1")["state"] == "full").then_some(())
    });
    ids.extend((0..3).map(|_| {
        disk.fill();
        lab.press("school-001")
    }));
    let status = lab.raise("school-001", &json!({ "kind": "status" }));
    wait_until("the status report is refused", PATIENCE, || {
        (lab.at_relay("school-001", &status)["refused"] == true).then_some(())
    });
    wait_words(&lab, "broker-1", "[~] store degraded");
    lab.wait_inbox("station-001", &ids, PATIENCE);
    let last = ids.last().unwrap();
    let stages = lab.at_relay("school-001", last)["stages"].clone();
    assert!(stages["stored"].is_null(), "nothing is called stored that is not: {stages}");

    disk.free();
    // A record whose log had no room is opened anew, by whoever starts the node again.
    let ended = lab.node("broker-1").wait_exit(PATIENCE);
    assert!(ended.code().is_some_and(|code| code != 0), "{ended}");
    lab.start_all();
    wait_store(&lab, "broker-1", &["ready"]);
    ids.push(status);
    for id in &ids {
        lab.wait_stage("school-001", id, "stored", Duration::from_secs(90));
    }
    lab.wait_inbox("station-001", &ids, PATIENCE);
    lab.honest_alarm("school-001", "station-001");
    lab.assert_calm();
    say(&format!("full disk of a broker: {} events, all delivered, all stored in the end", ids.len()));
}

#[test]
fn a_station_on_a_full_disk_shows_every_alarm_and_keeps_it_later() {
    let Some((lab, disk)) = lab_with_small_disk("station-001") else { return };
    disk.fill();
    let mut ids: Vec<String> = (0..5).map(|_| lab.press("school-001")).collect();
    for id in &ids {
        lab.wait_stage("school-001", id, "delivered", PATIENCE);
    }
    wait_until("the inbox has no room for an alarm", Duration::from_secs(90), || {
        disk.fill();
        ids.push(lab.raise("school-001", &json!({ "kind": "panic", "note": "x".repeat(1_000) })));
        (store(&lab, "station-001")["state"] == "full").then_some(())
    });
    ids.extend((0..3).map(|_| {
        disk.fill();
        lab.press("school-001")
    }));
    lab.wait_inbox("station-001", &ids, PATIENCE);
    let last = ids.last().unwrap().clone();
    let shown = http::get(&lab.base("station-001"), &format!("/v1/events/{last}")).unwrap().json();
    assert_eq!(shown["durable"], false, "{shown}");
    assert!(lab.at_relay("school-001", &last)["stages"]["delivered"].is_null(), "delivered means on disk");
    wait_words(&lab, "station-001", "[~] store degraded");
    // An officer is told that the word is not kept.
    let answer = lab.try_ack("station-001", &last, "014");
    assert_eq!((answer.status, answer.error().as_str()), (507, "not_kept"), "{answer:?}");

    disk.free();
    wait_store(&lab, "station-001", &["ready"]);
    for id in &ids {
        lab.wait_stage("school-001", id, "delivered", PATIENCE);
    }
    lab.ack("station-001", &last, "014");
    lab.wait_lamp("school-001", &last, "acknowledged", PATIENCE);
    lab.honest_alarm("school-001", "station-001");
    lab.assert_calm();
    say(&format!("full disk of a station: {} events, all shown, all kept in the end", ids.len()));
}

#[test]
fn every_role_starts_on_a_full_disk_by_giving_up_its_ballast() {
    for node in ["relay-001", "broker-1", "station-001"] {
        let Some((mut lab, disk)) = lab_with_small_disk(node) else { return };
        lab.node(node).kill9();
        disk.fill();
        let from = lab.node(node).log().len();
        lab.start(node);
        let log = lab.node(node).log()[from..].to_owned();
        assert!(log.contains("ballast was given up"), "{node} says so: {log}");
        assert!(!log.contains("STORE_LOST"), "{node} lost nothing by it: {log}");
        lab.start_all();
        lab.honest_alarm("school-001", "station-001");
        disk.free();
        wait_store(&lab, node, &["ready"]);
        lab.honest_alarm("school-001", "station-001");
        lab.assert_calm();
    }
}
