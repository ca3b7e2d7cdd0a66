//! A record's folder: what a node of a region must never lose, opened in the order in which its parts can be trusted.
//!
//! ```text
//! identity     whose it is, see `identity.rs`
//! wal/         votes and entries, see `log.rs`
//! snapshots/   the record behind some entry, see `snapshots.rs`
//! ```
//!
//! Invariant: what is opened is all that this node ever promised to the region. If a part is missing or does not belong to the
//! others, nothing is opened; such a node is replaced by one with a new store, and never started empty under the old id.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use huxiao_core::Name;
use huxiao_core::record::{RecordLimits, RecordState};
use huxiao_store::wal::{Wal, WalConfig, WalError};
use huxiao_wire::cluster::StoreId;

use super::identity::{Identity, IdentityError};
use super::log::{LogError, LogStore, STICKY};
use super::machine::{Machine, Progress, Replica};
use super::snapshots::Snapshots;
use super::types::SnapshotMeta;

/// An open folder.
pub(crate) struct RecordFolder {
    /// The store's id, by which the region knows this node.
    pub(crate) store: StoreId,
    /// For its health.
    pub(crate) wal: Wal,
    /// The log.
    pub(crate) log: LogStore,
    /// The snapshots.
    pub(crate) snapshots: Snapshots,
    /// How far `state` has come.
    pub(crate) progress: Progress,
    /// The record as of the newest snapshot, for the broker's loop to begin with; empty if there is none.
    pub(crate) state: RecordState,
}

/// Why a folder is not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    /// The disk.
    #[error("the record's folder {path}: {why}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// See [`IdentityError`].
    #[error("{0}; {REPLACE}")]
    Identity(#[from] IdentityError),
    /// See [`WalError`].
    #[error(transparent)]
    Wal(#[from] WalError),
    /// Intact, and no log.
    #[error("the record's log in {path}: {why}; {REPLACE}")]
    Log {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: LogError,
    },
    /// It came here from another node.
    #[error(
        "the record in {path} is that of node {found}, and this is node {node}: give each node a data.dir of its own"
    )]
    OtherNode {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        found: Name,
        /// Who wanted to open it.
        node: Name,
    },
    /// Some part is missing, or from elsewhere.
    #[error("the record in {path} is not whole: {why}; {REPLACE}")]
    NotWhole {
        /// The folder.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
}

/// What helps when a node's part of the record is lost.
const REPLACE: &str =
    "move the folder aside, start the node, and take it into the region again with `huxiao cluster replace NAME`";

/// What [`RecordFolder::open`] needs to know.
pub(crate) struct FolderConfig {
    /// The node's name in its region.
    pub(crate) node: Name,
    /// The id of the store, should the folder be new: random, from the system.
    pub(crate) fresh: StoreId,
    /// How its write-ahead log is set up; which kinds are sticky is decided here.
    pub(crate) wal: WalConfig,
    /// How much the record holds.
    pub(crate) limits: RecordLimits,
}

impl RecordFolder {
    /// Opens the folder, or makes it. Reads all of it and waits for the disk, so not from a task.
    ///
    /// # Errors
    /// [`FolderError`]: nothing was changed in what the folder held.
    pub(crate) fn open(dir: &Path, config: FolderConfig) -> Result<Self, FolderError> {
        let failed = |why| FolderError::Io { path: dir.to_path_buf(), why };
        let FolderConfig { node, fresh, wal: mut wal_config, limits } = config;
        std::fs::create_dir_all(dir).map_err(failed)?;
        let identity_path = dir.join("identity");
        let identity = Identity::read(&identity_path)?;
        let wal_path = dir.join("wal");
        wal_config.sticky = STICKY.to_vec();
        let (wal, recovered) = Wal::open(&wal_path, wal_config)?;
        if let Some(bytes) = recovered.torn {
            tracing::info!(
                bytes,
                "the end of the record's log was being written when the power went; nobody had been told of it"
            );
        }
        let records = recovered.records.into_iter().map(|(_, record)| record);
        let log = LogStore::recover(wal.clone(), records).map_err(|why| FolderError::Log { path: wal_path, why })?;
        let (snapshots, newest) = Snapshots::open(&dir.join("snapshots"), limits).map_err(failed)?;
        let store = match judge(dir, &node, identity, &log, newest.is_some())? {
            Some(identity) => identity.store,
            None => {
                // The log first: an identity without a log is the sign of a lost one.
                let store = log.store().unwrap_or(fresh);
                let (done, told) = mpsc::channel();
                log.name_store(store, Box::new(move |result| drop(done.send(result))));
                told.recv().map_err(|_| WalError::Closed)??;
                Identity { store, node }.write(&identity_path)?;
                store
            }
        };
        let (meta, state) = match newest {
            Some(found) => (found.meta, found.state),
            None => (SnapshotMeta::default(), RecordState::new(limits)),
        };
        if let Some(purged) = log.purged().filter(|purged| Some(purged.index) > meta.last_log_id.map(|id| id.index)) {
            let from = meta.last_log_id.map_or("there is no snapshot".to_owned(), |id| {
                format!("the newest readable snapshot ends with entry {}", id.index)
            });
            let why = format!("{from}, and its log begins behind entry {}", purged.index);
            return Err(FolderError::NotWhole { path: dir.to_path_buf(), why });
        }
        let progress = Progress::new(meta, state.record());
        Ok(Self { store, wal, log, snapshots, progress, state })
    }

