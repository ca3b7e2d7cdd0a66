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
mod command_api;
mod commands;
mod dials;
mod keeper;
mod losses;
mod outbox;
mod output;
mod paths;
mod pin;
mod school;
mod school_api;
mod shell;
mod status;
mod traffic;
mod uplink;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use huxiao_core::body::Accepts;
use huxiao_core::plan::{Hours, HoursError};
use huxiao_core::relay::{HOMES, Relay, RelayConfig};
use huxiao_core::signature::Signer;
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

const OWN_KEYS: [Key; 8 + output::KEYS.len() + uplink::KEYS.len() + cameras::KEYS.len()] = [
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
    Key {
        path: "relay.pin_hash",
        kind: Kind::Text,
        default: Some(""),
        reloadable: false,
        help: "The hash of the school's PIN, as huxiao pin hash prints it; without one, no request to cancel is taken.",
    },
    Key {
        path: "relay.duress_pin_hash",
        kind: Kind::Text,
        default: Some(""),
        reloadable: false,
        help: "The hash of the PIN that says I am made to: it looks like the school's PIN, and raises a silent duress alarm.",
    },
    Key {
        path: "relay.self_test",
        kind: Kind::Text,
        default: Some("05:00-06:30"),
        reloadable: false,
        help: "In which part of each day, by clocks in China, the relay tests the way to a station's screens once, ringing nobody: from and to, or off.",
    },
    output::KEYS[0],
    output::KEYS[1],
    output::KEYS[2],
    output::KEYS[3],
    uplink::KEYS[0],
    uplink::KEYS[1],
    uplink::KEYS[2],
    uplink::KEYS[3],
    cameras::KEYS[0],
    cameras::KEYS[1],
    cameras::KEYS[2],
    Key {
        path: "sign.cert",
        kind: Kind::PathOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "This relay's signing certificate (PEM, Ed25519); without it alarms leave here unsigned.",
    },
    Key {
        path: "sign.key",
        kind: Kind::PathOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "The signing certificate's private key (PEM), readable by this node alone.",
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
    start_with(config, host, Arc::new(interfaces::read)).await
}

/// The same, with somebody else's eyes on the network interfaces.
#[expect(clippy::too_many_lines, reason = "one part after the other is put together; nothing is decided here")]
async fn start_with(config: Config, host: Host, reader: Reader) -> Result<Running, StartError> {
    let (mut base, opened) = Base::open(config, host, Role::Relay).await?;
    let NodeName::Relay(me) = base.identity().node.clone() else {
        return Err(StartError::Role("the certificate is not a relay's".to_owned()));
    };
    let pins = pin::Pins::read(&base.config, base.host.clock.clone()).map_err(StartError::Role)?;
    let rows = outbox::read(&base.store)?;
    let school = school::SchoolFile::new(&base.config.path("data.dir"));
    let commands = commands::read(&base.store)?;
    let verifier = Arc::new(base.credentials.signatures());
    let signer = signer(&base)?;
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
            plan: school.read(),
            spare_nodes: base.config.addresses("relay.brokers").len() > HOMES,
            self_test: self_test(base.config.text("relay.self_test"))
                .map_err(|why| StartError::Role(format!("relay.self_test: {why}")))?,
            seed: base.host.seed,
            seal: huxiao_wire::seal,
            software: base.host.software(),
        },
        rows,
    )
    .commanded(base.host.clock.now(), verifier, commands)
    .signing(signer);
    let (handle, inbox) = drive::channel();
    let around = (base.host.clock.clone(), base.host.shutdown.clone());
    let opened_bodies = Bodies::open(&base.config, Accepts::Wanted, link.clone(), around).await;
    let (bodies, moving) = opened_bodies.map_err(|error| StartError::Role(error.to_string()))?;
    let viewer = cameras::Viewer::new(&base.config, bodies.clone());
    let player = output::Player::new(&base.config, handle.downgrade(), bodies.clone(), viewer);
    let (shell, changes, answers) =
        shell::RelayShell::new(link.clone(), dials.clone(), base.store.clone(), school, &handle, player);
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
        pins,
        paths: paths.clone(),
        clock: base.host.clock.clone(),
    };
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

/// What alarms are signed with, if the configuration says.
fn signer(base: &Base) -> Result<Option<Arc<dyn Signer>>, StartError> {
    let Some(key) = base.signing_key()? else {
        tracing::info!("sign.cert is not set: alarms leave here unsigned");
        return Ok(None);
    };
    Ok(Some(Arc::new(key)))
}

/// What is wrong with the part of the day in which a relay is to test itself, if anything is.
#[must_use]
pub fn self_test_mistake(config: &Config) -> Option<String> {
    self_test(config.text("relay.self_test")).err()
}

/// The part of the day in which a relay tests itself; `None` for never.
///
/// # Errors
/// What is wrong with the text.
fn self_test(text: &str) -> Result<Option<Hours>, String> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = |why: String| format!("{why}; write 05:00-06:30, or off");
    let (from, to) = text.split_once('-').ok_or_else(|| wrong(format!("{text:?} has no from and to")))?;
    let minute = |text: &str| text.trim().parse().map_err(|why: HoursError| wrong(why.to_string()));
    let hours = Hours { from: minute(from)?, to: minute(to)? };
    if hours.is_whole() { Ok(Some(hours)) } else { Err(wrong(format!("{hours} ends before it begins"))) }
}

fn translate(event: LinkEvent) -> Option<huxiao_core::relay::Input> {
    use huxiao_core::relay::Input;
    Some(match event {
        LinkEvent::Up { path, peer, info, .. } => Input::PathUp(path, peer.identity.node, info),
        LinkEvent::Down { path, .. } => Input::PathDown(path),
        LinkEvent::Message { path, message } => Input::Message(path, message),
    })
}
