//! Drills at a broker node: the stations that one touches hear of it first, then its relays are told how long it lasts, and their presses are
//! counted.
//!
//! What is here follows from the record and the plan, on each node alike; only what the plan registers is proposed, by the leader.
//!
//! Invariants:
//! * A relay is told of a drill only by a node whose record has it, and after the seats at that node were. One that was not told, or does not confirm,
//!   raises what is meant.
//! * Relays are told a window at a time ([`limits::DRILL_RELAYS_IN_STEP`]), again until they confirm, and when they greet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{Output, Report};
use crate::drill::{Answered, Counts, Drill, DrillId, OpenDrill, Scope, Tally};
use crate::event::{Class, Mode, Text};
use crate::id::{EventId, PathId, RelayId, SchoolId, SeatId, StationId};
use crate::limits;
use crate::message::{DRILLS_SINCE, Message};
use crate::path::Form;
use crate::plan::{Label, on_the_wall};
use crate::receipt::{Receipt, Stage};
use crate::record::{Command, Entry};
use crate::time::{Now, Span, Timestamp, WallTime};

/// How soon relays that have not confirmed a drill are told again.
const TELL_AGAIN_AFTER: Span = Span::from_secs(5);
/// Between two windows of relays.
const BETWEEN_WINDOWS: Span = Span::from_millis(20);
/// How often, at the least, the clock on the wall is looked at while a drill is to come or on: it may have been set.
const LOOK_EVERY: Span = Span::from_secs(30);

/// One drill, as far as this node is concerned with it.
#[derive(Debug)]
struct Known {
    drill: Arc<Drill>,
    /// Those that it touches.
    stations: BTreeSet<StationId>,
    tally: Tally,
    /// Relays that have confirmed how it stands.
    heard: BTreeSet<RelayId>,
    /// When relays are told (again).
    tell_at: Option<Timestamp>,
}

/// The drills of the record, and whom this node tells of them.
#[derive(Debug, Default)]
pub(super) struct Drills {
    known: BTreeMap<DrillId, Known>,
    /// Relays that are told in the next windows.
    queue: BTreeSet<RelayId>,
    look_at: Option<Timestamp>,
}

/// What people want to know of a drill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrillView {
    /// The drill.
    pub drill: Arc<Drill>,
    /// Its figures, as far as this node's record goes back.
    pub counts: Counts,
    /// Relays that told this node that they go by it.
    pub relays: usize,
    /// The stations that it touches.
    pub stations: usize,
}

impl Drills {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.look_at
    }

    fn look(&mut self, at: Timestamp) {
        self.look_at = Some(self.look_at.map_or(at, |before| before.min(at)));
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.look_at.is_none()
            && (!self.queue.is_empty() || self.known.values().any(|known| known.tell_at.is_some()))
        {
            return Err("relays wait to be told of a drill, and nobody looks".to_owned());
        }
        Ok(())
    }
}

/// Whether relays are told of it at `wall`: shortly before it begins, while it is on, and until it would have been over.
fn concerns_relays(drill: &Drill, wall: WallTime) -> bool {
    wall - drill.from >= -micros(limits::DRILL_RELAYS_TOLD_BEFORE) && wall < drill.until
}

fn micros(span: Span) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// How long until the clock on the wall shows `at`; not longer than it is looked at anyway.
fn until(now: Now, at: WallTime) -> Timestamp {
    let span = Span::from_micros(u64::try_from(at - now.wall).unwrap_or(0));
    now.mono + span.min(LOOK_EVERY)
}

impl Broker {
    /// The drills of the record with their figures, in the order of their beginnings.
    #[must_use]
    pub fn drills(&self) -> Vec<DrillView> {
        let mut drills: Vec<DrillView> = self.drills.known.values().map(|known| self.view(known)).collect();
        drills.sort_by_key(|view| (view.drill.from, view.drill.id()));
        drills
    }

    /// One of them.
    #[must_use]
    pub fn drill(&self, id: &DrillId) -> Option<DrillView> {
        self.drills.known.get(id).map(|known| self.view(known))
    }

    /// At most `count` schools in a drill's scope behind `after`, and what came of the presses of each.
    #[must_use]
    pub fn drill_schools(&self, id: &DrillId, after: Option<&SchoolId>, count: usize) -> Vec<(SchoolId, Answered)> {
        let Some(known) = self.drills.known.get(id) else { return Vec::new() };
        let plan = self.plan();
        let schools = known.drill.order.scope.schools(plan).map(|school| &school.id);
        let behind = schools.filter(|school| after.is_none_or(|after| *school > after)).take(count);
        behind.map(|school| (school.clone(), known.tally.of(school).copied().unwrap_or_default())).collect()
    }

