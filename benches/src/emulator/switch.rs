//! A switch with hosts on it: each host is a network namespace with an address of its own, and who hears whom can be cut, each way by
//! itself.
//!
//! Invariants: a cut drops packets where they arrive and tells nobody, as a broken line does; a set of cuts replaces the former one as
//! a whole, in each host at one instant; the machine's own network is never touched.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::namespace::{self, Namespace, run};
use super::{EmulatorError, permitted};

/// The most hosts of one switch: they share one subnet, below its last byte.
const HOSTS: usize = 200;
/// The last byte of the first host's address; the others follow.
const FIRST: u8 = 11;

/// Who does not hear whom: what the first sends, the second never gets. Hosts are counted from zero.
pub type Deaf = BTreeSet<(usize, usize)>;

/// Hosts that reach each other by a switch. Dropping it removes all of it.
#[derive(Debug)]
pub struct Switch {
    hosts: Vec<(Namespace, Ipv4Addr)>,
    // Its ports are gone with it, and with them the hosts' lines.
    hub: Namespace,
}

impl Switch {
    /// Makes so many hosts that all hear each other.
    ///
    /// # Errors
    /// Not permitted, no `ip`, no `nft`, or the system refused. Nothing is left behind.
    pub fn start(hosts: usize) -> Result<Self, EmulatorError> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        permitted().map_err(EmulatorError::Unavailable)?;
        if hosts == 0 || hosts > HOSTS {
            return Err(EmulatorError::Unavailable(format!("{hosts} hosts asked for, 1 to {HOSTS} can be had")));
        }
        namespace::remove_leftovers();
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let hub = Namespace::new(number, "hub")?;
        hub.ip("link add hub type bridge\nlink set hub up\n")?;
        let mut switch = Self { hosts: Vec::new(), hub };
        for (at, last) in (0..hosts).zip(FIRST..) {
            // Each switch has namespaces of its own, so all may have the same subnet.
            let ip = Ipv4Addr::new(10, 78, 0, last);
            let host = Namespace::new(number, &format!("host{at}"))?;
            let name = host.name();
            switch.hub.ip(&format!(
                "link add port{at} type veth peer name eth0 netns {name}\n\
                 link set port{at} master hub\n\
                 link set port{at} up\n"
            ))?;
            host.ip(&format!("address add {ip}/24 dev eth0\nlink set eth0 up\n"))?;
            switch.hosts.push((host, ip));
        }
        // What cannot cut is said now, and not in the middle of a run.
        switch.cut(&Deaf::new())?;
        Ok(switch)
    }

    /// Whether a switch can be had here: tries it.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn available() -> Result<(), String> {
        Self::start(1).map(drop).map_err(|error| error.to_string())
    }

    /// The host `i`.
    ///
    /// # Panics
    /// There are fewer hosts.
    #[must_use]
    pub fn host(&self, i: usize) -> &Namespace {
        &self.hosts[i].0
    }

    /// The address of host `i`.
    ///
    /// # Panics
    /// There are fewer hosts.
    #[must_use]
    pub fn ip(&self, i: usize) -> Ipv4Addr {
        self.hosts[i].1
    }

    /// Cuts what `cuts` names from now on, and nothing else.
    ///
    /// # Errors
    /// `nft` refused, or is not there. Hosts before the one that is named are cut as asked.
    pub fn cut(&self, cuts: &Deaf) -> Result<(), EmulatorError> {
        for (to, (host, _)) in self.hosts.iter().enumerate() {
            let senders = cuts.iter().filter(|(_, deaf)| *deaf == to).filter_map(|(from, _)| self.hosts.get(*from));
            let rules = rules(senders.map(|(_, ip)| *ip));
            run(Command::new("ip").args(["netns", "exec", host.name(), "nft", "-f", "-"]), &rules)?;
        }
        Ok(())
    }
}

/// The whole table that drops what comes from `senders`, for `nft -f`, which carries out all of it or nothing.
fn rules(senders: impl Iterator<Item = Ipv4Addr>) -> String {
    // Declared before it is deleted, since there is none at first.
    let mut out = String::from(
        "table inet cut\ndelete table inet cut\ntable inet cut {\n  chain arriving {\n    \
         type filter hook input priority 0; policy accept;\n",
    );
    for sender in senders {
        // Writing to a String does not fail.
        let _ = writeln!(out, "    ip saddr {sender} drop");
    }
    out + "  }\n}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_name_every_sender_and_replace_what_was() {
        let text = rules([Ipv4Addr::new(10, 78, 0, 11), Ipv4Addr::new(10, 78, 0, 13)].into_iter());
        assert!(text.starts_with("table inet cut\ndelete table inet cut\n"), "{text}");
        assert_eq!(text.matches(" drop\n").count(), 2, "{text}");
        assert!(text.contains("ip saddr 10.78.0.13 drop"), "{text}");
        assert_eq!(rules(std::iter::empty()).matches(" drop\n").count(), 0);
    }
}
