//! Openings that find something: marks ahead and behind, files gone, a rebuild that was interrupted.

use std::fs;
use std::path::Path;

use huxiao_core::{Class, Rng, WallTime};

use super::{NOW, child, child_trial, commit, config, delete, key, put, reopen, rows};
use crate::check::copy_database;
use crate::{
    CheckReport, Config, LossKind, Observation, OpenError, Opened, Space, Trial, check, inspect, open, salvage,
};

/// Ten P0 rows, one of them removed, and three of P1.
fn filled(dir: &Path) {
    let store = reopen(dir).store;
    (1..=10).for_each(|seq| commit(&store, put(Class::P0, seq, format!("alarm {seq}").as_bytes())).unwrap());
    (11..=13).for_each(|seq| commit(&store, put(Class::P1, seq, b"fault")).unwrap());
    commit(&store, delete(Class::P0, 4)).unwrap();
    store.close();
}

fn kinds(opened: &Opened) -> Vec<LossKind> {
    opened.losses.iter().map(|loss| loss.kind).collect()
}

fn seqs(opened: &Opened) -> Vec<u64> {
    rows(&opened.store).keys().map(|key| key.seq).collect()
}

#[test]
fn a_store_in_use_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let opened = reopen(dir.path());
    assert!(matches!(open(&config(dir.path()), NOW), Err(OpenError::InUse(_))));
    assert!(check(dir.path()).circumstance);
    commit(&opened.store, put(Class::P0, 1, b"x")).unwrap();
    let scratch = tempfile::tempdir().unwrap();
    let seen = inspect(dir.path(), scratch.path()).unwrap();
    assert_eq!(seen.commit.1, Some(3), "the making, the opening, the alarm");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
    opened.store.close();
    assert_eq!(kinds(&reopen(dir.path())), []);
}

#[test]
fn a_database_one_commit_ahead_of_its_mark_is_no_loss_and_its_alarm_goes_back_into_the_black_box() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = reopen(dir.path()).store;
    let before = fs::read(dir.path().join("witness")).unwrap();
    commit(&store, put(Class::P0, 20, b"the last")).unwrap();
    store.close();
    // The power went after the database's sync and before the witness was written.
    fs::write(dir.path().join("witness"), before).unwrap();
    let opened = reopen(dir.path());
    assert_eq!(kinds(&opened), []);
    let expected = seqs(&opened);
    assert!(expected.contains(&20));
    opened.store.close();
    fs::remove_dir_all(dir.path().join("database")).unwrap();
    let opened = reopen(dir.path());
    assert_eq!(kinds(&opened), [LossKind::Missing]);
    assert_eq!(opened.store.get(key(Class::P0, 20)).unwrap().unwrap(), b"the last");
    assert_eq!(opened.refilled, 10);
}

#[test]
fn a_database_behind_its_mark_is_reported_with_the_range_and_refilled() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let store = reopen(dir.path()).store;
    let old = dir.path().join("old");
    store.close();
    copy_database(&dir.path().join("database"), &old).unwrap();
    let opened = reopen(dir.path());
    let commits = opened.store.health().commit;
    commit(&opened.store, put(Class::P0, 20, b"alarm")).unwrap();
    commit(&opened.store, put(Class::P1, 21, b"fault")).unwrap();
    commit(&opened.store, delete(Class::P0, 1)).unwrap();
    let epoch = opened.epoch;
    opened.store.close();
    // A drive that lied: the folder as it was some commits ago.
    fs::remove_dir_all(dir.path().join("database")).unwrap();
    fs::rename(&old, dir.path().join("database")).unwrap();
    let opened = reopen(dir.path());
    let [loss] = &opened.losses[..] else { panic!("{:?}", opened.losses) };
    assert_eq!((loss.kind, loss.from_commit, loss.to_commit), (LossKind::Shorter, commits, commits + 3));
    assert_eq!((loss.count, loss.refilled, opened.refilled), (1, 1, 1), "{loss}");
    assert_eq!(seqs(&opened), [2, 3, 5, 6, 7, 8, 9, 10, 20, 11, 12, 13], "what was removed stays away");
    assert!(opened.epoch > epoch);
    assert_eq!(opened.high, 21);
    let place = loss.quarantined.as_ref().unwrap();
    assert!(place.join("database/db").is_file() && place.join("loss.json").is_file());
    opened.store.close();
    assert_eq!(kinds(&reopen(dir.path())), [], "reported once");
}

#[test]
fn a_lost_database_is_refilled_from_the_black_box_and_its_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    fs::remove_dir_all(dir.path().join("database")).unwrap();
    let opened = open(&config(dir.path()), WallTime(0)).unwrap();
    let [loss] = &opened.losses[..] else { panic!("{:?}", opened.losses) };
    assert_eq!((loss.kind, loss.count, loss.refilled), (LossKind::Missing, 3, 9));
    assert_eq!(seqs(&opened), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    assert!(opened.epoch > NOW.as_millis() / 1_000 && opened.high == 13);
}

