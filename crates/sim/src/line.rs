//! A line: one uplink of a school or of a station's seat, both ways, with what it is like and what befalls it.
//!
//! Invariant: the two directions share no dice. A fault that began and ended leaves a line as it was, but for its queue.

use huxiao_core::Rng;

use crate::profile::{Loss, Profile, Rate};

/// Which way a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// Towards the broker nodes.
    Up,
    /// From them.
    Down,
}

/// What befalls a line. Of some there may be several at once, so they are counted.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    /// Nothing passes, by way.
    pub cut: [u32; 2],
    /// Nothing passes to or from these broker nodes.
    pub cut_broker: [u32; 3],
    /// Loses in long bursts.
    pub burst: u32,
    /// Packets come twice, one in five.
    pub duplicate: u32,
    /// Packets are overtaken, one in five by up to a second.
    pub reorder: u32,
    /// It is slow: 64 kbit/s.
    pub narrow: u32,
    /// What carries receipts is lost on the way down, as a middlebox with a fault may do it.
    pub no_receipts: u32,
    /// A NAT that forgets its mapping this often (microseconds), whatever is sent.
    pub nat: Option<Nat>,
}

/// A NAT that forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Nat {
    /// How long a mapping lives, in microseconds.
    pub every: u64,
    /// Whether the old port is dead for ever, both ways. Otherwise the next packet from inside makes a new mapping.
    pub black_hole: bool,
}

const BURST: Loss = Loss { enter: 100_000, leave: 100_000, good: 50_000, bad: 900_000 };
const NARROW: Rate = Rate { bits: 64_000, queue: 16 * 1_024 };

#[derive(Debug, Clone, Default)]
struct Direction {
    bad: bool,
    busy_until: u64,
}

/// The arrivals of one packet, in microseconds: none if it is lost, two if it is doubled.
pub type Arrivals = [Option<u64>; 2];

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// What it is like.
    pub profile: Profile,
    /// What befalls it now.
    pub faults: Faults,
    /// Since when no fault has befallen it; `None` while one does.
    pub well_since: Option<u64>,
    /// Bytes and packets that were put on it, by way.
    pub bytes: [u64; 2],
    /// Packets, the same.
    pub packets: [u64; 2],
    /// When its dark spells begin.
    phase: u64,
    ways: [Direction; 2],
}

impl Line {
    /// A line as `profile` has it; `phase` moves its dark spells.
    #[must_use]
    pub fn new(profile: Profile, phase: u64) -> Self {
        Self {
            profile,
            faults: Faults::default(),
            well_since: Some(0),
            bytes: [0; 2],
            packets: [0; 2],
            phase,
            ways: [Direction::default(), Direction::default()],
        }
    }

    /// Whether anything is wrong with it.
    #[must_use]
    pub fn troubled(&self) -> bool {
        let f = &self.faults;
        let counts = [
            f.cut[0],
            f.cut[1],
            f.cut_broker[0],
            f.cut_broker[1],
            f.cut_broker[2],
            f.burst,
            f.duplicate,
            f.reorder,
            f.narrow,
        ];
        counts.iter().any(|count| *count > 0) || f.no_receipts > 0 || f.nat.is_some()
    }

    /// Whether its dark spell is on.
    #[must_use]
    pub fn is_dark(&self, now: u64) -> bool {
        self.profile.dark.is_some_and(|(length, every)| (now + self.phase) % every < length)
    }

    /// When the dark spell ends that is on; `now` if none is.
    #[must_use]
    pub fn light_at(&self, now: u64) -> u64 {
        match self.profile.dark {
            Some((length, every)) if self.is_dark(now) => now + length - (now + self.phase) % every,
            _ => now,
        }
    }

    /// Puts a packet on it.
    pub fn carry(&mut self, now: u64, way: Way, broker: usize, bytes: u32, rng: &mut Rng) -> Arrivals {
        let at = way as usize;
        self.bytes[at] += u64::from(bytes);
        self.packets[at] += 1;
        let cut = self.faults.cut[at] > 0 || self.faults.cut_broker.get(broker).is_some_and(|count| *count > 0);
        if cut || self.is_dark(now) {
            return [None; 2];
        }
        let rate = if self.faults.narrow > 0 { Some(NARROW) } else { self.profile.rate };
        let left = match rate {
            None => now,
            Some(rate) => {
                let begins = self.ways[at].busy_until.max(now);
                let waiting = (begins - now) * rate.bits / 8_000_000;
                if waiting + u64::from(bytes) > rate.queue {
                    return [None; 2];
                }
                self.ways[at].busy_until = begins + u64::from(bytes) * 8_000_000 / rate.bits;
                self.ways[at].busy_until
            }
        };
        if self.loses(at, rng) {
            return [None; 2];
        }
        let first = left + self.delay(rng);
        let twice = self.faults.duplicate > 0 && rng.below(5) == 0;
        [Some(first), twice.then(|| left + self.delay(rng))]
    }

