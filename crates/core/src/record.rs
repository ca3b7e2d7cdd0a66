//! The record's state machine: what a region knows, as a function of an ordered log of [`Command`]s.
//!
//! Invariant: [`RecordState::apply`] is pure. The same commands in the same order give the same state on every node, so an
//! engine that orders commands (one node's journal, or a consensus among several) is all that is needed around it. Time
//! enters only inside commands.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Class, Sealed};
use crate::id::{EventId, NodeName, StationId};
use crate::limits;
use crate::receipt::{Receipt, Stage, Trail};
use crate::time::WallTime;

/// One entry of the record's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// An event came to a node of the region for the first time.
    Admit(Admission),
    /// A station says that an event reached a stage.
    Note(Receipt),
    /// A plan that came later gives stations to an event that had none.
    Route {
        /// The event.
        event: EventId,
        /// Its stations from now on.
        stations: Vec<StationId>,
    },
}

impl Command {
    /// The event that it is about.
    #[must_use]
    pub fn event(&self) -> EventId {
        match self {
            Command::Admit(admission) => admission.sealed.event.id,
            Command::Note(receipt) => receipt.event,
            Command::Route { event, .. } => *event,
        }
    }
}

/// How an event entered the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The event.
    pub sealed: Sealed,
    /// Where its first copy had been, the admitting node included.
    pub trail: Trail,
    /// When it came to that node, by its clock.
    pub at: WallTime,
    /// That node.
    pub by: NodeName,
    /// Who must see it. Frozen at admission: a change of the plan never moves an alarm that is under way.
    pub stations: Vec<StationId>,
}

/// One event in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The index of its admission.
    pub index: u64,
    /// How it came in.
    pub admission: Admission,
    /// What stations said of it, in the record's order; the first statement of a kind by a seat counts.
    pub notes: Vec<Receipt>,
    commands: Vec<u64>,
}

impl Entry {
    /// The officer who has it: whose acknowledgement came first in the record's order.
    #[must_use]
    pub fn owner(&self) -> Option<&Receipt> {
        self.notes.iter().find(|note| note.stage == Stage::Acknowledged)
    }

    /// Whether `by` is on record with `stage`.
    #[must_use]
    pub fn has(&self, stage: Stage, by: &NodeName) -> bool {
        self.notes.iter().any(|note| note.stage == stage && note.by == *by)
    }

    /// All that can be said of the event, for those who ask.
    #[must_use]
    pub fn receipts(&self) -> Vec<Receipt> {
        let own = |stage| Receipt {
            event: self.admission.sealed.event.id,
            stage,
            at: self.admission.at,
            by: self.admission.by.clone(),
            officer: None,
            note: crate::event::Text::default(),
        };
        let mut all = vec![own(Stage::Received), own(Stage::Stored)];
        all.extend(self.notes.iter().cloned());
        all
    }

    fn is_finished(&self) -> bool {
        let class = self.admission.sealed.event.class;
        let enough = if class <= Class::P1 { Stage::Acknowledged } else { Stage::Delivered };
        self.notes.iter().any(|note| note.stage >= enough)
    }
}

/// What applying a command brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The event is in the record now.
    Admitted(EventId),
    /// The statement is in the record now.
    Noted(Receipt),
    /// The event has stations now.
    Routed(EventId),
    /// The command changed nothing: a repeat, or a statement about an event that is not here.
    Nothing,
}

/// The state that the log adds up to.
#[derive(Debug, Clone, Default)]
pub struct RecordState {
    last_index: u64,
    entries: BTreeMap<EventId, Entry>,
    by_station: BTreeMap<StationId, BTreeMap<u64, EventId>>,
    unrouted: BTreeSet<EventId>,
    finished: BTreeMap<u64, EventId>,
    capacity: usize,
}

