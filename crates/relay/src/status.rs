//! How the relay is: for its status page, its gauges and its health.

use std::collections::BTreeMap;
use std::sync::Arc;

use huxiao_core::relay::Relay;
use huxiao_core::{Class, Degraded, Span, WallTime};
use huxiao_link::Link;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::Handle;
use huxiao_runtime::event_json::{DegradedJson, degraded_nodes};
use huxiao_runtime::health::{Check, Health};
use huxiao_runtime::host::is_armed;
use huxiao_runtime::http::ApiError;
use huxiao_runtime::link_hooks::{PathJson, paths};
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::store_hooks::StoreJson;
use huxiao_runtime::time_format::seconds;
use huxiao_store::{Loss, Store};
use serde::Serialize;
use tokio::sync::watch;

use crate::paths::Paths;
use crate::pin::Pins;
use crate::view::ModeJson;

/// How often gauges and health are brought up to date.
const EVERY: Span = Span::from_secs(1);

/// What does not change while the relay runs, and where to ask for the rest.
pub(crate) struct Context {
    pub(crate) me: String,
    pub(crate) epoch: u64,
    pub(crate) losses: Vec<Loss>,
    pub(crate) health: Health,
    pub(crate) link: Link,
    pub(crate) store: Store,
    pub(crate) pins: Pins,
    pub(crate) paths: watch::Receiver<Arc<Paths>>,
    pub(crate) clock: Clock,
}

/// `GET /v1/status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusJson {
    relay: String,
    epoch: u64,
    armed: bool,
    connected: bool,
    /// What presses are now.
    mode: ModeJson,
    /// Since when and why nothing enters the region's record, if that is so of every node that is reached.
    degraded: Option<DegradedJson>,
    degraded_nodes: BTreeMap<String, DegradedJson>,
    paths: Vec<PathJson>,
    upstream: Paths,
    pending: BTreeMap<&'static str, usize>,
    oldest_unstored_seconds: Option<f64>,
    store: StoreJson,
    losses: Vec<Loss>,
}

impl StatusJson {
    pub(crate) async fn read(handle: &Handle<Relay>, context: &Context) -> Result<Self, ApiError> {
        let at = context.clock.timestamp();
        let (figures, mode) = handle.inspect(move |relay| (Figures::of(relay), relay.mode(at))).await?;
        let now = Clock::system().wall();
        Ok(Self {
            relay: context.me.clone(),
            epoch: context.epoch,
            armed: is_armed(&context.health),
            connected: figures.connected,
            mode: ModeJson::new(&mode),
            degraded: figures.degraded.as_ref().map(DegradedJson::new),
            degraded_nodes: figures.degraded_nodes,
            paths: paths(&context.link),
            upstream: Paths::clone(&context.paths.borrow()),
            pending: Class::ALL.iter().map(|class| (class.as_str(), figures.pending[*class as usize])).collect(),
            oldest_unstored_seconds: figures.oldest_unstored.map(|raised| seconds(now, raised).max(0.0)),
            store: StoreJson::new(&context.store.health()),
            losses: context.losses.clone(),
        })
    }
}

struct Figures {
    connected: bool,
    pending: [usize; Class::ALL.len()],
    oldest_unstored: Option<WallTime>,
    degraded: Option<Degraded>,
    degraded_nodes: BTreeMap<String, DegradedJson>,
}

impl Figures {
    fn of(relay: &Relay) -> Self {
        Self {
            connected: relay.has_path(),
            pending: relay.pending(),
            degraded: relay.degraded().cloned(),
            degraded_nodes: degraded_nodes(&relay.degraded_nodes()),
            oldest_unstored: relay.oldest_unstored().map(|view| view.sealed().event.raised_at),
        }
    }
}

/// Keeps gauges and the `upstream` check true until the node stops.
pub(crate) async fn watch(
    handle: Handle<Relay>,
    upstream: Check,
    paths: watch::Receiver<Arc<Paths>>,
    clock: Clock,
    shutdown: Shutdown,
) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let Ok(figures) = handle.inspect(Figures::of).await else { return };
        for class in Class::ALL {
            let count = u32::try_from(figures.pending[class as usize]).unwrap_or(u32::MAX);
            metric::set(Gauge::EventsPending, &[class.as_str()], f64::from(count));
        }
        let age = figures.oldest_unstored.map_or(0.0, |raised| seconds(clock.wall(), raised).max(0.0));
        metric::set(Gauge::OldestUnstoredAge, &[], age);
        let waiting: usize = figures.pending.iter().sum();
        match figures.connected {
            true if figures.degraded.is_some() => {
                let degraded = figures.degraded.as_ref().map(|degraded| degraded.why.as_str()).unwrap_or_default();
                upstream
                    .degraded(format!("{} ({degraded}); {waiting} events wait for the record", Degraded::words().1));
            }
            true if age > 10.0 => {
                upstream.degraded(format!("{waiting} events wait for the region, the oldest for {age:.0} s"));
            }
            true => match paths.borrow().lacks() {
                Some(lacks) => upstream.degraded(format!("{lacks}; {waiting} events on their way")),
                None => upstream.ok(format!("every way to the region is open; {waiting} events on their way")),
            },
            false => upstream.failed(format!("no broker node is reached; {waiting} events wait")),
        }
    }
}
