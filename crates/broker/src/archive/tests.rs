use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use huxiao_core::record::{RecordLimits, RecordState};
use huxiao_core::{EventId, Rng, Stage, WallTime};
use huxiao_store::{CommitError, Config, Store, Trial, Usage, VALUE_BYTES, open};

use super::chunks::Shape;
use super::row::ENTRY_BYTES;
use super::{Archive, ArchiveError, ArchiveRow, RUNS, head_key, index_key};
use crate::record::testing;

const NOW: WallTime = WallTime(1_795_478_400_000_000);

fn config(dir: &Path) -> Config {
    Config { ballast_bytes: 0, black_box_blocks: 16, ..Config::new(dir, Trial::InProcess) }
}

fn store(dir: &Path) -> Store {
    open(&config(dir), NOW).unwrap().store
}

fn open_in(dir: &Path) -> Result<Archive, ArchiveError> {
    Archive::open(store(dir), &dir.join("chunks"), false)
}

/// Waits until no more rows are to leave the database.
fn settled(archive: &Archive) {
    while archive.inner().moving || archive.inner().busy || !archive.inner().leaving.is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rows_in_database(archive: &Archive) -> usize {
    let mut rows = 0;
    let each = |_, _: &[u8]| {
        rows += 1;
        std::ops::ControlFlow::Continue(())
    };
    archive.store.scan(huxiao_store::Space::Archive, each).unwrap();
    rows
}

fn id(number: u64) -> EventId {
    EventId::generate(WallTime(NOW.0 + i64::try_from(number / 7).unwrap()), &mut Rng::new(number))
}

/// Bytes that differ from those of any other number.
fn entry(number: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::new(number);
    (0..length).map(|_| u8::try_from(rng.below(256)).unwrap()).collect()
}

fn flush(archive: &Archive) -> Result<(), CommitError> {
    let (told, tell) = mpsc::channel();
    archive.flush(move |done| told.send(done).unwrap());
    tell.recv().unwrap()
}

fn fill(archive: &Archive, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| archive.put_encoded(number, id(number), entry(number, 50)));
    flush(archive).unwrap();
}

#[test]
fn entries_of_any_size_come_back_by_number_and_by_id() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open_in(dir.path()).unwrap();
    assert_eq!((archive.last(), archive.missing(0), archive.missing(3)), (0, None, Some((1, 3))));
    let sizes = [0, 1, 2_000, VALUE_BYTES - 22, VALUE_BYTES - 21, VALUE_BYTES - 20, 3 * VALUE_BYTES, ENTRY_BYTES];
    let all: Vec<_> = (1..).zip(sizes).map(|(number, size)| (number, id(number), entry(number, size))).collect();
    for (number, id, bytes) in &all {
        archive.put_encoded(*number, *id, bytes.clone());
        assert_eq!(archive.get(*id).unwrap(), Some((*number, bytes.clone())), "at once");
    }
    assert_eq!(archive.last(), 8);
    flush(&archive).unwrap();
    archive.store.close();
    let archive = open_in(dir.path()).unwrap();
    for (number, id, bytes) in &all {
        assert_eq!(archive.get(*id).unwrap(), Some((*number, bytes.clone())), "{number}");
    }
    assert_eq!(archive.get(id(9)).unwrap(), None);
    assert_eq!(archive.range(0, 99, usize::MAX).unwrap(), all);
    assert_eq!(archive.range(2, 3, usize::MAX).unwrap(), all[2..5]);
    assert_eq!(archive.range(0, 99, 5_000).unwrap(), all[..4], "no more once there are enough bytes");
    assert_eq!((archive.last(), archive.count(), archive.missing(8)), (8, 8, None));
}

#[test]
fn a_gap_is_known_over_a_start_and_can_be_filled() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open_in(dir.path()).unwrap();
    fill(&archive, (1..=10).chain(50..=60));
    assert_eq!(archive.missing(60), Some((11, 49)));
    archive.store.close();
    for doubtful in [false, true] {
        let archive = Archive::open(store(dir.path()), &dir.path().join("chunks"), doubtful).unwrap();
        assert_eq!((archive.missing(60), archive.last()), (Some((11, 49)), 60));
        archive.store.clone().close();
    }
    let archive = open_in(dir.path()).unwrap();
    fill(&archive, 11..=49);
    assert_eq!((archive.missing(60), archive.missing(61)), (None, Some((61, 61))));
    assert_eq!(archive.range(8, 4, usize::MAX).unwrap().iter().map(|it| it.0).collect::<Vec<_>>(), [9, 10, 11, 12]);
}

