//! How the node is: for its status page, its gauges and its health.

use std::collections::BTreeMap;

use huxiao_core::broker::{Broker, DeskView};
use huxiao_core::{Class, SeatId, Span, StationId, WallTime};
use huxiao_link::Link;
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::Handle;
use huxiao_runtime::health::Check;
use huxiao_runtime::host::Base;
use huxiao_runtime::http::ApiError;
use huxiao_runtime::link_hooks::{PathJson, PeerJson, paths, peers};
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::store_hooks::StoreJson;
use huxiao_runtime::time_format::seconds;
use huxiao_store::{Loss, Store};
use serde::Serialize;

use crate::levels::{ProvinceJson, RegionJson};
use crate::record::{DegradedJson, Region};

/// How often gauges and health are brought up to date.
const EVERY: Span = Span::from_secs(1);

/// What does not change while the node runs, and where to ask for the rest.
pub(crate) struct Context {
    me: String,
    region: Region,
    losses: Vec<Loss>,
    link: Link,
    store: Store,
    clock: Clock,
}

impl Context {
    pub(crate) fn new(base: &Base, link: Link, region: Region, losses: Vec<Loss>) -> Self {
        Self {
            me: base.identity().node.to_string(),
            region,
            losses,
            link,
            store: base.store.clone(),
            clock: base.host.clock.clone(),
        }
    }
}

/// `GET /v1/status`.
#[derive(Debug, Serialize)]
pub(crate) struct StatusJson {
    broker: String,
    record: RecordJson,
    relays: usize,
    seats: Vec<SeatJson>,
    plan: PlanJson,
    /// The province, if this region has one.
    province: Option<ProvinceJson>,
    /// The regions below that hold sessions with this node.
    regions: Vec<RegionJson>,
    paths: Vec<PathJson>,
    peers: Vec<PeerJson>,
    store: StoreJson,
    losses: Vec<Loss>,
}

#[derive(Debug, Serialize)]
struct RecordJson {
    id: Option<String>,
    last_index: u64,
    events: usize,
    archived: u64,
    leader: Option<String>,
    degraded: Option<DegradedJson>,
}

#[derive(Debug, Serialize)]
struct PlanJson {
    schools: usize,
    /// 0 while the node goes by its own file.
    version: u64,
}

#[derive(Debug, Serialize)]
struct SeatJson {
    seat: String,
    sessions: usize,
    pending: BTreeMap<&'static str, usize>,
    mark: u64,
}

impl SeatJson {
    fn new(seat: &SeatId, view: DeskView) -> Self {
        Self {
            seat: format!("station/{}/{}", seat.station, seat.seat),
            sessions: view.sessions,
            pending: Class::ALL.iter().map(|class| (class.as_str(), view.pending[*class as usize])).collect(),
            mark: view.mark,
        }
    }
}

impl StatusJson {
    pub(crate) async fn read(handle: &Handle<Broker>, context: &Context) -> Result<Self, ApiError> {
        let region = context.region.status();
        let now = context.clock.wall();
        let (record, relays, seats, plan, levels) = handle
            .inspect(move |broker| {
                let record = broker.record();
                let json = RecordJson {
                    id: region.record,
                    last_index: record.last_index(),
                    events: record.len(),
                    archived: record.archived(),
                    leader: region.leader,
                    degraded: region.degraded,
                };
                let seats = broker.desks().map(|(seat, view)| SeatJson::new(seat, view)).collect();
                let levels = (ProvinceJson::read(broker, now), RegionJson::read(broker));
                let plan = PlanJson { schools: broker.plan().schools(), version: broker.record().plan().version() };
                (json, broker.relays(), seats, plan, levels)
            })
            .await?;
        Ok(Self {
            broker: context.me.clone(),
            record,
            relays,
            seats,
            plan,
            province: levels.0,
            regions: levels.1,
            paths: paths(&context.link),
            peers: peers(&context.link),
            store: StoreJson::new(&context.store.health()),
            losses: context.losses.clone(),
        })
    }
}

struct Figures {
    relays: usize,
    stations: usize,
    pending: [usize; Class::ALL.len()],
    unrouted: usize,
    cases: usize,
    plan_version: u64,
    oldest: BTreeMap<String, (u32, WallTime)>,
}

impl Figures {
    fn of(broker: &Broker) -> Self {
        let mut figures = Self {
            relays: broker.relays(),
            stations: 0,
            pending: [0; Class::ALL.len()],
            unrouted: broker.record().unrouted().count(),
            cases: broker.record().open_cases(),
            plan_version: broker.record().plan().version(),
            oldest: BTreeMap::new(),
        };
        let mut last = None;
        for (seat, view) in broker.desks() {
            figures.stations += usize::from(last != Some(&seat.station));
            last = Some(&seat.station);
            figures.pending.iter_mut().zip(view.pending).for_each(|(sum, count)| *sum += count);
        }
        // This runs in the loop, over everything that is open: nothing is allocated for an entry.
        let mut oldest: BTreeMap<&StationId, (u32, WallTime)> = BTreeMap::new();
        for entry in broker.record().unfinished() {
            let event = &entry.admission.sealed.event;
            if event.class <= Class::P1 {
                for station in &entry.admission.stations {
                    let slot = oldest.entry(station).or_insert((0, event.raised_at));
                    *slot = (slot.0.saturating_add(1), slot.1.min(event.raised_at));
                }
            }
        }
        figures.oldest = oldest.into_iter().map(|(station, figure)| (station.to_string(), figure)).collect();
        figures
    }
}

/// Keeps gauges and the `routes` check true until the node stops.
pub(crate) async fn watch(handle: Handle<Broker>, routes: Check, clock: Clock, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(EVERY);
    let mut known: BTreeMap<String, (u32, WallTime)> = BTreeMap::new();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let Ok(figures) = handle.inspect(Figures::of).await else { return };
        metric::set(Gauge::RelaysConnected, &[], count(figures.relays));
        metric::set(Gauge::StationsConnected, &[], count(figures.stations));
        metric::set(Gauge::CasesOpen, &[], count(figures.cases));
        metric::set(Gauge::PlanVersion, &[], count(usize::try_from(figures.plan_version).unwrap_or(usize::MAX)));
        for class in Class::ALL {
            metric::set(Gauge::EventsPending, &[class.as_str()], count(figures.pending[class as usize]));
        }
        let now = clock.wall();
        // A station without open alarms goes back to zero instead of keeping its last figure.
        known.values_mut().for_each(|figures| *figures = (0, now));
        known.extend(figures.oldest);
        for (station, (open, oldest)) in &known {
            metric::set(Gauge::AlarmsUnacknowledged, &[station], f64::from(*open));
            metric::set(Gauge::OldestUnacknowledgedAge, &[station], seconds(now, *oldest).max(0.0));
        }
        match figures.unrouted {
            0 => routes.ok("every event has a station"),
            some => routes.failed(format!("{some} events have no station: their schools are missing in the plan")),
        }
    }
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}
