//! One link between the two namespaces: its devices, and the thread that carries packets between them.
//!
//! Invariants: every packet that a device gives is decided about at once, in the order of its coming, so no device queues on the side;
//! a packet is written when its time has come, never before.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::setpriority_process;
use rustix::thread::{gettid, set_current_timer_slack};
use tun_rs::SyncDevice;

use super::direction::{Cause, Direction, Fate, Packet};
use super::namespace::Namespace;
use super::packet::{Carries, carries, spoil};
use super::profile::Profile;
use super::{EmulatorError, NEAR_TABLE};

/// How many packets may be on their way in one link, both directions together. More are dropped, and counted as `overflowed`.
const ON_THE_WAY: usize = 65_536;
/// How many packets are taken from one device before the other one and the due packets have their turn.
const BATCH: usize = 64;
/// How long a device that is down is left alone.
const DEVICE_DOWN: Duration = Duration::from_millis(5);

/// What one direction of a link has seen since it began. Bytes are those of IP packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that entered.
    pub packets: u64,
    /// Bytes that entered.
    pub bytes: u64,
    /// UDP packets among them.
    pub udp_packets: u64,
    /// UDP bytes among them.
    pub udp_bytes: u64,
    /// TCP packets among them.
    pub tcp_packets: u64,
    /// TCP bytes among them.
    pub tcp_bytes: u64,
    /// Copies that arrived.
    pub delivered: u64,
    /// Their bytes.
    pub delivered_bytes: u64,
    /// Packets lost by the dice.
    pub lost: u64,
    /// Packets sent in the dark.
    pub dark: u64,
    /// Packets that found no room in the line's queue.
    pub queue_full: u64,
    /// Packets above the MTU.
    pub too_long: u64,
    /// Packets that met a block.
    pub blocked: u64,
    /// Packets that were given a second copy.
    pub duplicated: u64,
    /// Copies with a changed byte.
    pub corrupted: u64,
    /// Copies that the other end did not take: its device was down.
    pub refused: u64,
    /// Copies for which the emulator had no room. Above zero, the link was not what was asked for.
    pub overflowed: u64,
}

impl Counters {
    fn decided(&mut self, packet: Packet, fate: &Fate) {
        let bytes = u64::try_from(packet.length).unwrap_or(u64::MAX);
        self.packets += 1;
        self.bytes += bytes;
        match packet.carries {
            Carries::Udp => (self.udp_packets, self.udp_bytes) = (self.udp_packets + 1, self.udp_bytes + bytes),
            Carries::Tcp => (self.tcp_packets, self.tcp_bytes) = (self.tcp_packets + 1, self.tcp_bytes + bytes),
            Carries::Other => {}
        }
        match fate {
            Fate::Dropped(Cause::Blocked) => self.blocked += 1,
            Fate::Dropped(Cause::TooLong) => self.too_long += 1,
            Fate::Dropped(Cause::QueueFull) => self.queue_full += 1,
            Fate::Dropped(Cause::Dark) => self.dark += 1,
            Fate::Dropped(Cause::Lost) => self.lost += 1,
            Fate::Carried(_, second) => self.duplicated += u64::from(second.is_some()),
        }
    }
}

