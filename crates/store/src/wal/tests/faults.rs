//! A disk that fails: no space, failing syncs, and the proof that nobody is told before the sync.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{append, config, entries, entry, purge, reopen, segments, vote};
use crate::space::Usage;
use crate::wal::disk::{Disk, DiskFile, SystemDisk};
use crate::wal::{Record, Wal, WalConfig, WalError, WalObservation, open};

const MIB: u64 = 1 << 20;

/// What happened on the disk, and what was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Write,
    Sync,
    Cut,
    Told,
}

#[derive(Debug)]
struct State {
    steps: Vec<Step>,
    /// Bytes of all files in the folder that fit.
    capacity: u64,
    /// Syncs that still succeed.
    syncs: u64,
    /// Whether a file can be cut.
    cuts: bool,
}

/// The system's disk, with limits.
#[derive(Clone)]
struct Limited {
    state: Arc<Mutex<State>>,
    dir: PathBuf,
}

struct LimitedFile(Box<dyn DiskFile>, Limited);

impl fmt::Debug for LimitedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Limited {
    fn new(dir: &Path) -> Self {
        let state = State { steps: Vec::new(), capacity: u64::MAX, syncs: u64::MAX, cuts: true };
        Self { state: Arc::new(Mutex::new(state)), dir: dir.to_path_buf() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn used(&self) -> u64 {
        fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
    }

    /// So many bytes more than what is used now.
    fn leave(&self, bytes: u64) {
        self.state().capacity = self.used() + bytes;
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state();
        state.steps.push(Step::Sync);
        state.syncs = state.syncs.checked_sub(1).ok_or_else(|| io::Error::from_raw_os_error(5))?;
        Ok(())
    }

    fn open(&self, config: WalConfig) -> Wal {
        open::open(&self.dir, config, Arc::new(self.clone())).unwrap().0
    }

    /// What happened since this was asked last.
    fn steps(&self) -> Vec<Step> {
        std::mem::take(&mut self.state().steps)
    }

    /// A probe that knows the limit.
    fn probe(&self) -> crate::Probe {
        let disk = self.clone();
        Arc::new(move |_: &Path| {
            let capacity = disk.state().capacity;
            Ok(Usage { free: capacity.saturating_sub(disk.used()).min(500 * MIB), total: 500 * MIB })
        })
    }
}

impl Disk for Limited {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LimitedFile(SystemDisk.create(path)?, self.clone())))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(LimitedFile(SystemDisk.open(path)?, self.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        SystemDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        SystemDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.sync()?;
        SystemDisk.sync_dir(dir)
    }
}

impl DiskFile for LimitedFile {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.1.state().steps.push(Step::Write);
        let room = self.1.state().capacity.saturating_sub(self.1.used());
        let fits = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.0.write_at(&bytes[..fits], at)?;
        if fits < bytes.len() { Err(io::Error::from_raw_os_error(28)) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.1.sync()?;
        self.0.sync()
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut state = self.1.state();
        state.steps.push(Step::Cut);
        if !state.cuts {
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(state);
        self.0.set_len(length)
    }
}

#[test]
fn nobody_is_told_before_the_sync() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Limited::new(dir.path());
    let wal = disk.open(config());
    disk.steps();
    for index in 1..=3 {
        let told = disk.clone();
        wal.append(vec![entry(index, b"x")], move |_| told.state().steps.push(Step::Told));
        append(&wal, vec![]).unwrap();
        assert_eq!(disk.steps(), [Step::Write, Step::Sync, Step::Told]);
    }
    append(&wal, vec![entry(4, &[7; 5_000])]).unwrap();
    disk.steps();
    let told = disk.clone();
    wal.append(vec![entry(5, b"x")], move |_| told.state().steps.push(Step::Told));
    append(&wal, vec![]).unwrap();
    // The new segment, its name, then the batch.
    assert_eq!(disk.steps(), [Step::Write, Step::Sync, Step::Sync, Step::Write, Step::Sync, Step::Told]);
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Limited::new(dir.path());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let observe = move |observation| told.lock().unwrap().push(observation);
    let wal = disk.open(WalConfig { observe: Some(Arc::new(observe)), ..config() });
    append(&wal, vec![entry(1, b"kept")]).unwrap();
    disk.state().syncs = 0;
    let Err(WalError::Poisoned(why)) = append(&wal, vec![entry(2, b"lost?")]) else { panic!("it was promised") };
    disk.state().syncs = u64::MAX;
    disk.steps();
    assert_eq!(append(&wal, vec![entry(3, b"x")]), Err(WalError::Poisoned(why.clone())));
    assert_eq!(purge(&wal, 9), Err(WalError::Poisoned(why.clone())));
    assert_eq!(disk.steps(), [], "the disk is left alone");
    assert_eq!(wal.health().poisoned, Some(why.clone()));
    let poisonings: Vec<_> =
        seen.lock().unwrap().iter().filter(|it| !matches!(it, WalObservation::Synced { .. })).cloned().collect();
    assert_eq!(poisonings, [WalObservation::Poisoned { why }]);
    wal.close();
    let (wal, recovered) = reopen(dir.path());
    assert_eq!(entries(&recovered), [1, 2], "what was not promised may be there");
    append(&wal, vec![entry(3, b"x")]).unwrap();
}

#[test]
fn a_segment_that_cannot_be_begun_leaves_the_one_before_it() {
    for syncs in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let disk = Limited::new(dir.path());
        let wal = disk.open(config());
        append(&wal, vec![vote(7), entry(1, &[7; 5_000])]).unwrap();
        // The new segment's content, its name, the batch in it.
        disk.state().syncs = syncs;
        assert!(matches!(append(&wal, vec![entry(2, b"x")]), Err(WalError::Poisoned(_))), "{syncs}");
        wal.close();
        let (wal, recovered) = reopen(dir.path());
        assert_eq!(entries(&recovered)[0], 1, "{syncs}");
        assert_eq!(super::term(&recovered), Some(7));
        append(&wal, vec![entry(3, b"x")]).unwrap();
        wal.close();
        assert!(entries(&reopen(dir.path()).1).ends_with(&[3]), "{syncs}");
    }
}

