//! Following a station whose disk is slow: what is shown early, shown out of order, and becomes durable later.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use huxiao_core::station::{Input, Output, Station, Write};
use huxiao_core::{EventCopy, Kind, Message, PathId, Trail};
use huxiao_link::{Link, LinkConfig};
use huxiao_pki::Credentials;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::{Shell, drive};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_store::{Config, Trial};
use tokio::sync::mpsc;

use super::harness::{PATIENCE, World, event};
use crate::feed::{Item, Reader, Start};
use crate::seat::{self, Ingredients, Seat};
use crate::shell::StationShell;

/// What the disk does with rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Works,
    /// Takes nothing for now; the writes wait.
    Stuck,
    /// Refuses at once.
    Full,
}

/// The station's shell with such a disk.
struct Late {
    inner: StationShell,
    disk: Arc<Mutex<Disk>>,
    waiting: Vec<Output>,
}

impl Shell<Station> for Late {
    fn carry_out(&mut self, output: Output) {
        let disk = *self.disk.lock().unwrap();
        match &output {
            Output::Persist(_, Write::Put(row)) if disk == Disk::Stuck => {
                self.inner.board.read().writing(row);
                self.waiting.push(output);
            }
            Output::Persist(seq, Write::Put(row)) if disk == Disk::Full => {
                self.inner.board.read().writing(row);
                let handle = self.inner.handle.upgrade().unwrap();
                handle.urgent(Input::PersistFailed(*seq, "full".to_owned())).unwrap();
            }
            _ => self.inner.carry_out(output),
        }
    }

    fn after_step(&mut self, _: &Station) {
        if *self.disk.lock().unwrap() == Disk::Works {
            self.waiting.drain(..).for_each(|output| self.inner.carry_out(output));
        }
    }
}

/// A link without sessions.
pub(super) fn idle_link(world: &World) -> Link {
    let (cert, key) = world.issue("station/s1/desk-1");
    let credentials = Credentials::load(&world.path("ca.pem"), &cert, &key, None).unwrap();
    let (events, _) = mpsc::channel(1);
    Link::new(credentials, LinkConfig::new(|_| true), events).unwrap()
}

struct Bench {
    seat: Seat,
    disk: Arc<Mutex<Disk>>,
    shutdown: Shutdown,
    _link: Link,
}

impl Bench {
    async fn new(world: &World, dir: &Path) -> Self {
        let link = idle_link(world);
        let clock = Clock::system();
        let opened = huxiao_store::open(&Config::new(dir, Trial::InProcess), clock.wall()).unwrap();
        let ingredients = Ingredients {
            seat: huxiao_core::SeatId { station: "s1".parse().unwrap(), seat: "desk-1".parse().unwrap() },
            store: &opened.store,
            high: opened.high,
            losses: &[],
            link: &link,
            dials: &Arc::default(),
            now: clock.now(),
            seed: 1,
            software: String::new(),
            signer: None,
            verifier: Arc::new(huxiao_core::signature::Nobody),
        };
        let parts = seat::assemble(ingredients).await.unwrap();
        let (disk, shutdown) = (Arc::new(Mutex::new(Disk::Works)), Shutdown::new());
        let shell = Late { inner: parts.shell, disk: disk.clone(), waiting: Vec::new() };
        tokio::spawn(drive(parts.machine, shell, parts.inputs, clock, shutdown.clone()));
        Self { seat: parts.seat, disk, shutdown, _link: link }
    }

    async fn come(&self, kind: Kind, number: u64) {
        let sealed = huxiao_wire::seal(&event(kind, number));
        let copy = EventCopy { sealed, trail: Trail::default(), receipts: Vec::new() };
        self.seat.handle.urgent(Input::Message(PathId(1), Message::Event(copy))).unwrap();
        // Reading comes after the step.
        self.seat.upstream().await.unwrap();
    }

    /// From now on the disk does this; what waited for it goes to it with the next step.
    async fn disk(&self, does: Disk) {
        *self.disk.lock().unwrap() = does;
        self.seat.displayed(Vec::new()).await.unwrap();
    }

    async fn follow(&self, from: u64) -> Reader {
        self.seat.follow(Start::At { from, before: 0 }).await.unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.shutdown.force();
    }
}

/// The next item that is no stage, as (what, number, position).
async fn next(reader: &mut Reader) -> (&'static str, u64, Option<u64>) {
    loop {
        let item = tokio::time::timeout(PATIENCE, reader.next()).await.expect("an item in time").unwrap();
        return match item {
            Item::Event { row, durable: true, position } => ("kept", row.seq, position),
            Item::Event { row, durable: false, position } => ("shown", row.seq, position),
            Item::Durable { seq, position } => ("durable", seq, position),
            Item::Pictures(_) => continue,
            Item::Live => ("live", 0, None),
            Item::Stage { .. } | Item::Ownership { .. } | Item::Case(_) | Item::Command(_) | Item::Condition(_) => {
                continue;
            }
            Item::Drill(_) => continue,
        };
    }
}

