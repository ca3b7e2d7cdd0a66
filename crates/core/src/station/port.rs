//! What a station is told, what it wants done, and what it reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::case::{ActionId, CaseOrder, CaseRefusal, Step, Summary};
use crate::command::{CommandId, CommandRefusal, CommandState, SchoolStage, SealedCommand};
use crate::drill::{Drill, DrillId, DrillOrder, DrillRefusal};
use crate::escalate::Escalate;
use crate::event::{Class, Text};
use crate::id::{EventId, Name, NodeName, PathId, PersistSeq, SchoolId, SeatId, StationId};
use crate::limits;
use crate::message::{Degraded, Message, Refusal, Resume};
use crate::overdue::Ownership;
use crate::path::{Form, PathInfo};
use crate::receipt::{Receipt, Stage};
use crate::signature::{Flaw, Verdict};
use crate::station::row::InboxRow;
use crate::time::Span;

/// What a station is told once.
pub struct StationConfig {
    /// Who it is.
    pub seat: SeatId,
    /// The first inbox number that no event has had.
    pub next_seq: u64,
    /// Up to where it has everything, by the broker node that said so.
    pub marks: BTreeMap<NodeName, Resume>,
    /// Seed of all that is random.
    pub seed: u64,
    /// What it calls itself in greetings.
    pub software: String,
}

/// By which an answer finds its asker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AckTicket(pub u64);

/// What the world tells a station.
#[derive(Debug)]
pub enum Input {
    /// A session with this broker node is there.
    PathUp(PathId, NodeName, PathInfo),
    /// It is gone.
    PathDown(PathId),
    /// The node said something.
    Message(PathId, Message),
    /// What was asked to be persisted under this number is on stable storage.
    Persisted(PersistSeq),
    /// It is not, and will not be.
    PersistFailed(PersistSeq, String),
    /// A screen shows these.
    Displayed(Vec<EventId>),
    /// An officer takes an alarm.
    Acknowledge {
        /// For the answer.
        ticket: AckTicket,
        /// The alarm.
        event: EventId,
        /// Who.
        officer: Name,
        /// What the officer notes; may be empty.
        note: Text,
    },
    /// An officer wants more stations to see an event.
    Escalate {
        /// For the answer.
        ticket: AckTicket,
        /// The event.
        event: EventId,
        /// The stations to add; at least one.
        stations: Vec<StationId>,
        /// Who.
        officer: Name,
        /// Why; may be empty.
        note: Text,
    },
    /// An officer does something about an alarm. Seat and time of the order are this station's to say.
    Case(AckTicket, Box<CaseOrder>),
    /// Somebody wants a drill announced or ended. Seat and time of the order are this station's to say.
    Drill(AckTicket, Box<DrillOrder>),
    /// Whether anybody would hear this seat ring.
    Audible {
        /// Whether.
        on: bool,
        /// For how long, if not until further notice.
        lasts: Option<Span>,
    },
    /// The steps of an event's case after this number are wanted.
    History(AckTicket, EventId, u64),
    /// An officer commands a school, or all of an area. Made and signed by whoever drives this machine, in this seat's name.
    Command(AckTicket, Box<SealedCommand>),
    /// The schools of a notice behind this one are wanted.
    Schools(AckTicket, CommandId, Option<SchoolId>),
}

/// A change of what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put this row in place of the one of its number.
    Put(InboxRow),
    /// Forget the row of this class and number.
    Forget(Class, u64),
    /// Everything up to here is in the inbox, by this broker node.
    Mark(NodeName, Resume),
}

