//! T11: how many alarms a second a region makes durable, over what its engine alone could on the same machine.
//!
//! Relays that are there for the load alone, each with a certificate, a session and a window of alarms of its own, raise P0 at every node;
//! an alarm counts when its relay has been told that it is stored. The one station of the lab gets them all.
//!
//! Invariant: both sides of the ratio are measured in the same run, with the same number of commands on their way.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use huxiao_broker::bare::{self, BareError, BareNode};
use huxiao_core::record::{Admission, Command};
use huxiao_core::{
    Class, Event, EventCopy, EventId, Form, Hello, Identity, Kind, Lane, Message, Mode, Name, NodeName, PathId,
    RelayId, Rng, Stage, Text, Trail, WIRE_MINOR, WallTime,
};
use huxiao_link::{DialHandle, EventReceiver, Expect, Link, LinkConfig, LinkEvent, Target, Uplink, events};
use huxiao_pki::{Authority, Credentials, Period};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::{Extent, PART};
use crate::error::{BenchError, Trying};
use crate::figures::{Rate, Ratio};
use crate::lab::Lab;
use crate::report::Report;

/// Relays that raise alarms.
const RELAYS: usize = 24;
/// Alarms that each has on their way at once.
const WINDOW: usize = 32;
/// How long anything else may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Measures the region and the bare engine.
pub(super) fn measure(extent: Extent, scratch: &Path, lab: &Lab, report: &mut Report) -> Result<(), BenchError> {
    let runtime = runtime()?;
    crate::say("alarms a second, the engine alone …");
    let nodes = lab.brokers().len();
    let alone = runtime.block_on(engine(nodes, extent.flood, &scratch.join("bare")))?;
    crate::say("alarms a second, the region …");
    let region = runtime.block_on(region(extent.flood, &scratch.join("relays"), lab))?;
    let together = RELAYS * WINDOW;
    let what = format!("{nodes} node(s): commands by the bare engine, {together} on their way");
    let alone = Rate::new(PART, &what, "a majority", &[alone]);
    let what = format!("{nodes} node(s): alarms (P0) STORED, from {RELAYS} relays, {together} on their way");
    let region = Rate::new(PART, &what, "a majority", &[region]);
    if let (Some(region), Some(alone)) = (&region, &alone) {
        let name = format!("{nodes} node(s): alarms a second over the bare engine's commands");
        let pair = (region.per_second, alone.per_second);
        report.ratios.extend(Ratio::new(&name, Some("T11 ≥ 0.3"), [pair].into_iter()));
    }
    report.rates.extend([region, alone].into_iter().flatten());
    Ok(())
}

/// Where the load runs.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, BenchError> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().trying("start a runtime")
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Peer(error.to_string())
}

fn now() -> WallTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    WallTime(since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)))
}

/// A link of a node with this name, by the authority in `ca` (its certificate and its key), and what it hears.
fn link(
    ca: &Authority,
    ca_file: &Path,
    dir: &Path,
    node: &str,
    config: LinkConfig,
) -> Result<(Link, EventReceiver), BenchError> {
    let identity: Identity = format!("spiffe://{}/{node}", ca.domain()).parse().map_err(failed)?;
    let file = |end: &str| dir.join(format!("{}.{end}", node.replace('/', "-")));
    ca.issue(&identity, ca.period(), &[]).map_err(failed)?.save(&file("pem"), &file("key")).map_err(failed)?;
    let credentials = Credentials::load(ca_file, &file("pem"), &file("key"), None).map_err(failed)?;
    let (tell, told) = events();
    Ok((Link::new(credentials, config, tell).map_err(failed)?, told))
}

