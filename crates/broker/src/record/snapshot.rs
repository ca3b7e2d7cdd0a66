//! One snapshot file: the whole record as it was behind one entry of the log, with a digest over every byte of it.
//!
//! ```text
//! magic 8 | head: bytes 4, then: record | last | membership's own | membership | last index 8 | archived 8 | ids 8 | entries 8
//! ids: 16 each, rising | entries: bytes 4, a row of `huxiao_wire::encode_entry`, rising by id (a long case: several)
//! format 2: rows of the plan 8 | rows: bytes 4, one of `huxiao_wire::encode_plan_rows`
//! format 3: the same, then rows of the rest 8 | rows: bytes 4, one of `huxiao_wire::encode_record_rows`
//! SHA-256 of all before 32
//! ```
//!
//! A record without a plan is written in format 1, and one of which there is nothing else in format 2, so that versions that know of no more read
//! them.
//!
//! Numbers are big-endian; the first four of the head are bytes behind their number (4), none where there is nothing.
//!
//! Invariant: what is read back is what was written, or an error. The digest is looked at before anything else is believed, and
//! equal records give equal files.

use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use huxiao_core::record::{Entry, Image, ImageError, PlanImage, RecordLimits, RecordState};
use huxiao_core::{EventId, RecordId, limits};
use huxiao_wire::cluster::{decode_membership, encode_membership};
use huxiao_wire::{PlanRows, RecordRows};
use sha2::{Digest, Sha256};

use super::convert::{membership_in, membership_out};
use super::types::{LogId, SnapshotMeta, StoredMembership, log_id};

/// The first bytes of every snapshot; the last one is the format.
const MAGIC: [u8; 8] = *b"Huxiao\xF5\x01";
/// The format of a record that has a plan.
const WITH_PLAN: u8 = 2;
/// The format of a record that has rows of other kinds: drills, when schools were tested, and commands to schools.
const WITH_ROWS: u8 = 3;
/// Bytes of the digest at the end.
const DIGEST_BYTES: u64 = 32;
/// Bytes of a head at most: a membership of 64 nodes takes some 24 KiB.
const HEAD_BYTES: usize = 256 * 1_024;
/// Bytes of an entry's id: term, leader, index.
const LOG_ID_BYTES: usize = 24;
/// Bytes of one entry at most.
const ENTRY_BYTES: usize = limits::ARCHIVE_ROW_BYTES;
/// Bytes that are read from the file at a time.
const BUFFER_BYTES: usize = 256 * 1_024;

/// A digest over all bytes of a file.
pub(crate) type Sha256Bytes = [u8; 32];

/// What a snapshot holds.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Up to which entry it goes, and the members there.
    pub(crate) meta: SnapshotMeta,
    /// The record.
    pub(crate) state: RecordState,
    /// The digest of the whole file, the one at its end included.
    pub(crate) sha256: Sha256Bytes,
    /// The file's length.
    pub(crate) bytes: u64,
}

/// Why a file is no snapshot to build on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The disk.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A byte of it is not what was written, or bytes are missing.
    #[error("it is damaged: its bytes do not have the digest at its end")]
    Digest,
    /// The first bytes say so.
    #[error("it is no snapshot")]
    NoSnapshot,
    /// Use the version of huxiao that wrote it.
    #[error("it has format {0}, which this version does not know; start the version that wrote it")]
    Version(u8),
    /// Whole, and still not what this version makes.
    #[error("{what} in it makes no sense: {why}")]
    Nonsense {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The parts do not make a record.
    #[error("what it holds is no record: {0}")]
    Image(#[from] ImageError),
}

impl SnapshotError {
    /// Whether the disk is at fault, so that an older snapshot is the better one. What is whole was written by another version, and
    /// is no reason to go back behind it.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            SnapshotError::Io(error) => error.kind() != io::ErrorKind::PermissionDenied,
            SnapshotError::Digest | SnapshotError::NoSnapshot => true,
            SnapshotError::Version(_) | SnapshotError::Nonsense { .. } | SnapshotError::Image(_) => false,
        }
    }
}

fn nonsense(what: &'static str, why: impl Display) -> SnapshotError {
    SnapshotError::Nonsense { what, why: why.to_string() }
}