/// What a station wants done.
#[derive(Debug)]
pub enum Output {
    /// Bring this to stable storage and say so with [`Input::Persisted`].
    Persist(PersistSeq, Write),
    /// Send this.
    Send(PathId, Class, Form, Message),
    /// Show this event. `durable` is false where the disk is slow or full: the same number may be given again after a crash.
    Show {
        /// The row.
        row: InboxRow,
        /// Whether it is on disk.
        durable: bool,
    },
    /// An event that was shown without being on disk is there now.
    NowDurable(u64),
    /// Statements are under way and nothing comes back on any path: dial afresh beside the sessions that there are, and keep those.
    Race,
    /// Answer the officer.
    Answer(AckTicket, Result<Acknowledged, AckError>),
    /// Answer the officer who wanted more stations to see an event.
    Escalated(AckTicket, Result<Escalate, EscalateError>),
    /// Answer the officer who did something about an alarm.
    Cased(AckTicket, Result<CaseDone, CaseError>),
    /// Answer whoever ordered something about a drill: how it stands.
    Drilled(AckTicket, Result<Arc<Drill>, DrillError>),
    /// Answer whoever wanted steps of a case: a page of them, and how many there are in all.
    History(AckTicket, Result<(Vec<Step>, u64), HistoryError>),
    /// Answer the officer who commanded schools: how the command stands. If that is provisional, no record has it yet.
    Commanded(AckTicket, Result<Box<CommandState>, CommandFailure>),
    /// Answer whoever wanted the schools of a notice: a page of them, and how many there are in all.
    Schools(AckTicket, Result<(Vec<SchoolStage>, u32), CommandFailure>),
    /// Something that people and metrics want to know.
    Report(Report),
}

/// The officer has the alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The officer's own receipt.
    pub receipt: Receipt,
    /// Whose was first, as far as this station knows. If it is another officer's and provisional, the region's record will say who has the alarm
    /// and who assists.
    pub owner: Receipt,
    /// Whether this request found it done already.
    pub repeated: bool,
}

/// Why an alarm cannot be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AckError {
    /// It never came here, or left the inbox long ago.
    #[error("event {0} is not in this station's inbox")]
    Unknown(EventId),
    /// Somebody was first; the alarm is in good hands.
    #[error("event {} was already taken by {}", .0.event, .0.officer.as_ref().map_or("another officer", Name::as_str))]
    Taken(Receipt),
    /// It is on its way to the school all the same; only this station's disk does not hold it.
    #[error("the acknowledgement of {event} is being sent, but could not be kept here: {why}")]
    NotKept {
        /// The alarm.
        event: EventId,
        /// What the disk said.
        why: String,
    },
}

/// An officer's order about a case is in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseDone {
    /// The order.
    pub id: ActionId,
    /// The number of its step.
    pub step: u64,
    /// How the case stands now.
    pub case: Summary,
}

/// Why an officer's order about a case is not in the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// It never came here, or left the inbox long ago.
    #[error("event {0} is not in this station's inbox")]
    Unknown(EventId),
    /// The region does not carry it out.
    #[error("{event}: {why}")]
    Refused {
        /// The event.
        event: EventId,
        /// Why.
        why: CaseRefusal,
        /// How the case stands, if that was said.
        case: Option<Box<Summary>>,
    },
    /// No broker node has answered in time. It may still come into the record; saying it again with the same id is harmless.
    #[error("no broker node has confirmed within {seconds} s what was ordered about {event}; look at the case, and say it again with id {id}", seconds = limits::CASE_ORDER_TIMEOUT.as_secs())]
    NotConfirmed {
        /// The event.
        event: EventId,
        /// The order.
        id: ActionId,
    },
    /// Too many are under way at once.
    #[error("{limit} orders of this station are under way; try again in some seconds", limit = limits::CASE_ORDERS_OPEN)]
    Busy,
}

