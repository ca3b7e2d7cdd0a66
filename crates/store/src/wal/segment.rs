//! The bytes of one segment: a head, then batches, one for each sync.
//!
//! ```text
//! head:    magic 4 | version 1 | zero 3 | segment number 8 | number of its first batch 8 | salt 8 | CRC32C 4
//! batch:   magic 4 | batch number 8 | bytes of its records 4 | CRC32C of them 4 | CRC32C of this head, salted 4
//!          records … | end 1
//! record:  bytes 4 | kind 1 | index 8 | bytes …                                                      (numbers big-endian)
//! ```
//!
//! A batch is written by one write and synced before the next is begun, so after a power cut only the last can be torn. It counts
//! as torn, and is cut off, when the file ends within it or one of its sectors is all zeros (no sector of a whole batch begins or
//! ends so, and one in its middle hardly ever), and nothing intact follows. Everything else was on stable storage and has changed.
//!
//! The salt is random, so that nobody can send a command whose bytes look like a batch.
//!
//! Invariant: [`scan`] gives exactly the batches that were written, from the first to some last one, or says that it cannot.

use super::Record;
use crate::frame::{be_u32, be_u64};

const SEGMENT_MAGIC: [u8; 4] = [0xF1, b'H', b'x', b'W'];
const BATCH_MAGIC: [u8; 4] = [0xF1, b'H', b'x', b'b'];
const VERSION: u8 = 1;
/// Bytes of a segment's head.
pub(super) const HEAD_BYTES: usize = 36;
/// Bytes of a batch's head.
const BATCH_HEAD_BYTES: usize = 24;
/// Bytes of a record's head.
pub(super) const RECORD_HEAD_BYTES: usize = 4 + 1 + 8;
/// The last byte of every batch: not zero, so that its last sector shows whether it was written.
const END: u8 = 0xF2;
/// Bytes that a disk writes whole or not at all.
const SECTOR: usize = 512;

/// A segment's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its place among the segments, from 1.
    pub(super) number: u64,
    /// The number of its first batch.
    pub(super) first_batch: u64,
    /// What the checksums of its batches begin with.
    pub(super) salt: u64,
}

/// What a segment holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its head.
    pub(super) head: Head,
    /// Its records, each with its place in the file.
    pub(super) records: Vec<(u64, Record)>,
    /// The number of the batch that comes next.
    pub(super) next_batch: u64,
    /// Bytes up to the end of the last whole batch.
    pub(super) bytes: u64,
    /// Bytes behind them that were being written when the power went.
    pub(super) torn: u64,
}

/// Why a segment cannot be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// At this byte, for this reason.
    Damaged(u64, &'static str),
    /// Another release's.
    Version(u8),
}

impl Head {
    /// Its bytes.
    pub(super) fn encode(self) -> [u8; HEAD_BYTES] {
        let mut out = [0; HEAD_BYTES];
        out[..4].copy_from_slice(&SEGMENT_MAGIC);
        out[4] = VERSION;
        for (slot, number) in out[8..].chunks_exact_mut(8).zip([self.number, self.first_batch, self.salt]) {
            slot.copy_from_slice(&number.to_be_bytes());
        }
        let crc = crc32c::crc32c(&out[..HEAD_BYTES - 4]);
        out[HEAD_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Result<Self, Flaw> {
        let bytes = bytes.get(..HEAD_BYTES).ok_or(Flaw::Damaged(0, "it is shorter than its head"))?;
        let (covered, crc) = bytes.split_at(HEAD_BYTES - 4);
        if covered[..4] != SEGMENT_MAGIC || crc32c::crc32c(covered) != be_u32(crc) {
            return Err(Flaw::Damaged(0, "its head is not one"));
        }
        if covered[4] != VERSION {
            return Err(Flaw::Version(covered[4]));
        }
        let number = |at: usize| be_u64(&covered[at..at + 8]);
        Ok(Self { number: number(8), first_batch: number(16), salt: number(24) })
    }
}

/// The bytes of the batch with this number. Callers hold to [`APPEND_BYTES`](super::APPEND_BYTES), so lengths fit.
pub(super) fn encode_batch<'a>(salt: u64, number: u64, records: impl IntoIterator<Item = &'a Record>) -> Vec<u8> {
    let mut out = vec![0; BATCH_HEAD_BYTES];
    for record in records {
        out.extend_from_slice(&u32::try_from(record.bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.push(record.kind);
        out.extend_from_slice(&record.index.to_be_bytes());
        out.extend_from_slice(&record.bytes);
    }
    let length = u32::try_from(out.len() - BATCH_HEAD_BYTES).unwrap_or(u32::MAX);
    let crc = crc32c::crc32c(&out[BATCH_HEAD_BYTES..]);
    out[..4].copy_from_slice(&BATCH_MAGIC);
    out[4..12].copy_from_slice(&number.to_be_bytes());
    out[12..16].copy_from_slice(&length.to_be_bytes());
    out[16..20].copy_from_slice(&crc.to_be_bytes());
    let crc = salted(salt, &out[..20]);
    out[20..24].copy_from_slice(&crc.to_be_bytes());
    out.push(END);
    out
}

fn salted(salt: u64, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_be_bytes()), bytes)
}

/// The head of a batch: its number, the bytes of its records and their checksum; `None` if no head stands there.
fn batch_head(salt: u64, bytes: &[u8]) -> Option<(u64, usize, u32)> {
    let (covered, crc) = bytes.get(..BATCH_HEAD_BYTES)?.split_at(BATCH_HEAD_BYTES - 4);
    let fits = covered[..4] == BATCH_MAGIC && salted(salt, covered) == be_u32(crc);
    fits.then(|| (be_u64(&covered[4..12]), be_u32(&covered[12..16]) as usize, be_u32(&covered[16..20])))
}

/// What stands where a batch should.
enum Stands<'a> {
    /// One, with these records, and so many bytes of it.
    Batch(u64, &'a [u8], usize),
    /// One that is not whole, and how many bytes it would have; `None` if not even that can be read.
    Broken(Option<usize>),
}

fn stands(salt: u64, rest: &[u8]) -> Stands<'_> {
    let Some((number, length, crc)) = batch_head(salt, rest) else {
        return Stands::Broken(None);
    };
    let whole = BATCH_HEAD_BYTES + length + 1;
    match rest.get(BATCH_HEAD_BYTES..whole) {
        Some(tail) if tail[length] == END && crc32c::crc32c(&tail[..length]) == crc => {
            Stands::Batch(number, &tail[..length], whole)
        }
        _ => Stands::Broken(Some(whole)),
    }
}

