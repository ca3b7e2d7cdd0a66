//! A broker node's machine: takes events from relays, forwards them to stations at once, hands them to the record, and passes
//! back what became of them.
//!
//! Invariants:
//! * The express lane waits for nothing: an event goes to its stations in the step in which it came.
//! * `STORED` is said only of what the record's engine has given back as committed, and a station's statement is confirmed only
//!   when the record holds it.
//! * Who a peer is comes from its certificate. A relay raises and asks for its own events only, a station hears and speaks only
//!   of what is routed to it.
//! * A relay's flood takes its own room, not that of others.

mod commit;
mod desk;
mod gate;
mod intake;
mod machine;
mod port;
mod seats;
#[cfg(test)]
mod tests;

pub use desk::DeskView;
pub use machine::Broker;
pub use port::{BrokerConfig, Input, Output, Report};
