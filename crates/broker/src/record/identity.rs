//! Whose a record's folder is: the id of its store and the name of its node, in a small text file beside the log.
//!
//! The id stands in the log too. A folder whose parts do not belong together, or that came here from another node, is refused: a node
//! that votes under an id whose votes it does not know can vote twice in one term, and then a region has two leaders.
//!
//! Invariant: an id is made once, with an empty folder, and never changes.

use std::io;
use std::path::{Path, PathBuf};

use huxiao_core::Name;
use huxiao_store::durable_file::{self, DurableFileError};
use huxiao_wire::cluster::StoreId;
use sha2::{Digest, Sha256};

/// The first line.
const TITLE: &str = "huxiao record 1";
/// How the lines with the id, the name and the check begin.
const STORE: &str = "store ";
const NODE: &str = "node ";
const CHECK: &str = "check ";
/// Bytes of the lines' digest that are written down.
const CHECK_BYTES: usize = 8;

/// Whose a record's folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The store.
    pub(crate) store: StoreId,
    /// The node's name in its region.
    pub(crate) node: Name,
}

/// Why a folder's identity is not to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// The disk.
    #[error("cannot read {path}: {why}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] DurableFileError),
    /// What stands there is not what was written.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Identity {
    /// The identity in the file at `path`, if there is one.
    ///
    /// # Errors
    /// [`IdentityError`]
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, IdentityError> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                Self::parse(&text).map(Some).map_err(|why| IdentityError::Damaged { path: path.to_path_buf(), why })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(IdentityError::Io { path: path.to_path_buf(), why }),
        }
    }

    /// Writes it, and waits until it is on stable storage.
    ///
    /// # Errors
    /// [`IdentityError::Write`]
    pub(crate) fn write(&self, path: &Path) -> Result<(), IdentityError> {
        Ok(durable_file::write_new(path, self.text().as_bytes())?)
    }

    fn text(&self) -> String {
        let lines = format!("{TITLE}\n{STORE}{}\n{NODE}{}\n", self.store, self.node);
        let check = check(&lines);
        format!("{lines}{CHECK}{check}\n")
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let (lines, last) = text.rfind(CHECK).map(|at| text.split_at(at)).ok_or("its last line is missing")?;
        if last.strip_prefix(CHECK).map(str::trim_end) != Some(&check(lines)) {
            return Err("its lines are not those that were written");
        }
        let mut lines = lines.lines();
        if lines.next() != Some(TITLE) {
            return Err("it was written by another version of huxiao; start that version");
        }
        let store = lines.next().and_then(|line| line.strip_prefix(STORE));
        let store = store.and_then(|text| u64::from_str_radix(text, 16).ok()).filter(|store| *store != 0);
        let node = lines.next().and_then(|line| line.strip_prefix(NODE)).and_then(|name| name.parse().ok());
        let store = StoreId(store.ok_or("it names no store")?);
        Ok(Self { store, node: node.ok_or("it names no node")? })
    }
}

fn check(lines: &str) -> String {
    Sha256::digest(lines.as_bytes()).iter().take(CHECK_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_no_changed_byte_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity");
        assert_eq!(Identity::read(&path).unwrap(), None);
        let identity = Identity { store: StoreId(0x00AB_CDEF), node: "b1".parse().unwrap() };
        identity.write(&path).unwrap();
        assert_eq!(Identity::read(&path).unwrap(), Some(identity.clone()));
        let text = identity.text();
        for at in 0..text.trim_end().len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Identity::parse(&changed).is_err(), "{changed}");
            assert!(Identity::parse(&text[..at]).is_err(), "{}", &text[..at]);
        }
    }
}
