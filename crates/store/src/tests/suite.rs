//! What every store must do: one suite, run on the disk and in memory.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use huxiao_core::{Class, WallTime};

use super::{NOW, commit, config, delete, key, put, rows};
use crate::memory::{Memory, Room, Sync};
use crate::{Backend, Batch, CommitError, Key, Put, Space, State, StoreError, Usage, VALUE_BYTES, open};

/// A kind of store, and what can be done to it from outside.
trait Bench {
    type Store: Backend;
    /// Opens it, and gives epoch and high.
    fn open(&mut self, now: WallTime) -> (Self::Store, u64, u64);
    fn set_room(&mut self, room: Room);
}

struct OnDisk {
    dir: tempfile::TempDir,
    usage: Arc<Mutex<Usage>>,
}

impl Bench for OnDisk {
    type Store = crate::Store;

    fn open(&mut self, now: WallTime) -> (Self::Store, u64, u64) {
        let usage = self.usage.clone();
        let mut config = config(self.dir.path());
        config.probe = Arc::new(move |_| Ok(*usage.lock().unwrap()));
        let opened = open(&config, now).unwrap();
        assert_eq!(opened.losses, []);
        (opened.store, opened.epoch, opened.high)
    }

    fn set_room(&mut self, room: Room) {
        *self.usage.lock().unwrap() = usage(room);
    }
}

fn usage(room: Room) -> Usage {
    let free = match room {
        Room::Plenty => 900,
        Room::Low => 50,
        Room::None => 1,
    };
    Usage { free: free << 20, total: 1_000 << 20 }
}

struct InMemory(Option<Memory>);

impl Bench for InMemory {
    type Store = Memory;

    fn open(&mut self, now: WallTime) -> (Memory, u64, u64) {
        let (memory, opened) = match self.0.take() {
            Some(memory) => {
                let opened = memory.open(now);
                (memory, opened)
            }
            None => Memory::new(Sync::Always, now),
        };
        self.0 = Some(memory.clone());
        (memory, opened.epoch, opened.high)
    }

    fn set_room(&mut self, room: Room) {
        self.0.as_ref().unwrap().set_room(room);
    }
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod on_disk {
            $(#[test] fn $name() {
                let usage = std::sync::Arc::new(std::sync::Mutex::new(super::usage(super::Room::Plenty)));
                super::$name(super::OnDisk { dir: tempfile::tempdir().unwrap(), usage });
            })*
        }
        mod in_memory {
            $(#[test] fn $name() { super::$name(super::InMemory(None)); })*
        }
    };
}

suite! {
    what_was_committed_is_there_after_reopening
    a_scan_meets_the_lanes_in_class_order
    a_batch_replaces_and_removes_in_order
    too_large_a_batch_costs_its_caller_only
    callbacks_come_in_the_order_of_the_commits
    epochs_rise_and_high_never_goes_back
    a_closed_store_says_so
    a_canary_comes_back
    a_filling_disk_sheds_all_but_alarms_and_removals
}

fn what_was_committed_is_there_after_reopening(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    for seq in 1..=50 {
        commit(&store, put(Class::P0, seq, format!("event {seq}").as_bytes())).unwrap();
    }
    commit(&store, delete(Class::P0, 7)).unwrap();
    let before = rows(&store);
    assert_eq!(before.len(), 49);
    store.close();
    let (store, ..) = bench.open(NOW);
    assert_eq!(rows(&store), before);
    assert_eq!(store.get(key(Class::P0, 8)).unwrap().unwrap(), b"event 8");
    assert_eq!(store.get(key(Class::P0, 7)).unwrap(), None);
}

