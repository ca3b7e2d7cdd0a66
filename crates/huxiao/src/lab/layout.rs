//! Which nodes a lab has, what each is called, and where its files are.

use clap::ValueEnum;
use huxiao_core::{Name, NodeName, RelayId, SchoolId, SeatId, StationId};
use huxiao_runtime::config::Address;

use super::InitArgs;

/// Where every node in a container keeps its data, and where its API is in there.
const CONTAINER_DATA: &str = "/var/lib/huxiao";
const CONTAINER_HTTP: &str = "0.0.0.0:8480";

/// What runs the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Runner {
    /// Processes of this computer: one folder for all nodes.
    #[default]
    Processes,
    /// The containers of deploy/compose.yaml: a folder for each node, which holds what that node may see and nothing else.
    Compose,
}
/// What the region one level up is called.
pub(super) const PROVINCE: &str = "province";

/// A whole lab.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) runner: Runner,
    pub(crate) region: Name,
    /// Where the broker nodes are dialled.
    pub(crate) brokers: Vec<Address>,
    /// Brokers, relays, stations.
    pub(crate) nodes: Vec<Node>,
    /// Each school with the station that answers for it.
    pub(crate) schools: Vec<(SchoolId, StationId)>,
    /// The region one level up, if it has one.
    pub(crate) province: Option<Province>,
}

/// The region that every alarm is forwarded to.
#[derive(Debug, Clone)]
pub(crate) struct Province {
    pub(crate) region: Name,
    /// Where its broker nodes are dialled.
    pub(crate) brokers: Vec<Address>,
    /// The station that watches for the region.
    pub(crate) station: StationId,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// `broker-1`, `relay-001`, `station-001`: in file names.
    pub(crate) name: String,
    pub(crate) identity: NodeName,
    pub(crate) runner: Runner,
    /// Whether it belongs to the province and not to the region.
    pub(crate) province: bool,
    /// The port of its HTTP API, on this computer's loopback.
    pub(crate) http: u16,
    /// Where it is dialled; a broker node is.
    pub(crate) quic: Option<Address>,
}

impl Layout {
    /// The lab that `args` ask for; `ports` has one for each node.
    pub(crate) fn new(args: &InitArgs, ports: &[u16]) -> Self {
        let mut ports = ports.iter().copied();
        let mut nodes = Vec::new();
        let runner = args.layout;
        let mut add = |name: String, identity: NodeName, quic: Option<Address>, province: bool| {
            nodes.extend(ports.next().map(|http| Node { name, identity, runner, province, http, quic }));
        };
        for (at, address) in (1..).zip(&args.brokers) {
            let identity = NodeName::Broker { region: args.region.clone(), node: short(&format!("b{at}")) };
            add(format!("broker-{at}"), identity, Some(address.clone()), false);
        }
        for at in 1..=args.schools {
            let relay = RelayId { school: school(at), device: short("gate") };
            add(format!("relay-{at:03}"), NodeName::Relay(relay), None, false);
        }
        for at in 1..=args.stations {
            let seat = SeatId { station: station(at), seat: short("desk-1") };
            add(format!("station-{at:03}"), NodeName::Station(seat), None, false);
        }
        let province = (!args.province.is_empty()).then(|| Province {
            region: short(PROVINCE),
            brokers: args.province.clone(),
            station: StationId(short(&format!("{PROVINCE}-001"))),
        });
        if let Some(Province { region, brokers, station }) = &province {
            for (at, address) in (1..).zip(brokers) {
                let identity = NodeName::Broker { region: region.clone(), node: short(&format!("p{at}")) };
                add(format!("{PROVINCE}-broker-{at}"), identity, Some(address.clone()), true);
            }
            let seat = SeatId { station: station.clone(), seat: short("desk-1") };
            add(format!("{PROVINCE}-station-001"), NodeName::Station(seat), None, true);
        }
        let answers = |at: u16| (school(at), station((at - 1) % args.stations + 1));
        Self {
            runner,
            region: args.region.clone(),
            brokers: args.brokers.clone(),
            nodes,
            schools: (1..=args.schools).map(answers).collect(),
            province,
        }
    }
}

impl Layout {
    /// The region that `node` belongs to, and where that region's broker nodes are dialled.
    pub(crate) fn home(&self, node: &Node) -> (&Name, &[Address]) {
        match &self.province {
            Some(province) if node.province => (&province.region, &province.brokers),
            _ => (&self.region, &self.brokers),
        }
    }
}

impl Node {
    /// Its configuration, from the lab's folder.
    pub(crate) fn config(&self) -> String {
        match self.runner {
            Runner::Processes => format!("{}.toml", self.name),
            Runner::Compose => format!("{}/{}.toml", self.name, self.identity.role()),
        }
    }

    /// A file that its configuration names, from the lab's folder: that of the configuration is where paths in it start.
    pub(crate) fn file(&self, file: &str) -> String {
        match self.runner {
            Runner::Processes => file.to_owned(),
            Runner::Compose => format!("{}/{file}", self.name),
        }
    }

    /// The authority's certificate, from its configuration's folder.
    pub(crate) fn ca(&self) -> &'static str {
        match self.runner {
            Runner::Processes => "ca/ca.pem",
            Runner::Compose => "ca.pem",
        }
    }

    /// Its certificate, from its configuration's folder.
    pub(crate) fn cert(&self) -> String {
        match self.runner {
            Runner::Processes => format!("certs/{}.pem", self.name),
            Runner::Compose => "cert.pem".to_owned(),
        }
    }

    /// Its key, from its configuration's folder.
    pub(crate) fn key(&self) -> String {
        match self.runner {
            Runner::Processes => format!("certs/{}-key.pem", self.name),
            Runner::Compose => "key.pem".to_owned(),
        }
    }

    /// Its signing certificate, from its configuration's folder: seats sign what they have schools do, relays their alarms.
    pub(crate) fn sign_cert(&self) -> Option<String> {
        matches!(self.identity, NodeName::Station(_) | NodeName::Relay(_)).then(|| match self.runner {
            Runner::Processes => format!("certs/{}-sign.pem", self.name),
            Runner::Compose => "sign.pem".to_owned(),
        })
    }

    /// The key of its signing certificate, from its configuration's folder.
    pub(crate) fn sign_key(&self) -> Option<String> {
        matches!(self.identity, NodeName::Station(_) | NodeName::Relay(_)).then(|| match self.runner {
            Runner::Processes => format!("certs/{}-sign-key.pem", self.name),
            Runner::Compose => "sign-key.pem".to_owned(),
        })
    }

    /// Where it keeps its data, from its configuration's folder.
    pub(crate) fn data(&self) -> String {
        match self.runner {
            Runner::Processes => format!("data/{}", self.name),
            Runner::Compose => CONTAINER_DATA.to_owned(),
        }
    }

    /// Where its API listens: in a container on all of its addresses, of which only loopback of the computer is published.
    pub(crate) fn listens(&self) -> String {
        match self.runner {
            Runner::Processes => format!("127.0.0.1:{}", self.http),
            Runner::Compose => CONTAINER_HTTP.to_owned(),
        }
    }

    /// Its API.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }
}

fn school(at: u16) -> SchoolId {
    SchoolId(short(&format!("school-{at:03}")))
}

fn station(at: u16) -> StationId {
    StationId(short(&format!("station-{at:03}")))
}

#[expect(clippy::expect_used, reason = "letters, digits and dashes, some ten of them: a name by its own rules")]
fn short(text: &str) -> Name {
    Name::new(text).expect("a short name")
}
