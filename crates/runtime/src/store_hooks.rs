//! What a store does, as metrics, a health check and a line of the status page.

use huxiao_store::{Health, Observation, State};
use serde::Serialize;

use crate::health::Check;
use crate::metric::{self, Counter, Gauge, Histogram};

/// The words of the states, as the metric's label has them.
const STATES: [&str; 4] = ["ready", "low", "full", "poisoned"];

/// Turns one observation into metrics and, where people should know, a log line.
pub fn observe(observation: &Observation) {
    match observation {
        Observation::Synced { took, .. } => metric::observe(Histogram::StoreFsync, &[], took.as_secs_f64()),
        Observation::Lost(_) => metric::increment(Counter::StoreLost, &[]),
        Observation::Shed(class) => tracing::warn!(%class, "not written: the disk is nearly full"),
        Observation::DiskFull(class) => {
            tracing::error!(%class, "not written: the disk is full and the ballast is used up");
        }
        Observation::Ballast(false) => tracing::warn!("the disk is full: the ballast was given up"),
        Observation::Ballast(true) => tracing::info!("the ballast is in place"),
        Observation::Poisoned { why } => tracing::error!(%why, "the store writes nothing more"),
        Observation::DamagedRow { key, why } => tracing::error!(%key, why, "a row is damaged"),
        Observation::TrialUnavailable { why } => {
            tracing::warn!(%why, "the store was tried in this process, since no other could be started");
        }
    }
}

/// Brings the gauges and the check up to date.
pub fn show(check: &Check, health: &Health) {
    metric::set(Gauge::StoreBytes, &[], approximate(health.bytes));
    metric::set(Gauge::StoreFreeBytes, &[], approximate(health.free_bytes));
    let current = state_word(&health.state);
    for state in STATES {
        metric::set(Gauge::StoreState, &[state], f64::from(u8::from(state == current)));
    }
    match &health.state {
        State::Ready => check.ok(format!("ready, {} waiting", health.waiting)),
        State::Low => check.degraded("the disk is nearly full: only P0 is written"),
        State::Full => check.degraded("the disk is full: alarms are sent but not kept here"),
        State::Poisoned { why } => check.failed(format!("failed: {why}")),
    }
}

/// A store on the status page.
#[derive(Debug, Clone, Serialize)]
pub struct StoreJson {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    bytes: u64,
    free_bytes: u64,
    ballast: bool,
    last_sync_seconds: f64,
    commit: u64,
}

impl StoreJson {
    /// As it is.
    #[must_use]
    pub fn new(health: &Health) -> Self {
        let why = match &health.state {
            State::Poisoned { why } => Some(why.clone()),
            State::Ready | State::Low | State::Full => None,
        };
        Self {
            state: state_word(&health.state),
            why,
            bytes: health.bytes,
            free_bytes: health.free_bytes,
            ballast: health.ballast,
            last_sync_seconds: health.last_sync.as_secs_f64(),
            commit: health.commit,
        }
    }
}

fn state_word(state: &State) -> &'static str {
    match state {
        State::Ready => STATES[0],
        State::Low => STATES[1],
        State::Full => STATES[2],
        State::Poisoned { .. } => STATES[3],
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge of bytes needs no more than 53 bits")]
fn approximate(bytes: u64) -> f64 {
    bytes as f64
}
