//! The inbox: events come in, wait for the disk (not for long), are shown, and leave when nobody needs them and room is short.

use std::collections::BTreeSet;

use crate::event::Class;
use crate::id::{PathId, PersistSeq, Role};
use crate::limits;
use crate::message::{EventCopy, Message};
use crate::overdue::Ownership;
use crate::path::Form;
use crate::receipt::{RECEIPT_WIRE_BYTES, Receipt, Stage};
use crate::signature::{Verdict, judge};
use crate::station::machine::{Held, Station};
use crate::station::officer::carried_as;
use crate::station::port::{AckError, Output, Report};
use crate::station::row::InboxRow;
use crate::time::Now;

impl Station {
    pub(super) fn event(&mut self, now: Now, path: PathId, copy: EventCopy) {
        let event = copy.sealed.event.clone();
        let id = event.id;
        if let Some(seq) = self.by_id.get(&id).copied() {
            self.out.push_back(Output::Report(Report::Duplicate(id)));
            self.say_again(now, path, seq, &copy);
            return self.heard(now, path, copy.receipts);
        }
        let reserve = if event.class <= Class::P1 { limits::INBOX_RESERVED_FOR_ALARMS } else { 0 };
        if self.rows.len() >= limits::INBOX_EVENTS + reserve && !self.make_room() {
            // Unsaid, it stays with the region, which offers it again.
            return self.out.push_back(Output::Report(Report::Full(id)));
        }
        let seq = self.config.next_seq;
        self.config.next_seq += 1;
        let signature = self.judge(now, &copy);
        let trail = copy.trail.arrived(&self.me, now.wall, self.prober.skew_of(path));
        let mut row = InboxRow {
            seq,
            sealed: copy.sealed,
            trail,
            received_at: now.wall,
            receipts: Vec::new(),
            // After the loss of an inbox the region knows already what this seat said. It is said again: that is how the region
            // learns that the seat has the event once more.
            unconfirmed: BTreeSet::from([Stage::Delivered]),
            ownership: None,
            case: self.cases.take_early(&id).map(Box::new),
            signature,
        };
        for receipt in copy.receipts.into_iter().filter(|receipt| receipt.event == id) {
            if receipt.stage != Stage::Delivered || receipt.by != self.me {
                row.add(receipt, &self.me);
            }
        }
        // Those from elsewhere have left room for it: the first of each stage has a place, and of repeats fewer are taken.
        row.receipts.push(self.own_receipt(id, Stage::Delivered, now.wall));
        let show_at = now.mono + limits::SHOW_WITHOUT_DISK_AFTER;
        self.by_id.insert(id, seq);
        self.rows.insert(seq, Held { row, durable: false, show_at: Some(show_at), unknown: 0 });
        self.show_by.insert((show_at, seq));
        self.keep(seq);
        self.file(now, seq);
        while self.rows.len() > limits::INBOX_EVENTS && self.make_room() {}
    }

    /// What is to be said of an alarm's signature. Its certificate has to have been valid when a broker node first had the alarm, by that node's
    /// clock: what comes late, or to a seat whose calendar is wrong, is judged no worse for that.
    fn judge(&mut self, now: Now, copy: &EventCopy) -> Option<Verdict> {
        let mut nodes = copy.trail.steps().iter().filter(|step| step.node.role() == Role::Broker);
        let at = nodes.next().map_or(now.wall, |step| step.arrived);
        let (verdict, flaw) = judge(self.verifier.as_deref(), &copy.sealed, at)?;
        self.out.push_back(Output::Report(Report::Signature(copy.sealed.event.id, verdict, flaw)));
        Some(verdict)
    }

    /// Nobody has taken an alarm, and these own it now. One that is not here yet is told of again when it has come.
    pub(super) fn owned(&mut self, ownership: &Ownership) {
        let Some(seq) = self.by_id.get(&ownership.event).copied() else { return };
        let Some(held) = self.rows.get_mut(&seq) else { return };
        if held.row.owned_by(ownership.clone()) {
            let row = held.row.clone();
            self.keep(seq);
            self.out.push_back(Output::Report(Report::Ownership(row, ownership.clone())));
        }
    }

