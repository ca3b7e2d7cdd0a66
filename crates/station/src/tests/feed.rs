//! Following a station whose disk is slow: what is shown early, shown out of order, and becomes durable later.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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

/// The station's shell with a disk that takes nothing while it is `stuck`; the writes wait.
struct Late {
    inner: StationShell,
    stuck: Arc<AtomicBool>,
    waiting: Vec<Output>,
}

impl Shell<Station> for Late {
    fn carry_out(&mut self, output: Output) {
        match &output {
            Output::Persist(_, Write::Put(row)) if self.stuck.load(Ordering::SeqCst) => {
                self.inner.board.read().writing(row);
                self.waiting.push(output);
            }
            _ => self.inner.carry_out(output),
        }
    }

    fn after_step(&mut self, _: &Station) {
        if !self.stuck.load(Ordering::SeqCst) {
            self.waiting.drain(..).for_each(|output| self.inner.carry_out(output));
        }
    }
}

struct Bench {
    seat: Seat,
    stuck: Arc<AtomicBool>,
    shutdown: Shutdown,
    _link: Link,
}

impl Bench {
    async fn new(world: &World, dir: &Path) -> Self {
        let (cert, key) = world.issue("station/s1/desk-1");
        let credentials = Credentials::load(&world.path("ca.pem"), &cert, &key, None).unwrap();
        let (events, _) = mpsc::channel(1);
        let link = Link::new(credentials, LinkConfig::new(|_| true), events).unwrap();
        let clock = Clock::system();
        let opened = huxiao_store::open(&Config::new(dir, Trial::InProcess), clock.wall()).unwrap();
        let ingredients = Ingredients {
            seat: huxiao_core::SeatId { station: "s1".parse().unwrap(), seat: "desk-1".parse().unwrap() },
            store: &opened.store,
            high: opened.high,
            losses: &[],
            link: &link,
            now: clock.now(),
            seed: 1,
            software: String::new(),
        };
        let parts = seat::assemble(ingredients).await.unwrap();
        let (stuck, shutdown) = (Arc::new(AtomicBool::new(false)), Shutdown::new());
        let shell = Late { inner: parts.shell, stuck: stuck.clone(), waiting: Vec::new() };
        tokio::spawn(drive(parts.machine, shell, parts.inputs, clock, shutdown.clone()));
        Self { seat: parts.seat, stuck, shutdown, _link: link }
    }

    async fn come(&self, kind: Kind, number: u64) {
        let sealed = huxiao_wire::seal(&event(kind, number));
        let copy = EventCopy { sealed, trail: Trail::default(), receipts: Vec::new() };
        self.seat.handle.input(Input::Message(PathId(1), Message::Event(copy))).await.unwrap();
    }

    /// Whatever `disk` says now holds once the machine has made a step.
    async fn disk(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::SeqCst);
        self.seat.displayed(Vec::new()).await.unwrap();
        // Reading comes after the step.
        self.seat.upstream().await.unwrap();
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
            Item::Live => ("live", 0, None),
            Item::Stage { .. } => continue,
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
    bench.disk(true).await;
    bench.come(Kind::Panic, 2).await;
    let begun = std::time::Instant::now();
    assert_eq!(next(&mut reader).await, ("shown", 2, None), "a screen does not wait for a slow disk");
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let (row, durable) = bench.seat.get(event(Kind::Panic, 2).id).await.unwrap().map_or((0, true), |(r, d)| (r.seq, d));
    assert!(row == 2 && !durable || row == 0);
    let (rows, next_seq) = bench.seat.page(1, 10).await.unwrap();
    assert_eq!((rows.iter().map(|(row, durable)| (row.seq, *durable)).collect::<Vec<_>>(), next_seq), (vec![(1, true), (2, false)], 3));
    bench.disk(false).await;
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
    bench.disk(true).await;
    bench.come(Kind::Panic, 2).await;
    bench.come(Kind::Panic, 3).await;
    // Neither is shown yet: both belong to what comes.
    let mut early = bench.follow(1).await;
    assert!(bench.seat.page(1, 10).await.unwrap().1 <= 2, "a page ends before what is not shown");
    assert_eq!(next(&mut early).await, ("kept", 1, Some(1)));
    assert_eq!(next(&mut early).await, ("live", 0, None));
    assert_eq!(next(&mut early).await, ("shown", 2, None));
    assert_eq!(next(&mut early).await, ("shown", 3, None));
    // Both are shown and not on disk: history for whoever begins now, but no place to resume after.
    let mut late = bench.follow(1).await;
    bench.disk(false).await;
    for reader in [&mut early, &mut late] {
        let mut given = Vec::new();
        while reader.position() < 3 || given.last() != Some(&("durable", 3, Some(3))) {
            let item = next(reader).await;
            given.push(item);
            if item.0 == "kept" && item.1 == 3 {
                break;
            }
        }
        let events: Vec<u64> = given.iter().filter(|item| matches!(item.0, "kept" | "shown")).map(|item| item.1).collect();
        assert!(events.is_empty() || events == [1, 2, 3], "{given:?}");
    }
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
