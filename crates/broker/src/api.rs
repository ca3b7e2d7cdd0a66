//! The node's HTTP API, for operators: how it is, and what the record holds of an event.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use huxiao_core::EventId;
use huxiao_core::broker::Broker;
use huxiao_core::record::Entry;
use huxiao_runtime::drive::Handle;
use huxiao_runtime::event_json::{EventFields, LapJson, ReceiptJson, StepJson, stages_on_the_way, timeline};
use huxiao_runtime::http::{ApiError, Json};
use serde::Serialize;

use crate::status::{Context, StatusJson};

#[derive(Clone)]
struct Api {
    handle: Handle<Broker>,
    context: Arc<Context>,
}

/// The node's routes.
pub(crate) fn router(handle: Handle<Broker>, context: Context) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/events/{id}", get(one))
        .with_state(Api { handle, context: Arc::new(context) })
}

#[derive(Serialize)]
struct EntryJson {
    #[serde(flatten)]
    event: EventFields,
    index: u64,
    stations: Vec<String>,
    stages: BTreeMap<&'static str, String>,
    acknowledged_by: Option<ReceiptJson>,
    trail: Vec<StepJson>,
    receipts: Vec<ReceiptJson>,
    timeline: Vec<LapJson>,
}

impl EntryJson {
    fn new(entry: &Entry) -> Self {
        let (event, receipts) = (&entry.admission.sealed.event, entry.receipts());
        Self {
            event: EventFields::new(event),
            index: entry.index,
            stations: entry.admission.stations.iter().map(ToString::to_string).collect(),
            trail: entry.admission.trail.steps().iter().map(StepJson::new).collect(),
            stages: stages_on_the_way(&receipts, &entry.admission.trail),
            acknowledged_by: entry.owner().map(ReceiptJson::new),
            timeline: timeline(event, &entry.admission.trail, &receipts),
            receipts: receipts.iter().map(ReceiptJson::new).collect(),
        }
    }
}

async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<EntryJson>, ApiError> {
    let id: EventId = id.parse().map_err(|_| ApiError::bad_request("bad_id", "an event's id is a UUID"))?;
    let entry = api.handle.inspect(move |broker| broker.record().get(&id).map(EntryJson::new)).await?;
    entry.map(Json).ok_or_else(|| ApiError::not_found("unknown_event", format!("event {id} is not in the record")))
}

async fn status(State(api): State<Api>) -> Result<Json<StatusJson>, ApiError> {
    StatusJson::read(&api.handle, &api.context).await.map(Json)
}
