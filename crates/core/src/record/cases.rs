//! What the record does about cases: whose word counts, what a step brings beside itself, and how a long history is cut into rows.
//!
//! Invariant: only seats of stations that have the event act, and an event that was forwarded here has its case where it came from.

use std::sync::Arc;

use crate::case::{Action, Case, CaseOrder, CaseRefusal, History};
use crate::event::Kind;
use crate::id::{EventId, NodeName, StationId};
use crate::limits;
use crate::receipt::{Receipt, Stage};
use crate::record::entry::{Entry, Escalation, Part};
use crate::record::state::{Effect, RecordState};
use crate::time::WallTime;

impl RecordState {
    /// How many cases are not closed, those of alarms that nobody has taken among them.
    #[must_use]
    pub fn open_cases(&self) -> usize {
        self.cases_of.values().map(std::collections::BTreeSet::len).sum()
    }

    /// An officer does something about an alarm.
    pub(super) fn act(
        &mut self,
        index: u64,
        mut order: Box<CaseOrder>,
        heard: WallTime,
        changed: &mut Vec<EventId>,
    ) -> Effect {
        // What is ordered about a repeat is about the first press.
        order.event = self.root_of(&order.event);
        let id = order.event;
        let full = self.case_bytes >= limits::RECORD_CASE_BYTES;
        let Some(entry) = self.entries.get_mut(&id).map(Arc::make_mut) else { return Effect::Nothing };
        let before = entry.case.history.weight();
        let acted = entry.act(index, &order, heard, full);
        self.case_bytes += entry.case.history.weight() - before;
        if acted.changed {
            changed.push(id);
            self.list_for(index, id, &acted.stations);
            self.file(id);
        }
        Effect::Acted(order, acted)
    }

    /// The school asks for its cases to be cancelled: a flag for those who act on them, and nothing else.
    pub(super) fn request_cancel(&mut self, cancel: &Entry, changed: &mut Vec<EventId>) {
        let open = self.cases_of.get(cancel.admission.sealed.event.school());
        let meant: Vec<EventId> = open.into_iter().flatten().copied().collect();
        for id in meant {
            let Some(entry) = self.entries.get_mut(&id).filter(|entry| entry.is_meant_by(cancel)) else { continue };
            if !entry.case.cancel_requested && Arc::make_mut(entry).case.request_cancel() {
                changed.push(id);
            }
        }
    }

