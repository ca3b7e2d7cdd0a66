//! A relay, a broker and a station as three processes of the real program, made by `huxiao lab init`.

use std::fs::{self, File};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{BenchError, Trying};
use crate::http::Connection;
use crate::process::Process;
use crate::scratch::Scratch;

/// How long a node may take to be ready and connected.
const PATIENCE: Duration = Duration::from_secs(30);

/// The three processes. They end with it.
pub(crate) struct Lab {
    relay: Node,
    station: Node,
    _broker: Node,
}

/// One of them.
pub(crate) struct Node {
    name: String,
    base: String,
    process: Process,
    log: PathBuf,
}

impl Lab {
    /// Makes and starts them, and waits until relay and station have a session with the broker.
    ///
    /// # Errors
    /// The program failed, with the last it said.
    pub(crate) fn start(program: &Path, scratch: &Scratch) -> Result<Self, BenchError> {
        let dir = scratch.path().join("lab");
        let mut init = clean(program);
        init.args(["lab", "init"]).arg(&dir).args(["--brokers", &format!("127.0.0.1:{}", free_port()?)]);
        let made = init.args(["--schools", "1", "--stations", "1"]).output().trying_on("run", program)?;
        if !made.status.success() {
            let output = String::from_utf8_lossy(&made.stderr).into_owned();
            return Err(BenchError::Program {
                program: "huxiao lab init".into(),
                status: made.status.to_string(),
                output,
            });
        }
        let list = dir.join("lab.json");
        let text = fs::read_to_string(&list).trying_on("read", &list)?;
        let list: Value =
            serde_json::from_str(&text).map_err(|error| BenchError::answer("lab.json", error.to_string()))?;
        let start = |role: &str| Node::start(program, scratch, &dir, &list, role);
        let mut lab = Self { _broker: start("broker")?, station: start("station")?, relay: start("relay")? };
        for node in [&mut lab._broker, &mut lab.station, &mut lab.relay] {
            node.wait(|node| ready(node) && (node.name.starts_with("broker") || connected(node)))?;
        }
        Ok(lab)
    }

    /// Where the relay's API is.
    pub(crate) fn relay(&self) -> &str {
        &self.relay.base
    }

    /// Where the station's API is.
    pub(crate) fn station(&self) -> &str {
        &self.station.base
    }

    /// The relay's process id.
    pub(crate) fn relay_id(&self) -> u32 {
        self.relay.process.id()
    }
}

impl Node {
    fn start(program: &Path, scratch: &Scratch, dir: &Path, list: &Value, role: &str) -> Result<Self, BenchError> {
        let nodes = list["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let entry = nodes.iter().find(|node| node["role"] == role);
        let text = |member: &str| entry.and_then(|entry| entry[member].as_str()).map(str::to_owned);
        let (Some(name), Some(config), Some(base)) = (text("name"), text("config"), text("http")) else {
            return Err(BenchError::answer("lab.json", format!("no {role} with name, config and http")));
        };
        let log = scratch.folder("logs")?.join(format!("{name}.log"));
        let file = File::create(&log).trying_on("make", &log)?;
        let err = file.try_clone().trying_on("share", &log)?;
        let mut command = clean(program);
        command.args([role, "run", "--config"]).arg(dir.join(config));
        command.stdin(Stdio::null()).stdout(file).stderr(err);
        let process = Process::spawn(&name, &mut command)?;
        Ok(Self { name, base, process, log })
    }

    fn wait(&mut self, is: impl Fn(&Self) -> bool) -> Result<(), BenchError> {
        let began = Instant::now();
        while !is(self) {
            let log = || {
                let text = fs::read_to_string(&self.log).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(20)..].join("\n")
            };
            if let Some(status) = self.process.ended()? {
                let (program, status) = (self.name.clone(), status.to_string());
                return Err(BenchError::Program { program, status, output: log() });
            }
            if began.elapsed() > PATIENCE {
                let what = format!("{} is ready and connected; its log ends with\n{}", self.name, log());
                return Err(BenchError::Late { what, seconds: PATIENCE.as_secs() });
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn ready(node: &Node) -> bool {
    let answer = Connection::open(&node.base).and_then(|mut to| to.ask("GET", "/readyz", ""));
    answer.is_ok_and(|answer| answer.status == 200)
}

fn connected(node: &Node) -> bool {
    let status = Connection::open(&node.base).and_then(|mut to| to.get("/v1/status"));
    status.is_ok_and(|status| status["connected"] == true)
}

/// The program with an environment that says nothing to it.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HUXIAO_")) {
        command.env_remove(name);
    }
    command.env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").env_remove("RUST_LOG");
    command
}

/// A port of loopback on which nobody listens at the moment, neither by UDP nor by TCP.
///
/// # Errors
/// There is none.
pub(crate) fn free_port() -> Result<u16, BenchError> {
    let mut tried = Err(std::io::ErrorKind::AddrInUse.into());
    for _ in 0..100 {
        tried = UdpSocket::bind("127.0.0.1:0").and_then(|udp| {
            let port = udp.local_addr()?.port();
            TcpListener::bind(("127.0.0.1", port)).map(|_| port)
        });
        if tried.is_ok() {
            break;
        }
    }
    tried.trying("find a free port on loopback")
}
