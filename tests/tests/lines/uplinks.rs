//! A school with two lines: one that comes and goes, one that lies, one that is paid for by the byte.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Emulator, Profile};
use huxiao_tests::lab::{http, say};
use serde_json::{Value, json};

use crate::site::{PATIENCE, SCHOOL, Site, figure, ids, ms, network, until};

/// How long a line is watched at rest: longer than a metered one's probes are apart.
const REST: Duration = Duration::from_secs(65);

/// A lab whose relay has one uplink for each link of `emulator`, called `line0` and so on, at these costs. It does not run yet.
fn with_uplinks(emulator: &Arc<Emulator>, costs: &[&str]) -> Site {
    let mut site = Site::new(emulator, 1);
    let relay = site.relay().to_owned();
    for (at, cost) in costs.iter().enumerate() {
        let node = site.lab.node(&relay);
        node.set(&format!("relay.uplinks.line{at}.interface"), emulator.link(at).near_device());
        node.set(&format!("relay.uplinks.line{at}.cost"), cost);
    }
    site
}

/// The relay's `GET /v1/paths`.
fn paths(site: &Site) -> Value {
    http::get(&site.lab.base(site.relay()), "/v1/paths").unwrap().json()
}

/// The entry of `list` about line `at`.
fn about(site: &Site, list: &str, at: usize, member: &str) -> Value {
    let name = format!("line{at}");
    let found = paths(site)[list].as_array().unwrap().iter().find(|entry| entry[member] == name.as_str()).cloned();
    found.unwrap_or_else(|| panic!("nothing about {name} in {list}"))
}

fn is_healthy(site: &Site, at: usize) -> bool {
    about(site, "paths", at, "uplink")["health"] == "healthy"
}

fn is_present(site: &Site, at: usize) -> bool {
    about(site, "uplinks", at, "name")["present"] == true
}

#[test]
fn a_line_that_goes_and_comes_is_noticed_and_costs_no_alarm() {
    let test = "uplink that goes and comes";
    let Some(emulator) = network(test, &[Profile::rural(), Profile::town()]) else { return };
    let mut site = with_uplinks(&emulator, &["free", "free"]);
    site.lab.start_all();
    until("both lines are healthy", || is_healthy(&site, 0) && is_healthy(&site, 1));
    let both = site.press();
    let with_both = site.arrives(&both);
    let words = site.printed_paths();
    assert!(words.contains("line0") && words.contains("line1"), "{words}");

    emulator.link(1).set_present(false).unwrap();
    let gone = Instant::now();
    let first = site.press();
    let unnoticed = site.arrives(&first);
    until("the line is gone", || !is_present(&site, 1));
    let noticed = gone.elapsed();
    let second = site.press();
    let without = site.arrives(&second);

    emulator.link(1).set_present(true).unwrap();
    let back = until("the line is there again", || is_present(&site, 1));
    let healthy = back + until("the line is healthy again", || is_healthy(&site, 1));
    // Over that one alone, to show that it is.
    emulator.link(0).set_present(false).unwrap();
    let third = site.press();
    let over_the_other = site.arrives(&third);
    let presses = [both, first, second, third];
    for (id, _) in &presses {
        site.answered(id);
    }
    emulator.link(0).set_present(true).unwrap();
    until("both lines are healthy again", || is_healthy(&site, 0) && is_healthy(&site, 1));
    site.end(&ids(&presses));
    let words = format!("gone: noticed after {}; back: after {}, healthy after {}", ms(noticed), ms(back), ms(healthy));
    figure(test, &words);
    let alarms = [with_both, unnoticed, without, over_the_other].map(ms).join(", ");
    figure(test, &format!("alarms over both, as one went, over the one, over the other alone: {alarms}"));
    say(&site.printed_paths());
}

