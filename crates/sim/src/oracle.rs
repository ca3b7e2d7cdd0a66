//! The record by a second reading: what the committed log says of owners and statements, read without the machines' own code. What a node says is
//! held against it in the moment in which it says it.
//!
//! Invariant: the oracle reads only what a majority holds.

use std::collections::{BTreeMap, BTreeSet};

use huxiao_core::{Command, EventId, Message, NodeName, PathId, Receipt, Stage, Standing, WallTime};

use crate::check::{Check, Failure, Outcome};
use crate::faced::Faced;
use crate::node::Node;
use crate::world::World;

/// What the committed log says.
#[derive(Debug, Default)]
pub struct Oracle {
    /// Events that are in it.
    pub admitted: BTreeSet<EventId>,
    /// Who took each alarm and when, in the log's order.
    taken: BTreeMap<EventId, Vec<(NodeName, WallTime)>>,
    noted: BTreeSet<(EventId, Stage, NodeName)>,
    /// Under which number each event left.
    archived: BTreeMap<u64, EventId>,
}

impl Oracle {
    /// The officer who has it: whose word came first in the log.
    #[must_use]
    pub fn owner(&self, id: &EventId) -> Option<&NodeName> {
        self.taken.get(id).and_then(|taken| taken.first()).map(|(by, _)| by)
    }

    fn assists(&self, id: &EventId, by: &NodeName) -> bool {
        self.taken.get(id).is_some_and(|taken| taken.iter().skip(1).any(|(other, _)| other == by))
    }
}

impl World {
    /// The next command of the log is committed.
    pub(crate) fn read_committed(&mut self, command: &Command) {
        let oracle = &mut self.region.oracle;
        match command {
            Command::Admit(admission) => {
                oracle.admitted.insert(admission.sealed.event.id);
            }
            // What comes before its event counts for nothing, and is said again.
            Command::Note(receipt) if oracle.admitted.contains(&receipt.event) => {
                let (id, stage, by) = (receipt.event, receipt.stage, receipt.by.clone());
                if !oracle.noted.insert((id, stage, by.clone())) || stage != Stage::Acknowledged {
                    return;
                }
                let taken = oracle.taken.entry(id).or_default();
                taken.push((by.clone(), receipt.at));
                let Some((owner, at)) = taken.first().filter(|(owner, _)| *owner != by).cloned() else { return };
                let journalled = |by| self.ledger.journalled.contains(&(id, stage, by));
                let (older, owners) = (journalled(by), journalled(owner));
                let met = &mut self.ledger.met;
                met.count(Faced::Assisting);
                if older || owners {
                    met.count(Faced::TwoSides);
                }
                if older && receipt.at < at {
                    met.count(Faced::Overtaken);
                }
            }
            _ => {}
        }
    }

    /// An event leaves for the archive of a node: under one number, on every node the same.
    pub(crate) fn is_archived_once(&mut self, number: u64, id: EventId) -> Outcome {
        let archived = &mut self.region.oracle.archived;
        let first = *archived.entry(number).or_insert(id);
        let elsewhere = archived.iter().any(|(other, event)| *event == id && *other != number);
        if first == id && !elsewhere {
            return Ok(());
        }
        Err(Failure::of(Check::Once, id, format!("{id} left the record as number {number}, and as another")))
    }

    /// A node says that something has entered its record.
    pub(crate) fn entered(&mut self, at: usize, id: EventId, said: Option<&Receipt>) -> Outcome {
        let life = self.life(Node::Broker(at)).number;
        let what = said.map(|receipt| (receipt.stage, receipt.by.clone()));
        if self.ledger.entered.insert((at, life, (id, what))) {
            return Ok(());
        }
        let words = said.map_or_else(String::new, |receipt| format!(" {} by {}", receipt.stage, receipt.by));
        Err(Failure::of(Check::Once, id, format!("{id}:{words} entered the record of node {at} twice")))
    }

