//! What the province is still to be told, in which order, and over which sessions it goes there.
//!
//! Everything that the province is owed stands here by its id alone; what is sent is read from the record at the moment of sending. Of that at
//! most [`limits::PROVINCE_WINDOW`] events of one rank and those above it are on their way at once, so an absence of a day costs an id for each
//! event and no copies.
//!
//! Invariants:
//! * An event is waiting, carried or held, and carried only while there is a session and this node forwards.
//! * While there is a session and room, nothing waits. What nobody has taken goes before what somebody has, highest class first, oldest first.

use std::collections::{BTreeMap, BTreeSet};

use crate::courier::{Courier, Transmit};
use crate::escalate::Escalate;
use crate::event::Class;
use crate::id::{EventId, Name, NodeName, PathId, StationId};
use crate::inquiry::Inquiry;
use crate::lane::Lane;
use crate::limits;
use crate::path::PathInfo;
use crate::probe::Prober;
use crate::receipt::Stage;
use crate::time::{Now, Span, Timestamp};

/// How long after a refusal an event is offered again: the province's plan or its disk may have been mended.
const OFFER_AGAIN_AFTER: Span = Span::from_secs(60);
/// How often what the province has confirmed is proposed while the record does not take it.
const SETTLE_AGAIN_AFTER: Span = Span::from_secs(2);
/// How often an escalation is said while the province does not answer.
const ESCALATE_AGAIN_AFTER: Span = Span::from_secs(1);
/// How often the driver is asked for fresh sessions while alarms wait and there is none.
const HURRY_EVERY: Span = Span::from_secs(30);

/// What the province is owed of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Debt {
    /// The event's class.
    pub(super) class: Class,
    /// Its index in the record; the greatest there is for one that is not there yet.
    pub(super) index: u64,
    /// Whether somebody has taken it.
    pub(super) finished: bool,
    /// The stages that the province does not have; [`Stage::Stored`] is the event itself.
    pub(super) missing: BTreeSet<Stage>,
    /// About how many bytes it is on the wire.
    pub(super) bytes: usize,
}

impl Debt {
    /// What goes first has the lower rank. An event that somebody has taken and that the province has never seen is history; a statement about
    /// one that it has is news.
    fn rank(&self) -> usize {
        let history = self.finished && self.missing.contains(&Stage::Stored);
        self.class as usize + if history { Class::ALL.len() } else { 0 }
    }

    fn is_history(&self) -> bool {
        self.rank() >= Class::ALL.len()
    }
}

/// By rank, index and id.
type Place = (usize, u64, EventId);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Carried,
    /// It waits for something else than its turn: for the record to take what the province has confirmed, or for the end of a refusal.
    Held,
}

#[derive(Debug)]
struct Item {
    debt: Debt,
    state: State,
}

/// The node's side of its region's province.
#[derive(Debug)]
pub(super) struct Upward {
    /// The province.
    pub(super) region: Name,
    pub(super) prober: Prober,
    /// What the province has confirmed, where the record does not say so yet.
    pub(super) confirmed: BTreeMap<EventId, BTreeSet<Stage>>,
    /// Events that the record says the province has, and the province says it does not.
    pub(super) unknown: BTreeSet<EventId>,
    /// What the province has, but no officer: its officers may have it.
    pub(super) inquiry: Inquiry,
    paths: BTreeMap<PathId, (NodeName, PathInfo)>,
    courier: Courier<EventId>,
    items: BTreeMap<EventId, Item>,
    waiting: BTreeSet<Place>,
    carried: [usize; 2 * Class::ALL.len()],
    refused: BTreeSet<(Timestamp, EventId)>,
    escalations: BTreeMap<EventId, Vec<Escalate>>,
    escalate_at: Option<Timestamp>,
    settle_at: Option<Timestamp>,
    hurry_at: Option<Timestamp>,
    active: bool,
}

/// How the province is reached, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvinceView {
    /// The province's name.
    pub region: Name,
    /// Its nodes that hold a session with this one.
    pub nodes: BTreeSet<NodeName>,
    /// Whether this node is the one that forwards: the region's leader, or any node while there is no quorum.
    pub forwards: bool,
    /// Events of which the province lacks something, by class, highest first.
    pub pending: [usize; Class::ALL.len()],
    /// One of them that was raised first, as far as the order of the record tells.
    pub oldest: Option<EventId>,
}

