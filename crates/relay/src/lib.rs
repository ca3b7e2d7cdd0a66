//! The relay: what stands in a school's gatehouse.
//!
//! It takes presses in over a local HTTP API, keeps them in its outbox, sends them to its region and shows how far they came.
//! All decisions are [`huxiao_core::relay::Relay`]'s; this crate carries them out.
//!
//! Invariant: a press is answered 202 only after the machine says that it is kept, and the machine says so only after the
//! store's sync.

mod api;
mod body;
mod outbox;
mod shell;
mod status;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use huxiao_core::relay::{Relay, RelayConfig};
use huxiao_core::{Lane, NodeName, Role};
use huxiao_link::{Expect, LinkEvent, Target, Uplink};
use huxiao_runtime::config::{Config, Key, Kind};
use huxiao_runtime::drive;
use huxiao_runtime::host::{Base, COMMON_KEYS, Feed, Host, Running, StartError, join_keys};

const OWN_KEYS: [Key; 2] = [
    Key {
        path: "relay.brokers",
        kind: Kind::List(&Kind::Address),
        default: None,
        reloadable: false,
        help: "The region's broker nodes, host:port; sessions are kept to all of them at all times.",
    },
    Key {
        path: "relay.region",
        kind: Kind::Text,
        default: Some(""),
        reloadable: false,
        help: "The region that must answer there; empty takes any of the province.",
    },
];
const ALL_KEYS: [Key; COMMON_KEYS.len() + OWN_KEYS.len()] = join_keys(OWN_KEYS);

/// Every key of a relay's configuration.
pub const KEYS: &[Key] = &ALL_KEYS;

/// Starts a relay.
///
/// # Errors
/// [`StartError`]: nothing is running then.
pub async fn start(config: Config, host: Host) -> Result<Running, StartError> {
    let (mut base, opened) = Base::open(config, host, Role::Relay).await?;
    let NodeName::Relay(me) = base.identity().node.clone() else {
        return Err(StartError::Role("the certificate is not a relay's".to_owned()));
    };
    let rows = outbox::read(&base.store)?;
    let (link, events) = base.link(&[Role::Broker])?;
    let expect = Expect::broker(base.region("relay.region")?);
    let lanes = vec![Lane::Express, Lane::Bulk];
    let brokers = base.config.addresses("relay.brokers");
    let dials = brokers
        .iter()
        .map(|addr| Target {
            addr: addr.to_string(),
            uplink: Uplink::default(),
            expect: expect.clone(),
            lanes: lanes.clone(),
        })
        .map(|target| link.dial(&target))
        .collect::<Vec<_>>();
    let dials = Arc::new(dials);

    let machine = Relay::new(
        base.host.clock.now(),
        RelayConfig {
            relay: me.clone(),
            epoch: opened.epoch,
            next_slot: opened.high + 1,
            copy_rate: huxiao_core::limits::COPY_BYTES_PER_SECOND,
            seed: base.host.seed,
            seal: huxiao_wire::seal,
            software: base.host.software(),
        },
        rows,
    );
    let (handle, inbox) = drive::channel();
    let (shell, changes, answers) = shell::RelayShell::new(link.clone(), dials.clone(), base.store.clone(), &handle);
    let upstream = base.health.check("upstream", huxiao_runtime::health::Relevance::Told);
    let context = status::Context {
        me: NodeName::Relay(me).to_string(),
        epoch: opened.epoch,
        losses: opened.losses,
        health: base.health.clone(),
        link: link.clone(),
        store: base.store.clone(),
    };
    let router = api::router(handle.clone(), changes, answers, base.gate.clone(), context);
    let inbox = inbox.fed_by(Feed::new(events, translate));
    base.spawn(status::watch(handle.clone(), upstream, base.host.clock.clone(), base.host.shutdown.clone()));
    Ok(base.run(link, machine, shell, (handle, inbox), router).await?.dialling(dials))
}

fn translate(event: LinkEvent) -> Option<huxiao_core::relay::Input> {
    use huxiao_core::relay::Input;
    Some(match event {
        LinkEvent::Up { path, peer, info, .. } => Input::PathUp(path, peer.identity.node, info),
        LinkEvent::Down { path, .. } => Input::PathDown(path),
        LinkEvent::Message { path, message } => Input::Message(path, message),
    })
}
