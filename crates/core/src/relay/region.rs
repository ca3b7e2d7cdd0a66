//! The side towards the region: paths, what is sent, what is asked, and what comes back.

use std::collections::BTreeSet;

use crate::courier::Transmit;
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId};
use crate::lane::Lane;
use crate::message::{EventCopy, Hello, Message, Refusal, WIRE_MINOR};
use crate::path::{Form, PathInfo};
use crate::receipt::{Receipt, Stage, Trail};
use crate::relay::machine::Relay;
use crate::relay::port::Report;
use crate::relay::view::says_stored;
use crate::time::{Now, Span};

/// How long after a refusal an event is offered again: the plan or a certificate may have been mended.
const OFFER_AGAIN_AFTER: Span = Span::from_secs(60);

impl Relay {
    pub(super) fn path_up(&mut self, now: Now, path: PathId, node: NodeName, info: PathInfo) {
        if info.lane == Lane::Express {
            self.express.insert(path);
            self.commands.path_up(path, info);
            self.conditions.path_up(path, node.clone());
            self.prober.path_up(now.mono, path, node, info);
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Form::Stream, Message::Hello(hello));
            let open = self.inquiry.newest();
            if !open.is_empty() {
                self.send(path, Class::P2, Form::Stream, Message::Inquire(open));
            }
        }
        self.courier.path_up(now.mono, path, info);
        self.probe(now);
    }

    pub(super) fn path_down(&mut self, now: Now, path: PathId) {
        self.express.remove(&path);
        self.prober.path_down(path);
        self.conditions.path_down(path);
        self.courier.path_down(now.mono, path);
        self.commands.path_down(now, path);
    }

    /// Asks the region about events that it has but no officer, in case the answer was missed.
    pub(super) fn inquire(&mut self, now: Now) {
        let paths: Vec<PathId> = self.express.iter().copied().collect();
        if let Some((path, ids)) = self.inquiry.due(now.mono, &paths) {
            self.send(path, Class::P2, Form::Stream, Message::Inquire(ids));
        }
    }

    /// Sends the probes that are due.
    pub(super) fn probe(&mut self, now: Now) {
        self.prober.handle_timeout(now);
        for (path, losses, rtt) in self.prober.probed() {
            self.courier.set_probed(path, losses, rtt);
        }
        while let Some((path, number)) = self.prober.poll_output() {
            self.send(path, Class::P1, Form::Datagram, Message::Probe(number));
        }
    }

    pub(super) fn message(&mut self, now: Now, path: PathId, message: Message) {
        self.courier.heard(now.mono, path);
        self.prober.heard(now.mono, path);
        self.commands.heard(now, path);
        match message {
            Message::Receipts(receipts) => {
                self.confirm(path, &receipts);
                let news: BTreeSet<EventId> =
                    receipts.into_iter().filter_map(|receipt| self.receipt(now, receipt)).collect();
                news.into_iter().for_each(|id| self.keep(id));
            }
            Message::Unknown(mut ids) => {
                ids.sort_by_cached_key(|id| self.events.get(id).map(|view| view.row.sealed.event.class));
                ids.into_iter().for_each(|id| self.offer_again(now, id));
            }
            Message::Refused(id, refusal) => self.refused(now, id, refusal),
            Message::DrillMode(told) => self.drill_told(now, path, *told),
            Message::Echo(echo) => self.prober.echo(now, path, echo),
            Message::SchoolPlan(part) => self.plan_told(now, path, *part),
            Message::Condition(degraded) => {
                if let Some(node) = self.conditions.told(path, degraded.as_ref()) {
                    let open = if degraded.is_none() { self.inquiry.newest() } else { Vec::new() };
                    if !open.is_empty() {
                        // What rested is in the record now, or about to be.
                        self.send(path, Class::P2, Form::Stream, Message::Inquire(open));
                    }
                    self.report(Report::Condition(node, degraded));
                }
            }
            Message::Hello(hello) => self.commands_on(now, path, hello.wire_minor),
            Message::Command(sealed, left) => self.command(now, path, *sealed, left),
            Message::CommandConfirmed(confirmed) => self.command_confirmed(now, confirmed),
            // A region has nothing else to say to a relay; a newer one's words are not held against it.
            Message::Event(_)
            | Message::Confirmed(_)
            | Message::Inquire(_)
            | Message::Probe(_)
            | Message::Mark(_)
            | Message::Escalate(_)
            | Message::Escalated(..)
            | Message::Ownership(_)
            | Message::Case(_)
            | Message::Cases(_)
            | Message::CaseTaken(..)
            | Message::CaseRefused(..)
            | Message::CaseAsk(..)
            | Message::CaseSteps(..)
            | Message::PlanKept(_)
            | Message::CommandOrder(_)
            | Message::CommandReceipts(_)
            | Message::CommandState(_)
            | Message::CommandRefused(..)
            | Message::NoticeAsk(..)
            | Message::NoticeSchools(..)
            | Message::Body(_)
            | Message::Pictures(_)
            | Message::PicturesKept(..)
            | Message::Look(_)
            | Message::SeatState { .. }
            | Message::Drills(_)
            | Message::DrillHeard(_)
            | Message::DrillOrder(_)
            | Message::DrillAnswer(..) => {}
        }
    }

    /// Says that receipts have come, so that they are not carried here any longer. Also those of events that are forgotten here.
    fn confirm(&mut self, path: PathId, receipts: &[Receipt]) {
        let carried = receipts.iter().filter(|receipt| receipt.stage > Stage::Stored);
        let heard: Vec<(EventId, Stage)> = carried.map(|receipt| (receipt.event, receipt.stage)).collect();
        if !heard.is_empty() {
            self.send(path, Class::P1, Form::Datagram, Message::Confirmed(heard));
        }
    }

    /// Takes a receipt in; the event whose row must be written anew, if it is news.
    fn receipt(&mut self, now: Now, receipt: Receipt) -> Option<EventId> {
        let (id, stage) = (receipt.event, receipt.stage);
        let from_outside = !matches!(stage, Stage::Kept | Stage::Sent);
        if !from_outside || !self.events.contains_key(&id) {
            return None;
        }
        if says_stored(&receipt) {
            self.courier.settle(now.mono, &id);
        }
        let word_of_rest = stage >= Stage::Delivered || !receipt.is_final();
        let news = self.reached(now, id, receipt);
        if word_of_rest && self.events.get(&id).is_some_and(|view| !view.is_stored() && view.rests()) {
            self.courier.withdraw(now.mono, &id);
        }
        news.then_some(id)
    }

    fn offer_again(&mut self, now: Now, id: EventId) {
        if let Some(view) = self.events.get(&id).filter(|view| !view.is_finished() && !view.refused) {
            let (class, bytes) = (view.row.sealed.event.class, view.row.sealed.wire_bytes());
            self.courier.offer(now.mono, id, class, true, bytes);
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
        while let Some(Transmit { key: id, path, class, form, .. }) = self.courier.poll_output() {
            let Some(view) = self.events.get(&id) else { continue };
            let sealed = view.row.sealed.clone();
            let skew = self.prober.skew_of(path);
            let trail = Trail::default().arrived(&self.me, sealed.event.raised_at, skew).leaving(now.wall);
            self.send(path, class, form, Message::Event(EventCopy { sealed, trail, receipts: Vec::new() }));
            let receipt = self.own_receipt(id, Stage::Sent, now.wall);
            self.reached(now, id, receipt);
        }
        self.say_receipts();
        if self.courier.poll_race() {
            self.race();
        }
        if self.courier.poll_deserted() {
            self.dial_others();
        }
    }
}
