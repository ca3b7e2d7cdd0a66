//! Alarms that nobody takes, or to which nobody is sent: when the ownership of each goes up next, and who is told.
//!
//! Each node follows each open alarm by its own steady clock, from the moment at which it first saw it; a node that starts, or gets a whole
//! record, goes by how old the alarm is by the clocks on the wall. The leader proposes what is due, and the record decides. Without a
//! quorum each node goes up by itself: then a seat may be told twice, and none is told too late.
//!
//! What the second ladder waits for, a dispatch and an arrival, only the record can say, so without a quorum nobody goes up it.
//!
//! Invariant: only alarms that are meant, or a drill, and to which nobody has come are followed; a node that neither leads nor is without
//! a quorum has no timer of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{Output, Report};
use crate::case::State;
use crate::event::{Class, Mode};
use crate::id::{EventId, PathId, SeatId, StationId};
use crate::limits;
use crate::message::{FUNCTIONS_SINCE, Message, OWNERSHIP_SINCE};
use crate::overdue::{Ownership, Rung};
use crate::path::Form;
use crate::plan::Escalation;
use crate::receipt::Stage;
use crate::record::{Admission, Command, Entry};
use crate::time::{Now, Span, Timestamp};

/// How soon what was proposed, or cannot be proposed yet, is looked at again, while little is under way.
const AGAIN_AFTER: Span = Span::from_secs(2);
/// Rungs that are under way to the record at once: after a long outage thousands may be due, and must not fill the log with repeats.
const WINDOW: usize = 256;

/// One alarm that nobody has taken, or to which nobody has come.
#[derive(Debug)]
struct Climb {
    /// Since when it is followed here.
    from: Timestamp,
    /// How long the region had had it by then.
    age: Span,
    /// Whether nobody was at the owner's seats then.
    unattended: bool,
    /// The highest rung that this node went up to by itself, without a quorum.
    local: Option<Rung>,
    /// Since when an officer has it, as far as this node saw that.
    taken: Option<Timestamp>,
    /// When it is looked at, as the timer table has it.
    due: Option<Timestamp>,
}

/// The alarms that nobody has taken, or to which nobody has come.
#[derive(Debug, Default)]
pub(super) struct Climbs {
    open: BTreeMap<EventId, Climb>,
    due: BTreeSet<(Timestamp, EventId)>,
    /// Those of which a rung is under way to the record.
    asked: BTreeSet<EventId>,
}

