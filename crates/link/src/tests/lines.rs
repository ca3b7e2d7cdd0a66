//! Lines and NATs that misbehave, and how a session or a dialler gets through all the same.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use huxiao_core::limits::NOTE_BYTES;
use huxiao_core::{
    Class, Cost, EventId, Lane, Message, PathId, Receipt, Rng, Stage, Standing, Text, UplinkId, WallTime,
};

use super::harness::*;
use crate::*;

const ONE_WAY: Duration = Duration::from_millis(10);

/// A message of at least so many bytes, and about a hundred more for each thousand.
fn sized(bytes: usize) -> Message {
    let mut rng = Rng::new(7);
    let notes = (0..bytes).step_by(NOTE_BYTES).map(|at| "x".repeat(NOTE_BYTES.min(bytes - at)));
    let receipt = |note: String| Receipt {
        event: EventId::generate(WallTime(1_000), &mut rng),
        stage: Stage::Acknowledged,
        at: WallTime(1_000),
        by: identity("broker/east/b1").node,
        officer: None,
        note: Text::new(&note).unwrap(),
        skew: None,
        standing: Standing::Settled,
    };
    Message::Receipts(notes.map(receipt).collect())
}

/// Sends `message` until it arrives; what else arrives meanwhile is left out.
async fn gets_through(from: &Node, path: PathId, form: Form, message: &Message, to: &mut Node) -> PathId {
    let sending = async {
        loop {
            let _ = from.link.send(path, Class::P0, form, message);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let receiving = async {
        loop {
            if let LinkEvent::Message { path, message: came } = to.next().await
                && came == *message
            {
                return path;
            }
        }
    };
    tokio::select! {
        () = sending => unreachable!("it sends for ever"),
        path = receiving => path,
    }
}

/// A relay with a proven session through a line that was then cut for whom it knows; the broker, and the session's two paths.
async fn cut_off(world: &World) -> (Line, Node, Node, DialHandle, PathId, PathId) {
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (relay, handle, path) = world.relay(line.addr).await;
    let accepted = broker.up().await.0;
    tokio::time::sleep(ONE_WAY * 6).await;
    line.cut_off();
    (line, broker, relay, handle, path, accepted)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_survives_a_nat_that_forgets_it() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (mut relay, _handle, path) = world.relay(line.addr).await;
    let (accepted, _, _, before, _) = broker.up().await;
    for number in 0..5 {
        line.forget();
        assert!(relay.link.send(path, Class::P0, Form::Stream, &alarm(number)));
        assert_eq!(broker.message().await, (accepted, alarm(number)));
        assert_eq!(gets_through(&broker, accepted, Form::Datagram, &sized(9), &mut relay).await, path);
    }
    assert_ne!(broker.link.stats()[0].remote, before, "the broker follows it");
    assert_eq!((relay.link.stats().len(), broker.link.counters().sessions_up), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_moves_with_its_uplinks_address() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, handle, path) = world.relay(addr).await;
    let (accepted, _, _, before, _) = broker.up().await;
    // Every address of 127.0.0.0/8 is this machine's.
    handle.rebind(Some("127.0.0.2".parse().unwrap()));
    eventually("it is moved", || relay.link.counters().migrations == 1).await;
    assert_eq!(gets_through(&relay, path, Form::Datagram, &alarm(1), &mut broker).await, accepted);
    assert_eq!(gets_through(&broker, accepted, Form::Stream, &alarm(2), &mut relay).await, path);
    let after = broker.link.stats()[0].remote;
    assert_eq!((before.ip().to_string(), after.ip().to_string()), ("127.0.0.1".to_owned(), "127.0.0.2".to_owned()));

    broker.link.close(accepted, "to see it redial");
    loop {
        if let LinkEvent::Up { remote, .. } = broker.next().await {
            assert_eq!(remote.ip(), after.ip(), "later dials begin there too");
            break;
        }
    }
    // An address that is not this machine's: the session stays where it is.
    assert_eq!(relay.link.counters().sessions_down, 1);
    handle.rebind(Some("192.0.2.1".parse().unwrap()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(relay.link.counters().migrations, 1);
    assert_eq!(relay.link.stats().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_finds_a_way_past_a_port_that_has_gone_dead() {
    let world = World::new();
    let (_line, mut broker, mut relay, handle, old, _) = cut_off(&world).await;
    handle.race();
    let (fresh, ..) = relay.up().await;
    assert!(relay.link.stats().iter().any(|path| path.path == old), "the old one is kept");
    assert!(relay.link.send(fresh, Class::P0, Form::Stream, &alarm(1)));
    let accepted = broker.up().await.0;
    assert_eq!(broker.message().await, (accepted, alarm(1)));
    let (closed, why) = relay.down().await;
    assert_eq!(closed, old);
    assert!(matches!(why, DownReason::Closed(_)), "{why}");
    assert_eq!(gets_through(&relay, fresh, Form::Datagram, &alarm(2), &mut broker).await, accepted);
    assert_eq!(relay.link.counters().races, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_race_against_a_session_that_lives_changes_nothing() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (mut relay, handle, old) = world.relay(line.addr).await;
    broker.up().await;
    handle.race();
    let (fresh, ..) = relay.up().await;
    eventually("the fresh session is proven", || relay.link.stats().iter().all(|path| !path.early)).await;
    let talk = async {
        loop {
            assert!(relay.link.send(old, Class::P0, Form::Stream, &alarm(1)));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let listen = async { while !matches!(broker.next().await, LinkEvent::Down { .. }) {} };
    tokio::select! {
        () = talk => unreachable!("it talks for ever"),
        () = listen => {}
    }
    assert_eq!(relay.down().await.0, fresh);
    assert_eq!(relay.link.stats().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_line_that_heals_is_found_with_tickets_left() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let mut relay =
        world.node_with("relay/school-1/gate", |config| config.handshake_timeout = Duration::from_millis(200));
    let handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    relay.up().await;
    let accepted = broker.up().await.0;
    tokio::time::sleep(ONE_WAY * 6).await;
    line.weather(|there, _| there.lost = 100);
    broker.link.close(accepted, "to see it redial");
    broker.down().await;
    relay.down().await;
    // For hours nobody is in a hurry.
    let (first, .., early) = relay.up().await;
    assert!(early, "one ticket is tried");
    assert_eq!(relay.down().await, (first, DownReason::HandshakeTimeout));
    eventually("it is dialled again and again", || relay.link.counters().dials >= 5).await;
    assert_eq!(relay.link.counters().early_offered, 1, "and no more than one");

    line.weather(|there, _| there.lost = 0);
    handle.hurry();
    // A dial in full that was under way may get through first; else the ticket's does, and has the alarm in its first flight.
    let (path, .., early) = relay.up().await;
    let accepted = gets_through(&relay, path, Form::Datagram, &alarm(1), &mut broker).await;
    eventually("it is proven", || relay.link.stats().iter().any(|path| !path.early)).await;
    let counters = relay.link.counters();
    assert_eq!(counters.early_accepted, u64::from(early), "{counters:?}");
    assert_eq!(gets_through(&relay, path, Form::Stream, &alarm(2), &mut broker).await, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_in_a_hurry_dials_many_times_until_the_line_heals() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    line.weather(|there, _| there.lost = 100);
    let mut relay = world.node("relay/school-1/gate");
    let handle = relay.link.dial(&target(line.addr, &[Lane::Express]));
    handle.hurry();
    eventually("several are under way", || relay.link.counters().dials >= 4).await;
    assert_eq!(relay.link.counters().dials_failed, 0, "beside each other");
    line.weather(|there, _| there.lost = 0);
    let path = relay.up().await.0;
    let accepted = gets_through(&relay, path, Form::Datagram, &alarm(1), &mut broker).await;
    // Whatever else got as far as the broker leaves it again.
    eventually("one session is left", || relay.link.stats().len() == 1).await;
    assert_eq!(gets_through(&relay, path, Form::Datagram, &alarm(2), &mut broker).await, accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alarm_arrives_over_a_line_that_carries_nothing_back() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (relay, _handle, path) = world.relay(line.addr).await;
    let accepted = broker.up().await.0;
    line.weather(|_, back| back.lost = 100);
    let mut sent = 0_u64;
    // More than an ordinary congestion window, all of it unacknowledged.
    while sent < 400 {
        assert!(relay.link.send(path, Class::P0, Form::Datagram, &alarm(sent)), "{sent}");
        sent += 1;
        assert_eq!(broker.message().await, (accepted, alarm(sent - 1)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_all_sizes_pass_a_narrow_line() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    // 1,280 bytes of IPv6 packet: its header takes 40, that of UDP 8.
    line.weather(|there, back| (there.longest, back.longest) = (1_232, 1_232));
    let (mut relay, _handle, path) = world.relay(line.addr).await;
    let accepted = broker.up().await.0;
    for bytes in [1, 600, 900, 1_000, 1_010, 1_020, 1_100, 1_150, 1_200, 1_300, 4_000, 50_000] {
        for form in [Form::Stream, Form::Datagram] {
            assert!(relay.link.send(path, Class::P1, form, &sized(bytes)));
            assert_eq!(broker.message().await, (accepted, sized(bytes)), "{bytes} as {form:?}");
            assert!(broker.link.send(accepted, Class::P1, form, &sized(bytes)));
            assert_eq!(relay.message().await, (path, sized(bytes)), "{bytes} as {form:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doubled_late_and_damaged_packets_harm_no_message() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let (mut relay, _handle, path) = world.relay(line.addr).await;
    let accepted = broker.up().await.0;
    line.weather(|there, back| {
        for way in [there, back] {
            (way.doubled, way.late, way.damaged) = (10, 10, 10);
        }
    });
    let mut rng = Rng::new(3);
    let ids: Vec<_> = (0..200).map(|_| EventId::generate(WallTime(1_000), &mut rng)).collect();
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for id in &ids {
        // Of P1, since only as many of that class may be under way as the driver's channel and the streams hold.
        while !relay.link.send(path, Class::P1, Form::Stream, &Message::Inquire(vec![*id])) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        while !broker.link.send(accepted, Class::P1, Form::Stream, &Message::Unknown(vec![*id])) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = relay.link.send(path, Class::P0, Form::Datagram, &Message::Inquire(vec![*id]));
    }
    while seen.iter().any(|seen| seen.len() < ids.len()) {
        tokio::select! {
            (from, message) = broker.message() => {
                let Message::Inquire(found) = message else { panic!("{message:?}") };
                assert_eq!(from, accepted);
                seen[0].extend(found);
            }
            (from, message) = relay.message() => {
                let Message::Unknown(found) = message else { panic!("{message:?}") };
                assert_eq!(from, path);
                seen[1].extend(found);
            }
        }
    }
    let all: BTreeSet<_> = ids.into_iter().collect();
    assert!(seen.iter().all(|seen| *seen == all), "nothing was invented");
    for node in [&relay, &broker] {
        assert!(node.link.counters().bad_frames.is_empty(), "{:?}", node.link.counters().bad_frames);
        assert_eq!((node.link.counters().sessions_up, node.link.counters().sessions_down), (1, 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metered_session_outlasts_a_silence_that_ends_a_free_one() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, ONE_WAY).await;
    let mut relay = world.node("relay/school-1/gate");
    let free = target(line.addr, &[Lane::Express]);
    let uplink = Uplink { id: UplinkId(1), cost: Cost::Metered, ..Uplink::default() };
    let metered = Target { uplink, ..free.clone() };
    let _free = relay.link.dial(&free);
    let (free, ..) = relay.up().await;
    let _metered = relay.link.dial(&metered);
    let (metered, ..) = relay.up().await;
    let accepted = [broker.up().await.0, broker.up().await.0];
    let info = |path| relay.link.stats().into_iter().find(|stats| stats.path == path).unwrap().info;
    assert_eq!((info(free).cost, info(metered).cost, info(metered).uplink), (Cost::Free, Cost::Metered, UplinkId(1)));
    line.cut_off();
    // The listener follows what each dialler has asked for.
    let ends = async {
        let (mut ended, mut told) = (None, None);
        while ended.is_none() || told.is_none() {
            let (event, first) = tokio::select! {
                event = relay.events.recv() => (event, &mut ended),
                event = broker.events.recv() => (event, &mut told),
            };
            if let Some(LinkEvent::Down { path, why }) = event {
                first.get_or_insert((path, why));
            }
        }
        (ended, told)
    };
    let (ended, told) = tokio::time::timeout(huxiao_core::limits::IDLE_TIMEOUT * 2, ends).await.unwrap();
    assert_eq!(ended, Some((free, DownReason::TimedOut)));
    assert!(told.is_some_and(|(path, why)| accepted.contains(&path) && why == DownReason::TimedOut));
    assert!(relay.link.stats().iter().any(|stats| stats.path == metered));
    assert!(broker.link.stats().iter().any(|stats| accepted.contains(&stats.path)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_not_there_is_named() {
    let world = World::new();
    let (_broker, addr) = world.broker(|_| {}).await;
    let relay = world.node("relay/school-1/gate");
    let uplink = Uplink { device: Some("no-such-device".to_owned()), ..Uplink::default() };
    let handle = relay.link.dial(&Target { uplink, ..target(addr, &[Lane::Express]) });
    eventually("the dial fails", || !handle.problems().is_empty()).await;
    assert!(handle.problems()[0].1.contains("no-such-device"), "{:?}", handle.problems());
}

/// How long each of `count` alarms takes from `relay` to `broker`, one every tenth of a second, and how many other messages came meanwhile.
async fn alarms(relay: &Node, path: PathId, broker: &mut Node, count: u64) -> (Vec<Duration>, usize) {
    let (mut took, mut others) = (Vec::new(), 0);
    for number in 0..count {
        let began = Instant::now();
        assert!(relay.link.send(path, Class::P0, Form::Datagram, &alarm(number)));
        loop {
            match broker.message().await.1 {
                message if message == alarm(number) => break,
                _ => others += 1,
            }
        }
        took.push(began.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    took.sort();
    (took, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_and_alarms_share_a_slow_line() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let line = Line::new(addr, Duration::from_millis(60)).await;
    let mut relay = world.node("relay/school-1/gate");
    let _handle = relay.link.dial(&target(line.addr, &[Lane::Express, Lane::Bulk]));
    let mut paths = [relay.up().await, relay.up().await].map(|up| (up.2, up.0));
    paths.sort();
    let [(_, express), (_, bulk)] = paths;
    broker.up().await;
    broker.up().await;
    line.weather(|there, back| (there.bits_a_second, back.bits_a_second) = (Some(256_000), Some(256_000)));
    let (quiet, _) = alarms(&relay, express, &mut broker, 30).await;
    let sent = |link: &Link| link.stats().iter().find(|stats| stats.path == bulk).map(|stats| stats.sent_bytes);
    let (link, before, began) = (relay.link.clone(), sent(&relay.link), Instant::now());
    let feeding = tokio::spawn(async move {
        loop {
            // Refused once enough waits.
            while link.send(bulk, Class::P4, Form::Stream, &sized(6_000)) {}
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let (busy, others) = alarms(&relay, express, &mut broker, 80).await;
    feeding.abort();
    let used = sent(&relay.link).zip(before).map(|(after, before)| (after - before) * 8 / began.elapsed().as_secs());
    let at = |took: &[Duration], percent: usize| took[took.len() * percent / 100];
    println!(
        "alarms over 256 kbit/s: quiet p50 {:?} p95 {:?}; beside {used:?} bit/s of bulk p50 {:?} p95 {:?}",
        at(&quiet, 50),
        at(&quiet, 95),
        at(&busy, 50),
        at(&busy, 95)
    );
    assert!(others > 5, "bulk gets through too, one frame after the other: {others}");
    // A queue would be seconds by now.
    assert!(at(&busy, 95) < Duration::from_secs(1), "{busy:?}");
}
