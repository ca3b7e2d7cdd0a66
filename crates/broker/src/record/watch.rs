//! Keeps the machine, people and metrics told of how the region is.
//!
//! Invariants: the machine hears of every change of the quorum and of the lead, in the order in which they happened. A leader whose record
//! has no name yet gives it one before anything else can be told apart by it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use huxiao_core::broker::{Broker, Input};
use huxiao_core::{Degraded, Span, Text, Timestamp, WallTime, limits};
use huxiao_link::peer::PeerLane;
use huxiao_runtime::drive::WeakHandle;
use huxiao_runtime::health::Check;
use huxiao_runtime::metric::{self, Counter, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_wire::cluster::StoreId;
use openraft::async_runtime::watch::WatchReceiver as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::convert::member_out;
use super::founding;
use super::judge::{Judge, Look, Verdict, Voter};
use super::node::{Figures, Node};

/// How often the region is looked at when nothing changes by itself.
const EVERY: Duration = Duration::from_millis(100);
/// The least time between two looks.
const PAUSE: Duration = Duration::from_millis(10);
/// How often gauges are set and members asked who have said nothing.
const SHOW_EVERY: Duration = Duration::from_millis(500);

/// What a watch needs beside the node.
pub(crate) struct Told {
    /// The machine.
    pub(crate) handle: WeakHandle<Broker>,
    /// The check `record`.
    pub(crate) check: Check,
    /// Seed of a record's name.
    pub(crate) seed: u64,
}

/// Watches until the node stops.
pub(crate) async fn run(node: Arc<Node>, told: Told, shutdown: Shutdown) {
    let mut watch = Watch {
        judge: Judge::new(node.fixed.clock.timestamp()),
        told,
        leads: None,
        leader: None,
        named: None,
        asked: JoinSet::new(),
        labels: BTreeSet::new(),
        node,
    };
    let mut figures = watch.node.raft().metrics();
    let (mut tick, mut show) = (interval(EVERY), interval(SHOW_EVERY));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    show.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ended = false;
    loop {
        let not_before = Instant::now() + PAUSE;
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => watch.look(),
            _ = show.tick() => watch.show(),
            changed = figures.changed(), if !ended => {
                // The engine has ended: its last figures say why.
                ended = changed.is_err();
                watch.look();
            }
        }
        sleep_until(not_before).await;
    }
}

struct Watch {
    node: Arc<Node>,
    judge: Judge,
    told: Told,
    leads: Option<bool>,
    leader: Option<u64>,
    /// When the record was last proposed a name.
    named: Option<Instant>,
    asked: JoinSet<()>,
    /// The members that gauges show.
    labels: BTreeSet<String>,
}

impl Watch {
    fn look(&mut self) {
        let figures = self.node.figures();
        let now = self.node.fixed.clock.now();
        let look = self.see(&figures, now.mono);
        if let Some(verdict) = self.judge.look(&look) {
            self.tell(verdict, now.mono, now.wall);
        }
        let leads = look.leads && look.quorum_heard.is_some() && look.out.is_none();
        if self.leads != Some(leads) {
            self.leads = Some(leads);
            self.send(Input::Leads(leads));
        }
        if figures.current_leader != self.leader {
            self.leader = figures.current_leader;
            if let Some(leader) = self.leader {
                metric::increment(Counter::RecordLeaders, &[]);
                let (name, term) = (self.node.name_of(leader), figures.current_term);
                tracing::info!(leader = name, term, "the region has a leader");
            }
        }
        if leads && self.node.record().is_none() && self.named.is_none_or(|at| at.elapsed() >= SHOW_EVERY) {
            self.named = Some(Instant::now());
            self.node.proposer().propose(founding::found(self.told.seed));
        }
    }

    fn see(&self, figures: &Figures, now: Timestamp) -> Look {
        let voters = figures
            .membership_config
            .voter_ids()
            .map(|id| Voter { name: self.node.name_of(id), answers: self.node.answers(figures, id) });
        Look {
            now,
            quorum_heard: self.node.quorum_heard(figures, now),
            leads: self.node.leads(),
            voters: voters.collect(),
            out: self.node.stopped().or_else(|| self.node.founding()),
        }
    }

