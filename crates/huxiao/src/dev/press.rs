//! Raises alarms one after the other and measures how long each stage took, by the receipts and one clock.
//!
//! Invariant: an alarm counts as having made the whole way only when the relay's lamp has been told that an officer has it.

use std::time::Duration;

use huxiao_core::{Stage, WallTime};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::time_format::{parse_rfc3339, seconds};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::exit::Failure;
use crate::http::{Client, Endpoint, EventStream};

/// How long one alarm may take for the whole way.
const WHOLE_WAY: Duration = Duration::from_secs(15);

/// What is measured, in the order of the way.
pub(super) const MEASURED: [&str; 7] =
    ["kept", "sent", "stored", "delivered", "displayed", "acknowledged", "lamp told"];

/// How far one alarm came, and when, in milliseconds after the press.
#[derive(Debug, Clone)]
pub(super) struct Journey {
    pub(super) id: String,
    pub(super) school: String,
    pub(super) took_ms: Vec<(&'static str, f64)>,
}

impl Journey {
    /// The stages that it did not reach.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        MEASURED.into_iter().filter(|name| !self.took_ms.iter().any(|(have, _)| have == name)).collect()
    }
}

/// A relay as `dev` uses it: presses there, and what the relay says of them.
pub(super) struct Gate {
    school: String,
    client: Client,
    stream: EventStream,
    clock: Clock,
    /// Presses so far: each is one of its own, however quickly it follows the one before.
    presses: u64,
}

impl Gate {
    /// Opens the stream of the relay at `endpoint`.
    pub(super) async fn open(school: &str, endpoint: &Endpoint, clock: Clock) -> Result<Self, Failure> {
        let client = Client::new(endpoint.clone());
        let stream = client.stream("/v1/events/stream", None).await.map_err(Failure::failed)?;
        Ok(Self { school: school.to_owned(), client, stream, clock, presses: 0 })
    }

    /// The school that it stands at.
    pub(super) fn school(&self) -> &str {
        &self.school
    }

    /// Presses, and follows the alarm until an officer has it or the time is up. `tell` hears of each stage as it comes.
    pub(super) async fn press(&mut self, mut tell: impl FnMut(&'static str, f64)) -> Result<Journey, Failure> {
        self.presses += 1;
        let note = format!("huxiao dev, press {}", self.presses);
        let body = json!({ "kind": "panic", "device": "button-1", "zone": "gate", "note": note });
        let answer = self.client.post("/v1/events", &[], Some(&body)).await.map_err(Failure::failed)?;
        let answer = answer.json().map_err(Failure::failed)?;
        let id = answer["id"].as_str().unwrap_or_default().to_owned();
        let mut journey = Journey { id, school: self.school.clone(), took_ms: Vec::new() };
        // A time-out is no failure of this command: what is missing is said at the end.
        let _ = timeout(WHOLE_WAY, self.follow(&mut journey, &mut tell)).await;
        Ok(journey)
    }

    async fn follow(&mut self, journey: &mut Journey, tell: &mut impl FnMut(&'static str, f64)) -> Result<(), Failure> {
        loop {
            let message = self.stream.next().await.map_err(Failure::failed)?;
            let heard = self.clock.wall();
            let Ok(event) = serde_json::from_str::<Value>(&message.data) else { continue };
            if event["id"].as_str() != Some(&journey.id) {
                continue;
            }
            let Some(raised) = time(&event["raised_at"]) else { continue };
            for stage in Stage::ALL {
                if let Some(at) = time(&event["stages"][stage.as_str()]) {
                    note(journey, tell, stage.as_str(), seconds(at, raised));
                }
            }
            if event["lamp"] == "acknowledged" {
                note(journey, tell, "lamp told", seconds(heard, raised));
                return Ok(());
            }
        }
    }
}

fn note(journey: &mut Journey, tell: &mut impl FnMut(&'static str, f64), name: &str, took: f64) {
    let Some(name) = MEASURED.into_iter().find(|measured| *measured == name) else { return };
    if !journey.took_ms.iter().any(|(have, _)| *have == name) {
        journey.took_ms.push((name, took * 1e3));
        tell(name, took * 1e3);
    }
}

fn time(value: &Value) -> Option<WallTime> {
    value.as_str().and_then(|text| parse_rfc3339(text).ok())
}

/// An officer who shows every alarm of a station at once and takes it after a moment of thought, until the node goes away.
pub(super) async fn officer(endpoint: Endpoint, thinks: Duration) {
    let mut client = Client::new(endpoint);
    let mut last = "0".to_owned();
    loop {
        let Ok(mut stream) = client.stream("/v1/events", Some(&last)).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        while let Ok(message) = stream.next().await {
            last = message.id.clone().unwrap_or(last);
            if message.event != "alarm" {
                continue;
            }
            let Ok(event) = serde_json::from_str::<Value>(&message.data) else { continue };
            if !event["acknowledged_by"].is_null() {
                continue;
            }
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            let body = json!({ "officer": "014", "note": "huxiao dev" });
            let shown = client.post(&format!("/v1/events/{id}/displayed"), &[], None).await;
            tokio::time::sleep(thinks).await;
            let taken = client.post(&format!("/v1/events/{id}/ack"), &[], Some(&body)).await;
            for error in [shown.err(), taken.err()].into_iter().flatten() {
                tracing::warn!(alarm_id = %id, %error, "the officer of dev could not answer");
            }
        }
    }
}
