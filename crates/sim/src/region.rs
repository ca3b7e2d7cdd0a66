//! The engine of a region's record as the nodes see it: one ordered log, a command committed when a majority holds it on disk, a leader that
//! dies or is cut off, and nodes that come back behind the rest.
//!
//! Invariant: what was committed once stays so, at the same index, on every node; a run in which the model itself would break that fails.

use std::collections::{BTreeMap, BTreeSet};

use huxiao_core::broker::{Input, JournalId, NotCommitted, RecallTicket, SnapshotTicket};
use huxiao_core::record::{Entry, RecordState};
use huxiao_core::{Class, Command, Degraded, EventId, RecordId, Rng, Text};

use crate::check::{Check, Failure, Outcome};
use crate::node::Node;
use crate::world::{Action, SECOND, World};

/// How often the engine looks around.
pub const TICK: u64 = SECOND / 10;
/// How long a proposal may take before its proposer is told that nobody knows what became of it.
const PATIENCE: u64 = 4 * SECOND / 10;
/// How long after its leader was lost a region has another one: at least, and so much more at random.
const ELECTION: (u64, u64) = (3 * SECOND / 10, SECOND / 2);
/// How long a node is without a leader before it says so.
const DEGRADED_AFTER: u64 = SECOND;
/// Packets between the nodes of one machine room, or of two.
const BETWEEN_NODES: u64 = 2_000;
/// A node that lags so many entries behind is given the leader's record instead of the log.
const LAGS_FAR: usize = 60;
/// So many entries after the last one a snapshot is taken.
const SNAPSHOT_EVERY: usize = 150;

/// One entry of the log: its term, and what is in it (nothing, where a leader begins).
type Logged = (u64, Option<Command>);

/// What a node has of the record, and its journal.
#[derive(Default)]
pub struct Replica {
    log: Vec<Logged>,
    /// Entries that are on its disk.
    held: usize,
    /// Entries that its machine has applied.
    applied: usize,
    /// Entries that it will find committed when it starts anew.
    saved: usize,
    snapshot: Option<(usize, RecordState)>,
    syncing: bool,
    /// Whether it lost its disk and does not count until it has caught up.
    wiped: bool,
    lost: bool,
    without_since: Option<u64>,
    said: bool,
    /// What its journal has on disk.
    pub journal: BTreeMap<JournalId, Command>,
    journalling: Vec<(JournalId, Command)>,
}

/// The engine's side that no node has alone.
#[derive(Default)]
pub struct Region {
    term: u64,
    leader: Option<usize>,
    election_at: Option<u64>,
    incoming: Vec<(usize, u64, Command)>,
    kicked: bool,
    tracked: Vec<(usize, u64, u64, Command)>,
    committed: Vec<Logged>,
    /// Events that were committed.
    pub admitted: BTreeSet<EventId>,
    /// What left the record.
    pub archive: BTreeMap<EventId, Entry>,
    record: u8,
    /// Faults by which each node is cut off from the others.
    pub isolated: [u32; 3],
    /// Faults by which all are.
    pub split: u32,
}

impl Replica {
    /// The power goes: what was not on disk is gone.
    pub fn crash(&mut self, rng: &mut Rng) {
        self.log.truncate(self.held);
        (self.applied, self.syncing, self.without_since, self.said) = (0, false, None, false);
        for (id, command) in std::mem::take(&mut self.journalling) {
            if rng.below(2) == 0 {
                self.journal.insert(id, command);
            }
        }
    }
}

impl World {
    /// A node's disk is lost as a whole, once. In a region of several it counts again when it has caught up; only one of them is lost.
    pub(crate) fn lose_record(&mut self, at: usize) {
        let single = self.brokers.len() == 1;
        let replica = &mut self.brokers[at].replica;
        if replica.lost || (!single && at > 0) {
            return;
        }
        *replica = Replica { lost: true, wiped: !single, ..Replica::default() };
        if single {
            let record = self.region.record + 1;
            let (isolated, split) = (self.region.isolated, self.region.split);
            let term = self.region.term;
            self.region = Region { record, isolated, split, term, ..Region::default() };
        }
    }

