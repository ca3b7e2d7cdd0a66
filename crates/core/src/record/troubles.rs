//! What the record does about troubles: one open trouble about each thing, and what is closed when it is over.
//!
//! Invariant: the list of open troubles is what the entries say, so a record that is read back has the same one.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::case::{Reason, State};
use crate::event::{Class, Text};
use crate::id::{EventId, NodeName};
use crate::limits;
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::command::Admission;
use crate::record::entry::Entry;
use crate::record::state::{Effect, RecordState};
use crate::time::WallTime;
use crate::trouble::{About, Open, Trouble, Troubles};

impl RecordState {
    /// A trouble begins, or is more urgent than before.
    pub(super) fn trouble_began(
        &mut self,
        index: u64,
        about: About,
        admission: Admission,
        changed: &mut Vec<EventId>,
    ) -> Effect {
        let event = &admission.sealed.event;
        let (id, class) = (event.id, event.class);
        let known = self.troubles.get(&about);
        let told = known.is_some_and(|open| open.class <= class);
        let full = known.is_none() && self.troubles.len() >= limits::RECORD_TROUBLES;
        if told || full || admission.stations.is_empty() || !about.fits(event) {
            return Effect::Nothing;
        }
        if self.admit(index, admission, changed) == Effect::Nothing {
            return Effect::Nothing;
        }
        let Some(entry) = self.entries.get_mut(&id).map(Arc::make_mut) else { return Effect::Nothing };
        entry.trouble = Some(Trouble { about, over: None });
        let entry = entry.clone();
        list(Arc::make_mut(&mut self.troubles), &entry);
        Effect::TroubleBegan(id)
    }

    /// A trouble is over: its events are cleared, and their cases closed.
    pub(super) fn trouble_over(
        &mut self,
        index: u64,
        about: &About,
        admission: Option<Admission>,
        (by, at): (NodeName, WallTime),
        changed: &mut Vec<EventId>,
    ) -> Effect {
        if !self.troubles.contains_key(about) {
            return Effect::Nothing;
        }
        let Some(open) = Arc::make_mut(&mut self.troubles).remove(about) else { return Effect::Nothing };
        let mut noted = Vec::new();
        for id in open.events {
            let Some(entry) = self.entries.get_mut(&id).map(Arc::make_mut) else { continue };
            let before = entry.case.history.weight();
            let (note, closed) = entry.clear(index, (&by, at), about);
            self.case_bytes += entry.case.history.weight() - before;
            noted.extend(note);
            if closed {
                changed.push(id);
            }
            self.file(id);
        }
        let said = admission.filter(|admission| about.over_kind().as_ref() == Some(&admission.sealed.event.kind));
        let id = said.as_ref().map(|said| said.sealed.event.id);
        let admitted =
            said.is_some_and(|said| !said.stations.is_empty() && self.admit(index, said, changed) != Effect::Nothing);
        Effect::TroubleOver(noted, id.filter(|_| admitted))
    }

    /// An event leaves the record: a trouble that it told of is forgotten with it.
    pub(super) fn forget_trouble(&mut self, entry: &Entry) {
        let Some(trouble) = entry.trouble.as_ref().filter(|trouble| trouble.over.is_none()) else { return };
        let id = entry.admission.sealed.event.id;
        let troubles = Arc::make_mut(&mut self.troubles);
        let Some(open) = troubles.get_mut(&trouble.about) else { return };
        open.events.retain(|event| *event != id);
        let left = open.events.clone();
        troubles.remove(&trouble.about);
        for entry in left.iter().filter_map(|id| self.entries.get(id)) {
            list(troubles, entry);
        }
    }

    /// Lists the open troubles that the entries tell of.
    pub(super) fn recall_troubles(&mut self) {
        self.troubles = Arc::new(self.troubles_of_entries());
    }

    fn troubles_of_entries(&self) -> Troubles {
        let mut entries: Vec<&Arc<Entry>> = self.entries.values().filter(|entry| entry.is_open_trouble()).collect();
        entries.sort_by_key(|entry| entry.index);
        let mut troubles = BTreeMap::new();
        entries.into_iter().for_each(|entry| list(&mut troubles, entry));
        troubles
    }

    pub(super) fn check_troubles(&self) -> Result<(), String> {
        if *self.troubles != self.troubles_of_entries() {
            return Err("the open troubles are not those of the entries".to_owned());
        }
        if self.troubles.len() > limits::RECORD_TROUBLES {
            return Err(format!("{} troubles are open", self.troubles.len()));
        }
        Ok(())
    }
}

/// Lists an entry that tells of an open trouble, behind those that did before.
fn list(troubles: &mut Troubles, entry: &Entry) {
    let Some(trouble) = &entry.trouble else { return };
    let event = &entry.admission.sealed.event;
    let open = troubles.entry(trouble.about.clone()).or_insert_with(|| Open {
        events: Vec::new(),
        class: Class::P4,
        since: event.raised_at,
        stations: Vec::new(),
    });
    open.events.push(event.id);
    open.class = open.class.min(event.class);
    // Whom officers added is told too: they see the events in question.
    for station in &entry.original_stations() {
        if !open.stations.contains(station) {
            open.stations.push(station.clone());
        }
    }
}

impl Entry {
    /// The stations that it had at its admission or by its route.
    fn original_stations(&self) -> Vec<crate::id::StationId> {
        let of = |station: &&crate::id::StationId| self.since(station) == Some(self.routed_at);
        self.admission.stations.iter().filter(of).cloned().collect()
    }

    /// The trouble that it tells of is over: what is noted at it, unless somebody has taken it, and whether its case was closed by that.
    fn clear(&mut self, index: u64, (by, at): (&NodeName, WallTime), about: &About) -> (Option<Receipt>, bool) {
        if let Some(trouble) = &mut self.trouble {
            trouble.over = Some(at);
        }
        let note = Text::new(about.over_words()).unwrap_or_default();
        let event = self.admission.sealed.event.id;
        let receipt = Receipt {
            event,
            stage: Stage::Closed,
            at,
            by: by.clone(),
            officer: None,
            note: note.clone(),
            skew: None,
            standing: Standing::Settled,
        };
        let noted = if self.owner().is_none() { self.note(receipt) } else { None };
        let sealed = self.admission.sealed.clone();
        let closes = self.has_case() && self.case.state != State::Closed;
        if closes {
            self.case.end(&sealed, index, (Reason::Other, note), (by.clone(), at));
        }
        (noted, closes)
    }
}
