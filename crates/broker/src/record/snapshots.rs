//! The folder of a node's snapshots: the last two, and what is being received.
//!
//! Files are named by the last entry that they hold. A snapshot gets its name when all of it is on stable storage, and only then
//! may the log forget the entries in it.
//!
//! Invariant: what [`Snapshots::current`] gives is whole, durable and read back without a mistake.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use huxiao_core::record::{RecordLimits, RecordState};
use huxiao_store::durable_file;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::snapshot::{self, Sha256Bytes, Snapshot, SnapshotError};
use super::types::SnapshotMeta;

/// How many are kept: the newest, and the one before for the case that the newest cannot be read.
const KEPT: usize = 2;
/// Bytes that are sent and received at a time.
const BUFFER_BYTES: usize = 256 * 1_024;
const ENDING: &str = "snapshot";
const RECEIVED_ENDING: &str = "received";
const BROKEN_ENDING: &str = "broken";

/// The folder. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Snapshots {
    shared: Arc<Shared>,
}

struct Shared {
    dir: PathBuf,
    limits: RecordLimits,
    current: Mutex<Option<(SnapshotMeta, SnapshotFile)>>,
    received: AtomicU64,
}

/// A snapshot's file.
#[derive(Debug, Clone)]
pub(crate) struct SnapshotFile {
    path: PathBuf,
    bytes: u64,
    sha256: Sha256Bytes,
    /// Of one that was received and has no name yet: removed with the last that knows of it.
    received: Option<Arc<Received>>,
}

/// A file that goes with its owner.
#[derive(Debug)]
struct Received(PathBuf);

impl Drop for Received {
    fn drop(&mut self) {
        // Once it has got its name there is none under this one.
        let _ = fs::remove_file(&self.0);
    }
}

impl SnapshotFile {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its length.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of all its bytes.
    pub(crate) fn sha256(&self) -> Sha256Bytes {
        self.sha256
    }

    /// Its bytes, for whoever gets it. If the disk fails in the middle they end too early, which whoever gets them notices.
    ///
    /// # Errors
    /// What the disk says; that it is not there, if two newer ones were made in the meantime.
    pub(crate) async fn read(&self) -> io::Result<impl AsyncRead + Send + Unpin + use<>> {
        let path = self.path.clone();
        let mut file = blocking(move || File::open(path)).await?;
        let (mut pipe, out) = tokio::io::duplex(BUFFER_BYTES);
        tokio::spawn(async move {
            loop {
                let next = blocking(move || {
                    let mut piece = Vec::with_capacity(BUFFER_BYTES);
                    let read = (&mut file).take(BUFFER_BYTES as u64).read_to_end(&mut piece);
                    read.map(|_| (file, piece))
                });
                match next.await {
                    Ok((read, piece)) if !piece.is_empty() => {
                        file = read;
                        if pipe.write_all(&piece).await.is_err() {
                            // Nobody wants the rest.
                            return;
                        }
                    }
                    Ok(_) => return,
                    Err(error) => return tracing::error!(%error, "a snapshot could not be read to its end"),
                }
            }
        });
        Ok(out)
    }
}

/// Runs what waits for a disk where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

impl Snapshots {
    /// Opens the folder, or makes it, and reads the newest snapshot that can be read. One that cannot is kept under another name.
    ///
    /// # Errors
    /// What the disk says about the folder.
    pub(crate) fn open(dir: &Path, limits: RecordLimits) -> io::Result<(Self, Option<Snapshot>)> {
        fs::create_dir_all(dir)?;
        let shared = Shared { dir: dir.to_path_buf(), limits, current: Mutex::new(None), received: AtomicU64::new(0) };
        let snapshots = Self { shared: Arc::new(shared) };
        for half in snapshots.files(RECEIVED_ENDING)? {
            fs::remove_file(half)?;
        }
        for path in snapshots.files(ENDING)?.into_iter().rev() {
            match snapshot::read(&path, limits) {
                Ok(found) => {
                    let file = SnapshotFile { path, bytes: found.bytes, sha256: found.sha256, received: None };
                    snapshots.publish(found.meta.clone(), file);
                    return Ok((snapshots, Some(found)));
                }
                Err(error) if !error.is_damage() => {
                    return Err(io::Error::other(format!("the snapshot {}: {error}", path.display())));
                }
                Err(error) => {
                    let aside = path.with_extension(BROKEN_ENDING);
                    tracing::error!(file = %path.display(), aside = %aside.display(), %error, "a snapshot of the record is not used; the one before it is tried");
                    fs::rename(&path, &aside)?;
                }
            }
        }
        Ok((snapshots, None))
    }

