//! Officers' orders about cases: said to the region again and again until its record has them; and how cases stand, as the region says.
//!
//! An order is a request and no fact, so it is not kept on the disk: the officer is answered when the record has it, or hears within
//! [`limits::CASE_ORDER_TIMEOUT`] that nobody has confirmed it. How a case stands is kept with its event.
//!
//! Invariant: each order is answered once, and at most [`limits::CASE_ORDERS_OPEN`] are open.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::{ActionId, CaseOrder, CaseRefusal, Summary};
use crate::event::Class;
use crate::id::{EventId, PathId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{CASES_SINCE, Message};
use crate::path::Form;
use crate::station::machine::Station;
use crate::station::port::{AckTicket, CaseDone, CaseError, Output, Report};
use crate::time::{Now, Span, Timestamp};

/// How often an order is said while no answer comes.
const SAY_AGAIN_AFTER: Span = Span::from_millis(500);

/// The orders that no answer has come for, and the sessions on which they can be said.
#[derive(Debug, Default)]
pub(super) struct CaseOrders {
    open: Vec<Open>,
    /// Express sessions whose node knows cases.
    paths: BTreeSet<PathId>,
    /// How cases stand whose events have not come yet: what is said of an event may overtake it. At most [`limits::CASES_TOLD`]; beyond it the
    /// oldest events' are forgotten.
    early: BTreeMap<EventId, Summary>,
}

#[derive(Debug)]
struct Open {
    ticket: AckTicket,
    order: CaseOrder,
    /// What nodes said that other nodes may say otherwise.
    soft: BTreeMap<PathId, CaseRefusal>,
    /// On which sessions it was said.
    said: BTreeSet<PathId>,
    /// Whether a session that had heard it ended without an answer: its node may have brought it to the record.
    doubt: bool,
    again_at: Timestamp,
    until: Timestamp,
}

impl CaseOrders {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.open.iter().map(|open| open.again_at.min(open.until)).min()
    }

    /// The sessions on which cases can be spoken of.
    pub(super) fn paths(&self) -> &BTreeSet<PathId> {
        &self.paths
    }

    /// How the case of an event stands that has just come.
    pub(super) fn take_early(&mut self, event: &EventId) -> Option<Summary> {
        self.early.remove(event)
    }

    fn keep_early(&mut self, case: &Summary) {
        if self.early.get(&case.event).is_none_or(|known| case.is_newer_than(known)) {
            self.early.insert(case.event, case.clone());
        }
        if self.early.len() > limits::CASES_TOLD {
            self.early.pop_first();
        }
    }

    pub(super) fn path_down(&mut self, path: PathId) {
        self.paths.remove(&path);
        for open in &mut self.open {
            let answered = open.soft.remove(&path).is_some();
            open.doubt |= open.said.remove(&path) && !answered;
        }
    }
}

