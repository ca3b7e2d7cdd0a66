//! Schools whose wall clock is an hour wrong: one ahead, one behind. Their alarms go the whole way as any other's, and the region's times hold.
//!
//! Real processes, with libfaketime: all that a node reads of the wall clock is wrong, its certificates' validity too.

use std::fs;
use std::time::Duration;

use huxiao_runtime::time_format::parse_rfc3339;
use huxiao_tests::lab::{Command, Lab, Manner, WallClock, Watch, http, say, wait_until, wall_now};
use serde_json::Value;

use crate::PATIENCE;

const HOUR: f64 = 3_600.0;
/// A clock that is compared over a network, and read at another time, is not known better than that here.
const CLOSE: f64 = 30.0;
/// After this long the plan has an alarm go up that nobody takes. The shortest that a plan may say.
const LOUDER: i64 = 5_000_000;

/// Both schools are one station's; the county's desk is the other one.
const PLAN: &str = r#"
[[area]]
code = "360000"
name = "江西省"

[[area]]
code = "361100"
name = "上饶市"

[[area]]
code = "361102"
name = "信州区"
desk = "station-002"
escalation = { louder = "5s", county = "10s", city = "200s", province = "400s" }

[[school]]
id = "school-001"
area = "361102"
stations = ["station-001"]

[[school]]
id = "school-002"
area = "361102"
stations = ["station-001"]
"#;

/// An event as a node shows it, if it has it.
fn shown(base: &str, id: &str) -> Option<Value> {
    let answer = http::get(base, &format!("/v1/events/{id}")).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn is_close(value: &Value, seconds: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - seconds).abs() < CLOSE)
}

/// A press of which the region knows how wrong its school's clock is. Clocks are compared when sessions begin, but an alarm waits for nothing:
/// the first may be too early for that.
fn press_compared(lab: &Lab, school: &str) -> (String, Value) {
    let broker = lab.base("broker-1");
    wait_until(&format!("the region has compared the clock of {school}"), PATIENCE, || {
        let id = lab.press(school);
        lab.wait_stage(school, &id, "stored", PATIENCE);
        let event = wait_until("the record has it", PATIENCE, || shown(&broker, &id));
        event["trail"][0]["skew_seconds"].is_number().then_some((id, event))
    })
}

/// An alarm goes the whole way and is answered.
fn answered(lab: &Lab, screen: &Watch, school: &str, ahead: f64) {
    let (id, event) = press_compared(lab, school);
    let raised = parse_rfc3339(event["raised_at"].as_str().unwrap()).unwrap();
    let claimed = Duration::from_micros((raised - wall_now()).unsigned_abs()).as_secs_f64();
    assert!((claimed - HOUR).abs() < CLOSE, "its clock is an hour wrong: {event}");
    screen.wait_shown(std::slice::from_ref(&id), PATIENCE);
    lab.ack("station-001", &id, "014");
    lab.wait_lamp(school, &id, "acknowledged", PATIENCE);
    // How wrong that clock is stands in every place that has times of it.
    assert!(is_close(&event["trail"][0]["skew_seconds"], ahead), "{event}");
    let at_station = shown(&lab.base("station-001"), &id).unwrap();
    assert!(is_close(&at_station["trail"][0]["skew_seconds"], ahead), "{at_station}");
    let at_relay = lab.at_relay(school, &id);
    let receipts = at_relay["receipts"].as_array().unwrap();
    let own = receipts.iter().filter(|receipt| receipt["by"].as_str().is_some_and(|by| by.starts_with("relay/")));
    let known: Vec<&Value> =
        own.map(|receipt| &receipt["skew_seconds"]).filter(|skew: &&Value| skew.is_number()).collect();
    assert!(!known.is_empty() && known.iter().all(|skew| is_close(skew, ahead)), "{at_relay}");
    // Paths are shown as they were within the last second.
    wait_until("the relay shows it of its paths", PATIENCE, || {
        let paths = http::get(&lab.relay_of(school), "/v1/paths").ok()?.json();
        paths["paths"].as_array()?.iter().any(|path| is_close(&path["skew_seconds"], ahead)).then_some(())
    });
    // On one clock nothing took an hour.
    for lap in at_station["timeline"].as_array().unwrap() {
        assert!(lap["at_ms"].as_f64() < Some(300_000.0), "{at_station}");
    }
}

/// An alarm that nobody takes goes up when its time has come, by the region's clock.
fn unanswered(lab: &Lab, school: &str) {
    let before = wall_now();
    let (id, _) = press_compared(lab, school);
    let first = wait_until("it goes up", PATIENCE, || {
        let event = shown(&lab.base("broker-1"), &id)?;
        event["overdue"].as_array()?.first().cloned()
    });
    assert_eq!(first["rung"], "louder", "{first}");
    let at = parse_rfc3339(first["at"].as_str().unwrap()).unwrap();
    assert!(at - before >= LOUDER, "{} µs after the press is too soon: {first}", at - before);
    lab.wait_lamp(school, &id, "on_screen", PATIENCE);
    wait_until("the county owns it in its turn", PATIENCE, || {
        let event = shown(&lab.base("broker-1"), &id)?;
        (event["overdue"].as_array()?.len() == 2).then_some(())
    });
    lab.ack("station-002", &id, "007");
    lab.wait_lamp(school, &id, "acknowledged", PATIENCE);
}

#[test]
fn a_school_whose_clock_is_an_hour_wrong_is_heard_and_answered_as_any_other() {
    if !WallClock::is_available() {
        return say("skipped: libfaketime is not installed (apt-get install faketime)");
    }
    let mut lab = Lab::init(2, 2);
    fs::write(lab.set_dir().join("plan.toml"), PLAN).unwrap();
    let schools = [("school-001", "relay-001", HOUR), ("school-002", "relay-002", -HOUR)];
    for (_, relay, ahead) in schools {
        let seconds = if ahead > 0.0 { 3_600 } else { -3_600 };
        let clock = WallClock::new(lab.dir().join(format!("clock-of-{relay}")), seconds);
        lab.node(relay).launch_by(move |program| clock.run(Command::new("env"), program));
    }
    lab.start_all();
    let screen = Watch::start(&lab.base("station-001"), Manner::Shows);
    for (school, _, ahead) in schools {
        answered(&lab, &screen, school, ahead);
        unanswered(&lab, school);
    }
    screen.assert_clean();
    drop(screen);
    lab.assert_calm();
}
