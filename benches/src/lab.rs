//! Relays, stations and the broker nodes of a region as processes of the real program, made by `huxiao lab init`: on this machine's
//! loopback, or with the relay at one end of an emulated line and the others at the other.
//!
//! Invariant: a lab that has started is connected: each relay and each station has a session with a broker node, and every node is
//! ready.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{BenchError, Trying};
use crate::http::Connection;
use crate::place::Place;
use crate::process::Process;

/// How long a node may take to be ready and connected.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the three stand.
#[derive(Clone)]
pub(crate) struct Site<'a> {
    /// The relay.
    pub(crate) school: Place<'a>,
    /// Brokers and station.
    pub(crate) police: Place<'a>,
    /// Where the broker nodes listen, as the relay dials them.
    pub(crate) brokers: Vec<SocketAddr>,
}

impl Site<'static> {
    /// All of it on loopback, with so many broker nodes.
    ///
    /// # Errors
    /// No port is free.
    pub(crate) fn loopback(nodes: usize) -> Result<Self, BenchError> {
        let mut brokers = Vec::new();
        while brokers.len() < nodes {
            let broker = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
            if !brokers.contains(&broker) {
                brokers.push(broker);
            }
        }
        Ok(Self { school: Place::Here, police: Place::Here, brokers })
    }
}

/// The processes. They end with it.
pub(crate) struct Lab {
    relay: Node,
    /// Those of other schools.
    others: Vec<Node>,
    stations: Vec<Node>,
    brokers: Vec<Node>,
    sessions: Vec<SocketAddr>,
    authority: PathBuf,
}

/// One of them.
pub(crate) struct Node {
    name: String,
    base: String,
    process: Process,
    log: PathBuf,
    config: PathBuf,
}

/// What was made for them, before they run.
struct Made<'a> {
    program: &'a Path,
    site: Site<'a>,
    scratch: &'a Path,
    dir: PathBuf,
    list: Value,
}

impl Lab {
    /// Makes and starts them below `scratch`, and waits until relay and station have a session with the broker.
    ///
    /// # Errors
    /// The program failed, with the last it said.
    pub(crate) fn start(program: &Path, scratch: &Path, site: &Site<'_>) -> Result<Self, BenchError> {
        Self::of(&Made::new(program, scratch, site.clone(), 1, 1)?)
    }

    /// The same with so many schools, each with a relay of its own and one station for all; `rules` stand in the plan at each of them.
    ///
    /// # Errors
    /// As [`Lab::start`]; and the plan cannot be written.
    pub(crate) fn start_many(
        program: &Path,
        scratch: &Path,
        site: &Site<'_>,
        schools: u16,
        rules: &str,
    ) -> Result<Self, BenchError> {
        let made = Made::new(program, scratch, site.clone(), schools, 1)?;
        let file = made.dir.join("plan.toml");
        let plan = fs::read_to_string(&file).trying_on("read", &file)?;
        let mut ruled = String::new();
        for line in plan.lines() {
            ruled.push_str(line);
            ruled.push('\n');
            // The last line of each school.
            if line.starts_with("stations") {
                ruled.push_str(rules);
            }
        }
        fs::write(&file, ruled).trying_on("write", &file)?;
        Self::of(&made)
    }

    /// The same with so many stations, and schools in the plan that have no relay here: for each its code and the number of its station,
    /// from 0.
    ///
    /// # Errors
    /// As [`Lab::start`]; and the plan cannot be written.
    pub(crate) fn start_wide(
        program: &Path,
        scratch: &Path,
        site: &Site<'_>,
        stations: u16,
        schools: impl Iterator<Item = (String, u16)>,
    ) -> Result<Self, BenchError> {
        let made = Made::new(program, scratch, site.clone(), 1, stations)?;
        let file = made.dir.join("plan.toml");
        let mut plan = fs::read_to_string(&file).trying_on("read", &file)?;
        for (school, station) in schools {
            let station = format!("station-{:03}", station % stations + 1);
            plan.push_str(&format!("\n[[school]]\nid = \"{school}\"\nstations = [\"{station}\"]\n"));
        }
        fs::write(&file, plan).trying_on("write", &file)?;
        Self::of(&made)
    }

    fn of(made: &Made<'_>) -> Result<Self, BenchError> {
        let (brokers, stations) = (made.run("broker")?, made.run("station")?);
        let mut relays = made.run("relay")?.into_iter();
        let relay = relays.next().ok_or_else(|| BenchError::answer("lab.json", "no relay"))?;
        let (site, authority) = (&made.site, made.dir.join("ca"));
        let sessions = site.brokers.clone();
        let mut lab = Self { brokers, stations, relay, others: relays.collect(), sessions, authority };
        for broker in &mut lab.brokers {
            broker.wait(site.police, ready)?;
        }
        for station in &mut lab.stations {
            station.wait(site.police, connected)?;
        }
        for relay in std::iter::once(&mut lab.relay).chain(&mut lab.others) {
            relay.wait(site.school, connected)?;
        }
        Ok(lab)
    }

    /// Where the API of the (first) relay is.
    pub(crate) fn relay(&self) -> &str {
        &self.relay.base
    }

    /// Where the APIs of the other schools' relays are.
    pub(crate) fn other_relays(&self) -> impl Iterator<Item = &str> {
        self.others.iter().map(|relay| relay.base.as_str())
    }

    /// Where the (first) station's API is.
    pub(crate) fn station(&self) -> &str {
        self.stations.first().map_or("", |station| &station.base)
    }

    /// Where the stations' APIs are.
    pub(crate) fn stations(&self) -> impl Iterator<Item = &str> {
        self.stations.iter().map(|station| station.base.as_str())
    }

