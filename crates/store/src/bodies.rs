//! Bodies: what is too large for a row (snapshots, audio) as files named by their content, to which rows refer.
//!
//! Invariant: a file with a body's name holds that body, whole and on stable storage: it is written under another name, synced,
//! renamed, and the folder synced. The name is the SHA-256 of the content: nobody can make two contents with one name, so a
//! body taken in from a peer can be checked against the row that refers to it, and storing one twice costs nothing.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use huxiao_core::WallTime;
use huxiao_core::body::BodyId;
use huxiao_core::limits::BODY_BYTES;

use crate::space::system_probe;
use crate::witness::{make_dir, sync_dir};

/// Why a body cannot be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Send less, or in parts.
    #[error("a body has at most {BODY_BYTES} bytes, this one has {0}")]
    TooLarge(usize),
    /// The disk is nearly full. Make room, or lower `bodies.max_bytes`.
    #[error("the disk is nearly full: what is left is for alarms")]
    Full,
    /// There is none of that name.
    #[error("there is no body {0}")]
    Absent(BodyId),
    /// The file holds something else by now: get the body again from where it came from. The file is kept as evidence.
    #[error("the body {0} is damaged on the disk")]
    Damaged(BodyId),
    /// Look at the disk.
    #[error("cannot {what} a body in {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The folder of bodies.
#[derive(Debug)]
pub struct Bodies {
    dir: PathBuf,
    temporary: AtomicU64,
    low_bytes: u64,
}

impl Bodies {
    /// The bodies in `dir`, which is made if need be. Files that were never finished are removed.
    ///
    /// # Errors
    /// [`BodyError::Io`].
    pub fn open(dir: &Path) -> Result<Self, BodyError> {
        let bodies = Self { dir: dir.to_path_buf(), temporary: AtomicU64::new(0), low_bytes: 0 };
        make_dir(dir).map_err(|error| bodies.io("make the folder of", error))?;
        for entry in fs::read_dir(dir).map_err(|error| bodies.io("list", error))?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "new") {
                // What cannot be removed is only waste.
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(bodies)
    }

    /// The same, taking nothing more while less than `low_bytes`, and less than a tenth, of the disk is free: what is left is for alarms.
    #[must_use]
    pub fn leaving(self, low_bytes: u64) -> Self {
        Self { low_bytes, ..self }
    }

    /// Whether a body of so many bytes would take what is for alarms: an eighth before only they are written.
    fn is_full(&self, bytes: usize) -> bool {
        let usage = system_probe()(&self.dir);
        usage.is_ok_and(|usage| {
            let limit = (usage.total / 10).min(self.low_bytes);
            usage.free < limit + limit / 8 + bytes as u64
        })
    }

    /// Stores `content` durably and gives its name. Waits for the disk: not for a task that alarms pass through.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`], [`BodyError::Full`], [`BodyError::Io`].
    pub fn put(&self, content: &[u8]) -> Result<BodyId, BodyError> {
        if content.len() > BODY_BYTES {
            return Err(BodyError::TooLarge(content.len()));
        }
        let id = BodyId::of(content);
        match self.get(id) {
            Ok(_) => return Ok(id),
            // A damaged file is replaced by the content that it should have.
            Err(BodyError::Absent(_) | BodyError::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        if self.is_full(content.len()) {
            return Err(BodyError::Full);
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.dir.join(format!("{}-{number}.new", std::process::id()));
        let written = write_synced(&temporary, content)
            .and_then(|()| fs::rename(&temporary, self.path(id)))
            .and_then(|()| sync_dir(&self.dir));
        written.map_err(|error| {
            let _ = fs::remove_file(&temporary);
            self.io("write", error)
        })?;
        Ok(id)
    }

    /// The body of this name, checked against it.
    ///
    /// # Errors
    /// [`BodyError::Absent`], [`BodyError::Damaged`], [`BodyError::Io`].
    pub fn get(&self, id: BodyId) -> Result<Vec<u8>, BodyError> {
        let mut content = Vec::new();
        let read = OpenOptions::new()
            .read(true)
            .open(self.path(id))
            .and_then(|file| file.take(BODY_BYTES as u64 + 1).read_to_end(&mut content));
        match read {
            Ok(_) if BodyId::of(&content) == id => Ok(content),
            Ok(_) => Err(BodyError::Damaged(id)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(BodyError::Absent(id)),
            Err(error) => Err(self.io("read", error)),
        }
    }

    /// What is there: name, bytes, and since when by the file system's clock. Files of other names are passed over.
    ///
    /// # Errors
    /// [`BodyError::Io`].
    pub fn list(&self) -> Result<Vec<(BodyId, usize, WallTime)>, BodyError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|error| self.io("list", error))?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse::<BodyId>().ok());
            let (Some(id), Ok(metadata)) = (id, entry.metadata()) else { continue };
            let since = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
            let since = since.and_then(|since| i64::try_from(since.as_micros()).ok()).unwrap_or_default();
            found.push((id, usize::try_from(metadata.len()).unwrap_or(usize::MAX), WallTime(since)));
        }
        Ok(found)
    }

