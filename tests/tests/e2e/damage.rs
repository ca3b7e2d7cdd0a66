//! Bytes flipped, pages zeroed and files cut in each role's store while its node is down.
//!
//! What must hold: the node comes up by itself, says what it lost in its log, on its status page and in its metrics, keeps the
//! damaged files, and no alarm that was answered 202 is missing at the station in the end.

use std::fs;
use std::path::{Path, PathBuf};

use huxiao_tests::lab::{Dice, Lab, Manner, Watch, say, seed};
use serde_json::json;

use crate::PATIENCE;

/// All files below `dir` that hold something.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.ends_with("quarantine") {
                found.extend(files(&path));
            }
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Damages one file in a way that the dice choose, and says how.
fn damage(path: &Path, dice: &mut Dice) -> String {
    let mut bytes = fs::read(path).unwrap();
    // What was written last is mostly near the beginning: the files are made at their full length.
    let reach = if dice.below(2) == 0 { bytes.len().min(32 << 10) } else { bytes.len() };
    let at = usize::try_from(dice.below(reach as u64)).unwrap();
    let how = match dice.below(3) {
        0 => {
            let count = 1 + usize::try_from(dice.below(16)).unwrap();
            let end = bytes.len().min(at + count);
            bytes[at..end].iter_mut().for_each(|byte| *byte ^= 0x5A);
            format!("{} bytes flipped at {at}", end - at)
        }
        1 => {
            let page = at & !4_095;
            let end = bytes.len().min(page + 4_096);
            bytes[page..end].fill(0);
            format!("the page at {page} zeroed")
        }
        _ => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
    };
    fs::write(path, bytes).unwrap();
    format!("{}: {how}", path.file_name().unwrap().to_string_lossy())
}

/// What a node said about its store since its log was `from` bytes long. `true` if it came back with less than it had.
fn verdict(lab: &mut Lab, node: &str, from: usize) -> bool {
    let log = lab.node(node).log()[from..].to_owned();
    let losses = lab.status(node)["losses"].as_array().unwrap().clone();
    let counted = lab.metric(node, "huxiao_store_lost_total", "");
    assert_eq!(log.contains("STORE_LOST"), !losses.is_empty(), "log and status page agree: {losses:?}");
    assert_eq!(counted > 0.0, !losses.is_empty(), "metrics and status page agree: {losses:?}");
    for loss in &losses {
        // A damaged mark or black box beside a whole database leaves nothing to put aside.
        if !matches!(loss["kind"].as_str().unwrap(), "mark" | "black_box" | "missing") {
            let kept = PathBuf::from(loss["quarantined"].as_str().unwrap_or_else(|| panic!("{loss}")));
            assert!(kept.is_dir(), "{loss}");
        }
    }
    lab.node(node).assert_calm();
    !losses.is_empty()
}

/// Damages every file of `node`'s store once while it is down; around that, `before` makes what must not be lost, and gives it
/// to `after`, which sees that it is not.
fn damage_each_file(
    lab: &mut Lab,
    node: &str,
    mut before: impl FnMut(&mut Lab) -> Vec<String>,
    mut after: impl FnMut(&mut Lab, &[String]),
) {
    let mut dice = Dice::new(seed(&format!("damage of {node}")));
    let store = lab.data_dir(node).join("store");
    let (mut trials, mut noticed) = (0, 0);
    for round in 0..2 {
        let count = {
            before(lab);
            files(&store).len()
        };
        for at in 0..count {
            let ids = before(lab);
            lab.node(node).kill9();
            let Some(path) = files(&store).get(at).cloned() else { break };
            let how = damage(&path, &mut dice);
            let from = lab.node(node).log().len();
            lab.start(node);
            let lost = verdict(lab, node, from);
            println!("{node}, round {round}: {how}: {}", if lost { "STORE_LOST" } else { "nothing lost" });
            after(lab, &ids);
            trials += 1;
            noticed += u32::from(lost);
        }
    }
    // Not a matter of luck: the first pages of a database cannot be missing without a word.
    let ids = before(lab);
    lab.node(node).kill9();
    let database = files(&store).into_iter().find(|path| path.ends_with("database/db")).unwrap();
    let mut bytes = fs::read(&database).unwrap();
    let end = bytes.len().min(64 << 10);
    bytes[..end].fill(0);
    fs::write(&database, bytes).unwrap();
    let from = lab.node(node).log().len();
    lab.start(node);
    assert!(verdict(lab, node, from), "64 KiB of the database are gone and nobody says so");
    after(lab, &ids);
    say(&format!("{node}: {trials} damaged files, {noticed} of them a loss that was noticed, no alarm missing"));
}

