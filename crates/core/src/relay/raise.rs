//! What a presser asks for and what it is told.

use crate::event::{Details, Kind, Mode, Text};
use crate::id::{EventId, Name};
use crate::limits;
use crate::plan::Withheld;

/// By which an answer finds its asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A press, or whatever else an intake saw. Presses that are equal are of one button.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Press {
    /// What happened; one that this version knows.
    pub kind: Kind,
    /// Whether it is meant.
    pub mode: Mode,
    /// The button or sensor.
    pub device: Option<Name>,
    /// The part of the school.
    pub zone: Option<Name>,
    /// Free text; may be empty.
    pub note: Text,
    /// What it says beyond that.
    pub details: Details,
}

/// The event is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raised {
    /// Its id.
    pub id: EventId,
    /// Whether an earlier request had raised it: one with the same key, or one that this press joined.
    pub repeated: bool,
    /// Whether the button sticks, so that this press joined the button's last event ([`limits::PRESSES_APART`]). It is in the count of
    /// an event that follows.
    pub joined: bool,
}

/// Why an event is not (surely) kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RaiseError {
    /// It is on its way all the same; only this node's disk does not hold it.
    #[error("event {id} is being sent, but could not be kept here: {why}; if no screen shows it, dial 110")]
    NotKept {
        /// The event.
        id: EventId,
        /// What the disk said.
        why: String,
    },
    /// The outbox has no room for its class; P0 has room of its own.
    #[error("the outbox is full: {open} events wait for a station; if this is an alarm, dial 110")]
    Full {
        /// Unfinished events in it.
        open: usize,
    },
    /// Use a new key for a new event.
    #[error("this Idempotency-Key was used for another event ({id}); use a new key for a new event")]
    KeyReused {
        /// That event.
        id: EventId,
    },
    /// Shorten the key.
    #[error("an Idempotency-Key has at most {limit} bytes, this one has {len}", limit = limits::IDEMPOTENCY_KEY_BYTES)]
    KeyTooLong {
        /// The bytes that it has.
        len: usize,
    },
    /// The school's plan says not to tell of it. It is counted, and nothing else.
    #[error(transparent)]
    Withheld(Withheld),
    /// A kind that this version cannot class.
    #[error("{0} is not a kind that this relay can raise")]
    UnknownKind(Kind),
}
