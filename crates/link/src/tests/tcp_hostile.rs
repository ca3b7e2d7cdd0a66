//! Whoever sends rubbish over TCP, or nothing, harms nobody but itself.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use huxiao_core::limits::{BULK_FRAME_BYTES, EXPRESS_FRAME_BYTES};
use huxiao_core::{Class, Lane, Name, Rng, Role, WallTime};
use huxiao_pki::{Credentials, Period, Validity};
use huxiao_wire::{VERSION, encode};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::harness::*;
use super::tcp::{FAST, Middlebox, carrier};
use crate::registry::wall_now;
use crate::*;

async fn dial(config: ClientConfig, addr: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("any.name").unwrap(), stream).await
}

/// A hostile peer: a connection of a node with good credentials, without a link around it.
async fn raw_tcp(credentials: &Credentials, addr: SocketAddr, lane: Lane) -> TlsStream<TcpStream> {
    dial(credentials.client_tls(transport::alpn(lane)).unwrap(), addr).await.unwrap()
}

fn header(version: u8, len: usize) -> [u8; 4] {
    let [_, high, mid, low] = u32::try_from(len).unwrap().to_be_bytes();
    [version, high, mid, low]
}

/// Shows no certificate.
#[derive(Debug)]
struct Nobody;

impl ResolvesClientCert for Nobody {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Whether the other end has ended it.
async fn is_over(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut buffer = [0; 1_024];
    let read = async { while stream.read(&mut buffer).await.is_ok_and(|len| len > 0) {} };
    tokio::time::timeout(PATIENCE, read).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_inside_a_frame_costs_the_frame() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let mut peer = raw_tcp(&world.credentials("relay/school-1/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    let newer = [&header(VERSION, 3)[..], &[0xA2, 0x06, 0x00]].concat();
    for (name, times, bytes) in [
        ("protobuf", 1, [&header(VERSION, 5)[..], &[0xFF; 5]].concat()),
        ("missing", 1, header(VERSION, 0).to_vec()),
        ("unknown_body", 50, newer),
    ] {
        for _ in 0..times {
            peer.write_all(&bytes).await.unwrap();
        }
        eventually(name, || broker.link.counters().bad_frames.get(name) == Some(&times)).await;
    }
    // In as many pieces as there are bytes.
    for byte in encode(&alarm(1)) {
        peer.write_all(&[byte]).await.unwrap();
        peer.flush().await.unwrap();
    }
    assert_eq!(broker.message().await, (path, alarm(1)), "the session goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hides_the_next_frame_costs_the_session_and_nobody_elses() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|config| config.frame_timeout = Duration::from_millis(300)).await;
    let (relay, _handle, honest) = world.relay(addr).await;
    broker.up().await;
    let cases = [
        ("oversized", Lane::Express, header(VERSION, EXPRESS_FRAME_BYTES - 3).to_vec()),
        ("oversized", Lane::Bulk, header(VERSION, BULK_FRAME_BYTES - 3).to_vec()),
        ("unknown_version", Lane::Express, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("unknown_version", Lane::Bulk, vec![0xFF; 100_000]),
        ("timeout", Lane::Express, vec![VERSION, 0]),
        ("timeout", Lane::Express, encode(&alarm(1))[..20].to_vec()),
    ];
    for (number, (name, lane, bytes)) in cases.into_iter().enumerate() {
        let before = broker.link.counters().bad_frames.get(name).copied().unwrap_or(0);
        let mut peer = raw_tcp(&world.credentials("relay/school-2/gate"), addr, lane).await;
        let path = broker.up().await.0;
        // Before all of it is written the other end may have had enough.
        let _ = peer.write_all(&bytes).await;
        let _ = peer.flush().await;
        assert_eq!(broker.down().await, (path, DownReason::BadFrames), "case {number}, {name}");
        assert!(is_over(&mut peer).await);
        assert_eq!(broker.link.counters().bad_frames.get(name), Some(&(before + 1)), "case {number}");
    }
    assert!(relay.link.send(honest, Class::P0, Form::Stream, &alarm(2)));
    assert_eq!(broker.message().await.1, alarm(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_bad_frames_and_noise_cost_the_session() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let credentials = world.credentials("relay/school-2/gate");
    let mut peer = raw_tcp(&credentials, addr, Lane::Express).await;
    let path = broker.up().await.0;
    for _ in 0..100 {
        let _ = peer.write_all(&header(VERSION, 0)).await;
    }
    assert_eq!(broker.down().await, (path, DownReason::BadFrames));
    assert_eq!(broker.link.counters().bad_frames.get("missing"), Some(&17), "one more than is forgiven");

    for seed in 0..20 {
        let mut peer = raw_tcp(&credentials, addr, Lane::Express).await;
        let path = broker.up().await.0;
        let mut rng = Rng::new(seed);
        let noise: Vec<u8> = (0..5_000).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
        let _ = peer.write_all(&noise).await;
        let _ = peer.shutdown().await;
        let (down, why) = broker.down().await;
        assert_eq!(down, path);
        assert!(!matches!(why, DownReason::TimedOut), "{why:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_cut_off_in_the_middle_of_a_frame_is_forgiven() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let mut peer = raw_tcp(&world.credentials("relay/school-1/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    peer.write_all(&encode(&alarm(1))).await.unwrap();
    peer.write_all(&encode(&alarm(2))[..30]).await.unwrap();
    peer.flush().await.unwrap();
    assert_eq!(broker.message().await, (path, alarm(1)));
    drop(peer);
    assert_eq!(broker.down().await, (path, DownReason::Transport("TCP: it was cut off".to_owned())));
    let counters = broker.link.counters();
    assert_eq!((counters.streams_reset, counters.bad_frames.len()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_reads_nothing_costs_its_own_queue() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, _handle, _) = world.relay(addr).await;
    let honest = broker.up().await.0;
    let peer = raw_tcp(&world.credentials("relay/school-2/gate"), addr, Lane::Express).await;
    let path = broker.up().await.0;
    // Until all buffers on the way are full, and the queue behind them.
    let (began, mut sent) = (Instant::now(), (0, Instant::now()));
    while sent.1.elapsed() < Duration::from_millis(300) {
        assert!(began.elapsed() < PATIENCE, "what it does not read goes on being sent");
        for number in 0..100 {
            let _ = broker.link.send(path, Class::P2, Form::Stream, &alarm(number));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let now = broker.link.stats().iter().find(|stats| stats.path == path).unwrap().sent_bytes;
        if now != sent.0 {
            sent = (now, Instant::now());
        }
    }
    assert!(broker.link.counters().messages_refused > 0, "the queue is bounded");
    assert!(broker.link.send(path, Class::P0, Form::Stream, &alarm(1)), "P0 has room of its own");
    assert!(broker.link.send(honest, Class::P0, Form::Stream, &alarm(2)));
    assert_eq!(relay.message().await.1, alarm(2));
    broker.link.close(path, "it reads nothing");
    assert!(matches!(broker.down().await.1, DownReason::Closed(_)));
    assert!(broker.link.counters().messages_lost > 0, "what it did not take is given up, and said so");
    drop(peer);
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_none_are_bounded_and_given_up() {
    let world = World::new();
    let (mut broker, addr) = world
        .broker(|config| {
            config.handshakes = 8;
            config.handshake_timeout = Duration::from_millis(500);
        })
        .await;
    let mut plain = TcpStream::connect(addr).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "no more than an alert: {answer:?}");
    eventually("plain text is refused", || broker.link.counters().handshakes_failed == 1).await;

    // Some say nothing at all, some have begun.
    let mut open = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        if number % 2 == 0 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        }
        open.push(stream);
    }
    eventually("the oldest are pushed out", || broker.link.counters().handshakes_evicted >= 150).await;
    // And a newcomer still gets in.
    let _peer = raw_tcp(&world.credentials("relay/school-1/gate"), addr, Lane::Express).await;
    broker.up().await;
    eventually("the rest are given up in time", || {
        let counters = broker.link.counters();
        counters.handshakes_failed + counters.handshakes_evicted >= 201
    })
    .await;
    assert_eq!(broker.link.counters().sessions_up, 1);
    drop(open);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_have_no_session() {
    let (world, other) = (World::new(), World::new());
    let (mut broker, addr) = world.broker(|_| {}).await;
    let ours = world.credentials("relay/school-1/gate");
    let theirs = other.credentials("relay/school-1/gate");

    // Another authority's node: it does not trust us either.
    assert!(dial(theirs.client_tls(transport::alpn(Lane::Express)).unwrap(), addr).await.is_err());
    // One with no certificate at all.
    let mut none = ours.client_tls(transport::alpn(Lane::Express)).unwrap();
    none.client_auth_cert_resolver = Arc::new(Nobody);
    // A protocol that is not ours, and none.
    let unknown = ours.client_tls(b"h2").unwrap();
    let mut unnamed = ours.client_tls(b"h2").unwrap();
    unnamed.alpn_protocols.clear();
    for config in [none, unknown, unnamed] {
        // A client may think that the handshake is over before the server has looked at its certificate.
        if let Ok(mut stream) = dial(config, addr).await {
            let _ = stream.write_all(&encode(&alarm(1))).await;
            assert!(is_over(&mut stream).await);
        }
    }
    eventually("all failed", || broker.link.counters().handshakes_failed == 4).await;
    broker.silence(Duration::from_millis(100)).await;
    assert_eq!(broker.link.counters().sessions_up, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_accepted_or_not_expected_has_no_session_over_tcp_either() {
    let world = World::with_fallback();
    let (mut broker, addr) =
        world.broker(|config| config.accept = LinkConfig::accepting(&[Role::Station]).accept).await;
    let line = Middlebox::new(addr, FAST).await;
    let mut relay = world.node("relay/school-1/gate");
    let _handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    let path = relay.up().await.0;
    assert_eq!(relay.down().await, (path, DownReason::ClosedByPeer { code: 0 }));
    broker.silence(Duration::from_millis(100)).await;
    assert!(broker.link.counters().peers_refused > 0);

    let mut station = world.node("station/st-1/desk");
    let expect = Expect::broker(Some(Name::new("west").unwrap()));
    let handle = station.link.dial(&Target { expect, ..target(line.addr, &[Lane::Express]) });
    eventually("the dial fails", || station.link.counters().tcp_dials_failed > 0).await;
    assert_eq!(station.link.counters().sessions_up, 0);
    assert!(station.link.counters().peers_refused > 0);
    drop(handle);
    let _handle = station.link.dial(&target(line.addr, &[Lane::Express]));
    let path = station.up().await.0;
    assert_eq!(carrier(&station, path), huxiao_core::Carrier::Tcp);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_flagged_over_tcp_too() {
    const DAY: i64 = 86_400_000_000;
    let world = World::with_fallback();
    let past = Period { not_before: WallTime(wall_now().0 - 9 * DAY), not_after: WallTime(wall_now().0 - DAY) };
    let mut broker = world.node_from(world.credentials_for("broker/east/b1", past), |_| {});
    let addr = broker.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let line = Middlebox::new(addr, FAST).await;
    let mut relay = world.node_from(world.credentials_for("relay/school-1/gate", past), |_| {});
    let _handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    let (path, peer, ..) = relay.up().await;
    assert_eq!(peer.validity, Validity::Expired);
    assert_eq!(broker.up().await.1.validity, Validity::Expired);
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(1)));
    assert_eq!(broker.message().await.1, alarm(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_and_too_many_sessions_of_one_identity_are_bounded_over_tcp_too() {
    let world = World::new();
    let (mut broker, addr) = world
        .broker(|config| {
            config.sessions_per_identity = 2;
            config.sessions = 3;
        })
        .await;
    let credentials = world.credentials("relay/school-1/gate");
    let (mut peers, mut paths) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        peers.push(raw_tcp(&credentials, addr, Lane::Express).await);
        paths.push(broker.up().await.0);
    }
    assert_eq!(broker.down().await, (paths[0], DownReason::Superseded));
    assert!(is_over(&mut peers[0]).await);
    peers.push(raw_tcp(&credentials, addr, Lane::Bulk).await);
    broker.up().await;
    let refused = dial(credentials.client_tls(transport::alpn(Lane::Bulk)).unwrap(), addr).await;
    assert!(refused.is_err(), "there is no room");
    assert!(broker.link.counters().sessions_refused > 0);
    peers[2].write_all(&encode(&alarm(1))).await.unwrap();
    assert_eq!(broker.message().await, (paths[2], alarm(1)));
}
