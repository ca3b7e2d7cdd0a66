//! A point in time as people write it at a terminal.

use std::str::FromStr;
use std::time::Duration;

use huxiao_core::WallTime;
use huxiao_runtime::time_format::{parse_rfc3339, rfc3339};

use crate::args::duration;

/// Hours by which China's clocks are ahead of UTC, everywhere and all year.
const CHINA_HOURS: i64 = 8;
/// Days that anything may be ago: ten years, as for every length of time at a terminal.
const MOST_DAYS: u64 = 3_650;

/// A point in time, or how long ago it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// That time.
    At(WallTime),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    /// Which time it is when it is `now`.
    pub(super) fn before(self, now: WallTime) -> WallTime {
        match self {
            Moment::At(at) => at,
            Moment::Ago(span) => WallTime(now.0.saturating_sub(i64::try_from(span.as_micros()).unwrap_or(i64::MAX))),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = text.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
        if let Some(days) = days.filter(|days| *days <= MOST_DAYS) {
            return Ok(Moment::Ago(Duration::from_secs(days * 86_400)));
        }
        if let Ok(span) = duration(text) {
            return Ok(Moment::Ago(span));
        }
        let whole = if text.len() == "2026-03-01".len() { format!("{text}T00:00:00+08:00") } else { text.to_owned() };
        parse_rfc3339(&whole).map(Moment::At).map_err(|_| {
            "write a time such as 2026-03-01T08:30:00+08:00, a date such as 2026-03-01, or how long ago such as 24h or 7d"
                .to_owned()
        })
    }
}

/// A time as people in China read it, to the second.
pub(super) fn china(at: WallTime) -> String {
    let shifted = rfc3339(WallTime(at.0.saturating_add(CHINA_HOURS * 3_600_000_000)));
    match shifted.split_once('.') {
        Some((seconds, _)) => format!("{seconds}+08:00"),
        None => shifted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000;

    #[test]
    fn times_dates_and_how_long_ago() {
        let now = WallTime(1_772_323_200_000_000);
        for (text, at) in [
            ("2026-03-01T00:00:00Z", now.0),
            ("2026-03-01T08:00:00+08:00", now.0),
            ("2026-03-01", now.0 - 8 * HOUR),
            ("24h", now.0 - 24 * HOUR),
            ("7d", now.0 - 7 * 24 * HOUR),
            ("1h 30m", now.0 - HOUR - HOUR / 2),
            ("0d", now.0),
        ] {
            assert_eq!(text.parse::<Moment>().map(|moment| moment.before(now)), Ok(WallTime(at)), "{text}");
        }
        for text in ["", "d", "yesterday", "2026-02-30", "2026-3-1", "-1d", "9999999d", "-5h", "2026-03-01T08:00:00"] {
            assert!(text.parse::<Moment>().unwrap_err().contains("7d"), "{text}");
        }
    }

    #[test]
    fn people_in_china_read_their_own_time() {
        assert_eq!(china(WallTime(1_772_323_200_999_999)), "2026-03-01T08:00:00+08:00");
    }
}
