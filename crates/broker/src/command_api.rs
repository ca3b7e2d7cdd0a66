//! The commands to schools that the record holds, over the node's API.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use huxiao_core::broker::Broker;
use huxiao_core::{CommandId, SchoolId, limits};
use huxiao_runtime::command_json::{CommandJson, SchoolStageJson};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::http::{ApiError, Json, Query};
use serde::Deserialize;

/// Commands of one page at most.
const PAGE: usize = 200;

/// The routes of commands.
pub(crate) fn router(handle: Handle<Broker>) -> Router {
    Router::new()
        .route("/v1/commands", get(list))
        .route("/v1/commands/{id}", get(one))
        .route("/v1/commands/{id}/schools", get(schools))
        .with_state(handle)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
}

/// The latest first.
async fn list(State(handle): State<Handle<Broker>>, Query(query): Query<ListQuery>) -> Result<Response, ApiError> {
    let limit = query.limit.unwrap_or(PAGE).clamp(1, PAGE);
    let read =
        move |broker: &Broker| broker.record().commands().entries().rev().take(limit).cloned().collect::<Vec<_>>();
    let entries = handle.inspect(read).await?;
    let commands: Vec<CommandJson> = entries.iter().map(|entry| CommandJson::new(&entry.state())).collect();
    Ok(Json(serde_json::json!({ "commands": commands })).into_response())
}

async fn one(State(handle): State<Handle<Broker>>, Path(id): Path<String>) -> Result<Json<CommandJson>, ApiError> {
    let id = command_id(&id)?;
    let entry = handle.inspect(move |broker| broker.record().commands().get(&id).cloned()).await?;
    entry.map(|entry| Json(CommandJson::new(&entry.state()))).ok_or_else(|| unknown(id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchoolsQuery {
    after: Option<String>,
}

/// The schools of a notice, each with its stage, page by page.
async fn schools(
    State(handle): State<Handle<Broker>>,
    Path(id): Path<String>,
    Query(query): Query<SchoolsQuery>,
) -> Result<Response, ApiError> {
    let id = command_id(&id)?;
    let after = query.after.as_deref().map(str::parse::<SchoolId>).transpose();
    let after = after.map_err(|why| ApiError::invalid("bad_field", format!("after: {why}")))?;
    let entry = handle.inspect(move |broker| broker.record().commands().get(&id).cloned()).await?;
    let entry = entry.ok_or_else(|| unknown(id))?;
    let page = entry.page(after.as_ref(), limits::NOTICE_PAGE);
    let next = page.last().filter(|_| page.len() >= limits::NOTICE_PAGE).map(|last| last.school.to_string());
    let schools: Vec<SchoolStageJson> = page.iter().map(SchoolStageJson::new).collect();
    let body = serde_json::json!({
        "id": id.to_string(), "schools": schools, "total": entry.progress.schools, "next": next,
    });
    Ok(Json(body).into_response())
}

fn command_id(text: &str) -> Result<CommandId, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request("bad_id", "a command's id is a UUID"))
}

fn unknown(id: CommandId) -> ApiError {
    ApiError::not_found("unknown_command", format!("command {id} is not in the record"))
}
