//! A write-ahead log: records in one order, in a folder of segment files, with one sync for all that wait.
//!
//! What is promised: after `done(Ok(()))` of an [`append`](Wal::append) its records, and all before them, are on stable storage
//! (`fdatasync`); what is recovered is the records in the order of the appends, from some first to some last one, no earlier than the
//! last that was promised. What was promised and cannot be read any more is never skipped: the log refuses to open
//! ([`WalError::Damaged`]), because a node that forgot a vote or an entry must not take part as if nothing had happened.
//!
//! The log knows nothing of what it holds but each record's kind and index:
//!
//! - [`purge`](Wal::purge) removes whole segments from the front whose records all have an index at most the given one.
//! - Of a [`sticky`](WalConfig::sticky) kind (a vote, a mark) only the newest record counts: each new segment begins with a copy of
//!   it, so that purging never loses it. Its index does not matter for purging.
//!
//! A log's folder: `N.wal`, the segments, consecutive numbers; `N.new`, one that is being made; `ballast`; `lock`.
//!
//! Invariant: one thread writes, in the order of the calls, and a batch is begun only when the one before it is synced. The first
//! batch that fails is the last: later ones are refused until the log is opened again, so there is never a hole.

mod disk;
mod error;
mod open;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use huxiao_core::Span;

pub use error::WalError;

use crate::space::{self, Ballast, Probe, Usage, system_probe};
use segment::RECORD_HEAD_BYTES;
use writer::Job;

/// Bytes of one append, the heads of its records included.
pub const APPEND_BYTES: usize = 64 << 20;

/// How a log is set up.
#[derive(Clone)]
pub struct WalConfig {
    /// Bytes after which a new segment is begun: what one purge gives back at least. 16 MiB.
    pub segment_bytes: u64,
    /// Bytes held back for the last records on a full disk; 0 for none. 64 MiB.
    pub ballast_bytes: u64,
    /// With less than this free, and also less than a tenth of the file system, the log says that space is low. 1 GiB.
    pub low_space_bytes: u64,
    /// Kinds of which only the newest record counts; it is carried from segment to segment.
    pub sticky: Vec<u8>,
    /// How the free space is learned.
    pub probe: Probe,
    /// Where observations go; called on the log's thread, so it must be quick.
    pub observe: Option<WalObserver>,
}

/// Takes observations.
pub type WalObserver = Arc<dyn Fn(WalObservation) + Send + Sync>;

/// What happened inside a log, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalObservation {
    /// A batch is on stable storage.
    Synced {
        /// From the beginning of the write to the end of the sync.
        took: Span,
        /// Appends in it.
        appends: u64,
        /// Records in it.
        records: u64,
        /// Bytes written.
        bytes: u64,
    },
    /// The ballast was given up (`false`) or put back (`true`).
    Ballast(bool),
    /// The disk is full: nothing is written any more.
    Full,
    /// Nothing is written any more.
    Poisoned {
        /// Why.
        why: String,
    },
}

impl Default for WalConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            ballast_bytes: 64 << 20,
            low_space_bytes: 1 << 30,
            sticky: Vec::new(),
            probe: system_probe(),
            observe: None,
        }
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What it is, to its owner.
    pub kind: u8,
    /// What purging goes by.
    pub index: u64,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The number of its segment.
    pub segment: u64,
    /// Its first byte in the segment's file.
    pub offset: u64,
}

/// What an opening found.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The records that are there, in the order in which they were appended. A sticky one occurs once more at the head of each
    /// segment that was begun after it; whoever reads in order and lets the later one win sees no difference.
    pub records: Vec<(Position, Record)>,
    /// Bytes cut off at the end: the power had gone while they were written, and nobody was told that they were there.
    pub torn: Option<u64>,
}

/// How a log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalHealth {
    /// Bytes of its segments.
    pub bytes: u64,
    /// How many segments.
    pub segments: u64,
    /// Bytes free on its file system.
    pub free: u64,
    /// Whether space is low or the ballast was given up.
    pub low: bool,
    /// Whether the disk was full, so that nothing more is written until the log is opened again.
    pub full: bool,
    /// Why nothing more is written, if something broke.
    pub poisoned: Option<String>,
    /// How long the last batch took, from the beginning of the write to the end of the sync.
    pub last_sync: Span,
}

