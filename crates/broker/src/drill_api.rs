//! `/v1/drills` and `/v1/tests`: drills with their figures, orders about them by the operator of the region, and which schools nobody has tested.
//!
//! An order may be given to any node: its proposer carries it to the leader, and the answer waits until this node's record has it.
//!
//! Invariant: an order is looked at before it is proposed, as a seat's is; an operator's is of no school in particular.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use huxiao_core::broker::{Broker, DrillView, drill_command};
use huxiao_core::drill::{Answered, Drill, DrillId, DrillOrder, DrillRefusal};
use huxiao_core::record::{Untested, untested};
use huxiao_core::{NodeName, Rng, SchoolId, Span};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drill_json::{CloseBody, DrillJson, OpenBody, drill_id, refused};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::host::Base;
use huxiao_runtime::http::{ApiError, Json, Query};
use huxiao_runtime::metric::{self, Gauge};
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::time_format::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::record::{Engine, Region};

/// How long an order may take into the record.
const WITHIN: Duration = Duration::from_secs(10);
/// After this long it is proposed again: whoever was to carry it may be gone.
const AGAIN: Duration = Duration::from_millis(700);
/// How often to look.
const LOOK: Duration = Duration::from_millis(5);
/// Schools in one page.
const PAGE: usize = 1_000;
/// How often the schools that nobody has tested are counted.
const COUNT_EVERY: Duration = Duration::from_secs(60);

/// What the routes need.
#[derive(Clone)]
pub(crate) struct Drills {
    handle: Handle<Broker>,
    region: Region,
    me: NodeName,
    clock: Clock,
    /// For the ids of orders that come without one.
    ids: Arc<Mutex<Rng>>,
}

/// The routes, and what keeps the gauges true.
pub(crate) fn start(base: &mut Base, handle: &Handle<Broker>, region: Region) -> Router {
    let drills = Drills {
        handle: handle.clone(),
        region,
        me: base.identity().node.clone(),
        clock: base.host.clock.clone(),
        ids: Arc::new(Mutex::new(Rng::new(base.host.seed.rotate_left(17)))),
    };
    let (counted, shutdown) = (drills.clone(), base.host.shutdown.clone());
    base.spawn(count(counted, shutdown));
    Router::new()
        .route("/v1/drills", get(list).post(open))
        .route("/v1/drills/{id}", get(show))
        .route("/v1/drills/{id}/schools", get(schools))
        .route("/v1/drills/{id}/close", post(close))
        .route("/v1/tests", get(tests))
        .with_state(drills)
}

/// A drill with its figures.
#[derive(Debug, Serialize)]
struct DrillFiguresJson {
    #[serde(flatten)]
    drill: DrillJson,
    /// Schools in its scope, by the plan in force.
    in_scope: usize,
    stations: usize,
    /// Relays that told this node that they go by it.
    relays_told: usize,
    pressed: usize,
    presses: u64,
    displayed: usize,
    taken: usize,
    displayed_ms: Option<QuantilesJson>,
    taken_ms: Option<QuantilesJson>,
}

#[derive(Debug, Serialize)]
struct QuantilesJson {
    p50: f64,
    p95: f64,
}

impl QuantilesJson {
    fn new((p50, p95): (Span, Span)) -> Self {
        Self { p50: millis(p50), p95: millis(p95) }
    }
}

fn millis(span: Span) -> f64 {
    span.as_secs_f64() * 1e3
}

impl DrillFiguresJson {
    fn new(view: &DrillView, at: huxiao_core::WallTime) -> Self {
        let counts = &view.counts;
        Self {
            drill: DrillJson::new(&view.drill, at),
            in_scope: counts.schools,
            stations: view.stations,
            relays_told: view.relays,
            pressed: counts.pressed,
            presses: counts.presses,
            displayed: counts.displayed,
            taken: counts.taken,
            displayed_ms: counts.displayed_after.map(QuantilesJson::new),
            taken_ms: counts.taken_after.map(QuantilesJson::new),
        }
    }
}

