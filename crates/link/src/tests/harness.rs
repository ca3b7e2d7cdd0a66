//! A province for tests: an authority, nodes with links, a hostile peer, and a slow line.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(super) use huxiao_core::Form;
use huxiao_core::{
    Class, Cost, Event, EventCopy, EventId, Hello, Identity, Kind, Lane, Message, Mode, Name, NodeName, PathId,
    RelayId, Rng, SchoolId, Span, Text, Trail, WallTime,
};
use huxiao_pki::{Authority, Credentials, Peer, Period};
use huxiao_wire::seal;
use quinn::{Connection, Endpoint};
use tokio::sync::mpsc;

pub(super) use super::line::Line;
use crate::registry::wall_now;
use crate::*;

/// Nothing in these tests takes this long unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct World {
    dir: tempfile::TempDir,
    authority: Authority,
    /// When TCP is dialled beside QUIC.
    fallback_after: Span,
}

impl World {
    /// A province whose lines let UDP through. TCP is not dialled by time alone, or a machine so busy that a handshake takes 300 ms would
    /// have these tests meet the fallback.
    pub(super) fn new() -> Self {
        Self { fallback_after: Span::from_secs(3_600), ..Self::with_fallback() }
    }

    /// A province in which TCP is dialled beside QUIC as soon as in production.
    pub(super) fn with_fallback() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&Name::new("province").unwrap(), Period::days(wall_now(), 3_650)).unwrap();
        authority.save(&dir.path().join("ca.pem"), &dir.path().join("ca.key")).unwrap();
        Self { dir, authority, fallback_after: LinkConfig::new(|_| true).fallback_after }
    }

    pub(super) fn credentials(&self, node: &str) -> Credentials {
        self.credentials_for(node, Period::days(wall_now(), 365))
    }

    /// The node's certificate, issued once: a node that comes back has the key that it had.
    pub(super) fn credentials_for(&self, node: &str, period: Period) -> Credentials {
        let file = |end: &str| self.dir.path().join(format!("{}.{end}", node.replace('/', "-")));
        if !file("pem").exists() {
            let issued = self.authority.issue(&identity(node), period, &[]).unwrap();
            issued.save(&file("pem"), &file("key")).unwrap();
        }
        Credentials::load(&self.dir.path().join("ca.pem"), &file("pem"), &file("key"), None).unwrap()
    }

    pub(super) fn node(&self, name: &str) -> Node {
        self.node_with(name, |_| {})
    }

    pub(super) fn node_with(&self, name: &str, change: impl FnOnce(&mut LinkConfig)) -> Node {
        self.node_from(self.credentials(name), change)
    }

    pub(super) fn node_from(&self, credentials: Credentials, change: impl FnOnce(&mut LinkConfig)) -> Node {
        Node::new(credentials, |config| {
            config.fallback_after = self.fallback_after;
            change(config);
        })
    }

    /// A broker that listens, and where.
    pub(super) async fn broker(&self, change: impl FnOnce(&mut LinkConfig)) -> (Node, SocketAddr) {
        let node = self.node_with("broker/east/b1", change);
        let addr = node.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        (node, addr)
    }

    /// A relay with an express session to `addr`; the session's path on its side.
    pub(super) async fn relay(&self, addr: SocketAddr) -> (Node, DialHandle, PathId) {
        let mut node = self.node("relay/school-1/gate");
        let handle = node.link.dial(&target(addr, &[Lane::Express]));
        let (path, ..) = node.up().await;
        (node, handle, path)
    }
}

pub(super) fn identity(node: &str) -> Identity {
    format!("spiffe://province/{node}").parse().unwrap()
}

pub(super) fn target(addr: SocketAddr, lanes: &[Lane]) -> Target {
    Target { addr: addr.to_string(), uplink: Uplink::default(), expect: Expect::broker(None), lanes: lanes.to_vec() }
}

/// A link with its driver's ear.
pub(super) struct Node {
    pub(super) link: Link,
    pub(super) events: mpsc::Receiver<LinkEvent>,
}

impl Node {
    fn new(credentials: Credentials, change: impl FnOnce(&mut LinkConfig)) -> Self {
        let mut config = LinkConfig::new(|_| true);
        change(&mut config);
        let (sender, events) = mpsc::channel(16);
        Self { link: Link::new(credentials, config, sender).unwrap(), events }
    }

    pub(super) async fn next(&mut self) -> LinkEvent {
        tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event in time").expect("a link that lives")
    }

    pub(super) async fn up(&mut self) -> (PathId, Peer, Lane, SocketAddr, bool) {
        match self.next().await {
            LinkEvent::Up { path, peer, info, remote, early } => (path, peer, info.lane, remote, early),
            other => panic!("expected Up, got {other:?}"),
        }
    }

    pub(super) async fn message(&mut self) -> (PathId, Message) {
        match self.next().await {
            LinkEvent::Message { path, message } => (path, message),
            other => panic!("expected a message, got {other:?}"),
        }
    }

    pub(super) async fn down(&mut self) -> (PathId, DownReason) {
        match self.next().await {
            LinkEvent::Down { path, why } => (path, why),
            other => panic!("expected Down, got {other:?}"),
        }
    }

    /// Nothing is said for a while.
    pub(super) async fn silence(&mut self, span: Duration) {
        if let Ok(Some(event)) = tokio::time::timeout(span, self.events.recv()).await {
            panic!("expected silence, got {event:?}");
        }
    }
}

/// A hostile peer: a connection of a node with good credentials, without a link around it.
pub(super) async fn raw(credentials: &Credentials, addr: SocketAddr, lane: Lane) -> (Endpoint, Connection) {
    let endpoint = transport::dialler(&Uplink::default(), addr).unwrap();
    let config = transport::Clients::new(credentials).unwrap().get(lane, Cost::Free, true);
    let connection = endpoint.connect_with(config, addr, "any.name").unwrap().await.unwrap();
    (endpoint, connection)
}

/// Waits until `condition` holds.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// An alarm, the `number`th.
pub(super) fn alarm(number: u64) -> Message {
    let event = Event {
        id: EventId::generate(WallTime(1_000), &mut Rng::new(number)),
        relay: RelayId { school: SchoolId(Name::new("school-1").unwrap()), device: Name::new("gate").unwrap() },
        epoch: 1,
        seq: number,
        kind: Kind::Panic,
        class: Class::P0,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: WallTime(1_000),
        count: 1,
        details: huxiao_core::Details::default(),
    };
    Message::Event(EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: Vec::new() })
}

pub(super) fn hello(software: &str) -> Message {
    Message::Hello(Hello { software: software.to_owned(), wire_minor: 0, resume: None })
}

pub(super) fn is_broker(identity: &Identity) -> bool {
    matches!(identity.node, NodeName::Broker { .. })
}