impl RecordState {
    /// An empty record that holds at most `capacity` events ([`limits::RECORD_EVENTS`] in production) beyond the unfinished ones.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { capacity, ..Self::default() }
    }

    /// Applies the command at `index`. Indexes rise; gaps are allowed, since the commands of forgotten events are gone.
    pub fn apply(&mut self, index: u64, command: Command) -> Effect {
        debug_assert!(index > self.last_index, "the log goes forward");
        self.last_index = index;
        match command {
            Command::Admit(admission) => self.admit(index, admission),
            Command::Note(receipt) => self.note(index, receipt),
            Command::Route { event, stations } => self.route(index, event, stations),
        }
    }

    /// The index of the last command applied.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The event, if the record holds it.
    #[must_use]
    pub fn get(&self, event: &EventId) -> Option<&Entry> {
        self.entries.get(event)
    }

    /// How many events the record holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The events for `station` admitted (or routed) after `index`, in order.
    pub fn for_station(&self, station: &StationId, index: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let events = self.by_station.get(station);
        let after = events.map(|events| events.range(index.saturating_add(1)..));
        after.into_iter().flatten().filter_map(|(index, id)| self.entries.get(id).map(|entry| (*index, entry)))
    }

    /// The events that no plan has given a station yet.
    pub fn unrouted(&self) -> impl Iterator<Item = &Entry> {
        self.unrouted.iter().filter_map(|id| self.entries.get(id))
    }

    /// The events that no officer has taken, oldest first.
    pub fn unfinished(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| !entry.is_finished())
    }

    /// Drops the oldest finished events beyond the capacity and gives the indexes of their commands, for the log to forget.
    pub fn evict(&mut self) -> Vec<u64> {
        let mut forgotten = Vec::new();
        while self.entries.len() > self.capacity {
            let Some((_, id)) = self.finished.pop_first() else { break };
            let Some(entry) = self.entries.remove(&id) else { continue };
            for station in &entry.admission.stations {
                if let Some(events) = self.by_station.get_mut(station) {
                    entry.commands.iter().for_each(|index| drop(events.remove(index)));
                }
            }
            forgotten.extend(entry.commands);
        }
        forgotten
    }

    /// Holds the state against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        for (station, events) in &self.by_station {
            for (index, id) in events {
                let Some(entry) = self.entries.get(id) else {
                    return Err(format!("{station} is listed for {id} at {index}, which is not in the record"));
                };
                if !entry.admission.stations.contains(station) {
                    return Err(format!("{station} is listed for {id}, which is not routed to it"));
                }
            }
        }
        for (id, entry) in &self.entries {
            if entry.index > self.last_index {
                return Err(format!("{id} was admitted after the end of the log"));
            }
            if entry.admission.stations.is_empty() != self.unrouted.contains(id) {
                return Err(format!("{id} is wrongly listed as {}", if self.unrouted.contains(id) { "unrouted" } else { "routed" }));
            }
            if entry.notes.len() > limits::RECEIPTS_PER_EVENT {
                return Err(format!("{id} holds {} statements", entry.notes.len()));
            }
        }
        Ok(())
    }

    fn admit(&mut self, index: u64, admission: Admission) -> Effect {
        let id = admission.sealed.event.id;
        if self.entries.contains_key(&id) {
            return Effect::Nothing;
        }
        if admission.stations.is_empty() {
            self.unrouted.insert(id);
        }
        for station in &admission.stations {
            self.by_station.entry(station.clone()).or_default().insert(index, id);
        }
        self.entries.insert(id, Entry { index, admission, notes: Vec::new(), commands: vec![index] });
        Effect::Admitted(id)
    }

    fn note(&mut self, index: u64, receipt: Receipt) -> Effect {
        let Some(entry) = self.entries.get_mut(&receipt.event) else { return Effect::Nothing };
        if entry.has(receipt.stage, &receipt.by) || entry.notes.len() >= limits::RECEIPTS_PER_EVENT {
            return Effect::Nothing;
        }
        entry.commands.push(index);
        entry.notes.push(receipt.clone());
        if entry.is_finished() {
            self.finished.insert(entry.index, receipt.event);
        }
        Effect::Noted(receipt)
    }

    fn route(&mut self, index: u64, event: EventId, stations: Vec<StationId>) -> Effect {
        if stations.is_empty() || !self.unrouted.remove(&event) {
            return Effect::Nothing;
        }
        let Some(entry) = self.entries.get_mut(&event) else { return Effect::Nothing };
        entry.commands.push(index);
        for station in &stations {
            self.by_station.entry(station.clone()).or_default().insert(index, event);
        }
        entry.admission.stations = stations;
        Effect::Routed(event)
    }
}

#[cfg(test)]
mod tests;