/// So many engines with nothing around them.
async fn engine(count: usize, span: Duration, dir: &Path) -> Result<(u32, Duration), BenchError> {
    std::fs::create_dir_all(dir).trying_on("make", dir)?;
    let domain = Name::new("bench").map_err(failed)?;
    let authority = Authority::create(&domain, Period::days(now(), 1)).map_err(failed)?;
    let ca = dir.join("ca.pem");
    authority.save(&ca, &dir.join("ca.key")).map_err(failed)?;
    let (mut nodes, mut links) = (Vec::new(), Vec::new());
    for number in 1..=count as u64 {
        let node = format!("broker/bare/b{number}");
        let (link, told) = link(&authority, &ca, dir, &node, LinkConfig::new(|_| true))?;
        let addr = link.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.map_err(failed)?.to_string();
        let name = Name::new(&format!("b{number}")).map_err(failed)?;
        nodes.push(BareNode::start(&link, &dir.join(name.as_str()), &name, &addr, number).await.map_err(of_engine)?);
        links.push((link, told));
    }
    let leader = bare::found(&nodes).await.map_err(of_engine)?;
    let relay = RelayId { school: "school-001".parse().map_err(failed)?, device: "gate".parse().map_err(failed)? };
    let sealed = huxiao_wire::seal(&alarm(&relay, 1, &mut Rng::new(1)));
    let by: NodeName = "broker/bare/b1".parse().map_err(failed)?;
    let stations = vec!["station-001".parse().map_err(failed)?];
    let command = Command::Admit(Admission {
        sealed,
        trail: Trail::default(),
        at: now(),
        by,
        stations,
        owed: false,
        joins: false,
    });
    let writers = RELAYS * WINDOW;
    bare::write(&nodes, leader, writers, &command, span / 5).await.map_err(of_engine)?;
    let rate = bare::write(&nodes, leader, writers, &command, span).await.map_err(of_engine)?;
    for node in nodes {
        node.stop().await;
    }
    for (link, _) in links {
        link.shutdown().await;
    }
    Ok(rate)
}

fn of_engine(error: BareError) -> BenchError {
    failed(error)
}

fn alarm(relay: &RelayId, seq: u64, rng: &mut Rng) -> Event {
    Event {
        id: EventId::generate(now(), rng),
        relay: relay.clone(),
        epoch: 1,
        seq,
        kind: Kind::Panic,
        class: Class::P0,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: now(),
        count: 1,
        details: huxiao_core::Details::default(),
    }
}

/// The region under load.
async fn region(span: Duration, dir: &Path, lab: &Lab) -> Result<(u32, Duration), BenchError> {
    let all: Vec<usize> = (0..lab.brokers().len()).collect();
    let fleet = Fleet::connect(dir, lab, &all).await?;
    // What runs before the clock does warms up, and fills the windows.
    let (from, until) = (Instant::now() + span / 5, Instant::now() + span / 5 + span);
    Ok((fleet.raise(from, until, &Arc::default()).await?, span))
}

/// Relays that are there for the load alone.
pub(super) struct Fleet(Vec<Load>);

impl Fleet {
    /// Connects them to these broker nodes in turn, with certificates in `dir`.
    pub(super) async fn connect(dir: &Path, lab: &Lab, nodes: &[usize]) -> Result<Self, BenchError> {
        std::fs::create_dir_all(dir).trying_on("make", dir)?;
        let ca = lab.authority().join("ca.pem");
        let authority = Authority::load(&ca, &lab.authority().join("ca-key.pem")).map_err(failed)?;
        let mut relays = Vec::new();
        for (number, node) in nodes.iter().cycle().take(RELAYS).enumerate() {
            let device = format!("load-{number}");
            let name = format!("relay/school-001/{device}");
            let (link, told) = link(&authority, &ca, dir, &name, LinkConfig::new(|_| true))?;
            let target = Target {
                addr: lab.sessions_at(*node).to_string(),
                uplink: Uplink::default(),
                expect: Expect::broker(None),
                lanes: vec![Lane::Express],
            };
            let handle = link.dial(&target);
            let device = device.parse().map_err(failed)?;
            let relay = RelayId { school: "school-001".parse().map_err(failed)?, device };
            let rng = Rng::new(u64::try_from(now().0).unwrap_or(0) ^ ((number as u64) << 48));
            let (open, path) = (BTreeMap::new(), None);
            relays.push(Load { link, told, relay, rng, path, seq: 0, open, stored: 0, _handle: handle });
        }
        for load in &mut relays {
            load.connect().await?;
        }
        Ok(Self(relays))
    }

