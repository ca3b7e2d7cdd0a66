//! Keeps the relay's paths: looks at the interfaces, dials what should be dialled, and shows how it is.
//!
//! Invariant: a line that comes or goes is acted on at the next look, [`EVERY`] later at most, and nothing here stands between an alarm and
//! the sessions that there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use huxiao_core::relay::{Relay, Roster, roster};
use huxiao_core::{PathId, Span, Timestamp};
use huxiao_link::{DialHandle, Expect, Link, Target};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::Handle;
use huxiao_runtime::health::Check;
use huxiao_runtime::metric::{self, Counter};
use huxiao_runtime::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::dials::{Dials, Pair};
use crate::paths::{Look, Paths, healthy_nodes};
use crate::traffic::ledger::Ledger;
use crate::traffic::{Bytes, Level, Traffic};
use crate::uplink::Uplink;
use crate::uplink::interfaces::Reader;
use crate::uplink::presence::{Change, Presence, State};

/// Between two looks.
const EVERY: Span = Span::from_secs(1);
/// Between two writes of the day's counts.
const KEEP_EVERY: Span = Span::from_secs(60);

/// What a keeper is made of.
pub(crate) struct Ingredients {
    /// The relay's name: its order of the nodes follows from it.
    pub(crate) me: String,
    pub(crate) link: Link,
    pub(crate) dials: Dials,
    pub(crate) uplinks: Vec<Uplink>,
    /// The broker nodes' addresses.
    pub(crate) nodes: Vec<String>,
    pub(crate) expect: Expect,
    pub(crate) reader: Reader,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Clock,
    /// Whether the lines are there.
    pub(crate) check: Check,
}

/// Keeps the paths.
pub(crate) struct Keeper {
    from: Ingredients,
    presence: Presence,
    roster: Roster,
    traffic: Traffic,
    names: Vec<Option<String>>,
    levels: Vec<Level>,
    kept: Timestamp,
    interfaces_read: bool,
    board: watch::Sender<Arc<Paths>>,
}

impl Keeper {
    /// Looks for the first time and dials: nothing waits for the first tick.
    pub(crate) async fn begin(from: Ingredients) -> (Self, watch::Receiver<Arc<Paths>>) {
        let now = from.clock.now();
        let ledger = from.ledger.clone();
        let kept = tokio::task::spawn_blocking(move || ledger.read()).await.unwrap_or_default();
        let mut presence = Presence::new(&from.uplinks);
        let found = read(&from.reader).await;
        let interfaces_read = found.is_ok();
        match found {
            Ok(interfaces) => drop(presence.look(&interfaces)),
            Err(error) => tracing::error!(error, "the network interfaces cannot be read"),
        }
        for (uplink, state) in from.uplinks.iter().zip(presence.states()) {
            if let State::Absent(why) = state {
                tracing::warn!(uplink = uplink.name, why, "the uplink is not there");
            }
        }
        let roster = Roster::new(now.mono, &from.me, &from.nodes);
        let traffic = Traffic::new(now.wall, kept);
        let (names, levels) = (vec![None; from.nodes.len()], vec![Level::Within; from.uplinks.len()]);
        let nothing = Look {
            uplinks: &from.uplinks,
            states: presence.states(),
            nodes: &from.nodes,
            names: &names,
            roster: &roster,
            sessions: &BTreeMap::new(),
            health: &[],
            problems: &BTreeMap::new(),
            traffic: &traffic,
        };
        let (board, shown) = watch::channel(Arc::new(nothing.show()));
        let kept = now.mono;
        let keeper = Self { from, presence, roster, traffic, names, levels, kept, interfaces_read, board };
        keeper.dial();
        (keeper, shown)
    }

