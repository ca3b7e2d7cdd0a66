//! The way of one alarm, from the button to the screen and back to the lamp, and what officers and stations may expect on it.

use std::time::Duration;

use huxiao_core::limits;
use huxiao_tests::lab::sse::Stream;
use huxiao_tests::lab::{Lab, Manner, Watch, http, wait_until};
use serde_json::{Value, json};

use crate::PATIENCE;

/// Reads on until an alarm comes.
fn next_alarm(stream: &mut Stream) -> (Option<u64>, Value) {
    loop {
        let message = stream.next_message().unwrap();
        if message.name == "alarm" {
            return (message.id, message.json());
        }
    }
}

fn wait_live(stream: &mut Stream) {
    while stream.next_message().unwrap().name != "live" {}
}

#[test]
fn a_press_reaches_the_screen_and_the_answer_the_lamp() {
    let lab = Lab::running(1, 1);
    let mut screen = Stream::open(&lab.base("station-001"), "/v1/events", None).unwrap();
    wait_live(&mut screen);
    let id = lab.raise("school-001", &json!({ "kind": "panic", "device": "button-1", "zone": "gate", "note": "门口" }));

    let (_, shown) = next_alarm(&mut screen);
    let wanted = json!({ "id": id, "school": "school-001", "relay": "gate", "device": "button-1", "zone": "gate",
        "kind": "panic", "class": "P0", "note": "门口", "test": false, "drill": false });
    for (member, value) in wanted.as_object().unwrap() {
        assert_eq!(&shown[member], value, "{member} in {shown}");
    }
    let nodes: Vec<&str> = shown["trail"].as_array().unwrap().iter().map(|s| s["node"].as_str().unwrap()).collect();
    assert!(nodes.iter().any(|node| node.starts_with("broker/")), "the trail names the broker: {nodes:?}");

    assert_ne!(lab.lamp("school-001", &id), "acknowledged");
    lab.displayed("station-001", &id);
    lab.displayed("station-001", &id);
    lab.wait_lamp("school-001", &id, "on_screen", PATIENCE);
    let answer = lab.ack("station-001", &id, "014");
    assert_eq!((&answer["officer"], &answer["repeated"]), (&json!("014"), &json!(false)));
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);

    let event = lab.at_relay("school-001", &id);
    let at = |stage: &str| event["stages"][stage].as_str().unwrap_or_else(|| panic!("{stage} in {event}")).to_owned();
    // One clock, so the order is the true one. The disks of relay, broker and station race each other.
    let raised = event["raised_at"].as_str().unwrap().to_owned();
    for stage in ["kept", "stored", "delivered", "displayed", "acknowledged"] {
        assert!(raised <= at(stage), "{stage} in {event}");
    }
    assert!(at("displayed") <= at("acknowledged"), "{event}");
    assert_eq!(event["acknowledged_by"]["officer"], "014");
    assert!(event["acknowledged_by"]["by"].as_str().unwrap().starts_with("station/station-001/"));
    assert_eq!(event["finished"], true);
    lab.assert_calm();
}