    /// Has them raise alarms until `until`, or until it is `over`; gives how many were stored from `from` on.
    pub(super) async fn raise(self, from: Instant, until: Instant, over: &Arc<AtomicBool>) -> Result<u32, BenchError> {
        let mut running = JoinSet::new();
        for load in self.0 {
            running.spawn(load.run(from, until, over.clone()));
        }
        let mut stored = 0;
        while let Some(done) = running.join_next().await {
            stored += done.map_err(failed)?;
        }
        Ok(stored)
    }
}

/// A relay that raises alarms without end.
struct Load {
    link: Link,
    told: EventReceiver,
    relay: RelayId,
    rng: Rng,
    path: Option<PathId>,
    seq: u64,
    /// What is not stored yet, and when it was sent.
    open: BTreeMap<EventId, (Message, Instant)>,
    stored: u32,
    _handle: DialHandle,
}

/// After so long an alarm that nobody answered is sent again.
const AGAIN: Duration = Duration::from_secs(1);

impl Load {
    async fn connect(&mut self) -> Result<(), BenchError> {
        let up = async {
            loop {
                if let LinkEvent::Up { path, .. } = self.told.recv().await {
                    return path;
                }
            }
        };
        let path = timeout(PATIENCE, up).await.ok();
        let late = BenchError::Late { what: "a session of a relay".to_owned(), seconds: PATIENCE.as_secs() };
        let path = path.ok_or(late)?;
        self.path = Some(path);
        let hello = Message::Hello(Hello { software: "load".to_owned(), wire_minor: WIRE_MINOR, resume: None });
        self.send(Class::P1, Form::Stream, &hello);
        Ok(())
    }

    fn raise(&mut self) {
        self.seq += 1;
        let event = alarm(&self.relay, self.seq, &mut self.rng);
        let id = event.id;
        let copy = EventCopy { sealed: huxiao_wire::seal(&event), trail: Trail::default(), receipts: Vec::new() };
        let message = Message::Event(copy);
        self.send(Class::P0, Form::Stream, &message);
        self.open.insert(id, (message, Instant::now()));
    }

    fn send(&self, class: Class, form: Form, message: &Message) {
        if let Some(path) = self.path {
            // What is not taken is sent again, or asked for again by the other side.
            let _ = self.link.send(path, class, form, message);
        }
    }

    /// Raises until `until`, or until it is `over`; gives what was stored from `from` on.
    async fn run(mut self, from: Instant, until: Instant, over: Arc<AtomicBool>) -> u32 {
        for _ in 0..WINDOW {
            self.raise();
        }
        let mut look = tokio::time::interval(AGAIN / 4);
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => break,
                _ = look.tick() => {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    self.again();
                }
                event = self.told.recv() => match event {
                    LinkEvent::Message { message: Message::Receipts(receipts), .. } => {
                        let heard = receipts.iter().map(|receipt| (receipt.event, receipt.stage)).collect();
                        self.send(Class::P1, Form::Datagram, &Message::Confirmed(heard));
                        for receipt in receipts.iter().filter(|receipt| receipt.stage == Stage::Stored) {
                            if self.open.remove(&receipt.event).is_some() {
                                self.stored += u32::from(Instant::now() >= from);
                                self.raise();
                            }
                        }
                    }
                    LinkEvent::Message { .. } => {}
                    LinkEvent::Up { path, .. } => self.path = Some(path),
                    LinkEvent::Down { path, .. } => {
                        if self.path == Some(path) {
                            self.path = None;
                        }
                    }
                },
            }
        }
        self.link.shutdown().await;
        self.stored
    }

    fn again(&mut self) {
        let now = Instant::now();
        let due: Vec<EventId> =
            self.open.iter().filter(|(_, (_, sent))| now.duration_since(*sent) > AGAIN).map(|(id, _)| *id).collect();
        for id in due {
            if let Some((message, sent)) = self.open.get_mut(&id) {
                *sent = now;
                let message = message.clone();
                self.send(Class::P0, Form::Stream, &message);
            }
        }
    }
}
