//! `/v1/plan` and `/v1/route`: what the plan says, and orders to change it.
//!
//! A change is brought in parts ([`StagePlan`], Protocol Buffers, one a request) and then taken over by one order. Both may be given to any
//! node: its proposer carries them to the leader as it does any command, and the answer waits until this node's record has them.
//!
//! Invariant: an order is looked at before it is proposed, so what is no plan, or not the plan whose digest was given, does not come into the
//! log; what the log orders otherwise in the meantime is refused by the record itself, on all nodes alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use huxiao_core::broker::Broker;
use huxiao_core::plan::{AreaCode, AreaLevel, Label, Plan, PlanError};
use huxiao_core::record::{ApplyPlan, Command, PlanDigest, PlanOutcome, PlanRefusal, PlanState, StageId, Staged};
use huxiao_core::{Class, NodeName, SchoolId, Text};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::drive::Handle;
use huxiao_runtime::host::Base;
use huxiao_runtime::http::{ApiError, Json, Query};
use huxiao_runtime::time_format::parse_rfc3339;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use crate::plan_json;
use crate::record::{Engine, Region};

/// How long a command may take into the record.
const WITHIN: Duration = Duration::from_secs(10);
/// How long a node may be behind another one that took the parts.
const CATCH_UP: Duration = Duration::from_secs(3);
/// After this long it is proposed again: whoever was to carry it may be gone.
const AGAIN: Duration = Duration::from_millis(700);
/// How often to look.
const LOOK: Duration = Duration::from_millis(3);
/// Mistakes in one answer.
const MISTAKES: usize = 100;

/// What the routes need.
#[derive(Clone)]
pub(crate) struct Plans {
    handle: Handle<Broker>,
    region: Region,
    me: NodeName,
    clock: Clock,
}

/// The plan's routes.
pub(crate) fn router(plans: Plans) -> Router {
    Router::new()
        .route("/v1/plan", get(show))
        .route("/v1/plan/history", get(history))
        .route("/v1/plan/cities", get(cities))
        .route("/v1/plan/parts", get(parts))
        .route("/v1/plan/schools/{code}", get(school))
        .route("/v1/plan/stage", post(stage))
        .route("/v1/plan/apply", post(apply))
        .route("/v1/route/{school}", get(route))
        .with_state(plans)
}

/// SHA-256 over the parts of a plan in their one order, each behind its length in eight bytes: equal plans have equal digests.
#[must_use]
pub fn plan_digest(plan: &Plan) -> PlanDigest {
    let mut digest = Sha256::new();
    for part in plan.parts() {
        let bytes = huxiao_wire::encode_plan_change(&part);
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(&bytes);
    }
    digest.finalize().into()
}

impl Plans {
    pub(crate) fn new(base: &Base, handle: Handle<Broker>, region: Region) -> Self {
        Self { handle, region, me: base.identity().node.clone(), clock: base.host.clock.clone() }
    }

    /// The plan in force, and its version: 0 if it is the node's own file's.
    async fn in_force(&self) -> Result<(Arc<Plan>, u64), ApiError> {
        Ok(self.handle.inspect(|broker| (broker.plan().clone(), broker.record().plan().version())).await?)
    }

    /// Waits until the record's plan shows what is looked for; `None` if it does not within `patience`.
    async fn wait<T: Send + 'static>(
        &self,
        patience: Duration,
        look: impl Fn(&PlanState) -> Option<T> + Clone + Send + 'static,
    ) -> Result<Option<T>, ApiError> {
        let until = Instant::now() + patience;
        loop {
            let look = look.clone();
            if let Some(found) = self.handle.inspect(move |broker| look(broker.record().plan())).await? {
                return Ok(Some(found));
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
    }

    /// Proposes a command, again and again, until the record's plan shows what is looked for.
    async fn record<T: Send + 'static>(
        &self,
        command: Command,
        look: impl Fn(&PlanState) -> Option<T> + Clone + Send + 'static,
    ) -> Result<T, ApiError> {
        let until = Instant::now() + WITHIN;
        while Instant::now() < until {
            // Without a leader it comes to nothing, and there may be one in a moment.
            self.region.propose(command.clone());
            if let Some(found) = self.wait(AGAIN, look.clone()).await? {
                return Ok(found);
            }
        }
        if let Some(degraded) = self.region.status().degraded {
            let why = format!("the plan is changed by a quorum only, and there is none: {}", degraded.why);
            return Err(ApiError::unavailable("no_quorum", why));
        }
        let why = format!("nothing is known of it after {} s; ask again with the same stage", WITHIN.as_secs());
        Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "unknown_outcome", why))
    }
}

/// Runs what takes its time where it holds up nobody.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", error.to_string()))
}