impl Upward {
    pub(super) fn new(region: Name, seed: u64) -> Self {
        Self {
            region,
            prober: Prober::default(),
            confirmed: BTreeMap::new(),
            unknown: BTreeSet::new(),
            inquiry: Inquiry::default(),
            paths: BTreeMap::new(),
            courier: Courier::new(seed).with_rate(limits::PROVINCE_COPY_BYTES_PER_SECOND),
            items: BTreeMap::new(),
            waiting: BTreeSet::new(),
            carried: [0; 2 * Class::ALL.len()],
            refused: BTreeSet::new(),
            escalations: BTreeMap::new(),
            escalate_at: None,
            settle_at: None,
            hurry_at: None,
            active: false,
        }
    }

    /// Whether this node forwards.
    pub(super) fn is_active(&self) -> bool {
        self.active
    }

    pub(super) fn set_active(&mut self, now: Now, active: bool) {
        self.active = active;
        if !active {
            // Whoever forwards next finds them in the record.
            self.escalations.clear();
        }
        self.arrange(now);
    }

    pub(super) fn path_up(&mut self, now: Now, path: PathId, node: NodeName, info: PathInfo) {
        if info.lane == Lane::Express {
            self.prober.path_up(now.mono, path, node.clone(), info);
        }
        self.paths.insert(path, (node, info));
        self.courier.path_up(now.mono, path, info);
        if !self.escalations.is_empty() {
            self.escalate_at = Some(now.mono);
        }
        self.arrange(now);
    }

    pub(super) fn path_down(&mut self, now: Now, path: PathId) {
        self.paths.remove(&path);
        self.prober.path_down(path);
        self.courier.path_down(now.mono, path);
        self.arrange(now);
    }

    pub(super) fn heard(&mut self, now: Now, path: PathId) {
        self.courier.heard(now.mono, path);
        self.prober.heard(now.mono, path);
    }

    /// Its express sessions.
    pub(super) fn express(&self) -> impl Iterator<Item = PathId> {
        self.paths.iter().filter(|(_, (_, info))| info.lane == Lane::Express).map(|(path, _)| *path)
    }

    /// The events of which anything is owed.
    pub(super) fn ids(&self) -> Vec<EventId> {
        self.items.keys().copied().collect()
    }

    /// What is lacking of an event that is owed something.
    pub(super) fn missing(&self, id: &EventId) -> Option<&BTreeSet<Stage>> {
        self.items.get(id).map(|item| &item.debt.missing)
    }

    /// What is owed of an event, from now on.
    pub(super) fn set(&mut self, now: Now, id: EventId, debt: Option<Debt>) {
        let old = self.items.get(&id).map(|item| (item.debt.clone(), item.state));
        match (old, debt) {
            (Some((old, _)), Some(debt)) if old == debt => {}
            // Some of it has arrived; what is left goes on as it does.
            (Some((old, State::Carried)), Some(debt))
                if debt.missing.is_subset(&old.missing)
                    && !debt.missing.is_empty()
                    && old.missing.contains(&Stage::Stored) == debt.missing.contains(&Stage::Stored)
                    && old.rank() == debt.rank() =>
            {
                if let Some(item) = self.items.get_mut(&id) {
                    item.debt = debt;
                }
            }
            (_, debt) => {
                let arrived = debt.as_ref().is_none_or(|debt| debt.missing.is_empty());
                self.take_out(now, &id, arrived);
                if let Some(debt) = debt {
                    let held = debt.missing.is_empty() || self.refused.iter().any(|(_, refused)| *refused == id);
                    let state = if held { State::Held } else { State::Waiting };
                    if !held {
                        self.waiting.insert((debt.rank(), debt.index, id));
                    }
                    self.items.insert(id, Item { debt, state });
                }
                self.arrange(now);
            }
        }
    }

