//! The side towards the region: paths, what is sent, what is asked, and what comes back.

use std::collections::BTreeSet;

use crate::courier::Transmit;
use crate::event::Class;
use crate::id::{EventId, PathId};
use crate::lane::Lane;
use crate::message::{EventCopy, Hello, Message, Refusal, WIRE_MINOR};
use crate::receipt::{Receipt, Stage, Trail};
use crate::relay::machine::Relay;
use crate::relay::port::Report;
use crate::relay::view::says_stored;
use crate::time::{Now, Span};

/// How long after a refusal an event is offered again: the plan or a certificate may have been mended.
const OFFER_AGAIN_AFTER: Span = Span::from_secs(60);

impl Relay {
    pub(super) fn path_up(&mut self, now: Now, path: PathId, lane: Lane) {
        if lane == Lane::Express {
            self.express.insert(path);
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Message::Hello(hello));
            let open = self.inquiry.newest();
            if !open.is_empty() {
                self.send(path, Class::P2, Message::Inquire(open));
            }
        }
        self.courier.path_up(now.mono, path, lane);
    }

    pub(super) fn path_down(&mut self, now: Now, path: PathId) {
        self.express.remove(&path);
        self.courier.path_down(now.mono, path);
    }

    /// Asks the region about events that it has but no officer, in case the answer was missed.
    pub(super) fn inquire(&mut self, now: Now) {
        let paths: Vec<PathId> = self.express.iter().copied().collect();
        if let Some((path, ids)) = self.inquiry.due(now.mono, &paths) {
            self.send(path, Class::P2, Message::Inquire(ids));
        }
    }

    pub(super) fn message(&mut self, now: Now, message: Message) {
        match message {
            Message::Receipts(receipts) => {
                let news: BTreeSet<EventId> =
                    receipts.into_iter().filter_map(|receipt| self.receipt(now, receipt)).collect();
                news.into_iter().for_each(|id| self.keep(id));
            }
            Message::Unknown(mut ids) => {
                ids.sort_by_cached_key(|id| self.events.get(id).map(|view| view.row.sealed.event.class));
                ids.into_iter().for_each(|id| self.offer_again(now, id));
            }
            Message::Refused(id, refusal) => self.refused(now, id, refusal),
            // A region has nothing else to say to a relay; a newer one's words are not held against it.
            Message::Hello(_) | Message::Event(_) | Message::Confirmed(_) | Message::Inquire(_) | Message::Mark(_) => {}
        }
    }

    /// Takes a receipt in; the event whose row must be written anew, if it is news.
    fn receipt(&mut self, now: Now, receipt: Receipt) -> Option<EventId> {
        let (id, stage) = (receipt.event, receipt.stage);
        let from_outside = !matches!(stage, Stage::Kept | Stage::Sent);
        if !from_outside || !self.events.contains_key(&id) {
            return None;
        }
        if says_stored(stage) {
            self.courier.settle(now.mono, &id);
        }
        self.reached(now, id, receipt).then_some(id)
    }

    fn offer_again(&mut self, now: Now, id: EventId) {
        if let Some(view) = self.events.get(&id).filter(|view| !view.is_finished() && !view.refused) {
            let class = view.row.sealed.event.class;
            self.courier.offer(now.mono, id, class, true);
        }
    }

    fn refused(&mut self, now: Now, id: EventId, refusal: Refusal) {
        let Some(view) = self.events.get_mut(&id).filter(|view| !view.is_stored() && !view.refused) else { return };
        view.refused = true;
        let sealed = view.row.sealed.clone();
        self.courier.settle(now.mono, &id);
        self.refused_until.insert((now.mono + OFFER_AGAIN_AFTER, id));
        self.report(Report::Refused(sealed, refusal));
    }

    /// Offers again what was refused long enough ago.
    pub(super) fn offer_refused(&mut self, now: Now) {
        while let Some((at, id)) = self.refused_until.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.refused_until.remove(&(at, id));
            let Some(view) = self.events.get_mut(&id) else { continue };
            view.refused = false;
            if !view.is_stored() {
                self.offer_again(now, id);
            }
        }
    }

    /// Sends what the courier has decided to send.
    pub(super) fn dispatch(&mut self, now: Now) {
        while let Some(Transmit { key: id, path, class, .. }) = self.courier.poll_output() {
            let Some(view) = self.events.get(&id) else { continue };
            let sealed = view.row.sealed.clone();
            let trail = Trail::default().arrived(&self.me, sealed.event.raised_at).leaving(now.wall);
            self.send(path, class, Message::Event(EventCopy { sealed, trail, receipts: Vec::new() }));
            let receipt = self.own_receipt(id, Stage::Sent, now.wall);
            self.reached(now, id, receipt);
        }
    }
}
