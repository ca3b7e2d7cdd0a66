//! Care for sled's snapshots, without which its log cannot be read once segments of it were reused.
//!
//! While opening, sled writes a snapshot as `snap.*.generating`, renames it, removes the one before, and fills the segments that it
//! needs no longer with zeros. It syncs the folder at no point. Two things come of that when the power goes, or the process is killed:
//! it takes an unfinished `snap.*.generating` for its newest snapshot and calls the database damaged; and if the removal reaches the
//! disk and the new name does not, there is none.
//!
//! Invariant: from before an opening until all that it did is durable, the snapshot with which it began is kept as `kept.snap.*`.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::witness::sync_dir;

const SNAPSHOT: &str = "snap.";
const KEPT: &str = "kept.";
const UNFINISHED: &str = ".generating";
/// A copy that is not complete yet.
const COPY: &str = "copy.new";

/// Undoes what an opening that was cut off has left, makes durable what a killed process had only written, and keeps the newest
/// snapshot. `dir` is the database's folder.
pub(crate) fn prepare(dir: &Path) -> io::Result<()> {
    let (mut snapshots, mut kept) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.ends_with(UNFINISHED) {
            fs::remove_file(dir.join(&name))?;
        } else if name.starts_with(SNAPSHOT) {
            snapshots.push(name);
        } else if name.starts_with(KEPT) {
            kept.push(name);
        }
    }
    // A snapshot must not become durable before the log that it speaks of.
    match File::open(dir.join("db")) {
        Ok(file) => file.sync_data()?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    // Their names are numbers of equal length, the newest the highest.
    match (snapshots.iter().max(), kept.iter().max()) {
        (None, None) => Ok(()),
        (None, Some(kept)) => copy(dir, kept, kept.trim_start_matches(KEPT)),
        (Some(newest), _) => keep(dir, newest, &kept),
    }
}

/// Keeps `newest`, and only it.
fn keep(dir: &Path, newest: &str, kept: &[String]) -> io::Result<()> {
    let name = format!("{KEPT}{newest}");
    if !kept.contains(&name) {
        copy(dir, newest, &name)?;
    }
    kept.iter().filter(|other| **other != name).try_for_each(|other| fs::remove_file(dir.join(other)))
}

/// Copies a file within the folder; the name appears when all of it is on the disk.
fn copy(dir: &Path, from: &str, to: &str) -> io::Result<()> {
    let temporary: PathBuf = dir.join(COPY);
    fs::copy(dir.join(from), &temporary)?;
    File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, dir.join(to))?;
    sync_dir(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    /// A database of several segments with a snapshot, and the name of that.
    fn database(dir: &Path) -> String {
        let engine = Engine::open(dir, 1 << 20).unwrap();
        for round in 0..40_u8 {
            let changes = (0..100_u8).map(|key| (vec![key], Some(vec![round; 1_000]))).collect();
            engine.apply(changes).unwrap();
            engine.sync(1_000).unwrap();
        }
        engine.close().unwrap();
        Engine::open(dir, 1 << 20).unwrap().close().unwrap();
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(SNAPSHOT)).max().unwrap()
    }

    fn check(dir: &Path, what: &str) {
        let engine = Engine::open(dir, 1 << 20).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!((0..100_u8).all(|key| engine.get(&[key]).unwrap() == Some(vec![39; 1_000])), "{what}");
        engine.close().unwrap();
    }

    #[test]
    fn an_unfinished_snapshot_costs_nothing() {
        let dir = tempfile::tempdir().unwrap();
        database(dir.path());
        for content in [&b""[..], &[7; 300]] {
            fs::write(dir.path().join("snap.7FFFFFFFFFFFFFFF.generating"), content).unwrap();
            check(dir.path(), "unfinished");
        }
    }

    #[test]
    fn a_snapshot_that_is_gone_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let newest = database(dir.path());
        prepare(dir.path()).unwrap();
        fs::remove_file(dir.path().join(&newest)).unwrap();
        check(dir.path(), "gone");
        assert!(dir.path().join(newest).exists());
    }

    #[test]
    fn only_the_newest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("snap.01"), b"one").unwrap();
        prepare(dir.path()).unwrap();
        fs::rename(dir.path().join("snap.01"), dir.path().join("snap.02")).unwrap();
        prepare(dir.path()).unwrap();
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["kept.snap.02", "snap.02"]);
    }
}
