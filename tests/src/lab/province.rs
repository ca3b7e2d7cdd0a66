//! The lab itself: a folder made by `huxiao lab init`, and its nodes by name.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use huxiao_core::{Identity, WallTime};
use huxiao_pki::{Authority, Period};
use serde_json::Value;

use super::node::Node;
use super::{binary, ports};

/// How long a command of the program may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command of the program, to be run in the lab's folder.
pub type Command = std::process::Command;

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Output {
    /// Its exit status; `None` if a signal ended it.
    pub code: Option<i32>,
    /// Its data.
    pub stdout: String,
    /// Its words.
    pub stderr: String,
}

/// A lab with its nodes.
pub struct Lab {
    dir: tempfile::TempDir,
    nodes: BTreeMap<String, Node>,
    schools: BTreeMap<String, String>,
    quic: String,
}

impl Lab {
    /// A lab of one broker node, whose nodes do not run yet.
    #[must_use]
    pub fn init(schools: u16, stations: u16) -> Self {
        Self::with_brokers(1, schools, stations)
    }

    /// A lab of several broker nodes, whose nodes do not run yet.
    #[must_use]
    pub fn with_brokers(brokers: u16, schools: u16, stations: u16) -> Self {
        let first = ports::free_block(2 * brokers + schools + stations);
        let all: Vec<_> = (first..first + brokers).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect();
        Self::make(&all, None, schools, stations, first + brokers)
    }

    /// A lab of one broker node with a province above it, which has one broker node (`province-broker-1`) and one station
    /// (`province-station-001`). They do not run yet.
    #[must_use]
    pub fn with_province(schools: u16, stations: u16) -> Self {
        // Two brokers, and an API for each node.
        let first = ports::free_block(2 + 3 + schools + stations);
        let [region, province] = [first, first + 1].map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self::make(&[region], Some(province), schools, stations, first + 2)
    }

    /// A lab whose broker nodes take sessions in at `brokers`, in whatever network that is, and whose nodes serve their APIs on Unix
    /// sockets in the lab's folder. They do not run yet.
    #[must_use]
    pub fn elsewhere(brokers: &[SocketAddr], schools: u16, stations: u16) -> Self {
        // Written into the configurations, and used by nobody.
        let mut lab = Self::make(brokers, None, schools, stations, 10_000);
        for (name, node) in &mut lab.nodes {
            let socket = lab.dir.path().join(format!("{name}.sock"));
            node.set("http.listen", &format!("unix:{}", socket.display()));
        }
        lab
    }

    fn make(brokers: &[SocketAddr], province: Option<SocketAddr>, schools: u16, stations: u16, http: u16) -> Self {
        let dir = tempfile::Builder::new().prefix("huxiao-lab-").tempdir().unwrap();
        let program = dir.path().join("huxiao");
        // The very program of this run, whatever is built meanwhile.
        if fs::hard_link(binary::program(), &program).is_err() {
            fs::copy(binary::program(), &program).unwrap();
        }
        let all: Vec<String> = brokers.iter().map(SocketAddr::to_string).collect();
        let (quic, all) = (all[0].clone(), all.join(","));
        let mut lab = Self { dir, nodes: BTreeMap::new(), schools: BTreeMap::new(), quic };
        let counts = [schools.to_string(), stations.to_string(), http.to_string()];
        let args = ["lab", "init", "set", "--brokers", &all, "--schools", &counts[0], "--stations", &counts[1]];
        let province = province.map(|address| address.to_string());
        let above: Vec<&str> = province.iter().flat_map(|address| ["--province", address.as_str()]).collect();
        let made = lab.run(&[args.as_slice(), &["--http-base", &counts[2]], &above].concat());
        assert_eq!(made.code, Some(0), "{made:?}");
        fs::create_dir(lab.dir.path().join("logs")).unwrap();
        let list: Value = serde_json::from_str(&fs::read_to_string(lab.set_dir().join("lab.json")).unwrap()).unwrap();
        for entry in list["nodes"].as_array().unwrap() {
            let text = |member: &str| entry[member].as_str().unwrap_or_else(|| panic!("{member} in {entry}"));
            let config = lab.set_dir().join(text("config"));
            let log = lab.dir.path().join("logs").join(format!("{}.log", text("name")));
            let node = Node::new(text("name"), text("role"), text("http"), program.clone(), config, log);
            lab.nodes.insert(text("name").to_owned(), node);
            if let Some(school) = entry["school"].as_str() {
                lab.schools.insert(school.to_owned(), text("name").to_owned());
            }
        }
        lab
    }

