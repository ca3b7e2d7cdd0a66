//! Thousands of relays in one process: the product's relay machine and sessions, without its disk and its API.
//!
//! Invariant: a relay's alarm is carried by its courier alone, as in the field; nothing here sends anything again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use huxiao_core::relay::{HOMES, Input, Output, Press, Relay, RelayConfig, Report, Ticket};
use huxiao_core::{
    EventId, Identity, Kind, Lane, Machine, Mode, Name, Now, RelayId, Role, Stage, Text, Timestamp, WallTime, limits,
};
use huxiao_link::{DialHandle, EventReceiver, Expect, Link, LinkConfig, LinkEvent, Target, Uplink, events};
use huxiao_pki::{Authority, Credentials};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::error::{BenchError, Trying};
use crate::lab::Lab;

/// Relays that connect at once.
const AT_ONCE: usize = 64;
/// How long one may take to have its sessions, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long the last receipts may take after the last alarm was shown.
const LAST_RECEIPTS: Duration = Duration::from_secs(15);

/// The code of the school with this number.
pub(super) fn school(number: u16) -> String {
    format!("drill-{number:04}")
}

fn failed(error: impl std::fmt::Display) -> BenchError {
    BenchError::Peer(error.to_string())
}

/// A press to be made, and where to say what became of it.
type Order = (Instant, oneshot::Sender<String>);

/// The relays.
pub(super) struct Fleet {
    orders: Vec<mpsc::UnboundedSender<Order>>,
    running: JoinSet<[u64; 2]>,
    stop: watch::Sender<()>,
}

impl Fleet {
    /// Makes so many relays, with certificates of the lab's authority in `dir`, and waits until each has its sessions.
    ///
    /// # Errors
    /// A certificate cannot be made, or a broker node cannot be reached.
    pub(super) async fn connect(dir: &Path, lab: &Lab, count: u16) -> Result<Self, BenchError> {
        std::fs::create_dir_all(dir).trying_on("make", dir)?;
        let ca = lab.authority().join("ca.pem");
        let authority = Authority::load(&ca, &lab.authority().join("ca-key.pem")).map_err(failed)?;
        let origin = Instant::now();
        let (stop, stopped) = watch::channel(());
        let mut fleet = Self { orders: Vec::new(), running: JoinSet::new(), stop };
        let mut coming = JoinSet::new();
        for number in 0..count {
            let (member, orders) = Member::new(&authority, &ca, dir, lab, number, origin)?;
            fleet.orders.push(orders);
            let (up, is_up) = oneshot::channel();
            fleet.running.spawn(member.run(up, stopped.clone()));
            coming.spawn(tokio::time::timeout(PATIENCE, is_up));
            if coming.len() >= AT_ONCE {
                came(coming.join_next().await.as_ref())?;
            }
        }
        while let Some(one) = coming.join_next().await {
            came(Some(&one))?;
        }
        Ok(fleet)
    }

    /// Every relay presses once, spread evenly over `within`. Gives the alarms, each with the moment at which it was due.
    ///
    /// # Errors
    /// A relay has ended.
    pub(super) async fn press(&self, within: Duration) -> Result<BTreeMap<String, Instant>, BenchError> {
        let count = u32::try_from(self.orders.len()).unwrap_or(u32::MAX).max(1);
        // Time for all of them to have their order.
        let first = Instant::now() + Duration::from_millis(200);
        let mut pressed = Vec::new();
        for (number, orders) in (0..).zip(&self.orders) {
            let due = first + within * number / count;
            let (tell, told) = oneshot::channel();
            orders.send((due, tell)).map_err(|_| failed("a relay has ended"))?;
            pressed.push((due, told));
        }
        let mut ids = BTreeMap::new();
        for (due, told) in pressed {
            ids.insert(told.await.map_err(|_| failed("a relay did not take a press"))?, due);
        }
        Ok(ids)
    }

    /// Ends all of them. Gives how many presses were known as stored, and how many there were.
    pub(super) async fn stop(mut self) -> [u64; 2] {
        drop(self.stop);
        let mut sum = [0, 0];
        while let Some(one) = self.running.join_next().await {
            let [stored, pressed] = one.unwrap_or_default();
            sum = [sum[0] + stored, sum[1] + pressed];
        }
        sum
    }
}

type Came = Result<Result<Result<(), oneshot::error::RecvError>, tokio::time::error::Elapsed>, tokio::task::JoinError>;

fn came(one: Option<&Came>) -> Result<(), BenchError> {
    match one {
        None | Some(Ok(Ok(Ok(())))) => Ok(()),
        Some(_) => Err(BenchError::Late { what: "the sessions of a relay".to_owned(), seconds: PATIENCE.as_secs() }),
    }
}

/// One relay.
struct Member {
    link: Link,
    told: EventReceiver,
    machine: Relay,
    dials: Vec<DialHandle>,
    orders: mpsc::UnboundedReceiver<Order>,
    origin: Instant,
    sessions: usize,
    presses: u64,
    stored: BTreeSet<EventId>,
    asked: BTreeMap<Ticket, oneshot::Sender<String>>,
}

