//! A line whose firewall drops UDP.

use std::time::Duration;

use huxiao_benches::emulator::Profile;
use huxiao_tests::lab::say;

use crate::site::{SCHOOL, Site, figure, ids, ms, network, until};

/// Whether the relay has express sessions, and all of them are carried by `carrier`.
fn carried_by(site: &Site, carrier: &str) -> bool {
    let sessions = site.sessions();
    let mut express = sessions.iter().filter(|session| session["lane"] == "express").peekable();
    express.peek().is_some() && express.all(|session| session["carrier"] == carrier)
}

#[test]
fn where_no_udp_passes_alarms_go_by_tcp_until_it_does() {
    let test = "UDP blocked";
    let blocked = Profile { udp_blocked: true, ..Profile::rural() };
    let Some(emulator) = network(test, &[blocked]) else { return };
    let mut site = Site::new(&emulator, 1);
    site.lab.start_all();
    until("TCP carries", || carried_by(&site, "tcp"));
    until("TCP is shown", || site.printed_paths().contains("tcp"));
    let (mut presses, mut by_tcp) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let press = site.press();
        by_tcp.push(site.arrives(&press));
        site.answered(&press.0);
        presses.push(press);
    }
    site.line(0, Profile::rural());
    let back = until("back on QUIC", || carried_by(&site, "quic"));
    until("QUIC is shown", || site.printed_paths().contains("quic"));
    let before = emulator.link(0).counters();
    let press = site.press();
    let by_quic = site.arrives(&press);
    site.answered(&press.0);
    presses.push(press);
    // Closing packets of the session that was given up may still come.
    let [up, down] = emulator.link(0).counters();
    assert!(up.tcp_bytes - before[0].tcp_bytes < 2_000, "the alarm went by TCP too: {up:?} after {before:?}");
    assert!(down.udp_packets > before[1].udp_packets, "nothing came by UDP");
    // And again, in the middle of sessions and of an alarm.
    let press = site.press();
    site.line(0, blocked);
    let caught = site.arrives(&press);
    presses.push(press);
    let press = site.press();
    let noticed = site.arrives(&press);
    site.answered(&press.0);
    presses.push(press);
    assert_eq!(site.lab.lamp(SCHOOL, &presses[0].0), "acknowledged");
    site.end(&ids(&presses));
    let slowest: Duration = *by_tcp.iter().max().unwrap();
    figure(test, &format!("slowest of 5 alarms by TCP {}, one by QUIC {}", ms(slowest), ms(by_quic)));
    let words = format!("caught by the block {}, pressed after it {}", ms(caught), ms(noticed));
    figure(test, &format!("{words}; QUIC carries alone {} after the block is lifted", ms(back)));
    say(&site.printed_paths());
}
