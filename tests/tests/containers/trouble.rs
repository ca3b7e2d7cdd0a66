//! What a container engine can do to a region beside killing its nodes: one stands still, one is unplugged, all lose their power at once, one after
//! the other is restarted.
//!
//! What must hold: alarms go the whole way meanwhile and afterwards, the region becomes whole again by itself, and in the end every node's
//! record has every alarm, with its officer.

use huxiao_tests::lab::{http, say, wait_until};
use serde_json::Value;

use crate::engine::Engine;
use crate::fleet::{BROKERS, Fleet, WITHIN};

#[test]
fn alarms_go_the_whole_way_while_nodes_stand_still_are_unplugged_or_restarted() {
    let Some(engine) = Engine::find("containers") else { return };
    let fleet = Fleet::new(engine);
    fleet.up(&[]);
    fleet.wait_whole();
    let mut ids = Vec::new();

    let leader = fleet.container(&fleet.leader());
    fleet.engine.docker(&["pause", &leader]);
    ids.push(fleet.honest_alarm("relay-001", "station-001"));
    fleet.engine.docker(&["unpause", &leader]);
    fleet.wait_whole();

    let leader = fleet.leader();
    fleet.unplug(&leader);
    ids.push(fleet.honest_alarm("relay-001", "station-001"));
    fleet.plug(&leader);
    fleet.wait_whole();

    let brokers = BROKERS.map(|broker| fleet.container(broker));
    let all: Vec<&str> = brokers.iter().map(String::as_str).collect();
    fleet.engine.docker(&[&["kill"], &all[..]].concat());
    fleet.engine.docker(&[&["start"], &all[..]].concat());
    // It does not wait until they are healthy: its relay does.
    ids.push(fleet.honest_alarm("relay-001", "station-001"));
    fleet.wait_whole();

    // As an operator does it: the one that leads comes last.
    let leader = fleet.leader();
    let followers = BROKERS.into_iter().filter(|broker| *broker != leader);
    for broker in followers.chain([leader.as_str()]) {
        fleet.compose(&["restart", "--timeout", "20", broker]);
        ids.push(fleet.honest_alarm("relay-001", "station-001"));
        fleet.wait_healthy(broker);
        fleet.wait_whole();
    }

    for id in &ids {
        for broker in BROKERS {
            let taken =
                |event: Value| event["stages"]["stored"].is_string() && event["stages"]["acknowledged"].is_string();
            wait_until(&format!("{id} and its officer are in the record of {broker}"), WITHIN, || {
                fleet.event(broker, id).is_some_and(taken).then_some(())
            });
        }
    }
    shows_each_once(&fleet, &ids);
    say(&format!("containers: {} alarms through a pause, a cut, a loss of power and a rolling restart", ids.len()));
}

/// The seat's list has these alarms, each once, and no others.
fn shows_each_once(fleet: &Fleet, ids: &[String]) {
    let list = http::get(fleet.url("station-001"), "/v1/events?from_seq=1&limit=1000").unwrap().json();
    let listed = list["events"].as_array().unwrap_or_else(|| panic!("{list}"));
    let mut shown: Vec<&str> = listed.iter().map(|event| event["id"].as_str().unwrap()).collect();
    let mut pressed: Vec<&str> = ids.iter().map(String::as_str).collect();
    shown.sort_unstable();
    pressed.sort_unstable();
    assert_eq!(shown, pressed);
}
