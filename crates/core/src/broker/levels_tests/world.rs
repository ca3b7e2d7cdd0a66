//! A region and its province: nodes around two logs, and a line between them that can be cut.
//!
//! A log takes what the leader's side proposes some milliseconds later, and gives it to each node at that node's own pace. While a group
//! has no quorum nothing enters its log; when its leader changes, what was proposed and not yet in the log is forgotten.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::Machine;
use crate::broker::{Broker, BrokerConfig, Input, NotCommitted, Output, ProvinceConfig, Report};
use crate::event::{Class, Event, Kind, Text};
use crate::id::{EventId, Name, NodeName, PathId, RecordId, SeatId, StationId};
use crate::lane::Lane;
use crate::message::{Degraded, EventCopy, Hello, Message};
use crate::path::{Form, PathInfo};
use crate::plan::Plan;
use crate::receipt::{Receipt, Stage, Standing, Trail};
use crate::record::{Command, RecordState};
use crate::relay::tests_support::{event, relay_id, seal};
use crate::rng::Rng;
use crate::time::{Now, Timestamp, WallTime};

pub(super) const MILLIS: u64 = 1_000;
pub(super) const SECONDS: u64 = 1_000 * MILLIS;
/// How long a message is on its way at least, and how much longer it may be.
const DELAY: u64 = 5 * MILLIS;
const JITTER: u64 = 20 * MILLIS;
/// From a proposal to the log.
const COMMIT: u64 = 3 * MILLIS;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    Region,
    Province,
}

/// A node of one side.
pub(super) type Spot = (Side, usize);

/// Who is at the other end of a session.
#[derive(Debug, Clone)]
enum Far {
    /// A broker node, and the session's number there.
    Broker(Spot, PathId),
    /// Somebody whose messages are only looked at.
    Watched(NodeName),
}

enum Due {
    Hear(Spot, PathId, Message),
    Log(Side, u64, Command),
    Apply(Spot, u64),
    Fail(Spot, Command),
}

pub(super) struct Group {
    pub(super) nodes: Vec<Broker>,
    pub(super) log: Vec<Command>,
    applied: Vec<usize>,
    pub(super) leader: usize,
    pub(super) quorum: bool,
    /// Rises with each change of the leader: proposals of an earlier one may be lost.
    term: u64,
}

pub(super) struct World {
    pub(super) now: u64,
    pub(super) region: Group,
    pub(super) province: Group,
    pub(super) rng: Rng,
    queue: BinaryHeap<std::cmp::Reverse<(u64, u64, usize)>>,
    due: BTreeMap<usize, Due>,
    next: usize,
    sessions: BTreeMap<(Spot, PathId), Far>,
    next_path: u64,
    /// Messages to those who are only watched, in order.
    pub(super) seen: Vec<(NodeName, Message)>,
    /// Copies of events that left the region, in order.
    pub(super) forwarded: Vec<EventId>,
    pub(super) reports: Vec<(Spot, Report)>,
    steps: u64,
}

pub(super) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(super) fn station(text: &str) -> StationId {
    text.parse().unwrap()
}

pub(super) fn seat(station: &str) -> SeatId {
    SeatId { station: station.parse().unwrap(), seat: name("a") }
}

pub(super) fn id(number: usize) -> EventId {
    EventId::from_bytes((number as u128 + 1).to_be_bytes())
}

pub(super) fn alarm(number: usize, kind: Kind) -> Event {
    Event { id: id(number), ..event(kind) }
}

