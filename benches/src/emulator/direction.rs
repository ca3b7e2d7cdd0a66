//! The decisions of one direction of a link: when a packet arrives, or why it never does.
//!
//! Pure: `(now, packet) -> fate`, with a clock that the caller reads. Invariant: every packet takes the same number of dice, whatever
//! becomes of it. So the same seed and the same sequence of packets meet the same fates, and neither a queue, a cut nor another profile
//! shifts the dice of later packets.

use std::time::Duration;

use huxiao_core::Rng;

use super::packet::{Carries, Damage};
use super::profile::{Loss, Profile, Rate};

/// The least by which a packet that is held back falls behind, when the link's own delay is shorter.
const HELD_BACK: Duration = Duration::from_millis(10);

/// A packet, as far as its fate depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// The bytes of the IP packet.
    pub length: usize,
    /// What it carries.
    pub carries: Carries,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It never arrives.
    Dropped(Cause),
    /// It arrives, and perhaps once more.
    Carried(Arrival, Option<Arrival>),
}

/// Why a packet never arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing passes, or no UDP does.
    Blocked,
    /// It is longer than the MTU.
    TooLong,
    /// It found no room in the line's queue.
    QueueFull,
    /// It was sent in the dark.
    Dark,
    /// The dice.
    Lost,
}

/// One copy of a packet at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// When, on the caller's clock.
    pub at: Duration,
    /// What was done to it on the way.
    pub damage: Option<Damage>,
}

/// One direction of a link.
#[derive(Debug, Clone)]
pub struct Direction {
    profile: Profile,
    /// When the profile began, and the first period of its cuts.
    since: Duration,
    rng: Rng,
    /// The state of Gilbert and Elliott.
    bad: bool,
    /// When the line has sent all that it took.
    line_free: Duration,
    /// The latest arrival of a packet that was not held back.
    latest: Duration,
}

/// Everything that chance has to say about one packet, rolled at once.
struct Dice {
    change: f64,
    loss: f64,
    held_back: f64,
    further: f64,
    twice: f64,
    copies: [CopyDice; 2],
}

/// What chance has to say about one copy.
struct CopyDice {
    /// The upper half of a standard normal distribution.
    jitter: f64,
    corrupt: f64,
    damage: Damage,
}

impl Direction {
    /// A direction that begins at `now`.
    #[must_use]
    pub fn new(profile: Profile, seed: u64, now: Duration) -> Self {
        let (line_free, latest) = (now, now);
        Self { profile, since: now, rng: Rng::new(seed), bad: false, line_free, latest }
    }

    /// What it does to packets.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Does something else to packets from `now` on. Cuts begin anew, and so does the good state of a bursty loss; packets on their way
    /// keep their fates, and the dice go on.
    pub fn set(&mut self, profile: Profile, now: Duration) {
        (self.profile, self.since, self.bad) = (profile, now, false);
    }

    /// Decides about a packet that enters at `now`.
    pub fn decide(&mut self, now: Duration, packet: Packet) -> Fate {
        let dice = self.roll();
        let lost = self.lost(&dice);
        let profile = self.profile;
        if profile.blocked || profile.udp_blocked && packet.carries == Carries::Udp {
            return Fate::Dropped(Cause::Blocked);
        }
        if packet.length > usize::from(profile.mtu) {
            return Fate::Dropped(Cause::TooLong);
        }
        let Some(sent) = self.through_the_queue(now, packet.length) else { return Fate::Dropped(Cause::QueueFull) };
        if self.dark_until(sent).is_some() {
            return Fate::Dropped(Cause::Dark);
        }
        if lost {
            return Fate::Dropped(Cause::Lost);
        }
        let [first, second] = &dice.copies;
        let first = self.arrival(sent, first, &dice);
        let second = (dice.twice < profile.duplicate).then(|| self.arrival(sent, second, &dice));
        Fate::Carried(first, second)
    }

