//! Who is silent: schools whose relay no node of the region hears, and stations that nobody watches.
//!
//! ```text
//!  each node: Presence (who holds a session here, and what changed) ─► asked once a second by every node of the region
//!  each node: Roll (who holds a session anywhere) ─► Supervisor (who is silent, which of it is one outage) ─► people
//! ```
//!
//! Every node makes the whole picture for itself, so it survives any of them. A relay is known from its first session on; what has never been
//! connected is not silent. The stations are those of the plan.
//!
//! Invariants: of each relay and each station it is told in turns that it is silent and that it is back, and neither without the other; what
//! comes and goes more quickly than its rule says is told of neither way.

mod outage;
mod presence;
mod roll;
mod track;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{NodeName, RelayId, SchoolId, StationId};
use crate::limits;
use crate::plan::Plan;
use crate::time::{Now, Timestamp, WallTime};
use crate::trouble::{About, Scope, Troubles};

use outage::{Joined, Left, Outages};
pub use outage::{Outage, OutageId};
pub use presence::{Presence, PresenceAsk, PresencePart};
pub use roll::{Changes, Roll};
pub use track::Rule;
use track::{Track, Turn};

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// No node has heard of the relay for as long as [`Rule::RELAY`] says.
    Silent {
        /// The relay.
        relay: RelayId,
        /// When its last session ended.
        since: WallTime,
        /// The outage that it is part of: then it is no news by itself.
        outage: Option<OutageId>,
    },
    /// It is back, and has been for a while.
    Back {
        /// The relay.
        relay: RelayId,
        /// Since when it had been silent.
        since: WallTime,
        /// The outage that it was part of.
        outage: Option<OutageId>,
    },
    /// Many relays fell silent together: one event, and not as many. Its members are told of after it.
    OutageBegan {
        /// Which one.
        outage: OutageId,
        /// How far it reaches.
        scope: Scope,
        /// How many relays are known there.
        known: usize,
        /// Those who are part of it so far; those of them who had been told of before too.
        members: Vec<RelayId>,
    },
    /// All of its members are back, or all but a few.
    OutageOver {
        /// Which one.
        outage: OutageId,
        /// Those who are not: each silent by itself from now on.
        still: Vec<RelayId>,
    },
    /// Nobody has watched for the station for as long as [`Rule::STATION`] says.
    Unwatched {
        /// The station.
        station: StationId,
        /// Since when.
        since: WallTime,
    },
    /// Somebody watches for it again, and has for a while.
    Watched {
        /// The station.
        station: StationId,
        /// Since when nobody had.
        since: WallTime,
    },
}

struct Watched {
    track: Track,
    outage: Option<OutageId>,
    /// Where outages count it.
    scope: Scope,
    /// When it was called silent, or was left alone by an outage; while it is silent.
    told: Option<Timestamp>,
}

struct Desk {
    track: Track,
    seats: usize,
    planned: bool,
}

/// Makes of who comes and goes what people must know.
#[derive(Default)]
pub struct Supervisor {
    relays: BTreeMap<RelayId, Watched>,
    stations: BTreeMap<StationId, Desk>,
    outages: Outages,
    plan: Arc<Plan>,
}

impl Supervisor {
    /// One that knows of nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Somebody holds a session with some node of the region, who held none before.
    pub fn see(&mut self, now: Now, who: &NodeName) {
        match who {
            NodeName::Relay(relay) => {
                if let Some(watched) = self.relays.get_mut(relay) {
                    watched.track.see(now, Rule::RELAY);
                } else if self.relays.len() < limits::BROKER_SESSIONS {
                    self.add(relay, Track::Here, None);
                }
            }
            NodeName::Station(seat) => {
                let desk = self.desk(now, &seat.station);
                desk.seats += 1;
                desk.track.see(now, Rule::STATION);
            }
            NodeName::Broker { .. } => {}
        }
    }

