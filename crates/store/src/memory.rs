//! A store in memory, for the simulator: it keeps the same promise as the real one and forgets, when told to, exactly what a
//! disk may forget.
//!
//! Invariant: `done(Ok(()))` is called only for what [`Memory::power_cut`] leaves in place.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huxiao_core::{Span, WallTime};

use crate::error::{CommitError, StoreError};
use crate::key::{Batch, Key, Space};
use crate::space::is_vital;
use crate::store::{Backend, Done, Health, State, check};

/// Blocks that its black box would have: the bound on black-boxed rows of one batch.
const BLACK_BOX_BLOCKS: u64 = 1_024;

/// When the store in memory syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// At each commit, at once.
    Always,
    /// When [`Memory::sync`] is called: what the simulator does at a time of its choice.
    OnDemand,
}

/// How much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Enough.
    Plenty,
    /// For P0 and removals.
    Low,
    /// None.
    None,
}

/// A store in memory. Cheap to clone; all clones are the same store.
#[derive(Clone)]
pub struct Memory(Arc<Mutex<Inner>>);

#[derive(Debug, Clone, Default)]
struct Content {
    rows: BTreeMap<Key, Vec<u8>>,
    high: u64,
    commit: u64,
    epoch: u64,
}

struct Inner {
    sync: Sync,
    latest: Content,
    durable: Content,
    waiting: Vec<Done>,
    room: Room,
    fail_next_sync: bool,
    poisoned: Option<String>,
    closed: bool,
}

/// What an opening of a store in memory gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryOpened {
    /// As [`Opened::epoch`](crate::Opened).
    pub epoch: u64,
    /// As [`Opened::high`](crate::Opened).
    pub high: u64,
}

impl Memory {
    /// An empty store, opened at `now`.
    #[must_use]
    pub fn new(sync: Sync, now: WallTime) -> (Self, MemoryOpened) {
        let memory = Self(Arc::new(Mutex::new(Inner {
            sync,
            latest: Content::default(),
            durable: Content::default(),
            waiting: Vec::new(),
            room: Room::Plenty,
            fail_next_sync: false,
            poisoned: None,
            closed: false,
        })));
        let opened = memory.open(now);
        (memory, opened)
    }

    /// Makes durable what was committed, and tells the waiters, on this thread.
    pub fn sync(&self) {
        let (waiting, result) = {
            let mut inner = self.inner();
            if std::mem::take(&mut inner.fail_next_sync) {
                inner.poisoned.get_or_insert_with(|| "a sync failed".into());
            }
            let result = inner.poisoned.clone().map_or(Ok(()), |why| Err(CommitError::Poisoned(why)));
            if result.is_ok() {
                inner.durable = inner.latest.clone();
            }
            (std::mem::take(&mut inner.waiting), result)
        };
        waiting.into_iter().for_each(|done| done(result.clone()));
    }

    /// The power goes: what was not synced is forgotten and its waiters are never told. Nothing works until [`Memory::open`].
    pub fn power_cut(&self) {
        let mut inner = self.inner();
        inner.latest = inner.durable.clone();
        inner.waiting.clear();
        inner.closed = true;
    }

    /// Opens it again after a power cut, a poisoning or a closing.
    #[must_use]
    pub fn open(&self, now: WallTime) -> MemoryOpened {
        let mut inner = self.inner();
        let epoch = (inner.durable.epoch + 1).max(now.as_millis() / 1_000);
        inner.durable.epoch = epoch;
        inner.latest = inner.durable.clone();
        (inner.poisoned, inner.closed) = (None, false);
        MemoryOpened { epoch, high: inner.durable.high }
    }

    /// Lets the next sync fail, which poisons the store.
    pub fn fail_next_sync(&self) {
        self.inner().fail_next_sync = true;
    }

    /// Sets how much room there is.
    pub fn set_room(&self, room: Room) {
        self.inner().room = room;
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a batch in, or says why not.
    fn admit(&self, batch: &Batch) -> Result<(), CommitError> {
        let inner = self.inner();
        if inner.closed {
            return Err(CommitError::Closed);
        }
        if let Some(why) = &inner.poisoned {
            return Err(CommitError::Poisoned(why.clone()));
        }
        check(batch, BLACK_BOX_BLOCKS)?;
        match inner.room {
            Room::Plenty => Ok(()),
            _ if !is_vital(batch.class, batch.only_deletes()) => Err(CommitError::Shed(batch.class)),
            Room::Low => Ok(()),
            Room::None => Err(CommitError::DiskFull),
        }
    }

    fn readable(&self) -> Result<MutexGuard<'_, Inner>, StoreError> {
        let inner = self.inner();
        match &inner.poisoned {
            Some(why) => Err(StoreError::Poisoned(why.clone())),
            None if inner.closed => Err(StoreError::Closed),
            None => Ok(inner),
        }
    }
}

impl Backend for Memory {
    fn commit(&self, batch: Batch, done: Done) {
        if let Err(error) = self.admit(&batch) {
            return done(Err(error));
        }
        let always = {
            let mut inner = self.inner();
            let latest = &mut inner.latest;
            batch.deletes.iter().for_each(|key| {
                latest.rows.remove(key);
            });
            latest.rows.extend(batch.puts.into_iter().map(|put| (put.key, put.value)));
            latest.high = latest.high.max(batch.high);
            latest.commit += 1;
            inner.waiting.push(done);
            inner.sync == Sync::Always
        };
        if always {
            self.sync();
        }
    }

    fn get(&self, key: Key) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.readable()?.latest.rows.get(&key).cloned())
    }

    fn scan(&self, space: Space, each: &mut dyn FnMut(Key, &[u8]) -> ControlFlow<()>) -> Result<(), StoreError> {
        // The closure may call the store.
        let rows = self.readable()?.latest.rows.clone();
        // A break is how the closure says that it has enough.
        let _ = rows.iter().filter(|(key, _)| key.space == space).try_for_each(|(key, value)| each(*key, value));
        Ok(())
    }

    fn health(&self) -> Health {
        let inner = self.inner();
        let state = match (&inner.poisoned, inner.room) {
            (Some(why), _) => State::Poisoned { why: why.clone() },
            (None, Room::Plenty) => State::Ready,
            (None, Room::Low) => State::Low,
            (None, Room::None) => State::Full,
        };
        let bytes: usize = inner.latest.rows.values().map(Vec::len).sum();
        Health {
            state,
            bytes: bytes as u64,
            free_bytes: 0,
            total_bytes: 0,
            ballast: inner.room == Room::Plenty,
            last_sync: Span::ZERO,
            commit: inner.durable.commit,
            waiting: inner.waiting.len() as u64,
        }
    }

    fn canary(&self) -> Result<Span, StoreError> {
        if self.readable()?.room == Room::None {
            return Err(StoreError::Canary(CommitError::DiskFull));
        }
        self.sync();
        self.readable().map(|_| Span::ZERO)
    }

    fn close(self) {
        self.sync();
        self.inner().closed = true;
    }
}
