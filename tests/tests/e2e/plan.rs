//! The plan in the record: applied to a running region by command, in force on all nodes at once, and refused as a whole when it is none.

use std::path::{Path, PathBuf};

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::Value;

use crate::PATIENCE;

const BROKERS: [&str; 3] = ["broker-1", "broker-2", "broker-3"];

fn plan_of(lab: &Lab, node: &str) -> Option<Value> {
    http::get(&lab.base(node), "/v1/plan").ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
}

fn write(lab: &Lab, name: &str, text: &str) -> PathBuf {
    let path = lab.set_dir().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Applies a plan through one node; gives the exit code and all that was said.
fn apply(lab: &Lab, node: &str, path: &Path, more: &[&str]) -> (Option<i32>, String) {
    let (base, path) = (lab.base(node), path.display().to_string());
    let words = ["plan", "apply", &path, "--by", "王警官", "--note", "e2e", "--broker", &base];
    let output = lab.run(&[&words[..], more].concat());
    (output.code, output.stdout + &output.stderr)
}

fn in_force(lab: &Lab, nodes: &[&str], version: u64) {
    for node in nodes {
        wait_until("the plan is in force on every node", PATIENCE, || {
            plan_of(lab, node).filter(|plan| plan["version"] == version).map(drop)
        });
    }
}

fn ready(lab: &Lab, nodes: &[&str]) -> String {
    wait_until("the region has a leader and a quorum", PATIENCE, || {
        let said: Option<Vec<Value>> = nodes
            .iter()
            .map(|node| http::get(&lab.base(node), "/v1/cluster").ok().map(|answer| answer.json()))
            .collect();
        let said = said?;
        let leader = said[0]["leader"].as_str()?.to_owned();
        let agreed = said.iter().all(|json| json["leader"] == *leader && json["degraded"].is_null());
        agreed.then(|| format!("broker-{}", leader.trim_start_matches('b')))
    })
}

/// A plan that sends school 1 to one of the lab's stations, with the tree above it.
fn small(station: &str) -> String {
    format!(
        "[[area]]\ncode = \"360000\"\n[[area]]\ncode = \"361100\"\n[[area]]\ncode = \"361102\"\ndesk = \"station-003\"\n\n\
         [[station]]\nid = \"station-001\"\narea = \"361102\"\n[[station]]\nid = \"station-002\"\narea = \"361102\"\n\
         [[station]]\nid = \"station-003\"\narea = \"361102\"\n\n\
         [[school]]\nid = \"school-001\"\nstations = [\"{station}\"]\n"
    )
}

#[test]
fn a_plan_that_is_applied_counts_for_the_next_press_on_every_node_without_a_restart() {
    let mut lab = Lab::with_brokers(3, 1, 3);
    lab.start_all();
    ready(&lab, &BROKERS);
    let first = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&first), PATIENCE);
    assert_eq!(plan_of(&lab, "broker-1").unwrap()["source"], "file");

    let file = write(&lab, "applied.toml", &small("station-002"));
    let (code, said) = apply(&lab, "broker-1", &file, &["--dry-run"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("school school-001") && said.contains("added"), "{said}");
    assert_eq!(plan_of(&lab, "broker-1").unwrap()["version"], 0);

    let (code, said) = apply(&lab, "broker-2", &file, &[]);
    assert_eq!(code, Some(0), "{said}");
    in_force(&lab, &BROKERS, 1);
    let digests: Vec<Value> = BROKERS.iter().map(|node| plan_of(&lab, node).unwrap()["digest"].clone()).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
    assert_eq!(plan_of(&lab, "broker-3").unwrap()["as_applied"], true);

    // The next press goes to the new station and, at once, to the county's desk; what was under way stays where it is.
    let second = lab.press("school-001");
    lab.wait_inbox("station-002", std::slice::from_ref(&second), PATIENCE);
    lab.wait_inbox("station-003", std::slice::from_ref(&second), PATIENCE);
    assert_eq!(lab.inbox("station-001").len(), 1);
    lab.displayed("station-001", &first);
    lab.ack("station-001", &first, "014");
    lab.wait_lamp("school-001", &first, "acknowledged", PATIENCE);

    // Whoever asks is told who would get it, and whoever looks back, who changed it.
    let base = lab.base("broker-3");
    let route = lab.run(&["route", "test", "--school", "school-001", "--broker", &base]);
    assert_eq!(route.code, Some(0), "{route:?}");
    assert!(route.stdout.contains("station-002") && route.stdout.contains("county_desk"), "{route:?}");
    let history = lab.run(&["plan", "history", "--broker", &base]);
    assert!(history.stdout.contains("王警官") && history.stdout.contains("e2e"), "{history:?}");
    // It is there after a start, though the files say otherwise.
    for node in BROKERS {
        lab.node(node).stop();
    }
    lab.start_all();
    ready(&lab, &BROKERS);
    in_force(&lab, &BROKERS, 1);
    let third = lab.press("school-001");
    lab.wait_inbox("station-002", std::slice::from_ref(&third), PATIENCE);
    assert_eq!(lab.inbox("station-001").len(), 1);
}