    /// The engine's state machine, on a replica that has [`state`](Self::state).
    pub(crate) fn machine<R: Replica>(&self, replica: R) -> Machine<R> {
        Machine::new(replica, self.progress.clone(), self.snapshots.clone(), self.log.committed())
    }
}

/// Whether the parts belong together, and to this node. `None` if there is nothing yet that could have been lost.
fn judge(
    dir: &Path,
    node: &Name,
    identity: Option<Identity>,
    log: &LogStore,
    has_snapshot: bool,
) -> Result<Option<Identity>, FolderError> {
    let not_whole = |why: String| FolderError::NotWhole { path: dir.to_path_buf(), why };
    let Some(identity) = identity else {
        if !log.is_pristine() || has_snapshot {
            return Err(not_whole("its identity file is missing".to_owned()));
        }
        return Ok(None);
    };
    if identity.node != *node {
        let path = dir.to_path_buf();
        return Err(FolderError::OtherNode { path, found: identity.node, node: node.clone() });
    }
    match log.store() {
        Some(store) if store == identity.store => Ok(Some(identity)),
        Some(store) => Err(not_whole(format!("its log is that of store {store}, its identity {}", identity.store))),
        None => Err(not_whole(format!("the log of store {} is gone", identity.store))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, node: &str, fresh: u64) -> Result<RecordFolder, FolderError> {
        let wal = WalConfig { ballast_bytes: 0, ..WalConfig::default() };
        let limits = RecordLimits::default();
        RecordFolder::open(dir, FolderConfig { node: node.parse().unwrap(), fresh: StoreId(fresh), wal, limits })
    }

    #[test]
    fn a_folder_keeps_its_store_and_its_node() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(open(dir.path(), "b1", 7).unwrap().store, StoreId(7));
        assert_eq!(open(dir.path(), "b1", 8).unwrap().store, StoreId(7));
        let error = open(dir.path(), "b2", 9).err().unwrap().to_string();
        assert!(error.contains("node b1") && error.contains("node b2"), "{error}");
    }

    #[test]
    fn a_start_that_ended_before_the_identity_was_written_is_no_loss() {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path(), "b1", 7).unwrap());
        std::fs::remove_file(dir.path().join("identity")).unwrap();
        assert_eq!(open(dir.path(), "b1", 8).unwrap().store, StoreId(7));
    }

    #[test]
    fn a_lost_log_and_one_from_elsewhere_are_refused() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        drop(open(one.path(), "b1", 7).unwrap());
        drop(open(other.path(), "b1", 8).unwrap());
        std::fs::remove_dir_all(one.path().join("wal")).unwrap();
        let error = open(one.path(), "b1", 9).err().unwrap().to_string();
        assert!(error.contains("is gone") && error.contains("huxiao cluster replace"), "{error}");
        std::fs::remove_dir_all(one.path().join("wal")).unwrap();
        std::fs::rename(other.path().join("wal"), one.path().join("wal")).unwrap();
        let error = open(one.path(), "b1", 9).err().unwrap().to_string();
        assert!(error.contains("store 0000000000000008"), "{error}");
    }
}
