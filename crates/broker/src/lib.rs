//! A broker node: what stands in a region's machine room.
//!
//! It takes events from relays, forwards them to stations on the express lane, puts them into the record and passes the answers
//! back. All decisions are [`huxiao_core::broker::Broker`]'s; this crate carries them out.
//!
//! Invariant: nothing is given back to the machine as committed before the record's engine has it on stable storage.

mod api;
mod plan_file;
mod record;
mod shell;
mod status;

#[cfg(test)]
mod tests;

use huxiao_core::broker::{Broker, BrokerConfig, Input};
use huxiao_core::record::RecordState;
use huxiao_core::{NodeName, Role, limits};
use huxiao_link::LinkEvent;
use huxiao_pki::Validity;
use huxiao_runtime::config::{Address, Config, Key, Kind};
use huxiao_runtime::drive;
use huxiao_runtime::host::{Base, COMMON_KEYS, Feed, Host, Running, StartError, join_keys};

pub use plan_file::{PlanErrors, read as read_plan};
pub use record::{Engine, LocalRecord};

const OWN_KEYS: [Key; 2] = [
    Key {
        path: "broker.listen",
        kind: Kind::Address,
        default: Some("0.0.0.0:7443"),
        reloadable: false,
        help: "Address for the sessions of relays and stations: UDP for QUIC, and TCP on the same port for lines that drop UDP.",
    },
    Key {
        path: "broker.plan",
        kind: Kind::Path,
        default: None,
        reloadable: true,
        help: "The plan: which stations answer for which school (TOML); read again on SIGHUP.",
    },
];
const ALL_KEYS: [Key; COMMON_KEYS.len() + OWN_KEYS.len()] = join_keys(OWN_KEYS);

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
    let (handle, inbox) = drive::channel();
    let kept = record::read(&base.store)?;
    let mut state = RecordState::new(limits::RECORD_EVENTS);
    for (index, command) in kept.commands {
        state.apply(index, command);
    }
    let last = state.last_index().max(opened.high);
    let engine = LocalRecord::new(base.store.clone(), &handle, last + 1);
    let record_id = kept.id.unwrap_or_else(|| engine.name_record(base.host.seed, opened.epoch));
    let (link, events) = base.link(&[Role::Relay, Role::Station])?;
    let quic = link.listen(resolve(&base.config.address("broker.listen")).await?).await?;

    let config = BrokerConfig { region, node, record: record_id, seed: base.host.seed, software: base.host.software() };
    let machine = Broker::new(config, plan, state);
    let shell = shell::BrokerShell::new(link.clone(), engine);
    let context = status::Context::new(&base, link.clone(), record_id, opened.losses);
    let router = api::router(handle.clone(), context);
    let inbox = inbox.fed_by(Feed::new(events, translate));
    let routes = base.health.check("routes", huxiao_runtime::health::Relevance::Told);
    base.spawn(status::watch(handle.clone(), routes, base.host.clock.clone(), base.host.shutdown.clone()));
    let reload = {
        let handle = handle.downgrade();
        move |config: &Config| {
            let plan = read_plan(&config.path("broker.plan")).map_err(|why| why.to_string())?;
            match handle.upgrade() {
                Some(handle) => handle.urgent(Input::Plan(plan)).map_err(|stopped| stopped.to_string()),
                None => Err(drive::Stopped.to_string()),
            }
        }
    };
    let running = base.run(link, machine, shell, (handle, inbox), router).await?;
    Ok(running.listening(quic).reloading(Box::new(reload)))
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
