//! What is said of an event: by this seat's screen and officers, by others, and what the region has of it.

use std::collections::BTreeSet;

use crate::event::{Class, Text};
use crate::id::{EventId, Name, PathId, PersistSeq};
use crate::receipt::{RECEIPT_WIRE_BYTES, Receipt, Stage, Standing};
use crate::station::machine::Station;
use crate::station::port::{AckError, AckTicket, Acknowledged, Output, Report};
use crate::time::Now;

/// How often a region may say that it does not know an event before the station stops telling it about that event. Should the
/// region ever send the event again, it is told again.
const UNKNOWN_LIMIT: u32 = 720;

impl Station {
    /// Somebody else's receipts, as the region passes them on.
    pub(super) fn heard(&mut self, now: Now, path: PathId, receipts: Vec<Receipt>) {
        let mut news = BTreeSet::new();
        let owners = receipts.iter().filter(|receipt| receipt.stage == Stage::Acknowledged && receipt.by != self.me);
        let lost: Vec<EventId> = owners.filter(|_| self.older.contains(&path)).map(|receipt| receipt.event).collect();
        news.extend(receipts.into_iter().filter_map(|receipt| self.note(now, receipt)));
        news.extend(lost.into_iter().filter_map(|id| self.came_second(now, id)));
        for seq in news {
            self.keep(seq);
        }
    }

    /// Adds a receipt to its event's row; the row's number, if that changes it.
    fn note(&mut self, now: Now, receipt: Receipt) -> Option<u64> {
        let seq = self.by_id.get(&receipt.event).copied()?;
        let held = self.rows.get_mut(&seq)?;
        let own = receipt.by == self.me && held.row.said(receipt.stage, &self.me).is_some();
        // The record has this seat's word, and another officer's before it.
        let answered = own && receipt.standing == Standing::Assisting && held.row.unconfirmed.remove(&receipt.stage);
        if answered {
            self.courier.settle(now.mono, &(receipt.event, receipt.stage));
        }
        let waits = held.row.unconfirmed.contains(&receipt.stage);
        let news = if own && receipt.standing == Standing::Provisional {
            // A node without a quorum has it. That is said until the record has it.
            waits && held.row.set_standing(receipt.stage, &self.me, Standing::Provisional)
        } else {
            held.row.add(receipt.clone(), &self.me)
        };
        if news {
            let row = held.row.clone();
            self.out.push_back(Output::Report(Report::Stage(row, receipt)));
        }
        (news || answered).then_some(())?;
        self.file(now, seq);
        Some(seq)
    }

    /// To a node of an older minor, whose alarm it is is all the answer there is to an acknowledgement that came too late: its record has no place
    /// for one. The row's number, if that was waited for.
    fn came_second(&mut self, now: Now, id: EventId) -> Option<u64> {
        let seq = self.by_id.get(&id).copied()?;
        let held = self.rows.get_mut(&seq)?;
        if !held.row.unconfirmed.remove(&Stage::Acknowledged) {
            return None;
        }
        held.row.set_standing(Stage::Acknowledged, &self.me, Standing::Assisting);
        self.courier.settle(now.mono, &(id, Stage::Acknowledged));
        self.file(now, seq);
        Some(seq)
    }

    pub(super) fn confirmed(&mut self, now: Now, stages: Vec<(EventId, Stage)>) {
        for (id, stage) in stages {
            self.courier.settle(now.mono, &(id, stage));
            let Some(seq) = self.by_id.get(&id).copied() else { continue };
            let Some(held) = self.rows.get_mut(&seq) else { continue };
            held.unknown = 0;
            if held.row.unconfirmed.remove(&stage) {
                let elsewhere = |owner: &Receipt| owner.is_final() && owner.by != self.me;
                let late = stage == Stage::Acknowledged && held.row.owner().is_some_and(elsewhere);
                let standing = if late { Standing::Assisting } else { Standing::Settled };
                held.row.set_standing(stage, &self.me, standing);
                self.out.push_back(Output::Report(Report::Confirmed(id, stage)));
                self.keep(seq);
                self.file(now, seq);
            }
        }
    }

