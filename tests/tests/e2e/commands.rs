//! The way down: what an officer has a school do, from the station's command line to what is heard there, and back.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, Output, http, wait_until};
use serde_json::Value;

use crate::PATIENCE;

/// A command of the first station to the first school, and whatever else.
fn say(lab: &Lab, words: &[&str], more: &[&str]) -> Output {
    let base = lab.base("station-001");
    let to = ["--school", "school-001", "--officer", "014", "--station", &base, "--output", "json"];
    lab.run(&[words, &to[..], more].concat())
}

/// The same, taken: its id.
fn said(lab: &Lab, words: &[&str], more: &[&str]) -> String {
    let output = say(lab, words, more);
    assert_eq!(output.code, Some(0), "{output:?}");
    let state: Value = serde_json::from_str(&output.stdout).unwrap();
    state["id"].as_str().unwrap().to_owned()
}

fn command(lab: &Lab, node: &str, id: &str) -> Value {
    http::get(&lab.base(node), &format!("/v1/commands/{id}")).map(|answer| answer.json()).unwrap_or_default()
}

fn wait_stage(lab: &Lab, node: &str, id: &str, stage: &str) -> Value {
    wait_until(&format!("{node} sees that {id} is {stage}"), PATIENCE, || {
        Some(command(lab, node, id)).filter(|state| state["stage"] == stage)
    })
}

fn stages(state: &Value) -> Vec<&str> {
    state["receipts"].as_array().unwrap().iter().map(|said| said["stage"].as_str().unwrap()).collect()
}

