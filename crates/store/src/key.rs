//! What is stored under what: spaces, keys and batches.
//!
//! Invariant: the encoded order of keys is (space, class, sequence number), so that a scan of a space meets its lanes in the
//! order in which they must be served.

use std::fmt;

use huxiao_core::Class;

/// Bytes of an encoded [`Key`].
pub(crate) const KEY_BYTES: usize = 10;

/// What a row is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Cursors and other small facts of the node itself.
    Meta,
    /// Events on their way to another node, until that node's receipt is here.
    Outbox,
    /// Events taken in from another node.
    Inbox,
    /// The log of a region of one node, by its index.
    Record,
    /// What a broker node without a quorum saw and its officers did, until the record has it.
    Journal,
    /// Finished events that have left the record's memory.
    Archive,
}

impl Space {
    /// All spaces, in the order of their keys.
    pub const ALL: [Space; 6] =
        [Space::Meta, Space::Outbox, Space::Inbox, Space::Record, Space::Journal, Space::Archive];

    /// `meta`, `outbox`, `inbox`, `record`, `journal`, `archive`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["meta", "outbox", "inbox", "record", "journal", "archive"][self as usize]
    }

    /// Its byte on disk. Zero is the store's own (the tally and the canary).
    pub(crate) fn byte(self) -> u8 {
        self as u8 + 1
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte.checked_sub(1)?)).copied()
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The name of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// What the row is for.
    pub space: Space,
    /// Its lane.
    pub class: Class,
    /// Its number in that lane, given by the caller.
    pub seq: u64,
}

impl Key {
    /// Ten bytes: space, class, sequence number big-endian.
    #[must_use]
    pub fn encode(self) -> [u8; KEY_BYTES] {
        let mut out = [0; KEY_BYTES];
        out[0] = self.space.byte();
        out[1] = self.class.number();
        out[2..].copy_from_slice(&self.seq.to_be_bytes());
        out
    }

    /// The key of these bytes; `None` if no key is encoded so.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; KEY_BYTES] = bytes.try_into().ok()?;
        let (head, seq) = bytes.split_at(2);
        Some(Self {
            space: Space::from_byte(head[0])?,
            class: Class::from_number(head[1])?,
            seq: u64::from_be_bytes(seq.try_into().ok()?),
        })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.space, self.class, self.seq)
    }
}

/// One row to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Its name; a row already there is replaced.
    pub key: Key,
    /// Its content, at most [`STORE_VALUE_BYTES`](huxiao_core::limits::STORE_VALUE_BYTES) less [`FRAME_OVERHEAD`](crate::FRAME_OVERHEAD).
    pub value: Vec<u8>,
    /// Whether it also goes into the black box (every P0 event should): then at most [`BLACK_BOX_VALUE_BYTES`](crate::BLACK_BOX_VALUE_BYTES).
    pub black_box: bool,
}

/// What is committed together: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Rows to be written. If one key occurs twice, the later one stays.
    pub puts: Vec<Put>,
    /// Rows to be removed; removing what is not there is no error. Applied before `puts`.
    pub deletes: Vec<Key>,
    /// The caller's highest sequence number after this batch; kept beside the rows, and never goes back.
    pub high: u64,
    /// The highest class in it: what decides whether it is still written on a disk that fills up.
    pub class: Class,
}

impl Batch {
    /// Whether it makes rows, which a full disk may refuse, or only removes some.
    #[must_use]
    pub fn only_deletes(&self) -> bool {
        self.puts.is_empty()
    }

    /// Bytes of its rows, roughly as they come to the disk.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let puts: usize = self.puts.iter().map(|put| put.value.len() + 64).sum();
        (puts + self.deletes.len() * 32) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_and_sort_by_space_lane_and_number() {
        let mut keys = Vec::new();
        for space in Space::ALL {
            for class in Class::ALL {
                for seq in [0, 1, 255, 256, u64::MAX] {
                    keys.push(Key { space, class, seq });
                }
            }
        }
        let bytes: Vec<_> = keys.iter().map(|key| key.encode()).collect();
        assert!(bytes.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(keys.iter().zip(&bytes).all(|(key, bytes)| Key::decode(bytes) == Some(*key)));
    }

    #[test]
    fn foreign_bytes_are_no_key() {
        assert_eq!(Key::decode(&[]), None);
        assert_eq!(Key::decode(&[0; 10]), None);
        assert_eq!(Key::decode(&[7, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Key::decode(&[1, 5, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(Key::decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
