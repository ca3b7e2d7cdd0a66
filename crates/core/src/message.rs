//! What nodes say to each other, in domain types. Wire types stop at the border.
//!
//! Invariant: every message stands for itself. Messages of one session may arrive in any order and more than once.

use std::sync::Arc;

use crate::body::BodyMessage;
use crate::case::{ActionId, CaseOrder, CaseRefusal, Step, Summary};
use crate::command::{
    CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, SchoolStage, SealedCommand,
};
use crate::drill::{Drill, DrillId, DrillMode, DrillOrder, DrillRefusal};
use crate::escalate::Escalate;
use crate::event::{Sealed, Text};
use crate::id::{EventId, RecordId, SchoolId, StationId};
use crate::overdue::Ownership;
use crate::plan::{PlanMark, SchoolPart};
use crate::receipt::{Receipt, Stage, Trail};
use crate::time::{Span, WallTime};
use crate::video::{Look, PictureKey, Pictures};

/// The minor version of `huxiao.v1` that this version speaks. Rises when messages or fields are added.
pub const WIRE_MINOR: u32 = 5;
/// The first one in which receipts have a [`Standing`](crate::Standing), and nodes say whether they have a quorum.
pub(crate) const STANDING_SINCE: u32 = 3;
/// The first one in which seats are told who owns an alarm that nobody takes.
pub(crate) const OWNERSHIP_SINCE: u32 = 4;
/// The first one in which relays are told their school's part of the plan.
pub(crate) const PLANS_SINCE: u32 = 5;
/// The first one in which there are cases.
pub(crate) const CASES_SINCE: u32 = 4;
/// The first one in which there are commands to schools.
pub(crate) const COMMANDS_SINCE: u32 = 5;
/// The first one in which drills are announced, and what is over is closed by itself.
pub(crate) const DRILLS_SINCE: u32 = 5;

/// The first one in which there are bodies, pictures and officers who look.
pub(crate) const PICTURES_SINCE: u32 = 5;
/// The first one in which seats are told of the limits of dispatch and arrival, and say whether they can be heard.
pub(crate) const FUNCTIONS_SINCE: u32 = 5;

