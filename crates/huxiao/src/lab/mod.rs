//! `huxiao lab init`: a folder with all that a small province of real processes needs.
//!
//! Invariant: nothing that is there is overwritten; the folder must be empty or not exist.

mod layout;
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
pub(crate) use layout::{Layout, Node};

/// How long a lab's authority and its nodes' certificates are valid: ten years and one.
const AUTHORITY_DAYS: u32 = 3_650;
const NODE_DAYS: u32 = 365;
/// The lab's trust domain.
const DOMAIN: &str = "huxiao.lab";

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
    /// Where the broker nodes listen (UDP and TCP): host:port, several separated by commas
    #[arg(long, value_name = "HOST:PORT", required = true, value_delimiter = ',', value_parser = broker)]
    pub(crate) brokers: Vec<Address>,
    /// Schools, each with one relay
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9_999))]
    pub(crate) schools: u16,
    /// Stations, each with one seat; school i belongs to station ((i - 1) mod N) + 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=9_999))]
    pub(crate) stations: u16,
    /// The region
    #[arg(long, value_name = "ID", default_value = "r1")]
    pub(crate) region: Name,
    /// Give the nodes' HTTP APIs the ports from this one on, free or not; without it, free ones are looked for
    #[arg(long, value_name = "PORT")]
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
    /// Each broker node has a UDP address of its own.
    #[error("--brokers names {0} twice: each broker node needs an address of its own")]
    SameBroker(Address),
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
    let twice = args.brokers.iter().enumerate().find(|(at, broker)| args.brokers[..*at].contains(broker));
    if let Some((_, broker)) = twice {
        return Err(LabError::SameBroker(broker.clone()));
    }
    let nodes = args.brokers.len() + usize::from(args.schools) + usize::from(args.stations);
    let ports = ports::choose(nodes, args.http_base, &args.brokers.iter().filter_map(port_of).collect::<Vec<_>>())?;
    let layout = Layout::new(args, &ports);
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| LabError::Io { path, error }
    };
    empty_folder(&args.dir)?;
    for folder in ["ca", "certs", "data"] {
        let path = args.dir.join(folder);
        fs::create_dir(&path).map_err(io(&path))?;
    }
    certificates(args, &layout)?;
    let mut files: Vec<(String, String)> =
        layout.nodes.iter().map(|node| (node.config(), text::node(&layout, node))).collect();
    files.push(("plan.toml".to_owned(), text::plan(&layout)));
    files.push(("lab.json".to_owned(), format!("{:#}\n", text::list(&layout))));
    for (name, content) in files {
        let path = args.dir.join(name);
        fs::write(&path, content).map_err(io(&path))?;
    }
    Ok(layout)
}

fn empty_folder(dir: &Path) -> Result<(), LabError> {
    let io = |error| LabError::Io { path: dir.to_owned(), error };
    fs::create_dir_all(dir).map_err(io)?;
    match fs::read_dir(dir).map_err(io)?.next() {
        None => Ok(()),
        Some(_) => Err(LabError::NotEmpty(dir.to_owned())),
    }
}

fn certificates(args: &InitArgs, layout: &Layout) -> Result<(), LabError> {
    let now = Clock::system().wall();
    let domain = Name::new(DOMAIN).map_err(|_| AuthorityError::BadName(DOMAIN.to_owned()))?;
    let authority = Authority::create(&domain, Period::days(now, AUTHORITY_DAYS))?;
    authority.save(&args.dir.join("ca/ca.pem"), &args.dir.join("ca/ca-key.pem"))?;
    let period = Period::days(now, NODE_DAYS);
    for node in &layout.nodes {
        let identity = Identity { domain: domain.clone(), node: node.identity.clone() };
        let issued = authority.issue(&identity, period, &alternative_names(node))?;
        let [cert, key] = [node.cert(), node.key()].map(|name| args.dir.join(name));
        issued.save(&cert, &key).map_err(AuthorityError::from)?;
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
