//! How the station is: for its status page, its gauges and its health.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use huxiao_core::station::Station;
use huxiao_core::{Degraded, NodeName, SeatId, Span};
use huxiao_link::{DialHandle, Link};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::event_json::{DegradedJson, degraded_nodes};
use huxiao_runtime::health::Check;
use huxiao_runtime::http::ApiError;
use huxiao_runtime::link_hooks::{NodeHealthJson, PathJson, paths};
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::store_hooks::StoreJson;
use huxiao_runtime::time_format::seconds;
use huxiao_store::{Loss, Store};
use serde::Serialize;

use crate::seat::Seat;

/// How often gauges and health are brought up to date.
const EVERY: Span = Span::from_secs(1);

/// What does not change while the station runs, and where to ask for the rest.
pub(crate) struct Context {
    pub(crate) me: SeatId,
    pub(crate) losses: Vec<Loss>,
    pub(crate) unreadable: usize,
    pub(crate) link: Link,
    pub(crate) store: Store,
    pub(crate) dials: Arc<Vec<DialHandle>>,
    pub(crate) clock: Clock,
}

/// `GET /v1/status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusJson {
    station: String,
    connected: bool,
    nodes: Vec<String>,
    /// Since when and why nothing enters the region's record, if that is so of every node that is reached.
    degraded: Option<DegradedJson>,
    degraded_nodes: BTreeMap<String, DegradedJson>,
    paths: Vec<PathJson>,
    path_health: Vec<NodeHealthJson>,
    /// Whether anybody would hear this seat ring, by its own word.
    audible: bool,
    unacknowledged: usize,
    unconfirmed: usize,
    next_seq: u64,
    store: StoreJson,
    losses: Vec<Loss>,
    unreadable_rows: usize,
}

impl StatusJson {
    pub(crate) async fn read(seat: &Seat, context: &Context) -> Result<Self, ApiError> {
        let (nodes, unconfirmed) = seat.upstream().await?;
        let now = context.clock.timestamp();
        let look = move |station: &Station| {
            let health = station.path_health(now).map(|path| NodeHealthJson::new(&path)).collect();
            (
                station.is_audible(),
                health,
                station.degraded().map(DegradedJson::new),
                degraded_nodes(&station.degraded_nodes()),
            )
        };
        let (audible, path_health, degraded, degraded_nodes) = seat.handle.inspect(look).await?;
        let (unacknowledged, next_seq) = {
            let board = seat.board.read();
            (board.open.len(), board.next_seq)
        };
        Ok(Self {
            station: NodeName::Station(context.me.clone()).to_string(),
            connected: !nodes.is_empty(),
            nodes: nodes.iter().map(ToString::to_string).collect(),
            degraded,
            degraded_nodes,
            paths: paths(&context.link),
            path_health,
            audible,
            unacknowledged,
            unconfirmed,
            next_seq,
            store: StoreJson::new(&context.store.health()),
            losses: context.losses.clone(),
            unreadable_rows: context.unreadable,
        })
    }
}

/// Keeps gauges and the `upstream` check true until the node stops.
pub(crate) async fn watch(seat: Seat, context: Arc<Context>, upstream: Check, clock: Clock, shutdown: Shutdown) {
    let station = context.me.station.to_string();
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let Ok((nodes, _)) = seat.upstream().await else { return };
        let Ok(degraded) = seat.handle.inspect(|station| station.degraded().cloned()).await else { return };
        let (open, oldest) = {
            let board = seat.board.read();
            // By this node's own clock: a school's may be years off.
            (board.open.len(), board.open.values().min().copied())
        };
        let age = oldest.map_or(0.0, |received| seconds(clock.wall(), received).max(0.0));
        metric::set(Gauge::AlarmsUnacknowledged, &[&station], u32::try_from(open).map_or(f64::MAX, f64::from));
        metric::set(Gauge::OldestUnacknowledgedAge, &[&station], age);
        match degraded {
            Some(degraded) => upstream.degraded(format!("{} ({})", Degraded::words().1, degraded.why)),
            None => tell(&upstream, &nodes, &context.dials),
        }
    }
}

fn tell(upstream: &Check, nodes: &BTreeSet<NodeName>, dials: &[DialHandle]) {
    let reached = nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let problems: BTreeSet<String> = dials.iter().flat_map(DialHandle::problems).map(|(_, why)| why).collect();
    let problems = problems.into_iter().collect::<Vec<_>>().join("; ");
    match nodes.len() {
        0 => upstream.failed(format!("no broker node is reached, so no alarm can come: {problems}")),
        some if some < dials.len() => {
            upstream.degraded(format!("{some} of {} broker nodes are reached: {reached}; {problems}", dials.len()));
        }
        _ => upstream.ok(format!("reached: {reached}")),
    }
}