#[tokio::test]
async fn what_is_shown_before_the_disk_has_it_carries_a_position_only_later() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let bench = Bench::new(&world, dir.path()).await;
    let mut reader = bench.follow(1).await;
    assert_eq!(next(&mut reader).await, ("live", 0, None));
    bench.come(Kind::Panic, 1).await;
    assert_eq!(next(&mut reader).await, ("kept", 1, Some(1)));
    bench.disk(Disk::Stuck).await;
    bench.come(Kind::Panic, 2).await;
    let begun = std::time::Instant::now();
    assert_eq!(next(&mut reader).await, ("shown", 2, None), "a screen does not wait for a slow disk");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let (row, durable) = bench.seat.get(event(Kind::Panic, 2).id).await.unwrap().unwrap();
    assert_eq!((row.seq, durable), (2, false));
    let shown = serde_json::to_value(crate::view::EventJson::new(&row, durable)).unwrap();
    assert_eq!(shown["stages"].get("delivered"), None, "delivered means on this disk");
    let (rows, next_seq) = bench.seat.page(1, 10).await.unwrap();
    let rows: Vec<_> = rows.iter().map(|(row, durable)| (row.seq, *durable)).collect();
    assert_eq!((rows, next_seq), (vec![(1, true), (2, false)], 3));
    bench.disk(Disk::Works).await;
    assert_eq!(next(&mut reader).await, ("durable", 2, Some(2)));
    assert_eq!(reader.position(), 2);
}

#[tokio::test]
async fn a_stream_that_begins_while_rows_wait_for_the_disk_misses_and_repeats_none() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let bench = Bench::new(&world, dir.path()).await;
    bench.come(Kind::Panic, 1).await;
    let mut first = bench.follow(1).await;
    while next(&mut first).await != ("kept", 1, Some(1)) {}
    bench.disk(Disk::Stuck).await;
    bench.come(Kind::Panic, 2).await;
    bench.come(Kind::Panic, 3).await;
    // Whether or not they are shown by now, each comes once.
    let mut early = bench.follow(1).await;
    let mut given = Vec::new();
    while given.len() < 3 {
        given.extend(Some(next(&mut early).await).filter(|item| item.0 != "live"));
    }
    assert_eq!(given, [("kept", 1, Some(1)), ("shown", 2, None), ("shown", 3, None)]);
    // Shown and not on disk: history for whoever begins now, but no place to resume after.
    let mut later = bench.follow(1).await;
    let mut last = bench.follow(1).await;
    for expected in [("kept", 1, Some(1)), ("shown", 2, None), ("shown", 3, None), ("live", 0, None)] {
        assert_eq!(next(&mut later).await, expected);
    }
    bench.disk(Disk::Works).await;
    for expected in [("durable", 2, Some(2)), ("durable", 3, Some(3))] {
        assert_eq!(next(&mut later).await, expected);
    }
    let kept = [("kept", 1, Some(1)), ("kept", 2, Some(2)), ("kept", 3, Some(3)), ("live", 0, None)];
    for expected in kept.into_iter().chain([("durable", 2, None), ("durable", 3, None)]) {
        assert_eq!(next(&mut last).await, expected);
    }
}

#[tokio::test]
async fn a_row_shown_before_an_earlier_one_is_no_place_to_resume_after() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let bench = Bench::new(&world, dir.path()).await;
    // A machine that is held up for 150 ms shows the earlier one in time: then the next pair is tried.
    for pair in 0..20 {
        let (held, refused) = (2 * pair + 1, 2 * pair + 2);
        bench.disk(Disk::Stuck).await;
        bench.come(Kind::Panic, held).await;
        bench.disk(Disk::Full).await;
        bench.come(Kind::Panic, refused).await;
        let mut reader = bench.follow(held).await;
        let hidden = bench.seat.board.read().hidden.contains(&held);
        bench.disk(Disk::Works).await;
        if !hidden {
            continue;
        }
        let first = next(&mut reader).await;
        assert_eq!((first.1, first.2), (refused, None), "whoever resumed after it would miss the other");
        assert_eq!(next(&mut reader).await.0, "live");
        assert_eq!(next(&mut reader).await, ("kept", held, Some(held)));
        return;
    }
    panic!("twenty times 150 ms were not enough for two inputs");
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_and_begins_anew_where_it_was() {
    let (world, dir) = (World::new(), tempfile::tempdir().unwrap());
    let bench = Bench::new(&world, dir.path()).await;
    bench.come(Kind::Mains, 1).await;
    let mut slow = bench.follow(1).await;
    while next(&mut slow).await != ("kept", 1, Some(1)) {}
    let mut quick = bench.follow(2).await;
    for number in 2..=1_200 {
        bench.come(Kind::Mains, number).await;
        while next(&mut quick).await.1 != number {}
    }
    while let Ok(item) = slow.next().await {
        assert!(matches!(item, Item::Live | Item::Stage { .. }), "{item:?}");
    }
    assert_eq!(slow.position(), 1);
    let mut again = bench.follow(slow.position() + 1).await;
    for number in 2..=1_200 {
        assert_eq!(next(&mut again).await, ("kept", number, Some(number)));
    }
}