/// Writes the snapshot of `state`, and says its length and digest.
///
/// # Errors
/// What `out` says; or that something in it is larger than what a reader takes, which no record comes to.
pub(crate) fn encode(out: &mut dyn Write, meta: &SnapshotMeta, state: &RecordState) -> io::Result<(u64, Sha256Bytes)> {
    let mut out = Hashing { inner: out, digest: Sha256::new(), bytes: 0 };
    let mut image = state.image();
    let plan = huxiao_wire::encode_plan_rows(std::mem::take(&mut image.plan));
    let rows = huxiao_wire::encode_record_rows(&image.drills, &image.tests, &image.commands);
    let mut magic = MAGIC;
    if !rows.is_empty() {
        magic[MAGIC.len() - 1] = WITH_ROWS;
    } else if !plan.is_empty() {
        magic[MAGIC.len() - 1] = WITH_PLAN;
    }
    out.write_all(&magic)?;
    write_part(&mut out, &head(meta, &image).map_err(io::Error::other)?, HEAD_BYTES)?;
    for id in &image.archived_ids {
        out.write_all(id.as_bytes())?;
    }
    for entry in &image.entries {
        if entry.part_count() == 1 {
            write_part(&mut out, &huxiao_wire::encode_entry(entry), ENTRY_BYTES)?;
            continue;
        }
        for part in entry.parts() {
            write_part(&mut out, &huxiao_wire::encode_entry(&part), ENTRY_BYTES)?;
        }
    }
    if !plan.is_empty() || !rows.is_empty() {
        write_rows(&mut out, &plan)?;
    }
    if !rows.is_empty() {
        write_rows(&mut out, &rows)?;
    }
    let digest = out.digest.clone().finalize();
    out.write_all(&digest)?;
    Ok((out.bytes, out.digest.finalize().into()))
}

fn head(meta: &SnapshotMeta, image: &Image) -> Result<Vec<u8>, super::convert::ConvertError> {
    let log_id = |id: &Option<LogId>| {
        let numbers = id.map(|id| [id.leader_id.term, id.leader_id.node_id, id.index]);
        numbers.map_or_else(Vec::new, |numbers| numbers.map(u64::to_be_bytes).concat())
    };
    let membership = encode_membership(&membership_out(meta.last_membership.membership())?);
    let record = image.record.map_or_else(Vec::new, |record| record.0.to_vec());
    let mut head = Vec::new();
    for part in [record, log_id(&meta.last_log_id), log_id(meta.last_membership.log_id()), membership] {
        // Parts are short: a membership has at most as many nodes as a region.
        head.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        head.extend_from_slice(&part);
    }
    let rows: usize = image.entries.iter().map(|entry| entry.part_count()).sum();
    for number in [image.last_index, image.archived, image.archived_ids.len() as u64, rows as u64] {
        head.extend_from_slice(&number.to_be_bytes());
    }
    Ok(head)
}

/// How many there are in eight bytes, then each behind its length.
fn write_rows(out: &mut impl Write, rows: &[Vec<u8>]) -> io::Result<()> {
    out.write_all(&(rows.len() as u64).to_be_bytes())?;
    rows.iter().try_for_each(|row| write_part(out, row, limits::EXPRESS_FRAME_BYTES))
}

/// Its length in four bytes, then `part`.
fn write_part(out: &mut impl Write, part: &[u8], limit: usize) -> io::Result<()> {
    let length = u32::try_from(part.len()).ok().filter(|_| part.len() <= limit);
    let length = length.ok_or_else(|| {
        let why = format!("a part of a snapshot has {} bytes, the limit is {limit}", part.len());
        io::Error::new(io::ErrorKind::InvalidData, why)
    })?;
    out.write_all(&length.to_be_bytes())?;
    out.write_all(part)
}

/// Reads the snapshot in the file at `path`, every byte of it twice: for the digest, and for what it says.
///
/// # Errors
/// [`SnapshotError`]
pub(crate) fn read(path: &Path, limits: RecordLimits) -> Result<Snapshot, SnapshotError> {
    let mut file = BufReader::with_capacity(BUFFER_BYTES, File::open(path)?);
    read_magic(&mut file)?;
    file.rewind()?;
    let bytes = file.get_ref().metadata()?.len();
    let content = bytes.checked_sub(DIGEST_BYTES).ok_or(SnapshotError::Digest)?;
    let mut hashing = Hashing { inner: io::sink(), digest: Sha256::new(), bytes: 0 };
    io::copy(&mut (&mut file).take(content), &mut hashing)?;
    let mut trailer = Sha256Bytes::default();
    file.read_exact(&mut trailer)?;
    if hashing.digest.clone().finalize().as_slice() != trailer {
        return Err(SnapshotError::Digest);
    }
    hashing.write_all(&trailer)?;
    let sha256 = hashing.digest.finalize().into();
    file.rewind()?;
    let (meta, image) = decode(&mut file.take(content))?;
    Ok(Snapshot { meta, state: RecordState::from_image(image, limits)?, sha256, bytes })
}

