//! A broker node: what stands in a region's machine room.
//!
//! It takes events from relays, forwards them to stations on the express lane, puts them into the record and passes the answers
//! back. All decisions are [`huxiao_core::broker::Broker`]'s; this crate carries them out.
//!
//! Invariant: nothing is given back to the machine as committed before the record's engine has it on stable storage.

mod api;
pub mod archive;
mod case_api;
mod cluster_api;
mod command_api;
mod drill_api;
mod events_api;
mod fill;
mod journal;
mod levels;
mod peers_config;
mod plan_api;
mod plan_file;
mod plan_json;
mod record;
mod shell;
mod status;
mod supervise;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use huxiao_core::body::Accepts;
use huxiao_core::broker::{Broker, BrokerConfig, Input};
use huxiao_core::plan::Plan;
use huxiao_core::{NodeName, Role};
use huxiao_link::{DialHandle, LinkConfig, LinkEvent};
use huxiao_pki::Validity;
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::config::{Address, Config, Key, Kind};
use huxiao_runtime::drive::{self, Handle, WeakHandle};
use huxiao_runtime::health::Relevance;
use huxiao_runtime::host::{Base, COMMON_KEYS, Feed, Host, Running, StartError, join_keys};

use archive::Archive;
use journal::Journal;
use levels::Levels;
use record::{Region, RegionConfig, SnapshotDesk, Surroundings};

pub use levels::level_mistakes;
pub use peers_config::peer_mistakes;
pub use plan_api::plan_digest;
pub use plan_file::{PlanErrors, PlanFiles, read as read_plan, write_plan};
pub use plan_json::{counts as counts_json, route as route_json, school as school_json};
pub use record::{RestoreError, Restored, bare};

const OWN_KEYS: [Key; 7] = [
    Key {
        path: "broker.listen",
        kind: Kind::Address,
        default: Some("0.0.0.0:7443"),
        reloadable: false,
        help: "Address for the sessions of relays, stations and the region's other nodes: UDP for QUIC, and TCP on the same port for lines that drop UDP.",
    },
    Key {
        path: "broker.peers",
        kind: Kind::List(&Kind::Text),
        default: Some(""),
        reloadable: false,
        help: "All broker nodes of the region, this one too, as NAME@HOST:PORT; the same on each. Empty for a region of one.",
    },
    Key {
        path: "broker.advertise",
        kind: Kind::AddressOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "Where the region's other nodes reach this one; empty for what broker.peers says.",
    },
    Key {
        path: "broker.plan",
        kind: Kind::Path,
        default: None,
        reloadable: true,
        help: "The plan: which stations answer for which school (TOML, a file or a folder); read again on SIGHUP. In force until one is applied by huxiao plan apply.",
    },
    Key {
        path: "record.dir",
        kind: Kind::PathOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "Folder for the region's record, best on a disk of its own; empty for the folder record in data.dir.",
    },
    Key {
        path: "record.ballast",
        kind: Kind::Bytes { min: 0, max: 1 << 34 },
        default: Some("64MiB"),
        reloadable: false,
        help: "Space held back for the record's log on a full disk.",
    },
    Key {
        path: "record.disk",
        kind: Kind::Choice(&["fast", "slow"]),
        default: Some("fast"),
        reloadable: false,
        help: "slow for disks that take more than 20 ms to sync: then another node takes over after 1.2 s instead of 0.6 s. The same on each node.",
    },
];
const ROLE_KEYS: [Key; OWN_KEYS.len() + levels::KEYS.len()] = {
    let mut keys = [OWN_KEYS[0]; OWN_KEYS.len() + levels::KEYS.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = if at < OWN_KEYS.len() { OWN_KEYS[at] } else { levels::KEYS[at - OWN_KEYS.len()] };
        at += 1;
    }
    keys
};
const ALL_KEYS: [Key; COMMON_KEYS.len() + ROLE_KEYS.len()] = join_keys(ROLE_KEYS);

/// Every key of a broker node's configuration.
pub const KEYS: &[Key] = &ALL_KEYS;