    /// If it is dark at `at`: when it will be light again. Only the present profile is asked.
    #[must_use]
    pub fn dark_until(&self, at: Duration) -> Option<Duration> {
        let (cuts, period) = (self.profile.cuts?, self.period(at)?);
        let light_again = period.saturating_add(cuts.every);
        (!cuts.dark.is_zero() && at.saturating_add(cuts.dark) >= light_again).then_some(light_again)
    }

    /// When the last dark time that was over at `at` ended. Only the present profile is asked.
    #[must_use]
    pub fn last_dark_end(&self, at: Duration) -> Option<Duration> {
        let dark = self.profile.cuts.is_some_and(|cuts| !cuts.dark.is_zero());
        self.period(at).filter(|period| dark && *period > self.since)
    }

    /// When the period of the cuts in which `at` falls began.
    fn period(&self, at: Duration) -> Option<Duration> {
        let every = self.profile.cuts?.every.as_nanos();
        let into = at.saturating_sub(self.since).as_nanos().checked_rem(every)?;
        // Shorter than a period, which is a duration itself.
        let into = Duration::new(u64::try_from(into / 1_000_000_000).ok()?, u32::try_from(into % 1_000_000_000).ok()?);
        Some(at.max(self.since).saturating_sub(into))
    }

    fn roll(&mut self) -> Dice {
        Dice {
            change: self.unit(),
            loss: self.unit(),
            held_back: self.unit(),
            further: self.unit(),
            twice: self.unit(),
            copies: [self.roll_copy(), self.roll_copy()],
        }
    }

    fn roll_copy(&mut self) -> CopyDice {
        // Box and Muller, 1958. The logarithm is of (0, 1].
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        let jitter = radius * (std::f64::consts::TAU * self.unit()).cos().abs();
        let corrupt = self.unit();
        let place = self.rng.next_u64();
        let mask = u8::try_from(1 + self.rng.below(255)).unwrap_or(u8::MAX);
        CopyDice { jitter, corrupt, damage: Damage { place, mask } }
    }

    /// A number from 0 to 1, 1 excluded.
    fn unit(&mut self) -> f64 {
        // 53 bits: as many as a f64 holds exactly.
        (self.rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn lost(&mut self, dice: &Dice) -> bool {
        match self.profile.loss {
            Loss::None => false,
            Loss::Bernoulli(share) => dice.loss < share,
            Loss::GilbertElliott { enter, leave, good, bad } => {
                self.bad = if self.bad { dice.change >= leave } else { dice.change < enter };
                dice.loss < if self.bad { bad } else { good }
            }
        }
    }

    /// When the last bit of a packet has left, if the queue takes it.
    fn through_the_queue(&mut self, now: Duration, length: usize) -> Option<Duration> {
        let Some(Rate { bits_per_second, queue_bytes }) = self.profile.rate else { return Some(now) };
        if bits_per_second == 0 {
            return None;
        }
        let backlog = self.line_free.saturating_sub(now);
        let waiting = backlog.as_secs_f64() * bits_per_second as f64 / 8.0;
        if !backlog.is_zero() && waiting + length as f64 > queue_bytes as f64 {
            return None;
        }
        let takes = Duration::try_from_secs_f64(length as f64 * 8.0 / bits_per_second as f64).ok()?;
        self.line_free = self.line_free.max(now).checked_add(takes)?;
        Some(self.line_free)
    }

    fn arrival(&mut self, sent: Duration, copy: &CopyDice, dice: &Dice) -> Arrival {
        let profile = &self.profile;
        let mut at = sent.saturating_add(profile.delay).saturating_add(profile.jitter.mul_f64(copy.jitter));
        if profile.keep_order {
            at = at.max(self.latest);
        }
        if dice.held_back < profile.reorder {
            at = at.saturating_add(profile.delay.max(HELD_BACK).mul_f64(0.5 + dice.further / 2.0));
        } else {
            self.latest = self.latest.max(at);
        }
        Arrival { at, damage: (copy.corrupt < profile.corrupt).then_some(copy.damage) }
    }
}

#[cfg(test)]
mod tests;
