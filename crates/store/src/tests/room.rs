//! A disk that fills up, and empties again.

use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use huxiao_core::Class;

use super::{NOW, commit, config, delete, key, put, rows};
use crate::{Batch, CommitError, Config, Observation, Put, State, Usage, open};

const MIB: u64 = 1 << 20;

struct Disk {
    free: Arc<Mutex<u64>>,
    seen: Arc<Mutex<Vec<Observation>>>,
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { free: Arc::new(Mutex::new(500 * MIB)), seen: Arc::default(), dir: tempfile::tempdir().unwrap() }
    }

    /// A disk of 1000 MiB on which the ballast counts.
    fn config(&self) -> Config {
        let (free, seen) = (self.free.clone(), self.seen.clone());
        let mut config = config(self.dir.path());
        config.ballast_bytes = 16 * MIB;
        config.probe = Arc::new(move |dir| {
            let ballast = std::fs::metadata(dir.join("ballast")).map_or(0, |meta| meta.len());
            Ok(Usage { free: (*free.lock().unwrap()).saturating_sub(ballast), total: 1_000 * MIB })
        });
        config.observe = Some(Arc::new(move |observation| {
            if !matches!(observation, Observation::Synced { .. }) {
                seen.lock().unwrap().push(observation);
            }
        }));
        config
    }

    fn set_free(&self, bytes: u64) {
        *self.free.lock().unwrap() = bytes;
    }

    fn seen(&self) -> Vec<Observation> {
        self.seen.lock().unwrap().clone()
    }
}

#[test]
fn the_ballast_is_given_up_for_an_alarm_and_comes_back() {
    let disk = Disk::new();
    let store = open(&disk.config(), NOW).unwrap().store;
    assert!(store.health().ballast);
    disk.set_free(20 * MIB);
    assert_eq!(store.health().state, State::Low);
    assert_eq!(commit(&store, put(Class::P1, 1, b"x")), Err(CommitError::Shed(Class::P1)));
    assert!(store.health().ballast, "it is not for others");
    commit(&store, put(Class::P0, 2, b"x")).unwrap();
    assert!(!store.health().ballast);
    assert_eq!(store.health().state, State::Low, "there is space, but it is for alarms");
    assert_eq!(commit(&store, put(Class::P1, 1, b"x")), Err(CommitError::Shed(Class::P1)));
    disk.set_free(3 * MIB);
    assert_eq!(commit(&store, put(Class::P0, 3, b"x")), Err(CommitError::DiskFull));
    assert_eq!(store.health().state, State::Full);
    commit(&store, delete(Class::P1, 99)).unwrap();
    disk.set_free(MIB / 2);
    assert_eq!(commit(&store, delete(Class::P1, 99)), Err(CommitError::DiskFull));
    disk.set_free(500 * MIB);
    let begun = std::time::Instant::now();
    while !store.health().ballast {
        assert!(begun.elapsed() < Duration::from_secs(20), "the ballast does not come back");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(store.health().state, State::Ready, "by itself");
    commit(&store, put(Class::P1, 4, b"x")).unwrap();
    assert_eq!(rows(&store).keys().map(|key| key.seq).collect::<Vec<_>>(), [2, 4]);
    let expected = [
        Observation::Ballast(true),
        Observation::Shed(Class::P1),
        Observation::Ballast(false),
        Observation::Shed(Class::P1),
        Observation::DiskFull(Class::P0),
        Observation::DiskFull(Class::P1),
        Observation::Ballast(true),
    ];
    assert_eq!(disk.seen(), expected);
}

#[test]
fn a_full_disk_at_opening_costs_the_ballast_only() {
    let disk = Disk::new();
    let store = open(&disk.config(), NOW).unwrap().store;
    commit(&store, put(Class::P0, 1, b"x")).unwrap();
    store.close();
    assert!(disk.dir.path().join("ballast").exists());
    disk.set_free(20 * MIB);
    let opened = open(&disk.config(), NOW).unwrap();
    assert_eq!(opened.losses, []);
    assert!(!opened.store.health().ballast);
    commit(&opened.store, put(Class::P0, 2, b"x")).unwrap();
    assert_eq!(rows(&opened.store).len(), 2);
}

#[test]
fn a_drained_store_gives_its_room_back() {
    let disk = Disk::new();
    let store = open(&disk.config(), NOW).unwrap().store;
    for seq in 0..200 {
        let puts = (0..10).map(|n| Put { key: key(Class::P1, seq * 10 + n), value: vec![7; 4_000], black_box: false });
        commit(&store, Batch { puts: puts.collect(), deletes: Vec::new(), high: seq, class: Class::P1 }).unwrap();
    }
    for seq in 0..200 {
        let deletes = (0..10).map(|n| key(Class::P1, seq * 10 + n)).filter(|key| key.seq > 5).collect();
        commit(&store, Batch { puts: Vec::new(), deletes, high: 0, class: Class::P1 }).unwrap();
    }
    let (before, held) = (store.health().bytes, rows(&store));
    assert!(before > 6 * MIB, "{before}");
    disk.set_free(24 * MIB);
    commit(&store, put(Class::P0, 1, b"alarm")).unwrap();
    store.canary().unwrap();
    store.canary().unwrap();
    let after = store.health().bytes;
    assert!(after < 2 * MIB, "{after}");
    assert_eq!(rows(&store).len(), held.len() + 1);
    commit(&store, put(Class::P0, 2, b"alarm")).unwrap();
    store.close();
    let opened = open(&disk.config(), NOW).unwrap();
    assert_eq!(opened.losses, []);
    assert_eq!(rows(&opened.store).len(), held.len() + 2);
}

#[test]
fn a_compaction_interrupted_anywhere_leaves_a_whole_database() {
    for (database, becomes) in
        [("database.new", None), ("database.compact", None), ("database", Some("database.compact"))]
    {
        let disk = Disk::new();
        let store = open(&disk.config(), NOW).unwrap().store;
        commit(&store, put(Class::P1, 1, b"x")).unwrap();
        store.close();
        let dir = disk.dir.path();
        match becomes {
            // The copy is whole and the old database has left its place.
            Some(copy) => std::fs::rename(dir.join(database), dir.join(copy)).unwrap(),
            // The old database counts, whatever lies beside it.
            None => std::fs::create_dir(dir.join(database)).unwrap(),
        }
        let opened = open(&disk.config(), NOW).unwrap();
        assert_eq!((opened.losses, rows(&opened.store).len()), (vec![], 1), "{database}");
        assert!(!dir.join("database.compact").exists() && !dir.join("database.new").exists());
    }
}
