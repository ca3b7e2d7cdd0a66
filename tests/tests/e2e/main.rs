//! End-to-end tests: real processes on this machine, named after the failures that they stage.
//!
//! None asserts how fast something is: limits of time are generous and only there to end a hang.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "these are tests; clippy takes only functions marked as such for tests"
)]

mod blocked_udp;
mod case;
mod clock;
mod commands;
mod damage;
mod drill;
mod hostile;
mod kill_nine;
mod lab_and_config;
mod lifecycle;
mod overdue;
mod pictures;
mod plan;
mod province;
mod region;
mod report;
mod rogue;
mod school;
mod signatures;
mod supervision;
mod troubles;
mod whole_way;
mod wrong_clock;

use std::time::Duration;

/// Nothing in these tests takes this long unless it hangs.
const PATIENCE: Duration = Duration::from_secs(40);
