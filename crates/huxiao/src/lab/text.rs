//! The files of a lab: configurations, the plan, the list of nodes.

use std::fmt::Write as _;
use std::path::Path;

use huxiao_core::{Name, NodeName, Role};
use huxiao_runtime::config::Address;
use serde_json::{Value, json};

use super::layout::{Layout, Node, Province, Runner};

/// The province's plan, in the lab's folder.
pub(super) const PROVINCE_PLAN: &str = "province-plan.toml";

/// A node's configuration. Paths start at the file's folder.
pub(super) fn node(layout: &Layout, node: &Node) -> String {
    let role = node.identity.role();
    let mut out = format!(
        "# {identity} of a lab. Run it: {run}\n\
         # All keys with their defaults: huxiao config init --role {role}\n\n\
         [tls]\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n\n\
         [data]\ndir = \"{data}\"\n\n\
         [http]\nlisten = \"{listens}\"\n\n\
         # Small, so that many nodes fit on one disk. In the field leave this table out.\n\
         [store]\nballast = \"1MiB\"\nblack_box = \"256KiB\"\n\n",
        identity = node.identity,
        run = match node.runner {
            Runner::Processes => format!("huxiao {role} run --config {}", node.config()),
            Runner::Compose => format!("docker-compose up -d {}", node.name),
        },
        ca = node.ca(),
        cert = node.cert(),
        key = node.key(),
        data = node.data(),
        listens = node.listens(),
    );
    if let (Some(cert), Some(key)) = (node.sign_cert(), node.sign_key()) {
        let what = if matches!(node.identity, NodeName::Relay(_)) { "alarms" } else { "commands to schools" };
        // Writing to a String does not fail.
        let _ = write!(out, "# What {what} are signed with.\n[sign]\ncert = \"{cert}\"\nkey = \"{key}\"\n\n");
    }
    // Writing to a String does not fail.
    let _ = match &node.quic {
        Some(address) => write!(
            out,
            "[broker]\n# UDP. Relays, stations and the region's other nodes dial {address}.\nlisten = \"{}\"\nplan = \"{}\"\n{}\n\
             [record]\nballast = \"1MiB\"\n{}",
            listen(address),
            if node.province { PROVINCE_PLAN } else { "plan.toml" },
            peers(layout, node),
            levels(layout, node),
        ),
        None => {
            let (region, brokers) = layout.home(node);
            write!(out, "[{role}]\nbrokers = [{}]\nregion = \"{region}\"\n{}", quoted(brokers), self_test(role))
        }
    };
    out + &crate::role::example(role)
}

/// A lab is looked at by whoever tries something: nothing comes by itself.
fn self_test(role: Role) -> &'static str {
    if role == Role::Relay {
        "# In the field, leave this out: the relay tests itself each day.\nself_test = \"off\"\n"
    } else {
        ""
    }
}

/// What a broker node has to know of the regions above and below it.
fn levels(layout: &Layout, node: &Node) -> String {
    match &layout.province {
        None => String::new(),
        Some(_) if node.province => {
            format!("\n# The regions that forward to this one.\n[regions]\naccepted = [\"{}\"]\n", layout.region)
        }
        Some(province) => format!(
            "\n# Where every alarm is forwarded to.\n[province]\nregion = \"{}\"\nnodes = [{}]\n",
            province.region,
            quoted(&province.brokers)
        ),
    }
}

fn quoted(brokers: &[Address]) -> String {
    brokers.iter().map(|broker| format!("\"{broker}\"")).collect::<Vec<_>>().join(", ")
}

/// A name may lead to any of the machine's addresses, so the node listens on all.
fn listen(address: &Address) -> String {
    match address {
        Address::Host { port, .. } => format!("0.0.0.0:{port}"),
        address => address.to_string(),
    }
}

/// Who makes up the region; nothing for a region of one.
fn peers(layout: &Layout, of: &Node) -> String {
    let same = layout.nodes.iter().filter(|node| node.province == of.province);
    let nodes = same.filter_map(|node| match (&node.identity, &node.quic) {
        (NodeName::Broker { node, .. }, Some(address)) => Some(format!("\"{node}@{address}\"")),
        _ => None,
    });
    let nodes: Vec<String> = nodes.collect();
    if nodes.len() < 2 {
        return String::new();
    }
    format!("# The region's nodes. The first of them founds it once all are there.\npeers = [{}]\n", nodes.join(", "))
}

