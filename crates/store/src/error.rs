//! What can go wrong, for each thing that a caller can ask for.
//!
//! Invariant: after any error here the store's own state is known: either nothing was written, or the store is poisoned
//! and says so to everybody.

use std::io;
use std::path::PathBuf;

use huxiao_core::Class;

use crate::key::Key;

/// Why a batch is not on stable storage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Wait for earlier commits, then try again. A quarter of the queue is kept for P0.
    #[error("the store's queue is full; wait for earlier commits and try again")]
    Busy,
    /// A defect of the caller: split the batch, or keep the body in a file (`bodies`) and store its name.
    #[error("{what} has {bytes} bytes or rows, the limit is {limit}; nothing of the batch was written")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Free some space. Only P0 and removals are written until then, and until the ballast is back.
    #[error("the disk is nearly full, so {0} is not written until there is space again")]
    Shed(Class),
    /// Free some space. The batch was not begun and the store is unharmed.
    #[error("the disk is full and the ballast is used up; the batch was not begun")]
    DiskFull,
    /// Stop the node and start it again: what is on the disk can no longer be known from here.
    #[error("the store is poisoned and must be opened again: {0}")]
    Poisoned(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why the store cannot be read or tried.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The row was damaged on the disk. Stop the node and start it again: opening repairs what can be repaired.
    #[error("row {key} is damaged: {why}; open the store again to repair it")]
    Damaged {
        /// The row.
        key: Key,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Stop the node and start it again.
    #[error("the store is poisoned and must be opened again: {0}")]
    Poisoned(String),
    /// The canary was not on stable storage in time: the disk hangs or is far too slow.
    #[error("the canary was not written, synced and read back within {0} ms")]
    CanaryLate(u128),
    /// The canary was refused.
    #[error("the canary could not be written: {0}")]
    Canary(#[from] CommitError),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why a store cannot be opened. Damage is no reason: that ends in quarantine and a [`Loss`](crate::Loss).
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Stop the other process, or give this one another folder.
    #[error("the store {0} is in use by another process")]
    InUse(PathBuf),
    /// Look at the permissions, the mount and the kernel's log.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Free some space: even with the ballast given up, the store cannot be opened.
    #[error("no space to open the store {0}, even with the ballast given up; free some space")]
    NoSpace(PathBuf),
    /// Nothing is known of the database's content yet; look at what the text says about the machine.
    #[error("the database in {path} could not be tried: {why}")]
    Trial {
        /// The store's folder.
        path: PathBuf,
        /// What stood in the way.
        why: String,
    },
    /// A fresh database that cannot be used: the disk or the memory is at fault.
    #[error("a fresh database in {path} cannot be used: {why}")]
    Fresh {
        /// The store's folder.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
    /// Correct the configuration.
    #[error("{field} is {value}; it must be {must}")]
    Config {
        /// Which value.
        field: &'static str,
        /// What it is.
        value: u64,
        /// What it may be.
        must: &'static str,
    },
}

impl OpenError {
    /// An IO error, told apart by whether space is what is missing.
    pub(crate) fn io(what: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull || source.kind() == io::ErrorKind::QuotaExceeded {
            return Self::NoSpace(path.to_path_buf());
        }
        Self::Io { what, path: path.to_path_buf(), source }
    }
}
