//! Whoever has a broker's certificate and does not speak as brokers do: it harms its own connection and nobody else's.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use huxiao_core::{Lane, limits};
use huxiao_wire::encode;
use quinn::{Connection, ConnectionError, Endpoint};

use super::harness::*;
use super::peers::{LONG, called, patient, to};
use crate::peer::PeerLane;
use crate::*;

/// A connection that says it is a peer's.
async fn raw_peer(world: &World, addr: SocketAddr) -> (Endpoint, Connection) {
    let endpoint = transport::dialler(&Uplink::default(), addr).unwrap();
    let config = transport::peer_client(&world.credentials("broker/east/b9")).unwrap();
    let connection = endpoint.connect_with(config, addr, "any.name").unwrap().await.unwrap();
    (endpoint, connection)
}

/// Sends bytes as a call and gives back what came.
async fn say(connection: &Connection, bytes: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut recv) = connection.open_bi().await.ok()?;
    // The other side may have read enough.
    let _ = send.write_all(bytes).await;
    let _ = send.finish();
    recv.read_to_end(1_000_000).await.ok()
}

fn framed(len: u32, bytes: &[u8]) -> Vec<u8> {
    [&len.to_be_bytes()[..], bytes].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_request_cost_their_stream_and_many_the_connection() {
    let world = World::new();
    let (mut broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let honest = world.node_with("broker/east/b2", patient);
    let honest = honest.link.peer(&to(addr, "broker/east/b1", PeerLane::Quick));
    honest.call(&b"w"[..], LONG, 0).await.unwrap();

    let (_endpoint, connection) = raw_peer(&world, addr).await;
    assert_eq!(say(&connection, &framed(1, b"w")).await.unwrap(), b"\0\0\0\0\x0ebroker/east/b9");
    let oversized = u32::try_from(limits::PEER_FRAME_BYTES + 1).unwrap();
    let nonsense = [vec![], vec![0], framed(5, b"w"), framed(oversized, b"www"), framed(u32::MAX, b""), vec![0xFF; 9]];
    for bytes in &nonsense {
        let answer = say(&connection, bytes).await.unwrap();
        let words = String::from_utf8_lossy(&answer[5..]);
        assert!(answer[0] == 2 && words.contains("cannot read the request"), "{bytes:?}: {words}");
    }
    // What sessions do is nothing here.
    let mut stream = connection.open_uni().await;
    if let Ok(stream) = &mut stream {
        stream.write_all(&encode(&alarm(1))).await.unwrap();
        stream.finish().unwrap();
    }
    let _ = connection.send_datagram(Bytes::from(encode(&alarm(1))));
    broker.silence(Duration::from_millis(100)).await;
    assert_eq!(say(&connection, &framed(1, b"w")).await.unwrap()[0], 0, "so far it is still heard");
    for _ in 0..64 {
        if say(&connection, b"\xFF\xFF\xFF\xFFno").await.is_none() {
            break;
        }
    }
    let why = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    assert!(
        matches!(&why, ConnectionError::ApplicationClosed(close) if close.error_code == codes::BAD_FRAMES),
        "{why}"
    );
    assert!(broker.link.counters().bad_frames["oversized"] > 2);
    assert_eq!(honest.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
    assert_eq!(service.calls.load(Ordering::SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_never_end_keep_nobody_waiting() {
    let world = World::new();
    let (broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let (_endpoint, connection) = raw_peer(&world, addr).await;
    let mut open = Vec::new();
    // As many as one may have open, each announcing the most and sending a little; together they would be a gigabyte.
    for _ in 0..transport::PEER_CALLS {
        let (mut send, recv) = connection.open_bi().await.unwrap();
        send.write_all(&framed(u32::try_from(limits::PEER_FRAME_BYTES).unwrap(), b"w")).await.unwrap();
        open.push((send, recv));
    }
    let more = tokio::time::timeout(Duration::from_millis(200), connection.open_bi()).await;
    assert!(more.is_err(), "no more than that");
    let honest = world.node_with("broker/east/b2", patient);
    let honest = honest.link.peer(&to(addr, "broker/east/b1", PeerLane::Quick));
    for _ in 0..20 {
        assert_eq!(honest.call(&b"w"[..], LONG, 0).await, Ok(Bytes::from("broker/east/b2")));
    }
    assert_eq!(service.calls.load(Ordering::SeqCst), 20);
    assert_eq!(broker.link.peers().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_cannot_call_and_a_relay_is_no_peer() {
    let world = World::new();
    let (mut broker, addr, service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    for lane in [Lane::Express, Lane::Bulk] {
        let (_endpoint, connection) = raw(&world.credentials("broker/east/b9"), addr, lane).await;
        broker.up().await;
        let call = tokio::time::timeout(Duration::from_millis(200), connection.open_bi()).await;
        assert!(call.is_err(), "a session has no stream for a call");
        connection.close(codes::CLOSED, &[]);
        broker.down().await;
    }
    let endpoint = transport::dialler(&Uplink::default(), addr).unwrap();
    let config = transport::peer_client(&world.credentials("relay/school-1/gate")).unwrap();
    let connection = endpoint.connect_with(config, addr, "any.name").unwrap().await.unwrap();
    let _ = say(&connection, &framed(1, b"w")).await;
    let why = tokio::time::timeout(PATIENCE, connection.closed()).await.unwrap();
    assert!(
        matches!(&why, ConnectionError::ApplicationClosed(close) if close.error_code == codes::NOT_ACCEPTED),
        "{why}"
    );
    assert_eq!(service.calls.load(Ordering::SeqCst), 0);
    broker.silence(Duration::from_millis(50)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_has_a_bounded_number_of_connections() {
    let world = World::new();
    let (broker, addr, _service) = called(&world, "broker/east/b1", "127.0.0.1:0").await;
    let mut open = Vec::new();
    for _ in 0..12 {
        open.push(raw_peer(&world, addr).await);
    }
    eventually("the oldest are closed", || open[..4].iter().all(|(_, one)| one.close_reason().is_some())).await;
    assert!(open[4..].iter().all(|(_, one)| one.close_reason().is_none()));
    assert_eq!(broker.link.peers().len(), 8);
}
