//! The store as its users hold it: commits go to the one writer thread, reads go straight to the database.
//!
//! Invariant: `done(Ok(()))` is called only when the batch, and every batch before it, is on stable storage.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use huxiao_core::{Class, Span};

use crate::block::BLACK_BOX_VALUE_BYTES;
use crate::config::{Observation, Settings};
use crate::engine::{Engine, EngineError};
use crate::error::{CommitError, StoreError};
use crate::frame::{Frame, VALUE_BYTES};
use crate::key::{Batch, Key, Space};
use crate::space;
use crate::writer::Job;

/// Rows of one batch, puts and deletes together.
pub const BATCH_ROWS: usize = 4_096;
/// Bytes of one batch, as [`Batch::bytes`] counts them.
pub const BATCH_BYTES: u64 = 1 << 20;
/// Batches that may wait for the writer. A quarter of them is kept for P0.
pub const QUEUE_BATCHES: u64 = 4_096;
/// Bytes that may wait for the writer. A quarter of them is kept for P0.
pub const QUEUE_BYTES: u64 = 16 << 20;
/// How long a canary may take.
pub const CANARY_LIMIT: Span = Span::from_secs(10);

/// How a commit's end is told: once, on the store's own thread if the batch got so far, else on the caller's.
pub type Done = Box<dyn FnOnce(Result<(), CommitError>) + Send>;

/// What a store does, whether it is on a disk or in memory.
pub trait Backend: Clone + Send + Sync + 'static {
    /// Makes a batch durable and then calls `done`. Never waits for the disk. Batches are applied, and their `done` called, in
    /// the order of the calls. `done` must be quick and must not wait for the store.
    fn commit(&self, batch: Batch, done: Done);

    /// The value at `key`. It may be of a commit whose `done` has not been called yet.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Poisoned`], [`StoreError::Closed`].
    fn get(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError>;

    /// Every row of `space`, the lanes in class order, each in the order of its numbers, until `each` breaks.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] at the first damaged row, [`StoreError::Poisoned`], [`StoreError::Closed`].
    fn scan(&self, space: Space, each: &mut dyn FnMut(Key, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError>;

    /// How it is.
    fn health(&self) -> Health;

    /// Writes, syncs and reads back a small fact, and says how long that took. Waits up to [`CANARY_LIMIT`].
    ///
    /// # Errors
    /// [`StoreError::CanaryLate`], or why it was refused.
    fn canary(&self) -> Result<Span, StoreError>;

    /// Lets earlier commits end, then closes. Other handles get [`CommitError::Closed`] from then on.
    fn close(self);
}

/// What a store can do at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Everything.
    Ready,
    /// The disk is nearly full, or the ballast is given up: only P0 and removals are written.
    Low,
    /// The disk is full and the ballast used up: only removals are written, as long as they fit. Ends by itself when there is
    /// space.
    Full,
    /// A sync failed or the engine broke: nothing is written until the store is opened again.
    Poisoned {
        /// What happened.
        why: String,
    },
}

/// How a store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// What it can do.
    pub state: State,
    /// Bytes of its database file.
    pub bytes: u64,
    /// Bytes free on its file system.
    pub free_bytes: u64,
    /// Bytes of its file system.
    pub total_bytes: u64,
    /// Whether the ballast is there to be given up.
    pub ballast: bool,
    /// How long the last group of commits took, from the first write to the end of the last sync.
    pub last_sync: Span,
    /// Number of the last durable commit.
    pub commit: u64,
    /// Batches that wait for the writer.
    pub waiting: u64,
}

/// A durable store. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
    jobs: Sender<Job>,
    thread: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// What the writer thread and the handles share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    pub(crate) engine: RwLock<Option<Arc<Engine>>>,
    pub(crate) poisoned: Mutex<Option<String>>,
    pub(crate) waiting: AtomicU64,
    pub(crate) waiting_bytes: AtomicU64,
    pub(crate) commit: AtomicU64,
    pub(crate) last_sync_us: AtomicU64,
    pub(crate) low: AtomicBool,
}