fn decode(file: &mut impl Read) -> Result<(SnapshotMeta, Image), SnapshotError> {
    let format = read_magic(file)?;
    let head = read_part(file, "the head", HEAD_BYTES)?;
    let mut head = &head[..];
    let record = match &read_part(&mut head, "the record's id", 16)?[..] {
        [] => None,
        id => Some(RecordId(id.try_into().map_err(|_| nonsense("the record's id", "it is not 16 bytes long"))?)),
    };
    let last = read_log_id(&mut head, "the last entry's id")?;
    let membership_id = read_log_id(&mut head, "the membership's id")?;
    let membership = read_part(&mut head, "the membership", HEAD_BYTES)?;
    let membership = decode_membership(&membership).map_err(|why| nonsense("the membership", why))?;
    let membership = membership_in(membership).map_err(|why| nonsense("the membership", why))?;
    let [last_index, archived, ids, entries] =
        [number(&mut head)?, number(&mut head)?, number(&mut head)?, number(&mut head)?];
    let mut image = Image { record, last_index, archived, ..Image::default() };
    for _ in 0..ids {
        let mut id = [0; 16];
        file.read_exact(&mut id)?;
        image.archived_ids.push(EventId::from_bytes(id));
    }
    for _ in 0..entries {
        let bytes = read_part(file, "an entry", ENTRY_BYTES)?;
        let entry = huxiao_wire::decode_entry(&bytes).map_err(|why| nonsense("an entry", why))?;
        take_entry(&mut image.entries, entry)?;
    }
    if image.entries.last().is_some_and(|last| !last.is_whole()) {
        return Err(nonsense("the last entry", "a part of its case is missing"));
    }
    if format >= WITH_PLAN {
        image.plan = read_plan(file)?;
    }
    if format >= WITH_ROWS {
        let mut rows = RecordRows::default();
        for _ in 0..number(file)? {
            let row = read_part(file, "a row", limits::EXPRESS_FRAME_BYTES)?;
            rows.take(&row).map_err(|why| nonsense("a row", why))?;
        }
        (image.drills, image.tests, image.commands) = rows.finish();
    }
    if file.read(&mut [0])? > 0 {
        return Err(nonsense("what follows its last part", "nothing should"));
    }
    let last_membership = StoredMembership::new(membership_id, membership);
    Ok((SnapshotMeta { last_log_id: last, last_membership }, image))
}

/// Takes an entry in, or the next part of the last one.
fn take_entry(entries: &mut Vec<Arc<Entry>>, entry: Entry) -> Result<(), SnapshotError> {
    let open = entries.last_mut().filter(|last| !last.is_whole());
    let follows = match open.map(Arc::make_mut) {
        Some(last) => last.join(&entry),
        None if entry.part.at == 0 => {
            entries.push(Arc::new(entry));
            true
        }
        None => false,
    };
    if follows { Ok(()) } else { Err(nonsense("an entry", "the parts of its case do not follow each other")) }
}

fn read_plan(file: &mut impl Read) -> Result<PlanImage, SnapshotError> {
    let mut rows = PlanRows::default();
    for _ in 0..number(file)? {
        let row = read_part(file, "a row of the plan", limits::EXPRESS_FRAME_BYTES)?;
        rows.take(&row).map_err(|why| nonsense("a row of the plan", why))?;
    }
    Ok(rows.finish())
}

/// The format of the file.
fn read_magic(file: &mut impl Read) -> Result<u8, SnapshotError> {
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic).map_err(|_| SnapshotError::NoSnapshot)?;
    match magic.split_last() {
        Some((format, name)) if *name == MAGIC[..7] => match *format {
            1 | WITH_PLAN | WITH_ROWS => Ok(*format),
            other => Err(SnapshotError::Version(other)),
        },
        _ => Err(SnapshotError::NoSnapshot),
    }
}

fn read_log_id(head: &mut impl Read, what: &'static str) -> Result<Option<LogId>, SnapshotError> {
    match read_part(head, what, LOG_ID_BYTES)?.as_slice() {
        [] => Ok(None),
        mut bytes if bytes.len() == LOG_ID_BYTES => {
            let [term, leader, index] = [number(&mut bytes)?, number(&mut bytes)?, number(&mut bytes)?];
            Ok(Some(log_id(term, leader, index)))
        }
        bytes => Err(nonsense(what, format_args!("{} bytes in the place of {LOG_ID_BYTES}", bytes.len()))),
    }
}

fn number(head: &mut impl Read) -> Result<u64, SnapshotError> {
    let mut bytes = [0; 8];
    head.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn read_part(file: &mut impl Read, what: &'static str, limit: usize) -> Result<Vec<u8>, SnapshotError> {
    let mut length = [0; 4];
    file.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length) as usize;
    if length > limit {
        return Err(nonsense(what, format_args!("{length} bytes, the limit is {limit}")));
    }
    let mut part = vec![0; length];
    file.read_exact(&mut part)?;
    Ok(part)
}

/// Passes bytes on, and keeps their digest and number.
struct Hashing<W> {
    inner: W,
    digest: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests;
