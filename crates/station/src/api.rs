//! The local HTTP API: follow, look, say that a screen shows it, take it, have more stations see it.
//!
//! Invariant: what comes in is checked completely before the machine hears of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream;
use huxiao_core::case::{Action, ActionId, CaseRefusal, Verb};
use huxiao_core::drill::DrillOrder;
use huxiao_core::station::{AckError, CaseError, DrillError, EscalateError, HistoryError, Input, Station};
use huxiao_core::{EventId, Name, Span, StationId, Text, limits};
use huxiao_runtime::case_json::{CaseJson, StepJson, hex};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::command_json::CommandJson;
use huxiao_runtime::drill_json::{CloseBody, DrillJson, OpenBody, drill_id, refused};
use huxiao_runtime::event_json::DegradedJson;
use huxiao_runtime::http::{ApiError, Json, Query, SseEvent, SseGate};
use serde::Deserialize;

use crate::feed::{Item, Reader, Start};
use crate::pictures::Gallery;
use crate::seat::{PAGE, Seat};
use crate::status::{Context, StatusJson};
use crate::view::{
    AckJson, CaseChangeJson, CaseDoneJson, EscalateJson, EventJson, OwnerJson, OwnershipNews, PicturesJson, StageJson,
    case_of, text,
};

/// Earlier rows whose receipts are told to whoever resumes.
const LOOK_BACK: usize = 256;

#[derive(Clone)]
struct Api {
    seat: Seat,
    gate: SseGate,
    context: Arc<Context>,
}

/// The station's routes.
pub(crate) fn router(seat: Seat, gate: SseGate, context: Arc<Context>) -> Router {
    Router::new()
        .route("/v1/events", get(events))
        .route("/v1/events/{id}", get(one))
        .route("/v1/events/{id}/displayed", post(displayed))
        .route("/v1/events/{id}/ack", post(acknowledge))
        .route("/v1/events/{id}/escalate", post(escalate))
        .route("/v1/events/{id}/case", get(case).post(act))
        .route("/v1/drills", get(drills).post(open_drill))
        .route("/v1/drills/{id}/close", post(close_drill))
        .route("/v1/audible", get(audible).post(set_audible))
        .route("/v1/status", get(status))
        .with_state(Api { seat, gate, context })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    #[serde(default)]
    from_seq: Option<u64>,
    #[serde(default)]
    limit: Option<usize>,
}

async fn events(
    State(api): State<Api>,
    headers: HeaderMap,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    if wants_stream(&headers) {
        let reader = api.seat.follow(begin(&headers, query.from_seq)).await?;
        return api.gate.open(stream::unfold(reader, next_message));
    }
    let limit = query.limit.unwrap_or(100).min(PAGE);
    let (rows, next) = api.seat.page(query.from_seq.unwrap_or(1), limit).await?;
    let events: Vec<EventJson> =
        rows.iter().map(|(row, durable)| EventJson::new(row, *durable).with(&api.seat.gallery, row)).collect();
    Ok(axum::Json(serde_json::json!({ "events": events, "next_seq": next })).into_response())
}

fn wants_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted
        .flat_map(|value| value.split(','))
        .any(|kind| kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/event-stream")))
}

/// Where a stream begins. A browser repeats the URL with its first `from_seq` when it resumes, so the header goes before. One
/// that cannot be understood gives everything: a gap cannot hide an alarm, and a refusal would end the browser's trying.
fn begin(headers: &HeaderMap, from_seq: Option<u64>) -> Start {
    let last = headers.get("last-event-id").filter(|id| !id.is_empty());
    let last = last.map(|id| id.to_str().ok().and_then(|id| id.trim().parse::<u64>().ok()));
    match (last, from_seq) {
        (Some(Some(last)), _) => Start::At { from: last.saturating_add(1), before: LOOK_BACK },
        (Some(None), _) => Start::At { from: 1, before: 0 },
        (None, Some(from)) => Start::At { from, before: LOOK_BACK },
        (None, None) => Start::New,
    }
}

/// The next message of a stream. It ends with the station, and for a reader that was too slow, which then resumes.
async fn next_message(mut reader: Reader) -> Option<(SseEvent, Reader)> {
    let item = reader.next().await.ok()?;
    Some((message(&item, reader.gallery()), reader))
}