    /// Keeps them until the node is told to stop.
    pub(crate) async fn run(mut self, handle: Handle<Relay>, shutdown: Shutdown) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.wait() => break,
                () = self.from.dials.silence() => {
                    self.roster.deserted(self.from.clock.timestamp());
                    self.dial();
                    continue;
                }
                _ = tick.tick() => {}
            }
            if !self.look(&handle).await {
                break;
            }
            if self.from.clock.timestamp().since(self.kept) >= KEEP_EVERY {
                self.keep().await;
            }
        }
        self.keep().await;
    }

    /// False once the machine is gone.
    async fn look(&mut self, handle: &Handle<Relay>) -> bool {
        self.look_at_interfaces().await;
        // Lines first: what was found there must not wait for a machine that is busy.
        self.dial();
        let clock = self.from.clock.clone();
        let health = handle.inspect(move |relay| relay.paths(clock.timestamp()).collect::<Vec<_>>()).await;
        let Ok(health) = health else { return false };
        let sessions = self.from.dials.sessions();
        for path in &health {
            if let Some(pair) = sessions.get(&path.path) {
                self.names[pair.node] = Some(path.node.to_string());
            }
        }
        let healthy = healthy_nodes(&sessions, &health);
        let lines = self.presence.states().iter().any(|state| matches!(state, State::There { .. }));
        self.roster.observe(self.from.clock.timestamp(), lines, |node| healthy.contains(&node));
        self.dial();
        self.count(&sessions);
        let paths = Look {
            uplinks: &self.from.uplinks,
            states: self.presence.states(),
            nodes: &self.from.nodes,
            names: &self.names,
            roster: &self.roster,
            sessions: &sessions,
            health: &health,
            problems: &self.from.dials.problems(),
            traffic: &self.traffic,
        }
        .show();
        paths.measure();
        self.from.check.set(paths.lines());
        self.warn_of_budgets(&paths);
        self.board.send_replace(Arc::new(paths));
        true
    }

    async fn look_at_interfaces(&mut self) {
        let found = read(&self.from.reader).await;
        let could = std::mem::replace(&mut self.interfaces_read, found.is_ok());
        match found {
            Ok(interfaces) => {
                for change in self.presence.look(&interfaces) {
                    self.act_on(&change);
                }
            }
            // What was there is taken to be there still: closing sessions would not bring anything back.
            Err(error) if could => {
                tracing::error!(error, "the network interfaces cannot be read; lines are taken to be as they were");
            }
            Err(_) => {}
        }
    }

    fn act_on(&self, change: &Change) {
        match change {
            Change::Came { uplink, local } => {
                tracing::info!(uplink = self.from.uplinks[*uplink].name, ?local, "the uplink is there");
            }
            Change::Moved { uplink, local } => {
                tracing::info!(
                    uplink = self.from.uplinks[*uplink].name,
                    ?local,
                    "the uplink's addresses are others now; its sessions move"
                );
                self.from.dials.rebind(*uplink, *local);
            }
            Change::Went { uplink } => {
                let why = match &self.presence.states()[*uplink] {
                    State::Absent(why) => why.as_str(),
                    State::There { .. } => "",
                };
                tracing::warn!(uplink = self.from.uplinks[*uplink].name, why, "the uplink is gone");
            }
        }
    }

    /// Brings the diallers to what should be dialled: every line that is there, towards every node of the roster.
    fn dial(&self) {
        let states = self.presence.states();
        let there = |uplink: &usize| matches!(states[*uplink], State::There { .. });
        let pairs = (0..states.len()).filter(there);
        let wanted: Vec<Pair> =
            pairs.flat_map(|uplink| self.roster.dialled().map(move |node| Pair { uplink, node })).collect();
        let (dropped, made) = self.from.dials.settle(&wanted, |pair| self.dialler(pair));
        for (pairs, what) in [(dropped, "no longer dialled"), (made, "dialled")] {
            for pair in pairs {
                let (uplink, node) = (&self.from.uplinks[pair.uplink].name, &self.from.nodes[pair.node]);
                tracing::info!(uplink, node, "the path is {what}");
            }
        }
    }

    fn dialler(&self, pair: Pair) -> DialHandle {
        let local = match &self.presence.states()[pair.uplink] {
            State::There { local, .. } => *local,
            State::Absent(_) => None,
        };
        let uplink = &self.from.uplinks[pair.uplink];
        self.from.link.dial(&Target {
            addr: self.from.nodes[pair.node].clone(),
            uplink: uplink.to_dial(local),
            expect: self.from.expect.clone(),
            lanes: roster::lanes(uplink.cost).to_vec(),
        })
    }

    fn count(&mut self, sessions: &BTreeMap<PathId, Pair>) {
        self.traffic.turn(self.from.clock.wall());
        for stats in self.from.link.stats() {
            let Some(pair) = sessions.get(&stats.path) else { continue };
            let (uplink, node) = (&self.from.uplinks[pair.uplink].name, &self.from.nodes[pair.node]);
            let new = self.traffic.count(stats.path, uplink, node, Bytes::of(&stats));
            metric::add(Counter::UplinkBytes, &[uplink, "sent"], new.sent);
            metric::add(Counter::UplinkBytes, &[uplink, "received"], new.received);
        }
        self.traffic.keep_only(|path| sessions.contains_key(&path));
    }

    /// Says once a day that a budget is nearly gone, and once that it is.
    fn warn_of_budgets(&mut self, paths: &Paths) {
        for ((uplink, told), level) in self.from.uplinks.iter().zip(&mut self.levels).zip(paths.levels()) {
            if let (true, Some((_, words))) = (level > *told, level.words()) {
                let used = self.traffic.line(&uplink.name).total();
                tracing::warn!(uplink = uplink.name, used, budget = uplink.budget, "{words}");
            }
            *told = level;
        }
    }

    async fn keep(&mut self) {
        self.kept = self.from.clock.timestamp();
        let Some(day) = self.traffic.take_changed() else { return };
        let ledger = self.from.ledger.clone();
        match tokio::task::spawn_blocking(move || ledger.write(&day)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "the day's data counts cannot be kept; a restart would begin them anew");
            }
            Err(error) => tracing::warn!(%error, "the day's data counts were not kept"),
        }
    }
}

/// Reads the interfaces on a thread that nobody else needs.
async fn read(reader: &Reader) -> Result<Vec<crate::uplink::presence::Interface>, String> {
    let reader = reader.clone();
    let read = tokio::task::spawn_blocking(move || reader()).await;
    read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
