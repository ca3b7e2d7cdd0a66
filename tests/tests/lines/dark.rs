//! A line that is dark for longer than sessions live.

use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::Profile;

use crate::site::{Site, figure, ids, ms, network};

#[test]
fn an_alarm_pressed_in_the_dark_arrives_once_it_is_light() {
    let test = "60 s of darkness";
    let Some(emulator) = network(test, &[Profile::rural()]) else { return };
    let site = Site::running(&emulator);
    let first = site.press();
    site.arrives(&first);
    // Longer than the idle time-out: the sessions are gone when the light comes back.
    site.line(0, Profile { blocked: true, ..Profile::rural() });
    thread::sleep(Duration::from_secs(10));
    let pressed = site.press();
    thread::sleep(Duration::from_secs(50));
    assert!(!site.has_arrived(&pressed.0), "it cannot have");
    let lamp = site.lab.lamp(crate::site::SCHOOL, &pressed.0);
    assert_eq!(lamp, "dial_110", "the presser is told after ten seconds");
    let before = emulator.link(0).counters();
    site.line(0, Profile::rural());
    let light = Instant::now();
    site.lab.wait_inbox(crate::site::STATION, std::slice::from_ref(&pressed.0), crate::site::PATIENCE);
    let took = light.elapsed();
    site.answered(&pressed.0);
    let after = site.press();
    let then = site.arrives(&after);
    site.end(&ids(&[first, pressed, after]));
    let [up, _] = site.since(0, before);
    let words = format!("the alarm arrived {} after the light, the next one {} after its press", ms(took), ms(then));
    figure(test, &format!("{words}; {} packets up since the light", up.0));
}