    pub(super) fn unknown(&mut self, now: Now, id: EventId) {
        let Some(held) = self.by_id.get(&id).and_then(|seq| self.rows.get_mut(seq)) else { return };
        held.unknown += 1;
        if held.unknown < UNKNOWN_LIMIT {
            return;
        }
        held.unknown = 0;
        let seq = held.row.seq;
        for stage in std::mem::take(&mut held.row.unconfirmed) {
            self.courier.settle(now.mono, &(id, stage));
        }
        self.out.push_back(Output::Report(Report::Orphan(id)));
        self.keep(seq);
        self.file(now, seq);
    }

    pub(super) fn displayed(&mut self, now: Now, ids: &[EventId]) {
        for id in ids {
            let receipt = self.own_receipt(*id, Stage::Displayed, now.wall);
            self.say(now, receipt);
        }
    }

    pub(super) fn acknowledge(&mut self, now: Now, ticket: AckTicket, event: EventId, officer: Name, note: Text) {
        let mut receipt = self.own_receipt(event, Stage::Acknowledged, now.wall);
        receipt.officer = Some(officer);
        receipt.note = note;
        let Some(row) = self.get(&event) else {
            return self.out.push_back(Output::Answer(ticket, Err(AckError::Unknown(event))));
        };
        let (seq, owner) = (row.seq, row.owner().cloned());
        let own = row.said(Stage::Acknowledged, &self.me).cloned();
        match owner {
            Some(owner) if own.as_ref().is_some_and(|own| own.officer == receipt.officer) => {
                let receipt = own.unwrap_or_else(|| owner.clone());
                self.acknowledge_again(ticket, seq, receipt, owner);
            }
            Some(owner) if owner.is_final() || own.is_some() => {
                self.out.push_back(Output::Answer(ticket, Err(AckError::Taken(owner))));
            }
            owner => {
                // What a node without a quorum has taken may turn out to be second in the record: this officer's word counts too.
                if owner.is_some() {
                    receipt.standing = Standing::Provisional;
                }
                let owner = owner.unwrap_or_else(|| receipt.clone());
                let done = Acknowledged { owner, receipt: receipt.clone(), repeated: false };
                match self.say(now, receipt) {
                    Some(persist) => self.answers.entry(persist).or_default().push((ticket, done)),
                    None => self.out.push_back(Output::Answer(ticket, Err(AckError::Unknown(event)))),
                }
            }
        }
    }

    /// The same officer asks again: is answered when the disk has what was said the first time.
    fn acknowledge_again(&mut self, ticket: AckTicket, seq: u64, receipt: Receipt, owner: Receipt) {
        let class = self.rows.get(&seq).map_or(Class::P0, |held| held.row.sealed.event.class);
        let under_way = if self.unkept.contains(class, seq) { self.keep(seq) } else { self.write_of(seq) };
        let done = Acknowledged { receipt, owner, repeated: true };
        match under_way {
            Some(persist) => self.answers.entry(persist).or_default().push((ticket, done)),
            None => self.out.push_back(Output::Answer(ticket, Ok(done))),
        }
    }

    /// Says something to the region, and keeps saying it until the record has it. It is a fact about people, not about this
    /// disk, so it goes out while the disk is still syncing. Gives the write that keeps it, if it is news.
    fn say(&mut self, now: Now, receipt: Receipt) -> Option<PersistSeq> {
        let (id, stage) = (receipt.event, receipt.stage);
        if self.get(&id).is_some_and(|row| row.said(stage, &self.me).is_some()) {
            return None;
        }
        let seq = self.note(now, receipt)?;
        let held = self.rows.get_mut(&seq)?;
        held.row.unconfirmed.insert(stage);
        let class = held.row.sealed.event.class;
        self.courier.offer(now.mono, (id, stage), carried_as(class, stage), false, RECEIPT_WIRE_BYTES);
        self.file(now, seq);
        self.keep(seq)
    }
}

/// The class under which a statement travels: an officer's answer to an alarm is as urgent as the alarm.
pub(super) fn carried_as(event: Class, stage: Stage) -> Class {
    if stage >= Stage::Displayed { event.min(Class::P1) } else { event.max(Class::P1) }
}
