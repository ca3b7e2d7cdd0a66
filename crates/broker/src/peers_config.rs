//! Which nodes make up the region, as the configuration says it.
//!
//! Invariant: what this accepts has the node itself in it, under the name in its certificate, and no name or address twice.

use std::collections::BTreeMap;

use huxiao_core::{Name, limits};
use huxiao_runtime::config::{Address, Config};

/// The nodes that the configuration names: each with the address at which the others reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Configured {
    /// This node's own address for the others.
    pub(crate) advertise: String,
    /// All nodes, this one among them.
    pub(crate) nodes: BTreeMap<Name, String>,
}

/// What is wrong with `broker.peers` and `broker.advertise` of the node called `own`: the key and a sentence, for each mistake.
#[must_use]
pub fn peer_mistakes(config: &Config, own: &Name) -> Vec<(&'static str, String)> {
    read(config, own).err().unwrap_or_default()
}

/// Reads them.
///
/// # Errors
/// Every mistake, with its key.
pub(crate) fn read(config: &Config, own: &Name) -> Result<Configured, Vec<(&'static str, String)>> {
    let mut mistakes = Vec::new();
    let mut nodes: BTreeMap<Name, String> = BTreeMap::new();
    for text in config.texts("broker.peers") {
        match peer(&text) {
            Ok((name, _)) if nodes.contains_key(&name) => {
                mistakes.push(("broker.peers", format!("{name} stands there twice")));
            }
            Ok((_, addr)) if nodes.values().any(|other| *other == addr) => {
                mistakes
                    .push(("broker.peers", format!("{addr} stands there twice: each node has an address of its own")));
            }
            Ok((name, addr)) => drop(nodes.insert(name, addr)),
            Err(why) => mistakes.push(("broker.peers", why)),
        }
    }
    if nodes.len() > limits::REGION_MEMBERS {
        mistakes
            .push(("broker.peers", format!("{} nodes; a region has at most {}", nodes.len(), limits::REGION_MEMBERS)));
    }
    let advertised = config.address_if_set("broker.advertise");
    if let Some(Address::Unix(_)) = &advertised {
        mistakes.push(("broker.advertise", "peers need a UDP address: host:port".to_owned()));
    }
    let listed = nodes.get(own).cloned();
    if !nodes.is_empty() && listed.is_none() && mistakes.is_empty() {
        let names: Vec<_> = nodes.keys().map(ToString::to_string).collect();
        let names = names.join(", ");
        mistakes.push(("broker.peers", format!("this node is {own}, and only {names} stand there: list it too")));
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let advertise = advertised.map(|address| address.to_string()).or(listed);
    let advertise = advertise.unwrap_or_else(|| config.address("broker.listen").to_string());
    nodes.insert(own.clone(), advertise.clone());
    Ok(Configured { advertise, nodes })
}

/// Reads `NAME@HOST:PORT`.
///
/// # Errors
/// What would be right.
pub fn peer(text: &str) -> Result<(Name, String), String> {
    let right = || format!("{text:?}: write NAME@HOST:PORT, such as b1@10.0.0.1:7443");
    let (name, addr) = text.split_once('@').ok_or_else(right)?;
    let name: Name = name.parse().map_err(|why| format!("{text:?}: {why}"))?;
    match addr.parse() {
        Ok(Address::Unix(_)) => Err(right()),
        Ok(Address::Socket(socket)) if socket.port() == 0 || socket.ip().is_unspecified() => Err(right()),
        Ok(address) if addr.len() <= limits::ADDR_BYTES => Ok((name, address.to_string())),
        Ok(_) | Err(_) => Err(right()),
    }
}

#[cfg(test)]
mod tests {
    use huxiao_runtime::config::Loader;

    use super::*;

    fn config(peers: &str, advertise: &str) -> Result<Configured, Vec<(&'static str, String)>> {
        let needed =
            ["tls.ca", "tls.cert", "tls.key", "data.dir", "broker.plan"].map(|key| (key, "/nowhere".to_owned()));
        let flags = [("broker.peers", peers.to_owned()), ("broker.advertise", advertise.to_owned())];
        let config = Loader::new(crate::KEYS).flags(needed).flags(flags).load().unwrap();
        read(&config, &"b1".parse().unwrap())
    }

    fn mistake(peers: &str) -> String {
        config(peers, "").unwrap_err().into_iter().map(|(_, why)| why).collect()
    }

    #[test]
    fn a_region_is_read_by_name() {
        let three = config("b2@10.0.0.2:7443,b1@10.0.0.1:7443,b3@broker-3.example:7443", "").unwrap();
        assert_eq!(three.advertise, "10.0.0.1:7443");
        assert_eq!(three.nodes.keys().map(Name::as_str).collect::<Vec<_>>(), ["b1", "b2", "b3"]);
        let alone = config("", "").unwrap();
        assert_eq!((alone.advertise.as_str(), alone.nodes.len()), ("0.0.0.0:7443", 1));
        assert_eq!(config("", "10.1.1.1:7443").unwrap().advertise, "10.1.1.1:7443");
    }

    #[test]
    fn every_mistake_is_named() {
        assert!(mistake("b2@10.0.0.2:7443").contains("this node is b1"));
        assert!(mistake("b1@10.0.0.1:7443,b1@10.0.0.2:7443").contains("b1 stands there twice"));
        assert!(mistake("b1@10.0.0.1:7443,b2@10.0.0.1:7443").contains("10.0.0.1:7443 stands there twice"));
        for wrong in ["b1", "b1@", "b1@10.0.0.1", "b1@0.0.0.0:7443", "b1@10.0.0.1:0", "b1@unix:/run/x", "b 1@h:1"] {
            assert!(mistake(wrong).contains("b1") || mistake(wrong).contains("b 1"), "{wrong}");
        }
    }
}
