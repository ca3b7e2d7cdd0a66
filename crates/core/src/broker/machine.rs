//! The machine itself: its state, its sessions, and who may say what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Machine;
use crate::broker::desk::{Desk, DeskView};
use crate::broker::port::{BrokerConfig, Input, Output, Report};
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId, RelayId, SeatId, StationId};
use crate::lane::Lane;
use crate::message::{Hello, Message, WIRE_MINOR};
use crate::plan::Plan;
use crate::receipt::Stage;
use crate::record::{Admission, RecordState};
use crate::rng::Rng;
use crate::time::{Now, Timestamp};

/// An event that the record does not hold yet.
pub(super) struct Pending {
    pub(super) admission: Admission,
    pub(super) offered: BTreeSet<SeatId>,
}

pub(super) struct Session {
    peer: NodeName,
    pub(super) lane: Lane,
    expired: bool,
}

/// A broker node's machine.
pub struct Broker {
    pub(super) config: BrokerConfig,
    pub(super) me: NodeName,
    pub(super) plan: Plan,
    pub(super) record: RecordState,
    pub(super) pending: BTreeMap<EventId, Pending>,
    pub(super) pending_of: BTreeMap<RelayId, usize>,
    /// Statements that the record's engine is at work on.
    pub(super) noting: BTreeSet<(EventId, Stage, SeatId)>,
    pub(super) sessions: BTreeMap<PathId, Session>,
    pub(super) relays: BTreeMap<RelayId, BTreeSet<PathId>>,
    pub(super) desks: BTreeMap<SeatId, Desk>,
    pub(super) desk_timers: BTreeSet<(Timestamp, SeatId)>,
    pub(super) route_again_at: Option<Timestamp>,
    pub(super) out: VecDeque<Output>,
    rng: Rng,
}

impl Broker {
    /// A node with what its record held when it stopped.
    #[must_use]
    pub fn new(config: BrokerConfig, plan: Plan, record: RecordState) -> Self {
        let me = NodeName::Broker { region: config.region.clone(), node: config.node.clone() };
        let mut broker = Self {
            me,
            rng: Rng::new(config.seed),
            plan,
            record,
            pending: BTreeMap::new(),
            pending_of: BTreeMap::new(),
            noting: BTreeSet::new(),
            sessions: BTreeMap::new(),
            relays: BTreeMap::new(),
            desks: BTreeMap::new(),
            desk_timers: BTreeSet::new(),
            route_again_at: None,
            out: VecDeque::new(),
            config,
        };
        broker.propose_routes();
        broker.forget_old();
        broker
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &RecordState {
        &self.record
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Relays that hold a session.
    #[must_use]
    pub fn relays(&self) -> usize {
        self.relays.len()
    }

    /// Seats that hold a session.
    pub fn desks(&self) -> impl Iterator<Item = (&SeatId, DeskView)> {
        let last = self.record.last_index();
        self.desks.iter().map(move |(seat, desk)| (seat, desk.view(last)))
    }

    fn session_up(&mut self, now: Now, path: PathId, peer: NodeName, lane: Lane, expired: bool) {
        match &peer {
            NodeName::Relay(relay) => {
                self.relays.entry(relay.clone()).or_default().insert(path);
            }
            NodeName::Station(seat) => {
                let seed = self.rng.next_u64();
                let desk = self.desks.entry(seat.clone()).or_insert_with(|| Desk::new(seed));
                desk.paths.insert(path, lane);
                desk.courier.path_up(now.mono, path, lane);
                self.drain_desk(now, seat);
            }
            NodeName::Broker { .. } => {
                return self.report(Report::Improper(
                    peer,
                    "a broker node opened a session of the relays' and stations' kind",
                ));
            }
        }
        self.sessions.insert(path, Session { peer, lane, expired });
        if lane == Lane::Express {
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Message::Hello(hello));
        }
    }

    fn session_down(&mut self, now: Now, path: PathId) {
        let Some(session) = self.sessions.remove(&path) else { return };
        match session.peer {
            NodeName::Relay(relay) => {
                if let Some(paths) = self.relays.get_mut(&relay) {
                    paths.remove(&path);
                    if paths.is_empty() {
                        self.relays.remove(&relay);
                    }
                }
            }
            NodeName::Station(seat) => {
                if let Some(desk) = self.desks.get_mut(&seat) {
                    desk.paths.remove(&path);
                    desk.courier.path_down(now.mono, path);
                    if desk.paths.is_empty() {
                        let wake = desk.wake;
                        self.desks.remove(&seat);
                        wake.map(|at| self.desk_timers.remove(&(at, seat)));
                    } else {
                        self.drain_desk(now, &seat);
                    }
                }
            }
            NodeName::Broker { .. } => {}
        }
    }

    fn message(&mut self, now: Now, path: PathId, message: Message) {
        let Some(session) = self.sessions.get(&path) else { return };
        let (peer, expired) = (session.peer.clone(), session.expired);
        match (peer, message) {
            (NodeName::Relay(relay), Message::Event(copy)) => self.event(now, path, &relay, expired, copy),
            (NodeName::Relay(relay), Message::Inquire(ids)) => self.inquired(path, &relay, &ids),
            (NodeName::Station(seat), Message::Hello(hello)) => self.greeted(now, &seat, hello.resume),
            (NodeName::Station(seat), Message::Inquire(ids)) => self.asked(path, &seat, &ids),
            (NodeName::Station(seat), Message::Receipts(receipts)) => {
                receipts.into_iter().for_each(|receipt| self.said(now, path, &seat, receipt));
            }
            (_, Message::Hello(_)) => {}
            (peer, _) => self.report(Report::Improper(peer, "a message that its role does not send")),
        }
    }

    pub(super) fn send(&mut self, path: PathId, class: Class, message: Message) {
        self.out.push_back(Output::Send(path, class, message));
    }

    pub(super) fn report(&mut self, report: Report) {
        self.out.push_back(Output::Report(report));
    }
}

/// The seats of `station` that hold sessions.
pub(super) fn seats_of<'a>(
    desks: &'a mut BTreeMap<SeatId, Desk>,
    station: &'a StationId,
) -> impl Iterator<Item = (&'a SeatId, &'a mut Desk)> {
    desks.range_mut(SeatId::first_of(station)..).take_while(move |(seat, _)| seat.station == *station)
}

