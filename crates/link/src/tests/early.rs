//! 0-RTT: what it brings, what must not go with it, and what happens when it is refused.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use huxiao_core::{Class, Lane};

use super::harness::*;
use crate::*;

const ONE_WAY: Duration = Duration::from_millis(40);

/// A relay with a proven session that has just been closed; its next dial will be an early one, and comes out at `next`.
async fn about_to_redial(world: &World, broker: &mut Node, line: &Line, next: SocketAddr) -> (Node, DialHandle) {
    let (mut relay, handle, _) = world.relay(line.addr).await;
    let accepted = broker.up().await.0;
    // Tickets come after the handshake.
    tokio::time::sleep(ONE_WAY * 5).await;
    line.lead_to(next);
    broker.link.close(accepted, "to see it redial");
    broker.down().await;
    relay.down().await;
    (relay, handle)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_goes_with_the_first_flight_and_nothing_else_does() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;

    let mut cold = world.node("relay/school-9/gate");
    let began = Instant::now();
    let _cold = cold.link.dial(&target(line.addr, &[Lane::Express]));
    let path = cold.up().await.0;
    assert!(cold.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    assert!(!broker.up().await.4);
    broker.message().await;
    let cold_took = began.elapsed();

    let (mut relay, _handle) = about_to_redial(&world, &mut broker, &line, addr).await;
    let (path, peer, _, _, early) = relay.up().await;
    let began = Instant::now();
    assert!(early);
    assert_eq!(peer.identity, identity("broker/east/b1"), "as the last session proved");
    assert!(relay.link.stats()[0].early);
    assert!(relay.link.send(path, Class::P0, Form::Stream, &hello("waits for the handshake")));
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(2)));
    let (accepted, peer, _, _, early) = broker.up().await;
    assert!(early, "the broker took it up before the handshake was over");
    assert_eq!(peer.identity, identity("relay/school-1/gate"));
    assert_eq!(broker.message().await, (accepted, alarm(2)));
    let early_took = began.elapsed();
    assert_eq!(broker.message().await, (accepted, hello("waits for the handshake")));
    println!("dial to alarm at the broker over {ONE_WAY:?} one way: cold {cold_took:?}, 0-RTT {early_took:?}");

    // The broker believes a resumed relay at once, and answers it.
    assert!(broker.link.send(accepted, Class::P1, Form::Stream, &hello("answer")));
    assert_eq!(relay.message().await, (path, hello("answer")));
    eventually("both know that it is over", || !relay.link.stats()[0].early && !broker.link.stats()[1].early).await;
    let counters = relay.link.counters();
    assert_eq!((counters.early_offered, counters.early_accepted, counters.early_rejected), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_new_process_rejects_is_sent_again() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    // The same node, but another process: it has none of the tickets.
    let mut again = world.node("broker/east/b1");
    let new = again.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (mut relay, _handle) = about_to_redial(&world, &mut broker, &line, new).await;
    let (path, .., early) = relay.up().await;
    assert!(early);
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    assert!(relay.link.send(path, Class::P1, Form::Stream, &hello("later")));
    let (accepted, .., early) = again.up().await;
    assert!(!early, "the full handshake was awaited");
    let both = [again.message().await, again.message().await];
    assert!(both.contains(&(accepted, alarm(1))) && both.contains(&(accepted, hello("later"))), "{both:?}");
    again.silence(ONE_WAY * 5).await;
    let counters = relay.link.counters();
    assert_eq!((counters.early_offered, counters.early_accepted, counters.early_rejected), (1, 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_node_at_the_same_address_is_found_out() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let other = world.node("broker/east/b2");
    let new = other.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let (mut relay, _handle) = about_to_redial(&world, &mut broker, &line, new).await;
    let (path, peer, ..) = relay.up().await;
    assert_eq!(peer.identity, identity("broker/east/b1"));
    assert_eq!(relay.down().await, (path, DownReason::PeerChanged));
    assert_eq!(relay.up().await.1.identity, identity("broker/east/b2"), "the next dial asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_is_asked_on_a_resumed_session_too() {
    let world = World::new();
    let revoked = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&revoked);
    let (mut broker, addr) =
        world.broker(|config| config.accept = Arc::new(move |_| !seen.load(Ordering::SeqCst))).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (mut relay, _handle, _) = world.relay(line.addr).await;
    let accepted = broker.up().await.0;
    tokio::time::sleep(ONE_WAY * 5).await;
    revoked.store(true, Ordering::SeqCst);
    broker.link.close(accepted, "revoked");
    broker.down().await;
    relay.down().await;
    let (path, .., early) = relay.up().await;
    assert!(early);
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    relay.down().await;
    broker.silence(Duration::from_millis(300)).await;
    assert!(broker.link.counters().peers_refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_alarm_is_delivered_twice_and_harms_nothing() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, Duration::ZERO).await;
    let (mut relay, _handle) = about_to_redial(&world, &mut broker, &line, addr).await;
    let (path, .., early) = relay.up().await;
    assert!(early);
    for _ in 0..2 {
        assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    }
    let accepted = broker.up().await.0;
    for _ in 0..2 {
        assert_eq!(broker.message().await, (accepted, alarm(1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_datagram_goes_with_the_first_flight_if_it_may_be_repeated() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (mut relay, _handle) = about_to_redial(&world, &mut broker, &line, addr).await;
    let (path, .., early) = relay.up().await;
    assert!(early);
    assert!(relay.link.send(path, Class::P1, Form::Datagram, &hello("waits for the handshake")));
    assert!(relay.link.send(path, Class::P0, Form::Datagram, &alarm(1)));
    assert_eq!(relay.link.counters().datagrams_sent, 1);
    let (accepted, .., early) = broker.up().await;
    assert!(early);
    assert_eq!(broker.message().await, (accepted, alarm(1)));
    assert_eq!(broker.message().await, (accepted, hello("waits for the handshake")));
}