/// Reads a segment's file. Only the `last` one may end torn.
pub(super) fn scan(bytes: &[u8], last: bool) -> Result<Segment, Flaw> {
    let head = Head::decode(bytes)?;
    let mut segment =
        Segment { head, records: Vec::new(), next_batch: head.first_batch, bytes: HEAD_BYTES as u64, torn: 0 };
    let mut at = HEAD_BYTES;
    while at < bytes.len() {
        let broken = match stands(head.salt, &bytes[at..]) {
            Stands::Batch(number, records, whole) if number == segment.next_batch => {
                take_records(&mut segment.records, records, at + BATCH_HEAD_BYTES)?;
                segment.next_batch += 1;
                at += whole;
                segment.bytes = at as u64;
                continue;
            }
            Stands::Batch(..) => return Err(Flaw::Damaged(at as u64, "a batch is missing before this one")),
            Stands::Broken(whole) => whole,
        };
        if !last {
            return Err(Flaw::Damaged(at as u64, "a batch is broken, and a later segment was begun"));
        }
        if !is_torn(bytes, at, broken) {
            return Err(Flaw::Damaged(at as u64, "a batch is broken, and not as by a power cut"));
        }
        if follows(head.salt, &bytes[at + 1..], segment.next_batch) {
            return Err(Flaw::Damaged(at as u64, "a batch is broken, and a later one is whole"));
        }
        segment.torn = (bytes.len() - at) as u64;
        break;
    }
    Ok(segment)
}

/// Whether the broken batch at `at`, of `whole` bytes if that is known, is one of which a part was never written.
fn is_torn(bytes: &[u8], at: usize, whole: Option<usize>) -> bool {
    let end = whole.map_or(bytes.len(), |whole| at + whole);
    if end > bytes.len() || bytes.len() - at < BATCH_HEAD_BYTES {
        return true;
    }
    let sectors = (at / SECTOR..end.div_ceil(SECTOR)).map(|n| (at.max(n * SECTOR), end.min((n + 1) * SECTOR)));
    sectors.into_iter().any(|(from, to)| bytes[from..to].iter().all(|byte| *byte == 0))
}

/// Whether a whole batch with this number or a later one stands anywhere in `bytes`.
fn follows(salt: u64, bytes: &[u8], from: u64) -> bool {
    let starts = bytes.windows(BATCH_MAGIC.len()).enumerate().filter(|(_, magic)| *magic == BATCH_MAGIC);
    starts.into_iter().any(|(at, _)| matches!(stands(salt, &bytes[at..]), Stands::Batch(number, ..) if number >= from))
}

fn take_records(into: &mut Vec<(u64, Record)>, mut bytes: &[u8], mut at: usize) -> Result<(), Flaw> {
    while !bytes.is_empty() {
        // Its checksum was right: only a defect of the writer can break it.
        let broken = Flaw::Damaged(at as u64, "a record is broken within an intact batch");
        let Some(head) = bytes.get(..RECORD_HEAD_BYTES) else { return Err(broken) };
        let whole = RECORD_HEAD_BYTES + be_u32(&head[..4]) as usize;
        let Some(content) = bytes.get(RECORD_HEAD_BYTES..whole) else { return Err(broken) };
        into.push((at as u64, Record { kind: head[4], index: be_u64(&head[5..]), bytes: content.to_vec() }));
        bytes = &bytes[whole..];
        at += whole;
    }
    Ok(())
}
