//! `GET /v1/events`: all events of a region, those that have left the record too, a page at a time.
//!
//! What is looked at next is [`RecordState::page`](huxiao_core::record::RecordState::page)'s to say. Here it is done: the record is read
//! between two steps of the machine, a little at a time, and the archive on threads that may wait for a disk.
//!
//! Invariant: the work of one request has a bound, whatever it asks for; it ends with fewer events, or none, and with the place to go on from.

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use huxiao_core::broker::Broker;
use huxiao_core::record::{Cursor, CursorError, Entry, EventFilter, Page};
use huxiao_core::{Class, Mode, WallTime, limits};
use huxiao_runtime::drive::Handle;
use huxiao_runtime::http::{ApiError, Json, Query};
use huxiao_runtime::time_format::parse_rfc3339;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use crate::api::EntryJson;
use crate::archive::{Archive, Walk};

/// Events of one answer that are given where nothing is said.
const PAGE: usize = 100;
/// Events of the record that are looked at between two steps of the machine.
const LOOKS: usize = 512;
/// Times that the machine is asked for one answer.
const TURNS: usize = 40;
/// Requests that read the archive at once; others wait for their turn. The disk is the alarms' first of all.
const WALKERS: usize = 2;

#[derive(Clone)]
struct Api {
    handle: Handle<Broker>,
    archive: Archive,
    walkers: Arc<Semaphore>,
}

/// The route.
pub(crate) fn router(handle: Handle<Broker>, archive: Archive) -> Router {
    let walkers = Arc::new(Semaphore::new(WALKERS));
    Router::new().route("/v1/events", get(page)).with_state(Api { handle, archive, walkers })
}

/// What is asked for, as it stands in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    since: Option<String>,
    until: Option<String>,
    class: Option<String>,
    kind: Option<String>,
    school: Option<String>,
    mode: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// One page.
#[derive(Debug, Serialize)]
struct PageJson {
    events: Vec<EntryJson>,
    /// What to give as `after` for what follows.
    next: String,
    /// Whether there is more to look at now.
    more: bool,
    /// Archived events within the page that this node should have and has not.
    missing: u64,
}

impl Asked {
    fn filter(&self) -> Result<EventFilter, ApiError> {
        let class = |text: &str| Class::ALL.into_iter().find(|class| class.as_str() == text);
        let mode = |text: &str| [Mode::Live, Mode::Drill, Mode::Test].into_iter().find(|mode| mode.as_str() == text);
        Ok(EventFilter {
            since: time("since", self.since.as_deref())?,
            until: time("until", self.until.as_deref())?,
            classes: list("class", self.class.as_deref(), |text| {
                class(text).ok_or_else(|| format!("{text:?} is not a class; classes are P0 to P4"))
            })?,
            modes: list("mode", self.mode.as_deref(), |text| {
                mode(text).ok_or_else(|| format!("{text:?} is not a mode; modes are live, drill, test"))
            })?,
            kinds: list("kind", self.kind.as_deref(), parsed)?,
            schools: list("school", self.school.as_deref(), parsed)?,
        })
    }

    fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(PAGE) {
            limit @ 1..=limits::EVENTS_PER_PAGE => Ok(limit),
            other => Err(bad("limit", format!("{other}; give 1 to {}", limits::EVENTS_PER_PAGE))),
        }
    }
}

fn bad(name: &str, why: impl std::fmt::Display) -> ApiError {
    ApiError::invalid("bad_field", format!("{name}: {why}"))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<WallTime>, ApiError> {
    text.map(|text| parse_rfc3339(text).map_err(|error| bad(name, error))).transpose()
}

fn parsed<T: FromStr>(text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// A list of words with commas between them.
fn list<T>(name: &str, text: Option<&str>, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, ApiError> {
    let words: Vec<&str> = text.into_iter().flat_map(|text| text.split(',')).collect();
    if words.len() > limits::LIST_ITEMS {
        return Err(bad(name, format!("{} values; at most {} are taken", words.len(), limits::LIST_ITEMS)));
    }
    words.into_iter().map(|word| read(word).map_err(|why| bad(name, why))).collect()
}

fn refused(error: &CursorError) -> ApiError {
    match error {
        CursorError::Shape(_) => bad("after", error),
        CursorError::OtherRecord => ApiError::conflict("other_record", error.to_string()),
        CursorError::Behind => ApiError::unavailable("behind", error.to_string()),
    }
}

async fn page(State(api): State<Api>, Query(asked): Query<Asked>) -> Result<Json<PageJson>, ApiError> {
    let (filter, limit) = (Arc::new(asked.filter()?), asked.limit()?);
    let mut cursor: Cursor =
        asked.after.as_deref().map_or(Ok(Cursor::default()), str::parse).map_err(|error| refused(&error))?;
    let (mut found, mut missing, mut more): (Vec<Arc<Entry>>, u64, bool) = (Vec::new(), 0, true);
    let mut walked = false;
    for _ in 0..TURNS {
        let (wanted, room) = (filter.clone(), limit - found.len());
        let next = api.handle.inspect(move |broker| broker.record().page(cursor, &wanted, LOOKS, room)).await?;
        match next.map_err(|error| refused(&error))? {
            // Of the archive one walk is enough for one answer.
            Page::Archive { from, .. } if walked => {
                cursor = from;
                break;
            }
            Page::Archive { from, upto } => {
                let walk = api.walk(from, upto, filter.clone(), room).await?;
                walked = true;
                cursor = Cursor { archived: walk.upto, ..from };
                missing += walk.missing;
                found.extend(walk.found.into_iter().map(Arc::new));
            }
            Page::Record(slice) => {
                found.extend(slice.entries);
                (cursor, more) = (slice.next, slice.more);
            }
        }
        if !more || found.len() >= limit {
            break;
        }
    }
    let events = found.iter().map(|entry| EntryJson::new(entry)).collect();
    Ok(Json(PageJson { events, next: cursor.to_string(), more, missing }))
}

impl Api {
    async fn walk(&self, from: Cursor, upto: u64, filter: Arc<EventFilter>, limit: usize) -> Result<Walk, ApiError> {
        let unreadable =
            |why: String| ApiError::unavailable("archive", format!("the archive cannot be read now: {why}"));
        let _turn = self.walkers.acquire().await.map_err(|error| unreadable(error.to_string()))?;
        let archive = self.archive.clone();
        let walk = tokio::task::spawn_blocking(move || archive.walk(from, upto, &filter, limit)).await;
        walk.map_err(|error| unreadable(error.to_string()))?.map_err(|error| unreadable(error.to_string()))
    }
}

#[cfg(test)]
mod tests;
