//! The state that the log adds up to.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::case::CaseOrder;
use crate::command::{CommandId, CommandReceipt, CommandRefusal, SealedCommand};
use crate::drill::{Drill, DrillBook, DrillId, DrillRefusal};
use crate::event::Kind;
use crate::id::{EventId, RecordId, RelayId, SchoolId, StationId};
use crate::limits;
use crate::overdue::Overdue;
use crate::receipt::Receipt;
use crate::record::archived::ArchivedIds;
use crate::record::cases::Acted;
use crate::record::command::{Admission, Command};
use crate::record::commands::CommandBook;
use crate::record::drills::Tests;
use crate::record::entry::{Entry, Escalation};
use crate::record::joining::Bond;
use crate::record::plan::{PlanState, StageId};
use crate::record::shelf::Shelf;
use crate::time::Span;
use crate::trouble::Troubles;

/// How much a record holds. The same on all nodes of a region, or their records differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordLimits {
    /// Finished events whose case is closed or that have none; the oldest beyond it leave for the archive.
    pub finished: usize,
    /// Events that an officer has and whose case is open; the oldest beyond it leave as well.
    pub open_cases: usize,
    /// Events that are neither finished nor in the province, beyond which only P0 is to be taken; and events in all, beyond which finished
    /// ones leave though the province does not have them.
    pub events: usize,
    /// Ids of events that have left.
    pub archived_ids: usize,
    /// How long after it came in the case of a test is closed by itself.
    pub test_case: Span,
}

impl Default for RecordLimits {
    fn default() -> Self {
        // Open cases stay while there is room at all.
        Self {
            finished: limits::RECORD_FINISHED,
            open_cases: limits::RECORD_EVENTS,
            events: limits::RECORD_EVENTS,
            archived_ids: limits::ARCHIVED_IDS,
            test_case: limits::TEST_CASE,
        }
    }
}

/// What applying a command brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The record has begun.
    Founded(RecordId),
    /// The event is in the record now.
    Admitted(EventId),
    /// The statement is in the record now, with the standing that its place gives it.
    Noted(Receipt),
    /// The event has its first stations now.
    Routed(EventId, Vec<StationId>),
    /// The event is for these stations as well now.
    Escalated(EventId, Vec<StationId>),
    /// The event's ownership has gone up, and it is for these stations as well now.
    Overdue(EventId, Vec<StationId>),
    /// The province has more of the event now.
    Forwarded(EventId),
    /// One more part of a change of the plan is there.
    PlanStaged(StageId),
    /// The event has more pictures now.
    Pictured(EventId),
    /// The plan is of this version now.
    PlanApplied(u64),
    /// The plan is what it was.
    PlanRefused(StageId),
    /// An officer's order about a case was carried out or refused, now or before.
    Acted(Box<CaseOrder>, Acted),
    /// A command to schools is in the record now.
    CommandAdmitted(CommandId),
    /// A command to schools does not come into the record.
    CommandRefused(Box<SealedCommand>, CommandRefusal),
    /// These statements about commands to schools are in the record now.
    CommandNoted(Vec<CommandReceipt>),
    /// The region raised this event.
    TroubleBegan(EventId),
    /// A trouble is over: what is noted at its events, and the event that says so.
    TroubleOver(Vec<Receipt>, Option<EventId>),
    /// The drill is announced now.
    DrillOpened(Arc<Drill>),
    /// The drill has ended before its time, or will not begin.
    DrillClosed(Arc<Drill>),
    /// The drill is not announced.
    DrillRefused(DrillId, DrillRefusal),
    /// The case of a test or a drill is closed by itself; with the receipt that says so where no officer has it.
    Ended(EventId, Option<Receipt>),
    /// The command changed nothing: a repeat, or about an event that is not here (any more).
    Nothing,
}

/// What applying a command brought, and what left the record by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// What it brought.
    pub effect: Effect,
    /// What is noted of other events with it: an acknowledgement of one press goes for its repeats.
    pub also: Vec<Receipt>,
    /// The events whose case is another now.
    pub cases: Vec<EventId>,
    /// The events that left for the archive, in order, each with its archive number: from 1, without gaps.
    pub archived: Vec<(u64, Arc<Entry>)>,
}