/// A link between the near and the far namespace.
#[derive(Debug)]
pub struct Link {
    addresses: [Ipv4Addr; 2],
    device: String,
    near: Arc<Namespace>,
    far: Arc<Namespace>,
    shared: Arc<Shared>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread and its owner share.
#[derive(Debug)]
struct Shared {
    began: Instant,
    ending: AtomicBool,
    sides: [Mutex<Side>; 2],
}

/// What enters at one end: its decisions and what was counted.
#[derive(Debug)]
struct Side {
    direction: Direction,
    counters: Counters,
}

impl Shared {
    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn side(&self, at: usize) -> MutexGuard<'_, Side> {
        self.sides[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Starts to carry packets between two devices, `profiles` and `seeds` each near→far and far→near.
    pub(super) fn start(
        [near, far]: [Arc<Namespace>; 2],
        device: String,
        addresses: [Ipv4Addr; 2],
        devices: [SyncDevice; 2],
        profiles: [Profile; 2],
        seeds: [u64; 2],
    ) -> Result<Self, EmulatorError> {
        let side = |at: usize| {
            let direction = Direction::new(profiles[at], seeds[at], Duration::ZERO);
            Mutex::new(Side { direction, counters: Counters::default() })
        };
        let shared = Shared { began: Instant::now(), ending: AtomicBool::new(false), sides: [side(0), side(1)] };
        let shared = Arc::new(shared);
        let failed = |what: &str| {
            let what = format!("{what} for {device}");
            move |source| EmulatorError::Io { what, source }
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let wake = Arc::new(wake.map_err(io::Error::from).map_err(failed("make an eventfd"))?);
        let carrier = Carrier::new(devices, Arc::clone(&shared), Arc::clone(&wake));
        let thread = thread::Builder::new().name("emulated-link".into()).spawn(move || carrier.run());
        let thread = Some(thread.map_err(failed("start a thread"))?);
        Ok(Self { addresses, device, near, far, shared, wake, thread })
    }

    /// The near end's address.
    #[must_use]
    pub fn near_ip(&self) -> Ipv4Addr {
        self.addresses[0]
    }

    /// The far end's address.
    #[must_use]
    pub fn far_ip(&self) -> Ipv4Addr {
        self.addresses[1]
    }

    /// The name of the link's device in the near namespace; it is the same in the far one.
    #[must_use]
    pub fn near_device(&self) -> &str {
        &self.device
    }

    /// Does something else to packets from now on: `up` near→far, `down` far→near. Cuts begin anew; packets on their way keep their fates.
    pub fn set(&self, up: Profile, down: Profile) {
        let mut sides = [self.shared.side(0), self.shared.side(1)];
        let now = self.shared.now();
        for (side, profile) in sides.iter_mut().zip([up, down]) {
            side.direction.set(profile, now);
        }
    }

    /// What it does to packets now, near→far and far→near.
    #[must_use]
    pub fn profiles(&self) -> [Profile; 2] {
        [0, 1].map(|at| self.shared.side(at).direction.profile())
    }

    /// What near→far and far→near have seen so far.
    #[must_use]
    pub fn counters(&self) -> [Counters; 2] {
        [0, 1].map(|at| self.shared.side(at).counters)
    }

    /// How many packets the devices dropped near→far and far→near before the emulator saw them, because its thread was not scheduled in
    /// time. Above zero, the link was not what was asked for.
    ///
    /// # Errors
    /// The namespace could not be entered, or its figures not be read.
    pub fn missed(&self) -> Result<[u64; 2], EmulatorError> {
        Ok([dropped_by(&self.near, &self.device)?, dropped_by(&self.far, &self.device)?])
    }

    /// Takes the near device down, or up again with its routes: an uplink that comes and goes. Its address stays on it.
    ///
    /// # Errors
    /// `ip` refused.
    pub fn set_present(&self, present: bool) -> Result<(), EmulatorError> {
        if present {
            self.near.ip(&self.up_commands())
        } else {
            self.near.ip(&format!("link set {} down\n", self.device))
        }
    }

    /// The commands that bring the near device up, with the routes that its going down has removed.
    pub(super) fn up_commands(&self) -> String {
        let (device, [near, _]) = (&self.device, self.addresses);
        let number = NEAR_TABLE + u32::from(near.octets()[2]);
        format!(
            "link set {device} up\n\
             route replace default dev {device} src {near} metric {number}\n\
             route replace default dev {device} src {near} table {number}\n"
        )
    }

    /// If the link is dark now, in either direction: when it will be light again in both.
    #[must_use]
    pub fn dark_until(&self) -> Option<Instant> {
        self.dark_at(Instant::now())
    }

    /// If the link is or was dark at `at`, in either direction: when it is light again in both. Only the present profiles are asked.
    #[must_use]
    pub fn dark_at(&self, at: Instant) -> Option<Instant> {
        let at = at.saturating_duration_since(self.shared.began);
        let ends = [0, 1].map(|side| self.shared.side(side).direction.dark_until(at));
        ends.into_iter().max().flatten().map(|end| self.shared.began + end)
    }

    /// When the last dark time that is over ended, in the direction where that was later. Only the present profiles are asked.
    #[must_use]
    pub fn last_dark_end(&self) -> Option<Instant> {
        let now = self.shared.now();
        let ends = [0, 1].map(|side| self.shared.side(side).direction.last_dark_end(now));
        ends.into_iter().max().flatten().map(|end| self.shared.began + end)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::SeqCst);
        // A counter that cannot take one more has woken the thread already.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            // One that panicked has said so, and carries nothing any more.
            let _ = thread.join();
        }
    }
}

/// The packets that a device had no room for, by the kernel's table of devices.
fn dropped_by(namespace: &Namespace, device: &str) -> Result<u64, EmulatorError> {
    // The thread's own view: that of the process is another namespace's.
    let read = namespace.enter(|| fs::read_to_string("/proc/thread-self/net/dev"))?;
    let failed =
        |source| EmulatorError::Io { what: format!("read what {device} dropped in {}", namespace.name()), source };
    let table = read.map_err(failed)?;
    // Behind the name come eight columns of what was received; of what was sent, the fourth is what was dropped.
    let columns = table.lines().find_map(|line| line.trim_start().strip_prefix(device)?.strip_prefix(':'));
    let dropped = columns.and_then(|columns| columns.split_whitespace().nth(11)?.parse().ok());
    dropped.ok_or_else(|| failed(io::Error::other("the device is not in the kernel's table")))
}

/// The thread's own things.
struct Carrier {
    devices: [SyncDevice; 2],
    shared: Arc<Shared>,
    wake: Arc<OwnedFd>,
    on_the_way: BinaryHeap<Reverse<Due>>,
    taken: u64,
    buffer: Vec<u8>,
}

/// A packet on its way. Of two that are due at the same time, the one that was taken first goes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    at: Duration,
    number: u64,
    from: usize,
    packet: Vec<u8>,
}

