//! The image and deploy/compose.yaml, by the commands that people use: a region of three, two schools and two police stations in
//! containers, with what they may do taken away.
//!
//! What must hold: every alarm goes the whole way, whichever broker node is killed, stands still, is unplugged or restarted; a node that dies comes back by itself; what was
//! kept outlives the containers; nothing of it can be reached from outside the computer, or do what it need not.
//!
//! Needs root and Docker Engine with docker-compose or docker compose; says in a line that it is skipped where there is none. By hand:
//!
//! ```text
//! cargo test -p huxiao-tests --features privileged --test containers
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests; clippy takes only functions marked as such for tests"
)]

mod engine;
mod fleet;
mod trouble;

use std::collections::BTreeSet;
use std::process::Command;
use std::time::Instant;

use huxiao_tests::lab::{Lab, say, wait_until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use engine::{Engine, PATIENCE, image};
use fleet::{BROKERS, Fleet, WITHIN};

const MIB: u64 = 1 << 20;

#[test]
fn alarms_go_the_whole_way_in_containers_whichever_broker_node_is_killed() {
    let Some(engine) = Engine::find("containers") else { return };
    let fleet = Fleet::new(engine);
    let began = Instant::now();
    fleet.up(&[]);
    let up = began.elapsed();
    let mut ids = vec![fleet.honest_alarm("relay-001", "station-001"), fleet.honest_alarm("relay-002", "station-002")];
    assert!(fleet.event("station-002", &ids[0]).is_none(), "a station sees what it answers for");
    assert!(fleet.event("station-001", &ids[1]).is_none(), "a station sees what it answers for");

    // The one that leads, then those that do not, as it comes.
    for killed in 0..3 {
        fleet.wait_whole();
        let leader = fleet.leader();
        let broker = if killed == 0 { leader } else { format!("broker-{}", killed + 1) };
        fleet.engine.docker(&["kill", &fleet.container(&broker)]);
        ids.push(fleet.honest_alarm("relay-001", "station-001"));
        fleet.engine.docker(&["start", &fleet.container(&broker)]);
        fleet.wait_healthy(&broker);
        ids.push(fleet.honest_alarm("relay-001", "station-001"));
    }
    fleet.wait_whole();

    comes_back_by_itself(&fleet, "broker-2");
    comes_back_by_itself(&fleet, "station-001");
    ids.push(fleet.honest_alarm("relay-001", "station-001"));

    a_second_node_on_a_volume_is_refused(&fleet);

    backs_up(&fleet);

    fleet.wait_whole();
    // Only the volumes stay.
    fleet.compose(&["down", "--timeout", "30"]);
    fleet.up(&[]);
    for (at, id) in ids.iter().enumerate() {
        let station = if at == 1 { "station-002" } else { "station-001" };
        let event = fleet.event(station, id).unwrap_or_else(|| panic!("{station} has forgotten {id}"));
        assert_eq!(event["acknowledged_by"]["officer"], "014", "{event}");
    }
    fleet.wait_whole();
    ids.push(fleet.honest_alarm("relay-002", "station-002"));
    for (broker, id) in BROKERS.into_iter().zip(ids.iter().rev()) {
        let stored = |broker: &str| fleet.event(broker, id).map(|event| event["stages"]["stored"].is_string());
        wait_until(&format!("{id} is in the record of {broker}"), WITHIN, || stored(broker).filter(|is| *is));
    }
    say(&format!("containers: seven nodes healthy after {up:.0?}; {} alarms, each the whole way", ids.len()));
}

/// Kills the node's process, of which the engine knows nothing beforehand: as a crash.
fn comes_back_by_itself(fleet: &Fleet, node: &str) {
    let container = fleet.container(node);
    let pid = || fleet.inspect(&container)["State"]["Pid"].as_i64().unwrap();
    let before = pid();
    kill_process(Pid::from_raw(i32::try_from(before).unwrap()).unwrap(), Signal::KILL).unwrap();
    wait_until(&format!("{node} runs again"), WITHIN, || (![0, before].contains(&pid())).then_some(()));
    fleet.wait_healthy(node);
    assert!(fleet.inspect(&container)["RestartCount"].as_u64().unwrap() >= 1, "it was restarted by its policy");
}

/// As the line for cron in deploy/README.md does it.
fn backs_up(fleet: &Fleet) {
    let container = fleet.container("broker-3");
    let said = fleet.engine.docker(&["exec", &container, "/huxiao", "cluster", "backup"]);
    let value = |name: &str| {
        let of_name = |line: &str| Some(line.strip_prefix(name)?.trim_start().to_owned());
        said.lines().find_map(of_name).unwrap_or_else(|| panic!("{name} in {said}"))
    };
    let copy = fleet.dir().join("backup");
    fleet.engine.docker(&["cp", &format!("{container}:{}", value("file ")), copy.to_str().unwrap()]);
    assert_eq!(std::fs::metadata(&copy).unwrap().len().to_string(), value("bytes "));
}

/// Two nodes on one store would each write what the other does not know.
fn a_second_node_on_a_volume_is_refused(fleet: &Fleet) {
    let volume = format!("{}_broker-1:/var/lib/huxiao", fleet.project);
    let config = format!("{}:/etc/huxiao:ro", fleet.dir().join("broker-1").display());
    let mut second = Command::new("docker");
    second.args(["run", "--rm", "-v", &volume, "-v", &config, image()]);
    second.args(["broker", "run", "--config", "/etc/huxiao/broker.toml"]);
    let done = Lab::finish_within(second, PATIENCE);
    assert!(done.code.is_some_and(|code| code != 0), "{done:?}");
    assert!(done.stderr.contains("another process"), "it says why: {done:?}");
}

#[test]
fn a_container_may_do_only_what_its_node_needs() {
    let Some(engine) = Engine::find("containers") else { return };
    let fleet = Fleet::new(engine);
    let nodes = ["broker-1", "relay-001", "station-001"];
    fleet.up(&nodes);
    for node in nodes {
        let container = fleet.inspect(&fleet.container(node));
        let state = &container["State"];
        let process = format!("/proc/{}", state["Pid"]);
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("{name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
        };
        // By what the kernel says of the process, not by what was asked for.
        assert_eq!(field("Uid"), "65532 65532 65532 65532", "{node}");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(field(set), "0000000000000000", "{set} of {node}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1".to_owned(), "2".to_owned()), "{node}");
        assert_eq!(writable(&process), BTreeSet::from(["/tmp".to_owned(), "/var/lib/huxiao".to_owned()]), "{node}");
        let config = std::fs::read_dir(format!("{process}/root/etc/huxiao")).unwrap();
        let names = config.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        let keys: BTreeSet<String> = names.filter(|name| name.contains("key")).collect();
        // Relays sign alarms and seats commands, each with a key of its own beside that of its sessions.
        let own: &[&str] = if node == "broker-1" { &["key.pem"] } else { &["key.pem", "sign-key.pem"] };
        assert!(keys.iter().eq(own), "{node} sees no key but its own: {keys:?}");
        for (port, published) in container["NetworkSettings"]["Ports"].as_object().unwrap() {
            for at in published.as_array().into_iter().flatten() {
                assert_eq!((port.as_str(), &at["HostIp"]), ("8480/tcp", &json!("127.0.0.1")), "{node}");
            }
        }
    }

    // Process 1 of a container gets no signal that it does not handle itself.
    let stopped = fleet.container("station-001");
    fleet.compose(&["stop", "station-001"]);
    let state = fleet.inspect(&stopped)["State"].clone();
    assert_eq!(state["ExitCode"], 0, "it was asked to stop and did so in time: {state}");
}