    /// What a node finds when it starts: its record as of its last snapshot, and what follows in its log.
    pub(crate) fn found(&mut self, at: usize, empty: RecordState) -> (RecordState, Vec<(u64, Command)>) {
        let replica = &mut self.brokers[at].replica;
        let (from, record) = replica.snapshot.clone().unwrap_or((0, empty));
        let saved = replica.saved.min(replica.held).max(from);
        replica.applied = saved;
        let after = replica.log[from..saved].iter().zip(from..);
        let after = after.filter_map(|((_, command), at)| Some((at as u64 + 1, command.clone()?))).collect();
        (record, after)
    }

    fn connected(&self, a: usize, b: usize) -> bool {
        let apart = self.region.split + self.region.isolated[a] + self.region.isolated[b];
        self.is_up(Node::Broker(a)) && self.is_up(Node::Broker(b)) && (a == b || apart == 0)
    }

    fn is_majority(&self, nodes: usize) -> bool {
        nodes > self.brokers.len() / 2
    }

    fn counts(&self, at: usize) -> usize {
        (0..self.brokers.len())
            .filter(|other| self.connected(at, *other) && !self.brokers[*other].replica.wiped)
            .count()
    }

    /// The leader, while a majority hears it.
    fn leading(&self) -> Option<usize> {
        self.region.leader.filter(|leader| self.is_majority(self.counts(*leader)))
    }

    pub(crate) fn propose(&mut self, at: usize, command: Command) {
        let life = self.life(Node::Broker(at)).number;
        self.region.incoming.push((at, life, command));
        if !std::mem::replace(&mut self.region.kicked, true) {
            self.soon(BETWEEN_NODES, Action::Kick);
        }
    }

    /// What was proposed comes to the leader.
    pub(crate) fn kick(&mut self) -> Outcome {
        self.region.kicked = false;
        let leader = self.leading();
        let mut refused = Vec::new();
        for (at, life, command) in std::mem::take(&mut self.region.incoming) {
            if self.life(Node::Broker(at)).number != life || !self.is_up(Node::Broker(at)) {
                continue;
            }
            let failing = self.life(Node::Broker(at)).disk_failing > 0;
            match leader.filter(|leader| self.connected(*leader, at)) {
                Some(_) if failing && sheds(&command) && self.rng.below(8) == 0 => {
                    refused.push((at, command, NotCommitted::Shed));
                }
                Some(leader) => {
                    self.region.tracked.push((at, life, self.now + PATIENCE, command.clone()));
                    self.brokers[leader].replica.log.push((self.region.term, Some(command)));
                }
                None => refused.push((at, command, NotCommitted::NoQuorum)),
            }
        }
        for (at, command, why) in refused {
            self.tell_broker(at, Input::NotCommitted { command, why })?;
        }
        self.replicate();
        Ok(())
    }

    /// Every node that hears the leader writes what it lacks.
    fn replicate(&mut self) {
        let Some(leader) = self.leading() else { return };
        let upto = self.brokers[leader].replica.log.len();
        for at in 0..self.brokers.len() {
            let replica = &self.brokers[at].replica;
            let lacks = replica.held < upto || (at != leader && replica.log.len() > upto);
            if replica.syncing || !lacks || !self.connected(leader, at) {
                continue;
            }
            self.brokers[at].replica.syncing = true;
            let way = if at == leader { 0 } else { self.rng.below(BETWEEN_NODES) };
            let sync = self.sync_time(Node::Broker(at));
            let (life, term) = (self.life(Node::Broker(at)).number, self.region.term);
            self.at(self.now + way + sync, Action::Held(at, life, term, upto));
        }
    }

