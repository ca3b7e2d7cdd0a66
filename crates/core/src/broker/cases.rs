//! Officers' orders about cases: they go to the record's engine, and whoever said one is answered when the record has it.
//!
//! A step of a case is in the record or nowhere: unlike an acknowledgement it is not journalled and never provisional. Without a quorum an order is
//! refused by name, unless this node has proposed it before: then nobody knows, and the seat hears nothing until somebody does.
//!
//! Invariants:
//! * At most [`limits::BROKER_CASE_ORDERS`] orders wait; those of more get no answer, and are said again by their seats.
//! * An order is judged by the record alone, where all nodes judge it alike: this node's view may be old.

use std::collections::BTreeMap;

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{NotCommitted, Output, Report};
use crate::broker::waiting::{AGAIN_AFTER, AGAIN_IN_DOUBT, AGAIN_SOON};
use crate::case::{ActionId, CaseOrder, CaseRefusal, Step, Summary, Verb};
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId, SeatId};
use crate::limits;
use crate::message::{CASES_SINCE, Message};
use crate::path::Form;
use crate::record::{Acted, Bond, Command, Entry};
use crate::time::{Now, Timestamp, WallTime};

/// The orders that wait for the record.
#[derive(Debug, Default)]
pub(super) struct CaseOrders {
    open: BTreeMap<ActionId, Open>,
    again_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Open {
    order: CaseOrder,
    heard: WallTime,
    /// When it was proposed last; `None` if that is known to have come to nothing.
    proposed: Option<Timestamp>,
    /// When it is given up, unless its seat says it again.
    until: Timestamp,
}

impl CaseOrders {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.again_at
    }

    fn look_at(&mut self, at: Timestamp) {
        self.again_at = Some(self.again_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.open.len() > limits::BROKER_CASE_ORDERS || self.again_at.is_some() == self.open.is_empty() {
            return Err(format!("{} orders about cases wait, to be looked at at {:?}", self.open.len(), self.again_at));
        }
        Ok(())
    }
}

impl Broker {
    /// A seat says an order.
    pub(super) fn case_ordered(&mut self, now: Now, path: PathId, seat: &SeatId, order: CaseOrder) {
        let me = NodeName::Station(seat.clone());
        if order.by != me || order.id == ActionId::NONE {
            return self
                .report(Report::Improper(me, "an order about a case in somebody else's name, or without an id"));
        }
        let (id, event) = (order.id, order.event);
        let entry = self.record.get(&self.record.root_of(&event));
        if let Some((entry, outcome)) = entry.and_then(|entry| Some((entry, entry.outcome(&order)?))) {
            let answer = answer(id, entry, outcome);
            return self.send(path, Class::P1, Form::Stream, answer);
        }
        if self.record.is_archived(&event) {
            return self.recall_order(path, order);
        }
        let refusal = if !self.admission(&event).is_some_and(|admission| admission.stations.contains(&seat.station)) {
            Some(CaseRefusal::Unknown)
        } else if self.condition.is_some() && !self.cases.open.contains_key(&id) {
            Some(CaseRefusal::NoQuorum)
        } else {
            None
        };
        if let Some(why) = refusal {
            return self.send(path, Class::P1, Form::Stream, Message::CaseRefused(id, why, None));
        }
        let until = now.mono + limits::CASE_ORDER_TIMEOUT;
        if let Some(open) = self.cases.open.get_mut(&id) {
            open.until = until;
        } else if self.cases.open.len() < limits::BROKER_CASE_ORDERS {
            self.cases.open.insert(id, Open { order, heard: now.wall, proposed: None, until });
            self.propose_case(now, id);
        }
    }

    fn propose_case(&mut self, now: Now, id: ActionId) {
        let Some(open) = self.cases.open.get_mut(&id) else { return };
        open.proposed = Some(now.mono);
        let command = Command::Case { order: Box::new(open.order.clone()), heard: open.heard };
        self.cases.look_at(now.mono + AGAIN_AFTER);
        self.out.push_back(Output::Propose(command));
    }

