//! The ids of events that have left the record: what must not come in again.
//!
//! Invariant: the largest (youngest) `limit` ids of those inserted. Kept in small shared runs, so that a copy of a million costs little and
//! does not hold up what the record does meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::EventId;

/// Bits of an id's first eight bytes within one run: the first 48 are its milliseconds, so a run holds about 18 hours.
const RUN_BITS: u32 = 16 + 26;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct ArchivedIds {
    runs: BTreeMap<u64, Arc<BTreeSet<EventId>>>,
    len: usize,
}

impl ArchivedIds {
    pub(super) fn contains(&self, id: &EventId) -> bool {
        self.runs.get(&run_of(id)).is_some_and(|run| run.contains(id))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an id; beyond `limit` the smallest leave.
    pub(super) fn insert(&mut self, id: EventId, limit: usize) {
        let run = self.runs.entry(run_of(&id)).or_default();
        self.len += usize::from(Arc::make_mut(run).insert(id));
        while self.len > limit {
            let Some(mut first) = self.runs.first_entry() else { return };
            let run = Arc::make_mut(first.get_mut());
            self.len -= usize::from(run.pop_first().is_some());
            if run.is_empty() {
                first.remove();
            }
        }
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = EventId> {
        self.runs.values().flat_map(|run| run.iter().copied())
    }
}

fn run_of(id: &EventId) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *id.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> RUN_BITS
}