#[test]
fn a_plan_that_is_none_or_was_made_for_another_version_changes_nothing() {
    let mut lab = Lab::with_brokers(3, 1, 3);
    lab.start_all();
    ready(&lab, &BROKERS);
    let file = write(&lab, "applied.toml", &small("station-001"));
    assert_eq!(apply(&lab, "broker-1", &file, &[]).0, Some(0));
    in_force(&lab, &BROKERS, 1);

    let broken = write(&lab, "broken.toml", &small("station-009"));
    let (code, said) = apply(&lab, "broker-1", &broken, &[]);
    assert_eq!(code, Some(78), "{said}");
    assert!(said.contains("broken.toml:19:1: school school-001 names station station-009"), "{said}");

    // The same past the command's own check: the node looks at it too, and so does the record.
    let order = serde_json::json!({ "stage": "0".repeat(32), "base": 1, "digest": "0".repeat(64), "who": "x" });
    let answer = http::post(&lab.base("broker-1"), "/v1/plan/apply", &[], &order).unwrap();
    assert_eq!(answer.status, 409, "{answer:?}");
    assert!(answer.body.contains("incomplete"), "{answer:?}");

    assert_eq!(plan_of(&lab, "broker-1").unwrap()["version"], 1);
    lab.honest_alarm("school-001", "station-001");
    let (code, said) = apply(&lab, "broker-1", &file, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("nothing is changed"), "{said}");
}

#[test]
fn the_leader_dies_while_a_whole_plan_is_brought_and_it_is_all_there_or_not_at_all() {
    let mut lab = Lab::with_brokers(3, 1, 3);
    lab.start_all();
    let leader = ready(&lab, &BROKERS);
    let rest: Vec<&str> = BROKERS.into_iter().filter(|node| **node != *leader).collect();
    // Some hundred parts: schools with much in them.
    let dir = lab.set_dir().join("large");
    let made = lab.run(&["plan", "generate", &dir.display().to_string(), "--schools", "4000", "--stations", "200"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let own = "[[school]]\nid = \"school-001\"\nstations = [\"station-00002\"]\n";
    std::fs::write(dir.join("own.toml"), own).unwrap();

    let base = lab.base(rest[0]);
    let path = dir.display().to_string();
    let mut command = lab.command(&["plan", "apply", &path, "--by", "王", "--broker", &base]);
    let mut applying = command.spawn().unwrap();
    wait_until("parts are on their way", PATIENCE, || {
        plan_of(&lab, rest[0]).filter(|plan| plan["staged"]["have"].as_u64() >= Some(1)).map(drop)
    });
    lab.node(&leader).kill9();
    let ended = applying.wait().unwrap();
    assert!(ended.success(), "the command carries on with the next leader");
    in_force(&lab, &rest, 1);
    assert_eq!(plan_of(&lab, rest[1]).unwrap()["schools"], 4_001);
    lab.start(&leader);
    in_force(&lab, &BROKERS, 1);
    let digests: Vec<Value> = BROKERS.iter().map(|node| plan_of(&lab, node).unwrap()["digest"].clone()).collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}