    /// A copy of what the inbox has: whoever sent it has not heard that, or has forgotten what this seat said.
    fn say_again(&mut self, now: Now, path: PathId, seq: u64, copy: &EventCopy) {
        let me = self.me.clone();
        let Some(held) = self.rows.get_mut(&seq).filter(|held| held.durable) else { return };
        let event = held.row.sealed.event.clone();
        let known = |stage| copy.receipts.iter().any(|r| r.stage == stage && r.by == me);
        let elsewhere = held.row.owner().is_some_and(|owner| owner.is_final() && owner.by != me);
        let late = |receipt: &Receipt| receipt.stage == Stage::Acknowledged && elsewhere;
        let own = held.row.receipts.iter().filter(|receipt| receipt.by == me && !late(receipt));
        let forgotten: Vec<Stage> = own.map(|receipt| receipt.stage).filter(|stage| !known(*stage)).collect();
        let news = forgotten.iter().any(|stage| !held.row.unconfirmed.contains(stage));
        held.row.unconfirmed.extend(&forgotten);
        let delivered = held.row.said(Stage::Delivered, &me).cloned();
        for stage in forgotten {
            self.courier.offer(now.mono, (event.id, stage), carried_as(event.class, stage), false, RECEIPT_WIRE_BYTES);
        }
        if news {
            self.keep(seq);
            self.file(now, seq);
        }
        if let Some(receipt) = delivered {
            self.send(path, Class::P1, Form::Datagram, Message::Receipts(vec![receipt]));
        }
    }

    pub(super) fn persist_failed(&mut self, now: Now, persist: PersistSeq, why: &str) {
        for (ticket, done) in self.answers.remove(&persist).unwrap_or_default() {
            let error = AckError::NotKept { event: done.receipt.event, why: why.to_owned() };
            self.out.push_back(Output::Answer(ticket, Err(error)));
        }
        let Some(seq) = self.written(persist) else { return };
        let Some(held) = self.rows.get_mut(&seq) else { return };
        let (id, class) = (held.row.sealed.event.id, held.row.sealed.event.class);
        if let Some(at) = held.show_at.take() {
            let row = held.row.clone();
            self.show_by.remove(&(at, seq));
            self.out.push_back(Output::Show { row, durable: false });
        }
        self.unkept.failed(now.mono, class, seq);
        self.out.push_back(Output::Report(Report::NotKept(id, why.to_owned())));
    }

    /// Shows what has waited for the disk long enough.
    pub(super) fn show_overdue(&mut self, now: Now) {
        while let Some((at, seq)) = self.show_by.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.show_by.remove(&(at, seq));
            if let Some(held) = self.rows.get_mut(&seq) {
                held.show_at = None;
                let row = held.row.clone();
                let id = row.sealed.event.id;
                self.out.push_back(Output::Show { row, durable: false });
                self.shown_by_itself(now, id);
            }
        }
    }

    /// Forgets the oldest row that nobody need act on. False if there is none.
    fn make_room(&mut self) -> bool {
        let Some(seq) = self.removable.pop_first() else { return false };
        if let Some(held) = self.rows.remove(&seq) {
            let event = &held.row.sealed.event;
            self.by_id.remove(&event.id);
            self.inquiry.remove(seq);
            self.unkept.remove(event.class, seq);
            self.forget_row(event.class, seq);
        }
        true
    }

    pub(super) fn check_rows(&self) -> Result<(), String> {
        if self.by_id.len() != self.rows.len() {
            return Err(format!("{} rows for {} events", self.rows.len(), self.by_id.len()));
        }
        for (seq, held) in &self.rows {
            let (row, id) = (&held.row, held.row.sealed.event.id);
            if self.by_id.get(&id) != Some(seq) || *seq >= self.config.next_seq {
                return Err(format!("{id} stands at {seq}, which is not its place"));
            }
            if held.durable && held.show_at.is_some() {
                return Err(format!("{id} is on disk but was not shown"));
            }
            if held.show_at.is_some_and(|at| !self.show_by.contains(&(at, *seq))) {
                return Err(format!("{id} waits for the disk, and nobody looks how long"));
            }
            let carried = row.unconfirmed.iter().all(|stage| self.courier.carries(&(id, *stage)));
            if held.durable && !carried {
                return Err(format!("what was said of {id} is unconfirmed, and nobody carries it"));
            }
            if self.inquiry.contains(*seq) != row.is_open() {
                return Err(format!("{id} waits for the record's word and nobody asks, or the reverse"));
            }
            let removable = row.is_finished() && held.durable && row.unconfirmed.is_empty();
            if self.removable.contains(seq) != removable {
                return Err(format!("{id} is wrongly listed as what may leave"));
            }
            if row.receipts.len() > limits::RECEIPTS_PER_EVENT {
                return Err(format!("{id} has {} receipts", row.receipts.len()));
            }
        }
        Ok(())
    }
}