/// Starts a broker node.
///
/// # Errors
/// [`StartError`]: nothing is running then.
pub async fn start(config: Config, host: Host) -> Result<Running, StartError> {
    let plan = read_plan(&config.path("broker.plan")).map_err(|why| StartError::Role(why.to_string()))?;
    let (mut base, opened) = Base::open(config, host, Role::Broker).await?;
    let NodeName::Broker { region, node } = base.identity().node.clone() else {
        return Err(StartError::Role("the certificate is not a broker's".to_owned()));
    };
    let levels = Levels::read(&base.config, &region).map_err(StartError::Role)?;
    let (handle, inbox) = drive::channel();
    let (link, events) = base.link(LinkConfig::new(levels.acceptance()))?;
    let (journal, kept) = Journal::open(base.store.clone())?;
    let archive = open_archive(&base, !opened.losses.is_empty())?;
    let snapshots = SnapshotDesk::default();
    let around = Surroundings {
        link: link.clone(),
        clock: base.host.clock.clone(),
        store: base.store.clone(),
        archive: archive.clone(),
        handle: handle.downgrade(),
        snapshots: snapshots.clone(),
    };
    let opened_record = Region::open(region_config(&base, &region, &node)?, around).await;
    let mut record = opened_record.map_err(|error| StartError::Role(error.to_string()))?;
    let quic = link.listen(resolve(&base.config.address("broker.listen")).await?).await?;

    warn_of_unwatched(&levels, &plan);
    let province = levels.dial(&link);
    let config = BrokerConfig {
        region,
        node,
        province: levels.province.clone(),
        seed: base.host.seed,
        software: base.host.software(),
    };
    let verifier = Arc::new(base.credentials.signatures());
    let machine =
        Broker::new(config, plan, record.take_state(), kept).accepting(levels.accepted.clone()).verifying(verifier);
    let region = record.region.clone();
    let tools = shell::Tools {
        link: link.clone(),
        engine: region.clone(),
        snapshots,
        journal,
        archive: archive.clone(),
        handle: handle.downgrade(),
        province: province.clone(),
    };
    let shell = shell::BrokerShell::new(tools);
    let context = status::Context::new(&base, link.clone(), region.clone(), opened.losses);
    let router = api::router(handle.clone(), archive.clone(), context)
        .merge(supervise::start(&mut base, region.clone(), &handle))
        .merge(cluster_api::router(region.clone()))
        .merge(plan_api::router(plan_api::Plans::new(&base, handle.clone(), region.clone())))
        .merge(drill_api::start(&mut base, &handle, region.clone()));
    let around = (base.host.clock.clone(), base.host.shutdown.clone());
    let opened = Bodies::open(&base.config, Accepts::Given, link.clone(), around).await;
    let (bodies, moving) = opened.map_err(|error| StartError::Role(error.to_string()))?;
    base.spawn(moving.run());
    let inbox = inbox.fed_by(Feed::new(events, move |event| bodies.tap(event).and_then(translate)));
    watch(&mut base, &handle, levels.province.as_ref().map(|_| province.clone()));
    let shutdown = base.host.shutdown.clone();
    base.spawn(fill::run(region, archive, handle.downgrade(), shutdown.clone()));
    let check = base.health.check("record", Relevance::Ready);
    check.degraded("the region's leader is not known yet");
    let (parts, end) = record.start(check, &shutdown);
    parts.into_iter().for_each(|part| base.spawn(part));
    base.spawn_telling(end);
    let reload = reloading(handle.downgrade());
    let running = base.run(link, machine, shell, (handle, inbox), router).await?;
    Ok(running.listening(quic).dialling(province).reloading(Box::new(reload)))
}

/// What a reload does: the node's own file is read again. It counts as long as the record has no plan.
fn reloading(handle: WeakHandle<Broker>) -> impl Fn(&Config) -> Result<(), String> + Send + 'static {
    move |config: &Config| {
        let plan = read_plan(&config.path("broker.plan")).map_err(|why| why.to_string())?;
        match handle.upgrade() {
            Some(handle) => handle.urgent(Input::Plan(plan)).map_err(|stopped| stopped.to_string()),
            None => Err(drive::Stopped.to_string()),
        }
    }
}

