//! One event in the outbox: its row, its lamp, and who waits for word of it.

use crate::event::{Class, Sealed};
use crate::lamp::{Lamp, LampState};
use crate::limits;
use crate::receipt::{Receipt, Stage};
use crate::relay::raise::Ticket;
use crate::relay::row::RelayRow;
use crate::time::Timestamp;

/// An event as its relay knows it.
#[derive(Debug, Clone)]
pub struct EventView {
    pub(super) row: RelayRow,
    pub(super) lamp: LampState,
    pub(super) kept: bool,
    pub(super) refused: bool,
    pub(super) waiting: Vec<(Ticket, bool)>,
    pub(super) retry_keeping_at: Option<Timestamp>,
}

impl EventView {
    pub(super) fn new(now: Timestamp, row: RelayRow, kept: bool) -> Self {
        let mut lamp = LampState::new(now, &row.sealed.event);
        row.receipts.iter().for_each(|receipt| drop(lamp.reached(receipt.stage)));
        Self { row, lamp, kept, refused: false, waiting: Vec::new(), retry_keeping_at: None }
    }

    /// The event.
    #[must_use]
    pub fn sealed(&self) -> &Sealed {
        &self.row.sealed
    }

    /// All receipts so far, in the order in which the relay heard of them.
    #[must_use]
    pub fn receipts(&self) -> &[Receipt] {
        &self.row.receipts
    }

    /// The first receipt of `stage`.
    #[must_use]
    pub fn receipt(&self, stage: Stage) -> Option<&Receipt> {
        self.row.receipts.iter().find(|receipt| receipt.stage == stage)
    }

    /// What its lamp shows.
    #[must_use]
    pub fn lamp(&self) -> Lamp {
        self.lamp.show()
    }

    /// Whether it is on this relay's disk.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.kept
    }

    /// Whether the region refused it.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused
    }

    /// Whether it is on stable storage of the region.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.furthest() >= Some(Stage::Stored)
    }

    /// Whether nothing more is to be done for it: an officer has it, or a station, where that is enough.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let class = self.row.sealed.event.class;
        self.furthest() >= Some(if class <= Class::P1 { Stage::Acknowledged } else { Stage::Delivered })
    }

    pub(super) fn furthest(&self) -> Option<Stage> {
        self.row.receipts.iter().map(|receipt| receipt.stage).max()
    }

    /// Takes a receipt in. False if it says nothing new.
    pub(super) fn add(&mut self, receipt: Receipt) -> bool {
        let known = |have: &Receipt| have.stage == receipt.stage && have.by == receipt.by;
        if self.row.receipts.iter().any(known) || self.row.receipts.len() >= limits::RECEIPTS_PER_EVENT {
            return false;
        }
        self.row.receipts.push(receipt);
        true
    }
}
