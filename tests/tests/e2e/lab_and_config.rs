//! What an operator sees first: the ready-made lab, its configuration, and the demonstration.

use std::collections::BTreeSet;

use huxiao_tests::lab::{Lab, Output};
use serde_json::{Value, json};

#[test]
fn every_file_of_a_lab_passes_its_check_and_names_each_node_once() {
    let lab = Lab::init(3, 2);
    let list: Value = serde_json::from_str(&std::fs::read_to_string(lab.set_dir().join("lab.json")).unwrap()).unwrap();
    assert!(list["region"].is_string(), "{list}");
    let nodes = list["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 6, "{list}");
    let mut places = BTreeSet::new();
    for node in nodes {
        let text = |member: &str| node[member].as_str().unwrap_or_else(|| panic!("{member} in {node}"));
        assert!(places.insert(text("http").to_owned()), "a port of its own: {list}");
        match text("role") {
            "relay" => assert!(text("school").starts_with("school-"), "{node}"),
            "station" => assert!(text("station").starts_with("station-"), "{node}"),
            role => assert_eq!(role, "broker"),
        }
        let config = lab.set_dir().join(text("config"));
        let checked = lab.run(&["config", "check", config.to_str().unwrap()]);
        assert_eq!(checked.code, Some(0), "{node}: {checked:?}");
    }
    let again = lab.run(&["lab", "init", "set", "--brokers", "127.0.0.1:7443", "--schools", "1", "--stations", "1"]);
    assert_ne!(again.code, Some(0), "a folder that holds something is left alone: {again:?}");
    assert!(again.stderr.contains("set"), "{again:?}");
    let keys = std::fs::metadata(lab.set_dir().join("ca/ca-key.pem")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&keys.permissions()) & 0o777, 0o600);
}

fn check(lab: &Lab, text: &str) -> Output {
    let path = lab.set_dir().join("try.toml");
    std::fs::write(&path, text).unwrap();
    lab.run(&["config", "check", path.to_str().unwrap(), "--role", "relay"])
}

#[test]
fn a_mistake_in_a_file_is_named_with_its_place_and_the_likely_meaning() {
    let mut lab = Lab::init(1, 1);
    let good = std::fs::read_to_string(lab.node("relay-001").config()).unwrap();
    let bad = good.replacen("[http]\nlisten", "[http]\nlissten", 1);
    assert_ne!(good, bad, "the file has the key that this test spoils:\n{good}");
    let output = check(&lab, &bad);
    assert_eq!(output.code, Some(78), "{output:?}");
    let line = bad.lines().position(|line| line.starts_with("lissten")).unwrap() + 1;
    assert!(output.stderr.contains(&format!("try.toml:{line}:1: unknown key http.lissten")), "{output:?}");
    assert!(output.stderr.contains("did you mean http.listen?"), "{output:?}");

    // All at once.
    let two = good.replacen("ballast = \"1MiB\"", "ballast = \"much\"", 1).replacen("\"256KiB\"", "\"1B\"", 1);
    let output = check(&lab, &two);
    assert_eq!(output.code, Some(78), "{output:?}");
    for key in ["store.ballast", "store.black_box"] {
        assert!(output.stderr.contains(key), "{output:?}");
    }
    // A node does not start on it either.
    let path = lab.set_dir().join("try.toml").to_str().unwrap().to_owned();
    let run = lab.run(&["relay", "run", "--config", &path]);
    assert_eq!(run.code, Some(78), "{run:?}");
    let missing = lab.run(&["relay", "run", "--config", "/nowhere/relay.toml"]);
    assert_eq!(missing.code, Some(78), "{missing:?}");
    assert!(missing.stderr.contains("/nowhere/relay.toml"), "{missing:?}");
}

#[test]
fn the_environment_wins_over_the_file_and_says_so() {
    let mut lab = Lab::init(1, 1);
    let config = lab.node("relay-001").config().to_str().unwrap().to_owned();
    let show = |variables: &[(&str, &str)], more: &[&str]| {
        let mut command = lab.command(&["config", "show", "--config", &config, "--origin", "--output", "json"]);
        command.args(more).envs(variables.iter().copied());
        let output = Lab::finish(command);
        assert_eq!(output.code, Some(0), "{output:?}");
        output.stdout
    };
    let level = |text: &str| {
        let shown: Value = serde_json::from_str(text).unwrap();
        let values = shown["values"].as_array().unwrap();
        values.iter().find(|value| value["key"] == "log.level").unwrap_or_else(|| panic!("{text}")).clone()
    };
    let default = level(&show(&[], &[]));
    assert_eq!((&default["value"], &default["origin"]), (&json!("info"), &json!("default")));
    let variables = [("HUXIAO_LOG__LEVEL", "warn")];
    let set = level(&show(&variables, &[]));
    assert_eq!(set["value"], "warn");
    assert!(set["origin"].to_string().contains("HUXIAO_LOG__LEVEL"), "{set}");
    let flag = level(&show(&variables, &["--set", "log.level=error"]));
    assert_eq!(flag["value"], "error", "a flag wins over the environment: {flag}");
    // What a file says gives way, too.
    let listen = show(&[("HUXIAO_HTTP__LISTEN", "127.0.0.1:9")], &[]);
    assert!(listen.contains("HUXIAO_HTTP__LISTEN") && listen.contains("127.0.0.1:9"), "{listen}");

    let bad = {
        let mut command = lab.command(&["config", "show", "--config", &config]);
        command.env("HUXIAO_STORE__BALAST", "1MiB");
        Lab::finish(command)
    };
    assert_eq!(bad.code, Some(78), "{bad:?}");
    assert!(bad.stderr.contains("HUXIAO_STORE__BALLAST"), "it names the likely one: {bad:?}");
}

#[test]
fn the_demonstration_runs_to_its_end_and_prints_its_figures() {
    let lab = Lab::init(1, 1);
    let table = lab.run(&["dev", "--press", "12", "--output", "table"]);
    assert_eq!(table.code, Some(0), "{table:?}");
    for word in ["stored", "delivered", "acknowledged"] {
        assert!(table.stdout.contains(word), "{table:?}");
    }
    assert!(table.stdout.lines().count() <= 40, "{table:?}");
    let json = lab.run(&["dev", "--press", "2", "--output", "json"]);
    assert_eq!(json.code, Some(0), "{json:?}");
    let _: Value = serde_json::from_str(&json.stdout).unwrap_or_else(|why| panic!("{why}: {json:?}"));
}