#[test]
fn guard_and_officer_can_do_it_all_from_the_command_line() {
    let lab = Lab::running(1, 1);
    let (relay, station) = (lab.relay_of("school-001"), lab.base("station-001"));
    let text = |output: &str| output.lines().map(str::to_owned).collect::<Vec<_>>();

    // Nobody looks: the guard is told so in time, and it is not called a failure of the program.
    let alone = ["alarm", "send", "--relay", &relay, "--kind", "panic", "--wait", "displayed", "--timeout", "1s"];
    let output = lab.run(&alone);
    assert_eq!(output.code, Some(3), "{output:?}");

    let watch = ["alarm", "watch", "--station", &station, "--from-seq", "1", "--count", "2", "--output", "ndjson"];
    let send = ["alarm", "send", "--relay", &relay, "--kind", "fire", "--wait", "acknowledged", "--output", "json"];
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| lab.run(&[watch.as_slice(), &["--timeout", "40s"]].concat()));
        let sending = scope.spawn(|| lab.run(&[send.as_slice(), &["--timeout", "40s"]].concat()));
        let watched = watching.join().unwrap();
        assert_eq!(watched.code, Some(0), "{watched:?}");
        let lines: Vec<Value> = text(&watched.stdout).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "one line an event: {watched:?}");
        assert_eq!((&lines[0]["kind"], &lines[1]["kind"]), (&json!("panic"), &json!("fire")));
        let id = lines[1]["id"].as_str().unwrap();

        // The watcher was not passive: the presser can see that a screen has it.
        lab.wait_stage("school-001", id, "displayed", PATIENCE);
        let acked = lab.run(&["alarm", "ack", id, "--station", &station, "--officer", "014"]);
        assert_eq!(acked.code, Some(0), "{acked:?}");
        let sent = sending.join().unwrap();
        assert_eq!(sent.code, Some(0), "{sent:?}");
        let sent: Value = serde_json::from_str(&sent.stdout).unwrap();
        assert_eq!(sent["id"], id, "{sent}");
        let again = lab.run(&["alarm", "ack", id, "--station", &station, "--officer", "022"]);
        assert_eq!(again.code, Some(1), "{again:?}");
        assert!(again.stderr.contains("014"), "it says who has it: {again:?}");
        for place in [["--relay", relay.as_str()], ["--station", station.as_str()]] {
            let shown = lab.run(&[["alarm", "show", id].as_slice(), &place].concat());
            assert_eq!(shown.code, Some(0), "{shown:?}");
            assert!(shown.stdout.contains(id), "{shown:?}");
        }
    });
}

#[test]
fn a_passive_watcher_is_no_screen() {
    let lab = Lab::running(1, 1);
    let (relay, station) = (lab.relay_of("school-001"), lab.base("station-001"));
    let send = ["alarm", "send", "--relay", &relay, "--kind", "panic", "--wait", "displayed", "--timeout", "2s"];
    let watch = ["alarm", "watch", "--station", &station, "--from-seq", "1", "--count", "1", "--timeout", "40s"];
    std::thread::scope(|scope| {
        let watching = scope.spawn(|| lab.run(&[watch.as_slice(), &["--passive"]].concat()));
        let sent = lab.run(&send);
        assert_eq!(sent.code, Some(3), "{sent:?}");
        assert_eq!(watching.join().unwrap().code, Some(0));
    });
}

#[test]
fn a_watcher_on_the_command_line_outlives_its_station() {
    let mut lab = Lab::running(1, 1);
    let station = lab.base("station-001");
    let watch = ["alarm", "watch", "--station", &station, "--from-seq", "1", "--count", "4", "--timeout", "40s"];
    let command = lab.command(&[watch.as_slice(), &["--output", "ndjson"]].concat());
    let watching = std::thread::spawn(move || Lab::finish(command));
    let mut ids = vec![lab.press("school-001"), lab.press("school-001")];
    for id in &ids {
        lab.wait_stage("school-001", id, "displayed", PATIENCE);
    }
    lab.node("station-001").kill9();
    ids.push(lab.press("school-001"));
    lab.start("station-001");
    ids.push(lab.press("school-001"));
    let watched = watching.join().unwrap();
    assert_eq!(watched.code, Some(0), "{watched:?}");
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    let mut seen: Vec<String> = watched.stdout.lines().map(line).collect();
    seen.sort();
    ids.sort();
    assert_eq!(seen, ids, "each once");
}

#[test]
fn what_a_station_missed_waits_at_the_broker_and_no_alarm_stands_behind_it() {
    let mut lab = Lab::running(1, 1);
    lab.node("station-001").stop();
    let status: Vec<_> = (0..200).map(|_| lab.raise("school-001", &json!({ "kind": "status" }))).collect();
    let alarms: Vec<_> = (0..5).map(|_| lab.press("school-001")).collect();
    let all: Vec<_> = status.iter().chain(&alarms).cloned().collect();
    for id in &all {
        lab.wait_stage("school-001", id, "stored", PATIENCE);
    }
    lab.start("station-001");
    lab.wait_inbox("station-001", &all, PATIENCE);
    let order: Vec<String> =
        lab.inbox("station-001").values().map(|row| row["class"].as_str().unwrap().to_owned()).collect();
    // They travel on two connections, so a few of the others may land first: no more than are under way at once.
    let last = order.iter().rposition(|class| class == "P0").unwrap();
    assert!(last < limits::COURIER_WINDOW + alarms.len(), "the last alarm came as number {last} of {order:?}");
    lab.assert_calm();
}

