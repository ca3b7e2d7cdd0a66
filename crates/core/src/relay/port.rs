//! What a relay is told, what it wants done, and what it reports.

use crate::command::{CommandId, CommandReceipt};
use crate::duty::Sensor;
use crate::event::{Class, Event, Sealed, Text};
use crate::id::{EventId, Name, NodeName, PathId, PersistSeq, RelayId};
use crate::lamp::Lamp;
#[cfg(doc)]
use crate::limits;
use crate::message::{Degraded, Message, Refusal};
use crate::path::{Form, PathInfo};
use crate::plan::{Hours, PlanMark, SchoolPart, Withheld};
use crate::receipt::Receipt;
use crate::relay::commands::CommandRow;
use crate::relay::modes::ModeView;
use crate::relay::playing::{Ended, Play};
use crate::relay::raise::{Press, RaiseError, Raised, Ticket};
use crate::relay::row::RelayRow;
use crate::signature::Flaw;
use crate::time::Span;

/// What a relay is told once.
pub struct RelayConfig {
    /// Who it is.
    pub relay: RelayId,
    /// The number of this start; higher than that of any earlier one.
    pub epoch: u64,
    /// The first slot that no event has used.
    pub next_slot: u64,
    /// Bytes a second of alarm copies beyond the first, for each line ([`limits::COPY_BYTES_PER_SECOND`]).
    pub copy_rate: u32,
    /// Whether the region has nodes that are not dialled as a rule.
    pub spare_nodes: bool,
    /// The plan's part for its school, as it was kept.
    pub plan: Option<SchoolPart>,
    /// In which part of each day it tests itself, on Chinese walls; `None` for never.
    pub self_test: Option<Hours>,
    /// Seed of all that is random.
    pub seed: u64,
    /// Encodes an event, the same bytes for the same event.
    pub seal: fn(&Event) -> Sealed,
    /// What it calls itself in greetings.
    pub software: String,
}

/// What the world tells a relay.
#[derive(Debug)]
pub enum Input {
    /// A press.
    Raise {
        /// For the answer.
        ticket: Ticket,
        /// What was pressed.
        press: Press,
        /// The presser's key, at most [`limits::IDEMPOTENCY_KEY_BYTES`] bytes.
        idempotency_key: Option<String>,
        /// Whether it is meant whatever drill or test is on.
        live: bool,
    },
    /// A guard is at a post.
    CheckIn {
        /// Which.
        post: Name,
        /// What saw it.
        sensor: Sensor,
        /// Who; may be empty.
        person: Text,
    },
    /// The plan's part with this mark is on stable storage.
    PlanKept(PlanMark),
    /// Presses are tests for so long, [`limits::TEST_MODE_MINUTES`] at the most; zero ends that.
    TestMode(Span),
    /// What was asked to be persisted under this number is on stable storage.
    Persisted(PersistSeq),
    /// It is not, and will not be.
    PersistFailed(PersistSeq, String),
    /// A session with a broker node is there.
    PathUp(PathId, NodeName, PathInfo),
    /// It is gone.
    PathDown(PathId),
    /// A broker node said something.
    Message(PathId, Message),
    /// What was to be heard, or looked at, has come to its end.
    Ended(CommandId, Ended),
}

/// A change of what is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Put this row in place of what was in its slot.
    Put(RelayRow),
    /// Forget the row of this class and slot.
    Forget(Class, u64),
    /// Put this row of a command in place of what was in its slot.
    PutCommand(Box<CommandRow>),
    /// Forget the command of this slot.
    ForgetCommand(u64),
}

/// What a relay wants done.
#[derive(Debug)]
pub enum Output {
    /// Bring this to stable storage and say so with [`Input::Persisted`].
    Persist(PersistSeq, Write),
    /// Bring the plan's part for the school to stable storage and say so with [`Input::PlanKept`]. What cannot be kept is asked for again when the
    /// region tells it again.
    KeepPlan(Box<SchoolPart>),
    /// Send this.
    Send(PathId, Class, Form, Message),
    /// An alarm waits and no broker node answers: dial now, whatever pause between two tries is under way. Said again every half second.
    Hurry,
    /// Alarms are under way and nothing comes back on any path: dial afresh beside the sessions that there are, and keep those.
    Race,
    /// Alarms are under way and nothing comes back from any node that is dialled: dial whoever else there is. Only where
    /// [`RelayConfig::spare_nodes`] says that there is somebody.
    DialOthers,
    /// Have this be heard, and say [`Input::Ended`] when it was. One at a time.
    Play(Box<Play>),
    /// End it now, and say [`Input::Ended`].
    Silence(CommandId),
    /// Get what this camera, or one of the school's, sees now; say [`Input::Ended`].
    View(CommandId, Option<Name>),
    /// Answer the presser.
    Answer(Ticket, Result<Raised, RaiseError>),
    /// Something that people and metrics want to know.
    Report(Report),
}

/// What people and metrics want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// A new event.
    Raised(Sealed),
    /// An event reached a stage for the first time.
    Stage(Sealed, Receipt, Lamp),
    /// Its lamp changed by time alone.
    Lamp(Sealed, Lamp),
    /// The region does not take it.
    Refused(Sealed, Refusal),
    /// The disk does not take it.
    NotKept(Sealed, String),
    /// It goes unsigned: the key store says why.
    NotSigned(EventId, String),
    /// Presses are another thing from now on.
    Mode(ModeView),
    /// A broker node lost its quorum, or has it again (`None`).
    Condition(NodeName, Option<Degraded>),
    /// The region's plan says something else of the school.
    Plan(PlanMark),
    /// A guard checked in at this post.
    CheckedIn(Name),
    /// The plan holds a person warning back.
    Withheld(Withheld),
    /// A command reached a stage.
    Command(CommandId, CommandReceipt),
    /// A command came whose signature does not hold; it is not carried out.
    Forged(CommandId, Flaw),
}