    /// An order is in the record, carried out or refused.
    pub(super) fn case_acted(&mut self, now: Now, index: u64, order: &CaseOrder, acted: &Acted, entry: &Entry) {
        let (id, event) = (order.id, order.event);
        self.no_longer_open(&id);
        let answer = answer(id, entry, acted.outcome);
        if let NodeName::Station(seat) = &order.by
            && let Some(desk) = self.desks.get(seat)
        {
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, Form::Stream, answer.clone())));
        }
        if !acted.stations.is_empty() {
            self.routed(now, index, event, &acted.stations);
            self.escalation_committed(now, event);
        }
    }

    /// A command about a case changed nothing: its event is not in the record.
    pub(super) fn case_of_nothing(&mut self, order: &CaseOrder) {
        if !self.record.is_archived(&order.event) || !self.no_longer_open(&order.id) {
            return;
        }
        if let NodeName::Station(seat) = &order.by
            && let Some(desk) = self.desks.get(seat)
        {
            let refused = Message::CaseRefused(order.id, CaseRefusal::Archived, None);
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, Form::Stream, refused.clone())));
        }
    }

    /// An order is not in the record yet.
    pub(super) fn case_not_committed(&mut self, now: Now, order: &CaseOrder, why: &NotCommitted) {
        let Some(open) = self.cases.open.get_mut(&order.id) else { return };
        open.proposed = None;
        let soon = if *why == NotCommitted::NoQuorum { AGAIN_SOON } else { AGAIN_IN_DOUBT };
        self.cases.look_at(now.mono + soon);
    }

    /// Proposes again what is due, and gives up what its seat no longer says.
    pub(super) fn look_at_cases(&mut self, now: Now) {
        if self.cases.again_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.cases.open.retain(|_, open| open.until > now.mono);
        self.cases.again_at = (!self.cases.open.is_empty()).then(|| now.mono + AGAIN_AFTER);
        if self.condition.is_some() {
            return;
        }
        let due = |open: &Open| open.proposed.is_none_or(|at| now.mono.since(at) >= AGAIN_AFTER);
        let due: Vec<ActionId> = self.cases.open.iter().filter(|(_, open)| due(open)).map(|(id, _)| *id).collect();
        due.into_iter().for_each(|id| self.propose_case(now, id));
    }

    /// Another record has taken the place of this node's: what waits and is there is answered.
    pub(super) fn look_for_cases(&mut self, now: Now) {
        let known = |open: &Open| {
            let entry = self.record.shared(&self.record.root_of(&open.order.event))?;
            let outcome = entry.outcome(&open.order)?;
            Some((open.order.clone(), outcome, entry))
        };
        let known: Vec<_> = self.cases.open.values().filter_map(known).collect();
        for (order, outcome, entry) in known {
            let acted = Acted { outcome, changed: false, stations: Vec::new() };
            self.case_acted(now, 0, &order, &acted, &entry);
        }
        // What left with its event is looked up in the archive when its seat says it again.
        let record = &self.record;
        self.cases.open.retain(|_, open| !record.is_archived(&open.order.event));
        if self.cases.open.is_empty() {
            self.cases.again_at = None;
        }
    }

    fn no_longer_open(&mut self, id: &ActionId) -> bool {
        let was = self.cases.open.remove(id).is_some();
        if self.cases.open.is_empty() {
            self.cases.again_at = None;
        }
        was
    }

    /// Tells all seats that have an alarm how its case stands.
    pub(super) fn tell_case(&mut self, entry: &Entry) {
        let Some(summary) = entry.summary().filter(|_| !is_plain(entry)) else { return };
        let message = Message::Cases(vec![summary]);
        for station in &entry.admission.stations {
            for (_, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.minor >= CASES_SINCE) {
                let send = |path| Output::Send(path, Class::P1, Form::Stream, message.clone());
                self.out.extend(desk.express().map(send));
            }
        }
    }

    /// A seat wants to read what was done about an alarm of its station.
    pub(super) fn case_asked(&mut self, path: PathId, seat: &SeatId, event: EventId, after: u64) {
        if self.record.is_archived(&event) {
            return self.recall_steps(path, event, after);
        }
        // A node that does not have it (yet) leaves the answer to others.
        let entry = self.record.get(&event).filter(|entry| entry.admission.stations.contains(&seat.station));
        if let Some(answer) = entry.map(|entry| page(entry, after)) {
            self.send(path, Class::P2, Form::Stream, answer);
        }
    }

    /// A seat has come, and has the record up to `index`: it is told of the cases of its alarms that are open and of those that were closed since
    /// then, the newest of them. What an acknowledgement says it knows from that.
    pub(super) fn tell_cases(&mut self, path: PathId, seat: &SeatId, index: u64) {
        if self.desks.get(seat).is_none_or(|desk| desk.minor < CASES_SINCE) {
            return;
        }
        let mut news: Vec<(u64, &Entry)> = Vec::new();
        for (_, entry) in self.record.for_station(&seat.station, 0) {
            let last = entry.case.history.last().map_or(entry.index, |step| step.index);
            if !is_plain(entry) && (!entry.is_closed() || last > index) {
                news.push((last, entry));
            }
        }
        news.sort_by_key(|(last, _)| std::cmp::Reverse(*last));
        let told: Vec<Summary> =
            news.into_iter().take(limits::CASES_TOLD).filter_map(|(_, entry)| entry.summary()).collect();
        for part in told.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P2, Form::Stream, Message::Cases(part.to_vec()));
        }
    }
}

/// Whether the receipts say all of it: that an officer has it, or nobody.
fn is_plain(entry: &Entry) -> bool {
    let taken = |step: &Step| step.number == 1 && step.action.verb() == Verb::Acknowledge;
    let alone = entry.bond == Bond::Alone && entry.presses == 0;
    alone && !entry.case.cancel_requested && entry.case.history.last().is_none_or(taken)
}

/// The steps of a case behind number `after`: as many as go in one frame.
pub(super) fn page(entry: &Entry, after: u64) -> Message {
    let history = &entry.case.history;
    let mut room = limits::CASE_PART_BYTES;
    let behind = history.steps().skip(usize::try_from(after).unwrap_or(usize::MAX)).take(limits::LIST_ITEMS);
    let fits = |step: &&Step| {
        let weight = step.weight();
        let fits = weight <= room;
        room = room.saturating_sub(weight);
        fits
    };
    let steps = behind.take_while(fits).cloned().collect();
    Message::CaseSteps(entry.admission.sealed.event.id, steps, entry.case.steps())
}

/// What whoever said an order is told.
pub(super) fn answer(id: ActionId, entry: &Entry, outcome: Result<u64, CaseRefusal>) -> Message {
    let now = Box::new(entry.summary().unwrap_or_else(|| entry.case.summary(entry.admission.sealed.event.id)));
    match outcome {
        Ok(step) => Message::CaseTaken(id, step, now),
        Err(why) => Message::CaseRefused(id, why, Some(now)),
    }
}
