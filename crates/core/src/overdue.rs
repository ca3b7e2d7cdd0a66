//! An alarm that no officer takes: when its ownership goes up, and to whom.
//!
//! Who sees an alarm is decided when it comes in; what goes up with time is who must answer for it. Each [`Rung`] adds owners and
//! takes none away, and each is reached once.
//!
//! ```text
//!   station ──(louder)──► + county ──► + city, the nearest neighbours are told ──► + province
//!      └── nobody is there ──► + county, at once
//! ```
//!
//! Invariant: a rung is reached by the record's order alone, so never twice, and never after an acknowledgement that the record holds.

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
        }
    }

    /// How long after the region took the alarm in it is reached, by the plan's `escalation`.
    #[must_use]
    pub fn after(self, escalation: &Escalation) -> Span {
        match self {
            Rung::Louder => escalation.louder_after,
            Rung::County => escalation.county_after,
            Rung::City => escalation.city_after,
            Rung::Province => escalation.province_after,
        }
    }

    /// The stations that own the alarm from this rung on.
    #[must_use]
    pub fn owners(self, escalation: &Escalation) -> Vec<StationId> {
        let desk = match self {
            Rung::Louder => None,
            Rung::County => escalation.county.clone(),
            Rung::City => escalation.city.clone(),
            Rung::Province => escalation.province.clone(),
        };
        desk.into_iter().collect()
    }

    /// The stations that see it from this rung on without owning it.
    #[must_use]
    pub fn told(self, escalation: &Escalation) -> Vec<StationId> {
        if self == Rung::City { escalation.neighbours.clone() } else { Vec::new() }
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

/// What a seat is told of an alarm that nobody takes.
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
