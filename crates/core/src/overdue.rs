//! An alarm that no officer takes, or that one has and nobody is sent: when its ownership goes up, and to whom.
//!
//! Who sees an alarm is decided when it comes in; what goes up with time is who must answer for it. Each [`Rung`] adds owners and
//! takes none away, and each is reached once.
//!
//! ```text
//!  nobody takes it   station ──(louder)──► + county ──► + city, the nearest neighbours are told ──► + province
//!                       └── nobody is there ──► + county, at once
//!  nobody is sent    the county is told to ask ──► + county ──► + city
//!  nobody arrives    ──► + county and city, the nearest neighbours are told
//! ```
//!
//! Invariant: a rung is reached by the record's order alone, so never twice; never after the step that it waits for was stored, the
//! acknowledgement, the dispatch or the arrival; and those of the second ladder not before the acknowledgement.

use crate::case::State;

use crate::id::{EventId, NodeName, StationId};
use crate::plan::Escalation;
pub use crate::plan::Rung;
use crate::time::{Span, WallTime};

impl Rung {
    /// What it means for an officer: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Rung::Louder => ("无人接警，再次提醒", "Nobody has taken it: rung louder"),
            Rung::County => ("升级：县局共同负责", "Gone up: the county answers for it too"),
            Rung::City => {
                ("升级：市局共同负责，已通知邻近派出所", "Gone up: the city answers for it too, neighbours are told")
            }
            Rung::Province => ("升级：省厅共同负责", "Gone up: the province answers for it too"),
            Rung::DispatchNudge => ("已接警未派警，请县局催办", "Taken, and nobody is sent: the county is told to ask"),
            Rung::DispatchCounty => {
                ("超时未派警：县局接管，共同负责", "Nobody is sent: the county takes over and answers for it too")
            }
            Rung::DispatchCity => ("超时未派警：市局共同负责", "Nobody is sent: the city answers for it too"),
            Rung::Arrival => (
                "超时未到场：县局、市局共同负责，已通知邻近派出所增援",
                "Nobody has arrived: county and city answer for it too, neighbours are told to help",
            ),
        }
    }

    /// How long after the region took the alarm in it is reached, by the plan's `escalation`.
    #[must_use]
    pub fn after(self, escalation: &Escalation) -> Span {
        // `Rung::ALL` is in the order of the variants.
        escalation.after[self as usize]
    }

    /// Whether an alarm may still reach it, that an officer has (or not) and whose case stands there: once what it waits for has been done,
    /// it is too late.
    #[must_use]
    pub fn fits(self, taken: bool, state: State) -> bool {
        match self {
            Rung::Louder | Rung::County | Rung::City | Rung::Province => !taken,
            Rung::DispatchNudge | Rung::DispatchCounty | Rung::DispatchCity => taken && state < State::Dispatched,
            Rung::Arrival => taken && state < State::Onscene,
        }
    }

    /// The stations that own the alarm from this rung on.
    #[must_use]
    pub fn owners(self, escalation: &Escalation) -> Vec<StationId> {
        let desks = match self {
            Rung::Louder | Rung::DispatchNudge => [None, None],
            Rung::County | Rung::DispatchCounty => [escalation.county.clone(), None],
            Rung::City | Rung::DispatchCity => [escalation.city.clone(), None],
            Rung::Province => [escalation.province.clone(), None],
            Rung::Arrival => [escalation.county.clone(), escalation.city.clone()],
        };
        desks.into_iter().flatten().collect()
    }

    /// The stations that see it from this rung on without owning it.
    #[must_use]
    pub fn told(self, escalation: &Escalation) -> Vec<StationId> {
        match self {
            Rung::City | Rung::Arrival => escalation.neighbours.clone(),
            Rung::DispatchNudge => escalation.county.iter().cloned().collect(),
            _ => Vec::new(),
        }
    }
}

/// A rung that an alarm reached, as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The index in the record, from which on it is for `stations`.
    pub index: u64,
    /// The rung.
    pub rung: Rung,
    /// Who owns it from now on, beside those who did.
    pub owners: Vec<StationId>,
    /// Those who see it from now on and did not before.
    pub stations: Vec<StationId>,
    /// The broker node that found it overdue.
    pub by: NodeName,
    /// When, by the clock of `by`.
    pub at: WallTime,
}

/// What a seat is told of an alarm that nobody takes, or to which nobody is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// The alarm.
    pub event: EventId,
    /// The highest rung that it has reached.
    pub rung: Rung,
    /// Everybody who owns it, the school's own station first.
    pub owners: Vec<StationId>,
    /// When the rung was reached, by the clock of the broker node that found it overdue.
    pub at: WallTime,
}
