//! What is held against every world, and what a failure says.

use std::fmt;

use huxiao_core::EventId;

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// Nothing that a relay called kept is lost.
    Kept,
    /// Nothing that a broker node called stored is lost.
    Stored,
    /// What a node without a quorum said that it has is in the record in the end.
    Journalled,
    /// What enters the record enters it once.
    Once,
    /// All nodes have the same record in the end.
    SameRecord,
    /// A receipt about a disk is said only when that disk has it.
    Durable,
    /// A seat shows an event once.
    ShownTwice,
    /// A key of a press raises one event.
    OneEvent,
    /// An alarm reaches its stations within what its links allow.
    InTime,
    /// When faults stop, all is said and done, and nothing more is sent or written.
    Drains,
    /// An officer who was told to have an alarm is on record with it, and whoever came first in the log owns it.
    Owner,
    /// Nobody wakes or sends more often than there is reason for.
    Storm,
    /// A machine's own invariants hold.
    Invariant,
    /// No peer says what its role does not say.
    Proper,
}

impl Check {
    /// All of them, with what each says.
    pub const ALL: [(Check, &'static str); 14] = [
        (Check::Kept, "kept: what a relay called kept is not lost, and comes to an end"),
        (Check::Stored, "stored: what a broker node called stored is not lost"),
        (Check::Journalled, "journalled: what a node without a quorum said that it has is in the record in the end"),
        (Check::Once, "once: what enters the record enters it once"),
        (Check::SameRecord, "same-record: when all is said, every node has the same record"),
        (Check::Durable, "durable: a receipt about a disk is said only when that disk has it"),
        (Check::ShownTwice, "shown-twice: a seat shows an event once"),
        (Check::OneEvent, "one-event: a key of a press raises one event"),
        (Check::InTime, "in-time: an alarm reaches each of its stations within what its links allow"),
        (Check::Drains, "drains: when faults stop, queues drain, and then nothing is sent or written"),
        (Check::Owner, "owner: an alarm is whose word came first in the log, and who was told to have it is on record"),
        (Check::Storm, "storm: nobody wakes or sends more often than there is reason for"),
        (
            Check::Invariant,
            "invariant: each machine's own invariants hold after every step (of days beyond two hours every 25th)",
        ),
        (Check::Proper, "proper: no peer says what its role does not say"),
    ];
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Self::ALL.iter().find(|(check, _)| check == self).map_or("", |(_, words)| words);
        f.write_str(words.split(':').next().unwrap_or_default())
    }
}

/// A promise that was broken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{check}: {what}")]
pub struct Failure {
    /// Which.
    pub check: Check,
    /// The event that it is about.
    pub event: Option<EventId>,
    /// How.
    pub what: String,
}

impl Failure {
    /// About an event.
    pub fn of(check: Check, event: EventId, what: impl Into<String>) -> Self {
        Self { check, event: Some(event), what: what.into() }
    }

    /// About no event in particular.
    pub fn new(check: Check, what: impl Into<String>) -> Self {
        Self { check, event: None, what: what.into() }
    }
}

/// What a step of a world comes to.
pub type Outcome = Result<(), Failure>;
