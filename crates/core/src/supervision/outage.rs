//! Many that fall silent together are one outage: a cut fibre, a dead power line, and not a hundred faults.
//!
//! Invariant: a relay is a member of one outage at most, and of none once it is back.

use std::collections::{BTreeSet, VecDeque};

use crate::id::RelayId;
use crate::limits;
use crate::time::{Now, Timestamp, WallTime};

/// Which outage: they are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutageId(pub u64);

/// An outage that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Which one.
    pub id: OutageId,
    /// When it was noticed.
    pub noticed: WallTime,
    /// Those who are part of it and not back.
    pub members: BTreeSet<RelayId>,
    /// How many have been part of it.
    pub ever: usize,
    /// When somebody fell silent by it last.
    last: Timestamp,
}

#[derive(Debug, Default)]
pub(super) struct Outages {
    /// Those who fell silent lately, by themselves so far.
    recent: VecDeque<(Timestamp, RelayId)>,
    open: Vec<Outage>,
    count: u64,
}

impl Outages {
    /// These fall silent, of so many that are known. Gives the outage that they are part of, if they are; and all its members so far, if it begins
    /// with them.
    pub(super) fn join(
        &mut self,
        now: Now,
        silent: &[&RelayId],
        known: usize,
    ) -> Option<(OutageId, Option<Vec<RelayId>>)> {
        let lately = |at: Timestamp| now.mono.since(at) <= limits::OUTAGE_WINDOW;
        if let Some(outage) = self.open.iter_mut().rev().find(|outage| lately(outage.last)) {
            outage.last = now.mono;
            outage.ever += silent.len();
            outage.members.extend(silent.iter().map(|relay| (*relay).clone()));
            return Some((outage.id, None));
        }
        self.recent.retain(|(at, _)| lately(*at));
        self.recent.extend(silent.iter().map(|relay| (now.mono, (*relay).clone())));
        let together = self.recent.len();
        let share = together * 100 >= known * limits::OUTAGE_PERCENT && together >= limits::OUTAGE_LEAST;
        if !share && together < limits::OUTAGE_RELAYS {
            return None;
        }
        self.count += 1;
        let members: BTreeSet<RelayId> = self.recent.drain(..).map(|(_, relay)| relay).collect();
        let (id, all) = (OutageId(self.count), members.iter().cloned().collect());
        self.open.push(Outage { id, noticed: now.wall, ever: members.len(), members, last: now.mono });
        Some((id, Some(all)))
    }

    /// A relay that fell silent by itself is back.
    pub(super) fn forget(&mut self, relay: &RelayId) {
        self.recent.retain(|(_, recent)| recent != relay);
    }

    /// A member is back. True if it was the last.
    pub(super) fn leave(&mut self, id: OutageId, relay: &RelayId) -> bool {
        let Some(at) = self.open.iter().position(|outage| outage.id == id) else { return false };
        self.open[at].members.remove(relay);
        let over = self.open[at].members.is_empty();
        if over {
            self.open.remove(at);
        }
        over
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outage> {
        self.open.iter()
    }
}
