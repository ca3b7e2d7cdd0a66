//! Drills (演练): announced windows in which the listed buttons of some schools raise rehearsals in the place of alarms.
//!
//! A drill is opened by a seat, by an operator or by the plan, is part of the region's record, and is announced to every station that it touches
//! before it begins: it begins [`limits::DRILL_LEAD`] after it came into the record at the earliest. Broker nodes tell the relays in its scope how
//! long from now it lasts, and the relay alone says what its presses are.
//!
//! Invariants:
//! * A press is a rehearsal only at a relay that was told of a drill, within the drill's window and at a button that it lists. Whatever else happens,
//!   it is meant; duress always is.
//! * No drill is longer than [`limits::PLAN_DRILL_MINUTES`].

mod book;
mod scope;
mod tally;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::{Kind, Text};
use crate::id::{Name, NodeName};
use crate::limits;
use crate::plan::Label;
use crate::time::{Span, Timestamp, WallTime};

pub use book::{DrillBook, DrillImage};
pub use scope::{Scope, ScopeError};
pub use tally::{Answered, Counts, Tally};

/// The identity of a drill: sixteen bytes, drawn at random by whoever opens it, or made of what the plan registers. Printed as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DrillId(pub [u8; 16]);

impl DrillId {
    /// That of a drill that a plan registers: the same on every node for the same window and schools.
    #[must_use]
    pub fn registered(from: WallTime, until: WallTime, scope: &Scope) -> Self {
        let mut texts = vec!["registered".to_owned(), from.0.to_string(), until.0.to_string()];
        match scope {
            Scope::Area(area) => texts.push(area.to_string()),
            Scope::Schools(schools) => texts.extend(schools.iter().map(ToString::to_string)),
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Self(*crate::id::EventId::for_press(from, &texts).as_bytes())
    }
}

impl fmt::Display for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for DrillId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for DrillId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::try_parse(text).map(|id| Self(id.into_bytes()))
    }
}

/// The order to open a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenDrill {
    /// Which drill it is to be: saying the order again is harmless.
    pub id: DrillId,
    /// Which schools.
    pub scope: Scope,
    /// Which of their buttons; all of them if none is named.
    pub devices: BTreeSet<Name>,
    /// When it is to begin; later if it cannot be announced before.
    pub from: WallTime,
    /// How long, at most [`limits::PLAN_DRILL_MINUTES`].
    pub length: Span,
    /// The seat at which it was ordered, or the broker node.
    pub by: NodeName,
    /// Who approved it.
    pub approver: Label,
    /// What it is for; may be empty.
    pub note: Text,
    /// Whether the plan registers it.
    pub planned: bool,
    /// When it was proposed, by the clock of the broker node that did.
    pub at: WallTime,
}

impl OpenDrill {
    /// What is wrong with it by itself.
    ///
    /// # Errors
    /// [`DrillRefusal`]
    pub fn checked(&self) -> Result<(), DrillRefusal> {
        let longest = Span::from_secs(u64::from(limits::PLAN_DRILL_MINUTES) * 60);
        if self.length < limits::DRILL_SHORTEST || self.length > longest {
            return Err(DrillRefusal::Length);
        }
        let ahead = self.from.0.saturating_sub(self.at.0);
        let most = i64::try_from(limits::DRILL_AHEAD.as_micros()).unwrap_or(i64::MAX);
        if ahead > most || ahead < -i64::try_from(longest.as_micros()).unwrap_or(i64::MAX) {
            return Err(DrillRefusal::Window);
        }
        if self.approver.is_empty() {
            return Err(DrillRefusal::Approver);
        }
        if self.scope.is_empty() {
            return Err(DrillRefusal::NoSchool);
        }
        if self.scope.is_too_long() || self.devices.len() > limits::PLAN_DEVICES {
            return Err(DrillRefusal::Scope);
        }
        Ok(())
    }
}

/// The order to end a drill before its time, or not to begin it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseDrill {
    /// The drill.
    pub id: DrillId,
    /// The seat at which it was ordered, or the broker node.
    pub by: NodeName,
    /// Who ordered it.
    pub who: Label,
    /// Why; may be empty.
    pub note: Text,
    /// When, by the clock of the broker node that proposed it.
    pub at: WallTime,
}

