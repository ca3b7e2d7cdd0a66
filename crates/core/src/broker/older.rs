//! What a relay or a seat is told that speaks an older minor version of the wire: nothing that it would take for something else.
//!
//! Before minor 3, an acknowledgement that a region passed on was the owner's, out of its record: a reader of that time passes over the standing, and
//! takes one that is provisional for the end of its alarm, and whoever assists for the owner. So these are left out towards it. Its school and its
//! seats go on asking until the record has named an officer, as they did then.
//!
//! Before minor 4 there were no cases, before minor 5 no commands to schools: nothing of them is said.
//!
//! Before minor 5 there were no drills, and nothing was closed by itself: neither is said. Such a relay goes on asking for an officer, and such a seat
//! goes on showing the alarm, until an officer takes it.
//!
//! Invariant: whoever has not greeted yet counts as old.

use crate::broker::machine::Broker;
use crate::broker::port::Output;
use crate::case::Verb;
use crate::id::{NodeName, PathId};
use crate::message::{CASES_SINCE, COMMANDS_SINCE, DRILLS_SINCE, Message, STANDING_SINCE};
use crate::receipt::{Receipt, Stage, Standing};

/// Since when a relay says which receipts have come.
pub(super) const CONFIRMS_SINCE: u32 = 2;

impl Broker {
    /// The next output, as whoever it goes to understands it.
    pub(super) fn next_output(&mut self) -> Option<Output> {
        loop {
            let (path, class, form, message) = match self.out.pop_front()? {
                Output::Send(path, class, form, message) => (path, class, form, message),
                output => return Some(output),
            };
            if says_command(&message) && self.minor(path).is_none_or(|minor| minor < COMMANDS_SINCE) {
                continue;
            }
            if says_case(&message) && self.minor(path).is_none_or(|minor| minor < CASES_SINCE) {
                continue;
            }
            let message = if self.minor(path).is_some_and(|minor| minor < DRILLS_SINCE) {
                match without_drills(message) {
                    Some(message) => message,
                    None => continue,
                }
            } else {
                message
            };
            let (Some(peer), true) = (self.older(path), says_standing(&message)) else {
                return Some(Output::Send(path, class, form, message));
            };
            let (message, answer) = without_standing(&peer, message);
            let mut messages =
                message.into_iter().chain(answer).map(|message| Output::Send(path, class, form, message));
            let first = messages.next();
            messages.for_each(|output| self.out.push_front(output));
            if first.is_some() {
                return first;
            }
        }
    }

    /// The peer of a session, if it is a relay or a seat of an older minor.
    fn older(&self, path: PathId) -> Option<NodeName> {
        let peer = &self.sessions.get(&path)?.peer;
        (self.minor(path)? < STANDING_SINCE).then(|| peer.clone())
    }

    /// The minor of the peer of a session, if it is a relay or a seat.
    fn minor(&self, path: PathId) -> Option<u32> {
        match &self.sessions.get(&path)?.peer {
            NodeName::Relay(relay) => Some(self.relays.get(relay)?.minor),
            NodeName::Station(seat) => Some(self.desks.get(seat)?.minor),
            // No region forwarded, and no province answered, before there was a standing; and none is told of cases.
            NodeName::Broker { .. } => None,
        }
    }
}

/// Whether a message began with the commands to schools.
fn says_command(message: &Message) -> bool {
    matches!(
        message,
        Message::CommandOrder(_)
            | Message::Command(..)
            | Message::CommandReceipts(_)
            | Message::CommandConfirmed(_)
            | Message::CommandState(_)
            | Message::CommandRefused(..)
            | Message::NoticeAsk(..)
            | Message::NoticeSchools(..)
    )
}

/// Whether a message began with the cases.
fn says_case(message: &Message) -> bool {
    matches!(
        message,
        Message::Case(_)
            | Message::Cases(_)
            | Message::CaseTaken(..)
            | Message::CaseRefused(..)
            | Message::CaseAsk(..)
            | Message::CaseSteps(..)
    )
}

/// Whether a message has anything in it that began with the standing.
fn says_standing(message: &Message) -> bool {
    match message {
        Message::Receipts(receipts) => !receipts.iter().all(is_plain),
        Message::Event(copy) => !copy.receipts.iter().all(is_plain),
        Message::Condition(_) | Message::Escalate(_) | Message::Escalated(..) => true,
        _ => false,
    }
}

/// What is left of a message without drills and without what was closed by itself; `None` if nothing is.
fn without_drills(message: Message) -> Option<Message> {
    let known = |receipt: &Receipt| receipt.stage < Stage::Closed;
    match message {
        Message::Drills(_) | Message::DrillMode(_) | Message::DrillAnswer(..) => None,
        Message::Receipts(mut receipts) => {
            receipts.retain(known);
            (!receipts.is_empty()).then_some(Message::Receipts(receipts))
        }
        Message::Event(mut copy) => {
            copy.receipts.retain(known);
            Some(Message::Event(copy))
        }
        // A step that such a seat cannot read would cost it the page.
        Message::CaseSteps(event, mut steps, total) => {
            let readable = steps.iter().take_while(|step| step.action.verb() < Verb::MakeLive).count();
            steps.truncate(readable);
            Some(Message::CaseSteps(event, steps, total))
        }
        message => Some(message),
    }
}

/// Whether a receipt has a standing that such a reader need not know.
fn is_plain(receipt: &Receipt) -> bool {
    receipt.standing == Standing::Settled
}

/// Those of the receipts that mean the same without their standing. That an event was received ends nothing.
fn plain(receipts: Vec<Receipt>) -> Vec<Receipt> {
    let same = receipts.into_iter().filter(|receipt| is_plain(receipt) || receipt.stage == Stage::Received);
    same.map(|receipt| Receipt { standing: Standing::Settled, ..receipt }).collect()
}

/// What is left of a message; and what `peer` is told instead of its own assistance: that it need not say it again.
fn without_standing(peer: &NodeName, message: Message) -> (Option<Message>, Option<Message>) {
    match message {
        Message::Receipts(receipts) => {
            let own = |receipt: &&Receipt| receipt.standing == Standing::Assisting && receipt.by == *peer;
            let done: Vec<_> = receipts.iter().filter(own).map(|receipt| (receipt.event, receipt.stage)).collect();
            let left = Some(plain(receipts)).filter(|left| !left.is_empty()).map(Message::Receipts);
            (left, (!done.is_empty()).then_some(Message::Confirmed(done)))
        }
        Message::Event(mut copy) => {
            copy.receipts = plain(copy.receipts);
            (Some(Message::Event(copy)), None)
        }
        _ => (None, None),
    }
}
