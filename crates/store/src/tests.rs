//! Tests of the whole crate, and what they share.

mod crash;
mod damage;
mod group;
mod opening;
mod room;
mod suite;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc;

use huxiao_core::{Class, WallTime};

use crate::{Backend, Batch, CommitError, Config, Key, Opened, Put, Space, Trial, open};

/// 2026-11-24, in microseconds.
const NOW: WallTime = WallTime(1_795_478_400_000_000);

fn key(class: Class, seq: u64) -> Key {
    Key { space: Space::Outbox, class, seq }
}

fn put(class: Class, seq: u64, value: &[u8]) -> Batch {
    let put = Put { key: key(class, seq), value: value.to_vec(), black_box: class == Class::P0 };
    Batch { puts: vec![put], deletes: Vec::new(), high: seq, class }
}

fn delete(class: Class, seq: u64) -> Batch {
    Batch { puts: Vec::new(), deletes: vec![key(class, seq)], high: 0, class }
}

/// Commits and waits for the end of it.
fn commit(store: &impl Backend, batch: Batch) -> Result<(), CommitError> {
    let (told, tell) = mpsc::channel();
    store.commit(batch, Box::new(move |result| told.send(result).unwrap()));
    tell.recv().unwrap()
}

fn rows(store: &impl Backend) -> BTreeMap<Key, Vec<u8>> {
    let mut rows = BTreeMap::new();
    for space in Space::ALL {
        let scanned = store.scan(space, &mut |key, value| {
            assert!(rows.insert(key, value.to_vec()).is_none());
            ControlFlow::Continue(())
        });
        scanned.unwrap();
    }
    rows
}

/// A small store with a trial in this process.
fn config(dir: &Path) -> Config {
    Config { ballast_bytes: 0, black_box_blocks: 64, ..Config::new(dir, Trial::InProcess) }
}

fn reopen(dir: &Path) -> Opened {
    open(&config(dir), NOW).unwrap()
}

/// A trial in a process of its own: this test binary, told to run [`crash::child_that_checks`] alone.
fn child_trial() -> Trial {
    child("tests::crash::child_that_checks")
}

fn child(test: &str) -> Trial {
    let args = ["--ignored", "--nocapture", "--test-threads=1", "--exact", test];
    Trial::Child { program: std::env::current_exe().unwrap(), args: args.map(Into::into).to_vec() }
}