#[test]
fn a_lost_witness_is_a_loss_and_costs_no_row() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    fs::remove_file(dir.path().join("witness")).unwrap();
    let opened = reopen(dir.path());
    assert_eq!(kinds(&opened), [LossKind::Mark]);
    assert_eq!(seqs(&opened).len(), 12);
    opened.store.close();
    assert_eq!(kinds(&reopen(dir.path())), []);
}

#[test]
fn an_interrupted_rebuild_is_finished_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let backup = tempfile::tempdir().unwrap();
    copy_database(dir.path(), &backup.path().join("store")).unwrap();
    fs::remove_file(dir.path().join("database/conf")).unwrap();
    fs::write(dir.path().join("database/conf"), b"rubbish that is no configuration").unwrap();
    let opened = reopen(dir.path());
    assert_eq!(kinds(&opened), [LossKind::Unreadable]);
    opened.store.close();
    // As if the power had gone right after the new database was ready: old one, old witness.
    let store = backup.path().join("store");
    copy_database(&dir.path().join("database"), &store.join("rebuilt")).unwrap();
    fs::remove_dir_all(store.join("database")).unwrap();
    fs::rename(store.join("rebuilt"), store.join("database.ready")).unwrap();
    let opened = reopen(&store);
    assert_eq!(kinds(&opened), [LossKind::Mark]);
    assert_eq!(seqs(&opened), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
}

#[test]
fn a_useless_trial_program_condemns_nobody() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let missing = Trial::Child { program: "/no/such/program".into(), args: Vec::new() };
    let silent = Trial::Child { program: "/bin/true".into(), args: Vec::new() };
    for trial in [missing, silent, child("no_such_test")] {
        let unavailable = std::sync::Arc::new(std::sync::Mutex::new(0));
        let count = unavailable.clone();
        let observe: crate::Observer = std::sync::Arc::new(move |observation| {
            *count.lock().unwrap() += u32::from(matches!(observation, Observation::TrialUnavailable { .. }));
        });
        let opened = open(&Config { trial, observe: Some(observe), ..config(dir.path()) }, NOW).unwrap();
        assert_eq!((kinds(&opened), *unavailable.lock().unwrap()), (vec![], 1));
        opened.store.close();
    }
}

#[test]
fn a_trial_that_hangs_is_ended_and_one_that_is_killed_condemns() {
    for (program, word) in [("sleep 60", "longer"), ("kill -9 $$", "signal 9")] {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path());
        let args = ["-c", program].map(Into::into).to_vec();
        let trial = Trial::Child { program: "/bin/sh".into(), args };
        let limit = std::time::Duration::from_millis(300);
        let opened = open(&Config { trial, trial_timeout: limit, ..config(dir.path()) }, NOW).unwrap();
        let [loss] = &opened.losses[..] else { panic!("{:?}", opened.losses) };
        assert!(loss.detail.contains(word), "{loss}");
        assert_eq!(loss.refilled, 9);
        // The condemned database is whole, and salvage finds all of it.
        let mut found = Vec::new();
        salvage(loss.quarantined.as_ref().unwrap(), |row| found.push(row.key.seq)).unwrap();
        assert_eq!(found.len(), 13, "removed rows included, for the black box is not in this folder");
    }
}

#[test]
fn a_child_reads_the_database_and_reports() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let opened = open(&Config { trial: child_trial(), ..config(dir.path()) }, NOW).unwrap();
    assert_eq!(kinds(&opened), []);
    assert_eq!(seqs(&opened).len(), 12);
}

#[test]
fn check_and_inspect_say_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path());
    let report = check(dir.path());
    assert!(report.consistent && report.readable && report.problem.is_none(), "{report:?}");
    assert_eq!((report.rows, report.high), (12, 13));
    let text = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<CheckReport>(&text).unwrap(), report);
    let scratch = tempfile::tempdir().unwrap();
    let seen = inspect(dir.path(), scratch.path()).unwrap();
    assert_eq!(seen.rows, [("outbox", "P0", 9, 64), ("outbox", "P1", 3, 15)]);
    assert_eq!((seen.tally, seen.black_box), ((12, 12), (64, 9, 0)));
    assert!(seen.readable && seen.commit.1 == Some(seen.commit.0));
    assert_eq!(kinds(&reopen(dir.path())), [], "neither of them changed anything");
}

#[test]
fn salvage_gives_the_newest_of_each_row_and_nothing_that_the_black_box_saw_removed() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopen(dir.path()).store;
    let mut rng = Rng::new(3);
    for round in 0..300_u64 {
        let class = if rng.below(2) == 0 { Class::P0 } else { Class::P1 };
        commit(&store, put(class, rng.below(20), &round.to_be_bytes())).unwrap();
    }
    commit(&store, delete(Class::P0, 5)).unwrap();
    let expected = rows(&store);
    store.close();
    let mut found = std::collections::BTreeMap::new();
    let seen = salvage(dir.path(), |row| assert!(found.insert(row.key, row.value).is_none())).unwrap();
    assert_eq!(found, expected);
    assert_eq!((seen.rows, seen.unreadable_files), (expected.len() as u64, 0));
    assert!(found.keys().all(|key| key.space == Space::Outbox));
}
