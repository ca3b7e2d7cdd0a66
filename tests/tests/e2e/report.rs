//! The account of a region's alarms, from real processes.

use huxiao_tests::lab::{Lab, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

/// All events of a region, read in small pages from one of its nodes.
fn events(lab: &Lab, node: &str, asked: &str) -> Vec<Value> {
    let (mut events, mut after) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/events?limit=2{asked}{after}");
        let answer = http::get(&lab.base(node), &path).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        let page = answer.json();
        let found = page["events"].as_array().unwrap();
        assert!(found.len() <= 2 && page["missing"] == 0, "{page}");
        events.extend(found.iter().cloned());
        if page["more"] == false {
            return events;
        }
        after = format!("&after={}", page["next"].as_str().unwrap());
    }
}

fn report(lab: &Lab, node: &str, words: &[&str]) -> String {
    let base = lab.base(node);
    let output = lab.run(&[&["report", "--since", "1h", "--broker", &base], words].concat());
    assert_eq!(output.code, Some(0), "{output:?}");
    output.stdout
}

#[test]
fn a_region_accounts_for_its_alarms_on_any_node() {
    let mut lab = Lab::with_brokers(3, 2, 1);
    lab.start_all();
    let answered = lab.press("school-001");
    let open = lab.press("school-002");
    let test = lab.raise("school-001", &json!({ "kind": "fire", "test": true }));
    let fault = lab.raise("school-001", &json!({ "kind": "fault" }));
    let all = [&answered, &open, &test, &fault].map(String::clone);
    lab.wait_inbox("station-001", &all, PATIENCE);
    lab.displayed("station-001", &answered);
    lab.displayed("station-001", &open);
    lab.ack("station-001", &answered, "014");
    lab.wait_lamp("school-001", &answered, "acknowledged", PATIENCE);
    for (school, id) in [("school-002", &open), ("school-001", &test), ("school-001", &fault)] {
        lab.wait_stage(school, id, "stored", PATIENCE);
    }
    for node in ["broker-1", "broker-2", "broker-3"] {
        let wanted = |asked: &str| {
            wait_until("the node has all of it", PATIENCE, || {
                let mut ids: Vec<String> = events(&lab, node, "").iter().map(|event| event["id"].to_string()).collect();
                ids.sort();
                ids.dedup();
                (ids.len() == 4).then_some(())
            });
            events(&lab, node, asked)
        };
        assert_eq!(wanted("&class=P0,P1").len(), 3);
        assert_eq!(wanted("&mode=live&school=school-002")[0]["id"], open.as_str());
        assert!(wanted("&until=2020-01-01T00:00:00Z").is_empty());
        // As the event alone is shown.
        wait_until("the event is the same in the list and alone", PATIENCE, || {
            let alone = http::get(&lab.base(node), &format!("/v1/events/{open}")).unwrap().json();
            (wanted("&kind=panic&school=school-002") == [alone]).then_some(())
        });
        let json: Value = serde_json::from_str(&report(&lab, node, &["--output", "json"])).unwrap();
        assert_eq!(json["live"]["raised"], 2, "{json}");
        assert_eq!((&json["test"]["raised"], &json["kinds"].as_array().unwrap().len()), (&json!(1), &2), "{json}");
        let stored = &json["latencies"][0];
        assert_eq!((&stored["stage"], &stored["never"]), (&json!("stored"), &json!(0)), "{json}");
    }
    let json = wait_until("the node knows of the answer", PATIENCE, || {
        let json: Value = serde_json::from_str(&report(&lab, "broker-1", &["--output", "json"])).unwrap();
        (json["live"]["answered"] == 1).then_some(json)
    });
    assert_eq!(json["live"]["unanswered"], 1, "{json}");
    assert_eq!(json["slowest"][0]["id"], test.as_str(), "it was on no screen: {json}");
    assert!(report(&lab, "broker-2", &["--by", "station"]).contains("station-001"));
    let csv = report(&lab, "broker-3", &["--output", "csv"]);
    assert!(csv.lines().count() == 4 && csv.contains(&answered), "{csv}");
    assert!(report(&lab, "broker-1", &["--output", "html"]).contains("未接警"));
    lab.assert_calm();
}
