//! A fresh database in the place of a damaged one, or of none, and the damaged one's way into quarantine.
//!
//! Invariant: `database` is always a whole database or absent. A new one grows under another name, is called `database.ready`
//! once all of it is on the disk, and only then takes the place; an opening that meets `database.ready` finishes that work. So a
//! power cut at any point of it ends in the old database or the new one. Nothing in quarantine is ever deleted by us:
//! it is evidence, moving it costs no space, and it is for people to clear away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use huxiao_core::WallTime;

use crate::check::{DATABASE, Scan};
use crate::engine::{self, Change, Engine, EngineError};
use crate::frame::{self, Frame};
use crate::key::Key;
use crate::loss::Loss;
use crate::ring::RingFound;
use crate::tally::Tally;
use crate::witness::{make_dir, sync_dir};
use crate::writer::TALLY_KEY;

/// The folder of damaged databases within a store's.
pub(crate) const QUARANTINE: &str = "quarantine";
const READY: &str = "database.ready";
const GROWING: &str = "database.new";
/// Folders that mean nothing to an opening: copies, and a database that never became ready.
const LEFTOVERS: [&str; 3] = [GROWING, TRIAL, "check"];
/// The copy on which a database is tried.
pub(crate) const TRIAL: &str = "trial";
/// Rows written to the new database at once.
const ROWS_AT_ONCE: usize = 256;

/// A whole copy without the waste, and the database that it replaces.
const COMPACT: &str = "database.compact";
const OLD: &str = "database.old";

/// What a new database is made from.
pub(crate) struct Sources<'a> {
    /// A database that can be read, whole or not.
    pub(crate) database: Option<&'a Path>,
    /// The black box.
    pub(crate) ring: &'a RingFound,
    /// Up to this commit `database` is known to be whole: black-box records up to it are there or were removed.
    pub(crate) whole_to: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Rebuilt {
    /// Rows in the new database.
    pub(crate) live: u64,
    /// Rows of it that came from the black box.
    pub(crate) refilled: u64,
}

/// Makes a new database that holds `tally`'s numbers and what `sources` give, and names it ready.
pub(crate) fn build(dir: &Path, cache: u64, mut tally: Tally, sources: &Sources<'_>) -> Result<Rebuilt, EngineError> {
    let growing = dir.join(GROWING);
    let _ = fs::remove_dir_all(&growing);
    let engine = Engine::open(&growing, cache)?;
    let mut filler = Filler { engine: &engine, changes: Vec::new(), tally: &mut tally, failed: None };
    let mut kept = BTreeSet::new();
    if let Some(database) = sources.database {
        take_over(database, sources, &mut filler, &mut kept);
    }
    let mut refilled = 0;
    for (key, entry) in &sources.ring.entries {
        if !kept.contains(key) && entry.commit > sources.whole_to {
            let (bytes, hash) = frame::encode(entry.commit, *key, true, &entry.value);
            filler.add(*key, bytes, hash);
            refilled += 1;
        }
    }
    filler.flush();
    if let Some(error) = filler.failed {
        return Err(error);
    }
    engine.apply(vec![(TALLY_KEY.to_vec(), Some(tally.encode().to_vec()))])?;
    engine.sync(usize::MAX)?;
    engine.close()?;
    recover(&growing, cache)?;
    fs::rename(&growing, dir.join(READY)).and_then(|()| sync_dir(dir)).map_err(EngineError::Io)?;
    Ok(Rebuilt { live: tally.live, refilled })
}

/// Copies the intact rows of `database`, except what the black box knows better. Stops without complaint where it breaks: the
/// loss is being reported already.
fn take_over(database: &Path, sources: &Sources<'_>, filler: &mut Filler<'_>, kept: &mut BTreeSet<Key>) {
    let ring = sources.ring;
    let Ok(source) = Engine::open(database, 1 << 20) else {
        return;
    };
    let read = Scan::run(&source, |frame, bytes| {
        let newer = ring.entries.get(&frame.key).is_some_and(|entry| entry.commit > frame.commit);
        let removed = ring.removed.get(&frame.key).is_some_and(|commit| *commit > frame.commit);
        if !newer && !removed {
            filler.add(frame.key, bytes.to_vec(), Frame::hash(frame));
            kept.insert(frame.key);
        }
    });
    match read {
        Ok(_) => {
            // Whatever closing says: the rows are taken.
            let _ = source.close();
        }
        Err(_) => source.abandon(),
    }
}

/// Writes rows in batches and counts them.
struct Filler<'a> {
    engine: &'a Engine,
    changes: Vec<Change>,
    tally: &'a mut Tally,
    failed: Option<EngineError>,
}

impl Filler<'_> {
    fn add(&mut self, key: Key, bytes: Vec<u8>, hash: u64) {
        self.tally.live += 1;
        self.tally.sum = self.tally.sum.wrapping_add(hash);
        self.changes.push((key.encode().to_vec(), Some(bytes)));
        if self.changes.len() >= ROWS_AT_ONCE {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        if self.failed.is_none() && !changes.is_empty() {
            self.failed = self.engine.apply(changes).err();
        }
    }
}

/// Replaces the open database by a copy that holds its rows and nothing else, and opens that. sled reuses the room of removed rows but
/// never gives it back, so a store that was full once would fill the disk for ever. An error before the swap costs nothing; the
/// flag says whether it came after.
pub(crate) fn compact(dir: &Path, cache: u64, engine: &Engine, tally: &Tally) -> Result<Engine, (EngineError, bool)> {
    let growing = dir.join(GROWING);
    let grown = grow_copy(&growing, cache, engine, tally);
    if let Err(error) = grown {
        let _ = fs::remove_dir_all(&growing);
        return Err((error, false));
    }
    let swapped = swap(dir, &growing).map_err(EngineError::Io);
    let opened = swapped.and_then(|()| Engine::open(&dir.join(DATABASE), cache));
    // What cannot be removed now is removed by the next opening.
    let _ = fs::remove_dir_all(dir.join(OLD));
    opened.map_err(|error| (error, true))
}