#[test]
fn a_line_that_takes_everything_and_delivers_nothing_delays_no_alarm() {
    let test = "lying uplink";
    let Some(emulator) = network(test, &[Profile::town(), Profile::town()]) else { return };
    let mut site = with_uplinks(&emulator, &["free", "free"]);
    site.lab.start_all();
    until("both lines are healthy", || is_healthy(&site, 0) && is_healthy(&site, 1));
    site.line(0, Profile { blocked: true, ..Profile::town() });
    // The first ones go while the relay still believes in both lines, the others once it does not.
    let (mut presses, mut believed) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let press = site.press();
        believed.push(site.arrives(&press));
        presses.push(press);
    }
    let noticed = until("the line is silent", || !is_healthy(&site, 0));
    assert!(is_healthy(&site, 1), "{}", paths(&site));
    let mut known = Vec::new();
    for _ in 0..3 {
        let press = site.press();
        known.push(site.arrives(&press));
        presses.push(press);
    }
    for (id, _) in &presses {
        site.answered(id);
    }
    assert!(emulator.link(0).counters()[0].blocked > 0, "nothing was sent over the lying line");
    site.line(0, Profile::town());
    let healed = until("the line is healthy again", || is_healthy(&site, 0));
    site.end(&ids(&presses));
    let [believed, known] = [believed, known].map(|took| ms(took.into_iter().max().unwrap()));
    let words = format!("slowest of 3 alarms while it was believed {believed}, of 3 when not {known}");
    figure(test, &format!("{words}; silent after {}, healthy {} after the heal", ms(noticed), ms(healed)));
}

#[test]
fn a_metered_line_carries_alarms_and_little_else() {
    let test = "metered uplink";
    let Some(emulator) = network(test, &[Profile::rural(), Profile::town()]) else { return };
    emulator.link(1).set_present(false).unwrap();
    let mut site = with_uplinks(&emulator, &["metered", "free"]);
    site.lab.start_all();
    until("the metered line is healthy", || is_healthy(&site, 0));
    thread::sleep(Duration::from_secs(5));
    let hourly = |site: &Site, rest: Duration| {
        let before = emulator.link(0).counters();
        thread::sleep(rest);
        let [up, down] = site.since(0, before);
        let bytes = up.1 + down.1;
        (bytes as f64 / rest.as_secs_f64() * 3.6, up.0 + down.0)
    };
    let (at_rest, packets) = hourly(&site, REST);

    let raise = |kind: &str| site.lab.raise(SCHOOL, &json!({ "kind": kind, "device": "panel", "note": kind }));
    let (report, fault) = (raise("status"), raise("fault"));
    let alarm = site.press();
    let took = site.arrives(&alarm);
    let assist = (raise("assist"), Instant::now());
    let p1 = site.arrives(&assist);
    site.answered(&alarm.0);
    site.answered(&assist.0);
    let (waiting, _) = hourly(&site, Duration::from_secs(20));
    for id in [&report, &fault] {
        let event = site.lab.at_relay(SCHOOL, id);
        assert!(event["stages"]["received"].is_null() && event["stages"]["stored"].is_null(), "{event}");
    }
    let shown = about(&site, "uplinks", 0, "name");
    assert!(shown["today_sent_bytes"].as_u64().unwrap() > 0, "{shown}");
    assert_eq!(shown["cost"], "metered");

    emulator.link(1).set_present(true).unwrap();
    let free = Instant::now();
    for id in [&report, &fault] {
        site.lab.wait_stage(SCHOOL, id, "stored", PATIENCE);
    }
    let went = free.elapsed();
    let presses = [alarm, assist];
    site.end(&ids(&presses));
    let words = format!("at rest {at_rest:.0} kB/h ({packets} packets in {REST:?})");
    figure(test, &format!("{words}, with two reports waiting {waiting:.0} kB/h, both ways and with IP headers"));
    assert!(at_rest < 1_000.0, "{at_rest} kB an hour is no rest");
    figure(test, &format!("P0 {}, P1 {}; P2 and P3 went {} after a free line came", ms(took), ms(p1), ms(went)));
    say(&site.printed_paths());
}
