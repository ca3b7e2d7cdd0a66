//! The machine itself: inputs, outputs, and what happens in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::Machine;
use crate::broker::desk::{Desk, DeskView};
use crate::courier::Transmit;
use crate::event::{Class, Sealed, Text};
use crate::id::{EventId, NodeName, PathId, RecordId, RelayId, SeatId, StationId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{EventCopy, Hello, Message, Refusal, Resume, WIRE_MINOR};
use crate::plan::Plan;
use crate::receipt::{Receipt, Stage};
use crate::record::{Admission, Command, Effect, RecordState};
use crate::rng::Rng;
use crate::time::{Now, Timestamp};

/// What a broker node is told once.
pub struct BrokerConfig {
    /// Its region.
    pub region: crate::id::Name,
    /// Its name in the region.
    pub node: crate::id::Name,
    /// Which record this is.
    pub record: RecordId,
    /// Seed of all that is random.
    pub seed: u64,
    /// What it calls itself in greetings.
    pub software: String,
}

/// What the world tells a broker node.
#[derive(Debug)]
pub enum Input {
    /// A session with a relay or a station is there; who it is stands in its certificate.
    SessionUp {
        /// The session.
        path: PathId,
        /// The peer.
        peer: NodeName,
        /// Which kind of connection.
        lane: Lane,
        /// Whether its certificate is out of date: only P0 is taken then.
        expired: bool,
    },
    /// It is gone.
    SessionDown(PathId),
    /// A peer said something.
    Message(PathId, Message),
    /// The record's engine has made this command durable, at this index.
    Committed(u64, Command),
    /// The record's engine could not take what it was handed; `shed` if for want of room that P0 still has.
    NotCommitted {
        /// What it was handed.
        command: Command,
        /// Whether P0 would still be taken.
        shed: bool,
        /// What the engine said.
        why: String,
    },
    /// A new plan is in force.
    Plan(Plan),
}

/// What a broker node wants done.
#[derive(Debug)]
pub enum Output {
    /// Make this durable and give it back with [`Input::Committed`].
    Propose(Command),
    /// The log needs these indexes no longer.
    Forget(Vec<u64>),
    /// Send this.
    Send(PathId, Class, Message),
    /// Something that people and metrics want to know.
    Report(Report),
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An event came in for the first time, and goes to these stations.
    Received(Sealed, Vec<StationId>),
    /// No plan names a station for it: it is kept, and somebody must act.
    NoRoute(Sealed),
    /// It is in the record.
    Stored(Sealed),
    /// A station said something of it.
    Noted(Sealed, Receipt),
    /// A copy of an event that is known already.
    Duplicate(EventId),
    /// An event was not taken.
    Refused(NodeName, EventId, Refusal),
    /// A peer said what it may not say; it was ignored.
    Improper(NodeName, &'static str),
    /// The record's engine could not take an event. It goes to its stations all the same.
    NotStored(EventId, String),
}

/// An event that the record does not hold yet.
struct Pending {
    admission: Admission,
    offered: BTreeSet<SeatId>,
}

struct Session {
    peer: NodeName,
    lane: Lane,
    expired: bool,
}

/// A broker node's machine.
pub struct Broker {
    config: BrokerConfig,
    me: NodeName,
    rng: Rng,
    plan: Plan,
    record: RecordState,
    pending: BTreeMap<EventId, Pending>,
    sessions: BTreeMap<PathId, Session>,
    relays: BTreeMap<RelayId, BTreeSet<PathId>>,
    desks: BTreeMap<SeatId, Desk>,
    desk_timers: BTreeSet<(Timestamp, SeatId)>,
    out: VecDeque<Output>,
}

impl Broker {
    /// A node with what its record held when it stopped.
    #[must_use]
    pub fn new(config: BrokerConfig, plan: Plan, record: RecordState) -> Self {
        let me = NodeName::Broker { region: config.region.clone(), node: config.node.clone() };
        let mut broker = Self {
            me,
            rng: Rng::new(config.seed),
            plan: Plan::default(),
            record,
            pending: BTreeMap::new(),
            sessions: BTreeMap::new(),
            relays: BTreeMap::new(),
            desks: BTreeMap::new(),
            desk_timers: BTreeSet::new(),
            out: VecDeque::new(),
            config,
        };
        broker.take_plan(plan);
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
            NodeName::Relay(relay) => drop(self.relays.entry(relay.clone()).or_default().insert(path)),
            NodeName::Station(seat) => {
                let seed = self.rng.next_u64();
                let desk = self.desks.entry(seat.clone()).or_insert_with(|| Desk::new(seed));
                desk.paths.insert(path, lane);
                desk.courier.path_up(now.mono, path, lane);
                self.drain_desk(now, &seat.clone());
            }
            NodeName::Broker { .. } => {
                return self.report(Report::Improper(peer, "a broker node opened a session of the relays' and stations' kind"));
            }
        }
        self.sessions.insert(path, Session { peer, lane, expired });
        if lane == Lane::Express {
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Message::Hello(hello));
        }
    }

    fn session_down(&mut self, path: PathId) {
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
                    desk.courier.path_down(path);
                    let wake = desk.wake;
                    if desk.paths.is_empty() {
                        self.desks.remove(&seat);
                        wake.map(|at| self.desk_timers.remove(&(at, seat)));
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
            (NodeName::Station(seat), Message::Receipts(receipts)) => {
                receipts.into_iter().for_each(|receipt| self.said(now, path, &seat, receipt));
            }
            (_, Message::Hello(_)) => {}
            (peer, _) => self.report(Report::Improper(peer, "a message that its role does not send")),
        }
    }

    /// A relay's copy of an event.
    fn event(&mut self, now: Now, path: PathId, relay: &RelayId, expired: bool, copy: EventCopy) {
        let event = &copy.sealed.event;
        let id = event.id;
        let refusal = if event.relay.school != relay.school {
            Some(Refusal::OtherSchool)
        } else if event.relay != *relay {
            Some(Refusal::OtherRelay)
        } else if expired && event.class != Class::P0 {
            Some(Refusal::Expired)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.refuse(path, NodeName::Relay(relay.clone()), id, refusal);
        }
        if let Some(entry) = self.record.get(&id) {
            let receipts = entry.receipts();
            self.report(Report::Duplicate(id));
            return self.send(path, Class::P1, Message::Receipts(receipts));
        }
        if self.pending.contains_key(&id) {
            return self.report(Report::Duplicate(id));
        }
        let stations = self.plan.route(&event.relay.school).to_vec();
        let trail = copy.trail.arrived(&self.me, now.wall);
        let admission = Admission { sealed: copy.sealed, trail, at: now.wall, by: self.me.clone(), stations };
        self.report(Report::Received(admission.sealed.clone(), admission.stations.clone()));
        if admission.stations.is_empty() {
            self.report(Report::NoRoute(admission.sealed.clone()));
        }
        self.pending.insert(id, Pending { admission: admission.clone(), offered: BTreeSet::new() });
        self.express(now, id);
        self.out.push_back(Output::Propose(Command::Admit(admission)));
    }

    /// The express lane: to every seat of the event's stations that is there, now.
    fn express(&mut self, now: Now, id: EventId) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let class = pending.admission.sealed.event.class;
        let mut reached = Vec::new();
        for station in &pending.admission.stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                desk.offer(now.mono, id, class, None, false);
                reached.push(seat.clone());
            }
        }
        pending.offered.extend(reached.iter().cloned());
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
    }

    fn inquired(&mut self, path: PathId, relay: &RelayId, ids: &[EventId]) {
        let mut receipts = Vec::new();
        let mut unknown = Vec::new();
        for id in ids {
            match self.record.get(id).filter(|entry| entry.admission.sealed.event.relay == *relay) {
                Some(entry) => receipts.extend(entry.receipts()),
                None if self.pending.contains_key(id) => {}
                None => unknown.push(*id),
            }
        }
        for chunk in receipts.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Message::Receipts(chunk.to_vec()));
        }
        for chunk in unknown.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Message::Unknown(chunk.to_vec()));
        }
    }

    /// A seat says how much it has: it is given the rest, alarms first.
    fn greeted(&mut self, now: Now, seat: &SeatId, resume: Option<Resume>) {
        let Some(desk) = self.desks.get_mut(seat) else { return };
        desk.greeted = true;
        let me = NodeName::Station(seat.clone());
        let from = resume.filter(|resume| resume.record == self.config.record).map_or(0, |resume| resume.index);
        for (index, entry) in self.record.for_station(&seat.station, from) {
            if !entry.has(Stage::Delivered, &me) {
                let event = &entry.admission.sealed.event;
                desk.offer(now.mono, event.id, event.class, Some(index), true);
            }
        }
        for (id, pending) in &mut self.pending {
            if pending.admission.stations.contains(&seat.station) {
                desk.offer(now.mono, *id, pending.admission.sealed.event.class, None, true);
                pending.offered.insert(seat.clone());
            }
        }
        self.drain_desk(now, seat);
    }

    /// A station's statement about an event.
    fn said(&mut self, now: Now, path: PathId, seat: &SeatId, receipt: Receipt) {
        let me = NodeName::Station(seat.clone());
        let (id, stage) = (receipt.event, receipt.stage);
        if receipt.by != me || stage < Stage::Delivered {
            return self.report(Report::Improper(me, "a receipt in somebody else's name, or of a stage that is not a station's"));
        }
        let entry = self.record.get(&id);
        let admission = entry.map(|entry| &entry.admission).or_else(|| self.pending.get(&id).map(|p| &p.admission));
        let Some(admission) = admission else {
            return self.send(path, Class::P1, Message::Unknown(vec![id]));
        };
        if !admission.stations.contains(&seat.station) {
            return self.report(Report::Improper(me, "a receipt for an event that is not routed to it"));
        }
        let relay = admission.sealed.event.relay.clone();
        if stage == Stage::Delivered
            && let Some(desk) = self.desks.get_mut(seat)
        {
            desk.settle(now.mono, &id);
            self.drain_desk(now, seat);
            self.tell_mark(seat);
        }
        if self.record.get(&id).is_some_and(|entry| entry.has(stage, &me)) {
            return self.send(path, Class::P1, Message::Confirmed(vec![(id, stage)]));
        }
        if stage < Stage::Acknowledged {
            // A fact at the station, whatever becomes of the record: the presser need not wait. Who owns the alarm is decided
            // by the record's order, so an acknowledgement does wait.
            self.tell_relay(&relay, vec![receipt.clone()]);
        }
        self.out.push_back(Output::Propose(Command::Note(receipt)));
    }

    fn committed(&mut self, now: Now, index: u64, command: Command) {
        let statement = match &command {
            Command::Note(receipt) => Some(receipt.clone()),
            Command::Admit(_) | Command::Route { .. } => None,
        };
        match self.record.apply(index, command) {
            Effect::Admitted(id) => self.admitted(now, index, id),
            Effect::Noted(receipt) => self.noted(&receipt),
            Effect::Routed(id) => self.routed(now, index, id),
            Effect::Nothing => self.out.push_back(Output::Forget(vec![index])),
        }
        if let Some(receipt) = statement {
            self.confirm(&receipt);
        }
        let forgotten = self.record.evict();
        if !forgotten.is_empty() {
            self.out.push_back(Output::Forget(forgotten));
        }
    }

    fn admitted(&mut self, now: Now, index: u64, id: EventId) {
        let offered = self.pending.remove(&id).map(|pending| pending.offered).unwrap_or_default();
        let Some(entry) = self.record.get(&id) else { return };
        let admission = entry.admission.clone();
        let event = &admission.sealed.event;
        let stored = Receipt {
            event: id,
            stage: Stage::Stored,
            at: now.wall,
            by: self.me.clone(),
            officer: None,
            note: Text::default(),
        };
        self.tell_relay(&event.relay, vec![stored]);
        let mut reached = Vec::new();
        for station in &admission.stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                // What was offered on the express lane and is no longer carried has been delivered meanwhile.
                if !offered.contains(seat) || desk.courier.carries(&id) {
                    desk.offer(now.mono, id, event.class, Some(index), false);
                    reached.push(seat.clone());
                }
            }
        }
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
        self.report(Report::Stored(admission.sealed));
    }

    fn noted(&mut self, receipt: &Receipt) {
        let Some(entry) = self.record.get(&receipt.event) else { return };
        let (sealed, stations) = (entry.admission.sealed.clone(), entry.admission.stations.clone());
        if receipt.stage >= Stage::Acknowledged {
            self.tell_relay(&sealed.event.relay, vec![receipt.clone()]);
        }
        if receipt.stage >= Stage::Displayed {
            for station in &stations {
                let others = seats_of(&mut self.desks, station);
                for (_, desk) in others.filter(|(seat, _)| NodeName::Station((*seat).clone()) != receipt.by) {
                    let send = |path| Output::Send(path, Class::P1, Message::Receipts(vec![receipt.clone()]));
                    self.out.extend(desk.express().map(send));
                }
            }
        }
        self.report(Report::Noted(sealed, receipt.clone()));
    }

    /// Tells the seat that its statement is in the record, or need not be there again.
    fn confirm(&mut self, receipt: &Receipt) {
        let NodeName::Station(seat) = &receipt.by else { return };
        if let Some(desk) = self.desks.get(seat) {
            let confirmed = || Message::Confirmed(vec![(receipt.event, receipt.stage)]);
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, confirmed())));
        }
    }

    fn routed(&mut self, now: Now, index: u64, id: EventId) {
        let Some(entry) = self.record.get(&id) else { return };
        let (class, stations) = (entry.admission.sealed.event.class, entry.admission.stations.clone());
        let mut reached = Vec::new();
        for station in &stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                desk.offer(now.mono, id, class, Some(index), false);
                reached.push(seat.clone());
            }
        }
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
    }

    fn not_committed(&mut self, command: Command, shed: bool, why: String) {
        let id = command.event();
        if let Command::Admit(admission) = command {
            // The next copy is a first one again, and is handed to the record again. Seats drop the repeat.
            self.pending.remove(&id);
            if shed {
                let relay = admission.sealed.event.relay.clone();
                let paths = self.relays.get(&relay).cloned().unwrap_or_default();
                for path in paths {
                    self.refuse(path, NodeName::Relay(relay.clone()), id, Refusal::NoRoom);
                }
            }
        }
        self.report(Report::NotStored(id, why));
    }

    fn take_plan(&mut self, plan: Plan) {
        self.plan = plan;
        let found: Vec<Command> = self
            .record
            .unrouted()
            .map(|entry| &entry.admission.sealed.event)
            .map(|event| Command::Route { event: event.id, stations: self.plan.route(event.school()).to_vec() })
            .filter(|command| matches!(command, Command::Route { stations, .. } if !stations.is_empty()))
            .collect();
        self.out.extend(found.into_iter().map(Output::Propose));
    }

    /// Sends what a seat's courier has decided to send.
    fn drain_desk(&mut self, now: Now, seat: &SeatId) {
        let Some(desk) = self.desks.get_mut(seat) else { return };
        while let Some(Transmit { key: id, path, class, .. }) = desk.courier.poll_output() {
            let (admission, receipts) = match (self.record.get(&id), self.pending.get(&id)) {
                (Some(entry), _) => (&entry.admission, entry.receipts()),
                (None, Some(pending)) => (&pending.admission, Vec::new()),
                (None, None) => {
                    // The record could not take it and its relay has not sent it again: there is nothing to send.
                    desk.settle(now.mono, &id);
                    continue;
                }
            };
            let trail = admission.trail.clone().leaving(now.wall);
            let copy = EventCopy { sealed: admission.sealed.clone(), trail, receipts };
            self.out.push_back(Output::Send(path, class, Message::Event(copy)));
        }
        let wake = desk.courier.poll_timeout();
        if let Some(old) = std::mem::replace(&mut desk.wake, wake) {
            self.desk_timers.remove(&(old, seat.clone()));
        }
        self.desk_timers.extend(wake.map(|at| (at, seat.clone())));
    }

    /// Tells a seat that it has everything, once that has become so.
    fn tell_mark(&mut self, seat: &SeatId) {
        let last = self.record.last_index();
        let Some(desk) = self.desks.get_mut(seat).filter(|desk| desk.greeted) else { return };
        let path = desk.express().next();
        if let Some(path) = path
            && let Some(index) = desk.news(last)
        {
            self.send(path, Class::P2, Message::Mark(Resume { record: self.config.record, index }));
        }
    }

    fn tell_relay(&mut self, relay: &RelayId, receipts: Vec<Receipt>) {
        let paths = self.relays.get(relay).into_iter().flatten();
        let express = paths.filter(|path| self.sessions.get(path).is_some_and(|s| s.lane == Lane::Express));
        self.out.extend(express.map(|path| Output::Send(*path, Class::P1, Message::Receipts(receipts.clone()))));
    }

    fn refuse(&mut self, path: PathId, peer: NodeName, id: EventId, refusal: Refusal) {
        self.send(path, Class::P1, Message::Refused(id, refusal));
        self.report(Report::Refused(peer, id, refusal));
    }

    fn send(&mut self, path: PathId, class: Class, message: Message) {
        self.out.push_back(Output::Send(path, class, message));
    }

    fn report(&mut self, report: Report) {
        self.out.push_back(Output::Report(report));
    }
}

/// The seats of `station` that hold sessions.
fn seats_of<'a>(
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
            Input::SessionDown(path) => self.session_down(path),
            Input::Message(path, message) => self.message(now, path, message),
            Input::Committed(index, command) => self.committed(now, index, command),
            Input::NotCommitted { command, shed, why } => self.not_committed(command, shed, why),
            Input::Plan(plan) => self.take_plan(plan),
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
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.desk_timers.first().map(|(at, _)| *at)
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn check(&self) -> Result<(), String> {
        self.record.check()?;
        for (seat, desk) in &self.desks {
            desk.courier.check().map_err(|why| format!("{seat:?}: {why}"))?;
            if desk.paths.is_empty() {
                return Err(format!("{seat:?} is listed without a session"));
            }
        }
        if let Some(id) = self.pending.keys().find(|id| self.record.get(id).is_some()) {
            return Err(format!("{id} is pending and in the record"));
        }
        let listed: usize = self.relays.values().map(BTreeSet::len).sum();
        let relays = self.sessions.values().filter(|s| matches!(s.peer, NodeName::Relay(_))).count();
        if listed != relays {
            return Err(format!("{relays} relay sessions, {listed} listed"));
        }
        Ok(())
    }
}
