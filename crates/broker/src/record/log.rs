//! The raft log: its entries in memory, and every change of it in a write-ahead log on disk.
//!
//! All entries that the log still holds are in memory too: with a snapshot every 20,000 entries and 25,000 kept behind one, that
//! is at most some 50,000 of a few hundred bytes. So a reader never waits for a disk, and the disk is read once, at the start.
//!
//! On disk stand, in the order in which they were asked for: entries, cuts at the end of the log, and four facts of which the
//! newest counts: the vote, how far the log is committed, how far it was purged, and whose store this is.
//!
//! Invariants:
//! * Memory and disk change in the same order: a change is handed to the disk's one thread under the lock under which it is made
//!   in memory. Votes and entries go the same way, so no vote overtakes the entries that it speaks for.
//! * A vote, a cut and a purge have happened when their call returns; entries are on stable storage when their callback is called.
//! * The log has no hole: entries stand next to each other, and the first behind what was purged.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::{Stream, stream};
use huxiao_store::wal::{Record, Wal, WalError};
use huxiao_wire::cluster::{
    StoreId, decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote,
};
use openraft::errors::LeaderChanged;
use openraft::storage::{IOFlushed, LeaderBoundedStreamError, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use super::convert::{entry_in, entry_out, id_in, id_out, vote_in, vote_out};
use super::types::{Entry, LeaderId, LogId, Proposal, TypeConfig, Vote};

/// An entry of the log. On-disk numbers: never used for anything else.
const ENTRY: u8 = 1;
/// The log was cut: all entries from the index in it on are gone.
const CUT: u8 = 2;
/// The vote. Sticky, as the next three.
const VOTE: u8 = 3;
/// How far the log is committed, as far as this node knew.
const COMMITTED: u8 = 4;
/// Up to which entry the log was purged.
const PURGED: u8 = 5;
/// Whose store this is.
const STORE: u8 = 6;

/// The kinds of which only the newest record counts: [`huxiao_store::wal::WalConfig::sticky`] of a log's write-ahead log.
pub(crate) const STICKY: [u8; 4] = [VOTE, COMMITTED, PURGED, STORE];

/// Bytes of entries that go to the disk as one piece.
const PIECE_BYTES: usize = 8 << 20;
/// Bytes of commands that one reading by a replication gives, so that what is sent fits into frames without much being put back.
const READ_BYTES: usize = 4 << 20;

/// What a log's disk calls when something is done, or will never be.
pub(crate) type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// Where the changes of a log go: [`Wal`], or in tests one that fails, forgets or takes its time.
pub(crate) trait LogDisk: Clone + Send + Sync + 'static {
    /// As [`Wal::append`].
    fn append(&self, records: Vec<Record>, done: Done);
    /// As [`Wal::purge`].
    fn purge(&self, upto: u64, done: Done);
}

impl LogDisk for Wal {
    fn append(&self, records: Vec<Record>, done: Done) {
        Wal::append(self, records, done);
    }

    fn purge(&self, upto: u64, done: Done) {
        Wal::purge(self, upto, done);
    }
}

/// Why the records of a write-ahead log do not make a raft log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogError {
    /// Intact, and still not what this version writes.
    #[error(
        "record {at} of the log (kind {kind}) cannot be read: {why}; if a newer version of huxiao wrote it, start that version"
    )]
    Unreadable {
        /// Which record, from 1.
        at: usize,
        /// Its kind.
        kind: u8,
        /// What is wrong with it.
        why: String,
    },
    /// An entry is missing.
    #[error("the log goes on with entry {found} where entry {expected} should be")]
    Hole {
        /// The index that should come.
        expected: u64,
        /// The one that did.
        found: u64,
    },
}

/// How much a log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogSize {
    /// Entries.
    pub(crate) entries: usize,
    /// Bytes of their commands, which are in memory.
    pub(crate) bytes: usize,
}

/// The raft log. Clones are the same log.
pub(crate) struct LogStore<D = Wal> {
    disk: D,
    log: Arc<Mutex<Log>>,
}

impl<D: Clone> Clone for LogStore<D> {
    fn clone(&self) -> Self {
        Self { disk: self.disk.clone(), log: self.log.clone() }
    }
}

/// What is in memory.
#[derive(Default)]
struct Log {
    vote: Option<Vote>,
    committed: Option<LogId>,
    /// Whether the disk has yet to hear of `committed`.
    committed_is_news: bool,
    purged: Option<LogId>,
    store: Option<u64>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    fn last(&self) -> Option<LogId> {
        self.entries.back().map(|entry| entry.log_id).or(self.purged)
    }

    fn expected(&self) -> Option<u64> {
        self.last().map(|last| last.index + 1)
    }

    /// What must not happen to a log.
    fn gap_before(&self, index: u64) -> Option<LogError> {
        let expected = self.expected().filter(|expected| *expected != index)?;
        Some(LogError::Hole { expected, found: index })
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += weight(&entry);
        self.entries.push_back(entry);
    }

