//! Datagrams: what goes as one, what does not, and what a bad one costs.

use std::time::Duration;

use bytes::Bytes;
use huxiao_core::limits::LIST_ITEMS;
use huxiao_core::{Class, EventId, Lane, Message, Rng, WallTime};
use huxiao_wire::encode;

use super::harness::*;
use crate::*;

/// A message that fits an express frame and no datagram.
fn long_list() -> Message {
    let mut rng = Rng::new(5);
    Message::Inquire((0..LIST_ITEMS).map(|_| EventId::generate(WallTime(1_000), &mut rng)).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn alarms_and_probes_go_as_datagrams_both_ways() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, _handle, path) = world.relay(addr).await;
    let accepted = broker.up().await.0;
    for (class, message) in [(Class::P0, alarm(1)), (Class::P1, Message::Probe(7))] {
        assert!(relay.link.send(path, class, Form::Datagram, &message));
        assert_eq!(broker.message().await, (accepted, message.clone()));
        assert!(broker.link.send(accepted, class, Form::Datagram, &message));
        assert_eq!(relay.message().await, (path, message));
    }
    for node in [&relay, &broker] {
        eventually("all are counted", || node.link.counters().datagrams_received == 2).await;
        let counters = node.link.counters();
        assert_eq!(counters.datagrams_sent, 2);
        assert_eq!((counters.messages_sent, counters.messages_received), (0, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_or_too_low_goes_on_a_stream() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (relay, _handle, path) = world.relay(addr).await;
    let accepted = broker.up().await.0;
    for (class, message) in [(Class::P0, long_list()), (Class::P2, hello("of no hurry"))] {
        assert!(relay.link.send(path, class, Form::Datagram, &message));
        assert_eq!(broker.message().await, (accepted, message));
    }
    eventually("both are acknowledged", || relay.link.counters().messages_sent == 2).await;
    assert_eq!(relay.link.counters().datagrams_sent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_has_no_datagrams() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let mut relay = world.node("relay/school-1/gate");
    let _handle = relay.link.dial(&target(addr, &[Lane::Bulk]));
    let path = relay.up().await.0;
    let accepted = broker.up().await.0;
    assert!(relay.link.send(path, Class::P1, Form::Datagram, &hello("there")));
    assert_eq!(broker.message().await, (accepted, hello("there")));
    assert!(broker.link.send(accepted, Class::P1, Form::Datagram, &hello("back")));
    assert_eq!(relay.message().await, (path, hello("back")));
    assert_eq!(relay.link.counters().datagrams_sent + broker.link.counters().datagrams_sent, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_and_the_stream_beside_it_are_two_packets() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, Duration::ZERO).await;
    let (relay, _handle, path) = world.relay(line.addr).await;
    broker.up().await;
    // Until the probing for the largest packet and the last of the handshake are over.
    tokio::time::sleep(Duration::from_millis(300)).await;
    line.sizes();
    let copy = encode(&alarm(1)).len();
    for number in 0..20 {
        assert!(relay.link.send(path, Class::P0, Form::Datagram, &alarm(number)));
        assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(number)));
        for _ in 0..2 {
            assert_eq!(broker.message().await.1, alarm(number));
        }
    }
    let sizes = line.sizes();
    let with_a_copy: Vec<_> = sizes.iter().filter(|size| **size >= copy).collect();
    assert!(with_a_copy.iter().all(|size| **size < 2 * copy), "two copies in one packet: {sizes:?}, one has {copy}");
    assert!(with_a_copy.len() >= 40, "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_datagram_is_counted_by_name_and_many_cost_the_session() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (relay, _handle, honest) = world.relay(addr).await;
    broker.up().await;
    let (_endpoint, peer) = raw(&world.credentials("relay/school-2/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    let good = encode(&alarm(1));
    let mut trailing = good.clone();
    trailing.push(0);
    let cases: [(&str, &[u8]); 5] = [
        ("unknown_version", b"\x09\x00\x00\x05hello"),
        ("oversized", b"\x01\xFF\xFF\xFF"),
        ("truncated", &good[..good.len() - 1]),
        ("trailing", &trailing),
        ("protobuf", b"\x01\x00\x00\x03\xFF\xFF\xFF"),
    ];
    for (name, bytes) in cases {
        peer.send_datagram(Bytes::copy_from_slice(bytes)).unwrap();
        eventually(name, || broker.link.counters().bad_frames.get(name) == Some(&1)).await;
    }
    peer.send_datagram(good.into()).unwrap();
    assert_eq!(broker.message().await, (path, alarm(1)), "the session goes on");
    for _ in 0..20 {
        // Fails once the session is closed.
        let _ = peer.send_datagram(Bytes::from_static(b""));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(broker.down().await, (path, DownReason::BadFrames));
    assert!(relay.link.send(honest, Class::P0, Form::Datagram, &alarm(2)));
    assert_eq!(broker.message().await.1, alarm(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_that_is_busy_misses_datagrams_and_keeps_what_came_on_streams() {
    let world = World::new();
    // The broker's driver has room for sixteen events and takes none.
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (relay, _handle, path) = world.relay(addr).await;
    for number in 0..40 {
        assert!(relay.link.send(path, Class::P0, Form::Datagram, &alarm(number)));
        assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(number)));
    }
    eventually("some are dropped", || broker.link.counters().datagrams_dropped > 0).await;
    broker.up().await;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 40 {
        let Message::Event(copy) = broker.message().await.1 else { continue };
        seen.insert(copy.sealed.event.seq);
    }
}
