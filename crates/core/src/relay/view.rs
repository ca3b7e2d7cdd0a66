//! One event in the outbox: its row, its lamp, and who waits for word of it.

use crate::event::{Class, Sealed};
use crate::lamp::{Lamp, LampState};
use crate::receipt::{Receipt, Stage, Standing, add_receipt};
use crate::relay::raise::{Raised, Ticket};
use crate::relay::row::RelayRow;
use crate::time::Timestamp;

/// An event as its relay knows it.
#[derive(Debug, Clone)]
pub struct EventView {
    pub(super) row: RelayRow,
    pub(super) lamp: LampState,
    pub(super) kept: bool,
    pub(super) refused: bool,
    /// Whether it is counted among the finished.
    pub(super) filed_as_finished: bool,
    /// Whom to tell what, once it is on disk.
    pub(super) waiting: Vec<(Ticket, Raised)>,
}

impl EventView {
    pub(super) fn new(now: Timestamp, row: RelayRow, kept: bool) -> Self {
        let mut lamp = LampState::new(now, &row.sealed.event);
        for receipt in &row.receipts {
            lamp.reached(receipt.stage);
        }
        Self { row, lamp, kept, refused: false, filed_as_finished: false, waiting: Vec::new() }
    }

    /// The event.
    #[must_use]
    pub fn sealed(&self) -> &Sealed {
        &self.row.sealed
    }

    /// Its place in the outbox: rises with each event.
    #[must_use]
    pub fn slot(&self) -> u64 {
        self.row.slot
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

    /// Whether it is on stable storage of the region. That a station has it does not say so: that is told before the record has it.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        self.row.receipts.iter().any(says_stored)
    }

    /// Whether it need not be sent again and again though no record has it: a node without a quorum has it on its disk and, of an alarm, a
    /// station too. It is asked about instead, like what is stored; without this, all that is pressed while a region has no quorum would be
    /// repeated to its end, and new alarms would wait for their turn.
    pub(super) fn rests(&self) -> bool {
        let held = |receipt: &Receipt| receipt.stage == Stage::Received && receipt.standing == Standing::Provisional;
        let urgent = self.row.sealed.event.class <= Class::P1;
        self.row.receipts.iter().any(held) && (!urgent || self.furthest() >= Some(Stage::Delivered))
    }

    /// The officers who have it and who assist: the acknowledgements, the owner's first once the region's record has said whose it is.
    #[must_use]
    pub fn acknowledgements(&self) -> Vec<&Receipt> {
        let mut all: Vec<_> = self.row.receipts.iter().filter(|receipt| receipt.stage == Stage::Acknowledged).collect();
        all.sort_by_key(|receipt| receipt.standing);
        all
    }

    /// Whether nothing more is to be done for it: an officer has it, by the region's record, or that has closed it by itself; or, where none need take it (below P1), the record and a
    /// station have. That somebody assists does not say whose it is: that is asked for.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        if self.row.sealed.event.class <= Class::P1 {
            self.row
                .receipts
                .iter()
                .any(|receipt| receipt.stage >= Stage::Acknowledged && receipt.standing == Standing::Settled)
        } else {
            self.is_stored() && self.furthest() >= Some(Stage::Delivered)
        }
    }

    pub(super) fn furthest(&self) -> Option<Stage> {
        self.row.receipts.iter().map(|receipt| receipt.stage).max()
    }

    /// Takes a receipt in. False if it says nothing new.
    pub(super) fn add(&mut self, receipt: Receipt) -> bool {
        add_receipt(&mut self.row.receipts, receipt)
    }
}

/// Whether a receipt says that the region's record has the event: an acknowledgement that is not provisional is passed on only out of it.
pub(super) fn says_stored(receipt: &Receipt) -> bool {
    matches!(receipt.stage, Stage::Stored | Stage::Acknowledged | Stage::Closed) && receipt.is_final()
}
