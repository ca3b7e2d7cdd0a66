//! The machine itself: its state, and who may say what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::Machine;
use crate::broker::cases::CaseOrders;
use crate::broker::climbs::Climbs;
use crate::broker::commands::Commands;
use crate::broker::desk::{Desk, DeskView};
use crate::broker::drill_orders::DrillOrders;
use crate::broker::drills::Drills;
use crate::broker::endings::Endings;
use crate::broker::gate::Gate;
use crate::broker::pictures::Watching;
use crate::broker::plans::Plans;
use crate::broker::port::{BrokerConfig, Input, JournalId, Output, Report};
use crate::broker::recall::Recalls;
use crate::broker::regions::Regions;
use crate::broker::timers::Timers;
use crate::broker::upward::Upward;
use crate::broker::waiting::{Wait, Waiting};
use crate::event::Class;
use crate::id::{EventId, Name, NodeName, PathId, RelayId, SeatId, StationId};
use crate::message::{Degraded, Echo, Message};
use crate::path::Form;
use crate::plan::Plan;
use crate::receipt::Stage;
use crate::record::{Admission, Command, RecordState};
use crate::rng::Rng;
use crate::signature::Verifier;
use crate::supervision::{Presence, PresenceAsk, PresencePart};
use crate::time::{Now, Timestamp};
use crate::trouble::Numbers;

/// An event that the record does not hold yet.
pub(super) struct Pending {
    pub(super) admission: Admission,
    pub(super) offered: BTreeSet<SeatId>,
    pub(super) wait: Wait,
}

impl Pending {
    pub(super) fn new(admission: Admission, wait: Wait) -> Self {
        Self { admission, offered: BTreeSet::new(), wait }
    }
}

pub(super) struct Session {
    pub(super) peer: NodeName,
    pub(super) expired: bool,
    /// Whether the peer is told this node's condition with the answer to its next probe: the first word may have been overtaken.
    pub(super) repeats_condition: bool,
}

/// A broker node's machine.
pub struct Broker {
    pub(super) config: BrokerConfig,
    pub(super) me: NodeName,
    /// What the node's own file says: in force until the record has a plan.
    pub(super) file_plan: Arc<Plan>,
    pub(super) record: RecordState,
    pub(super) pending: BTreeMap<EventId, Pending>,
    pub(super) pending_of: BTreeMap<RelayId, usize>,
    pub(super) waiting: Waiting,
    pub(super) recalls: Recalls,
    pub(super) cases: CaseOrders,
    pub(super) commands: Commands,
    /// By which signatures of commands and alarms are checked; without it that is left to the schools and the seats.
    pub(super) verifier: Option<Arc<dyn Verifier>>,
    pub(super) watching: Watching,
    /// That it is without a quorum.
    pub(super) condition: Option<Degraded>,
    pub(super) leads: bool,
    pub(super) sessions: BTreeMap<PathId, Session>,
    pub(super) relays: BTreeMap<RelayId, Gate>,
    pub(super) desks: BTreeMap<SeatId, Desk>,
    /// Who came and went lately, for the other nodes.
    pub(super) presence: Presence,
    pub(super) timers: Timers,
    pub(super) route_again_at: Option<Timestamp>,
    /// Relays that are to be told of their school's plan.
    pub(super) plans: Plans,
    /// Alarms that nobody has taken.
    pub(super) climbs: Climbs,
    /// Drills, and whom this node tells of them.
    pub(super) drills: Drills,
    pub(super) drill_orders: DrillOrders,
    /// Tests and drills whose cases close by themselves.
    pub(super) endings: Endings,
    /// The numbers of relays' events, as the record took them in.
    pub(super) numbers: Numbers,
    /// The way to the province, if this region has one.
    pub(super) upward: Option<Upward>,
    /// The regions that may forward to this one.
    pub(super) accepted: BTreeSet<Name>,
    /// Those of them that hold sessions.
    pub(super) regions: Regions,
    pub(super) out: VecDeque<Output>,
    pub(super) rng: Rng,
}

