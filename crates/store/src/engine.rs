//! The database engine: the only module that knows sled.
//!
//! Invariant: when [`Engine::sync`] has returned `Ok`, everything applied before is on stable storage. sled's own `flush` ends
//! in `sync_file_range`, which reaches neither the drive's cache nor the file's size, so an `fdatasync` through a second
//! handle follows. No panic of sled passes this module.
//!
//! One tree only: sled applies a batch atomically within one tree. Segments of 1 MiB, twice sled's default, because sled puts
//! whatever exceeds a quarter of a segment into a separate file that it never syncs, and a leaf of sixteen values at their limit
//! is more than a quarter of the default.

use std::fs::{self, File};
use std::io;
use std::ops::{ControlFlow, Deref};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::nudge::Nudge;
use crate::snapshot;
use crate::witness::{make_dir, sync_dir};

const SEGMENT_BYTES: usize = 1 << 20;
/// Up to here no leaf of values can come near a quarter of a segment.
const SMALL_VALUE: usize = 4 * 1_024;
/// How long a database that this process has just closed may still hold its lock in a background thread.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);

/// What went wrong below.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The system's error.
    #[error("{0}")]
    Io(io::Error),
    /// Another handle, most likely of another process, has the database open.
    #[error("the database is locked by another process")]
    Locked,
    /// The engine says that the file is damaged.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// The engine panicked, which it does on many kinds of damage.
    #[error("the database engine panicked: {0}")]
    Panicked(String),
}

impl EngineError {
    /// Whether space is what is missing.
    pub(crate) fn no_space(&self) -> bool {
        match self {
            Self::Io(error) => matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
            // sled carries some errors as text only.
            Self::Panicked(text) | Self::Damaged(text) => text.contains("StorageFull") || text.contains("os error 28"),
            Self::Locked => false,
        }
    }

    /// Whether the machine around the database is at fault (rights, limits, space) and not the database's content.
    pub(crate) fn is_circumstance(&self) -> bool {
        use io::ErrorKind as Kind;
        let limits = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
        match self {
            Self::Io(error) => {
                matches!(error.kind(), Kind::PermissionDenied | Kind::ReadOnlyFilesystem | Kind::OutOfMemory)
                    || error.raw_os_error().is_some_and(|number| limits.contains(&number))
                    || self.no_space()
            }
            Self::Locked => true,
            Self::Damaged(_) | Self::Panicked(_) => self.no_space(),
        }
    }
}

/// One row to be put or removed.
pub(crate) type Change = (Vec<u8>, Option<Vec<u8>>);

/// Takes a row's key and value.
pub(crate) type EachRow<'a> = dyn FnMut(&[u8], &[u8]) -> ControlFlow<()> + 'a;

/// An open database.
#[derive(Debug)]
pub(crate) struct Engine {
    /// Before the database, which its thread holds too: what is let go first must be this.
    nudge: Nudge,
    db: Held,
    data: File,
    blobs: PathBuf,
}

/// The database, which is let go under guard: sled's destructor syncs the file and panics if that fails.
#[derive(Debug)]
struct Held(Option<sled::Db>);

impl Deref for Held {
    type Target = sled::Db;

    #[expect(clippy::expect_used, reason = "it is taken by the destructor alone")]
    fn deref(&self) -> &sled::Db {
        self.0.as_ref().expect("held until it is dropped")
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let db = self.0.take();
        // Whoever wants to know whether all is durable has synced before.
        let _ = guarded(|| {
            drop(db);
            Ok(())
        });
    }
}

impl Engine {
    /// Opens the database in `dir`, or makes it. sled repairs in place while it does so: it truncates and overwrites what it
    /// does not understand. Whoever wants to keep the evidence works on a copy.
    pub(crate) fn open(dir: &Path, cache_bytes: u64) -> Result<Self, EngineError> {
        make_dir(dir).and_then(|()| snapshot::prepare(dir)).map_err(EngineError::Io)?;
        let begun = Instant::now();
        let db = loop {
            match guarded(|| open_sled(dir, cache_bytes)) {
                Err(EngineError::Locked) if begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                other => break other?,
            }
        };
        // sled makes its files and renames its snapshot without syncing the folder. The names first: the snapshot's must be durable
        // before the zeros that sled wrote over what only the snapshot before needs.
        let data = sync_dir(dir).and_then(|()| sync_dir(&dir.join("blobs"))).and_then(|()| {
            sync_all(dir)?;
            File::open(dir.join("db"))
        });
        let db = Held(Some(db));
        let data = data.map_err(EngineError::Io)?;
        let other = db.clone();
        let nudge = Nudge::start(move || {
            let db = other.clone();
            let flush = move || {
                // What it says is of no interest: that it wakes the others is.
                let _ = guarded(|| db.flush());
            };
            // Without a thread the next nudge tries again.
            let _ = std::thread::Builder::new().name("store-flush".into()).spawn(flush);
        });
        Ok(Self { nudge, db, data, blobs: dir.join("blobs") })
    }

