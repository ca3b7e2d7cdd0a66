//! The local HTTP API's part of commands: to one school, and notices to areas.
//!
//! Invariant: what comes in is checked completely before it is signed.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use huxiao_core::command::{AreaPrefix, CommandKind, Content, Instruction, Media, NoticeAction, Priority, Target};
use huxiao_core::station::CommandFailure;
use huxiao_core::{CommandId, CommandRefusal, EventId, Name, SchoolId, Span, Text, limits};
use huxiao_runtime::command_json::{CommandJson, SchoolStageJson};
use huxiao_runtime::http::{ApiError, Json, Query};
use serde::Deserialize;

use crate::commands::{Commanded, Draft, NotGiven};
use crate::seat::Seat;

/// How long a command lives if nobody says: words for now are of no use later.
const TTL_SECONDS: u64 = 120;
/// The same of a notice.
const NOTICE_TTL_SECONDS: u64 = 600;

/// The routes of commands.
pub(crate) fn router(seat: Seat) -> Router {
    Router::new()
        .route("/v1/schools/{code}/commands", post(command))
        .route("/v1/notices", post(notice))
        .route("/v1/commands", get(list))
        .route("/v1/commands/{id}", get(one))
        .route("/v1/commands/{id}/schools", get(schools))
        .with_state(seat)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CommandBody {
    kind: String,
    officer: String,
    #[serde(default)]
    reason: String,
    text: Option<String>,
    clip: Option<String>,
    body: Option<String>,
    media: Option<String>,
    priority: Option<String>,
    volume: Option<u32>,
    stops: Option<String>,
    camera: Option<String>,
    case: Option<String>,
    #[serde(default)]
    zones: Vec<String>,
    device: Option<String>,
    ttl_seconds: Option<u64>,
    /// Which command it is: with the same, saying it again is harmless.
    command_id: Option<String>,
}

impl CommandBody {
    fn instruction(&self) -> Result<Instruction, ApiError> {
        let kind: CommandKind = parsed("kind", &self.kind)?;
        let text = Text::new(self.text.as_deref().unwrap_or_default()).map_err(|why| bad_field("text", &why))?;
        let belongs = |name: &str, given: bool, of: &[CommandKind]| {
            let fits = !given || of.contains(&kind);
            if fits { Ok(()) } else { Err(bad_field(name, &format!("it does not belong to {kind}"))) }
        };
        belongs("text", self.text.is_some(), &[CommandKind::Broadcast, CommandKind::AllClear])?;
        for (name, given) in [
            ("clip", self.clip.is_some()),
            ("body", self.body.is_some()),
            ("media", self.media.is_some()),
            ("priority", self.priority.is_some()),
            ("volume", self.volume.is_some()),
        ] {
            belongs(name, given, &[CommandKind::Broadcast])?;
        }
        belongs("stops", self.stops.is_some(), &[CommandKind::Stop])?;
        belongs("camera", self.camera.is_some(), &[CommandKind::View])?;
        Ok(match kind {
            CommandKind::Broadcast => Instruction::Broadcast {
                content: self.content(text)?,
                priority: optional("priority", self.priority.as_ref())?.unwrap_or(Priority::Live),
                volume: match self.volume {
                    None => None,
                    Some(percent) => {
                        let fits = u8::try_from(percent).ok().filter(|percent| (1..=100).contains(percent));
                        Some(fits.ok_or_else(|| bad_field("volume", "1 to 100 percent"))?)
                    }
                },
            },
            CommandKind::Stop => Instruction::Stop(optional("stops", self.stops.as_ref())?),
            CommandKind::View => Instruction::View(optional("camera", self.camera.as_ref())?),
            CommandKind::Test => Instruction::Test,
            CommandKind::AllClear => Instruction::AllClear(text),
            CommandKind::Notice => return Err(bad_field("kind", "a notice is for an area: /v1/notices")),
        })
    }

    fn content(&self, text: Text) -> Result<Content, ApiError> {
        match (&self.text, &self.clip, &self.body) {
            (Some(_), None, None) => Ok(Content::Text(text)),
            (None, Some(clip), None) => parsed("clip", clip).map(Content::Clip),
            (None, None, Some(body)) => {
                let media = optional("media", self.media.as_ref())?.unwrap_or(Media::Opus);
                parsed("body", body).map(|body| Content::Body(body, media))
            }
            _ => Err(bad_field("text", "a broadcast has a text, a clip or a body: one of them")),
        }
    }
}

async fn command(
    State(seat): State<Seat>,
    Path(code): Path<String>,
    Json(body): Json<CommandBody>,
) -> Result<Response, ApiError> {
    let school: SchoolId = parsed("school", &code)?;
    let zones = body.zones.iter().map(|zone| parsed::<Name>("zones", zone)).collect::<Result<_, _>>()?;
    let draft = Draft {
        id: optional::<CommandId>("command_id", body.command_id.as_ref())?,
        target: Target::School(school),
        instruction: body.instruction()?,
        officer: parsed("officer", &body.officer)?,
        reason: Text::new(&body.reason).map_err(|why| bad_field("reason", &why))?,
        ttl: Span::from_secs(body.ttl_seconds.unwrap_or(TTL_SECONDS)),
        case: optional::<EventId>("case", body.case.as_ref())?,
        zones,
        device: optional("device", body.device.as_ref())?,
    };
    Ok(answer(seat.command(draft).await.map_err(not_given)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoticeBody {
    area: String,
    action: Option<String>,
    text: String,
    officer: String,
    #[serde(default)]
    reason: String,
    ttl_seconds: Option<u64>,
    command_id: Option<String>,
}

async fn notice(State(seat): State<Seat>, Json(body): Json<NoticeBody>) -> Result<Response, ApiError> {
    let action = optional("action", body.action.as_ref())?.unwrap_or(NoticeAction::Information);
    let text = Text::new(&body.text).map_err(|why| bad_field("text", &why))?;
    let draft = Draft {
        id: optional::<CommandId>("command_id", body.command_id.as_ref())?,
        target: Target::Area(parsed::<AreaPrefix>("area", &body.area)?),
        instruction: Instruction::Notice(action, text),
        officer: parsed("officer", &body.officer)?,
        reason: Text::new(&body.reason).map_err(|why| bad_field("reason", &why))?,
        ttl: Span::from_secs(body.ttl_seconds.unwrap_or(NOTICE_TTL_SECONDS)),
        case: None,
        zones: Vec::new(),
        device: None,
    };
    Ok(answer(seat.command(draft).await.map_err(not_given)?))
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn not_given(error: NotGiven) -> ApiError {
    match error {
        NotGiven::NoSigner => ApiError::new(StatusCode::CONFLICT, "no_signing_key", error.to_string()),
        NotGiven::Command(_) => ApiError::invalid("bad_field", error.to_string()),
        NotGiven::Signature(_) => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "not_signed", error.to_string()),
        NotGiven::Stopped(stopped) => stopped.into(),
    }
}

fn answer(commanded: Commanded) -> Response {
    match commanded {
        Ok(state) => (StatusCode::ACCEPTED, axum::Json(CommandJson::new(&state))).into_response(),
        Err(failure) => failed(&failure).into_response(),
    }
}

fn failed(failure: &CommandFailure) -> Response {
    let (status, code, id) = match failure {
        CommandFailure::Refused { id, why: CommandRefusal::NoQuorum } => {
            (StatusCode::SERVICE_UNAVAILABLE, "no_quorum", Some(id))
        }
        CommandFailure::Refused { id, why: CommandRefusal::NoSchool } => (StatusCode::NOT_FOUND, "no_school", Some(id)),
        CommandFailure::Refused { id, why } => (StatusCode::CONFLICT, why.as_str(), Some(id)),
        CommandFailure::NotConfirmed(id) => (StatusCode::GATEWAY_TIMEOUT, "not_confirmed", Some(id)),
        CommandFailure::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy", None),
    };
    let mut body = serde_json::json!({ "error": { "code": code, "message": failure.to_string() } });
    if let Some(id) = id {
        body["command_id"] = id.to_string().into();
    }
    (status, axum::Json(body)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    limit: Option<usize>,
}

async fn list(State(seat): State<Seat>, Query(query): Query<ListQuery>) -> Result<Response, ApiError> {
    let states = seat.commands(query.limit.unwrap_or(limits::COMMANDS_TOLD)).await?;
    let commands: Vec<CommandJson> = states.iter().map(CommandJson::new).collect();
    Ok(Json(serde_json::json!({ "commands": commands })).into_response())
}

async fn one(State(seat): State<Seat>, Path(id): Path<String>) -> Result<Json<CommandJson>, ApiError> {
    let id = command_id(&id)?;
    let state = seat.command_of(id).await?;
    state.map(|state| Json(CommandJson::new(&state))).ok_or_else(|| unknown(id))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchoolsQuery {
    after: Option<String>,
}

/// The schools of a notice, each with its stage, page by page.
async fn schools(
    State(seat): State<Seat>,
    Path(id): Path<String>,
    Query(query): Query<SchoolsQuery>,
) -> Result<Response, ApiError> {
    let id = command_id(&id)?;
    let after = optional::<SchoolId>("after", query.after.as_ref())?;
    Ok(match seat.schools(id, after).await? {
        Ok((schools, total)) => {
            let next = schools.last().filter(|_| schools.len() >= limits::NOTICE_PAGE);
            let next = next.map(|last| last.school.to_string());
            let schools: Vec<SchoolStageJson> = schools.iter().map(SchoolStageJson::new).collect();
            let body = serde_json::json!({ "id": id.to_string(), "schools": schools, "total": total, "next": next });
            Json(body).into_response()
        }
        Err(failure) => failed(&failure),
    })
}

fn command_id(text: &str) -> Result<CommandId, ApiError> {
    text.parse().map_err(|_| ApiError::bad_request("bad_id", "a command's id is a UUID, as the answer to it gave it"))
}

fn unknown(id: CommandId) -> ApiError {
    ApiError::not_found("unknown_command", format!("command {id} is not one that this station knows of"))
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(field: &str, text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|why| bad_field(field, &why))
}

fn optional<T: std::str::FromStr<Err: std::fmt::Display>>(
    field: &str,
    text: Option<&String>,
) -> Result<Option<T>, ApiError> {
    text.map(|text| parsed(field, text)).transpose()
}

fn bad_field(field: &str, why: &(impl std::fmt::Display + ?Sized)) -> ApiError {
    ApiError::invalid("bad_field", format!("{field}: {why}"))
}
