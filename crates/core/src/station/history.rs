//! Somebody at the station wants to read a case's history, which the region's record or archive has: a page is asked for until it comes.
//!
//! Invariant: each question is answered once, and at most [`limits::CASE_ORDERS_OPEN`] are open.

use crate::case::Step;
use crate::event::Class;
use crate::id::EventId;
use crate::limits;
use crate::message::Message;
use crate::path::Form;
use crate::station::machine::Station;
use crate::station::port::{AckTicket, HistoryError, Output};
use crate::time::{Now, Span, Timestamp};

/// How soon every node is asked, after one gave no answer; and then how often.
const ASK_AGAIN_AFTER: Span = Span::from_millis(500);

/// The questions that no answer has come for.
#[derive(Debug, Default)]
pub(super) struct Questions(Vec<Open>);

#[derive(Debug)]
struct Open {
    ticket: AckTicket,
    event: EventId,
    after: u64,
    again_at: Timestamp,
    until: Timestamp,
}

impl Questions {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().map(|open| open.again_at.min(open.until)).min()
    }
}

impl Station {
    /// The steps after number `after` are wanted.
    pub(super) fn ask_history(&mut self, now: Now, ticket: AckTicket, event: EventId, after: u64) {
        let refusal = if self.get(&event).is_none() {
            Some(HistoryError::Unknown(event))
        } else if self.questions.0.len() >= limits::CASE_ORDERS_OPEN {
            Some(HistoryError::Busy)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.out.push_back(Output::History(ticket, Err(refusal)));
        }
        let (again_at, until) = (now.mono + ASK_AGAIN_AFTER, now.mono + limits::CASE_ORDER_TIMEOUT);
        self.questions.0.push(Open { ticket, event, after, again_at, until });
        // The youngest session: an older one may be dead, and its end not noticed yet.
        if let Some(path) = self.cases.paths().last().copied() {
            self.send(path, Class::P2, Form::Stream, Message::CaseAsk(event, after));
        }
    }

    /// Asks again what is due, and gives up what is overdue.
    pub(super) fn ask_again(&mut self, now: Now) {
        for open in self.questions.0.extract_if(.., |open| open.until <= now.mono).collect::<Vec<_>>() {
            self.out.push_back(Output::History(open.ticket, Err(HistoryError::NoAnswer(open.event))));
        }
        let mut asks = Vec::new();
        for open in self.questions.0.iter_mut().filter(|open| open.again_at <= now.mono) {
            open.again_at = now.mono + ASK_AGAIN_AFTER;
            asks.push((open.event, open.after));
        }
        for (event, after) in asks {
            for path in self.cases.paths().clone() {
                self.send(path, Class::P2, Form::Stream, Message::CaseAsk(event, after));
            }
        }
    }

    /// A node has answered.
    pub(super) fn history_heard(&mut self, event: EventId, steps: &[Step], total: u64) {
        let fits = |open: &mut Open| {
            let first = steps.first().map(|step| step.number);
            // Nothing is an answer where there is nothing more.
            let follows = first.map_or(total <= open.after, |first| open.after.checked_add(1) == Some(first));
            open.event == event && follows
        };
        for open in self.questions.0.extract_if(.., fits).collect::<Vec<_>>() {
            self.out.push_back(Output::History(open.ticket, Ok((steps.to_vec(), total))));
        }
    }
}
