//! Addresses that change under a session: NATs that forget, ports that are swallowed, a school that moves to another address.

use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use huxiao_benches::emulator::Profile;

use crate::middlebox::Middlebox;
use crate::site::{BROKER_PORT, SCHOOL, Site, figure, ids, ms, network};

/// A lab whose relay reaches the broker through a NAT.
fn behind_nat(test: &str) -> Option<(Site, Middlebox)> {
    let emulator = network(test, &[Profile::town()])?;
    let nat = Middlebox::start(emulator.near(), SocketAddr::from((emulator.far_ip(), BROKER_PORT)));
    let mut site = Site::new(&emulator, 1);
    let (relay, brokers) = (site.relay().to_owned(), nat.addr().to_string());
    site.lab.node(&relay).set("relay.brokers", &brokers);
    site.lab.start_all();
    Some((site, nat))
}

#[test]
fn a_nat_that_forgets_its_mappings_costs_no_alarm() {
    let test = "NAT rebinding";
    let Some((site, nat)) = behind_nat(test) else { return };
    let (mut presses, mut took) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        // In the middle of it: the alarm is on its way, its receipts are not back.
        let press = site.press();
        nat.forget();
        took.push(site.arrives(&press));
        site.answered(&press.0);
        presses.push(press);
    }
    // At rest, as when a carrier forgets after a minute whatever is sent.
    nat.forget();
    thread::sleep(Duration::from_secs(1));
    let press = site.press();
    took.push(site.arrives(&press));
    site.answered(&press.0);
    presses.push(press);
    site.end(&ids(&presses));
    let (slowest, made) = (ms(*took.iter().max().unwrap()), nat.made());
    figure(test, &format!("6 alarms across 6 rebindings, slowest {slowest}; {made} mappings were made"));
}

#[test]
fn a_port_that_is_swallowed_is_left() {
    let test = "black-holed port";
    let Some((site, nat)) = behind_nat(test) else { return };
    let first = site.press();
    site.arrives(&first);
    // A stale entry in a table on the way looks like a line that is dead, and only a new port helps.
    nat.swallow();
    let second = site.press();
    let took = site.arrives(&second);
    site.answered(&second.0);
    let third = site.press();
    nat.swallow();
    let again = site.arrives(&third);
    site.answered(&third.0);
    site.end(&ids(&[first, second, third]));
    figure(test, &format!("swallowed before the press: {}; while it was on its way: {}", ms(took), ms(again)));
}

#[test]
fn a_school_whose_address_changes_goes_on() {
    let test = "address change";
    let Some(emulator) = network(test, &[Profile::town()]) else { return };
    let site = Site::running(&emulator);
    let (device, old) = (emulator.link(0).near_device().to_owned(), emulator.link(0).near_ip());
    let [a, b, c, _] = old.octets();
    let mut addresses = [3, 4, 5].map(|host| std::net::Ipv4Addr::new(a, b, c, host)).to_vec();
    addresses.insert(0, old);
    let (mut presses, mut took) = (Vec::new(), Vec::new());
    for pair in addresses.windows(2) {
        let press = site.press();
        let commands = [
            format!("address del {}/24 dev {device}", pair[0]),
            format!("address add {}/24 dev {device}", pair[1]),
            format!("route replace default dev {device} metric 50 src {}", pair[1]),
        ];
        for command in commands {
            let mut ip: Command = emulator.near().command("ip");
            let done = ip.args(command.split(' ')).output().unwrap();
            assert!(done.status.success(), "{command}: {done:?}");
        }
        took.push(site.arrives(&press));
        site.answered(&press.0);
        assert_eq!(site.lab.lamp(SCHOOL, &press.0), "acknowledged");
        presses.push(press);
    }
    site.end(&ids(&presses));
    figure(test, &format!("3 alarms across 3 addresses, slowest {}", ms(*took.iter().max().unwrap())));
}
