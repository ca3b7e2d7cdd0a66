//! Many that fall silent together are one outage: a cut fibre, a dead power line, and not a hundred faults.
//!
//! Together means within [`limits::OUTAGE_WINDOW`] and in one county: ten, or a fifth of those that are known there. Ten in as many counties are an
//! outage of the region.
//!
//! Invariant: a relay is a member of one outage at most, and of none once it is back or the outage is over.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::id::RelayId;
use crate::limits;
use crate::time::{Now, Timestamp, WallTime};
use crate::trouble::Scope;

/// Which outage: they are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutageId(pub u64);

/// An outage that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// Which one.
    pub id: OutageId,
    /// How far it reaches.
    pub scope: Scope,
    /// How many relays are known there.
    pub known: usize,
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
    recent: VecDeque<(Timestamp, RelayId, Scope)>,
    open: Vec<Outage>,
    count: u64,
}

/// Relays that belong to an outage from now on.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) outage: OutageId,
    pub(super) members: Vec<RelayId>,
    /// Where and of how many, if it begins with them.
    pub(super) began: Option<(Scope, usize)>,
}

/// What becomes of an outage when a member is back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Left {
    /// It goes on.
    On,
    /// It is over; these are silent by themselves from now on.
    Over(BTreeSet<RelayId>),
}

impl Outages {
    /// These fall silent. `known` says how many are known in a scope. Gives the outages that they are part of, as far as they are.
    pub(super) fn join(
        &mut self,
        now: Now,
        silent: &[(&RelayId, Scope)],
        known: &dyn Fn(Option<Scope>) -> usize,
    ) -> Vec<Joined> {
        let lately = |at: Timestamp| now.mono.since(at) <= limits::OUTAGE_WINDOW;
        let mut joined: BTreeMap<OutageId, Vec<RelayId>> = BTreeMap::new();
        self.recent.retain(|(at, ..)| lately(*at));
        for (relay, scope) in silent {
            let of = |wanted: Scope| self.open.iter().rposition(|outage| lately(outage.last) && outage.scope == wanted);
            match of(*scope).or_else(|| of(Scope::Region)) {
                Some(at) => {
                    let outage = &mut self.open[at];
                    outage.last = now.mono;
                    outage.ever += 1;
                    outage.members.insert((*relay).clone());
                    joined.entry(outage.id).or_default().push((*relay).clone());
                }
                None => self.recent.push_back((now.mono, (*relay).clone(), *scope)),
            }
        }
        let of_outage = |(outage, members)| Joined { outage, members, began: None };
        let mut all: Vec<Joined> = joined.into_iter().map(of_outage).collect();
        let mut together: BTreeMap<Scope, usize> = BTreeMap::new();
        self.recent.iter().for_each(|(.., scope)| *together.entry(*scope).or_default() += 1);
        for (scope, together) in together {
            let of = known(Some(scope));
            let share = together * 100 >= of * limits::OUTAGE_PERCENT && together >= limits::OUTAGE_LEAST;
            if share || together >= limits::OUTAGE_RELAYS {
                all.push(self.begin(now, scope, of, |other| other == scope));
            }
        }
        if self.recent.len() >= limits::OUTAGE_RELAYS {
            all.push(self.begin(now, Scope::Region, known(None), |_| true));
        }
        all
    }

    /// Those that fell silent lately, in a scope that `is` says, are an outage.
    fn begin(&mut self, now: Now, scope: Scope, known: usize, is: impl Fn(Scope) -> bool) -> Joined {
        self.count += 1;
        let (mut members, mut others) = (BTreeSet::new(), VecDeque::new());
        for recent in self.recent.drain(..) {
            if is(recent.2) {
                members.insert(recent.1);
            } else {
                others.push_back(recent);
            }
        }
        self.recent = others;
        let (id, list) = (OutageId(self.count), members.iter().cloned().collect());
        let (ever, last) = (members.len(), now.mono);
        self.open.push(Outage { id, scope, known, noticed: now.wall, ever, members, last });
        Joined { outage: id, members: list, began: Some((scope, known)) }
    }

    /// A relay that fell silent by itself is back.
    pub(super) fn forget(&mut self, relay: &RelayId) {
        self.recent.retain(|(_, recent, _)| recent != relay);
    }

    /// A member is back.
    pub(super) fn leave(&mut self, id: OutageId, relay: &RelayId) -> Left {
        let Some(at) = self.open.iter().position(|outage| outage.id == id) else { return Left::On };
        let outage = &mut self.open[at];
        outage.members.remove(relay);
        if outage.members.len() * 100 > outage.ever * limits::OUTAGE_REST_PERCENT {
            return Left::On;
        }
        Left::Over(self.open.remove(at).members)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Outage> {
        self.open.iter()
    }
}
