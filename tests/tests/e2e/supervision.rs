//! Schools that fall silent and stations that nobody watches, as any node of the region knows them.

use std::time::{Duration, Instant};

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

const NODES: [&str; 3] = ["broker-1", "broker-2", "broker-3"];

fn supervision(lab: &Lab, node: &str) -> Option<Value> {
    http::get(&lab.base(node), "/v1/supervision").ok().filter(|answer| answer.status == 200).map(|answer| answer.json())
}

/// The relays that a node calls silent.
fn silent(lab: &Lab, node: &str) -> Option<Vec<String>> {
    let json = supervision(lab, node)?;
    let rows = json["relays"]["silent"].as_array()?;
    Some(rows.iter().filter_map(|row| row["school"].as_str().map(str::to_owned)).collect())
}

#[test]
fn a_school_that_falls_silent_is_known_at_every_node_and_a_node_that_dies_silences_nobody() {
    let mut lab = Lab::with_brokers(3, 2, 2);
    lab.start_all();
    for node in NODES {
        wait_until("the node knows of both schools and stations", PATIENCE, || {
            let json = supervision(&lab, node)?;
            let known = (&json["relays"]["known"], &json["stations"]["planned"], &json["blind"]);
            (known == (&json!(2), &json!(2), &json!([]))).then_some(())
        });
    }
    let began = Instant::now();
    lab.node("broker-3").kill9();
    lab.node("relay-002").stop();
    lab.node("station-002").stop();
    for node in ["broker-1", "broker-2"] {
        wait_until("the school is silent", Duration::from_secs(120), || {
            (silent(&lab, node)? == ["school-002"]).then_some(())
        });
        wait_until("the station is unwatched", Duration::from_secs(120), || {
            let json = supervision(&lab, node)?;
            let rows = json["stations"]["unwatched"].as_array()?;
            (rows.len() == 1 && rows[0]["station"] == "station-002").then_some(())
        });
        assert!((lab.metric(node, "huxiao_relays_silent", "") - 1.0).abs() < f64::EPSILON);
        assert!((lab.metric(node, "huxiao_stations_unwatched", "") - 1.0).abs() < f64::EPSILON);
    }
    assert!(began.elapsed() > Duration::from_secs(30), "that was too soon to call anybody silent");
    let health = http::get(&lab.base("broker-1"), "/readyz?verbose").unwrap().body;
    assert!(health.contains("[~] supervision degraded: relays silent: 1 (relay/school-002/gate since"), "{health}");
    let base = lab.base("broker-2");
    let shown = lab.run(&["supervision", "show", "--broker", &base]);
    assert_eq!(shown.code, Some(10), "{shown:?}");
    assert!(shown.stdout.contains("relay/school-002/gate") && shown.stdout.contains("station-002"), "{shown:?}");
    let mut says = |node: &str| lab.node(node).log().contains("relay/school-002/gate is silent since");
    assert!(says("broker-1") || says("broker-2"), "the leader says it aloud");
    ["relay-002", "station-002", "broker-3"].iter().for_each(|node| lab.start(node));
    for node in NODES {
        wait_until("everybody is back", Duration::from_secs(120), || {
            let json = supervision(&lab, node)?;
            let well = json["relays"]["silent"] == json!([]) && json["stations"]["unwatched"] == json!([]);
            (well && json["relays"]["known"] == 2 && json["blind"] == json!([])).then_some(())
        });
    }
    lab.assert_calm();
}
