//! The client library: the same seat without the daemon.

use huxiao_core::{Kind, Stage};
use huxiao_store::Trial;

use super::harness::{PATIENCE, World, event};
use crate::client::{AckError, AcknowledgeError, Client, ClientConfig, ConnectError, Incoming};

fn config(world: &World, broker: &str, after: u64) -> ClientConfig {
    let (cert, key) = world.issue("station/s1/dispatch");
    ClientConfig {
        ca: world.path("ca.pem"),
        cert,
        key,
        brokers: vec![broker.to_owned()],
        region: Some("r1".parse().unwrap()),
        data_dir: world.path("dispatch"),
        after,
        trial: Trial::InProcess,
    }
}

async fn next(client: &mut Client) -> Incoming {
    tokio::time::timeout(PATIENCE, client.next()).await.expect("something in time").expect("a client that lives")
}

async fn next_event(client: &mut Client) -> (u64, String) {
    loop {
        if let Incoming::Event { row, .. } = next(client).await {
            return (row.seq, row.sealed.event.kind.to_string());
        }
    }
}

#[tokio::test]
async fn a_program_gets_alarms_answers_them_and_goes_on_after_a_restart() {
    let world = World::new();
    let mut broker = world.broker().await;
    let addr = broker.addr.to_string();
    let mut client = Client::connect(config(&world, &addr, 0)).await.unwrap();
    assert_eq!(next(&mut client).await, Incoming::Live);
    broker.hello().await;
    let alarm = event(Kind::Panic, 1);
    broker.give(&alarm).await;
    let Incoming::Event { row, durable: true } = next(&mut client).await else { panic!("the alarm") };
    assert_eq!((row.seq, row.sealed.event.id), (1, alarm.id));
    assert_eq!(client.nodes().await.unwrap().len(), 1);

    client.displayed(&[alarm.id]).await.unwrap();
    assert_eq!(broker.receipt(alarm.id, Stage::Displayed).await.by.to_string(), "station/s1/dispatch");
    let done = client.acknowledge(alarm.id, "014", "出警").await.unwrap();
    assert!(!done.repeated);
    broker.receipt(alarm.id, Stage::Acknowledged).await;
    let refused = client.acknowledge(alarm.id, "015", "").await;
    assert!(matches!(refused, Err(AcknowledgeError::Refused(AckError::Taken(_)))), "{refused:?}");
    let refused = client.acknowledge(event(Kind::Panic, 99).id, "014", "").await;
    assert!(matches!(refused, Err(AcknowledgeError::Refused(AckError::Unknown(_)))), "{refused:?}");
    assert!(matches!(client.acknowledge(alarm.id, "no one", "").await, Err(AcknowledgeError::Officer(_))));
    loop {
        if let Incoming::Stage { seq: 1, receipt } = next(&mut client).await
            && receipt.stage == Stage::Acknowledged
        {
            break;
        }
    }
    client.shutdown().await.unwrap();

    let mut client = Client::connect(config(&world, &addr, 1)).await.unwrap();
    broker.hello().await;
    broker.receipt(alarm.id, Stage::Acknowledged).await;
    broker.give(&alarm).await;
    broker.give(&event(Kind::Fire, 2)).await;
    assert_eq!(next_event(&mut client).await, (2, "fire".to_owned()), "neither the one it had, nor its repeat");
    assert!(client.get(alarm.id).await.unwrap().unwrap().is_finished());
    client.shutdown().await.unwrap();

    let mut client = Client::connect(config(&world, &addr, 0)).await.unwrap();
    assert_eq!(next_event(&mut client).await.0, 1);
    assert_eq!(next_event(&mut client).await.0, 2);
    client.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_program_that_reads_seldom_still_gets_everything_once() {
    let world = World::new();
    let mut broker = world.broker().await;
    let mut client = Client::connect(config(&world, &broker.addr.to_string(), 0)).await.unwrap();
    broker.hello().await;
    // More changes than the bus holds: each event is shown and delivered.
    const EVENTS: u64 = 1_500;
    for number in 1..=EVENTS {
        broker.give(&event(Kind::Mains, number)).await;
    }
    let last = event(Kind::Panic, EVENTS + 1);
    broker.give(&last).await;
    broker.receipt(last.id, Stage::Delivered).await;
    let mut seqs: Vec<u64> = Vec::new();
    while (seqs.len() as u64) < EVENTS + 1 {
        seqs.push(next_event(&mut client).await.0);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (1..=EVENTS + 1).collect::<Vec<_>>());
    client.shutdown().await.unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_said_at_once() {
    let world = World::new();
    for broker in ["b1.example", "unix:/run/x", ":7443"] {
        let refused = Client::connect(config(&world, broker, 0)).await;
        assert!(matches!(refused, Err(ConnectError::Broker(..))), "{broker}: {refused:?}");
    }
    let (cert, key) = world.issue("relay/school-1/gate");
    let refused = Client::connect(ClientConfig { cert, key, ..config(&world, "127.0.0.1:9", 0) }).await;
    assert!(matches!(refused, Err(ConnectError::Credentials(_))), "{refused:?}");
    let first = Client::connect(config(&world, "127.0.0.1:9", 0)).await.unwrap();
    let second = Client::connect(config(&world, "127.0.0.1:9", 0)).await;
    assert!(matches!(second, Err(ConnectError::Store(_))), "{second:?}");
    first.shutdown().await.unwrap();
    Client::connect(config(&world, "127.0.0.1:9", 0)).await.unwrap().shutdown().await.unwrap();
}
