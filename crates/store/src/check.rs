//! Reading a whole database to see what it is worth, and the report of that.
//!
//! Invariant: [`check`] ends with a report whatever the bytes are, unless the engine aborts the process or hangs; that is why
//! nodes run it in a process of its own with a time limit.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, EngineError};
use crate::frame::Frame;
use crate::key::Key;
use crate::tally::{Tally, Verdict, judge};
use crate::witness::{Witness, make_dir};
use crate::writer::TALLY_KEY;

/// The database's folder within a store's.
pub(crate) const DATABASE: &str = "database";
/// How long a lock is waited for: a process that has just ended, or one between fork and exec that inherited the file, may still
/// hold it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// Cache for reading once.
const CACHE_BYTES: u64 = 1 << 20;

/// What a whole reading of a database found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// Whether the engine could open the database and read it to the end.
    pub readable: bool,
    /// Whether every row is intact and they are what the database says it holds.
    pub consistent: bool,
    /// Rows.
    pub rows: u64,
    /// Rows whose bytes are damaged.
    pub damaged_rows: u64,
    /// Wrapping sum over the rows, to be compared with the mark beside the database.
    pub sum: u64,
    /// Last commit, by the database's own tally; 0 if there is none.
    pub commit: u64,
    /// The caller's highest sequence number, by the same.
    pub high: u64,
    /// What is wrong, in words.
    pub problem: Option<String>,
    /// Whether the problem lies with the machine (rights, space, a lock) and says nothing about the content.
    pub circumstance: bool,
}

/// The numbers of a scan, and what it met on the way.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) tally: Option<Tally>,
    pub(crate) live: u64,
    pub(crate) sum: u64,
    /// Bytes of the intact rows.
    pub(crate) bytes: u64,
    pub(crate) damaged: u64,
    pub(crate) first_damage: Option<String>,
    /// Black-boxed rows of the newest commit.
    pub(crate) newest_boxed: Vec<(Key, Vec<u8>)>,
    newest: u64,
}

impl Scan {
    /// Reads every row of `engine`, giving each intact one to `each`.
    pub(crate) fn run(engine: &Engine, mut each: impl FnMut(&Frame<'_>, &[u8])) -> Result<Self, EngineError> {
        let mut scan = Self::default();
        engine.scan(&[], &mut |key, bytes| {
            if key == TALLY_KEY {
                scan.tally = Tally::decode(bytes);
                return ControlFlow::Continue(());
            }
            match Key::decode(key).ok_or("its key is no key").and_then(|key| Frame::of_row(key, bytes)) {
                Ok(frame) => {
                    scan.bytes += bytes.len() as u64;
                    scan.take(&frame);
                    each(&frame, bytes);
                }
                Err(why) => {
                    scan.damaged += 1;
                    scan.first_damage.get_or_insert_with(|| format!("row {key:02x?}: {why}"));
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(scan)
    }

    fn take(&mut self, frame: &Frame<'_>) {
        self.live += 1;
        self.sum = self.sum.wrapping_add(frame.hash());
        if frame.commit > self.newest {
            self.newest = frame.commit;
            self.newest_boxed.clear();
        }
        if frame.black_box && frame.commit == self.newest {
            self.newest_boxed.push((frame.key, frame.payload.to_vec()));
        }
    }

    /// Whether the rows are what the database's own tally says.
    pub(crate) fn consistent(&self) -> bool {
        self.damaged == 0 && self.tally.is_some_and(|tally| tally.fits(self.live, self.sum))
    }

    fn report(self) -> CheckReport {
        let consistent = self.consistent();
        let tally = self.tally.unwrap_or_default();
        let contradiction = || match self.tally {
            None => "its tally is missing or damaged".to_owned(),
            Some(tally) => format!("it holds {} rows where its tally says {}, or others", self.live, tally.live),
        };
        CheckReport {
            readable: true,
            consistent,
            rows: self.live,
            damaged_rows: self.damaged,
            sum: self.sum,
            commit: tally.commit,
            high: tally.high,
            problem: (!consistent).then(|| self.first_damage.clone().unwrap_or_else(contradiction)),
            circumstance: false,
        }
    }
}

/// Reads a whole database and says what it is worth.
///
/// `dir` is either a store's folder, then its database is read on a copy and compared with the mark, and a store in use is left
/// alone; or, for the trial at opening, a database folder, which the engine repairs in place.
#[must_use]
pub fn check(dir: &Path) -> CheckReport {
    if dir.join(DATABASE).is_dir() { check_store(dir) } else { check_database(dir) }
}

fn check_database(dir: &Path) -> CheckReport {
    let read = Engine::open(dir, CACHE_BYTES).and_then(|engine| match Scan::run(&engine, |_, _| {}) {
        Ok(scan) => {
            engine.close()?;
            Ok(scan.report())
        }
        Err(error) => {
            engine.abandon();
            Err(error)
        }
    });
    read.unwrap_or_else(|error| CheckReport {
        problem: Some(error.to_string()),
        circumstance: error.is_circumstance(),
        ..CheckReport::default()
    })
}

fn check_store(dir: &Path) -> CheckReport {
    let refuse = |problem: String| CheckReport { problem: Some(problem), circumstance: true, ..CheckReport::default() };
    let lock = match lock(dir) {
        Ok(Some(lock)) => lock,
        Ok(None) => return refuse("the store is in use; stop its node first, or use inspect".into()),
        Err(error) => return refuse(format!("cannot lock {}: {error}", dir.display())),
    };
    let copy = dir.join("check");
    let report = match copy_database(&dir.join(DATABASE), &copy) {
        Ok(()) => compare(check_database(&copy), dir),
        Err(error) => refuse(format!("cannot copy the database to {}: {error}", copy.display())),
    };
    // What cannot be removed is removed by the next opening.
    let _ = fs::remove_dir_all(&copy);
    drop(lock);
    report
}

fn compare(mut report: CheckReport, dir: &Path) -> CheckReport {
    if !report.consistent {
        return report;
    }
    let tally =
        Tally { commit: report.commit, live: report.rows, sum: report.sum, high: report.high, ..Tally::default() };
    let marks = Witness::peek(dir).unwrap_or_default().marks;
    report.problem = match judge(marks, Some(tally), report.rows, report.sum) {
        Verdict::Whole => None,
        Verdict::Shorter { from, to } => Some(format!("commits {from} to {to} are missing")),
        Verdict::Rows => Some("its rows are not those that the mark beside it says".into()),
        Verdict::MarkLost => Some("the mark beside it cannot be read or is too old".into()),
    };
    report.consistent = report.problem.is_none();
    report
}

/// Takes the store's lock; `None` if another process has it. Kept for as long as the file lives.
pub(crate) fn lock(dir: &Path) -> io::Result<Option<fs::File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => thread::sleep(LOCK_PATIENCE / 100),
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Copies a database's files. The copy is for reading once, so it is not synced.
pub(crate) fn copy_database(from: &Path, to: &Path) -> io::Result<()> {
    let _ = fs::remove_dir_all(to);
    make_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_database(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Bytes of the files in a database's folder.
pub(crate) fn database_bytes(dir: &Path) -> u64 {
    let files: Vec<PathBuf> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.iter().filter_map(|path| fs::metadata(path).ok()).map(|meta| meta.len()).sum()
}