    /// Removes the body of this name; `false` if there was none. The caller has removed the rows that refer to it.
    ///
    /// # Errors
    /// [`BodyError::Io`].
    pub fn remove(&self, id: BodyId) -> Result<bool, BodyError> {
        match fs::remove_file(self.path(id)) {
            Ok(()) => {
                sync_dir(&self.dir).map_err(|error| self.io("remove", error))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.io("remove", error)),
        }
    }

    fn path(&self, id: BodyId) -> PathBuf {
        self.dir.join(id.to_string())
    }

    fn io(&self, what: &'static str, source: io::Error) -> BodyError {
        BodyError::Io { what, path: self.dir.clone(), source }
    }
}

fn write_synced(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().create_new(true).write(true).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_back_under_its_name_and_once() {
        let dir = tempfile::tempdir().unwrap();
        let bodies = Bodies::open(dir.path()).unwrap();
        let id = bodies.put(b"snapshot").unwrap();
        assert_eq!(bodies.put(b"snapshot").unwrap(), id);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(id.to_string().parse::<BodyId>().unwrap(), id);
        let bodies = Bodies::open(dir.path()).unwrap();
        assert_eq!(bodies.get(id).unwrap(), b"snapshot");
        fs::write(dir.path().join("README"), b"no body").unwrap();
        let listed = bodies.list().unwrap();
        assert_eq!(listed.iter().map(|(id, size, _)| (*id, *size)).collect::<Vec<_>>(), [(id, 8)]);
        assert!(listed[0].2 > WallTime(1_700_000_000_000_000));
        assert!(bodies.remove(id).unwrap());
        assert!(!bodies.remove(id).unwrap());
        assert!(matches!(bodies.get(id), Err(BodyError::Absent(absent)) if absent == id));
    }

    #[test]
    fn a_damaged_body_is_noticed_and_can_be_stored_again() {
        let dir = tempfile::tempdir().unwrap();
        let bodies = Bodies::open(dir.path()).unwrap();
        let id = bodies.put(b"snapshot").unwrap();
        fs::write(dir.path().join(id.to_string()), b"snapshut").unwrap();
        assert!(matches!(bodies.get(id), Err(BodyError::Damaged(_))));
        bodies.put(b"snapshot").unwrap();
        assert_eq!(bodies.get(id).unwrap(), b"snapshot");
    }

    #[test]
    fn the_name_is_sha_256_and_nothing_else_is_a_name() {
        // FIPS 180-2, appendix B.1.
        let name = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(BodyId::of(b"abc").to_string(), name);
        for bad in ["", "ab", "../../../etc/passwd", &"g".repeat(64), &"é".repeat(32), &name.to_uppercase()] {
            assert!(bad.parse::<BodyId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_left_for_alarms_is_not_taken_by_bodies() {
        let dir = tempfile::tempdir().unwrap();
        let usage = system_probe()(dir.path()).unwrap();
        assert!(usage.total > 0);
        let full = |low: u64, bytes: usize| Bodies::open(dir.path()).unwrap().leaving(low).is_full(bytes);
        assert!(!full(0, 0));
        assert!(full(0, usize::MAX / 2), "more than there is on any disk");
    }

    #[test]
    fn what_was_never_finished_is_swept_and_what_is_too_large_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("1-0.new"), b"half").unwrap();
        let bodies = Bodies::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(matches!(bodies.put(&vec![0; BODY_BYTES + 1]), Err(BodyError::TooLarge(_))));
    }
}
