//! What events of one school have to do with each other: presses that are repeated, presses elsewhere in a school that has an open case, and
//! cases that follow one another.
//!
//! | there is of the same school and mode | a new alarm is | its case |
//! | --- | --- | --- |
//! | an open case of the same device and kind; of a person, the same one within five minutes | a repeat | that one: counted, raised, told again |
//! | an open case, and both are presses | a child | its own, with the other for its parent |
//! | a case closed within the last 24 hours | a follower | its own, linked to the former one |
//!
//! Each stays an event of its own: stored, delivered, on the screens, and answered for. Who acknowledges a press acknowledges all of its repeats
//! that are known by then; one that comes later asks again.
//!
//! Invariants:
//! * What an event is bonded to was admitted before it, and no bond changes once it is there.
//! * Duress joins nothing and nothing joins it; neither do tests; drills join drills only; what another region forwarded is judged there.
//! * A decision looks at no more than [`limits::JOIN_LOOKS`] cases, the newest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::case::Summary;
use crate::event::{Event, Kind, Mode};
use crate::id::{EventId, NodeName, SchoolId};
use crate::limits;
use crate::receipt::{Receipt, Stage};
use crate::record::command::Admission;
use crate::record::entry::Entry;
use crate::record::state::RecordState;
use crate::time::{Span, WallTime};

/// What an event has to do with an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Bond {
    /// Nothing.
    #[default]
    Alone,
    /// It is the same press again: it has no case but that one's.
    Repeat(EventId),
    /// It was pressed elsewhere in the school while that one's case was open.
    Child(EventId),
    /// Its case comes after that one's.
    Follows(EventId),
}

impl Bond {
    /// The earlier event.
    #[must_use]
    pub fn to(self) -> Option<EventId> {
        match self {
            Bond::Alone => None,
            Bond::Repeat(id) | Bond::Child(id) | Bond::Follows(id) => Some(id),
        }
    }

    /// The event whose case it shares.
    #[must_use]
    pub fn root(self) -> Option<EventId> {
        match self {
            Bond::Repeat(id) => Some(id),
            _ => None,
        }
    }
}

/// How far repeats raise the level of a case: 1, 3, 7 and 15 of them by one more each, up to [`limits::CASE_LEVEL`].
#[must_use]
pub fn rise(presses: u32) -> u8 {
    let rise = presses.saturating_add(1).ilog2();
    u8::try_from(rise).unwrap_or(u8::MAX).min(limits::CASE_LEVEL)
}

/// Whether somebody pressed a button for help, and may press another one.
fn is_press(kind: &Kind) -> bool {
    matches!(kind, Kind::Panic | Kind::Meeting | Kind::Medical | Kind::Fire | Kind::Assist)
}

/// Whether an event may have anything to do with another one at all.
pub(crate) fn joins(event: &Event) -> bool {
    let alarm = event.class <= crate::event::Class::P1;
    // What the region finds out by itself is one trouble each, and is closed as one.
    let pressed = !event.is_of_region();
    alarm && pressed && event.mode != Mode::Test && !matches!(event.kind, Kind::Duress | Kind::Cancel)
}

/// Whether `event` is `earlier` again, but for the time.
fn is_same(event: &Event, earlier: &Event) -> bool {
    let same = event.kind == earlier.kind;
    match event.kind {
        Kind::Person => {
            let person = event.details.get("person");
            same && person.is_some() && person == earlier.details.get("person")
        }
        _ => same && event.device.is_some() && event.device == earlier.device,
    }
}

fn within(span: Span, earlier: WallTime, later: WallTime) -> bool {
    i64::try_from(span.as_micros()).is_ok_and(|span| later - earlier <= span)
}

