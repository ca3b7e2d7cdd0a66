//! What a broker node is told, what it wants done, and what it reports.

use crate::event::{Class, Sealed};
use crate::id::{EventId, Name, NodeName, PathId, RecordId, StationId};
use crate::message::{Message, Refusal};
use crate::path::{Form, PathInfo};
use crate::plan::Plan;
use crate::receipt::Receipt;
use crate::record::Command;

/// What a broker node is told once.
pub struct BrokerConfig {
    /// Its region.
    pub region: Name,
    /// Its name in the region.
    pub node: Name,
    /// Which record this is.
    pub record: RecordId,
    /// Seed of all that is random.
    pub seed: u64,
    /// What it calls itself in greetings.
    pub software: String,
}

/// What the world tells a broker node.
#[derive(Debug)]
pub enum Input {
    /// A session with a relay or a station is there; who it is stands in its certificate.
    SessionUp {
        /// The session.
        path: PathId,
        /// The peer.
        peer: NodeName,
        /// What kind of session.
        info: PathInfo,
        /// Whether its certificate is out of date: only P0 is taken then.
        expired: bool,
    },
    /// It is gone.
    SessionDown(PathId),
    /// A peer said something.
    Message(PathId, Message),
    /// The record's engine has made this command durable, at this index.
    Committed(u64, Command),
    /// The record's engine could not take what it was handed; `shed` if for want of room that P0 still has.
    NotCommitted {
        /// What it was handed.
        command: Command,
        /// Whether P0 would still be taken.
        shed: bool,
        /// What the engine said.
        why: String,
    },
    /// A new plan is in force.
    Plan(Plan),
}

/// What a broker node wants done.
#[derive(Debug)]
pub enum Output {
    /// Make this durable and give it back with [`Input::Committed`], or say [`Input::NotCommitted`]: one of the two always comes, or
    /// the node ends.
    Propose(Command),
    /// The log needs these indexes no longer.
    Forget(Vec<u64>),
    /// Send this.
    Send(PathId, Class, Form, Message),
    /// Something that people and metrics want to know.
    Report(Report),
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An event came in for the first time, and goes to these stations.
    Received(Sealed, Vec<StationId>),
    /// No plan names a station for it: it is kept, and somebody must act.
    NoRoute(Sealed),
    /// It is in the record.
    Stored(Sealed),
    /// A station said something of it.
    Noted(Sealed, Receipt),
    /// A copy of an event that is known already.
    Duplicate(EventId),
    /// An event was not taken.
    Refused(NodeName, EventId, Refusal),
    /// A peer said what it may not say; it was ignored.
    Improper(NodeName, &'static str),
    /// The record's engine could not take an event. It goes to its stations all the same.
    NotStored(EventId, String),
}
