//! A seat of a police station: what stands in a duty room, or inside a 110 dispatch system.
//!
//! It keeps sessions to all broker nodes of its region, keeps what comes in its inbox, shows it over a local HTTP API and carries
//! the officers' answers back. All decisions are [`huxiao_core::station::Station`]'s; this crate carries them out.
//!
//! [`start`] is the daemon; [`client`] is the same seat inside another program, without HTTP.
//!
//! Invariant: an event has one place in the inbox and is shown once, whatever was repeated underneath; `DELIVERED` is said only
//! after the store's sync.

mod api;
mod board;
pub mod client;
mod command_api;
mod commands;
mod feed;
mod inbox;
mod pictures;
mod pictures_api;
mod seat;
mod shell;
mod status;
mod view;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use huxiao_core::body::Accepts;
use huxiao_core::signature::Signer;
use huxiao_core::{NodeName, Role};
use huxiao_link::LinkConfig;
use huxiao_runtime::bodies::Bodies;
use huxiao_runtime::config::{Config, Key, Kind};
use huxiao_runtime::health::Relevance;
use huxiao_runtime::host::{Base, COMMON_KEYS, Feed, Host, Running, StartError, join_keys};

use crate::pictures::Gallery;

const OWN_KEYS: [Key; 4] = [
    Key {
        path: "station.brokers",
        kind: Kind::List(&Kind::Address),
        default: None,
        reloadable: false,
        help: "The region's broker nodes, host:port; sessions are kept to all of them at all times.",
    },
    Key {
        path: "station.region",
        kind: Kind::Text,
        default: Some(""),
        reloadable: false,
        help: "The region that must answer there; empty takes any of the province.",
    },
    Key {
        path: "sign.cert",
        kind: Kind::PathOrEmpty,
        default: Some(""),
        reloadable: false,
        help: "This seat's signing certificate (PEM, Ed25519); without it no command to a school leaves here.",
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

/// Every key of a station's configuration.
pub const KEYS: &[Key] = &ALL_KEYS;

/// Starts a station.
///
/// # Errors
/// [`StartError`]: nothing is running then.
pub async fn start(config: Config, host: Host) -> Result<Running, StartError> {
    let (mut base, opened) = Base::open(config, host, Role::Station).await?;
    let NodeName::Station(me) = base.identity().node.clone() else {
        return Err(StartError::Role("the certificate is not a station's".to_owned()));
    };
    let region = base.region("station.region")?;
    let (link, events) = base.link(LinkConfig::accepting(&[Role::Broker]))?;
    let signer = base.signing_key()?.map(|key| Arc::new(key) as Arc<dyn Signer>);
    let brokers: Vec<String> = base.config.addresses("station.brokers").iter().map(ToString::to_string).collect();
    let dials = seat::dial(&link, &brokers, region.as_ref());
    let assembled = seat::assemble(seat::Ingredients {
        seat: me.clone(),
        store: &base.store,
        high: opened.high,
        losses: &opened.losses,
        link: &link,
        dials: &dials,
        now: base.host.clock.now(),
        seed: base.host.seed,
        software: base.host.software(),
        signer,
        verifier: Arc::new(base.credentials.signatures()),
    })
    .await?;
    let around = (base.host.clock.clone(), base.host.shutdown.clone());
    let opened_bodies = Bodies::open(&base.config, Accepts::Wanted, link.clone(), around).await;
    let (bodies, moving) = opened_bodies.map_err(|error| StartError::Role(error.to_string()))?;
    let dir = base.config.path("data.dir").join("pictures");
    let gallery = Gallery::open(&dir, bodies.clone(), link.clone());
    let (gallery, said) = gallery.map_err(|error| StartError::Role(format!("{}: {error}", dir.display())))?;
    base.spawn(moving.run());
    let seat = assembled.seat.with(gallery.clone());
    base.spawn(gallery.clone().run(said, seat.bus.clone(), base.host.shutdown.clone()));
    let context = Arc::new(status::Context {
        me,
        losses: opened.losses,
        unreadable: assembled.unreadable,
        link: link.clone(),
        store: base.store.clone(),
        dials: dials.clone(),
        clock: base.host.clock.clone(),
    });
    let inbox = base.health.check("inbox", Relevance::Told);
    match assembled.unreadable {
        0 => inbox.ok("every row can be read"),
        some => inbox.failed(format!("{some} rows cannot be read by this version and are not shown: see the log")),
    }
    let upstream = base.health.check("upstream", Relevance::Told);
    let (clock, stop) = (base.host.clock.clone(), base.host.shutdown.clone());
    let router = api::router(seat.clone(), base.gate.clone(), context.clone())
        .merge(pictures_api::router(seat.clone()))
        .merge(command_api::router(seat.clone()));
    let inputs = assembled.inputs.fed_by(Feed::new(events, move |event| {
        bodies.tap(event).and_then(|event| gallery.tap(event)).and_then(seat::translate)
    }));
    base.spawn(status::watch(seat.clone(), context, upstream, clock, stop));
    let running = base.run(link, assembled.machine, assembled.shell, (seat.handle, inputs), router).await?;
    Ok(running.dialling(dials))
}
