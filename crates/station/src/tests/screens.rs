//! What comes reaches the screens: once each, also over a change of streams and a restart.

use std::time::Duration;

use axum::http::StatusCode;
use huxiao_core::{Class, Kind, Message, RecordId, Resume, Stage};
use serde_json::json;

use super::harness::{World, event};

#[tokio::test]
async fn an_alarm_reaches_the_screen_once_and_is_confirmed_as_delivered() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    let mut screen = node.follow("/v1/events", "").await;
    assert_eq!(screen.next().await.unwrap().name, "live");
    assert_eq!(broker.hello().await.resume, None);

    let first = event(Kind::Panic, 1);
    broker.give(&first).await;
    let alarm = screen.next().await.unwrap();
    assert_eq!((alarm.name.as_str(), alarm.id), ("alarm", Some(1)));
    let members = json!({
        "id": first.id.to_string(), "seq": 1, "school": "school-1", "relay": "gate", "device": "button-1", "kind": "panic",
        "class": "P0", "note": "门口有人", "test": false, "drill": false, "durable": true, "acknowledged_by": null
    });
    for (name, value) in members.as_object().unwrap() {
        assert_eq!(&alarm.data[name], value, "{name}");
    }
    assert_eq!(alarm.data["trail"][0]["node"], "broker/r1/b1");
    assert_eq!(alarm.data["trail"][1]["node"], "station/s1/desk-1");
    assert!(alarm.data["stages"]["delivered"].is_string(), "{}", alarm.data);
    let stage = screen.next().await.unwrap();
    assert_eq!((stage.name.as_str(), stage.id, &stage.data["stage"]), ("stage", None, &json!("delivered")));
    assert_eq!(broker.receipt(first.id, Stage::Delivered).await.by.to_string(), "station/s1/desk-1");
    broker.confirm(&[(first.id, Stage::Delivered)]).await;

    // A repeat: said again, shown never again.
    broker.give(&first).await;
    broker.receipt(first.id, Stage::Delivered).await;
    broker.give(&event(Kind::Assist, 2)).await;
    let second = screen.until("alarm").await;
    assert_eq!((second.id, &second.data["kind"]), (Some(2), &json!("assist")));

    let (_, list) = node.get("/v1/events").await;
    assert_eq!((list["events"].as_array().unwrap().len(), &list["next_seq"]), (2, &json!(3)));
    let (_, page) = node.get("/v1/events?from_seq=1&limit=1").await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next_seq"]), (1, &json!(2)));
    assert_eq!(node.get("/v1/events?from=1").await.0, StatusCode::BAD_REQUEST);
    let (status, one) = node.get(&format!("/v1/events/{}", first.id)).await;
    assert_eq!((status, &one["seq"]), (StatusCode::OK, &json!(1)));
    let (status, _) = node.get(&format!("/v1/events/{}", event(Kind::Panic, 99).id)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (_, status) = node.get("/v1/status").await;
    assert_eq!(status["station"], "station/s1/desk-1");
    assert_eq!(status["nodes"], json!(["broker/r1/b1"]));
    let path = &status["path_health"][0];
    assert_eq!((&path["node"], &path["carrier"]), (&json!("broker/r1/b1"), &json!("quic")));
    assert!(path["silence_seconds"].as_f64().is_some() && path["health_text"]["zh"].is_string(), "{path}");
    assert_eq!((&status["connected"], &status["unacknowledged"]), (&json!(true), &json!(2)));
    assert_eq!(status["next_seq"], 3);
    node.stop().await;
    // A stop ends the stream.
    while let Some(told) = screen.next().await {
        assert_ne!(told.name, "alarm");
    }
}

