//! Handshakes that never end.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use huxiao_core::{Class, Cost, Lane};
use tokio::net::UdpSocket;

use super::harness::*;

/// The first packets of `count` connections, none of which will ever go further.
async fn first_packets(world: &World, count: usize) -> Vec<Vec<u8>> {
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = sink.local_addr().unwrap();
    let endpoint = crate::transport::dialler(&crate::Uplink::default(), addr).unwrap();
    let clients = crate::transport::Clients::new(&world.credentials("relay/school-1/gate")).unwrap();
    let config = clients.get(Lane::Express, Cost::Free, false);
    let (mut seen, mut packets) = (HashSet::new(), Vec::new());
    let mut buffer = [0; 2_048];
    while packets.len() < count {
        let dialled: Vec<_> =
            (0..20).map(|_| endpoint.connect_with(config.clone(), addr, "any.name").unwrap()).collect();
        let wanted = (packets.len() + dialled.len()).min(count);
        while packets.len() < wanted {
            let (len, _) = sink.recv_from(&mut buffer).await.unwrap();
            let id = buffer[6..6 + usize::from(buffer[5])].to_vec();
            if len >= 1_200 && seen.insert(id) {
                packets.push(buffer[..len].to_vec());
            }
        }
        drop(dialled);
    }
    packets
}

fn send_all(packets: Vec<Vec<u8>>, addr: SocketAddr) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        for batch in packets.chunks(1_000) {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            for few in batch.chunks(20) {
                for packet in few {
                    socket.send_to(packet, addr).unwrap();
                }
                // As fast as one core answers, so that it is the broker that meets the flood and not a full socket.
                std::thread::sleep(Duration::from_millis(2));
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_unfinished_handshakes_do_not_delay_an_alarm() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (relay, _handle, path) = world.relay(addr).await;
    broker.up().await;
    let packets = first_packets(&world, 10_000).await;

    let mut quiet = Vec::new();
    for number in 0..50 {
        quiet.push(one_alarm(&relay, &mut broker, path, number).await);
    }
    let flood = send_all(packets, addr);
    let mut flooded = Vec::new();
    let began = Instant::now();
    let mut number = 50;
    while !flood.is_finished() || began.elapsed() < Duration::from_millis(500) {
        flooded.push(one_alarm(&relay, &mut broker, path, number).await);
        number += 1;
    }
    flood.join().unwrap();
    quiet.sort();
    flooded.sort();
    let counters = broker.link.counters();
    println!(
        "alarm to broker: quiet p50 {:?} max {:?}; {} alarms during {} handshakes ({} sent to retry) p50 {:?} max {:?}",
        quiet[quiet.len() / 2],
        quiet[quiet.len() - 1],
        flooded.len(),
        counters.handshakes,
        counters.handshakes_retried,
        flooded[flooded.len() / 2],
        flooded[flooded.len() - 1],
    );
    assert!(counters.handshakes_retried > 1_000, "the flood reached the broker: {counters:?}");
    assert!(flooded[flooded.len() - 1] < Duration::from_secs(2), "an alarm waited for strangers");

    // And a newcomer still gets in.
    let mut late = world.node("relay/school-2/gate");
    let _late = late.link.dial(&target(addr, &[Lane::Express]));
    late.up().await;
    assert_eq!(broker.up().await.1.identity, identity("relay/school-2/gate"));
}

async fn one_alarm(relay: &Node, broker: &mut Node, path: huxiao_core::PathId, number: u64) -> Duration {
    let began = Instant::now();
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(number)));
    assert_eq!(broker.message().await.1, alarm(number));
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_pushes_out_the_oldest_unfinished_handshake() {
    let world = World::new();
    let (mut broker, addr) = world
        .broker(|config| {
            config.handshakes = 8;
            config.retry_above = usize::MAX;
        })
        .await;
    send_all(first_packets(&world, 200).await, addr).join().unwrap();
    eventually("the places are taken", || broker.link.counters().handshakes_evicted > 50).await;
    let mut relay = world.node("relay/school-2/gate");
    let began = Instant::now();
    let _handle = relay.link.dial(&target(addr, &[Lane::Express]));
    relay.up().await;
    broker.up().await;
    assert!(began.elapsed() < Duration::from_secs(5), "long before the others' handshakes time out");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_handshake_is_given_up_in_time() {
    let world = World::new();
    let (broker, addr) = world.broker(|config| config.handshake_timeout = Duration::from_millis(300)).await;
    send_all(first_packets(&world, 5).await, addr).join().unwrap();
    eventually("all are given up", || broker.link.counters().handshakes_failed == 5).await;
}