    /// A lab whose nodes are all ready and connected.
    #[must_use]
    pub fn running(schools: u16, stations: u16) -> Self {
        let mut lab = Self::init(schools, stations);
        lab.start_all();
        lab
    }

    /// Starts every node that does not run, and waits until all are ready and connected.
    pub fn start_all(&mut self) {
        self.nodes.values_mut().filter(|node| !node.is_started()).for_each(Node::start);
        self.nodes.values_mut().for_each(Node::wait_ready);
        for node in self.nodes.values().filter(|node| node.role() != "broker") {
            self.wait_connected(node.name());
        }
    }

    /// Waits until a relay or a station has a session.
    pub fn wait_connected(&self, name: &str) {
        let connected = || (self.status(name)["connected"] == true).then_some(());
        super::wait_until(&format!("{name} is connected"), PATIENCE, connected);
    }

    /// A node that is there.
    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.get_mut(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// Gives a node away: the lab knows it no longer, and whoever has it ends it before the lab's folder goes.
    pub fn take(&mut self, name: &str) -> Node {
        self.nodes.remove(name).unwrap_or_else(|| panic!("there is no node {name}"))
    }

    /// Leaves the lab's folder where it is when the lab ends, for whoever looks for what went wrong.
    pub fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }

    /// The command that runs a node, for a test that wants to see its end.
    #[must_use]
    pub fn node_command(&self, name: &str) -> Command {
        self.nodes.get(name).unwrap_or_else(|| panic!("there is no node {name}")).command()
    }

    /// Starts a node and waits until it is ready.
    pub fn start(&mut self, name: &str) {
        self.node(name).start();
        self.node(name).wait_ready();
    }

    /// Where a node's API is.
    #[must_use]
    pub fn base(&self, name: &str) -> String {
        self.nodes.get(name).unwrap_or_else(|| panic!("there is no node {name}")).base().to_owned()
    }

    /// Where the API of a school's relay is.
    #[must_use]
    pub fn relay_of(&self, school: &str) -> String {
        self.base(self.schools.get(school).unwrap_or_else(|| panic!("there is no school {school}")))
    }

