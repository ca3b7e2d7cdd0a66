//! Lines that drop UDP: a session over TCP, and back.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use huxiao_core::{Carrier, Class, EventId, Lane, Message, PathId, Rng, WallTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use super::harness::*;
use crate::*;

/// A box between two nodes that lets TCP through, and UDP only while it is told to.
pub(super) struct Middlebox {
    pub(super) addr: SocketAddr,
    udp: Arc<AtomicBool>,
    pace: Pace,
}

/// How fast TCP goes towards the broker: so many bytes, then a rest.
#[derive(Clone, Copy)]
pub(super) struct Pace(pub(super) usize, pub(super) Duration);

impl Middlebox {
    pub(super) async fn new(to: SocketAddr, pace: Pace) -> Self {
        let (tcp, udp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let socket = TcpSocket::new_v4().unwrap();
            // What this box holds is no longer the sender's to order. Connections have what the listener has.
            socket.set_recv_buffer_size(4_096).unwrap();
            if socket.bind(udp.local_addr().unwrap()).is_ok() {
                break (socket.listen(64).unwrap(), udp);
            }
        };
        let this = Self { addr: udp.local_addr().unwrap(), udp: Arc::default(), pace };
        tokio::spawn(carry_udp(Arc::new(udp), to, Arc::clone(&this.udp)));
        tokio::spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                tokio::spawn(carry_tcp(stream, to, this.pace));
            }
        });
        this
    }

    pub(super) fn let_udp(&self, through: bool) {
        self.udp.store(through, Ordering::Relaxed);
    }
}

async fn carry_udp(front: Arc<UdpSocket>, to: SocketAddr, open: Arc<AtomicBool>) {
    let mut backs: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut buffer = vec![0; 65_536];
    while let Ok((len, from)) = front.recv_from(&mut buffer).await {
        if !open.load(Ordering::Relaxed) {
            continue;
        }
        let back = match backs.get(&from) {
            Some(back) => Arc::clone(back),
            None => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(to).await.unwrap();
                let (front, back2, open) = (Arc::clone(&front), Arc::clone(&back), Arc::clone(&open));
                tokio::spawn(async move {
                    let mut buffer = vec![0; 65_536];
                    while let Ok(len) = back2.recv(&mut buffer).await {
                        if open.load(Ordering::Relaxed) {
                            let _ = front.send_to(&buffer[..len], from).await;
                        }
                    }
                });
                backs.insert(from, Arc::clone(&back));
                back
            }
        };
        let _ = back.send(&buffer[..len]).await;
    }
}

async fn carry_tcp(front: TcpStream, to: SocketAddr, pace: Pace) {
    let Ok(back) = TcpStream::connect(to).await else { return };
    let (mut from_front, mut to_front) = front.into_split();
    let (mut from_back, mut to_back) = back.into_split();
    let up = async {
        let mut buffer = vec![0; pace.0];
        while let Ok(len) = from_front.read(&mut buffer).await {
            if len == 0 || to_back.write_all(&buffer[..len]).await.is_err() {
                break;
            }
            if !pace.1.is_zero() {
                tokio::time::sleep(pace.1).await;
            }
        }
        let _ = to_back.shutdown().await;
    };
    let down = async {
        let _ = tokio::io::copy(&mut from_back, &mut to_front).await;
        let _ = to_front.shutdown().await;
    };
    tokio::join!(up, down);
}

pub(super) const FAST: Pace = Pace(65_536, Duration::ZERO);

pub(super) fn carrier(node: &Node, path: PathId) -> Carrier {
    node.link.stats().iter().find(|stats| stats.path == path).unwrap().info.carrier
}

