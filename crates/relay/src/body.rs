//! What a press looks like in JSON, and how it becomes a [`Press`].

use huxiao_core::relay::Press;
use huxiao_core::{Kind, Mode, Name, NameError, Text, limits};
use huxiao_runtime::http::ApiError;
use serde::Deserialize;

/// The body of `POST /v1/events`.
#[derive(Debug, Deserialize)]
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
}

impl PressBody {
    /// The press and whether it is meant whatever is on, or which field is wrong and why.
    pub(crate) fn checked(self) -> Result<(Press, bool), ApiError> {
        let kind =
            Kind::known(&self.kind).filter(|kind| !kind.is_of_region()).ok_or_else(|| unknown_kind(&self.kind))?;
        let mode = match (self.test, self.drill) {
            (false, false) => Mode::Live,
            (true, false) => Mode::Test,
            (false, true) => Mode::Drill,
            (true, true) => return Err(bad_field("drill", "an event is a test or a drill, not both")),
        };
        if self.live && mode != Mode::Live {
            return Err(bad_field("live", "what is meant is neither a test nor a drill"));
        }
        let press = Press {
            kind,
            mode,
            device: name("device", self.device)?,
            zone: name("zone", self.zone)?,
            note: Text::new(&self.note).map_err(|why| bad_field("note", &why.to_string()))?,
        };
        Ok((press, self.live))
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