fn alarms(lab: &Lab, count: usize) -> Vec<String> {
    (0..count).map(|_| lab.press("school-001")).collect()
}

#[test]
fn a_relay_whose_store_is_damaged_while_the_region_is_away_loses_no_alarm() {
    let mut lab = Lab::running(1, 1);
    let before = |lab: &mut Lab| {
        if lab.node("broker-1").is_started() {
            lab.node("broker-1").stop();
        }
        lab.raise("school-001", &json!({ "kind": "status" }));
        alarms(lab, 3)
    };
    let after = |lab: &mut Lab, ids: &[String]| {
        lab.start("broker-1");
        lab.wait_inbox("station-001", ids, PATIENCE);
        for id in ids {
            lab.ack("station-001", id, "014");
            lab.wait_lamp("school-001", id, "acknowledged", PATIENCE);
        }
    };
    damage_each_file(&mut lab, "relay-001", before, after);
    lab.assert_calm();
}

#[test]
fn a_broker_whose_store_is_damaged_before_the_station_came_loses_no_event() {
    let mut lab = Lab::running(1, 1);
    let before = |lab: &mut Lab| {
        if lab.node("station-001").is_started() {
            lab.node("station-001").stop();
        }
        let mut ids = alarms(lab, 3);
        ids.push(lab.raise("school-001", &json!({ "kind": "status" })));
        for id in &ids {
            lab.wait_stage("school-001", id, "stored", PATIENCE);
        }
        ids
    };
    let after = |lab: &mut Lab, ids: &[String]| {
        lab.start("station-001");
        lab.wait_inbox("station-001", ids, PATIENCE);
        for id in &ids[..3] {
            lab.ack("station-001", id, "014");
            lab.wait_lamp("school-001", id, "acknowledged", PATIENCE);
        }
    };
    damage_each_file(&mut lab, "broker-1", before, after);
    lab.assert_calm();
}

#[test]
fn a_station_whose_store_is_damaged_gets_everything_again_and_shows_nothing_twice() {
    let mut lab = Lab::running(1, 1);
    let screen = Watch::start(&lab.base("station-001"), Manner::Shows);
    let before = |lab: &mut Lab| {
        let mut ids = alarms(lab, 3);
        ids.push(lab.raise("school-001", &json!({ "kind": "assist" })));
        ids.push(lab.raise("school-001", &json!({ "kind": "status" })));
        for id in &ids {
            lab.wait_stage("school-001", id, "delivered", PATIENCE);
            lab.wait_stage("school-001", id, "stored", PATIENCE);
        }
        screen.wait_shown(&ids, PATIENCE);
        ids
    };
    let after = |lab: &mut Lab, ids: &[String]| {
        lab.wait_inbox("station-001", ids, PATIENCE);
        for id in &ids[..4] {
            lab.ack("station-001", id, "014");
            lab.wait_lamp("school-001", id, "acknowledged", PATIENCE);
        }
    };
    damage_each_file(&mut lab, "station-001", before, after);
    let shown = screen.shown();
    let mut once = shown.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "a screen that knows ids shows nothing twice");
    lab.assert_calm();
}
