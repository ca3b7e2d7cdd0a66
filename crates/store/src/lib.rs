//! The durable store of a node: outbox, inbox, journal and archive, on sled, with what sled lacks built around it; and beside it
//! what a record needs that sled is no good for: a write-ahead log ([`wal`]) and files that are there whole ([`durable_file`]).
//!
//! What is promised: after `done(Ok(()))` of a [`Store::commit`] the batch is on stable storage; what was promised and is gone
//! all the same (a dying card, a flipped bit) is noticed at the next [`open`], repaired as far as the black box reaches and
//! reported as a [`Loss`], and never stops the node.
//!
//! A store's folder:
//!
//! | name | what |
//! | --- | --- |
//! | `database/` | sled's files; every value in a checksummed frame, and a tally of all of them |
//! | `witness` | two marks (the tally again, synced after the database) and the black box, a ring of 4 KiB blocks |
//! | `ballast` | space that is given up when the disk is full, so that alarms still fit |
//! | `quarantine/` | damaged databases, as they were found, with `loss.json`; never deleted by the store |
//! | `database.*` | a database on its way into its place; the next opening settles it |
//! | `lock` | held while the store is open |
//! | `bodies/` | large contents as files, if [`Bodies`] is used with this folder |

#[cfg(test)]
mod tests;

mod block;
mod bodies;
mod changes;
mod check;
mod config;
mod engine;
mod error;
mod frame;
mod key;
mod loss;
mod nudge;
mod open;
mod rebuild;
mod ring;
mod salvage;
mod snapshot;
mod space;
mod store;
mod tally;
mod trial;
mod witness;
mod writer;

pub mod durable_file;
pub mod memory;
pub mod wal;

pub use block::BLACK_BOX_VALUE_BYTES;
pub use bodies::{Bodies, BodyError};
pub use check::{CheckReport, check};
pub use config::{Config, Observation, Observer, Trial};
pub use error::{CommitError, OpenError, StoreError};
pub use frame::{FRAME_OVERHEAD, VALUE_BYTES};
pub use key::{Batch, Key, Put, Space};
pub use loss::{Loss, LossKind};
pub use open::{Opened, open};
pub use salvage::{Found, Inspection, Origin, Salvaged, inspect, salvage};
pub use space::{Probe, Usage, system_probe};
pub use store::{
    BATCH_BYTES, BATCH_ROWS, Backend, CANARY_LIMIT, Done, Health, QUEUE_BATCHES, QUEUE_BYTES, State, Store,
};
