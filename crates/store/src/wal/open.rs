//! Opening a log: lock, names, every segment, and only then a thread that writes.
//!
//! Invariant: what is given out is on stable storage, and nothing of the log is changed before all of it was read and believed.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use super::disk::Disk;
use super::error::WalError;
use super::segment::{Flaw, HEAD_BYTES, Segment, scan};
use super::writer::{Active, Stored, Writer, make_segment, segment_path};
use super::{Position, Record, Recovered, Shared, Wal, WalConfig};
use crate::check::lock;
use crate::witness::{make_dir, sync_names};

/// Opens the log in `dir` on `disk`.
pub(super) fn open(dir: &Path, config: WalConfig, disk: Arc<dyn Disk>) -> Result<(Wal, Recovered), WalError> {
    let io = |what| move |error: std::io::Error| WalError::io(what, dir, &error);
    make_dir(dir).map_err(io("make"))?;
    let lock = lock(dir).map_err(io("lock"))?.ok_or_else(|| WalError::InUse(dir.to_path_buf()))?;
    // A process that was killed may have written names and bytes and not synced them: what is believed must be durable.
    sync_names(dir).map_err(io("sync"))?;
    let numbers = list(dir).map_err(io("list"))?;
    let Read { mut segments, records, sticky, last, torn } = read(dir, &config, &numbers)?;
    let shared = Arc::new(Shared::new(dir, config));
    let (active, next_batch) = match last {
        Some(last) => {
            let path = segment_path(dir, last.head.number);
            let file = disk.open(&path).map_err(|error| WalError::io("open", &path, &error))?;
            if last.torn > 0 {
                file.set_len(last.bytes).map_err(|error| WalError::io("cut", &path, &error))?;
            }
            file.sync().map_err(|error| WalError::io("sync", &path, &error))?;
            (Active { file, salt: last.head.salt, began_with: HEAD_BYTES as u64 }, last.next_batch)
        }
        None => {
            let made = make_segment(&*disk, dir, 1, 1, [].iter());
            let (active, stored) = made.map_err(|(what, error)| WalError::io(what, dir, &error))?;
            segments.push_back(stored);
            (active, 1)
        }
    };
    let (jobs, receiver) = mpsc::channel();
    let mut writer = Writer {
        shared: shared.clone(),
        disk,
        jobs: receiver,
        segments,
        active,
        next_batch,
        sticky,
        _lock: lock,
        ballast_tried: None,
    };
    writer.tend_ballast();
    writer.count();
    let spawned = thread::Builder::new().name("wal-writer".into()).spawn(move || writer.run());
    let thread = spawned.map_err(io("start the writer of"))?;
    let wal = Wal { shared, jobs, thread: Arc::new(Mutex::new(Some(thread))) };
    Ok((wal, Recovered { records, torn }))
}

/// The numbers of the segments, in order. What was never finished is removed.
fn list(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("wal") => {
                let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
                numbers.extend(number.filter(|number| segment_path(dir, *number) == path));
            }
            // What cannot be removed is only waste.
            Some("new") => drop(fs::remove_file(&path)),
            _ => {}
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// What all segments together hold.
#[derive(Default)]
struct Read {
    segments: VecDeque<Stored>,
    records: Vec<(Position, Record)>,
    sticky: BTreeMap<u8, Record>,
    /// The last segment, without its records.
    last: Option<Segment>,
    torn: Option<u64>,
}

fn read(dir: &Path, config: &WalConfig, numbers: &[u64]) -> Result<Read, WalError> {
    let mut read = Read::default();
    for (at, number) in numbers.iter().enumerate() {
        let path = segment_path(dir, *number);
        let is_last = at + 1 == numbers.len();
        let bytes = fs::read(&path).map_err(|error| WalError::io("read", &path, &error))?;
        let mut segment = scan(&bytes, is_last).map_err(|flaw| flawed(&path, flaw))?;
        if segment.head.number != *number {
            return Err(flawed(&path, Flaw::Damaged(0, "its head has another number than its name")));
        }
        if let Some(before) = &read.last
            && (before.head.number + 1, before.next_batch) != (*number, segment.head.first_batch)
        {
            return Err(flawed(&path, Flaw::Damaged(0, "a segment is missing before this one")));
        }
        let mut stored = Stored { number: *number, bytes: segment.bytes, highest: None };
        for (offset, record) in std::mem::take(&mut segment.records) {
            if config.sticky.contains(&record.kind) {
                read.sticky.insert(record.kind, record.clone());
            } else {
                stored.highest = stored.highest.max(Some(record.index));
            }
            read.records.push((Position { segment: *number, offset }, record));
        }
        read.segments.push_back(stored);
        read.torn = (segment.torn > 0).then_some(segment.torn);
        read.last = Some(segment);
    }
    Ok(read)
}

fn flawed(path: &Path, flaw: Flaw) -> WalError {
    let file = PathBuf::from(path);
    match flaw {
        Flaw::Damaged(offset, why) => WalError::Damaged { file, offset, why },
        Flaw::Version(version) => WalError::Version { file, version },
    }
}
