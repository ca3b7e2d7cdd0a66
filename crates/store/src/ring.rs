//! The black box: which blocks of the ring hold what, what is written next, and what can be refilled from it.
//!
//! Invariant: blocks are only ever written in the order of their ring sequence, each over the oldest. So a tombstone always
//! outlives the record that it cancels, and a missing sequence number within the ring's length is damage. Pure: the file is
//! [`witness`](crate::witness)'s business.

use std::collections::{BTreeMap, BTreeSet};

use crate::block::{Block, Body, Read, TOMBSTONES_PER_BLOCK};
use crate::key::Key;

/// Fewest blocks of a ring: enough for the largest group of commits several times over.
pub(crate) const MIN_BLOCKS: u64 = 16;

/// One record that the black box still has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The commit that wrote it.
    pub(crate) commit: u64,
    /// Its content.
    pub(crate) value: Vec<u8>,
    seq: u64,
}

/// What a scan of the whole ring found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct RingFound {
    /// The latest record of each key that was not removed since.
    pub(crate) entries: BTreeMap<Key, Entry>,
    /// The latest commit that removed a key.
    pub(crate) removed: BTreeMap<Key, u64>,
    /// Blocks that should hold a record and do not, a torn one at the place where the next record goes excepted.
    pub(crate) bad: u32,
    /// Highest numbers seen in any block: (commit, epoch, high).
    pub(crate) seen: (u64, u64, u64),
}

/// The state of the ring while the store is open.
#[derive(Debug)]
pub(crate) struct Ring {
    blocks: u64,
    next: u64,
    live: BTreeMap<Key, u64>,
    /// Numbers of blocks whose write the last power cut may have prevented.
    torn: Vec<u64>,
}

/// Blocks to be written, and the number of the place of each.
pub(crate) type Writes = Vec<(u64, Block)>;

impl Ring {
    /// The ring after a scan. `read` is what stood in each place; `next` is what the newest mark says comes next (0: no mark); the
    /// blocks before `settled` were synced for sure, those from it on may have been under way when the power went.
    pub(crate) fn scan(read: impl IntoIterator<Item = Read>, next: u64, settled: u64) -> (Self, RingFound) {
        let mut found = RingFound::default();
        let mut intact: Vec<Block> = Vec::new();
        let mut blocks = 0;
        for place in read {
            blocks += 1;
            if let Read::Intact(block) = place {
                intact.push(block);
            }
        }
        intact.sort_by_key(|block| block.seq);
        let marked = next.max(1);
        let next = intact.last().map_or(marked, |block| marked.max(block.seq + 1));
        let settled = settled.clamp(1, marked);
        found.bad = u32::try_from(missing(&intact, blocks, marked, settled, next).count()).unwrap_or(u32::MAX);
        let torn = absent(&intact, settled.max(next.saturating_sub(blocks)), next).collect();
        for block in intact {
            found.seen = (found.seen.0.max(block.commit), found.seen.1.max(block.epoch), found.seen.2.max(block.high));
            match block.body {
                Body::Put(key, value) => {
                    found.entries.insert(key, Entry { commit: block.commit, value, seq: block.seq });
                }
                Body::Tombstones(keys) => keys.into_iter().for_each(|key| {
                    found.entries.remove(&key);
                    found.removed.insert(key, block.commit);
                }),
            }
        }
        let live = found.entries.iter().map(|(key, entry)| (*key, entry.seq)).collect();
        (Self { blocks, next, live, torn }, found)
    }

    /// Keys of the records that it holds.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> {
        self.live.keys().copied()
    }

    /// Blocks that say nothing, for the places of those that a power cut prevented: else they would be taken for damage as soon
    /// as a later mark counts them. Given once.
    pub(crate) fn mend(&mut self, (commit, epoch, high): (u64, u64, u64)) -> Writes {
        let nothing = |seq| Block { seq, commit, epoch, high, body: Body::Tombstones(Vec::new()) };
        std::mem::take(&mut self.torn).into_iter().map(|seq| ((seq - 1) % self.blocks, nothing(seq))).collect()
    }

    /// The sequence number that comes next.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many blocks may be written by one group: a tear must not reach further than this.
    pub(crate) fn group_blocks(&self) -> u64 {
        self.blocks / 4
    }

    /// Lays out one group of commits: its records in order, then tombstones for those removed keys that the ring holds.
    pub(crate) fn write<'a>(
        &mut self,
        (commit, epoch, high): (u64, u64, u64),
        puts: impl IntoIterator<Item = (Key, &'a [u8])>,
        removed: &BTreeSet<Key>,
    ) -> Writes {
        let mut writes = Writes::new();
        let mut bodies: Vec<Body> = puts.into_iter().map(|(key, value)| Body::Put(key, value.to_vec())).collect();
        let put: BTreeSet<Key> =
            bodies.iter().filter_map(|body| if let Body::Put(key, _) = body { Some(*key) } else { None }).collect();
        let gone: Vec<Key> =
            removed.iter().filter(|key| put.contains(key) || self.live.contains_key(key)).copied().collect();
        bodies.extend(gone.chunks(TOMBSTONES_PER_BLOCK).map(|keys| Body::Tombstones(keys.to_vec())));
        for body in bodies {
            match &body {
                Body::Put(key, _) => {
                    self.live.insert(*key, self.next);
                }
                Body::Tombstones(keys) => keys.iter().for_each(|key| {
                    self.live.remove(key);
                }),
            }
            writes.push(((self.next - 1) % self.blocks, Block { seq: self.next, commit, epoch, high, body }));
            self.next += 1;
        }
        let oldest = self.next.saturating_sub(self.blocks);
        if !writes.is_empty() {
            self.live.retain(|_, seq| *seq >= oldest);
        }
        writes
    }
}

