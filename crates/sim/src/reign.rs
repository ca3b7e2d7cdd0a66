//! Who leads the region, who has a quorum, and how long a leader that was cut off goes on without knowing it.
//!
//! Invariant: one leader a term. One that was cut off may add to its own log, and commits nothing.

use huxiao_core::broker::{Input, NotCommitted};
use huxiao_core::{Command, Degraded, RecordId, Text};

use crate::check::Outcome;
use crate::faced::Faced;
use crate::node::Node;
use crate::world::{Action, SECOND, World};

/// How often the engine looks around.
pub const TICK: u64 = SECOND / 10;
/// How long after its leader was lost a region has another one: at least, and so much more at random.
const ELECTION: (u64, u64) = (3 * SECOND / 10, SECOND / 2);
/// How long a node is without a leader before it says so, and how long a leader that nobody hears goes on.
const DEGRADED_AFTER: u64 = SECOND;

/// A leader that was cut off: until it has noticed, it takes proposals that nobody else sees.
#[derive(Debug, Clone)]
pub(crate) struct Stale {
    pub(crate) at: usize,
    life: u64,
    pub(crate) term: u64,
    until: u64,
}

impl World {
    /// Whether a leader that was cut off still takes proposals: it has heard of no other.
    pub(crate) fn takes_for(&self, stale: &Stale) -> bool {
        let last = self.brokers[stale.at].replica.log.last().map_or(0, |(term, _)| *term);
        self.life(Node::Broker(stale.at)).number == stale.life && last <= stale.term && self.now < stale.until
    }

    /// A leader that was cut off notices, or hears of another.
    fn stand_down(&mut self) -> Outcome {
        let Some(stale) = self.region.stale.clone() else { return Ok(()) };
        let heard = self.leading().is_some_and(|leader| self.connected(leader, stale.at));
        if self.takes_for(&stale) && !heard {
            return Ok(());
        }
        self.region.stale = None;
        let same_life = self.life(Node::Broker(stale.at)).number == stale.life;
        if same_life && self.leading() != Some(stale.at) {
            return self.tell_broker(stale.at, Input::Leads(false));
        }
        Ok(())
    }

    /// The engine looks around: who leads, who has a quorum, what came to nothing, who lags.
    pub(crate) fn tick(&mut self) -> Outcome {
        self.at(self.now + TICK, Action::Tick);
        if self.leading().is_none() {
            self.elect()?;
        }
        self.stand_down()?;
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
        if let Some(at) = self.region.leader.take() {
            self.ledger.met.count(Faced::LeaderLost);
            let (life, term, until) = (self.life(Node::Broker(at)).number, self.region.term, self.now + DEGRADED_AFTER);
            self.region.stale = self.is_up(Node::Broker(at)).then_some(Stale { at, life, term, until });
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
        if self.brokers[leader].replica.log.len() > self.region.committed.len() {
            self.ledger.met.count(Faced::Tail);
        }
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
                self.ledger.met.count(Faced::Healed);
                return self.tell_broker(at, Input::Quorum(None));
            }
            return Ok(());
        }
        let since = *replica.without_since.get_or_insert(now);
        if now - since < DEGRADED_AFTER || std::mem::replace(&mut replica.said, true) {
            return Ok(());
        }
        self.ledger.met.count(Faced::QuorumLost);
        self.trace.note(now, None, || format!("node {at} is without a quorum"));
        let why = Text::new("no majority of the region answers").unwrap_or_default();
        self.tell_broker(at, Input::Quorum(Some(Degraded { since: self.clock().wall, why })))
    }
}