#[test]
fn what_is_archived_does_not_change() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open_in(dir.path()).unwrap();
    archive.put_encoded(1, id(1), b"first".to_vec());
    archive.put_encoded(1, id(1), b"again".to_vec());
    flush(&archive).unwrap();
    fill(&archive, [1]);
    assert_eq!(archive.get(id(1)).unwrap(), Some((1, b"first".to_vec())));
    assert_eq!(archive.count(), 1);
}

#[test]
fn only_the_newest_stay_and_nothing_of_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let shape = Shape { keep: 10, chunk: 5 };
    let archive = Archive::shaped(store(dir.path()), &dir.path().join("chunks"), false, shape).unwrap();
    // No chunk is whole, so all stay in the database.
    let gappy = |from: u64, to: u64| (from..=to).filter(|number| number % 5 != 0);
    archive.put_encoded(1, id(1), entry(1, 5 * VALUE_BYTES));
    fill(&archive, gappy(2, 24));
    settled(&archive);
    assert_eq!((archive.count(), archive.last()), (12, 24));
    for number in gappy(1, 10) {
        assert_eq!(archive.get(id(number)).unwrap(), None);
        assert_eq!(archive.store.get(index_key(id(number))).unwrap(), None);
    }
    assert!(gappy(11, 24).all(|number| archive.get(id(number)).unwrap().is_some()));
    assert_eq!(rows_in_database(&archive), 12 * 2 + 1);
}

#[test]
fn without_space_the_archive_waits_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 30));
    let mut config = config(dir.path());
    let probed = free.clone();
    config.probe = Arc::new(move |_| Ok(Usage { free: probed.load(Ordering::Relaxed), total: 2 << 30 }));
    let archive = Archive::open(open(&config, NOW).unwrap().store, &dir.path().join("chunks"), false).unwrap();
    fill(&archive, [1]);
    free.store(20 << 20, Ordering::Relaxed);
    archive.put_encoded(2, id(2), entry(2, 50));
    assert!(matches!(flush(&archive), Err(CommitError::Shed(_))));
    archive.put_encoded(3, id(3), entry(3, 50));
    assert_eq!(archive.get(id(2)).unwrap(), Some((2, entry(2, 50))), "it is still here");
    assert_eq!((archive.count(), archive.last(), archive.missing(3)), (1, 3, None));
    free.store(1 << 30, Ordering::Relaxed);
    flush(&archive).unwrap();
    assert_eq!((archive.count(), archive.missing(3)), (3, None));
}

#[test]
fn every_row_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open_in(dir.path()).unwrap();
    archive.put_encoded(7, id(7), entry(7, 3 * VALUE_BYTES));
    flush(&archive).unwrap();
    let of = |key| ArchiveRow::decode(key, &archive.store.get(key).unwrap().unwrap());
    let first = entry(7, 3 * VALUE_BYTES)[..VALUE_BYTES - 21].to_vec();
    assert_eq!(of(head_key(7)), Some(ArchiveRow::Entry(id(7), 3 * VALUE_BYTES, first)));
    assert_eq!(of(index_key(id(7))), Some(ArchiveRow::Index(7)));
    assert_eq!(of(RUNS), Some(ArchiveRow::Runs(vec![(7, 7)])));
    let mut parts = 0;
    archive
        .store
        .scan(huxiao_store::Space::Archive, |key, value| {
            parts += usize::from(ArchiveRow::decode(key, value) == Some(ArchiveRow::Part(7)));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(parts, 3);
}

#[test]
fn whole_chunks_move_into_files_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = dir.path().join("chunks");
    let shape = Shape { keep: 60, chunk: 20 };
    let archive = Archive::shaped(store(dir.path()), &chunks, false, shape).unwrap();
    fill(&archive, (1..=30).chain(36..=125));
    settled(&archive);
    let runs: Vec<_> = archive.inner().runs.iter().collect();
    assert_eq!((runs, archive.chunks.numbers()), (vec![(121, 125)], vec![(61, 80), (81, 100), (101, 120)]));
    assert_eq!(rows_in_database(&archive), 5 * 2 + 1);
    let all = |archive: &Archive| {
        assert_eq!((archive.missing(125), archive.last(), archive.count()), (None, 125, 65));
        assert!((61..=125).all(|number| archive.get(id(number)).unwrap() == Some((number, entry(number, 50)))));
        assert!((1..=60).all(|number| archive.get(id(number)).unwrap().is_none()));
        assert_eq!(
            archive.range(99, 25, usize::MAX).unwrap().iter().map(|it| it.0).collect::<Vec<_>>(),
            (100..125).collect::<Vec<_>>()
        );
    };
    all(&archive);
    archive.store.clone().close();
    drop(archive);
    // A file that is damaged is fetched again.
    let archive = Archive::shaped(store(dir.path()), &chunks, false, shape).unwrap();
    all(&archive);
    archive.store.clone().close();
    drop(archive);
    std::fs::write(chunks.join("000000000081.chunk"), b"damaged").unwrap();
    let archive = Archive::shaped(store(dir.path()), &chunks, true, shape).unwrap();
    assert_eq!(archive.missing(125), Some((81, 100)));
    fill(&archive, 81..=100);
    settled(&archive);
    all(&archive);
}