impl Entry {
    /// How its case stands, with what it has to do with others; `None` if it is no alarm. A repeat has no case of its own: what is said is
    /// whether an officer has it.
    #[must_use]
    pub fn summary(&self) -> Option<Summary> {
        let event = &self.admission.sealed.event;
        if event.class > crate::event::Class::P1 {
            return None;
        }
        let mut summary = self.case.summary(event.id);
        summary.bond = self.bond;
        summary.presses = self.presses;
        summary.level = summary.level.saturating_add(rise(self.presses)).min(limits::CASE_LEVEL);
        if let Some(owner) = self.owner().filter(|_| self.bond.root().is_some()) {
            summary.state = crate::case::State::Acknowledged;
            summary.owner = Some(crate::case::Owner { by: owner.by.clone(), officer: owner.officer.clone() });
            summary.steps = 1;
        }
        Some(summary)
    }
}

/// Files an id under its school, or no longer.
fn list(lists: &mut BTreeMap<SchoolId, BTreeSet<EventId>>, school: &SchoolId, id: EventId, there: bool) {
    if there {
        lists.entry(school.clone()).or_default().insert(id);
    } else if let Some(ids) = lists.get_mut(school) {
        ids.remove(&id);
        if ids.is_empty() {
            lists.remove(school);
        }
    }
}

impl RecordState {
    /// Lists an event among its school's cases and its root's repeats as it is now, or, gone from the record, nowhere.
    pub(super) fn list_case(&mut self, entry: &Entry) {
        self.list_joined(entry, true);
    }

    pub(super) fn unlist_case(&mut self, entry: &Entry) {
        self.list_joined(entry, false);
    }

    fn list_joined(&mut self, entry: &Entry, there: bool) {
        let event = &entry.admission.sealed.event;
        let (case, closed) = (there && entry.has_case(), entry.is_closed());
        list(&mut self.cases_of, event.school(), event.id, case && !closed);
        list(&mut self.closed_of, event.school(), event.id, case && closed);
        let Some(root) = entry.bond.root() else { return };
        if there && !entry.is_finished() {
            self.repeats_of.entry(root).or_default().insert(event.id);
        } else if let Some(repeats) = self.repeats_of.get_mut(&root) {
            repeats.remove(&event.id);
            if repeats.is_empty() {
                self.repeats_of.remove(&root);
            }
        }
    }

    /// The event whose case an order about `event` is about: of a repeat, the first press.
    #[must_use]
    pub fn root_of(&self, event: &EventId) -> EventId {
        let root = self.entries.get(event).and_then(|entry| entry.bond.root());
        root.filter(|root| self.entries.contains_key(root)).unwrap_or(*event)
    }

    /// What a new event has to do with those that are there.
    pub(super) fn bond(&self, admission: &Admission) -> Bond {
        let event = &admission.sealed.event;
        let Some(station) = admission.stations.first() else { return Bond::Alone };
        if !admission.joins || !joins(event) || admission.forwarded_by().is_some() {
            return Bond::Alone;
        }
        // Whose officers do not have a case cannot act on it.
        let fits = |earlier: &&Entry| {
            let of = &earlier.admission.sealed.event;
            let ours = earlier.admission.forwarded_by().is_none() && earlier.admission.stations.contains(station);
            ours && joins(of) && of.mode == event.mode
        };
        let ids = self.cases_of.get(event.school()).into_iter().flatten().rev().take(limits::JOIN_LOOKS);
        let open: Vec<&Entry> = ids.filter_map(|id| self.get(id)).filter(fits).collect();
        let again = |earlier: &&&Entry| {
            let last = earlier.pressed_at.unwrap_or(earlier.admission.at);
            let timely = event.kind != Kind::Person || within(limits::JOIN_PERSON_WITHIN, last, admission.at);
            timely && is_same(event, &earlier.admission.sealed.event)
        };
        if let Some(root) = open.iter().find(again) {
            return Bond::Repeat(root.admission.sealed.event.id);
        }
        if is_press(&event.kind) {
            let presses = || open.iter().rev().filter(|earlier| is_press(&earlier.admission.sealed.event.kind));
            let parent = presses().find(|earlier| !matches!(earlier.bond, Bond::Child(_)));
            if let Some(parent) = parent.or_else(|| presses().next()) {
                return Bond::Child(parent.admission.sealed.event.id);
            }
        }
        let ids = self.closed_of.get(event.school()).into_iter().flatten().rev().take(limits::JOIN_LOOKS);
        let closed = ids.filter_map(|id| self.get(id)).filter(fits).filter_map(|earlier| {
            let (_, closed) = earlier.case.closed?;
            let of = &earlier.admission.sealed.event;
            let akin = is_same(event, of) || is_press(&event.kind) && is_press(&of.kind);
            (akin && within(limits::JOIN_LINK_WITHIN, closed, admission.at)).then_some((closed, of.id))
        });
        closed.max().map_or(Bond::Alone, |(_, id)| Bond::Follows(id))
    }

