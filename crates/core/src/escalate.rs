//! The wish that more stations see an event: what an officer says at a station, and what regions pass on to one another.
//!
//! Invariant: escalation adds stations and never takes one away, so saying it twice, or in two records, says it once.

use crate::event::Text;
use crate::id::{EventId, Name, NodeName, StationId};
use crate::time::WallTime;

/// These stations must see this event too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalate {
    /// The event.
    pub event: EventId,
    /// The stations to add; at most [`limits::STATIONS_PER_SCHOOL`](crate::limits::STATIONS_PER_SCHOOL) at once.
    pub stations: Vec<StationId>,
    /// Who wants it: the seat at which it was said.
    pub by: NodeName,
    /// The officer who said it.
    pub officer: Option<Name>,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// Why; may be empty.
    pub note: Text,
}
