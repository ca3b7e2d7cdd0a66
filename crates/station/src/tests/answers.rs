//! What people do at the screens reaches the region, and stays known until the region has it.

use axum::http::StatusCode;
use huxiao_core::{Class, Kind, Message, Receipt, Stage, Standing, Text};
use huxiao_runtime::clock::Clock;
use serde_json::json;

use super::harness::{Broker, Node, World, event};

async fn delivered(broker: &mut Broker, number: u64) -> huxiao_core::Event {
    let alarm = event(Kind::Panic, number);
    broker.give(&alarm).await;
    broker.receipt(alarm.id, Stage::Delivered).await;
    broker.confirm(&[(alarm.id, Stage::Delivered)]).await;
    alarm
}

async fn unconfirmed(node: &Node) -> u64 {
    node.get("/v1/status").await.1["unconfirmed"].as_u64().unwrap()
}

#[tokio::test]
async fn an_acknowledgement_goes_up_again_and_again_until_it_is_confirmed() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = delivered(&mut broker, 1).await;
    let mut screen = node.follow("/v1/events", "").await;
    let body = json!({ "officer": "014", "note": "已出警" }).to_string();
    let (status, taken) = node.post(&format!("/v1/events/{}/ack", alarm.id), &body).await;
    assert_eq!(status, StatusCode::OK, "{taken}");
    assert_eq!((&taken["officer"], &taken["repeated"]), (&json!("014"), &json!(false)));
    assert_eq!(taken["owner"]["by"], "station/s1/desk-1");
    let stage = screen.until("stage").await;
    assert_eq!((&stage.data["stage"], &stage.data["note"]), (&json!("acknowledged"), &json!("已出警")));

    for _ in 0..3 {
        let receipt = broker.receipt(alarm.id, Stage::Acknowledged).await;
        assert_eq!((receipt.officer.unwrap().as_str(), receipt.note.as_str()), ("014", "已出警"));
    }
    assert_eq!(unconfirmed(&node).await, 1);
    broker.confirm(&[(alarm.id, Stage::Acknowledged)]).await;
    let begun = std::time::Instant::now();
    while unconfirmed(&node).await > 0 {
        assert!(begun.elapsed() < super::harness::PATIENCE, "the confirmation counts");
    }
    assert_eq!(node.get("/v1/status").await.1["unacknowledged"], 0);

    let (status, again) = node.ack(alarm.id, "014").await;
    assert_eq!((status, &again["repeated"], &again["at"]), (StatusCode::OK, &json!(true), &taken["at"]));
    let (status, other) = node.ack(alarm.id, "015").await;
    assert_eq!((status, &other["error"]["code"]), (StatusCode::CONFLICT, &json!("taken")));
    assert_eq!((&other["owner"]["officer"], &other["owner"]["at"]), (&json!("014"), &taken["at"]));
    node.stop().await;
}

#[tokio::test]
async fn an_acknowledgement_survives_a_restart() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = delivered(&mut broker, 1).await;
    let (_, taken) = node.ack(alarm.id, "014").await;
    broker.receipt(alarm.id, Stage::Acknowledged).await;
    node.stop().await;

    let node = world.station(broker.addr).await;
    broker.hello().await;
    let receipt = broker.receipt(alarm.id, Stage::Acknowledged).await;
    assert_eq!(receipt.officer.unwrap().as_str(), "014");
    let (_, row) = node.get(&format!("/v1/events/{}", alarm.id)).await;
    assert_eq!(row["acknowledged_by"]["officer"], "014");
    assert_eq!(row["stages"]["acknowledged"], taken["at"]);
    node.stop().await;
}

#[tokio::test]
async fn another_seats_acknowledgement_is_shown_and_is_first() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = delivered(&mut broker, 1).await;
    let mut screen = node.follow("/v1/events", "").await;
    screen.until("live").await;
    let theirs = Receipt {
        event: alarm.id,
        stage: Stage::Acknowledged,
        at: Clock::system().wall(),
        by: "station/s1/desk-2".parse().unwrap(),
        officer: Some("099".parse().unwrap()),
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    };
    broker.say(Class::P1, &Message::Receipts(vec![theirs])).await;
    let stage = screen.until("stage").await;
    assert_eq!((&stage.data["by"], &stage.data["officer"]), (&json!("station/s1/desk-2"), &json!("099")));
    assert_eq!(stage.data["id"], alarm.id.to_string());
    let (status, taken) = node.ack(alarm.id, "014").await;
    assert_eq!((status, &taken["owner"]["officer"]), (StatusCode::CONFLICT, &json!("099")));
    node.stop().await;
}

#[tokio::test]
async fn displayed_is_said_once_however_often_a_screen_says_it() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = delivered(&mut broker, 1).await;
    for _ in 0..3 {
        let (status, _) = node.post(&format!("/v1/events/{}/displayed", alarm.id), "").await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let at = broker.receipt(alarm.id, Stage::Displayed).await.at;
    assert_eq!(broker.receipt(alarm.id, Stage::Displayed).await.at, at, "the same statement, repeated");
    broker.confirm(&[(alarm.id, Stage::Displayed)]).await;
    let (_, row) = node.get(&format!("/v1/events/{}", alarm.id)).await;
    assert!(row["stages"]["displayed"].is_string());
    node.stop().await;
}

#[tokio::test]
async fn bad_requests_get_a_clear_error_and_change_nothing() {
    let world = World::new();
    let mut broker = world.broker().await;
    let node = world.station(broker.addr).await;
    broker.hello().await;
    let alarm = delivered(&mut broker, 1).await;
    let ack = format!("/v1/events/{}/ack", alarm.id);
    let unknown = event(Kind::Panic, 99).id;
    let long = json!({ "officer": "014", "note": "x".repeat(2_000) }).to_string();
    for (path, body, status, code) in [
        (ack.as_str(), "{", StatusCode::BAD_REQUEST, "malformed_json"),
        (&ack, "{}", StatusCode::UNPROCESSABLE_ENTITY, "invalid_json"),
        (&ack, r#"{"officer":"014","rank":1}"#, StatusCode::UNPROCESSABLE_ENTITY, "invalid_json"),
        (&ack, r#"{"officer":""}"#, StatusCode::UNPROCESSABLE_ENTITY, "bad_field"),
        (&ack, r#"{"officer":"王警官"}"#, StatusCode::UNPROCESSABLE_ENTITY, "bad_field"),
        (&ack, &long, StatusCode::UNPROCESSABLE_ENTITY, "bad_field"),
        ("/v1/events/1/ack", r#"{"officer":"014"}"#, StatusCode::BAD_REQUEST, "bad_id"),
        (&format!("/v1/events/{unknown}/ack"), r#"{"officer":"014"}"#, StatusCode::NOT_FOUND, "unknown_event"),
        (&format!("/v1/events/{unknown}/displayed"), "", StatusCode::NOT_FOUND, "unknown_event"),
        ("/v1/events/x/displayed", "", StatusCode::BAD_REQUEST, "bad_id"),
    ] {
        let (got, answer) = node.post(path, body).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{path} {body}: {answer}");
        assert!(!answer["error"]["message"].as_str().unwrap().is_empty());
    }
    let (status, answer) = node.text("POST", &ack, "", r#"{"officer":"014"}"#).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{answer}");
    let (_, row) = node.get(&format!("/v1/events/{}", alarm.id)).await;
    assert_eq!(row["acknowledged_by"], json!(null));
    node.stop().await;
}