/// Why an order about a drill is not in the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrillError {
    /// The region does not carry it out.
    #[error("drill {id}: {why}")]
    Refused {
        /// The drill.
        id: DrillId,
        /// Why.
        why: DrillRefusal,
    },
    /// No broker node has answered in time. It may still come into the record; saying it again with the same id is harmless.
    #[error("no broker node has confirmed within {seconds} s what was ordered about drill {id}; look whether it is announced, and say it again with this id", seconds = limits::DRILL_ORDER_TIMEOUT.as_secs())]
    NotConfirmed {
        /// The drill.
        id: DrillId,
    },
    /// Too many are under way at once.
    #[error("{limit} orders about drills are under way; try again in some seconds", limit = limits::DRILL_ORDERS_OPEN)]
    Busy,
}

/// Why a command is not in the record, or cannot be read there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandFailure {
    /// The region does not take it.
    #[error("command {id}: {}", why.words().1)]
    Refused {
        /// The command.
        id: CommandId,
        /// Why.
        why: CommandRefusal,
    },
    /// No broker node has answered in time. It may still come into the record; saying it again with the same id is harmless.
    #[error("no broker node has confirmed command {0} within {seconds} s; look at it, and say it again with the same id", seconds = limits::COMMAND_TIMEOUT.as_secs())]
    NotConfirmed(CommandId),
    /// Too many are under way at once.
    #[error("{limit} commands of this station are under way; try again in some seconds", limit = limits::COMMANDS_OPEN)]
    Busy,
}

/// Why the history of a case cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// It never came here, or left the inbox long ago.
    #[error("event {0} is not in this station's inbox")]
    Unknown(EventId),
    /// No broker node that knows cases has answered in time.
    #[error("no broker node has answered within {seconds} s what was done about {0}; ask again", seconds = limits::CASE_ORDER_TIMEOUT.as_secs())]
    NoAnswer(EventId),
    /// Too many are under way at once.
    #[error("{limit} questions of this station are under way; ask again in some seconds", limit = limits::CASE_ORDERS_OPEN)]
    Busy,
}

/// Why more stations cannot be made to see an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EscalateError {
    /// It never came here, or left the inbox long ago.
    #[error("event {0} is not in this station's inbox")]
    Unknown(EventId),
    /// No broker node has confirmed it in time. It may still come into the record; saying it again is harmless.
    #[error("no broker node has confirmed within {seconds} s that {event} was escalated; call the station, and try again", seconds = limits::ESCALATION_TIMEOUT.as_secs())]
    NotConfirmed {
        /// The event.
        event: EventId,
    },
    /// The region does not take it from this station.
    #[error("the region does not know {0} as an event of this station; call the station")]
    NotOurs(EventId),
    /// The record has no room for more stations, or does not take it for another reason.
    #[error("{event} could not be escalated: {why}; call the station")]
    Refused {
        /// The event.
        event: EventId,
        /// The region's reason.
        why: Refusal,
    },
    /// Too many are under way at once.
    #[error("{limit} escalations of this station are under way; try again in some seconds", limit = limits::ESCALATIONS_OPEN)]
    Busy,
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A repeat of what the inbox has.
    Duplicate(EventId),
    /// What was found of the signature of an alarm that has come, and of one that does not hold, why. It is shown all the same.
    Signature(EventId, Verdict, Option<Flaw>),
    /// An event reached a stage.
    Stage(InboxRow, Receipt),
    /// Nobody has taken an alarm, and its ownership went up.
    Ownership(InboxRow, Ownership),
    /// The case of an event stands otherwise.
    Case(InboxRow),
    /// A drill that touches this station is announced, or was ended.
    Drill(Arc<Drill>),
    /// The disk does not take it.
    NotKept(EventId, String),
    /// The region has confirmed what this station said.
    Confirmed(EventId, Stage),
    /// The inbox is full of alarms that no officer has taken: this event stays with the region until there is room.
    Full(EventId),
    /// A broker node lost its quorum, or has it again (`None`).
    Condition(NodeName, Option<Degraded>),
    /// The region does not know an event that this station told it about again and again; it is told no longer.
    Orphan(EventId),
    /// A command to schools stands so now.
    Command(Box<CommandState>),
}
