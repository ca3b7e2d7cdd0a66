//! Whose the files of a lab for containers are.
//!
//! Invariant: the user that the image runs as can read what is its node's, and other users of the computer cannot read its key.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use super::{LabError, io_error};

/// The user and the group that the image runs as (`USER` in deploy/Containerfile).
pub(super) const ID: u32 = 65_532;

/// Whether this process can give files to that user.
///
/// # Errors
/// [`LabError::NotRoot`]
pub(super) fn check(dir: &Path) -> Result<(), LabError> {
    let own = rustix::process::geteuid();
    if own.is_root() || own.as_raw() == ID {
        return Ok(());
    }
    // A full path is what `docker run -v` takes.
    let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    Err(LabError::NotRoot { uid: ID, dir })
}

/// Gives a node's folder and the files in it to that user.
///
/// # Errors
/// The system refuses, such as where the files are on another computer's disk.
pub(super) fn give(folder: &Path) -> Result<(), LabError> {
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let path = entry.map_err(io_error(folder))?.path();
        chown(&path, Some(ID), Some(ID)).map_err(io_error(&path))?;
    }
    chown(folder, Some(ID), Some(ID)).map_err(io_error(folder))
}