fn message(item: &Item, gallery: &Gallery) -> SseEvent {
    let id = |position: &Option<u64>| position.map(|position| position.to_string());
    match item {
        Item::Event { row, durable, position } => {
            SseEvent { name: "alarm", id: id(position), data: text(&EventJson::new(row, *durable).with(gallery, row)) }
        }
        Item::Durable { seq, position } => {
            SseEvent { name: "durable", id: id(position), data: text(&serde_json::json!({ "seq": seq })) }
        }
        Item::Stage { seq, receipt } => {
            SseEvent { name: "stage", id: None, data: text(&StageJson::new(*seq, receipt)) }
        }
        Item::Ownership { seq, ownership } => {
            SseEvent { name: "ownership", id: None, data: text(&OwnershipNews::new(*seq, ownership)) }
        }
        Item::Case(row) => SseEvent { name: "case", id: None, data: text(&CaseChangeJson::new(row)) },
        Item::Drill(drill) => {
            SseEvent { name: "drill", id: None, data: text(&DrillJson::new(drill, Clock::system().wall())) }
        }
        Item::Command(state) => SseEvent { name: "command", id: None, data: text(&CommandJson::new(state)) },
        Item::Condition(degraded) => {
            let data = serde_json::json!({ "degraded": degraded.as_ref().map(DegradedJson::new) });
            SseEvent { name: "condition", id: None, data: text(&data) }
        }
        Item::Pictures(said) => SseEvent { name: "picture", id: None, data: text(&PicturesJson::new(said)) },
        Item::Live => SseEvent { name: "live", id: None, data: "{}".to_owned() },
    }
}

async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<EventJson>, ApiError> {
    let id = parse_id(&id)?;
    let found = api.seat.get(id).await?;
    found
        .map(|(row, durable)| Json(EventJson::new(&row, durable).with(&api.seat.gallery, &row)))
        .ok_or_else(|| unknown(id))
}

