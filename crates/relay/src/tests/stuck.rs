//! A button that sticks, over a real socket.

use std::rc::Rc;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use super::Node;

const PRESSERS: usize = 20;
const PRESSES: usize = 3_000;

async fn events_of(node: &Node, device: &str) -> Vec<Value> {
    let (_, page) = node.call("GET", "/v1/events?limit=1000", "", "").await;
    let all = page["events"].as_array().unwrap().iter();
    all.filter(|event| event["device"] == device).cloned().collect()
}

#[tokio::test]
async fn three_thousand_presses_of_one_button_are_a_few_events_with_a_count_and_another_is_not_held_up() {
    LocalSet::new().run_until(Box::pin(flood())).await;
}

async fn flood() {
    let dir = tempfile::tempdir().unwrap();
    let node = Rc::new(Node::start(dir.path()).await);
    let began = Instant::now();
    let floods: Vec<_> = (0..PRESSERS)
        .map(|_| {
            let node = node.clone();
            tokio::task::spawn_local(async move {
                let mut joined = 0;
                for _ in 0..PRESSES / PRESSERS {
                    let (status, answer) = node.press("", &json!({ "kind": "panic", "device": "stuck" })).await;
                    assert_eq!((status, &answer["repeated"]), (StatusCode::ACCEPTED, &answer["joined"]), "{answer}");
                    joined += usize::from(answer["joined"] == true);
                    let id = answer["id"].as_str().unwrap();
                    assert_eq!(id.len(), 36, "{answer}");
                }
                joined
            })
        })
        .collect();
    // The same button of another gate, pressed as a hand would.
    let mut others = Vec::new();
    while others.is_empty() || floods.iter().any(|flood| !flood.is_finished()) {
        let (status, answer) = node.press("", &json!({ "kind": "panic", "device": "other" })).await;
        assert_eq!(
            (status, &answer["repeated"], &answer["joined"]),
            (StatusCode::ACCEPTED, &json!(false), &json!(false))
        );
        others.push(answer["id"].clone());
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let mut joined = 0;
    for flood in floods {
        joined += flood.await.unwrap();
    }
    assert!(joined > PRESSES / 2, "only {joined} of {PRESSES} presses joined: that is no button that sticks");
    let counted = |events: &[Value]| events.iter().map(|event| event["count"].as_u64().unwrap()).sum::<u64>();
    let stuck = loop {
        let stuck = events_of(&node, "stuck").await;
        if counted(&stuck) == PRESSES as u64 {
            break stuck;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "{} of {PRESSES} are counted", counted(&stuck));
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    // In every second a handful, and one that counts.
    let most = 6 * (usize::try_from(began.elapsed().as_secs()).unwrap() + 2);
    assert!(stuck.len() <= most, "{} events, {most} at most", stuck.len());
    assert_eq!(stuck.len(), PRESSES - joined + stuck.iter().filter(|event| event["count"] != 1).count());
    let other = events_of(&node, "other").await;
    assert_eq!((other.len(), counted(&other)), (others.len(), others.len() as u64));
    // It is not counted once more, and what is on disk says the same.
    let Ok(node) = Rc::try_unwrap(node) else { panic!("all pressers are done") };
    node.stop().await;
    let node = Node::start(dir.path()).await;
    assert_eq!(counted(&events_of(&node, "stuck").await), PRESSES as u64);
    node.stop().await;
}

#[tokio::test]
async fn an_event_tells_its_way_on_one_clock() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path()).await;
    let (_, answer) = node.press("", &json!({ "kind": "panic" })).await;
    let (_, event) = node.call("GET", &format!("/v1/events/{}", answer["id"].as_str().unwrap()), "", "").await;
    let way = event["timeline"].as_array().unwrap();
    let names: Vec<_> = way.iter().map(|lap| lap["stage"].as_str().unwrap()).collect();
    assert_eq!(names, ["raised", "kept"]);
    assert_eq!((&way[1]["by"], &way[1]["exact"]), (&json!("relay/s1/gate"), &json!(true)), "its own clock alone");
    assert_eq!(way[1]["took_ms"], way[1]["at_ms"]);
    assert!(way[1]["took_ms"].as_f64() > Some(0.0));
    // Nobody was there to compare its clock with.
    assert_eq!(event["receipts"][0]["skew_seconds"], Value::Null);
    assert_eq!(event["count"], 1);
    node.stop().await;
}
