//! The tally: what the database must hold, in a few numbers, kept twice: in the database and in the witness file beside it.
//!
//! Invariant: the database's own tally row is written in the same atomic batch as the rows that it counts; the witness's mark
//! is synced after the database and before anybody is told. So an honest database is never behind its mark and at most one
//! commit ahead of it.

use crate::frame::{be_u32, be_u64};

const MAGIC: [u8; 4] = *b"HxTy";
const VERSION: u8 = 1;
/// Bytes of an encoded tally.
pub(crate) const TALLY_BYTES: usize = 4 + 1 + 1 + 7 * 8 + 4 + 4;

/// What a store holds after one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    /// Number of the commit.
    pub(crate) commit: u64,
    /// Rows.
    pub(crate) live: u64,
    /// Wrapping sum of the hashes of all rows: order does not matter, a missing or stale row does.
    pub(crate) sum: u64,
    /// The caller's highest sequence number.
    pub(crate) high: u64,
    /// Which opening of the store wrote it.
    pub(crate) epoch: u64,
    /// The sequence number that the black box gives next.
    pub(crate) ring_next: u64,
    /// Blocks that the black box has.
    pub(crate) ring_blocks: u64,
    /// Blocks of the black box known to be damaged and reported.
    pub(crate) ring_bad: u32,
    /// Whether this is a database rebuilt after damage, whose opening has not been completed.
    pub(crate) rebuilt: bool,
}

impl Tally {
    /// Its bytes, with a checksum.
    pub(crate) fn encode(&self) -> [u8; TALLY_BYTES] {
        let mut out = [0; TALLY_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = u8::from(self.rebuilt);
        let numbers = [self.commit, self.live, self.sum, self.high, self.epoch, self.ring_next, self.ring_blocks];
        for (slot, number) in out[6..62].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        out[62..66].copy_from_slice(&self.ring_bad.to_be_bytes());
        let crc = crc32c::crc32c(&out[..66]);
        out[66..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// The tally of these bytes; `None` if they are no intact tally.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; TALLY_BYTES] = bytes.try_into().ok()?;
        let intact = bytes[..4] == MAGIC && bytes[4] == VERSION && bytes[5] <= 1;
        if !intact || crc32c::crc32c(&bytes[..66]) != be_u32(&bytes[66..]) {
            return None;
        }
        let number = |index: usize| be_u64(&bytes[6 + index * 8..14 + index * 8]);
        Some(Self {
            commit: number(0),
            live: number(1),
            sum: number(2),
            high: number(3),
            epoch: number(4),
            ring_next: number(5),
            ring_blocks: number(6),
            ring_bad: be_u32(&bytes[62..66]),
            rebuilt: bytes[5] == 1,
        })
    }

    /// Whether `live` rows with the sum `sum` are what it says.
    pub(crate) fn fits(&self, live: u64, sum: u64) -> bool {
        self.live == live && self.sum == sum
    }
}

/// The two marks of a witness file as they were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Marks {
    /// The newest intact one.
    pub(crate) newest: Option<Tally>,
    /// Whether a slot could not be read.
    pub(crate) torn: bool,
}

/// How the database and its mark stand to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it must be, or as a crash between the two syncs leaves it.
    Whole,
    /// Commits `from..=to` were acknowledged, or may have been, and are not there.
    Shorter {
        /// First commit missing.
        from: u64,
        /// Last commit known to have been made.
        to: u64,
    },
    /// The database contradicts its own tally, or has none.
    Rows,
    /// The mark cannot be read, or is far older than the database, so nothing proves that the end is there.
    MarkLost,
}

/// Compares what was found in the database (`tally`, and the count and sum of a full scan) with the marks.
pub(crate) fn judge(marks: Marks, tally: Option<Tally>, live: u64, sum: u64) -> Verdict {
    let Some(tally) = tally else {
        return Verdict::Rows;
    };
    let Some(mark) = marks.newest else {
        return if tally.fits(live, sum) { Verdict::MarkLost } else { Verdict::Rows };
    };
    // A torn slot was being written for a commit that the database had already synced: that commit must be there.
    let at_least = mark.commit + u64::from(marks.torn);
    if tally.commit < at_least {
        return Verdict::Shorter { from: tally.commit + 1, to: at_least };
    }
    let agrees = tally.commit != mark.commit || (mark.fits(live, sum) && mark.high == tally.high);
    if !tally.fits(live, sum) || !agrees {
        return Verdict::Rows;
    }
    if tally.rebuilt || tally.commit > mark.commit + 1 {
        return Verdict::MarkLost;
    }
    Verdict::Whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(commit: u64) -> Tally {
        Tally {
            commit,
            live: 3,
            sum: 77,
            high: 9,
            epoch: 5,
            ring_next: 2,
            ring_blocks: 16,
            ring_bad: 1,
            rebuilt: false,
        }
    }

    fn marks(commit: u64, torn: bool) -> Marks {
        Marks { newest: Some(tally(commit)), torn }
    }

    #[test]
    fn a_tally_comes_back_and_every_flipped_bit_is_noticed() {
        let bytes = tally(8).encode();
        assert_eq!(Tally::decode(&bytes), Some(tally(8)));
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Tally::decode(&bad), None, "bit {bit}");
        }
        assert_eq!(Tally::decode(&[0; TALLY_BYTES]), None);
    }

    #[test]
    fn crashes_between_the_syncs_are_no_loss() {
        assert_eq!(judge(marks(8, false), Some(tally(8)), 3, 77), Verdict::Whole);
        assert_eq!(judge(marks(8, false), Some(tally(9)), 3, 77), Verdict::Whole);
        assert_eq!(judge(marks(8, true), Some(tally(9)), 3, 77), Verdict::Whole);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(judge(marks(8, false), Some(tally(5)), 3, 77), Verdict::Shorter { from: 6, to: 8 });
        assert_eq!(judge(marks(8, true), Some(tally(8)), 3, 77), Verdict::Shorter { from: 9, to: 9 });
        assert_eq!(judge(marks(8, false), Some(tally(8)), 2, 77), Verdict::Rows);
        assert_eq!(judge(marks(8, false), Some(tally(9)), 3, 78), Verdict::Rows);
        assert_eq!(judge(marks(8, false), None, 0, 0), Verdict::Rows);
        assert_eq!(judge(Marks { newest: None, torn: true }, Some(tally(8)), 3, 77), Verdict::MarkLost);
        assert_eq!(judge(Marks { newest: None, torn: true }, Some(tally(8)), 2, 77), Verdict::Rows);
        assert_eq!(judge(marks(8, false), Some(tally(11)), 3, 77), Verdict::MarkLost);
        let rebuilt = Tally { rebuilt: true, ..tally(9) };
        assert_eq!(judge(marks(8, false), Some(rebuilt), 3, 77), Verdict::MarkLost);
    }

    #[test]
    fn a_stale_database_with_the_number_of_the_mark_is_noticed() {
        let other = Tally { high: 8, ..tally(8) };
        assert_eq!(judge(marks(8, false), Some(other), 3, 77), Verdict::Rows);
        let fewer = Tally { live: 2, sum: 5, ..tally(8) };
        assert_eq!(judge(marks(8, false), Some(fewer), 2, 5), Verdict::Rows);
    }
}
