//! The node's HTTP API, for operators: how it is, and what the record, or its archive, holds of an event.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use huxiao_core::broker::Broker;
use huxiao_core::record::{Entry, Escalation};
use huxiao_core::{EventId, Overdue, StationId};
use huxiao_runtime::case_json::CaseJson;
use huxiao_runtime::drive::Handle;
use huxiao_runtime::event_json::{EventFields, LapJson, ReceiptJson, StepJson, assisting, stages_on_the_way, timeline};
use huxiao_runtime::http::{ApiError, Json};
use huxiao_runtime::time_format::rfc3339;
use serde::Serialize;

use crate::archive::Archive;
use crate::case_api;
use crate::command_api;
use crate::events_api;
use crate::status::{Context, StatusJson};

#[derive(Clone)]
struct Api {
    handle: Handle<Broker>,
    archive: Archive,
    context: Arc<Context>,
}

/// The node's routes.
pub(crate) fn router(handle: Handle<Broker>, archive: Archive, context: Context) -> Router {
    let events = events_api::router(handle.clone(), archive.clone());
    let cases = case_api::router(handle.clone(), archive.clone());
    let own = Router::new().route("/v1/status", get(status)).route("/v1/events/{id}", get(one));
    let commands = command_api::router(handle.clone());
    own.with_state(Api { handle, archive, context: Arc::new(context) }).merge(events).merge(cases).merge(commands)
}

/// One event, as `GET /v1/events/{id}` shows it.
#[derive(Debug, Serialize)]
pub(crate) struct EntryJson {
    #[serde(flatten)]
    event: EventFields,
    index: u64,
    stations: Vec<String>,
    stages: BTreeMap<&'static str, String>,
    acknowledged_by: Option<ReceiptJson>,
    assisting: Vec<ReceiptJson>,
    trail: Vec<StepJson>,
    receipts: Vec<ReceiptJson>,
    /// How stations were added to it.
    escalations: Vec<EscalationJson>,
    /// The stations that answer for it.
    owners: Vec<String>,
    /// The rungs that it reached because nobody took it.
    overdue: Vec<OverdueJson>,
    /// The stages that the province knows of; `stored` is the event itself.
    forwarded: Vec<&'static str>,
    /// That the region raised it for a trouble that began, and when that was over.
    trouble: Option<TroubleJson>,
    timeline: Vec<LapJson>,
    /// What the police do about it; nothing below P1.
    case: Option<CaseJson>,
}

#[derive(Debug, Serialize)]
struct TroubleJson {
    about: String,
    over: Option<String>,
}

#[derive(Debug, Serialize)]
struct EscalationJson {
    to: Vec<String>,
    by: String,
    officer: Option<String>,
    at: String,
    note: String,
}

#[derive(Debug, Serialize)]
struct OverdueJson {
    rung: &'static str,
    owners: Vec<String>,
    stations: Vec<String>,
    by: String,
    at: String,
}

impl OverdueJson {
    fn new(overdue: &Overdue) -> Self {
        let names = |stations: &[StationId]| stations.iter().map(ToString::to_string).collect();
        Self {
            rung: overdue.rung.as_str(),
            owners: names(&overdue.owners),
            stations: names(&overdue.stations),
            by: overdue.by.to_string(),
            at: rfc3339(overdue.at),
        }
    }
}

impl EscalationJson {
    fn new(escalation: &Escalation) -> Self {
        Self {
            to: escalation.stations.iter().map(ToString::to_string).collect(),
            by: escalation.by.to_string(),
            officer: escalation.officer.as_ref().map(ToString::to_string),
            at: rfc3339(escalation.at),
            note: escalation.note.as_str().to_owned(),
        }
    }
}

impl EntryJson {
    /// The members of `entry`.
    pub(crate) fn new(entry: &Entry) -> Self {
        let (event, receipts) = (&entry.admission.sealed.event, entry.receipts());
        Self {
            event: EventFields::new(event),
            index: entry.index,
            stations: entry.admission.stations.iter().map(ToString::to_string).collect(),
            trail: entry.admission.trail.steps().iter().map(StepJson::new).collect(),
            stages: stages_on_the_way(&receipts, &entry.admission.trail),
            acknowledged_by: entry.owner().map(ReceiptJson::new),
            assisting: assisting(&receipts),
            timeline: timeline(event, &entry.admission.trail, &receipts),
            receipts: receipts.iter().map(ReceiptJson::new).collect(),
            escalations: entry.escalations.iter().map(EscalationJson::new).collect(),
            owners: entry.owners().iter().map(ToString::to_string).collect(),
            overdue: entry.overdue.iter().map(OverdueJson::new).collect(),
            forwarded: entry.forwarded.iter().map(|stage| stage.as_str()).collect(),
            case: entry.summary().as_ref().map(CaseJson::new),
            trouble: entry
                .trouble
                .as_ref()
                .map(|trouble| TroubleJson { about: trouble.about.to_string(), over: trouble.over.map(rfc3339) }),
        }
    }
}

async fn one(State(api): State<Api>, Path(id): Path<String>) -> Result<Json<EntryJson>, ApiError> {
    let id: EventId = id.parse().map_err(|_| ApiError::bad_request("bad_id", "an event's id is a UUID"))?;
    let entry = api.handle.inspect(move |broker| broker.record().get(&id).map(EntryJson::new)).await?;
    let entry = match entry {
        Some(entry) => Some(entry),
        None => archived(&api.archive, id).await?,
    };
    entry.map(Json).ok_or_else(|| ApiError::not_found("unknown_event", format!("event {id} is not in the record")))
}

/// What the archive holds of an event that has left the record. Reads the disk.
async fn archived(archive: &Archive, id: EventId) -> Result<Option<EntryJson>, ApiError> {
    let archive = archive.clone();
    let found = tokio::task::spawn_blocking(move || archive.recall(&[id])).await;
    let found = found.map_err(|error| error.to_string()).and_then(|found| found.map_err(|error| error.to_string()));
    let found =
        found.map_err(|error| ApiError::unavailable("archive", format!("the archive cannot be read: {error}")))?;
    Ok(found.first().map(EntryJson::new))
}

async fn status(State(api): State<Api>) -> Result<Json<StatusJson>, ApiError> {
    StatusJson::read(&api.handle, &api.context).await.map(Json)
}