    /// Where the broker nodes' APIs are.
    pub(crate) fn brokers(&self) -> Vec<&str> {
        self.brokers.iter().map(|broker| broker.base.as_str()).collect()
    }

    /// Where the broker nodes take sessions in, in turn.
    pub(crate) fn sessions_at(&self, turn: usize) -> SocketAddr {
        self.sessions[turn % self.sessions.len()]
    }

    /// The folder of the lab's certificate authority.
    pub(crate) fn authority(&self) -> &Path {
        &self.authority
    }

    /// What a broker node is called in its region.
    pub(crate) fn broker_name(&self, at: usize) -> &str {
        &self.brokers[at].name
    }

    /// Kills a broker node (`kill -9`).
    pub(crate) fn kill_broker(&mut self, at: usize) {
        self.brokers[at].process.end();
    }

    /// Has a broker node end in good order (SIGTERM), as an upgrade does.
    ///
    /// # Errors
    /// It takes too long.
    pub(crate) fn stop_broker(&mut self, at: usize) -> Result<(), BenchError> {
        self.brokers[at].process.stop(PATIENCE).map(drop)
    }

    /// Starts a broker node that was killed, on what its disk has. Does not wait for it.
    ///
    /// # Errors
    /// The system could not.
    pub(crate) fn start_broker(&mut self, program: &Path, at: usize) -> Result<(), BenchError> {
        let broker = &mut self.brokers[at];
        broker.process = run(program, &broker.name, "broker", &broker.config, &broker.log, Place::Here)?;
        Ok(())
    }

    /// The relay's process id.
    pub(crate) fn relay_id(&self) -> u32 {
        self.relay.process.id()
    }

    /// Kills the relay and starts it again on what its disk has. Does not wait for it: gives the instant of the start.
    ///
    /// # Errors
    /// The system could not.
    pub(crate) fn restart_relay(&mut self, program: &Path, school: Place<'_>) -> Result<Instant, BenchError> {
        self.relay.process.end();
        let began = Instant::now();
        self.relay.process = run(program, &self.relay.name, "relay", &self.relay.config, &self.relay.log, school)?;
        Ok(began)
    }
}

impl<'a> Made<'a> {
    fn new(
        program: &'a Path,
        scratch: &'a Path,
        site: Site<'a>,
        schools: u16,
        stations: u16,
    ) -> Result<Self, BenchError> {
        let dir = scratch.join("lab");
        // It looks for free ports where it runs. The police side is either the same place or one where nothing runs yet.
        let mut init = clean(program, site.school);
        let brokers: Vec<String> = site.brokers.iter().map(ToString::to_string).collect();
        init.args(["lab", "init"]).arg(&dir).args(["--brokers", &brokers.join(",")]);
        let [schools, stations] = [schools, stations].map(|count| count.to_string());
        let made = init.args(["--schools", &schools, "--stations", &stations]).output().trying_on("run", program)?;
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
        let list = serde_json::from_str(&text).map_err(|error| BenchError::answer("lab.json", error.to_string()))?;
        Ok(Self { program, site, scratch, dir, list })
    }

    /// Starts every node of this role.
    fn run(&self, role: &str) -> Result<Vec<Node>, BenchError> {
        let nodes = self.list["nodes"].as_array().map(Vec::as_slice).unwrap_or_default();
        nodes.iter().filter(|node| node["role"] == role).map(|entry| self.start(role, entry)).collect()
    }

    fn start(&self, role: &str, entry: &Value) -> Result<Node, BenchError> {
        let text = |member: &str| entry[member].as_str().map(str::to_owned);
        let (Some(name), Some(config), Some(base)) = (text("name"), text("config"), text("http")) else {
            return Err(BenchError::answer("lab.json", format!("no {role} with name, config and http")));
        };
        let logs = self.scratch.join("logs");
        fs::create_dir_all(&logs).trying_on("make", &logs)?;
        let (log, config) = (logs.join(format!("{name}.log")), self.dir.join(config));
        let place = if role == "relay" { self.site.school } else { self.site.police };
        let process = run(self.program, &name, role, &config, &log, place)?;
        Ok(Node { name, base, process, log, config })
    }
}

/// Starts one node.
fn run(
    program: &Path,
    name: &str,
    role: &str,
    config: &Path,
    log: &Path,
    place: Place<'_>,
) -> Result<Process, BenchError> {
    let file = File::options().create(true).append(true).open(log).trying_on("make", log)?;
    let err = file.try_clone().trying_on("share", log)?;
    let mut command = clean(program, place);
    command.args([role, "run", "--config"]).arg(config);
    command.stdin(Stdio::null()).stdout(file).stderr(err);
    Process::spawn(name, &mut command)
}

impl Node {
    fn wait(&mut self, place: Place<'_>, is: impl Fn(&str) -> bool + Send + Sync) -> Result<(), BenchError> {
        let began = Instant::now();
        let base = self.base.clone();
        while !place.enter(|| is(&base))? {
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

fn ready(base: &str) -> bool {
    let answer = Connection::open(base).and_then(|mut to| to.ask("GET", "/readyz", ""));
    answer.is_ok_and(|answer| answer.status == 200)
}

fn connected(base: &str) -> bool {
    let status = Connection::open(base).and_then(|mut to| to.get("/v1/status"));
    status.is_ok_and(|status| status["connected"] == true) && ready(base)
}

/// The program with an environment that says nothing to it.
fn clean(program: &Path, place: Place<'_>) -> Command {
    let mut command = place.command(program);
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