#[test]
fn a_full_disk_takes_the_ballast_and_then_ends_the_log_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Limited::new(dir.path());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = seen.clone();
    let observe = move |observation| told.lock().unwrap().push(observation);
    let config = WalConfig {
        ballast_bytes: 8_192,
        low_space_bytes: MIB,
        segment_bytes: MIB,
        probe: disk.probe(),
        observe: Some(Arc::new(observe)),
        ..config()
    };
    let wal = disk.open(config);
    append(&wal, vec![entry(1, b"x")]).unwrap();
    assert!(!wal.health().low && dir.path().join("ballast").exists());
    disk.leave(1_000);
    append(&wal, vec![entry(2, &[7; 4_000])]).unwrap();
    assert!(wal.health().low && !dir.path().join("ballast").exists());
    let before = fs::read(&segments(dir.path())[0]).unwrap();
    assert_eq!(append(&wal, vec![entry(3, &[7; 9_000])]), Err(WalError::Full));
    assert_eq!(fs::read(&segments(dir.path())[0]).unwrap(), before, "it is cut back");
    assert_eq!(append(&wal, vec![entry(4, b"small")]), Err(WalError::Full), "no hole is made");
    let health = wal.health();
    assert!(health.full && health.low && health.poisoned.is_none(), "{health:?}");
    purge(&wal, 1).unwrap();
    wal.close();
    let told: Vec<_> =
        seen.lock().unwrap().iter().filter(|it| !matches!(it, WalObservation::Synced { .. })).cloned().collect();
    let right = [WalObservation::Ballast(true), WalObservation::Ballast(false), WalObservation::Full];
    assert_eq!(told, right);
    let (wal, recovered) = reopen(dir.path());
    assert_eq!((entries(&recovered), recovered.torn), (vec![1, 2], None));
    append(&wal, vec![entry(3, b"x")]).unwrap();
}

#[test]
fn a_full_disk_at_a_new_segment_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Limited::new(dir.path());
    let wal = disk.open(WalConfig { probe: disk.probe(), ..config() });
    append(&wal, vec![vote(7), entry(1, &[7; 5_000])]).unwrap();
    disk.leave(10);
    assert_eq!(append(&wal, vec![entry(2, b"x")]), Err(WalError::Full));
    assert_eq!(segments(dir.path()).len(), 1);
    wal.close();
    let (wal, recovered) = reopen(dir.path());
    assert_eq!((entries(&recovered), recovered.torn), (vec![1], None));
    append(&wal, vec![entry(2, b"x")]).unwrap();
}

#[test]
fn a_log_that_cannot_be_cut_back_is_poisoned_and_still_opens() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Limited::new(dir.path());
    let wal = disk.open(WalConfig { probe: disk.probe(), ..config() });
    append(&wal, vec![entry(1, b"x")]).unwrap();
    disk.leave(700);
    disk.state().cuts = false;
    assert!(matches!(append(&wal, vec![entry(2, &[7; 2_000])]), Err(WalError::Poisoned(_))));
    wal.close();
    let (_, recovered) = reopen(dir.path());
    assert_eq!((entries(&recovered), recovered.torn), (vec![1], Some(700)));
}

#[test]
fn space_that_comes_back_brings_the_ballast_back() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Limited::new(dir.path());
    let config = WalConfig { ballast_bytes: 8_192, low_space_bytes: MIB, probe: disk.probe(), ..config() };
    // Too little for a ballast when it is opened.
    disk.leave(9_000);
    let wal = disk.open(config.clone());
    append(&wal, vec![Record { kind: 9, index: 1, bytes: vec![1; 100] }]).unwrap();
    assert!(wal.health().low && !dir.path().join("ballast").exists());
    wal.close();
    disk.leave(100 * MIB);
    let wal = disk.open(config);
    assert!(!wal.health().low && dir.path().join("ballast").exists());
}
