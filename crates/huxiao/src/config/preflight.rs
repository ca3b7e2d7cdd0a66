//! What can be known to be wrong before a node is started: its files, and values that only its role can judge.
//!
//! Invariant: a node that passes is not stopped by its configuration; what is left to fail is the machine: ports, disks, rights.

use std::path::{Path, PathBuf};

use huxiao_core::{Name, NodeName, Role};
use huxiao_pki::Credentials;
use huxiao_runtime::config::{Address, Config, Origin};

/// Who a checked configuration is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name by its certificate.
    pub name: String,
    /// From when until when that is valid, in words.
    pub period: String,
    /// A broker's name inside its region.
    pub own: Option<Name>,
}

/// Checks what the configuration's own kinds cannot hold, and opens the files that it names.
///
/// # Errors
/// Every mistake, in a sentence with its place.
pub fn preflight(role: Role, config: &Config) -> Result<Node, Vec<String>> {
    let mut errors = Vec::new();
    let [ca, cert, key] = ["tls.ca", "tls.cert", "tls.key"].map(|path| config.path(path));
    let node = credentials(role, &ca, &cert, &key).map_err(|why| errors.push(at(config, "tls.cert", &why)));
    match role {
        Role::Relay => {
            dialled(role, config, &mut errors);
            let uplinks = huxiao_relay::uplink_mistakes(config);
            errors.extend(huxiao_relay::self_test_mistake(config).map(|why| at(config, "relay.self_test", &why)));
            let uplinks = uplinks.into_iter().chain(huxiao_relay::camera_mistakes(config));
            errors.extend(uplinks.map(|(key, why)| at(config, &key, &why)));
        }
        Role::Station => dialled(role, config, &mut errors),
        Role::Broker => {
            if let Address::Unix(_) = config.address("broker.listen") {
                errors.push(at(config, "broker.listen", "sessions need a UDP address: host:port"));
            }
            if let Ok(Node { own: Some(own), .. }) = &node {
                let mistakes = huxiao_broker::peer_mistakes(config, own);
                errors.extend(mistakes.into_iter().map(|(key, why)| at(config, key, &why)));
            }
            let region = match node.as_ref().map(|node| node.name.parse()) {
                Ok(Ok(NodeName::Broker { region, .. })) => Some(region),
                _ => None,
            };
            let levels = huxiao_broker::level_mistakes(config, region.as_ref());
            errors.extend(levels.into_iter().map(|(key, why)| at(config, &key, &why)));
            errors.extend(plan(&config.path("broker.plan")));
        }
    }
    match node {
        Ok(node) if errors.is_empty() => Ok(node),
        _ => Err(errors),
    }
}

/// What is wrong with the files named in `file`, as far as it can be read: for a file that has other mistakes as well.
pub(super) fn files_named_in(role: Role, file: &Path) -> Vec<String> {
    let table: Option<toml::Table> = std::fs::read_to_string(file).ok().and_then(|text| text.parse().ok());
    let Some(table) = table else { return Vec::new() };
    let folder = file.parent().unwrap_or(Path::new("."));
    let path = |section: &str, key: &str| -> Option<PathBuf> {
        table.get(section)?.get(key)?.as_str().filter(|text| !text.is_empty()).map(|text| folder.join(text))
    };
    let mut errors = Vec::new();
    if let (Some(ca), Some(cert), Some(key)) = (path("tls", "ca"), path("tls", "cert"), path("tls", "key")) {
        errors.extend(credentials(role, &ca, &cert, &key).err().map(|why| format!("{}: [tls] {why}", file.display())));
    }
    if role == Role::Broker {
        errors.extend(path("broker", "plan").and_then(|path| plan(&path)));
    }
    errors
}

fn credentials(role: Role, ca: &Path, cert: &Path, key: &Path) -> Result<Node, String> {
    let credentials = Credentials::load(ca, cert, key, Some(role)).map_err(|error| error.to_string())?;
    let node = &credentials.identity().node;
    let own = match node {
        NodeName::Broker { node, .. } => Some(node.clone()),
        NodeName::Relay(_) | NodeName::Station(_) => None,
    };
    Ok(Node { name: node.to_string(), period: credentials.period().to_string(), own })
}

fn plan(path: &Path) -> Option<String> {
    huxiao_broker::read_plan(path).err().map(|errors| errors.to_string())
}

fn dialled(role: Role, config: &Config, errors: &mut Vec<String>) {
    let key = |name: &str| format!("{}.{name}", role.as_str());
    let brokers = config.addresses(&key("brokers"));
    if brokers.is_empty() {
        errors.push(at(config, &key("brokers"), "name at least one broker node: without one, nothing leaves here"));
    }
    for address in brokers.iter().filter(|address| matches!(address, Address::Unix(_))) {
        errors.push(at(config, &key("brokers"), &format!("{address}: sessions need a UDP address: host:port")));
    }
    let region = config.text(&key("region"));
    if !region.is_empty()
        && let Err(why) = Name::new(region)
    {
        errors.push(at(config, &key("region"), &why.to_string()));
    }
}

fn at(config: &Config, key: &str, why: &str) -> String {
    match config.origin(key) {
        Origin::File { path, line } => format!("{}:{line}: {key}: {why}", path.display()),
        Origin::Env(variable) => format!("environment variable {variable}: {why}"),
        Origin::Flag => format!("flag for {key}: {why}"),
        Origin::Default => format!("{key}: {why}"),
    }
}