impl Member {
    fn new(
        authority: &Authority,
        ca: &Path,
        dir: &Path,
        lab: &Lab,
        number: u16,
        origin: Instant,
    ) -> Result<(Self, mpsc::UnboundedSender<Order>), BenchError> {
        let school = school(number);
        let identity = format!("spiffe://{}/relay/{school}/gate", authority.domain());
        let identity: Identity = identity.parse().map_err(failed)?;
        let file = |end: &str| dir.join(format!("{school}.{end}"));
        let leaf = authority.issue(&identity, authority.period(), &[]).map_err(failed)?;
        leaf.save(&file("pem"), &file("key")).map_err(failed)?;
        let credentials = Credentials::load(ca, &file("pem"), &file("key"), None).map_err(failed)?;
        let (tell, told) = events();
        let link = Link::new(credentials, LinkConfig::accepting(&[Role::Broker]), tell).map_err(failed)?;
        let relay = RelayId { school: school.parse().map_err(failed)?, device: "gate".parse().map_err(failed)? };
        let config = RelayConfig {
            relay,
            epoch: 1,
            next_slot: 1,
            copy_rate: limits::COPY_BYTES_PER_SECOND,
            plan: None,
            spare_nodes: lab.brokers().len() > HOMES,
            self_test: None,
            seed: u64::from(number) + 1,
            seal: huxiao_wire::seal,
            software: "huxiao-benches".to_owned(),
        };
        let dial = |turn| {
            let addr = lab.sessions_at(turn).to_string();
            let expect = Expect::broker(None);
            link.dial(&Target { addr, uplink: Uplink::default(), expect, lanes: vec![Lane::Express] })
        };
        let dials = (0..HOMES).map(|home| dial(usize::from(number) + home)).collect();
        let (order, orders) = mpsc::unbounded_channel();
        let machine = Relay::new(now(origin), config, Vec::new());
        let (sessions, presses, stored, asked) = (0, 0, BTreeSet::new(), BTreeMap::new());
        Ok((Self { link, told, machine, dials, orders, origin, sessions, presses, stored, asked }, order))
    }

    /// Runs until it is stopped and has heard of all its alarms that they are stored; says when it has all its sessions.
    async fn run(mut self, up: oneshot::Sender<()>, mut stopped: watch::Receiver<()>) -> [u64; 2] {
        let (mut up, mut next, mut ends) = (Some(up), None::<Order>, None);
        while ends.is_none() || (self.stored.len() as u64) < self.presses {
            let timer = self.machine.poll_timeout().map(|due| self.origin + Duration::from_micros(due.0));
            tokio::select! {
                _ = stopped.changed(), if ends.is_none() => ends = Some(Instant::now() + LAST_RECEIPTS),
                () = sleep_until(ends) => break,
                order = self.orders.recv(), if next.is_none() && ends.is_none() => match order {
                    Some(order) => next = Some(order),
                    // The fleet has gone, and says so by the other way too.
                    None => ends = ends.or_else(|| Some(Instant::now() + LAST_RECEIPTS)),
                },
                () = sleep_until(next.as_ref().map(|(due, _)| *due)) => {
                    if let Some((_, tell)) = next.take() {
                        self.press(tell);
                    }
                }
                () = sleep_until(timer) => {
                    self.machine.handle_timeout(now(self.origin));
                    self.settle();
                }
                event = self.told.recv() => self.heard(event),
            }
            if self.sessions >= self.dials.len()
                && let Some(up) = up.take()
            {
                // Whoever waits for it has given up otherwise, and says so.
                let _ = up.send(());
            }
        }
        drop(self.dials);
        self.link.shutdown().await;
        [self.stored.len() as u64, self.presses]
    }

    fn press(&mut self, tell: oneshot::Sender<String>) {
        self.presses += 1;
        let ticket = Ticket(self.presses);
        self.asked.insert(ticket, tell);
        let device = Name::new("button").ok();
        let press = Press {
            kind: Kind::Panic,
            mode: Mode::Drill,
            device,
            zone: None,
            note: Text::default(),
            details: huxiao_core::Details::default(),
        };
        self.step(Input::Raise { ticket, press, idempotency_key: None, live: false });
    }

    fn heard(&mut self, event: LinkEvent) {
        let input = match event {
            LinkEvent::Up { path, peer, info, .. } => {
                self.sessions += 1;
                Input::PathUp(path, peer.identity.node, info)
            }
            LinkEvent::Down { path, .. } => Input::PathDown(path),
            LinkEvent::Message { path, message } => Input::Message(path, message),
        };
        self.step(input);
    }

    fn step(&mut self, input: Input) {
        self.machine.handle(now(self.origin), input);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::KeepPlan(part) => self.machine.handle(now(self.origin), Input::PlanKept(part.mark)),
                Output::Persist(seq, _) => self.machine.handle(now(self.origin), Input::Persisted(seq)),
                Output::Send(path, class, form, message) => {
                    // What is not taken is the courier's to send again.
                    let _ = self.link.send(path, class, form, &message);
                }
                Output::Hurry => self.dials.iter().for_each(DialHandle::hurry),
                Output::Race => self.dials.iter().for_each(DialHandle::race),
                Output::Answer(ticket, answer) => {
                    if let (Some(tell), Ok(raised)) = (self.asked.remove(&ticket), answer) {
                        let _ = tell.send(raised.id.to_string());
                    }
                }
                Output::Report(Report::Stage(_, receipt, _)) => {
                    if receipt.stage == Stage::Stored {
                        self.stored.insert(receipt.event);
                    }
                }
                // There are always two nodes here, and nobody else to dial.
                Output::DialOthers | Output::Report(_) => {}
                // Nobody commands schools here.
                Output::Play(_) | Output::Silence(_) | Output::View(..) => {}
            }
        }
    }
}

fn now(origin: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Now {
        mono: Timestamp(u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX)),
        wall: WallTime(wall.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX))),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
