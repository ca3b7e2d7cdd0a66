//! The region's side of the link to its province: alarms and what became of them go up, and what the province's officers say comes down.
//!
//! The region's leader forwards what the record says is owed ([`Admission::owed`](crate::record::Admission)), until the province's
//! record has the event and each stage that it reached; then [`Command::Forwarded`] says so in the region's record. Without a quorum
//! every node forwards the alarms that it holds itself, since nobody knows who else does.
//!
//! Invariants:
//! * Only what the record owes is forwarded, and what it owes is forwarded until the province confirms it: a change of the leader repeats
//!   some, and loses none.
//! * What the province says takes effect by the region's record, as a station's statement does. Who owns an alarm is decided there.

use std::collections::BTreeSet;

use crate::broker::machine::Broker;
use crate::broker::port::{Output, Report};
use crate::broker::upward::{Debt, ProvinceView};
use crate::courier::Transmit;
use crate::escalate::Escalate;
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId, StationId};
use crate::lane::Lane;
use crate::message::{EventCopy, Hello, Message, Refusal, WIRE_MINOR};
use crate::path::{Form, PathInfo};
use crate::receipt::{RECEIPT_WIRE_BYTES, Receipt, Stage};
use crate::record::{Command, Entry};
use crate::time::Now;

impl Broker {
    /// How the province is reached; `None` for a region without one.
    #[must_use]
    pub fn province(&self) -> Option<ProvinceView> {
        self.upward.as_ref().map(super::upward::Upward::view)
    }