fn warn_of_unwatched(levels: &Levels, plan: &Plan) {
    for region in levels.accepted.iter().filter(|region| !plan.regions().any(|named| named == *region)) {
        tracing::warn!(%region, "the plan does not say who watches for this region: only its schools that the plan names have a station here");
    }
}

fn open_archive(base: &Base, doubtful: bool) -> Result<Archive, StartError> {
    let dir = base.config.path("data.dir").join("archive");
    Archive::open(base.store.clone(), &dir, doubtful).map_err(|error| StartError::Role(error.to_string()))
}

/// Sets going what keeps people and metrics told of the node, and of the province if there is one above it.
fn watch(base: &mut Base, handle: &Handle<Broker>, province: Option<Arc<Vec<DialHandle>>>) {
    let (clock, shutdown) = (base.host.clock.clone(), base.host.shutdown.clone());
    let routes = base.health.check("routes", Relevance::Told);
    base.spawn(status::watch(handle.clone(), routes, clock.clone(), shutdown.clone()));
    if let Some(province) = province {
        let check = base.health.check("province", Relevance::Told);
        base.spawn(levels::watch(handle.clone(), check, province, clock, shutdown));
    }
}

/// Makes the record of the node that `config` is for from a backup: a new record, whose only member is this node. The node must not run, and
/// its record folder must be empty.
///
/// # Errors
/// What is wrong with the configuration or the backup, in words.
pub fn restore(
    config: &Config,
    backup: &std::path::Path,
    own: &huxiao_core::Name,
    seed: u64,
) -> Result<Restored, RestoreError> {
    let configured = peers_config::read(config, own).map_err(|mistakes| {
        RestoreError::Folder(
            mistakes.into_iter().map(|(key, why)| format!("{key}: {why}")).collect::<Vec<_>>().join("\n"),
        )
    })?;
    record::restore(backup, &record_dir(config), own, &configured.advertise, seed)
}

/// The folder of a node's record.
fn record_dir(config: &Config) -> std::path::PathBuf {
    config.path_if_set("record.dir").unwrap_or_else(|| config.path("data.dir").join("record"))
}

fn region_config(
    base: &Base,
    region: &huxiao_core::Name,
    node: &huxiao_core::Name,
) -> Result<RegionConfig, StartError> {
    let config = &base.config;
    let configured = peers_config::read(config, node).map_err(|mistakes| {
        let words: Vec<_> = mistakes.into_iter().map(|(key, why)| format!("{key}: {why}")).collect();
        StartError::Role(words.join("\n"))
    })?;
    Ok(RegionConfig {
        dir: record_dir(config),
        name: node.clone(),
        region: region.clone(),
        configured: configured.nodes,
        slow_disk: config.text("record.disk") == "slow",
        ballast_bytes: config.bytes("record.ballast"),
        low_space_bytes: config.bytes("store.low_free"),
        software: base.host.software(),
        seed: base.host.seed,
    })
}

async fn resolve(address: &Address) -> Result<std::net::SocketAddr, StartError> {
    let refuse = |why: String| StartError::Role(format!("broker.listen: {address}: {why}"));
    match address {
        Address::Socket(address) => Ok(*address),
        Address::Host { host, port } => {
            let mut found =
                tokio::net::lookup_host((host.as_str(), *port)).await.map_err(|why| refuse(why.to_string()))?;
            found.next().ok_or_else(|| refuse("the name has no address".to_owned()))
        }
        Address::Unix(_) => Err(refuse("QUIC needs a UDP address".to_owned())),
    }
}

fn translate(event: LinkEvent) -> Option<Input> {
    Some(match event {
        LinkEvent::Up { path, peer, info, .. } => {
            Input::SessionUp { path, info, expired: peer.validity != Validity::Valid, peer: peer.identity.node }
        }
        LinkEvent::Down { path, .. } => Input::SessionDown(path),
        LinkEvent::Message { path, message } => Input::Message(path, message),
    })
}
