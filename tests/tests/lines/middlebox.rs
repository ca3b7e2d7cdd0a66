//! A NAT for UDP in front of a far address, as far as a session can tell: it maps each local port to one of its own, and forgets when
//! a test says so.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use huxiao_benches::emulator::Namespace;

/// How often its threads look whether they should end.
const LOOK: Duration = Duration::from_millis(50);
/// Larger than any packet here.
const PACKET: usize = 2_048;

/// The NAT. It ends with its owner, a moment later.
pub(crate) struct Middlebox {
    near: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    inside: UdpSocket,
    far: SocketAddr,
    ended: AtomicBool,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By the inner port. One without a mapping that may not get one either is a black hole.
    mappings: BTreeMap<SocketAddr, Option<Mapping>>,
    made: usize,
}

struct Mapping {
    outside: Arc<UdpSocket>,
    /// Whether answers are still let in.
    open: Arc<AtomicBool>,
}

impl Middlebox {
    /// A NAT on the loopback of `namespace` that leads to `far`.
    pub(crate) fn start(namespace: &Namespace, far: SocketAddr) -> Self {
        let inside = bind(namespace, Ipv4Addr::LOCALHOST).unwrap();
        let near = inside.local_addr().unwrap();
        let shared = Arc::new(Shared { inside, far, ended: AtomicBool::new(false), table: Mutex::default() });
        let box_of = Arc::clone(&shared);
        // Sockets that are made inside stay there, so the thread makes them there too.
        namespace.enter(|| thread::spawn(move || box_of.outwards())).unwrap();
        Self { near, shared }
    }

    /// What to dial instead of the far address.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.near
    }

    /// Forgets every mapping: what is sent from now on leaves by other ports, and answers to the old ones are dropped.
    pub(crate) fn forget(&self) {
        let mut table = self.shared.table.lock().unwrap();
        for mapping in std::mem::take(&mut table.mappings).into_values().flatten() {
            mapping.open.store(false, Ordering::Relaxed);
        }
    }

    /// Turns every port that is used now into a black hole for good, both ways: only a new port is let through.
    pub(crate) fn swallow(&self) {
        for mapping in self.shared.table.lock().unwrap().mappings.values_mut() {
            if let Some(mapping) = mapping.take() {
                mapping.open.store(false, Ordering::Relaxed);
            }
        }
    }

    /// How many mappings it has made.
    pub(crate) fn made(&self) -> usize {
        self.shared.table.lock().unwrap().made
    }
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    /// Carries what comes from inside.
    fn outwards(self: Arc<Self>) {
        let mut buffer = [0; PACKET];
        while !self.ended.load(Ordering::Relaxed) {
            let Ok((length, from)) = self.inside.recv_from(&mut buffer) else { continue };
            if let Some(outside) = self.mapping(from) {
                // One that the system does not take is a lost packet.
                let _ = outside.send(&buffer[..length]);
            }
        }
    }

    /// The outer port for the inner one, made if there is none yet. `None` for a black hole.
    fn mapping(self: &Arc<Self>, from: SocketAddr) -> Option<Arc<UdpSocket>> {
        let mut table = self.table.lock().unwrap();
        if let Some(known) = table.mappings.get(&from) {
            return known.as_ref().map(|mapping| Arc::clone(&mapping.outside));
        }
        let outside = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
            socket.connect(self.far)?;
            socket.set_read_timeout(Some(LOOK))?;
            Ok(Arc::new(socket))
        });
        let (outside, open) = (outside.ok()?, Arc::new(AtomicBool::new(true)));
        table.made += 1;
        table.mappings.insert(from, Some(Mapping { outside: Arc::clone(&outside), open: Arc::clone(&open) }));
        let (shared, answers) = (Arc::clone(self), Arc::clone(&outside));
        thread::spawn(move || shared.inwards(&answers, &open, from));
        Some(outside)
    }

    /// Carries what comes back to `to`, until the mapping is forgotten.
    fn inwards(&self, outside: &UdpSocket, open: &AtomicBool, to: SocketAddr) {
        let mut buffer = [0; PACKET];
        while !self.ended.load(Ordering::Relaxed) && open.load(Ordering::Relaxed) {
            let Ok(length) = outside.recv(&mut buffer) else { continue };
            if open.load(Ordering::Relaxed) {
                // As above.
                let _ = self.inside.send_to(&buffer[..length], to);
            }
        }
    }
}

/// A UDP socket of `namespace` that does not wait for ever.
fn bind(namespace: &Namespace, ip: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = namespace.enter(|| UdpSocket::bind((ip, 0))).unwrap()?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}