#[tokio::test]
async fn health_and_metrics_say_what_is_open_and_who_is_reached() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = event(Kind::Fire, 1);
    broker.give(&alarm).await;
    broker.receipt(alarm.id, Stage::Delivered).await;
    broker.give(&alarm).await;
    broker.receipt(alarm.id, Stage::Delivered).await;
    // The figures are brought up to date once a second.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (_, metrics) = node.text("GET", "/metrics", "", "").await;
    for line in [
        "huxiao_alarms_unacknowledged{station=\"s1\"}",
        "huxiao_oldest_unacknowledged_alarm_age_seconds{station=\"s1\"}",
        "huxiao_duplicates_total{role=\"station\"}",
        "huxiao_alarm_stage_duration_seconds_count{stage=\"delivered\"}",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let (_, health) = node.text("GET", "/readyz?verbose", "", "").await;
    assert!(health.contains("reached: broker/r1/b1"), "{health}");
    broker.link.shutdown().await;
    // A session taken up early with a node that is gone lasts until its handshake has come to nothing.
    let began = std::time::Instant::now();
    loop {
        let (status, health) = node.text("GET", "/readyz?verbose", "", "").await;
        assert_eq!(status, StatusCode::OK, "a line that is down does not take the station out of service");
        if health.contains("no broker node is reached") {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{health}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    node.stop().await;
}

#[tokio::test]
async fn a_stream_resumes_where_it_was_cut_and_hears_what_changed_meanwhile() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarms: Vec<_> = (1..=5).map(|number| event(Kind::Panic, number)).collect();
    for alarm in &alarms[..3] {
        broker.give(alarm).await;
        broker.receipt(alarm.id, Stage::Delivered).await;
    }
    let mut screen = node.follow("/v1/events?from_seq=1", "").await;
    for seq in 1..=3 {
        assert_eq!(screen.until("alarm").await.id, Some(seq));
    }
    screen.until("live").await;
    drop(screen);

    assert_eq!(node.ack(alarms[1].id, "014").await.0, StatusCode::OK);
    broker.give(&alarms[3]).await;
    broker.receipt(alarms[3].id, Stage::Delivered).await;
    let mut screen = node.follow("/v1/events?from_seq=1", "Last-Event-ID: 3\r\n").await;
    let mut taken = Vec::new();
    let resumed = loop {
        let told = screen.next().await.unwrap();
        match told.name.as_str() {
            "stage" if told.data["stage"] == "acknowledged" => taken.push(told.data["seq"].clone()),
            "stage" => {}
            _ => break told,
        }
    };
    assert_eq!(taken, [json!(2)], "the acknowledgement that the screen did not see");
    assert_eq!((resumed.name.as_str(), resumed.id), ("alarm", Some(4)));
    screen.until("live").await;
    broker.give(&alarms[4]).await;
    assert_eq!(screen.until("alarm").await.id, Some(5));

    for strange in ["Last-Event-ID: 4000\r\n", "Last-Event-ID: yesterday\r\n"] {
        let mut screen = node.follow("/v1/events", strange).await;
        assert_eq!(screen.until("alarm").await.id, Some(1), "{strange}: everything, so that no gap can hide an alarm");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_long_history_flows_into_what_comes_without_gap_or_repeat() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    for number in 1..=600 {
        broker.give(&event(Kind::Mains, number)).await;
    }
    let mut screens = Vec::new();
    let mut sent = 600;
    // Streams are opened while events come.
    for _ in 0..5 {
        for _ in 0..20 {
            sent += 1;
            broker.give(&event(Kind::Mains, sent)).await;
        }
        screens.push(node.follow("/v1/events?from_seq=1", "").await);
    }
    for mut screen in screens {
        for seq in 1..=sent {
            let alarm = screen.until("alarm").await;
            assert_eq!(alarm.data["seq"], seq);
        }
    }
    node.stop().await;
}

#[tokio::test]
async fn a_restart_keeps_rows_numbers_and_the_mark() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let (first, second) = (event(Kind::Panic, 1), event(Kind::Mains, 2));
    for event in [&first, &second] {
        broker.give(event).await;
        broker.receipt(event.id, Stage::Delivered).await;
        broker.confirm(&[(event.id, Stage::Delivered)]).await;
    }
    for index in [5, 9] {
        let mark = Resume { record: RecordId([3; 16]), index };
        broker.say(Class::P2, &Message::Mark(mark)).await;
    }
    // A mark is answered by nothing; what comes after it shows that it was heard, and the stop writes all.
    let third = event(Kind::Battery, 3);
    tokio::time::sleep(Duration::from_millis(100)).await;
    broker.give(&third).await;
    broker.receipt(third.id, Stage::Delivered).await;
    node.stop().await;

    let node = world.station(broker.addr).await;
    assert_eq!(broker.hello().await.resume, Some(Resume { record: RecordId([3; 16]), index: 9 }));
    let mut screen = node.follow("/v1/events", "Last-Event-ID: 1\r\n").await;
    assert_eq!(screen.until("alarm").await.data["id"], second.id.to_string());
    broker.receipt(third.id, Stage::Delivered).await;
    broker.give(&first).await;
    broker.receipt(first.id, Stage::Delivered).await;
    let fourth = event(Kind::Panic, 4);
    broker.give(&fourth).await;
    assert_eq!(screen.until("alarm").await.id, Some(3));
    let told = screen.until("alarm").await;
    assert_eq!((told.id, &told.data["id"]), (Some(4), &json!(fourth.id.to_string())), "the repeat took no number");
    node.stop().await;
}

#[tokio::test]
async fn a_lost_inbox_forgets_the_mark_and_reuses_no_number() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = event(Kind::Panic, 1);
    broker.give(&alarm).await;
    broker.receipt(alarm.id, Stage::Delivered).await;
    for number in 2..=5 {
        let event = event(Kind::Mains, number);
        broker.give(&event).await;
        broker.receipt(event.id, Stage::Delivered).await;
    }
    broker.say(Class::P2, &Message::Mark(Resume { record: RecordId([3; 16]), index: 7 })).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    node.stop().await;

    std::fs::remove_dir_all(world.path("data/store/database")).unwrap();
    let node = world.station(broker.addr).await;
    assert_eq!(broker.hello().await.resume, None, "the broker node is asked for everything");
    let (_, list) = node.get("/v1/events").await;
    let rows: Vec<_> = list["events"].as_array().unwrap().iter().map(|row| row["id"].clone()).collect();
    assert_eq!(rows, [json!(alarm.id.to_string())], "the alarm came back from the black box");
    let (_, status) = node.get("/v1/status").await;
    assert_eq!((&status["losses"][0]["kind"], &status["next_seq"]), (&json!("missing"), &json!(6)));
    let mut screen = node.follow("/v1/events", "Last-Event-ID: 5\r\n").await;
    broker.give(&event(Kind::Mains, 2)).await;
    let again = screen.until("alarm").await;
    assert_eq!(again.id, Some(6), "a number once given is never given again");
    broker.receipt(event(Kind::Mains, 2).id, Stage::Delivered).await;
    node.stop().await;
}

#[tokio::test]
async fn an_alarm_is_on_the_screen_long_before_its_limit() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let mut screen = node.follow("/v1/events", "").await;
    screen.until("live").await;
    let mut took = Vec::new();
    for number in 1..=100 {
        let alarm = event(Kind::Panic, number);
        let begun = std::time::Instant::now();
        broker.give(&alarm).await;
        assert_eq!(screen.until("alarm").await.id, Some(number));
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    println!("broker node to SSE line, disk included: p50 {:?}, p99 {:?}, worst {:?}", took[50], took[98], took[99]);
    assert!(took[98] < Duration::from_millis(500), "{took:?}");
    node.stop().await;
}