/// Puts the copy that was tried and found whole into the database's place: it is recovered already (see [`recover`]), and so much of
/// a power cut while the database itself is opened does no harm.
pub(crate) fn adopt(dir: &Path) -> io::Result<()> {
    let copy = dir.join(TRIAL);
    engine::sync_all(&copy)?;
    swap(dir, &copy)?;
    // What cannot be removed now is removed by the next opening.
    let _ = fs::remove_dir_all(dir.join(OLD));
    Ok(())
}

/// Puts a whole and durable copy into the database's place, where [`settle_compaction`] ends what is cut off.
fn swap(dir: &Path, copy: &Path) -> io::Result<()> {
    let (compact, database, old) = (dir.join(COMPACT), dir.join(DATABASE), dir.join(OLD));
    for name in [&compact, &old] {
        // Of an opening that was cut off; what is in the way stops the renaming below.
        let _ = fs::remove_dir_all(name);
    }
    fs::rename(copy, &compact)
        .and_then(|()| sync_dir(dir))
        .and_then(|()| fs::rename(&database, &old))
        .and_then(|()| fs::rename(&compact, &database))
        .and_then(|()| sync_dir(dir))
}

/// Opens a database that is not in use yet and closes it, so that its snapshot of now is durable.
///
/// While opening, sled writes a snapshot, and right after it fills the segments that it needs no longer with zeros. It syncs neither the
/// snapshot's name nor the zeros. If the power goes and the zeros survive while the name does not, the snapshot before has lost
/// segments that it needs, and all of the database is gone. A database with a durable snapshot of its end has none such.
fn recover(dir: &Path, cache: u64) -> Result<(), EngineError> {
    Engine::open(dir, cache)?.close()
}

fn grow_copy(growing: &Path, cache: u64, engine: &Engine, tally: &Tally) -> Result<(), EngineError> {
    let _ = fs::remove_dir_all(growing);
    let copy = Engine::open(growing, cache)?;
    match copy_rows(engine, &copy, tally) {
        Ok(()) => copy.close().and_then(|()| recover(growing, cache)),
        Err(error) => {
            // Its destructor would write again where there may be no space.
            copy.abandon();
            Err(error)
        }
    }
}

fn copy_rows(engine: &Engine, copy: &Engine, tally: &Tally) -> Result<(), EngineError> {
    let mut copied = Tally { live: 0, sum: 0, ..*tally };
    let mut filler = Filler { engine: copy, changes: Vec::new(), tally: &mut copied, failed: None };
    Scan::run(engine, |frame, bytes| filler.add(frame.key, bytes.to_vec(), frame.hash()))?;
    filler.flush();
    if let Some(error) = filler.failed {
        return Err(error);
    }
    if copied != *tally {
        return Err(EngineError::Damaged("its rows are not those of its tally".into()));
    }
    copy.apply(vec![(TALLY_KEY.to_vec(), Some(tally.encode().to_vec()))])?;
    copy.sync(usize::MAX)
}

/// Ends a compaction that was interrupted: until the old database had left its place, it counts; from then on the copy does.
pub(crate) fn settle_compaction(dir: &Path) -> io::Result<()> {
    if !dir.join(DATABASE).is_dir() && dir.join(COMPACT).is_dir() {
        fs::rename(dir.join(COMPACT), dir.join(DATABASE))?;
        sync_dir(dir)?;
    }
    for name in [COMPACT, OLD] {
        let _ = fs::remove_dir_all(dir.join(name));
    }
    Ok(())
}

/// Puts `database.ready` into its place, if there is one; what stands there goes to quarantine. Returns where to.
pub(crate) fn install(dir: &Path, now: WallTime) -> io::Result<Option<PathBuf>> {
    let (ready, database) = (dir.join(READY), dir.join(DATABASE));
    if !ready.is_dir() {
        return Ok(None);
    }
    let quarantined = if database.is_dir() { Some(quarantine(dir, &database, now)?) } else { None };
    fs::rename(ready, database)?;
    sync_dir(dir)?;
    Ok(quarantined)
}

fn quarantine(dir: &Path, database: &Path, now: WallTime) -> io::Result<PathBuf> {
    let parent = dir.join(QUARANTINE);
    make_dir(&parent)?;
    let mut number = 0;
    let place = loop {
        let place = parent.join(format!("{}-{number}", now.as_millis() / 1_000));
        match fs::create_dir(&place) {
            Ok(()) => break place,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    };
    fs::rename(database, place.join(DATABASE))?;
    sync_dir(&place)?;
    sync_dir(&parent)?;
    Ok(place)
}

/// Writes beside the evidence what was found. Best effort: the loss itself is reported to the caller.
pub(crate) fn label(loss: &Loss) {
    let Some(place) = &loss.quarantined else {
        return;
    };
    let written = serde_json::to_vec_pretty(loss)
        .map_err(io::Error::other)
        .and_then(|text| fs::write(place.join("loss.json"), text))
        .and_then(|()| sync_dir(place));
    if let Err(error) = written {
        tracing::warn!(%error, place = %place.display(), "the quarantined database could not be labelled");
    }
}

/// Removes what an interrupted opening or check left behind.
pub(crate) fn sweep(dir: &Path) {
    for name in LEFTOVERS {
        let _ = fs::remove_dir_all(dir.join(name));
    }
    for name in ["witness.new", "ballast.new"] {
        let _ = fs::remove_file(dir.join(name));
    }
}