impl Climbs {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    fn set(&mut self, id: EventId, due: Option<Timestamp>) {
        let Some(climb) = self.open.get_mut(&id) else { return };
        let old = std::mem::replace(&mut climb.due, due);
        if let Some(old) = old {
            self.due.remove(&(old, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
    }

    /// Whether a rung of this alarm may be proposed now.
    fn ask(&mut self, id: EventId) -> bool {
        let room = self.asked.len() < WINDOW || self.asked.contains(&id);
        if room {
            self.asked.insert(id);
        }
        room
    }

    fn patience(&self) -> Span {
        AGAIN_AFTER + AGAIN_AFTER * u32::try_from(self.asked.len() / 64).unwrap_or(u32::MAX)
    }

    fn remove(&mut self, id: &EventId) {
        self.asked.remove(id);
        if let Some(climb) = self.open.remove(id)
            && let Some(due) = climb.due
        {
            self.due.remove(&(due, *id));
        }
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<EventId> {
        let (_, id) = self.due.first().copied().filter(|(at, _)| *at <= now)?;
        self.set(id, None);
        Some(id)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let armed = self.open.values().filter(|climb| climb.due.is_some()).count();
        let listed = |(at, id): &(Timestamp, EventId)| self.open.get(id).is_some_and(|climb| climb.due == Some(*at));
        if armed != self.due.len() || !self.due.iter().all(listed) {
            return Err("the timers of alarms that nobody takes are not those of the alarms".to_owned());
        }
        Ok(())
    }
}

impl Broker {
    /// Follows an alarm from now on, one that has just come or that the region took in so long ago. Does nothing where somebody is there, or for
    /// what is no alarm.
    pub(super) fn follow(&mut self, now: Now, id: EventId, age: Option<Span>) {
        if self.climbs.open.contains_key(&id) {
            return self.look_when_due(now, id);
        }
        let live = self.record.get(&id).is_some_and(|entry| entry.is_live());
        let Some(admission) = self.admission(&id).filter(|admission| climbs(admission, live)) else { return };
        let entry = self.record.get(&id);
        if entry.is_some_and(|entry| entry.case.state >= State::Onscene) {
            return;
        }
        let taken = entry.is_some_and(|entry| entry.owner().is_some()).then_some(now.mono);
        let owner = admission.stations.first().cloned();
        // Of what was there before this node was, it does not know; and its stations may not have found it yet.
        let unattended = age.is_none()
            && owner
                .is_some_and(|owner| !seats_of(&mut self.desks, &owner).any(|(_, desk)| desk.greeted && desk.audible));
        let climb = Climb { from: now.mono, age: age.unwrap_or_default(), unattended, local: None, taken, due: None };
        self.climbs.open.insert(id, climb);
        self.look_when_due(now, id);
    }

    /// An officer has the alarm, or its case has got further.
    pub(super) fn follow_case(&mut self, now: Now, id: EventId) {
        match self.record.get(&id).map(|entry| (entry.owner().is_some(), entry.case.state)) {
            Some((taken, state)) if state < State::Onscene => {
                if let Some(climb) = self.climbs.open.get_mut(&id)
                    && taken
                    && climb.taken.is_none()
                {
                    climb.taken = Some(now.mono);
                    self.climbs.asked.remove(&id);
                }
                self.follow(now, id, None);
            }
            _ => self.unfollow(&id),
        }
    }

    /// Somebody is there, or the alarm is gone.
    pub(super) fn unfollow(&mut self, id: &EventId) {
        self.climbs.remove(id);
    }

    /// This node leads now, or no longer; it lost its quorum, or has it again; or has another record.
    pub(super) fn follow_all(&mut self, now: Now) {
        // Of what a former leader had under way nobody knows here.
        self.climbs.asked.clear();
        let known: Vec<EventId> = self.climbs.open.keys().copied().collect();
        for id in known {
            if self.pending.contains_key(&id) { self.look_when_due(now, id) } else { self.follow_case(now, id) }
        }
        if !self.acts() {
            return;
        }
        let unknown = |id: &EventId| !self.climbs.open.contains_key(id);
        let recorded = self.record.unfinished().chain(self.record.taken()).map(|entry| &entry.admission);
        let open = recorded.chain(self.pending.values().map(|pending| &pending.admission));
        let open = open.map(|admission| (admission.sealed.event.id, age(now, admission)));
        let late: Vec<_> = open.filter(|(id, _)| unknown(id)).collect();
        for (id, age) in late {
            self.follow(now, id, Some(age));
        }
    }

    /// Whether this node has alarms go up.
    fn acts(&self) -> bool {
        self.leads || self.condition.is_some()
    }

    /// The rung that the alarm has reached, here or in the record.
    fn rung_of(&self, id: &EventId) -> Option<Rung> {
        let local = self.climbs.open.get(id).and_then(|climb| climb.local);
        self.record.get(id).and_then(|entry| entry.rung()).max(if self.condition.is_some() { local } else { None })
    }

    /// When each rung that is still to come is due.
    fn to_come(&self, id: &EventId) -> Option<(Escalation, Vec<(Rung, Timestamp)>)> {
        let climb = self.climbs.open.get(id)?;
        let escalation = self.plan().escalation(self.admission(id)?.sealed.event.school());
        // A plan that names no desk is one that older nodes have too, and those would end at a rung in the record.
        if !escalation.leads_anywhere() {
            return Some((escalation, Vec::new()));
        }
        let reached = self.rung_of(id);
        let entry = self.record.get(id);
        let (taken, state) = entry.map_or((false, State::Raised), |entry| (entry.owner().is_some(), entry.case.state));
        let alone = self.condition.is_some();
        let comes = |rung: &Rung| Some(*rung) > reached && rung.fits(taken, state) && !(alone && rung.is_of_taken());
        let at = |rung: Rung| {
            let at_once = climb.unattended && rung <= Rung::County && escalation.county.is_some();
            let due = climb.from + rung.after(&escalation).saturating_sub(climb.age);
            // Whoever takes it late has the time to send somebody.
            let least = climb.taken.filter(|_| rung.is_of_taken()).map(|taken| taken + limits::DISPATCH_LEAST);
            (rung, if at_once { climb.from } else { least.map_or(due, |least| due.max(least)) })
        };
        let rungs = Rung::ALL.into_iter().filter(comes).map(at).collect();
        Some((escalation, rungs))
    }

    fn look_when_due(&mut self, now: Now, id: EventId) {
        let next = if self.acts() { self.to_come(&id).and_then(|(_, rungs)| rungs.first().copied()) } else { None };
        self.climbs.set(id, next.map(|(_, at)| at));
        if next.is_some_and(|(_, at)| at <= now.mono) {
            self.climb(now, id);
        }
    }

    /// Has go up what is due.
    pub(super) fn climbs_due(&mut self, now: Now) {
        while let Some(id) = self.climbs.pop_due(now.mono) {
            self.climb(now, id);
        }
    }

    fn climb(&mut self, now: Now, id: EventId) {
        let Some((escalation, rungs)) = self.to_come(&id) else { return };
        let due: Vec<Rung> = rungs.iter().filter(|(_, at)| *at <= now.mono).map(|(rung, _)| *rung).collect();
        let Some(rung) = due.last().copied().filter(|_| self.acts()) else {
            return self.climbs.set(id, rungs.first().map(|(_, at)| *at).filter(|_| self.acts()));
        };
        let answered = !rung.is_of_taken()
            && self.waiting.of(&id).iter().any(|noting| noting.receipt.stage == Stage::Acknowledged);
        self.climbs.set(id, Some(now.mono + self.climbs.patience()));
        if answered {
            // It waits for the record, which will say so soon; or for the quorum, and whoever took it has been told.
            return;
        }
        let owners: Vec<StationId> = due.iter().flat_map(|rung| rung.owners(&escalation)).collect();
        let told: Vec<StationId> = due.iter().flat_map(|rung| rung.told(&escalation)).collect();
        if self.condition.is_some() {
            self.climb_alone(now, id, rung, owners, &told);
        } else if self.record.get(&id).is_some() && self.climbs.ask(id) {
            let (by, at) = (self.me.clone(), now.wall);
            self.out.push_back(Output::Propose(Command::Overdue { event: id, rung, owners, told, by, at }));
        }
    }

    /// Without a quorum: whoever has the alarm is told; what is in no record yet goes to the new owners too.
    fn climb_alone(&mut self, now: Now, id: EventId, rung: Rung, owners: Vec<StationId>, told: &[StationId]) {
        if let Some(climb) = self.climbs.open.get_mut(&id) {
            climb.local = Some(rung);
        }
        if let Some(pending) = self.pending.get_mut(&id) {
            let stations = &mut pending.admission.stations;
            for station in owners.iter().chain(told) {
                if stations.len() < limits::STATIONS_PER_EVENT && !stations.contains(station) {
                    stations.push(station.clone());
                }
            }
            self.express(now, id);
        }
        self.report(Report::Overdue(id, rung, owners));
        self.tell_ownership(now, &id);
        self.look_when_due(now, id);
    }

    /// A rung is in the record.
    pub(super) fn climbed(&mut self, now: Now, id: EventId, replayed: bool) {
        self.climbs.asked.remove(&id);
        let Some(overdue) = self.record.get(&id).and_then(|entry| entry.overdue.last()) else { return };
        if !replayed {
            let report = Report::Overdue(id, overdue.rung, overdue.owners.clone());
            self.report(report);
        }
        self.tell_ownership(now, &id);
        self.look_when_due(now, id);
    }

    /// What seats are told of who owns an alarm, if it has reached a rung.
    fn ownership(&self, now: Now, id: &EventId) -> Option<Ownership> {
        let entry = self.record.get(id);
        let rung = self.rung_of(id)?;
        let (mut owners, at) = match entry {
            Some(entry) => (entry.owners(), entry.ownership().map(|known| known.at)),
            None => (self.admission(id)?.stations.first().cloned().into_iter().collect(), None),
        };
        if entry.and_then(|entry| entry.rung()) < Some(rung) {
            let escalation = self.plan().escalation(self.admission(id)?.sealed.event.school());
            for owner in Rung::ALL.iter().filter(|lower| **lower <= rung).flat_map(|rung| rung.owners(&escalation)) {
                if !owners.contains(&owner) {
                    owners.push(owner);
                }
            }
        }
        owners.truncate(limits::OVERDUE_STATIONS);
        Some(Ownership { event: *id, rung, owners, at: at.unwrap_or(now.wall) })
    }

    /// Tells all seats that have the alarm who owns it.
    fn tell_ownership(&mut self, now: Now, id: &EventId) {
        let (Some(ownership), Some(admission)) = (self.ownership(now, id), self.admission(id)) else { return };
        let stations = admission.stations.clone();
        let mut paths: Vec<PathId> = Vec::new();
        for station in &stations {
            let since = since(ownership.rung);
            let seats = seats_of(&mut self.desks, station).filter(|(_, desk)| desk.minor >= since);
            paths.extend(seats.flat_map(|(_, desk)| desk.express()));
        }
        for path in paths {
            self.send(path, Class::P1, Form::Stream, Message::Ownership(ownership.clone()));
        }
    }

    /// Tells one seat of all alarms that it has and nobody takes or is sent to, or of one of them.
    pub(super) fn tell_seat_ownership(&mut self, now: Now, seat: &SeatId, only: Option<EventId>) {
        let Some(desk) = self.desks.get(seat).filter(|desk| desk.minor >= OWNERSHIP_SINCE) else { return };
        let (paths, minor): (Vec<PathId>, u32) = (desk.express().collect(), desk.minor);
        let its = |admission: &Admission| admission.stations.contains(&seat.station);
        let ids: Vec<EventId> = match only {
            Some(id) => vec![id],
            None => {
                let late = |entry: &&Entry| entry.rung().is_some_and(Rung::is_of_taken);
                let open = self.record.unfinished().chain(self.record.taken().filter(late));
                let open = open.map(|entry| &entry.admission).filter(|admission| its(admission));
                open.map(|admission| admission.sealed.event.id).filter(|id| self.rung_of(id).is_some()).collect()
            }
        };
        let ownerships: Vec<Ownership> = ids.iter().filter_map(|id| self.ownership(now, id)).collect();
        for ownership in ownerships.into_iter().filter(|ownership| since(ownership.rung) <= minor) {
            for path in &paths {
                self.send(*path, Class::P1, Form::Stream, Message::Ownership(ownership.clone()));
            }
        }
    }

    pub(super) fn check_climbs(&self) -> Result<(), String> {
        self.climbs.check()?;
        if let Some(id) = self.climbs.due.iter().map(|(_, id)| id).find(|_| !self.acts()) {
            return Err(format!("{id} has a timer at a node that does not have it go up"));
        }
        for id in self.climbs.open.keys() {
            if self.admission(id).is_none() {
                return Err(format!("{id} is followed and is nowhere"));
            }
            if self.record.get(id).is_some_and(|entry| entry.case.state >= State::Onscene) {
                return Err(format!("{id} is followed and somebody is there"));
            }
        }
        Ok(())
    }
}

/// The wire minor from which on seats are told of a rung.
fn since(rung: Rung) -> u32 {
    if rung.is_of_taken() { FUNCTIONS_SINCE } else { OWNERSHIP_SINCE }
}

/// How long ago the region took an event in, by the clocks on the wall and within bounds.
pub(super) fn age(now: Now, admission: &Admission) -> Span {
    let micros = u64::try_from(now.wall - admission.at).unwrap_or(0);
    Span::from_micros(micros).min(limits::ESCALATION_LONGEST)
}

/// Whether an alarm goes up if nobody takes it: tests ring nobody, what another region forwarded goes up there, and what no plan gives a station
/// has nobody to begin with.
/// `live` says that an officer made it so.
fn climbs(admission: &Admission, live: bool) -> bool {
    let event = &admission.sealed.event;
    let ours = !admission.stations.is_empty() && admission.forwarded_by().is_none();
    event.class == Class::P0 && (event.mode != Mode::Test || live) && ours
}
