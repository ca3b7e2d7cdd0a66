//! What can go wrong with lines and disks, for a while.

use crate::line::{Line, Nat, Way};
use crate::node::Node;

/// A fault that begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing passes, one way.
    Cut(usize, Way),
    /// Nothing passes.
    Dead(usize),
    /// Nothing passes between a line and one broker node.
    Parted(usize, usize),
    /// Long bursts of loss.
    Burst(usize),
    /// Packets come twice.
    Duplicate(usize),
    /// Packets overtake each other.
    Reorder(usize),
    /// 64 kbit/s.
    Narrow(usize),
    /// What carries receipts is lost on the way back.
    NoReceipts(usize),
    /// A NAT that forgets.
    Nat(usize, Nat),
    /// A broker node and the others of its region do not hear each other.
    Isolated(usize),
    /// No broker node hears another: there is no quorum.
    Split,
    /// A disk that takes little.
    Disk(Node),
    /// A disk that takes its time.
    Slow(Node),
}

impl Fault {
    /// The line that it befalls.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Cut(line, _)
            | Self::Dead(line)
            | Self::Parted(line, _)
            | Self::Burst(line)
            | Self::Duplicate(line)
            | Self::Reorder(line)
            | Self::Narrow(line)
            | Self::NoReceipts(line)
            | Self::Nat(line, _) => Some(*line),
            Self::Isolated(_) | Self::Split | Self::Disk(_) | Self::Slow(_) => None,
        }
    }

    /// Begins or ends on a line.
    pub fn befall(&self, line: &mut Line, begins: bool, now: u64) {
        let step = |count: &mut u32| if begins { *count += 1 } else { *count = count.saturating_sub(1) };
        let faults = &mut line.faults;
        match self {
            Self::Cut(_, way) => step(&mut faults.cut[*way as usize]),
            Self::Dead(_) => faults.cut.iter_mut().for_each(step),
            Self::Parted(_, broker) => faults.cut_broker.get_mut(*broker).into_iter().for_each(step),
            Self::Burst(_) => step(&mut faults.burst),
            Self::Duplicate(_) => step(&mut faults.duplicate),
            Self::Reorder(_) => step(&mut faults.reorder),
            Self::Narrow(_) => step(&mut faults.narrow),
            Self::NoReceipts(_) => step(&mut faults.no_receipts),
            Self::Nat(_, nat) => faults.nat = begins.then_some(*nat),
            Self::Isolated(_) | Self::Split | Self::Disk(_) | Self::Slow(_) => {}
        }
        line.well_since = if line.troubled() { None } else { line.well_since.or(Some(now)) };
    }
}
