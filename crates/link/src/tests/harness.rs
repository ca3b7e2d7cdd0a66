//! A province for tests: an authority, nodes with links, a hostile peer, and a slow line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

pub(super) use huxiao_core::Form;
use huxiao_core::{
    Class, Event, EventCopy, EventId, Hello, Identity, Kind, Lane, Message, Mode, Name, NodeName, PathId, RelayId, Rng,
    SchoolId, Text, Trail, WallTime,
};
use huxiao_pki::{Authority, Credentials, Peer, Period};
use huxiao_wire::seal;
use quinn::{Connection, Endpoint};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::registry::wall_now;
use crate::*;

/// Nothing in these tests takes this long unless it hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct World {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl World {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&Name::new("province").unwrap(), Period::days(wall_now(), 3_650)).unwrap();
        authority.save(&dir.path().join("ca.pem"), &dir.path().join("ca.key")).unwrap();
        Self { dir, authority }
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
        Node::new(self.credentials(name), change)
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
    pub(super) fn new(credentials: Credentials, change: impl FnOnce(&mut LinkConfig)) -> Self {
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
    let endpoint = transport::dialler(None, addr).unwrap();
    let config = transport::client_config(credentials, lane).unwrap();
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
    };
    Message::Event(EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: Vec::new() })
}

pub(super) fn hello(software: &str) -> Message {
    Message::Hello(Hello { software: software.to_owned(), wire_minor: 0, resume: None })
}

pub(super) fn is_broker(identity: &Identity) -> bool {
    matches!(identity.node, NodeName::Broker { .. })
}

/// A line with a delay in each direction that keeps packets in order, and that can be laid to another place.
pub(super) struct Line {
    pub(super) addr: SocketAddr,
    to: Arc<Mutex<SocketAddr>>,
}

impl Line {
    pub(super) async fn new(to: SocketAddr, delay: Duration) -> Self {
        let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let line = Self { addr: front.local_addr().unwrap(), to: Arc::new(Mutex::new(to)) };
        tokio::spawn(carry(front, Arc::clone(&line.to), delay));
        line
    }

    /// Whoever dials from now on comes out at `to`; those who have dialled stay where they are.
    pub(super) fn lead_to(&self, to: SocketAddr) {
        *self.to.lock().unwrap() = to;
    }
}

async fn carry(front: Arc<UdpSocket>, to: Arc<Mutex<SocketAddr>>, delay: Duration) {
    let mut backs = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((len, from)) = front.recv_from(&mut buffer).await {
        let back = match backs.entry(from) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                let to = *to.lock().unwrap();
                back.connect(to).await.unwrap();
                tokio::spawn(answers(Arc::clone(&back), delayed(Arc::clone(&front), from, delay)));
                new.insert(delayed(back, to, delay))
            }
        };
        let _ = back.send((Instant::now(), buffer[..len].to_vec()));
    }
}

async fn answers(back: Arc<UdpSocket>, out: mpsc::UnboundedSender<(Instant, Vec<u8>)>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(len) = back.recv(&mut buffer).await {
        let _ = out.send((Instant::now(), buffer[..len].to_vec()));
    }
}

/// Sends what it is given to `to`, each packet `delay` after it came.
fn delayed(socket: Arc<UdpSocket>, to: SocketAddr, delay: Duration) -> mpsc::UnboundedSender<(Instant, Vec<u8>)> {
    let (sender, mut waiting) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((came, datagram)) = waiting.recv().await {
            tokio::time::sleep_until((came + delay).into()).await;
            let _ = socket.send_to(&datagram, to).await;
        }
    });
    sender
}
