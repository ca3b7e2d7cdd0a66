//! Who may have a session, and who may not.

use std::time::Duration;

use huxiao_core::{Class, Lane, Name, Role, WallTime};
use huxiao_pki::{Period, Validity};

use super::harness::*;
use crate::registry::wall_now;
use crate::*;

const DAY: i64 = 86_400_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_learn_who_the_other_is_and_exchange_messages() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let (mut relay, _handle, to_broker) = world.relay(addr).await;
    let (to_relay, peer, lane, _, early) = broker.up().await;
    assert_eq!((peer.identity, peer.validity), (identity("relay/school-1/gate"), Validity::Valid));
    assert_eq!((lane, early), (Lane::Express, false));

    assert!(relay.link.send(to_broker, Class::P0, Form::Stream, &alarm(1)));
    assert_eq!(broker.message().await, (to_relay, alarm(1)));
    assert!(broker.link.send(to_relay, Class::P1, Form::Stream, &hello("broker")));
    assert_eq!(relay.message().await, (to_broker, hello("broker")));
    assert_eq!(relay.link.stats()[0].peer.identity, identity("broker/east/b1"));
    eventually("the send is acknowledged", || relay.link.counters().messages_sent == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_authority_has_no_session() {
    let (world, other) = (World::new(), World::new());
    let (mut broker, addr) = world.broker(|_| {}).await;
    let relay = other.node("relay/school-1/gate");
    let handle = relay.link.dial(&target(addr, &[Lane::Express]));
    eventually("the dial fails", || relay.link.counters().dials_failed > 0).await;
    let problems = handle.problems();
    assert!(problems[0].1.contains("certificate"), "{problems:?}");
    broker.silence(Duration::from_millis(200)).await;
    assert_eq!(broker.link.counters().sessions_up, 0);
    assert_eq!(relay.link.counters().sessions_up, 0);
    assert!(broker.link.counters().handshakes_failed > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_comes_up_flagged_on_either_end() {
    let world = World::new();
    let past = Period { not_before: WallTime(wall_now().0 - 9 * DAY), not_after: WallTime(wall_now().0 - DAY) };
    let mut broker = world.node_from(world.credentials_for("broker/east/b1", past), |_| {});
    let addr = broker.link.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut relay = world.node_from(world.credentials_for("relay/school-1/gate", past), |_| {});
    let _handle = relay.link.dial(&target(addr, &[Lane::Express]));
    let (to_broker, peer, ..) = relay.up().await;
    assert_eq!((peer.validity, peer.not_after.0 / DAY), (Validity::Expired, past.not_after.0 / DAY));
    assert_eq!(broker.up().await.1.validity, Validity::Expired);
    assert!(relay.link.send(to_broker, Class::P0, Form::Stream, &alarm(1)));
    assert_eq!(broker.message().await.1, alarm(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_closes_on_whom_it_does_not_accept() {
    let world = World::new();
    let (mut broker, addr) =
        world.broker(|config| config.accept = LinkConfig::accepting(&[Role::Station]).accept).await;
    let (mut relay, _handle, path) = world.relay(addr).await;
    assert_eq!(relay.down().await, (path, DownReason::ClosedByPeer { code: 2 }));
    broker.silence(Duration::from_millis(100)).await;
    assert!(broker.link.counters().peers_refused > 0);

    let mut station = world.node("station/st-1/desk");
    let _handle = station.link.dial(&target(addr, &[Lane::Express]));
    station.up().await;
    assert_eq!(broker.up().await.1.identity, identity("station/st-1/desk"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_closes_on_whom_it_did_not_expect() {
    let world = World::new();
    let (_broker, addr) = world.broker(|_| {}).await;
    let expectations = [
        Expect::broker(Some(Name::new("west").unwrap())),
        Expect { role: Role::Station, region: None },
        Expect { role: Role::Relay, region: None },
    ];
    for expect in expectations {
        let relay = world.node("relay/school-1/gate");
        let handle = relay.link.dial(&Target { expect: expect.clone(), ..target(addr, &[Lane::Express]) });
        eventually("the dial fails", || relay.link.counters().dials_failed > 0).await;
        assert_eq!(relay.link.counters().sessions_up, 0, "{expect:?}");
        assert!(handle.problems()[0].1.contains("broker/east/b1"), "{:?}", handle.problems());
    }
    let mut relay = world.node("relay/school-1/gate");
    let expect = Expect::broker(Some(Name::new("east").unwrap()));
    let _handle = relay.link.dial(&Target { expect, ..target(addr, &[Lane::Express]) });
    relay.up().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialler_asks_its_own_rules_too() {
    let world = World::new();
    let (_broker, addr) = world.broker(|_| {}).await;
    let relay = world.node_with("relay/school-1/gate", |config| {
        config.accept = LinkConfig::new(|identity| !is_broker(identity)).accept;
    });
    let _handle = relay.link.dial(&target(addr, &[Lane::Express]));
    eventually("the dial fails", || relay.link.counters().peers_refused > 0).await;
    assert_eq!(relay.link.counters().sessions_up, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_has_a_session_with_itself() {
    let world = World::new();
    let (mut broker, addr) = world.broker(|_| {}).await;
    let handle = broker.link.dial(&target(addr, &[Lane::Express]));
    eventually("the dial fails", || broker.link.counters().dials_failed > 0).await;
    assert!(!handle.problems().is_empty());
    broker.silence(Duration::from_millis(100)).await;
}