impl Drills {
    /// Brings an order to the record: the drill as it stands then.
    async fn carry_out(&self, order: DrillOrder) -> Result<Arc<Drill>, ApiError> {
        let id = order.id();
        let (judged, at) = (order.clone(), self.clock.wall());
        let judge = move |broker: &Broker| (broker.drill_outcome(&judged, at), broker.judge_drill(&judged, None, at));
        let decided = match self.handle.inspect(judge).await? {
            (Some(decided), _) => decided,
            (None, Err(why)) => Err(why),
            (None, Ok(())) => self.record(order).await?,
        };
        decided.map_err(|why| refused(id, why))
    }

    /// Proposes an order, again and again, until the record has made something of it.
    async fn record(&self, order: DrillOrder) -> Result<Result<Arc<Drill>, DrillRefusal>, ApiError> {
        let until = Instant::now() + WITHIN;
        while Instant::now() < until {
            // Without a leader it comes to nothing, and there may be one in a moment.
            self.region.propose(drill_command(&order, self.clock.wall()));
            let again = Instant::now() + AGAIN;
            while Instant::now() < again {
                let (order, clock) = (order.clone(), self.clock.clone());
                let look = move |broker: &Broker| broker.drill_outcome(&order, clock.wall());
                if let Some(decided) = self.handle.inspect(look).await? {
                    return Ok(decided);
                }
                sleep(LOOK).await;
            }
        }
        if self.region.status().degraded.is_some() {
            return Ok(Err(DrillRefusal::NoQuorum));
        }
        let why = format!("nothing is known of it after {} s; ask again with the same id", WITHIN.as_secs());
        Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "not_confirmed", why))
    }

    async fn figures(&self, id: DrillId) -> Result<Json<DrillFiguresJson>, ApiError> {
        let at = self.clock.wall();
        let found = self.handle.inspect(move |broker| broker.drill(&id)).await?;
        found.map(|view| Json(DrillFiguresJson::new(&view, at))).ok_or_else(|| refused(id, DrillRefusal::Unknown))
    }
}

async fn list(State(drills): State<Drills>) -> Result<Json<Value>, ApiError> {
    let at = drills.clock.wall();
    let found = drills.handle.inspect(Broker::drills).await?;
    let shown: Vec<DrillFiguresJson> = found.iter().map(|view| DrillFiguresJson::new(view, at)).collect();
    Ok(Json(json!({ "drills": shown })))
}

async fn open(State(drills): State<Drills>, Json(body): Json<OpenBody>) -> Result<Json<DrillFiguresJson>, ApiError> {
    let drawn = DrillId(drills.ids.lock().unwrap_or_else(PoisonError::into_inner).bytes16());
    let order = body.order(drawn, drills.me.clone(), drills.clock.wall())?;
    let drill = drills.carry_out(DrillOrder::Open(order)).await?;
    drills.figures(drill.id()).await
}

async fn close(
    State(drills): State<Drills>,
    Path(id): Path<String>,
    Json(body): Json<CloseBody>,
) -> Result<Json<DrillFiguresJson>, ApiError> {
    let order = body.order(drill_id(&id)?, drills.me.clone(), drills.clock.wall())?;
    let drill = drills.carry_out(DrillOrder::Close(order)).await?;
    drills.figures(drill.id()).await
}

async fn show(State(drills): State<Drills>, Path(id): Path<String>) -> Result<Json<DrillFiguresJson>, ApiError> {
    drills.figures(drill_id(&id)?).await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// The last school of the page before.
    after: Option<String>,
    limit: Option<usize>,
}

/// What came of one school's presses.
#[derive(Debug, Serialize)]
struct SchoolJson {
    school: String,
    name: String,
    stations: Vec<String>,
    presses: u32,
    displayed_ms: Option<f64>,
    taken_ms: Option<f64>,
}

