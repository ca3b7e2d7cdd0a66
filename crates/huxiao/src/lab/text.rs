//! The files of a lab: configurations, the plan, the list of nodes.

use std::fmt::Write as _;
use std::path::Path;

use huxiao_core::{NodeName, Role};
use huxiao_runtime::config::Address;
use serde_json::{Value, json};

use super::layout::{Layout, Node};

/// A node's configuration. Paths start at the file's folder.
pub(super) fn node(layout: &Layout, node: &Node) -> String {
    let role = node.identity.role();
    let mut out = format!(
        "# {identity} of a lab. Run it: huxiao {role} run --config {config}\n\
         # All keys with their defaults: huxiao config init --role {role}\n\n\
         [tls]\nca = \"ca/ca.pem\"\ncert = \"{cert}\"\nkey = \"{key}\"\n\n\
         [data]\ndir = \"data/{name}\"\n\n\
         [http]\nlisten = \"127.0.0.1:{http}\"\n\n\
         # Small, so that many nodes fit on one disk. In the field leave this table out.\n\
         [store]\nballast = \"1MiB\"\nblack_box = \"256KiB\"\n\n",
        identity = node.identity,
        config = node.config(),
        cert = node.cert(),
        key = node.key(),
        name = node.name,
        http = node.http,
    );
    // Writing to a String does not fail.
    let _ = match &node.quic {
        Some(address) => write!(
            out,
            "[broker]\n# UDP. Relays and stations dial {address}.\nlisten = \"{}\"\nplan = \"plan.toml\"\n",
            listen(address)
        ),
        None => {
            let brokers: Vec<_> = layout.brokers.iter().map(|broker| format!("\"{broker}\"")).collect();
            write!(out, "[{role}]\nbrokers = [{}]\nregion = \"{}\"\n", brokers.join(", "), layout.region)
        }
    };
    out + crate::role::example(role)
}

/// A name may lead to any of the machine's addresses, so the node listens on all.
fn listen(address: &Address) -> String {
    match address {
        Address::Host { port, .. } => format!("0.0.0.0:{port}"),
        address => address.to_string(),
    }
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
        json
    };
    json!({ "region": layout.region.as_str(), "nodes": layout.nodes.iter().map(node).collect::<Vec<_>>() })
}

/// What to do next.
pub(super) fn next_commands(dir: &Path, layout: &Layout) -> String {
    let dir = dir.display();
    let mut out = format!("{} nodes in {dir}. Next, each in a terminal of its own:\n", layout.nodes.len());
    let first = |role: Role| layout.nodes.iter().find(|node| node.identity.role() == role);
    for role in [Role::Broker, Role::Station, Role::Relay] {
        let config = first(role).map(Node::config).unwrap_or_default();
        // Writing to a String does not fail.
        let _ = writeln!(out, "  huxiao {role} run --config {dir}/{config}");
    }
    if let Some((relay, (_, station))) = first(Role::Relay).zip(layout.schools.first()) {
        let of = |node: &&Node| matches!(&node.identity, NodeName::Station(seat) if seat.station == *station);
        let watched = layout.nodes.iter().find(of).map(Node::url).unwrap_or_default();
        let _ = write!(
            out,
            "  huxiao alarm watch --station {watched}\n  \
             huxiao alarm send --relay {} --kind panic --test --wait displayed\n\
             All nodes and their addresses: {dir}/lab.json",
            relay.url()
        );
    }
    out
}
