//! A station's machine: takes events from the region, keeps them, shows them once, and carries the officers' answers back.
//!
//! Invariants:
//! * An event has one place in the inbox, whatever was repeated underneath.
//! * `DELIVERED` is said only after the event's row is on disk. A screen does not wait for a slow disk for longer than
//!   [`crate::limits::SHOW_WITHOUT_DISK_AFTER`].
//! * What officers did is carried to the region until its record confirms it, and said again should the region have forgotten it.
//! * A self-test is shown as far as machines go, and rings nobody: it counts as displayed by itself.
//! * An alarm that nobody has taken is asked about, so that an answer given elsewhere is not missed.

mod case;
mod commands;
mod drills;
#[cfg(test)]
mod drills_tests;
mod escalate;
mod hearing;
mod history;
mod inbox;
mod machine;
mod officer;
mod port;
mod row;
#[cfg(test)]
mod tests;

pub use machine::Station;
pub use port::{
    AckError, AckTicket, Acknowledged, CaseDone, CaseError, CommandFailure, DrillError, EscalateError, HistoryError,
    Input, Output, Report, StationConfig, Write,
};
pub use row::InboxRow;
