//! This node as a member of its region: its engine, the way to the others, and what it knows of them at this moment.
//!
//! Invariant: what is asked here never waits; the engine's own figures are read from its latest report.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use huxiao_core::{Name, RecordId, Span, Timestamp};
use huxiao_runtime::clock::Clock;
use huxiao_wire::cluster::StoreId;
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Instant as _, Raft, RaftMetrics, ServerState};
use tokio::sync::watch;

use super::desk::LoopReplica;
use super::judge::{SILENT_AFTER, Verdict};
use super::log::LogStore;
use super::machine::{Machine, Progress};
use super::peers::Peers;
use super::propose::Proposer;
use super::repeats::Repeats;
use super::types::{LogId, Member, StoredMembership, TypeConfig};

/// The engine's figures.
pub(crate) type Figures = RaftMetrics<TypeConfig>;

/// What is fixed for as long as the node runs.
pub(crate) struct Fixed {
    pub(crate) raft: Raft<TypeConfig, Machine<LoopReplica>>,
    /// Its name inside its region.
    pub(crate) name: Name,
    pub(crate) region: Name,
    pub(crate) store: StoreId,
    /// The nodes that its configuration names, itself among them.
    pub(crate) configured: BTreeMap<Name, String>,
    pub(crate) software: String,
    pub(crate) clock: Clock,
    pub(crate) peers: Peers,
    pub(crate) proposer: Proposer,
    /// How far the record is applied, and which one it is.
    pub(crate) progress: Progress,
    pub(crate) log: LogStore,
    /// Whether the record's disk is nearly full.
    pub(crate) low: Box<dyn Fn() -> bool + Send + Sync>,
}

/// This node.
pub(crate) struct Node {
    pub(crate) fixed: Fixed,
    /// When a leader was last heard, in microseconds of the monotonic clock; 0 for never.
    leader_heard: AtomicU64,
    /// When each member last answered.
    heard: Mutex<BTreeMap<u64, Timestamp>>,
    /// The name that a store was first seen with.
    names: Mutex<BTreeMap<u64, Name>>,
    verdict: watch::Sender<Option<Verdict>>,
    /// What keeps the region from being founded, in words.
    founding: watch::Sender<Option<String>>,
    /// Why the engine does not run any more.
    stopped: OnceLock<String>,
    /// What it has put into the log lately, as leader.
    repeats: Repeats,
}

impl Node {
    pub(crate) fn new(fixed: Fixed) -> Arc<Self> {
        Arc::new(Self {
            fixed,
            leader_heard: AtomicU64::new(0),
            heard: Mutex::default(),
            names: Mutex::default(),
            verdict: watch::Sender::new(None),
            founding: watch::Sender::new(None),
            stopped: OnceLock::new(),
            repeats: Repeats::default(),
        })
    }

    pub(crate) fn raft(&self) -> &Raft<TypeConfig, Machine<LoopReplica>> {
        &self.fixed.raft
    }

    pub(crate) fn repeats(&self) -> &Repeats {
        &self.repeats
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.fixed.peers
    }

    pub(crate) fn proposer(&self) -> &Proposer {
        &self.fixed.proposer
    }

    pub(crate) fn id(&self) -> u64 {
        self.fixed.store.0
    }

    pub(crate) fn record(&self) -> Option<RecordId> {
        self.fixed.progress.record()
    }

    /// The engine's latest figures.
    pub(crate) fn figures(&self) -> Figures {
        self.fixed.raft.metrics().borrow_watched().clone()
    }

