//! The whole record in plain parts, for whoever writes it to a file or reads it back.

use std::sync::Arc;

use crate::command::CommandId;
use crate::drill::{DrillBook, DrillImage};
use crate::id::{EventId, RecordId, SchoolId, StationId};
use crate::record::archived::ArchivedIds;
use crate::record::commands::CommandEntry;
use crate::record::drills::{Tested, Tests};
use crate::record::entry::Entry;
use crate::record::plan::{PlanImage, PlanState};
use crate::record::state::{RecordLimits, RecordState};

/// The whole record in plain parts. Entries are shared with the state that they were taken from, so making one is cheap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image {
    /// Which record it is.
    pub record: Option<RecordId>,
    /// The index of the last command applied.
    pub last_index: u64,
    /// How many events have left for the archive in all.
    pub archived: u64,
    /// The ids of those that are still known to have left, in ascending order.
    pub archived_ids: Vec<EventId>,
    /// The events, in ascending order of their ids.
    pub entries: Vec<Arc<Entry>>,
    /// The plan.
    pub plan: PlanImage,
    /// The commands to schools, in ascending order of their ids.
    pub commands: Vec<Arc<CommandEntry>>,
    /// The drills.
    pub drills: DrillImage,
    /// When each school was tested last, in the order of their codes.
    pub tests: Vec<(SchoolId, Tested)>,
}

/// Why parts do not make a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// An event that is there twice, or both in the record and in the archive.
    #[error("event {0} is there more than once")]
    Twice(EventId),
    /// Two events cannot have been admitted at one index, nor two given to a station.
    #[error("index {0} stands for more than one event")]
    SameIndex(u64),
    /// An entry from behind the end of the log.
    #[error("event {event} has index {index}, behind the last one of the log, {last}")]
    BehindTheEnd {
        /// The event.
        event: EventId,
        /// Its index.
        index: u64,
        /// The log's last index.
        last: u64,
    },
    /// More ids than events that left.
    #[error("{ids} events are known to have left the record, but only {archived} have")]
    TooManyArchived {
        /// The ids.
        ids: usize,
        /// How many left.
        archived: u64,
    },
    /// A command that is there twice, or from behind the end of the log.
    #[error("command {0} is there more than once, or from behind the end of the log")]
    Command(CommandId),
    /// What stands there for the plan makes none.
    #[error("the plan in it is none: {0}")]
    Plan(String),
    /// What stands there for the drills makes none.
    #[error("the drills in it are none: {0}")]
    Drills(String),
    /// A defect of whoever made the parts.
    #[error("the parts contradict each other: {0}")]
    Broken(String),
}

impl RecordState {
    /// The record in plain parts.
    #[must_use]
    pub fn image(&self) -> Image {
        Image {
            record: self.record,
            last_index: self.last_index,
            archived: self.archived,
            archived_ids: self.archived_ids.iter().collect(),
            entries: self.entries.values().cloned().collect(),
            plan: self.plan.image(),
            commands: self.commands.entries().cloned().collect(),
            drills: self.drills.image(),
            tests: self.tests.rows(),
        }
    }

    /// The record that these parts make.
    ///
    /// # Errors
    /// [`ImageError`]: they do not come from a record of the same `limits`.
    pub fn from_image(image: Image, limits: RecordLimits) -> Result<Self, ImageError> {
        let mut state = RecordState::new(limits);
        (state.record, state.last_index, state.archived) = (image.record, image.last_index, image.archived);
        state.plan = PlanState::from_image(image.plan).map_err(ImageError::Plan)?;
        for entry in image.commands {
            let (id, index) = (entry.sealed.id(), entry.index);
            if index > state.last_index || state.commands.get(&id).is_some() {
                return Err(ImageError::Command(id));
            }
            state.commands.insert(entry);
        }
        state.drills = DrillBook::from_image(image.drills).map_err(ImageError::Drills)?;
        state.tests = Tests::from_rows(image.tests).map_err(ImageError::Drills)?;
        let (ids, archived) = (image.archived_ids.len(), image.archived);
        if u64::try_from(ids).is_ok_and(|ids| ids > archived) {
            return Err(ImageError::TooManyArchived { ids, archived });
        }
        let mut known = ArchivedIds::default();
        image.archived_ids.into_iter().for_each(|id| known.insert(id, limits.archived_ids));
        state.archived_ids = known;
        for entry in image.entries {
            let id = entry.admission.sealed.event.id;
            let added = entry.escalations.iter().map(|escalation| escalation.index);
            let latest = added.chain(entry.overdue.iter().map(|overdue| overdue.index)).max();
            let step = entry.case.history.last().map_or(0, |step| step.index);
            let index = entry.index.max(entry.routed_at).max(latest.unwrap_or(0)).max(step);
            if index > state.last_index {
                return Err(ImageError::BehindTheEnd { event: id, index, last: state.last_index });
            }
            if state.archived_ids.contains(&id) {
                return Err(ImageError::Twice(id));
            }
            if !state.list(&entry) {
                return Err(ImageError::SameIndex(entry.index));
            }
            if state.entries.insert(id, entry).is_some() {
                return Err(ImageError::Twice(id));
            }
        }
        state.recall_troubles();
        state.check().map_err(ImageError::Broken)?;
        Ok(state)
    }

    /// Puts an entry into all lists but that of entries. False if another one stands at its indexes.
    fn list(&mut self, entry: &Entry) -> bool {
        let event = &entry.admission.sealed.event;
        let (id, index) = (event.id, entry.index);
        let mut free = true;
        if entry.admission.stations.is_empty() {
            self.unrouted.insert(id);
        }
        let stations: Vec<&StationId> = entry.admission.stations.iter().collect();
        for station in stations {
            let since = entry.since(station).unwrap_or(index);
            free &= self.by_station.entry(station.clone()).or_default().insert(since, id).is_none();
        }
        self.case_bytes += entry.case.history.weight();
        self.list_case(entry);
        if entry.is_finished() {
            let owes = !entry.owed().is_empty();
            // No two events stand at one index, on whichever shelf.
            free &= self.closed.get(index).is_none() && self.open.get(index).is_none();
            let shelf = if entry.is_closed() { &mut self.closed } else { &mut self.open };
            free &= shelf.put(index, id, !owes);
        } else {
            free &= self.unfinished.insert(index, id).is_none();
            *self.unfinished_of.entry(event.relay.clone()).or_default() += 1;
        }
        free
    }
}
