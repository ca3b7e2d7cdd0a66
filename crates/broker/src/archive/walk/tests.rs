//! Walks: each event once, in order, wherever it stands; and files that need not be read again are not.

use std::path::Path;
use std::sync::mpsc;

use huxiao_core::record::{Cursor, Entry, EventFilter, Part};
use huxiao_core::{
    Admission, Case, Class, Event, EventId, Kind, Mode, Name, RelayId, Rng, SchoolId, Text, Trail, WallTime,
};
use huxiao_store::{Config, Store, Trial, open};

use super::super::Archive;
use super::super::chunks::Shape;

const NOW: WallTime = WallTime(1_795_478_400_000_000);
const SHAPE: Shape = Shape { keep: 1_000, chunk: 10 };

fn store(dir: &Path) -> Store {
    let config = Config { ballast_bytes: 0, black_box_blocks: 16, ..Config::new(dir, Trial::InProcess) };
    open(&config, NOW).unwrap().store
}

fn archive(dir: &Path) -> Archive {
    Archive::shaped(store(dir), &dir.join("chunks"), false, SHAPE).unwrap()
}

/// The event with this archive number. It was admitted at twice that index, and came to the region in the second of that number.
fn entry(number: u64) -> Entry {
    let at = WallTime(i64::try_from(number).unwrap() * 1_000_000);
    let event = Event {
        id: EventId::generate(NOW, &mut Rng::new(number)),
        relay: RelayId { school: SchoolId(Name::new("s1").unwrap()), device: Name::new("gate").unwrap() },
        epoch: 1,
        seq: number,
        kind: Kind::Panic,
        class: Class::P0,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: at,
        count: 1,
        details: huxiao_core::Details::default(),
    };
    Entry {
        trouble: None,
        index: 2 * number,
        routed_at: 2 * number,
        admission: Admission {
            sealed: huxiao_wire::seal(&event),
            trail: Trail::default(),
            at,
            by: "broker/r1/b1".parse().unwrap(),
            stations: vec!["p1".parse().unwrap()],
            owed: false,
            joins: false,
        },
        notes: Vec::new(),
        escalations: Vec::new(),
        overdue: Vec::new(),
        forwarded: Vec::new(),
        bond: huxiao_core::record::Bond::Alone,
        presses: 0,
        pressed_at: None,
        case: Case::default(),
        pictures: Vec::new(),
        part: Part::WHOLE,
    }
}

fn fill(archive: &Archive, numbers: impl IntoIterator<Item = u64>) {
    numbers.into_iter().for_each(|number| archive.put(number, &entry(number)));
    let (told, tell) = mpsc::channel();
    archive.flush(move |done| told.send(done).unwrap());
    tell.recv().unwrap().unwrap();
    while archive.inner().moving || archive.inner().busy || !archive.inner().leaving.is_empty() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

/// Walks to the end. The numbers found, how many walks that took, and what is missing.
fn walk(archive: &Archive, mut from: Cursor, upto: u64, filter: &EventFilter, limit: usize) -> (Vec<u64>, u32, u64) {
    let (mut found, mut walks, mut missing) = (Vec::new(), 0, 0);
    while from.archived < upto {
        let walk = archive.walk(from, upto, filter, limit).unwrap();
        assert!(walk.upto > from.archived && walk.found.len() <= limit);
        found.extend(walk.found.iter().map(|entry| entry.index / 2));
        (from.archived, walks, missing) = (walk.upto, walks + 1, missing + walk.missing);
    }
    (found, walks, missing)
}

#[test]
fn each_event_is_found_once_in_files_in_the_database_and_on_its_way() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    fill(&archive, 1..=34);
    assert_eq!(archive.chunks.numbers().len(), 3);
    // On their way.
    archive.store.clone().close();
    [35, 36].into_iter().for_each(|number| archive.put(number, &entry(number)));
    let all = EventFilter::default();
    for limit in [1, 3, 10, 100] {
        let (found, _, missing) = walk(&archive, Cursor::default(), 30, &all, limit);
        assert_eq!((found, missing), ((1..=30).collect(), 0), "{limit}");
    }
    assert_eq!(archive.walk(Cursor { archived: 34, ..Cursor::default() }, 36, &all, 9).unwrap().found.len(), 2);
}

