//! The leader's record takes the place of this node's: whoever is here and lacked what it brings is told.

use std::sync::Arc;

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{Output, Report};
use crate::broker::waiting::Claim;
use crate::event::Text;
use crate::id::EventId;
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::{Entry, RecordState};
use crate::time::Now;

impl Broker {
    pub(super) fn restored(&mut self, now: Now, record: RecordState) {
        if record.last_index() < self.record.last_index() {
            // A leader's record is never behind what this node has applied; if one comes late, it brings nothing.
            return;
        }
        let old = std::mem::replace(&mut self.record, record);
        let news: Vec<Arc<Entry>> = self
            .record
            .entries()
            .filter(|entry| old.get(&entry.admission.sealed.event.id).is_none_or(|known| *known != ***entry))
            .cloned()
            .collect();
        for entry in &news {
            self.restored_entry(now, old.get(&entry.admission.sealed.event.id), entry);
        }
        // What waited and is there now (or in the archive) waits no longer.
        let admits: Vec<Claim> = self.pending.keys().map(|id| Claim::Admit(*id)).collect();
        let claims: Vec<Claim> = admits.into_iter().chain(self.waiting.claims()).collect();
        claims.iter().for_each(|claim| self.let_go(claim));
        let gone: Vec<EventId> = old.entries().map(|entry| entry.admission.sealed.event.id).collect();
        for id in gone.into_iter().filter(|id| self.record.get(id).is_none()) {
            self.desks.values_mut().for_each(|desk| desk.settle(now.mono, &id));
        }
        let seats: Vec<_> = self.desks.keys().cloned().collect();
        seats.iter().for_each(|seat| self.drain_desk(now, seat));
        self.plan_changed(now);
        self.look_for_cases(now);
        self.propose_next(now);
    }

    /// One event that is new, or of which something is.
    fn restored_entry(&mut self, now: Now, known: Option<&Entry>, entry: &Entry) {
        let event = entry.admission.sealed.event.clone();
        let offered = self.pending.get(&event.id).map(|pending| pending.offered.clone()).unwrap_or_default();
        if known.is_none() {
            let stored = Receipt { by: self.me.clone(), at: now.wall, ..stored(entry) };
            self.tell_relay(now, &event.relay, event.class, &stored);
            self.report(Report::Stored(entry.admission.sealed.clone()));
        }
        let size = (event.class, entry.admission.sealed.wire_bytes());
        for station in &entry.admission.stations {
            let since = entry.since(station);
            if known.is_some_and(|known| known.since(station) == since) {
                continue;
            }
            for (seat, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.greeted) {
                if !offered.contains(seat) || desk.courier.carries(&event.id) {
                    desk.offer(now.mono, event.id, size, since, false);
                }
            }
        }
        if known.map_or(!entry.case.is_untouched(), |known| known.case != entry.case) {
            self.tell_case(entry);
        }
        for note in &entry.notes {
            let same =
                |known: &Entry| known.said(note.stage, &note.by).is_some_and(|old| old.standing == note.standing);
            if !known.is_some_and(same) {
                self.tell_noted(now, entry, note);
                self.report(Report::Noted(entry.admission.sealed.clone(), note.clone()));
            }
        }
    }
}

fn stored(entry: &Entry) -> Receipt {
    Receipt {
        event: entry.admission.sealed.event.id,
        stage: Stage::Stored,
        at: entry.admission.at,
        by: entry.admission.by.clone(),
        officer: None,
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    }
}

impl Broker {
    /// Gives the archive what left the record.
    pub(super) fn archive(&mut self, left: Vec<(u64, Arc<Entry>)>) {
        for (number, entry) in left {
            let id = entry.admission.sealed.event.id;
            self.waiting.claims_about(&id).iter().for_each(|claim| self.let_go(claim));
            self.out.push_back(Output::Archive(number, Box::new(Arc::unwrap_or_clone(entry))));
        }
    }
}
