//! The person warnings that come to a station's screen.
//!
//! Invariant: an event counts once, however often the screen is told of it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::Value;

use crate::error::{BenchError, Trying};
use crate::sse::Stream;

/// The events so far: for each how many warnings it stands for.
type Told = BTreeMap<String, u64>;

/// A screen that is followed until its station ends.
pub(super) struct Screen(Arc<Mutex<Told>>);

impl Screen {
    /// Follows the station at `base`.
    ///
    /// # Errors
    /// It gives no stream.
    pub(super) fn open(base: &str) -> Result<Self, BenchError> {
        let mut stream = Stream::open(base, "/v1/events")?;
        while stream.next()?.name != "live" {}
        let told: Arc<Mutex<Told>> = Arc::default();
        let shared = told.clone();
        let work = move || {
            while let Ok(message) = stream.next() {
                if message.name == "alarm" {
                    let data = serde_json::from_str(&message.data).unwrap_or_default();
                    take(&mut shared.lock().unwrap_or_else(PoisonError::into_inner), &data);
                }
            }
        };
        thread::Builder::new().name("screen".into()).spawn(work).trying("start a thread")?;
        Ok(Self(told))
    }

    /// How many events came, and for how many warnings they stand.
    pub(super) fn told(&self) -> (u64, u64) {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (told.len() as u64, told.values().sum())
    }
}

fn take(told: &mut Told, alarm: &Value) {
    if let (Some(id), true) = (alarm["id"].as_str(), alarm["kind"] == "person") {
        told.insert(id.to_owned(), alarm["count"].as_u64().unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_warnings_count_and_each_event_once() {
        let mut told = Told::new();
        take(&mut told, &json!({ "id": "a", "kind": "person", "count": 1 }));
        take(&mut told, &json!({ "id": "b", "kind": "person", "count": 40 }));
        take(&mut told, &json!({ "id": "b", "kind": "person", "count": 40 }));
        take(&mut told, &json!({ "id": "c", "kind": "panic", "count": 1 }));
        assert_eq!((told.len(), told.values().sum::<u64>()), (2, 41));
    }
}
