//! The rows of the archive, in four lanes of its space.
//!
//! | lane | number | value |
//! | --- | --- | --- |
//! | P0 | the archive number | version 1, event id 16, bytes of the entry 4, its first part |
//! | P1 | the archive number, then 8 bits for the part, from 1 | another part |
//! | P2 | hash of the event id | the archive number 8 |
//! | P3 | 0 | which numbers are there: first 8, last 8, … |
//!
//! Invariant: what [`rows`] makes, [`Head`] and the parts' keys take apart again; numbers are big-endian.

use huxiao_core::{Class, EventId};
use huxiao_store::{Key, Put, Space, VALUE_BYTES};
use sha2::{Digest, Sha256};

use super::runs::Runs;

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 1 + 16 + 4;
const FIRST_PART_BYTES: usize = VALUE_BYTES - HEAD_BYTES;
/// Parts beside the first that one entry can have.
const PARTS: usize = u8::MAX as usize;
/// Bytes of the largest entry: far more than the most notes that an event can have.
pub(crate) const ENTRY_BYTES: usize = 512 * 1_024;
const _: () = assert!(ENTRY_BYTES <= FIRST_PART_BYTES + PARTS * VALUE_BYTES);
/// The highest archive number that parts can be counted for.
const LAST_NUMBER: u64 = u64::MAX >> 8;

/// Where the runs stand.
pub(crate) const RUNS: Key = Key { space: Space::Archive, class: Class::P3, seq: 0 };

/// Where the first part of an entry stands.
pub(crate) fn head_key(number: u64) -> Key {
    Key { space: Space::Archive, class: Class::P0, seq: number }
}

fn part_key(number: u64, part: usize) -> Key {
    let part = u64::try_from(part).unwrap_or(u64::MAX).min(PARTS as u64);
    Key { space: Space::Archive, class: Class::P1, seq: number.min(LAST_NUMBER) << 8 | part }
}

/// Where it stands which number an event has. By a hash that nobody can aim at another event's: by chance, two of a million events
/// share a row once in thirty million archives, and the older of them is then found by its number only.
pub(crate) fn index_key(id: EventId) -> Key {
    let hash: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    let seq = hash.iter().take(8).fold(0, |seq, byte| seq << 8 | u64::from(*byte));
    Key { space: Space::Archive, class: Class::P2, seq }
}

/// The first row of an entry.
pub(crate) struct Head<'a> {
    /// The event.
    pub(crate) id: EventId,
    /// Bytes of the entry.
    pub(crate) length: usize,
    /// The first of them.
    pub(crate) first: &'a [u8],
}

impl<'a> Head<'a> {
    /// The row in `bytes`; `None` if this version cannot read it.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (head, first) = bytes.split_at_checked(HEAD_BYTES)?;
        let (&[version], rest) = head.split_first_chunk()?;
        let (id, length) = rest.split_first_chunk::<16>()?;
        let length = usize::try_from(u32::from_be_bytes(length.try_into().ok()?)).ok()?;
        let id = EventId::from_bytes(*id);
        (version == VERSION && first.len() == length.min(FIRST_PART_BYTES) && length <= ENTRY_BYTES).then_some(Self {
            id,
            length,
            first,
        })
    }

    /// The keys of its other parts.
    pub(crate) fn part_keys(&self, number: u64) -> impl Iterator<Item = Key> + use<> {
        part_keys(number, self.length)
    }
}

/// The keys of all parts but the first of an entry of so many bytes.
pub(crate) fn part_keys(number: u64, length: usize) -> impl Iterator<Item = Key> {
    let parts = length.saturating_sub(FIRST_PART_BYTES).div_ceil(VALUE_BYTES);
    (1..=parts).map(move |part| part_key(number, part))
}

/// The rows of one entry; `None` if it is too large.
pub(crate) fn rows(number: u64, id: EventId, entry: &[u8]) -> Option<Vec<Put>> {
    if entry.len() > ENTRY_BYTES || number > LAST_NUMBER {
        return None;
    }
    let (first, rest) = entry.split_at(entry.len().min(FIRST_PART_BYTES));
    let mut head = Vec::with_capacity(HEAD_BYTES + first.len());
    head.push(VERSION);
    head.extend_from_slice(id.as_bytes());
    head.extend_from_slice(&u32::try_from(entry.len()).ok()?.to_be_bytes());
    head.extend_from_slice(first);
    let put = |key, value| Put { key, value, black_box: false };
    let mut puts = vec![put(head_key(number), head), put(index_key(id), number.to_be_bytes().to_vec())];
    puts.extend(rest.chunks(VALUE_BYTES).zip(1..).map(|(part, at)| put(part_key(number, at), part.to_vec())));
    Some(puts)
}

/// What one row of the archive says, for whoever looks into a store.
#[derive(Debug, PartialEq, Eq)]
pub enum ArchiveRow {
    /// An entry's first part: its event, the entry's bytes, and those of them that stand here.
    Entry(EventId, usize, Vec<u8>),
    /// A further part of the entry with this number.
    Part(u64),
    /// An event's archive number.
    Index(u64),
    /// The numbers that are there, from and to.
    Runs(Vec<(u64, u64)>),
}

impl ArchiveRow {
    /// The row in `value`; `None` if this version cannot read it.
    #[must_use]
    pub fn decode(key: Key, value: &[u8]) -> Option<Self> {
        match key.class {
            Class::P0 => Head::decode(value).map(|head| Self::Entry(head.id, head.length, head.first.to_vec())),
            Class::P1 => Some(Self::Part(key.seq >> 8)),
            Class::P2 => value.try_into().ok().map(|bytes| Self::Index(u64::from_be_bytes(bytes))),
            Class::P3 => Runs::decode(value).map(|runs| Self::Runs(runs.iter().collect())),
            Class::P4 => None,
        }
    }
}