/// The state that the log adds up to. Copies share their entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordState {
    pub(super) record: Option<RecordId>,
    pub(super) last_index: u64,
    pub(super) archived: u64,
    pub(super) archived_ids: ArchivedIds,
    pub(super) entries: BTreeMap<EventId, Arc<Entry>>,
    pub(super) by_station: BTreeMap<StationId, BTreeMap<u64, EventId>>,
    pub(super) unrouted: BTreeSet<EventId>,
    /// Finished events whose case is closed, or that have none.
    pub(super) closed: Shelf,
    /// Finished events whose case is open.
    pub(super) open: Shelf,
    /// Alarms whose case is not closed, by their school.
    pub(super) cases_of: BTreeMap<SchoolId, BTreeSet<EventId>>,
    /// Alarms whose case is closed, by their school.
    pub(super) closed_of: BTreeMap<SchoolId, BTreeSet<EventId>>,
    /// Repeats that no officer has, by the first press.
    pub(super) repeats_of: BTreeMap<EventId, BTreeSet<EventId>>,
    /// About how many bytes the histories of all cases take.
    pub(super) case_bytes: usize,
    pub(super) unfinished: BTreeMap<u64, EventId>,
    pub(super) unfinished_of: BTreeMap<RelayId, usize>,
    pub(super) plan: PlanState,
    pub(super) commands: CommandBook,
    /// The troubles that are not over. Made of the entries, so in no snapshot.
    pub(super) troubles: Arc<Troubles>,
    pub(super) drills: DrillBook,
    pub(super) tests: Tests,
    limits: RecordLimits,
}