/// Where a process could write to a disk, or fill the memory, by the mounts that it sees.
fn writable(process: &str) -> BTreeSet<String> {
    let mounts = std::fs::read_to_string(format!("{process}/mounts")).unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let apart = |at: &str| ["/proc", "/dev", "/sys"].iter().any(|of| at == *of || at.starts_with(&format!("{of}/")));
    fields
        .filter(|mount| mount[3].split(',').any(|option| option == "rw") && !apart(mount[1]))
        .map(|mount| mount[1].to_owned())
        .collect()
}

#[test]
fn the_image_says_what_it_is() {
    let Some(engine) = Engine::find("containers") else { return };
    let version: Value = serde_json::from_str(&engine.huxiao(&["version", "--output", "json"])).unwrap();
    let text = engine.docker(&["image", "inspect", image()]);
    let whole = serde_json::from_str::<Value>(&text).unwrap()[0].clone();
    let (config, bytes) = (&whole["Config"], whole["Size"].as_u64().unwrap());
    say(&format!("containers: the image takes {}.{} MiB", bytes >> 20, (bytes % MIB) * 10 / MIB));
    assert!(bytes <= 30 * MIB, "{bytes} bytes");
    let label = |name: &str| {
        let label = &config["Labels"][format!("org.opencontainers.image.{name}")];
        label.as_str().unwrap_or_else(|| panic!("{name} in {config}")).to_owned()
    };
    assert_eq!(label("version"), version["version"].as_str().unwrap());
    let commit = version["commit"].as_str().unwrap();
    assert!(label("revision").starts_with(commit), "{} is of {commit}", label("revision"));
    for name in ["title", "description", "created", "licenses"] {
        assert!(!label(name).is_empty(), "{name}");
    }
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Healthcheck"]["Test"][0], "CMD", "there is no shell for another form: {config}");
}
