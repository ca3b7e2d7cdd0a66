//! What a station keeps of one event on disk.

use std::collections::BTreeSet;

use crate::event::Sealed;
use crate::receipt::{Receipt, Stage, Trail};
use crate::time::WallTime;

/// One event in the inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxRow {
    /// Its number in this station's inbox, from 1: rises by one with each event, never reused.
    pub seq: u64,
    /// The event.
    pub sealed: Sealed,
    /// Where the copy that came first had been, this station included.
    pub trail: Trail,
    /// When it came, by the station's clock.
    pub received_at: WallTime,
    /// The stages it has reached, by whoever said so, in the order in which the station heard of them.
    pub receipts: Vec<Receipt>,
    /// This station's own statements that the region's record has not confirmed yet.
    pub unconfirmed: BTreeSet<Stage>,
}