impl RecordState {
    /// An empty record ([`RecordLimits::default`] in production).
    #[must_use]
    pub fn new(limits: RecordLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Applies the command at `index`. Indexes rise; gaps are allowed. One that is not behind the last changes nothing.
    pub fn apply(&mut self, index: u64, command: Command) -> Applied {
        if index <= self.last_index {
            return Applied { effect: Effect::Nothing, also: Vec::new(), cases: Vec::new(), archived: Vec::new() };
        }
        self.last_index = index;
        let (mut cases, mut also) = (Vec::new(), Vec::new());
        let effect = match command {
            Command::Found { record } => self.found(record),
            Command::Admit(admission) => self.admit(index, admission, &mut cases),
            Command::Note(receipt) => self.note(receipt, &mut cases, &mut also),
            Command::Case { order, heard } => self.act(index, order, heard, &mut cases),
            Command::Route { event, stations } => self.route(index, event, stations),
            Command::Escalate { event, stations, by, officer, at, note } => {
                self.escalate(event, Escalation { index, stations, by, officer, at, note })
            }
            Command::Overdue { event, rung, owners, told, by, at } => {
                let stations = Vec::new();
                self.overdue(event, Overdue { index, rung, owners, stations, by, at }, &told)
            }
            Command::Forwarded { event, stages } => {
                let entry = self.entries.get_mut(&event);
                if entry.is_some_and(|entry| Arc::make_mut(entry).forwarded(&stages)) {
                    self.file(event);
                    Effect::Forwarded(event)
                } else {
                    Effect::Nothing
                }
            }
            Command::Pictures { event, pictures } => {
                let entry = self.entries.get_mut(&event);
                if entry.is_some_and(|entry| Arc::make_mut(entry).add_pictures(pictures)) {
                    Effect::Pictured(event)
                } else {
                    Effect::Nothing
                }
            }
            Command::TroubleBegan { about, admission } => self.trouble_began(index, about, *admission, &mut cases),
            Command::TroubleOver { about, admission, by, at } => {
                self.trouble_over(index, &about, admission.map(|admission| *admission), (by, at), &mut cases)
            }
            Command::StagePlan(part) => self.plan.stage(part),
            Command::ApplyPlan(order) => self.plan.apply(index, order),
            Command::AdmitCommand { sealed, heard, by } => self.admit_command(index, *sealed, heard, by),
            Command::NoteCommand(receipts) => {
                let news = self.commands.note(receipts);
                if news.is_empty() { Effect::Nothing } else { Effect::CommandNoted(news) }
            }
            Command::OpenDrill(order) => self.open_drill(*order),
            Command::CloseDrill(order) => self.close_drill(*order),
            Command::EndCase { event, by, at } => self.end_case(index, event, (by, at), &mut cases),
        };
        Applied { effect, also, cases, archived: self.evict() }
    }

    /// Which record it is; `None` before it was founded.
    #[must_use]
    pub fn record(&self) -> Option<RecordId> {
        self.record
    }

    /// The plan of the record.
    #[must_use]
    pub fn plan(&self) -> &PlanState {
        &self.plan
    }

    /// The commands to schools.
    #[must_use]
    pub fn commands(&self) -> &CommandBook {
        &self.commands
    }

    /// The troubles that are not over.
    #[must_use]
    pub fn troubles(&self) -> &Arc<Troubles> {
        &self.troubles
    }

    /// How much it holds.
    #[must_use]
    pub fn limits(&self) -> RecordLimits {
        self.limits
    }

    /// The index of the last command applied.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// The event, if the record holds it.
    #[must_use]
    pub fn get(&self, event: &EventId) -> Option<&Entry> {
        self.entries.get(event).map(AsRef::as_ref)
    }

    /// The event, shared with the record, if the record holds it.
    #[must_use]
    pub fn shared(&self, event: &EventId) -> Option<Arc<Entry>> {
        self.entries.get(event).cloned()
    }

    /// All events, in the order of their ids.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The events with ids behind `after`, in the order of their ids; all of them for `None`.
    pub fn entries_after(&self, after: Option<EventId>) -> impl Iterator<Item = &Arc<Entry>> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).map(|(_, entry)| entry)
    }

    /// Whether the event has left the record for the archive, as far as that is remembered.
    #[must_use]
    pub fn is_archived(&self, event: &EventId) -> bool {
        self.archived_ids.contains(event)
    }

    /// How many events have left the record for the archive in all: the number of the last.
    #[must_use]
    pub fn archived(&self) -> u64 {
        self.archived
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

    /// The events for `station` admitted (or given to it) after `index`, in order.
    pub fn for_station(&self, station: &StationId, index: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let events = self.by_station.get(station);
        let after = events.map(|events| events.range(index.saturating_add(1)..));
        after.into_iter().flatten().filter_map(|(index, id)| self.get(id).map(|entry| (*index, entry)))
    }

    /// The events that no plan has given a station yet.
    pub fn unrouted(&self) -> impl Iterator<Item = &Entry> {
        self.unrouted.iter().filter_map(|id| self.get(id))
    }

    /// The events that no officer has taken or, below P1, no station has: oldest first.
    pub fn unfinished(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.unfinished.values().filter_map(|id| self.get(id))
    }

    /// The alarms that an officer has and whose case is not closed, oldest first.
    pub fn taken(&self) -> impl Iterator<Item = &Entry> {
        self.open.range(0).filter_map(|(_, id)| self.get(id))
    }

    /// How many of the unfinished a relay has raised.
    #[must_use]
    pub fn unfinished_of(&self, relay: &RelayId) -> usize {
        self.unfinished_of.get(relay).copied().unwrap_or(0)
    }

    /// Whether even the archive would not make room for another event.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.unfinished.len() >= self.limits.events
    }

    /// Holds the state against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        self.plan.check()?;
        self.commands.check()?;
        self.check_troubles()?;
        self.drills.check()?;
        for (station, events) in &self.by_station {
            for (index, id) in events {
                let Some(entry) = self.entries.get(id) else {
                    return Err(format!("{station} is listed for {id} at {index}, which is not in the record"));
                };
                if entry.since(station) != Some(*index) {
                    return Err(format!("{station} is listed for {id} at {index}, but not routed to it there"));
                }
            }
        }
        let listed: usize = self.by_station.values().map(BTreeMap::len).sum();
        let routed: usize = self.entries.values().map(|entry| entry.admission.stations.len()).sum();
        if listed != routed {
            return Err(format!("events are given to stations {routed} times, and listed {listed} times"));
        }
        for (id, entry) in &self.entries {
            if entry.index > self.last_index {
                return Err(format!("{id} was admitted after the end of the log"));
            }
            if self.is_archived(id) {
                return Err(format!("{id} is in the record, and is said to have left it"));
            }
            if entry.admission.stations.is_empty() != self.unrouted.contains(id) {
                return Err(format!(
                    "{id} is wrongly listed as {}",
                    if self.unrouted.contains(id) { "unrouted" } else { "routed" }
                ));
            }
            self.check_entry(id, entry)?;
        }
        self.check_counts()
    }

    fn check_entry(&self, id: &EventId, entry: &Entry) -> Result<(), String> {
        let (index, finished, closed) = (entry.index, entry.is_finished(), entry.is_closed());
        let listed =
            [self.unfinished.get(&index), self.closed.get(index), self.open.get(index)].map(|at| at == Some(id));
        if listed != [!finished, closed, finished && !closed] {
            return Err(format!("{id} is wrongly listed as unfinished, closed or open"));
        }
        let free = self.closed.is_free(index) || self.open.is_free(index);
        if free != (finished && entry.owed().is_empty()) {
            return Err(format!("{id} is wrongly listed as free to leave, or not listed"));
        }
        self.check_joined(id, entry)?;
        if entry.overdue.windows(2).any(|pair| pair[0].rung >= pair[1].rung) {
            return Err(format!("{id} reached a rung twice, or went down"));
        }
        if entry.receipts().len() > limits::RECEIPTS_PER_EVENT {
            return Err(format!("{id} holds {} statements", entry.notes.len()));
        }
        if entry.pictures.len() > limits::PICTURES_PER_EVENT {
            return Err(format!("{id} holds {} pictures", entry.pictures.len()));
        }
        if !entry.is_whole() {
            return Err(format!("{id} lacks a part of its history"));
        }
        entry.case.check().map_err(|why| format!("{id}: {why}"))
    }

    fn check_counts(&self) -> Result<(), String> {
        if u64::try_from(self.archived_ids.len()).is_ok_and(|ids| ids > self.archived) {
            return Err(format!("{} ids are remembered of {} archived events", self.archived_ids.len(), self.archived));
        }
        let open: usize = self.unfinished_of.values().sum();
        if open != self.unfinished.len() || self.entries.len() != open + self.closed.len() + self.open.len() {
            return Err(format!("{open} events counted as unfinished, {} listed", self.unfinished.len()));
        }
        if self.entries.len() > self.limits.events.max(self.unfinished.len()) {
            return Err(format!("{} events are held, {} may be", self.entries.len(), self.limits.events));
        }
        if self.closed.len() > self.limits.finished && self.closed.has_free() {
            return Err(format!("{} closed events are held, {} may be", self.closed.len(), self.limits.finished));
        }
        if self.open.len() > self.limits.open_cases && self.open.has_free() {
            return Err(format!("{} open cases are held, {} may be", self.open.len(), self.limits.open_cases));
        }
        let bytes: usize = self.entries.values().map(|entry| entry.case.history.weight()).sum();
        let lists = self.cases_of.values().chain(self.closed_of.values()).chain(self.repeats_of.values());
        if bytes != self.case_bytes || lists.into_iter().any(BTreeSet::is_empty) {
            return Err(format!("the cases take {bytes} bytes, {} are counted", self.case_bytes));
        }
        Ok(())
    }

    fn found(&mut self, record: RecordId) -> Effect {
        if self.record.is_some() {
            return Effect::Nothing;
        }
        self.record = Some(record);
        Effect::Founded(record)
    }

    pub(super) fn admit(&mut self, index: u64, mut admission: Admission, cases: &mut Vec<EventId>) -> Effect {
        let id = admission.sealed.event.id;
        if self.entries.contains_key(&id) || self.is_archived(&id) {
            return Effect::Nothing;
        }
        let mut seen = BTreeSet::new();
        admission.stations.retain(|station| seen.insert(station.clone()));
        admission.stations.truncate(limits::STATIONS_PER_EVENT);
        if admission.stations.is_empty() {
            self.unrouted.insert(id);
        }
        for station in &admission.stations {
            self.by_station.entry(station.clone()).or_default().insert(index, id);
        }
        *self.unfinished_of.entry(admission.sealed.event.relay.clone()).or_default() += 1;
        self.unfinished.insert(index, id);
        let bond = self.bond(&admission);
        let entry = Entry { bond, ..Entry::new(index, admission) };
        if bond != Bond::Alone {
            self.press_again(&entry, cases);
            cases.push(id);
        }
        if entry.admission.sealed.event.kind == Kind::Cancel {
            self.request_cancel(&entry, cases);
        }
        self.list_case(&entry);
        self.tested(&entry.admission);
        self.entries.insert(id, Arc::new(entry));
        Effect::Admitted(id)
    }

    fn note(&mut self, receipt: Receipt, cases: &mut Vec<EventId>, also: &mut Vec<Receipt>) -> Effect {
        let id = receipt.event;
        let Some(entry) = self.entries.get_mut(&id).map(Arc::make_mut) else { return Effect::Nothing };
        let Some(noted) = entry.note(receipt) else { return Effect::Nothing };
        let before = entry.case.history.weight();
        if entry.acknowledge(&noted) {
            self.case_bytes += entry.case.history.weight() - before;
            cases.push(id);
        }
        self.file(id);
        *also = self.spread(&noted, cases);
        Effect::Noted(noted)
    }

    fn route(&mut self, index: u64, event: EventId, mut stations: Vec<StationId>) -> Effect {
        let mut seen = BTreeSet::new();
        stations.retain(|station| seen.insert(station.clone()));
        stations.truncate(limits::STATIONS_PER_EVENT);
        if stations.is_empty() || !self.unrouted.contains(&event) {
            return Effect::Nothing;
        }
        if let Some(entry) = self.entries.get_mut(&event).map(Arc::make_mut) {
            entry.routed_at = index;
            entry.admission.stations.clone_from(&stations);
        }
        self.list_for(index, event, &stations);
        Effect::Routed(event, stations)
    }

    fn escalate(&mut self, event: EventId, escalation: Escalation) -> Effect {
        let index = escalation.index;
        let new = self.entries.get_mut(&event).and_then(|entry| Arc::make_mut(entry).escalate(escalation));
        let Some(stations) = new else { return Effect::Nothing };
        self.list_for(index, event, &stations);
        Effect::Escalated(event, stations)
    }

    fn overdue(&mut self, event: EventId, overdue: Overdue, told: &[StationId]) -> Effect {
        let index = overdue.index;
        let new = self.entries.get_mut(&event).and_then(|entry| Arc::make_mut(entry).reach(overdue, told));
        let Some(stations) = new else { return Effect::Nothing };
        self.list_for(index, event, &stations);
        Effect::Overdue(event, stations)
    }

    /// Lists an event for the stations that it was given at `index`.
    pub(super) fn list_for(&mut self, index: u64, event: EventId, stations: &[StationId]) {
        self.unrouted.remove(&event);
        for station in stations {
            self.by_station.entry(station.clone()).or_default().insert(index, event);
        }
    }

    /// Files an event under finished or unfinished, and under what may leave.
    pub(super) fn file(&mut self, id: EventId) {
        let Some(entry) = self.entries.get(&id).cloned() else { return };
        let (index, relay) = (entry.index, &entry.admission.sealed.event.relay);
        if !entry.is_finished() {
            return;
        }
        self.list_case(&entry);
        if self.unfinished.remove(&index).is_some()
            && let Some(open) = self.unfinished_of.get_mut(relay)
        {
            *open -= 1;
            if *open == 0 {
                self.unfinished_of.remove(relay);
            }
        }
        let (shelf, other) =
            if entry.is_closed() { (&mut self.closed, &mut self.open) } else { (&mut self.open, &mut self.closed) };
        other.remove(index);
        shelf.put(index, id, entry.owed().is_empty());
    }

    /// Which event leaves next, if any: the oldest beyond its limit, of those that the province has; and, should there be too many events in
    /// all, of the others too. Of those, what is closed goes first.
    fn leaves(&self) -> Option<(u64, EventId)> {
        let closed = if self.closed.len() > self.limits.finished { self.closed.first_free() } else { None };
        let open = || if self.open.len() > self.limits.open_cases { self.open.first_free() } else { None };
        let too_many = self.entries.len() > self.limits.events;
        let any = || if too_many { self.closed.first().or_else(|| self.open.first()) } else { None };
        closed.or_else(open).or_else(any)
    }

    /// What leaves now.
    fn evict(&mut self) -> Vec<(u64, Arc<Entry>)> {
        let mut left = Vec::new();
        while let Some((index, id)) = self.leaves() {
            self.closed.remove(index);
            self.open.remove(index);
            self.unrouted.remove(&id);
            let Some(entry) = self.entries.remove(&id) else { continue };
            self.case_bytes -= entry.case.history.weight();
            self.unlist_case(&entry);
            self.forget_trouble(&entry);
            for station in &entry.admission.stations {
                if let (Some(events), Some(since)) = (self.by_station.get_mut(station), entry.since(station)) {
                    events.remove(&since);
                    if events.is_empty() {
                        self.by_station.remove(station);
                    }
                }
            }
            self.archived_ids.insert(id, self.limits.archived_ids);
            if entry.part_count() == 1 {
                self.archived += 1;
                left.push((self.archived, entry));
                continue;
            }
            for part in entry.parts() {
                self.archived += 1;
                left.push((self.archived, Arc::new(part)));
            }
        }
        left
    }
}
