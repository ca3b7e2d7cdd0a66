//! A broker node's machine: takes events from relays, forwards them to stations at once, hands them to the record, and passes
//! back what became of them.
//!
//! Invariants:
//! * The express lane waits for nothing: an event goes to its stations in the step in which it came.
//! * `STORED` is said only of what the record's engine has given back as committed, and a station's statement is confirmed only
//!   when the record holds it.
//! * What came in, and what was said of it, waits until the record has it: handed to it again and again, and on this node's disk
//!   meanwhile when there is no quorum. Only then is anything said of it that is not in the record, and it is said to be provisional.
//! * Who a peer is comes from its certificate. A relay raises and asks for its own events only, a station hears and speaks only
//!   of what is routed to it.
//! * A relay's flood takes its own room, not that of others.

mod cases;
mod climbs;
mod command_deadlines;
mod command_receipts;
mod commands;
mod commit;
mod degraded;
mod desk;
mod drill_orders;
mod drills;
mod endings;
mod gate;
mod intake;
mod invariants;
#[cfg(test)]
mod levels_tests;
mod machine;
mod notices;
mod older;
mod pictures;
mod plans;
mod port;
mod province;
mod recall;
#[cfg(test)]
mod region_tests;
mod regions;
mod restore;
mod seats;
mod sessions;
#[cfg(test)]
mod tests;
mod timers;
mod troubles;
mod upward;
mod waiting;

pub use desk::DeskView;
pub use drill_orders::command as drill_command;
pub use drills::DrillView;
pub use machine::Broker;
pub use port::{
    BrokerConfig, Input, JournalId, NotCommitted, Output, ProvinceConfig, RecallTicket, Report, SnapshotTicket,
};
pub use upward::ProvinceView;
