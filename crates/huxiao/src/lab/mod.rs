//! `huxiao lab init`: a folder with all that a small province of real processes needs.
//!
//! Invariant: nothing that is there is overwritten; the folder must be empty or not exist. A node in a container is given its own key
//! and nobody else's, and the authority's key is given to none.

mod layout;
mod owner;
mod ports;
mod text;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use huxiao_core::{Identity, Name};
use huxiao_pki::{Authority, AuthorityError, Period};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::Address;

use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use layout::PROVINCE;
pub(crate) use layout::{Layout, Node, Runner};

/// How long a lab's authority and its nodes' certificates are valid: ten years and one.
const AUTHORITY_DAYS: u32 = 3_650;
const NODE_DAYS: u32 = 365;
/// The lab's trust domain.
const DOMAIN: &str = "huxiao.lab";
/// The broker nodes of deploy/compose.yaml.
const COMPOSE_BROKERS: &str = "10.89.77.11:7443,10.89.77.12:7443,10.89.77.13:7443";

/// What can be done with labs.
#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Make a lab: authority, certificates, configurations, plan, and a list of the nodes
    Init(InitArgs),
}

/// Arguments of `lab init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder; it must be empty or not exist
    pub(crate) dir: PathBuf,
    /// What runs the nodes. For compose the rest has the values that deploy/compose.yaml is written for
    #[arg(long, value_enum, value_name = "RUNNER", default_value_t)]
    pub(crate) layout: Runner,
    /// Where the broker nodes listen (UDP and TCP): host:port, several separated by commas
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = broker)]
    #[arg(required = false, required_unless_present = "layout", required_if_eq("layout", "processes"))]
    #[arg(default_value_if("layout", "compose", COMPOSE_BROKERS))]
    pub(crate) brokers: Vec<Address>,
    /// Schools, each with one relay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9_999))]
    #[arg(required = false, required_unless_present = "layout", required_if_eq("layout", "processes"))]
    #[arg(default_value_if("layout", "compose", "2"))]
    pub(crate) schools: u16,
    /// Stations, each with one seat; school i belongs to station ((i - 1) mod N) + 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9_999))]
    #[arg(required = false, required_unless_present = "layout", required_if_eq("layout", "processes"))]
    #[arg(default_value_if("layout", "compose", "2"))]
    pub(crate) stations: u16,
    /// The region
    #[arg(long, value_name = "ID", default_value = "r1")]
    pub(crate) region: Name,
    /// Make a province too, one level up: where its broker nodes listen, as with --brokers. It has a station of its own, which sees
    /// every alarm of the region
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', value_parser = broker)]
    pub(crate) province: Vec<Address>,
    /// Give the nodes' HTTP APIs the ports from this one on, free or not; without it, free ones are looked for
    #[arg(long, value_name = "PORT", default_value_if("layout", "compose", "8481"))]
    pub(crate) http_base: Option<u16>,
}

/// Why a lab cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Give another folder, or empty this one.
    #[error("{} is not empty: a lab is made in a folder that is empty or does not exist yet", .0.display())]
    NotEmpty(PathBuf),
    /// See who may write there and how much space there is.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Ask for fewer nodes or another base.
    #[error("{wanted} HTTP ports are needed, and there are not so many {at}")]
    Ports {
        /// How many nodes there are.
        wanted: usize,
        /// Where they were looked for.
        at: String,
    },
    /// Let root make it, or the image.
    #[error(
        "keys for containers must belong to user {uid}, and only root may give files away; the image can make this lab:\n  \
         docker run --rm --user 0 -v {}:/lab huxiao lab init /lab --layout compose", dir.display()
    )]
    NotRoot {
        /// The user of the nodes' processes.
        uid: u32,
        /// The lab's folder.
        dir: PathBuf,
    },
    /// Each broker node has a UDP address of its own.
    #[error("{0} is named twice: each broker node needs an address of its own")]
    SameBroker(Address),
    /// The region has the name of the one above it.
    #[error("a region with a province cannot be called {PROVINCE}, as that one is: give another --region")]
    SameRegion,
    /// The random source or the disk.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

/// Runs it.
///
/// # Errors
/// [`LabError`], as a [`Failure`].
pub fn run(command: LabCommand, global: &Global) -> Outcome {
    let LabCommand::Init(args) = command;
    let layout = init(&args).map_err(Failure::failed)?;
    global.say(&text::next_commands(&args.dir, &layout));
    Ok(Code::Ok)
}

