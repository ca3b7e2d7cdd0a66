//! The province's side of the link: what regions forward is admitted like an alarm of one's own, and what becomes of it here goes down.
//!
//! A region has one gate here, as a relay has: receipts of the province's seats are carried to it until it says that its record has them, and
//! it asks about its open alarms by itself. It gets `Confirmed` for what this record has, and for nothing else.
//!
//! Invariants:
//! * Only regions that the configuration names are heard, and each speaks of its own events alone: the last broker node on an event's trail is one
//!   of that region's.
//! * Who owns an alarm is decided by the record of the region that it comes from. Here stands the order in which it became known here.

use std::collections::BTreeMap;

use crate::broker::gate::{Gate, Load};
use crate::broker::machine::Broker;
use crate::broker::port::{Output, Report};
use crate::broker::province::{orders_of, those_of};
use crate::broker::waiting::{Claim, Wait};
use crate::courier::Transmit;
use crate::escalate::Escalate;
use crate::event::Class;
use crate::id::{EventId, Name, NodeName, PathId, StationId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{EventCopy, Hello, Message, Refusal, WIRE_MINOR};
use crate::path::{Form, PathInfo};
use crate::receipt::{Receipt, Stage, Standing, Trail};
use crate::record::{Admission, Entry};
use crate::time::{Now, Timestamp};

impl Admission {
    /// The region that it was forwarded by; `None` if it came from a relay.
    #[must_use]
    pub fn forwarded_by(&self) -> Option<&Name> {
        let NodeName::Broker { region, .. } = &self.by else { return None };
        last_region(&self.trail, Some(region))
    }
}

/// The region of the last broker node on a trail, those of `but` not counted.
fn last_region<'a>(trail: &'a Trail, but: Option<&Name>) -> Option<&'a Name> {
    let regions = trail.steps().iter().rev().filter_map(|step| match &step.node {
        NodeName::Broker { region, .. } => Some(region),
        NodeName::Relay(_) | NodeName::Station(_) => None,
    });
    regions.into_iter().find(|region| but != Some(*region))
}

impl Broker {
    /// The regions that hold sessions with this node, and how many.
    pub fn regions(&self) -> impl Iterator<Item = (&Name, usize)> {
        self.regions.iter().map(|(region, gate)| (region, gate.paths.len()))
    }

    /// The stations that the plan gives an event: the school's and, of what is about life and limb, the desks of its county and its city.
    /// What escalates later is who owns it, not who may see it.
    pub(super) fn stations_for(&self, admission: &Admission) -> Vec<StationId> {
        let (plan, event) = (self.plan(), &admission.sealed.event);
        let mut stations = match admission.forwarded_by() {
            Some(region) => plan.route_from(region, event.school()).to_vec(),
            None => plan.route(event.school()).to_vec(),
        };
        if event.class == Class::P0 {
            for desk in plan.desks(event.school()) {
                if !stations.contains(desk) {
                    stations.push(desk.clone());
                }
            }
        }
        stations
    }

