//! The record's side: what its engine has made durable takes effect, and those whom it concerns are told.

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{Output, Report};
use crate::event::{Class, Text};
use crate::id::{EventId, NodeName};
use crate::message::{Message, Refusal};
use crate::path::Form;
use crate::plan::Plan;
use crate::receipt::{Receipt, Stage};
use crate::record::{Command, Effect};
use crate::time::{Now, Span};

/// How long after the engine could not take a route it is handed to it again.
const ROUTE_AGAIN_AFTER: Span = Span::from_secs(5);

impl Broker {
    pub(super) fn committed(&mut self, now: Now, index: u64, command: Command) {
        let statement = match &command {
            Command::Note(receipt) => Some(receipt.clone()),
            Command::Admit(_) | Command::Route { .. } => None,
        };
        match self.record.apply(index, command) {
            Effect::Admitted(id) => self.admitted(now, index, id),
            Effect::Noted(receipt) => self.noted(now, &receipt),
            Effect::Routed(id) => self.routed(now, index, id),
            Effect::Nothing => {}
        }
        if let Some(receipt) = statement {
            self.done_noting(&receipt);
            self.confirm(&receipt);
        }
        self.forget_old();
    }

    /// Keeps the record within its size, and tells the log what it may forget.
    pub(super) fn forget_old(&mut self) {
        let forgotten = self.record.evict();
        if !forgotten.is_empty() {
            self.out.push_back(Output::Forget(forgotten));
        }
    }

    fn done_noting(&mut self, receipt: &Receipt) {
        if let NodeName::Station(seat) = &receipt.by {
            self.noting.remove(&(receipt.event, receipt.stage, seat.clone()));
        }
    }

    fn admitted(&mut self, now: Now, index: u64, id: EventId) {
        let offered = self.no_longer_pending(&id).map(|pending| pending.offered).unwrap_or_default();
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
            skew: None,
        };
        self.tell_relay(now, &event.relay, event.class, &stored);
        let mut reached = Vec::new();
        for station in &admission.stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                // What was offered on the express lane and is no longer carried has been delivered meanwhile.
                if !offered.contains(seat) || desk.courier.carries(&id) {
                    desk.offer(now.mono, id, (event.class, admission.sealed.wire_bytes()), Some(index), false);
                    reached.push(seat.clone());
                }
            }
        }
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
        self.report(Report::Stored(admission.sealed));
        if admission.stations.is_empty() {
            // A plan that came while the record was at work may know a station by now.
            self.propose_route(id);
        }
    }

    fn noted(&mut self, now: Now, receipt: &Receipt) {
        let Some(entry) = self.record.get(&receipt.event) else { return };
        let (sealed, stations) = (entry.admission.sealed.clone(), entry.admission.stations.clone());
        let late = entry.earlier_owner(receipt).is_some();
        self.report(Report::Noted(sealed.clone(), receipt.clone()));
        if late {
            // The one who came too late learns whose it is; nobody else need know.
            return;
        }
        // Said before, as far as this node heard it from the seat itself; another node may have, and the relay not.
        self.tell_relay(now, &sealed.event.relay, sealed.event.class, receipt);
        if receipt.stage < Stage::Displayed {
            return;
        }
        for station in &stations {
            let others = seats_of(&mut self.desks, station);
            for (_, desk) in others.filter(|(seat, _)| !matches!(&receipt.by, NodeName::Station(by) if by == *seat)) {
                let send = |path| Output::Send(path, Class::P1, Form::Stream, Message::Receipts(vec![receipt.clone()]));
                self.out.extend(desk.express().map(send));
            }
        }
    }

    /// What a seat is told of a statement that it need not make again: that it is on record or, where somebody else took the alarm
    /// first, who did. `None` while the record does not hold the event: it may yet come, and then the statement is needed.
    pub(super) fn settled(&self, statement: &Receipt) -> Option<Message> {
        let entry = self.record.get(&statement.event).filter(|entry| entry.needs_no_more(statement))?;
        Some(match entry.earlier_owner(statement) {
            Some(owner) => Message::Receipts(vec![owner.clone()]),
            None => Message::Confirmed(vec![(statement.event, statement.stage)]),
        })
    }

    fn confirm(&mut self, receipt: &Receipt) {
        let NodeName::Station(seat) = &receipt.by else { return };
        if let Some(answer) = self.settled(receipt)
            && let Some(desk) = self.desks.get(seat)
        {
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, Form::Datagram, answer.clone())));
        }
    }

    fn routed(&mut self, now: Now, index: u64, id: EventId) {
        let Some(entry) = self.record.get(&id) else { return };
        let sealed = &entry.admission.sealed;
        let (class, bytes, stations) = (sealed.event.class, sealed.wire_bytes(), entry.admission.stations.clone());
        let mut reached = Vec::new();
        for station in &stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                desk.offer(now.mono, id, (class, bytes), Some(index), false);
                reached.push(seat.clone());
            }
        }
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
    }

    pub(super) fn not_committed(&mut self, now: Now, command: Command, shed: bool, why: String) {
        let id = command.event();
        match command {
            Command::Admit(admission) => {
                // The next copy is a first one again, and is handed to the record again. Seats drop the repeat.
                self.no_longer_pending(&id);
                let relay = admission.sealed.event.relay.clone();
                let gate = self.relays.get(&relay).filter(|_| shed);
                let paths: Vec<_> = gate.into_iter().flat_map(|gate| gate.paths.keys().copied()).collect();
                for path in paths {
                    self.refuse(path, NodeName::Relay(relay.clone()), id, Refusal::NoRoom);
                }
            }
            Command::Note(receipt) => self.done_noting(&receipt),
            Command::Route { .. } => self.route_again_at = Some(now.mono + ROUTE_AGAIN_AFTER),
        }
        self.report(Report::NotStored(id, why));
    }

    /// A plan comes into force. What has a station keeps it; what has none gets one, if the plan knows any.
    pub(super) fn take_plan(&mut self, now: Now, plan: Plan) {
        self.plan = plan;
        self.propose_routes();
        let mut routed = Vec::new();
        for (id, pending) in self.pending.iter_mut().filter(|(_, pending)| pending.admission.stations.is_empty()) {
            pending.admission.stations = self.plan.route(pending.admission.sealed.event.school()).to_vec();
            routed.push((pending.admission.sealed.event.class, *id));
        }
        routed.sort_unstable();
        routed.into_iter().for_each(|(_, id)| self.express(now, id));
    }

    pub(super) fn propose_routes(&mut self) {
        let unrouted: Vec<EventId> = self.record.unrouted().map(|entry| entry.admission.sealed.event.id).collect();
        unrouted.into_iter().for_each(|id| self.propose_route(id));
    }

    fn propose_route(&mut self, id: EventId) {
        let Some(entry) = self.record.get(&id) else { return };
        let stations = self.plan.route(entry.admission.sealed.event.school()).to_vec();
        if !stations.is_empty() {
            self.out.push_back(Output::Propose(Command::Route { event: id, stations }));
        }
    }
}
