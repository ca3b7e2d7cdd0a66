//! Health as named checks with a state in words, and the endpoints that machines and people read it from.
//!
//! Invariant: machines need the status code alone, 200 or 503. A check that is degraded still counts as passed: a node that
//! carries alarms must not be taken out of service for carrying them with less comfort.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{RawQuery, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use crate::metric::{self, Exposition, Gauge};
use crate::shutdown::Shutdown;

/// What a failed check means for the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relevance {
    /// It must be restarted, and is not ready: `/livez` and `/readyz` fail.
    Live,
    /// It is not ready: `/readyz` fails.
    Ready,
    /// People should know; no endpoint fails.
    Told,
}

/// The state of one check, with words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Ok(String),
    /// Works with less than it should have. Passes.
    Degraded(String),
    /// Does not work.
    Failed(String),
}

/// All checks of a node. Cheap to clone; clones see the same.
#[derive(Debug, Clone)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<&'static str, (Relevance, State)>>>,
    shutdown: Shutdown,
}

/// The writing end of one check.
#[derive(Debug, Clone)]
pub struct Check {
    name: &'static str,
    health: Health,
}

/// What `/version` says.
#[derive(Debug, Clone, Serialize)]
pub struct Version {
    /// The program's version.
    pub version: &'static str,
    /// The commit that it was built from, or `unknown`.
    pub commit: &'static str,
    /// The role that it runs.
    pub role: &'static str,
    /// The wire protocol, as `huxiao.v1`.
    pub protocol: &'static str,
}

/// One check as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Its name.
    pub name: &'static str,
    /// What its failing means.
    pub relevance: Relevance,
    /// Its state.
    pub state: State,
}

impl Health {
    /// No checks yet but the one that fails readiness once `shutdown` is asked for.
    #[must_use]
    pub fn new(shutdown: Shutdown) -> Self {
        Self { checks: Arc::default(), shutdown }
    }

    /// Adds a check, failed until it says otherwise. A second one of the same name takes the place of the first.
    #[must_use]
    pub fn check(&self, name: &'static str, relevance: Relevance) -> Check {
        self.lock().insert(name, (relevance, State::Failed("not started yet".into())));
        Check { name, health: self.clone() }
    }

    /// All checks by name; the shutdown is the last.
    #[must_use]
    pub fn readings(&self) -> Vec<Reading> {
        let read = |(name, (relevance, state)): (&&'static str, &(Relevance, State))| Reading {
            name,
            relevance: *relevance,
            state: state.clone(),
        };
        let mut readings: Vec<_> = self.lock().iter().map(read).collect();
        let state = if self.shutdown.requested() {
            State::Failed("the node is draining".into())
        } else {
            State::Ok("not asked to stop".into())
        };
        readings.push(Reading { name: "shutdown", relevance: Relevance::Ready, state });
        readings
    }

    /// Whether nothing that [`Relevance::Live`] marks has failed.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.readings().iter().all(|reading| !reading.fails(Endpoint::Live))
    }

    /// Whether nothing that readiness needs has failed.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readings().iter().all(|reading| !reading.fails(Endpoint::Ready))
    }

    /// `/livez`, `/readyz`, `/healthz` (as `/readyz`), `/metrics` and `/version`.
    ///
    /// The three health endpoints take `?verbose` (list every check; done by itself on 503) and `?exclude=NAME` (as often as
    /// wanted).
    pub fn router(&self, exposition: Exposition, version: Version) -> Router {
        metric::set(Gauge::BuildInfo, &[version.version, version.commit], 1.0);
        Router::new()
            .route("/livez", get(livez))
            .route("/readyz", get(readyz))
            .route("/healthz", get(readyz))
            .route("/metrics", get(metrics))
            .route("/version", get(version_of))
            .with_state(Served { health: self.clone(), exposition, version })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, (Relevance, State)>> {
        self.checks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Check {
    /// As it should be.
    pub fn ok(&self, words: impl Into<String>) {
        self.set(State::Ok(words.into()));
    }

    /// Works with less than it should have.
    pub fn degraded(&self, words: impl Into<String>) {
        self.set(State::Degraded(words.into()));
    }

    /// Does not work.
    pub fn failed(&self, words: impl Into<String>) {
        self.set(State::Failed(words.into()));
    }

    /// Any state.
    pub fn set(&self, state: State) {
        if let Some((_, held)) = self.health.lock().get_mut(self.name) {
            *held = state;
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Endpoint {
    Live,
    Ready,
}

impl Reading {
    fn fails(&self, endpoint: Endpoint) -> bool {
        let counts = match endpoint {
            Endpoint::Live => self.relevance == Relevance::Live,
            Endpoint::Ready => self.relevance != Relevance::Told,
        };
        counts && matches!(self.state, State::Failed(_))
    }

    fn line(&self) -> String {
        match &self.state {
            State::Ok(words) => format!("[+] {} ok: {words}\n", self.name),
            State::Degraded(words) => format!("[~] {} degraded: {words}\n", self.name),
            State::Failed(words) => format!("[-] {} failed: {words}\n", self.name),
        }
    }
}

#[derive(Clone)]
struct Served {
    health: Health,
    exposition: Exposition,
    version: Version,
}

async fn livez(Shared(served): Shared<Served>, RawQuery(query): RawQuery) -> Response {
    answer(&served.health, Endpoint::Live, &query.unwrap_or_default())
}

async fn readyz(Shared(served): Shared<Served>, RawQuery(query): RawQuery) -> Response {
    answer(&served.health, Endpoint::Ready, &query.unwrap_or_default())
}

async fn metrics(Shared(served): Shared<Served>) -> Response {
    ([(header::CONTENT_TYPE, Exposition::CONTENT_TYPE)], served.exposition.render()).into_response()
}

async fn version_of(Shared(served): Shared<Served>) -> Response {
    axum::Json(served.version).into_response()
}

fn answer(health: &Health, endpoint: Endpoint, query: &str) -> Response {
    let words: Vec<_> = query.split('&').collect();
    let verbose = words.iter().any(|word| word.split('=').next() == Some("verbose"));
    let excluded: Vec<_> = words.iter().filter_map(|word| word.strip_prefix("exclude=")).collect();
    let readings = health.readings();
    let passed = !readings.iter().any(|reading| reading.fails(endpoint) && !excluded.contains(&reading.name));
    let mut body = String::new();
    if verbose || !passed {
        for reading in &readings {
            if excluded.contains(&reading.name) {
                body.push_str("[ ] excluded: ");
            }
            body.push_str(&reading.line());
        }
        for name in excluded.iter().filter(|name| !readings.iter().any(|reading| reading.name == **name)) {
            // What was asked is echoed cut and without anything that a terminal would obey.
            let name: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
            body.push_str(&format!("[?] there is no check named {name}\n"));
        }
    }
    body.push_str(if passed { "ok\n" } else { "failed\n" });
    let status = if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], body).into_response()
}

#[cfg(test)]
mod tests;
