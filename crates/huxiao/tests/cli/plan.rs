//! `plan` and `route` without a node.

use std::fs;
use std::path::Path;

use crate::{ended, program, run};

fn example() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/plan/jiangxi").display().to_string()
}

#[test]
fn the_shipped_plan_passes_the_check_and_a_broken_one_is_told_line_by_line() {
    let good = run(["plan", "check", &example(), "--output", "json"]);
    assert_eq!(good.code, Some(0), "{good:?}");
    assert_eq!(good.json()["counts"]["schools"]["added"], 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.toml");
    fs::write(&file, "[[school]]\nid = \"s1\"\nstations = []\n\n[[school]]\nid = \"s2\"\nsilnt = true\n").unwrap();
    let bad = ended(program(["plan", "check"]).arg(&file));
    assert_eq!(bad.code, Some(78), "{bad:?}");
    let lines: Vec<&str> = bad.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{bad:?}");
    assert!(lines[0].ends_with("plan.toml:1:1: school s1 has no station: give it at least one"), "{bad:?}");
    assert!(lines[1].contains("plan.toml:7:1: unknown key \"silnt\""), "{bad:?}");
}

#[test]
fn a_made_up_province_is_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("province").display().to_string();
    let size = ["--schools", "500", "--stations", "60", "--seed", "4"];
    let made = run([&["plan", "generate", dir.as_str()][..], &size].concat());
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(run(["plan", "check", &dir]).code, Some(0));
    let again = run([&["plan", "generate", dir.as_str()][..], &size].concat());
    assert!(again.code == Some(1) && again.stderr.contains("not empty"), "{again:?}");
    let other = folder.path().join("other").display().to_string();
    assert_eq!(run([&["plan", "generate", other.as_str()][..], &size].concat()).code, Some(0));
    for file in ["areas.toml", "stations.toml", "schools-360103.toml"] {
        let read = |dir: &str| fs::read_to_string(Path::new(dir).join(file)).unwrap();
        assert_eq!(read(&dir), read(&other), "the same seed makes the same {file}");
    }
}

#[test]
fn who_would_get_an_alarm_is_said_from_files() {
    let asked = ["route", "test", "--school", "3611020001", "--at", "2026-12-04T10:05:00+08:00", "--plan", &example()];
    let said = run(asked);
    assert_eq!(said.code, Some(0), "{said:?}");
    for word in ["xinzhou-dongshi", "owner", "county_desk", "a registered drill is on", "10 s", "neighbour"] {
        assert!(said.stdout.contains(word), "{word} in {}", said.stdout);
    }
    let json = run([&asked[..], &["--class", "p1", "--output", "json"]].concat()).json();
    assert_eq!(json["reaches"][0]["station"], "xinzhou-dongshi");
    assert_eq!(json["times"][0]["from"], "school");
    let nobody = run(["route", "test", "--school", "nowhere", "--plan", &example()]);
    assert_eq!(nobody.code, Some(10), "{nobody:?}");
}

#[test]
fn a_region_must_be_named() {
    for words in [&["plan", "history"][..], &["plan", "show"], &["route", "test", "--school", "s1"]] {
        let said = run(words);
        assert_eq!(said.code, Some(2), "{said:?}");
    }
    assert_eq!(run(["plan", "apply", &example()]).code, Some(2), "nobody ordered it");
}
