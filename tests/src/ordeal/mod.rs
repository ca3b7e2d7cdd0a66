//! The ordeal of a region: real processes on hosts of their own, a load of presses and officers, one fault after the other, and a
//! judgement of all that was promised meanwhile.
//!
//! Invariants: what is judged is only what a client saw; the sequence of faults comes from the seed alone; whatever is started
//! ends with the run.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a harness fails by panicking: that is how a test says what it could not do"
)]

#[cfg(feature = "privileged")]
mod casework;
#[cfg(feature = "privileged")]
mod chronicle;
pub mod figures;
#[cfg(feature = "privileged")]
mod guard;
pub mod history;
pub mod judge;
#[cfg(feature = "privileged")]
mod keeper;
#[cfg(feature = "privileged")]
mod load;
#[cfg(feature = "privileged")]
mod nemesis;
pub mod ownership;
#[cfg(feature = "privileged")]
mod run;
pub mod schedule;
#[cfg(feature = "privileged")]
mod site;
#[cfg(feature = "privileged")]
mod survey;

#[cfg(feature = "privileged")]
pub use run::{Options, run};
