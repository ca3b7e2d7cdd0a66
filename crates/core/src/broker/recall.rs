//! Questions about events that have left the record: the archive is asked, and whoever asked gets its answer.
//!
//! Invariant: at most [`limits::BROKER_RECALLS`] questions are under way. Those of more get no answer, and are asked again by the peer.

use std::collections::BTreeMap;

use crate::broker::cases;
use crate::broker::machine::Broker;
use crate::broker::port::{Output, RecallTicket};
use crate::case::{CaseOrder, CaseRefusal};
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId, SeatId};
use crate::limits;
use crate::message::Message;
use crate::path::Form;
use crate::receipt::{Receipt, Stage};
use crate::record::Entry;

/// Who wants to know what.
#[derive(Debug)]
enum Question {
    /// A relay, a seat or a region, how far events are.
    HowFar,
    /// A seat, whether its statement need be made again.
    Statement(Box<Receipt>),
    /// A seat, what became of its order about a case.
    Order(Box<CaseOrder>),
    /// A seat, the steps of a case after this number.
    Steps(u64),
}

/// The questions that are with the archive.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    open: BTreeMap<RecallTicket, (PathId, Question)>,
    last: u64,
}

impl Broker {
    /// A peer asks about events that are in the archive.
    pub(super) fn recall(&mut self, path: PathId, ids: Vec<EventId>) {
        self.ask(path, ids, Question::HowFar);
    }

    /// A seat says something of an event that is in the archive.
    pub(super) fn recall_for(&mut self, path: PathId, statement: Receipt) {
        if statement.stage < Stage::Acknowledged {
            // It left the record finished: that it was delivered or shown once more changes nothing, and need not be said again.
            let done = Message::Confirmed(vec![(statement.event, statement.stage)]);
            return self.send(path, Class::P1, Form::Datagram, done);
        }
        self.ask(path, vec![statement.event], Question::Statement(Box::new(statement)));
    }

    /// A seat orders something about the case of an event that is in the archive: it may have been carried out before the event left.
    pub(super) fn recall_order(&mut self, path: PathId, order: CaseOrder) {
        self.ask(path, vec![order.event], Question::Order(Box::new(order)));
    }

    /// A seat wants to read what was done about an alarm that is in the archive.
    pub(super) fn recall_steps(&mut self, path: PathId, event: EventId, after: u64) {
        self.ask(path, vec![event], Question::Steps(after));
    }

    fn ask(&mut self, path: PathId, ids: Vec<EventId>, question: Question) {
        if ids.is_empty() || self.recalls.open.len() >= limits::BROKER_RECALLS {
            return;
        }
        self.recalls.last += 1;
        let ticket = RecallTicket(self.recalls.last);
        self.recalls.open.insert(ticket, (path, question));
        self.out.push_back(Output::Recall(ticket, ids));
    }

    /// The archive has answered.
    pub(super) fn recalled(&mut self, ticket: RecallTicket, entries: &[Entry]) {
        let Some((path, question)) = self.recalls.open.remove(&ticket) else { return };
        let Some(session) = self.sessions.get(&path) else { return };
        let its: Vec<&Entry> = match &session.peer {
            NodeName::Relay(relay) => entries.iter().filter(|e| e.admission.sealed.event.relay == *relay).collect(),
            NodeName::Station(SeatId { station, .. }) => {
                entries.iter().filter(|entry| entry.admission.stations.contains(station)).collect()
            }
            NodeName::Broker { region, .. } => {
                entries.iter().filter(|entry| entry.admission.forwarded_by() == Some(region)).collect()
            }
        };
        match question {
            Question::HowFar => {
                let receipts: Vec<Receipt> = its.iter().flat_map(|entry| entry.receipts()).collect();
                self.send_receipts(path, &receipts);
            }
            Question::Steps(after) => {
                let pages: Vec<Message> = its.iter().map(|entry| cases::page(entry, after)).collect();
                pages.into_iter().for_each(|page| self.send(path, Class::P2, Form::Stream, page));
            }
            Question::Order(order) => {
                let outcome = |entry: &&Entry| entry.outcome(&order).unwrap_or(Err(CaseRefusal::Archived));
                let answers = its.iter().map(|entry| cases::answer(order.id, entry, outcome(entry)));
                let answers: Vec<Message> = answers.collect();
                answers.into_iter().for_each(|answer| self.send(path, Class::P1, Form::Stream, answer));
            }
            Question::Statement(statement) => {
                let answers: Vec<Message> = its.iter().flat_map(|entry| answer(entry, &statement)).collect();
                answers.into_iter().for_each(|answer| self.send(path, Class::P1, Form::Datagram, answer));
            }
        }
    }
}

/// What a seat is told of a statement that the record has, or takes no more: that it is on record or, where somebody else took the alarm
/// first, who did, and that it assists.
pub(super) fn answer(entry: &Entry, statement: &Receipt) -> Vec<Message> {
    let confirmed = Message::Confirmed(vec![(statement.event, statement.stage)]);
    let own = entry.said(statement.stage, &statement.by);
    match (entry.earlier_owner(statement), own) {
        (Some(owner), Some(own)) => vec![Message::Receipts(vec![owner.clone(), own.clone()])],
        // There is no room for it on record, or its event has left: the owner is all there is to say, and it need not be said again.
        (Some(owner), None) => vec![Message::Receipts(vec![owner.clone()]), confirmed],
        (None, _) => vec![confirmed],
    }
}