/// The blocks within the ring's length that are gone. What was being written when the power went may be torn, and so may be the
/// places of the oldest records, over which it was being written: those are not counted.
fn missing(intact: &[Block], blocks: u64, marked: u64, settled: u64, next: u64) -> impl Iterator<Item = u64> {
    let oldest_whole = (marked + blocks / 4).saturating_sub(blocks);
    absent(intact, next.saturating_sub(blocks).max(oldest_whole).max(1), settled)
}

fn absent(intact: &[Block], from: u64, to: u64) -> impl Iterator<Item = u64> {
    let present: BTreeSet<u64> = intact.iter().map(|block| block.seq).collect();
    (from..to).filter(move |seq| !present.contains(seq))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Space;
    use huxiao_core::Class;

    fn key(seq: u64) -> Key {
        Key { space: Space::Outbox, class: Class::P0, seq }
    }

    /// A ring with its places in memory.
    struct Box16 {
        places: Vec<Read>,
        ring: Ring,
    }

    impl Box16 {
        fn new() -> Self {
            let places = vec![Read::Empty; 16];
            let (ring, _) = Ring::scan(places.clone(), 0, 0);
            Self { places, ring }
        }

        fn put(&mut self, seq: u64) {
            self.write(&[(key(seq), &seq.to_be_bytes())], &[]);
        }

        fn write(&mut self, puts: &[(Key, &[u8])], removed: &[Key]) {
            let writes = self.ring.write((1, 2, 3), puts.iter().copied(), &removed.iter().copied().collect());
            for (place, block) in writes {
                self.places[usize::try_from(place).unwrap()] = Read::Intact(block);
            }
        }

        fn found(&self) -> RingFound {
            Ring::scan(self.places.clone(), self.ring.next(), self.ring.next()).1
        }

        fn keys(&self) -> Vec<u64> {
            self.found().entries.keys().map(|key| key.seq).collect()
        }
    }

    #[test]
    fn the_latest_record_wins_and_removed_ones_stay_away() {
        let mut black = Box16::new();
        (1..=3).for_each(|seq| black.put(seq));
        black.write(&[(key(1), b"new")], &[]);
        black.write(&[], &[key(2), key(9)]);
        assert_eq!(black.keys(), [1, 3]);
        assert_eq!(black.found().entries[&key(1)].value, b"new");
        assert_eq!(black.found().bad, 0);
    }

    #[test]
    fn tombstones_share_a_block_and_unknown_keys_get_none() {
        let mut black = Box16::new();
        (1..=3).for_each(|seq| black.put(seq));
        let before = black.ring.next();
        black.write(&[], &[key(1), key(2), key(3)]);
        assert_eq!(black.ring.next(), before + 1);
        black.write(&[], &[key(1), key(77)]);
        assert_eq!(black.ring.next(), before + 1);
    }

    #[test]
    fn the_oldest_are_overwritten_and_that_is_no_damage() {
        let mut black = Box16::new();
        (1..=40).for_each(|seq| black.put(seq));
        assert_eq!(black.keys(), (25..=40).collect::<Vec<_>>());
        assert_eq!(black.found().bad, 0);
    }

    #[test]
    fn a_damaged_block_costs_itself_and_is_counted() {
        for kind in [Read::Bad, Read::Empty] {
            let mut black = Box16::new();
            (1..=40).for_each(|seq| black.put(seq));
            black.places[(33 - 1) % 16] = kind;
            assert_eq!(black.keys(), (25..=40).filter(|seq| *seq != 33).collect::<Vec<_>>());
            assert_eq!(black.found().bad, 1);
        }
    }

    #[test]
    fn a_tear_where_the_next_record_goes_is_no_damage() {
        let mut black = Box16::new();
        (1..=40).for_each(|seq| black.put(seq));
        black.places[40 % 16] = Read::Bad;
        assert_eq!(black.found().bad, 0);
        // The second block of a group reached the disk, the first did not.
        let torn = Block { seq: 42, commit: 1, epoch: 2, high: 3, body: Body::Put(key(42), Vec::new()) };
        black.places[41 % 16] = Read::Intact(torn);
        let next = black.ring.next();
        let (mut ring, found) = Ring::scan(black.places.clone(), next, next);
        assert_eq!((found.bad, ring.next()), (0, 43));
        // Once mended, the place is no damage to a mark that counts it.
        for (place, block) in ring.mend((1, 2, 3)) {
            black.places[usize::try_from(place).unwrap()] = Read::Intact(block);
        }
        assert_eq!(Ring::scan(black.places.clone(), 43, 43).1.bad, 0);
        assert_eq!(ring.mend((1, 2, 3)), []);
    }

    #[test]
    fn what_was_under_way_with_the_newest_mark_is_no_damage_and_what_was_synced_before_is() {
        let mut black = Box16::new();
        (1..=40).for_each(|seq| black.put(seq));
        black.places[(38 - 1) % 16] = Read::Bad;
        let bad = |settled| Ring::scan(black.places.clone(), 41, settled).1.bad;
        assert_eq!((bad(41), bad(39), bad(38), bad(30)), (1, 1, 0, 0));
        let mended = Ring::scan(black.places.clone(), 41, 37).0.mend((1, 2, 3));
        assert_eq!(mended.iter().map(|(place, block)| (*place, block.seq)).collect::<Vec<_>>(), [(5, 38)]);
    }
}
