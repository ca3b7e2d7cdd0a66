//! A bad network for real processes: two network namespaces, joined by links that delay, lose, repeat and spoil packets as asked.
//!
//! It carries IP packets between TUN devices in user space, so TCP and UDP peers meet the same link, and any program can be put on it
//! without knowing. Made for machines whose kernel has no `netem`. It needs Linux, root (`CAP_NET_ADMIN` and `CAP_SYS_ADMIN`),
//! `/dev/net/tun` and `ip` of iproute2.
//!
//! Invariants: the decisions ([`direction`]) are pure and come from the seed alone; the machine's own network is never touched;
//! namespaces, devices and threads end with their [`Emulator`], and what a killed program left is removed at the next start.
//!
//! ```no_run
//! use huxiao_benches::emulator::{Emulator, Profile};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let emulator = Emulator::start(&[(Profile::rural(), Profile::rural())], 7)?;
//! let far = emulator.link(0).far_ip();
//! emulator.near().command("ping").args(["-c", "3", &far.to_string()]).status()?;
//! # Ok(())
//! # }
//! ```

pub mod direction;
pub mod measure;
pub mod packet;

mod link;
mod namespace;
mod profile;
mod switch;

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use huxiao_core::Rng;
use rustix::thread::{CapabilitySet, capabilities};
use tun_rs::{DeviceBuilder, SyncDevice};

pub use self::link::{Counters, Link};
pub use self::namespace::{Namespace, remove_all};
pub use self::profile::{Cuts, DEVICE_MTU, Loss, Profile, Rate};
pub use self::switch::{Deaf, Switch};

/// The routing table of the near namespace's first uplink; the others follow.
const NEAR_TABLE: u32 = 100;
/// The most links of one emulator: each has a subnet of its own below one second byte.
const LINKS: usize = 200;
/// What a device holds if the thread is not scheduled in time. The thread takes all that is there, so it is no queue of the link.
const DEVICE_QUEUE: u32 = 2_000;

/// Why there is no emulated network.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// This process may not, or the machine cannot.
    #[error("the link emulator cannot run here: {0}")]
    Unavailable(String),
    /// `ip` refused.
    #[error("{command}: {said}")]
    Command {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// The system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
}

/// Two network namespaces, near and far, and the links between them. Dropping it removes all of it.
#[derive(Debug)]
pub struct Emulator {
    // In this order: links end before their namespaces.
    links: Vec<Link>,
    near: Arc<Namespace>,
    far: Arc<Namespace>,
    far_ip: Ipv4Addr,
}

impl Emulator {
    /// Makes the namespaces and one link for each pair of profiles, near→far and far→near. Every link has its own device and subnet on
    /// both sides. A near socket bound to a link's near address or device uses that link, whichever far address it talks to; any other
    /// uses the subnet of the far address, or the first link that is present. The same seed gives the same fates to the same sequence
    /// of packets on each link; the directions' dice are independent.
    ///
    /// # Errors
    /// Not permitted, no TUN, no `ip`, or the system refused. Nothing is left behind.
    pub fn start(links: &[(Profile, Profile)], seed: u64) -> Result<Self, EmulatorError> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        permitted().map_err(EmulatorError::Unavailable)?;
        if !Path::new("/dev/net/tun").exists() {
            let why = "there is no /dev/net/tun; load the module tun, or give the container that device";
            return Err(EmulatorError::Unavailable(why.into()));
        }
        if links.is_empty() || links.len() > LINKS {
            let why = format!("{} links asked for, 1 to {LINKS} can be had", links.len());
            return Err(EmulatorError::Unavailable(why));
        }
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        namespace::remove_leftovers();
        // Each emulator has namespaces of its own, so a repeated subnet harms nothing; different ones are easier to tell apart.
        let subnet = u8::try_from(number % 250).unwrap_or(0);
        let near = Arc::new(Namespace::new(number, "near")?);
        let far_ip = Ipv4Addr::new(10, subnet, 255, 1);
        let far = Arc::new(Namespace::new(number, "far")?);
        far.ip(&format!("address add {far_ip}/32 dev lo\n"))?;
        let mut emulator = Self { links: Vec::new(), near, far, far_ip };
        let mut seeds = Rng::new(seed);
        for (at, (up, down)) in (0..).zip(links) {
            emulator.add_link(subnet, at, [*up, *down], [seeds.next_u64(), seeds.next_u64()])?;
        }
        Ok(emulator)
    }

    fn add_link(&mut self, subnet: u8, at: u8, profiles: [Profile; 2], seeds: [u64; 2]) -> Result<(), EmulatorError> {
        let device = format!("link{at}");
        let [near, far] = [1, 2].map(|host| Ipv4Addr::new(10, subnet, at, host));
        let devices = [open(&self.near, &device)?, open(&self.far, &device)?];
        let set_up = |address: Ipv4Addr| {
            format!(
                "link set {device} mtu {DEVICE_MTU} txqueuelen {DEVICE_QUEUE} multicast off\n\
                 address add {address}/24 dev {device}\n"
            )
        };
        self.far.ip(&(set_up(far) + &format!("link set {device} up\n")))?;
        let table = NEAR_TABLE + u32::from(at);
        // Without its device a link leads nowhere, instead of over another one.
        let rule = format!(
            "rule add from {near} table {table}\n\
             route add unreachable default table {table} metric 4000\n"
        );
        let link = Link::start(
            [&self.near, &self.far].map(Arc::clone),
            device.clone(),
            [near, far],
            devices,
            profiles,
            seeds,
        )?;
        self.near.ip(&(set_up(near) + &rule + &link.up_commands()))?;
        self.links.push(link);
        Ok(())
    }

    /// Whether an emulator can be had here: tries it.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn available() -> Result<(), String> {
        Self::start(&[(Profile::lan(), Profile::lan())], 0).map(drop).map_err(|error| error.to_string())
    }

    /// The near side: the one with the uplinks.
    #[must_use]
    pub fn near(&self) -> &Namespace {
        &self.near
    }

    /// The far side.
    #[must_use]
    pub fn far(&self) -> &Namespace {
        &self.far
    }

    /// An address of the far side that every link leads to.
    #[must_use]
    pub fn far_ip(&self) -> Ipv4Addr {
        self.far_ip
    }

    /// All links.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.links
    }

    /// The link `i`, counted from zero in the order of [`Emulator::start`].
    ///
    /// # Panics
    /// There are fewer links.
    #[must_use]
    pub fn link(&self, i: usize) -> &Link {
        &self.links[i]
    }
}

/// A TUN device in `namespace`. It is gone when it is dropped.
fn open(namespace: &Namespace, device: &str) -> Result<SyncDevice, EmulatorError> {
    let made = namespace.enter(|| {
        // Without the offloads of its driver the kernel hands out packets as they go over a wire: within the MTU, checksums in place.
        let device = DeviceBuilder::new().name(device).enable(false).build_sync()?;
        device.set_nonblocking(true)?;
        Ok(device)
    })?;
    made.map_err(|source| EmulatorError::Io {
        what: format!("make the TUN device {device} in {}", namespace.name()),
        source,
    })
}

/// What can be told without trying.
fn permitted() -> Result<(), String> {
    let own = capabilities(None).map_err(|why| format!("this process's capabilities are unknown: {why}"))?;
    for (needed, name) in [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN")] {
        if !own.effective.contains(needed) {
            return Err(format!("it needs {name}; run it as root"));
        }
    }
    Ok(())
}
