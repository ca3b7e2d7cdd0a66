//! A region's alarms and silences from a broker node, page by page.
//!
//! Invariants: whatever answers there, the reading has an end; an event that cannot be read ends it with words.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use huxiao_core::limits;
use huxiao_core::report::{Alarm, SilenceWord};
use huxiao_core::{Kind, RelayId, SchoolId, WallTime};
use huxiao_runtime::time_format::rfc3339;
use serde_json::Value;

use super::read;
use crate::args::Global;
use crate::exit::Failure;
use crate::http::Client;

/// Events of one account: more than a region keeps.
const MOST: usize = limits::RECORD_EVENTS + limits::ARCHIVED_IDS + limits::ARCHIVED_IDS / 10;
/// Pages without an event in a row: more than a region can be asked for.
const MOST_EMPTY: usize = MOST / 512;
/// How often a page is asked for again that a node cannot give now.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// What a node gave.
pub(super) struct Fetched<T> {
    /// What was asked for.
    pub(super) all: Vec<T>,
    /// Events that it should have and did not give.
    pub(super) missing: u64,
}

/// All alarms that came to the region from `since` on and before `until`.
pub(super) async fn alarms(
    client: &mut Client,
    since: WallTime,
    until: WallTime,
    global: &Global,
) -> Result<Fetched<Alarm>, Failure> {
    let asked = format!("since={}&until={}&class=P0,P1", rfc3339(since), rfc3339(until));
    events(client, &asked, global, read::alarm).await
}

/// All that the region raised about silent schools from `since` on: what began within a time may end after it.
pub(super) async fn silences(
    client: &mut Client,
    since: WallTime,
    global: &Global,
) -> Result<Fetched<SilenceWord>, Failure> {
    let asked = format!("since={}&kind={},{}", rfc3339(since), Kind::Silent.as_str(), Kind::Back.as_str());
    events(client, &asked, global, read::silence).await
}

/// The relays of which the region tells now that they are silent.
pub(super) async fn silent_now(client: &mut Client, global: &Global) -> Result<BTreeSet<RelayId>, Failure> {
    let json = page(client, "/v1/supervision", global).await?;
    read::silent_now(&json).map_err(Failure::failed)
}

/// All events that are `asked` for, each as `read` reads it.
async fn events<T>(
    client: &mut Client,
    asked: &str,
    global: &Global,
    read: fn(&Value) -> Result<T, String>,
) -> Result<Fetched<T>, Failure> {
    let asked = format!("/v1/events?{asked}&limit={}", limits::EVENTS_PER_PAGE);
    let mut fetched = Fetched { all: Vec::new(), missing: 0 };
    let (mut after, mut empty) = (String::new(), 0);
    loop {
        let path = if after.is_empty() { asked.clone() } else { format!("{asked}&after={after}") };
        let page = page(client, &path, global).await?;
        let before = fetched.all.len();
        for event in page["events"].as_array().into_iter().flatten() {
            fetched.all.push(read(event).map_err(Failure::failed)?);
        }
        fetched.missing += page["missing"].as_u64().unwrap_or(0);
        let next = page["next"].as_str().unwrap_or_default();
        match page["more"].as_bool() {
            Some(false) => return Ok(fetched),
            Some(true) if !next.is_empty() && next != after => next.clone_into(&mut after),
            _ => return Err(Failure::failed("the node's answer is no page of events: is it a broker node?")),
        }
        empty = if fetched.all.len() == before { empty + 1 } else { 0 };
        if fetched.all.len() > MOST || empty > MOST_EMPTY {
            return Err(Failure::failed("the node gives more than a region keeps: ask for less time, or another node"));
        }
    }
}

/// The city of each school that the plan in force knows to be in one: its code and name.
pub(super) async fn cities(client: &mut Client) -> Result<BTreeMap<SchoolId, String>, Failure> {
    let json = client.get_json("/v1/plan/cities").await.map_err(Failure::failed)?;
    let mut cities = BTreeMap::new();
    for city in json["cities"].as_array().into_iter().flatten() {
        let text = |name: &str| city[name].as_str().unwrap_or_default();
        let name = format!("{} {}", text("code"), text("name")).trim().to_owned();
        let schools = city["schools"].as_array().into_iter().flatten().filter_map(Value::as_str);
        for school in schools {
            let school =
                school.parse().map_err(|why| Failure::failed(format!("the node's answer: {school:?}: {why}")))?;
            cities.insert(school, name.clone());
        }
    }
    Ok(cities)
}

/// One page. A node that is starting, or has not caught up, is asked again.
async fn page(client: &mut Client, path: &str, global: &Global) -> Result<Value, Failure> {
    let mut tries = 1;
    loop {
        match client.get_json(path).await {
            Ok(page) => return Ok(page),
            Err(error) if error.may_pass() && tries < TRIES => {
                global.say(&format!("{error}; trying again"));
                tokio::time::sleep(PAUSE).await;
                tries += 1;
            }
            Err(error) => return Err(Failure::failed(error)),
        }
    }
}