#[test]
fn a_screen_that_comes_back_misses_nothing_and_repeats_nothing() {
    let lab = Lab::running(1, 1);
    let base = lab.base("station-001");
    let ids: Vec<_> = (0..4).map(|_| lab.press("school-001")).collect();
    lab.wait_inbox("station-001", &ids, PATIENCE);
    let mut screen = Stream::open(&base, "/v1/events?from_seq=1", None).unwrap();
    let first: Vec<_> = (0..2).map(|_| next_alarm(&mut screen)).collect();
    drop(screen);
    // Meanwhile an officer takes one that this screen has shown already.
    let first_id = first[0].1["id"].as_str().unwrap();
    lab.ack("station-001", first_id, "014");

    let mut screen = Stream::open(&base, "/v1/events", first[1].0).unwrap();
    let (mut alarms, mut acknowledged) = (Vec::new(), false);
    loop {
        let message = screen.next_message().unwrap();
        match message.name.as_str() {
            "live" => break,
            "alarm" => alarms.push(message.json()["id"].as_str().unwrap().to_owned()),
            "stage" => {
                let stage = message.json();
                acknowledged |= stage["id"] == first_id && stage["stage"] == "acknowledged";
            }
            // The other buttons' alarms belong to the first one's case.
            "case" => {}
            other => panic!("{other}"),
        }
    }
    let inbox: Vec<String> =
        lab.inbox("station-001").values().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(alarms, inbox[2..], "exactly what came after the last that it saw");
    assert!(acknowledged, "what changed meanwhile is told");
    let fresh = lab.press("school-001");
    assert_eq!(next_alarm(&mut screen).1["id"], fresh.as_str());
    // Without a place to begin, a stream has only what is new.
    let mut newcomer = Stream::open(&base, "/v1/events", None).unwrap();
    wait_live(&mut newcomer);
    let newest = lab.press("school-001");
    assert_eq!(next_alarm(&mut newcomer).1["id"], newest.as_str());
}

#[test]
fn the_second_officer_is_told_who_was_first() {
    let lab = Lab::running(1, 1);
    let id = lab.press("school-001");
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.ack("station-001", &id, "014");
    let again = lab.ack("station-001", &id, "014");
    assert_eq!(again["repeated"], true, "{again}");
    let second = lab.try_ack("station-001", &id, "022");
    assert_eq!((second.status, second.error().as_str()), (409, "taken"), "{second:?}");
    assert_eq!(second.json()["owner"]["officer"], "014", "{second:?}");

    let base = lab.base("station-001");
    let unknown = "0192f7e0-0000-7000-8000-000000000000";
    let answer = lab.try_ack("station-001", unknown, "014");
    assert_eq!((answer.status, answer.error().as_str()), (404, "unknown_event"));
    let answer = http::post(&base, &format!("/v1/events/{unknown}/displayed"), &[], &json!({})).unwrap();
    assert_eq!(answer.status, 404);
    let answer = http::post(&base, &format!("/v1/events/{id}/ack"), &[], &json!({ "officer": "" })).unwrap();
    assert_eq!(answer.status, 422, "{answer:?}");
}

#[test]
fn every_seat_and_every_station_of_the_plan_has_the_alarm_and_one_officer_has_it() {
    let mut lab = Lab::init(1, 2);
    let plan = "[[school]]\nid = \"school-001\"\nstations = [\"station-001\", \"station-002\"]\n";
    std::fs::write(lab.set_dir().join("plan.toml"), plan).unwrap();
    lab.add_like("station-001", "second-seat", "station/station-001/desk-2");
    lab.start_all();
    let seats = ["station-001", "second-seat", "station-002"];
    let screens = seats.map(|seat| Watch::start(&lab.base(seat), Manner::Shows));
    let id = lab.press("school-001");
    for screen in &screens {
        screen.wait_shown(std::slice::from_ref(&id), PATIENCE);
    }
    lab.ack("second-seat", &id, "014");
    lab.wait_lamp("school-001", &id, "acknowledged", PATIENCE);
    for seat in ["station-001", "station-002"] {
        let base = lab.base(seat);
        wait_until(&format!("{seat} knows the owner"), PATIENCE, || {
            let event = http::get(&base, &format!("/v1/events/{id}")).ok()?.json();
            (event["acknowledged_by"]["officer"] == "014").then_some(())
        });
        let late = lab.try_ack(seat, &id, "099");
        assert_eq!((late.status, late.error().as_str()), (409, "taken"), "{seat}: {late:?}");
        assert_eq!(late.json()["owner"]["officer"], "014");
    }
    std::thread::sleep(Duration::from_millis(300));
    for screen in &screens {
        screen.assert_clean();
        assert_eq!(screen.shown(), [id.as_str()]);
    }
    lab.assert_calm();
}