    fn view(&self, known: &Known) -> DrillView {
        DrillView {
            drill: known.drill.clone(),
            counts: known.tally.counts(known.drill.order.scope.schools(self.plan()).count()),
            relays: known.heard.len(),
            stations: known.stations.len(),
        }
    }

    /// When the drill that an event of this school belongs to is over: of those that had begun when the event came in the one that ends last.
    pub(super) fn drill_end(&self, school: &SchoolId, came: WallTime) -> Option<WallTime> {
        let ends = self.drills_of(school, came).map(|known| known.drill.end());
        ends.max()
    }

    fn drills_of(&self, school: &SchoolId, at: WallTime) -> impl Iterator<Item = &Known> {
        let grace = micros(limits::DRILL_GRACE);
        let on = move |known: &&Known| known.drill.from <= at && at - known.drill.end() < grace;
        let holds = move |known: &&Known| known.drill.order.scope.holds(self.plan(), school);
        self.drills.known.values().filter(on).filter(holds)
    }

    /// A drill is in the record, or ended in it.
    pub(super) fn drill_changed(&mut self, now: Now, drill: &Arc<Drill>, replayed: bool) {
        let (id, record) = (drill.id(), &self.record);
        self.drills.known.retain(|known, _| record.drills().get(known).is_some());
        let stations = drill.order.scope.stations(self.plan());
        let tally = self.drills.known.remove(&id).map(|known| known.tally).unwrap_or_default();
        let known = Known { drill: drill.clone(), stations, tally, heard: BTreeSet::new(), tell_at: None };
        self.drills.known.insert(id, known);
        if !replayed {
            self.report(Report::Drill(drill.clone()));
        }
        self.tell_stations(&id);
        self.tell_relays_when_due(now, &id);
    }

    /// This node has another record, or another plan is in force.
    pub(super) fn drills_anew(&mut self, now: Now) {
        let drills: Vec<Arc<Drill>> = self.record.drills().iter().cloned().collect();
        let mut old = std::mem::take(&mut self.drills.known);
        for drill in drills {
            let id = drill.id();
            let stations = drill.order.scope.stations(self.plan());
            let before = old.remove(&id).filter(|known| known.drill == drill);
            let news = before.as_ref().is_none_or(|known| known.stations != stations);
            let heard = before.map(|known| known.heard).unwrap_or_default();
            let known = Known { drill, stations, tally: Tally::default(), heard, tell_at: None };
            self.drills.known.insert(id, known);
            if news {
                self.tell_stations(&id);
            }
            self.tell_relays_when_due(now, &id);
        }
        let rehearsals = self.record.entries().filter(|entry| entry.admission.sealed.event.mode == Mode::Drill);
        let rehearsals: Vec<Arc<Entry>> = rehearsals.cloned().collect();
        for entry in rehearsals {
            self.count_press(&entry);
            entry.notes.iter().for_each(|note| self.count_receipt(&entry, note));
        }
    }

    /// Counts an event that came in, if it is a rehearsal.
    pub(super) fn count_press(&mut self, entry: &Entry) {
        let admission = &entry.admission;
        let school = admission.sealed.event.school();
        if admission.sealed.event.mode != Mode::Drill {
            return;
        }
        let ids: Vec<DrillId> = self.drills_of(school, admission.at).map(|known| known.drill.id()).collect();
        for id in ids {
            if let Some(known) = self.drills.known.get_mut(&id) {
                known.tally.pressed(school);
            }
        }
    }

    /// Counts what is said of an event, if it is a rehearsal.
    pub(super) fn count_receipt(&mut self, entry: &Entry, receipt: &Receipt) {
        let admission = &entry.admission;
        let event = &admission.sealed.event;
        let counted = matches!(receipt.stage, Stage::Displayed | Stage::Acknowledged);
        if event.mode != Mode::Drill || !counted {
            return;
        }
        let after = crate::since_press(event, &admission.trail, &entry.receipts(), receipt);
        // Where the clocks are not known against each other, the region's own view counts.
        let after = after.unwrap_or_else(|| Span::from_micros(u64::try_from(receipt.at - admission.at).unwrap_or(0)));
        let ids: Vec<DrillId> = self.drills_of(event.school(), admission.at).map(|known| known.drill.id()).collect();
        for id in ids {
            let Some(known) = self.drills.known.get_mut(&id) else { continue };
            if receipt.stage == Stage::Displayed {
                known.tally.displayed(event.school(), after);
            } else {
                known.tally.taken(event.school(), after);
            }
        }
    }

