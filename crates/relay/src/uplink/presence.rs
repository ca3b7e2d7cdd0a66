//! Which lines are there, by what the interfaces look like: a pure comparison of two looks.
//!
//! Invariant: a line that is there has been reported as come and not since as gone; every look reports only what differs from the last.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use super::Uplink;

/// A network interface as the system shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) name: String,
    /// Switched on, and with a carrier.
    pub(crate) running: bool,
    pub(crate) addresses: BTreeSet<IpAddr>,
}

/// What became of a line. Lines are told by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is there.
    Came { uplink: usize, local: Option<IpAddr> },
    /// It is there with other addresses than before: what is open on it should move to a new socket.
    Moved { uplink: usize, local: Option<IpAddr> },
    /// It is not there any more.
    Went { uplink: usize },
}

/// How a line stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// There, with the addresses that it may use.
    There { local: Option<IpAddr>, addresses: BTreeSet<IpAddr> },
    /// Not there, and why, for people.
    Absent(String),
}

/// The lines, as they were at the last look.
#[derive(Debug)]
pub(crate) struct Presence {
    uplinks: Vec<Uplink>,
    states: Vec<State>,
}

impl Presence {
    /// Nothing has been looked at yet, and nothing is there.
    pub(crate) fn new(uplinks: &[Uplink]) -> Self {
        let states = vec![State::Absent("its interface was not looked for yet".to_owned()); uplinks.len()];
        Self { uplinks: uplinks.to_vec(), states }
    }

    /// How each line stands.
    pub(crate) fn states(&self) -> &[State] {
        &self.states
    }

    /// Looks again.
    pub(crate) fn look(&mut self, interfaces: &[Interface]) -> Vec<Change> {
        let mut changes = Vec::new();
        for (uplink, (config, state)) in self.uplinks.iter().zip(&mut self.states).enumerate() {
            let now = state_of(config, interfaces);
            match (&*state, &now) {
                (State::Absent(_), State::There { local, .. }) => {
                    changes.push(Change::Came { uplink, local: *local });
                }
                (State::There { .. }, State::Absent(_)) => changes.push(Change::Went { uplink }),
                (State::There { addresses: before, .. }, State::There { local, addresses: after })
                    if has_moved(config, before, after) =>
                {
                    changes.push(Change::Moved { uplink, local: *local });
                }
                _ => {}
            }
            *state = now;
        }
        changes
    }
}

/// Whether sockets should be opened anew. On a line of its own, whenever its addresses change; where the system's routes decide, only if
/// one is gone, which may be the one in use: on such a machine unrelated interfaces come and go.
fn has_moved(config: &Uplink, before: &BTreeSet<IpAddr>, after: &BTreeSet<IpAddr>) -> bool {
    if config.interface.is_some() { before != after } else { !before.is_subset(after) }
}

fn state_of(config: &Uplink, interfaces: &[Interface]) -> State {
    let absent = |why: String| State::Absent(why);
    let own = config.interface.as_deref();
    let mut running = interfaces.iter().filter(|i| own.is_none_or(|name| i.name == name)).peekable();
    if let Some(name) = own {
        match running.peek() {
            None => return absent(format!("there is no interface {name}")),
            Some(interface) if !interface.running => {
                return absent(format!("{name} is switched off, or has no carrier"));
            }
            Some(_) => {}
        }
    }
    let addresses = running.filter(|i| i.running).flat_map(|i| i.addresses.iter().copied());
    if let Some(address) = config.address {
        // Any address of 127.0.0.0/8 is this computer's, whatever the interface lists.
        let has = |given: IpAddr| {
            given == address || (given.is_loopback() && address.is_loopback() && given.is_ipv4() == address.is_ipv4())
        };
        return match addresses.into_iter().any(has) {
            true => State::There { local: Some(address), addresses: BTreeSet::from([address]) },
            false => absent(match own {
                Some(name) => format!("{name} does not have the address {address}"),
                None => format!("no interface has the address {address}"),
            }),
        };
    }
    let wanted = |address: &IpAddr| is_usable(*address) && (own.is_some() || !address.is_loopback());
    let addresses: BTreeSet<IpAddr> = addresses.filter(wanted).collect();
    match own {
        Some(name) if addresses.is_empty() => absent(format!("{name} has no address")),
        // Where the system's routes decide there is always a line: a broker node may be on this very computer.
        _ => State::There { local: None, addresses },
    }
}

/// Whether an address leads anywhere: those that an interface gives itself do not.
fn is_usable(address: IpAddr) -> bool {
    let own_link = match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => is_link_local(address),
    };
    !own_link && !address.is_unspecified() && !address.is_multicast()
}