#[test]
fn two_officers_at_two_desks_at_once_are_both_told_of_one_owner() {
    let mut lab = Lab::init(1, 1);
    lab.add_like("station-001", "second-seat", "station/station-001/desk-2");
    lab.start_all();
    for _ in 0..5 {
        let id = lab.press("school-001");
        for seat in ["station-001", "second-seat"] {
            lab.wait_inbox(seat, std::slice::from_ref(&id), PATIENCE);
        }
        std::thread::scope(|scope| {
            for (seat, officer) in [("station-001", "014"), ("second-seat", "022")] {
                let (lab, id) = (&lab, &id);
                scope.spawn(move || {
                    let answer = lab.try_ack(seat, id, officer);
                    assert!(matches!(answer.status, 200 | 409), "{answer:?}");
                });
            }
        });
        // Both desks and the guard come to name the same officer.
        wait_until("one owner everywhere", PATIENCE, || {
            let owner = |event: &Value| event["acknowledged_by"]["officer"].as_str().map(str::to_owned);
            let of_seat = |seat: &str| {
                let event = http::get(&lab.base(seat), &format!("/v1/events/{id}")).ok()?.json();
                owner(&event)
            };
            let (first, second) = (of_seat("station-001")?, of_seat("second-seat")?);
            let guard = owner(&lab.at_relay("school-001", &id))?;
            (first == second && second == guard).then_some(())
        });
    }
}

#[test]
fn a_quiet_alarm_shows_nothing_at_the_button_and_reaches_the_station() {
    let lab = Lab::running(1, 1);
    let id = lab.raise("school-001", &json!({ "kind": "duress" }));
    lab.wait_inbox("station-001", std::slice::from_ref(&id), PATIENCE);
    lab.ack("station-001", &id, "014");
    lab.wait_stage("school-001", &id, "acknowledged", PATIENCE);
    assert_eq!(lab.lamp("school-001", &id), "dark");
}

#[test]
fn one_of_two_broker_nodes_is_enough_and_both_show_an_alarm_once() {
    let mut lab = Lab::with_brokers(2, 1, 1);
    lab.start_all();
    let screen = Watch::start(&lab.base("station-001"), Manner::Shows);
    let paths = |lab: &Lab, node: &str| lab.status(node)["paths"].as_array().unwrap().len();
    for node in ["relay-001", "station-001"] {
        wait_until(&format!("{node} has two sessions with each broker"), PATIENCE, || {
            (paths(&lab, node) == 4).then_some(())
        });
    }
    let mut ids = vec![lab.press("school-001")];
    for down in ["broker-1", "broker-2"] {
        lab.node(down).kill9();
        ids.push(lab.press("school-001"));
        screen.wait_shown(&ids, PATIENCE);
        let newest = ids.last().unwrap();
        lab.ack("station-001", newest, "014");
        lab.wait_lamp("school-001", newest, "acknowledged", PATIENCE);
        lab.start(down);
        ids.push(lab.press("school-001"));
        lab.wait_connected("relay-001");
        wait_until(&format!("the sessions with {down} are back"), PATIENCE, || {
            (paths(&lab, "relay-001") == 4 && paths(&lab, "station-001") == 4).then_some(())
        });
    }
    lab.wait_inbox("station-001", &ids, PATIENCE);
    std::thread::sleep(Duration::from_millis(300));
    screen.assert_clean();
    assert_eq!(screen.shown().len(), ids.len(), "nothing was shown twice");
    lab.assert_calm();
}
