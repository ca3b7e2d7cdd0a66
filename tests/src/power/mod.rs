//! Power cuts: a file system that forgets whatever was not synced, and victims that write to it when the power goes.
//!
//! `kill -9` proves little about power, because the page cache survives it. Here the store stands on a FUSE file system with two
//! images ([`Disk`]): what processes see, and what survives. At a cut every operation fails from one instant on, and only the
//! second image comes back.
//!
//! The same file system can also be slow: `power::remote::Remote::delay_syncs`.
//!
//! Invariant: nothing that a process was told to be synced is ever forgotten, so what is missing after a cut was lost by whoever
//! wrote it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a harness fails by panicking: that is how a test says what it could not do"
)]

#[cfg(feature = "privileged")]
mod child;
mod contents;
mod disk;
#[cfg(feature = "privileged")]
mod history;
#[cfg(feature = "privileged")]
mod ledger;
#[cfg(feature = "privileged")]
mod log;
#[cfg(feature = "privileged")]
mod mount;
mod names;
#[cfg(feature = "privileged")]
mod rows;
#[cfg(feature = "privileged")]
mod script;
#[cfg(feature = "privileged")]
pub mod victim;

pub use disk::{Disk, Fault, Fuse, Ino, Kind, ROOT};
#[cfg(feature = "privileged")]
pub use history::{History, SledFate, Tally, Usual, cut_plain_sled, usual};
#[cfg(feature = "privileged")]
pub use log::{LogHistory, LogTally};
#[cfg(feature = "privileged")]
pub use mount::{Mounted, Remote, available};
#[cfg(feature = "privileged")]
pub use script::{Profile, Role};
