//! A log from its making through appends, segments, purges and openings, held against a model.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};

use huxiao_core::Rng;
use proptest::prelude::*;

use super::{append, config, entries, entry, purge, reopen, segments, term, vote};
use crate::wal::{APPEND_BYTES, Record, Wal, WalConfig, WalError, WalObservation};

#[test]
fn a_log_comes_back_in_order_with_its_newest_vote() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, recovered) = reopen(&dir.path().join("deep/below"));
    assert_eq!((recovered.records, recovered.torn), (vec![], None));
    append(&wal, vec![vote(1)]).unwrap();
    for index in 1..=100 {
        append(&wal, vec![entry(index, &[7; 300])]).unwrap();
        if index % 10 == 0 {
            append(&wal, vec![vote(index)]).unwrap();
        }
    }
    let health = wal.health();
    assert!(health.segments >= 7 && health.bytes > 30_000 && health.poisoned.is_none() && !health.full, "{health:?}");
    wal.close();
    let (wal, recovered) = reopen(&dir.path().join("deep/below"));
    assert_eq!(entries(&recovered), (1..=100).collect::<Vec<_>>());
    assert_eq!(term(&recovered), Some(100));
    assert_eq!((wal.health().bytes, wal.health().segments), (health.bytes, health.segments));
}

#[test]
fn purging_takes_whole_segments_and_leaves_the_vote() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = reopen(dir.path());
    append(&wal, vec![vote(3)]).unwrap();
    for index in 1..=100 {
        append(&wal, vec![entry(index, &[7; 300])]).unwrap();
    }
    let before = segments(dir.path()).len() as u64;
    purge(&wal, 0).unwrap();
    assert_eq!(segments(dir.path()).len() as u64, before, "the first holds more than the vote");
    purge(&wal, 50).unwrap();
    let health = wal.health();
    assert!(health.segments + 2 < before, "{health:?}");
    assert_eq!(segments(dir.path()).len() as u64, health.segments);
    wal.close();
    let (wal, recovered) = reopen(dir.path());
    let left = entries(&recovered);
    assert!((30..=51).contains(&left[0]) && left.last() == Some(&100), "{left:?}");
    assert_eq!(term(&recovered), Some(3), "the vote of the first segment was carried on");
    purge(&wal, u64::MAX).unwrap();
    assert_eq!(wal.health().segments, 1, "the active one stays");
    append(&wal, vec![entry(101, b"x")]).unwrap();
    wal.close();
    let (_, recovered) = reopen(dir.path());
    assert_eq!((entries(&recovered).last(), term(&recovered)), (Some(&101), Some(3)));
}

#[test]
fn a_segment_is_kept_for_a_high_record_before_lower_ones() {
    // A log that was cut back and goes on with lower indexes: the cut itself stands behind what it cut.
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = reopen(dir.path());
    append(&wal, vec![entry(1_000, &[7; 5_000])]).unwrap();
    append(&wal, vec![entry(5, &[7; 5_000])]).unwrap();
    append(&wal, vec![entry(6, b"x")]).unwrap();
    purge(&wal, 999).unwrap();
    assert_eq!(wal.health().segments, 3, "none behind one that stays is removed");
    purge(&wal, 1_000).unwrap();
    assert_eq!(wal.health().segments, 1);
}

#[test]
fn a_missing_or_foreign_segment_is_refused_and_nothing_is_touched() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = reopen(dir.path());
    (1..=60).for_each(|index| append(&wal, vec![entry(index, &[7; 300])]).unwrap());
    wal.close();
    let files = segments(dir.path());
    let hidden = dir.path().join("hidden");
    fs::rename(&files[1], &hidden).unwrap();
    let refused = Wal::open(dir.path(), config()).map(drop).unwrap_err();
    assert!(matches!(&refused, WalError::Damaged { file, .. } if *file == files[2]), "{refused}");
    fs::copy(&files[2], &files[1]).unwrap();
    assert!(matches!(Wal::open(dir.path(), config()), Err(WalError::Damaged { file, .. }) if file == files[1]));
    fs::rename(&hidden, &files[1]).unwrap();
    assert_eq!(entries(&reopen(dir.path()).1).len(), 60);
}

#[test]
fn damage_in_any_segment_is_refused_and_the_file_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = reopen(dir.path());
    (1..=60).for_each(|index| append(&wal, vec![entry(index, &[7; 300])]).unwrap());
    wal.close();
    for path in segments(dir.path()) {
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let refused = Wal::open(dir.path(), config()).map(drop).unwrap_err();
        assert!(matches!(&refused, WalError::Damaged { file, .. } if *file == path), "{refused}");
        assert_eq!(fs::read(&path).unwrap(), bad);
        fs::write(&path, good).unwrap();
    }
    assert_eq!(entries(&reopen(dir.path()).1).len(), 60);
}

#[test]
fn a_torn_tail_is_cut_once_and_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = reopen(dir.path());
    append(&wal, vec![entry(1, b"kept")]).unwrap();
    append(&wal, vec![entry(2, &[7; 100])]).unwrap();
    wal.close();
    let path = segments(dir.path()).remove(0);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 60]).unwrap();
    let (wal, recovered) = reopen(dir.path());
    assert_eq!((entries(&recovered), recovered.torn), (vec![1], Some(24 + 13 + 100 + 1 - 60)));
    append(&wal, vec![entry(3, b"new")]).unwrap();
    wal.close();
    let (_, recovered) = reopen(dir.path());
    assert_eq!((entries(&recovered), recovered.torn), (vec![1, 3], None));
}