impl Machine for Broker {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Now, input: Input) {
        match input {
            Input::SessionUp { path, peer, lane, expired } => self.session_up(now, path, peer, lane, expired),
            Input::SessionDown(path) => self.session_down(now, path),
            Input::Message(path, message) => self.message(now, path, message),
            Input::Committed(index, command) => self.committed(now, index, command),
            Input::NotCommitted { command, shed, why } => self.not_committed(now, command, shed, why),
            Input::Plan(plan) => self.take_plan(now, plan),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let due: Vec<SeatId> =
            self.desk_timers.iter().take_while(|(at, _)| *at <= now.mono).map(|(_, seat)| seat.clone()).collect();
        for seat in due {
            if let Some(desk) = self.desks.get_mut(&seat) {
                desk.courier.handle_timeout(now.mono);
            }
            self.drain_desk(now, &seat);
        }
        if self.route_again_at.is_some_and(|at| at <= now.mono) {
            self.route_again_at = None;
            self.propose_routes();
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let desk = self.desk_timers.first().map(|(at, _)| *at);
        desk.into_iter().chain(self.route_again_at).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        self.record.check()?;
        for (seat, desk) in &self.desks {
            desk.check().map_err(|why| format!("{seat:?}: {why}"))?;
            if desk.wake.is_some_and(|at| !self.desk_timers.contains(&(at, seat.clone()))) {
                return Err(format!("{seat:?} wants to be woken, and nobody will"));
            }
        }
        if self.desk_timers.len() > self.desks.len() {
            return Err("timers outlive their desks".to_owned());
        }
        if let Some(id) = self.pending.keys().find(|id| self.record.get(id).is_some()) {
            return Err(format!("{id} is pending and in the record"));
        }
        if self.pending_of.values().sum::<usize>() != self.pending.len() {
            return Err(format!("{} events are pending, not as many counted", self.pending.len()));
        }
        let listed: usize = self.relays.values().map(BTreeSet::len).sum();
        let relays = self.sessions.values().filter(|s| matches!(s.peer, NodeName::Relay(_))).count();
        if listed != relays {
            return Err(format!("{relays} relay sessions, {listed} listed"));
        }
        Ok(())
    }
}
