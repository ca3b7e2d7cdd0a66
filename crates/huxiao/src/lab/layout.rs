//! Which nodes a lab has, and what each is called.

use huxiao_core::{Name, NodeName, RelayId, SchoolId, SeatId, StationId};
use huxiao_runtime::config::Address;

use super::InitArgs;

/// A whole lab.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) region: Name,
    /// Where the broker nodes are dialled.
    pub(crate) brokers: Vec<Address>,
    /// Brokers, relays, stations.
    pub(crate) nodes: Vec<Node>,
    /// Each school with the station that answers for it.
    pub(crate) schools: Vec<(SchoolId, StationId)>,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// `broker-1`, `relay-001`, `station-001`: in file names.
    pub(crate) name: String,
    pub(crate) identity: NodeName,
    /// The port of its HTTP API, on loopback.
    pub(crate) http: u16,
    /// Where it is dialled; a broker node is.
    pub(crate) quic: Option<Address>,
}

impl Layout {
    /// The lab that `args` ask for; `ports` has one for each node.
    pub(crate) fn new(args: &InitArgs, ports: &[u16]) -> Self {
        let mut ports = ports.iter().copied();
        let mut nodes = Vec::new();
        let mut add = |name: String, identity: NodeName, quic: Option<Address>| {
            nodes.extend(ports.next().map(|http| Node { name, identity, http, quic }));
        };
        for (at, address) in (1..).zip(&args.brokers) {
            let identity = NodeName::Broker { region: args.region.clone(), node: short(&format!("b{at}")) };
            add(format!("broker-{at}"), identity, Some(address.clone()));
        }
        for at in 1..=args.schools {
            let relay = RelayId { school: school(at), device: short("gate") };
            add(format!("relay-{at:03}"), NodeName::Relay(relay), None);
        }
        for at in 1..=args.stations {
            let seat = SeatId { station: station(at), seat: short("desk-1") };
            add(format!("station-{at:03}"), NodeName::Station(seat), None);
        }
        let answers = |at: u16| (school(at), station((at - 1) % args.stations + 1));
        Self {
            region: args.region.clone(),
            brokers: args.brokers.clone(),
            nodes,
            schools: (1..=args.schools).map(answers).collect(),
        }
    }
}

impl Node {
    /// Its configuration, from the lab's folder.
    pub(crate) fn config(&self) -> String {
        format!("{}.toml", self.name)
    }

    /// Its certificate, from the lab's folder.
    pub(crate) fn cert(&self) -> String {
        format!("certs/{}.pem", self.name)
    }

    /// Its key, from the lab's folder.
    pub(crate) fn key(&self) -> String {
        format!("certs/{}-key.pem", self.name)
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