    fn cut(&mut self, from: u64) {
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.log_id.index >= from) {
            self.bytes -= weight(&entry);
        }
    }

    fn purge(&mut self, upto: LogId) {
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.log_id.index <= upto.index) {
            self.bytes -= weight(&entry);
        }
        self.purged = self.purged.max(Some(upto));
    }

    /// The entries with these indexes, as far as they are there.
    fn range(&self, range: &impl RangeBounds<u64>) -> impl Iterator<Item = &Entry> {
        let first = self.entries.front().map_or(0, |entry| entry.log_id.index);
        let place = |index: u64| usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
        let from = match range.start_bound() {
            Bound::Included(index) => place(*index),
            Bound::Excluded(index) => place(index.saturating_add(1)),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(index) => place(index.saturating_add(1)),
            Bound::Excluded(index) => place(*index),
            Bound::Unbounded => self.entries.len(),
        };
        let to = to.min(self.entries.len());
        self.entries.range(from.min(to)..to)
    }

    /// What the disk has yet to hear of, to ride along with what it must hear anyway.
    fn news(&mut self) -> Vec<Record> {
        let news = std::mem::take(&mut self.committed_is_news).then_some(self.committed).flatten();
        news.map(|committed| fact(COMMITTED, encode_log_id(&id_out(&committed)))).into_iter().collect()
    }

    /// Takes one record of the write-ahead log, the next in order.
    fn replay(&mut self, at: usize, record: Record) -> Result<(), LogError> {
        let Record { kind, index, bytes } = record;
        let unreadable = |why: String| LogError::Unreadable { at, kind, why };
        let id = |bytes: &[u8]| decode_log_id(bytes).map(id_in).map_err(|error| unreadable(error.to_string()));
        match kind {
            ENTRY => {
                let entry = decode_entry(Bytes::from(bytes)).map_err(|error| unreadable(error.to_string()))?;
                let entry = entry_in(entry).map_err(|error| unreadable(error.to_string()))?;
                if entry.log_id.index != index {
                    return Err(unreadable(format!("entry {} is filed as {index}", entry.log_id.index)));
                }
                // Of a log that begins in the middle, the mark that says how much was purged may come later.
                match self.gap_before(index).filter(|_| !self.entries.is_empty()) {
                    Some(gap) => return Err(gap),
                    None => self.push(entry),
                }
            }
            CUT => self.cut(number(&bytes).ok_or_else(|| unreadable("it is not 8 bytes long".to_owned()))?),
            VOTE => self.vote = Some(vote_in(decode_vote(&bytes).map_err(|error| unreadable(error.to_string()))?)),
            COMMITTED => self.committed = Some(id(&bytes)?),
            PURGED => self.purge(id(&bytes)?),
            STORE => self.store = Some(number(&bytes).ok_or_else(|| unreadable("it is not 8 bytes long".to_owned()))?),
            _ => return Err(unreadable("this version knows no such kind".to_owned())),
        }
        Ok(())
    }
}

