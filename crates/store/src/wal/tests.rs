//! Tests of the log as a whole, and what they share.

mod bytes;
mod faults;
mod life;

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use super::{Record, Recovered, Wal, WalConfig, WalError};

/// A kind of which every record counts.
const ENTRY: u8 = 1;
/// A kind of which the newest counts.
const VOTE: u8 = 2;

fn entry(index: u64, bytes: &[u8]) -> Record {
    Record { kind: ENTRY, index, bytes: bytes.to_vec() }
}

fn vote(term: u64) -> Record {
    Record { kind: VOTE, index: 0, bytes: term.to_be_bytes().to_vec() }
}

/// Small segments and no ballast.
fn config() -> WalConfig {
    WalConfig { segment_bytes: 4_096, ballast_bytes: 0, sticky: vec![VOTE], ..WalConfig::default() }
}

fn reopen(dir: &Path) -> (Wal, Recovered) {
    Wal::open(dir, config()).unwrap()
}

/// Appends and waits for the end of it.
fn append(wal: &Wal, records: Vec<Record>) -> Result<(), WalError> {
    let (told, tell) = mpsc::channel();
    wal.append(records, move |result| told.send(result).unwrap());
    tell.recv().unwrap()
}

fn purge(wal: &Wal, upto: u64) -> Result<(), WalError> {
    let (told, tell) = mpsc::channel();
    wal.purge(upto, move |result| told.send(result).unwrap());
    tell.recv().unwrap()
}

/// The indexes of the entries, in order.
fn entries(recovered: &Recovered) -> Vec<u64> {
    recovered.records.iter().filter(|(_, record)| record.kind == ENTRY).map(|(_, record)| record.index).collect()
}

/// The term that the last vote names.
fn term(recovered: &Recovered) -> Option<u64> {
    let last = recovered.records.iter().rfind(|(_, record)| record.kind == VOTE);
    last.map(|(_, record)| u64::from_be_bytes(record.bytes.as_slice().try_into().unwrap()))
}

/// The log's segments, oldest first.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "wal")).collect();
    files.sort();
    files
}
