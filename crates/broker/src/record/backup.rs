//! Backups: the record as it is into a file of its own, and from such a file into a new region of one.
//!
//! Invariants: a backup is a snapshot like those that the record itself relies on, with the digest of all its bytes. What is restored is
//! another record, with another id: nodes, relays and stations of the former one never take it for theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use huxiao_core::record::{RecordLimits, RecordState};
use huxiao_core::{Name, RecordId, Rng};
use huxiao_store::durable_file;
use huxiao_store::wal::WalConfig;
use openraft::storage::RaftLogStorage as _;
use tokio::time::{Instant, sleep};

use super::folder::{FolderConfig, FolderError, RecordFolder};
use super::open::{by_the_system, fresh_store};
use super::snapshot::{self, SnapshotError};
use super::status::hex;
use super::types::{Member, Membership, SnapshotMeta, StoredMembership, Vote};
use super::{Backup, Region};

/// The folder of backups beside the log.
const FOLDER: &str = "backups";
/// How long a snapshot may take.
const WITHIN: Duration = Duration::from_secs(60);
/// How often to look.
const LOOK: Duration = Duration::from_millis(20);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The engine does not run.
    #[error("the record's engine does not run: {0}")]
    Engine(String),
    /// Nothing was ever stored.
    #[error("there is nothing to back up: the region is not founded yet")]
    Nothing,
    /// It takes too long.
    #[error("no snapshot within {} s; the disk is slow, or the archive is", WITHIN.as_secs())]
    Late,
    /// The disk.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// Why a backup was not restored. Nothing was changed then, but for a folder that may have been made.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup.
    #[error("the backup {path}: {why}")]
    Backup {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The folder holds something already.
    #[error("{0} is not empty: a backup is restored into a new record folder; move this one aside")]
    NotEmpty(PathBuf),
    /// The node's folder cannot be made.
    #[error("{0}")]
    Folder(String),
    /// The disk.
    #[error("{path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
}

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The new record's id.
    pub record: String,
    /// The id of the record that was backed up.
    pub former: Option<String>,
    /// SHA-256 of the backup's bytes.
    pub sha256: String,
    /// Events in it.
    pub events: usize,
    /// The last entry that it holds.
    pub index: u64,
}

impl Region {
    /// Writes the record as it is now into a file in the folder of backups.
    ///
    /// # Errors
    /// [`BackupError`]
    pub async fn backup(&self) -> Result<Backup, BackupError> {
        let node = &self.node;
        let wanted = node.applied().ok_or(BackupError::Nothing)?;
        let snapshots = &self.disk.snapshots;
        let until = Instant::now() + WITHIN;
        let mut asked = false;
        let (meta, file) = loop {
            if let Some((meta, file)) = snapshots.current()
                && meta.last_log_id >= Some(wanted)
            {
                break (meta, file);
            }
            if let Some(why) = node.stopped() {
                return Err(BackupError::Engine(why));
            }
            if Instant::now() >= until {
                return Err(BackupError::Late);
            }
            if !std::mem::replace(&mut asked, true) {
                node.raft().trigger().snapshot().await.map_err(|fatal| BackupError::Engine(fatal.to_string()))?;
            }
            sleep(LOOK).await;
        };
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let dir = self.disk.dir().join(FOLDER);
        let target = dir.join(format!("{}-{index:020}.snapshot", node.fixed.name));
        let (source, path) = (file.path().to_path_buf(), target.clone());
        let copied = tokio::task::spawn_blocking(move || -> io::Result<()> {
            fs::create_dir_all(&dir)?;
            let written = durable_file::write_new_with(&path, |out| io::copy(&mut File::open(&source)?, out));
            written.map(drop).map_err(|error| io::Error::new(error.source.kind(), error))
        });
        let copied = copied.await.unwrap_or_else(|error| Err(io::Error::other(error)));
        copied.map_err(|why| BackupError::Io { path: target.clone(), why })?;
        let record = node.record().map(|record| hex(&record.0));
        Ok(Backup { file: target, bytes: file.bytes(), sha256: file.sha256(), index, record })
    }
}

/// Makes the record folder `dir` of the node `name` from the backup in `file`: a new record, whose only member is that node at `addr`.
///
/// Waits for the disk; for a program's own thread.
///
/// # Errors
/// [`RestoreError`]
pub fn restore(file: &Path, dir: &Path, name: &Name, addr: &str, seed: u64) -> Result<Restored, RestoreError> {
    let broken = |why: SnapshotError| RestoreError::Backup { path: file.to_path_buf(), why: why.to_string() };
    let limits = RecordLimits::default();
    let found = snapshot::read(file, limits).map_err(broken)?;
    if fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()) {
        return Err(RestoreError::NotEmpty(dir.to_path_buf()));
    }
    let last = found
        .meta
        .last_log_id
        .ok_or_else(|| RestoreError::Backup { path: file.to_path_buf(), why: "nothing is in it".to_owned() })?;
    let mut rng = Rng::new(by_the_system(seed));
    let (store, record) = (fresh_store(&mut rng), RecordId(rng.bytes16()));
    let mut image = found.state.image();
    let former = image.record.replace(record);
    let (events, index) = (image.entries.len(), last.index);
    let state = RecordState::from_image(image, limits)
        .map_err(|why| RestoreError::Backup { path: file.to_path_buf(), why: why.to_string() })?;
    let member = Member { name: name.to_string(), addr: addr.to_owned() };
    let membership = Membership::new(vec![BTreeSet::from([store.0])], BTreeMap::from([(store.0, member)]))
        .map_err(|why| RestoreError::Folder(why.to_string()))?;
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership: StoredMembership::new(Some(last), membership) };
    let refused = |error: FolderError| RestoreError::Folder(error.to_string());
    let config = FolderConfig {
        node: name.clone(),
        fresh: store,
        wal: WalConfig { ballast_bytes: 0, ..WalConfig::default() },
        limits,
    };
    let folder = RecordFolder::open(dir, config).map_err(refused)?;
    let io = |why: io::Error| RestoreError::Io { path: dir.to_path_buf(), why };
    folder.snapshots.write(&meta, &state).map_err(io)?;
    let mut log = folder.log.clone();
    // A vote as high as the last entry's: the node's first election goes beyond it.
    let vote = Vote::new(last.leader_id.term, store.0);
    // A thread of its own: whoever calls may be in a runtime already, and one can neither wait nor end inside another.
    let save = || tokio::runtime::Builder::new_current_thread().build()?.block_on(log.save_vote(&vote));
    let saved = std::thread::scope(|scope| scope.spawn(save).join());
    saved.unwrap_or_else(|_| Err(io::Error::other("the vote could not be written"))).map_err(io)?;
    drop(log);
    folder.wal.close();
    let sha256 = hex(&found.sha256);
    Ok(Restored { record: hex(&record.0), former: former.map(|record| hex(&record.0)), sha256, events, index })
}
