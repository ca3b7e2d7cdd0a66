//! How a value lies in the database: framed, so that damage is noticed on reading and a row can be carved out of raw bytes.
//!
//! Invariant: a frame that decodes is byte for byte what was committed under the key that it names.
//!
//! ```text
//! magic 4 | version 1 | flags 1 | commit 8 | key 10 | length 4 | payload | CRC32C 4 (of all before it)     (numbers big-endian)
//! ```

use huxiao_core::limits::STORE_VALUE_BYTES;

use crate::key::{KEY_BYTES, Key};

/// First bytes of every frame: unlike text, unlike zeros, unlike what sled writes around values.
pub(crate) const MAGIC: [u8; 4] = [0xF1, b'H', b'x', 0x9E];
const VERSION: u8 = 1;
const BLACK_BOX: u8 = 1;
const HEAD: usize = 4 + 1 + 1 + 8 + KEY_BYTES + 4;
const TAIL: usize = 4;

/// Bytes that a frame adds to a payload.
pub const FRAME_OVERHEAD: usize = HEAD + TAIL;
/// Bytes of the largest payload of one row: what sled keeps inside its own file, less the frame.
pub const VALUE_BYTES: usize = STORE_VALUE_BYTES - FRAME_OVERHEAD;

/// A decoded frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// The commit that wrote it.
    pub(crate) commit: u64,
    /// The row that it is.
    pub(crate) key: Key,
    /// Whether it is in the black box too.
    pub(crate) black_box: bool,
    /// The caller's bytes.
    pub(crate) payload: &'a [u8],
    crc: u32,
    bytes: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`, which may go on behind it.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, &'static str> {
        let head = bytes.get(..HEAD).ok_or("it is shorter than a frame")?;
        if head[..4] != MAGIC {
            return Err("it does not begin as a frame");
        }
        let length = be_u32(&head[24..28]) as usize;
        if length > VALUE_BYTES {
            return Err("its length is beyond the limit");
        }
        let end = HEAD + length;
        let body = bytes.get(..end).ok_or("it is shorter than it says")?;
        let crc = be_u32(bytes.get(end..end + TAIL).ok_or("it is shorter than it says")?);
        if crc32c::crc32c(body) != crc {
            return Err("its checksum is wrong");
        }
        if head[4] != VERSION {
            return Err("its version is unknown here; use the release that wrote it");
        }
        let key = Key::decode(&head[14..24]).ok_or("its key is no key")?;
        Ok(Self {
            commit: be_u64(&head[6..14]),
            key,
            black_box: head[5] & BLACK_BOX != 0,
            payload: &body[HEAD..],
            crc,
            bytes: end + TAIL,
        })
    }

    /// Reads the row stored under `key`.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn of_row(key: Key, bytes: &'a [u8]) -> Result<Self, &'static str> {
        let frame = Self::parse(bytes)?;
        if frame.bytes != bytes.len() {
            return Err("it is longer than its frame");
        }
        if frame.key != key {
            return Err("it belongs to another key");
        }
        Ok(frame)
    }

    /// What this row adds to the tally's sum: one number for (key, commit, content), which its checksum already ties together.
    pub(crate) fn hash(&self) -> u64 {
        row_hash(self.key, self.commit, self.crc)
    }
}

/// The frame of one row, and what it adds to the tally's sum.
pub(crate) fn encode(commit: u64, key: Key, black_box: bool, payload: &[u8]) -> (Vec<u8>, u64) {
    let mut out = Vec::with_capacity(payload.len() + FRAME_OVERHEAD);
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.push(if black_box { BLACK_BOX } else { 0 });
    out.extend_from_slice(&commit.to_be_bytes());
    out.extend_from_slice(&key.encode());
    // Callers check the length against VALUE_BYTES first; a longer one would be refused when it is read.
    out.extend_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(payload);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_be_bytes());
    (out, row_hash(key, commit, crc))
}

/// Finds the frames in `bytes` and says from where to go on when more bytes have come; `last` says that none will.
pub(crate) fn carve<'a>(bytes: &'a [u8], last: bool, mut found: impl FnMut(Frame<'a>)) -> usize {
    let mut at = 0;
    while let Some(step) = bytes[at..].iter().position(|byte| *byte == MAGIC[0]) {
        at += step;
        if !last && bytes.len() - at < STORE_VALUE_BYTES {
            // It may be whole only with what is to come.
            return at;
        }
        match Frame::parse(&bytes[at..]) {
            Ok(frame) => {
                at += frame.bytes;
                found(frame);
            }
            Err(_) => at += 1,
        }
    }
    bytes.len()
}

fn row_hash(key: Key, commit: u64, crc: u32) -> u64 {
    let kind = u64::from(key.space.byte()) << 8 | u64::from(key.class.number());
    mix(mix(mix(key.seq) ^ commit) ^ (kind << 32 | u64::from(crc)))
}

/// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): spreads each input bit over all output bits.
fn mix(value: u64) -> u64 {
    let mut x = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// The big-endian number in `bytes`, which are at most eight.
pub(crate) fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// The big-endian number in `bytes`, which are at most four.
pub(crate) fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Space;
    use huxiao_core::Class;
    use proptest::prelude::*;

    fn key(seq: u64) -> Key {
        Key { space: Space::Outbox, class: Class::P0, seq }
    }

    #[test]
    fn the_bytes_of_a_frame_are_frozen() {
        let (bytes, hash) = encode(7, key(9), true, b"abc");
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "f148789e010100000000000000070200000000000000000900000003616263addc8eaf");
        assert_eq!(hash, Frame::parse(&bytes).unwrap().hash());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, _) = encode(7, key(9), false, b"press");
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::of_row(key(9), &bad).is_err(), "bit {bit}");
        }
        assert!(Frame::of_row(key(8), &bytes).is_err());
    }

    proptest! {
        #[test]
        fn frames_come_back(commit: u64, seq: u64, black_box: bool, payload in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (bytes, hash) = encode(commit, key(seq), black_box, &payload);
            let frame = Frame::of_row(key(seq), &bytes).unwrap();
            prop_assert_eq!((frame.commit, frame.black_box, frame.payload), (commit, black_box, &payload[..]));
            prop_assert_eq!(frame.hash(), hash);
        }

        #[test]
        fn rubbish_neither_panics_nor_passes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Frame::parse(&bytes).is_err());
        }

        #[test]
        fn frames_are_carved_out_of_rubbish(before in proptest::collection::vec(any::<u8>(), 0..99), seqs in proptest::collection::vec(any::<u64>(), 0..9)) {
            let mut bytes = before;
            for seq in &seqs {
                bytes.extend(encode(1, key(*seq), false, b"x").0);
                bytes.extend([0xF1, 0x48, 0x00]);
            }
            let mut found = Vec::new();
            carve(&bytes, true, |frame| found.push(frame.key.seq));
            prop_assert_eq!(found, seqs);
        }
    }
}
