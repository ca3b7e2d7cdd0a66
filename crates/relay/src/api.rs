//! The local HTTP API: raise, look, follow.
//!
//! Invariant: what comes in is checked completely before the machine hears of it.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use huxiao_core::relay::{Input, RaiseError, Relay};
use huxiao_core::{Class, EventId, Span, limits};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::http::{ApiError, Json, Query, SseEvent, SseGate};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

use crate::body::{PressBody, idempotency_key};
use crate::command_api;
use crate::paths::Paths;
use crate::pin::needs_pin;
use crate::school_api;
use crate::shell::Answers;
use crate::status::{Context, StatusJson};
use crate::view::{Change, EventJson, ModeJson};

/// Events that one list shows at the most.
const LIST_LIMIT: usize = 1_000;

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) handle: Handle<Relay>,
    changes: broadcast::Sender<Arc<Change>>,
    answers: Answers,
    gate: SseGate,
    pub(crate) context: Arc<Context>,
}

/// The relay's routes.
pub(crate) fn router(
    handle: Handle<Relay>,
    changes: broadcast::Sender<Arc<Change>>,
    answers: Answers,
    gate: SseGate,
    context: Context,
) -> Router {
    let commands = command_api::router(handle.clone());
    Router::new()
        .route("/v1/events", post(raise).get(list))
        .route("/v1/events/stream", get(stream))
        .route("/v1/events/{id}", get(one))
        .route("/v1/status", get(status))
        .route("/v1/paths", get(paths))
        .route("/v1/plan", get(school_api::plan))
        .route("/v1/duty", get(school_api::duty))
        .route("/v1/duty/{post}/check-in", post(school_api::check_in))
        .route("/v1/mode", get(mode).post(switch))
        .with_state(Api { handle, changes, answers, gate, context: Arc::new(context) })
        .merge(commands)
}

async fn raise(State(api): State<Api>, headers: HeaderMap, Json(body): Json<PressBody>) -> Result<Response, ApiError> {
    let (press, live, pin) = body.checked()?;
    let press = if needs_pin(&press.kind) { api.context.pins.admit(press, pin).await? } else { press };
    let idempotency_key = headers.get("idempotency-key").map(idempotency_key).transpose()?;
    let urgent = press.kind.class() == Some(Class::P0);
    let (ticket, answer) = api.answers.ask();
    let input = Input::Raise { ticket, press, idempotency_key, live };
    if urgent {
        // At most one for each open connection, of which there are a bounded number.
        api.handle.urgent(input)?;
    } else {
        api.handle.input(input).await?;
    }
    // The ticket's other end is dropped only with the loop.
    let answer = answer.await.map_err(|_| huxiao_runtime::drive::Stopped)?;
    Ok(match answer {
        Ok(raised) => {
            let (repeated, joined) = (raised.repeated, raised.joined);
            let body = serde_json::json!({ "id": raised.id.to_string(), "repeated": repeated, "joined": joined });
            (StatusCode::ACCEPTED, axum::Json(body)).into_response()
        }
        Err(error) => refusal(&error),
    })
}

fn refusal(error: &RaiseError) -> Response {
    if let RaiseError::Withheld(why) = error {
        // Nothing is wrong: it is what the plan asks for.
        let body = serde_json::json!({ "id": null, "withheld": why.as_str(), "message": why.to_string() });
        return (StatusCode::OK, axum::Json(body)).into_response();
    }
    let (status, code, id) = match error {
        RaiseError::NotKept { id, .. } => (StatusCode::INSUFFICIENT_STORAGE, "not_kept", Some(*id)),
        RaiseError::Full { .. } => (StatusCode::SERVICE_UNAVAILABLE, "outbox_full", None),
        RaiseError::KeyReused { id } => (StatusCode::CONFLICT, "key_reused", Some(*id)),
        RaiseError::UnknownKind(_) => (StatusCode::UNPROCESSABLE_ENTITY, "unknown_kind", None),
        RaiseError::KeyTooLong { .. } | RaiseError::Withheld(_) => {
            (StatusCode::UNPROCESSABLE_ENTITY, "bad_field", None)
        }
    };
    let mut body = serde_json::json!({ "error": { "code": code, "message": error.to_string() } });
    if let (Some(id), Some(members)) = (id, body.as_object_mut()) {
        members.insert("id".to_owned(), id.to_string().into());
    }
    (status, axum::Json(body)).into_response()
}

