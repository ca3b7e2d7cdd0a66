//! The life of sessions: lanes, full queues, restarts, too many, and the end.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use huxiao_core::{Class, Lane, PathId};
use tokio::sync::mpsc;

use super::harness::*;
use crate::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_lanes_are_two_sessions_to_one_port() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let mut relay = world.node("relay/school-1/gate");
    let _handle = relay.link.dial(&target(addr, &[Lane::Express, Lane::Bulk]));
    let mut lanes = [relay.up().await, relay.up().await].map(|up| (up.2, up.0));
    lanes.sort();
    let mut accepted = [broker.up().await, broker.up().await].map(|up| (up.2, up.0, up.3.port()));
    accepted.sort();
    assert_eq!(accepted.map(|up| up.0), [Lane::Express, Lane::Bulk]);
    assert_ne!(accepted[0].2, accepted[1].2);
    for ((lane, path), (_, expected, _)) in lanes.into_iter().zip(accepted) {
        for (node, path) in [(&relay, path), (&broker, expected)] {
            let window =
                node.link.shared.path(path).unwrap().carrier.quic().unwrap().connection.congestion_state().window();
            assert_eq!(window == congestion::EXPRESS_WINDOW, lane == Lane::Express, "{lane:?} has window {window}");
        }
        assert!(relay.link.send(path, Class::P2, Form::Stream, &hello(lane.as_str())));
        assert_eq!(broker.message().await, (expected, hello(lane.as_str())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_no_and_still_takes_an_alarm() {
    let world = World::new();
    // The broker's driver takes nothing out of its channel, so its peers' credit runs out.
    let (mut broker, addr) = world.broker(|_| {}).await;
    let mut relay = world.node_with("relay/school-1/gate", |config| config.queue = 8);
    let _handle = relay.link.dial(&target(addr, &[Lane::Express]));
    let path = relay.up().await.0;
    let mut taken = 0;
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if relay.link.send(path, Class::P2, Form::Stream, &hello("x")) {
            taken += 1;
        } else if relay.link.counters().messages_refused > 200 {
            break;
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(relay.link.counters().messages_refused > 200, "the queue is bounded");
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(1)), "P0 has room of its own");
    broker.up().await;
    let mut alarms = 0;
    for _ in 0..=taken {
        alarms += usize::from(broker.message().await.1 == alarm(1));
    }
    assert_eq!(alarms, 1, "everything that was taken arrives");
    assert!(
        !relay.link.send(PathId(u64::MAX), Class::P0, Form::Stream, &alarm(1)),
        "a path that is not there takes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_restarts_is_redialled_from_a_new_port() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, _handle, path) = world.relay(addr).await;
    let before = broker.up().await.3;
    broker.link.shutdown().await;
    assert!(matches!(broker.down().await.1, DownReason::Shutdown));
    assert_eq!(relay.down().await, (path, DownReason::ClosedByPeer { code: 1 }));
    drop(broker);

    let mut again = world.node("broker/east/b1");
    listen_again(&again, addr).await;
    let after = again.up().await.3;
    assert_ne!(before.port(), after.port());
    // The dial may have been taken up early, before the new process was there to answer.
    assert_ne!(relay.up().await.0, path, "path numbers are never reused");
}

/// Listens on an address that a moment ago belonged to another socket.
async fn listen_again(node: &Node, addr: SocketAddr) {
    let began = Instant::now();
    while let Err(error) = node.link.listen(addr).await {
        assert!(began.elapsed() < PATIENCE, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_broker_that_was_killed_says_so_when_it_is_back() {
    let world = World::new();
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (clients, first, second) = (runtime(), runtime(), runtime());
    let (mut broker, addr) = first.block_on(world.broker(|_| {}));
    let (mut relay, _handle, path) = clients.block_on(world.relay(addr));
    first.block_on(broker.up());
    // No close frame, no goodbye: its tasks just stop.
    first.shutdown_timeout(Duration::from_secs(5));
    drop(broker);

    let again = second.block_on(async {
        let again = world.node("broker/east/b1");
        listen_again(&again, addr).await;
        again
    });
    clients.block_on(async {
        let began = Instant::now();
        // Not taken if a packet of QUIC's own (a probe, an acknowledgement) has found it out a moment ago.
        let _ = relay.link.send(path, Class::P0, Form::Stream, &alarm(1));
        assert_eq!(relay.down().await, (path, DownReason::PeerRestarted));
        println!("a killed broker was found out {:?} after the next message", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(10), "long before the idle time-out");
        relay.up().await;
    });
    drop(again);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_too_many_sessions_of_one_identity_wins() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|config| config.sessions_per_identity = 2).await;
    let credentials = world.credentials("relay/school-1/gate");
    let mut kept = Vec::new();
    let mut paths = Vec::new();
    for _ in 0..2 {
        kept.push(raw(&credentials, addr, Lane::Express).await);
        paths.push(broker.up().await.0);
    }
    kept.push(raw(&credentials, addr, Lane::Express).await);
    // The newest begins and the oldest ends at the same time.
    let both = [broker.next().await, broker.next().await];
    let down = both.iter().find_map(|event| match event {
        LinkEvent::Down { path, why } => Some((*path, why.clone())),
        _ => None,
    });
    assert_eq!(down, Some((paths[0], DownReason::Superseded)));
    assert!(both.iter().any(|event| matches!(event, LinkEvent::Up { .. })), "{both:?}");
    // The other lane and the other identity have a count of their own.
    kept.push(raw(&credentials, addr, Lane::Bulk).await);
    broker.up().await;
    kept.push(raw(&world.credentials("relay/school-2/gate"), addr, Lane::Express).await);
    broker.up().await;
    assert_eq!(broker.link.stats().len(), 4);
    assert_eq!(broker.link.counters().sessions_superseded, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_refuses_and_keeps_whom_it_has() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|config| config.sessions = 1).await;
    let (relay, _handle, path) = world.relay(addr).await;
    broker.up().await;
    let other = world.node("relay/school-2/gate");
    let _other = other.link.dial(&target(addr, &[Lane::Express]));
    eventually("the dial fails", || other.link.counters().dials_failed > 0).await;
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    assert_eq!(broker.message().await.1, alarm(1));
    assert!(broker.link.counters().sessions_refused > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_first_sends_what_it_has() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, Duration::from_millis(30)).await;
    let (mut relay, _handle, path) = world.relay(line.addr).await;
    broker.up().await;
    for number in 0..50 {
        assert!(relay.link.send(path, Class::P1, Form::Stream, &alarm(number)));
    }
    let link = relay.link.clone();
    tokio::join!(async { link.shutdown().await }, async {
        for _ in 0..50 {
            broker.message().await;
        }
        assert!(matches!(broker.down().await.1, DownReason::ClosedByPeer { code: 1 }));
    });
    assert_eq!(relay.down().await, (path, DownReason::Shutdown));
    assert!(!relay.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    assert_eq!(relay.link.counters().messages_sent, 50);
    assert!(matches!(relay.link.listen("127.0.0.1:0".parse().unwrap()).await, Err(LinkError::ShutDown)));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_handle_ends_the_session_and_the_dialling() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, handle, path) = world.relay(addr).await;
    broker.up().await;
    drop(handle);
    assert_eq!(relay.down().await, (path, DownReason::Shutdown));
    assert!(matches!(broker.down().await.1, DownReason::ClosedByPeer { code: 1 }));
    relay.silence(Duration::from_millis(500)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_path_is_one_sides_decision_and_the_dialler_comes_back() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, _handle, path) = world.relay(addr).await;
    let accepted = broker.up().await.0;
    broker.link.close(accepted, "its certificate was revoked");
    assert_eq!(broker.down().await.1.to_string(), "closed here: its certificate was revoked");
    assert_eq!(relay.down().await, (path, DownReason::ClosedByPeer { code: 6 }));
    relay.up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_here_before_need_not_show_its_address_again() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|config| config.retry_above = 0).await;
    let line = Line::new(addr, Duration::from_millis(10)).await;
    let (mut relay, _handle, _) = world.relay(line.addr).await;
    broker.up().await;
    assert_eq!(broker.link.counters().handshakes_retried, 1);
    tokio::time::sleep(Duration::from_millis(100)).await;
    // Another process of the same node.
    let mut again = world.node_with("broker/east/b1", |config| config.retry_above = 0);
    line.lead_to(again.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap());
    broker.link.shutdown().await;
    relay.down().await;
    relay.up().await;
    again.up().await;
    assert_eq!(again.link.counters().handshakes_retried, 0, "the token was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_a_hurry_does_not_wait_out_the_delay() {
    let world = World::new();
    // A socket that says nothing: every dial hangs.
    let mute = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let relay = world.node("relay/school-1/gate");
    let handle = relay.link.dial(&target(mute.local_addr().unwrap(), &[Lane::Express]));
    eventually("the first dial", || relay.link.counters().dials == 1).await;
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    assert_eq!(relay.link.counters().dials, 1, "it is waiting for an answer");
    handle.hurry();
    eventually("the second dial", || relay.link.counters().dials == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_resolved_is_told_and_tried_again() {
    let world = World::new();
    let relay = world.node("relay/school-1/gate");
    let addr = "127.0.0.1".to_owned();
    let handle = relay.link.dial(&Target { addr, ..target("127.0.0.1:1".parse().unwrap(), &[Lane::Express]) });
    eventually("a second try", || relay.link.counters().dials_failed >= 2).await;
    assert!(handle.problems()[0].1.starts_with("cannot resolve 127.0.0.1:"), "{:?}", handle.problems());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_ends_with_its_driver() {
    let world = World::new();
    let (broker, addr) = world.broker(|_| {}).await;
    let (events, driver) = mpsc::channel(1);
    let relay = Link::new(world.credentials("relay/school-1/gate"), LinkConfig::new(|_| true), events).unwrap();
    drop(driver);
    let _handle = relay.dial(&target(addr, &[Lane::Express]));
    eventually("the session is gone", || relay.counters().sessions_down == 1 && relay.stats().is_empty()).await;
    drop(broker);
}

#[tokio::test(flavor = "multi_thread")]
async fn hurry_reaches_a_broker_over_a_line_slower_than_its_patience() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    // A round trip of 1.4 s: no handshake is over within the second after which a hurried dial is begun anew.
    let line = Line::new(addr, Duration::from_millis(700)).await;
    let mut relay = world.node("relay/school-1/gate");
    let handle = std::sync::Arc::new(relay.link.dial(&target(line.addr, &[Lane::Express])));
    let hurried = handle.clone();
    let hurrying = tokio::spawn(async move {
        loop {
            hurried.hurry();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let up = tokio::time::timeout(Duration::from_secs(8), relay.up()).await;
    hurrying.abort();
    assert!(up.is_ok(), "an alarm that waits keeps its own relay from getting through");
    broker.up().await;
}
