//! Each relay is told what the plan says of its school: when it greets, and at each change.
//!
//! A change of a province's plan must not become thirty thousand frames at once: relays are looked through [`LOOKS`] at a time, and at most
//! [`limits::PLANS_UNDER_WAY`] are told and have not answered. Only those are told whose school's part is another one.
//!
//! Invariant: whoever greeted in a version that knows plans, and does not have its school's part by its own word, is under way, waits, or is
//! told again later; a part is never told below the node's own version of the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::broker::gate::PlanTold;
use crate::broker::machine::Broker;
use crate::event::Class;
use crate::id::{PathId, RelayId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{Message, PLANS_SINCE};
use crate::path::Form;
use crate::plan::{PlanMark, SchoolPart};
use crate::time::{Now, Span, Timestamp};

/// Relays that are looked at in one step.
const LOOKS: usize = 512;
/// From one step to the next.
const LOOK_AGAIN: Span = Span::from_millis(20);
/// How long a relay that does not answer has a place among those under way.
const ANSWER_WITHIN: Span = Span::from_secs(15);
/// After how long such a relay is told again, twice as long each time.
const AGAIN_AFTER: Span = Span::from_secs(60);
/// How often that is doubled at the most: about an hour.
const DOUBLED: u32 = 6;

/// Who is still to be told.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// Told, and not answered; until when each has its place.
    under_way: BTreeMap<RelayId, Timestamp>,
    waiting: BTreeSet<RelayId>,
    /// Told in vain; when again.
    again: BTreeSet<(Timestamp, RelayId)>,
    /// How far all relays are looked through after a change, and when that goes on.
    sweep: Option<(Option<RelayId>, Timestamp)>,
}

impl Plans {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let answers = self.under_way.values().min().copied();
        let again = self.again.first().map(|(at, _)| *at);
        let sweep = self.sweep.as_ref().map(|(_, at)| *at);
        [answers, again, sweep].into_iter().flatten().min()
    }

    /// It holds no session any longer.
    pub(super) fn gone(&mut self, relay: &RelayId) {
        self.waiting.remove(relay);
        self.under_way.remove(relay);
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.under_way.len() > limits::PLANS_UNDER_WAY {
            return Err(format!("{} relays are told of the plan at once", self.under_way.len()));
        }
        if self.under_way.len() < limits::PLANS_UNDER_WAY && !self.waiting.is_empty() {
            return Err(format!(
                "{} relays wait to be told of the plan, and nothing holds them up",
                self.waiting.len()
            ));
        }
        Ok(())
    }
}

impl Broker {
    /// What the plan in force says of a relay's school. `None` while there is only a file, and it does not name it.
    fn part_of(&self, relay: &RelayId) -> Option<SchoolPart> {
        let mark = PlanMark { record: self.record.record(), version: self.record.plan().version() };
        let school = self.plan().school(&relay.school).cloned();
        (mark.version > 0 || school.is_some()).then_some(SchoolPart { mark, school })
    }

    /// A relay has greeted. It may have begun anew and know nothing.
    pub(super) fn plan_greeted(&mut self, now: Now, relay: &RelayId) {
        let Some(gate) = self.relays.get_mut(relay) else { return };
        gate.plan = None;
        self.plans.under_way.remove(relay);
        self.plans.waiting.insert(relay.clone());
        self.tell_plans(now);
    }

    /// The plan in force is another one.
    pub(super) fn plan_swept(&mut self, now: Now) {
        self.plans.sweep = Some((None, now.mono));
        self.tell_plans(now);
    }

    /// A relay says which plan's part it has on its disk.
    pub(super) fn plan_kept(&mut self, now: Now, relay: &RelayId, mark: PlanMark) {
        let Some(told) = self.relays.get_mut(relay).and_then(|gate| gate.plan.as_mut()) else { return };
        let of = told.part.mark;
        if mark.record == of.record && mark.version >= of.version {
            told.kept = true;
            self.plans.under_way.remove(relay);
        }
        self.tell_plans(now);
    }

    /// Tells those whose turn it is.
    pub(super) fn tell_plans(&mut self, now: Now) {
        let late: Vec<RelayId> =
            self.plans.under_way.iter().filter(|(_, at)| **at <= now.mono).map(|(relay, _)| relay.clone()).collect();
        for relay in late {
            self.plans.under_way.remove(&relay);
            if let Some(told) = self.relays.get(&relay).and_then(|gate| gate.plan.as_ref()) {
                let pause = AGAIN_AFTER * (1 << told.tries.min(DOUBLED));
                self.plans.again.insert((now.mono + pause, relay));
            }
        }
        while let Some((at, relay)) = self.plans.again.pop_first() {
            if at > now.mono {
                self.plans.again.insert((at, relay));
                break;
            }
            if self.relays.get(&relay).is_some_and(|gate| gate.plan.as_ref().is_some_and(|told| !told.kept)) {
                self.plans.waiting.insert(relay);
            }
        }
        self.look_for_plans(now);
        while self.plans.under_way.len() < limits::PLANS_UNDER_WAY {
            let Some(relay) = self.plans.waiting.pop_first() else { return };
            self.tell_plan(now, &relay);
        }
    }

    /// Looks through some more of the relays after a change, as long as there is room for those that are found.
    fn look_for_plans(&mut self, now: Now) {
        let Some((after, at)) = self.plans.sweep.take() else { return };
        if at > now.mono || self.plans.waiting.len() >= limits::PLANS_UNDER_WAY {
            self.plans.sweep = Some((after, at.max(now.mono + LOOK_AGAIN)));
            return;
        }
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let seen: Vec<RelayId> = self
            .relays
            .range::<RelayId, _>((from, Bound::Unbounded))
            .take(LOOKS)
            .map(|(relay, _)| relay.clone())
            .collect();
        if seen.len() == LOOKS {
            self.plans.sweep = Some((seen.last().cloned(), now.mono + LOOK_AGAIN));
        }
        for relay in seen {
            let part = self.part_of(&relay);
            let Some(gate) = self.relays.get_mut(&relay).filter(|gate| gate.minor >= PLANS_SINCE) else { continue };
            let told = gate.plan.as_ref().map(|told| &told.part);
            if part.as_ref().is_some_and(|part| told.is_none_or(|told| says_otherwise(told, part))) {
                gate.plan = None;
                self.plans.under_way.remove(&relay);
                self.plans.waiting.insert(relay);
            }
        }
    }

    fn tell_plan(&mut self, now: Now, relay: &RelayId) {
        let Some(part) = self.part_of(relay) else { return };
        let Some(gate) = self.relays.get_mut(relay).filter(|gate| gate.minor >= PLANS_SINCE) else { return };
        let tries = gate.plan.as_ref().map_or(0, |told| told.tries + 1);
        gate.plan = Some(PlanTold { part: part.clone(), kept: false, tries });
        // It is large beside an alarm, and in no hurry.
        let bulk = gate.paths.iter().find(|(_, info)| info.lane == Lane::Bulk).map(|(path, _)| *path);
        let path: Option<PathId> = bulk.or_else(|| gate.express().next());
        if let Some(path) = path {
            self.plans.under_way.insert(relay.clone(), now.mono + ANSWER_WITHIN);
            self.send(path, Class::P3, Form::Stream, Message::SchoolPlan(Box::new(part)));
        }
    }
}

/// Whether a relay that was told the one must be told the other: versions in which nothing of its school changed are no news.
fn says_otherwise(told: &SchoolPart, now: &SchoolPart) -> bool {
    told.school != now.school
        || told.mark.record != now.mark.record
        || (told.mark.version == 0) != (now.mark.version == 0)
}
