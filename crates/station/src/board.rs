//! What the station's shell knows of rows beside the machine: which are not shown yet, which are not on disk, which are open.
//!
//! Invariant: it is written by the loop alone, in the order of the machine's outputs. Whoever reads it from inside
//! `Handle::inspect` therefore sees it in step with the machine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huxiao_core::station::InboxRow;
use huxiao_core::{Class, WallTime};

/// The board. Cheap to clone; clones are the same board.
#[derive(Clone, Default)]
pub(crate) struct Board(Arc<Mutex<State>>);

/// What stands on it.
#[derive(Default)]
pub(crate) struct State {
    /// The number that the next event gets.
    pub(crate) next_seq: u64,
    /// Rows that may not be shown yet.
    pub(crate) hidden: BTreeSet<u64>,
    /// Rows that have not come to the disk in any form.
    pub(crate) volatile: BTreeSet<u64>,
    /// Alarms that no officer has taken: number → when they came.
    pub(crate) open: BTreeMap<u64, WallTime>,
}

impl Board {
    /// The board of a station that begins with `rows`.
    pub(crate) fn new(rows: &[InboxRow], next_seq: u64) -> Self {
        let board = Self::default();
        let mut state = board.read();
        state.next_seq = next_seq;
        rows.iter().for_each(|row| state.note_open(row));
        drop(state);
        board
    }

    /// The board as it is.
    pub(crate) fn read(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// A row is being written. Says whether it has not come to the disk before.
    pub(crate) fn writing(&mut self, row: &InboxRow) -> bool {
        if row.seq >= self.next_seq {
            self.next_seq = row.seq + 1;
            self.hidden.insert(row.seq);
            self.volatile.insert(row.seq);
        }
        self.note_open(row);
        self.volatile.contains(&row.seq)
    }

    /// A row is shown.
    pub(crate) fn shown(&mut self, seq: u64, durable: bool) {
        self.hidden.remove(&seq);
        if durable {
            self.volatile.remove(&seq);
        }
    }

    /// A row that was shown is on disk now.
    pub(crate) fn durable(&mut self, seq: u64) {
        self.volatile.remove(&seq);
    }

    /// A row is gone.
    pub(crate) fn forgotten(&mut self, seq: u64) {
        self.hidden.remove(&seq);
        self.volatile.remove(&seq);
        self.open.remove(&seq);
    }

    /// The first row that is not shown yet; all before it are, as far as they are still there.
    pub(crate) fn first_hidden(&self) -> u64 {
        self.hidden.first().copied().unwrap_or(self.next_seq)
    }

    fn note_open(&mut self, row: &InboxRow) {
        if row.sealed.event.class <= Class::P1 && !row.is_finished() {
            self.open.insert(row.seq, row.received_at);
        } else {
            self.open.remove(&row.seq);
        }
    }
}