    /// Somebody's last session with any node of the region has ended.
    pub fn lose(&mut self, now: Now, who: &NodeName) {
        match who {
            NodeName::Relay(relay) => {
                if let Some(watched) = self.relays.get_mut(relay) {
                    watched.track.lose(now);
                }
            }
            NodeName::Station(seat) => {
                let Some(desk) = self.stations.get_mut(&seat.station) else { return };
                desk.seats = desk.seats.saturating_sub(1);
                if desk.seats == 0 {
                    desk.track.lose(now);
                    self.forget_unplanned(&seat.station);
                }
            }
            NodeName::Broker { .. } => {}
        }
    }

    /// This plan is in force: it says which stations are to be watched, and where schools are.
    pub fn plan(&mut self, now: Now, plan: &Arc<Plan>) {
        if Arc::ptr_eq(&self.plan, plan) {
            return;
        }
        self.plan = Arc::clone(plan);
        let stations = plan.answering_stations().into_iter().cloned().collect();
        self.watch(now, &stations);
        for (relay, watched) in &mut self.relays {
            watched.scope = scope_of(plan, &relay.school);
        }
    }

    /// What the record holds for true, and this node, which may have started since, has not seen: it is silent or unwatched until it has been
    /// looked at.
    pub fn recall(&mut self, now: Now, open: &Troubles) {
        for (about, trouble) in open {
            let since = trouble.since;
            match about {
                About::Silent(relay) if !self.relays.contains_key(relay) => {
                    if self.relays.len() < limits::BROKER_SESSIONS {
                        self.add(relay, Track::Silent { since }, Some(now.mono));
                    }
                }
                About::Unwatched(station) => {
                    if let Some(desk) = self.stations.get_mut(station).filter(|desk| desk.seats == 0)
                        && matches!(desk.track, Track::Away { .. })
                    {
                        desk.track = Track::Silent { since };
                    }
                }
                About::Silent(_) | About::Outage(_) | About::Gap(_) | About::StoreLoss(_) | About::Untested(_) => {}
            }
        }
    }

    fn add(&mut self, relay: &RelayId, track: Track, told: Option<Timestamp>) {
        let scope = scope_of(&self.plan, &relay.school);
        self.relays.insert(relay.clone(), Watched { track, outage: None, scope, told });
    }

    /// These stations are to be watched from now on, and no others.
    fn watch(&mut self, now: Now, stations: &BTreeSet<StationId>) {
        for (station, desk) in &mut self.stations {
            desk.planned = stations.contains(station);
        }
        for station in stations {
            self.desk(now, station).planned = true;
        }
        // What nobody asks for any more, and has no seat, is no concern of anybody's.
        self.stations.retain(|_, desk| desk.planned || desk.seats > 0);
    }

    /// What is to be told now. To be called once a second or so.
    pub fn tick(&mut self, now: Now) -> Vec<Finding> {
        let (mut silent, mut back, mut findings) = (Vec::new(), Vec::new(), Vec::new());
        for (relay, watched) in &mut self.relays {
            match watched.track.tick(now, Rule::RELAY) {
                Some(Turn::Silent(since)) => silent.push((relay.clone(), since)),
                Some(Turn::Back(since)) => back.push((relay.clone(), since)),
                None => {}
            }
        }
        for (relay, since) in back {
            let Some(watched) = self.relays.get_mut(&relay) else { continue };
            watched.told = None;
            let outage = watched.outage.take();
            self.outages.forget(&relay);
            findings.push(Finding::Back { relay: relay.clone(), since, outage });
            if let Some(outage) = outage
                && let Left::Over(still) = self.outages.leave(outage, &relay)
            {
                for left in &still {
                    if let Some(watched) = self.relays.get_mut(left) {
                        (watched.outage, watched.told) = (None, Some(now.mono));
                    }
                }
                findings.push(Finding::OutageOver { outage, still: still.into_iter().collect() });
            }
        }
        self.silent(now, silent, &mut findings);
        for (station, desk) in &mut self.stations {
            let turn = desk.track.tick(now, Rule::STATION).filter(|_| desk.planned);
            let station = station.clone();
            findings.extend(turn.map(|turn| match turn {
                Turn::Silent(since) => Finding::Unwatched { station, since },
                Turn::Back(since) => Finding::Watched { station, since },
            }));
        }
        findings
    }