fn a_scan_meets_the_lanes_in_class_order(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    for (class, seq) in [(Class::P4, 1), (Class::P0, 300), (Class::P2, 2), (Class::P0, 20), (Class::P1, 9)] {
        commit(&store, put(class, seq, b"x")).unwrap();
    }
    let other = Key { space: Space::Meta, class: Class::P0, seq: 1 };
    let puts = vec![Put { key: other, value: b"cursor".to_vec(), black_box: false }];
    commit(&store, Batch { puts, deletes: Vec::new(), high: 0, class: Class::P0 }).unwrap();
    let mut met = Vec::new();
    let scanned = store.scan(Space::Outbox, &mut |key, _| {
        met.push((key.class, key.seq));
        if met.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    scanned.unwrap();
    assert_eq!(met, [(Class::P0, 20), (Class::P0, 300), (Class::P1, 9), (Class::P2, 2)]);
}

fn a_batch_replaces_and_removes_in_order(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    commit(&store, put(Class::P1, 1, b"old")).unwrap();
    let new = |value: &[u8]| Put { key: key(Class::P1, 1), value: value.to_vec(), black_box: false };
    let batch = Batch {
        puts: vec![new(b"newer"), new(b"newest")],
        deletes: vec![key(Class::P1, 1), key(Class::P1, 99)],
        high: 1,
        class: Class::P1,
    };
    commit(&store, batch).unwrap();
    assert_eq!(store.get(key(Class::P1, 1)).unwrap().unwrap(), b"newest");
    assert_eq!(rows(&store).len(), 1);
}

fn too_large_a_batch_costs_its_caller_only(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    let largest = vec![7; VALUE_BYTES];
    commit(&store, put(Class::P1, 1, &largest)).unwrap();
    let refused = commit(&store, put(Class::P1, 2, &vec![7; VALUE_BYTES + 1]));
    assert!(matches!(refused, Err(CommitError::TooLarge { limit: VALUE_BYTES, .. })), "{refused:?}");
    let refused = commit(&store, put(Class::P0, 3, &largest));
    assert!(matches!(refused, Err(CommitError::TooLarge { .. })), "beyond one block of the black box: {refused:?}");
    let many = (0..5_000).map(|seq| key(Class::P0, seq)).collect();
    let refused = commit(&store, Batch { puts: Vec::new(), deletes: many, high: 0, class: Class::P0 });
    assert!(matches!(refused, Err(CommitError::TooLarge { .. })), "{refused:?}");
    assert_eq!(rows(&store).into_iter().collect::<Vec<_>>(), [(key(Class::P1, 1), largest)]);
    assert_eq!(store.health().state, State::Ready);
}

fn callbacks_come_in_the_order_of_the_commits(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    let told = Arc::new(Mutex::new(Vec::new()));
    for seq in 1..=200 {
        let told = told.clone();
        store.commit(put(Class::P1, seq, b"x"), Box::new(move |result| told.lock().unwrap().push((seq, result))));
    }
    commit(&store, put(Class::P1, 201, b"x")).unwrap();
    let told = told.lock().unwrap();
    assert_eq!(*told, (1..=200).map(|seq| (seq, Ok(()))).collect::<Vec<_>>());
}

fn epochs_rise_and_high_never_goes_back(mut bench: impl Bench) {
    let (store, first, high) = bench.open(NOW);
    assert_eq!((first, high), (NOW.as_millis() / 1_000, 0));
    commit(&store, put(Class::P1, 900, b"x")).unwrap();
    commit(&store, put(Class::P1, 5, b"x")).unwrap();
    store.close();
    let (store, second, high) = bench.open(WallTime(0));
    assert_eq!((second, high), (first + 1, 900), "whatever the clock says");
    commit(&store, delete(Class::P1, 900)).unwrap();
    store.close();
    assert_eq!(bench.open(WallTime(0)).2, 900);
}

fn a_closed_store_says_so(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    let other = store.clone();
    store.close();
    assert_eq!(commit(&other, put(Class::P0, 1, b"x")), Err(CommitError::Closed));
    assert_eq!(other.get(key(Class::P0, 1)), Err(StoreError::Closed));
    assert_eq!(other.canary(), Err(StoreError::Closed));
}

fn a_canary_comes_back(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    commit(&store, put(Class::P1, 1, b"x")).unwrap();
    let before = rows(&store);
    assert!(store.canary().unwrap() < crate::CANARY_LIMIT);
    assert_eq!(rows(&store), before, "it leaves no row behind");
}

fn a_filling_disk_sheds_all_but_alarms_and_removals(mut bench: impl Bench) {
    let (store, ..) = bench.open(NOW);
    commit(&store, put(Class::P1, 1, b"x")).unwrap();
    bench.set_room(Room::Low);
    assert_eq!(store.health().state, State::Low);
    assert_eq!(commit(&store, put(Class::P1, 2, b"x")), Err(CommitError::Shed(Class::P1)));
    commit(&store, put(Class::P0, 3, b"x")).unwrap();
    commit(&store, delete(Class::P1, 1)).unwrap();
    store.canary().unwrap();
    bench.set_room(Room::None);
    assert_eq!(store.health().state, State::Full);
    assert_eq!(commit(&store, put(Class::P0, 4, b"x")), Err(CommitError::DiskFull));
    assert_eq!(commit(&store, put(Class::P1, 5, b"x")), Err(CommitError::Shed(Class::P1)));
    assert_eq!(store.canary(), Err(StoreError::Canary(CommitError::DiskFull)));
    bench.set_room(Room::Plenty);
    commit(&store, put(Class::P1, 6, b"x")).unwrap();
    assert_eq!(store.health().state, State::Ready);
    let left: Vec<u64> = rows(&store).keys().map(|key| key.seq).collect();
    assert_eq!(left, [3, 6]);
}

#[test]
fn memory_forgets_what_was_not_synced_and_nothing_else() {
    let (store, first) = Memory::new(Sync::OnDemand, NOW);
    let told = Arc::new(Mutex::new(Vec::new()));
    let send = |seq: u64| {
        let told = told.clone();
        Backend::commit(
            &store,
            put(Class::P0, seq, b"x"),
            Box::new(move |result| told.lock().unwrap().push((seq, result))),
        );
    };
    send(1);
    assert_eq!(store.health().waiting, 1);
    store.sync();
    send(2);
    store.power_cut();
    send(3);
    let opened = store.open(NOW);
    assert_eq!(
        *told.lock().unwrap(),
        [(1, Ok(())), (3, Err(CommitError::Closed))],
        "nobody is told of what was forgotten"
    );
    assert_eq!((opened.epoch, opened.high), (first.epoch + 1, 1));
    assert_eq!(rows(&store).keys().map(|key| key.seq).collect::<Vec<_>>(), [1]);
}

#[test]
fn a_failed_sync_in_memory_is_final() {
    let (store, _) = Memory::new(Sync::Always, NOW);
    store.fail_next_sync();
    for seq in 1..=2 {
        assert!(matches!(commit(&store, put(Class::P0, seq, b"x")), Err(CommitError::Poisoned(_))));
    }
    assert!(matches!(store.health().state, State::Poisoned { .. }));
    let _ = store.open(NOW);
    assert_eq!(rows(&store).len(), 0);
    commit(&store, put(Class::P0, 3, b"x")).unwrap();
}