pub(super) fn receipt(event: EventId, stage: Stage, by: &SeatId) -> Receipt {
    Receipt {
        event,
        stage,
        at: WallTime(3),
        by: NodeName::Station(by.clone()),
        officer: (stage == Stage::Acknowledged).then(|| name("014")),
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

impl Group {
    fn new(side: Side, nodes: usize) -> Self {
        let mut plan = Plan::default();
        let (region, province) = match side {
            Side::Region => {
                plan.add(relay_id().school, vec![station("p1")]).unwrap();
                ("east", Some(ProvinceConfig { region: name("gx"), lowest: Class::P1 }))
            }
            Side::Province => {
                plan.add_region(name("east"), vec![station("duty")]).unwrap();
                ("gx", None)
            }
        };
        let node = |at: usize| {
            let mut record = RecordState::default();
            record.apply(1, Command::Found { record: RecordId([side as u8 + 1; 16]) });
            let config = BrokerConfig {
                region: name(region),
                node: name(&format!("n{at}")),
                province: province.clone(),
                seed: at as u64,
                software: "test".to_owned(),
            };
            Broker::new(config, plan.clone(), record, vec![]).accepting(BTreeSet::from([name("east")]))
        };
        let log = vec![Command::Found { record: RecordId([side as u8 + 1; 16]) }];
        let nodes: Vec<Broker> = (0..nodes).map(node).collect();
        Self { applied: vec![1; nodes.len()], nodes, log, leader: 0, quorum: true, term: 0 }
    }
}

impl World {
    /// Both with so many nodes; the first of each leads. The line between them is there.
    pub(super) fn new(seed: u64, region: usize, province: usize) -> Self {
        let mut world = Self {
            now: SECONDS,
            region: Group::new(Side::Region, region),
            province: Group::new(Side::Province, province),
            rng: Rng::new(seed),
            queue: BinaryHeap::new(),
            due: BTreeMap::new(),
            next: 0,
            sessions: BTreeMap::new(),
            next_path: 0,
            seen: Vec::new(),
            forwarded: Vec::new(),
            reports: Vec::new(),
            steps: 0,
        };
        for side in [Side::Region, Side::Province] {
            world.step((side, 0), Input::Leads(true));
        }
        world.join();
        world
    }

    pub(super) fn group(&mut self, side: Side) -> &mut Group {
        match side {
            Side::Region => &mut self.region,
            Side::Province => &mut self.province,
        }
    }

    /// The line is there: each node of the region has a session with each of the province.
    pub(super) fn join(&mut self) {
        for below in 0..self.region.nodes.len() {
            for above in 0..self.province.nodes.len() {
                let ends = [(Side::Region, below), (Side::Province, above)];
                let [low, high] = ends.map(|spot| (spot, self.path()));
                self.sessions.insert(low, Far::Broker(high.0, high.1));
                self.sessions.insert(high, Far::Broker(low.0, low.1));
                let peers = [("gx", above), ("east", below)];
                for ((spot, path), (region, node)) in [low, high].into_iter().zip(peers) {
                    let peer = NodeName::Broker { region: name(region), node: name(&format!("n{node}")) };
                    let info = PathInfo::plain(Lane::Express);
                    self.step(spot, Input::SessionUp { path, peer, info, expired: false });
                }
            }
        }
    }

    /// The line is cut: what is on its way is lost.
    pub(super) fn cut(&mut self) {
        let between = self.sessions.iter().filter(|(_, far)| matches!(far, Far::Broker(..)));
        let ends: Vec<(Spot, PathId)> = between.map(|(end, _)| *end).collect();
        for (spot, path) in ends {
            self.sessions.remove(&(spot, path));
            self.step(spot, Input::SessionDown(path));
        }
    }

    /// Somebody opens a session with a node; what is sent there is kept in `seen`.
    pub(super) fn watch(&mut self, spot: Spot, peer: NodeName) -> PathId {
        let path = self.path();
        self.sessions.insert((spot, path), Far::Watched(peer.clone()));
        let hello =
            Message::Hello(Hello { software: String::new(), wire_minor: crate::message::WIRE_MINOR, resume: None });
        self.step(spot, Input::SessionUp { path, peer, info: PathInfo::plain(Lane::Express), expired: false });
        self.step(spot, Input::Message(path, hello));
        path
    }

    fn path(&mut self) -> PathId {
        self.next_path += 1;
        PathId(self.next_path)
    }

    pub(super) fn hear(&mut self, spot: Spot, path: PathId, message: Message) {
        self.step(spot, Input::Message(path, message));
    }

    /// A relay's press comes to a node of the region.
    pub(super) fn press(&mut self, node: usize, relay: PathId, number: usize, kind: Kind) {
        let sealed = seal(&alarm(number, kind));
        let trail = Trail::default().arrived(&NodeName::Relay(relay_id()), WallTime(1), None).leaving(WallTime(2));
        self.hear((Side::Region, node), relay, Message::Event(EventCopy { sealed, trail, receipts: vec![] }));
    }

    /// Another node leads from now on.
    pub(super) fn elect(&mut self, side: Side, leader: usize) {
        let group = self.group(side);
        let old = std::mem::replace(&mut group.leader, leader);
        group.term += 1;
        self.step((side, old), Input::Leads(false));
        self.step((side, leader), Input::Leads(true));
    }

    pub(super) fn set_quorum(&mut self, side: Side, quorum: bool) {
        let why = Text::new("only 1 of 3 nodes answers").unwrap();
        let degraded = (!quorum).then_some(Degraded { since: WallTime(5), why });
        let group = self.group(side);
        group.quorum = quorum;
        group.term += 1;
        for at in 0..group.nodes.len() {
            self.step((side, at), Input::Quorum(degraded.clone()));
        }
    }

    /// Puts something into a log as if somebody had proposed it there.
    pub(super) fn commit(&mut self, side: Side, command: Command) {
        self.group(side).log.push(command);
        self.spread(side);
    }

    fn spread(&mut self, side: Side) {
        let (now, group) = (self.now, self.group(side));
        let end = group.log.len() as u64;
        for at in 0..group.nodes.len() {
            self.later(now + (at as u64 + 1) * MILLIS, Due::Apply((side, at), end));
        }
    }

    fn later(&mut self, at: u64, due: Due) {
        self.next += 1;
        self.due.insert(self.next, due);
        self.queue.push(std::cmp::Reverse((at, self.next as u64, self.next)));
    }

    /// Lets time pass, with all that happens in it.
    pub(super) fn run(&mut self, micros: u64) {
        let until = self.now + micros;
        loop {
            let message = self.queue.peek().map(|next| next.0.0);
            let spots = (0..self.region.nodes.len()).map(|at| (Side::Region, at));
            let spots: Vec<Spot> = spots.chain((0..self.province.nodes.len()).map(|at| (Side::Province, at))).collect();
            let timer = spots
                .into_iter()
                .filter_map(|spot| self.group(spot.0).nodes[spot.1].poll_timeout().map(|at| (at.0, spot)))
                .min();
            let next = [message, timer.map(|(at, _)| at)].into_iter().flatten().min().filter(|at| *at <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            if message == Some(next) {
                self.take_due();
            } else if let Some((_, spot)) = timer {
                let now = self.clock();
                self.group(spot.0).nodes[spot.1].handle_timeout(now);
                self.drain(spot);
            }
        }
        self.now = until;
    }

    fn take_due(&mut self) {
        let Some(std::cmp::Reverse((_, _, key))) = self.queue.pop() else { return };
        match self.due.remove(&key).unwrap() {
            Due::Hear(spot, path, message) => {
                if self.sessions.contains_key(&(spot, path)) {
                    self.step(spot, Input::Message(path, message));
                }
            }
            Due::Log(side, term, command) => {
                let group = self.group(side);
                if group.quorum && group.term == term {
                    group.log.push(command);
                    self.spread(side);
                }
            }
            Due::Apply(spot, end) => {
                let end = usize::try_from(end).unwrap();
                while self.group(spot.0).applied[spot.1] < end {
                    let group = self.group(spot.0);
                    let at = group.applied[spot.1];
                    group.applied[spot.1] += 1;
                    let command = group.log[at].clone();
                    self.step(spot, Input::Committed { index: at as u64 + 1, command, replayed: false });
                }
            }
            Due::Fail(spot, command) => {
                self.step(spot, Input::NotCommitted { command, why: NotCommitted::NoQuorum });
            }
        }
    }

    fn clock(&self) -> Now {
        Now { mono: Timestamp(self.now), wall: WallTime(i64::try_from(self.now).unwrap()) }
    }

    fn step(&mut self, spot: Spot, input: Input) {
        let now = self.clock();
        self.group(spot.0).nodes[spot.1].handle(now, input);
        self.drain(spot);
    }

    fn drain(&mut self, spot: Spot) {
        while let Some(output) = self.group(spot.0).nodes[spot.1].poll_output() {
            match output {
                Output::Propose(command) => {
                    let (now, group) = (self.now, self.group(spot.0));
                    if group.quorum {
                        let term = group.term;
                        self.later(now + COMMIT, Due::Log(spot.0, term, command));
                    } else {
                        self.later(now + 400 * MILLIS, Due::Fail(spot, command));
                    }
                }
                Output::Send(path, _, form, message) => self.carry(spot, path, form, message),
                Output::Journal(journal, _) => self.step(spot, Input::Journalled(journal)),
                Output::Report(report) => self.reports.push((spot, report)),
                Output::Unjournal(_) | Output::Archive(..) | Output::RaceProvince => {}
                other => panic!("{other:?}"),
            }
        }
        self.steps += 1;
        let (steps, broker) = (self.steps, &self.group(spot.0).nodes[spot.1]);
        // The whole record is looked through, which takes long when it is full.
        if steps.is_multiple_of(500) {
            broker.check().unwrap();
        } else if broker.record().len() < 100 || steps.is_multiple_of(20) {
            broker.check_levels().unwrap();
        }
    }

    fn carry(&mut self, spot: Spot, path: PathId, form: Form, message: Message) {
        match self.sessions.get(&(spot, path)).cloned() {
            Some(Far::Broker(far, there)) => {
                if spot.0 == Side::Region
                    && let Message::Event(copy) = &message
                {
                    self.forwarded.push(copy.sealed.event.id);
                }
                if form == Form::Datagram && self.rng.below(10) == 0 {
                    return;
                }
                let at = self.now + DELAY + self.rng.below(JITTER);
                self.later(at, Due::Hear(far, there, message));
            }
            Some(Far::Watched(peer)) => {
                if let (NodeName::Relay(_), Message::Receipts(receipts)) = (&peer, &message) {
                    // As a relay does: what it has is not carried to it any longer.
                    let heard = receipts.iter().map(|receipt| (receipt.event, receipt.stage)).collect();
                    self.later(self.now + MILLIS, Due::Hear(spot, path, Message::Confirmed(heard)));
                }
                self.seen.push((peer, message));
            }
            None => {}
        }
    }
}
