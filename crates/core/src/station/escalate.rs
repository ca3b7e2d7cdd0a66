//! An officer wants more stations to see an event: said to the region again and again until its record has it.
//!
//! It is a request and no fact, so it is not kept on the disk: the officer is answered when the record has it, or hears within
//! [`limits::ESCALATION_TIMEOUT`] that nobody has confirmed it and takes the telephone.
//!
//! Invariant: each request is answered once, and at most [`limits::ESCALATIONS_OPEN`] are open.

use crate::escalate::Escalate;
use crate::event::{Class, Text};
use crate::id::{EventId, Name, PathId, StationId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{Message, Refusal};
use crate::path::Form;
use crate::station::machine::Station;
use crate::station::port::{AckTicket, EscalateError, Output};
use crate::time::{Now, Span, Timestamp};

/// How often it is said while no answer comes.
const SAY_AGAIN_AFTER: Span = Span::from_millis(500);

/// The requests that no answer has come for.
#[derive(Debug, Default)]
pub(super) struct Escalations(Vec<Open>);

#[derive(Debug)]
struct Open {
    ticket: AckTicket,
    order: Escalate,
    /// Those of its stations that are not known to have the event.
    missing: Vec<StationId>,
    /// Whether a broker node said that it does not know the event as one of this station: another node may.
    unknown: bool,
    again_at: Timestamp,
    until: Timestamp,
}

impl Escalations {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().map(|open| open.again_at.min(open.until)).min()
    }

    pub(super) fn unknown(&mut self, event: EventId) {
        self.0.iter_mut().filter(|open| open.order.event == event).for_each(|open| open.unknown = true);
    }

    /// Takes those out that `done` says are to be answered.
    fn take(&mut self, done: impl FnMut(&mut Open) -> bool) -> Vec<Open> {
        self.0.extract_if(.., done).collect()
    }
}

impl Station {
    pub(super) fn escalate(
        &mut self,
        now: Now,
        ticket: AckTicket,
        event: EventId,
        stations: Vec<StationId>,
        (officer, note): (Name, Text),
    ) {
        let refusal = if self.get(&event).is_none() {
            Some(EscalateError::Unknown(event))
        } else if self.escalations.0.len() >= limits::ESCALATIONS_OPEN {
            Some(EscalateError::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.out.push_back(Output::Escalated(ticket, Err(refusal)));
        }
        let missing = stations.clone();
        let order = Escalate { event, stations, by: self.me.clone(), officer: Some(officer), at: now.wall, note };
        let (again_at, until) = (now.mono + SAY_AGAIN_AFTER, now.mono + limits::ESCALATION_TIMEOUT);
        self.tell(&order);
        self.escalations.0.push(Open { ticket, order, missing, unknown: false, again_at, until });
    }

    /// A session has come: what is open is said on it.
    pub(super) fn escalate_on(&mut self, path: PathId) {
        let orders: Vec<Escalate> = self.escalations.0.iter().map(|open| open.order.clone()).collect();
        orders.into_iter().for_each(|order| self.send(path, Class::P1, Form::Stream, Message::Escalate(order)));
    }

    /// Says again what is due, and gives up what is overdue.
    pub(super) fn escalate_again(&mut self, now: Now) {
        for open in self.escalations.take(|open| open.until <= now.mono) {
            let event = open.order.event;
            let why = if open.unknown { EscalateError::NotOurs(event) } else { EscalateError::NotConfirmed { event } };
            self.out.push_back(Output::Escalated(open.ticket, Err(why)));
        }
        let due = self.escalations.0.iter_mut().filter(|open| open.again_at <= now.mono);
        let orders: Vec<Escalate> = due
            .map(|open| {
                open.again_at = now.mono + SAY_AGAIN_AFTER;
                open.order.clone()
            })
            .collect();
        orders.iter().for_each(|order| self.tell(order));
    }

    /// In the record these stations have the event.
    pub(super) fn escalated(&mut self, event: EventId, stations: &[StationId]) {
        let done = self.escalations.take(|open| {
            if open.order.event == event {
                open.missing.retain(|station| !stations.contains(station));
            }
            open.missing.is_empty()
        });
        self.out.extend(done.into_iter().map(|open| Output::Escalated(open.ticket, Ok(open.order))));
    }

    pub(super) fn not_escalated(&mut self, event: EventId, why: Refusal) {
        let refused = self.escalations.take(|open| open.order.event == event);
        let answer = |open: Open| Output::Escalated(open.ticket, Err(EscalateError::Refused { event, why }));
        self.out.extend(refused.into_iter().map(answer));
    }

    fn tell(&mut self, order: &Escalate) {
        let express = self.paths.iter().filter(|(_, (_, info))| info.lane == Lane::Express);
        let paths: Vec<PathId> = express.map(|(path, _)| *path).collect();
        for path in paths {
            self.send(path, Class::P1, Form::Stream, Message::Escalate(order.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
