//! Commands: what a station has a school's relay do, from the officer who gives one to the school that has done it.
//!
//! ```text
//!  officer ─► seat (signs) ─► broker node ─► record ─► relay (checks the signature, keeps it) ─► output program
//!     ◄────────────────── stored ◄───────────┘                │
//!     ◄────────────────── accepted, queued, playing, finished │ failed │ stopped │ expired │ refused
//! ```
//!
//! A command is made once, by the seat at which it is given: its bytes are what is signed, kept and sent on, so no broker node can forge or
//! change one, and an older one passes on the fields that it does not understand.
//!
//! Invariants:
//! * A command has one identity everywhere, so saying it again is harmless, and a school carries it out once.
//! * A command past its time to live is never carried out. Its life is counted from when the region heard of it; how much is left travels
//!   with each copy, so a school's clock plays no part.
//! * [`CommandStage::may_follow`] is the whole order of stages; the record holds no receipt that it does not allow.

mod instruction;
mod order;
mod receipt;
mod refusal;
mod state;

pub use instruction::{
    CommandKind, Content, Instruction, InstructionError, Media, NoticeAction, Priority, Sha256Digest,
};
pub use order::{AreaPrefix, CommandError, CommandId, SchoolCommand, SealedCommand, Target};
pub use receipt::{CommandReceipt, CommandStage};
pub use refusal::CommandRefusal;
pub use state::{CommandState, Progress, SchoolStage};

#[cfg(test)]
mod tests;