/// A fact of which the newest counts.
fn fact(kind: u8, bytes: Vec<u8>) -> Record {
    Record { kind, index: 0, bytes }
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

fn weight(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(Proposal(bytes)) => bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

fn io_error(error: WalError) -> io::Error {
    let kind = if error == WalError::Full { io::ErrorKind::StorageFull } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

impl<D: LogDisk> LogStore<D> {
    /// The log that these records of its write-ahead log, in order, add up to.
    ///
    /// # Errors
    /// [`LogError`]: nothing may be built on such a log.
    pub(crate) fn recover(disk: D, records: impl IntoIterator<Item = Record>) -> Result<Self, LogError> {
        let mut log = Log::default();
        for (at, record) in records.into_iter().enumerate() {
            log.replay(at + 1, record)?;
        }
        // What precedes the first entry must be gone on purpose. The first of all logs is 0.
        let expected = log.purged.map_or(0, |purged| purged.index + 1);
        if let Some(found) = log.entries.front().map(|entry| entry.log_id.index).filter(|found| *found != expected) {
            return Err(LogError::Hole { expected, found });
        }
        // A mark that ran ahead of the entries promises nothing about them.
        log.committed = log.committed.min(log.last());
        Ok(Self { disk, log: Arc::new(Mutex::new(log)) })
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose store this is, if it was said.
    pub(crate) fn store(&self) -> Option<StoreId> {
        self.lock().store.map(StoreId)
    }

    /// Whether nothing was ever voted for or stored here.
    pub(crate) fn is_pristine(&self) -> bool {
        let log = self.lock();
        log.vote.is_none() && log.last().is_none()
    }

    /// The last entry, or the last that was purged.
    #[cfg(test)]
    pub(crate) fn last(&self) -> Option<LogId> {
        self.lock().last()
    }

    /// How far the log was purged.
    pub(crate) fn purged(&self) -> Option<LogId> {
        self.lock().purged
    }

    /// How far it is committed, as far as this node knows.
    pub(crate) fn committed(&self) -> Option<LogId> {
        self.lock().committed
    }

    /// How much it holds.
    pub(crate) fn size(&self) -> LogSize {
        let log = self.lock();
        LogSize { entries: log.entries.len(), bytes: log.bytes }
    }

    /// Says whose store this is, and calls `done` when that is on stable storage.
    pub(crate) fn name_store(&self, store: StoreId, done: Done) {
        let mut log = self.lock();
        log.store = Some(store.0);
        self.disk.append(vec![fact(STORE, store.0.to_be_bytes().to_vec())], done);
    }

    /// Brings to disk what waits there for a better occasion: how far the log is committed. To be called now and then, since an
    /// idle log has no other occasion; a node that starts with an old mark only reports some events a second time.
    pub(crate) fn tend(&self) {
        let mut log = self.lock();
        let news = log.news();
        if !news.is_empty() {
            self.disk.append(
                news,
                Box::new(|done| {
                    if let Err(error) = done {
                        tracing::warn!(%error, "how far the record is committed could not be noted");
                    }
                }),
            );
        }
    }

    /// Hands records to the disk under the log's lock, and gives what tells when they are there.
    fn hand_over(&self, log: &mut Log, record: Record) -> impl Future<Output = io::Result<()>> + Send + use<D> {
        let mut records = log.news();
        records.push(record);
        let (done, waiting) = outcome();
        self.disk.append(records, done);
        waiting
    }
}

/// A callback, and what it brings.
fn outcome() -> (Done, impl Future<Output = io::Result<()>> + Send) {
    let (tell, told) = oneshot::channel();
    // Whoever asked may have gone away.
    let done: Done = Box::new(move |result| drop(tell.send(result)));
    let waiting = async move {
        let result = told.await.map_err(|_| io::Error::other(WalError::Closed))?;
        result.map_err(io_error)
    };
    (done, waiting)
}

impl<D: LogDisk> RaftLogReader<TypeConfig> for LogStore<D> {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        Ok(self.lock().range(&range).cloned().collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.lock().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let log = self.lock();
        let mut bytes = 0;
        let within = |entry: &&Entry| {
            let first = bytes == 0;
            bytes += weight(entry) + 1;
            first || bytes <= READ_BYTES
        };
        Ok(log.range(&(start..end)).take_while(within).cloned().collect())
    }

    async fn leader_bounded_stream<RB>(
        &mut self,
        leader: LeaderId,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, LeaderBoundedStreamError<TypeConfig>>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.lock();
        let items: Vec<_> = match log.vote {
            Some(vote) if vote.committed && vote.leader_id == leader => log.range(&range).cloned().map(Ok).collect(),
            vote => vec![Err(LeaderChanged::new(leader, vote).into())],
        };
        stream::iter(items)
    }
}

impl<D: LogDisk> RaftLogStorage<TypeConfig> for LogStore<D> {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let log = self.lock();
        Ok(LogState { last_purged_log_id: log.purged, last_log_id: log.last() })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let saved = {
            let mut log = self.lock();
            log.vote = Some(*vote);
            self.hand_over(&mut log, fact(VOTE, encode_vote(&vote_out(vote))))
        };
        saved.await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut log = self.lock();
        if committed > log.committed {
            log.committed = committed;
            log.committed_is_news = true;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        let entries: Vec<Entry> = entries.into_iter().collect();
        for entry in &entries {
            let bytes = encode_entry(&entry_out(entry).map_err(io::Error::other)?);
            records.push(Record { kind: ENTRY, index: entry.log_id.index, bytes });
        }
        let mut log = self.lock();
        let mut expected = log.expected();
        for index in entries.iter().map(|entry| entry.log_id.index) {
            if let Some(expected) = expected.filter(|expected| *expected != index) {
                return Err(io::Error::other(LogError::Hole { expected, found: index }));
            }
            expected = Some(index + 1);
        }
        entries.into_iter().for_each(|entry| log.push(entry));
        let mut piece = log.news();
        let mut bytes = 0;
        for record in records {
            bytes += record.bytes.len();
            piece.push(record);
            if bytes >= PIECE_BYTES {
                bytes = 0;
                // Of an append that fails all that come after it fail too, so the last one speaks for all.
                self.disk.append(std::mem::take(&mut piece), Box::new(|_| {}));
            }
        }
        self.disk.append(piece, Box::new(move |done| callback.io_completed(done.map_err(io_error))));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index + 1);
        let cut = {
            let mut log = self.lock();
            log.cut(from);
            let record = Record { kind: CUT, index: from.saturating_sub(1), bytes: from.to_be_bytes().to_vec() };
            self.hand_over(&mut log, record)
        };
        cut.await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        let marked = {
            let mut log = self.lock();
            log.purge(upto);
            self.hand_over(&mut log, fact(PURGED, encode_log_id(&id_out(&upto))))
        };
        // The mark first: whoever finds entries missing must find out why.
        marked.await?;
        let (done, purged) = outcome();
        self.disk.purge(upto.index, done);
        purged.await
    }
}

#[cfg(test)]
mod tests;
