//! Pictures over the local HTTP API: see them, look, and put audio in.
//!
//! Invariant: what comes in is checked completely before anything is done.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use huxiao_core::body::{BodyId, Media};
use huxiao_core::video::Look;
use huxiao_core::{EventId, Name, limits};
use huxiao_runtime::http::{ApiError, CONTENT_PATH, Json};
use serde::Deserialize;

use crate::seat::Seat;

/// The routes of pictures and audio.
pub(crate) fn router(seat: Seat) -> Router {
    Router::new()
        .route("/v1/events/{id}/pictures/{hash}", get(picture))
        .route("/v1/events/{id}/look", post(look))
        .route("/v1/events/{id}/view", post(view))
        .route(CONTENT_PATH, post(put))
        .route("/v1/bodies/{hash}", get(body))
        .with_state(seat)
}

async fn picture(State(seat): State<Seat>, Path((id, hash)): Path<(String, String)>) -> Result<Response, ApiError> {
    let (id, body) = (known(&seat, &id).await?, hash.parse::<BodyId>());
    let body = body.map_err(|why| ApiError::bad_request("bad_hash", why.to_string()))?;
    if !seat.gallery.shows(&id, &body) {
        return Err(ApiError::not_found("unknown_picture", format!("event {id} has no picture {body}")));
    }
    served(&seat, body).await
}

/// A picture or audio by its name, which only those know who were told of it: what a school answered to a command to view, for one.
async fn body(State(seat): State<Seat>, Path(hash): Path<String>) -> Result<Response, ApiError> {
    let body = hash.parse::<BodyId>().map_err(|why| ApiError::bad_request("bad_hash", why.to_string()))?;
    served(&seat, body).await
}

async fn served(seat: &Seat, body: BodyId) -> Result<Response, ApiError> {
    let content = seat.gallery.content(body).await?.ok_or_else(|| {
        let message = "it is not here, and no broker node that can be reached has it (yet)";
        ApiError::new(StatusCode::GATEWAY_TIMEOUT, "not_here", message.to_owned())
    })?;
    let media = Media::of(&content).map_or("application/octet-stream", Media::as_str);
    // Its name is its content: it never changes.
    let headers = [(header::CONTENT_TYPE, media), (header::CACHE_CONTROL, "private, max-age=31536000, immutable")];
    Ok((headers, Bytes::from_owner(content)).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LookBody {
    officer: String,
    #[serde(default)]
    camera: Option<String>,
}

impl LookBody {
    fn checked(&self) -> Result<(Name, Option<Name>), ApiError> {
        let name = |field: &str, text: &str| {
            Name::new(text).map_err(|why| ApiError::invalid("bad_field", format!("{field}: {why}")))
        };
        let camera = self.camera.as_deref().map(|camera| name("camera", camera)).transpose()?;
        Ok((name("officer", &self.officer)?, camera))
    }
}

/// An officer looks: the pictures come over the event stream, as long as this is said again within the lease.
async fn look(
    State(seat): State<Seat>,
    Path(id): Path<String>,
    Json(body): Json<LookBody>,
) -> Result<Response, ApiError> {
    let id = known(&seat, &id).await?;
    let (officer, camera) = body.checked()?;
    seat.gallery.look(&Look { event: id, camera, by: seat.me.clone(), officer });
    let lease = limits::LOOK_LEASE.as_secs();
    let (_, live) = seat.gallery.of(&id);
    Ok((StatusCode::ACCEPTED, axum::Json(serde_json::json!({ "id": id.to_string(), "lease_s": lease, "live": live })))
        .into_response())
}

/// An officer looks once, and is answered with what the cameras show now.
async fn view(
    State(seat): State<Seat>,
    Path(id): Path<String>,
    Json(body): Json<LookBody>,
) -> Result<Response, ApiError> {
    let id = known(&seat, &id).await?;
    let (officer, camera) = body.checked()?;
    let pictures = seat.gallery.view(&seat.bus, (seat.me.clone(), officer), id, camera).await?;
    if pictures.is_empty() {
        let message = "no picture has come: the school cannot be reached, has no camera, or its line carries none";
        return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, "no_picture", message.to_owned()));
    }
    Ok(axum::Json(serde_json::json!({ "id": id.to_string(), "pictures": pictures })).into_response())
}

/// Audio that is to be played at a school: kept here, and given to the region.
async fn put(State(seat): State<Seat>, content: Bytes) -> Result<Response, ApiError> {
    let (id, media) = seat.gallery.put(content.to_vec()).await.map_err(|why| ApiError::invalid("bad_body", why))?;
    let body = serde_json::json!({ "id": id.to_string(), "size": content.len(), "media": media });
    Ok((StatusCode::CREATED, axum::Json(body)).into_response())
}

/// The id of an event that the inbox holds.
async fn known(seat: &Seat, id: &str) -> Result<EventId, ApiError> {
    let id: EventId =
        id.parse().map_err(|_| ApiError::bad_request("bad_id", "an event's id is a UUID, as the alarm has it"))?;
    match seat.get(id).await? {
        Some(_) => Ok(id),
        None => Err(ApiError::not_found("unknown_event", format!("event {id} is not in this inbox"))),
    }
}