    /// Names of all nodes.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.nodes.keys().cloned().collect()
    }

    /// Where the (first) broker takes sessions in.
    #[must_use]
    pub fn quic(&self) -> &str {
        &self.quic
    }

    /// A folder of this lab for whatever a test needs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The folder that `lab init` made.
    #[must_use]
    pub fn set_dir(&self) -> PathBuf {
        self.dir.path().join("set")
    }

    /// The folder of a node's data.
    #[must_use]
    pub fn data_dir(&self, name: &str) -> PathBuf {
        self.set_dir().join("data").join(name)
    }

    /// The lab's certificate authority.
    #[must_use]
    pub fn authority(&self) -> Authority {
        let file = |name: &str| self.set_dir().join("ca").join(name);
        Authority::load(&file("ca.pem"), &file("ca-key.pem")).unwrap()
    }

    /// The authority's certificate file.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.set_dir().join("ca/ca.pem")
    }

    /// Issues a certificate for `node` (`relay/school-001/gate`), signed by this lab's authority. Gives its two files back.
    #[must_use]
    pub fn issue(&self, node: &str, period: Period) -> (PathBuf, PathBuf) {
        let authority = self.authority();
        let identity: Identity = format!("spiffe://{}/{node}", authority.domain()).parse().unwrap();
        let file = |end: &str| self.dir.path().join(format!("{}-{}{end}", node.replace('/', "-"), period.not_after.0));
        let (cert, key) = (file(".pem"), file("-key.pem"));
        authority.issue(&identity, period, &[]).unwrap().save(&cert, &key).unwrap();
        (cert, key)
    }

    /// The same for signatures, with its key.
    #[must_use]
    pub fn issue_signing(&self, node: &str, period: Period) -> (PathBuf, PathBuf) {
        let authority = self.authority();
        let identity: Identity = format!("spiffe://{}/{node}", authority.domain()).parse().unwrap();
        let file = |end: &str| self.dir.path().join(format!("{}-{end}", node.replace('/', "-")));
        let (cert, key) = (file("sign.pem"), file("sign-key.pem"));
        authority.issue_signing(&identity, period).unwrap().save(&cert, &key).unwrap();
        (cert, key)
    }

    /// A further node like `model`, with an identity, a data folder and a port of its own.
    pub fn add_like(&mut self, model: &str, name: &str, identity: &str) {
        let (cert, key) = self.issue(identity, Period::days(wall_now(), 10));
        let http = format!("127.0.0.1:{}", ports::free_block(1));
        let data = self.data_dir(name);
        let log = self.dir.path().join("logs").join(format!("{name}.log"));
        let program = self.dir.path().join("huxiao");
        let model = self.node(model);
        let mut node = Node::new(name, model.role(), "", program, model.config().to_owned(), log);
        let files = [("tls.cert", cert), ("tls.key", key), ("data.dir", data)];
        files.iter().for_each(|(setting, path)| node.set(setting, path.to_str().unwrap()));
        node.set("http.listen", &http);
        if !identity.starts_with("broker/") {
            // The model's signing certificate is another node's.
            ["sign.cert", "sign.key"].into_iter().for_each(|setting| node.set(setting, ""));
        }
        self.nodes.insert(name.to_owned(), node);
    }

    /// Runs the program in the lab's folder and waits for its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Output {
        Self::finish(self.command(args))
    }

    /// The program with `args`, to be run in the lab's folder with an environment that says nothing to it.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.dir.path().join("huxiao"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HUXIAO_")) {
            command.env_remove(name);
        }
        command
    }

    /// Runs a command to its end. One that does not end in time is killed and fails the test.
    #[must_use]
    pub fn finish(command: Command) -> Output {
        Self::finish_within(command, PATIENCE)
    }

    /// The same for a command that may take as long as `within`.
    #[must_use]
    pub fn finish_within(mut command: Command, within: Duration) -> Output {
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        let (done, ended) = std::sync::mpsc::channel::<()>();
        let guard = std::thread::spawn(move || {
            let began = Instant::now();
            let late = ended.recv_timeout(within) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
            if late {
                // Not waited for yet, so the number is still its own.
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            (late, began.elapsed())
        });
        let output = child.wait_with_output().unwrap();
        drop(done);
        let (late, took) = guard.join().unwrap();
        assert!(!late, "{command:?} did not end within {took:?}: {output:?}");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Output { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// No node has panicked.
    pub fn assert_calm(&self) {
        self.nodes.values().for_each(Node::assert_calm);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.nodes.values_mut().for_each(Node::put_down);
        if std::thread::panicking() {
            for node in self.nodes.values() {
                let log = node.log();
                let lines: Vec<&str> = log.lines().collect();
                let shown = lines.len().saturating_sub(80);
                println!("---- {} (the last of {} lines)\n{}", node.name(), lines.len(), lines[shown..].join("\n"));
            }
        }
    }
}

/// The machine's clock.
#[must_use]
pub fn wall_now() -> WallTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    WallTime(i64::try_from(since.as_micros()).unwrap())
}
