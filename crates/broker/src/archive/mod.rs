//! The archive on disk: finished events that have left the record's memory, by their archive number and by their id.
//!
//! They come into the store's database first. Each [`CHUNK`] of consecutive ones then moves into a file of its own (`archive/chunk.rs`), so that
//! the database stays small: it keeps something in memory for each page, and all of it is read at each start.
//!
//! What is archived is given once, by the record's order: number 1, 2, 3 … A node that took the record over from another has a gap
//! before its numbers go on; [`Archive::missing`] says which numbers it must ask its peers for. Only the newest [`KEPT`] stay.
//!
//! Invariants:
//! * An entry that was given stays in memory until it is on stable storage. A batch that fails is tried again with the next one, so
//!   on a disk without space the archive only waits; [`Archive::flush`] tells whoever must not go on before.
//! * A chunk's file is on stable storage, and in use, before its rows leave the database.
//! * One batch is under way at a time, and the row that says which numbers the database holds is written with the entries
//!   that it counts.

mod chunk;
mod chunks;
mod row;
mod runs;
#[cfg(test)]
mod tests;
mod walk;

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huxiao_core::record::Entry;
use huxiao_core::{Class, EventId, limits};
use huxiao_store::{Batch, CommitError, Done, Key, Put, Space, Store, StoreError};

use chunks::{Chunks, Shape};
pub use row::ArchiveRow;
use row::{ENTRY_BYTES, Head, RUNS, head_key, index_key, part_keys, rows};
use runs::Runs;
pub use walk::Walk;

/// Events that the archive keeps: as many as the record knows to be archived.
pub const KEPT: u64 = limits::ARCHIVED_IDS as u64;
/// Consecutive events of one file.
pub const CHUNK: u64 = 4_096;
/// Entries of one batch.
const BATCH_ENTRIES: usize = 256;
/// Bytes after which a batch takes no more.
const BATCH_BYTES: usize = 256 * 1_024;
/// Entries that one batch removes at most: more than it adds, so that the archive shrinks to its size.
const BATCH_REMOVALS: usize = 2 * BATCH_ENTRIES;
/// What is archived is safe with the other nodes too, so a nearly full disk is left to what is not.
const CLASS: Class = Class::P1;

/// Why something archived cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// From the database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// From a file of the archive.
    #[error("a file of the archive cannot be read: {0}")]
    File(#[from] io::Error),
}

/// An archived event: its number, its id, and its bytes as they were given.
pub type Archived = (u64, EventId, Vec<u8>);

/// The archive of one node. Cheap to clone; all clones are the same archive.
#[derive(Clone)]
pub struct Archive {
    store: Store,
    shape: Shape,
    chunks: Arc<Chunks>,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// The numbers that the database has on stable storage.
    runs: Runs,
    /// Rows that are to leave the database, with the last number of the chunk that they are in if they are the last of it.
    leaving: VecDeque<(Key, Option<u64>)>,
    /// How many of the first are in the batch under way.
    leaving_now: usize,
    /// Whether a batch is under way.
    busy: bool,
    /// Whether a chunk is being made or its rows are leaving.
    moving: bool,
    /// What was given and is not there yet, in the order in which it was given.
    waiting: VecDeque<Archived>,
    /// How many of the first are under way to the disk.
    under_way: usize,
    /// Entries that have left `waiting` so far.
    written: u64,
    /// Who is told, and how many must have left by then.
    flushes: Vec<(u64, Done)>,
}

impl Archive {
    /// The archive in `store` and, as files, in `dir`. After a loss, give `doubtful`: then every row is looked at to see which numbers are
    /// there. Waits for the disk.
    ///
    /// # Errors
    /// Those of reading.
    pub fn open(store: Store, dir: &Path, doubtful: bool) -> Result<Self, ArchiveError> {
        Self::shaped(store, dir, doubtful, Shape { keep: KEPT, chunk: CHUNK })
    }

    fn shaped(store: Store, dir: &Path, doubtful: bool, shape: Shape) -> Result<Self, ArchiveError> {
        let chunks = Chunks::open(dir, shape)?;
        let told = store.get(RUNS)?.and_then(|bytes| Runs::decode(&bytes)).filter(|_| !doubtful);
        let runs = match told {
            Some(runs) => runs,
            None => count(&store)?,
        };
        let inner = Inner { runs: runs.clone(), ..Inner::default() };
        let archive = Self { store, shape, chunks: Arc::new(chunks), inner: Arc::new(Mutex::new(inner)) };
        // The power may have gone between a chunk and the end of its rows.
        for (first, last) in archive.chunks.numbers() {
            let mut left = runs.clone();
            left.remove_all(first, last);
            if left != runs {
                archive.leave(first, last)?;
            }
        }
        archive.go_on();
        archive.fill_chunk();
        Ok(archive)
    }