    /// Tells all seats of the stations that a drill touches.
    fn tell_stations(&mut self, id: &DrillId) {
        let Some(known) = self.drills.known.get(id) else { return };
        let message = Message::Drills(vec![known.drill.clone()]);
        for station in &known.stations {
            for (_, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.minor >= DRILLS_SINCE) {
                let send = |path| Output::Send(path, Class::P1, Form::Stream, message.clone());
                self.out.extend(desk.express().map(send));
            }
        }
    }

    /// A seat has come: it is told of the drills that touch its station and would not be over yet.
    pub(super) fn tell_seat_drills(&mut self, now: Now, path: PathId, seat: &SeatId) {
        if self.desks.get(seat).is_none_or(|desk| desk.minor < DRILLS_SINCE) {
            return;
        }
        let touches = |known: &&Known| known.stations.contains(&seat.station) && now.wall < known.drill.until;
        let drills: Vec<Arc<Drill>> =
            self.drills.known.values().filter(touches).map(|known| known.drill.clone()).collect();
        for part in drills.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Form::Stream, Message::Drills(part.to_vec()));
        }
    }

    /// A relay has greeted: of what it was told before nobody knows whether it remembers.
    pub(super) fn relay_greeted(&mut self, now: Now, relay: &RelayId) {
        for known in self.drills.known.values_mut() {
            known.heard.remove(relay);
        }
        self.tell_relay_drills(now, relay);
    }

    /// A relay says that it goes by a drill.
    pub(super) fn drill_heard(&mut self, relay: &RelayId, id: &DrillId) {
        let holds = |known: &Known| known.drill.order.scope.holds(self.plan(), &relay.school);
        if self.drills.known.get(id).is_some_and(holds)
            && let Some(known) = self.drills.known.get_mut(id)
        {
            known.heard.insert(relay.clone());
        }
    }

    /// Tells a relay of the drills that it is concerned with and has not confirmed.
    fn tell_relay_drills(&mut self, now: Now, relay: &RelayId) {
        let Some(gate) = self.relays.get(relay).filter(|gate| gate.minor >= DRILLS_SINCE) else { return };
        let paths: Vec<PathId> = gate.express().collect();
        let concerned = |known: &&Known| {
            concerns_relays(&known.drill, now.wall)
                && !known.heard.contains(relay)
                && known.drill.order.scope.holds(self.plan(), &relay.school)
        };
        let mut drills: Vec<&Arc<Drill>> =
            self.drills.known.values().filter(concerned).map(|known| &known.drill).collect();
        drills.sort_by_key(|drill| std::cmp::Reverse(drill.end()));
        let modes = drills.into_iter().take(limits::DRILLS_OF_RELAY).map(|drill| Box::new(drill.mode_at(now.wall)));
        for mode in modes.collect::<Vec<_>>() {
            for path in &paths {
                self.send(*path, Class::P1, Form::Stream, Message::DrillMode(mode.clone()));
            }
        }
    }

    /// Arms the telling of relays, or begins with it.
    fn tell_relays_when_due(&mut self, now: Now, id: &DrillId) {
        let Some(known) = self.drills.known.get_mut(id) else { return };
        let drill = &known.drill;
        let begin = WallTime(drill.from.0.saturating_sub(micros(limits::DRILL_RELAYS_TOLD_BEFORE)));
        // One that was ended before relays heard of it is none of theirs.
        let never = drill.closed.as_ref().is_some_and(|closed| closed.at < begin);
        known.tell_at = if now.wall >= drill.until || never {
            None
        } else if now.wall < begin {
            Some(until(now, begin))
        } else {
            Some(now.mono)
        };
        if let Some(at) = known.tell_at {
            self.drills.look(at);
        }
    }

    /// Tells those who are to be told now, a window of them, and proposes what the plan registers.
    pub(super) fn drills_due(&mut self, now: Now) {
        if self.drills.look_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.drills.look_at = None;
        let due: Vec<DrillId> = self
            .drills
            .known
            .iter()
            .filter(|(_, known)| known.tell_at.is_some_and(|at| at <= now.mono))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(known) = self.drills.known.get(&id) else { continue };
            if concerns_relays(&known.drill, now.wall) {
                let plan = self.plan().clone();
                let waits = |relay: &&RelayId| {
                    !known.heard.contains(*relay) && known.drill.order.scope.holds(&plan, &relay.school)
                };
                let relays: Vec<RelayId> = self.relays.keys().filter(waits).cloned().collect();
                self.drills.queue.extend(relays);
                if let Some(known) = self.drills.known.get_mut(&id) {
                    known.tell_at = Some(now.mono + TELL_AGAIN_AFTER);
                }
            } else {
                self.tell_relays_when_due(now, &id);
            }
        }
        for _ in 0..limits::DRILL_RELAYS_IN_STEP {
            let Some(relay) = self.drills.queue.pop_first() else { break };
            self.tell_relay_drills(now, &relay);
        }
        if !self.drills.queue.is_empty() {
            self.drills.look(now.mono + BETWEEN_WINDOWS);
        }
        if let Some(next) = self.drills.known.values().filter_map(|known| known.tell_at).min() {
            self.drills.look(next);
        }
        if self.leads {
            self.propose_registered(now);
            self.drills.look(now.mono + LOOK_EVERY);
        }
    }

    /// This node leads now, or no longer.
    pub(super) fn drills_led(&mut self, now: Now) {
        if self.leads {
            self.drills.look(now.mono);
        }
    }

    /// Announces the drills that the plan registers and that begin soon, those of the same window together.
    fn propose_registered(&mut self, now: Now) {
        if self.condition.is_some() {
            return;
        }
        let plan = self.plan().clone();
        let (today, ..) = on_the_wall(now.wall);
        let mut windows: BTreeMap<(WallTime, WallTime), BTreeSet<SchoolId>> = BTreeMap::new();
        for school in plan.school_ids().filter_map(|id| plan.school(id)) {
            // A window that begins after midnight is announced before it.
            for drill in
                school.drills.iter().filter(|drill| (today..=today + 1).contains(&i64::from(drill.day.number())))
            {
                let (from, until) = drill.window();
                let soon = now.wall - from >= -micros(limits::DRILL_ANNOUNCED_BEFORE);
                let worth = until - now.wall >= micros(limits::DRILL_SHORTEST + limits::DRILL_LEAD);
                if soon && worth && !self.is_registered(&school.id, from, until) {
                    windows.entry((from, until)).or_default().insert(school.id.clone());
                }
            }
        }
        for ((from, until), schools) in windows {
            let schools: Vec<SchoolId> = schools.into_iter().collect();
            for part in schools.chunks(limits::DRILL_SCHOOLS) {
                let order = self.registered(now, (from, until), part.iter().cloned().collect());
                self.out.push_back(Output::Propose(Command::OpenDrill(Box::new(order))));
            }
        }
    }

    /// Whether a school's registered window is in the record.
    fn is_registered(&self, school: &SchoolId, from: WallTime, until: WallTime) -> bool {
        let same = |drill: &Drill| drill.order.planned && drill.from < until && from < drill.until;
        self.record.drills().iter().any(|drill| {
            same(drill) && matches!(&drill.order.scope, Scope::Schools(schools) if schools.contains(school))
        })
    }

    fn registered(&self, now: Now, (from, until): (WallTime, WallTime), schools: BTreeSet<SchoolId>) -> OpenDrill {
        let scope = Scope::Schools(schools);
        // Whoever is late has the rest of it.
        let begins = WallTime(from.0.max(now.wall.0.saturating_add(micros(limits::DRILL_LEAD))));
        OpenDrill {
            id: DrillId::registered(from, until, &scope),
            scope,
            devices: BTreeSet::new(),
            from: begins,
            length: Span::from_micros(u64::try_from(until - begins).unwrap_or(0)),
            by: self.me.clone(),
            approver: Label::new("一校一方案").unwrap_or_default(),
            note: Text::default(),
            planned: true,
            at: now.wall,
        }
    }

    /// What of an event the drills' figures are told when it is admitted.
    pub(super) fn drill_admitted(&mut self, id: &EventId) {
        if let Some(entry) = self.record.shared(id) {
            self.count_press(&entry);
        }
    }
}
