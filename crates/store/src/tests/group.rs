//! Group commit: many waiters, few syncs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;

use huxiao_core::Class;

use super::{commit, config, key, put, reopen, rows};
use crate::{CommitError, Observation, QUEUE_BATCHES, QUEUE_BYTES, open};

#[test]
fn many_writers_share_their_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let (groups, batches) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut config = config(dir.path());
    let counts = (groups.clone(), batches.clone());
    config.observe = Some(Arc::new(move |observation| {
        if let Observation::Synced { batches, .. } = observation {
            counts.0.fetch_add(1, Ordering::Relaxed);
            counts.1.fetch_add(batches, Ordering::Relaxed);
        }
    }));
    let store = open(&config, super::NOW).unwrap().store;
    let (told, tell) = mpsc::channel();
    for seq in 1..=2_000_u64 {
        let told = told.clone();
        store.commit(put(Class::P1, seq, &[7; 300]), move |result| told.send(result).unwrap());
    }
    drop(told);
    let results: Vec<_> = tell.iter().collect();
    assert_eq!(results.len(), 2_000);
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(batches.load(Ordering::Relaxed), 2_001, "and the opening's own");
    assert!(groups.load(Ordering::Relaxed) < 500, "{groups:?} groups");
    assert_eq!(rows(&store).len(), 2_000);
    let commits = store.health().commit;
    store.close();
    let opened = reopen(dir.path());
    assert_eq!((opened.losses, opened.store.health().commit), (vec![], commits + 1));
}

#[test]
fn batches_of_many_threads_are_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).store;
    thread::scope(|scope| {
        for thread in 0..8_u64 {
            let store = store.clone();
            scope.spawn(move || {
                for round in 0..40 {
                    commit(&store, put(Class::P0, thread * 1_000 + round % 10, &round.to_be_bytes())).unwrap();
                }
            });
        }
    });
    assert_eq!(rows(&store).len(), 80);
    store.close();
    let opened = reopen(dir.path());
    assert_eq!(opened.losses, []);
    assert_eq!(rows(&opened.store).len(), 80);
}

#[test]
fn a_full_queue_refuses_and_keeps_room_for_alarms() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).store;
    // A callback that waits holds the writer up.
    let gate = Arc::new(Barrier::new(2));
    let held = gate.clone();
    store.commit(put(Class::P1, 1, b"x"), move |_| {
        held.wait();
    });
    let (told, tell) = mpsc::channel();
    let send = |class, seq, value: &[u8]| {
        let told = told.clone();
        store.commit(put(class, seq, value), move |result| told.send((class, result)).unwrap());
    };
    (0..QUEUE_BATCHES).for_each(|seq| send(Class::P1, seq, b"x"));
    send(Class::P0, QUEUE_BATCHES, b"x");
    gate.wait();
    drop(told);
    let results: Vec<_> = tell.iter().collect();
    let busy = results.iter().filter(|(_, result)| *result == Err(CommitError::Busy)).count() as u64;
    assert!((QUEUE_BATCHES / 4..=QUEUE_BATCHES / 4 + 1).contains(&busy), "{busy}");
    assert!(results.contains(&(Class::P0, Ok(()))));
    assert_eq!(store.health().waiting, 0);
    const { assert!(QUEUE_BYTES / 4 > crate::BATCH_BYTES, "the reserve holds the largest batch") };
}

#[test]
fn a_callback_that_panics_costs_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).store;
    store.commit(put(Class::P1, 1, b"x"), |_| panic!("a defect of the caller"));
    commit(&store, put(Class::P1, 2, b"x")).unwrap();
    assert!(store.get(key(Class::P1, 1)).unwrap().is_some());
}