/// One message of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Station to broker: whether the seat can be heard. One that has not said so can.
    SeatState {
        /// Whether somebody would hear it ring.
        audible: bool,
    },
    /// The first thing that each side says.
    Hello(Hello),
    /// Relay to broker, broker to station, region to province: one copy of an event.
    Event(EventCopy),
    /// Broker to relay, station to broker, broker to station; region to province and province to region: stages that events have reached.
    Receipts(Vec<Receipt>),
    /// Broker to station: these statements of yours are in the record; keep them no longer. Relay to broker: these receipts have come.
    /// Between a region and its province: these are in the record.
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
    /// Station to broker, region to province, province to region: more stations must see an event. Said again until it is answered: by
    /// `Escalated`, by `Unknown`, or by `Refused` where there is no room for them.
    Escalate(Escalate),
    /// The answer to `Escalate`: in the record these stations have the event.
    Escalated(EventId, Vec<StationId>),
    /// Broker to station: nobody has taken this alarm, and these stations own it now. Said at each rung, to whoever greets, and to whoever
    /// gets the alarm later.
    Ownership(Ownership),
    /// Broker to relay and station: whether this node is without a quorum of its region (`None`: it has one). Said at each change and, while
    /// it is so, to whoever greets; repeated with the answer to the next probe, since messages may overtake each other.
    Condition(Option<Degraded>),
    /// Station to broker: an officer's order about a case. Said again until it is answered, by `CaseTaken` or `CaseRefused`.
    Case(Box<CaseOrder>),
    /// Broker to station: how the cases of these alarms stand. Said at each change, and when a seat comes.
    Cases(Vec<Summary>),
    /// The answer to `Case`: it is this step of its case, which stands so now.
    CaseTaken(ActionId, u64, Box<Summary>),
    /// The answer to `Case`: it is not carried out, and how the case stands, if that is known.
    CaseRefused(ActionId, CaseRefusal, Option<Box<Summary>>),
    /// Station to broker: which steps does the case of this event have after this number? Answered by `CaseSteps`, by whoever has them.
    CaseAsk(EventId, u64),
    /// The answer to `CaseAsk`: the next of them, and how many the case has in all.
    CaseSteps(EventId, Vec<Step>, u64),
    /// Broker to relay: what the plan says of its school. Said when it greets and at each change, until it is answered by `PlanKept`.
    SchoolPlan(Box<SchoolPart>),
    /// Relay to broker: of this plan, or a newer one, it has its school's part on its disk.
    PlanKept(PlanMark),
    /// Station to broker: an officer's command to schools. Said again until it is answered, by `CommandState` or `CommandRefused`.
    CommandOrder(Box<SealedCommand>),
    /// Broker to relay: carry this out, within so long from now on. Carried until the relay says that it has it, or what else it makes of it.
    Command(Box<SealedCommand>, Span),
    /// Relay to broker: stages that commands have reached. Carried until they are confirmed.
    CommandReceipts(Vec<CommandReceipt>),
    /// Broker to relay: these receipts are in the record, or of no use to it.
    CommandConfirmed(Vec<(CommandId, CommandStage)>),
    /// Broker to station: how this command stands. Said at each change, and when a seat comes.
    CommandState(Box<CommandState>),
    /// The answer to `CommandOrder`: it is not taken.
    CommandRefused(CommandId, CommandRefusal),
    /// Station to broker: which schools does this notice have behind this one? Answered by `NoticeSchools`, by whoever has it.
    NoticeAsk(CommandId, Option<SchoolId>),
    /// The answer to `NoticeAsk`: the next of them after that one, and how many there are in all.
    NoticeSchools(CommandId, Option<SchoolId>, Vec<SchoolStage>, u32),
    /// A word about a body, over bulk sessions. No machine of a node hears it but the [mover](crate::body::Mover) beside it.
    Body(BodyMessage),
    /// Relay to broker, broker to station: what cameras showed. Said by a relay until it is answered by `PicturesKept`, unless they are of the moment.
    Pictures(Pictures),
    /// Broker to relay: these pictures need not be said any more, they are in the record.
    PicturesKept(EventId, Vec<PictureKey>),
    /// Station to broker, broker to relay: an officer looks. Said again every few seconds, and never answered but by `Pictures` of the moment.
    Look(Look),
    /// Broker to station: drills that touch the station, as they stand. Said when one is announced or ended, and to whoever greets.
    Drills(Vec<Arc<Drill>>),
    /// Broker to relay: a drill is about this school, so long from now. Said before it begins, when it is ended, and to whoever greets; again
    /// until `DrillHeard` answers it.
    DrillMode(Box<DrillMode>),
    /// The answer to `DrillMode`: the relay goes by it.
    DrillHeard(DrillId),
    /// Station to broker: a drill is to be announced or ended. Said again until it is answered, by `DrillAnswer`.
    DrillOrder(Box<DrillOrder>),
    /// The answer to `DrillOrder`: the drill as it stands now, or why nothing came of it.
    DrillAnswer(DrillId, Result<Arc<Drill>, DrillRefusal>),
}

/// A broker node is without a quorum of its region: alarms flow, but nothing enters the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Degraded {
    /// Since when, by the node's clock.
    pub since: WallTime,
    /// Why, for people: which nodes are silent.
    pub why: Text,
}

impl Degraded {
    /// What it means for whoever reads it: Chinese, English.
    #[must_use]
    pub fn words() -> (&'static str, &'static str) {
        (
            "降级运行：报警照常送达，接警暂记，待区域恢复后确认",
            "Degraded: alarms arrive, what officers take is provisional until the region has its quorum again",
        )
    }
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
    /// A region forwards what was admitted there, and nothing else.
    #[error("the event does not come from the region of the broker node that brings it")]
    OtherRegion,
    /// Only a region raises events of this kind.
    #[error("an event of this kind is raised by the region alone, never by a relay")]
    Kind,
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
            Refusal::OtherRegion => "other_region",
            Refusal::Kind => "kind",
            Refusal::Other => "other",
        }
    }
}
