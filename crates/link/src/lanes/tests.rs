use std::time::Duration;

use huxiao_core::{Event, EventCopy, EventId, Kind, Mode, Name, RelayId, Rng, SchoolId, Text, Trail, WallTime};

use super::*;

fn event(path: u64, number: u64, kind: Kind) -> LinkEvent {
    let class = kind.class().unwrap();
    let event = Event {
        id: EventId::generate(WallTime(1_000), &mut Rng::new(number)),
        relay: RelayId { school: SchoolId(Name::new("school-1").unwrap()), device: Name::new("gate").unwrap() },
        epoch: 1,
        seq: number,
        kind,
        class,
        mode: Mode::Live,
        device: None,
        zone: None,
        note: Text::default(),
        raised_at: WallTime(1_000),
        count: 1,
        details: huxiao_core::Details::default(),
    };
    let copy = EventCopy { sealed: huxiao_wire::seal(&event), trail: Trail::default(), receipts: Vec::new() };
    LinkEvent::Message { path: PathId(path), message: Message::Event(copy) }
}

fn receipts(path: u64) -> LinkEvent {
    LinkEvent::Message { path: PathId(path), message: Message::Receipts(Vec::new()) }
}

fn down(path: u64) -> LinkEvent {
    LinkEvent::Down { path: PathId(path), why: DownReason::TimedOut }
}

/// `path` and what it was, in short.
fn short(event: &LinkEvent) -> String {
    match event {
        LinkEvent::Up { path, .. } => format!("{} up", path.0),
        LinkEvent::Down { path, .. } => format!("{} down", path.0),
        LinkEvent::Message { path, message: Message::Event(copy) } => format!("{} {}", path.0, copy.sealed.event.class),
        LinkEvent::Message { path, .. } => format!("{} other", path.0),
    }
}

async fn said(sender: &EventSender, events: impl IntoIterator<Item = LinkEvent>) {
    for event in events {
        assert!(sender.send(event).await);
    }
}

fn drained(receiver: &mut EventReceiver) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv()).map(|event| short(&event)).collect()
}

#[tokio::test]
async fn the_highest_class_comes_out_first() {
    let (sender, mut receiver) = events();
    said(&sender, [event(1, 1, Kind::Status), receipts(2), event(1, 2, Kind::Panic), event(3, 3, Kind::Panic)]).await;
    assert_eq!(drained(&mut receiver), ["1 P0", "3 P0", "2 other", "1 P3"]);
    assert!(receiver.try_recv_first().is_none());
}

#[tokio::test]
async fn a_path_ends_after_its_last_message_and_one_without_any_at_once() {
    let (sender, mut receiver) = events();
    said(&sender, [event(1, 1, Kind::Status), down(1), event(2, 2, Kind::Panic), down(3)]).await;
    assert_eq!(drained(&mut receiver), ["3 down", "2 P0", "1 P3", "1 down"]);
    said(&sender, [event(4, 1, Kind::Panic), event(4, 2, Kind::Status), down(4)]).await;
    assert_eq!(receiver.try_recv_first().as_ref().map(short).as_deref(), Some("4 P0"));
    assert!(receiver.try_recv_first().is_none(), "a lower message of it still waits, so it has not ended");
    assert_eq!(drained(&mut receiver), ["4 P3", "4 down"]);
}

#[tokio::test]
async fn a_flood_of_a_lower_class_leaves_the_way_of_alarms_open() {
    let (sender, mut receiver) = events();
    let flood = sender.clone();
    let flooding = tokio::spawn(async move {
        for number in 0..10_000 {
            flood.send(event(1, number, Kind::Status)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!flooding.is_finished(), "the flood is held back");
    for _ in 0..100 {
        tokio::time::timeout(Duration::from_secs(1), sender.send(event(2, 1, Kind::Panic)))
            .await
            .expect("room at once");
        assert_eq!(receiver.try_recv_first().as_ref().map(short).as_deref(), Some("2 P0"));
    }
    let mut rest = 0;
    while rest < 10_000 {
        receiver.recv().await;
        rest += 1;
    }
    flooding.await.unwrap();
}

#[tokio::test]
async fn a_flood_of_alarms_does_not_keep_an_answer_for_ever() {
    let (sender, mut receiver) = events();
    said(&sender, [receipts(1), event(1, 1, Kind::Status)]).await;
    said(&sender, (0..1_000).map(|number| event(2, number, Kind::Panic))).await;
    let order = drained(&mut receiver);
    let place = |what: &str| order.iter().position(|said| said == what).unwrap();
    assert_eq!((place("1 P3"), place("1 other")), (63, 127));
    assert_eq!(order.len(), 1_002);
}

#[tokio::test]
async fn a_driver_that_is_gone_holds_nobody_up_and_keeps_nothing() {
    let (sender, receiver) = events();
    said(&sender, (0..256).map(|number| event(1, number, Kind::Status))).await;
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.send(event(1, 256, Kind::Status)).await }
    });
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(!waiting.is_finished());
    drop(receiver);
    assert!(waiting.await.unwrap());
    said(&sender, (0..10_000).map(|number| event(1, number, Kind::Panic))).await;
}