impl Shared {
    /// The open database.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        if let Some(why) = self.poison() {
            return Err(StoreError::Poisoned(why));
        }
        self.engine.read().unwrap_or_else(PoisonError::into_inner).clone().ok_or(StoreError::Closed)
    }

    pub(crate) fn poison(&self) -> Option<String> {
        self.poisoned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends the store's service: the first reason stays.
    pub(crate) fn set_poisoned(&self, why: &str) -> String {
        let mut slot = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.is_none() {
            *slot = Some(why.to_owned());
            self.settings.observe(Observation::Poisoned { why: why.to_owned() });
        }
        slot.clone().unwrap_or_default()
    }

    /// Whether only P0 and removals are written. What the ballast gave up is for them alone, until it is back.
    pub(crate) fn is_low(&self, usage: space::Usage) -> bool {
        let was_low = self.low.load(Ordering::Acquire);
        space::is_low(usage, self.settings.low_space_bytes, was_low) || self.settings.ballast.given_up(usage)
    }

    fn broken(&self, error: &EngineError) -> StoreError {
        StoreError::Poisoned(self.set_poisoned(&format!("reading the database failed: {error}")))
    }

    fn damaged(&self, key: Key, why: &'static str) -> StoreError {
        self.settings.observe(Observation::DamagedRow { key, why });
        StoreError::Damaged { key, why }
    }
}

impl Store {
    pub(crate) fn new(shared: Arc<Shared>, jobs: Sender<Job>, thread: JoinHandle<()>) -> Self {
        Self { shared, jobs, thread: Arc::new(Mutex::new(Some(thread))) }
    }

    /// Asks the writer to look after the ballast.
    pub(crate) fn tend(&self) {
        // A writer that is gone has none to look after.
        let _ = self.jobs.send(Job::Tend);
    }

    /// [`Backend::commit`] without the box.
    pub fn commit(&self, batch: Batch, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
        Backend::commit(self, batch, Box::new(done));
    }

    /// [`Backend::scan`] with any closure.
    ///
    /// # Errors
    /// As there.
    pub fn scan(&self, space: Space, mut each: impl FnMut(Key, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        Backend::scan(self, space, &mut each)
    }

    /// [`Backend::get`].
    ///
    /// # Errors
    /// As there.
    pub fn get(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        Backend::get(self, key)
    }

    /// [`Backend::health`].
    #[must_use]
    pub fn health(&self) -> Health {
        Backend::health(self)
    }

    /// [`Backend::canary`].
    ///
    /// # Errors
    /// As there.
    pub fn canary(&self) -> Result<Span, StoreError> {
        Backend::canary(self)
    }

    /// [`Backend::close`].
    pub fn close(self) {
        Backend::close(self);
    }

    /// Takes room in the queue, of which a quarter is for P0 alone.
    fn enqueue(&self, bytes: u64, vital: bool) -> bool {
        let (batches, total) = (&self.shared.waiting, &self.shared.waiting_bytes);
        let full = if vital { 4 } else { 3 };
        let taken = batches.fetch_add(1, Ordering::AcqRel) + 1;
        let size = total.fetch_add(bytes, Ordering::AcqRel) + bytes;
        let fits = taken <= QUEUE_BATCHES / 4 * full && size <= QUEUE_BYTES / 4 * full;
        if !fits {
            batches.fetch_sub(1, Ordering::AcqRel);
            total.fetch_sub(bytes, Ordering::AcqRel);
        }
        fits
    }
}

/// Whether a batch keeps to the limits.
pub(crate) fn check(batch: &Batch, black_box_blocks: u64) -> Result<(), CommitError> {
    let limit = |what, bytes: usize, limit: usize| {
        if bytes > limit { Err(CommitError::TooLarge { what, bytes, limit }) } else { Ok(()) }
    };
    limit("the batch's rows", batch.puts.len() + batch.deletes.len(), BATCH_ROWS)?;
    for put in &batch.puts {
        limit("a value", put.value.len(), VALUE_BYTES)?;
        if put.black_box {
            limit("a value for the black box", put.value.len(), BLACK_BOX_VALUE_BYTES)?;
        }
    }
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    limit("the batch", size(batch.bytes()), size(BATCH_BYTES))?;
    let boxed = batch.puts.iter().filter(|put| put.black_box).count();
    // Tombstones of the batch and of its group need blocks too.
    limit("the batch's part for the black box", boxed, size(black_box_blocks / 8))
}

impl Backend for Store {
    fn commit(&self, batch: Batch, done: Done) {
        if let Some(why) = self.shared.poison() {
            return done(Err(CommitError::Poisoned(why)));
        }
        if let Err(error) = check(&batch, self.shared.settings.ring_blocks) {
            return done(Err(error));
        }
        let (bytes, vital) = (batch.bytes(), space::is_vital(batch.class, batch.only_deletes()));
        if !self.enqueue(bytes, vital) {
            return done(Err(CommitError::Busy));
        }
        if let Err(mpsc::SendError(Job::Commit { done, .. })) = self.jobs.send(Job::Commit { batch, done, bytes }) {
            done(Err(CommitError::Closed));
        }
    }

