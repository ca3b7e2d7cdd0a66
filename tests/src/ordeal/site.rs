//! The region under trial: each node a process of the real program on a host of its own, and what can be asked of it.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Deaf, Switch};
use serde_json::Value;

use super::guard::Guard;
use super::keeper::Keeper;
use super::load::Posts;
use super::nemesis::Trouble;
use crate::lab::{Lab, WallClock, http, wait_until};
use crate::power::{self, Disk, Mounted, Remote};

/// Where broker nodes listen on their hosts.
const PORT: u16 = 7_443;
/// The node on the disk that can be slowed down, if there are several.
const SLOW: usize = 0;
/// Schools with a relay each, and stations.
const SCHOOLS: u16 = 2;
const STATIONS: u16 = 2;
/// A second seat at the first station.
const SECOND_SEAT: &str = "station-001-2";
/// How long a region may take until all is well, at start and after a fault is healed. Only a region that hangs takes this long.
pub const PATIENCE: Duration = Duration::from_secs(90);
/// The size of the small disk.
const SMALL_DISK_MIB: u32 = 192;
/// What a relay's copies may take of its line. Each stands for many schools, and for their presses the lines that they have together.
const COPY_RATE: &str = "1MiB";

/// One broker node.
#[derive(Debug, Clone)]
pub struct BrokerNode {
    /// Its name in the lab.
    pub name: String,
    /// Its name in the region.
    pub member: String,
    /// Where its API is.
    pub base: String,
    /// Its data.
    pub data: PathBuf,
}

/// How a region got well.
#[derive(Debug, Clone)]
pub struct Recovery {
    /// How long it took.
    pub took: Duration,
    /// What was wrong to the last; empty if nothing was.
    pub last: String,
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.took.as_secs_f64())?;
        // What takes no longer than an election needs no explanation.
        if self.took > Duration::from_secs(5) { write!(f, " (last: {})", self.last) } else { Ok(()) }
    }
}

/// The region. Fields in this order: processes end before the disks that they stand on, and those before the folder.
pub struct Site {
    /// Who keeps its processes running.
    pub keeper: Keeper,
    /// Its network. Hosts are the broker nodes, then the relays, then the seats.
    pub switch: Arc<Switch>,
    /// Its broker nodes.
    pub brokers: Vec<BrokerNode>,
    /// Its people's places.
    pub posts: Posts,
    small: SmallDisk,
    /// The disk of one node that can be slowed down, where that can be had.
    slow: Option<Mounted>,
    /// Each broker's wall clock, where that can be had.
    clocks: Option<Vec<WallClock>>,
    lab: Lab,
    _guard: Guard,
}

