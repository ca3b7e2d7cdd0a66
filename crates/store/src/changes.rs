//! What a group of batches comes to: the last word on each row, and the tally after it.
//!
//! Invariant: the tally's count and sum change by exactly the rows that the database gains and loses.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Engine, EngineError};
use crate::frame::{self, Frame};
use crate::key::{Batch, Key};
use crate::tally::Tally;

/// Bytes that a batch may make the database write: with a row its neighbours are rewritten, so a row counts for at least `row`,
/// the average of all.
pub(crate) fn footprint(batch: &Batch, row: u64) -> u64 {
    let puts: u64 = batch.puts.iter().map(|put| (put.value.len() as u64 + 64).max(row)).sum();
    puts + batch.deletes.len() as u64 * row.max(32)
}

/// What a group comes to: the last word on each row.
#[derive(Default)]
pub(crate) struct Rows {
    /// For each row its frame and that frame's hash, or nothing if it is removed.
    pub(crate) changes: BTreeMap<Key, Option<(Vec<u8>, u64)>>,
    /// Rows that are gone after all of it.
    pub(crate) removed: BTreeSet<Key>,
    high: u64,
    /// Bytes of the longest frame.
    pub(crate) largest: usize,
    /// Bytes of all frames.
    pub(crate) bytes: u64,
}

impl Rows {
    /// Takes one batch in, after those before it.
    pub(crate) fn add(&mut self, commit: u64, batch: &Batch) {
        self.high = self.high.max(batch.high);
        for key in &batch.deletes {
            self.changes.insert(*key, None);
            self.removed.insert(*key);
        }
        for put in &batch.puts {
            let (frame, hash) = frame::encode(commit, put.key, put.black_box, &put.value);
            self.largest = self.largest.max(frame.len());
            self.bytes += frame.len() as u64;
            self.removed.remove(&put.key);
            self.changes.insert(put.key, Some((frame, hash)));
        }
    }

    /// The tally and the bytes of all rows after these changes.
    pub(crate) fn settle(
        &self,
        engine: &Engine,
        mut tally: Tally,
        mut bytes: u64,
    ) -> Result<(Tally, u64), EngineError> {
        tally.high = tally.high.max(self.high);
        for (key, row) in &self.changes {
            if let Some(old) = engine.get(&key.encode())? {
                // A damaged old row leaves its part in the sum, so the next opening finds what happened here.
                let hash = Frame::of_row(*key, &old).map_or(0, |frame| frame.hash());
                bytes = bytes.saturating_sub(old.len() as u64);
                tally.live = tally.live.wrapping_sub(1);
                tally.sum = tally.sum.wrapping_sub(hash);
            }
            if let Some((frame, hash)) = row {
                bytes += frame.len() as u64;
                tally.live = tally.live.wrapping_add(1);
                tally.sum = tally.sum.wrapping_add(*hash);
            }
        }
        Ok((tally, bytes))
    }
}