/// A program that is heard for as long as nobody ends it, and says so in a file.
fn endless(lab: &Lab) -> (PathBuf, PathBuf) {
    let (program, begun) = (lab.dir().join("speak"), lab.dir().join("begun"));
    let script =
        format!("#!/bin/sh\ncat >> {0}\necho \" $HUXIAO_PRIORITY\" >> {0}\nsleep 600 &\nwait\n", begun.display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (program, begun)
}

#[test]
fn words_reach_the_spool_and_their_end_the_officer() {
    let lab = Lab::running(2, 2);
    let mut screen = Stream::open(&lab.base("station-001"), "/v1/events", None).unwrap();
    let id = said(&lab, &["broadcast", "--text", "请立即离开校门", "--zone", "gate"], &["--wait", "30"]);
    let spooled = lab.data_dir("relay-001").join("spool").join(format!("{id}.txt"));
    assert_eq!(fs::read_to_string(spooled).unwrap(), "请立即离开校门");
    let state = command(&lab, "station-001", &id);
    assert_eq!(stages(&state), ["stored", "accepted", "playing", "finished"], "{state}");
    assert_eq!(state["signature"], "ed25519");
    assert_eq!(stages(&wait_stage(&lab, "broker-1", &id, "finished")), stages(&state));
    assert_eq!(command(&lab, "relay-001", &id)["text"], "请立即离开校门");
    loop {
        let message = screen.next_message().unwrap();
        if message.name == "command" && message.json()["stage"] == "finished" {
            break;
        }
    }
    // The way down by itself; a recording that is not there; somebody else's school.
    said(&lab, &["command", "test"], &["--wait", "30"]);
    let clip = say(&lab, &["broadcast", "--clip", "evacuate.wav"], &["--wait", "30"]);
    assert_eq!(clip.code, Some(1), "{clip:?}");
    assert!(clip.stdout.contains("\"failed\"") && clip.stdout.contains("relay.broadcast.clips"), "{clip:?}");
    let base = lab.base("station-001");
    let words = ["broadcast", "--text", "x", "--school", "school-002", "--officer", "014", "--station", &base];
    let other = lab.run(&words);
    assert_eq!(other.code, Some(1), "{other:?}");
    assert!(other.stderr.contains("does not answer for that school"), "{other:?}");
    let id = said(&lab, &["all-clear"], &["--wait", "30"]);
    let shown = http::get(&lab.base("relay-001"), "/v1/commands").unwrap().json();
    assert_eq!(shown["all_clear"]["id"], id.as_str(), "{shown}");
    let shown = lab.run(&["command", "show", &id, "--station", &base]);
    assert!(shown.stdout.contains("警情解除 all_clear") && shown.stdout.contains("已完成 finished"), "{shown:?}");
    let listed = lab.run(&["command", "list", "--broker", &lab.base("broker-1")]);
    assert!(listed.stdout.contains("broadcast") && listed.stdout.contains("test"), "{listed:?}");
    lab.assert_calm();
}

#[test]
fn what_is_heard_can_be_stopped_and_goes_on_after_the_power_was_cut() {
    let mut lab = Lab::init(1, 1);
    let (program, begun) = endless(&lab);
    lab.node("relay-001").set("relay.broadcast.program", program.to_str().unwrap());
    lab.start_all();
    let id = said(&lab, &["broadcast", "--text", "保持冷静", "--priority", "prompt"], &["--ttl", "600"]);
    wait_stage(&lab, "station-001", &id, "playing");
    let heard = || fs::read_to_string(&begun).unwrap_or_default().matches("保持冷静 prompt").count();
    wait_until("it is heard", PATIENCE, || (heard() == 1).then_some(()));
    lab.node("relay-001").kill9();
    lab.start("relay-001");
    wait_until("it is heard again", PATIENCE, || (heard() == 2).then_some(()));
    let stop = said(&lab, &["broadcast", "--stop", &id], &["--wait", "30"]);
    let state = wait_stage(&lab, "station-001", &id, "stopped");
    assert_eq!(stages(&state), ["stored", "accepted", "playing", "stopped"], "{state}");
    assert_eq!(command(&lab, "station-001", &stop)["stops"], id.as_str());
    lab.assert_calm();
}

#[test]
fn one_that_its_school_does_not_get_in_time_expires_and_is_never_heard() {
    let mut lab = Lab::running(1, 1);
    lab.node("relay-001").kill9();
    let late = said(&lab, &["broadcast", "--text", "太晚了"], &["--ttl", "5"]);
    let kept = said(&lab, &["broadcast", "--text", "还来得及"], &["--ttl", "600"]);
    let state = wait_stage(&lab, "station-001", &late, "expired");
    assert_eq!(stages(&state), ["stored", "expired"], "{state}");
    lab.start("relay-001");
    wait_stage(&lab, "station-001", &kept, "finished");
    let spool = lab.data_dir("relay-001").join("spool");
    let heard: Vec<_> = fs::read_dir(spool).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(heard, [format!("{kept}.txt").as_str()]);
    // Nobody of the school's station is needed for it to be looked at later.
    lab.node("station-001").kill9();
    lab.start("station-001");
    wait_stage(&lab, "station-001", &late, "expired");
    lab.assert_calm();
}

#[test]
fn a_notice_reaches_every_school_of_the_area_and_is_counted() {
    let mut lab = Lab::running(3, 1);
    let (base, broker) = (lab.base("station-001"), lab.base("broker-1"));
    let text = ["--text", "区域内有险情，请就地避险"];
    let send = ["notice", "send", "--area", "3611", "--action", "shelter", "--officer", "014", "--station", &base];
    let early = lab.run(&[&send[..], &text].concat());
    assert_eq!(early.code, Some(1), "{early:?}");
    assert!(early.stderr.contains("huxiao plan apply"), "{early:?}");
    let mut plan = String::from(
        "[[area]]\ncode = \"360000\"\n[[area]]\ncode = \"361100\"\n[[area]]\ncode = \"361102\"\ndesk = \"station-001\"\n\
         [[area]]\ncode = \"360100\"\n[[area]]\ncode = \"360102\"\n",
    );
    for (school, area) in [("school-001", "361102"), ("school-002", "361102"), ("school-003", "360102")] {
        plan.push_str(&format!("[[school]]\nid = \"{school}\"\narea = \"{area}\"\nstations = [\"station-001\"]\n"));
    }
    let file = lab.set_dir().join("areas.toml");
    fs::write(&file, plan).unwrap();
    let applied = lab.run(&["plan", "apply", file.to_str().unwrap(), "--by", "王警官", "--broker", &broker]);
    assert_eq!(applied.code, Some(0), "{applied:?}");
    lab.node("relay-002").kill9();
    let sent = lab.run(&[&send[..], &text, &["--ttl", "600", "--output", "json"]].concat());
    assert_eq!(sent.code, Some(0), "{sent:?}");
    let id = serde_json::from_str::<Value>(&sent.stdout).unwrap()["id"].as_str().unwrap().to_owned();
    let counted = |finished: u64| {
        wait_until(&format!("{finished} schools have it"), PATIENCE, || {
            let state = command(&lab, "station-001", &id);
            (state["progress"]["finished"] == finished).then_some(state)
        })
    };
    let state = counted(1);
    assert_eq!((&state["progress"]["schools"], &state["progress"]["open"]), (&2.into(), &1.into()), "{state}");
    lab.start("relay-002");
    let state = wait_stage(&lab, "station-001", &id, "finished");
    assert_eq!((&state["progress"]["accepted"], &state["progress"]["finished"]), (&2.into(), &2.into()), "{state}");
    let spool = |node: &str| lab.data_dir(node).join("spool").join(format!("{id}.txt")).exists();
    assert_eq!(["relay-001", "relay-002", "relay-003"].map(spool), [true, true, false]);
    let shown = lab.run(&["notice", "show", &id, "--station", &base, "--schools"]);
    assert!(shown.stdout.contains("schools 2") && shown.stdout.contains("school-002"), "{shown:?}");
    lab.assert_calm();
}

#[test]
fn a_seat_without_a_signing_certificate_commands_nobody() {
    let mut lab = Lab::init(1, 1);
    lab.node("station-001").set("sign.cert", "");
    lab.node("station-001").set("sign.key", "");
    lab.start_all();
    let output = say(&lab, &["broadcast", "--text", "x"], &[]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("sign.cert"), "{output:?}");
    lab.assert_calm();
}
