//! What the plan says of this school, and its guard posts, over the local API.

use axum::extract::{Path, State};
use huxiao_core::duty::{PostView, Sensor};
use huxiao_core::plan::{DeviceKind, SchoolPart};
use huxiao_core::relay::{Input, Relay};
use huxiao_core::{Name, Text, Timestamp};
use huxiao_runtime::case_json::hex;
use huxiao_runtime::event_json::Words;
use huxiao_runtime::http::{ApiError, Json};
use huxiao_runtime::plan_json;
use huxiao_runtime::time_format::rfc3339;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::Api;

/// `GET /v1/plan`: what the region said last, also while it is away and after a restart.
pub(crate) async fn plan(State(api): State<Api>) -> Result<Json<Value>, ApiError> {
    let part = api.handle.inspect(|relay| relay.school_part().cloned()).await?;
    let Some(SchoolPart { mark, school }) = part else {
        let why = "no broker node has said what its plan says of this school: either none was reached yet, or no plan names it";
        return Err(ApiError::not_found("no_plan", why.to_owned()));
    };
    let record = mark.record.map(|record| hex(&record.0));
    let school = school.as_deref().map(plan_json::school);
    Ok(Json(json!({ "version": mark.version, "record": record, "school": school })))
}

#[derive(Debug, Serialize)]
struct CheckInJson {
    at: String,
    sensor: &'static str,
    person: Option<String>,
}

#[derive(Debug, Serialize)]
struct PostJson {
    post: String,
    place: Option<String>,
    /// `off`, `manned`, `due` or `absent`.
    state: &'static str,
    state_text: Words,
    last: Option<CheckInJson>,
    absent_since: Option<String>,
    /// The event that told of the absence.
    event: Option<String>,
}

/// `GET /v1/duty`.
#[derive(Debug, Serialize)]
pub(crate) struct DutyJson {
    /// Whether a guard must be there now.
    on_duty: bool,
    /// After how long an empty post is told.
    limit_seconds: Option<u16>,
    posts: Vec<PostJson>,
}

impl DutyJson {
    fn read(relay: &Relay, now: Timestamp) -> Self {
        let school = relay.school_part().and_then(|part| part.school.as_deref());
        let place = |post: &Name| {
            let devices = school.into_iter().flat_map(|school| &school.devices);
            let mut of = devices.filter(|device| device.kind == DeviceKind::GuardPost && device.id == *post);
            of.next().map(|device| device.place.to_string()).filter(|place| !place.is_empty())
        };
        let post = |view: PostView| PostJson {
            place: place(&view.post),
            post: view.post.to_string(),
            state: view.state.as_str(),
            state_text: view.state.words().into(),
            last: view.last.map(|last| CheckInJson {
                at: rfc3339(last.at),
                sensor: last.sensor.as_str(),
                person: Some(last.person.to_string()).filter(|person| !person.is_empty()),
            }),
            absent_since: view.absent.map(|(_, since)| rfc3339(since)),
            event: view.absent.map(|(event, _)| event.to_string()),
        };
        let duty = relay.duty();
        let limit_seconds = duty.running();
        let posts = duty.posts(now).map(post).collect();
        Self { on_duty: limit_seconds.is_some(), limit_seconds, posts }
    }
}

pub(crate) async fn duty(State(api): State<Api>) -> Result<Json<DutyJson>, ApiError> {
    let now = api.context.clock.timestamp();
    Ok(Json(api.handle.inspect(move |relay| DutyJson::read(relay, now)).await?))
}

/// The body of `POST /v1/duty/{post}/check-in`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CheckInBody {
    sensor: String,
    #[serde(default)]
    person: String,
}

pub(crate) async fn check_in(
    State(api): State<Api>,
    Path(post): Path<String>,
    Json(body): Json<CheckInBody>,
) -> Result<Json<Value>, ApiError> {
    let words = Sensor::ALL.map(Sensor::as_str).join(", ");
    let sensor = Sensor::known(&body.sensor)
        .ok_or_else(|| ApiError::invalid("bad_field", format!("sensor: it is one of {words}")))?;
    let person = Text::new(&body.person).map_err(|why| ApiError::invalid("bad_field", format!("person: {why}")))?;
    if person.as_str().len() > huxiao_core::limits::NAME_BYTES {
        let limit = huxiao_core::limits::NAME_BYTES;
        return Err(ApiError::invalid("bad_field", format!("person: at most {limit} bytes")));
    }
    let known = |relay: &Relay| -> Vec<String> {
        let posts = relay.duty().posts(Timestamp(0));
        posts.filter(|view| relay.duty().has(&view.post)).map(|view| view.post.to_string()).collect()
    };
    let posts = api.handle.inspect(known).await?;
    let name = Name::new(&post).ok().filter(|_| posts.contains(&post));
    let Some(post) = name else {
        let why = match posts.as_slice() {
            [] => "the school's plan has no guard post and no duty hours".to_owned(),
            posts => format!("the school's plan has no such guard post; it has {}", posts.join(", ")),
        };
        return Err(ApiError::not_found("unknown_post", why));
    };
    let answer = json!({ "post": post.as_str(), "sensor": sensor.as_str(), "checked_in": true });
    api.handle.input(Input::CheckIn { post, sensor, person }).await?;
    Ok(Json(answer))
}