impl Broker {
    /// A node with what its record and its journal held when it stopped. What the log has beyond that comes as [`Input::Committed`].
    #[must_use]
    pub fn new(config: BrokerConfig, plan: Plan, record: RecordState, journal: Vec<(JournalId, Command)>) -> Self {
        let me = NodeName::Broker { region: config.region.clone(), node: config.node.clone() };
        let mut broker = Self {
            me,
            rng: Rng::new(config.seed),
            file_plan: Arc::new(plan),
            record,
            pending: BTreeMap::new(),
            pending_of: BTreeMap::new(),
            waiting: Waiting::default(),
            recalls: Recalls::default(),
            cases: CaseOrders::default(),
            commands: Commands::default(),
            verifier: None,
            watching: Watching::default(),
            condition: None,
            leads: false,
            sessions: BTreeMap::new(),
            relays: BTreeMap::new(),
            desks: BTreeMap::new(),
            presence: Presence::new(config.seed),
            timers: Timers::default(),
            route_again_at: None,
            plans: Plans::default(),
            climbs: Climbs::default(),
            drills: Drills::default(),
            drill_orders: DrillOrders::default(),
            endings: Endings::default(),
            numbers: Numbers::new(Timestamp::default()),
            upward: None,
            accepted: BTreeSet::new(),
            regions: Regions::new(),
            out: VecDeque::new(),
            config,
        };
        let seed = broker.rng.next_u64();
        let province = broker.config.province.as_ref().map(|province| province.region.clone());
        broker.upward = province.map(|region| Upward::new(region, seed));
        // Without a session yet, the time is of no account.
        broker.track_all(Now::default());
        broker.drills_anew(Now::default());
        broker.recall_numbers(Timestamp::default());
        broker.propose_routes();
        broker.take_journal(journal);
        broker
    }

    /// The same for a province that takes events from these regions.
    #[must_use]
    pub fn accepting(mut self, regions: BTreeSet<Name>) -> Self {
        self.accepted = regions;
        self
    }

    /// The same, checking the signatures of commands and of alarms by `verifier` as they come.
    #[must_use]
    pub fn verifying(mut self, verifier: Arc<dyn Verifier>) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// The record.
    #[must_use]
    pub fn record(&self) -> &RecordState {
        &self.record
    }

    /// Since when and why it is without a quorum; `None` if it has one.
    #[must_use]
    pub fn condition(&self) -> Option<&Degraded> {
        self.condition.as_ref()
    }

