//! The engine of a region's record as the nodes see it: one ordered log, a command committed when a majority holds it on disk, a leader that
//! dies or is cut off, and nodes that come back behind the rest.
//!
//! Invariant: what was committed once stays so, at the same index, on every node; a run in which the model itself would break that fails.

use std::collections::BTreeMap;

use huxiao_core::broker::{Input, JournalId, NotCommitted, SnapshotTicket};
use huxiao_core::record::{Entry, RecordState};
use huxiao_core::{Class, Command, EventId, Rng};

use crate::check::{Check, Failure, Outcome};
use crate::faced::Faced;
use crate::node::Node;
use crate::oracle::Oracle;
use crate::reign::Stale;
use crate::world::{Action, SECOND, World};

/// How long a proposal may take before its proposer is told that nobody knows what became of it.
const PATIENCE: u64 = 4 * SECOND / 10;
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
    pub(crate) log: Vec<Logged>,
    /// Entries that are on its disk.
    pub(crate) held: usize,
    /// Entries that its machine has applied.
    pub(crate) applied: usize,
    /// Entries that it will find committed when it starts anew.
    pub(crate) saved: usize,
    pub(crate) snapshot: Option<(usize, RecordState)>,
    pub(crate) syncing: bool,
    /// Whether it lost its disk and does not count until it has caught up.
    pub(crate) wiped: bool,
    pub(crate) lost: bool,
    pub(crate) without_since: Option<u64>,
    pub(crate) said: bool,
    /// What its journal has on disk.
    pub journal: BTreeMap<JournalId, Command>,
    pub(crate) journalling: Vec<(JournalId, Command)>,
}

/// The engine's side that no node has alone.
#[derive(Default)]
pub struct Region {
    pub(crate) term: u64,
    pub(crate) leader: Option<usize>,
    pub(crate) election_at: Option<u64>,
    pub(crate) incoming: Vec<(usize, u64, Command)>,
    pub(crate) kicked: bool,
    pub(crate) tracked: Vec<(usize, u64, u64, Command)>,
    pub(crate) committed: Vec<Logged>,
    /// A leader that was cut off and does not know it yet.
    pub(crate) stale: Option<Stale>,
    /// What the log says, by a second reading.
    pub oracle: Oracle,
    /// What left the record.
    pub archive: BTreeMap<EventId, Entry>,
    pub(crate) record: u8,
    /// Faults by which each node is cut off from the others.
    pub isolated: [u32; 3],
    /// Faults by which all are.
    pub split: u32,
}

impl Replica {
    /// The power goes: what was not on disk is gone.
    pub fn crash(&mut self, rng: &mut Rng) {
        // A leader applies what two others have, before its own disk has it; what is in its snapshot it has in that.
        let snapshot = self.snapshot.as_ref().map_or(0, |(upto, _)| *upto);
        self.held = self.held.max(snapshot);
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

    pub(crate) fn connected(&self, a: usize, b: usize) -> bool {
        let apart = self.region.split + self.region.isolated[a] + self.region.isolated[b];
        self.is_up(Node::Broker(a)) && self.is_up(Node::Broker(b)) && (a == b || apart == 0)
    }

    pub(crate) fn is_majority(&self, nodes: usize) -> bool {
        nodes > self.brokers.len() / 2
    }

    pub(crate) fn counts(&self, at: usize) -> usize {
        (0..self.brokers.len())
            .filter(|other| self.connected(at, *other) && !self.brokers[*other].replica.wiped)
            .count()
    }

    /// The leader, while a majority hears it.
    pub(crate) fn leading(&self) -> Option<usize> {
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
        let stale = self.region.stale.clone();
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
                None => match stale.as_ref().filter(|stale| self.connected(stale.at, at)) {
                    Some(stale) if self.takes_for(stale) => {
                        self.region.tracked.push((at, life, self.now + PATIENCE, command.clone()));
                        self.brokers[stale.at].replica.log.push((stale.term, Some(command)));
                    }
                    _ => refused.push((at, command, NotCommitted::NoQuorum)),
                },
            }
        }
        for (at, command, why) in refused {
            self.tell_broker(at, Input::NotCommitted { command, why })?;
        }
        self.replicate();
        Ok(())
    }

    /// Every node that hears the leader writes what it lacks.
    pub(crate) fn replicate(&mut self) {
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
            let rolled_back = replica.log.len() > same;
            if same < upto || replica.log.len() > upto {
                replica.log.truncate(same);
                replica.log.extend(news);
                if rolled_back {
                    self.ledger.met.count(Faced::RolledBack);
                }
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
        self.ledger.met.count(Faced::Restored);
        self.tell_broker(at, Input::Restored(Box::new(record)))
    }

    /// How much of the leader's log is on a node's disk.
    fn matches(&self, at: usize, leader: usize) -> usize {
        let replica = &self.brokers[at].replica;
        let from = replica.applied.min(replica.held);
        let theirs = self.brokers[leader].replica.log.get(from..).unwrap_or_default();
        let same = replica.log[from..replica.held].iter().zip(theirs).take_while(|(a, b)| a.0 == b.0);
        from + same.count()
    }

    /// What a majority holds is committed.
    fn commit(&mut self, leader: usize) -> Outcome {
        let counted = (0..self.brokers.len()).filter(|at| !self.brokers[*at].replica.wiped);
        let mut held: Vec<usize> = counted.map(|at| self.matches(at, leader)).collect();
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
        for command in news.iter().filter_map(|(_, command)| command.as_ref()) {
            self.read_committed(command);
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
    pub(crate) fn apply(&mut self, at: usize) -> Outcome {
        if self.leading().is_none_or(|leader| !self.connected(leader, at)) {
            return Ok(());
        }
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
        Ok(())
    }
}

fn sheds(command: &Command) -> bool {
    matches!(command, Command::Admit(admission) if admission.sealed.event.class != Class::P0)
}
