//! A case as it stands, without its history: what brokers tell seats, and what a seat keeps.

use crate::case::action::{CaseNumber, Reason, Verb};
use crate::case::machine::Owner;
use crate::case::state::State;
use crate::id::{EventId, Name, NodeName};
use crate::record::Bond;
use crate::time::WallTime;

/// A case as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The alarm.
    pub event: EventId,
    /// Where it stands.
    pub state: State,
    /// How often more help was asked for.
    pub level: u8,
    /// Whose it is; nobody's before it is taken and after a transfer.
    pub owner: Option<Owner>,
    /// Whether the school asked for it to be cancelled.
    pub cancel_requested: bool,
    /// What the 110 centre calls it.
    pub number_110: Option<CaseNumber>,
    /// Why it was closed, while it is.
    pub reason: Option<Reason>,
    /// How many steps it has.
    pub steps: u64,
    /// The last of them.
    pub last: Option<LastStep>,
    /// What the alarm has to do with an earlier one; of a repeat, whose case it is.
    pub bond: Bond,
    /// How many presses have joined it as repeats; `level` has risen by them.
    pub presses: u32,
    /// Whether an officer said of a drill or a test that it is meant.
    pub live: bool,
}

/// The last step of a case, for whoever is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastStep {
    /// What was done.
    pub verb: Verb,
    /// At which seat.
    pub by: NodeName,
    /// By which officer.
    pub officer: Option<Name>,
    /// When, by the clock of `by`.
    pub at: WallTime,
}

impl Summary {
    /// Whether this was said after `other`, of the same case: a case only ever gets more steps and presses, and a request to
    /// cancel is never taken back.
    #[must_use]
    pub fn is_newer_than(&self, other: &Summary) -> bool {
        (self.steps, self.cancel_requested, self.presses, self.bond)
            > (other.steps, other.cancel_requested, other.presses, other.bond)
    }
}