    pub(super) fn region_up(&mut self, now: Now, path: PathId, region: &Name, info: PathInfo) {
        let seed = self.rng.next_u64();
        let gate = self.regions.entry(region.clone()).or_insert_with(|| Gate::new(seed));
        gate.path_up(now, path, info);
        // No region is so old that it would not say what has come.
        gate.minor = WIRE_MINOR;
        if info.lane == Lane::Express {
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Form::Stream, Message::Hello(hello));
        }
        self.drain_region(region);
    }

    pub(super) fn region_down(&mut self, now: Now, path: PathId, region: &Name) {
        let Some(gate) = self.regions.get_mut(region) else { return };
        gate.path_down(now, path);
        if gate.paths.is_empty() {
            self.regions.remove(region);
        } else {
            self.drain_region(region);
        }
    }

    pub(super) fn region_heard(&mut self, now: Now, path: PathId, region: &Name) {
        if let Some(gate) = self.regions.get_mut(region) {
            gate.heard(now, path);
        }
        self.drain_region(region);
    }

    /// A broker node of a region said something.
    pub(super) fn region_said(&mut self, now: Now, path: PathId, (node, expired): (NodeName, bool), message: Message) {
        let NodeName::Broker { region, .. } = node.clone() else { return };
        match message {
            Message::Event(copy) => self.forwarded(now, path, &region, (node, expired), copy),
            Message::Receipts(receipts) if !expired => self.said_below(now, path, &region, &node, receipts),
            Message::Inquire(ids) => self.region_asks(path, &region, &ids),
            Message::Escalate(order) if !expired => self.escalate(now, path, &node, order),
            Message::Confirmed(heard) => {
                if let Some(gate) = self.regions.get_mut(&region) {
                    heard.into_iter().for_each(|key| gate.confirmed(now, key));
                }
                self.drain_region(&region);
            }
            Message::Unknown(ids) => {
                if let Some(gate) = self.regions.get_mut(&region) {
                    ids.iter().for_each(|id| gate.drop_event(now, id));
                }
                self.drain_region(&region);
            }
            Message::Hello(_) | Message::Escalated(..) => {}
            _ if expired => self.report(Report::Improper(node, "more than alarms with an expired certificate")),
            _ => self.report(Report::Improper(node, "a message that a region does not send to its province")),
        }
    }

    /// A copy of an event that a region forwards.
    fn forwarded(&mut self, now: Now, path: PathId, region: &Name, (node, expired): (NodeName, bool), copy: EventCopy) {
        let (id, class) = (copy.sealed.event.id, copy.sealed.event.class);
        let known = self.admission(&id);
        let other_region =
            last_region(&copy.trail, None) != Some(region) || known.is_some_and(|known| !known.is_of(region, &copy));
        if other_region {
            return self.refuse(path, node, id, Refusal::OtherRegion);
        }
        if expired && class != Class::P0 {
            return self.refuse(path, node, id, Refusal::Expired);
        }
        if known.is_none() && !self.record.is_archived(&id) {
            if !self.has_room(&copy.sealed.event.relay, class) {
                if class == Class::P0 {
                    // Unanswered, it is sent again soon; refused, it would wait for a minute.
                    return self.report(Report::Refused(node, id, Refusal::NoRoom));
                }
                return self.refuse(path, node, id, Refusal::NoRoom);
            }
            let receipts = copy.receipts.clone();
            self.take(now, copy);
            return self.said_below(now, path, region, &node, receipts);
        }
        self.report(Report::Duplicate(id));
        if self.record.get(&id).is_some() || self.record.is_archived(&id) {
            self.send(path, Class::P1, Form::Datagram, Message::Confirmed(vec![(id, Stage::Stored)]));
        }
        self.said_below(now, path, region, &node, copy.receipts);
    }

    /// What stations of a region said of its events.
    fn said_below(&mut self, now: Now, path: PathId, region: &Name, node: &NodeName, receipts: Vec<Receipt>) {
        let (mut confirmed, mut unknown) = (Vec::new(), Vec::new());
        for receipt in receipts {
            let (id, stage) = (receipt.event, receipt.stage);
            if !matches!(receipt.by, NodeName::Station(_)) || stage < Stage::Delivered {
                self.report(Report::Improper(node.clone(), "a receipt that is no station's"));
                continue;
            }
            match self.admission(&id) {
                Some(admission) if admission.forwarded_by().is_some_and(|home| home != region) => {
                    self.report(Report::Improper(node.clone(), "a receipt for an event of another region"));
                }
                Some(_) if self.record.get(&id).is_some_and(|entry| entry.needs_no_more(&receipt)) => {
                    confirmed.push((id, stage));
                }
                Some(_) => self.take_statement(now, receipt),
                // It is finished, and closed here.
                None if self.record.is_archived(&id) => confirmed.push((id, stage)),
                None => unknown.push(id),
            }
        }
        unknown.dedup();
        for part in confirmed.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Form::Datagram, Message::Confirmed(part.to_vec()));
        }
        for part in unknown.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Form::Stream, Message::Unknown(part.to_vec()));
        }
    }

    /// A region asks what became of its alarms here.
    fn region_asks(&mut self, path: PathId, region: &Name, ids: &[EventId]) {
        let (mut receipts, mut orders) = (Vec::new(), Vec::new());
        let (mut archived, mut unknown) = (Vec::new(), Vec::new());
        for id in ids {
            match self.record.get(id) {
                Some(entry) if entry.admission.forwarded_by() == Some(region) => {
                    receipts.extend(entry.notes.iter().cloned());
                    orders.extend(orders_of(entry));
                }
                Some(_) => {}
                None if self.pending.contains_key(id) => {}
                None if self.record.is_archived(id) => archived.push(*id),
                None => unknown.push(*id),
            }
        }
        self.recall(path, archived);
        self.send_receipts(path, &receipts);
        for order in orders {
            self.send(path, Class::P1, Form::Stream, Message::Escalate(order));
        }
        for part in unknown.chunks(limits::LIST_ITEMS) {
            self.send(path, Class::P1, Form::Stream, Message::Unknown(part.to_vec()));
        }
    }

    /// The record has the event, or a statement about it: whoever forwarded it hears so.
    pub(super) fn confirm_below(&mut self, id: EventId, stage: Stage) {
        let Some(entry) = self.record.get(&id) else { return };
        let Some(gate) = entry.admission.forwarded_by().and_then(|region| self.regions.get(region)) else { return };
        let confirmed = Message::Confirmed(vec![(id, stage)]);
        let send = |path| Output::Send(path, Class::P1, Form::Datagram, confirmed.clone());
        self.out.extend(gate.express().map(send));
    }

    /// Tells the region of an event what became of it here.
    pub(super) fn tell_below(&mut self, now: Now, class: Class, receipt: &Receipt) {
        let NodeName::Station(seat) = &receipt.by else { return };
        let Some(admission) = self.admission(&receipt.event) else { return };
        let Some(region) = admission.forwarded_by().cloned() else { return };
        // What the region's own stations said, it knows.
        if !admission.stations.contains(&seat.station) {
            return;
        }
        let Some(gate) = self.regions.get_mut(&region) else { return };
        // Who assists is said once, as to a relay.
        if receipt.standing == Standing::Assisting || !gate.carry(now, class.min(Class::P1), receipt) {
            let send = |path| Output::Send(path, Class::P1, Form::Stream, Message::Receipts(vec![receipt.clone()]));
            self.out.extend(gate.express().map(send));
        }
        self.drain_region(&region);
    }

    /// Tells the region of an event that more stations are to see it. Said once; what is missed is asked for.
    pub(super) fn escalate_below(&mut self, order: &Escalate) {
        let Some(entry) = self.record.get(&order.event) else { return };
        let Some(gate) = entry.admission.forwarded_by().and_then(|region| self.regions.get(region)) else { return };
        let send = |path| Output::Send(path, Class::P1, Form::Stream, Message::Escalate(order.clone()));
        self.out.extend(gate.express().map(send));
    }

    /// More stations must see an event: said by a seat that has it, by the province, or by the region that forwards it.
    pub(super) fn escalate(&mut self, now: Now, path: PathId, peer: &NodeName, order: Escalate) {
        let id = order.event;
        let may = self.admission(&id).is_some_and(|admission| match peer {
            NodeName::Station(seat) => order.by == *peer && admission.stations.contains(&seat.station),
            NodeName::Broker { region, .. } if self.is_province(region) => admission.owed,
            NodeName::Broker { region, .. } => admission.forwarded_by() == Some(region),
            NodeName::Relay(_) => false,
        });
        if !may || !matches!(order.by, NodeName::Station(_)) {
            return self.send(path, Class::P1, Form::Stream, Message::Unknown(vec![id]));
        }
        if let Some(entry) = self.record.get(&id) {
            if those_of(entry, &order.stations).len() == order.stations.len() {
                let done = Message::Escalated(id, order.stations);
                return self.send(path, Class::P1, Form::Stream, done);
            }
            if !entry.has_room_for(&order.stations) {
                return self.refuse(path, peer.clone(), id, Refusal::NoRoom);
            }
        }
        let claim = Claim::of_order(&order);
        // What waits already is proposed again by itself; for want of room, it is said again.
        if self.waiting.order(&id, &order.stations).is_none() && self.waiting.has_room_for_order() {
            self.waiting.insert_order(order, Wait::default());
            self.propose(now, &claim);
        }
    }

    /// An event has left the record for the archive.
    pub(super) fn left_record(&mut self, now: Now, entry: &Entry) {
        self.unfollow(&entry.admission.sealed.event.id);
        let id = entry.admission.sealed.event.id;
        if let Some(up) = &mut self.upward {
            up.inquiry.remove(entry.index);
            up.forget_escalations(&id);
        }
        self.track(now, id);
        if !entry.owed().is_empty() {
            self.report(Report::LeftUnforwarded(id));
        }
    }

    /// An escalation is in the record: those who wait for that hear so, and so do the levels above and below.
    pub(super) fn escalation_committed(&mut self, now: Now, id: EventId) {
        let Some(entry) = self.record.get(&id) else { return };
        let Some(order) = orders_of(entry).last() else { return };
        let done = Message::Escalated(order.event, those_of(entry, &order.stations));
        if let NodeName::Station(seat) = &order.by
            && let Some(desk) = self.desks.get(seat)
        {
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, Form::Stream, done.clone())));
        }
        self.escalate_below(&order);
        self.escalate_above(now, order);
    }

    pub(super) fn is_province(&self, region: &Name) -> bool {
        self.upward.as_ref().is_some_and(|up| up.region == *region)
    }

    /// Sends what regions are to be told now.
    pub(super) fn regions_due(&mut self, now: Now) {
        let due = self.regions.iter_mut().filter(|(_, gate)| gate.wake.is_some_and(|at| at <= now.mono));
        let due: Vec<Name> = due
            .map(|(region, gate)| {
                gate.handle_timeout(now);
                region.clone()
            })
            .collect();
        due.iter().for_each(|region| self.drain_region(region));
    }

    pub(super) fn regions_timeout(&self) -> Option<Timestamp> {
        self.regions.values().filter_map(|gate| gate.wake).min()
    }

    pub(super) fn check_levels(&self) -> Result<(), String> {
        if let Some(up) = &self.upward {
            up.check()?;
        }
        for (region, gate) in &self.regions {
            gate.check().map_err(|why| format!("region {region}: {why}"))?;
        }
        Ok(())
    }

    fn drain_region(&mut self, region: &Name) {
        let Some(gate) = self.regions.get_mut(region) else { return };
        while let Some((Transmit { path, class, form, .. }, load)) = gate.poll_output() {
            // No command goes to a region: its schools are its own.
            if let Load::Receipts(receipts) = load {
                self.out.push_back(Output::Send(path, class, form, Message::Receipts(receipts)));
            }
        }
        gate.wake = gate.poll_timeout();
    }
}

/// The gates of regions, by region.
pub(super) type Regions = BTreeMap<Name, Gate>;

impl Admission {
    /// Whether a copy that `region` forwards is one of this event: from nowhere else, and of the same relay.
    fn is_of(&self, region: &Name, copy: &EventCopy) -> bool {
        self.forwarded_by().is_none_or(|home| home == region) && self.sealed.event.relay == copy.sealed.event.relay
    }
}