    /// The alarms of a school whose case is open.
    pub fn open_cases_of(&self, school: &crate::id::SchoolId) -> impl Iterator<Item = &Entry> {
        self.cases_of.get(school).into_iter().flatten().filter_map(|id| self.get(id))
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acted {
    /// The number of its step, or why there is none.
    pub outcome: Result<u64, CaseRefusal>,
    /// Whether the case is another now: a repeat changes nothing, and neither does what is refused.
    pub changed: bool,
    /// The stations that the event was given by it.
    pub stations: Vec<StationId>,
}

impl Entry {
    /// What became of an order, if anything did.
    #[must_use]
    pub fn outcome(&self, order: &CaseOrder) -> Option<Result<u64, CaseRefusal>> {
        self.case.outcome(order)
    }

    /// An acknowledgement came into the record. True if it is a step of the case.
    pub(super) fn acknowledge(&mut self, receipt: &Receipt) -> bool {
        let index = self.index;
        receipt.stage == Stage::Acknowledged
            && self.has_case()
            && self.case.acknowledge(&self.admission.sealed, index, receipt)
    }

    /// What older versions, which kept no cases, have of one: who took the alarm first.
    pub fn derive_case(&mut self) {
        if let Some(owner) = self.owner().cloned()
            && self.case.is_untouched()
        {
            self.acknowledge(&owner);
        }
    }

    /// Carries an order out at `index`. `full` says that the record has room for the end of cases only.
    pub(super) fn act(&mut self, index: u64, order: &CaseOrder, heard: WallTime, full: bool) -> Acted {
        let refused = |why| Acted { outcome: Err(why), changed: false, stations: Vec::new() };
        if let Some(outcome) = self.outcome(order) {
            return Acted { outcome, changed: false, stations: Vec::new() };
        }
        if let Some(why) = self.bars(order) {
            return refused(self.case.refuse(order.id, why));
        }
        let to = match &order.action {
            Action::Transfer(to) => vec![to.clone()],
            _ => Vec::new(),
        };
        if !self.has_room_for(&to) {
            // What else is wrong with it goes before.
            let why = self.case.judge(order, heard, full).err().unwrap_or(CaseRefusal::NoRoom);
            return refused(self.case.refuse(order.id, why));
        }
        let outcome = self.case.act(&self.admission.sealed, index, (order, heard), full);
        let mut stations = Vec::new();
        if outcome.is_ok() && !to.is_empty() {
            let (by, officer, at, note) = (order.by.clone(), Some(order.officer.clone()), order.at, order.note.clone());
            stations = self.escalate(Escalation { index, stations: to, by, officer, at, note }).unwrap_or_default();
        }
        Acted { changed: outcome.is_ok(), outcome, stations }
    }

    /// What keeps this seat from saying anything about this case.
    fn bars(&self, order: &CaseOrder) -> Option<CaseRefusal> {
        let NodeName::Station(seat) = &order.by else { return Some(CaseRefusal::Unknown) };
        if !self.admission.stations.contains(&seat.station) {
            Some(CaseRefusal::Unknown)
        } else if !self.has_case() {
            Some(CaseRefusal::NoCase)
        } else if self.admission.forwarded_by().is_some() {
            Some(CaseRefusal::Elsewhere)
        } else if order.action == Action::MakeLive && self.is_live() {
            Some(CaseRefusal::Live)
        } else {
            None
        }
    }

    /// Whether the request to cancel in `other`, an event of the same school, is about this one: about all of the school, or of the zone that it
    /// names.
    pub(super) fn is_meant_by(&self, other: &Entry) -> bool {
        let (own, cancel) = (&self.admission.sealed.event, &other.admission.sealed.event);
        own.kind != Kind::Cancel && !own.is_of_region() && (cancel.zone.is_none() || cancel.zone == own.zone)
    }

    /// The rows that it takes in a snapshot or in the archive: itself, or several of which each has a part of the history and all of the rest.
    #[must_use]
    pub fn parts(&self) -> Vec<Entry> {
        let histories = self.case.history.split(limits::CASE_PART_BYTES);
        let of = u32::try_from(histories.len()).unwrap_or(u32::MAX);
        let part = |(at, history): (u32, History)| Entry {
            case: Case { history, ..self.case_without_history() },
            part: Part { at, of },
            ..self.clone_without_case()
        };
        (0..).zip(histories).map(part).collect()
    }

    /// How many rows they are.
    #[must_use]
    pub fn part_count(&self) -> usize {
        self.case.history.parts(limits::CASE_PART_BYTES)
    }

    fn case_without_history(&self) -> Case {
        let Case { state, level, owner, cancel_requested, number_110, closed, live, history: _, refused } = &self.case;
        Case {
            state: *state,
            level: *level,
            owner: owner.clone(),
            cancel_requested: *cancel_requested,
            number_110: number_110.clone(),
            closed: *closed,
            live: *live,
            history: History::default(),
            refused: refused.clone(),
        }
    }

    fn clone_without_case(&self) -> Entry {
        Entry {
            index: self.index,
            routed_at: self.routed_at,
            admission: self.admission.clone(),
            notes: self.notes.clone(),
            escalations: self.escalations.clone(),
            overdue: self.overdue.clone(),
            forwarded: self.forwarded.clone(),
            bond: self.bond,
            presses: self.presses,
            pressed_at: self.pressed_at,
            case: Case::default(),
            pictures: self.pictures.clone(),
            trouble: self.trouble.clone(),
            part: self.part,
        }
    }

    /// Takes the next part of the same event in, as [`Entry::parts`] made it. False, and nothing has changed, if it is not that.
    pub fn join(&mut self, next: &Entry) -> bool {
        let same = self.admission.sealed.event.id == next.admission.sealed.event.id && self.part.of == next.part.of;
        let follows = self.part.at.checked_add(1) == Some(next.part.at)
            && self.case.history.next_number() == next.case.history.first();
        if !same || !follows {
            return false;
        }
        next.case.history.steps().for_each(|step| {
            // Their numbers follow each other.
            self.case.history.push(step.clone());
        });
        self.part.at = next.part.at;
        if self.part.at.checked_add(1) == Some(self.part.of) {
            self.part = Part::WHOLE;
        }
        true
    }

    /// Whether nothing of it is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.part == Part::WHOLE
    }
}
