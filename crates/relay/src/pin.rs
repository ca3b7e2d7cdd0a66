//! Who at the school may ask for an alarm to be cancelled: whoever knows its PIN.
//!
//! A request stays a request: an officer decides. A second PIN says "I am made to": it looks like the first, and raises a silent duress alarm instead.
//!
//! Invariant: PINs are judged one at a time, and guessing is slowed down ([`PinTries`]); neither PINs nor which of the two it was are in any log or answer.

use std::sync::Arc;

use axum::http::StatusCode;
use huxiao_core::event::taxonomy::DURESS_PIN;
use huxiao_core::relay::{PinTries, Press};
use huxiao_core::{Details, Kind, Mode, Text};
use huxiao_pki::pin::{PinHash, is_pin};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::Config;
use huxiao_runtime::http::ApiError;
use huxiao_runtime::metric::{self, Counter};
use tokio::sync::Mutex;

/// The PINs of this school.
#[derive(Debug, Clone)]
pub(crate) struct Pins {
    own: Option<PinHash>,
    duress: Option<PinHash>,
    tries: Arc<Mutex<PinTries>>,
    clock: Clock,
}

impl Pins {
    /// Those of the configuration.
    ///
    /// # Errors
    /// Which key holds no hash.
    pub(crate) fn read(config: &Config, clock: Clock) -> Result<Self, String> {
        let hash = |key: &str| match config.text(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|why| format!("{key}: {why}")),
        };
        Ok(Self { own: hash("relay.pin_hash")?, duress: hash("relay.duress_pin_hash")?, tries: Arc::default(), clock })
    }

    /// What a request that needs a PIN becomes: itself, or a silent alarm.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) async fn admit(&self, press: Press, pin: Option<String>) -> Result<Press, ApiError> {
        let kind = press.kind.clone();
        let Some(own) = self.own.clone() else {
            let why = format!(
                "this relay has no PIN, so it takes no {kind}; tell the officer by telephone, and set relay.pin_hash to what `huxiao pin hash` prints"
            );
            return Err(ApiError::new(StatusCode::FORBIDDEN, "pin_not_set", why));
        };
        let Some(pin) = pin else {
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "pin_needed",
                format!("pin: a {kind} needs the school's PIN"),
            ));
        };
        if !is_pin(&pin) {
            return Err(ApiError::invalid("bad_field", "pin: a PIN has 4 to 12 digits and nothing else"));
        }
        let mut tries = self.tries.lock().await;
        if let Some(wait) = tries.locked(self.clock.timestamp()) {
            metric::increment(Counter::PinTries, &["locked"]);
            let seconds = wait.as_secs() + 1;
            let why = format!("too many wrong PINs; try again in {seconds} s, or tell the officer by telephone");
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "pin_locked", why));
        }
        let duress = self.duress.clone();
        // Both are always judged: how long it takes says nothing.
        let judged =
            tokio::task::spawn_blocking(move || (own.is_of(&pin), duress.is_some_and(|duress| duress.is_of(&pin))));
        let (right, duress) = judged.await.map_err(|error| ApiError::unavailable("stopping", error.to_string()))?;
        if !right && !duress {
            tries.wrong(self.clock.timestamp());
            metric::increment(Counter::PinTries, &["wrong"]);
            tracing::warn!(%kind, "a wrong PIN");
            return Err(ApiError::new(StatusCode::FORBIDDEN, "wrong_pin", "the PIN is wrong"));
        }
        tries.right();
        metric::increment(Counter::PinTries, &["right"]);
        if !duress {
            return Ok(press);
        }
        let details = Details::new([("source", DURESS_PIN)]).unwrap_or_default();
        Ok(Press { kind: Kind::Duress, mode: Mode::Live, note: Text::default(), details, ..press })
    }
}

/// Whether a kind is only taken with a PIN.
pub(crate) fn needs_pin(kind: &Kind) -> bool {
    *kind == Kind::Cancel
}
