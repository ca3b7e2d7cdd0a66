//! What a press looks like in JSON, and how it becomes a [`Press`].

use std::collections::BTreeMap;

use huxiao_core::event::taxonomy;
use huxiao_core::relay::Press;
use huxiao_core::{Details, Kind, Mode, Name, NameError, Text, limits};
use huxiao_runtime::http::ApiError;
use serde::Deserialize;

use crate::pin::needs_pin;

/// The body of `POST /v1/events`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PressBody {
    kind: String,
    #[serde(default)]
    device: Option<String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    test: bool,
    #[serde(default)]
    drill: bool,
    /// It is meant, whatever drill or test is on.
    #[serde(default)]
    live: bool,
    #[serde(default)]
    note: String,
    #[serde(default)]
    details: BTreeMap<String, String>,
    #[serde(default)]
    pin: Option<String>,
}

impl PressBody {
    /// The press, whether it is meant whatever is on, and the PIN that came with it; or which field is wrong and why.
    pub(crate) fn checked(self) -> Result<(Press, bool, Option<String>), ApiError> {
        let kind =
            Kind::known(&self.kind).filter(|kind| !kind.is_of_region()).ok_or_else(|| unknown_kind(&self.kind))?;
        let mode = match (self.test, self.drill) {
            (false, false) => Mode::Live,
            (true, false) => Mode::Test,
            (false, true) => Mode::Drill,
            (true, true) => return Err(bad_field("drill", "an event is a test or a drill, not both")),
        };
        let given = self.details.iter().map(|(name, text)| (name.as_str(), text.as_str()));
        let details = Details::new(given).map_err(|why| bad_field("details", &why.to_string()))?;
        taxonomy::check(&kind, &details).map_err(|why| bad_field("details", &why.to_string()))?;
        if self.pin.is_some() && !needs_pin(&kind) {
            return Err(bad_field("pin", "this kind needs none"));
        }
        if self.live && mode != Mode::Live {
            return Err(bad_field("live", "what is meant is neither a test nor a drill"));
        }
        let press = Press {
            kind,
            mode,
            device: name("device", self.device)?,
            zone: name("zone", self.zone)?,
            note: Text::new(&self.note).map_err(|why| bad_field("note", &why.to_string()))?,
            details,
        };
        Ok((press, self.live, self.pin))
    }
}

/// An `Idempotency-Key` within its limits.
pub(crate) fn idempotency_key(value: &axum::http::HeaderValue) -> Result<String, ApiError> {
    let text = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    match text {
        Some(text) if !text.is_empty() && text.len() <= limits::IDEMPOTENCY_KEY_BYTES => Ok(text.to_owned()),
        _ => {
            let limit = limits::IDEMPOTENCY_KEY_BYTES;
            Err(bad_field("Idempotency-Key", &format!("it must be 1 to {limit} visible ASCII characters")))
        }
    }
}

fn name(field: &str, value: Option<String>) -> Result<Option<Name>, ApiError> {
    value.map(|text| Name::new(&text)).transpose().map_err(|why: NameError| bad_field(field, &why.to_string()))
}

fn bad_field(field: &str, why: &str) -> ApiError {
    ApiError::invalid("bad_field", format!("{field}: {why}"))
}

fn unknown_kind(given: &str) -> ApiError {
    // What only a region raises is none here.
    let known: Vec<&str> = Kind::ALL.iter().filter(|kind| !kind.is_of_region()).map(Kind::as_str).collect();
    let given: String = given.chars().take(64).collect();
    ApiError::invalid("unknown_kind", format!("{given:?} is not a kind; kinds are {}", known.join(", ")))
}
