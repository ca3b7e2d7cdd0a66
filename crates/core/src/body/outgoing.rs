//! One body on its way to one node, as its sender sees it.
//!
//! Invariant: at most [`limits::BODY_WINDOW`] chunks are under way. When nothing is heard for long, the body is offered again, and the answer says
//! which chunks have come; nothing is sent twice without that.

use crate::body::message::{BodyMessage, Offer};
use crate::body::port::Content;
use crate::body::{Chunks, place};
use crate::limits;
use crate::time::{Span, Timestamp};

/// A window of chunks takes seconds on a slow line, and is not to be sent twice for that.
const PATIENCE: Span = Span::from_secs(20);
/// Offers without an answer, or without a new chunk in it, after which a body is given up for now.
const TRIES: u32 = 5;

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) offer: Offer,
    content: Content,
    have: Chunks,
    under_way: Chunks,
    /// Whether the next word of what has come answers an offer.
    offered: bool,
    tries: u32,
    deadline: Timestamp,
}

/// What is to be done once time has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Overdue {
    Offer(Offer),
    GiveUp,
}

impl Outgoing {
    /// Begins with an offer, which the caller sends.
    pub(super) fn new(now: Timestamp, offer: Offer, content: Content) -> Self {
        let (have, under_way) = (Chunks::default(), Chunks::default());
        Self { offer, content, have, under_way, offered: true, tries: 0, deadline: now + PATIENCE }
    }

    pub(super) fn content(&self) -> Content {
        self.content.clone()
    }

    /// The receiver has these chunks: what to send next.
    pub(super) fn have(&mut self, now: Timestamp, have: Chunks) -> Vec<BodyMessage> {
        if std::mem::take(&mut self.offered) {
            self.under_way = Chunks::default();
        }
        let news = have.without(self.have);
        if news.count() > 0 {
            self.tries = 0;
        }
        self.have = self.have.with(have);
        self.under_way = self.under_way.without(self.have);
        self.deadline = now + PATIENCE;
        let mut chunks = Vec::new();
        while self.under_way.count() < limits::BODY_WINDOW {
            let left = Chunks::all(self.offer.size).without(self.have.with(self.under_way));
            let Some(at) = left.first() else { break };
            let Some(data) = place(self.offer.size, at).and_then(|place| self.content.get(place)) else { break };
            self.under_way.add(at);
            chunks.push(BodyMessage::Chunk { id: self.offer.id, at, data: data.to_vec() });
        }
        chunks
    }

    pub(super) fn deadline(&self) -> Timestamp {
        self.deadline
    }

    pub(super) fn handle_timeout(&mut self, now: Timestamp) -> Option<Overdue> {
        if self.deadline > now {
            return None;
        }
        self.tries += 1;
        if self.tries > TRIES {
            return Some(Overdue::GiveUp);
        }
        self.offered = true;
        self.deadline = now + PATIENCE * self.tries;
        Some(Overdue::Offer(self.offer))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.under_way.count() > limits::BODY_WINDOW || self.content.len() != self.offer.size {
            return Err(format!("{} chunks of a body are under way", self.under_way.count()));
        }
        Ok(())
    }
}