    fn get(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        let engine = self.shared.engine()?;
        let Some(bytes) = engine.get(&key.encode()).map_err(|error| self.shared.broken(&error))? else {
            return Ok(None);
        };
        match Frame::of_row(key, &bytes) {
            Ok(frame) => Ok(Some(frame.payload.to_vec())),
            Err(why) => Err(self.shared.damaged(key, why)),
        }
    }

    fn scan(&self, space: Space, each: &mut dyn FnMut(Key, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        let engine = self.shared.engine()?;
        let mut damaged = None;
        let scanned = engine.scan(&[space.byte()], &mut |key, bytes| {
            // A key that is none was never written by us.
            let key = Key::decode(key).unwrap_or(Key { space, class: Class::P4, seq: u64::MAX });
            match Frame::of_row(key, bytes) {
                Ok(frame) => each(key, frame.payload),
                Err(why) => {
                    damaged = Some((key, why));
                    ControlFlow::Break(())
                }
            }
        });
        scanned.map_err(|error| self.shared.broken(&error))?;
        damaged.map_or(Ok(()), |(key, why)| Err(self.shared.damaged(key, why)))
    }

    fn health(&self) -> Health {
        let shared = &self.shared;
        let settings = &shared.settings;
        // A file system that does not answer is treated as one without space.
        let usage = (settings.probe)(&settings.dir).unwrap_or(space::Usage { free: 0, total: 0 });
        let ballast = settings.ballast.held();
        let low = shared.is_low(usage);
        let state = match (shared.poison(), space::admit(usage, low, ballast, space::Sizes::default())) {
            (Some(why), _) => State::Poisoned { why },
            (None, space::Admission::All) => State::Ready,
            (None, space::Admission::Vital | space::Admission::VitalByBallast) => State::Low,
            (None, space::Admission::Removals | space::Admission::None) => State::Full,
        };
        if settings.ballast.missing() {
            // The writer's own thread puts the ballast back, so that it cannot meet a commit half-way.
            self.tend();
        }
        Health {
            state,
            bytes: shared.engine().map_or(0, |engine| engine.bytes()),
            free_bytes: usage.free,
            total_bytes: usage.total,
            ballast,
            last_sync: Duration::from_micros(shared.last_sync_us.load(Ordering::Acquire)),
            commit: shared.commit.load(Ordering::Acquire),
            waiting: shared.waiting.load(Ordering::Acquire),
        }
    }

    fn canary(&self) -> Result<Span, StoreError> {
        let (answer, answered) = mpsc::channel();
        let done = Box::new(move |result| {
            // The asker may have given up.
            let _ = answer.send(result);
        });
        self.jobs.send(Job::Canary { done }).map_err(|_| StoreError::Closed)?;
        match answered.recv_timeout(CANARY_LIMIT) {
            Ok(result) => result,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(StoreError::CanaryLate(CANARY_LIMIT.as_millis())),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(StoreError::Closed),
        }
    }

    fn close(self) {
        // If the thread has already ended, there is nothing to tell it.
        let _ = self.jobs.send(Job::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // The thread catches its own panics; what it had to say it has said by poisoning the store.
            let _ = thread.join();
        }
    }
}
