//! One step of a case's history.

use crate::case::action::{Action, ActionId};
use crate::case::digest::Digest;
use crate::case::state::State;
use crate::event::Text;
use crate::id::{Name, NodeName};
use crate::time::WallTime;

/// One step of a case's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number in the case, from 1, without gaps.
    pub number: u64,
    /// The index in the record of the command that made it; of an acknowledgement, that of its event's admission: where a statement stands is
    /// not kept.
    pub index: u64,
    /// The order that it came with; of an acknowledgement, zero.
    pub id: ActionId,
    /// What was done.
    pub action: Action,
    /// Where the case stood after it.
    pub state: State,
    /// The level after it: how often more help was asked for.
    pub level: u8,
    /// The seat at which it was said.
    pub by: NodeName,
    /// The officer who said it.
    pub officer: Option<Name>,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// When it came to the broker node that proposed it, by its clock; of an acknowledgement, `at`.
    pub heard: WallTime,
    /// What the officer noted; may be empty.
    pub note: Text,
    /// The digest over all of this and the digest of the step before.
    pub digest: Digest,
}

impl Step {
    /// About how many bytes it takes in memory and in a row.
    #[must_use]
    pub fn weight(&self) -> usize {
        let by = match &self.by {
            NodeName::Station(seat) => seat.station.0.as_str().len() + seat.seat.as_str().len(),
            NodeName::Relay(_) | NodeName::Broker { .. } => 0,
        };
        let officer = self.officer.as_ref().map_or(0, |officer| officer.as_str().len());
        FIXED_BYTES + by + officer + self.note.as_str().len() + self.action.detail().len()
    }
}

/// What a step takes beside its texts: 16 bytes of id, 32 of digest, five numbers, the role, and the keys of a row's fields.
const FIXED_BYTES: usize = 160;
