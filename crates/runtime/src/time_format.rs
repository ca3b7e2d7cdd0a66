//! [`WallTime`] as RFC 3339 text and back: UTC, microseconds, `Z`. Used by every API and by the JSON log.
//!
//! Invariant: what [`rfc3339`] writes, [`parse_rfc3339`] reads back to the same microsecond, as long as the year has four digits.

use std::fmt;

use huxiao_core::WallTime;
use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Why a text is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a time such as 2026-03-01T08:30:00.000000Z (RFC 3339): {reason}")]
pub struct TimeError {
    /// What was given, cut to 64 characters.
    pub text: String,
    /// What is wrong with it.
    pub reason: String,
}

/// `at` as `2026-03-01T08:30:00.123456Z`. Beyond the years that can be written (-9999 to 9999) the nearest one that can.
#[must_use]
pub fn rfc3339(at: WallTime) -> String {
    format!("{:.6}", timestamp(at))
}

/// Reads a time with any offset and precision; digits beyond microseconds are dropped.
///
/// # Errors
/// [`TimeError`]
pub fn parse_rfc3339(text: &str) -> Result<WallTime, TimeError> {
    let wrong = |reason: String| TimeError { text: text.chars().take(64).collect(), reason };
    if text.len() > 64 {
        return Err(wrong("it is too long".into()));
    }
    text.parse::<Timestamp>().map(|at| WallTime(at.as_microsecond())).map_err(|error| wrong(error.to_string()))
}

/// Seconds from `earlier` to `later`; negative if the clock went back between the two.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "microseconds of a human span are exact in an f64")]
pub fn seconds(later: WallTime, earlier: WallTime) -> f64 {
    (later - earlier) as f64 / 1e6
}

/// A time that prints and serialises as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rfc3339(pub WallTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&rfc3339(self.0))
    }
}

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

pub(crate) fn timestamp(at: WallTime) -> Timestamp {
    let nearest = if at.0 < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_microsecond(at.0).unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_and_back() {
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_772_353_800_123_456, "2026-03-01T08:30:00.123456Z"),
            (1_709_164_800_000_000, "2024-02-29T00:00:00.000000Z"),
            (-1, "1969-12-31T23:59:59.999999Z"),
            (253_402_207_200_000_000, "9999-12-30T22:00:00.000000Z"),
        ] {
            assert_eq!(rfc3339(WallTime(micros)), text);
            assert_eq!(parse_rfc3339(text), Ok(WallTime(micros)));
        }
    }

    #[test]
    fn other_offsets_and_precisions_are_read() {
        assert_eq!(parse_rfc3339("1970-01-01T08:00:00+08:00"), Ok(WallTime(0)));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.0000019Z"), Ok(WallTime(1)));
    }

    #[test]
    fn what_cannot_be_written_is_the_nearest_that_can() {
        assert!(rfc3339(WallTime(i64::MAX)).starts_with("9999-12-30"));
        assert!(rfc3339(WallTime(i64::MIN)).starts_with("-009999-"));
    }

    #[test]
    fn what_is_no_time_is_refused_with_its_text() {
        for text in ["", "now", "2026-03-01", "2026-03-01T08:30:00", "2026-02-30T00:00:00Z", &"9".repeat(10_000)] {
            let error = parse_rfc3339(text).unwrap_err();
            assert!(error.text.len() <= 64 && error.to_string().contains("RFC 3339"), "{error}");
        }
    }
}