/// Makes a lab.
///
/// # Errors
/// [`LabError`]
pub(crate) fn init(args: &InitArgs) -> Result<Layout, LabError> {
    let brokers: Vec<&Address> = args.brokers.iter().chain(&args.province).collect();
    let twice = brokers.iter().enumerate().find(|(at, broker)| brokers[..*at].contains(broker));
    if let Some((_, broker)) = twice {
        return Err(LabError::SameBroker((*broker).clone()));
    }
    if !args.province.is_empty() && args.region.as_str() == PROVINCE {
        return Err(LabError::SameRegion);
    }
    // The province has one station beside its brokers.
    let province = usize::from(!args.province.is_empty());
    let nodes = brokers.len() + usize::from(args.schools) + usize::from(args.stations) + province;
    let taken: Vec<u16> = brokers.iter().filter_map(|broker| port_of(broker)).collect();
    let ports = ports::choose(nodes, args.http_base, &taken)?;
    let layout = Layout::new(args, &ports);
    if args.layout == Runner::Compose {
        owner::check(&args.dir)?;
    }
    empty_folder(&args.dir)?;
    folders(&args.dir, &layout)?;
    certificates(args, &layout)?;
    for (name, content) in files(&layout) {
        let path = args.dir.join(name);
        fs::write(&path, content).map_err(io_error(&path))?;
    }
    if args.layout == Runner::Compose {
        layout.nodes.iter().try_for_each(|node| owner::give(&args.dir.join(&node.name)))?;
    }
    Ok(layout)
}

fn folders(dir: &Path, layout: &Layout) -> Result<(), LabError> {
    let mut names = vec!["ca"];
    match layout.runner {
        Runner::Processes => names.extend(["certs", "data"]),
        Runner::Compose => names.extend(layout.nodes.iter().map(|node| node.name.as_str())),
    }
    names.into_iter().map(|name| dir.join(name)).try_for_each(|path| fs::create_dir(&path).map_err(io_error(&path)))
}

/// The lab's texts, each with its path.
fn files(layout: &Layout) -> Vec<(String, String)> {
    let mut files: Vec<_> = layout.nodes.iter().map(|node| (node.config(), text::node(layout, node))).collect();
    let plan = text::plan(layout);
    // In containers each broker node has a copy; otherwise these are one and the same file.
    let brokers = layout.nodes.iter().filter(|node| node.quic.is_some() && !node.province);
    files.extend(brokers.map(|node| (node.file("plan.toml"), plan.clone())));
    if let Some(province) = &layout.province {
        let plan = text::province_plan(&layout.region, province);
        let brokers = layout.nodes.iter().filter(|node| node.quic.is_some() && node.province);
        files.extend(brokers.map(|node| (node.file(text::PROVINCE_PLAN), plan.clone())));
    }
    files.push(("lab.json".to_owned(), format!("{:#}\n", text::list(layout))));
    files
}

/// What went wrong with `path`.
fn io_error(path: &Path) -> impl FnOnce(io::Error) -> LabError {
    let path = path.to_owned();
    move |error| LabError::Io { path, error }
}

fn empty_folder(dir: &Path) -> Result<(), LabError> {
    fs::create_dir_all(dir).map_err(io_error(dir))?;
    match fs::read_dir(dir).map_err(io_error(dir))?.next() {
        None => Ok(()),
        Some(_) => Err(LabError::NotEmpty(dir.to_owned())),
    }
}

fn certificates(args: &InitArgs, layout: &Layout) -> Result<(), LabError> {
    let now = Clock::system().wall();
    let domain = Name::new(DOMAIN).map_err(|_| AuthorityError::BadName(DOMAIN.to_owned()))?;
    let authority = Authority::create(&domain, Period::days(now, AUTHORITY_DAYS))?;
    let ca = args.dir.join("ca/ca.pem");
    authority.save(&ca, &args.dir.join("ca/ca-key.pem"))?;
    let period = Period::days(now, NODE_DAYS);
    for node in &layout.nodes {
        let identity = Identity { domain: domain.clone(), node: node.identity.clone() };
        let issued = authority.issue(&identity, period, &alternative_names(node))?;
        let [cert, key] = [node.cert(), node.key()].map(|name| args.dir.join(node.file(&name)));
        issued.save(&cert, &key).map_err(AuthorityError::from)?;
        if let (Some(cert), Some(key)) = (node.sign_cert(), node.sign_key()) {
            let issued = authority.issue_signing(&identity, period)?;
            let [cert, key] = [cert, key].map(|name| args.dir.join(node.file(&name)));
            issued.save(&cert, &key).map_err(AuthorityError::from)?;
        }
        if node.runner == Runner::Compose {
            let copy = args.dir.join(node.file(node.ca()));
            fs::copy(&ca, &copy).map_err(io_error(&copy))?;
        }
    }
    Ok(())
}

/// The host under which a broker node is dialled, for other tools; nodes themselves compare identities.
fn alternative_names(node: &Node) -> Vec<String> {
    match &node.quic {
        Some(Address::Socket(socket)) => vec![socket.ip().to_string()],
        Some(Address::Host { host, .. }) => vec![host.clone()],
        Some(Address::Unix(_)) | None => Vec::new(),
    }
}

fn port_of(broker: &Address) -> Option<u16> {
    match broker {
        Address::Socket(socket) => Some(socket.port()),
        Address::Host { port, .. } => Some(*port),
        Address::Unix(_) => None,
    }
}

fn broker(text: &str) -> Result<Address, String> {
    match text.parse()? {
        Address::Unix(_) => Err("sessions need a UDP address: host:port".to_owned()),
        Address::Socket(socket) if socket.port() == 0 || socket.ip().is_unspecified() => {
            Err("give the address and the port that relays and stations dial".to_owned())
        }
        address => Ok(address),
    }
}

#[cfg(test)]
mod tests;
