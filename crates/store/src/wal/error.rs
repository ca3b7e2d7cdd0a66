//! What can go wrong with a write-ahead log.
//!
//! Invariant: every error but [`WalError::TooLarge`] ends the log's service or prevents its beginning, because whoever wrote a
//! record behind a missing one would make a hole.

use std::io;
use std::path::{Path, PathBuf};

/// Why a record is not in the log, or a log cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WalError {
    /// Stop the other process, or give this one another folder.
    #[error("the log {0} is in use by another process")]
    InUse(PathBuf),
    /// Look at the permissions, the mount and the kernel's log.
    #[error("cannot {what} {path}: {why}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// What was on stable storage is not any more. The log is left as it was found: this node must not go on as if it had never
    /// promised what is gone.
    #[error(
        "the log {file} is damaged at byte {offset}: {why}; replace this node's record instead of cutting the file"
    )]
    Damaged {
        /// The segment.
        file: PathBuf,
        /// Where the first bad byte stands, or the batch that it belongs to.
        offset: u64,
        /// What is wrong there.
        why: &'static str,
    },
    /// Use the release that wrote it.
    #[error("the log {file} has version {version}, which is unknown here; use the release that wrote it")]
    Version {
        /// The segment.
        file: PathBuf,
        /// Its version.
        version: u8,
    },
    /// Free some space, then open the log again. Nothing of the batch is in it, nor of any later one.
    #[error("the disk is full and the log's ballast is used up; free some space and start again")]
    Full,
    /// A defect of the caller: write less at a time. Nothing was written, and the log goes on.
    #[error("{bytes} bytes are too large for one append to the log, the limit is {limit}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// Stop the node and start it again: what is on the disk can no longer be known from here.
    #[error("the log is poisoned and must be opened again: {0}")]
    Poisoned(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl WalError {
    /// An IO error, told apart by whether space is what is missing.
    pub(super) fn io(what: &'static str, path: &Path, error: &io::Error) -> Self {
        if is_full(error) { Self::Full } else { Self::Io { what, path: path.to_path_buf(), why: error.to_string() } }
    }
}

/// Whether space is what is missing.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
