//! Drills at a station: those that the region has announced to it, and its own orders to announce or end one.
//!
//! Announcements are not kept on the disk: the region says them to whoever comes. An order is answered when the record has it, or whoever gave it hears
//! within [`limits::DRILL_ORDER_TIMEOUT`] that nobody has confirmed it.
//!
//! Invariant: each order is answered once, and at most [`limits::DRILL_ORDERS_OPEN`] are open; at most [`limits::DRILLS_KEPT`] drills are known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::drill::{CloseDrill, Drill, DrillId, DrillOrder, DrillRefusal, OpenDrill};
use crate::event::{Class, Kind};
use crate::id::{EventId, PathId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{DRILLS_SINCE, Message};
use crate::path::Form;
use crate::station::machine::Station;
use crate::station::port::{AckTicket, DrillError, Output, Report};
use crate::time::{Now, Span, Timestamp};

/// How often an order is said while no answer comes.
const SAY_AGAIN_AFTER: Span = Span::from_millis(500);

#[derive(Debug)]
struct Open {
    ticket: AckTicket,
    order: DrillOrder,
    /// What nodes said that others may say otherwise.
    soft: BTreeMap<PathId, DrillRefusal>,
    again_at: Timestamp,
    until: Timestamp,
}

/// The drills of a station.
#[derive(Debug, Default)]
pub(super) struct Drills {
    known: BTreeMap<DrillId, Arc<Drill>>,
    open: Vec<Open>,
    /// Express sessions whose node knows drills.
    paths: BTreeSet<PathId>,
}

impl Drills {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.open.iter().map(|open| open.again_at.min(open.until)).min()
    }

    pub(super) fn path_down(&mut self, path: PathId) {
        self.paths.remove(&path);
    }
}

impl Station {
    /// The drills that the region has announced to this station, and those that were ended, as far as they are remembered.
    pub fn drills(&self) -> impl Iterator<Item = &Arc<Drill>> {
        self.drills.known.values()
    }

    /// The region says how drills stand.
    pub(super) fn drills_heard(&mut self, now: Now, drills: Vec<Arc<Drill>>) {
        for drill in drills {
            let known = self.drills.known.get(&drill.id());
            // What was ended stays so, whoever has not heard it yet.
            if known.is_some_and(|known| known.closed.is_some() || **known == *drill) {
                continue;
            }
            self.drills.known.insert(drill.id(), drill.clone());
            self.out.push_back(Output::Report(Report::Drill(drill)));
        }
        while self.drills.known.len() > limits::DRILLS_KEPT {
            let first = self.drills.known.values().min_by_key(|drill| (drill.end() > now.wall, drill.end()));
            let Some(id) = first.map(|drill| drill.id()) else { break };
            self.drills.known.remove(&id);
        }
    }

    /// A node has greeted: if it knows drills, it is told what is open.
    pub(super) fn drills_on(&mut self, path: PathId, minor: u32) {
        let express = self.paths.get(&path).is_some_and(|(_, info)| info.lane == Lane::Express);
        if minor < DRILLS_SINCE || !express {
            self.drills.paths.remove(&path);
        } else if self.drills.paths.insert(path) {
            let orders: Vec<DrillOrder> = self.drills.open.iter().map(|open| open.order.clone()).collect();
            for order in orders {
                self.send(path, Class::P1, Form::Stream, Message::DrillOrder(Box::new(order)));
            }
        }
    }

    /// Somebody at this station orders something about a drill.
    pub(super) fn drill_order(&mut self, now: Now, ticket: AckTicket, order: DrillOrder) {
        let by = self.me.clone();
        let order = match order {
            DrillOrder::Open(order) => DrillOrder::Open(OpenDrill { by, at: now.wall, planned: false, ..order }),
            DrillOrder::Close(order) => DrillOrder::Close(CloseDrill { by, at: now.wall, ..order }),
        };
        let id = order.id();
        let wrong = match &order {
            DrillOrder::Open(order) => order.checked().err(),
            DrillOrder::Close(_) => None,
        };
        let error = match wrong {
            Some(why) => Some(DrillError::Refused { id, why }),
            None if self.drills.open.len() >= limits::DRILL_ORDERS_OPEN => Some(DrillError::Busy),
            None => None,
        };
        if let Some(error) = error {
            return self.out.push_back(Output::Drilled(ticket, Err(error)));
        }
        let (again_at, until) = (now.mono + SAY_AGAIN_AFTER, now.mono + limits::DRILL_ORDER_TIMEOUT);
        self.drills.open.push(Open { ticket, order: order.clone(), soft: BTreeMap::new(), again_at, until });
        self.say_drill_order(&order);
    }

    fn say_drill_order(&mut self, order: &DrillOrder) {
        let paths: Vec<PathId> = self.drills.paths.iter().copied().collect();
        for path in paths {
            self.send(path, Class::P1, Form::Stream, Message::DrillOrder(Box::new(order.clone())));
        }
    }

    /// Says again what is due, and gives up what is overdue.
    pub(super) fn drills_again(&mut self, now: Now) {
        for open in self.drills.open.extract_if(.., |open| open.until <= now.mono).collect::<Vec<_>>() {
            let id = open.order.id();
            let error = match open.soft.values().max() {
                Some(why) => DrillError::Refused { id, why: *why },
                None => DrillError::NotConfirmed { id },
            };
            self.out.push_back(Output::Drilled(open.ticket, Err(error)));
        }
        let mut due = Vec::new();
        for open in self.drills.open.iter_mut().filter(|open| open.again_at <= now.mono) {
            open.again_at = now.mono + SAY_AGAIN_AFTER;
            due.push(open.order.clone());
        }
        due.iter().for_each(|order| self.say_drill_order(order));
    }

    /// A node answers an order.
    pub(super) fn drill_answered(
        &mut self,
        now: Now,
        path: PathId,
        id: DrillId,
        answer: &Result<Arc<Drill>, DrillRefusal>,
    ) {
        if let Ok(drill) = answer {
            self.drills_heard(now, vec![drill.clone()]);
        }
        let paths = self.drills.paths.clone();
        let settled = |open: &mut Open| {
            if open.order.id() != id {
                return false;
            }
            match answer {
                // That it is open is no answer to whoever wants it ended.
                Ok(drill) => {
                    matches!(open.order, DrillOrder::Open(_)) || drill.end() <= now.wall || drill.closed.is_some()
                }
                Err(why) if why.is_soft() => {
                    open.soft.insert(path, *why);
                    paths.iter().all(|path| open.soft.contains_key(path))
                }
                Err(_) => true,
            }
        };
        for open in self.drills.open.extract_if(.., settled).collect::<Vec<_>>() {
            let done = answer.clone().map_err(|why| DrillError::Refused { id, why });
            self.out.push_back(Output::Drilled(open.ticket, done));
        }
    }

    /// A self-test is on its way to the screens: that it came so far is what it is for, and nobody need look at it.
    pub(super) fn shown_by_itself(&mut self, now: Now, id: EventId) {
        if self.get(&id).is_some_and(|row| row.sealed.event.kind == Kind::SelfTest) {
            self.displayed(now, &[id]);
        }
    }
}
