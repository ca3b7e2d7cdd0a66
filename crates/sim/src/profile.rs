//! The links of the field, as figures: what a packet meets on its way, with independent dice for each direction.
//!
//! Invariant: a profile says all that a line does by itself; whatever else befalls it is a fault, and ends.

/// A millionth share.
pub type Ppm = u64;
const PERCENT: Ppm = 10_000;

/// Bursts of loss (Gilbert–Elliott): a line is in a good or a bad state, and moves between the two with each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loss {
    /// From good to bad.
    pub enter: Ppm,
    /// From bad to good.
    pub leave: Ppm,
    /// Lost while good.
    pub good: Ppm,
    /// Lost while bad.
    pub bad: Ppm,
}

impl Loss {
    /// The greatest share of packets that may be lost one after the other, in the long run: what a run of losses is multiplied by
    /// with each further one, at most. Staying bad and losing there weighs most.
    #[must_use]
    pub fn run(&self) -> f64 {
        let share = |ppm: Ppm| f64::from(u32::try_from(ppm).unwrap_or(u32::MAX)) / 1e6;
        let (enter, leave) = (share(self.enter), share(self.leave));
        let (good, bad) = (share(self.good), share(self.bad));
        // The largest eigenvalue of the matrix of "moves there and loses": a 2 × 2 one, so it has a closed form.
        let (gg, gb, bg, bb) = ((1.0 - enter) * good, enter * bad, leave * good, (1.0 - leave) * bad);
        let (trace, det) = (gg + bb, gg * bb - gb * bg);
        f64::midpoint(trace, (trace * trace - 4.0 * det).max(0.0).sqrt())
    }
}

/// A way of a given speed with a queue before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Bits a second.
    pub bits: u64,
    /// Bytes that wait at most; what comes then is dropped.
    pub queue: u64,
}

/// What a line is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// One way, in microseconds.
    pub delay: u64,
    /// Added to it at random, half-normal with this deviation, in microseconds; may reorder.
    pub jitter: u64,
    /// What is lost.
    pub loss: Loss,
    /// How fast it is; `None`: fast enough.
    pub rate: Option<Rate>,
    /// Dark for so long in every so long, in microseconds.
    pub dark: Option<(u64, u64)>,
}

/// A wire within a building.
pub const LAN: Profile = Profile {
    name: "lan",
    delay: 200,
    jitter: 0,
    loss: Loss { enter: 0, leave: 0, good: 0, bad: 0 },
    rate: None,
    dark: None,
};
/// A good line in a town.
pub const TOWN: Profile = Profile {
    name: "town",
    delay: 15_000,
    jitter: 3_000,
    loss: Loss { enter: 0, leave: 0, good: PERCENT / 10, bad: 0 },
    ..LAN
};
/// A long line in the country.
pub const RURAL: Profile = Profile {
    name: "rural",
    delay: 60_000,
    jitter: 20_000,
    loss: Loss { enter: 2 * PERCENT, leave: 30 * PERCENT, good: PERCENT / 2, bad: 50 * PERCENT },
    ..LAN
};
/// A radio link at its edge.
pub const BAD: Profile = Profile {
    name: "bad",
    delay: 150_000,
    jitter: 50_000,
    loss: Loss { enter: 5 * PERCENT, leave: 25 * PERCENT, good: 5 * PERCENT, bad: 70 * PERCENT },
    ..LAN
};
/// A long line that is dark for eight seconds of every minute.
pub const OUTAGE: Profile = Profile { name: "outage", dark: Some((8_000_000, 60_000_000)), ..RURAL };
/// A satellite or a very old modem.
pub const THIN: Profile = Profile {
    name: "thin",
    delay: 300_000,
    jitter: 100_000,
    loss: Loss { enter: 0, leave: 0, good: 5 * PERCENT, bad: 0 },
    rate: Some(Rate { bits: 32_000, queue: 16 * 1_024 }),
    dark: None,
};

impl Profile {
    /// The same without any loss, cut or limit of speed.
    #[must_use]
    pub fn lossless(self) -> Self {
        Self { loss: Loss::default(), dark: None, rate: None, ..self }
    }

    /// A delay that one packet in a million exceeds: five deviations of its jitter.
    #[must_use]
    pub fn slow(&self) -> u64 {
        self.delay + 5 * self.jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_loss_are_as_long_as_the_chain_makes_them() {
        assert!((TOWN.loss.run() - 0.001).abs() < 1e-9, "independent losses: {}", TOWN.loss.run());
        let bad = BAD.loss.run();
        assert!(bad > 0.52 && bad < 0.56, "staying bad and losing is 0.525, and some from good: {bad}");
        assert!(LAN.loss.run().abs() < 1e-12);
    }
}
