//! Calls between brokers: answers, bodies, restarts, and who is not let in.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use huxiao_core::{Lane, limits};
use ring::digest::{SHA256, digest};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};
use tokio::sync::Notify;

use super::harness::*;
use crate::peer::{Answering, Body, PeerError, PeerFault, PeerHandle, PeerLane, PeerService, PeerTarget};
use crate::*;

/// Does what the first byte of a request says.
#[derive(Default)]
pub(super) struct Service {
    /// Calls that came.
    pub(super) calls: AtomicUsize,
    /// Of those with a body, and those that are never answered, over: answered or dropped.
    over: AtomicUsize,
    /// Bodies that came whole.
    whole: AtomicUsize,
    /// What a half-read body waits for.
    go_on: Notify,
}

/// Shares a service with its test.
struct Shared(Arc<Service>);

struct Over(Arc<Service>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.over.fetch_add(1, Ordering::SeqCst);
    }
}

impl PeerService for Shared {
    fn call(&self, from: &huxiao_pki::Peer, request: Bytes, mut body: Body) -> Answering {
        let service = Arc::clone(&self.0);
        service.calls.fetch_add(1, Ordering::SeqCst);
        let from = from.identity.node.to_string();
        assert_ne!(request.first(), Some(&b'P'), "a service may panic before it has a future");
        Box::pin(async move {
            match request.first() {
                Some(b'w') => Ok(from.into_bytes()),
                Some(b'f') => Err(PeerFault("not today".to_owned())),
                Some(b'p') => panic!("a service may panic"),
                Some(b'l') => Ok(vec![0; limits::PEER_FRAME_BYTES + 1]),
                Some(b'n') => {
                    let _over = Over(service);
                    std::future::pending().await
                }
                Some(b'b') => {
                    let over = Over(service);
                    let mut all = Vec::new();
                    body.read_to_end(&mut all).await.map_err(|error| PeerFault(error.to_string()))?;
                    over.0.whole.fetch_add(1, Ordering::SeqCst);
                    Ok(digest(&SHA256, &all).as_ref().to_vec())
                }
                Some(b'h') => {
                    let mut half = vec![0; 20_000_000];
                    body.read_exact(&mut half).await.map_err(|error| PeerFault(error.to_string()))?;
                    service.go_on.notified().await;
                    body.read_to_end(&mut half).await.map_err(|error| PeerFault(error.to_string()))?;
                    Ok(digest(&SHA256, &half).as_ref().to_vec())
                }
                _ => Ok(request.to_vec()),
            }
        })
    }
}

/// How long a call may take that is to be answered.
pub(super) const LONG: Duration = PATIENCE;

pub(super) fn everybody() -> Accept {
    Arc::new(|_| true)
}

/// A broker that is called, where, and what it does.
pub(super) async fn called(world: &World, name: &str, at: &str) -> (Node, SocketAddr, Arc<Service>) {
    let node = world.node_with(name, patient);
    let service = Arc::new(Service::default());
    node.link.serve_peers(everybody(), Arc::new(Shared(Arc::clone(&service))));
    let addr = node.link.listen(at.parse().unwrap()).await.unwrap();
    (node, addr, service)
}

/// These machines may be busy for longer than regions are.
pub(super) fn patient(config: &mut LinkConfig) {
    config.peer_handshake_timeout = PATIENCE;
}

pub(super) fn to(addr: SocketAddr, name: &str, lane: PeerLane) -> PeerTarget {
    PeerTarget { addr: addr.to_string(), expect: name.parse().unwrap(), lane }
}

/// A broker that calls `b1` at `addr`.
fn caller(world: &World, addr: SocketAddr) -> (Node, PeerHandle) {
    let node = world.node_with("broker/east/b2", patient);
    let handle = node.link.peer(&to(addr, "broker/east/b1", PeerLane::Quick));
    (node, handle)
}