#[test]
fn what_was_looked_at_while_the_record_had_it_is_not_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    fill(&archive, 1..=25);
    let from = Cursor { record: None, archived: 3, index: 2 * 20 };
    let (found, ..) = walk(&archive, from, 25, &EventFilter::default(), 100);
    assert_eq!(found, (21..=25).collect::<Vec<_>>());
}

#[test]
fn a_file_is_read_once_to_know_when_its_events_came() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    fill(&archive, 1..=58);
    let between = |since: i64, until: i64| EventFilter {
        since: Some(WallTime(since * 1_000_000)),
        until: Some(WallTime(until * 1_000_000)),
        ..EventFilter::default()
    };
    assert_eq!(walk(&archive, Cursor::default(), 58, &between(41, 45), 100).0, (41..45).collect::<Vec<_>>());
    assert!([1, 11, 21, 31].iter().all(|first| archive.chunks.times(*first).is_some()));
    // Files that cannot hold it are passed over in one walk: the last two are what is left to read.
    let (found, walks, _) = walk(&archive, Cursor::default(), 58, &between(53, 57), 100);
    assert_eq!((found, walks), ((53..57).collect(), 1));
    // And nothing is passed over that is wanted, however the pages fall.
    for limit in [1, 4] {
        assert_eq!(walk(&archive, Cursor::default(), 58, &between(9, 42), limit).0, (9..42).collect::<Vec<_>>());
    }
}

#[test]
fn what_is_not_here_and_should_be_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let archive = archive(dir.path());
    fill(&archive, (1..=20).chain(24..=30));
    let (found, _, missing) = walk(&archive, Cursor::default(), 33, &EventFilter::default(), 4);
    assert_eq!((found.len(), missing), (27, 3 + 3));
    // A damaged entry costs itself alone.
    let path = dir.path().join("chunks").join("000000000001.chunk");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let (found, _, missing) = walk(&archive, Cursor::default(), 20, &EventFilter::default(), 100);
    assert_eq!((found, missing), ((2..=20).collect(), 1));
    // What is too old to be kept is not missed.
    let shaped = Archive { shape: Shape { keep: 5, ..SHAPE }, ..archive };
    assert_eq!(walk(&shaped, Cursor { archived: 20, ..Cursor::default() }, 33, &EventFilter::default(), 100).2, 3);
}

/// By hand: `cargo test -p huxiao-broker --lib a_large_archive_is_walked -- --ignored --nocapture`; `HUXIAO_ARCHIVED` sets another number.
#[test]
#[ignore = "a measurement of a large archive, run by hand: it prints figures"]
fn a_large_archive_is_walked_in_short_steps_and_the_second_time_passed_over() {
    let total: u64 = std::env::var("HUXIAO_ARCHIVED").map_or(100_000, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let archive = Archive::open(store(dir.path()), &dir.path().join("chunks"), false).unwrap();
    for from in (1..=total).step_by(2_000) {
        fill(&archive, from..=total.min(from + 1_999));
    }
    let last = WallTime(i64::try_from(total).unwrap() * 1_000_000);
    let filter = EventFilter { since: Some(last), ..EventFilter::default() };
    for what in ["the first time", "the second time"] {
        let (mut from, mut found, mut slowest) = (Cursor::default(), 0, std::time::Duration::ZERO);
        let begun = std::time::Instant::now();
        while from.archived < total {
            let step = std::time::Instant::now();
            let walk = archive.walk(from, total, &filter, 200).unwrap();
            slowest = slowest.max(step.elapsed());
            (from.archived, found) = (walk.upto, found + walk.found.len());
        }
        println!("{what}: {total} archived events in {:?}, the longest walk {slowest:?}", begun.elapsed());
        assert_eq!(found, 1);
    }
}
