//! The stations' side: seats come, are given what they lack, and say what became of it.

use crate::broker::machine::Broker;
use crate::broker::port::{Output, Report};
use crate::broker::waiting::{Claim, Wait};
use crate::courier::Transmit;
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId, SeatId};
use crate::limits;
use crate::message::{EventCopy, Message, Resume};
use crate::path::Form;
use crate::receipt::{Receipt, Stage, Standing};
use crate::time::Now;

impl Broker {
    /// A seat says how much it has: it is given the rest, alarms first. One that has nothing is given all there is; what it
    /// once had and lost is among that.
    pub(super) fn greeted(&mut self, now: Now, path: PathId, seat: &SeatId, resume: Option<Resume>) {
        let Some(desk) = self.desks.get_mut(seat) else { return };
        let me = NodeName::Station(seat.clone());
        let resume = resume.filter(|resume| Some(resume.record) == self.record.record());
        desk.greet(resume.map_or(0, |resume| resume.index));
        let mut lacks: Vec<(Class, Option<u64>, EventId, usize)> = Vec::new();
        for (index, entry) in self.record.for_station(&seat.station, resume.map_or(0, |resume| resume.index)) {
            if resume.is_none() || !entry.has(Stage::Delivered, &me) {
                let event = &entry.admission.sealed.event;
                // What somebody has taken long since is history: it does not stand before what nobody has.
                let class = if entry.is_finished() { event.class.max(Class::P3) } else { event.class };
                lacks.push((class, Some(index), event.id, entry.admission.sealed.wire_bytes()));
            }
        }
        for (id, pending) in &mut self.pending {
            if pending.admission.stations.contains(&seat.station) {
                let sealed = &pending.admission.sealed;
                lacks.push((sealed.event.class, None, *id, sealed.wire_bytes()));
                pending.offered.insert(seat.clone());
            }
        }
        // The courier sends what it is given at once, so it is given alarms first; within a class, in the record's order.
        lacks.sort_by_key(|(class, index, ..)| (*class, index.unwrap_or(u64::MAX)));
        for (class, index, id, bytes) in lacks {
            desk.offer(now.mono, id, (class, bytes), index, true);
        }
        self.drain_desk(now, seat);
        self.tell_cases(path, seat, resume.map_or(0, |resume| resume.index));
        self.tell_all_pictures(path, seat);
        self.tell_mark(seat);
        self.tell_seat_ownership(now, seat, None);
        self.tell_seat_drills(now, path, seat);
    }

    /// A seat asks what became of alarms that nobody has taken, as far as it knows.
    pub(super) fn asked(&mut self, path: PathId, seat: &SeatId, ids: &[EventId]) {
        let mut receipts = Vec::new();
        for id in ids {
            if self.admission(id).is_some_and(|admission| admission.stations.contains(&seat.station)) {
                receipts.extend(self.record.get(id).map(|entry| entry.receipts()).unwrap_or_default());
                receipts.extend(self.provisional(id));
            }
        }
        self.send_receipts(path, &receipts);
        self.recall(path, ids.iter().filter(|id| self.record.is_archived(id)).copied().collect());
    }

