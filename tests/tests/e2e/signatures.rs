//! Signatures of alarms: made at the school, told at the screen, and a gate nowhere.

use huxiao_pki::Period;
use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, wait_until};
use serde_json::Value;

use crate::PATIENCE;

/// What the seat says of the alarm's signature.
fn said(lab: &Lab, seat: &str, id: &str) -> Value {
    let rows = lab.inbox(seat);
    let row = rows.values().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id} is not in the inbox of {seat}"));
    row["signature"].clone()
}

#[test]
fn an_alarm_is_shown_and_taken_whatever_its_signature_is_and_the_seat_says_what_it_is() {
    let mut lab = Lab::init(3, 1);
    for setting in ["sign.cert", "sign.key"] {
        lab.node("relay-002").set(setting, "");
    }
    // Once the right one, and not renewed.
    let last_year = Period::days(huxiao_core::WallTime(1_700_000_000_000_000), 1);
    let (cert, key) = lab.issue_signing("relay/school-003/gate", last_year);
    lab.node("relay-003").set("sign.cert", cert.to_str().unwrap());
    lab.node("relay-003").set("sign.key", key.to_str().unwrap());
    lab.start_all();
    let mut screen = Stream::open(&lab.base("station-001"), "/v1/events", None).unwrap();
    let all = [("school-001", "valid"), ("school-002", "none"), ("school-003", "invalid")];
    let mut ids = Vec::new();
    for (school, word) in all {
        let id = lab.press(school);
        lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
        assert_eq!(said(&lab, "station-001", &id), word);
        let shown = loop {
            let message = screen.next_message().unwrap();
            if message.name == "alarm" && message.json()["id"] == id.as_str() {
                break message.json();
            }
        };
        assert_eq!(shown["signature"], word, "{shown}");
        lab.displayed("station-001", &id);
        lab.ack("station-001", &id, "014");
        lab.wait_lamp(school, &id, "acknowledged", PATIENCE);
        for node in ["station-001", "broker-1"] {
            let outcome = format!("outcome=\"{word}\"");
            assert!(lab.metric(node, "huxiao_event_signatures_total", &outcome) > 0.5, "{node} counts {word}");
        }
        ids.push(id);
    }
    let words = lab.run(&["alarm", "show", &ids[2], "--station", &lab.base("station-001")]);
    assert!(words.stdout.contains("签名无效") && words.stdout.contains("Signature invalid"), "{words:?}");
    let assist = lab.raise("school-001", &serde_json::json!({ "kind": "assist" }));
    lab.wait_inbox("station-001", std::slice::from_ref(&assist), PATIENCE);
    assert_eq!(said(&lab, "station-001", &assist), Value::Null, "nobody signs these");

    // What was found stays with the inbox, and the signature with the record: a seat that comes new finds the same.
    for node in ["station-001", "broker-1"] {
        lab.node(node).kill9();
        lab.start(node);
    }
    lab.add_like("station-001", "second-seat", "station/station-001/desk-2");
    lab.start("second-seat");
    lab.wait_inbox("second-seat", &ids, PATIENCE);
    for (id, (_, word)) in ids.iter().zip(all) {
        let what = format!("{id} is {word}");
        wait_until(&what, PATIENCE, || (said(&lab, "station-001", id) == word).then_some(()));
        assert_eq!(said(&lab, "second-seat", id), word);
    }
    lab.assert_calm();
}

#[test]
fn a_relay_does_not_start_with_another_ones_signing_certificate() {
    let mut lab = Lab::init(1, 1);
    let (cert, key) = lab.issue_signing("relay/school-009/gate", Period::days(huxiao_tests::lab::wall_now(), 1));
    lab.node("relay-001").set("sign.cert", cert.to_str().unwrap());
    lab.node("relay-001").set("sign.key", key.to_str().unwrap());
    lab.node("relay-001").start();
    let status = lab.node("relay-001").wait_exit(PATIENCE);
    assert!(!status.success());
    let log = lab.node("relay-001").log();
    assert!(log.contains("is the signing certificate of"), "{log}");
}