    fn loses(&mut self, at: usize, rng: &mut Rng) -> bool {
        let loss = if self.faults.burst > 0 { BURST } else { self.profile.loss };
        if loss == Loss::default() {
            return false;
        }
        let bad = &mut self.ways[at].bad;
        *bad = if *bad { !chance(loss.leave, rng) } else { chance(loss.enter, rng) };
        let share = if *bad { loss.bad } else { loss.good };
        chance(share, rng)
    }

    fn delay(&self, rng: &mut Rng) -> u64 {
        let jitter = if self.profile.jitter > 0 { half_normal(self.profile.jitter, rng) } else { 0 };
        let overtaken = if self.faults.reorder > 0 && rng.below(5) == 0 { rng.below(1_000_000) } else { 0 };
        self.profile.delay + jitter + overtaken
    }
}

fn chance(share: u64, rng: &mut Rng) -> bool {
    share > 0 && rng.below(1_000_000) < share
}

/// The size of a normal deviate with this deviation: twelve even ones, added up (Irwin–Hall), so that no platform's
/// mathematics library has a say in what a seed does.
pub fn half_normal(deviation: u64, rng: &mut Rng) -> u64 {
    let mut sum = 0_u64;
    for _ in 0..3 {
        let word = rng.next_u64();
        sum += (0..4).map(|part| (word >> (16 * part)) & 0xFFFF).sum::<u64>();
    }
    sum.abs_diff(6 * 0x1_0000) * deviation / 0x1_0000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{BAD, LAN, OUTAGE, RURAL, THIN};

    fn lost(line: &mut Line, way: Way, packets: u64) -> f64 {
        let mut rng = Rng::new(7);
        let lost = (0..packets).filter(|n| line.carry(n * 1_000_000, way, 0, 300, &mut rng)[0].is_none()).count();
        lost as f64 / packets as f64
    }

    #[test]
    fn loses_and_delays_as_its_profile_says() {
        let rural = lost(&mut Line::new(RURAL, 0), Way::Up, 200_000);
        assert!((rural - 0.036).abs() < 0.003, "{rural}");
        let bad = lost(&mut Line::new(BAD, 0), Way::Down, 200_000);
        assert!((bad - 0.158).abs() < 0.006, "{bad}");
        let mut rng = Rng::new(3);
        let mut jitter: Vec<u64> = (0..100_000).map(|_| half_normal(20_000, &mut rng)).collect();
        jitter.sort_unstable();
        // The half-normal has its median at 0.674 and its 99th percentile at 2.576 deviations.
        assert!(jitter[50_000].abs_diff(13_490) < 400, "{}", jitter[50_000]);
        assert!(jitter[99_000].abs_diff(51_520) < 1_500, "{}", jitter[99_000]);
    }

    #[test]
    fn a_queue_delays_and_then_drops() {
        let mut line = Line::new(THIN, 0);
        let mut rng = Rng::new(1);
        let passed = (0..100).filter(|_| line.carry(0, Way::Up, 0, 1_000, &mut rng)[0].is_some()).count();
        assert!((12..=16).contains(&passed), "sixteen fit the queue, five in a hundred are lost: {passed}");
    }

    #[test]
    fn faults_are_one_way_and_leave_nothing_behind() {
        let mut line = Line::new(LAN, 0);
        let mut rng = Rng::new(1);
        line.faults.cut[Way::Down as usize] += 1;
        assert!(line.troubled());
        assert_eq!(line.carry(0, Way::Down, 0, 100, &mut rng), [None; 2]);
        assert_eq!(line.carry(0, Way::Up, 0, 100, &mut rng), [Some(200), None]);
        line.faults.cut[Way::Down as usize] -= 1;
        assert_eq!((line.troubled(), line.carry(0, Way::Down, 0, 100, &mut rng)[0]), (false, Some(200)));
        let dark = Line::new(OUTAGE, 0);
        assert!(dark.is_dark(7_999_999) && !dark.is_dark(8_000_000) && dark.is_dark(60_000_000));
    }
}
