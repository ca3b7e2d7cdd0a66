//! What a link does to packets, as figures.
//!
//! Invariant: a [`Profile`] is only figures, and every set of figures means something: a probability below zero never happens, one
//! above one always, a rate of zero carries nothing.

use std::time::Duration;

/// The largest IP packet that a link's devices take, in bytes.
pub const DEVICE_MTU: u16 = 1500;

/// What one direction of a link does to each IP packet. `..Profile::lan()` fills what is not said.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Profile {
    /// What it is called in reports.
    pub name: &'static str,
    /// The least that a packet needs from one end to the other.
    pub delay: Duration,
    /// The standard deviation of the normal distribution whose upper half is added to each packet's delay. The mean added is 0.80 of
    /// it, the median 0.67, the 99th percentile 2.58. A packet may overtake another one, unless `keep_order` is set.
    pub jitter: Duration,
    /// Whether a packet that would overtake another one waits for it instead.
    pub keep_order: bool,
    /// Which packets never arrive.
    pub loss: Loss,
    /// How much the line carries; without, it has no limit and no queue.
    pub rate: Option<Rate>,
    /// The share of packets that are held back further: by half to all of `delay` (of 10 ms, if that is more), even with `keep_order`.
    pub reorder: f64,
    /// The share of packets that arrive twice, each copy with its own jitter.
    pub duplicate: f64,
    /// The share of packets that arrive with one byte of their IP payload changed.
    pub corrupt: f64,
    /// The longest IP packet that passes, in bytes. Longer ones vanish without an ICMP message, as behind many a firewall.
    pub mtu: u16,
    /// Times in which nothing passes.
    pub cuts: Option<Cuts>,
    /// Nothing passes at all.
    pub blocked: bool,
    /// No UDP passes.
    pub udp_blocked: bool,
}

/// Which packets never arrive. The dice are rolled for every packet that enters the link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Loss {
    /// All arrive.
    None,
    /// Each packet is lost with this probability, whatever became of others.
    Bernoulli(f64),
    /// Losses come in bursts (Gilbert 1960, Elliott 1963): the link is good or bad, and changes from packet to packet.
    GilbertElliott {
        /// The probability of turning bad before the next packet.
        enter: f64,
        /// The probability of turning good before the next packet.
        leave: f64,
        /// The probability of loss while good.
        good: f64,
        /// The probability of loss while bad.
        bad: f64,
    },
}

impl Loss {
    /// The share of packets that is lost in the long run.
    #[must_use]
    pub fn share(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Bernoulli(lost) => lost.clamp(0.0, 1.0),
            Self::GilbertElliott { enter, leave, good, bad } => {
                let in_bad = long_run_bad(enter, leave);
                (1.0 - in_bad) * good + in_bad * bad
            }
        }
    }

    /// How many packets in a row are lost on average, once one is: the share of losses over the share of losses that follow a
    /// packet which arrived. Zero if nothing is ever lost.
    #[must_use]
    pub fn mean_burst(&self) -> f64 {
        match *self {
            Self::None => 0.0,
            Self::Bernoulli(lost) if lost <= 0.0 => 0.0,
            Self::Bernoulli(lost) => 1.0 / (1.0 - lost),
            Self::GilbertElliott { enter, leave, good, bad } => {
                let in_bad = long_run_bad(enter, leave);
                let after_good = (1.0 - enter) * good + enter * bad;
                let after_bad = leave * good + (1.0 - leave) * bad;
                let begins = (1.0 - in_bad) * (1.0 - good) * after_good + in_bad * (1.0 - bad) * after_bad;
                if self.share() > 0.0 { self.share() / begins } else { 0.0 }
            }
        }
    }
}

/// The share of packets that meet a bad link. A link that never changes stays good, as it began.
fn long_run_bad(enter: f64, leave: f64) -> f64 {
    if enter > 0.0 { enter / (enter + leave) } else { 0.0 }
}

/// What a line carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits of IP packets a second.
    pub bits_per_second: u64,
    /// How many bytes may wait, the packet on the line among them. One that finds no room is dropped; an idle line takes any packet.
    pub queue_bytes: usize,
}

/// Regular times in which nothing passes. Each period begins with light; its last part is dark. The first begins with the link, or
/// with the last change of its profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// The period. Zero: never dark.
    pub every: Duration,
    /// How much of its end is dark.
    pub dark: Duration,
}

