//! Keeps people told of who is silent: asks all nodes of the region who holds sessions there, once a second, and gives it to
//! [`huxiao_core::supervision`], which decides.
//!
//! Invariant: nothing is called silent while a node that is there has not said who is with it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use futures_util::future::join_all;
use huxiao_core::broker::{Broker, Input};
use huxiao_core::plan::Plan;
use huxiao_core::supervision::{Changes, Finding, OutageId, PresencePart, Roll, Supervisor};
use huxiao_core::trouble::{About, Open, Raiser, Seen};
use huxiao_core::{Kind, Name, NodeName, Now, RelayId, Span, StationId, WallTime};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::{Handle, WeakHandle};
use huxiao_runtime::health::{Check, Relevance};
use huxiao_runtime::host::Base;
use huxiao_runtime::http::{ApiError, Json};
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::time_format::{rfc3339, seconds};
use serde::Serialize;

use crate::record::Region;

/// How often all nodes are asked.
const EVERY: Span = Span::from_secs(1);
/// How often the plan is looked at: to name its stations takes a while where it has tens of thousands of schools.
const PLAN_EVERY: u32 = 30;
/// After how many turns the leader looks for tests that are overdue by weeks.
const TESTS_EVERY: u32 = 600;
/// Questions to one node in one turn: more than the whole list takes.
const ASKS: usize = 32;
/// Names in one line of a log or a health check.
const NAMED: usize = 8;

/// What people are shown, as of the last look.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Option<SupervisionJson>>>);

/// `GET /v1/supervision`.
#[derive(Debug, Clone, Serialize)]
struct SupervisionJson {
    node: String,
    /// When this node began to look: of who was silent before and never came it does not know.
    watching_since: String,
    /// Nodes of the region that do not say who is with them: meanwhile nothing new is called silent.
    blind: Vec<String>,
    relays: RelaysJson,
    stations: StationsJson,
    outages: Vec<OutageJson>,
    /// What the record has told to whom it concerns, and what is not over.
    troubles: Vec<TroubleJson>,
}

#[derive(Debug, Clone, Serialize)]
struct RelaysJson {
    known: usize,
    silent: Vec<SilentJson>,
}

#[derive(Debug, Clone, Serialize)]
struct StationsJson {
    planned: usize,
    unwatched: Vec<UnwatchedJson>,
}

#[derive(Debug, Clone, Serialize)]
struct SilentJson {
    relay: String,
    school: String,
    since: String,
    seconds: f64,
    /// The outage that it is part of.
    outage: Option<u64>,
    /// Whether it has a session again and is looked at before it is called back.
    returning: bool,
}

#[derive(Debug, Clone, Serialize)]
struct UnwatchedJson {
    station: String,
    since: String,
    seconds: f64,
    returning: bool,
}

#[derive(Debug, Clone, Serialize)]
struct TroubleJson {
    about: String,
    class: &'static str,
    /// When its first event was raised.
    since: String,
    /// Its events, oldest first: a second one where it became more urgent.
    events: Vec<String>,
    stations: Vec<String>,
}