impl Site {
    /// Makes the region of so many broker nodes and starts it. Comes back when all is well.
    ///
    /// # Errors
    /// [`Trouble::Skipped`]: this machine has no network namespaces, no `nft`, or does not let us mount. [`Trouble::Broken`]: the region
    /// does not come up.
    pub fn start(brokers: usize) -> Result<Self, Trouble> {
        let hosts = brokers + usize::from(SCHOOLS) + usize::from(STATIONS) + 1;
        let switch = Arc::new(Switch::start(hosts).map_err(|error| Trouble::Skipped(error.to_string()))?);
        let addresses: Vec<_> = (0..brokers).map(|at| SocketAddr::from((switch.ip(at), PORT))).collect();
        let mut lab = Lab::elsewhere(&addresses, SCHOOLS, STATIONS);
        lab.add_like("station-001", SECOND_SEAT, "station/station-001/desk-2");
        let socket = format!("unix:{}", lab.dir().join(format!("{SECOND_SEAT}.sock")).display());
        lab.node(SECOND_SEAT).set("http.listen", &socket);
        let small = SmallDisk::mount(&lab.dir().join("small-disk")).map_err(Trouble::Skipped)?;
        // The last node stands on the small disk.
        let slow = if brokers > 1 && power::available().is_ok() { Mounted::new(Disk::default()).ok() } else { None };
        let clocks = WallClock::is_available().then(|| {
            let clock = |at: usize| WallClock::new(lab.dir().join(format!("clock-{at}")), 0);
            (0..brokers).map(clock).collect::<Vec<_>>()
        });

        let names: Vec<String> = (1..=brokers).map(|at| format!("broker-{at}")).collect();
        let relays: Vec<String> = (1..=SCHOOLS).map(|at| format!("relay-{at:03}")).collect();
        let seats = ["station-001", SECOND_SEAT, "station-002"].map(str::to_owned);
        let mut nodes = Vec::new();
        let mut of_brokers = Vec::new();
        for (host, name) in names.iter().chain(&relays).chain(&seats).enumerate() {
            let mut data = lab.data_dir(name);
            let mut node = lab.take(name);
            let special = match &slow {
                _ if host + 1 == brokers => Some(small.dir.as_path()),
                Some(disk) if host == SLOW => Some(disk.dir()),
                _ => None,
            };
            if let Some(disk) = special {
                data = disk.join("data");
                node.set("data.dir", &data.display().to_string());
            }
            if node.role() == "relay" {
                node.set("relay.copy_rate", COPY_RATE);
            }
            let (network, clock) = (switch.clone(), clocks.as_ref().and_then(|clocks| clocks.get(host).cloned()));
            node.launch_by(move |program| launch(&network, host, clock.as_ref(), program));
            if host < brokers {
                let (base, member) = (node.base().to_owned(), format!("b{}", host + 1));
                of_brokers.push(BrokerNode { name: name.clone(), member, base, data });
            }
            nodes.push(node);
        }
        let bases = |range: std::ops::Range<usize>| nodes[range].iter().map(|node| node.base().to_owned()).collect();
        let first_seat = brokers + relays.len();
        let posts = Posts { relays: bases(brokers..first_seat), seats: bases(first_seat..hosts) };
        let namespaces: Vec<&str> = (0..hosts).map(|host| switch.host(host).name()).collect();
        let folders: Vec<PathBuf> =
            [Some(small.dir.clone()), slow.as_ref().map(|disk| disk.dir().to_owned())].into_iter().flatten().collect();
        let guard = Guard::start(&namespaces, &folders);
        let mut site = Self {
            keeper: Keeper::start(nodes),
            switch,
            brokers: of_brokers,
            posts,
            small,
            slow,
            clocks,
            lab,
            _guard: guard,
        };
        if let Err(why) = site.wait_well(&site.everybody(), "the region is up") {
            let folder = site.keep();
            return Err(Trouble::Broken(format!("{why}; its folder stays: {}", folder.display())));
        }
        Ok(site)
    }

    /// The seats' names, and which of them answer for each school.
    #[must_use]
    pub fn seats() -> (Vec<String>, Vec<Vec<usize>>) {
        let names = ["station-001/desk-1", "station-001/desk-2", "station-002/desk-1"];
        (names.map(|name| format!("station/{name}")).into(), vec![vec![0, 1], vec![2]])
    }

    /// All broker nodes.
    #[must_use]
    pub fn everybody(&self) -> Vec<usize> {
        (0..self.brokers.len()).collect()
    }

    /// The host of relay `at`.
    #[must_use]
    pub fn relay_host(&self, at: usize) -> usize {
        self.brokers.len() + at
    }

    /// The host of seat `at`.
    #[must_use]
    pub fn seat_host(&self, at: usize) -> usize {
        self.brokers.len() + self.posts.relays.len() + at
    }

    /// Cuts who hears whom.
    pub fn cut(&self, deaf: &Deaf) {
        self.switch.cut(deaf).unwrap();
    }

    /// Whether wall clocks of broker nodes can be moved here.
    #[must_use]
    pub fn has_clocks(&self) -> bool {
        self.clocks.is_some()
    }

    /// Sets the wall clock of broker node `at` wrong by so many seconds.
    pub fn set_clock(&self, at: usize, seconds: i64) {
        if let Some(clocks) = &self.clocks {
            clocks[at].set(seconds);
        }
    }

    /// The broker node on the small disk, and that disk.
    #[must_use]
    pub fn small_disk(&self) -> (usize, &SmallDisk) {
        (self.brokers.len() - 1, &self.small)
    }

    /// The broker node on the disk that can be slowed down, and that disk.
    #[must_use]
    pub fn slow_disk(&self) -> Option<(usize, Remote)> {
        self.slow.as_ref().map(|disk| (SLOW, disk.remote()))
    }

    /// What broker node `at` says of the region.
    #[must_use]
    pub fn cluster(&self, at: usize) -> Option<Value> {
        let answer = http::get(&self.brokers[at].base, "/v1/cluster").ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Who leads, as the node of the highest term says.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let said = self.everybody().into_iter().filter_map(|at| self.cluster(at));
        let newest = said.max_by_key(|status| status["term"].as_u64())?;
        let leader = newest["leader"].as_str()?;
        self.brokers.iter().position(|broker| broker.member == leader)
    }