async fn show(State(plans): State<Plans>) -> Result<Json<Value>, ApiError> {
    let look = |broker: &Broker| {
        let state = broker.record().plan();
        (broker.plan().clone(), state.version(), state.history().next_back().cloned(), state.staged().cloned())
    };
    let (plan, version, last, staged) = plans.handle.inspect(look).await?;
    let (plan, digest) = aside(move || {
        let digest = plan_digest(&plan);
        (plan, digest)
    })
    .await?;
    Ok(Json(json!({
        "version": version,
        "source": if version == 0 { "file" } else { "record" },
        "digest": plan_json::hex(&digest),
        "as_applied": last.as_ref().map(|last| last.digest == digest),
        "schools": plan.schools(), "stations": plan.stations(), "areas": plan.areas(), "regions": plan.regions().count(),
        "last": last.map(|last| plan_json::version(&last)),
        "staged": staged.map(|staged| json!({
            "stage": plan_json::hex(&staged.stage.0), "have": staged.had.len(), "parts": staged.parts,
        })),
    })))
}

async fn history(State(plans): State<Plans>) -> Result<Json<Value>, ApiError> {
    let history = plans.handle.inspect(|broker| broker.record().plan().history().cloned().collect::<Vec<_>>()).await?;
    Ok(Json(json!({ "history": history.iter().rev().map(|one| plan_json::version(one)).collect::<Vec<_>>() })))
}