/// fe80::/10 (RFC 4291 §2.5.6).
fn is_link_local(address: Ipv6Addr) -> bool {
    address.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use huxiao_core::{Cost, UplinkId};

    use super::*;

    fn uplink(interface: Option<&str>, address: Option<&str>) -> Uplink {
        Uplink {
            id: UplinkId(0),
            name: "line".to_owned(),
            interface: interface.map(str::to_owned),
            address: address.map(|text| text.parse().unwrap()),
            cost: Cost::Free,
            budget: None,
        }
    }

    fn interface(name: &str, running: bool, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Interface { name: name.to_owned(), running, addresses }
    }

    fn loopback() -> Interface {
        interface("lo", true, &["127.0.0.1", "::1"])
    }

    #[test]
    fn a_line_comes_with_an_address_moves_with_it_and_goes_with_its_carrier() {
        let mut presence = Presence::new(&[uplink(Some("wwan0"), None)]);
        let came = Change::Came { uplink: 0, local: None };
        let went = Change::Went { uplink: 0 };
        let moved = Change::Moved { uplink: 0, local: None };
        let looks = [
            (vec![loopback()], None),
            (vec![loopback(), interface("wwan0", true, &[])], None),
            (vec![loopback(), interface("wwan0", true, &["fe80::1", "169.254.3.4"])], None),
            (vec![loopback(), interface("wwan0", true, &["fe80::1", "10.1.0.5"])], Some(came.clone())),
            (vec![interface("wwan0", true, &["10.1.0.5"]), loopback()], None),
            (vec![interface("wwan0", true, &["10.1.0.9"]), loopback()], Some(moved.clone())),
            (vec![interface("wwan0", true, &["10.1.0.9", "2001:db8::7"]), loopback()], Some(moved)),
            (vec![interface("wwan0", false, &["10.1.0.9", "2001:db8::7"]), loopback()], Some(went.clone())),
            (vec![interface("wwan0", true, &["10.1.0.9"]), loopback()], Some(came)),
            (vec![interface("eth0", true, &["10.1.0.9"]), loopback()], Some(went)),
        ];
        for (index, (interfaces, expected)) in looks.into_iter().enumerate() {
            assert_eq!(presence.look(&interfaces), Vec::from_iter(expected), "look {index}");
        }
        assert_eq!(presence.states(), [State::Absent("there is no interface wwan0".to_owned())]);
    }

    #[test]
    fn a_line_named_by_its_address_follows_the_address() {
        let mut presence = Presence::new(&[uplink(None, Some("10.0.0.7")), uplink(Some("eth1"), Some("10.0.0.7"))]);
        assert_eq!(presence.look(&[interface("eth0", true, &["10.0.0.6"])]), []);
        let local = Some("10.0.0.7".parse().unwrap());
        let at_eth0 = [interface("eth0", true, &["10.0.0.6", "10.0.0.7"]), interface("eth1", true, &["10.0.9.1"])];
        assert_eq!(presence.look(&at_eth0), [Change::Came { uplink: 0, local }]);
        let at_eth1 = [interface("eth1", true, &["10.0.0.7"])];
        assert_eq!(
            presence.look(&at_eth1),
            [Change::Came { uplink: 1, local }],
            "to the first, it is the same address"
        );
        let down = [interface("eth1", false, &["10.0.0.7"])];
        assert_eq!(presence.look(&down), [Change::Went { uplink: 0 }, Change::Went { uplink: 1 }]);
    }

    #[test]
    fn every_address_of_the_loopback_is_there() {
        let mut presence = Presence::new(&[uplink(None, Some("127.0.0.2")), uplink(None, Some("::2"))]);
        let local = Some("127.0.0.2".parse().unwrap());
        assert_eq!(presence.look(&[loopback()]), [Change::Came { uplink: 0, local }]);
        let State::Absent(why) = &presence.states()[1] else { panic!("there is no ::2") };
        assert_eq!(why, "no interface has the address ::2");
    }

    #[test]
    fn by_the_systems_routes_there_is_always_a_line() {
        let mut presence = Presence::new(&[uplink(None, None)]);
        assert_eq!(presence.look(&[loopback()]), [Change::Came { uplink: 0, local: None }]);
        let eth0 = interface("eth0", true, &["10.0.0.6"]);
        assert_eq!(presence.look(&[loopback(), eth0.clone()]), []);
        let bridge = interface("docker0", true, &["172.17.0.1"]);
        assert_eq!(presence.look(&[loopback(), eth0, bridge.clone()]), []);
        let other = interface("eth0", true, &["10.0.0.8"]);
        assert_eq!(presence.look(&[loopback(), other, bridge]), [Change::Moved { uplink: 0, local: None }]);
        assert_eq!(presence.look(&[loopback()]), [Change::Moved { uplink: 0, local: None }]);
        assert_eq!(presence.look(&[]), []);
    }
}