    /// A press has come again: its case counts it, and everybody who has the case is told.
    pub(super) fn press_again(&mut self, repeat: &Entry, changed: &mut Vec<EventId>) {
        let Some(root) = repeat.bond.root() else { return };
        let Some(entry) = self.entries.get_mut(&root).map(Arc::make_mut) else { return };
        entry.presses = entry.presses.saturating_add(repeat.admission.sealed.event.count.max(1));
        entry.pressed_at = entry.pressed_at.max(Some(repeat.admission.at));
        changed.push(root);
    }

    /// An officer has one of several presses of a button: the same goes for those of them that nobody has and that the officer's station sees.
    /// Gives what is noted of those.
    pub(super) fn spread(&mut self, noted: &Receipt, changed: &mut Vec<EventId>) -> Vec<Receipt> {
        let NodeName::Station(seat) = &noted.by else { return Vec::new() };
        if noted.stage != Stage::Acknowledged {
            return Vec::new();
        }
        let root = self.root_of(&noted.event);
        let repeats = self.repeats_of.get(&root).into_iter().flatten().copied();
        let others: Vec<EventId> = std::iter::once(root).chain(repeats).filter(|id| *id != noted.event).collect();
        let mut spread = Vec::new();
        for id in others {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            if entry.owner().is_some() || !entry.admission.stations.contains(&seat.station) {
                continue;
            }
            let entry = Arc::make_mut(entry);
            let Some(receipt) = entry.note(Receipt { event: id, ..noted.clone() }) else { continue };
            let before = entry.case.history.weight();
            entry.acknowledge(&receipt);
            self.case_bytes += entry.case.history.weight() - before;
            changed.push(id);
            self.file(id);
            spread.push(receipt);
        }
        spread
    }

    pub(super) fn check_joined(&self, id: &EventId, entry: &Entry) -> Result<(), String> {
        let school = entry.admission.sealed.event.school();
        let (open, closed) = (entry.has_case() && !entry.is_closed(), entry.has_case() && entry.is_closed());
        for (lists, there, what) in [(&self.cases_of, open, "open"), (&self.closed_of, closed, "closed")] {
            if lists.get(school).is_some_and(|ids| ids.contains(id)) != there {
                return Err(format!("{id} is wrongly listed as an {what} case of its school, or not listed"));
            }
        }
        if let Some(earlier) = entry.bond.to().and_then(|to| self.entries.get(&to)) {
            let (of, to) = (&entry.admission.sealed.event, &earlier.admission.sealed.event);
            if earlier.index >= entry.index
                || of.school() != to.school()
                || of.mode != to.mode
                || !joins(of)
                || !joins(to)
            {
                return Err(format!("{id} is bonded to {}, which it cannot be", to.id));
            }
            if entry.bond.root().is_some() && earlier.bond.root().is_some() {
                return Err(format!("{id} repeats {}, which is a repeat itself", to.id));
            }
        }
        let listed = entry.bond.root().and_then(|root| self.repeats_of.get(&root));
        if entry.bond.root().is_some() && listed.is_some_and(|ids| ids.contains(id)) == entry.is_finished() {
            return Err(format!("{id} is wrongly listed as a repeat that nobody has, or not listed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
