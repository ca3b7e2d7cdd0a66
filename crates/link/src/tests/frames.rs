//! Frames that cannot be read, from a peer whose certificate is in order.

use std::time::Duration;

use huxiao_core::limits::{BULK_FRAME_BYTES, EXPRESS_FRAME_BYTES};
use huxiao_core::{Lane, Rng};
use huxiao_wire::{VERSION, encode};
use quinn::{Connection, VarInt};

use super::harness::*;
use crate::*;

async fn put(connection: &Connection, bytes: &[u8]) -> quinn::SendStream {
    let mut stream = connection.open_uni().await.unwrap();
    // A stream that the other end stops while it is written is what some of these tests are about.
    let _ = stream.write_all(bytes).await;
    let _ = stream.finish();
    stream
}

fn header(version: u8, len: usize) -> [u8; 4] {
    let [_, high, mid, low] = u32::try_from(len).unwrap().to_be_bytes();
    [version, high, mid, low]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_frame_costs_its_stream_and_is_counted_by_name() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-1/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    let good = encode(&alarm(1));
    let mut trailing = good.clone();
    trailing.push(0);
    let cases = [
        ("unknown_version", [&header(9, 5)[..], b"hello"].concat()),
        ("truncated", good[..good.len() - 1].to_vec()),
        ("trailing", trailing),
        ("protobuf", [&header(VERSION, 5)[..], &[0xFF; 5]].concat()),
        ("missing", header(VERSION, 0).to_vec()),
    ];
    for (name, bytes) in cases {
        put(&peer, &bytes).await;
        eventually(name, || broker.link.counters().bad_frames.get(name) == Some(&1)).await;
    }
    for (name, start, code) in
        [("oversized", header(VERSION, EXPRESS_FRAME_BYTES - 3), 0x102), ("unknown_version", header(2, 1), 0x103)]
    {
        let mut unfinished = peer.open_uni().await.unwrap();
        unfinished.write_all(&start).await.unwrap();
        assert_eq!(unfinished.stopped().await, Ok(Some(VarInt::from_u32(code))), "{name} is told at once, by its code");
    }
    put(&peer, b"ab").await;
    eventually("half a header", || broker.link.counters().bad_frames.get("truncated") == Some(&2)).await;
    put(&peer, &good).await;
    assert_eq!(broker.message().await, (path, alarm(1)), "the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_frames_cost_the_session_and_nobody_elses() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (relay, _handle, honest) = world.relay(addr).await;
    broker.up().await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-2/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    let mut rng = Rng::new(1);
    for _ in 0..200 {
        let Ok(mut stream) = peer.open_uni().await else { break };
        let bytes: Vec<u8> = (0..rng.below(300)).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
        if stream.write_all(&bytes).await.is_err() && peer.close_reason().is_some() {
            break;
        }
        let _ = stream.finish();
    }
    assert_eq!(broker.down().await, (path, DownReason::BadFrames));
    peer.closed().await;
    assert!(relay.link.send(honest, huxiao_core::Class::P0, Form::Stream, &alarm(2)));
    assert_eq!(broker.message().await.1, alarm(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_newer_version_is_skipped_and_forgiven() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-1/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    // Field 100 of a frame, empty.
    let newer = [&header(VERSION, 3)[..], &[0xA2, 0x06, 0x00]].concat();
    for _ in 0..50 {
        put(&peer, &newer).await;
    }
    eventually("all are counted", || broker.link.counters().bad_frames.get("unknown_body") == Some(&50)).await;
    put(&peer, &encode(&alarm(1))).await;
    assert_eq!(broker.message().await, (path, alarm(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_dawdles_is_stopped_and_one_that_is_reset_is_forgiven() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|config| config.frame_timeout = Duration::from_millis(300)).await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-1/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    let mut slow = peer.open_uni().await.unwrap();
    slow.write_all(&encode(&alarm(1))[..10]).await.unwrap();
    assert_eq!(slow.stopped().await, Ok(Some(codes::FRAME_TIMEOUT)));
    assert_eq!(broker.link.counters().bad_frames.get("timeout"), Some(&1));

    let mut changed_its_mind = peer.open_uni().await.unwrap();
    changed_its_mind.write_all(&encode(&alarm(1))[..10]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    changed_its_mind.reset(VarInt::from_u32(0)).unwrap();
    eventually("it is counted", || broker.link.counters().streams_reset == 1).await;
    put(&peer, &encode(&alarm(2))).await;
    assert_eq!(broker.message().await, (path, alarm(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_takes_what_is_too_large_for_express_and_has_its_own_limit() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-1/gate"), addr, Lane::Bulk).await;
    assert_eq!(broker.up().await.2, Lane::Bulk);
    // The length passes and is all there; what is in it is another matter.
    let mut large = header(VERSION, EXPRESS_FRAME_BYTES * 4).to_vec();
    large.resize(EXPRESS_FRAME_BYTES * 4 + 4, 0xFF);
    put(&peer, &large).await;
    eventually("read whole", || broker.link.counters().bad_frames.get("protobuf") == Some(&1)).await;
    put(&peer, &header(VERSION, BULK_FRAME_BYTES + 1)).await;
    eventually("refused by its length", || broker.link.counters().bad_frames.get("oversized") == Some(&1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_that_came_before_its_frame_was_read_changes_nothing() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, Duration::from_millis(5)).await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-1/gate"), line.addr, Lane::Express).await;
    let path = broker.up().await.0;
    // The driver takes nothing, until every reader of the broker's is busy with a message that it cannot hand over.
    let busy = 200;
    for number in 0..busy {
        put(&peer, &encode(&alarm(number))).await;
    }
    eventually("as many as can be are read", || broker.link.counters().messages_received > 128).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    // What comes now waits unread. The first of two is held up on its way, is taken for lost when the second is acknowledged, and is sent
    // again; then it comes all the same.
    line.weather(|there, _| (there.late, there.late_by) = (100, Duration::from_millis(500)));
    put(&peer, &encode(&alarm(busy))).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    line.weather(|there, _| there.late = 0);
    put(&peer, &encode(&alarm(busy + 1))).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(peer.stats().path.lost_packets > 0, "it is repeated");
    let mut numbers = std::collections::BTreeSet::new();
    for _ in 0..=busy + 1 {
        let (from, message) = broker.message().await;
        let huxiao_core::Message::Event(copy) = message else { panic!("{message:?}") };
        assert_eq!(from, path);
        numbers.insert(copy.sealed.event.seq);
    }
    assert!(numbers.into_iter().eq(0..=busy + 1), "each came once and whole");
    assert!(broker.link.counters().bad_frames.is_empty(), "{:?}", broker.link.counters().bad_frames);
}