    /// Takes the entry that left the record with this number. Never waits.
    pub fn put(&self, number: u64, entry: &Entry) {
        self.put_encoded(number, entry.admission.sealed.event.id, huxiao_wire::encode_entry(entry));
    }

    /// The same for what a peer's archive gave: `bytes` as [`huxiao_wire::encode_entry`] makes them. A number that is there already is
    /// left as it is: what is archived does not change.
    pub fn put_encoded(&self, number: u64, id: EventId, bytes: Vec<u8>) {
        let mut inner = self.inner();
        if inner.runs.contains(number)
            || self.chunks.contains(number)
            || inner.waiting.iter().rev().any(|(waiting, ..)| *waiting == number)
        {
            return;
        }
        if bytes.len() > ENTRY_BYTES {
            // Events and notes have limits that do not let it come so far.
            tracing::error!(alarm_id = %id, number, bytes = bytes.len(), "too large for the archive; it is with the other nodes only if they took it");
            return;
        }
        inner.waiting.push_back((number, id, bytes));
        drop(inner);
        self.go_on();
    }

    /// Calls `done` once, with `Ok` when all that was given before is on stable storage, else with why it is not; what is not is
    /// tried again. On the store's thread, or on the caller's if there is nothing to wait for.
    pub fn flush(&self, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
        let mut inner = self.inner();
        if inner.waiting.is_empty() {
            drop(inner);
            return done(Ok(()));
        }
        let until = inner.written + inner.waiting.len() as u64;
        inner.flushes.push((until, Box::new(done)));
        drop(inner);
        self.go_on();
    }

    /// Those of these events that are archived, each with all of its case. One that this version cannot read is told of and left out.
    ///
    /// # Errors
    /// Those of reading.
    pub fn recall(&self, ids: &[EventId]) -> Result<Vec<Entry>, ArchiveError> {
        let mut found = Vec::new();
        for id in ids {
            found.extend(self.whole(*id)?);
        }
        Ok(found)
    }

    /// The event with this id with all of its case, which may stand under several numbers. `None` if it is not here, or a part of it is not.
    ///
    /// # Errors
    /// Those of reading.
    pub fn whole(&self, id: EventId) -> Result<Option<Entry>, ArchiveError> {
        let Some((number, bytes)) = self.get(id)? else { return Ok(None) };
        let Some(found) = self.decoded(id, number, &bytes) else { return Ok(None) };
        if found.is_whole() {
            return Ok(Some(found));
        }
        let first = number.saturating_sub(u64::from(found.part.at));
        let mut whole: Option<Entry> = None;
        for number in first..first.saturating_add(u64::from(found.part.of)) {
            let Some((_, bytes)) = self.numbered(number)?.filter(|(found, _)| *found == id) else { return Ok(None) };
            let Some(part) = self.decoded(id, number, &bytes) else { return Ok(None) };
            let follows = match &mut whole {
                Some(whole) => whole.join(&part),
                None => part.part.at == 0,
            };
            if !follows {
                return Ok(None);
            }
            whole = whole.or(Some(part));
        }
        Ok(whole.filter(Entry::is_whole))
    }

    /// The entry with this number, on its way to the disk or there.
    fn numbered(&self, number: u64) -> Result<Option<(EventId, Vec<u8>)>, ArchiveError> {
        let waiting = self.inner().waiting.iter().find(|(waiting, ..)| *waiting == number).cloned();
        match waiting {
            Some((_, id, bytes)) => Ok(Some((id, bytes))),
            None => self.read(number),
        }
    }

    /// The entry in `bytes`; one that this version cannot read is told of.
    pub(crate) fn decoded(&self, id: EventId, number: u64, bytes: &[u8]) -> Option<Entry> {
        let decoded = huxiao_wire::decode_entry(bytes);
        decoded
            .inspect_err(|error| {
                tracing::error!(alarm_id = %id, number, %error, "an archived event cannot be read by this version; it stays on disk");
            })
            .ok()
    }

    /// The event with this id, with its archive number. Reads the disk: a few small rows.
    ///
    /// # Errors
    /// Those of reading.
    pub fn get(&self, id: EventId) -> Result<Option<(u64, Vec<u8>)>, ArchiveError> {
        let waiting = self.inner().waiting.iter().find(|(_, waiting, _)| *waiting == id).cloned();
        if let Some((number, _, bytes)) = waiting {
            return Ok(Some((number, bytes)));
        }
        // The database first: what moves from it into a file meanwhile is then found there.
        let number = self.store.get(index_key(id))?.and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        let Some(number) = number.map_or_else(|| self.chunks.find(id), |number| Ok(Some(number)))? else {
            return Ok(None);
        };
        Ok(self.read(number)?.filter(|(found, _)| *found == id).map(|(_, bytes)| (number, bytes)))
    }