#[test]
fn many_appends_share_their_syncs_and_are_told_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let seen = Arc::new([const { AtomicU64::new(0) }; 3]);
    let counts = seen.clone();
    let observe = move |observation| {
        if let WalObservation::Synced { appends, records, .. } = observation {
            counts[0].fetch_add(1, Ordering::Relaxed);
            counts[1].fetch_add(appends, Ordering::Relaxed);
            counts[2].fetch_add(records, Ordering::Relaxed);
        }
    };
    let config = WalConfig { observe: Some(Arc::new(observe)), segment_bytes: 1 << 20, ..config() };
    let (wal, _) = Wal::open(dir.path(), config).unwrap();
    // A callback that waits holds the writer up until all are in the queue.
    let (gate, (told, tell)) = (Arc::new(Barrier::new(2)), mpsc::channel());
    let held = gate.clone();
    wal.append(vec![entry(0, b"first")], move |_| {
        held.wait();
    });
    for index in 1..=2_000 {
        let told = told.clone();
        wal.append(vec![entry(index, b"x"), entry(index, b"y")], move |result| told.send((index, result)).unwrap());
    }
    gate.wait();
    drop(told);
    let results: Vec<_> = tell.iter().collect();
    assert_eq!(results, (1..=2_000).map(|index| (index, Ok(()))).collect::<Vec<_>>());
    wal.close();
    let seen: Vec<u64> = seen.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert!(seen[0] <= 2, "{seen:?}");
    assert_eq!(seen[1..], [2_001, 4_001]);
}

#[test]
fn what_is_refused_costs_its_sender_only() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, _) = reopen(dir.path());
    wal.append(vec![entry(1, b"x")], |_| panic!("a defect of the caller"));
    let large = vec![0; APPEND_BYTES];
    assert!(matches!(append(&wal, vec![entry(2, &large)]), Err(WalError::TooLarge { .. })));
    append(&wal, vec![]).unwrap();
    append(&wal, vec![entry(3, b"x")]).unwrap();
    assert_eq!(Wal::open(dir.path(), config()).map(drop), Err(WalError::InUse(dir.path().into())));
    let other = wal.clone();
    wal.close();
    assert_eq!(append(&other, vec![entry(4, b"x")]), Err(WalError::Closed));
    assert_eq!(purge(&other, 9), Err(WalError::Closed));
    assert_eq!(entries(&reopen(dir.path()).1), [1, 3]);
}

/// One step of a log's life.
#[derive(Debug, Clone)]
enum Act {
    /// Entries of so many bytes each.
    Append(Vec<usize>),
    Vote(u64),
    Purge(u64),
    Reopen,
    /// The power goes while so many bytes of one more append were written.
    Tear(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => proptest::collection::vec(0..1_500_usize, 1..4).prop_map(Act::Append),
        1 => any::<u64>().prop_map(Act::Vote),
        1 => (0..60_u64).prop_map(Act::Purge),
        1 => Just(Act::Reopen),
        1 => (0..900_usize).prop_map(Act::Tear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_life_leaves_what_was_promised(acts in proptest::collection::vec(act(), 1..24), seed: u64) {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = Rng::new(seed);
        let (mut wal, _) = reopen(dir.path());
        let (mut written, mut purged, mut voted): (Vec<Record>, u64, Option<u64>) = (Vec::new(), 0, None);
        for act in acts.into_iter().chain([Act::Reopen]) {
            let mut torn = None;
            match act {
                Act::Append(sizes) => {
                    let first = written.len() as u64 + 1;
                    let sized = |(size, index): (usize, u64)| {
                        entry(index, &(0..size).map(|_| u8::try_from(rng.below(256)).unwrap()).collect::<Vec<_>>())
                    };
                    let records: Vec<_> = sizes.into_iter().zip(first..).map(sized).collect();
                    append(&wal, records.clone()).unwrap();
                    written.extend(records);
                    continue;
                }
                Act::Vote(term) => {
                    append(&wal, vec![vote(term)]).unwrap();
                    voted = Some(term);
                    continue;
                }
                Act::Purge(upto) => {
                    purge(&wal, upto).unwrap();
                    purged = purged.max(upto);
                    continue;
                }
                Act::Reopen => wal.close(),
                Act::Tear(length) => {
                    wal.close();
                    let path = segments(dir.path()).pop().unwrap();
                    let mut bytes = fs::read(&path).unwrap();
                    let tail: Vec<u8> = (0..length).map(|at| if at < 512 { 0 } else { 9 }).collect();
                    bytes.extend(&tail);
                    fs::write(&path, bytes).unwrap();
                    torn = (length > 0).then_some(length as u64);
                }
            }
            let (opened, recovered) = reopen(dir.path());
            wal = opened;
            let found: Vec<Record> =
                recovered.records.iter().filter(|(_, record)| record.kind == super::ENTRY).map(|it| it.1.clone()).collect();
            prop_assert!(written.ends_with(&found), "a suffix of what was written");
            let lost = (written.len() - found.len()) as u64;
            prop_assert!(lost <= purged, "only what may be purged is gone: {lost} of {purged}");
            prop_assert_eq!(term(&recovered), voted);
            prop_assert_eq!(recovered.torn, torn);
        }
    }
}
