//! What a broker node is told, what it wants done, and what it reports.

use std::sync::Arc;

use crate::case::{CaseRefusal, Verb};
use crate::command::{CommandKind, CommandReceipt, CommandRefusal, SealedCommand};
use crate::drill::Drill;
use crate::event::{Class, Sealed};
use crate::id::{EventId, Name, NodeName, PathId, StationId};
use crate::message::{Degraded, Message, Refusal};
use crate::overdue::Rung;
use crate::path::{Form, PathInfo};
use crate::plan::Plan;
use crate::receipt::Receipt;
use crate::record::{Command, Entry, PlanRefusal, RecordState};
use crate::signature::{Flaw, Verdict};
use crate::trouble::Told;
use crate::video::Look;

/// The level above a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvinceConfig {
    /// Its region.
    pub region: Name,
    /// The lowest class of events that it must have too. Only used for admissions of this node: what is owed is part of each.
    pub lowest: Class,
}

/// What a broker node is told once.
pub struct BrokerConfig {
    /// Its region.
    pub region: Name,
    /// Its name in the region.
    pub node: Name,
    /// The province that this region forwards to, if it has one.
    pub province: Option<ProvinceConfig>,
    /// Seed of all that is random.
    pub seed: u64,
    /// What it calls itself in greetings.
    pub software: String,
}

/// Which row of a node's journal. Rises with each; never used twice while its row is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId(pub u64);

/// By which a snapshot finds whoever asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SnapshotTicket(pub u64);

/// By which the archive's answer finds the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecallTicket(pub u64);

/// Why a command is not in the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotCommitted {
    /// No leader is known, or the leader has no quorum.
    #[error("the region has no quorum")]
    NoQuorum,
    /// No answer came in time. It may have been committed all the same.
    #[error("no answer came in time")]
    Unknown,
    /// The disk is nearly full: P0 would still be taken.
    #[error("the disk is nearly full")]
    Shed,
    /// Something else, in words.
    #[error("{0}")]
    Failed(String),
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
    /// The record's engine has made this command durable on a majority of the region, at this index. Comes for every command of the log, on
    /// every node, in the log's order, whoever proposed it.
    Committed {
        /// Its place in the log: higher than all before.
        index: u64,
        /// The command.
        command: Command,
        /// Whether it had been committed before this node's start: it takes effect, and is no news.
        replayed: bool,
    },
    /// What was proposed is not in the record yet. Advisory: it may still come.
    NotCommitted {
        /// What was proposed.
        command: Command,
        /// Why.
        why: NotCommitted,
    },
    /// Whether the node is without a quorum (`None`: the record takes commands, again).
    Quorum(Option<Degraded>),
    /// Whether this node leads its region.
    Leads(bool),
    /// The leader's record takes the place of this node's, which lagged too far behind for the log.
    Restored(Box<RecordState>),
    /// The record as it is now is wanted. Answered in order by [`Output::Snapshot`].
    Snapshot(SnapshotTicket),
    /// This row of the journal is on stable storage.
    Journalled(JournalId),
    /// It is not, and will not be.
    JournalFailed(JournalId, String),
    /// What the archive holds of the events that were asked for.
    Recalled(RecallTicket, Vec<Entry>),
    /// The node's own file says another plan. It counts as long as the record has none.
    Plan(Plan),
    /// What the region found out by itself and its record does not have. Counts at the node that leads, while it has a quorum.
    Troubles(Vec<Told>),
}

/// What a broker node wants done.
#[derive(Debug)]
pub enum Output {
    /// Hand this to the record's engine, which says [`Input::Committed`] or [`Input::NotCommitted`]. Proposed again until it is in the record:
    /// commands change nothing the second time.
    Propose(Command),
    /// Bring this to this node's stable storage and say so with [`Input::Journalled`].
    Journal(JournalId, Command),
    /// These rows of the journal are needed no longer.
    Unjournal(Vec<JournalId>),
    /// Put this into the archive under its number: 1, 2, 3 … After a start the last ones may be given once more.
    Archive(u64, Box<Entry>),
    /// The record that [`Input::Snapshot`] asked for. Its entries are shared with the machine's, so it costs little.
    Snapshot(SnapshotTicket, Box<RecordState>),
    /// Look these events up in the archive and answer with [`Input::Recalled`], with those that are there.
    Recall(RecallTicket, Vec<EventId>),
    /// Send this.
    Send(PathId, Class, Form, Message),
    /// Alarms wait for the province, and nothing comes back from there: dial its nodes afresh beside the sessions that there are.
    RaceProvince,
    /// Something that people and metrics want to know.
    Report(Report),
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// An event came in for the first time, and goes to these stations.
    Received(Sealed, Vec<StationId>),
    /// What was found of its signature, and of one that does not hold, why. It goes its way all the same.
    Signature(Sealed, Verdict, Option<Flaw>),
    /// No plan names a station for it: it is kept, and somebody must act.
    NoRoute(Sealed),
    /// It is in the record.
    Stored(Sealed),
    /// A station said something of it.
    Noted(Sealed, Receipt),
    /// Nobody has taken an alarm: it has reached this rung, and these stations own it from now on, beside those who did.
    Overdue(EventId, Rung, Vec<StationId>),
    /// An officer's order about a case came into the record: the number of its step, or why there is none.
    Acted(EventId, Verb, Result<u64, CaseRefusal>),
    /// A drill is announced, or was ended.
    Drill(Arc<Drill>),
    /// The case of a test or of a drill was closed by itself.
    Ended(Sealed),
    /// A copy of an event that is known already.
    Duplicate(EventId),
    /// An event was not taken.
    Refused(NodeName, EventId, Refusal),
    /// The province did not take an event; it is offered again in a minute.
    NotForwarded(EventId, Refusal),
    /// An event left the record for the archive though the province does not have all of it: there were too many.
    LeftUnforwarded(EventId),
    /// A peer said what it may not say; it was ignored.
    Improper(NodeName, &'static str),
    /// Neither the record's engine nor the journal could take an event or a statement about it. It goes to its stations all the same, and is tried
    /// again.
    NotStored(EventId, String),
    /// An officer has begun to look through the cameras of an event's school.
    Looked(Look),
    /// Without a quorum, an event or a statement about it is on this node's disk.
    Journalled(EventId),
    /// The node lost its quorum, or has it again (`None`).
    Condition(Option<Degraded>),
    /// The record's plan is of this version now.
    PlanInForce(u64),
    /// A change of the record's plan was not taken over.
    PlanRefused(PlanRefusal),
    /// A command to schools came from a seat for the first time.
    Commanded(SealedCommand),
    /// One is not taken.
    CommandRefused(SealedCommand, CommandRefusal),
    /// One reached a stage, at a school if it is a notice.
    CommandStage(CommandKind, CommandReceipt),
}
