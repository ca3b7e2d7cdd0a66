//! Finished events in the order of their admission, and which of them may leave.
//!
//! Invariant: what is free is on the shelf.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;

use crate::id::EventId;

/// Finished events of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Shelf {
    all: BTreeMap<u64, EventId>,
    /// Those of which the province is owed nothing.
    free: BTreeMap<u64, EventId>,
}

impl Shelf {
    /// Puts an event in its place. False if another stands there.
    pub(super) fn put(&mut self, index: u64, id: EventId, free: bool) -> bool {
        if free {
            self.free.insert(index, id);
        } else {
            self.free.remove(&index);
        }
        self.all.insert(index, id).is_none_or(|before| before == id)
    }

    /// Takes an event away, if it is here.
    pub(super) fn remove(&mut self, index: u64) {
        self.all.remove(&index);
        self.free.remove(&index);
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&self, index: u64) -> Option<&EventId> {
        self.all.get(&index)
    }

    /// Those admitted at `from` or later, in order.
    pub(super) fn range(&self, from: u64) -> Range<'_, u64, EventId> {
        self.all.range(from..)
    }

    pub(super) fn is_free(&self, index: u64) -> bool {
        self.free.contains_key(&index)
    }

    /// Whether any may leave.
    pub(super) fn has_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// The oldest that may leave.
    pub(super) fn first_free(&self) -> Option<(u64, EventId)> {
        self.free.first_key_value().map(|(index, id)| (*index, *id))
    }

    /// The oldest that may leave or, if there is none, the oldest.
    pub(super) fn first(&self) -> Option<(u64, EventId)> {
        self.first_free().or_else(|| self.all.first_key_value().map(|(index, id)| (*index, *id)))
    }
}
