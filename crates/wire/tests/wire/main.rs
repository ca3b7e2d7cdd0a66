//! What every version of this crate must hold to: bytes that never change, values that come back, and bad bytes that harm
//! nobody.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "all of this is tests; clippy sees only the functions marked so"
)]

mod cluster;
mod golden;
mod hostile;
mod limits;
mod measured;
mod plan;
mod recorded;
mod roundtrip;
mod samples;
mod samples_command;
