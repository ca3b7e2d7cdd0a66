//! Which fault when, and for how long: from the seed alone.

use std::time::Duration;

use crate::lab::Dice;

/// What can happen to a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The leader is killed, and started again.
    KillLeader,
    /// A follower is killed, and started again.
    KillFollower,
    /// Each node in turn is killed and started again.
    KillEach,
    /// The leader stands still, and goes on as if nothing had been.
    Pause,
    /// The leader and its followers do not hear each other; relays and stations hear all.
    CutLeader,
    /// The followers do not hear the leader, which hears them.
    OneWay,
    /// A relay and the leader do not hear each other.
    RelayFromLeader,
    /// A seat hears one node only.
    StationFromTwo,
    /// A node's wall clock jumps ten minutes, one way and then the other.
    ClockJump,
    /// The leader's disk takes a third of a second for a sync.
    SlowDisk,
    /// A node's disk is full.
    DiskFull,
    /// All nodes are killed at one moment, as by a power cut, and started again.
    RestartAll,
    /// One node after the other is stopped in good order and started again, the leader last.
    RollingRestart,
    /// A node loses its disk, and is replaced.
    Replace,
    /// Two nodes are dead for a while.
    QuorumLoss,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 15] = [
        Fault::KillLeader,
        Fault::KillFollower,
        Fault::KillEach,
        Fault::Pause,
        Fault::CutLeader,
        Fault::OneWay,
        Fault::RelayFromLeader,
        Fault::StationFromTwo,
        Fault::ClockJump,
        Fault::SlowDisk,
        Fault::DiskFull,
        Fault::RestartAll,
        Fault::RollingRestart,
        Fault::Replace,
        Fault::QuorumLoss,
    ];

    /// Its name on the command line and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::KillLeader => "kill-leader",
            Fault::KillFollower => "kill-follower",
            Fault::KillEach => "kill-each",
            Fault::Pause => "pause",
            Fault::CutLeader => "cut-leader",
            Fault::OneWay => "one-way",
            Fault::RelayFromLeader => "relay-from-leader",
            Fault::StationFromTwo => "station-from-two",
            Fault::ClockJump => "clock-jump",
            Fault::SlowDisk => "slow-disk",
            Fault::DiskFull => "disk-full",
            Fault::RestartAll => "restart-all",
            Fault::RollingRestart => "rolling-restart",
            Fault::Replace => "replace",
            Fault::QuorumLoss => "quorum-loss",
        }
    }

    /// How long it lasts in a long run.
    fn holds(self) -> Duration {
        Duration::from_secs(match self {
            Fault::QuorumLoss => 300,
            Fault::Pause | Fault::DiskFull | Fault::SlowDisk | Fault::ClockJump => 30,
            Fault::CutLeader | Fault::OneWay | Fault::RelayFromLeader | Fault::StationFromTwo => 20,
            Fault::KillLeader | Fault::KillFollower | Fault::RestartAll | Fault::Replace => 5,
            // Their length is that of what they do.
            Fault::KillEach | Fault::RollingRestart => 1,
        })
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|fault| fault.name() == text).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            format!("{text:?} is not a fault; faults are {known}")
        })
    }
}

/// One fault of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub fault: Fault,
    /// How long it lasts before it is healed.
    pub hold: Duration,
    /// How long all is well before the next one.
    pub rest: Duration,
    /// What chooses among those whom it may hit.
    pub dice: u64,
}

/// A run below this length hurries, so that every fault has its turn.
const SHORT: Duration = Duration::from_secs(10 * 60);
/// The longest that a fault lasts in a short run.
const SHORT_HOLD: Duration = Duration::from_secs(6);

/// The faults of a run of about `length`, those of `only` or all if it is empty: each once in a random order, then any. A run is at
/// least one fault of each, however short it was asked to be.
#[must_use]
pub fn schedule(seed: u64, length: Duration, only: &[Fault], loss: Option<Duration>) -> Vec<Step> {
    let mut dice = Dice::new(seed);
    let faults = if only.is_empty() { &Fault::ALL[..] } else { only };
    let mut order = faults.to_vec();
    for at in (1..order.len()).rev() {
        let other = usize::try_from(dice.below(at as u64 + 1)).unwrap();
        order.swap(at, other);
    }
    let mut steps = Vec::new();
    let mut sum = Duration::ZERO;
    while steps.len() < order.len() || sum < length {
        let fault = order.get(steps.len()).copied().unwrap_or_else(|| *dice.pick(faults));
        let whole = match (fault, loss) {
            (Fault::QuorumLoss, Some(loss)) => loss,
            _ if length < SHORT => fault.holds().min(SHORT_HOLD),
            _ => fault.holds(),
        };
        let jitter = if whole > Duration::from_secs(2) { dice.time(Duration::from_secs(1)) } else { Duration::ZERO };
        let rest = Duration::from_secs(1) + dice.time(Duration::from_secs(2));
        let step = Step { fault, hold: whole + jitter, rest, dice: dice.below(u64::MAX) };
        // Healing takes a while besides; what it takes is not known before.
        sum += step.hold + step.rest + Duration::from_secs(2);
        steps.push(step);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_turn_and_the_seed_decides_the_order() {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for length in [Duration::ZERO, minutes(2), minutes(30)] {
            let steps = schedule(7, length, &[], None);
            assert_eq!(steps, schedule(7, length, &[], None), "the same seed");
            assert_ne!(steps, schedule(8, length, &[], None), "another seed");
            let mut first: Vec<Fault> = steps.iter().take(Fault::ALL.len()).map(|step| step.fault).collect();
            first.sort();
            assert_eq!(first, Fault::ALL, "each once before any twice");
            let sum: Duration = steps.iter().map(|step| step.hold + step.rest).sum();
            assert!(sum < length + minutes(8), "{sum:?}");
        }
        let long = schedule(7, minutes(60), &[], None);
        assert!(long.iter().any(|step| step.fault == Fault::QuorumLoss && step.hold >= minutes(5)));
        assert!(long.len() > 2 * Fault::ALL.len());
    }

    #[test]
    fn a_run_of_one_fault_repeats_it() {
        let steps = schedule(1, Duration::from_secs(60), &[Fault::Pause], None);
        assert!(steps.len() > 3 && steps.iter().all(|step| step.fault == Fault::Pause), "{steps:?}");
        let loss = schedule(1, Duration::ZERO, &[Fault::QuorumLoss], Some(Duration::from_secs(77)));
        assert!(loss[0].hold >= Duration::from_secs(77) && loss.len() == 1);
    }

    #[test]
    fn names_lead_back_to_their_faults() {
        for fault in Fault::ALL {
            assert_eq!(fault.name().parse(), Ok(fault));
        }
        assert!("kill-leaders".parse::<Fault>().unwrap_err().contains("kill-leader, "));
    }
}
