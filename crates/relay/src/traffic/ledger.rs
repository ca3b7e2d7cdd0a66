//! The day's counts on disk: one small file in the node's data folder.
//!
//! Invariant: the file is written beside the old one, synced, and put in its place; what cannot be read starts the count anew and says so.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::Day;

/// Its name in the data folder.
const NAME: &str = "traffic.json";
/// Bytes of it that are read; more is not ours.
const FILE_BYTES: u64 = 1 << 20;

/// Where the day's counts are kept.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// The one in this data folder.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What was kept; nothing if there is no file yet, or one that cannot be read.
    pub(crate) fn read(&self) -> Option<Day> {
        let path = self.dir.join(NAME);
        match read(&path) {
            Ok(day) => Some(day),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(file = %path.display(), %error, "the day's data counts cannot be read; they start anew");
                None
            }
        }
    }

    /// Puts `day` in place of what was kept. Waits for the disk.
    ///
    /// # Errors
    /// What the system says; what was kept before is still there.
    pub(crate) fn write(&self, day: &Day) -> io::Result<()> {
        let (path, beside) = (self.dir.join(NAME), self.dir.join(format!("{NAME}.new")));
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(day)?)?;
        file.sync_all()?;
        fs::rename(&beside, &path)?;
        File::open(&self.dir)?.sync_all()
    }
}

fn read(path: &Path) -> io::Result<Day> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES).read_to_end(&mut bytes)?;
    let day: Day = serde_json::from_slice(&bytes)?;
    if day.is_plausible() { Ok(day) } else { Err(io::Error::other("it names more lines and nodes than there can be")) }
}

#[cfg(test)]
mod tests {
    use huxiao_core::{PathId, WallTime};

    use super::super::{Bytes, Traffic};
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::new(folder.path().to_owned());
        assert_eq!(ledger.read(), None);
        let mut traffic = Traffic::new(WallTime(0), None);
        traffic.count(PathId(1), "lte", "broker-1.example:7443", Bytes { sent: 7, received: u64::MAX });
        let day = traffic.take_changed().unwrap();
        ledger.write(&day).unwrap();
        ledger.write(&day).unwrap();
        assert_eq!(ledger.read(), Some(day));
        let path = folder.path().join(NAME);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"[]", b"{\"day\":1,\"lines\":{},\"more\":1}", &[0xff; 64]] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(ledger.read(), None, "{damaged:?}");
        }
        assert!(Ledger::new(folder.path().join("gone")).write(&Day::default()).is_err());
    }
}