/// An open log. Cheap to clone; all clones are the same log, which ends with the last of them.
#[derive(Clone)]
pub struct Wal {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the writer's thread and the handles share.
struct Shared {
    dir: PathBuf,
    config: WalConfig,
    ballast: Ballast,
    bytes: AtomicU64,
    segments: AtomicU64,
    last_sync_us: AtomicU64,
    low: AtomicBool,
    full: AtomicBool,
    poisoned: Mutex<Option<String>>,
}

impl Shared {
    fn new(dir: &Path, config: WalConfig) -> Self {
        Self {
            dir: dir.to_path_buf(),
            ballast: Ballast::new(dir, config.ballast_bytes),
            config,
            bytes: AtomicU64::new(0),
            segments: AtomicU64::new(0),
            last_sync_us: AtomicU64::new(0),
            low: AtomicBool::new(false),
            full: AtomicBool::new(false),
            poisoned: Mutex::new(None),
        }
    }

    fn observe(&self, observation: WalObservation) {
        if let Some(observe) = &self.config.observe {
            observe(observation);
        }
    }

    fn poison(&self) -> Option<String> {
        self.poisoned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the log's service: the first reason stays.
    fn set_poisoned(&self, why: String) -> WalError {
        let mut slot = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        let first = slot.is_none();
        let kept = slot.get_or_insert(why).clone();
        drop(slot);
        if first {
            self.observe(WalObservation::Poisoned { why: kept.clone() });
        }
        WalError::Poisoned(kept)
    }

    /// A file system that does not answer is treated as one without space.
    fn usage(&self) -> Usage {
        (self.config.probe)(&self.dir).unwrap_or(Usage { free: 0, total: 0 })
    }

    fn is_low(&self, usage: Usage) -> bool {
        let low = space::is_low(usage, self.config.low_space_bytes, self.low.load(Ordering::Acquire))
            || self.ballast.given_up(usage);
        self.low.store(low, Ordering::Release);
        low
    }
}

impl Wal {
    /// Opens the log in `dir`, or makes it, and reads all of it.
    ///
    /// # Errors
    /// See [`WalError`]. Nothing was changed in the log then.
    pub fn open(dir: &Path, config: WalConfig) -> Result<(Self, Recovered), WalError> {
        open::open(dir, config, Arc::new(disk::SystemDisk))
    }

    /// Puts records behind all that were appended before, and calls `done` once on the log's own thread, in the order of the calls:
    /// with `Ok` when they are on stable storage. Never waits. `done` must be quick and must not wait for the log.
    ///
    /// All records of one append are recovered, or none. At most [`APPEND_BYTES`].
    pub fn append(&self, records: Vec<Record>, done: impl FnOnce(Result<(), WalError>) + Send + 'static) {
        self.tell(Job::Append { bytes: footprint(&records), records, done: Box::new(done) });
    }

    /// Removes the segments from the front whose records, sticky ones apart, all have an index of at most `upto`; the one that is
    /// being written stays. Happens after all that was appended before; `done` is called as for an append. The caller has appended
    /// what must be known of the removed ones, such as a mark of a sticky kind.
    pub fn purge(&self, upto: u64, done: impl FnOnce(Result<(), WalError>) + Send + 'static) {
        self.tell(Job::Purge { upto, done: Box::new(done) });
    }

    /// How it is. Asks the file system, so not for every alarm.
    #[must_use]
    pub fn health(&self) -> WalHealth {
        let shared = &self.shared;
        let usage = shared.usage();
        let low = shared.is_low(usage);
        if shared.ballast.missing() {
            // The writer's own thread puts the ballast back, so that it cannot meet a batch half-way.
            self.tell(Job::Tend);
        }
        WalHealth {
            bytes: shared.bytes.load(Ordering::Acquire),
            segments: shared.segments.load(Ordering::Acquire),
            free: usage.free,
            low,
            full: shared.full.load(Ordering::Acquire),
            poisoned: shared.poison(),
            last_sync: Duration::from_micros(shared.last_sync_us.load(Ordering::Acquire)),
        }
    }

    /// Lets earlier appends end, then closes. Other handles get [`WalError::Closed`] from then on.
    pub fn close(self) {
        self.tell(Job::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches its callers' panics and has none of its own to tell.
            let _ = thread.join();
        }
    }

    fn tell(&self, job: Job) {
        if let Err(mpsc::SendError(job)) = self.jobs.send(job) {
            job.refuse(WalError::Closed);
        }
    }
}

/// Bytes that records take in the log.
fn footprint(records: &[Record]) -> usize {
    records.iter().map(|record| RECORD_HEAD_BYTES + record.bytes.len()).sum()
}
