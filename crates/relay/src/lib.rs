//! The relay: what stands in a school's gatehouse.
//!
//! It takes presses in over a local HTTP API, keeps them in its outbox, sends them to its region and shows how far they came.
//! All decisions are [`huxiao_core::relay::Relay`]'s; this crate carries them out.
//!
//! Invariant: a press is answered 202 only after the machine says that it is kept, and the machine says so only after the
//! store's sync.

mod api;
mod body;
mod cameras;
mod dials;
mod keeper;
mod losses;
mod outbox;
mod paths;
mod shell;
mod status;
mod traffic;
mod uplink;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use huxiao_core::body::Accepts;
use huxiao_core::relay::{HOMES, Relay, RelayConfig};
use huxiao_core::{NodeName, Role, limits};
use huxiao_link::{Expect, LinkConfig, LinkEvent};
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::config::{Config, Key, Kind};
use huxiao_runtime::drive;
use huxiao_runtime::health::Relevance;
use huxiao_runtime::host::{Base, COMMON_KEYS, Feed, Host, Running, StartError, join_keys};

pub use cameras::{EXAMPLE as CAMERA_EXAMPLE, camera_mistakes};
pub use uplink::{EXAMPLE, uplink_mistakes};

use crate::dials::Dials;
use crate::keeper::{Ingredients, Keeper};
use crate::traffic::ledger::Ledger;
use crate::uplink::interfaces::{self, Reader};

const OWN_KEYS: [Key; 3 + uplink::KEYS.len() + cameras::KEYS.len()] = [
    Key {
        path: "relay.brokers",
        kind: Kind::List(&Kind::Address),
        default: None,
        reloadable: false,
        help: "The region's broker nodes, host:port; sessions are kept to two of them at all times, and to further ones while those are away.",
    },
    Key {
        path: "relay.region",
        kind: Kind::Text,
        default: Some(""),
        reloadable: false,
        help: "The region that must answer there; empty takes any of the province.",
    },
    Key {
        path: "relay.copy_rate",
        kind: Kind::Bytes { min: 1_000, max: 1 << 30 },
        default: Some("8000B"),
        reloadable: false,
        help: "Copies of alarms beyond the first that may go over each line, in bytes a second.",
    },
    uplink::KEYS[0],
    uplink::KEYS[1],
    uplink::KEYS[2],
    uplink::KEYS[3],
    cameras::KEYS[0],
    cameras::KEYS[1],
    cameras::KEYS[2],
];
const ALL_KEYS: [Key; COMMON_KEYS.len() + OWN_KEYS.len()] = join_keys(OWN_KEYS);

/// Every key of a relay's configuration.
pub const KEYS: &[Key] = &ALL_KEYS;

/// Starts a relay.
///
/// # Errors
/// [`StartError`]: nothing is running then.
pub async fn start(config: Config, host: Host) -> Result<Running, StartError> {
    start_with(config, host, Arc::new(interfaces::read)).await
}

/// The same, with somebody else's eyes on the network interfaces.
async fn start_with(config: Config, host: Host, reader: Reader) -> Result<Running, StartError> {
    let (mut base, opened) = Base::open(config, host, Role::Relay).await?;
    let NodeName::Relay(me) = base.identity().node.clone() else {
        return Err(StartError::Role("the certificate is not a relay's".to_owned()));
    };
    let rows = outbox::read(&base.store)?;
    let (link, events) = base.link(LinkConfig::accepting(&[Role::Broker]))?;
    let expect = Expect::broker(base.region("relay.region")?);
    let dials = Dials::default();
    let ingredients = Ingredients {
        me: NodeName::Relay(me.clone()).to_string(),
        link: link.clone(),
        dials: dials.clone(),
        uplinks: uplink::configured(&base.config),
        nodes: base.config.addresses("relay.brokers").iter().map(ToString::to_string).collect(),
        expect,
        reader,
        ledger: Ledger::new(base.config.path("data.dir")),
        clock: base.host.clock.clone(),
        check: base.health.check("uplinks", Relevance::Told),
    };
    let (keeper, paths) = Keeper::begin(ingredients).await;

    let machine = Relay::new(
        base.host.clock.now(),
        RelayConfig {
            relay: me.clone(),
            epoch: opened.epoch,
            next_slot: opened.high + 1,
            copy_rate: u32::try_from(base.config.bytes("relay.copy_rate")).unwrap_or(limits::COPY_BYTES_PER_SECOND),
            spare_nodes: base.config.addresses("relay.brokers").len() > HOMES,
            seed: base.host.seed,
            seal: huxiao_wire::seal,
            software: base.host.software(),
        },
        rows,
    );
    let (handle, inbox) = drive::channel();
    let (shell, changes, answers) = shell::RelayShell::new(link.clone(), dials.clone(), base.store.clone(), &handle);
    if !opened.losses.is_empty() {
        tokio::spawn(losses::tell(handle.clone(), answers.clone(), opened.losses.clone()));
    }
    let upstream = base.health.check("upstream", Relevance::Told);
    let context = status::Context {
        me: NodeName::Relay(me).to_string(),
        epoch: opened.epoch,
        losses: opened.losses,
        health: base.health.clone(),
        link: link.clone(),
        store: base.store.clone(),
        paths: paths.clone(),
    };
    let around = (base.host.clock.clone(), base.host.shutdown.clone());
    let opened = Bodies::open(&base.config, Accepts::Wanted, link.clone(), around).await;
    let (bodies, moving) = opened.map_err(|error| StartError::Role(error.to_string()))?;
    let eyes = cameras::Eyes::start(&mut base, &link, &bodies)?;
    base.spawn(moving.run());
    base.spawn(eyes.clone().watch(handle.clone(), changes.clone(), base.host.shutdown.clone()));
    let router = api::router(handle.clone(), changes, answers, base.gate.clone(), context);
    let inbox = inbox.fed_by(Feed::new(events, move |event| {
        bodies.tap(event).and_then(|event| eyes.tap(event)).and_then(translate)
    }));
    let (clock, stop) = (base.host.clock.clone(), base.host.shutdown.clone());
    base.spawn(keeper.run(handle.clone(), stop.clone()));
    base.spawn(status::watch(handle.clone(), upstream, paths, clock, stop));
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