    /// Whether this node leads its region.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.leads
    }

    /// Events, and statements about events, that came to this node and are not in the record yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.pending.len() + self.waiting.len()
    }

    /// The plan in force: the record's or, as long as that has none, what the node's own file says.
    #[must_use]
    pub fn plan(&self) -> &Arc<Plan> {
        let recorded = self.record.plan();
        if recorded.version() > 0 { recorded.plan() } else { &self.file_plan }
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

    /// Who holds sessions with this node, as far as whoever asks so does not know.
    #[must_use]
    pub fn presence(&self, ask: &PresenceAsk) -> PresencePart {
        let after = ask.after.as_ref().filter(|_| self.presence.goes_on(ask));
        let (relay, seat) = match after {
            None => (Bound::Unbounded, Some(Bound::Unbounded)),
            Some(NodeName::Relay(relay)) => (Bound::Excluded(relay), Some(Bound::Unbounded)),
            Some(NodeName::Broker { .. }) => (Bound::Unbounded, None),
            Some(NodeName::Station(seat)) => (Bound::Unbounded, Some(Bound::Excluded(seat))),
        };
        // All relays stand before all seats.
        let relays = matches!(after, None | Some(NodeName::Relay(_)))
            .then(|| self.relays.range::<RelayId, _>((relay, Bound::Unbounded)));
        let seats = seat.map(|seat| self.desks.range::<SeatId, _>((seat, Bound::Unbounded)));
        let relays = relays.into_iter().flatten().map(|(relay, _)| NodeName::Relay(relay.clone()));
        let heard = seats.into_iter().flatten().filter(|(_, desk)| desk.audible);
        let seats = heard.map(|(seat, _)| NodeName::Station(seat.clone()));
        self.presence.answer(ask, relays.chain(seats))
    }

    fn message(&mut self, now: Now, path: PathId, message: Message) {
        let Some(session) = self.sessions.get(&path) else { return };
        let (peer, expired) = (session.peer.clone(), session.expired);
        let tells = session.repeats_condition || self.condition.is_some();
        self.heard(now, path, &peer);
        if let Message::Probe(number) = message {
            let echo = Echo { number, received: now.wall, sent: now.wall };
            self.send(path, Class::P1, Form::Datagram, Message::Echo(echo));
            if tells {
                self.tell_condition(path, Form::Datagram);
            }
            return;
        }
        match (peer, message) {
            (NodeName::Relay(relay), Message::Event(copy)) => self.event(now, path, &relay, expired, copy),
            (NodeName::Relay(relay), Message::Inquire(ids)) => self.inquired(path, &relay, &ids),
            (NodeName::Relay(relay), Message::Confirmed(heard)) => self.reached_relay(now, &relay, heard),
            (NodeName::Relay(relay), Message::Hello(hello)) => {
                if let Some(gate) = self.relays.get_mut(&relay) {
                    gate.minor = hello.wire_minor;
                }
                self.offer_commands(now, &relay);
                self.tell_if_degraded(path);
                self.plan_greeted(now, &relay);
                self.relay_greeted(now, &relay);
            }
            (NodeName::Relay(relay), Message::PlanKept(mark)) => self.plan_kept(now, &relay, mark),
            (NodeName::Station(seat), Message::Hello(hello)) => {
                if let Some(desk) = self.desks.get_mut(&seat) {
                    desk.minor = hello.wire_minor;
                }
                self.tell_if_degraded(path);
                self.greeted(now, path, &seat, hello.resume);
                self.tell_commands(path, &seat);
            }
            (NodeName::Station(seat), Message::SeatState { audible }) => self.seat_state(seat, audible),
            (NodeName::Station(seat), Message::Inquire(ids)) => self.asked(path, &seat, &ids),
            (NodeName::Station(seat), Message::Receipts(receipts)) => {
                receipts.into_iter().for_each(|receipt| self.said(now, path, &seat, receipt));
            }
            (NodeName::Relay(relay), Message::CommandReceipts(receipts)) => {
                self.command_receipts(now, path, &relay, receipts);
            }
            (NodeName::Station(seat), Message::CommandOrder(sealed)) => self.command_ordered(now, path, &seat, *sealed),
            (NodeName::Station(seat), Message::NoticeAsk(id, after)) => self.notice_asked(path, &seat, id, after),
            (NodeName::Relay(relay), Message::Pictures(said)) => self.pictured(now, path, &relay, said),
            (NodeName::Station(seat), Message::Look(look)) => self.looked(now, &seat, look),
            (NodeName::Station(seat), Message::CaseAsk(event, after)) => self.case_asked(path, &seat, event, after),
            (NodeName::Station(seat), Message::Case(order)) => self.case_ordered(now, path, &seat, *order),
            (NodeName::Relay(relay), Message::DrillHeard(id)) => self.drill_heard(&relay, &id),
            (NodeName::Station(seat), Message::DrillOrder(order)) => self.drill_ordered(now, path, &seat, *order),
            (NodeName::Station(seat), Message::Escalate(order)) => {
                self.escalate(now, path, &NodeName::Station(seat), order);
            }
            (NodeName::Broker { region, node }, message) => {
                let above = self.is_province(&region);
                let peer = NodeName::Broker { region, node };
                if above {
                    self.province_said(now, path, &peer, message);
                } else {
                    self.region_said(now, path, (peer, expired), message);
                }
            }
            (peer, _) => self.report(Report::Improper(peer, "a message that its role does not send")),
        }
    }

    /// A peer has said something: its courier takes that for a sign of life.
    fn heard(&mut self, now: Now, path: PathId, peer: &NodeName) {
        match peer {
            NodeName::Relay(relay) => {
                if let Some(gate) = self.relays.get_mut(relay) {
                    gate.heard(now, path);
                    self.drain_gate(now, relay);
                }
            }
            NodeName::Station(seat) => {
                if let Some(desk) = self.desks.get_mut(seat) {
                    desk.courier.heard(now.mono, path);
                    self.drain_desk(now, seat);
                }
            }
            NodeName::Broker { region, .. } if self.is_province(region) => {
                if let Some(up) = &mut self.upward {
                    up.heard(now, path);
                }
                self.drain_upward(now);
            }
            NodeName::Broker { region, .. } => self.region_heard(now, path, region),
        }
    }

    /// A relay has these receipts.
    fn reached_relay(&mut self, now: Now, relay: &RelayId, heard: Vec<(EventId, Stage)>) {
        if let Some(gate) = self.relays.get_mut(relay) {
            heard.into_iter().for_each(|key| gate.confirmed(now, key));
            self.drain_gate(now, relay);
        }
    }

    pub(super) fn send(&mut self, path: PathId, class: Class, form: Form, message: Message) {
        self.out.push_back(Output::Send(path, class, form, message));
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
            Input::SessionUp { path, peer, info, expired } => self.session_up(now, path, peer, info, expired),
            Input::SessionDown(path) => self.session_down(now, path),
            Input::Message(path, message) => self.message(now, path, message),
            Input::Committed { index, command, replayed } => self.committed(now, index, command, replayed),
            Input::NotCommitted { command, why } => self.not_committed(now, &command, &why),
            Input::Quorum(degraded) => {
                self.quorum(now, degraded);
                self.choose_forwarder(now);
                self.follow_all(now);
                self.follow_commands(now);
            }
            Input::Leads(leads) => {
                self.leads = leads;
                self.choose_forwarder(now);
                self.follow_all(now);
                self.mind_all(now);
                self.drills_led(now);
                self.follow_commands(now);
            }
            Input::Restored(record) => {
                self.restored(now, *record);
                self.recall_numbers(now.mono);
                self.track_all(now);
                self.follow_all(now);
                self.mind_all(now);
                self.follow_commands(now);
            }
            Input::Snapshot(ticket) => self.out.push_back(Output::Snapshot(ticket, Box::new(self.record.clone()))),
            Input::Journalled(id) => self.journalled(now, id),
            Input::JournalFailed(id, why) => self.journal_failed(id, why),
            Input::Recalled(ticket, entries) => self.recalled(ticket, &entries),
            Input::Plan(plan) => self.take_plan(now, plan),
            Input::Troubles(told) => self.troubles(now, told),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        for peer in self.timers.due(now.mono) {
            match peer {
                NodeName::Station(seat) => {
                    if let Some(desk) = self.desks.get_mut(&seat) {
                        desk.courier.handle_timeout(now.mono);
                    }
                    self.drain_desk(now, &seat);
                }
                NodeName::Relay(relay) => {
                    if let Some(gate) = self.relays.get_mut(&relay) {
                        gate.handle_timeout(now);
                    }
                    self.drain_gate(now, &relay);
                }
                NodeName::Broker { .. } => {}
            }
        }
        self.forward_due(now);
        self.regions_due(now);
        if self.route_again_at.is_some_and(|at| at <= now.mono) {
            self.route_again_at = None;
            self.propose_routes();
        }
        self.look_at_waiting(now);
        self.climbs_due(now);
        self.look_at_cases(now);
        self.tell_plans(now);
        self.drills_due(now);
        self.look_at_drill_orders(now);
        self.endings_due(now);
        self.look_at_commands(now);
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        let levels = [self.upward.as_ref().and_then(Upward::poll_timeout), self.regions_timeout()];
        let drills = [self.drills.poll_timeout(), self.drill_orders.poll_timeout(), self.endings.poll_timeout()];
        let own = [
            self.route_again_at,
            self.waiting.again_at,
            self.climbs.poll_timeout(),
            self.cases.poll_timeout(),
            self.plans.poll_timeout(),
            self.commands.poll_timeout(),
        ];
        self.timers.next().into_iter().chain(own.into_iter().chain(levels).chain(drills).flatten()).min()
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.next_output()
    }

    fn check(&self) -> Result<(), String> {
        self.check_whole()
    }
}