    /// The province does not take it: it is offered again later. False if it was not on its way.
    pub(super) fn refuse(&mut self, now: Now, id: EventId) -> bool {
        let Some(item) = self.items.get(&id).filter(|item| item.state == State::Carried) else { return false };
        let debt = item.debt.clone();
        self.refused.insert((now.mono + OFFER_AGAIN_AFTER, id));
        self.take_out(now, &id, false);
        self.items.insert(id, Item { debt, state: State::Held });
        self.arrange(now);
        true
    }

    /// The record is to be told of what the province has confirmed, now and until it is.
    pub(super) fn settle_later(&mut self, now: Now) {
        self.settle_at = self.settle_at.or(Some(now.mono + SETTLE_AGAIN_AFTER));
    }

    /// The record's stations of an event are more than the province knows of, until it says that it does.
    pub(super) fn escalate(&mut self, now: Now, order: Escalate) {
        self.escalations.entry(order.event).or_default().push(order);
        self.escalate_at = Some(now.mono);
    }

    /// The province has these stations with the event.
    pub(super) fn escalated(&mut self, id: EventId, stations: &[StationId]) {
        if let Some(orders) = self.escalations.get_mut(&id) {
            orders.retain(|order| !order.stations.iter().all(|station| stations.contains(station)));
            if orders.is_empty() {
                self.escalations.remove(&id);
            }
        }
    }

    /// Nothing more of this event is to be escalated: it is no longer in the record, or the province does not take it.
    pub(super) fn forget_escalations(&mut self, id: &EventId) {
        self.escalations.remove(id);
    }

    /// The escalations to say now.
    pub(super) fn escalations_due(&mut self, now: Now) -> Vec<Escalate> {
        if self.escalate_at.is_none_or(|at| at > now.mono) {
            return Vec::new();
        }
        // Without a session, the next one brings it up again.
        self.escalate_at = (self.may_carry() && !self.escalations.is_empty()).then(|| now.mono + ESCALATE_AGAIN_AFTER);
        if !self.may_carry() {
            return Vec::new();
        }
        self.escalations.values().flatten().take(limits::LIST_ITEMS).cloned().collect()
    }

