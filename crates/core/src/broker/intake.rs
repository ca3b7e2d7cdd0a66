//! The relays' side: events come in, go out on the express lane and to the record; questions are answered.

use crate::broker::gate::Load;
use crate::broker::machine::{Broker, Pending, seats_of};
use crate::broker::port::{Output, Report};
use crate::broker::waiting::{Claim, Wait};
use crate::command::CommandId;
use crate::courier::Transmit;
use crate::event::Class;
use crate::id::{EventId, NodeName, PathId, RelayId};
use crate::limits;
use crate::message::{EventCopy, Message, Refusal};
use crate::path::Form;
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::{Admission, joins};
use crate::signature::judge;
use crate::time::Now;

impl Broker {
    /// A relay's copy of an event.
    pub(super) fn event(&mut self, now: Now, path: PathId, relay: &RelayId, expired: bool, copy: EventCopy) {
        let event = copy.sealed.event.clone();
        let id = event.id;
        let known = self.admission(&id);
        let refusal = if event.relay.school != relay.school {
            Some(Refusal::OtherSchool)
        } else if event.relay != *relay || known.is_some_and(|admission| admission.sealed.event.relay != *relay) {
            Some(Refusal::OtherRelay)
        } else if event.is_of_region() {
            Some(Refusal::Kind)
        } else if expired && event.class != Class::P0 {
            Some(Refusal::Expired)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return self.refuse(path, NodeName::Relay(relay.clone()), id, refusal);
        }
        if known.is_some() || self.record.is_archived(&id) {
            self.report(Report::Duplicate(id));
            self.repeated(now, path, relay, id);
            return;
        }
        if !self.has_room(relay, event.class) {
            if event.class == Class::P0 {
                // Unanswered, it is sent again soon; refused, it would wait for a minute.
                return self.report(Report::Refused(NodeName::Relay(relay.clone()), id, Refusal::NoRoom));
            }
            return self.refuse(path, NodeName::Relay(relay.clone()), id, Refusal::NoRoom);
        }
        self.take(now, copy);
    }

    /// A copy of what is known: its relay has not heard how far it is.
    fn repeated(&mut self, now: Now, path: PathId, relay: &RelayId, id: EventId) {
        let provisional: Vec<Receipt> = self.provisional(&id).collect();
        let known = self.record.get(&id);
        let archived = known.is_none() && self.record.is_archived(&id);
        if known.is_none() && !archived && provisional.is_empty() {
            return;
        }
        let Some(gate) = self.relays.get_mut(relay) else { return };
        if !gate.tells(now, id) {
            return;
        }
        if archived {
            return self.recall(path, vec![id]);
        }
        let mut receipts = known.map(|entry| entry.receipts()).unwrap_or_default();
        if gate.confirms() {
            // What else there is to say is carried to it.
            receipts.retain(|receipt| matches!(receipt.stage, Stage::Stored | Stage::Acknowledged | Stage::Closed));
        }
        receipts.extend(provisional);
        self.send(path, Class::P1, Form::Datagram, Message::Receipts(receipts));
    }

    /// Whether an event of this class may come in: P0 has room of its own, and no relay has more than a relay can hold.
    pub(super) fn has_room(&self, relay: &RelayId, class: Class) -> bool {
        let waiting = self.pending_of.get(relay).copied().unwrap_or(0);
        if waiting + self.record.unfinished_of(relay) >= limits::RELAY_OPEN_EVENTS {
            return false;
        }
        if class == Class::P0 {
            self.pending.len() < limits::BROKER_PENDING_P0
        } else {
            self.pending.len() < limits::BROKER_PENDING && !self.record.is_full()
        }
    }

    /// An event that nobody here has seen.
    pub(super) fn take(&mut self, now: Now, copy: EventCopy) {
        let id = copy.sealed.event.id;
        let owed = self.config.province.as_ref().is_some_and(|above| copy.sealed.event.class <= above.lowest);
        let trail = copy.trail.arrived(&self.me, now.wall, None);
        let (sealed, by) = (copy.sealed, self.me.clone());
        let mut admission = Admission { sealed, trail, at: now.wall, by, stations: Vec::new(), owed, joins: false };
        admission.stations = self.stations_for(&admission);
        admission.joins = joins(&admission.sealed.event) && admission.forwarded_by().is_none();
        self.report(Report::Received(admission.sealed.clone(), admission.stations.clone()));
        if admission.stations.is_empty() {
            self.report(Report::NoRoute(admission.sealed.clone()));
        }
        let sealed = admission.sealed.clone();
        self.insert_pending(Pending::new(admission, Wait::default()));
        self.express(now, id);
        self.track(now, id);
        self.follow(now, id, None);
        self.propose(now, &Claim::Admit(id));
        // Last of all: it is on its way whatever is found.
        if self.verifier.is_some()
            && let Some((verdict, flaw)) = judge(self.verifier.as_deref(), &sealed, now.wall)
        {
            self.report(Report::Signature(sealed, verdict, flaw));
        }
    }

    pub(super) fn insert_pending(&mut self, pending: Pending) {
        let (id, relay) = (pending.admission.sealed.event.id, pending.admission.sealed.event.relay.clone());
        self.pending.insert(id, pending);
        *self.pending_of.entry(relay).or_default() += 1;
    }

