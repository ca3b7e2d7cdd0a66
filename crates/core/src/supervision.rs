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

use crate::id::{NodeName, RelayId, StationId};
use crate::limits;
use crate::time::{Now, WallTime};

use outage::Outages;
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
        /// Those who are part of it so far; those of them who had been told of before too.
        members: Vec<RelayId>,
    },
    /// All of its members are back.
    OutageOver {
        /// Which one.
        outage: OutageId,
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
                    self.relays.insert(relay.clone(), Watched { track: Track::Here, outage: None });
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

    /// The plan names these stations: they are to be watched from now on, and no others.
    pub fn plan(&mut self, now: Now, stations: &BTreeSet<StationId>) {
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
            let outage = self.relays.get_mut(&relay).and_then(|watched| watched.outage.take());
            self.outages.forget(&relay);
            findings.push(Finding::Back { relay: relay.clone(), since, outage });
            if let Some(outage) = outage.filter(|outage| self.outages.leave(*outage, &relay)) {
                findings.push(Finding::OutageOver { outage });
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
        let names: Vec<&RelayId> = silent.iter().map(|(relay, _)| relay).collect();
        let joined = self.outages.join(now, &names, self.relays.len());
        if let Some((outage, began)) = &joined {
            for member in began.iter().flatten().chain(names) {
                if let Some(watched) = self.relays.get_mut(member) {
                    watched.outage = Some(*outage);
                }
            }
            if let Some(members) = began {
                findings.push(Finding::OutageBegan { outage: *outage, members: members.clone() });
            }
        }
        let outage = joined.map(|(outage, _)| outage);
        findings.extend(silent.into_iter().map(|(relay, since)| Finding::Silent { relay, since, outage }));
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

#[cfg(test)]
mod tests;
