//! Packets that come late, twice, damaged or not at all, and a line that takes only short ones.

use huxiao_benches::emulator::{Loss, Profile};

use crate::site::{Site, figure, ids, ms, network};

/// Longer than any packet may be, with all that is around it: it cannot go as one datagram on the narrow line.
const LONG_NOTE: usize = 1_000;

#[test]
fn packets_out_of_order_twice_and_damaged_spoil_no_alarm() {
    let test = "spoilt packets";
    let spoilt = Profile { loss: Loss::Bernoulli(0.1), reorder: 0.1, duplicate: 0.1, corrupt: 0.1, ..Profile::rural() };
    let Some(emulator) = network(test, &[spoilt]) else { return };
    let site = Site::running(&emulator);
    let (mut presses, mut took) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let press = site.press();
        took.push(site.arrives(&press));
        presses.push(press);
    }
    for (id, _) in &presses[..5] {
        site.answered(id);
    }
    site.end(&ids(&presses));
    let counters = emulator.link(0).counters();
    assert!(counters.iter().all(|way| way.corrupted > 0 && way.duplicated > 0 && way.lost > 0), "{counters:?}");
    took.sort();
    figure(test, &format!("20 alarms, median {}, slowest {}", ms(took[10]), ms(took[19])));
}

#[test]
fn a_line_that_takes_short_packets_only_carries_everything() {
    let test = "path MTU 1280";
    let Some(emulator) = network(test, &[Profile { mtu: 1_280, ..Profile::town() }]) else { return };
    let site = Site::running(&emulator);
    let note = "长".repeat(LONG_NOTE / 3);
    let mut presses = Vec::new();
    for _ in 0..5 {
        presses.push(site.press());
        presses.push(site.press_with(&note));
    }
    let took: Vec<_> = presses.iter().map(|press| site.arrives(press)).collect();
    for (id, _) in &presses {
        site.answered(id);
    }
    site.end(&ids(&presses));
    figure(test, &format!("10 alarms, half of them long, slowest {}", ms(*took.iter().max().unwrap())));
}
