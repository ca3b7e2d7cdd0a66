//! The record's state machine: what a region knows, as a function of an ordered log of [`Command`]s.
//!
//! Invariant: [`RecordState::apply`] is pure, and so is what leaves the record for the archive. The same commands in the same order
//! give the same state on every node, so an engine that orders commands (one node's log, or a consensus among several) is all that
//! is needed around it. Time enters only inside commands.
//!
//! # Who owns an alarm
//!
//! The officer whose acknowledgement the log orders first, and nobody else ever. What clocks say does not count: an acknowledgement that
//! was taken by a node without quorum and is older by its stamp does not overtake one that the record holds. Every later
//! acknowledgement by another seat is kept as [`Standing::Assisting`](crate::Standing::Assisting), and both seats and the relay are told
//! who owns and who assists.
//!
//! # What leaves the record
//!
//! Finished events whose case is closed leave for the archive oldest first, beyond [`RecordLimits::finished`]. Those that an officer has and
//! whose case is open stay while there is room, and leave when nothing closed is left to make it. The case of an event that has left can
//! only be looked at. One whose history is long leaves in several rows with consecutive archive numbers ([`Entry::parts`]).
//!
//! # An engine keeps to three rules
//!
//! * An index is never used twice, since stations resume at indexes. Gaps are allowed.
//! * A command may be committed more than once, and in whatever order proposals came through: the second time it changes nothing, and
//!   a statement about an event that is not there yet changes nothing.
//! * A command that this version does not know ends the node; a state built without it would be another.

mod archived;
mod cases;
mod command;
mod commands;
mod drills;
mod entry;
mod image;
mod joining;
mod pages;
mod plan;
mod shelf;
mod state;
mod troubles;
mod untested;

pub use cases::Acted;
pub use command::{Admission, Command};
pub use commands::{CommandBook, CommandEntry};
pub use drills::{Tested, Tests};
pub use entry::{Entry, Escalation, Part};
pub use image::{Image, ImageError};
pub(crate) use joining::joins;
pub use joining::{Bond, rise};
pub use pages::{Cursor, CursorError, EventFilter, Page, Slice};
pub use plan::{
    ApplyPlan, PlanDigest, PlanImage, PlanOutcome, PlanRefusal, PlanState, PlanVersion, StageId, StagePlan, Staged,
};
pub use state::{Applied, Effect, RecordLimits, RecordState};
pub use untested::{Untested, overdue_since, untested};

#[cfg(test)]
mod tests;