    /// A node's disk has what the leader had up to there.
    pub(crate) fn held(&mut self, at: usize, life: u64, term: u64, upto: usize) -> Outcome {
        if self.life(Node::Broker(at)).number != life {
            return Ok(());
        }
        self.brokers[at].replica.syncing = false;
        let failed = self.life(Node::Broker(at)).disk_failing > 0 && self.rng.below(100) < 60;
        let Some(leader) = self.leading().filter(|leader| term == self.region.term && self.connected(*leader, at))
        else {
            return Ok(());
        };
        if failed {
            return Ok(());
        }
        if at != leader {
            if self.brokers[leader].replica.applied > self.brokers[at].replica.applied + LAGS_FAR {
                self.restore(leader, at)?;
            }
            let known = self.brokers[at].replica.applied;
            let (theirs, ours) = (&self.brokers[leader].replica.log, &self.brokers[at].replica.log);
            let same = ours[known..].iter().zip(&theirs[known..]).take_while(|(a, b)| a.0 == b.0).count() + known;
            let news: Vec<Logged> = theirs.get(same..upto).unwrap_or_default().to_vec();
            let replica = &mut self.brokers[at].replica;
            if same < upto || replica.log.len() > theirs_len(same, upto) {
                replica.log.truncate(same);
                replica.log.extend(news);
            }
        }
        let replica = &mut self.brokers[at].replica;
        replica.held = upto.min(replica.log.len());
        if replica.wiped && replica.held >= self.region.committed.len() {
            replica.wiped = false;
        }
        self.commit(leader)?;
        self.apply(at)?;
        self.replicate();
        Ok(())
    }

    /// A node that lags far is given the leader's record.
    fn restore(&mut self, leader: usize, at: usize) -> Outcome {
        let Some(record) = self.brokers[leader].machine.as_ref().map(|machine| machine.record().clone()) else {
            return Ok(());
        };
        let now = self.now;
        self.trace.note(now, None, || format!("node {at} is given the record of node {leader}"));
        let applied = self.brokers[leader].replica.applied;
        let log = self.brokers[leader].replica.log[..applied].to_vec();
        let replica = &mut self.brokers[at].replica;
        (replica.held, replica.applied, replica.saved, replica.log) = (applied, applied, applied, log);
        replica.snapshot = Some((applied, record.clone()));
        self.tell_broker(at, Input::Restored(Box::new(record)))
    }

    /// What a majority holds is committed.
    fn commit(&mut self, leader: usize) -> Outcome {
        let counted = self.brokers.iter().filter(|node| !node.replica.wiped).map(|node| node.replica.held);
        let mut held: Vec<usize> = counted.collect();
        held.sort_unstable_by_key(|held| std::cmp::Reverse(*held));
        let Some(upto) = held.get(self.brokers.len() / 2).copied() else { return Ok(()) };
        let log = &self.brokers[leader].replica.log;
        let known = self.region.committed.len();
        if upto <= known || log.get(upto - 1).is_none_or(|(term, _)| *term != self.region.term) {
            return Ok(());
        }
        if log[..known].iter().zip(&self.region.committed).any(|(ours, theirs)| ours.0 != theirs.0) {
            return Err(Failure::new(Check::Stored, "the model is wrong: a leader lacks what was committed"));
        }
        let news = log[known..upto].to_vec();
        for (_, command) in &news {
            if let Some(Command::Admit(admission)) = command {
                self.region.admitted.insert(admission.sealed.event.id);
            }
        }
        self.region.committed.extend(news);
        for at in (0..self.brokers.len()).filter(|at| *at != leader) {
            let life = self.life(Node::Broker(at)).number;
            self.soon(BETWEEN_NODES, Action::Apply(at, life));
        }
        self.apply(leader)
    }

    pub(crate) fn apply_if(&mut self, at: usize, life: u64) -> Outcome {
        if self.life(Node::Broker(at)).number == life { self.apply(at) } else { Ok(()) }
    }