async fn schools(
    State(drills): State<Drills>,
    Path(id): Path<String>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Value>, ApiError> {
    let id = drill_id(&id)?;
    let after = query.after.as_deref().map(str::parse::<SchoolId>).transpose();
    let after = after.map_err(|why| ApiError::bad_request("bad_school", why.to_string()))?;
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let read = move |broker: &Broker| {
        broker.drill(&id)?;
        let page = broker.drill_schools(&id, after.as_ref(), limit);
        let shown = |(school, answered): &(SchoolId, Answered)| {
            let known = broker.plan().school(school);
            SchoolJson {
                school: school.to_string(),
                name: known.map(|known| known.name.to_string()).unwrap_or_default(),
                stations: known.iter().flat_map(|known| &known.stations).map(ToString::to_string).collect(),
                presses: answered.presses,
                displayed_ms: answered.displayed.map(millis),
                taken_ms: answered.taken.map(millis),
            }
        };
        Some(page.iter().map(shown).collect::<Vec<_>>())
    };
    let page = drills.handle.inspect(read).await?.ok_or_else(|| refused(id, DrillRefusal::Unknown))?;
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.school.clone());
    Ok(Json(json!({ "schools": page, "next": next })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestsQuery {
    /// Counts in the place of the plan's days.
    days: Option<u16>,
}

/// A school whose test is overdue.
#[derive(Debug, Serialize)]
struct UntestedJson {
    school: String,
    name: String,
    stations: Vec<String>,
    city: Option<String>,
    every_days: u16,
    /// When somebody tested it last; nothing if nobody ever did, as far as the record knows.
    by_hand: Option<String>,
    /// When its relay tested itself last.
    by_itself: Option<String>,
}

impl UntestedJson {
    fn new(found: &Untested<'_>) -> Self {
        Self {
            school: found.school.id.to_string(),
            name: found.school.name.to_string(),
            stations: found.school.stations.iter().map(ToString::to_string).collect(),
            city: found.city.map(|city| city.to_string()),
            every_days: found.every_days,
            by_hand: found.tested.by_hand.map(rfc3339),
            by_itself: found.tested.by_itself.map(rfc3339),
        }
    }
}

async fn tests(State(drills): State<Drills>, Query(query): Query<TestsQuery>) -> Result<Json<Value>, ApiError> {
    let at = drills.clock.wall();
    let read = |broker: &Broker| (broker.plan().clone(), broker.record().tests().clone());
    let (plan, tests) = drills.handle.inspect(read).await?;
    let days = query.days;
    let work = move || {
        let found = untested(&plan, &tests, at, days).map(|found| UntestedJson::new(&found));
        (plan.schools(), found.collect::<Vec<_>>())
    };
    let done = tokio::task::spawn_blocking(work).await;
    let (schools, found) =
        done.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", error.to_string()))?;
    Ok(Json(json!({ "schools": schools, "untested": found })))
}

/// Keeps the gauges of drills and tests true until the node stops.
async fn count(drills: Drills, shutdown: Shutdown) {
    let mut tick = tokio::time::interval(COUNT_EVERY);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let at = drills.clock.wall();
        let read = move |broker: &Broker| {
            let open = broker.record().drills().iter().filter(|drill| at < drill.end()).count();
            (open, broker.plan().clone(), broker.record().tests().clone())
        };
        let Ok((open, plan, tests)) = drills.handle.inspect(read).await else { return };
        let overdue = tokio::task::spawn_blocking(move || untested(&plan, &tests, at, None).count()).await;
        set(Gauge::DrillsOpen, open);
        overdue.into_iter().for_each(|overdue| set(Gauge::SchoolsUntested, overdue));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of drills and schools are exact in an f64")]
fn set(gauge: Gauge, count: usize) {
    metric::set(gauge, &[], count as f64);
}
