//! A line that goes on in one direction only.

use std::thread;
use std::time::Duration;

use huxiao_benches::emulator::Profile;

use crate::site::{PATIENCE, SCHOOL, STATION, Site, figure, ids, ms, network, until};

#[test]
fn an_alarm_needs_no_way_back() {
    let test = "one-way loss";
    let Some(emulator) = network(test, &[Profile::town()]) else { return };
    let site = Site::running(&emulator);
    let clean = site.press();
    site.arrives(&clean);
    site.answered(&clean.0);
    // Nothing comes back to the school any more, no receipt and no acknowledgement of a packet either.
    let deaf = Profile { blocked: true, ..Profile::town() };
    emulator.link(0).set(Profile::town(), deaf);
    let mut presses = vec![clean];
    let mut took = Vec::new();
    for _ in 0..3 {
        let press = site.press();
        took.push(site.arrives(&press));
        presses.push(press);
    }
    // The officers go already, and the button cannot know: it must not claim that they do.
    for (id, _) in &presses[1..] {
        site.lab.displayed(STATION, id);
        site.lab.ack(STATION, id, "014");
    }
    thread::sleep(Duration::from_secs(3));
    for (id, _) in &presses[1..] {
        let lamp = site.lab.lamp(SCHOOL, id);
        assert!(lamp != "acknowledged" && lamp != "on_screen", "{lamp} without a receipt");
    }
    site.line(0, Profile::town());
    let heard =
        until("the answers come back", || presses.iter().all(|(id, _)| site.lab.lamp(SCHOOL, id) == "acknowledged"));
    let after = site.press();
    site.arrives(&after);
    site.lab.wait_stage(SCHOOL, &after.0, "delivered", PATIENCE);
    presses.push(after);
    site.end(&ids(&presses));
    let slowest = ms(*took.iter().max().unwrap());
    figure(
        test,
        &format!("slowest of 3 alarms without a way back {slowest}; their answers {} after the heal", ms(heard)),
    );
}