    /// How an event came in, if it is in the record or waits for it.
    #[must_use]
    pub fn admission(&self, id: &EventId) -> Option<&Admission> {
        let recorded = self.record.get(id).map(|entry| &entry.admission);
        recorded.or_else(|| self.pending.get(id).map(|pending| &pending.admission))
    }

    /// The record has it, or will not: it is pending no longer.
    pub(super) fn no_longer_pending(&mut self, id: &EventId) -> Option<Pending> {
        self.waiting.landed(&Claim::Admit(*id));
        let pending = self.pending.remove(id)?;
        let relay = &pending.admission.sealed.event.relay;
        if let Some(count) = self.pending_of.get_mut(relay) {
            *count -= 1;
            if *count == 0 {
                self.pending_of.remove(relay);
            }
        }
        Some(pending)
    }

    /// The express lane: to every seat of the event's stations that is there, now.
    pub(super) fn express(&mut self, now: Now, id: EventId) {
        let Some(pending) = self.pending.get_mut(&id) else { return };
        let class = (pending.admission.sealed.event.class, pending.admission.sealed.wire_bytes());
        let mut reached = Vec::new();
        for station in &pending.admission.stations {
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                desk.offer(now.mono, id, class, None, false);
                reached.push(seat.clone());
            }
        }
        pending.offered.extend(reached.iter().cloned());
        reached.iter().for_each(|seat| self.drain_desk(now, seat));
    }

    /// A relay asks how far its events are.
    pub(super) fn inquired(&mut self, path: PathId, relay: &RelayId, ids: &[EventId]) {
        let (mut receipts, mut unknown, mut archived) = (Vec::new(), Vec::new(), Vec::new());
        for id in ids {
            match self.admission(id).filter(|admission| admission.sealed.event.relay == *relay) {
                Some(_) => {
                    receipts.extend(self.record.get(id).map(|entry| entry.receipts()).unwrap_or_default());
                    receipts.extend(self.provisional(id));
                }
                None if self.record.is_archived(id) => archived.push(*id),
                None => unknown.push(*id),
            }
        }
        self.send_receipts(path, &receipts);
        self.recall(path, archived);
        for chunk in unknown.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Form::Stream, Message::Unknown(chunk.to_vec()));
        }
    }

    /// Answers to questions: below what happens now, since there may be many.
    pub(super) fn send_receipts(&mut self, path: PathId, receipts: &[Receipt]) {
        for chunk in receipts.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P2, Form::Stream, Message::Receipts(chunk.to_vec()));
        }
    }

    /// Tells a relay how far its event of `class` has come, or the region that forwarded it.
    pub(super) fn tell_relay(&mut self, now: Now, relay: &RelayId, class: Class, receipt: &Receipt) {
        self.tell_below(now, class, receipt);
        if self.admission(&receipt.event).is_some_and(|admission| admission.sealed.event.is_of_region()) {
            // It names the relay and is not the relay's.
            return;
        }
        let Some(gate) = self.relays.get_mut(relay) else { return };
        // Who assists is said once: nothing hangs on it, and it would stand in the place of the owner.
        let plain = receipt.stage <= Stage::Stored || class > Class::P1 || receipt.standing == Standing::Assisting;
        if plain || !gate.carry(now, class, receipt) {
            if receipt.stage == Stage::Stored {
                gate.tells(now, receipt.event);
            }
            let form = if receipt.stage <= Stage::Stored { Form::Datagram } else { Form::Stream };
            let send = |path| Output::Send(path, Class::P1, form, Message::Receipts(vec![receipt.clone()]));
            self.out.extend(gate.express().map(send));
        }
        self.drain_gate(now, relay);
    }

    /// Sends what a relay's courier has decided to send.
    pub(super) fn drain_gate(&mut self, now: Now, relay: &RelayId) {
        loop {
            let Some(gate) = self.relays.get_mut(relay) else { return };
            let mut commands = Vec::new();
            while let Some((Transmit { path, class, form, .. }, load)) = gate.poll_output() {
                match load {
                    Load::Receipts(receipts) => {
                        self.out.push_back(Output::Send(path, class, form, Message::Receipts(receipts)));
                    }
                    Load::Command(id) => commands.push((path, class, form, id)),
                }
            }
            let mut gone: Vec<CommandId> = Vec::new();
            for (path, class, form, id) in commands {
                if !self.send_command(now, (path, class, form), &id) {
                    gone.push(id);
                }
            }
            gone.iter().for_each(|id| self.commands.not_carried(*id, relay));
            let Some(gate) = self.relays.get_mut(relay).filter(|_| !gone.is_empty()) else { break };
            for id in &gone {
                gate.command_settled(now, id);
            }
        }
        let Some(gate) = self.relays.get_mut(relay) else { return };
        let wake = gate.poll_timeout();
        let old = std::mem::replace(&mut gate.wake, wake);
        self.timers.set(NodeName::Relay(relay.clone()), old, wake);
    }

    pub(super) fn refuse(&mut self, path: PathId, peer: NodeName, id: EventId, refusal: Refusal) {
        self.send(path, Class::P1, Form::Stream, Message::Refused(id, refusal));
        self.report(Report::Refused(peer, id, refusal));
    }
}
