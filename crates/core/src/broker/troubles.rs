//! What the region finds out by itself, on its way into the record; and what a seat says of itself.
//!
//! Invariant: only a node that leads and has a quorum proposes, and the record decides.

use crate::broker::machine::Broker;
use crate::broker::port::Output;
use crate::event::{Class, Kind, Sealed};
use crate::id::{EventId, NodeName, SchoolId, SeatId, StationId};
use crate::receipt::Trail;
use crate::record::{Admission, Command, overdue_since};
use crate::time::{Now, Timestamp, WallTime};
use crate::trouble::{About, Gap, Numbers, Seen, Told};

impl Broker {
    /// What is seen at this node that the region may have to tell: the open troubles of the record, and numbers that did not come.
    #[must_use]
    pub fn seen(&self, now: Now) -> Seen {
        let open = self.record.troubles().clone();
        let gaps: Vec<Gap> = self.numbers.gaps(now.mono).collect();
        let filled = |about: &About| match about {
            About::Gap(relay) if self.numbers.knows(now, open.get(about)?.since) => {
                (!self.numbers.has_hole(now.mono, relay)).then(|| relay.clone())
            }
            _ => None,
        };
        let filled = open.keys().filter_map(filled).collect();
        let reused = self.numbers.reused(now.mono);
        let reused = reused.map(|(relay, epoch, seq)| (relay.clone(), epoch, seq)).collect();
        let tested = |about: &About| match about {
            About::Untested(school) => overdue_since(self.plan(), self.record.tests(), now, school).is_none(),
            _ => false,
        };
        let school = |about: &About| match about {
            About::Untested(school) => Some(school.clone()),
            _ => None,
        };
        let tested = open.keys().filter(|about| tested(about)).filter_map(school).collect();
        Seen { open, gaps, filled, reused, overdue: Vec::new(), tested }
    }

    /// Schools whose test by hand is overdue, and when the last one was. One that never had any is in the list of `huxiao report untested` alone: on the
    /// day on which a province begins, that is every school. Looks at all schools that were ever tested, so it is not for every second.
    #[must_use]
    pub fn overdue_tests(&self, now: Now) -> Vec<(SchoolId, WallTime)> {
        let (plan, tests) = (self.plan(), self.record.tests());
        let schools = tests.iter().map(|(school, _)| school);
        schools.filter_map(|school| Some((school.clone(), overdue_since(plan, tests, now, school)?))).collect()
    }

    /// The region found these out.
    pub(super) fn troubles(&mut self, now: Now, told: Vec<Told>) {
        if !self.leads || self.condition.is_some() {
            return;
        }
        for Told { about, over, sealed, stations } in told {
            let admission = sealed.map(|sealed| Box::new(self.admission_of(now, sealed, stations)));
            let command = match admission {
                admission if over => Command::TroubleOver { about, admission, by: self.me.clone(), at: now.wall },
                Some(admission) => Command::TroubleBegan { about, admission },
                None => continue,
            };
            self.out.push_back(Output::Propose(command));
        }
    }

    fn admission_of(&self, now: Now, sealed: Sealed, stations: Vec<StationId>) -> Admission {
        // The province hears of outages, and of nothing smaller.
        let large = matches!(sealed.event.kind, Kind::Outage | Kind::OutageOver);
        let owed = large && self.config.province.as_ref().is_some_and(|above| Class::P1 <= above.lowest);
        let trail = Trail::default().arrived(&self.me, now.wall, None);
        Admission { sealed, trail, at: now.wall, by: self.me.clone(), stations, owed, joins: false }
    }

    /// An event has come into the record: its relay has counted so far.
    pub(super) fn count_number(&mut self, now: Timestamp, id: &EventId) {
        let Some(entry) = self.record.get(id) else { return };
        let event = &entry.admission.sealed.event;
        if entry.admission.forwarded_by().is_none() && !event.is_of_region() {
            self.numbers.came(now, &event.relay, event.epoch, event.seq);
        }
    }

    /// What the record holds of relays' numbers; nothing is known of those before.
    pub(super) fn recall_numbers(&mut self, now: Timestamp) {
        self.numbers = Numbers::new(now);
        for entry in self.record.entries() {
            let event = &entry.admission.sealed.event;
            if entry.admission.forwarded_by().is_none() && !event.is_of_region() {
                self.numbers.recall(&event.relay, event.epoch, event.seq);
            }
        }
    }

    /// A seat says whether it can be heard. One that cannot watches for nobody.
    pub(super) fn seat_state(&mut self, seat: SeatId, audible: bool) {
        let Some(desk) = self.desks.get_mut(&seat) else { return };
        if std::mem::replace(&mut desk.audible, audible) != audible {
            self.presence.note(NodeName::Station(seat), audible);
        }
    }
}
