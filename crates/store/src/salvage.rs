//! Reading what can be read, for people: what is in a store, and what is left in a damaged one.
//!
//! Invariant: nothing in the folder that is looked at is changed. [`inspect`] reads a copy outside it (sled locks its file and repairs
//! it on opening, so the original is out of bounds, all the more while a node runs on it); [`salvage`] reads raw bytes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use huxiao_core::Class;
use serde::Serialize;

use crate::check::{DATABASE, Scan, copy_database};
use crate::engine::Engine;
use crate::frame::carve;
use crate::key::{Key, Space};
use crate::rebuild::QUARANTINE;
use crate::witness::{FILE, Witness};

/// Bytes that are carved at once.
const CHUNK: usize = 1 << 20;
/// How long an inspection may read the copy.
const INSPECT_LIMIT: Duration = Duration::from_secs(60);

/// Where a salvaged row was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// In the bytes of the database.
    Database,
    /// In the black box.
    BlackBox,
}

/// A row that salvage found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name.
    pub key: Key,
    /// The commit that wrote it: among several rows of one key the newest is given.
    pub commit: u64,
    /// Its content, proven by its checksum.
    pub value: Vec<u8>,
    /// Where it was.
    pub origin: Origin,
}

/// What salvage saw on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Salvaged {
    /// Rows given, one a key.
    pub rows: u64,
    /// Frames found in the database's bytes, older versions of rows included.
    pub frames: u64,
    /// Rows of these that the black box alone had, or had newer.
    pub from_black_box: u64,
    /// Files that could not be read to their end.
    pub unreadable_files: u64,
}

/// Gives `sink` every row that can still be found below `dir` (a store's folder, a quarantined one, or any folder with such files),
/// in the order of the keys.
///
/// It looks for frames in the raw bytes of every file, whatever the engine would say of it, and reads the black box. Rows that
/// had been removed may come back, unless the black box knows of it: whoever takes them in removes repeats by id, as everywhere.
///
/// # Errors
/// The folder cannot be listed. A file that cannot be read is counted, not an error.
pub fn salvage(dir: &Path, mut sink: impl FnMut(Found)) -> io::Result<Salvaged> {
    let mut seen = Salvaged::default();
    let mut rows: BTreeMap<Key, Found> = BTreeMap::new();
    let (mut files, mut witnesses) = (Vec::new(), Vec::new());
    list(dir, &mut files, &mut witnesses)?;
    for path in files {
        let carved = carve_file(&path, &mut |found| {
            seen.frames += 1;
            keep_newest(&mut rows, found);
        });
        seen.unreadable_files += u64::from(carved.is_err());
    }
    for witness in witnesses {
        let Ok(found) = Witness::peek(&witness) else {
            seen.unreadable_files += 1;
            continue;
        };
        for (key, entry) in found.ring.entries {
            keep_newest(&mut rows, Found { key, commit: entry.commit, value: entry.value, origin: Origin::BlackBox });
        }
        rows.retain(|key, row| found.ring.removed.get(key).is_none_or(|removed| *removed <= row.commit));
    }
    for found in rows.into_values() {
        seen.rows += 1;
        seen.from_black_box += u64::from(found.origin == Origin::BlackBox);
        sink(found);
    }
    Ok(seen)
}

fn keep_newest(rows: &mut BTreeMap<Key, Found>, found: Found) {
    if rows.get(&found.key).is_none_or(|row| row.commit < found.commit) {
        rows.insert(found.key, found);
    }
}

/// All files below `dir`; those called `witness` are named by their folder. Links are not followed.
fn list(dir: &Path, files: &mut Vec<PathBuf>, witnesses: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list(&entry.path(), files, witnesses)?;
        } else if kind.is_file() && entry.file_name() == FILE {
            witnesses.push(dir.to_path_buf());
        } else if kind.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(())
}

/// Carves one file, in pieces that overlap by the longest frame. A piece that cannot be read is skipped.
fn carve_file(path: &Path, each: &mut dyn FnMut(Found)) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut window = Vec::new();
    loop {
        let before = window.len();
        let read = Read::by_ref(&mut file).take(CHUNK as u64).read_to_end(&mut window);
        let ended = window.len() == before;
        let resume = carve(&window, ended || read.is_err(), |frame| {
            each(Found {
                key: frame.key,
                commit: frame.commit,
                value: frame.payload.to_vec(),
                origin: Origin::Database,
            });
        });
        read?;
        if ended {
            return Ok(());
        }
        window.drain(..resume);
    }
}