fn noise(len: usize) -> Vec<u8> {
    let mut rng = huxiao_core::Rng::new(7);
    let words = std::iter::repeat_with(|| rng.next_u64().to_le_bytes()).take(len.div_ceil(8));
    let mut bytes: Vec<u8> = words.flatten().collect();
    bytes.truncate(len);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_many_calls_beside_each_other_has_its_own_answer() {
    let world = World::new();
    let (mut broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (mut node, handle) = caller(&world, addr);
    assert_eq!(handle.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
    let calls: Vec<_> = (0..500_usize)
        .map(|number| {
            let handle = handle.clone();
            tokio::spawn(async move {
                let mut request = format!("e{number}").into_bytes();
                request.resize(request.len() + number * number / 2, b'.');
                let answer = handle.call(request.clone(), LONG, i32::try_from(number % 3).unwrap()).await;
                assert_eq!(answer, Ok(Bytes::from(request)));
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(handle.call(&b""[..], LONG, 0).await, Ok(Bytes::new()));
    assert_eq!(service.calls.load(Ordering::SeqCst), 502);
    let counters = node.link.counters();
    assert_eq!((counters.peer_dials, counters.peers_up), (1, 1), "one connection carries them all");
    assert_eq!(counters.peer_calls["answered"], 502);
    assert_eq!(broker.link.counters().peer_answers["answered"], 502);
    let stats = [handle.stats(), broker.link.peers().remove(0)];
    assert!(stats.iter().all(|stats| stats.up && stats.rtt.is_some() && stats.received_bytes > 0), "{stats:?}");
    assert_eq!((stats[0].lane, stats[1].lane), (Some(PeerLane::Quick), None));
    assert_eq!(stats[1].node, "broker/east/b2".parse().unwrap());
    // None of it is a session.
    broker.silence(Duration::from_millis(50)).await;
    node.silence(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_quick_waits_for_what_is_heavy() {
    let world = World::new();
    let (_broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (node, quick) = caller(&world, addr);
    let heavy = node.link.peer(&to(addr, "broker/east/b1", PeerLane::Heavy));
    let snapshot = noise(50_000_000);
    let expected = digest(&SHA256, &snapshot).as_ref().to_vec();
    let sending = tokio::spawn(async move { heavy.call_with_body(&b"h"[..], &snapshot[..], LONG).await });
    eventually("the snapshot is on its way", || service.calls.load(Ordering::SeqCst) == 1).await;
    for _ in 0..200 {
        assert_eq!(quick.call(&b"w"[..], LONG, 1).await, Ok(Bytes::from("broker/east/b2")));
    }
    assert!(!sending.is_finished(), "it waits for them half-way");
    service.go_on.notify_one();
    assert_eq!(sending.await.unwrap(), Ok(Bytes::from(expected)));
    assert_eq!(node.link.counters().peer_dials, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn small_calls_are_answered_beside_many_requests_of_the_largest_size() {
    let world = World::new();
    let (_broker, addr, _service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (_node, handle) = caller(&world, addr);
    let largest: Vec<_> = (0..6)
        .map(|_| {
            let handle = handle.clone();
            tokio::spawn(async move { handle.call(vec![b'n'; limits::PEER_FRAME_BYTES], LONG, -1).await })
        })
        .collect();
    for _ in 0..100 {
        assert_eq!(handle.call(&b"w"[..], LONG, 1).await, Ok(Bytes::from("broker/east/b2")));
    }
    assert!(largest.iter().all(|call| !call.is_finished()), "never answered, and in nobody's way");
    largest.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_restarts_is_called_again() {
    let world = World::new();
    let (broker, addr, _service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (node, handle) = caller(&world, addr);
    handle.call(&b"w"[..], LONG, 0).await.unwrap();
    broker.link.shutdown().await;
    drop(broker);
    eventually("the caller sees its end", || !handle.stats().up).await;
    assert!(handle.stats().problem.unwrap().contains("it is stopping"), "{:?}", handle.stats());
    let gone = handle.call(&b"w"[..], Duration::from_millis(100), 0).await;
    assert!(matches!(gone, Err(PeerError::Unreachable(_))), "{gone:?}");

    let (_broker, _, service) = called(&world, "broker/east/b1", &addr.to_string()).await;
    assert_eq!(handle.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
    assert_eq!(service.calls.load(Ordering::SeqCst), 1);
    assert_eq!(node.link.counters().peers_up, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_called_by_its_peer_calls_it_back_at_once() {
    let world = World::new();
    let (b1, b1_addr, _) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    // Nobody is there yet, on a port that nobody else gets meanwhile.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let b2_addr = silent.local_addr().unwrap();
    let handle = b1.link.peer(&to(b2_addr, "broker/east/b2", PeerLane::Quick));
    let early = handle.call(&b"w"[..], Duration::from_millis(50), 0).await;
    assert!(matches!(early, Err(PeerError::Unreachable(_))), "{early:?}");
    drop(silent);
    let (b2, ..) = called(&world, "broker/east/b2", &b2_addr.to_string()).await;
    let back = b2.link.peer(&to(b1_addr, "broker/east/b1", PeerLane::Quick));
    assert_eq!(back.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
    assert_eq!(handle.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b1")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reaches_the_node_that_it_is_meant_for_or_none() {
    let world = World::new();
    let (_broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let node = world.node_with("broker/east/b2", patient);
    for other in ["broker/east/b3", "broker/west/b1", "station/st-1/b1"] {
        let handle = node.link.peer(&to(addr, other, PeerLane::Quick));
        let Err(PeerError::Unreachable(words)) = handle.call(&b"w"[..], Duration::from_secs(2), 0).await else {
            panic!("{other} was reached")
        };
        assert!(words.contains("broker/east/b1"), "{words}");
        assert!(!handle.stats().up);
    }
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
    // Dials that come to nothing keep their distance: some twenty milliseconds at first, a second in the end.
    assert!(node.link.counters().peer_dials < 60, "{} dials in six seconds", node.link.counters().peer_dials);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_answered_whom_the_service_does_not_take() {
    let world = World::new();
    let broker = world.node_with("broker/east/b1", patient);
    let addr = broker.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let refused = |node: Node| async move {
        let handle = node.link.peer(&to(addr, "broker/east/b1", PeerLane::Quick));
        let answer = handle.call(&b"w"[..], Duration::from_secs(1), 0).await;
        assert!(matches!(answer, Err(PeerError::Unreachable(_) | PeerError::Closed)), "{answer:?}");
    };
    // There is no service yet.
    refused(world.node_with("broker/east/b2", patient)).await;
    let service = Arc::new(Service::default());
    let accept: Accept = Arc::new(|identity| identity.node != "broker/west/b1".parse().unwrap());
    broker.link.serve_peers(accept, Arc::new(Shared(Arc::clone(&service))));
    for other in ["broker/west/b1", "relay/school-1/gate", "station/st-1/desk"] {
        refused(world.node_with(other, patient)).await;
    }
    refused(World::new().node_with("broker/east/b2", patient)).await;
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
    assert!(broker.link.counters().peers_refused >= 4);

    let (_node, handle) = caller(&world, addr);
    assert_eq!(handle.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_refuses_panics_or_never_answers_costs_one_call() {
    let world = World::new();
    let (broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (node, handle) = caller(&world, addr);
    assert_eq!(handle.call(&b"f"[..], LONG, 0).await, Err(PeerError::Refused("not today".to_owned())));
    for (request, words) in [("p", "a fault of its own"), ("P", "a fault of its own"), ("l", "more than the")] {
        let Err(PeerError::Refused(found)) = handle.call(request, LONG, 0).await else { panic!("{request}") };
        assert!(found.contains(words), "{request}: {found}");
    }
    assert_eq!(handle.call(&b"n"[..], Duration::from_millis(100), 0).await, Err(PeerError::TimedOut));
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.call(&b"n"[..], LONG, 0).await }
    });
    eventually("it is called", || service.calls.load(Ordering::SeqCst) == 6).await;
    waiting.abort();
    eventually("it need not go on", || service.over.load(Ordering::SeqCst) == 2).await;
    let too_long = handle.call(vec![b'e'; limits::PEER_FRAME_BYTES + 1], LONG, 0).await;
    assert!(matches!(too_long, Err(PeerError::Refused(_))), "{too_long:?}");
    assert_eq!(handle.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
    assert_eq!(node.link.counters().peer_dials, 1, "the connection was none the worse for it");
    let answers = broker.link.counters().peer_answers;
    assert_eq!((answers["refused"], answers["failed"], answers["given_up"]), (1, 3, 2));
}

/// Gives some bytes and, when the service has begun with them, an error.
struct Breaks(usize, Arc<Service>);

impl AsyncRead for Breaks {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.0 == 0 && self.1.calls.load(Ordering::SeqCst) < 6 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.0 == 0 {
            return Poll::Ready(Err(std::io::Error::other("the disk is broken")));
        }
        let piece = self.0.min(buf.remaining());
        buf.put_slice(&vec![1; piece]);
        self.0 -= piece;
        Poll::Ready(Ok(()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_whole_or_an_error() {
    let world = World::new();
    let (_broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (node, handle) = caller(&world, addr);
    for len in [0, 1, 1_000, 70_000, 3_000_000] {
        let body = noise(len);
        let expected = digest(&SHA256, &body).as_ref().to_vec();
        assert_eq!(handle.call_with_body(&b"b"[..], &body[..], LONG).await, Ok(Bytes::from(expected)), "{len} bytes");
    }
    let broken = handle.call_with_body(&b"b"[..], Breaks(200_000, Arc::clone(&service)), LONG).await;
    assert!(matches!(&broken, Err(PeerError::Body(words)) if words.contains("broken")), "{broken:?}");
    eventually("the service is told", || service.over.load(Ordering::SeqCst) == 6).await;
    assert_eq!(service.whole.load(Ordering::SeqCst), 5, "half a body is never taken for a whole one");
    // An answer that does not need the body ends a call whose body would never end.
    assert_eq!(handle.call_with_body(&b"w"[..], tokio::io::repeat(1), LONG).await, Ok(Bytes::from("broker/east/b2")));
    // And one that comes to a stand is given up.
    let (_writer, reader) = tokio::io::duplex(64);
    let stalled = handle.call_with_body(&b"b"[..], reader, Duration::from_millis(200)).await;
    assert!(matches!(stalled, Err(PeerError::Body(_))), "{stalled:?}");
    assert_eq!(node.link.counters().peer_dials, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dial_that_hangs_is_given_up_and_begun_anew() {
    let world = World::new();
    let node = world.node_with("broker/east/b2", |config| config.peer_handshake_timeout = Duration::from_millis(200));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let handle = node.link.peer(&to(silent.local_addr().unwrap(), "broker/east/b1", PeerLane::Quick));
    let answer = handle.call(&b"w"[..], Duration::from_millis(1_500), 0).await;
    let Err(PeerError::Unreachable(words)) = answer else { panic!("{answer:?}") };
    assert!(words.contains("no answer from"), "{words}");
    let counters = node.link.counters();
    assert!(counters.peer_dials >= 2 && counters.peer_calls["unreachable"] == 1, "{counters:?}");
    let unknown = PeerTarget { addr: "no.such.host.invalid:1".to_owned(), ..handle.target().clone() };
    let answer = node.link.peer(&unknown).call(&b"w"[..], Duration::from_millis(500), 0).await;
    assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_answers_what_it_can_and_ends_the_rest() {
    let world = World::new();
    let (broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (node, handle) = caller(&world, addr);
    handle.call(&b"w"[..], LONG, 0).await.unwrap();
    let never = tokio::spawn({
        let handle = handle.clone();
        async move { handle.call(&b"n"[..], LONG, 0).await }
    });
    eventually("it is called", || service.calls.load(Ordering::SeqCst) == 2).await;
    broker.link.shutdown().await;
    assert_eq!(never.await.unwrap(), Err(PeerError::Closed));
    assert!(broker.link.peers().is_empty());

    node.link.shutdown().await;
    assert_eq!(handle.call(&b"w"[..], LONG, 0).await, Err(PeerError::Closed));
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_targets_share_a_connection_that_ends_with_the_last_handle() {
    let world = World::new();
    let (broker, addr, _service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (node, first) = caller(&world, addr);
    let second = node.link.peer(first.target());
    first.call(&b"w"[..], LONG, 0).await.unwrap();
    second.call(&b"w"[..], LONG, 0).await.unwrap();
    assert_eq!(node.link.counters().peer_dials, 1);
    drop(first);
    assert!(second.stats().up);
    drop(second);
    eventually("the peer is told", || broker.link.peers().is_empty()).await;
    assert!(node.link.peers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_never_calls_itself() {
    let world = World::new();
    let (broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let handle = broker.link.peer(&to(addr, "broker/east/b1", PeerLane::Quick));
    let answer = handle.call(&b"w"[..], Duration::from_millis(500), 0).await;
    assert!(matches!(answer, Err(PeerError::Unreachable(_))), "{answer:?}");
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_and_calls_go_side_by_side() {
    let world = World::new();
    let (mut broker, addr, _service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let mut relay = world.node("relay/school-1/gate");
    let _dial = relay.link.dial(&target(addr, &[Lane::Express]));
    let path = relay.up().await.0;
    let (_node, handle) = caller(&world, addr);
    handle.call(&b"w"[..], LONG, 0).await.unwrap();
    assert!(relay.link.send(path, huxiao_core::Class::P0, Form::Stream, &alarm(1)));
    broker.up().await;
    assert_eq!(broker.message().await.1, alarm(1));
    assert_eq!(broker.link.stats().len(), 1, "a peer is no session");
}