    /// A station's statement about an event.
    pub(super) fn said(&mut self, now: Now, path: PathId, seat: &SeatId, mut receipt: Receipt) {
        // What stands in which record is for the region to say; a seat repeats what some node said to it.
        receipt.standing = Standing::Settled;
        let me = NodeName::Station(seat.clone());
        let (id, stage) = (receipt.event, receipt.stage);
        if receipt.by != me || !(Stage::Delivered..=Stage::Acknowledged).contains(&stage) {
            return self.report(Report::Improper(
                me,
                "a receipt in somebody else's name, or of a stage that is not a station's",
            ));
        }
        if stage == Stage::Delivered
            && let Some(desk) = self.desks.get_mut(seat)
        {
            desk.settle(now.mono, &id);
            self.drain_desk(now, seat);
            self.tell_mark(seat);
            self.tell_seat_ownership(now, seat, Some(id));
        }
        if self.record.is_archived(&id) {
            return self.recall_for(path, receipt);
        }
        let Some(admission) = self.admission(&id) else {
            return self.send(path, Class::P1, Form::Stream, Message::Unknown(vec![id]));
        };
        if !admission.stations.contains(&seat.station) {
            self.send(path, Class::P1, Form::Stream, Message::Unknown(vec![id]));
            return self.report(Report::Improper(me, "a receipt for an event that is not routed to it"));
        }
        if let Some(answers) = self.settled(&receipt) {
            return answers.into_iter().for_each(|answer| self.send(path, Class::P1, Form::Datagram, answer));
        }
        if let Some(noting) = self.waiting.note(&id, stage, &me) {
            // It is with the record's engine already: the seat says it again until it is confirmed.
            if noting.wait.is_durable() {
                let acknowledged = |other: &Receipt| other.stage == stage && stage == Stage::Acknowledged;
                let known = self
                    .provisional(&id)
                    .filter(|other| acknowledged(other) || (other.stage == stage && other.by == me));
                let known = Message::Receipts(known.collect());
                self.send(path, Class::P1, Form::Datagram, known);
            }
            return;
        }
        self.take_statement(now, receipt);
    }

    /// A statement that the record does not hold, by a seat that may make it.
    pub(super) fn take_statement(&mut self, now: Now, receipt: Receipt) {
        let (id, stage) = (receipt.event, receipt.stage);
        let Some(admission) = self.admission(&id) else { return };
        let (relay, class) = (admission.sealed.event.relay.clone(), admission.sealed.event.class);
        if self.waiting.len() >= limits::BROKER_PENDING_P0 || self.waiting.note(&id, stage, &receipt.by).is_some() {
            // It waits for the record already, or has to wait for room: whoever says it says it again.
            return;
        }
        if stage < Stage::Acknowledged {
            // A fact at the station, whatever becomes of the record: the presser need not wait. Who owns the alarm is decided
            // by the record's order, so an acknowledgement does wait.
            self.tell_relay(now, &relay, class, &receipt);
        }
        let claim = Claim::of_statement(&receipt);
        self.waiting.insert(receipt, Wait::default());
        if stage < Stage::Acknowledged {
            self.propose_in_turn(now, &claim);
        } else {
            self.propose(now, &claim);
        }
    }

    /// Sends what a seat's courier has decided to send.
    pub(super) fn drain_desk(&mut self, now: Now, seat: &SeatId) {
        let Some(desk) = self.desks.get_mut(seat) else { return };
        while let Some(Transmit { key: id, path, class, form, .. }) = desk.courier.poll_output() {
            let (admission, mut receipts) = match (self.record.get(&id), self.pending.get(&id)) {
                (Some(entry), _) => (&entry.admission, entry.receipts()),
                (None, Some(pending)) => (&pending.admission, Vec::new()),
                (None, None) => {
                    // It was shed and its relay has not sent it again, or it is finished and in the archive: there is nothing to send.
                    desk.settle(now.mono, &id);
                    continue;
                }
            };
            receipts.extend(self.waiting.provisional(&id));
            receipts.truncate(limits::RECEIPTS_PER_EVENT);
            let trail = admission.trail.clone().leaving(now.wall);
            let copy = EventCopy { sealed: admission.sealed.clone(), trail, receipts };
            self.out.push_back(Output::Send(path, class, form, Message::Event(copy)));
        }
        // A node cannot dial a station; a station finds out by itself.
        desk.courier.poll_race();
        let wake = desk.courier.poll_timeout();
        let old = std::mem::replace(&mut desk.wake, wake);
        self.timers.set(NodeName::Station(seat.clone()), old, wake);
    }

    /// Tells a seat that it has everything, once that has become so.
    fn tell_mark(&mut self, seat: &SeatId) {
        let (last, Some(record)) = (self.record.last_index(), self.record.record()) else { return };
        let Some(desk) = self.desks.get_mut(seat).filter(|desk| desk.greeted) else { return };
        // The youngest session: an older one may be dead, and its end not noticed yet.
        let path = desk.express().max();
        if let Some(path) = path
            && let Some(index) = desk.news(last)
        {
            self.send(path, Class::P2, Form::Stream, Message::Mark(Resume { record, index }));
        }
    }
}