/// What a seat orders about drills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DrillOrder {
    /// Open one.
    Open(OpenDrill),
    /// End one.
    Close(CloseDrill),
}

impl DrillOrder {
    /// The drill.
    #[must_use]
    pub fn id(&self) -> DrillId {
        match self {
            DrillOrder::Open(order) => order.id,
            DrillOrder::Close(order) => order.id,
        }
    }

    /// Whoever says it.
    #[must_use]
    pub fn by(&self) -> &NodeName {
        match self {
            DrillOrder::Open(order) => &order.by,
            DrillOrder::Close(order) => &order.by,
        }
    }
}

/// A drill, as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drill {
    /// As it was ordered.
    pub order: OpenDrill,
    /// When it begins.
    pub from: WallTime,
    /// When it ends, unless it was closed before.
    pub until: WallTime,
    /// That it was ended before its time, or never began.
    pub closed: Option<CloseDrill>,
}

/// Where a drill stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DrillPhase {
    /// It was announced and has not begun.
    Announced,
    /// It is on.
    Running,
    /// It is over.
    Over,
}

impl DrillPhase {
    /// Its name in APIs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DrillPhase::Announced => "announced",
            DrillPhase::Running => "running",
            DrillPhase::Over => "over",
        }
    }

    /// What it is called on a screen: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            DrillPhase::Announced => ("演练即将开始", "A drill is announced"),
            DrillPhase::Running => ("演练进行中", "A drill is on"),
            DrillPhase::Over => ("演练已结束", "The drill is over"),
        }
    }
}

impl Drill {
    /// Which drill it is.
    #[must_use]
    pub fn id(&self) -> DrillId {
        self.order.id
    }

    /// When it ends, or ended.
    #[must_use]
    pub fn end(&self) -> WallTime {
        self.closed.as_ref().map_or(self.until, |closed| closed.at.min(self.until))
    }

    /// Where it stands at `at`.
    #[must_use]
    pub fn phase(&self, at: WallTime) -> DrillPhase {
        if at >= self.end() {
            DrillPhase::Over
        } else if at < self.from {
            DrillPhase::Announced
        } else {
            DrillPhase::Running
        }
    }

    /// What a relay in its scope is told at `at`.
    #[must_use]
    pub fn mode_at(&self, at: WallTime) -> DrillMode {
        let span = |from: WallTime, to: WallTime| Span::from_micros(u64::try_from(to - from).unwrap_or(0));
        DrillMode {
            id: self.id(),
            starts_in: span(at, self.from),
            lasts: span(at.max(self.from), self.end()),
            devices: self.order.devices.clone(),
            approver: self.order.approver.clone(),
        }
    }
}

/// What a relay is told of a drill: in spans from now on, so that a wrong clock at the school does no harm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillMode {
    /// The drill.
    pub id: DrillId,
    /// How long until it begins.
    pub starts_in: Span,
    /// How long it lasts from then on; zero ends it.
    pub lasts: Span,
    /// Which buttons; all of them if none is named.
    pub devices: BTreeSet<Name>,
    /// Who approved it, for whoever looks at the relay.
    pub approver: Label,
}

/// A drill that a relay was told of, on its own steady clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The drill.
    pub id: DrillId,
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub until: Timestamp,
    /// Which buttons; all of them if none is named.
    pub devices: BTreeSet<Name>,
    /// Who approved it.
    pub approver: Label,
}

impl Window {
    /// The window of what was told at `now`. However long a broker node says that a drill lasts, it ends after the longest that there is.
    #[must_use]
    pub fn new(now: Timestamp, told: DrillMode) -> Self {
        let longest = Span::from_secs(u64::from(limits::PLAN_DRILL_MINUTES) * 60);
        let from = now + told.starts_in.min(limits::DRILL_AHEAD);
        Self {
            id: told.id,
            from,
            until: from + told.lasts.min(longest),
            devices: told.devices,
            approver: told.approver,
        }
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self, now: Timestamp) -> bool {
        self.from <= now && now < self.until
    }