impl Profile {
    /// The names that [`Profile::named`] knows, from the best link to the worst.
    pub const ALL: [&str; 6] = ["lan", "town", "rural", "bad", "outage", "thin"];

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "lan" => Some(Self::lan()),
            "town" => Some(Self::town()),
            "rural" => Some(Self::rural()),
            "bad" => Some(Self::bad()),
            "outage" => Some(Self::outage()),
            "thin" => Some(Self::thin()),
            _ => None,
        }
    }

    /// One building: 0.2 ms, nothing lost.
    #[must_use]
    pub const fn lan() -> Self {
        Self {
            name: "lan",
            delay: Duration::from_micros(200),
            jitter: Duration::ZERO,
            keep_order: false,
            loss: Loss::None,
            rate: None,
            reorder: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            mtu: DEVICE_MTU,
            cuts: None,
            blocked: false,
            udp_blocked: false,
        }
    }

    /// A town's wired line: 15 ms, jitter 3 ms, 0.1 % lost.
    #[must_use]
    pub const fn town() -> Self {
        Self {
            name: "town",
            delay: Duration::from_millis(15),
            jitter: Duration::from_millis(3),
            loss: Loss::Bernoulli(0.001),
            ..Self::lan()
        }
    }

    /// A village's 4G: 60 ms, jitter 20 ms, 3.6 % lost, in bursts.
    #[must_use]
    pub const fn rural() -> Self {
        Self {
            name: "rural",
            delay: Duration::from_millis(60),
            jitter: Duration::from_millis(20),
            loss: Loss::GilbertElliott { enter: 0.02, leave: 0.3, good: 0.005, bad: 0.5 },
            ..Self::lan()
        }
    }

    /// The edge of a cell: 150 ms, jitter 50 ms, one packet in six lost, in bursts.
    #[must_use]
    pub const fn bad() -> Self {
        Self {
            name: "bad",
            delay: Duration::from_millis(150),
            jitter: Duration::from_millis(50),
            loss: Loss::GilbertElliott { enter: 0.05, leave: 0.25, good: 0.05, bad: 0.7 },
            ..Self::lan()
        }
    }

    /// As [`Profile::rural`], and dark for 8 s of every 60 s.
    #[must_use]
    pub const fn outage() -> Self {
        let cuts = Cuts { every: Duration::from_secs(60), dark: Duration::from_secs(8) };
        Self { name: "outage", cuts: Some(cuts), ..Self::rural() }
    }

    /// A satellite or an overloaded 2G cell: 300 ms, jitter 100 ms, 5 % lost, 32 kbit/s behind a queue of 16 KiB.
    #[must_use]
    pub const fn thin() -> Self {
        Self {
            name: "thin",
            delay: Duration::from_millis(300),
            jitter: Duration::from_millis(100),
            loss: Loss::Bernoulli(0.05),
            rate: Some(Rate { bits_per_second: 32_000, queue_bytes: 16 * 1024 }),
            ..Self::lan()
        }
    }

    /// The same link if nothing ever happened to a packet: delay, jitter, order, rate and MTU are kept; loss, cuts, blocks, duplicates,
    /// corruption and packets held back are not.
    #[must_use]
    pub const fn lossless(&self) -> Self {
        Self {
            loss: Loss::None,
            reorder: 0.0,
            duplicate: 0.0,
            corrupt: 0.0,
            cuts: None,
            blocked: false,
            udp_blocked: false,
            ..*self
        }
    }

    /// How long a packet needs on average, if it meets no queue and is not held back: the delay and the mean of the jitter.
    #[must_use]
    pub fn mean_delay(&self) -> Duration {
        // The mean of the upper half of a standard normal distribution: √(2/π).
        self.delay + self.jitter.mul_f64(std::f64::consts::FRAC_2_PI.sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_profile() {
        for name in Profile::ALL {
            assert_eq!(Profile::named(name).unwrap().name, name);
        }
        assert_eq!(Profile::named("perfect"), None);
    }

    #[test]
    fn shares_and_bursts_are_those_of_the_model() {
        let close = |found: f64, asked: f64| assert!((found - asked).abs() < 0.0005, "{found} instead of {asked}");
        close(Profile::rural().loss.share(), 0.0359);
        close(Profile::bad().loss.share(), 0.1583);
        close(Loss::Bernoulli(0.2).mean_burst(), 1.25);
        // With nothing lost while good and everything while bad, a burst is a stay in the bad state.
        close(Loss::GilbertElliott { enter: 0.1, leave: 0.25, good: 0.0, bad: 1.0 }.mean_burst(), 4.0);
        // Two states that behave alike are one.
        close(Loss::GilbertElliott { enter: 0.3, leave: 0.4, good: 0.2, bad: 0.2 }.mean_burst(), 1.25);
        close(Loss::None.mean_burst(), 0.0);
    }

    #[test]
    fn the_lossless_twin_keeps_the_time_and_loses_the_rest() {
        let worst = Profile {
            reorder: 0.1,
            duplicate: 0.1,
            corrupt: 0.1,
            cuts: Profile::outage().cuts,
            blocked: true,
            udp_blocked: true,
            ..Profile::thin()
        };
        assert_eq!(worst.lossless(), Profile { loss: Loss::None, ..Profile::thin() });
    }
}