    fn silent(&mut self, now: Now, silent: Vec<(RelayId, WallTime)>, findings: &mut Vec<Finding>) {
        if silent.is_empty() {
            return;
        }
        let mut names = Vec::new();
        for (relay, _) in &silent {
            let Some(watched) = self.relays.get_mut(relay) else { continue };
            watched.told = Some(now.mono);
            names.push((relay, watched.scope));
        }
        let relays = &self.relays;
        let known = |scope: Option<Scope>| {
            relays.values().filter(|watched| scope.is_none_or(|scope| watched.scope == scope)).count()
        };
        let joined = self.outages.join(now, &names, &known);
        for Joined { outage, members, began } in joined {
            for member in &members {
                if let Some(watched) = self.relays.get_mut(member) {
                    watched.outage = Some(outage);
                }
            }
            if let Some((scope, known)) = began {
                findings.push(Finding::OutageBegan { outage, scope, known, members });
            }
        }
        findings.extend(silent.into_iter().map(|(relay, since)| {
            let outage = self.relays.get(&relay).and_then(|watched| watched.outage);
            Finding::Silent { relay, since, outage }
        }));
    }

    /// Relays that have been seen.
    #[must_use]
    pub fn relays(&self) -> usize {
        self.relays.len()
    }

    /// The relays that are silent: since when, as part of which outage, and whether they have sessions again and are looked at.
    pub fn silent_relays(&self) -> impl Iterator<Item = (&RelayId, WallTime, Option<OutageId>, bool)> {
        self.relays.iter().filter_map(|(relay, watched)| {
            let (since, returning) = watched.track.silent()?;
            Some((relay, since, watched.outage, returning))
        })
    }

    /// The relays that are silent by themselves and not on their way back: since when, and when that was found or they were left alone.
    pub fn silent_alone(&self) -> impl Iterator<Item = (&RelayId, WallTime, Timestamp)> {
        self.relays.iter().filter_map(|(relay, watched)| {
            let (since, returning) = watched.track.silent()?;
            let told = watched.told.filter(|_| watched.outage.is_none() && !returning)?;
            Some((relay, since, told))
        })
    }

    /// Whether a relay is silent as far as people know; `None` if it has never been seen.
    #[must_use]
    pub fn is_silent(&self, relay: &RelayId) -> Option<bool> {
        self.relays.get(relay).map(|watched| watched.track.silent().is_some())
    }

    /// Whether nobody watches for a station, as far as people know; `None` if the plan does not name it.
    #[must_use]
    pub fn is_unwatched(&self, station: &StationId) -> Option<bool> {
        self.stations.get(station).filter(|desk| desk.planned).map(|desk| desk.track.silent().is_some())
    }

    /// Stations that the plan names.
    #[must_use]
    pub fn stations(&self) -> usize {
        self.stations.values().filter(|desk| desk.planned).count()
    }

    /// Those of them that nobody watches: since when, and whether somebody does again and is looked at.
    pub fn unwatched_stations(&self) -> impl Iterator<Item = (&StationId, WallTime, bool)> {
        self.stations.iter().filter(|(_, desk)| desk.planned).filter_map(|(station, desk)| {
            let (since, returning) = desk.track.silent()?;
            Some((station, since, returning))
        })
    }

    /// The outages that are not over.
    pub fn outages(&self) -> impl Iterator<Item = &Outage> {
        self.outages.iter()
    }

    fn desk(&mut self, now: Now, station: &StationId) -> &mut Desk {
        self.stations.entry(station.clone()).or_insert_with(|| Desk {
            track: Track::Away { since: now },
            seats: 0,
            planned: false,
        })
    }

    fn forget_unplanned(&mut self, station: &StationId) {
        if self.stations.get(station).is_some_and(|desk| !desk.planned && desk.seats == 0) {
            self.stations.remove(station);
        }
    }
}

/// Where outages count a school: in its county or, where the plan puts it into none, in what else it says.
fn scope_of(plan: &Plan, school: &SchoolId) -> Scope {
    plan.school(school).and_then(|school| plan.area_of(school)).map_or(Scope::Region, Scope::Area)
}

#[cfg(test)]
mod tests;
