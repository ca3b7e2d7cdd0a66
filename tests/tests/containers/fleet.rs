//! The containers of deploy/compose.yaml, beside any others that the same file has brought up: with a name, a network and ports of
//! their own.
//!
//! Invariant: whatever was brought up is taken down with its volumes, also when a test fails, and then the logs are printed.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use huxiao_tests::lab::{Lab, free_block, http, wait_until};
use serde_json::{Value, json};

use crate::engine::{Engine, PATIENCE, image, succeeded};

/// How long an alarm may take, and a node to be healthy. Nothing takes this long unless it hangs.
pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// The broker nodes.
pub(crate) const BROKERS: [&str; 3] = ["broker-1", "broker-2", "broker-3"];

/// The containers.
pub(crate) struct Fleet {
    pub(crate) engine: Engine,
    dir: tempfile::TempDir,
    pub(crate) project: String,
    variables: Vec<(&'static str, String)>,
    /// The first three numbers of its addresses.
    net: String,
    /// Where each node's API is published.
    urls: BTreeMap<String, String>,
}

impl Fleet {
    /// A lab for containers, made by the image as the README says. Nothing of it runs.
    pub(crate) fn new(engine: Engine) -> Self {
        static FLEETS: AtomicU32 = AtomicU32::new(0);
        let (own, count) = (std::process::id(), FLEETS.fetch_add(1, Ordering::Relaxed));
        let dir = tempfile::Builder::new().prefix("huxiao-containers-").tempdir().unwrap();
        let net = format!("10.{}.{}", 100 + own % 100, (own / 100 + count) % 256);
        // Seven successive ports whose numbers differ in the last digit alone.
        let tens = free_block(20).div_ceil(10);
        let brokers: Vec<_> = (11..=13).map(|host| format!("{net}.{host}:7443")).collect();
        let (brokers, base, mount) = (brokers.join(","), format!("{tens}1"), format!("{}:/lab", dir.path().display()));
        let run = ["run", "--rm", "--user", "0", "-v", &mount, image()];
        let init = ["lab", "init", "/lab", "--layout", "compose", "--brokers", &brokers, "--http-base", &base];
        engine.docker(&[&run[..], &init].concat());
        let list = std::fs::read_to_string(dir.path().join("lab.json")).unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        let text = |node: &Value, member: &str| node[member].as_str().unwrap().to_owned();
        let nodes = list["nodes"].as_array().unwrap();
        let urls = nodes.iter().map(|node| (text(node, "name"), text(node, "http"))).collect();
        let variables = vec![
            ("HUXIAO_IMAGE", image().to_owned()),
            ("HUXIAO_LAB", dir.path().to_str().unwrap().to_owned()),
            ("HUXIAO_NET", net.clone()),
            ("HUXIAO_PORTS", tens.to_string()),
        ];
        Self { engine, dir, project: format!("huxiao-try-{own}-{count}"), variables, net, urls }
    }

    /// The lab's folder.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where a node's API is published.
    pub(crate) fn url(&self, node: &str) -> &str {
        &self.urls[node]
    }

    /// Names of all nodes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.urls.keys().cloned().collect()
    }

    /// A command of the compose tool, to its end; it must succeed. What it printed.
    pub(crate) fn compose(&self, args: &[&str]) -> String {
        succeeded(self.compose_command(args), PATIENCE)
    }

