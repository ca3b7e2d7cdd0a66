//! What a disk did not take, and when it is tried again.
//!
//! Invariant: a disk that takes nothing is asked for [`PROBES`] rows every [`KEEP_AGAIN_AFTER`], however many rows wait. Once it
//! takes one, the rest follow as fast as it goes, highest class first.

use std::collections::BTreeSet;

use crate::event::Class;
use crate::time::{Span, Timestamp};

/// How long after a failed write rows are written again.
const KEEP_AGAIN_AFTER: Span = Span::from_secs(5);
/// How many rows are tried at once.
const PROBES: usize = 16;

/// Rows by class and key that are newer in memory than on disk, with no write under way.
#[derive(Debug)]
pub(crate) struct Unkept<K> {
    rows: BTreeSet<(Class, K)>,
    again_at: Option<Timestamp>,
}

impl<K: Ord + Copy> Unkept<K> {
    pub(crate) fn new() -> Self {
        Self { rows: BTreeSet::new(), again_at: None }
    }

    /// The disk did not take this row.
    pub(crate) fn failed(&mut self, now: Timestamp, class: Class, key: K) {
        self.rows.insert((class, key));
        self.again_at = self.again_at.or(Some(now + KEEP_AGAIN_AFTER));
    }

    /// This row is being written, is on disk, or is no more. True if it had waited.
    pub(crate) fn remove(&mut self, class: Class, key: K) -> bool {
        let waited = self.rows.remove(&(class, key));
        if self.rows.is_empty() {
            self.again_at = None;
        }
        waited
    }

    /// The disk took a row: the time to try more is now.
    pub(crate) fn works(&mut self, now: Timestamp) {
        self.again_at = self.again_at.map(|_| now);
    }

    /// The rows to write now, if it is time. The caller writes them and says so by [`Unkept::remove`].
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<K> {
        if self.again_at.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.again_at = Some(now + KEEP_AGAIN_AFTER);
        self.rows.iter().take(PROBES).map(|(_, key)| *key).collect()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.again_at
    }

    pub(crate) fn contains(&self, class: Class, key: K) -> bool {
        self.rows.contains(&(class, key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_disk_is_probed_and_a_mended_one_gets_all() {
        let mut unkept = Unkept::new();
        for key in 0..1_000_u32 {
            unkept.failed(Timestamp(0), if key == 999 { Class::P0 } else { Class::P2 }, key);
        }
        assert!(unkept.due(Timestamp(4_999_999)).is_empty());
        let probes = unkept.due(Timestamp(5_000_000));
        assert_eq!((probes.len(), probes[0]), (PROBES, 999), "the alarm first, and no storm");
        assert!(unkept.due(Timestamp(5_000_000)).is_empty(), "once, not at every step");
        unkept.remove(Class::P0, 999);
        unkept.works(Timestamp(5_000_001));
        assert_eq!(unkept.poll_timeout(), Some(Timestamp(5_000_001)));
        assert_eq!(unkept.due(Timestamp(5_000_001)).len(), PROBES);
        (0..999).for_each(|key| assert!(unkept.remove(Class::P2, key)));
        assert_eq!(unkept.poll_timeout(), None);
    }
}