    /// Whether this node leads, and has a quorum behind it as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        let figures = self.fixed.raft.metrics();
        let figures = figures.borrow_watched();
        figures.state == ServerState::Leader && figures.current_leader == Some(figures.id)
    }

    /// The leader that this node follows, if it has heard of it lately.
    pub(crate) fn leader(&self) -> Option<(u64, Member)> {
        let figures = self.fixed.raft.metrics();
        let figures = figures.borrow_watched();
        let leader = figures.current_leader.filter(|leader| *leader != figures.id)?;
        let member = figures.membership_config.membership().get_node(&leader)?;
        Some((leader, member.clone()))
    }

    /// The members as this node knows them.
    pub(crate) fn membership(&self) -> Arc<StoredMembership> {
        self.fixed.raft.metrics().borrow_watched().membership_config.clone()
    }

    /// The last entry that took effect here.
    pub(crate) fn applied(&self) -> Option<LogId> {
        self.fixed.progress.applied()
    }

    /// When the quorum was last heard of: a leader's followers, or a follower's leader.
    pub(crate) fn quorum_heard(&self, figures: &Figures, now: Timestamp) -> Option<Timestamp> {
        if figures.state == ServerState::Leader {
            let alone = figures.membership_config.voter_ids().all(|id| id == figures.id);
            let ago = figures.last_quorum_acked.as_ref().map(|acked| acked.elapsed());
            return if alone { Some(now) } else { ago.map(|ago| before(now, ago)) };
        }
        figures.current_leader?;
        let micros = self.leader_heard.load(Ordering::Relaxed);
        (micros > 0).then_some(Timestamp(micros))
    }

    /// A leader was heard, and this node follows it.
    pub(crate) fn hear_leader(&self, leader: u64) {
        let now = self.fixed.clock.timestamp();
        self.leader_heard.fetch_max(now.0, Ordering::Relaxed);
        self.hear(leader);
    }

    /// A member answered or asked.
    pub(crate) fn hear(&self, id: u64) {
        let now = self.fixed.clock.timestamp();
        lock(&self.heard).insert(id, now);
    }

    /// How long ago a member was heard; `None` for never.
    pub(crate) fn silent_for(&self, id: u64) -> Option<Span> {
        let now = self.fixed.clock.timestamp();
        lock(&self.heard).get(&id).map(|heard| now.since(*heard))
    }

    /// Whether a member answers. This node itself does.
    pub(crate) fn answers(&self, figures: &Figures, id: u64) -> bool {
        let acked = figures.heartbeat.as_ref().and_then(|acked| acked.get(&id)).and_then(Option::as_ref);
        id == figures.id
            || acked.is_some_and(|acked| acked.elapsed() <= SILENT_AFTER)
            || self.silent_for(id).is_some_and(|silent| silent <= SILENT_AFTER)
    }

    /// Holds `name` against the one that store `id` is registered with or, if it is in no membership that this node knows, was first seen
    /// with.
    pub(crate) fn is_named(&self, id: u64, name: &Name) -> bool {
        match self.membership().membership().get_node(&id) {
            Some(member) => member.name == name.as_str(),
            None => lock(&self.names).entry(id).or_insert_with(|| name.clone()) == name,
        }
    }

    /// The name of store `id`, for people.
    pub(crate) fn name_of(&self, id: u64) -> String {
        let membership = self.membership();
        membership
            .membership()
            .get_node(&id)
            .map_or_else(|| format!("store {}", StoreId(id)), |member| member.name.clone())
    }

    /// What was told last of the quorum.
    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.verdict.borrow().clone()
    }

    pub(crate) fn set_verdict(&self, verdict: Verdict) {
        self.verdict.send_replace(Some(verdict));
    }

    /// Whether the node is known to have no quorum.
    pub(crate) fn is_degraded(&self) -> bool {
        matches!(&*self.verdict.borrow(), Some(Verdict::Degraded { .. }))
    }

    /// What keeps the region from being founded.
    pub(crate) fn founding(&self) -> Option<String> {
        self.founding.borrow().clone()
    }

    pub(crate) fn set_founding(&self, words: Option<String>) {
        self.founding.send_if_modified(|held| {
            let changed = *held != words;
            *held = words;
            changed
        });
    }

    /// Why the engine does not run any more.
    pub(crate) fn stopped(&self) -> Option<String> {
        if let Some(why) = self.stopped.get() {
            return Some(why.clone());
        }
        let running = self.fixed.raft.metrics().borrow_watched().running_state.clone();
        let fatal = running.err()?;
        Some(self.fixed.progress.fault().unwrap_or_else(|| fatal.to_string()))
    }

    /// The engine was stopped, for this reason.
    pub(crate) fn stop(&self, why: &str) {
        // The first reason stays.
        let _ = self.stopped.set(why.to_owned());
    }

    /// Whether only P0 is still taken.
    pub(crate) fn sheds(&self) -> bool {
        (self.fixed.low)()
    }

    /// Whether nothing was ever stored or voted for here.
    pub(crate) fn is_pristine(&self) -> bool {
        self.fixed.log.is_pristine()
    }
}

fn before(now: Timestamp, ago: Span) -> Timestamp {
    Timestamp(now.0.saturating_sub(u64::try_from(ago.as_micros()).unwrap_or(u64::MAX)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