    /// Whether a press of this kind at this button is a rehearsal now.
    #[must_use]
    pub fn covers(&self, now: Timestamp, kind: &Kind, device: Option<&Name>) -> bool {
        let listed = self.devices.is_empty() || device.is_some_and(|device| self.devices.contains(device));
        self.is_on(now) && listed && is_rehearsed(kind)
    }
}

/// Whether presses of this kind can be rehearsals: what people press to call for help. Duress never is, nor what sensors and machines say.
#[must_use]
pub fn is_rehearsed(kind: &Kind) -> bool {
    matches!(kind, Kind::Panic | Kind::Meeting | Kind::Medical | Kind::Fire | Kind::Assist)
}

/// Why an order about a drill is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum DrillRefusal {
    /// See [`limits::PLAN_DRILL_MINUTES`].
    #[error("a drill lasts from 1 to {limit} minutes", limit = limits::PLAN_DRILL_MINUTES)]
    Length,
    /// It would be over, or is too far ahead.
    #[error("a drill begins within the next {days} days, and not in the past", days = limits::DRILL_AHEAD.as_secs() / 86_400)]
    Window,
    /// Somebody must answer for it.
    #[error("a drill names who approved it")]
    Approver,
    /// The plan names none of its schools.
    #[error("the plan names no school in the scope of the drill")]
    NoSchool,
    /// Use an area.
    #[error("a drill lists at most {schools} schools and {devices} buttons; name an area instead", schools = limits::DRILL_SCHOOLS, devices = limits::PLAN_DEVICES)]
    Scope,
    /// The plan does not give these schools to the station, nor to a desk of its.
    #[error("not all schools of the drill are this station's, or of the area whose desk it is")]
    NotYours,
    /// Wait until one is over.
    #[error("{limit} drills are open or announced; wait until one of them is over", limit = limits::DRILLS_OPEN)]
    TooMany,
    /// There is no drill of this id.
    #[error("no drill of this id is known")]
    Unknown,
    /// Nothing enters the record.
    #[error("the region has no quorum now, and no drill can be announced; every press is meant")]
    NoQuorum,
    /// A reason that this version has no name for.
    #[error("refused for a reason that this version does not know")]
    Other,
}

impl DrillRefusal {
    /// All that have a name.
    pub const ALL: [DrillRefusal; 10] = [
        DrillRefusal::Length,
        DrillRefusal::Window,
        DrillRefusal::Approver,
        DrillRefusal::NoSchool,
        DrillRefusal::Scope,
        DrillRefusal::NotYours,
        DrillRefusal::TooMany,
        DrillRefusal::Unknown,
        DrillRefusal::NoQuorum,
        DrillRefusal::Other,
    ];

    /// Its number on the wire and in the record, from 1. Never used for another.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The reason of this number. One that this version does not know is still a refusal.
    #[must_use]
    pub fn from_number(number: i32) -> Self {
        Self::ALL.into_iter().find(|why| i32::from(why.number()) == number).unwrap_or(DrillRefusal::Other)
    }

    /// Its name in APIs and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DrillRefusal::Length => "bad_length",
            DrillRefusal::Window => "bad_window",
            DrillRefusal::Approver => "no_approver",
            DrillRefusal::NoSchool => "no_school",
            DrillRefusal::Scope => "bad_scope",
            DrillRefusal::NotYours => "not_yours",
            DrillRefusal::TooMany => "too_many",
            DrillRefusal::Unknown => "unknown_drill",
            DrillRefusal::NoQuorum => "no_quorum",
            DrillRefusal::Other => "other",
        }
    }

    /// Whether another node may say otherwise, or this one later: whoever asks goes on asking.
    #[must_use]
    pub fn is_soft(self) -> bool {
        matches!(self, DrillRefusal::NoQuorum | DrillRefusal::Unknown)
    }
}

/// A drill shared between the record and those who look at it.
pub type SharedDrill = Arc<Drill>;
