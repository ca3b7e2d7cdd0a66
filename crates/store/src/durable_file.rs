//! Files that are there whole or not at all, whenever the power goes: for snapshots and small facts that no log holds.
//!
//! Invariant: under the file's name stands either what stood there before or all of what was written, never a part; and when
//! [`write_new`] has returned, the new content is on stable storage under that name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::witness::sync_dir;

/// Bytes that are collected for one write.
const BUFFER_BYTES: usize = 256 * 1_024;

/// Why a file could not be written or removed. What stood under its name before still does, or, after an error of the last step,
/// may: then it is not known which of the two a power cut would leave.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}")]
pub struct DurableFileError {
    /// What was tried.
    pub what: &'static str,
    /// With which file.
    pub path: PathBuf,
    /// What the system said, or whoever gave the content.
    pub source: io::Error,
}

impl DurableFileError {
    /// Whether space is what is missing.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    fn new(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { what, path: path.to_path_buf(), source }
    }
}

/// Writes a file with this content, in the place of one that is there. Waits for the disk.
///
/// # Errors
/// [`DurableFileError`].
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), DurableFileError> {
    write_new_with(path, |file| file.write_all(content))
}

/// Writes a file with what `content` writes, in the place of one that is there. Waits for the disk. One writer at a time for one
/// path: beside it stands, until all is written, a file with `.new` at the end of its name, which whoever comes next writes over.
///
/// # Errors
/// [`DurableFileError`], also with an error that `content` gives.
pub fn write_new_with<T>(
    path: &Path,
    content: impl FnOnce(&mut dyn Write) -> io::Result<T>,
) -> Result<T, DurableFileError> {
    let temporary = temporary(path);
    let written = fill(&temporary, content).and_then(|given| fs::rename(&temporary, path).map(|()| given));
    let given = written.map_err(|error| {
        // Only waste, and the next one writes over it.
        let _ = fs::remove_file(&temporary);
        DurableFileError::new("write", path)(error)
    })?;
    sync_dir(folder(path)).map_err(DurableFileError::new("make durable the name of", path))?;
    Ok(given)
}

/// Removes a file durably; `false` if there was none. What a writer left unfinished beside it goes too.
///
/// # Errors
/// [`DurableFileError`].
pub fn remove(path: &Path) -> Result<bool, DurableFileError> {
    let _ = fs::remove_file(temporary(path));
    match fs::remove_file(path) {
        Ok(()) => {
            sync_dir(folder(path)).map_err(DurableFileError::new("make durable the end of", path))?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(DurableFileError::new("remove", path)(error)),
    }
}

fn fill<T>(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<T>) -> io::Result<T> {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, file);
    let given = content(&mut writer)?;
    let file: File = writer.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()?;
    Ok(given)
}

fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_removed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot");
        write_new(&path, b"first").unwrap();
        let count = write_new_with(&path, |file| {
            assert_eq!(fs::read(&path).unwrap(), b"first", "as long as it is not finished");
            (0..100_000_u32).try_for_each(|number| file.write_all(&number.to_be_bytes())).map(|()| 100_000)
        });
        assert_eq!(count.unwrap(), 100_000);
        assert_eq!(fs::read(&path).unwrap().len(), 400_000);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(remove(&path).unwrap());
        assert!(!remove(&path).unwrap());
    }

    #[test]
    fn a_writer_that_gives_up_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        write_new(&path, b"kept").unwrap();
        let failed = write_new_with(&path, |file| {
            file.write_all(b"half")?;
            Err::<(), _>(io::ErrorKind::StorageFull.into())
        });
        let error = failed.unwrap_err();
        assert!(error.is_full() && error.to_string().contains("identity"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"kept");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_its_name() {
        let error = write_new(Path::new("/nonexistent/folder/file"), b"x").unwrap_err();
        assert!(error.to_string().starts_with("cannot write /nonexistent/folder/file"), "{error}");
        assert!(!remove(Path::new("/nonexistent/folder/file")).unwrap());
    }
}