async fn displayed(State(api): State<Api>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let id = parse_id(&id)?;
    if api.seat.get(id).await?.is_none() {
        return Err(unknown(id));
    }
    api.seat.displayed(vec![id]).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AckBody {
    officer: String,
    #[serde(default)]
    note: String,
}

async fn acknowledge(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(body): Json<AckBody>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let officer = Name::new(&body.officer).map_err(|why| bad_field("officer", &why.to_string()))?;
    let note = Text::new(&body.note).map_err(|why| bad_field("note", &why.to_string()))?;
    Ok(match api.seat.acknowledge(id, officer, note).await? {
        Ok(done) => Json(AckJson::new(&done)).into_response(),
        Err(error) => refusal(id, &error),
    })
}

fn refusal(id: EventId, error: &AckError) -> Response {
    let (status, code) = match error {
        AckError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_event"),
        AckError::Taken(_) => (StatusCode::CONFLICT, "taken"),
        AckError::NotKept { .. } => (StatusCode::INSUFFICIENT_STORAGE, "not_kept"),
    };
    let error_body = serde_json::json!({ "code": code, "message": error.to_string() });
    let body = match error {
        AckError::Taken(owner) => serde_json::json!({ "error": error_body, "owner": OwnerJson::new(owner) }),
        AckError::Unknown(_) | AckError::NotKept { .. } => {
            serde_json::json!({ "error": error_body, "id": id.to_string() })
        }
    };
    (status, axum::Json(body)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EscalateBody {
    to: Vec<String>,
    officer: String,
    #[serde(default)]
    note: String,
}

async fn escalate(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(body): Json<EscalateBody>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let officer = Name::new(&body.officer).map_err(|why| bad_field("officer", &why.to_string()))?;
    let note = Text::new(&body.note).map_err(|why| bad_field("note", &why.to_string()))?;
    if body.to.is_empty() || body.to.len() > limits::STATIONS_PER_SCHOOL {
        let why = format!("name 1 to {} stations, these are {}", limits::STATIONS_PER_SCHOOL, body.to.len());
        return Err(bad_field("to", &why));
    }
    let stations = body.to.iter().map(|code| code.parse::<StationId>());
    let stations = stations.collect::<Result<Vec<_>, _>>().map_err(|why| bad_field("to", &why.to_string()))?;
    Ok(match api.seat.escalate(id, stations, officer, note).await? {
        Ok(done) => Json(EscalateJson::new(&done)).into_response(),
        Err(error) => not_escalated(id, &error),
    })
}

fn not_escalated(id: EventId, error: &EscalateError) -> Response {
    let (status, code) = match error {
        EscalateError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_event"),
        EscalateError::NotOurs(_) => (StatusCode::CONFLICT, "not_ours"),
        EscalateError::Refused { .. } => (StatusCode::CONFLICT, "refused"),
        EscalateError::NotConfirmed { .. } => (StatusCode::GATEWAY_TIMEOUT, "not_confirmed"),
        EscalateError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
    };
    let body = serde_json::json!({ "error": { "code": code, "message": error.to_string() }, "id": id.to_string() });
    (status, axum::Json(body)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsQuery {
    #[serde(default)]
    after: u64,
}

/// A case with a page of its steps, which a broker node is asked for.
async fn case(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<StepsQuery>,
) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let (row, _) = api.seat.get(id).await?.ok_or_else(|| unknown(id))?;
    let Some(known) = case_of(&row) else {
        let none = serde_json::json!({ "id": id.to_string(), "case": null, "steps": [], "next": null });
        return Ok(Json(none).into_response());
    };
    let (steps, total) = api.seat.history(id, query.after).await?.map_err(|error| match error {
        HistoryError::Unknown(_) => unknown(id),
        HistoryError::NoAnswer(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, "no_answer", error.to_string()),
        HistoryError::Busy => ApiError::unavailable("busy", error.to_string()),
    })?;
    let last = steps.last().map_or(query.after, |step| step.number);
    let steps: Vec<StepJson> = steps.iter().map(StepJson::new).collect();
    let next = Some(last).filter(|last| *last < total && !steps.is_empty());
    let (event, case) = (hex(&row.sealed.bytes), CaseJson::new(&known));
    let page = serde_json::json!({ "id": id.to_string(), "event": event, "case": case, "steps": steps, "next": next });
    Ok(Json(page).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseBody {
    action: String,
    officer: String,
    #[serde(default)]
    note: String,
    /// Why it is closed.
    reason: Option<String>,
    /// To which station it is transferred.
    to: Option<String>,
    /// What the 110 centre calls it.
    number: Option<String>,
    /// Which order it is: with the same, saying it again is harmless.
    action_id: Option<String>,
}

impl CaseBody {
    fn action(&self) -> Result<Action, ApiError> {
        let verb: Verb = self.action.parse().map_err(|why: String| bad_field("action", &why))?;
        if verb == Verb::Acknowledge {
            return Err(bad_field("action", "an alarm is acknowledged at /v1/events/{id}/ack"));
        }
        let details = [("reason", &self.reason, Verb::Close), ("to", &self.to, Verb::Transfer)];
        let details = details.into_iter().chain([("number", &self.number, Verb::Number)]);
        let mut detail = "";
        for (name, value, of) in details {
            match value {
                Some(value) if verb == of => detail = value,
                Some(_) => return Err(bad_field(name, &format!("it belongs to {of}, not to {verb}"))),
                None if verb == of => return Err(bad_field(name, &format!("{verb} needs it"))),
                None => {}
            }
        }
        let field = if verb == Verb::Close { "reason" } else { self.action.as_str() };
        Action::from_parts(verb, detail).map_err(|why| bad_field(field, &why))
    }
}

async fn act(State(api): State<Api>, Path(id): Path<String>, Json(body): Json<CaseBody>) -> Result<Response, ApiError> {
    let id = parse_id(&id)?;
    let action = body.action()?;
    let officer = Name::new(&body.officer).map_err(|why| bad_field("officer", &why.to_string()))?;
    let note = Text::new(&body.note).map_err(|why| bad_field("note", &why.to_string()))?;
    let order = body.action_id.as_deref().map(str::parse::<ActionId>).transpose();
    let order = order.ok().filter(|order| *order != Some(ActionId::NONE));
    let order = order.ok_or_else(|| bad_field("action_id", "the id of an order is a UUID, and not the zero one"))?;
    Ok(match api.seat.act((id, order), action, officer, note).await? {
        Ok(done) => Json(CaseDoneJson::new(&done)).into_response(),
        Err(error) => not_acted(id, &error),
    })
}

fn not_acted(id: EventId, error: &CaseError) -> Response {
    let (status, code) = match error {
        CaseError::Unknown(_) => (StatusCode::NOT_FOUND, "unknown_event"),
        CaseError::Refused { why: CaseRefusal::NoQuorum, .. } => (StatusCode::SERVICE_UNAVAILABLE, "no_quorum"),
        CaseError::Refused { why, .. } => (StatusCode::CONFLICT, why.as_str()),
        CaseError::NotConfirmed { .. } => (StatusCode::GATEWAY_TIMEOUT, "not_confirmed"),
        CaseError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
    };
    let mut body = serde_json::json!({ "error": { "code": code, "message": error.to_string() }, "id": id.to_string() });
    match error {
        CaseError::Refused { case: Some(case), .. } => body["case"] = serde_json::json!(CaseJson::new(case)),
        CaseError::NotConfirmed { id, .. } => body["action_id"] = id.to_string().into(),
        _ => {}
    }
    (status, axum::Json(body)).into_response()
}

async fn drills(State(api): State<Api>) -> Result<Response, ApiError> {
    let (drills, at) = (api.seat.drills().await?, Clock::system().wall());
    let drills: Vec<DrillJson> = drills.iter().map(|drill| DrillJson::new(drill, at)).collect();
    Ok(Json(serde_json::json!({ "drills": drills })).into_response())
}

async fn open_drill(State(api): State<Api>, Json(body): Json<OpenBody>) -> Result<Json<DrillJson>, ApiError> {
    let (drawn, me) = api.seat.drawn();
    drilled(&api, DrillOrder::Open(body.order(drawn, me, Clock::system().wall())?)).await
}

async fn close_drill(
    State(api): State<Api>,
    Path(id): Path<String>,
    Json(body): Json<CloseBody>,
) -> Result<Json<DrillJson>, ApiError> {
    let (_, me) = api.seat.drawn();
    drilled(&api, DrillOrder::Close(body.order(drill_id(&id)?, me, Clock::system().wall())?)).await
}

async fn drilled(api: &Api, order: DrillOrder) -> Result<Json<DrillJson>, ApiError> {
    match api.seat.drill(order).await? {
        Ok(drill) => Ok(Json(DrillJson::new(&drill, Clock::system().wall()))),
        Err(DrillError::Refused { id, why }) => Err(refused(id, why)),
        Err(error @ DrillError::NotConfirmed { .. }) => {
            Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "not_confirmed", error.to_string()))
        }
        Err(error @ DrillError::Busy) => Err(ApiError::unavailable("busy", error.to_string())),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AudibleBody {
    on: bool,
    /// For how long, if not until further notice.
    seconds: Option<u64>,
}

async fn audible(State(api): State<Api>) -> Result<Response, ApiError> {
    let audible = api.seat.handle.inspect(Station::is_audible).await?;
    Ok(Json(serde_json::json!({ "audible": audible })).into_response())
}

/// A console says whether anybody would hear this seat.
async fn set_audible(State(api): State<Api>, Json(body): Json<AudibleBody>) -> Result<Response, ApiError> {
    let lasts = body.seconds.filter(|_| body.on);
    if let Some(wrong) = body.seconds.filter(|seconds| !body.on || !(5..=3_600).contains(seconds)) {
        let why = format!("{wrong}: from 5 to 3600, and only where a seat is audible");
        return Err(bad_field("seconds", &why));
    }
    api.seat.handle.input(Input::Audible { on: body.on, lasts: lasts.map(Span::from_secs) }).await?;
    Ok(Json(serde_json::json!({ "audible": body.on })).into_response())
}

async fn status(State(api): State<Api>) -> Result<Json<StatusJson>, ApiError> {
    StatusJson::read(&api.seat, &api.context).await.map(Json)
}

fn parse_id(text: &str) -> Result<EventId, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request("bad_id", "an event's id is a UUID, as the alarm has it"))
}

fn unknown(id: EventId) -> ApiError {
    ApiError::not_found("unknown_event", AckError::Unknown(id).to_string())
}

fn bad_field(field: &str, why: &str) -> ApiError {
    ApiError::invalid("bad_field", format!("{field}: {why}"))
}
