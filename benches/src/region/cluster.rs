//! What the nodes of a region say of it.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::BenchError;
use crate::http::Connection;
use crate::lab::Lab;

/// How long the region may take to be sound.
const PATIENCE: Duration = Duration::from_secs(60);

/// `GET /v1/cluster` of the node at `base`. Nothing if it does not answer.
pub(super) fn status(base: &str) -> Option<Value> {
    Connection::open(base).and_then(|mut to| to.get("/v1/cluster")).ok()
}

/// Which of the nodes leads, if one says so of itself.
pub(super) fn leader(lab: &Lab) -> Option<usize> {
    lab.brokers().iter().position(|base| status(base).is_some_and(|status| status["state"] == "leader"))
}

/// Waits until every node knows a leader and none is degraded.
///
/// # Errors
/// It takes too long.
pub(super) fn await_sound(lab: &Lab) -> Result<(), BenchError> {
    await_all(lab, "a sound region", |status| status["leader"].is_string() && status["degraded"].is_null())
}

/// Waits until `is` holds for what every node says.
///
/// # Errors
/// It takes too long.
pub(super) fn await_all(lab: &Lab, what: &str, is: impl Fn(&Value) -> bool) -> Result<(), BenchError> {
    let began = Instant::now();
    while !lab.brokers().iter().all(|base| status(base).is_some_and(|status| is(&status))) {
        if began.elapsed() > PATIENCE {
            let all: Vec<_> = lab.brokers().iter().map(|base| status(base)).collect();
            let what = format!("{what}; the nodes say {}", Value::from_iter(all.into_iter().map(Value::from)));
            return Err(BenchError::Late { what, seconds: PATIENCE.as_secs() });
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The last entry that took effect at the node.
pub(super) fn applied(base: &str) -> u64 {
    status(base).and_then(|status| status["applied"].as_u64()).unwrap_or(0)
}