    /// The value at `key`.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        guarded(|| Ok(self.db.get(key)?.map(|value| value.to_vec())))
    }

    /// Every row whose key begins with `prefix`, in order.
    pub(crate) fn scan(&self, prefix: &[u8], each: &mut EachRow<'_>) -> Result<(), EngineError> {
        let mut rows = guarded(|| Ok(self.db.scan_prefix(prefix)))?;
        // Only sled runs under the guard: a panic of the caller's closure is the caller's.
        while let Some((key, value)) = guarded(|| rows.next().transpose())? {
            if each(&key, &value).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Applies all changes or none. They are not durable before [`Engine::sync`].
    pub(crate) fn apply(&self, changes: Vec<Change>) -> Result<(), EngineError> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        guarded(|| self.db.apply_batch(batch))
    }

    /// Makes durable what was applied. `largest` is the longest value since the last call.
    pub(crate) fn sync(&self, largest: usize) -> Result<(), EngineError> {
        self.nudge.watch(|| guarded(|| self.db.flush().map(drop)))?;
        if largest > SMALL_VALUE {
            sync_all(&self.blobs).map_err(EngineError::Io)?;
        }
        self.data.sync_data().map_err(EngineError::Io)
    }

    /// Bytes of its data file.
    pub(crate) fn bytes(&self) -> u64 {
        self.data.metadata().map_or(0, |meta| meta.len())
    }

    /// Closes it. What sled may still write while doing so is synced by the next opening.
    pub(crate) fn close(self) -> Result<(), EngineError> {
        let flushed = self.nudge.watch(|| guarded(|| self.db.flush().map(drop)));
        flushed.and_then(|()| self.data.sync_data().map_err(EngineError::Io))
    }

    /// Lets go of a database that cannot be trusted without running its destructor, which could write to the evidence or hang.
    pub(crate) fn abandon(self) {
        std::mem::forget(self.db);
    }
}

fn open_sled(dir: &Path, cache_bytes: u64) -> sled::Result<sled::Db> {
    sled::Config::new()
        .path(dir)
        .mode(sled::Mode::LowSpace)
        .cache_capacity(cache_bytes)
        .segment_size(SEGMENT_BYTES)
        .flush_every_ms(None)
        .open()
}

fn guarded<T>(run: impl FnOnce() -> sled::Result<T>) -> Result<T, EngineError> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(sled::Error::Io(error))) => {
            let text = error.to_string();
            if text.contains("could not acquire lock") {
                return Err(EngineError::Locked);
            }
            // sled's parse errors of its own files are of these kinds; an error of the system carries a number.
            let parsed = error.raw_os_error().is_none()
                && !matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::WriteZero);
            Err(if parsed { EngineError::Damaged(text) } else { EngineError::Io(error) })
        }
        Ok(Err(error)) => Err(EngineError::Damaged(error.to_string())),
        Err(panic) => Err(EngineError::Panicked(panic_text(panic.as_ref()))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message").chars().take(300).collect()
}

/// Syncs every file of a folder, and the folder.
pub(crate) fn sync_all(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_file() {
            match File::open(&path) {
                Ok(file) => file.sync_all()?,
                // sled removes blobs of its own accord.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use huxiao_core::{Rng, limits::STORE_VALUE_BYTES};

    #[test]
    fn values_at_their_limit_never_leave_the_synced_file() {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&dir.path().join("db"), 1 << 20).unwrap();
        let mut rng = Rng::new(5);
        for round in 0..60_u64 {
            let changes = (0..24).map(|_| {
                let key = rng.below(400).to_be_bytes().to_vec();
                let keep = rng.below(5) > 0;
                (key, keep.then(|| vec![u8::try_from(round).unwrap(); STORE_VALUE_BYTES]))
            });
            engine.apply(changes.collect()).unwrap();
            engine.sync(STORE_VALUE_BYTES).unwrap();
            assert_eq!(fs::read_dir(dir.path().join("db/blobs")).unwrap().count(), 0, "round {round}");
        }
        engine.close().unwrap();
    }
}
