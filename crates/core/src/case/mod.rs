//! The case (警情): what the police do about an alarm, from the officer who takes it to its closing.
//!
//! ```text
//!            acknowledge     dispatch       enroute      onscene      handled       close
//!   RAISED ──────────► ACKNOWLEDGED ──► DISPATCHED ──► ENROUTE ──► ONSCENE ──► HANDLED ──► CLOSED
//!     ▲                     ▲    │           └──────── onscene ──────▲                        │
//!     │  transfer: from any   │    └── close, from any state between, with a reason ───────────►│
//!     └─ state between        └──────────────── reopen, within ten minutes ─────────────────────┘
//! ```
//!
//! `take_over` changes the owner and no state (after a transfer: RAISED → ACKNOWLEDGED), `need_help` raises the level, `note` and `number`
//! change neither. What became of the alarm before RAISED stands in its receipts. The school's request to cancel sets a flag and closes nothing.
//!
//! Invariants:
//! * A case is a function of the record's order: the same commands in the same order make the same case, digests included, on every node.
//! * Its history is only ever added to. Each step holds the digest of the one before it, the first that of the event's bytes.
//! * An action is carried out once: what is said again, taken or refused, has the answer that it had.

mod action;
mod digest;
mod history;
mod machine;
mod refusal;
mod state;
mod step;
mod summary;
#[cfg(test)]
mod tests;

pub(crate) use action::named;
pub use action::{Action, ActionId, CaseNumber, CaseNumberError, CaseOrder, Reason, Verb};
pub use digest::{Digest, digest_of, genesis};
pub use history::{ChainError, History, verify};
pub use machine::{Case, Owner};
pub use refusal::CaseRefusal;
pub use state::{State, next};
pub use step::Step;
pub use summary::{LastStep, Summary};
