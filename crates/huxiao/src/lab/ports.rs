//! Ports for the nodes' HTTP APIs.
//!
//! Invariant: without a base, each port was free a moment ago and lies below the range from which Linux gives ports to outgoing
//! connections (32768 and up), so that it is still free when the node starts.

use std::net::{Ipv4Addr, TcpListener};

use super::LabError;
use crate::random;

/// Where the search begins, at random, so that labs made at the same time do not meet.
const BASES: std::ops::RangeInclusive<u16> = 10_000..=28_000;
/// The last port that is given.
const LAST: u16 = 32_767;

/// As many ports as there are nodes. Those that are `taken` are left out, unless a base is given: brokers listen on TCP too.
pub(super) fn choose(wanted: usize, base: Option<u16>, taken: &[u16]) -> Result<Vec<u16>, LabError> {
    let lacking = |at: String| LabError::Ports { wanted, at };
    if let Some(base) = base {
        let ports: Vec<u16> = (base.max(1)..=u16::MAX).take(wanted).collect();
        return if ports.len() == wanted { Ok(ports) } else { Err(lacking(format!("from {base} on"))) };
    }
    let free = |port: &u16| !taken.contains(port) && is_free(*port);
    let bases = u64::from(BASES.end() - BASES.start()) + 1;
    let offset = u16::try_from(random::number() % bases).unwrap_or(0);
    let ports: Vec<u16> = (BASES.start() + offset..=LAST).filter(free).take(wanted).collect();
    if ports.len() == wanted {
        return Ok(ports);
    }
    // A large lab, or a busy computer: from the beginning.
    let ports: Vec<u16> = (*BASES.start()..=LAST).filter(free).take(wanted).collect();
    if ports.len() == wanted { Ok(ports) } else { Err(lacking(format!("free from {} to {LAST}", BASES.start()))) }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
