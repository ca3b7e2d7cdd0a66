//! What a station keeps of one event on disk.

use std::collections::BTreeSet;

use crate::case::Summary;
use crate::event::{Class, Sealed};
use crate::id::NodeName;
use crate::overdue::Ownership;
use crate::receipt::{Receipt, Stage, Standing, Trail, add_receipt};
use crate::signature::Verdict;
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
    /// Who owns it because nobody took it, as the region said last; `None` while it has reached no rung.
    pub ownership: Option<Ownership>,
    /// How its case stands, if a broker node has said so. Before that, nothing was done but what the receipts say.
    pub case: Option<Box<Summary>>,
    /// What was found of its signature when it came; `None` for what nobody signs.
    pub signature: Option<Verdict>,
}

impl InboxRow {
    /// Whose acknowledgement came first, as far as this station knows: by the region's record or, while that has not said, by whatever node
    /// took it.
    #[must_use]
    pub fn owner(&self) -> Option<&Receipt> {
        let taken = || self.receipts.iter().filter(|receipt| receipt.stage == Stage::Acknowledged);
        let settled = taken().find(|receipt| receipt.standing == Standing::Settled);
        settled.or_else(|| taken().find(|receipt| receipt.standing == Standing::Provisional))
    }

    /// The officers who assist: whose acknowledgement came after the owner's in the region's record.
    pub fn assisting(&self) -> impl Iterator<Item = &Receipt> {
        self.receipts.iter().filter(|receipt| receipt.standing == Standing::Assisting)
    }

    /// Whether an officer has it, or none need take it (any longer). What only a node without a quorum has taken may yet be lost with it, unless this seat
    /// says it itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let taken = |receipt: &Receipt| receipt.stage >= Stage::Acknowledged && receipt.is_final();
        self.sealed.event.class > Class::P1
            || self.unconfirmed.contains(&Stage::Acknowledged)
            || self.receipts.iter().any(taken)
    }

    /// Whether the region's record has yet to say something of it: who has it or, of what a node without a quorum took, who owns it and who
    /// assists. It was told, perhaps, while this seat was away.
    pub(super) fn is_open(&self) -> bool {
        let uncertain = |receipt: &Receipt| receipt.stage == Stage::Acknowledged && !receipt.is_final();
        let owned = self.owner().is_some_and(Receipt::is_final);
        !self.is_finished() || self.receipts.iter().any(uncertain) || (!owned && self.assisting().next().is_some())
    }

    /// What `by` said of it, if anything.
    pub(super) fn said(&self, stage: Stage, by: &NodeName) -> Option<&Receipt> {
        self.receipts.iter().find(|receipt| receipt.stage == stage && receipt.by == *by)
    }

    /// What the region says to this seat's own statement. False if that is known.
    pub(super) fn set_standing(&mut self, stage: Stage, me: &NodeName, standing: Standing) -> bool {
        let own = self.receipts.iter_mut().find(|receipt| receipt.stage == stage && receipt.by == *me);
        own.is_some_and(|own| std::mem::replace(&mut own.standing, standing) != standing)
    }

    /// Takes in who owns it. False if that is known, or older than what is.
    pub(super) fn owned_by(&mut self, ownership: Ownership) -> bool {
        let news = |known: &Ownership| (ownership.rung, ownership.owners.len()) > (known.rung, known.owners.len());
        let news = self.ownership.as_ref().is_none_or(news);
        if news {
            self.ownership = Some(ownership);
        }
        news
    }

    /// Takes a receipt in. False if it says nothing new.
    ///
    /// The region passes on no acknowledgement but the owner's, so one that comes from outside goes before the seat's own, `me`.
    pub(super) fn add(&mut self, receipt: Receipt, me: &NodeName) -> bool {
        let owns = receipt.stage == Stage::Acknowledged && receipt.standing == Standing::Settled;
        let (owner, by) = (owns && receipt.by != *me, receipt.by.clone());
        if !add_receipt(&mut self.receipts, receipt) {
            return false;
        }
        let owned = self.receipts.iter().position(|have| have.stage == Stage::Acknowledged);
        if let Some(first) = owned.filter(|_| owner)
            && self.receipts[first].by != by
            && let Some(receipt) = self.receipts.pop()
        {
            self.receipts.insert(first, receipt);
        }
        true
    }
}