#[test]
fn rows_whose_chunk_was_made_before_the_power_went_leave_at_the_next_opening() {
    let dir = tempfile::tempdir().unwrap();
    let chunks = dir.path().join("chunks");
    let shape = |chunk| Shape { keep: 1_000, chunk };
    // Nothing fills a chunk of this size.
    let archive = Archive::shaped(store(dir.path()), &chunks, false, shape(900)).unwrap();
    fill(&archive, 1..=30);
    archive.chunks.add(1, &(1..=20).map(|number| (id(number), entry(number, 50))).collect::<Vec<_>>()).unwrap();
    archive.store.clone().close();
    drop(archive);
    let archive = Archive::shaped(store(dir.path()), &chunks, false, shape(20)).unwrap();
    settled(&archive);
    assert_eq!(archive.inner().runs.iter().collect::<Vec<_>>(), [(21, 30)]);
    assert_eq!((archive.store.get(head_key(20)).unwrap(), archive.store.get(index_key(id(20))).unwrap()), (None, None));
    assert!((1..=30).all(|number| archive.get(id(number)).unwrap() == Some((number, entry(number, 50)))));
}

/// By hand: `cargo test -p huxiao-broker --lib a_million -- --ignored --nocapture`; `HUXIAO_ARCHIVED` sets another number. Minutes, and 3 GB of
/// disk for the million.
#[test]
#[ignore = "takes minutes"]
fn a_million_entries_cost_little_memory_and_are_found_quickly() {
    let total: u64 = std::env::var("HUXIAO_ARCHIVED").map_or(1_000_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let archive = open_in(dir.path()).unwrap();
    let (before, begun) = (resident_kib(), Instant::now());
    let mut halfway = 0;
    for number in 1..=total {
        archive.put_encoded(number, id(number), entry(number, 900));
        if number % 2_000 == 0 {
            flush(&archive).unwrap();
        }
        if number == total / 2 {
            halfway = resident_kib();
        }
    }
    flush(&archive).unwrap();
    let (after, filled) = (resident_kib(), begun.elapsed());
    let mut rng = Rng::new(5);
    let mut took: Vec<_> = (0..2_000)
        .map(|_| {
            let number = 1 + rng.below(total);
            let begun = Instant::now();
            assert_eq!(archive.get(id(number)).unwrap(), Some((number, entry(number, 900))));
            begun.elapsed()
        })
        .collect();
    took.sort();
    println!(
        "{total} entries in {filled:?}; resident KiB: {before} before, {halfway} halfway, {after} after; \
         a look-up takes {:?} (median), {:?} (99 %)",
        took[1_000], took[1_980]
    );
    archive.store.clone().close();
    drop(archive);
    let begun = Instant::now();
    let archive = open_in(dir.path()).unwrap();
    println!("opened again in {:?}, resident KiB: {}", begun.elapsed(), resident_kib());
    assert_eq!((archive.count(), archive.missing(total)), (total, None));
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_long_case_is_put_together_from_its_rows_wherever_they_stand() {
    let dir = tempfile::tempdir().unwrap();
    let archive =
        Archive::shaped(store(dir.path()), &dir.path().join("chunks"), false, Shape { keep: 99, chunk: 4 }).unwrap();
    let mut state = RecordState::new(RecordLimits { finished: 0, open_cases: 0, ..RecordLimits::default() });
    let mut commands = vec![testing::admit(1)];
    commands.extend((0..600).map(|number| testing::case_note(1, number)));
    commands.push(testing::note(1, Stage::Acknowledged, "d1"));
    let mut left = Vec::new();
    for (index, command) in (1..).zip(commands) {
        left.extend(state.apply(index, command).archived);
    }
    assert!(left.len() > 5, "{} rows", left.len());
    let id = testing::event_id(1);
    let steps = |archive: &Archive| archive.whole(id).unwrap().map(|entry| entry.case.steps());
    for (at, (number, entry)) in left.iter().enumerate() {
        assert_eq!(steps(&archive), None, "{at} rows of {}", left.len());
        archive.put(*number, entry);
    }
    assert_eq!(steps(&archive), Some(601), "on its way to the disk");
    flush(&archive).unwrap();
    settled(&archive);
    assert_eq!(steps(&archive), Some(601), "some in a file, some in the database");
    assert_eq!(archive.recall(&[id]).unwrap()[0].case.steps(), 601);
}
