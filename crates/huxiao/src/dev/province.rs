//! The nodes of a `dev` province: made like a lab, run in this process, and gone with it.
//!
//! Invariant: the folder that this command made for itself is removed at the end, one that was given is not.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

use huxiao_core::{NodeName, Role, Span};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::{Address, Loader};
use huxiao_runtime::host::Host;
use huxiao_runtime::metric;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::systemd::Notifier;
use huxiao_store::Trial;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::DevArgs;
use crate::exit::{Code, Failure};
use crate::http::{Client, Endpoint};
use crate::lab::{self, InitArgs, Runner};
use crate::{node, random, role, version};

/// Ports that are tried for a broker.
const PORTS: u32 = 16;
/// How long the nodes may take to stop.
const DRAIN: Span = Span::from_secs(5);

/// A running province.
pub(super) struct Province {
    /// School and API of each relay.
    pub(super) relays: Vec<(String, Endpoint)>,
    /// Station and API of each station.
    pub(super) stations: Vec<(String, Endpoint)>,
    broker: (SocketAddr, Endpoint),
    folder: Folder,
    shutdown: Shutdown,
    nodes: tokio::sync::Mutex<JoinSet<(String, Result<(), String>)>>,
}

impl Province {
    /// Makes and starts it.
    pub(super) async fn start(args: &DevArgs) -> Result<Self, Failure> {
        let folder = Folder::new(args.data.as_deref())?;
        let host_ip = if args.listen_all { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        let port = free_port().map_err(Failure::failed)?;
        let layout = lab::init(&InitArgs {
            dir: folder.path.clone(),
            layout: Runner::Processes,
            brokers: vec![Address::Socket((Ipv4Addr::LOCALHOST, port).into())],
            schools: args.schools,
            stations: args.stations,
            region: "dev".parse().map_err(Failure::failed)?,
            province: Vec::new(),
            http_base: None,
        })
        .map_err(Failure::failed)?;
        let mut province = Self {
            relays: Vec::new(),
            stations: Vec::new(),
            broker: ((host_ip, port).into(), Endpoint::from(Address::Socket((Ipv4Addr::LOCALHOST, 0).into()))),
            folder,
            shutdown: Shutdown::new(),
            nodes: tokio::sync::Mutex::new(JoinSet::new()),
        };
        let seed = args.seed.unwrap_or_else(random::number);
        for (at, node) in (1..).zip(&layout.nodes) {
            province.start_node(node, host_ip, seed.wrapping_add(at)).await?;
        }
        Ok(province)
    }

    async fn start_node(&mut self, node: &lab::Node, host_ip: Ipv4Addr, seed: u64) -> Result<(), Failure> {
        let role = node.identity.role();
        let mut flags = vec![("http.listen", format!("{host_ip}:{}", node.http)), ("store.ballast", "1MiB".to_owned())];
        if role == Role::Broker {
            flags.push(("broker.listen", self.broker.0.to_string()));
        }
        let file = self.folder.path.join(node.config());
        let config = Loader::new(role::keys(role)).file(file).flags(flags).load().map_err(Failure::config)?;
        let host = Host {
            clock: Clock::system(),
            shutdown: self.shutdown.clone(),
            exposition: metric::install(),
            notifier: Notifier::new(None, None),
            version: version::VERSION,
            commit: version::COMMIT,
            trial: Trial::InProcess,
            seed,
        };
        let started = node::start(role, config, host).await;
        let running = started.map_err(|error| Failure::failed(format!("{} cannot start: {error}", node.name)))?;
        let endpoint = Endpoint::from(running.http().clone());
        match &node.identity {
            NodeName::Relay(relay) => self.relays.push((relay.school.to_string(), endpoint)),
            NodeName::Station(seat) => self.stations.push((seat.station.to_string(), endpoint)),
            NodeName::Broker { .. } => self.broker.1 = endpoint,
        }
        let name = node.name.clone();
        self.nodes.get_mut().spawn(async move { (name, running.finished().await.map_err(|error| error.to_string())) });
        Ok(())
    }

    /// Waits until every relay and station has its session.
    pub(super) async fn connected(&self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        for (name, endpoint) in self.relays.iter().chain(&self.stations) {
            let mut client = Client::new(endpoint.clone());
            loop {
                let status: Value = client.get_json("/v1/status").await.map_err(Failure::failed)?;
                if status["connected"] == true {
                    break;
                }
                if Instant::now() > deadline {
                    let seconds = within.as_secs();
                    return Err(Failure::new(
                        Code::Failed,
                        format!("{name} has no session with the broker after {seconds} s"),
                    ));
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// What is there, and what to try next; at most 25 lines.
    pub(super) fn banner(&self) -> String {
        let mut lines = vec![
            "huxiao dev — a DEVELOPMENT province in one process. Never use it for real alarms.".to_owned(),
            "开发模式，不可用于真实报警。".to_owned(),
            String::new(),
            format!("  broker    {}   sessions {} (UDP and TCP)", self.broker.1, self.broker.0),
        ];
        let list = |what: &str, nodes: &[(String, Endpoint)], lines: &mut Vec<String>| {
            lines.extend(nodes.iter().take(4).map(|(name, endpoint)| format!("  {what:<9} {endpoint}   {name}")));
            if nodes.len() > 4 {
                lines.push(format!("  … and {} more; see {}/lab.json", nodes.len() - 4, self.folder.path.display()));
            }
        };
        list("relay", &self.relays, &mut lines);
        list("station", &self.stations, &mut lines);
        lines.push(format!("  files     {} {}", self.folder.path.display(), self.folder.fate()));
        lines.push(String::new());
        lines.push("Press Enter to raise an alarm, Ctrl-C to stop. Or in another terminal:".to_owned());
        if let (Some((_, station)), Some((_, relay))) = (self.stations.first(), self.relays.first()) {
            // As this program was called: it need not be in the path.
            let huxiao = std::env::args().next().unwrap_or_else(|| "huxiao".to_owned());
            lines.push(format!("  {huxiao} alarm watch --station {station}"));
            lines.push(format!("  {huxiao} alarm send --relay {relay} --kind panic --wait displayed"));
            lines.push(format!("  {huxiao} alarm ack ID --station {station} --officer 014"));
        }
        lines.join("\n")
    }

    /// Waits until a node has ended by itself, and says which and why.
    pub(super) async fn watch(&self) -> String {
        match self.nodes.lock().await.join_next().await {
            Some(Ok((name, Err(why)))) => format!("{name}: {why}"),
            Some(Ok((name, Ok(())))) => format!("{name} stopped by itself"),
            Some(Err(error)) => error.to_string(),
            None => "no node is left".to_owned(),
        }
    }

    /// Stops all nodes.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.shutdown.request(DRAIN);
        let mut failures = Vec::new();
        let mut nodes = self.nodes.into_inner();
        while let Some(ended) = nodes.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(why))) => failures.push(format!("{name}: {why}")),
                Err(error) => failures.push(error.to_string()),
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure::failed(failures.join("\n"))) }
    }
}

/// Where everything is.
struct Folder {
    path: PathBuf,
    given: bool,
}

impl Folder {
    fn new(given: Option<&Path>) -> Result<Self, Failure> {
        if let Some(path) = given {
            return Ok(Self { path: path.to_owned(), given: true });
        }
        let path = std::env::temp_dir().join(format!("huxiao-dev-{:016x}", random::number()));
        fs::create_dir(&path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
        Ok(Self { path, given: false })
    }

    fn fate(&self) -> &'static str {
        if self.given { "(kept)" } else { "(removed at the end)" }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.given {
            // What cannot be removed is left to the system's cleaning of its temporary folder.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A port that was free on UDP and on TCP a moment ago.
fn free_port() -> std::io::Result<u16> {
    let mut tried = 0;
    loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = udp.local_addr()?.port();
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) if tried >= PORTS => return Err(error),
            Err(_) => tried += 1,
        }
    }
}
