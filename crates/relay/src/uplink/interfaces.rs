//! The system's network interfaces.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::presence::Interface;

/// Reads the interfaces; tests bring their own.
pub(crate) type Reader = Arc<dyn Fn() -> io::Result<Vec<Interface>> + Send + Sync>;

/// All interfaces with their addresses. Asks the kernel and waits for nothing else.
///
/// # Errors
/// What the system says.
pub(crate) fn read() -> io::Result<Vec<Interface>> {
    let mut found: BTreeMap<String, Interface> = BTreeMap::new();
    // Each interface is listed once for itself, and once more for each of its addresses.
    for entry in getifaddrs()? {
        // IFF_RUNNING is set while there is a carrier, and on devices that do not know (netdevice(7)).
        let running = entry.flags.contains(InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING);
        let name = entry.interface_name;
        let interface =
            found.entry(name.clone()).or_insert_with(|| Interface { name, running, addresses: BTreeSet::new() });
        let address = entry.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|socket| IpAddr::V4(socket.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|socket| IpAddr::V6(socket.ip())))
        });
        interface.addresses.extend(address);
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_computer_has_a_loopback() {
        let interfaces = read().unwrap();
        let loopback = interfaces.iter().find(|interface| interface.name == "lo").unwrap();
        assert!(loopback.running && loopback.addresses.contains(&"127.0.0.1".parse().unwrap()), "{interfaces:?}");
    }
}
