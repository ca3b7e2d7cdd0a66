//! A chunk: consecutive archived events in one file that never changes. The database holds only what has not filled a chunk yet,
//! because it keeps something in memory for each of its pages and reads all of itself at each start.
//!
//! ```text
//! entries:  id 16 | CRC32C of id and bytes 4 | bytes …                               one after the other
//! tables:   offset 4 of each entry and of their end | id 16, place 4 of each, by id | filter, 2 bytes for each
//! trailer:  magic 8 | first number 8 | entries 4 | offset of the tables 8 | CRC32C of the tables 4 | CRC32C of the trailer 4
//! ```
//!
//! Invariant: a file that [`Chunk::open`] takes has whole tables; each entry has its own checksum. The filter is all that stays in
//! memory. It says of an event that is not here that it may be once in 400 times, and then the table of ids is looked at.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use huxiao_core::{EventId, WallTime};
use huxiao_store::durable_file::{DurableFileError, write_new_with};
use sha2::{Digest, Sha256};

const MAGIC: [u8; 8] = *b"HxArch\0\x01";
const TRAILER_BYTES: usize = 8 + 8 + 4 + 8 + 4 + 4;
const ENTRY_HEAD_BYTES: usize = 16 + 4;
const ID_ROW_BYTES: usize = 16 + 4;
const FILTER_BYTES: usize = 2;
const PROBES: usize = 4;
/// Entries that a file may claim to have: more than any release makes, few enough to reserve memory for.
const MOST_ENTRIES: usize = 1 << 20;

/// One file, open.
#[derive(Debug)]
pub(crate) struct Chunk {
    file: File,
    first: u64,
    count: usize,
    tables: u64,
    filter: Vec<u8>,
    /// When the first and the last of its entries came to the region, once somebody has read them all.
    times: OnceLock<(WallTime, WallTime)>,
}

impl Chunk {
    /// Writes a chunk of these entries, whose numbers begin with `first`, and opens it.
    pub(crate) fn write(path: &Path, first: u64, entries: &[(EventId, Vec<u8>)]) -> Result<Self, DurableFileError> {
        write_new_with(path, |file| write(file, first, entries))?;
        Self::open(path).map_err(|source| DurableFileError { what: "read back", path: path.to_path_buf(), source })
    }

    /// Opens a chunk and reads its tables.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let length = file.metadata()?.len();
        let at = length.checked_sub(TRAILER_BYTES as u64).ok_or_else(|| damaged("it is too short"))?;
        let trailer = read(&file, at, TRAILER_BYTES)?;
        if trailer[..8] != MAGIC || crc32c::crc32c(&trailer[..TRAILER_BYTES - 4]) != be_u32(&trailer[32..]) {
            return Err(damaged("its end is damaged"));
        }
        let (first, tables) = (be_u64(&trailer[8..16]), be_u64(&trailer[20..28]));
        let count = be_u32(&trailer[16..20]) as usize;
        let expected = (count + 1) * 4 + count * (ID_ROW_BYTES + FILTER_BYTES);
        if count > MOST_ENTRIES || at.checked_sub(tables) != Some(expected as u64) {
            return Err(damaged("its tables have another size than it says"));
        }
        let mut bytes = read(&file, tables, expected)?;
        if crc32c::crc32c(&bytes) != be_u32(&trailer[28..32]) {
            return Err(damaged("its tables are damaged"));
        }
        let filter = bytes.split_off(expected - count * FILTER_BYTES);
        Ok(Self { file, first, count, tables, filter, times: OnceLock::new() })
    }

    /// The numbers in it, from and to.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        (self.first, self.first + (self.count as u64).saturating_sub(1))
    }

    /// When the first and the last of its entries came to the region; `None` while nobody has said.
    pub(crate) fn times(&self) -> Option<(WallTime, WallTime)> {
        self.times.get().copied()
    }

    /// Notes that. Entries do not change, so whoever is first says what all would.
    pub(crate) fn note_times(&self, times: (WallTime, WallTime)) {
        let _ = self.times.set(times);
    }

    /// The number of the event, if it is here.
    pub(crate) fn find(&self, id: EventId) -> io::Result<Option<u64>> {
        if !probes(id, self.filter.len()).all(|bit| self.filter[bit / 8] & 1 << (bit % 8) != 0) {
            return Ok(None);
        }
        let table = self.tables + (self.count as u64 + 1) * 4;
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            let row = read(&self.file, table + (middle * ID_ROW_BYTES) as u64, ID_ROW_BYTES)?;
            match row[..16].cmp(id.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(Some(self.first + u64::from(be_u32(&row[16..])))),
            }
        }
        Ok(None)
    }

    /// The entry with this number, if it is here.
    pub(crate) fn read(&self, number: u64) -> io::Result<Option<(EventId, Vec<u8>)>> {
        let Some(place) = number.checked_sub(self.first).filter(|place| *place < self.count as u64) else {
            return Ok(None);
        };
        let offsets = read(&self.file, self.tables + place * 4, 8)?;
        let (from, to) = (be_u32(&offsets[..4]), be_u32(&offsets[4..]));
        let length = to.checked_sub(from).ok_or_else(|| damaged("an entry has no length"))?;
        let mut bytes = read(&self.file, u64::from(from), length as usize)?;
        let Some((id, rest)) = bytes.split_first_chunk::<16>() else {
            return Err(damaged("an entry is too short"));
        };
        let id = EventId::from_bytes(*id);
        match rest.split_first_chunk::<4>() {
            Some((crc, entry)) if checksum(id, entry) == u32::from_be_bytes(*crc) => {}
            _ => return Err(damaged("an entry is damaged")),
        }
        Ok(Some((id, bytes.split_off(ENTRY_HEAD_BYTES))))
    }
}

