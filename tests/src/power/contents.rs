//! One file's bytes: as processes see them, and as the disk holds them.
//!
//! Invariant: the durable bytes change at a sync, which makes them the same as the visible ones, and at a power cut, which lets
//! some of the changes since then survive; at no other time.

use huxiao_core::Rng;

/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What was done to a file since its last sync.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Resize(usize),
}

/// How much of what was never synced survives a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    /// Nothing.
    Nothing,
    /// All of it, as if the disk had just written everything.
    Everything,
    /// Each change by itself, with this chance in a hundred; a part of the others in pieces. So later ones may survive earlier ones.
    Some(u64),
}

impl Mood {
    /// The mood of one cut.
    pub(super) fn throw(rng: &mut Rng) -> Self {
        match rng.below(8) {
            0 | 1 => Self::Nothing,
            2 => Self::Everything,
            3 | 4 => Self::Some(50),
            5 | 6 => Self::Some(90),
            _ => Self::Some(10),
        }
    }

    /// Whether one change survives whole.
    pub(super) fn keeps(self, rng: &mut Rng) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            Self::Some(percent) => rng.below(100) < percent,
        }
    }
}

/// A file.
#[derive(Debug, Clone, Default)]
pub(super) struct Contents {
    visible: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
}

impl Contents {
    /// What processes see.
    pub(super) fn visible(&self) -> &[u8] {
        &self.visible
    }

    /// Writes `data` at `at`.
    pub(super) fn write(&mut self, at: usize, data: &[u8]) {
        put(&mut self.visible, at, data);
        self.pending.push(Change::Write { at, data: data.to_vec() });
    }

    /// Cuts it short, or makes it longer with zeros.
    pub(super) fn resize(&mut self, length: usize) {
        self.visible.resize(length, 0);
        self.pending.push(Change::Resize(length));
    }

    /// Makes all of it durable, its size included: what `fsync` does, and `fdatasync` as far as reading back needs it.
    pub(super) fn sync(&mut self) {
        for change in self.pending.drain(..) {
            apply(&mut self.durable, &change);
        }
    }

    /// The power goes: some of what was not synced survives.
    pub(super) fn cut(&mut self, mood: Mood, rng: &mut Rng) {
        for change in std::mem::take(&mut self.pending) {
            if mood.keeps(rng) {
                apply(&mut self.durable, &change);
            } else if matches!(mood, Mood::Some(_)) {
                match &change {
                    Change::Write { at, data } => tear(&mut self.durable, *at, data, rng),
                    Change::Resize(_) => {}
                }
            }
        }
    }

    /// The file as it is found when the power is back.
    pub(super) fn survivor(&self) -> Self {
        Self { visible: self.durable.clone(), durable: self.durable.clone(), pending: Vec::new() }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    let end = at + data.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[at..end].copy_from_slice(data);
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write { at, data } => put(bytes, *at, data),
        Change::Resize(length) => bytes.resize(*length, 0),
    }
}

/// What a write that did not survive whole leaves behind: nothing, its first or last sectors, single sectors, or only the size
/// that it gave to the file, with zeros where the data should be.
fn tear(bytes: &mut Vec<u8>, at: usize, data: &[u8], rng: &mut Rng) {
    let end = at + data.len();
    let sectors: Vec<(usize, usize)> =
        (at / SECTOR..end.div_ceil(SECTOR)).map(|n| (at.max(n * SECTOR), end.min((n + 1) * SECTOR))).collect();
    let edge = usize::try_from(rng.below(sectors.len() as u64 + 1)).unwrap_or(0);
    let kept: Vec<bool> = match rng.below(6) {
        0 => (0..sectors.len()).map(|n| n < edge).collect(),
        1 => (0..sectors.len()).map(|n| n >= edge).collect(),
        2 => sectors.iter().map(|_| rng.below(2) == 0).collect(),
        3 => {
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            return;
        }
        _ => return,
    };
    for ((from, to), _) in sectors.into_iter().zip(kept).filter(|(_, kept)| *kept) {
        put(bytes, from, &data[from - at..to - at]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(contents: &Contents, mood: Mood, seed: u64) -> Vec<u8> {
        let mut contents = contents.clone();
        contents.cut(mood, &mut Rng::new(seed));
        contents.survivor().visible
    }

    #[test]
    fn what_was_synced_stays_and_the_rest_is_forgotten() {
        let mut contents = Contents::default();
        contents.write(0, b"synced");
        contents.sync();
        contents.write(3, b"forgotten");
        assert_eq!(contents.visible(), b"synforgotten");
        assert_eq!(cut(&contents, Mood::Nothing, 1), b"synced");
        assert_eq!(cut(&contents, Mood::Everything, 1), b"synforgotten");
        contents.resize(2);
        assert_eq!(cut(&contents, Mood::Nothing, 1), b"synced");
        contents.sync();
        assert_eq!(cut(&contents, Mood::Nothing, 1), b"sy");
    }

    #[test]
    fn a_tear_follows_sectors_and_never_touches_what_was_not_written() {
        let mut contents = Contents::default();
        contents.write(0, &[1; 4 * SECTOR]);
        contents.sync();
        contents.write(100, &[2; 3 * SECTOR]);
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..400 {
            let after = cut(&contents, Mood::Some(30), seed);
            assert!(
                after[..100].iter().all(|byte| *byte == 1) && after[100 + 3 * SECTOR..].iter().all(|byte| *byte == 1)
            );
            let written = &after[100..100 + 3 * SECTOR];
            let same = |from: usize, to: usize| written[from..to].windows(2).all(|pair| pair[0] == pair[1]);
            let edges = [0, SECTOR - 100, 2 * SECTOR - 100, 3 * SECTOR - 100, 3 * SECTOR];
            assert!(edges.windows(2).all(|edge| same(edge[0], edge[1])), "seed {seed}");
            seen.insert(edges[..4].iter().map(|edge| written[*edge]).collect::<Vec<_>>());
        }
        assert!(seen.len() > 6, "whole, lost, both halves and pieces: {seen:?}");
    }

    #[test]
    fn a_later_write_may_survive_an_earlier_one() {
        let mut contents = Contents::default();
        contents.write(0, b"first");
        contents.write(0, b"later");
        contents.write(10, b"end");
        let found: Vec<_> = (0..200).map(|seed| cut(&contents, Mood::Some(50), seed)).collect();
        assert!(found.iter().any(|bytes| bytes == b"first"));
        assert!(found.iter().any(|bytes| bytes == b"\0\0\0\0\0\0\0\0\0\0end"));
        assert!(found.iter().any(|bytes| bytes == b"later\0\0\0\0\0end"));
    }
}
