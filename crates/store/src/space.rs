//! Room on the disk: who may still write, and the ballast that is given up so that alarms still can.
//!
//! Invariant: nothing is handed to the database that may not fit, because sled cannot be reopened after it ran out of space.
//! The decisions are pure; [`Ballast`] is the file.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use huxiao_core::{Class, Rng};

/// Space on the file system that holds a store, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What an ordinary process may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// How the free space is learned; replaced in tests and simulations.
pub type Probe = Arc<dyn Fn(&Path) -> io::Result<Usage> + Send + Sync>;

/// Asks the file system (`statvfs`).
#[must_use]
pub fn system_probe() -> Probe {
    Arc::new(|dir: &Path| {
        let stat = rustix::fs::statvfs(dir)?;
        Ok(Usage {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    })
}

/// What rows of so many bytes may take at most: sled grows by whole segments, rewrites pages and keeps old ones for a while. More
/// than the arithmetic of that, because what is left must still do for removals.
pub(crate) fn needed(bytes: u64) -> u64 {
    6 * (1 << 20) + 4 * bytes
}

/// What removals of so many bytes may take. Less: they make room, so they must go on where rows cannot.
pub(crate) fn needed_to_remove(bytes: u64) -> u64 {
    (1 << 20) + 4 * bytes
}

/// What a copy of rows of so many bytes may take: one segment and the engine's other files, and pages half full.
pub(crate) fn needed_to_copy(bytes: u64) -> u64 {
    (1 << 20) + (1 << 18) + 3 * bytes
}

/// Whether only P0 is written: less than a tenth free, and also less than `low_bytes`. Once low, it stays so until an eighth
/// more than that is free.
pub(crate) fn is_low(usage: Usage, low_bytes: u64, was_low: bool) -> bool {
    let limit = (usage.total / 10).min(low_bytes);
    usage.free < if was_low { limit + limit / 8 } else { limit }
}

/// What to do with a group of commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Write all.
    All,
    /// Write P0 and removals.
    Vital,
    /// Write P0 and removals, after the ballast was given up.
    VitalByBallast,
    /// Write removals.
    Removals,
    /// Nothing fits.
    None,
}

/// Bytes of a group: of all its batches, of P0 and removals, of removals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Sizes {
    pub(crate) all: u64,
    pub(crate) vital: u64,
    pub(crate) removals: u64,
}

/// Who of a group may be written.
pub(crate) fn admit(usage: Usage, low: bool, ballast: bool, sizes: Sizes) -> Admission {
    if !low && usage.free >= needed(sizes.all) {
        Admission::All
    } else if usage.free >= needed(sizes.vital) {
        Admission::Vital
    } else if ballast {
        Admission::VitalByBallast
    } else if usage.free >= needed_to_remove(sizes.removals) {
        Admission::Removals
    } else {
        Admission::None
    }
}

/// Whether a batch is written however little space there is, as long as it fits.
pub(crate) fn is_vital(class: Class, only_deletes: bool) -> bool {
    class == Class::P0 || only_deletes
}

/// A file that holds space for alarms.
#[derive(Debug)]
pub(crate) struct Ballast {
    path: PathBuf,
    bytes: u64,
}

impl Ballast {
    /// The ballast of the store in `dir`.
    pub(crate) fn new(dir: &Path, bytes: u64) -> Self {
        Self { path: dir.join("ballast"), bytes }
    }

    /// Whether there should be one and is not.
    pub(crate) fn missing(&self) -> bool {
        self.bytes > 0 && !self.held()
    }

    /// Whether it is missing although this file system has room for such a thing: then it was given up.
    pub(crate) fn given_up(&self, usage: Usage) -> bool {
        self.missing() && usage.total >= 4 * self.bytes
    }

    /// Whether it is there.
    pub(crate) fn held(&self) -> bool {
        self.bytes > 0 && fs::metadata(&self.path).is_ok_and(|meta| meta.len() == self.bytes)
    }

    /// Gives its space back. Says whether there was any.
    pub(crate) fn release(&self) -> bool {
        fs::remove_file(&self.path).is_ok()
    }

    /// Takes its space if that leaves enough for the store to work with and does not itself make the disk low.
    pub(crate) fn restore(&self, usage: Usage, low_bytes: u64) -> io::Result<bool> {
        let left = Usage { free: usage.free.saturating_sub(self.bytes), ..usage };
        if !self.missing() || left.free < 2 * needed(0) || is_low(left, low_bytes, false) {
            return Ok(false);
        }
        let temporary = self.path.with_extension("new");
        let made = File::create(&temporary).and_then(|file| self.reserve(&file));
        if let Err(error) = made.and_then(|()| fs::rename(&temporary, &self.path)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(true)
    }

    fn reserve(&self, file: &File) -> io::Result<()> {
        if rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, self.bytes).is_ok() {
            return Ok(());
        }
        // No such call on this file system: write something that no file system can shrink.
        let mut rng = Rng::new(self.bytes);
        let chunk: Vec<u8> = (0..4_096).flat_map(|_| rng.bytes16()).collect();
        let mut at = 0;
        while at < self.bytes {
            let length = chunk.len().min(usize::try_from(self.bytes - at).unwrap_or(usize::MAX));
            file.write_all_at(&chunk[..length], at)?;
            at += length as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    #[test]
    fn low_is_a_tenth_and_also_an_absolute_amount() {
        let at = |free, total| is_low(Usage { free, total }, GIB, false);
        assert!(!at(2 * GIB, 100 * GIB));
        assert!(at(GIB - 1, 100 * GIB));
        assert!(!at(90 * MIB, 800 * MIB));
        assert!(at(79 * MIB, 800 * MIB));
    }

    #[test]
    fn low_ends_later_than_it_begins() {
        let usage = Usage { free: 85 * MIB, total: 800 * MIB };
        assert!(!is_low(usage, GIB, false));
        assert!(is_low(usage, GIB, true));
        assert!(!is_low(Usage { free: 91 * MIB, ..usage }, GIB, true));
    }

    #[test]
    fn the_ballast_is_for_what_cannot_wait() {
        let sizes = Sizes { all: MIB, ..Sizes::default() };
        let at = |free, low, ballast| admit(Usage { free, total: 100 * MIB }, low, ballast, sizes);
        assert_eq!(at(50 * MIB, false, true), Admission::All);
        assert_eq!(at(50 * MIB, true, true), Admission::Vital);
        assert_eq!(at(7 * MIB, false, true), Admission::Vital);
        assert_eq!(at(3 * MIB, true, true), Admission::VitalByBallast);
        assert_eq!(at(3 * MIB, true, false), Admission::Removals);
        assert_eq!(at(MIB - 1, true, false), Admission::None);
    }

    #[test]
    fn the_ballast_holds_space_and_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let ballast = Ballast::new(dir.path(), MIB);
        let usage = Usage { free: 60 * MIB, total: 100 * MIB };
        assert!(!ballast.held());
        assert!(!ballast.restore(Usage { free: 13 * MIB - 1, total: 20 * MIB }, GIB).unwrap());
        assert!(ballast.restore(usage, GIB).unwrap());
        assert!(ballast.held());
        assert!(!ballast.restore(usage, GIB).unwrap(), "once is enough");
        assert!(ballast.release());
        assert!(!ballast.held() && !ballast.release());
    }
}