/// What a look at a store shows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Inspection {
    /// Rows of each space and class that has any, in order: (space, class, rows, bytes of content).
    pub rows: Vec<(&'static str, &'static str, u64, u64)>,
    /// Whether the database could be read; if not, `rows` is what salvage finds, removed rows included.
    pub readable: bool,
    /// What is wrong with the database, in words.
    pub problem: Option<String>,
    /// Commit number by the database and by the mark beside it.
    pub commit: (u64, Option<u64>),
    /// Rows by the database's tally and by a count of them.
    pub tally: (u64, u64),
    /// The caller's highest sequence number.
    pub high: u64,
    /// The epoch of the last opening.
    pub epoch: u64,
    /// The black box: blocks, rows that could be refilled from it, damaged blocks.
    pub black_box: (u64, u64, u64),
    /// Folders in quarantine.
    pub quarantine: Vec<PathBuf>,
}

/// Looks at the store in `dir` without changing anything in it. `scratch` is a folder outside it for a copy of the database (a folder
/// in it is made and removed again). A store in use may be looked at; the copy is then of no single instant, so numbers may be off
/// by what was being written, or `readable` be false: look again.
///
/// # Errors
/// There is no such folder, or the copy cannot be made.
pub fn inspect(dir: &Path, scratch: &Path) -> io::Result<Inspection> {
    let mut out = Inspection::default();
    if let Ok(found) = Witness::peek(dir) {
        out.commit.1 = found.marks.newest.map(|mark| mark.commit);
        (out.high, out.epoch) = found.marks.newest.map_or((0, 0), |mark| (mark.high, mark.epoch));
        out.black_box = (found.blocks, found.ring.entries.len() as u64, u64::from(found.ring.bad));
    }
    for entry in fs::read_dir(dir.join(QUARANTINE)).into_iter().flatten().flatten() {
        out.quarantine.push(entry.path());
    }
    out.quarantine.sort();
    let copy = scratch.join(format!("huxiao-inspect-{}", std::process::id()));
    let copied = copy_database(&dir.join(DATABASE), &copy);
    let counted = match &copied {
        Ok(()) => count(&copy),
        Err(_) => Err("the database cannot be copied".into()),
    };
    let mut rows: BTreeMap<(Space, Class), (u64, u64)> = BTreeMap::new();
    match counted {
        Ok((scan, found)) => {
            rows = found;
            let tally = scan.tally.unwrap_or_default();
            out.readable = true;
            out.commit.0 = tally.commit;
            out.tally = (tally.live, scan.live);
            out.high = out.high.max(tally.high);
            out.problem = scan.first_damage;
        }
        Err(why) => {
            out.problem = Some(why);
            salvage(&dir.join(DATABASE), |found| add(&mut rows, found.key, found.value.len()))?;
        }
    }
    out.rows = rows
        .into_iter()
        .map(|((space, class), (count, bytes))| (space.as_str(), class.as_str(), count, bytes))
        .collect();
    // What is left behind is in the scratch folder, not in the store.
    let _ = fs::remove_dir_all(&copy);
    copied.map(|()| out)
}

type Counts = BTreeMap<(Space, Class), (u64, u64)>;

fn add(rows: &mut Counts, key: Key, bytes: usize) {
    let entry = rows.entry((key.space, key.class)).or_default();
    entry.0 += 1;
    entry.1 += bytes as u64;
}

/// Counts the rows of a copy, on a thread that is left behind if the engine hangs.
fn count(copy: &Path) -> Result<(Scan, Counts), String> {
    let folder = copy.to_path_buf();
    let (answer, answered) = mpsc::channel();
    let spawned = thread::Builder::new().name("store-inspect".into()).spawn(move || {
        let mut rows = Counts::new();
        let scanned = Engine::open(&folder, 1 << 20).and_then(|engine| {
            let scan = Scan::run(&engine, |frame, _| add(&mut rows, frame.key, frame.payload.len()));
            match scan {
                Ok(scan) => engine.close().map(|()| scan),
                Err(error) => {
                    engine.abandon();
                    Err(error)
                }
            }
        });
        // Nobody may be waiting any more.
        let _ = answer.send(scanned.map(|scan| (scan, rows)).map_err(|error| error.to_string()));
    });
    spawned.map_err(|error| format!("no thread to read with: {error}"))?;
    answered.recv_timeout(INSPECT_LIMIT).unwrap_or_else(|_| Err("reading the database does not end".into()))
}
