//! The cases of the region over the node's API: one with its history, and all of them, page by page, for an export.
//!
//! What is listed: first what the record holds, by id, then the archive, by number. An event that leaves the record meanwhile is then met in the
//! archive, so none is left out; one that was met before it left is met twice, and whoever lists knows it by its id.
//!
//! Invariant: a page costs a bounded look at the record, and reads the archive on a thread of its own.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::get;
use huxiao_core::broker::Broker;
use huxiao_core::record::Entry;
use huxiao_core::{EventId, WallTime};
use huxiao_runtime::case_json::{CaseJson, StepJson, hex};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::http::{ApiError, Json, Query};
use huxiao_runtime::time_format::{parse_rfc3339, rfc3339};
use serde::{Deserialize, Serialize};

use crate::archive::{Archive, ArchiveError};

/// Steps of one page at most.
const STEPS: usize = 1_000;
/// Cases of one page at most.
const CASES: usize = 1_000;
/// Events of the record that are looked at for one page.
const LOOK: usize = 4_096;
/// Rows of the archive that are read for one page, and their bytes.
const ROWS: usize = 512;
const ROW_BYTES: usize = 4 << 20;

#[derive(Clone)]
struct Api {
    handle: Handle<Broker>,
    archive: Archive,
}

/// The routes of cases.
pub(crate) fn router(handle: Handle<Broker>, archive: Archive) -> Router {
    Router::new()
        .route("/v1/events/{id}/case", get(one))
        .route("/v1/cases", get(list))
        .with_state(Api { handle, archive })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsQuery {
    #[serde(default)]
    after: u64,
    limit: Option<usize>,
}

/// A case with a page of its steps.
#[derive(Serialize)]
struct HistoryJson {
    id: String,
    /// The event as its relay encoded it: what the first step's digest begins with.
    event: String,
    admitted_at: String,
    case: Option<CaseJson>,
    steps: Vec<StepJson>,
    /// The number after which the next page begins; nothing if this is the last.
    next: Option<u64>,
}

async fn one(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(query): Query<StepsQuery>,
) -> Result<Json<HistoryJson>, ApiError> {
    let id: EventId = id.parse().map_err(|_| ApiError::bad_request("bad_id", "an event's id is a UUID"))?;
    let entry = api.handle.inspect(move |broker| broker.record().shared(&id)).await?;
    let entry = match entry {
        Some(entry) => Some(entry),
        None => read(&api.archive, move |archive| archive.whole(id)).await?.map(Arc::new),
    };
    let unknown = || ApiError::not_found("unknown_event", format!("event {id} is not in the record"));
    let entry = entry.ok_or_else(unknown)?;
    let limit = query.limit.unwrap_or(STEPS).clamp(1, STEPS);
    let history = &entry.case.history;
    let skip = usize::try_from(query.after).unwrap_or(usize::MAX);
    let steps: Vec<StepJson> = history.steps().skip(skip).take(limit).map(StepJson::new).collect();
    let seen = query.after.saturating_add(u64::try_from(steps.len()).unwrap_or(u64::MAX));
    Ok(Json(HistoryJson {
        id: id.to_string(),
        event: hex(&entry.admission.sealed.bytes),
        admitted_at: rfc3339(entry.admission.at),
        case: entry.summary().as_ref().map(CaseJson::new),
        next: (seen < entry.case.steps()).then_some(seen),
        steps,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CasesQuery {
    cursor: Option<String>,
    limit: Option<usize>,
    since: Option<String>,
    until: Option<String>,
}

/// Events with a case of at least one step, and where the next page begins.
#[derive(Serialize)]
struct CasesJson {
    cases: Vec<String>,
    next: Option<String>,
}

/// Which admissions are wanted: from, and before.
#[derive(Clone, Copy)]
struct Times(WallTime, WallTime);

impl Times {
    fn of(query: &CasesQuery) -> Result<Self, ApiError> {
        let time = |name: &str, text: &Option<String>, or| match text {
            Some(text) => {
                parse_rfc3339(text).map_err(|why| ApiError::bad_request("bad_time", format!("{name}: {why}")))
            }
            None => Ok(WallTime(or)),
        };
        Ok(Self(time("since", &query.since, i64::MIN)?, time("until", &query.until, i64::MAX)?))
    }

    fn has(self, entry: &Entry) -> bool {
        self.0 <= entry.admission.at && entry.admission.at < self.1 && entry.case.steps() > 0
    }
}

/// Where a listing stands.
enum Cursor {
    Record(Option<EventId>),
    Archive(u64),
}

impl Cursor {
    fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        let Some(text) = text else { return Ok(Cursor::Record(None)) };
        let bad = || ApiError::bad_request("bad_cursor", "give the `next` of the page before");
        match text.split_once(':') {
            Some(("record", id)) => id.parse().map(|id| Cursor::Record(Some(id))).map_err(|_| bad()),
            Some(("archive", number)) => number.parse().map(Cursor::Archive).map_err(|_| bad()),
            _ => Err(bad()),
        }
    }
}

async fn list(State(api): State<Api>, Query(query): Query<CasesQuery>) -> Result<Json<CasesJson>, ApiError> {
    let times = Times::of(&query)?;
    let limit = query.limit.unwrap_or(CASES).clamp(1, CASES);
    let (cases, next) = match Cursor::parse(query.cursor.as_deref())? {
        Cursor::Record(after) => api.handle.inspect(move |broker| recorded(broker, after, limit, times)).await?,
        Cursor::Archive(after) => {
            read(&api.archive, move |archive| archived(archive, after, limit.min(ROWS), times)).await?
        }
    };
    Ok(Json(CasesJson { cases: cases.iter().map(ToString::to_string).collect(), next }))
}

type Page = (Vec<EventId>, Option<String>);

fn recorded(broker: &Broker, after: Option<EventId>, limit: usize, times: Times) -> Page {
    let (mut cases, mut looked, mut last) = (Vec::new(), 0, None);
    for entry in broker.record().entries_after(after) {
        if looked >= LOOK || cases.len() >= limit {
            return (cases, last.map(|id| format!("record:{id}")));
        }
        let id = entry.admission.sealed.event.id;
        looked += 1;
        last = Some(id);
        if times.has(entry) {
            cases.push(id);
        }
    }
    (cases, Some("archive:0".to_owned()))
}

fn archived(archive: &Archive, after: u64, limit: usize, times: Times) -> Result<Page, ArchiveError> {
    let rows = archive.range(after, limit, ROW_BYTES)?;
    let next = rows.last().map(|(number, ..)| format!("archive:{number}"));
    let entry = |(number, id, bytes): (u64, EventId, Vec<u8>)| archive.decoded(id, number, &bytes);
    let wanted = rows.into_iter().filter_map(entry).filter(|entry| entry.part.at == 0 && times.has(entry));
    Ok((wanted.map(|entry| entry.admission.sealed.event.id).collect(), next))
}

/// Reads the archive, on a thread of its own.
async fn read<T: Send + 'static>(
    archive: &Archive,
    look: impl FnOnce(&Archive) -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ApiError> {
    let archive = archive.clone();
    let found = tokio::task::spawn_blocking(move || look(&archive)).await;
    let found = found.map_err(|error| error.to_string()).and_then(|found| found.map_err(|error| error.to_string()));
    found.map_err(|error| ApiError::unavailable("archive", format!("the archive cannot be read: {error}")))
}
