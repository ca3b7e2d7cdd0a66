//! Orders about drills, by seats: judged by the plan, brought to the record, and answered when it has them.
//!
//! Invariant: a seat opens and ends drills of its own schools only, and none is announced without a quorum.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::machine::Broker;
use crate::broker::port::{Output, Report};
use crate::broker::waiting::AGAIN_AFTER;
use crate::drill::{CloseDrill, Drill, DrillId, DrillOrder, DrillPhase, DrillRefusal, OpenDrill};
use crate::event::Class;
use crate::id::{NodeName, PathId, SeatId};
use crate::limits;
use crate::message::Message;
use crate::path::Form;
use crate::record::Command;
use crate::time::{Now, Timestamp, WallTime};

#[derive(Debug)]
struct Open {
    order: DrillOrder,
    /// When it is given up, unless its seat says it again.
    until: Timestamp,
}

/// The orders that wait for the record.
#[derive(Debug, Default)]
pub(super) struct DrillOrders {
    open: BTreeMap<(DrillId, bool), Open>,
    again_at: Option<Timestamp>,
}

impl DrillOrders {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.again_at
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.open.len() > limits::DRILL_ORDERS_OPEN || self.again_at.is_some() == self.open.is_empty() {
            return Err(format!(
                "{} orders about drills wait, to be looked at at {:?}",
                self.open.len(),
                self.again_at
            ));
        }
        Ok(())
    }
}

/// Whether an order ends a drill.
fn closes(order: &DrillOrder) -> bool {
    matches!(order, DrillOrder::Close(_))
}

impl Broker {
    /// What is wrong with an order of `station`'s, or of an operator's (`None`), at `at`.
    ///
    /// # Errors
    /// [`DrillRefusal`]
    pub fn judge_drill(
        &self,
        order: &DrillOrder,
        station: Option<&crate::id::StationId>,
        at: WallTime,
    ) -> Result<(), DrillRefusal> {
        let plan = self.plan();
        let scope = match order {
            DrillOrder::Open(order) => {
                OpenDrill { at, ..order.clone() }.checked()?;
                if order.scope.schools(plan).next().is_none() {
                    return Err(DrillRefusal::NoSchool);
                }
                &order.scope
            }
            DrillOrder::Close(order) => &self.record.drills().get(&order.id).ok_or(DrillRefusal::Unknown)?.order.scope,
        };
        if station.is_some_and(|station| !scope.is_for(plan, station)) {
            return Err(DrillRefusal::NotYours);
        }
        if self.condition.is_some() {
            return Err(DrillRefusal::NoQuorum);
        }
        Ok(())
    }

    /// What the record has made of an order, if anything.
    #[must_use]
    pub fn drill_outcome(&self, order: &DrillOrder, at: WallTime) -> Option<Result<Arc<Drill>, DrillRefusal>> {
        let known = self.record.drills().get(&order.id());
        match order {
            DrillOrder::Open(order) => {
                known.cloned().map(Ok).or_else(|| self.record.drills().refusal(&order.id).map(Err))
            }
            DrillOrder::Close(_) => {
                let over = |drill: &&Arc<Drill>| drill.closed.is_some() || drill.phase(at) == DrillPhase::Over;
                known.filter(over).cloned().map(Ok)
            }
        }
    }

    /// A seat orders something about a drill.
    pub(super) fn drill_ordered(&mut self, now: Now, path: PathId, seat: &SeatId, order: DrillOrder) {
        let me = NodeName::Station(seat.clone());
        if *order.by() != me {
            return self.report(Report::Improper(me, "an order about a drill in somebody else's name"));
        }
        let id = order.id();
        let answer = self.drill_outcome(&order, now.wall);
        let key = (id, closes(&order));
        let judged = || self.judge_drill(&order, Some(&seat.station), now.wall).err().map(Err);
        let waits = self.drill_orders.open.contains_key(&key);
        if let Some(answer) = answer.or_else(|| if waits { None } else { judged() }) {
            return self.send(path, Class::P1, Form::Stream, Message::DrillAnswer(id, answer));
        }
        let until = now.mono + limits::DRILL_ORDER_TIMEOUT;
        if let Some(open) = self.drill_orders.open.get_mut(&key) {
            open.until = until;
        } else if self.drill_orders.open.len() < limits::DRILL_ORDERS_OPEN {
            let command = command(&order, now.wall);
            self.drill_orders.open.insert(key, Open { order, until });
            self.drill_orders.again_at.get_or_insert(now.mono + AGAIN_AFTER);
            self.out.push_back(Output::Propose(command));
        }
    }

    /// The record has made something of an order about a drill: whoever gave it here is answered.
    pub(super) fn drill_decided(&mut self, id: DrillId, answer: &Result<Arc<Drill>, DrillRefusal>) {
        let closed = answer.as_ref().is_ok_and(|drill| drill.closed.is_some());
        let Some(open) = self.drill_orders.open.remove(&(id, closed)) else { return };
        if self.drill_orders.open.is_empty() {
            self.drill_orders.again_at = None;
        }
        if let NodeName::Station(seat) = open.order.by()
            && let Some(desk) = self.desks.get(seat)
        {
            let answer = Message::DrillAnswer(id, answer.clone());
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, Form::Stream, answer.clone())));
        }
    }

    /// Proposes again what waits, and gives up what its seat no longer says.
    pub(super) fn look_at_drill_orders(&mut self, now: Now) {
        if self.drill_orders.again_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.drill_orders.open.retain(|_, open| open.until > now.mono);
        self.drill_orders.again_at = (!self.drill_orders.open.is_empty()).then(|| now.mono + AGAIN_AFTER);
        if self.condition.is_none() {
            let commands = self.drill_orders.open.values().map(|open| command(&open.order, now.wall));
            self.out.extend(commands.map(Output::Propose));
        }
    }
}

/// The entry of the log that an order becomes at `at`.
#[must_use]
pub fn command(order: &DrillOrder, at: WallTime) -> Command {
    match order {
        DrillOrder::Open(order) => Command::OpenDrill(Box::new(OpenDrill { at, planned: false, ..order.clone() })),
        DrillOrder::Close(order) => Command::CloseDrill(Box::new(CloseDrill { at, ..order.clone() })),
    }
}