    /// The newest.
    pub(crate) fn current(&self) -> Option<(SnapshotMeta, SnapshotFile)> {
        self.shared.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes the record as it was behind `meta`'s last entry. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says.
    pub(crate) fn write(&self, meta: &SnapshotMeta, state: &RecordState) -> io::Result<SnapshotFile> {
        let path = self.path_of(meta);
        let written = durable_file::write_new_with(&path, |out| snapshot::encode(out, meta, state));
        let (bytes, sha256) = written.map_err(|error| io::Error::new(error.source.kind(), error))?;
        let file = SnapshotFile { path, bytes, sha256, received: None };
        self.publish(meta.clone(), file.clone());
        self.prune()?;
        Ok(file)
    }

    /// Takes what is said to be a snapshot with this length and digest, into a file without a name.
    ///
    /// # Errors
    /// What `body` or the disk says; [`io::ErrorKind::InvalidData`] if it is not what was announced.
    pub(crate) async fn receive(
        &self,
        mut body: impl AsyncRead + Unpin,
        bytes: u64,
        sha256: Sha256Bytes,
    ) -> io::Result<SnapshotFile> {
        let number = self.shared.received.fetch_add(1, Ordering::Relaxed);
        let path = self.shared.dir.join(format!("{number}.{RECEIVED_ENDING}"));
        let received = Some(Arc::new(Received(path.clone())));
        let create = path.clone();
        let mut file = blocking(move || File::create(create)).await?;
        let mut digest = Sha256::new();
        let mut left = bytes;
        loop {
            let mut piece = Vec::with_capacity(BUFFER_BYTES);
            (&mut body).take(BUFFER_BYTES as u64).read_to_end(&mut piece).await?;
            if piece.is_empty() {
                break;
            }
            left = left.checked_sub(piece.len() as u64).ok_or_else(|| odd("it is longer than was said"))?;
            digest.update(&piece);
            file = blocking(move || file.write_all(&piece).map(|()| file)).await?;
        }
        if left > 0 {
            return Err(odd("it ended too early"));
        }
        if digest.finalize().as_slice() != sha256 {
            return Err(odd("it does not have the digest that was said"));
        }
        blocking(move || file.sync_all()).await?;
        Ok(SnapshotFile { path, bytes, sha256, received })
    }

    /// Makes a snapshot that came from elsewhere this node's newest, and reads it. Waits for the disk.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::InvalidData`] if it is no snapshot, or that of another entry. This node's own are untouched then.
    pub(crate) fn install(&self, meta: &SnapshotMeta, file: &SnapshotFile) -> io::Result<RecordState> {
        let found = snapshot::read(&file.path, self.shared.limits).map_err(|error| match error {
            SnapshotError::Io(error) => error,
            error => io::Error::new(io::ErrorKind::InvalidData, error),
        })?;
        if found.meta != *meta {
            return Err(odd("it is of another entry, or has other members, than was said"));
        }
        let path = self.path_of(meta);
        if path != file.path {
            if file.received.is_some() {
                fs::rename(&file.path, &path)?;
                File::open(&self.shared.dir)?.sync_all()?;
            } else {
                let copied = durable_file::write_new_with(&path, |out| io::copy(&mut File::open(&file.path)?, out));
                copied.map_err(|error| io::Error::new(error.source.kind(), error))?;
            }
        }
        let file = SnapshotFile { path, bytes: found.bytes, sha256: found.sha256, received: None };
        self.publish(found.meta, file);
        self.prune()?;
        Ok(found.state)
    }

    fn publish(&self, meta: SnapshotMeta, file: SnapshotFile) {
        let mut current = self.shared.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|(before, _)| before.last_log_id <= meta.last_log_id) {
            *current = Some((meta, file));
        }
    }

    fn path_of(&self, meta: &SnapshotMeta) -> PathBuf {
        let (index, term) = meta.last_log_id.map_or((0, 0), |id| (id.index, id.leader_id.term));
        self.shared.dir.join(format!("{index:020}-{term:020}.{ENDING}"))
    }

    /// Removes all but the newest.
    fn prune(&self) -> io::Result<()> {
        for ending in [ENDING, BROKEN_ENDING] {
            for path in self.files(ending)?.into_iter().rev().skip(KEPT) {
                durable_file::remove(&path).map_err(|error| io::Error::new(error.source.kind(), error))?;
            }
        }
        Ok(())
    }

    /// The files with this ending, in the order of their names, which is that of the log.
    fn files(&self, ending: &str) -> io::Result<BTreeSet<PathBuf>> {
        let mut files = BTreeSet::new();
        for file in fs::read_dir(&self.shared.dir)? {
            let path = file?.path();
            if path.extension().is_some_and(|found| found == ending) {
                files.insert(path);
            }
        }
        Ok(files)
    }
}

fn odd(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests;