    pub(super) fn province_up(&mut self, now: Now, path: PathId, node: NodeName, info: PathInfo) {
        let Some(up) = &mut self.upward else { return };
        up.path_up(now, path, node, info);
        let open = if up.is_active() { up.inquiry.newest() } else { Vec::new() };
        if info.lane == Lane::Express {
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Form::Stream, Message::Hello(hello));
            if !open.is_empty() {
                self.send(path, Class::P2, Form::Stream, Message::Inquire(open));
            }
        }
        self.drain_upward(now);
    }

    pub(super) fn province_down(&mut self, now: Now, path: PathId) {
        if let Some(up) = &mut self.upward {
            up.path_down(now, path);
        }
        self.drain_upward(now);
    }

    /// A node of the province said something.
    pub(super) fn province_said(&mut self, now: Now, path: PathId, node: &NodeName, message: Message) {
        match message {
            Message::Confirmed(stages) => self.province_has(now, stages),
            Message::Receipts(receipts) => {
                receipts.into_iter().for_each(|receipt| self.said_above(now, path, receipt));
            }
            Message::Escalate(order) => self.escalate(now, path, node, order),
            Message::Escalated(event, stations) => {
                if let Some(up) = &mut self.upward {
                    up.escalated(event, &stations);
                }
            }
            Message::Unknown(ids) => ids.into_iter().for_each(|id| self.province_lacks(now, id)),
            Message::Refused(id, refusal) => self.province_refused(now, id, refusal),
            Message::Echo(echo) => {
                if let Some(up) = &mut self.upward {
                    up.prober.echo(now, path, echo);
                }
            }
            // A newer province's words are not held against it.
            _ => {}
        }
        self.drain_upward(now);
    }

    /// What a seat of the province said of an event of this region.
    fn said_above(&mut self, now: Now, path: PathId, receipt: Receipt) {
        let (id, stage) = (receipt.event, receipt.stage);
        if !matches!(receipt.by, NodeName::Station(_)) || stage < Stage::Delivered {
            return;
        }
        let known = self.admission(&id).is_some();
        if !known && !self.record.is_archived(&id) {
            return self.send(path, Class::P1, Form::Stream, Message::Unknown(vec![id]));
        }
        if !known || self.record.get(&id).is_some_and(|entry| entry.needs_no_more(&receipt)) {
            return self.send(path, Class::P1, Form::Datagram, Message::Confirmed(vec![(id, stage)]));
        }
        self.take_statement(now, receipt);
    }

    /// Who forwards: the leader or, without a quorum, everybody.
    pub(super) fn choose_forwarder(&mut self, now: Now) {
        let forwards = self.leads || self.condition.is_some();
        let Some(up) = &mut self.upward else { return };
        let began = forwards && !up.is_active();
        up.set_active(now, forwards);
        if began {
            self.escalate_above_again(now);
        }
        // Alarms that only this node holds are owed while there is no quorum, and not before.
        self.pending.keys().copied().collect::<Vec<_>>().into_iter().for_each(|id| self.track(now, id));
        self.drain_upward(now);
    }

    /// Looks through the whole record for what is owed: at the start, and when another record has taken its place.
    pub(super) fn track_all(&mut self, now: Now) {
        let Some(up) = &mut self.upward else { return };
        let mut ids: BTreeSet<EventId> = up.ids().into_iter().collect();
        up.inquiry = crate::inquiry::Inquiry::default();
        ids.extend(self.record.entries().map(|entry| entry.admission.sealed.event.id));
        ids.extend(self.pending.keys());
        ids.into_iter().for_each(|id| self.track(now, id));
        self.escalate_above_again(now);
    }

    /// Something about this event has changed: what the province is owed of it may have as well.
    pub(super) fn track(&mut self, now: Now, id: EventId) {
        let debt = self.debt(&id);
        let Some(up) = &mut self.upward else { return };
        let settled = debt.as_ref().is_some_and(|debt| debt.missing.is_empty());
        if debt.is_none() {
            up.confirmed.remove(&id);
            up.unknown.remove(&id);
        }
        up.set(now, id, debt);
        if let Some(entry) = self.record.get(&id).filter(|entry| entry.admission.owed) {
            if entry.is_finished() || !entry.forwarded.contains(&Stage::Stored) {
                up.inquiry.remove(entry.index);
            } else {
                up.inquiry.add(now.mono, entry.index, id);
            }
        }
        if settled {
            self.settle_forwarded(now, id);
        }
        self.drain_upward(now);
    }

    fn debt(&self, id: &EventId) -> Option<Debt> {
        let up = self.upward.as_ref()?;
        let confirmed = up.confirmed.get(id);
        let has = |stage: &Stage| confirmed.is_some_and(|confirmed| confirmed.contains(stage));
        let Some(entry) = self.record.get(id) else {
            let pending = self.pending.get(id).filter(|pending| pending.admission.owed && self.condition.is_some())?;
            let sealed = &pending.admission.sealed;
            let (class, bytes) = (sealed.event.class, sealed.wire_bytes());
            let missing: BTreeSet<Stage> = [Stage::Stored].into_iter().filter(|stage| !has(stage)).collect();
            return (class <= Class::P1).then_some(Debt { class, index: u64::MAX, finished: false, missing, bytes });
        };
        let mut missing: BTreeSet<Stage> = entry.owed().into_iter().collect();
        if up.unknown.contains(id) {
            missing.insert(Stage::Stored);
            missing.extend(entry.notes.iter().map(|note| note.stage));
        }
        if missing.is_empty() {
            return None;
        }
        missing.retain(|stage| !has(stage));
        if missing.is_empty() && entry.owed().is_empty() {
            return None;
        }
        let sealed = &entry.admission.sealed;
        let event = if missing.contains(&Stage::Stored) { sealed.wire_bytes() } else { 0 };
        let bytes = event + missing.len() * RECEIPT_WIRE_BYTES;
        Some(Debt { class: sealed.event.class, index: entry.index, finished: entry.is_finished(), missing, bytes })
    }

    /// The province's record has these.
    fn province_has(&mut self, now: Now, stages: Vec<(EventId, Stage)>) {
        let mut ids = BTreeSet::new();
        for (id, stage) in stages {
            if let Some(up) = &mut self.upward
                && up.missing(&id).is_some()
            {
                up.confirmed.entry(id).or_default().insert(stage);
                ids.insert(id);
            }
        }
        ids.into_iter().for_each(|id| self.track(now, id));
    }

    /// All that the record owes of an event has come to the province: the record is told, by the leader.
    fn settle_forwarded(&mut self, now: Now, id: EventId) {
        let (Some(up), Some(entry)) = (&mut self.upward, self.record.get(&id)) else { return };
        let confirmed = up.confirmed.get(&id);
        let stages: Vec<Stage> =
            entry.owed().into_iter().filter(|stage| confirmed.is_some_and(|has| has.contains(stage))).collect();
        if stages.is_empty() || !self.leads || self.condition.is_some() {
            return;
        }
        up.settle_later(now);
        self.out.push_back(Output::Propose(Command::Forwarded { event: id, stages }));
    }

    /// The province does not know an event, whatever the record says.
    fn province_lacks(&mut self, now: Now, id: EventId) {
        let owed = self.record.get(&id).is_some_and(|entry| entry.admission.owed);
        let Some(up) = &mut self.upward else { return };
        if !owed {
            // It is not to be forwarded, or left the record: then nobody there can be told of it either.
            return up.forget_escalations(&id);
        }
        up.confirmed.remove(&id);
        up.unknown.insert(id);
        self.track(now, id);
    }

    fn province_refused(&mut self, now: Now, id: EventId, refusal: Refusal) {
        if let Some(up) = &mut self.upward
            && up.refuse(now, id)
        {
            self.report(Report::NotForwarded(id, refusal));
        }
    }

    /// Does what has become due on the way up.
    pub(super) fn forward_due(&mut self, now: Now) {
        let Some(up) = &mut self.upward else { return };
        let settle = up.handle_timeout(now);
        let express: Vec<PathId> = up.express().collect();
        if up.is_active()
            && let Some((path, ids)) = up.inquiry.due(now.mono, &express)
        {
            self.send(path, Class::P2, Form::Stream, Message::Inquire(ids));
        }
        if settle && let Some(up) = &self.upward {
            let confirmed: Vec<EventId> = up.confirmed.keys().copied().collect();
            confirmed.into_iter().for_each(|id| self.settle_forwarded(now, id));
        }
        self.drain_upward(now);
    }

    /// Tells the province that more stations are to see an event, until it says that it knows.
    pub(super) fn escalate_above(&mut self, now: Now, order: Escalate) {
        let owed = self.record.get(&order.event).is_some_and(|entry| entry.admission.owed);
        let Some(up) = self.upward.as_mut().filter(|up| owed && up.is_active()) else { return };
        up.escalate(now, order);
        self.drain_upward(now);
    }

    /// The node begins to forward: the one before may have been on its way with these.
    fn escalate_above_again(&mut self, now: Now) {
        let open = self.record.unfinished().filter(|entry| entry.admission.owed && !entry.escalations.is_empty());
        let orders: Vec<Escalate> = open.flat_map(orders_of).collect();
        orders.into_iter().for_each(|order| self.escalate_above(now, order));
    }

    /// Sends what is to go up now.
    pub(super) fn drain_upward(&mut self, now: Now) {
        let Some(up) = &mut self.upward else { return };
        while let Some(Transmit { key: id, path, class, form, .. }) = up.poll_output() {
            let missing = up.missing(&id).cloned().unwrap_or_default();
            let admission = match (self.record.get(&id), self.pending.get(&id)) {
                (Some(entry), _) => &entry.admission,
                (None, Some(pending)) => &pending.admission,
                (None, None) => {
                    up.set(now, id, None);
                    continue;
                }
            };
            let notes = self.record.get(&id).map(|entry| first_of_each(entry, &missing)).unwrap_or_default();
            let message = if missing.contains(&Stage::Stored) {
                let (sealed, trail) = (admission.sealed.clone(), admission.trail.clone().leaving(now.wall));
                Message::Event(EventCopy { sealed, trail, receipts: notes })
            } else {
                Message::Receipts(notes)
            };
            self.out.push_back(Output::Send(path, class, form, message));
        }
        while let Some((path, number)) = up.prober.poll_output() {
            self.out.push_back(Output::Send(path, Class::P1, Form::Datagram, Message::Probe(number)));
        }
        let express: Vec<PathId> = up.express().collect();
        for order in up.escalations_due(now) {
            let send = |path| Output::Send(path, Class::P1, Form::Stream, Message::Escalate(order.clone()));
            self.out.extend(express.iter().copied().map(send));
        }
        if up.poll_race(now) {
            self.out.push_back(Output::RaceProvince);
        }
    }
}

/// What stations said of an event, the first of each of these stages: of acknowledgements, the owner's.
fn first_of_each(entry: &Entry, stages: &BTreeSet<Stage>) -> Vec<Receipt> {
    stages.iter().filter_map(|stage| entry.notes.iter().find(|note| note.stage == *stage)).cloned().collect()
}

/// How stations were added to an event, as it is told to others.
pub(super) fn orders_of(entry: &Entry) -> impl Iterator<Item = Escalate> + '_ {
    entry.escalations.iter().map(|escalation| Escalate {
        event: entry.admission.sealed.event.id,
        stations: escalation.stations.clone(),
        by: escalation.by.clone(),
        officer: escalation.officer.clone(),
        at: escalation.at,
        note: escalation.note.clone(),
    })
}

/// Those of `wanted` that an event is for.
pub(super) fn those_of(entry: &Entry, wanted: &[StationId]) -> Vec<StationId> {
    wanted.iter().filter(|station| entry.admission.stations.contains(station)).cloned().collect()
}