    /// A node says something to a relay or a seat.
    pub(crate) fn hold_to_record(&mut self, at: usize, path: PathId, message: &Message) -> Outcome {
        match message {
            Message::Receipts(receipts) => receipts.iter().try_for_each(|receipt| self.hold_receipt(at, receipt)),
            Message::Event(copy) => copy.receipts.iter().try_for_each(|receipt| self.hold_receipt(at, receipt)),
            Message::Confirmed(stages) => {
                let Some(Node::Seat(seat)) = self.sessions.get(&path.0).map(|session| session.client) else {
                    return Ok(());
                };
                let by = NodeName::Station(self.province.seat(seat));
                let noted = |id: &EventId, stage: Stage| {
                    self.region.oracle.noted.contains(&(*id, stage, by.clone())) || self.region.archive.contains_key(id)
                };
                match stages.iter().find(|(id, stage)| !noted(id, *stage)) {
                    Some((id, stage)) => {
                        let what = format!("{id}: node {at} confirmed {stage} to {by}, and no majority holds it");
                        Err(Failure::of(Check::Durable, *id, what))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn hold_receipt(&mut self, at: usize, receipt: &Receipt) -> Outcome {
        let (id, by) = (receipt.event, &receipt.by);
        if receipt.stage == Stage::Stored {
            self.is_stored(at, id)?;
        }
        let oracle = &self.region.oracle;
        let holds = match (receipt.stage, receipt.standing) {
            (_, Standing::Provisional) => return self.is_journalled(at, receipt),
            (Stage::Acknowledged, Standing::Settled) => oracle.owner(&id) == Some(by),
            (Stage::Acknowledged, Standing::Assisting) => oracle.assists(&id, by),
            _ => true,
        };
        if holds {
            return Ok(());
        }
        let what = format!(
            "{id}: node {at} said that {by} has it ({}); by the log it is {:?}",
            receipt.standing,
            oracle.owner(&id)
        );
        Err(Failure::of(Check::Owner, id, what))
    }

    /// A node says that an event is stored. It is looked up once, and once more at the end.
    fn is_stored(&mut self, at: usize, id: EventId) -> Outcome {
        self.ledger.stored.insert((at, id));
        if self.region.oracle.admitted.contains(&id) {
            return Ok(());
        }
        let what = format!("{id} was said to be stored by node {at}, and no majority holds it");
        Err(Failure::of(Check::Durable, id, what))
    }

    /// A node without a quorum says that it has something on its disk.
    fn is_journalled(&mut self, at: usize, receipt: &Receipt) -> Outcome {
        let id = receipt.event;
        let holds = |command: &Command| match command {
            Command::Admit(admission) => receipt.stage == Stage::Received && admission.sealed.event.id == id,
            Command::Note(note) => (note.event, note.stage, &note.by) == (id, receipt.stage, &receipt.by),
            _ => false,
        };
        if !self.brokers[at].replica.journal.values().any(holds) {
            let what = format!(
                "{id}: node {at} said that it has {} by {} on its disk, and has not",
                receipt.stage, receipt.by
            );
            return Err(Failure::of(Check::Durable, id, what));
        }
        if self.ledger.journalled.insert((id, receipt.stage, receipt.by.clone())) {
            self.ledger.met.count(Faced::Journalled);
            if receipt.stage == Stage::Acknowledged {
                self.ledger.met.count(Faced::Provisional);
            }
        }
        Ok(())
    }

    /// What must hold of the record when all is said: the same on every node, nothing waits, and what was journalled is there.
    pub(crate) fn judge_region(&self) -> Outcome {
        let machines = || self.brokers.iter().enumerate().filter_map(|(at, node)| Some((at, node.machine.as_ref()?)));
        for (at, broker) in machines() {
            let replica = &self.brokers[at].replica;
            let rows = replica.journal.len() + replica.journalling.len();
            if broker.waiting() > 0 || rows > 0 {
                let what = format!("{} wait at node {at}, {rows} are in its journal", broker.waiting());
                return Err(Failure::new(Check::Drains, what));
            }
            if broker.condition().is_some() {
                return Err(Failure::new(Check::Drains, format!("node {at} says that it has no quorum")));
            }
            if let Some((_, first)) = machines().next()
                && first.record() != broker.record()
            {
                let (ours, theirs) = (first.record().last_index(), broker.record().last_index());
                let what = format!("the records of nodes 0 and {at} differ, at {ours} and {theirs}");
                return Err(Failure::new(Check::SameRecord, what));
            }
        }
        let Some((_, broker)) = machines().next() else { return Ok(()) };
        for entry in broker.record().entries() {
            let id = entry.admission.sealed.event.id;
            let told: BTreeSet<_> = entry.notes.iter().map(|note| (note.stage, &note.by)).collect();
            if told.len() < entry.notes.len() {
                return Err(Failure::of(Check::Once, id, format!("{id}: a statement stands in the record twice")));
            }
            let owner = entry.owner().map(|owner| &owner.by);
            if owner != self.region.oracle.owner(&id) {
                let what = format!("{id}: {owner:?} has it for the record, and another was first in the log");
                return Err(Failure::of(Check::Owner, id, what));
            }
        }
        self.judge_journalled(broker.record())
    }

    /// A lost disk takes its journal along, and only what relays and seats still say comes back.
    fn judge_journalled(&self, record: &huxiao_core::record::RecordState) -> Outcome {
        let one_of_one = self.nature.loses_record && self.brokers.len() == 1;
        for (id, stage, by) in self.ledger.journalled.iter().filter(|_| !one_of_one) {
            if self.nature.loses_record && (*stage > Stage::Received || !self.ledger.kept.contains(id)) {
                continue;
            }
            let there = match record.get(id) {
                Some(entry) => *stage == Stage::Received || entry.has(*stage, by),
                None => record.is_archived(id),
            };
            if !there {
                let what =
                    format!("{id}: a node without a quorum said that it has {stage} by {by}, the record has not");
                return Err(Failure::of(Check::Journalled, *id, what));
            }
        }
        Ok(())
    }
}