    fn tell(&self, verdict: Verdict, now: Timestamp, wall: WallTime) {
        let degraded = match &verdict {
            Verdict::Sound => {
                tracing::info!("the record takes commands");
                self.told.check.ok("the record takes commands");
                None
            }
            Verdict::Degraded { since, why } => {
                let ago = i64::try_from(now.since(*since).as_micros()).unwrap_or(i64::MAX);
                tracing::warn!(why, "degraded: alarms go to their stations, nothing can be stored in the record");
                self.told
                    .check
                    .degraded(format!("{why}; alarms go to their stations, nothing can be stored in the record"));
                Some(Degraded { since: WallTime(wall.0.saturating_sub(ago)), why: text(why) })
            }
        };
        metric::set(Gauge::RecordDegraded, &[], if degraded.is_some() { 1.0 } else { 0.0 });
        self.node.set_verdict(verdict);
        self.send(Input::Quorum(degraded));
    }

    fn send(&self, input: Input) {
        // A loop that has ended needs no word.
        let _ = self.told.handle.upgrade().map(|handle| handle.urgent(input));
    }

    /// Sets the gauges, and asks the members that nobody has heard of lately who they are: a follower hears of no other follower by itself.
    fn show(&mut self) {
        let figures = self.node.figures();
        let last = figures.last_log_index.unwrap_or(0);
        metric::set(Gauge::RecordTerm, &[], number(figures.current_term));
        metric::set(Gauge::RecordLeads, &[], if self.node.leads() { 1.0 } else { 0.0 });
        metric::set(Gauge::RecordLastIndex, &[], number(last));
        metric::set(Gauge::RecordApplied, &[], number(figures.last_applied.map_or(0, |id| id.index)));
        let replication = figures.replication.as_ref();
        let mut shown = BTreeSet::new();
        for (id, member) in figures.membership_config.nodes() {
            let lag = replication
                .and_then(|all| all.get(id))
                .map(|matched| last.saturating_sub(matched.map_or(0, |id| id.index)));
            if let Some(lag) = lag {
                metric::set(Gauge::RecordLag, &[&member.name], number(lag));
                shown.insert(member.name.clone());
            }
        }
        // Who does not lead knows of nobody's lag; neither does anybody of a node that left.
        for gone in self.labels.difference(&shown) {
            metric::set(Gauge::RecordLag, &[gone], f64::NAN);
        }
        self.labels = shown;
        while self.asked.try_join_next().is_some() {}
        if self.asked.is_empty() {
            self.ask_the_silent(&figures);
        }
    }

    fn ask_the_silent(&mut self, figures: &Figures) {
        for (id, member) in figures.membership_config.nodes() {
            // Half the interval: whoever was heard just before this tick must not be silent for two of them.
            let heard = self.node.silent_for(*id).is_some_and(|silent| silent < Span::from(SHOW_EVERY / 2));
            let acked = figures.heartbeat.as_ref().is_some_and(|_| self.node.answers(figures, *id));
            let Ok(member) = member_out(member) else { continue };
            if *id == figures.id || heard || acked {
                continue;
            }
            let (node, id) = (self.node.clone(), *id);
            self.asked.spawn(async move {
                let way = node.peers().to(&member, Some(StoreId(id)), PeerLane::Quick);
                if way.ask_who().await.is_ok() {
                    node.hear(id);
                }
            });
        }
    }
}

/// As much of it as a message takes.
fn text(words: &str) -> Text {
    let mut end = words.len().min(limits::NOTE_BYTES);
    while !words.is_char_boundary(end) {
        end -= 1;
    }
    // Words of other programs may hold control characters; those are said without them.
    Text::new(&words[..end]).or_else(|_| Text::new(&words[..end].replace(char::is_control, " "))).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a log of 2^53 entries is some centuries away")]
fn number(count: u64) -> f64 {
    count as f64
}