/// Which schools are in which city, by the plan in force.
async fn cities(State(plans): State<Plans>) -> Result<Json<Value>, ApiError> {
    let (plan, _) = plans.in_force().await?;
    let listed = aside(move || {
        let mut cities: BTreeMap<AreaCode, Vec<String>> = BTreeMap::new();
        for school in plan.school_ids().filter_map(|id| plan.school(id)) {
            let area = plan.area_of(school).into_iter().flat_map(AreaCode::upwards);
            if let Some(city) = { area }.find(|code| code.level() == AreaLevel::City) {
                cities.entry(city).or_default().push(school.id.to_string());
            }
        }
        let name = |code| plan.area(code).map(|area| area.name.to_string()).unwrap_or_default();
        let city = |(code, schools): (AreaCode, Vec<String>)| json!({ "code": code.to_string(), "name": name(code), "schools": schools });
        cities.into_iter().map(city).collect::<Vec<_>>()
    });
    Ok(Json(json!({ "cities": listed.await? })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Skip {
    /// How many parts whoever asks has.
    #[serde(default)]
    skip: usize,
}

async fn parts(State(plans): State<Plans>, Query(from): Query<Skip>) -> Result<Response, ApiError> {
    let read = |broker: &Broker| (broker.record().plan().plan().clone(), broker.record().plan().version());
    let (plan, version) = plans.handle.inspect(read).await?;
    let page = aside(move || huxiao_wire::encode_plan_page(version, plan.parts().skip(from.skip))).await?;
    Ok(([(header::CONTENT_TYPE, "application/x-protobuf")], page).into_response())
}

async fn school(State(plans): State<Plans>, Path(code): Path<String>) -> Result<Json<Value>, ApiError> {
    let id = school_id(&code)?;
    let (plan, _) = plans.in_force().await?;
    let known = plan.school(&id).map(|school| Json(plan_json::school(school)));
    known.ok_or_else(|| ApiError::not_found("unknown_school", format!("the plan does not name school {id}")))
}

fn school_id(code: &str) -> Result<SchoolId, ApiError> {
    code.parse().map_err(|why: huxiao_core::NameError| ApiError::bad_request("bad_school", why.to_string()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    class: Option<String>,
    at: Option<String>,
}

async fn route(
    State(plans): State<Plans>,
    Path(code): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, ApiError> {
    let id = school_id(&code)?;
    let class = match asked.class.as_deref() {
        None => Class::P0,
        Some(word) => Class::ALL
            .into_iter()
            .find(|class| class.as_str().eq_ignore_ascii_case(word))
            .ok_or_else(|| ApiError::bad_request("bad_class", format!("{word:?} is no class; there are P0 to P4")))?,
    };
    let at = asked.at.as_deref().map(parse_rfc3339).transpose();
    let at = at.map_err(|why| ApiError::bad_request("bad_time", why.to_string()))?;
    let at = at.unwrap_or_else(|| plans.clock.wall());
    let (plan, version) = plans.in_force().await?;
    let mut route = plan_json::route(&plan, &id, class, at);
    route["plan_version"] = version.into();
    Ok(Json(route))
}

/// What the record has made of a part.
fn part_of(state: &PlanState, stage: &StageId, part: u32) -> Option<Result<usize, PlanRefusal>> {
    match (state.outcome(stage), state.staged()) {
        (Some(Err(why)), _) => Some(Err(why.clone())),
        // Taken over already, so it was there.
        (Some(Ok(_)), _) => Some(Ok(usize::try_from(part).map_or(0, |part| part + 1))),
        (None, Some(staged)) if staged.stage == *stage && staged.had.contains_key(&part) => Some(Ok(staged.had.len())),
        (None, _) => None,
    }
}

async fn stage(State(plans): State<Plans>, body: Bytes) -> Result<Json<Value>, ApiError> {
    let part = huxiao_wire::decode_stage_plan(&body).map_err(|why| ApiError::invalid("bad_part", why.to_string()))?;
    let (stage, number, parts) = (part.stage, part.part, part.parts);
    let look = move |state: &PlanState| part_of(state, &stage, number);
    let have = plans.record(Command::StagePlan(part), look).await?.map_err(|why| refused(&why))?;
    Ok(Json(json!({ "stage": plan_json::hex(&stage.0), "have": have, "parts": parts })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    /// Hexadecimal digits.
    stage: String,
    base: u64,
    digest: String,
    who: String,
    #[serde(default)]
    note: String,
}

async fn apply(State(plans): State<Plans>, Json(order): Json<Order>) -> Result<Json<Value>, ApiError> {
    let wrong = |what: &str, why: String| ApiError::invalid("bad_order", format!("{what}: {why}"));
    let who = Label::new(&order.who).map_err(|why| wrong("who", why.to_string()))?;
    if who.is_empty() {
        return Err(wrong("who", "say who orders it".to_owned()));
    }
    let order = ApplyPlan {
        stage: StageId(
            plan_json::unhex(&order.stage).ok_or_else(|| wrong("stage", "32 hexadecimal digits".to_owned()))?,
        ),
        base: order.base,
        digest: plan_json::unhex(&order.digest).ok_or_else(|| wrong("digest", "64 hexadecimal digits".to_owned()))?,
        by: plans.me.clone(),
        who,
        at: plans.clock.wall(),
        note: Text::new(&order.note).map_err(|why| wrong("note", why.to_string()))?,
    };
    // Begun is finished, even if whoever asked goes away.
    let carried = tokio::spawn(take_over(plans, order)).await;
    carried.map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "defect", error.to_string()))?.map(Json)
}

async fn take_over(plans: Plans, order: ApplyPlan) -> Result<Value, ApiError> {
    let stage = order.stage;
    let decided = match look_at(&plans, &order).await? {
        Some(decided) => decided,
        None => {
            let look = move |state: &PlanState| state.outcome(&stage).cloned();
            plans.record(Command::ApplyPlan(order), look).await?
        }
    };
    let version = decided.map_err(|why| refused(&why))?;
    let read = move |broker: &Broker| broker.record().plan().history().find(|one| one.version == version).cloned();
    match plans.handle.inspect(read).await? {
        Some(change) => {
            tracing::info!(version, who = %change.who, "the plan was changed by order");
            Ok(plan_json::version(&change))
        }
        None => Ok(json!({ "version": version })),
    }
}

/// Looks at what would come of an order. What was decided already is decided.
async fn look_at(plans: &Plans, order: &ApplyPlan) -> Result<Option<PlanOutcome>, ApiError> {
    enum Seen {
        Decided(PlanOutcome),
        Staged(Staged, Arc<Plan>, u64),
    }
    let stage = order.stage;
    let whole = |staged: &Staged| u32::try_from(staged.had.len()).is_ok_and(|had| had == staged.parts);
    let look = move |state: &PlanState| match (state.outcome(&stage), state.staged()) {
        (Some(outcome), _) => Some(Seen::Decided(outcome.clone())),
        (None, Some(staged)) if staged.stage == stage && whole(staged) => {
            Some(Seen::Staged(staged.clone(), state.plan().clone(), state.version()))
        }
        (None, _) => None,
    };
    let (staged, plan, version) = match plans.wait(CATCH_UP, look).await? {
        Some(Seen::Decided(outcome)) => return Ok(Some(outcome)),
        Some(Seen::Staged(staged, plan, version)) => (staged, plan, version),
        None => {
            let why = "not all parts of this change are in the record: bring them first";
            return Err(ApiError::conflict("incomplete", why));
        }
    };
    if version != order.base {
        return Err(refused(&PlanRefusal::OtherBase { base: order.base, now: version }));
    }
    let made = aside(move || {
        let changes = staged.had.values().flat_map(|part| part.iter());
        plan.changed(changes).map(|(plan, _)| plan_digest(&plan))
    });
    let digest = made.await?.map_err(|found| ApiError::invalid("no_plan", listed(&found)))?;
    if digest != order.digest {
        let why = format!("the result has the digest {}, not the one that was given", plan_json::hex(&digest));
        return Err(ApiError::conflict("other_digest", why));
    }
    Ok(None)
}

fn listed(found: &[PlanError]) -> String {
    let mut lines: Vec<String> = found.iter().take(MISTAKES).map(ToString::to_string).collect();
    if found.len() > MISTAKES {
        lines.push(format!("and {} more", found.len() - MISTAKES));
    }
    lines.join("\n")
}

fn refused(why: &PlanRefusal) -> ApiError {
    let code = match why {
        PlanRefusal::OtherBase { .. } => "other_version",
        PlanRefusal::Incomplete { .. } => "incomplete",
        PlanRefusal::Superseded => "superseded",
        PlanRefusal::Invalid(_) => "no_plan",
    };
    ApiError::conflict(code, why.to_string())
}