/// A relay whose UDP is dropped, with its session to `addr` over TCP.
async fn relay_over_tcp(world: &World, addr: SocketAddr, lane: Lane) -> (Node, DialHandle, PathId) {
    let mut relay = world.node_with("relay/school-1/gate", |config| config.fallback_until = Duration::from_secs(1));
    let handle = relay.link.dial(&target(addr, &[lane]));
    let path = relay.up().await.0;
    assert_eq!(carrier(&relay, path), Carrier::Tcp);
    (relay, handle, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_drops_udp_is_crossed_over_tcp() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    for lane in [Lane::Express, Lane::Bulk] {
        let began = Instant::now();
        let (mut relay, handle, path) = relay_over_tcp(&world, line.addr, lane).await;
        println!("{lane:?} over TCP after {:?}", began.elapsed());
        let (accepted, peer, accepted_lane, ..) = broker.up().await;
        assert_eq!((peer.identity, accepted_lane), (identity("relay/school-1/gate"), lane));
        assert_eq!(carrier(&broker, accepted), Carrier::Tcp);
        for form in [Form::Stream, Form::Datagram] {
            assert!(relay.link.send(path, Class::P0, form, &alarm(1)));
            assert_eq!(broker.message().await, (accepted, alarm(1)));
            assert!(broker.link.send(accepted, Class::P1, form, &hello("broker")));
            assert_eq!(relay.message().await, (path, hello("broker")));
        }
        let stats = relay.link.stats();
        assert!(stats[0].sent_bytes > 500 && stats[0].received_bytes > 500, "{stats:?}");
        assert_eq!((stats.len(), stats[0].rtt, stats[0].dialled, stats[0].early), (1, None, true, false));
        eventually("both are counted", || relay.link.counters().messages_sent == 2).await;
        assert_eq!(handle.sessions(), [path], "a dialler tells its sessions, whatever carries them");
        drop(handle);
        assert_eq!(relay.down().await, (path, DownReason::Shutdown));
        assert_eq!(broker.down().await, (accepted, DownReason::ClosedByPeer { code: 0 }));
    }
    assert_eq!(broker.link.counters().bad_frames.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_takes_over_again_and_nothing_is_lost_on_the_way() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    let (mut relay, handle, over_tcp) = relay_over_tcp(&world, line.addr, Lane::Express).await;
    let broker_tcp = broker.up().await.0;
    eventually("people are told", || handle.problems().first().is_none_or(|(_, text)| text.contains("over TCP"))).await;
    line.let_udp(true);
    // Each alarm goes over every path there is, as a courier does it, and what was taken is noted by path.
    let (mut taken, mut came) = (Vec::<(PathId, u64)>::new(), Vec::<(PathId, u64)>::new());
    let (mut quic, mut broker_quic, mut tcp_down) = (None, None, false);
    let mut broker_down = None;
    let began = Instant::now();
    for number in 0.. {
        assert!(began.elapsed() < PATIENCE, "QUIC up: {quic:?}, TCP down: {tcp_down}");
        for path in quic.into_iter().chain((!tcp_down).then_some(over_tcp)) {
            if relay.link.send(path, Class::P0, Form::Stream, &alarm(number)) {
                taken.push((path, number));
            }
        }
        while let Ok(event) = relay.events.try_recv() {
            match event {
                LinkEvent::Up { path, info, .. } => {
                    assert_eq!(info.carrier, Carrier::Quic);
                    quic = Some(path);
                }
                LinkEvent::Down { path, why } => {
                    assert_eq!((path, why), (over_tcp, DownReason::Closed("QUIC carries again".to_owned())));
                    tcp_down = true;
                }
                LinkEvent::Message { .. } => panic!("nobody answers"),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        while let Ok(event) = broker.events.try_recv() {
            match event {
                LinkEvent::Up { path, .. } => broker_quic = Some(path),
                LinkEvent::Down { path, why } => broker_down = Some((path, why)),
                LinkEvent::Message { path, message } => came.push((path, number_of(&message))),
            }
        }
        if tcp_down && broker_down.is_some() && taken.len() == came.len() {
            break;
        }
    }
    assert_eq!(broker_down, Some((broker_tcp, DownReason::ClosedByPeer { code: 0 })));
    for (ours, theirs) in [(over_tcp, broker_tcp), (quic.unwrap(), broker_quic.unwrap())] {
        let numbers = |list: &[(PathId, u64)], path| -> Vec<u64> {
            let mut numbers: Vec<_> = list.iter().filter(|(of, _)| *of == path).map(|(_, number)| *number).collect();
            numbers.sort_unstable();
            numbers
        };
        assert!(numbers(&taken, ours).len() > 10);
        assert_eq!(numbers(&taken, ours), numbers(&came, theirs), "all that was taken has come");
    }
    assert_eq!(relay.link.counters().messages_lost, 0);
    assert_eq!(relay.link.counters().tcp_given_back, 1);
    assert!(handle.problems().is_empty(), "{:?}", handle.problems());
    // And it stays that way.
    relay.silence(Duration::from_millis(700)).await;
    assert_eq!(relay.link.stats().len(), 1);
}

fn number_of(message: &Message) -> u64 {
    match message {
        Message::Event(copy) => copy.sealed.event.seq,
        other => panic!("not an alarm: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quic_that_has_gone_silent_is_raced_by_tcp() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    line.let_udp(true);
    let mut relay = world.node("relay/school-1/gate");
    let handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    let over_quic = relay.up().await.0;
    broker.up().await;
    assert_eq!(carrier(&relay, over_quic), Carrier::Quic);
    relay.silence(Duration::from_millis(600)).await;
    line.let_udp(false);
    let began = Instant::now();
    handle.race();
    // QUIC is dialled afresh as well, and may begin with a ticket before anybody has answered.
    let over_tcp = loop {
        let path = relay.up().await.0;
        if carrier(&relay, path) == Carrier::Tcp {
            break path;
        }
    };
    println!("raced in {:?}", began.elapsed());
    assert_eq!(carrier(&relay, over_quic), Carrier::Quic, "QUIC is still there");
    let accepted = broker.up().await.0;
    assert!(relay.link.send(over_tcp, Class::P0, Form::Datagram, &alarm(1)));
    assert_eq!(broker.message().await, (accepted, alarm(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_that_waits_does_not_wait_for_quic_to_fail() {
    let world = World::with_fallback();
    let (_broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    let mut relay = world.node_with("relay/school-1/gate", |config| config.fallback_after = Duration::from_secs(3_600));
    let handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    relay.silence(Duration::from_millis(600)).await;
    handle.hurry();
    let path = relay.up().await.0;
    assert_eq!(carrier(&relay, path), Carrier::Tcp);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_overtakes_what_waits_below_it() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    // 64 KiB/s.
    let line = Middlebox::new(addr, Pace(1_024, Duration::from_millis(16))).await;
    let mut relay = world.node_with("relay/school-1/gate", |config| config.queue = 2_000);
    let _handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    let path = relay.up().await.0;
    broker.up().await;
    for number in 1..=1_000 {
        let class = if number % 2 == 0 { Class::P4 } else { Class::P2 };
        assert!(relay.link.send(path, class, Form::Stream, &alarm(number)));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(0)));
    let mut before = 0;
    while number_of(&broker.message().await.1) != 0 {
        before += 1;
    }
    println!("{before} of 1,000 messages came before the alarm");
    assert!(before < 700, "the alarm waited behind what had been queued before it");
    let mut rest: Vec<u64> = Vec::new();
    for _ in before..1_000 {
        rest.push(number_of(&broker.message().await.1));
    }
    let first_p4 = rest.iter().position(|number| number % 2 == 0).unwrap();
    assert!(rest[first_p4..].iter().all(|number| number % 2 == 0), "P2 goes before P4: {rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_goes_in_small_frames() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    let (relay, _handle, path) = relay_over_tcp(&world, line.addr, Lane::Express).await;
    broker.up().await;
    let list: Vec<_> = (0..800).map(|number| EventId::generate(WallTime(1), &mut Rng::new(number))).collect();
    assert!(relay.link.send(path, Class::P1, Form::Stream, &Message::Inquire(list.clone())));
    let (mut got, mut frames) = (Vec::new(), 0);
    while got.len() < list.len() {
        let Message::Inquire(part) = broker.message().await.1 else { panic!("not the list") };
        got.extend(part);
        frames += 1;
    }
    assert_eq!(got, list);
    assert!(frames > 3, "{frames} frames");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_first_sends_what_it_has_over_tcp_too() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, Pace(2_048, Duration::from_millis(10))).await;
    let (mut relay, _handle, path) = relay_over_tcp(&world, line.addr, Lane::Express).await;
    broker.up().await;
    for number in 0..100 {
        assert!(relay.link.send(path, Class::P1, Form::Stream, &alarm(number)));
    }
    let link = relay.link.clone();
    tokio::join!(async { link.shutdown().await }, async {
        for number in 0..100 {
            assert_eq!(number_of(&broker.message().await.1), number);
        }
        assert_eq!(broker.down().await.1, DownReason::ClosedByPeer { code: 0 });
    });
    assert_eq!(relay.down().await, (path, DownReason::Shutdown));
    assert_eq!((relay.link.counters().messages_sent, relay.link.counters().messages_lost), (100, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_stops_first_answers_what_it_has() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    let (mut relay, _handle, path) = relay_over_tcp(&world, line.addr, Lane::Express).await;
    let accepted = broker.up().await.0;
    for number in 0..100 {
        assert!(broker.link.send(accepted, Class::P1, Form::Stream, &alarm(number)));
    }
    broker.link.shutdown().await;
    assert_eq!(broker.down().await, (accepted, DownReason::Shutdown));
    for number in 0..100 {
        assert_eq!(number_of(&relay.message().await.1), number);
    }
    assert_eq!(relay.down().await, (path, DownReason::ClosedByPeer { code: 0 }));
    eventually("it is tried again", || relay.link.counters().tcp_dials_failed > 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_leaves_from_the_uplinks_own_address() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let relay = world.node_with("relay/school-1/gate", |config| config.fallback_after = Duration::ZERO);
    let mut target = target(addr, &[Lane::Express]);
    target.uplink.local = Some("127.0.0.3".parse().unwrap());
    let handle = relay.link.dial(&target);
    handle.hurry();
    let remote = broker.up().await.3;
    assert_eq!(remote.ip().to_string(), "127.0.0.3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_whose_address_has_changed_is_dialled_from_the_new_one() {
    let world = World::with_fallback();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Middlebox::new(addr, FAST).await;
    let (mut relay, handle, path) = relay_over_tcp(&world, line.addr, Lane::Express).await;
    broker.up().await;
    handle.rebind(Some("127.0.0.4".parse().unwrap()));
    let (down, why) = relay.down().await;
    assert_eq!((down, why.as_str()), (path, "transport"), "{why}");
    let again = relay.up().await.0;
    assert_eq!(carrier(&relay, again), Carrier::Tcp);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_on_tcp_is_said() {
    let world = World::with_fallback();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broker = world.node("broker/east/b1");
    let addr = taken.local_addr().unwrap();
    let error = broker.link.listen(addr).await.unwrap_err();
    assert!(matches!(&error, LinkError::BindTcp { addr: of, .. } if *of == addr), "{error:?}");
    assert!(error.to_string().starts_with(&format!("cannot open TCP {addr}: ")), "{error}");
    drop(taken);
    assert_eq!(broker.link.listen(addr).await.unwrap(), addr, "nothing was left open on UDP");
}