impl Station {
    /// An officer gives an order.
    pub(super) fn case_order(&mut self, now: Now, ticket: AckTicket, order: CaseOrder) {
        let order = CaseOrder { by: self.me.clone(), at: now.wall, ..order };
        let refusal = if self.get(&order.event).is_none() {
            Some(CaseError::Unknown(order.event))
        } else if self.cases.open.len() >= limits::CASE_ORDERS_OPEN {
            Some(CaseError::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.out.push_back(Output::Cased(ticket, Err(refusal)));
        }
        let (again_at, until) = (now.mono + SAY_AGAIN_AFTER, now.mono + limits::CASE_ORDER_TIMEOUT);
        let (soft, said) = (BTreeMap::new(), BTreeSet::new());
        self.cases.open.push(Open { ticket, order, soft, said, doubt: false, again_at, until });
        let last = self.cases.open.len() - 1;
        self.say_case(last);
    }

    /// A node has greeted: if it knows cases, it is told what is open.
    pub(super) fn cases_on(&mut self, path: PathId, minor: u32) {
        let express = self.paths.get(&path).is_some_and(|(_, info)| info.lane == Lane::Express);
        if minor < CASES_SINCE || !express {
            self.cases.paths.remove(&path);
        } else if self.cases.paths.insert(path) {
            let orders: Vec<CaseOrder> = self.cases.open.iter().map(|open| open.order.clone()).collect();
            for open in &mut self.cases.open {
                open.said.insert(path);
            }
            orders.into_iter().for_each(|order| {
                self.send(path, Class::P1, Form::Stream, Message::Case(Box::new(order)));
            });
        }
    }

    /// Says again what is due, and gives up what is overdue.
    pub(super) fn cases_again(&mut self, now: Now) {
        for open in self.cases.open.extract_if(.., |open| open.until <= now.mono).collect::<Vec<_>>() {
            let event = open.order.event;
            // Whoever said it would not have it says nothing of who may: only where all did is it certain.
            let sure = !open.doubt && open.said.iter().all(|path| open.soft.contains_key(path));
            let why = open.soft.values().max().copied().filter(|_| sure);
            let error = match why {
                Some(why) => CaseError::Refused { event, why, case: None },
                None => CaseError::NotConfirmed { event, id: open.order.id },
            };
            self.out.push_back(Output::Cased(open.ticket, Err(error)));
        }
        for at in 0..self.cases.open.len() {
            let open = &mut self.cases.open[at];
            if open.again_at <= now.mono {
                open.again_at = now.mono + SAY_AGAIN_AFTER;
                self.say_case(at);
            }
        }
    }

    fn say_case(&mut self, at: usize) {
        let paths: Vec<PathId> = self.cases.paths.iter().copied().collect();
        let Some(open) = self.cases.open.get_mut(at) else { return };
        open.said.extend(paths.iter().copied());
        let order = open.order.clone();
        for path in paths {
            self.send(path, Class::P1, Form::Stream, Message::Case(Box::new(order.clone())));
        }
    }

    /// An order is carried out.
    pub(super) fn case_taken(&mut self, now: Now, id: ActionId, step: u64, case: &Summary) {
        self.case_heard(now, case);
        for open in self.cases.open.extract_if(.., |open| open.order.id == id).collect::<Vec<_>>() {
            let done = CaseDone { id, step, case: case.clone() };
            self.out.push_back(Output::Cased(open.ticket, Ok(done)));
        }
    }

    /// An order is not carried out, as this node says.
    pub(super) fn case_refused(
        &mut self,
        now: Now,
        path: PathId,
        (id, why): (ActionId, CaseRefusal),
        case: Option<&Summary>,
    ) {
        if let Some(case) = case {
            self.case_heard(now, case);
        }
        let paths = self.cases.paths.clone();
        let settled = |open: &mut Open| {
            if open.order.id != id {
                return false;
            }
            if !why.is_soft() {
                return true;
            }
            open.soft.insert(path, why);
            // Nobody who can be asked has a quorum, and nobody has brought it to the record.
            let all = |path: &PathId| open.soft.get(path) == Some(&CaseRefusal::NoQuorum);
            !open.doubt && paths.iter().chain(&open.said).all(all)
        };
        for open in self.cases.open.extract_if(.., settled).collect::<Vec<_>>() {
            let error = CaseError::Refused { event: open.order.event, why, case: case.cloned().map(Box::new) };
            self.out.push_back(Output::Cased(open.ticket, Err(error)));
        }
    }

    /// How a case stands, by some node. What is older than what is known says nothing.
    pub(super) fn case_heard(&mut self, now: Now, case: &Summary) {
        let Some(seq) = self.by_id.get(&case.event).copied() else { return self.cases.keep_early(case) };
        let Some(held) = self.rows.get_mut(&seq) else { return };
        if held.row.case.as_ref().is_some_and(|known| !case.is_newer_than(known)) {
            return;
        }
        held.row.case = Some(Box::new(case.clone()));
        let row = held.row.clone();
        self.out.push_back(Output::Report(Report::Case(row)));
        self.keep(seq);
        self.file(now, seq);
    }
}

#[cfg(test)]
mod tests;