    /// A node applies what it holds and knows to be committed.
    fn apply(&mut self, at: usize) -> Outcome {
        let Some(leader) = self.leading().filter(|leader| self.connected(*leader, at)) else { return Ok(()) };
        let committed = self.region.committed.len();
        loop {
            let replica = &mut self.brokers[at].replica;
            let next = replica.applied;
            if next >= replica.held.min(committed) {
                break;
            }
            if replica.log[next].0 != self.region.committed[next].0 {
                // It has not heard yet what the leader has in that place.
                break;
            }
            replica.applied += 1;
            if let Some(command) = replica.log[next].1.clone() {
                let claim = (at, command.clone());
                self.region.tracked.retain(|(by, _, _, command)| (*by, command) != (claim.0, &claim.1));
                self.tell_broker(at, Input::Committed { index: next as u64 + 1, command, replayed: false })?;
            }
        }
        let lazily = self.rng.below(4) == 0;
        let replica = &mut self.brokers[at].replica;
        if lazily {
            replica.saved = replica.applied;
        }
        let last = replica.snapshot.as_ref().map_or(0, |(index, _)| *index);
        if replica.applied >= last + SNAPSHOT_EVERY {
            let ticket = SnapshotTicket(replica.applied as u64);
            self.tell_broker(at, Input::Snapshot(ticket))?;
        }
        let _ = leader;
        Ok(())
    }

    pub(crate) fn snapshot(&mut self, at: usize, ticket: SnapshotTicket, record: RecordState) {
        let index = usize::try_from(ticket.0).unwrap_or(usize::MAX);
        let replica = &mut self.brokers[at].replica;
        replica.snapshot = Some((index, record));
        replica.saved = replica.saved.max(index);
    }

    pub(crate) fn journal(&mut self, at: usize, id: JournalId, command: Command) {
        let idle = self.brokers[at].replica.journalling.is_empty();
        self.brokers[at].replica.journalling.push((id, command));
        if idle {
            let (sync, life) = (self.sync_time(Node::Broker(at)), self.life(Node::Broker(at)).number);
            self.at(self.now + sync, Action::Journalled(at, life));
        }
    }

    pub(crate) fn unjournal(&mut self, at: usize, ids: &[JournalId]) {
        let replica = &mut self.brokers[at].replica;
        replica.journal.retain(|id, _| !ids.contains(id));
        replica.journalling.retain(|(id, _)| !ids.contains(id));
    }

    pub(crate) fn journalled(&mut self, at: usize, life: u64) -> Outcome {
        if self.life(Node::Broker(at)).number != life {
            return Ok(());
        }
        let failing = self.life(Node::Broker(at)).disk_failing > 0;
        for (id, command) in std::mem::take(&mut self.brokers[at].replica.journalling) {
            let input = if failing && self.rng.below(100) < 60 {
                Input::JournalFailed(id, "no space left on device".to_owned())
            } else {
                self.brokers[at].replica.journal.insert(id, command);
                Input::Journalled(id)
            };
            self.tell_broker(at, input)?;
        }
        Ok(())
    }

    pub(crate) fn recalled(&mut self, at: usize, life: u64, ticket: RecallTicket, ids: &[EventId]) -> Outcome {
        if self.life(Node::Broker(at)).number != life {
            return Ok(());
        }
        let entries = ids.iter().filter_map(|id| self.region.archive.get(id).cloned()).collect();
        self.tell_broker(at, Input::Recalled(ticket, entries))
    }

