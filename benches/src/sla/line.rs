//! The emulated line of one run: the school at its near end, the police side at its far end.
//!
//! Invariant: a line begins without loss, so that every system connects on a good line, and becomes what its profile says at one instant,
//! from which times in the dark and bytes are counted.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::{Counters, Emulator, Namespace, Profile};

use crate::error::BenchError;

/// A line that runs.
pub(crate) struct Line {
    emulator: Emulator,
    profile: Profile,
}

/// What the line has carried since an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Carried {
    /// IP packets that were sent into it, both ways.
    pub(crate) packets: u64,
    /// Their bytes, IP headers included.
    pub(crate) bytes: u64,
    /// Packets for which the emulator itself had no room. Above zero, the line was not what was asked for.
    pub(crate) overflowed: u64,
}

impl Line {
    /// A line that will be as `profile` says, with the dice of `seed`.
    ///
    /// # Errors
    /// There is no emulator here.
    pub(crate) fn new(profile: Profile, seed: u64) -> Result<Self, BenchError> {
        let good = profile.lossless();
        Ok(Self { emulator: Emulator::start(&[(good, good)], seed)?, profile })
    }

    /// Makes it what its profile says, from now on.
    pub(crate) fn begin(&self) {
        self.emulator.link(0).set(self.profile, self.profile);
    }

    /// The school's end.
    pub(crate) fn near(&self) -> &Namespace {
        self.emulator.near()
    }

    /// The police side's end.
    pub(crate) fn far(&self) -> &Namespace {
        self.emulator.far()
    }

    /// The address of the school's end.
    pub(crate) fn near_ip(&self) -> IpAddr {
        self.emulator.link(0).near_ip().into()
    }

    /// The address of the police side's end.
    pub(crate) fn far_ip(&self) -> IpAddr {
        self.emulator.link(0).far_ip().into()
    }

    /// All that it has carried so far.
    pub(crate) fn carried(&self) -> Carried {
        let add = |sum: Carried, one: &Counters| Carried {
            packets: sum.packets + one.packets,
            bytes: sum.bytes + one.bytes,
            overflowed: sum.overflowed + one.overflowed,
        };
        self.emulator.link(0).counters().iter().fold(Carried::default(), add)
    }

    /// When it was dark from `from` on, as beginning and end, the latest first; only what is over.
    pub(crate) fn darks(&self, from: Instant) -> Vec<(Instant, Instant)> {
        let (Some(cuts), Some(last)) = (self.profile.cuts, self.emulator.link(0).last_dark_end()) else {
            return Vec::new();
        };
        every(last, cuts.every, cuts.dark, from)
    }
}

impl Carried {
    /// What was carried after `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            packets: self.packets.saturating_sub(before.packets),
            bytes: self.bytes.saturating_sub(before.bytes),
            overflowed: self.overflowed.saturating_sub(before.overflowed),
        }
    }
}

fn every(last: Instant, period: Duration, dark: Duration, from: Instant) -> Vec<(Instant, Instant)> {
    if period.is_zero() || dark.is_zero() {
        return Vec::new();
    }
    let ends = std::iter::successors(Some(last), |end| end.checked_sub(period));
    ends.take_while(|end| *end > from).filter_map(|end| Some((end.checked_sub(dark)?, end))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn darks_come_back_every_period() {
        let second = Duration::from_secs(1);
        let from = Instant::now() + 1_000 * second;
        let found = every(from + 180 * second, 60 * second, 8 * second, from);
        let wanted = [180, 120, 60].map(|end| (from + (end - 8) * second, from + end * second));
        assert_eq!(found, wanted);
        assert_eq!(every(from, 60 * second, 8 * second, from), []);
        assert_eq!(every(from, Duration::ZERO, second, from), []);
    }
}
