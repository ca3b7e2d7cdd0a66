//! Three broker nodes as one region: founding, losing one and all, lost stores, members that come and go, and what is said of it.

use std::fs;

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::Value;

use crate::PATIENCE;

const BROKERS: [&str; 3] = ["broker-1", "broker-2", "broker-3"];

fn cluster(lab: &Lab, node: &str) -> Option<Value> {
    http::get(&lab.base(node), "/v1/cluster").ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
}

/// Waits until `nodes` agree on a leader among themselves and take commands; gives its name in the lab.
fn leader(lab: &Lab, nodes: &[&str]) -> String {
    let leader = wait_until("the region has a leader and a quorum", PATIENCE, || {
        let said: Option<Vec<Value>> = nodes.iter().map(|node| cluster(lab, node)).collect();
        let said = said?;
        let first = said[0]["leader"].as_str()?.to_owned();
        let agreed = said
            .iter()
            .all(|json| json["leader"] == *first && json["degraded"].is_null() && json["record"].is_string());
        agreed.then_some(first)
    });
    let number = leader.trim_start_matches('b');
    format!("broker-{number}")
}

fn others<'a>(name: &str) -> Vec<&'a str> {
    BROKERS.into_iter().filter(|node| *node != name).collect()
}

/// An alarm that goes the whole way into the record: `stored` at the relay, shown and taken.
fn stored_alarm(lab: &Lab) -> String {
    let id = lab.press("school-001");
    lab.wait_stage("school-001", &id, "stored", PATIENCE);
    // The record may have it before the station is back from the node that died.
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.displayed("station-001", &id);
    lab.ack("station-001", &id, "014");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    id
}

/// What a node's record says of an event.
fn in_record(lab: &Lab, node: &str, id: &str) -> bool {
    http::get(&lab.base(node), &format!("/v1/events/{id}")).is_ok_and(|answer| answer.status == 200)
}

fn order(lab: &Lab, node: &str, words: &[&str]) -> (Option<i32>, String) {
    let base = lab.base(node);
    let output = lab.run(&[&["cluster"], words, &["--api", &base]].concat());
    (output.code, output.stdout + &output.stderr)
}

#[test]
fn three_nodes_found_a_region_and_any_one_may_die() {
    let mut lab = Lab::with_brokers(3, 1, 1);
    lab.start_all();
    let mut ids = vec![stored_alarm(&lab)];
    for _ in 0..2 {
        let first = leader(&lab, &BROKERS);
        lab.node(&first).kill9();
        let rest = others(&first);
        // The lead is elsewhere, and alarms are stored.
        leader(&lab, &rest);
        ids.push(stored_alarm(&lab));
        lab.start(&first);
        for id in &ids {
            wait_until("the node has caught up", PATIENCE, || in_record(&lab, &first, id).then_some(()));
        }
    }
    // All at once, and nothing is gone.
    BROKERS.iter().for_each(|node| lab.node(node).kill9());
    lab.start_all();
    leader(&lab, &BROKERS);
    for node in BROKERS {
        for id in &ids {
            wait_until("every node has every event", PATIENCE, || in_record(&lab, node, id).then_some(()));
        }
    }
    stored_alarm(&lab);
    lab.assert_calm();
}

#[test]
fn a_lost_quorum_is_said_in_words_and_heals() {
    let mut lab = Lab::with_brokers(3, 1, 1);
    lab.start_all();
    stored_alarm(&lab);
    let first = leader(&lab, &BROKERS);
    others(&first).iter().for_each(|node| lab.node(node).kill9());
    let why = wait_until("the node says that it is degraded", PATIENCE, || {
        cluster(&lab, &first)?["degraded"]["why"].as_str().map(str::to_owned)
    });
    assert!(why.contains("only 1 of 3 nodes answers") && why.contains("silent"), "{why}");
    let ready = http::get(&lab.base(&first), "/readyz?verbose").unwrap();
    assert_eq!(ready.status, 200, "alarms still pass through it: {ready:?}");
    assert!(ready.body.contains("[~] record degraded: only 1 of 3 nodes answers"), "{ready:?}");
    assert!((lab.metric(&first, "huxiao_record_degraded", "") - 1.0).abs() < f64::EPSILON);
    let (code, shown) = order(&lab, &first, &["status"]);
    assert_eq!(code, Some(10), "{shown}");
    assert!(shown.contains("DEGRADED"), "{shown}");
    // An alarm reaches the screen all the same.
    let id = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.displayed("station-001", &id);
    assert!(!in_record(&lab, &first, &id));
    others(&first).iter().for_each(|node| lab.start(node));
    leader(&lab, &BROKERS);
    lab.wait_stage("school-001", &id, "stored", PATIENCE);
    for node in BROKERS {
        wait_until("every node has it", PATIENCE, || in_record(&lab, node, &id).then_some(()));
    }
    lab.assert_calm();
}