/// The plan: one station for each school.
pub(super) fn plan(layout: &Layout) -> String {
    let mut out = String::from(
        "# Which stations answer for which school. A broker node reads it at start and on SIGHUP.\n\
         # A second station sees the same alarms: stations = [\"station-001\", \"station-002\"]\n",
    );
    for (school, station) in &layout.schools {
        // Writing to a String does not fail.
        let _ = write!(out, "\n[[school]]\nid = \"{school}\"\nstations = [\"{station}\"]\n");
    }
    out
}

/// The province's plan: one station sees what the region forwards.
pub(super) fn province_plan(region: &Name, province: &Province) -> String {
    format!(
        "# Who in the province sees what its regions forward. Its broker nodes read it at start and on SIGHUP.\n\
         # A [[school]] named here, as in a region's plan, goes to its own stations instead.\n\n\
         [[region]]\nname = \"{region}\"\nstations = [\"{}\"]\n",
        province.station
    )
}

/// `lab.json`, for scripts.
pub(super) fn list(layout: &Layout) -> Value {
    let node = |node: &Node| {
        let role = node.identity.role();
        let mut json = json!({
            "name": node.name, "role": role.as_str(), "config": node.config(), "http": node.url(),
        });
        match &node.identity {
            NodeName::Relay(relay) => json["school"] = relay.school.to_string().into(),
            NodeName::Station(seat) => json["station"] = seat.station.to_string().into(),
            NodeName::Broker { .. } => {}
        }
        json["region"] = layout.home(node).0.to_string().into();
        json
    };
    json!({ "region": layout.region.as_str(), "nodes": layout.nodes.iter().map(node).collect::<Vec<_>>() })
}

/// What to do next.
pub(super) fn next_commands(dir: &Path, layout: &Layout) -> String {
    match layout.runner {
        Runner::Processes => next_processes(dir, layout),
        Runner::Compose => next_containers(layout),
    }
}

fn next_processes(dir: &Path, layout: &Layout) -> String {
    let dir = dir.display();
    let mut out = format!("{} nodes in {dir}. Next, each in a terminal of its own:\n", layout.nodes.len());
    for role in [Role::Broker, Role::Station, Role::Relay] {
        let config = first(layout, role).map(Node::config).unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(out, "  huxiao {role} run --config {dir}/{config}");
    }
    for node in layout.nodes.iter().filter(|node| node.province) {
        let _ = writeln!(out, "  huxiao {} run --config {dir}/{}", node.identity.role(), node.config());
    }
    if let Some((relay, station)) = first_pair(layout) {
        let _ = write!(
            out,
            "  huxiao alarm watch --station {}\n  \
             huxiao alarm send --relay {} --kind panic --test --wait displayed\n\
             All nodes and their addresses: {dir}/lab.json",
            station.url(),
            relay.url()
        );
    }
    out
}

/// The lab may have been made in a container, where its folder has another name: it is not shown.
fn next_containers(layout: &Layout) -> String {
    let mut out = format!(
        "{} nodes, each with a folder of its own. Next, in the repository:\n  \
         docker-compose -f deploy/compose.yaml up -d\n",
        layout.nodes.len()
    );
    if let Some((relay, station)) = first_pair(layout) {
        // Writing to a String does not fail.
        let _ = write!(
            out,
            "  docker-compose -f deploy/compose.yaml exec {} /huxiao alarm watch\n  \
             docker-compose -f deploy/compose.yaml exec {} /huxiao alarm send --kind panic --test --wait displayed\n\
             All nodes and their addresses on this computer: lab.json of the lab's folder",
            station.name, relay.name
        );
    }
    out
}

fn first(layout: &Layout, role: Role) -> Option<&Node> {
    layout.nodes.iter().find(|node| node.identity.role() == role)
}

/// The first relay, and the station that answers for its school.
fn first_pair(layout: &Layout) -> Option<(&Node, &Node)> {
    let (_, station) = layout.schools.first()?;
    let of = |node: &&Node| matches!(&node.identity, NodeName::Station(seat) if seat.station == *station);
    Some((first(layout, Role::Relay)?, layout.nodes.iter().find(of)?))
}
