//! `config` and `lab`.

use std::fs;
use std::path::Path;

use crate::{ended, program, run};

fn lab(dir: &Path, extra: &[&str]) -> std::process::Command {
    let mut command = program(["lab", "init"]);
    command.arg(dir).args(["--brokers", "127.0.0.1:7443", "--schools", "3", "--stations", "2"]).args(extra);
    command
}

#[test]
fn every_file_of_a_lab_passes_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("lab");
    let made = ended(&mut lab(&dir, &[]));
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.stdout.is_empty(), "hints are no data");
    for hint in ["huxiao broker run", "huxiao relay run", "huxiao alarm watch --station http://127.0.0.1:"] {
        assert!(made.stderr.contains(hint), "{hint} in {made:?}");
    }
    let list: serde_json::Value = serde_json::from_str(&fs::read_to_string(dir.join("lab.json")).unwrap()).unwrap();
    let nodes = list["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 6);
    for node in nodes {
        let file = dir.join(node["config"].as_str().unwrap());
        let checked = ended(program(["config", "check", "--output", "json"]).arg(&file));
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert_eq!(checked.json()["role"], node["role"]);
    }
    let again = ended(&mut lab(&dir, &[]));
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("not empty"), "{again:?}");
    let quiet = ended(&mut lab(&folder.path().join("quiet"), &["-q", "--http-base", "20000"]));
    assert_eq!((quiet.code, quiet.stderr.as_str()), (Some(0), ""));
}

#[test]
fn all_mistakes_are_told_at_once_each_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    fs::write(
        &file,
        "[tls]\nca = \"ca.pem\"\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[relay]\nbrokrs = [\"a:1\"]\n[store]\nballast = \"much\"\n",
    )
    .unwrap();
    let checked = ended(program(["config", "check"]).arg(&file));
    assert_eq!(checked.code, Some(78), "{checked:?}");
    let name = file.display();
    for words in [
        &format!("{name}:6:1: unknown key relay.brokrs; did you mean relay.brokers?"),
        &format!("{name}:8:11: store.ballast"),
        "data.dir is not set",
        "cert.pem",
    ] {
        assert!(checked.stderr.contains(words), "{words} in {}", checked.stderr);
    }
    let run = ended(program(["relay", "run", "--config"]).arg(&file));
    assert_eq!(run.code, Some(78));
    assert!(run.stderr.contains("did you mean relay.brokers?"), "{run:?}");
}

#[test]
fn what_only_the_role_can_judge_is_judged_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("lab");
    assert_eq!(ended(&mut lab(&dir, &[])).code, Some(0));
    let plan = dir.join("plan.toml");
    fs::write(&plan, "[[school]]\nid = \"school-001\"\nstations = []\nsize = 7\n").unwrap();
    fs::copy(dir.join("certs/relay-001.pem"), dir.join("certs/broker-1.pem")).unwrap();
    let checked = ended(program(["config", "check"]).arg(dir.join("broker-1.toml")));
    assert_eq!(checked.code, Some(78), "{checked:?}");
    assert!(checked.stderr.contains("plan.toml:4:1"), "{checked:?}");
    assert!(checked.stderr.contains("is the certificate of"), "{checked:?}");

    let set = ["--set", "relay.uplinks.lte.interface=a/b", "--set", "relay.uplinks.fibre.address=0.0.0.0"];
    let lines = ended(program(["relay", "run"]).args(set).arg("--config").arg(dir.join("relay-001.toml")));
    assert_eq!(lines.code, Some(78), "{lines:?}");
    assert!(lines.stderr.contains("flag for relay.uplinks.lte.interface: \"a/b\" is not the name"), "{lines:?}");
    assert!(lines.stderr.contains("relay.uplinks.fibre.address: this is no address"), "{lines:?}");

    let set = ["--set", "relay.brokers=", "--set", "relay.region=a/b"];
    let empty = ended(program(["relay", "run"]).args(set).arg("--config").arg(dir.join("relay-001.toml")));
    assert_eq!(empty.code, Some(78), "{empty:?}");
    assert!(empty.stderr.contains("at least one broker") && empty.stderr.contains("relay.region"), "{empty:?}");
}

#[test]
fn a_file_of_no_role_or_of_two_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    for (text, words) in [
        ("[data]\ndir = \"d\"\n", "no [relay], [broker] or [station] table"),
        ("[relay]\n[station]\n", "several roles"),
        ("[relay\n", ":1:"),
    ] {
        fs::write(&file, text).unwrap();
        let checked = ended(program(["config", "check"]).arg(&file));
        assert_eq!(checked.code, Some(78), "{checked:?}");
        assert!(checked.stderr.contains(words), "{words} in {checked:?}");
    }
    let missing = run(["config", "check", "/nowhere/relay.toml"]);
    assert_eq!(missing.code, Some(78));
    assert!(missing.stderr.contains("/nowhere/relay.toml: cannot be read"), "{missing:?}");
}

#[test]
fn values_are_shown_with_the_layer_that_set_them() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("lab");
    assert_eq!(ended(&mut lab(&dir, &[])).code, Some(0));
    let mut command =
        program(["config", "show", "--origin", "--output", "json", "--set", "log.format=json", "--config"]);
    let shown = ended(command.arg(dir.join("relay-002.toml")).env("HUXIAO_LOG__LEVEL", "debug"));
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let json = shown.json();
    let of = |key: &str| {
        let row = json["values"].as_array().unwrap().iter().find(|row| row["key"] == key).unwrap();
        (row["value"].as_str().unwrap().to_owned(), row["origin"].as_str().unwrap().to_owned())
    };
    assert_eq!(of("log.format"), ("json".into(), "flag".into()));
    assert_eq!(of("log.level"), ("debug".into(), "environment, HUXIAO_LOG__LEVEL".into()));
    assert_eq!(of("relay.region").0, "r1");
    assert!(of("relay.region").1.contains("relay-002.toml:"), "{:?}", of("relay.region"));
    assert_eq!(of("node.drain").1, "default");
    let table = ended(program(["config", "show", "--config"]).arg(dir.join("broker-1.toml")));
    assert!(table.stdout.contains("broker.listen") && table.stdout.contains("127.0.0.1:7443"), "{table:?}");
}

#[test]
fn a_file_to_start_from_names_every_key() {
    for role in ["relay", "broker", "station"] {
        let init = run(["config", "init", "--role", role]);
        assert_eq!(init.code, Some(0));
        for key in [&format!("[{role}]"), "[tls]", "#cert =", "# Required."] {
            assert!(init.stdout.contains(key), "{role}: {key}");
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("node.toml");
        fs::write(&file, &init.stdout).unwrap();
        let checked = ended(program(["config", "check"]).arg(&file));
        assert_eq!(checked.code, Some(78), "what is required is missing, and nothing else is wrong: {checked:?}");
        assert!(checked.stderr.lines().all(|line| line.contains("is not set and has no default")), "{checked:?}");
    }
}

#[test]
fn the_examples_in_deploy_are_what_the_program_prints() {
    for role in ["relay", "broker", "station"] {
        let printed = run(["config", "init", "--role", role]);
        assert_eq!(printed.code, Some(0), "{printed:?}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../deploy/config/{role}.toml"));
        let kept = fs::read_to_string(&path).unwrap();
        assert_eq!(kept, printed.stdout, "write {} anew: huxiao config init --role {role}", path.display());
    }
}
