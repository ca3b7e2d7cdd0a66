//! The record's state machine: what a region knows, as a function of an ordered log of [`Command`]s.
//!
//! Invariant: [`RecordState::apply`] is pure. The same commands in the same order give the same state on every node, so an
//! engine that orders commands (one node's journal, or a consensus among several) is all that is needed around it. Time
//! enters only inside commands.
//!
//! An engine keeps to one rule: an index is never used twice, forgotten or not, since stations resume at indexes. To make that easy
//! for an engine that goes on behind the last entry it finds, the last index is never given up for forgetting.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Class, Sealed};
use crate::id::{EventId, NodeName, RelayId, StationId};
use crate::limits;
use crate::receipt::{Receipt, Stage, Trail, add_receipt};
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
    /// What stations said of it, in the record's order; the first statement of a kind by a seat counts. The first of each stage
    /// always has a place, of repeats by other seats as many as [`limits::RECEIPTS_PER_EVENT`] leaves room for.
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

    /// Whether this statement need not be made again: it is on record, or there is no room for another one of its kind.
    #[must_use]
    pub fn needs_no_more(&self, statement: &Receipt) -> bool {
        self.has(statement.stage, &statement.by) || !add_receipt(&mut self.notes.clone(), statement.clone())
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
            skew: None,
        };
        let mut all = vec![own(Stage::Received), own(Stage::Stored)];
        all.extend(self.notes.iter().cloned());
        all
    }

    /// What stations are told: of acknowledgements the owner's alone, so that whichever a station hears of is the owner's.
    #[must_use]
    pub fn receipts_for_stations(&self) -> Vec<Receipt> {
        let owner = self.owner().map(|owner| &owner.by);
        let mut receipts = self.receipts();
        receipts.retain(|receipt| receipt.stage != Stage::Acknowledged || Some(&receipt.by) == owner);
        receipts
    }

    /// Whose acknowledgement came before this one, if it is one and somebody's did.
    #[must_use]
    pub fn earlier_owner(&self, statement: &Receipt) -> Option<&Receipt> {
        self.owner().filter(|owner| statement.stage == Stage::Acknowledged && owner.by != statement.by)
    }

    /// Whether an officer has it or, where none need take it (below P1), a station.
    #[must_use]
    pub fn is_finished(&self) -> bool {
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
    unfinished: BTreeMap<u64, EventId>,
    unfinished_of: BTreeMap<RelayId, usize>,
    /// Indexes of commands that the state needs no longer and the log still holds.
    dead: BTreeSet<u64>,
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
        let effect = match command {
            Command::Admit(admission) => self.admit(index, admission),
            Command::Note(receipt) => self.note(index, receipt),
            Command::Route { event, stations } => self.route(index, event, stations),
        };
        if effect == Effect::Nothing {
            self.dead.insert(index);
        }
        effect
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

    /// The events that no officer has taken or, below P1, no station has: oldest first.
    pub fn unfinished(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.unfinished.values().filter_map(|id| self.entries.get(id))
    }

    /// How many of them a relay has raised.
    #[must_use]
    pub fn unfinished_of(&self, relay: &RelayId) -> usize {
        self.unfinished_of.get(relay).copied().unwrap_or(0)
    }

    /// Whether even forgetting all that is finished would not make room for another event.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unfinished.len() >= self.capacity
    }

    /// Drops the oldest finished events beyond the capacity. Gives the indexes that the log may forget: those of dropped events and
    /// those of commands that changed nothing, but never the last one, so that whoever counts on from the log's end repeats none.
    pub fn evict(&mut self) -> Vec<u64> {
        while self.entries.len() > self.capacity {
            let Some((_, id)) = self.finished.pop_first() else { break };
            let Some(entry) = self.entries.remove(&id) else { continue };
            for station in &entry.admission.stations {
                if let Some(events) = self.by_station.get_mut(station) {
                    for index in &entry.commands {
                        events.remove(index);
                    }
                    if events.is_empty() {
                        self.by_station.remove(station);
                    }
                }
            }
            self.unrouted.remove(&id);
            self.dead.extend(entry.commands);
        }
        let kept = self.dead.split_off(&self.last_index);
        std::mem::replace(&mut self.dead, kept).into_iter().collect()
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
                return Err(format!(
                    "{id} is wrongly listed as {}",
                    if self.unrouted.contains(id) { "unrouted" } else { "routed" }
                ));
            }
            let (done, open) = (self.finished.get(&entry.index), self.unfinished.get(&entry.index));
            if [done == Some(id), open == Some(id)] != [entry.is_finished(), !entry.is_finished()] {
                return Err(format!("{id} is wrongly listed as finished or unfinished"));
            }
            if entry.receipts().len() > limits::RECEIPTS_PER_EVENT {
                return Err(format!("{id} holds {} statements", entry.notes.len()));
            }
        }
        let open: usize = self.unfinished_of.values().sum();
        if open != self.unfinished.len() || self.entries.len() != open + self.finished.len() {
            return Err(format!("{open} events counted as unfinished, {} listed", self.unfinished.len()));
        }
        if self.entries.len() > self.capacity.max(self.unfinished.len()) + 1 {
            return Err(format!("{} events are held, {} may be", self.entries.len(), self.capacity));
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
        *self.unfinished_of.entry(admission.sealed.event.relay.clone()).or_default() += 1;
        self.unfinished.insert(index, id);
        self.entries.insert(id, Entry { index, admission, notes: Vec::new(), commands: vec![index] });
        Effect::Admitted(id)
    }

    fn note(&mut self, index: u64, receipt: Receipt) -> Effect {
        let Some(entry) = self.entries.get_mut(&receipt.event) else { return Effect::Nothing };
        let was_finished = entry.is_finished();
        if !add_receipt(&mut entry.notes, receipt.clone()) {
            return Effect::Nothing;
        }
        entry.commands.push(index);
        if entry.is_finished() && !was_finished {
            let (index, relay) = (entry.index, entry.admission.sealed.event.relay.clone());
            self.unfinished.remove(&index);
            self.finished.insert(index, receipt.event);
            if let Some(open) = self.unfinished_of.get_mut(&relay) {
                *open -= 1;
                if *open == 0 {
                    self.unfinished_of.remove(&relay);
                }
            }
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