fn write(file: &mut dyn Write, first: u64, entries: &[(EventId, Vec<u8>)]) -> io::Result<()> {
    let (mut offset, mut tables) = (0_u32, Vec::new());
    for (id, entry) in entries {
        tables.extend_from_slice(&offset.to_be_bytes());
        file.write_all(id.as_bytes())?;
        file.write_all(&checksum(*id, entry).to_be_bytes())?;
        file.write_all(entry)?;
        let length = u32::try_from(ENTRY_HEAD_BYTES + entry.len()).map_err(|_| too_large())?;
        offset = offset.checked_add(length).ok_or_else(too_large)?;
    }
    tables.extend_from_slice(&offset.to_be_bytes());
    let mut ids: Vec<(EventId, u32)> = entries.iter().map(|(id, _)| *id).zip(0..).collect();
    ids.sort_unstable();
    for (id, place) in ids {
        tables.extend_from_slice(id.as_bytes());
        tables.extend_from_slice(&place.to_be_bytes());
    }
    let mut filter = vec![0_u8; entries.len() * FILTER_BYTES];
    for (id, _) in entries {
        probes(*id, filter.len()).for_each(|bit| filter[bit / 8] |= 1 << (bit % 8));
    }
    tables.extend(filter);
    file.write_all(&tables)?;
    let mut trailer = MAGIC.to_vec();
    trailer.extend_from_slice(&first.to_be_bytes());
    trailer.extend_from_slice(&u32::try_from(entries.len()).map_err(|_| too_large())?.to_be_bytes());
    trailer.extend_from_slice(&u64::from(offset).to_be_bytes());
    trailer.extend_from_slice(&crc32c::crc32c(&tables).to_be_bytes());
    let crc = crc32c::crc32c(&trailer);
    trailer.extend_from_slice(&crc.to_be_bytes());
    file.write_all(&trailer)
}

fn checksum(id: EventId, entry: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(id.as_bytes()), entry)
}

/// The bits that an event has in a filter of so many bytes.
fn probes(id: EventId, bytes: usize) -> impl Iterator<Item = usize> {
    let hash: [u8; 32] = Sha256::digest(id.as_bytes()).into();
    let bits = (bytes * 8).max(1) as u64;
    (0..PROBES).map(move |probe| usize::try_from(be_u64(&hash[probe * 8..probe * 8 + 8]) % bits).unwrap_or(0))
}

fn read(file: &File, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

fn too_large() -> io::Error {
    io::Error::other("a chunk of the archive would be larger than 4 GiB")
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn be_u64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn be_u32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use huxiao_core::Rng;

    use super::*;

    fn entries(count: u64) -> Vec<(EventId, Vec<u8>)> {
        let mut rng = Rng::new(count);
        (0..count).map(|at| (EventId::from_bytes(rng.bytes16()), vec![7; usize::try_from(at % 90).unwrap()])).collect()
    }

    #[test]
    fn entries_are_found_by_number_and_by_id() {
        let dir = tempfile::tempdir().unwrap();
        let all = entries(700);
        let chunk = Chunk::write(&dir.path().join("chunk"), 41, &all).unwrap();
        assert_eq!(chunk.numbers(), (41, 740));
        for (number, (id, entry)) in (41..).zip(&all) {
            assert_eq!(chunk.find(*id).unwrap(), Some(number));
            assert_eq!(chunk.read(number).unwrap(), Some((*id, entry.clone())));
        }
        assert!(chunk.read(40).unwrap().is_none() && chunk.read(741).unwrap().is_none());
        assert!(entries(500).iter().all(|(id, _)| chunk.find(*id).unwrap().is_none()));
    }

    #[test]
    fn damage_is_noticed_and_costs_no_other_entry() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chunk");
        let all = entries(30);
        Chunk::write(&path, 1, &all).unwrap();
        let good = std::fs::read(&path).unwrap();
        for bit in (0..good.len() * 8).step_by(13) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bad).unwrap();
            let Ok(chunk) = Chunk::open(&path) else { continue };
            let wrong = (1..).zip(&all).filter(|(number, (id, entry))| {
                !chunk.read(*number).is_ok_and(|found| found.is_some_and(|it| it.0 == *id && it.1 == *entry))
            });
            assert!(wrong.count() <= 1, "bit {bit}");
        }
        for cut in (0..good.len()).step_by(11) {
            std::fs::write(&path, &good[..cut]).unwrap();
            assert!(Chunk::open(&path).is_err(), "{cut}");
        }
    }
}
