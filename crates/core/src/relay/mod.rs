//! The relay's machine: takes presses, keeps them, sends them, and tells the presser how far they came.
//!
//! Invariants:
//! * An event is answered "kept" only after its row is on disk; it is put on the wire without waiting for that.
//! * It is carried until the region's record has it, and leaves the outbox only when it is finished: taken by an officer, or,
//!   where nobody need take it, in the record and on a station's disk.
//! * What the region says it does not know is sent again, as long as it is not finished.
//! * A press is meant unless this relay was told of a drill that is on and lists its button, or was switched to tests.
//! * A button that sticks raises a handful of events and then one a second; their counts add up to its presses.

mod buttons;
mod commands;
mod intake;
mod machine;
mod modes;
#[cfg(test)]
mod modes_tests;
mod persons;
mod pin;
mod playing;
mod port;
mod raise;
mod region;
pub mod roster;
mod row;
mod school;
#[cfg(test)]
mod school_tests;
mod self_test;
#[cfg(test)]
mod stuck_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_support;
mod view;

pub use commands::{CommandRow, CommandView};
pub use machine::Relay;
pub use modes::ModeView;
pub use pin::PinTries;
pub use playing::{Ended, Play};
pub use port::{Input, Output, RelayConfig, Report, Write};
pub use raise::{Press, RaiseError, Raised, Ticket};
pub use roster::{HOMES, Roster};
pub use row::RelayRow;
pub use view::EventView;