    fn compose_command(&self, args: &[&str]) -> Command {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose.yaml");
        let mut command = self.engine.compose();
        command.arg("--project-name").arg(&self.project).arg("--file").arg(file).args(args);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Brings up these nodes, or all, and waits until each is healthy.
    pub(crate) fn up(&self, nodes: &[&str]) {
        self.compose(&[&["up", "--detach"], nodes].concat());
        let all = self.names();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        (if nodes.is_empty() { &all } else { nodes }).iter().for_each(|node| self.wait_healthy(node));
    }

    /// The container of a node.
    pub(crate) fn container(&self, node: &str) -> String {
        self.compose(&["ps", "-q", node]).trim().to_owned()
    }

    /// Takes a node off the network, its published port included.
    pub(crate) fn unplug(&self, node: &str) {
        self.engine.docker(&["network", "disconnect", &self.network(), &self.container(node)]);
    }

    /// Puts a node back on the network, under the address that it had.
    pub(crate) fn plug(&self, node: &str) {
        let number = BROKERS.iter().position(|broker| *broker == node).unwrap_or_else(|| panic!("{node} is no broker"));
        let ip = format!("{}.{}", self.net, 11 + number);
        self.engine.docker(&["network", "connect", "--ip", &ip, &self.network(), &self.container(node)]);
    }

    fn network(&self) -> String {
        format!("{}_default", self.project)
    }

    /// What the engine knows of a container.
    pub(crate) fn inspect(&self, container: &str) -> Value {
        let text = self.engine.docker(&["container", "inspect", container]);
        serde_json::from_str::<Value>(&text).unwrap()[0].clone()
    }

    /// Waits until the container's own check says that its node is ready.
    pub(crate) fn wait_healthy(&self, node: &str) {
        let (what, container) = (format!("{node} is healthy"), self.container(node));
        wait_until(&what, WITHIN, || {
            (self.inspect(&container)["State"]["Health"]["Status"] == "healthy").then_some(())
        });
    }

    /// Waits until every broker node votes, answers and has all that the others have: then one of them may go, whichever it is.
    pub(crate) fn wait_whole(&self) {
        let whole = |status: &Value| {
            let members = status["members"].as_array()?;
            let sound =
                |member: &&Value| member["role"] == "voter" && member["reachable"] == true && member["lag"] == 0;
            (status["degraded"].is_null() && members.iter().filter(sound).count() == 3).then_some(())
        };
        wait_until("the region is whole", WITHIN, || {
            // Only the one that leads knows how far the others are.
            let brokers = BROKERS.into_iter();
            brokers
                .filter_map(|broker| http::get(self.url(broker), "/v1/cluster").ok())
                .find_map(|answer| whole(&answer.json()))
        });
    }

    /// The broker node that leads its region.
    pub(crate) fn leader(&self) -> String {
        wait_until("a broker node leads", WITHIN, || {
            let leads = |broker: &String| {
                http::get(self.url(broker), "/v1/cluster").is_ok_and(|answer| answer.json()["state"] == "leader")
            };
            BROKERS.map(str::to_owned).into_iter().find(leads)
        })
    }

    /// Presses at a school's relay by the command that people use, and waits until a police station has it. The event's id.
    pub(crate) fn press(&self, relay: &str) -> String {
        let args = ["--kind", "panic", "--device", "button-1", "--wait", "delivered", "--timeout", "120s"];
        let send = ["alarm", "send", "--relay", self.url(relay), "--output", "json"];
        let answer: Value = serde_json::from_str(&self.engine.huxiao(&[&send[..], &args].concat())).unwrap();
        answer["id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// The event as a node's API shows it, if the node has it.
    pub(crate) fn event(&self, node: &str, id: &str) -> Option<Value> {
        let answer = http::get(self.url(node), &format!("/v1/events/{id}")).ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Presses at a relay, and sees the alarm go the whole way: to the station, to a screen, to an officer, back to the lamp.
    pub(crate) fn honest_alarm(&self, relay: &str, station: &str) -> String {
        let id = self.press(relay);
        let at_station = wait_until(&format!("{id} is at {station}"), WITHIN, || self.event(station, &id));
        assert_eq!(at_station["kind"], "panic");
        let shown = http::post(self.url(station), &format!("/v1/events/{id}/displayed"), &[], &json!({})).unwrap();
        assert_eq!(shown.status, 204, "{shown:?}");
        self.engine.huxiao(&["alarm", "ack", &id, "--station", self.url(station), "--officer", "014"]);
        wait_until(&format!("the lamp for {id} says that an officer has it"), WITHIN, || {
            (self.event(relay, &id)?["lamp"] == "acknowledged").then_some(())
        });
        id
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = Lab::finish_within(self.compose_command(&["logs", "--no-color", "--tail", "60"]), PATIENCE);
            println!("{}{}", logs.stdout, logs.stderr);
        }
        let down = ["down", "--volumes", "--remove-orphans", "--timeout", "3"];
        let done = Lab::finish_within(self.compose_command(&down), PATIENCE);
        // A second failure in a drop would hide the first.
        if done.code != Some(0) {
            println!("{} is not taken down: {done:?}", self.project);
        }
    }
}
