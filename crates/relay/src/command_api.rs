//! Commands of the region as the school sees them: on a screen, and for whoever asks.

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use huxiao_core::CommandId;
use huxiao_core::relay::{CommandView as View, Relay};
use huxiao_runtime::command_json::{CommandFields, CommandReceiptJson};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::event_json::Words;
use huxiao_runtime::http::{ApiError, Json};
use huxiao_runtime::time_format::rfc3339;
use serde::Serialize;

/// Commands that one list shows.
const LIST: usize = 100;

/// A command, and what this relay made of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CommandView {
    #[serde(flatten)]
    command: CommandFields,
    came_at: String,
    /// When its time to live is over, by this relay's clock.
    deadline: String,
    stage: Option<&'static str>,
    stage_text: Option<Words>,
    receipts: Vec<CommandReceiptJson>,
}

impl CommandView {
    pub(crate) fn new(view: &View) -> Self {
        let row = view.row();
        Self {
            command: CommandFields::new(&row.sealed),
            came_at: rfc3339(row.came_at),
            deadline: rfc3339(row.deadline),
            stage: row.stage().map(huxiao_core::CommandStage::as_str),
            stage_text: row.stage().map(|stage| stage.words().into()),
            receipts: row.receipts.iter().map(CommandReceiptJson::new).collect(),
        }
    }
}

/// The routes of commands.
pub(crate) fn router(handle: Handle<Relay>) -> Router {
    Router::new().route("/v1/commands", get(list)).route("/v1/commands/{id}", get(one)).with_state(handle)
}

/// The latest first, and whether the danger is over.
async fn list(State(handle): State<Handle<Relay>>) -> Result<Response, ApiError> {
    let read = |relay: &Relay| {
        let mut views: Vec<&View> = relay.commands().collect();
        views.sort_by_key(|view| std::cmp::Reverse(view.row().slot));
        let latest: Vec<CommandView> = views.into_iter().take(LIST).map(CommandView::new).collect();
        (latest, relay.all_clear().map(CommandView::new))
    };
    let (commands, all_clear) = handle.inspect(read).await?;
    Ok(Json(serde_json::json!({ "commands": commands, "all_clear": all_clear })).into_response())
}

async fn one(State(handle): State<Handle<Relay>>, Path(id): Path<String>) -> Result<Json<CommandView>, ApiError> {
    let id: CommandId = id.parse().map_err(|_| ApiError::bad_request("bad_id", "a command's id is a UUID"))?;
    let view = handle.inspect(move |relay: &Relay| relay.command_of(&id).map(CommandView::new)).await?;
    view.map(Json)
        .ok_or_else(|| ApiError::not_found("unknown_command", format!("this relay does not remember command {id}")))
}