    /// Does what has become due. True if the record is to be told again of what the province has confirmed.
    pub(super) fn handle_timeout(&mut self, now: Now) -> bool {
        while let Some((at, id)) = self.refused.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.refused.remove(&(at, id));
            if let Some(item) = self.items.get_mut(&id)
                && !item.debt.missing.is_empty()
                && item.state == State::Held
            {
                item.state = State::Waiting;
                self.waiting.insert((item.debt.rank(), item.debt.index, id));
            }
        }
        self.prober.handle_timeout(now);
        for (path, losses, rtt) in self.prober.probed() {
            self.courier.set_probed(path, losses, rtt);
        }
        self.courier.handle_timeout(now.mono);
        self.arrange(now);
        let settle = self.settle_at.is_some_and(|at| at <= now.mono);
        if settle {
            self.settle_at = None;
        }
        settle
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let inquiry = if self.active && !self.paths.is_empty() { self.inquiry.poll_timeout() } else { None };
        let timers = [
            self.courier.poll_timeout(),
            self.prober.poll_timeout(),
            self.refused.first().map(|(at, _)| *at),
            self.escalate_at,
            self.settle_at,
            self.hurry_at,
            inquiry,
        ];
        timers.into_iter().flatten().min()
    }

    /// The next copy to send.
    pub(super) fn poll_output(&mut self) -> Option<Transmit<EventId>> {
        self.courier.poll_output()
    }

    /// Whether fresh sessions are to be dialled. Says so once.
    pub(super) fn poll_race(&mut self, now: Now) -> bool {
        let waits = self.active && self.paths.is_empty() && self.alarms_wait();
        if !waits {
            self.hurry_at = None;
        }
        let hurry = waits && self.hurry_at.is_none_or(|at| at <= now.mono);
        if hurry {
            self.hurry_at = Some(now.mono + HURRY_EVERY);
        }
        self.courier.poll_race() || hurry
    }

    pub(super) fn view(&self) -> ProvinceView {
        let mut pending = [0; Class::ALL.len()];
        self.items.values().filter(|item| !item.debt.missing.is_empty()).for_each(|item| {
            pending[item.debt.class as usize] += 1;
        });
        let owed = self.items.iter().filter(|(_, item)| !item.debt.missing.is_empty());
        ProvinceView {
            region: self.region.clone(),
            nodes: self.paths.values().map(|(node, _)| node.clone()).collect(),
            forwards: self.active,
            pending,
            oldest: owed.min_by_key(|(id, item)| (item.debt.index, **id)).map(|(id, _)| *id),
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        self.prober.check()?;
        let mut carried = [0; 2 * Class::ALL.len()];
        for (id, item) in &self.items {
            let place = (item.debt.rank(), item.debt.index, *id);
            if (item.state == State::Waiting) != self.waiting.contains(&place) {
                return Err(format!("{id} is wrongly listed as waiting for the province, or not listed"));
            }
            if (item.state == State::Carried) != self.courier.carries(id) {
                return Err(format!("{id} is carried to the province and not listed so, or listed and not carried"));
            }
            if item.state != State::Held && item.debt.missing.is_empty() {
                return Err(format!("{id} is to go to the province, which lacks nothing of it"));
            }
            carried[item.debt.rank()] += usize::from(item.state == State::Carried);
        }
        if carried != self.carried || self.courier.pending().iter().sum::<usize>() != carried.iter().sum() {
            return Err("what is carried to the province is counted otherwise".to_owned());
        }
        if (1..=carried.len()).any(|rank| carried[rank - 1] > limits::PROVINCE_WINDOW) {
            return Err(format!("{carried:?} events are on their way to the province at once"));
        }
        if !self.may_carry() && carried.iter().any(|count| *count > 0) {
            return Err("events are carried to the province without a session, or by a node that does not".to_owned());
        }
        match self.waiting.first() {
            Some((rank, ..)) if self.may_carry() && self.has_room(*rank) => {
                Err("an event waits for the province though there is a session and room".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn alarms_wait(&self) -> bool {
        self.waiting.first().is_some_and(|(rank, ..)| *rank <= Class::P1 as usize)
    }

    fn may_carry(&self) -> bool {
        self.active && !self.paths.is_empty()
    }

    fn has_room(&self, rank: usize) -> bool {
        self.carried[..=rank].iter().sum::<usize>() < limits::PROVINCE_WINDOW
    }

    /// Lists it no longer; `arrived` if an answer of the province is the reason, from which the courier learns.
    fn take_out(&mut self, now: Now, id: &EventId, arrived: bool) {
        let Some(item) = self.items.remove(id) else { return };
        match item.state {
            State::Waiting => drop(self.waiting.remove(&(item.debt.rank(), item.debt.index, *id))),
            State::Carried => {
                self.carried[item.debt.rank()] -= 1;
                if arrived {
                    self.courier.settle(now.mono, id);
                } else {
                    self.courier.withdraw(now.mono, id);
                }
            }
            State::Held => {}
        }
    }

    /// Carries what there is room for, and nothing where there is no way.
    fn arrange(&mut self, now: Now) {
        if !self.may_carry() {
            if self.carried.iter().all(|count| *count == 0) {
                return;
            }
            for (id, item) in self.items.iter_mut().filter(|(_, item)| item.state == State::Carried) {
                item.state = State::Waiting;
                self.waiting.insert((item.debt.rank(), item.debt.index, *id));
                self.courier.withdraw(now.mono, id);
            }
            self.carried = [0; 2 * Class::ALL.len()];
            return;
        }
        while let Some(&(rank, index, id)) = self.waiting.first() {
            // What is behind has no more room than what is before.
            if !self.has_room(rank) {
                break;
            }
            self.waiting.remove(&(rank, index, id));
            let Some(item) = self.items.get_mut(&id) else { continue };
            item.state = State::Carried;
            self.carried[rank] += 1;
            let history = item.debt.is_history();
            let class = if history { item.debt.class.max(Class::P2) } else { item.debt.class };
            let bytes = item.debt.bytes;
            self.courier.offer(now.mono, id, class, history, bytes);
        }
    }
}