impl TroubleJson {
    fn new(about: &About, open: &Open) -> Self {
        Self {
            about: about.to_string(),
            class: open.class.as_str(),
            since: rfc3339(open.since),
            events: open.events.iter().map(ToString::to_string).collect(),
            stations: open.stations.iter().map(ToString::to_string).collect(),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
struct OutageJson {
    outage: u64,
    /// The area's six digits, or `region`.
    scope: String,
    /// Relays that are known there.
    known: usize,
    noticed: String,
    /// How many have been part of it.
    relays: usize,
    silent: Vec<String>,
}

/// Sets the watching going, for as long as the node runs. Gives the route that shows it.
pub(crate) fn start(base: &mut Base, region: Region, handle: &Handle<Broker>) -> Router {
    let shown = Shown::default();
    let name = match &base.identity().node {
        NodeName::Broker { region, .. } => region.clone(),
        // A broker's certificate is a broker's; its own name does for an event about all of its region.
        NodeName::Relay(_) | NodeName::Station(_) => region.me().clone(),
    };
    let around = Around {
        region,
        handle: handle.downgrade(),
        check: base.health.check("supervision", Relevance::Told),
        shown: shown.clone(),
        clock: base.host.clock.clone(),
        name,
        seed: base.host.seed,
    };
    let shutdown = base.host.shutdown.clone();
    base.spawn(run(around, shutdown));
    Router::new().route("/v1/supervision", get(show)).with_state(shown)
}

async fn show(State(shown): State<Shown>) -> Result<Json<SupervisionJson>, ApiError> {
    let latest = shown.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    latest
        .map(Json)
        .ok_or_else(|| ApiError::unavailable("not_yet", "this node has only begun to look: ask again in a second"))
}

/// What the watching needs.
struct Around {
    region: Region,
    handle: WeakHandle<Broker>,
    check: Check,
    shown: Shown,
    clock: Clock,
    /// The region's name.
    name: Name,
    seed: u64,
}

/// Watches until the node stops.
async fn run(around: Around, shutdown: Shutdown) {
    let began = around.clock.wall();
    let raiser = Raiser::new(around.clock.now(), around.name.clone(), around.seed);
    let (roll, supervisor, plan) = (Roll::default(), Supervisor::new(), Arc::default());
    let mut watch = Watch { roll, supervisor, began, turns: 0, plan, raiser, around };
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        if watch.turn().await.is_none() {
            return;
        }
    }
}

struct Watch {
    around: Around,
    roll: Roll,
    supervisor: Supervisor,
    began: WallTime,
    turns: u32,
    plan: Arc<Plan>,
    raiser: Raiser,
}

impl Watch {
    /// One turn; `None` when the node has stopped.
    async fn turn(&mut self) -> Option<()> {
        if self.turns.is_multiple_of(PLAN_EVERY) {
            self.read_plan().await?;
        }
        self.turns = self.turns.wrapping_add(1);
        let others = self.around.region.others();
        self.ask_own().await?;
        self.ask(&others).await;
        let mut members = others;
        members.insert(self.around.region.me().clone());
        let now = self.around.clock.now();
        let changes = self.roll.look(now.mono, &members);
        self.take(now, &changes);
        let mut seen = self.look_at_record(now).await?;
        let blind: Vec<String> = self.roll.blind().map(ToString::to_string).collect();
        let findings = if blind.is_empty() { self.supervisor.tick(now) } else { Vec::new() };
        let leads = self.around.region.leads();
        findings.iter().for_each(|finding| tell(finding, leads));
        if leads && blind.is_empty() {
            if self.turns.is_multiple_of(TESTS_EVERY) {
                let handle = self.around.handle.upgrade()?;
                seen.overdue = handle.inspect(move |broker| broker.overdue_tests(now)).await.ok()?;
            }
            self.raise(now, &seen).await?;
        }
        self.show(now.wall, blind, &seen);
        Some(())
    }

    async fn read_plan(&mut self) -> Option<()> {
        let handle = self.around.handle.upgrade()?;
        self.plan = handle.inspect(|broker| Arc::clone(broker.plan())).await.ok()?;
        self.supervisor.plan(self.around.clock.now(), &self.plan);
        Some(())
    }

    /// What the record has of troubles, and what this node sees of numbers.
    async fn look_at_record(&mut self, now: Now) -> Option<Seen> {
        let handle = self.around.handle.upgrade()?;
        let seen = handle.inspect(move |broker| broker.seen(now)).await.ok()?;
        self.supervisor.recall(now, &seen.open);
        Some(seen)
    }

    /// Has the region say what its record does not. `None` when the node has stopped.
    async fn raise(&mut self, now: Now, seen: &Seen) -> Option<()> {
        let changes = self.raiser.look(now, &self.plan, &self.supervisor, seen);
        if changes.is_empty() {
            return Some(());
        }
        for change in &changes {
            tracing::warn!(about = %change.about, over = change.over, "the region says so to whom it concerns");
        }
        let told = changes.into_iter().map(|change| change.sealed(huxiao_wire::seal)).collect();
        let handle = self.around.handle.upgrade()?;
        handle.input(Input::Troubles(told)).await.ok()
    }

    async fn ask_own(&mut self) -> Option<()> {
        let handle = self.around.handle.upgrade()?;
        let me = self.around.region.me().clone();
        for _ in 0..ASKS {
            let ask = self.roll.ask(&me);
            let part = handle.inspect(move |broker| broker.presence(&ask)).await.ok()?;
            if !self.answered(&me, part) {
                break;
            }
        }
        Some(())
    }

    /// All others at once, for one that does not answer must not keep the rest waiting.
    async fn ask(&mut self, others: &BTreeSet<Name>) {
        let mut left: Vec<Name> = others.iter().cloned().collect();
        for _ in 0..ASKS {
            let region = &self.around.region;
            let asking = left.iter().map(|node| region.presence(node, self.roll.ask(node)));
            let answers = join_all(asking).await;
            let mut more = Vec::new();
            for (node, answer) in left.into_iter().zip(answers) {
                match answer {
                    Ok(Some(part)) => {
                        if self.answered(&node, part) {
                            more.push(node);
                        }
                    }
                    // It is given some time before it counts as gone.
                    Ok(None) => {}
                    Err(why) => {
                        tracing::debug!(%node, why, "this node does not say who is with it");
                        self.roll.refused(self.around.clock.timestamp(), &node);
                    }
                }
            }
            if more.is_empty() {
                return;
            }
            left = more;
        }
    }

    /// Takes an answer in. True if there is more to ask for.
    fn answered(&mut self, node: &Name, part: PresencePart) -> bool {
        let (now, more) = (self.around.clock.now(), part.more);
        let changes = self.roll.answer(now.mono, node, part);
        self.take(now, &changes);
        more
    }

    fn take(&mut self, now: Now, changes: &Changes) {
        changes.seen.iter().for_each(|who| self.supervisor.see(now, who));
        changes.lost.iter().for_each(|who| self.supervisor.lose(now, who));
    }

    fn show(&self, now: WallTime, blind: Vec<String>, seen: &Seen) {
        let silent: Vec<SilentJson> = self.supervisor.silent_relays().map(|row| SilentJson::new(now, row)).collect();
        let unwatched: Vec<UnwatchedJson> =
            self.supervisor.unwatched_stations().map(|row| UnwatchedJson::new(now, row)).collect();
        metric::set(Gauge::RelaysSilent, &[], count(silent.len()));
        metric::set(Gauge::StationsUnwatched, &[], count(unwatched.len()));
        let words = words(&silent, &unwatched, &blind);
        if silent.is_empty() && unwatched.is_empty() && blind.is_empty() {
            self.around.check.ok(words);
        } else {
            self.around.check.degraded(words);
        }
        let outages = self.supervisor.outages().map(|outage| OutageJson {
            outage: outage.id.0,
            scope: outage.scope.to_string(),
            known: outage.known,
            noticed: rfc3339(outage.noticed),
            relays: outage.ever,
            silent: outage.members.iter().map(relay_name).collect(),
        });
        let json = SupervisionJson {
            node: self.around.region.me().to_string(),
            watching_since: rfc3339(self.began),
            blind,
            relays: RelaysJson { known: self.supervisor.relays(), silent },
            stations: StationsJson { planned: self.supervisor.stations(), unwatched },
            outages: outages.collect(),
            troubles: seen.open.iter().map(|(about, open)| TroubleJson::new(about, open)).collect(),
        };
        for kind in Kind::ALL.iter().filter(|kind| About::begins_with(kind)) {
            let open = seen.open.keys().filter(|about| about.kind() == *kind).count();
            metric::set(Gauge::TroublesOpen, &[kind.as_str()], count(open));
        }
        *self.around.shown.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(json);
    }
}

impl SilentJson {
    fn new(now: WallTime, row: (&RelayId, WallTime, Option<OutageId>, bool)) -> Self {
        let (relay, since, outage, returning) = row;
        Self {
            relay: relay_name(relay),
            school: relay.school.to_string(),
            since: rfc3339(since),
            seconds: seconds(now, since).max(0.0),
            outage: outage.map(|outage| outage.0),
            returning,
        }
    }
}

impl UnwatchedJson {
    fn new(now: WallTime, (station, since, returning): (&StationId, WallTime, bool)) -> Self {
        Self { station: station.to_string(), since: rfc3339(since), seconds: seconds(now, since).max(0.0), returning }
    }
}

fn relay_name(relay: &RelayId) -> String {
    NodeName::Relay(relay.clone()).to_string()
}

fn words(silent: &[SilentJson], unwatched: &[UnwatchedJson], blind: &[String]) -> String {
    let mut parts = Vec::new();
    if !blind.is_empty() {
        parts.push(format!("not all nodes say who is with them: {}", blind.join(", ")));
    }
    if !silent.is_empty() {
        let named = named(silent.iter().map(|row| format!("{} since {}", row.relay, row.since)));
        parts.push(format!("relays silent: {} ({named})", silent.len()));
    }
    if !unwatched.is_empty() {
        let named = named(unwatched.iter().map(|row| format!("{} since {}", row.station, row.since)));
        parts.push(format!("stations that nobody watches: {} ({named})", unwatched.len()));
    }
    if parts.is_empty() {
        "every relay that was heard is heard, every station is watched".to_owned()
    } else {
        parts.join("; ")
    }
}

/// The first few, and that there are others.
fn named(names: impl ExactSizeIterator<Item = String>) -> String {
    let others = names.len().saturating_sub(NAMED);
    let mut words: Vec<String> = names.take(NAMED).collect();
    if others > 0 {
        words.push(format!("and {others} others"));
    }
    words.join(", ")
}

/// Every node finds the same; the leader says it aloud.
fn tell(finding: &Finding, leads: bool) {
    let words = match finding {
        Finding::Silent { relay, since, outage: None } => {
            format!("{} is silent since {}: no node of the region hears it", relay_name(relay), rfc3339(*since))
        }
        Finding::Back { relay, since, outage: None } => {
            format!("{} is back; it had been silent since {}", relay_name(relay), rfc3339(*since))
        }
        Finding::Silent { relay, outage: Some(outage), .. } => {
            tracing::debug!(relay = relay_name(relay), outage = outage.0, "silent, as part of an outage");
            return;
        }
        Finding::Back { relay, outage: Some(outage), .. } => {
            tracing::debug!(relay = relay_name(relay), outage = outage.0, "back, as part of an outage");
            return;
        }
        Finding::OutageBegan { outage, scope, known, members } => {
            let names = named(members.iter().map(relay_name));
            format!("outage {} in {scope}: {} of {known} relays fell silent together: {names}", outage.0, members.len())
        }
        Finding::OutageOver { outage, still } if still.is_empty() => {
            format!("outage {} is over: all of its relays are back", outage.0)
        }
        Finding::OutageOver { outage, still } => {
            format!("outage {} is over; still silent: {}", outage.0, named(still.iter().map(relay_name)))
        }
        Finding::Unwatched { station, since } => {
            format!("nobody watches for station {station} since {}: its alarms are on no screen", rfc3339(*since))
        }
        Finding::Watched { station, since } => {
            format!("station {station} is watched again; nobody had since {}", rfc3339(*since))
        }
    };
    if leads {
        tracing::warn!("{words}");
    } else {
        tracing::debug!("{words}");
    }
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