    /// Waits until `nodes` are ready, have a quorum, and none lags behind.
    ///
    /// # Errors
    /// They are not in time: what each says.
    pub fn wait_well(&self, nodes: &[usize], what: &str) -> Result<Recovery, String> {
        let (began, mut last) = (Instant::now(), String::new());
        loop {
            let ailing: Vec<String> = nodes.iter().filter_map(|at| self.ailment(*at)).collect();
            if ailing.is_empty() && self.equally_far(nodes) {
                return Ok(Recovery { took: began.elapsed(), last });
            }
            last = if ailing.is_empty() { "one lags behind".into() } else { ailing.join("; ") };
            if began.elapsed() > PATIENCE {
                return Err(format!("not within {PATIENCE:?}: {what}: {}", ailing.join("; ")));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What is wrong with a node, if anything. One that knows of no region is well by being ready.
    fn ailment(&self, at: usize) -> Option<String> {
        let name = &self.brokers[at].name;
        match http::get(&self.brokers[at].base, "/readyz") {
            Ok(answer) if answer.status == 200 => {}
            Ok(answer) => return Some(format!("{name}: {}", answer.body)),
            Err(why) => return Some(format!("{name}: {why}")),
        }
        let status = self.cluster(at)?;
        let belongs = status["state"] == "leader" || status["state"] == "follower";
        let voters =
            status["members"].as_array().map_or(0, |all| all.iter().filter(|it| it["role"] == "voter").count());
        let is_well = belongs && status["degraded"].is_null() && status["leader"].is_string();
        (!is_well || voters != self.brokers.len())
            .then(|| format!("{name}: {} of {voters} voters, degraded: {}", status["state"], status["degraded"]))
    }

    /// Whether all of `nodes` that know of a log have applied what any of them had a moment ago, but for what comes within an instant.
    fn equally_far(&self, nodes: &[usize]) -> bool {
        let applied = || nodes.iter().filter_map(|at| self.cluster(*at)?["applied"].as_u64());
        // Presses go on meanwhile, some hundred statements a second, and a busy machine takes its time to answer: so each is asked after that.
        let goal = applied().max().unwrap_or(0);
        applied().all(|applied| applied + 200 > goal)
    }

    /// Runs a command of the program, to be told its end.
    ///
    /// # Errors
    /// What it said, if it ended with anything but success.
    pub fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = self.lab.run(args);
        if output.code == Some(0) { Ok(output.stdout) } else { Err(format!("huxiao {}: {output:?}", args.join(" "))) }
    }

    /// Waits until every relay and every seat has a session again.
    pub fn wait_connected(&self) {
        for base in self.posts.relays.iter().chain(&self.posts.seats) {
            wait_until(&format!("{base} is connected"), PATIENCE, || {
                (http::get(base, "/v1/status").ok()?.json()["connected"] == true).then_some(())
            });
        }
    }

    /// Leaves the folder where it is, and says where.
    pub fn keep(&mut self) -> PathBuf {
        self.lab.keep();
        self.lab.dir().to_owned()
    }
}

/// The command that runs `program` on a host, with a wall clock of its own if there is one for it.
fn launch(network: &Switch, host: usize, clock: Option<&WallClock>, program: &Path) -> Command {
    match clock {
        // `env` comes after `ip`, so that the library is loaded by the program alone.
        Some(clock) => clock.run(network.host(host).command("env"), program),
        None => network.host(host).command(program),
    }
}

/// A tmpfs that is gone with this value.
pub struct SmallDisk {
    dir: PathBuf,
}

impl SmallDisk {
    fn mount(dir: &Path) -> Result<Self, String> {
        fs::create_dir_all(dir).unwrap();
        let size = format!("size={SMALL_DISK_MIB}m");
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir).output();
        match done {
            Ok(done) if done.status.success() => Ok(Self { dir: dir.to_owned() }),
            Ok(done) => Err(format!("a small disk cannot be mounted: {}", String::from_utf8_lossy(&done.stderr))),
            Err(why) => Err(format!("a small disk cannot be mounted: {why}")),
        }
    }

    fn foreign_file(&self) -> PathBuf {
        self.dir.join("foreign")
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        use std::io::Write;
        let mut file = fs::OpenOptions::new().create(true).append(true).open(self.foreign_file()).unwrap();
        for size in [1 << 20, 64 << 10, 4 << 10] {
            while file.write_all(&vec![0xAA; size]).is_ok() {}
        }
    }

    /// Gives it back.
    pub fn free(&self) {
        // It may be free already.
        let _ = fs::remove_file(self.foreign_file());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that was just killed may still hold a file for a moment.
        let _ = Command::new("umount").arg("-l").arg(&self.dir).output();
    }
}