    /// Entries with numbers above `after`, ascending, that are on stable storage: at most `limit`, and no more once they have `bytes`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn range(&self, after: u64, limit: usize, bytes: usize) -> Result<Vec<Archived>, ArchiveError> {
        let numbers: Vec<u64> = self.stored().above(after).take(limit).collect();
        let (mut found, mut size) = (Vec::new(), 0);
        for number in numbers {
            if let Some((id, entry)) = self.read(number)? {
                size += entry.len();
                found.push((number, id, entry));
            }
            if size >= bytes {
                break;
            }
        }
        Ok(found)
    }

    /// The highest number that is on stable storage or on its way there; 0 if there is none.
    #[must_use]
    pub fn last(&self) -> u64 {
        let waiting = self.inner().waiting.iter().map(|(number, ..)| *number).max();
        waiting.max(self.stored().last()).unwrap_or(0)
    }

    /// How many entries are on stable storage.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.stored().iter().map(|(from, to)| to - from + 1).sum()
    }

    /// The first numbers, from and to, that should be here when so many events have been archived in all, and are not, nor on their
    /// way.
    #[must_use]
    pub fn missing(&self, archived: u64) -> Option<(u64, u64)> {
        let mut runs = self.stored();
        self.inner().waiting.iter().for_each(|(number, ..)| runs.insert(*number));
        runs.first_gap(archived.saturating_sub(self.shape.keep).saturating_add(1), archived)
    }

    /// The numbers on stable storage.
    fn stored(&self) -> Runs {
        let mut runs = self.inner().runs.clone();
        self.chunks.add_to(&mut runs);
        runs
    }

    /// The entry with this number.
    fn read(&self, number: u64) -> Result<Option<(EventId, Vec<u8>)>, ArchiveError> {
        if let Some(found) = self.chunks.read(number)? {
            return Ok(Some(found));
        }
        // A row that is gone may have moved into a file since then.
        let Some(row) = self.store.get(head_key(number))? else {
            return Ok(self.chunks.read(number)?);
        };
        let Some(head) = Head::decode(&row) else {
            tracing::error!(number, "an entry of the archive cannot be read by this version; it stays on disk");
            return Ok(None);
        };
        let mut entry = head.first.to_vec();
        for key in head.part_keys(number) {
            let Some(part) = self.store.get(key)? else {
                let moved = self.chunks.read(number)?;
                if moved.is_none() {
                    tracing::error!(%key, "a part of an entry of the archive is gone");
                }
                return Ok(moved);
            };
            entry.extend(part);
        }
        Ok((entry.len() == head.length).then_some((head.id, entry)))
    }

    /// Brings to the disk what waits and takes away what leaves, if no batch is under way.
    fn go_on(&self) {
        let mut inner = self.inner();
        if inner.busy || (inner.waiting.is_empty() && inner.leaving.is_empty()) {
            return;
        }
        inner.busy = true;
        let (mut bytes, mut count, mut runs) = (0, 0, inner.runs.clone());
        for (number, _, entry) in inner.waiting.iter().take(BATCH_ENTRIES) {
            if bytes > 0 && bytes + entry.len() > BATCH_BYTES {
                break;
            }
            bytes += entry.len();
            count += 1;
            runs.insert(*number);
        }
        inner.under_way = count;
        let first = self.first_kept(&runs);
        let kept = inner.waiting.iter().take(count).filter(|(number, ..)| *number >= first);
        // `put_encoded` lets in only what fits.
        let rows = kept.flat_map(|(number, id, entry)| rows(*number, *id, entry).unwrap_or_default());
        let mut puts: Vec<Put> = rows.collect();
        let mut deletes: Vec<Key> = Vec::new();
        for (key, last) in inner.leaving.iter().take(BATCH_REMOVALS) {
            deletes.push(*key);
            if let Some(last) = last {
                runs.remove_all(last + 1 - self.shape.chunk, *last);
            }
        }
        inner.leaving_now = deletes.len();
        drop(inner);
        deletes.extend(self.outdated(&mut runs));
        puts.push(Put { key: RUNS, value: runs.encode(), black_box: false });
        let archive = self.clone();
        // Not under the lock: a store that refuses does so at once, on this thread.
        self.store.commit(Batch { puts, deletes, high: 0, class: CLASS }, move |done| archive.settle(runs, &done));
    }

    /// Notes how the batch under way ended, tells who waited for it, and begins the next.
    fn settle(&self, runs: Runs, done: &Result<(), CommitError>) {
        let mut inner = self.inner();
        inner.busy = false;
        let count = std::mem::take(&mut inner.under_way);
        let left = std::mem::take(&mut inner.leaving_now);
        if done.is_ok() {
            inner.runs = runs;
            inner.waiting.drain(..count);
            inner.leaving.drain(..left);
            inner.written += count as u64;
        }
        let written = inner.written;
        let told = |(until, _): &mut (u64, Done)| done.is_err() || *until <= written;
        let flushes: Vec<_> = inner.flushes.extract_if(.., told).collect();
        drop(inner);
        match &done {
            Ok(()) => {
                self.go_on();
                self.fill_chunk();
            }
            Err(error) => tracing::warn!(%error, "finished events wait in memory for the archive"),
        }
        for (_, flushed) in flushes {
            flushed(done.clone());
        }
    }

    /// If the database holds a whole chunk, moves it into a file, on a thread of its own.
    fn fill_chunk(&self) {
        let mut inner = self.inner();
        let first = inner.runs.first_chunk(self.shape.chunk);
        let Some(first) = first.filter(|_| !inner.moving && inner.leaving.is_empty()) else {
            return;
        };
        inner.moving = true;
        drop(inner);
        let archive = self.clone();
        let spawned = std::thread::Builder::new().name("archive-chunk".into()).spawn(move || {
            if let Err(error) = archive.move_chunk(first) {
                tracing::error!(%error, first, "a chunk of the archive could not be made; its events stay in the database");
            }
            archive.inner().moving = false;
            archive.go_on();
        });
        if let Err(error) = spawned {
            tracing::error!(%error, "no thread for a chunk of the archive; its events stay in the database");
            self.inner().moving = false;
        }
    }

    fn move_chunk(&self, first: u64) -> Result<(), ArchiveError> {
        let last = first + self.shape.chunk - 1;
        let mut entries = Vec::new();
        for number in first..=last {
            let Some(entry) = self.read(number)? else {
                // It was counted and is gone: it is missing from now on, and fetched from a peer.
                self.inner().runs.remove_all(number, number);
                return Err(io::Error::other(format!("event {number} of it is gone")).into());
            };
            entries.push(entry);
        }
        self.chunks.add(first, &entries).map_err(io::Error::other)?;
        self.chunks.remove_below(self.first_kept(&self.stored()));
        self.leave(first, last)
    }

    /// Lets the rows of a chunk that has its file leave the database.
    fn leave(&self, first: u64, last: u64) -> Result<(), ArchiveError> {
        let mut keys = Vec::new();
        for number in first..=last {
            let Some((id, entry)) = self.chunks.read(number)? else { continue };
            keys.extend(part_keys(number, entry.len()).chain([index_key(id), head_key(number)]).map(|key| (key, None)));
        }
        if let Some((_, end)) = keys.last_mut() {
            *end = Some(last);
        }
        self.inner().leaving.extend(keys);
        Ok(())
    }

    /// The lowest number that stays when these are there: that of a chunk, so that none is broken.
    fn first_kept(&self, runs: &Runs) -> u64 {
        let Shape { keep, chunk } = self.shape;
        let too_old = runs.last().unwrap_or(0).saturating_sub(keep);
        too_old - too_old % chunk + 1
    }

    /// The rows of numbers that are too old, which leave `runs`. A row that cannot be read is left on the disk.
    fn outdated(&self, runs: &mut Runs) -> Vec<Key> {
        let first = self.first_kept(runs);
        let numbers = runs.above(0).take_while(|number| *number < first).take(BATCH_REMOVALS);
        let (mut deletes, mut removed) = (Vec::new(), None);
        for number in numbers {
            removed = Some(number);
            let Ok(Some(row)) = self.store.get(head_key(number)) else { continue };
            let Some(head) = Head::decode(&row) else { continue };
            deletes.extend(head.part_keys(number).chain([head_key(number)]));
            let index = index_key(head.id);
            if self.store.get(index).is_ok_and(|at| at == Some(number.to_be_bytes().to_vec())) {
                deletes.push(index);
            }
        }
        if let Some(removed) = removed {
            runs.cut_below(removed + 1);
        }
        deletes
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The numbers whose first rows are there.
fn count(store: &Store) -> Result<Runs, StoreError> {
    let mut runs = Runs::default();
    store.scan(Space::Archive, |key, _| {
        if key.class != Class::P0 {
            return ControlFlow::Break(());
        }
        runs.insert(key.seq);
        ControlFlow::Continue(())
    })?;
    Ok(runs)
}