impl Carrier {
    fn new(devices: [SyncDevice; 2], shared: Arc<Shared>, wake: Arc<OwnedFd>) -> Self {
        Self { devices, shared, wake, on_the_way: BinaryHeap::new(), taken: 0, buffer: vec![0; 65_536] }
    }

    fn run(mut self) {
        // Wake when asked, not up to 50 µs later, and before the programs whose network this is. Where it is not allowed, the link is
        // a little less exact.
        let _ = set_current_timer_slack(NonZeroU64::new(1));
        let _ = setpriority_process(Some(gettid()), -15);
        while !self.shared.ending.load(Ordering::SeqCst) {
            self.deliver();
            let readable = self.wait();
            for (from, readable) in readable.into_iter().enumerate() {
                if readable && !self.take(from) {
                    thread::sleep(DEVICE_DOWN);
                }
            }
        }
    }

    /// Writes what is due.
    fn deliver(&mut self) {
        while self.on_the_way.peek().is_some_and(|Reverse(next)| next.at <= self.shared.now()) {
            let Some(Reverse(due)) = self.on_the_way.pop() else { return };
            let written = self.devices[1 - due.from].send(&due.packet);
            let mut side = self.shared.side(due.from);
            match written {
                Ok(_) => {
                    side.counters.delivered += 1;
                    side.counters.delivered_bytes += u64::try_from(due.packet.len()).unwrap_or(u64::MAX);
                }
                Err(_) => side.counters.refused += 1,
            }
        }
    }

    /// Waits for packets, for the next that is due, or for the end. Says which devices have something.
    fn wait(&self) -> [bool; 2] {
        let next = self.on_the_way.peek().map(|Reverse(due)| due.at.saturating_sub(self.shared.now()));
        let timeout = next.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let [near, far] = &self.devices;
        let mut fds = [
            PollFd::from_borrowed_fd(near.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(far.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => [!fds[0].revents().is_empty(), !fds[1].revents().is_empty()],
            // Interrupted by a signal: look again.
            Err(_) => [false, false],
        }
    }

    /// Takes what a device has. Says whether the device works.
    fn take(&mut self, from: usize) -> bool {
        for _ in 0..BATCH {
            let length = match self.devices[from].recv(&mut self.buffer) {
                Ok(length) => length,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            };
            let bytes = &self.buffer[..length];
            let packet = Packet { length, carries: carries(bytes) };
            let mut side = self.shared.side(from);
            let fate = side.direction.decide(self.shared.now(), packet);
            side.counters.decided(packet, &fate);
            let Fate::Carried(first, second) = fate else { continue };
            for copy in std::iter::once(first).chain(second) {
                if self.on_the_way.len() >= ON_THE_WAY {
                    side.counters.overflowed += 1;
                    continue;
                }
                let mut packet = bytes.to_vec();
                if let Some(damage) = copy.damage {
                    side.counters.corrupted += 1;
                    spoil(&mut packet, damage);
                }
                self.taken += 1;
                self.on_the_way.push(Reverse(Due { at: copy.at, number: self.taken, from, packet }));
            }
        }
        true
    }
}