    /// The engine looks around: who leads, who has a quorum, what came to nothing, who lags.
    pub(crate) fn tick(&mut self) -> Outcome {
        self.at(self.now + TICK, Action::Tick);
        if self.leading().is_none() {
            self.elect()?;
        }
        for at in 0..self.brokers.len() {
            self.watch_quorum(at)?;
        }
        let now = self.now;
        let (late, tracked): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.region.tracked).into_iter().partition(|(_, _, deadline, _)| *deadline <= now);
        self.region.tracked = tracked;
        for (at, life, _, command) in late {
            if self.life(Node::Broker(at)).number == life && self.is_up(Node::Broker(at)) {
                self.tell_broker(at, Input::NotCommitted { command, why: NotCommitted::Unknown })?;
            }
        }
        for at in 0..self.brokers.len() {
            self.apply(at)?;
        }
        self.replicate();
        Ok(())
    }

    fn elect(&mut self) -> Outcome {
        if let Some(old) = self.region.leader.take()
            && self.is_up(Node::Broker(old))
        {
            self.tell_broker(old, Input::Leads(false))?;
        }
        let may = |at: &usize| self.is_majority(self.counts(*at)) && !self.brokers[*at].replica.wiped;
        let candidates: Vec<usize> = (0..self.brokers.len()).filter(may).collect();
        let best = |at: &usize| {
            let log = &self.brokers[*at].replica.log;
            (log.last().map_or(0, |(term, _)| *term), log.len())
        };
        let Some(leader) = candidates.into_iter().max_by_key(best) else {
            self.region.election_at = None;
            return Ok(());
        };
        let pause = if self.brokers.len() == 1 { 0 } else { ELECTION.0 + self.rng.below(ELECTION.1) };
        let at = *self.region.election_at.get_or_insert(self.now + pause);
        if at > self.now {
            return Ok(());
        }
        self.region.election_at = None;
        self.region.term += 1;
        self.region.leader = Some(leader);
        let now = self.now;
        self.trace.note(now, None, || format!("node {leader} leads"));
        let (term, founded) = (self.region.term, !self.region.committed.is_empty());
        let record = RecordId([self.region.record + 1; 16]);
        let log = &mut self.brokers[leader].replica.log;
        log.push((term, None));
        if !founded {
            log.push((term, Some(Command::Found { record })));
        }
        self.tell_broker(leader, Input::Leads(true))
    }

    fn watch_quorum(&mut self, at: usize) -> Outcome {
        if !self.is_up(Node::Broker(at)) {
            return Ok(());
        }
        let well = self.leading().is_some_and(|leader| self.connected(leader, at));
        let now = self.now;
        let replica = &mut self.brokers[at].replica;
        if well {
            replica.without_since = None;
            if std::mem::take(&mut replica.said) {
                return self.tell_broker(at, Input::Quorum(None));
            }
            return Ok(());
        }
        let since = *replica.without_since.get_or_insert(now);
        if now - since < DEGRADED_AFTER || std::mem::replace(&mut replica.said, true) {
            return Ok(());
        }
        self.trace.note(now, None, || format!("node {at} is without a quorum"));
        let why = Text::new("no majority of the region answers").unwrap_or_default();
        self.tell_broker(at, Input::Quorum(Some(Degraded { since: self.clock().wall, why })))
    }

    /// What must hold of the record when all is said: the same on every node, nothing waits, and what was journalled is there.
    pub(crate) fn judge_region(&self) -> Outcome {
        let machines = || self.brokers.iter().enumerate().filter_map(|(at, node)| Some((at, node.machine.as_ref()?)));
        for (at, broker) in machines() {
            let replica = &self.brokers[at].replica;
            if broker.waiting() > 0 || !replica.journal.is_empty() || !replica.journalling.is_empty() {
                let what =
                    format!("{} wait at node {at}, {} are in its journal", broker.waiting(), replica.journal.len());
                return Err(Failure::new(Check::Drains, what));
            }
            if broker.condition().is_some() {
                return Err(Failure::new(Check::Drains, format!("node {at} says that it has no quorum")));
            }
            if let Some((_, first)) = machines().next()
                && first.record() != broker.record()
            {
                let what = format!(
                    "the records of nodes 0 and {at} differ, at {} and {}",
                    first.record().last_index(),
                    broker.record().last_index()
                );
                return Err(Failure::new(Check::SameRecord, what));
            }
        }
        let Some((_, broker)) = machines().next().filter(|_| !self.nature.loses_record || self.brokers.len() > 1)
        else {
            return Ok(());
        };
        for id in self.ledger.journalled.iter().filter(|id| self.ledger.kept.contains(*id)) {
            if broker.record().get(id).is_none() && !broker.record().is_archived(id) {
                let what = format!("{id}: a node without a quorum said that it has it, and the record lacks it");
                return Err(Failure::of(Check::Journalled, *id, what));
            }
        }
        Ok(())
    }
}

fn theirs_len(same: usize, upto: usize) -> usize {
    same.max(upto)
}

fn sheds(command: &Command) -> bool {
    matches!(command, Command::Admit(admission) if admission.sealed.event.class != Class::P0)
}
