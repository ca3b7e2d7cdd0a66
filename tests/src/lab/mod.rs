//! A small province of real processes: `huxiao lab init`, one process a node, their logs, and a client of their HTTP APIs.
//!
//! Invariants: whatever a test starts ends with it, also when it fails, and then the logs are printed; two labs of one machine
//! never meet on a port.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a harness fails by panicking: that is how a test says what it could not do"
)]

mod binary;
mod dice;
mod dsl;
pub mod http;
mod node;
mod ports;
mod province;
mod socket;
pub mod sse;
mod wall_clock;
mod watch;

pub use binary::program;
pub use dice::{Dice, seed};
pub use dsl::{say, wait_until};
pub use node::{Launcher, Node};
pub use ports::free_block;
pub use province::{Command, Lab, Output, wall_now};
pub use wall_clock::WallClock;
pub use watch::{Manner, Watch};
