//! The blocks of the black box: one record a block, each with its own checksum, so that damage costs that record only.
//!
//! ```text
//! magic 4 | version 1 | kind 1 | count 2 | ring sequence 8 | commit 8 | epoch 8 | high 8 | body … zeros … | CRC32C 4
//! put:        key 10 | length 2 | payload          tombstones:  count × key 10                   (numbers big-endian)
//! ```

use huxiao_core::limits::BLACK_BOX_BLOCK_BYTES as BLOCK;

use crate::frame::{be_u32, be_u64};
use crate::key::{KEY_BYTES, Key};

const MAGIC: [u8; 4] = *b"HxBB";
const VERSION: u8 = 1;
const PUT: u8 = 1;
const TOMBSTONES: u8 = 2;
const HEAD: usize = 4 + 1 + 1 + 2 + 4 * 8;
const BODY: usize = BLOCK - HEAD - 4;

/// Bytes of the largest value that fits one block of the black box.
pub const BLACK_BOX_VALUE_BYTES: usize = BODY - KEY_BYTES - 2;
/// Tombstones that share one block.
pub(crate) const TOMBSTONES_PER_BLOCK: usize = BODY / KEY_BYTES;

/// What one block says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    /// Its place in the order of all blocks ever written, from 1.
    pub(crate) seq: u64,
    /// The commit that wrote it.
    pub(crate) commit: u64,
    /// The opening of the store that wrote it.
    pub(crate) epoch: u64,
    /// The caller's highest sequence number then.
    pub(crate) high: u64,
    /// What it holds.
    pub(crate) body: Body,
}

/// What a block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    /// A row was written.
    Put(Key, Vec<u8>),
    /// Rows were removed.
    Tombstones(Vec<Key>),
}

/// What stands in one block's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Read {
    /// Nothing yet: all zeros.
    Empty,
    /// A record.
    Intact(Block),
    /// Neither: it was torn or damaged.
    Bad,
}

impl Block {
    /// Its bytes. What does not fit is left out: callers hold to [`BLACK_BOX_VALUE_BYTES`] and [`TOMBSTONES_PER_BLOCK`].
    pub(crate) fn encode(&self) -> [u8; BLOCK] {
        let mut body = Vec::with_capacity(BODY);
        let (kind, count) = match &self.body {
            Body::Put(key, value) => {
                let value = &value[..value.len().min(BLACK_BOX_VALUE_BYTES)];
                body.extend_from_slice(&key.encode());
                body.extend_from_slice(&u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
                body.extend_from_slice(value);
                (PUT, 1)
            }
            Body::Tombstones(keys) => {
                let keys = &keys[..keys.len().min(TOMBSTONES_PER_BLOCK)];
                keys.iter().for_each(|key| body.extend_from_slice(&key.encode()));
                (TOMBSTONES, u16::try_from(keys.len()).unwrap_or(0))
            }
        };
        let mut out = [0; BLOCK];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = kind;
        out[6..8].copy_from_slice(&count.to_be_bytes());
        let numbers = [self.seq, self.commit, self.epoch, self.high];
        for (slot, number) in out[8..HEAD].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        out[HEAD..HEAD + body.len()].copy_from_slice(&body);
        let crc = crc32c::crc32c(&out[..BLOCK - 4]);
        out[BLOCK - 4..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads what stands in one block's place.
    pub(crate) fn read(bytes: &[u8]) -> Read {
        if bytes.len() != BLOCK {
            return Read::Bad;
        }
        if bytes.iter().all(|byte| *byte == 0) {
            return Read::Empty;
        }
        Self::parse(bytes).map_or(Read::Bad, Read::Intact)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (covered, crc) = bytes.split_at(BLOCK - 4);
        if covered[..4] != MAGIC || crc32c::crc32c(covered) != be_u32(crc) || covered[4] != VERSION {
            return None;
        }
        let count = usize::from(u16::from_be_bytes([covered[6], covered[7]]));
        let body = &covered[HEAD..];
        let body = match covered[5] {
            PUT => {
                let key = Key::decode(body.get(..KEY_BYTES)?)?;
                let length = usize::from(u16::from_be_bytes([body[KEY_BYTES], body[KEY_BYTES + 1]]));
                Body::Put(key, body.get(KEY_BYTES + 2..KEY_BYTES + 2 + length)?.to_vec())
            }
            TOMBSTONES => {
                let keys = body.get(..count * KEY_BYTES)?;
                Body::Tombstones(keys.chunks_exact(KEY_BYTES).map(Key::decode).collect::<Option<_>>()?)
            }
            _ => return None,
        };
        let number = |index: usize| be_u64(&covered[8 + index * 8..16 + index * 8]);
        Some(Self { seq: number(0), commit: number(1), epoch: number(2), high: number(3), body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Space;
    use huxiao_core::{Class, Rng};
    use proptest::prelude::*;

    fn key(seq: u64) -> Key {
        Key { space: Space::Inbox, class: Class::P0, seq }
    }

    proptest! {
        #[test]
        fn blocks_come_back(seq: u64, commit: u64, epoch: u64, high: u64, value in proptest::collection::vec(any::<u8>(), 0..=BLACK_BOX_VALUE_BYTES)) {
            let block = Block { seq, commit, epoch, high, body: Body::Put(key(seq), value) };
            prop_assert_eq!(Block::read(&block.encode()), Read::Intact(block));
        }

        #[test]
        fn tombstones_come_back(seqs in proptest::collection::vec(any::<u64>(), 0..=TOMBSTONES_PER_BLOCK)) {
            let block = Block { seq: 1, commit: 2, epoch: 3, high: 4, body: Body::Tombstones(seqs.into_iter().map(key).collect()) };
            prop_assert_eq!(Block::read(&block.encode()), Read::Intact(block));
        }
    }

    #[test]
    fn damage_is_noticed_and_emptiness_is_not_damage() {
        let block = Block { seq: 1, commit: 2, epoch: 3, high: 4, body: Body::Put(key(1), vec![7; 300]) };
        let mut rng = Rng::new(1);
        for _ in 0..2_000 {
            let mut bytes = block.encode();
            let bit = rng.below(BLOCK as u64 * 8);
            bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
            assert_eq!(Block::read(&bytes), Read::Bad, "bit {bit}");
        }
        assert_eq!(Block::read(&[0; BLOCK]), Read::Empty);
        assert_eq!(Block::read(&[0; 5]), Read::Bad);
    }
}