#[test]
fn a_node_that_lost_its_store_is_a_stranger_until_it_is_replaced() {
    let mut lab = Lab::with_brokers(3, 1, 1);
    lab.start_all();
    let id = stored_alarm(&lab);
    leader(&lab, &BROKERS);
    lab.node("broker-3").kill9();
    fs::remove_dir_all(lab.data_dir("broker-3")).unwrap();
    lab.start("broker-3");
    let why = wait_until("the node says that it is new", PATIENCE, || {
        cluster(&lab, "broker-3")?["degraded"]["why"].as_str().map(str::to_owned)
    });
    assert!(why.contains("huxiao cluster replace b3"), "{why}");
    stored_alarm(&lab);
    assert!(!in_record(&lab, "broker-3", &id), "it takes part in nothing");
    let (code, said) = order(&lab, "broker-1", &["replace", "b3"]);
    assert_eq!(code, Some(0), "{said}");
    wait_until("it has what the others have", PATIENCE, || in_record(&lab, "broker-3", &id).then_some(()));
    leader(&lab, &BROKERS);
    // It votes: one of the others may go.
    lab.node("broker-1").kill9();
    leader(&lab, &["broker-2", "broker-3"]);
    stored_alarm(&lab);
    let (code, said) = order(&lab, "broker-2", &["replace", "b3"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing to replace"), "{said}");
    lab.assert_calm();
}

#[test]
fn the_lead_is_handed_over_and_members_come_and_go() {
    let mut lab = Lab::with_brokers(3, 1, 1);
    lab.start_all();
    let first = leader(&lab, &BROKERS);
    let heir = others(&first)[0];
    let name = format!("b{}", heir.trim_start_matches("broker-"));
    let (code, said) = order(&lab, others(&first)[1], &["transfer-leader", &name]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(leader(&lab, &BROKERS), heir);
    let (code, said) = order(&lab, heir, &["remove", "b3"]);
    assert_eq!(code, Some(0), "{said}");
    let rest = ["broker-1", "broker-2"];
    let stays = leader(&lab, &rest);
    let members = |lab: &Lab| cluster(lab, &stays).map_or(0, |json| json["members"].as_array().map_or(0, Vec::len));
    assert_eq!(members(&lab), 2);
    let id = stored_alarm(&lab);
    // It comes back as it was: it belongs to the same record.
    let addr = wait_until("its address", PATIENCE, || {
        let file = fs::read_to_string(lab.node("broker-3").config()).ok()?;
        file.lines()
            .find_map(|line| line.strip_prefix("listen = \""))
            .map(|rest| rest.trim_end_matches('"').to_owned());
        let broker = file.split("[broker]").nth(1)?.to_owned();
        broker
            .lines()
            .find_map(|line| line.strip_prefix("listen = \""))
            .map(|rest| rest.trim_end_matches('"').to_owned())
    });
    let (code, said) = order(&lab, "broker-1", &["add", &format!("b3@{addr}")]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(members(&lab), 3);
    wait_until("it has what it missed", PATIENCE, || in_record(&lab, "broker-3", &id).then_some(()));
    let (code, said) = order(&lab, "broker-1", &["transfer-leader", "b9"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("b9 is no member"), "{said}");
    lab.assert_calm();
}

#[test]
fn a_backup_becomes_another_region() {
    let mut lab = Lab::running(1, 1);
    let ids: Vec<String> = (0..3).map(|_| stored_alarm(&lab)).collect();
    let (code, said) = order(&lab, "broker-1", &["backup", "--output", "json"]);
    assert_eq!(code, Some(0), "{said}");
    let made: Value = serde_json::from_str(&said).unwrap();
    let record = made["record"].as_str().unwrap().to_owned();
    let file = lab.dir().join("backup.snapshot");
    fs::copy(made["file"].as_str().unwrap(), &file).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let config = lab.node("broker-1").config().to_str().unwrap().to_owned();
    let restore =
        |lab: &Lab| lab.run(&["cluster", "restore", "--file", &file, "--config", &config, "--output", "json"]);
    let refused = restore(&lab);
    assert_eq!(refused.code, Some(1), "a folder with a record is left alone: {refused:?}");
    lab.node("broker-1").stop();
    fs::remove_dir_all(lab.data_dir("broker-1")).unwrap();
    let restored = restore(&lab);
    assert_eq!(restored.code, Some(0), "{restored:?}");
    let restored: Value = serde_json::from_str(&restored.stdout).unwrap();
    assert_eq!(restored["sha256"], made["sha256"]);
    assert_eq!(restored["former_record"], *record);
    lab.start("broker-1");
    leader(&lab, &["broker-1"]);
    assert_eq!(cluster(&lab, "broker-1").unwrap()["record"], restored["record"]);
    assert!(ids.iter().all(|id| in_record(&lab, "broker-1", id)));
    stored_alarm(&lab);
    // A file with one other byte is no backup.
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    lab.node("broker-1").stop();
    fs::remove_dir_all(lab.data_dir("broker-1")).unwrap();
    let damaged = restore(&lab);
    assert_eq!(damaged.code, Some(1), "{damaged:?}");
    assert!(damaged.stderr.contains("damaged"), "{damaged:?}");
}
