//! What nodes say to each other, in domain types. Wire types stop at the border.
//!
//! Invariant: every message stands for itself. Messages of one session may arrive in any order and more than once.

use crate::event::Sealed;
use crate::id::{EventId, RecordId};
use crate::receipt::{Receipt, Stage, Trail};
use crate::time::WallTime;

/// The minor version of `huxiao.v1` that this version speaks. Rises when messages or fields are added.
pub const WIRE_MINOR: u32 = 2;

/// One message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first thing that each side says.
    Hello(Hello),
    /// Relay to broker, broker to station: one copy of an event.
    Event(EventCopy),
    /// Broker to relay, station to broker, broker to station: stages that events have reached.
    Receipts(Vec<Receipt>),
    /// Broker to station: these statements of yours are in the record; keep them no longer. Relay to broker: these receipts have come.
    Confirmed(Vec<(EventId, Stage)>),
    /// Relay to broker: how far are these? Answered by `Receipts` and `Unknown`. Station to broker: what became of these alarms?
    /// Answered by `Receipts`.
    Inquire(Vec<EventId>),
    /// Broker to relay: these are not in the record; send them (again). Broker to station: nothing is known of these here.
    Unknown(Vec<EventId>),
    /// Broker to relay: this event is not taken.
    Refused(EventId, Refusal),
    /// How is the path? Answered at once by `Echo` with the same number. Whoever dialled asks.
    Probe(u64),
    /// The answer to a probe.
    Echo(Echo),
    /// Broker to station: whatever the record holds for you up to this index, you have.
    Mark(Resume),
}

/// How a session begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The sender's software, for logs.
    pub software: String,
    /// The minor version of `huxiao.v1` that the sender speaks.
    pub wire_minor: u32,
    /// From a station: how much of which record it has.
    pub resume: Option<Resume>,
}

/// The answer to a probe: enough to tell the round trip from the difference of the two clocks (RFC 5905 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Echo {
    /// The number of the probe.
    pub number: u64,
    /// When the probe came, by the clock of whoever answers.
    pub received: WallTime,
    /// When the answer left, by the same clock.
    pub sent: WallTime,
}

/// A point in one life of a region's record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resume {
    /// Which record.
    pub record: RecordId,
    /// All up to and with this index.
    pub index: u64,
}

/// One copy of an event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventCopy {
    /// The event.
    pub sealed: Sealed,
    /// Where this copy has been.
    pub trail: Trail,
    /// Broker to station: what was known of the event when this copy was sent.
    pub receipts: Vec<Receipt>,
}

/// Why an event is not taken. Its relay keeps it and says so; asking again is allowed, but slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Refusal {
    /// A relay raises for its own school only.
    #[error("the event is for another school than the relay's certificate")]
    OtherSchool,
    /// The event names another relay than the certificate.
    #[error("the event names another relay than the certificate")]
    OtherRelay,
    /// With an expired certificate, only P0 is taken.
    #[error("the relay's certificate has expired; only P0 is taken from it")]
    Expired,
    /// The node has no room but for P0.
    #[error("the broker's disk is nearly full; only P0 is taken")]
    NoRoom,
    /// Something this version has no name for.
    #[error("refused for a reason that this version does not know")]
    Other,
}

impl Refusal {
    /// Its name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Refusal::OtherSchool => "other_school",
            Refusal::OtherRelay => "other_relay",
            Refusal::Expired => "expired",
            Refusal::NoRoom => "no_room",
            Refusal::Other => "other",
        }
    }
}