async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<EventJson>, ApiError> {
    let id = parse_id(&id)?;
    let view = api.handle.inspect(move |relay| relay.get(&id).map(EventJson::new)).await?;
    view.map(Json)
        .ok_or_else(|| ApiError::not_found("unknown_event", format!("event {id} is not in this relay's outbox")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    open: bool,
}

async fn list(State(api): State<Api>, Query(query): Query<ListQuery>) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(100).min(LIST_LIMIT);
    let pick = move |relay: &Relay| {
        let mut wanted: Vec<_> = relay.events().filter(|view| !query.open || !view.is_finished()).collect();
        wanted.sort_by_key(|view| std::cmp::Reverse(view.slot()));
        wanted.into_iter().take(limit).map(EventJson::new).collect::<Vec<_>>()
    };
    let events = api.handle.inspect(pick).await?;
    Ok(axum::Json(serde_json::json!({ "events": events })).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    #[serde(default)]
    id: Option<String>,
}

async fn stream(State(api): State<Api>, Query(query): Query<StreamQuery>) -> Result<Response, ApiError> {
    let only = query.id.as_deref().map(parse_id).transpose()?;
    let changes = BroadcastStream::new(api.changes.subscribe())
        // A reader that fell behind is cut: it opens the stream again and asks for what it missed.
        .take_while(Result::is_ok)
        .filter_map(Result::ok)
        .filter(move |change| only.is_none_or(|id| change.event() == Some(id)))
        .map(|change| SseEvent { name: change.name(), id: None, data: change.json() });
    api.gate.open(changes)
}

async fn status(State(api): State<Api>) -> Result<Json<StatusJson>, ApiError> {
    StatusJson::read(&api.handle, &api.context).await.map(Json)
}

async fn mode(State(api): State<Api>) -> Result<Json<ModeJson>, ApiError> {
    let now = api.context.clock.timestamp();
    let view = api.handle.inspect(move |relay| relay.mode(now)).await?;
    Ok(Json(ModeJson::new(&view)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SwitchBody {
    mode: String,
    #[serde(default)]
    minutes: Option<u16>,
}

/// Presses are tests for some minutes, or meant again. Drills are the police's to announce.
async fn switch(State(api): State<Api>, Json(body): Json<SwitchBody>) -> Result<Json<ModeJson>, ApiError> {
    let most = limits::TEST_MODE_MINUTES;
    let span = match (body.mode.as_str(), body.minutes) {
        ("live", None) => Span::ZERO,
        ("live", Some(_)) => return Err(ApiError::invalid("bad_field", "minutes: they belong to test, not to live")),
        ("test", Some(minutes)) if (1..=most).contains(&minutes) => Span::from_secs(u64::from(minutes) * 60),
        ("test", _) => return Err(ApiError::invalid("bad_field", format!("minutes: tests are on for 1 to {most}"))),
        (other, _) => {
            let other: String = other.chars().take(16).collect();
            let why = format!(
                "mode: {other:?} cannot be switched to; there are live and test, and drills are announced by the police"
            );
            return Err(ApiError::invalid("bad_field", why));
        }
    };
    api.handle.urgent(Input::TestMode(span))?;
    mode(State(api)).await
}

async fn paths(State(api): State<Api>) -> Json<Paths> {
    Json(Paths::clone(&api.context.paths.borrow()))
}

fn parse_id(text: &str) -> Result<EventId, ApiError> {
    text.parse()
        .map_err(|_| ApiError::bad_request("bad_id", "an event's id is a UUID, as the answer to the press gave it"))
}
