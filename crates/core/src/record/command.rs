//! What is put into the record's log.

use crate::case::CaseOrder;
use crate::command::{CommandReceipt, SealedCommand};
use crate::drill::{CloseDrill, OpenDrill};
use crate::escalate::Escalate;
use crate::event::{Sealed, Text};
use crate::id::{EventId, Name, NodeName, RecordId, StationId};
use crate::overdue::Rung;
use crate::receipt::{Receipt, Stage, Trail};
use crate::record::plan::{ApplyPlan, StagePlan};
use crate::time::WallTime;
use crate::trouble::About;
use crate::video::Picture;

/// One entry of the record's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The record begins: the first command of each. A second one changes nothing.
    Found {
        /// Which record it is from now on.
        record: RecordId,
    },
    /// An event came to a node of the region for the first time.
    Admit(Admission),
    /// A station says that an event reached a stage.
    Note(Receipt),
    /// A plan that came later gives stations to an event that had none.
    Route {
        /// The event.
        event: EventId,
        /// Its stations from now on.
        stations: Vec<StationId>,
    },
    /// More stations must see an event. None loses it.
    Escalate {
        /// The event.
        event: EventId,
        /// The stations to add.
        stations: Vec<StationId>,
        /// Who wants it.
        by: NodeName,
        /// The officer there, if it was one.
        officer: Option<Name>,
        /// When, by the clock of `by`.
        at: WallTime,
        /// Why; may be empty.
        note: Text,
    },
    /// Nobody has taken an alarm for so long that its ownership goes up. Changes nothing once an officer has it, or the rung is reached.
    Overdue {
        /// The event.
        event: EventId,
        /// The rung that it reaches.
        rung: Rung,
        /// Who owns it from then on, beside those who do.
        owners: Vec<StationId>,
        /// Who sees it from then on, beside those who do and the owners.
        told: Vec<StationId>,
        /// The broker node that found it overdue.
        by: NodeName,
        /// When, by its clock.
        at: WallTime,
    },
    /// The province has the event, and knows that it reached these stages.
    Forwarded {
        /// The event.
        event: EventId,
        /// The stages; [`Stage::Stored`] is the event itself.
        stages: Vec<Stage>,
    },
    /// One part of a change of the plan: nothing is otherwise yet.
    StagePlan(StagePlan),
    /// The parts together are taken over.
    ApplyPlan(ApplyPlan),
    /// An officer does something about an alarm.
    Case {
        /// What.
        order: Box<CaseOrder>,
        /// When the order came to the node that proposes it, by its clock.
        heard: WallTime,
    },
    /// A station's command to schools came to a node of the region.
    AdmitCommand {
        /// The command.
        sealed: Box<SealedCommand>,
        /// When it came to the node that proposes it, by its clock.
        heard: WallTime,
        /// That node.
        by: NodeName,
    },
    /// Commands reached stages.
    NoteCommand(Vec<CommandReceipt>),
    /// The relay says what cameras showed at an alarm.
    Pictures {
        /// The event.
        event: EventId,
        /// At most [`limits::PICTURES_PER_EVENT`](crate::limits::PICTURES_PER_EVENT).
        pictures: Vec<Picture>,
    },
    /// The region found out by itself that something is wrong, or that what is wrong has become more urgent. Changes nothing while the record has an
    /// open trouble about the same thing of the same class or of a higher one.
    TroubleBegan {
        /// What it is about.
        about: About,
        /// The event that says so, and who must see it.
        admission: Box<Admission>,
    },
    /// It is over. Changes nothing unless the record has an open trouble about it.
    TroubleOver {
        /// What it is about.
        about: About,
        /// The event that says so, if one does.
        admission: Option<Box<Admission>>,
        /// The broker node that found so.
        by: NodeName,
        /// When, by its clock.
        at: WallTime,
    },
    /// A drill is announced.
    OpenDrill(Box<OpenDrill>),
    /// A drill ends before its time.
    CloseDrill(Box<CloseDrill>),
    /// The case of a test or of a drill is closed by itself. Changes nothing for what is meant, or closed already.
    EndCase {
        /// The event.
        event: EventId,
        /// The broker node that found it to be over.
        by: NodeName,
        /// When, by its clock.
        at: WallTime,
    },
}

impl Command {
    /// The event that it is about; `None` for what is about the record itself.
    #[must_use]
    pub fn event(&self) -> Option<EventId> {
        match self {
            Command::Found { .. }
            | Command::StagePlan(_)
            | Command::ApplyPlan(_)
            | Command::AdmitCommand { .. }
            | Command::NoteCommand(_)
            | Command::OpenDrill(_)
            | Command::CloseDrill(_) => None,
            Command::Admit(admission) => Some(admission.sealed.event.id),
            Command::Note(receipt) => Some(receipt.event),
            Command::Route { event, .. }
            | Command::Escalate { event, .. }
            | Command::Overdue { event, .. }
            | Command::Forwarded { event, .. }
            | Command::Pictures { event, .. }
            | Command::EndCase { event, .. } => Some(*event),
            Command::Case { order, .. } => Some(order.event),
            Command::TroubleBegan { admission, .. } => Some(admission.sealed.event.id),
            Command::TroubleOver { admission, .. } => admission.as_ref().map(|admission| admission.sealed.event.id),
        }
    }
}

impl From<Escalate> for Command {
    fn from(order: Escalate) -> Self {
        let Escalate { event, stations, by, officer, at, note } = order;
        Command::Escalate { event, stations, by, officer, at, note }
    }
}

/// How an event entered the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The event.
    pub sealed: Sealed,
    /// Where its first copy had been, the admitting node included.
    pub trail: Trail,
    /// When it came to that node, by its clock.
    pub at: WallTime,
    /// That node.
    pub by: NodeName,
    /// Who must see it. A change of the plan never moves an alarm that is under way; only [`Command::Route`] gives an event that has
    /// none its stations, and [`Command::Escalate`] adds some.
    pub stations: Vec<StationId>,
    /// Whether the province must have it before it leaves the record. Frozen at admission like the stations, so that all nodes of the
    /// region let go of the same events whatever each is configured with.
    pub owed: bool,
    /// Whether it may join a case of its school that is there ([`Bond`](crate::record::Bond)). Frozen too: what older versions admitted joins
    /// nothing, on whichever version its log is read again.
    pub joins: bool,
}
