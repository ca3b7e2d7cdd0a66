//! From when until when a certificate is meant to be used, and where an instant stands in that.

use std::fmt;

use huxiao_core::{Span, WallTime};
use time::OffsetDateTime;

/// How far a new certificate's beginning is set back, so that a node whose clock is a little behind its authority's
/// does not call it not yet valid.
const BACKDATE: Span = Span::from_secs(3_600);

/// The validity period of a certificate, both ends included. X.509 keeps whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Not to be used before.
    pub not_before: WallTime,
    /// Not to be used after.
    pub not_after: WallTime,
}

/// Where an instant stands in a certificate's [`Period`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Validity {
    /// In it.
    Valid,
    /// After it: renew the certificate.
    Expired,
    /// Before it: almost always a clock that is wrong, on this side or that.
    NotYetValid,
}

impl Period {
    /// From an hour before `now` until `days` days after it.
    #[must_use]
    pub fn days(now: WallTime, days: u32) -> Self {
        let micros = |span: Span| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        Self {
            not_before: WallTime(now.0.saturating_sub(micros(BACKDATE))),
            not_after: WallTime(now.0.saturating_add(micros(Span::from_secs(u64::from(days) * 86_400)))),
        }
    }

    /// Where `now` stands.
    #[must_use]
    pub fn at(&self, now: WallTime) -> Validity {
        if now < self.not_before {
            Validity::NotYetValid
        } else if now > self.not_after {
            Validity::Expired
        } else {
            Validity::Valid
        }
    }

    /// The instant in the period that is nearest to `now`.
    pub(crate) fn nearest(&self, now: WallTime) -> WallTime {
        now.min(self.not_after).max(self.not_before)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", Date(self.not_before), Date(self.not_after))
    }
}

impl Validity {
    /// Its word in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Validity::Valid => "valid",
            Validity::Expired => "expired",
            Validity::NotYetValid => "not_yet_valid",
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Validity::Valid => "valid",
            Validity::Expired => "expired",
            Validity::NotYetValid => "not yet valid",
        })
    }
}

/// A wall time as its UTC date, for people.
pub(crate) struct Date(pub(crate) WallTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match calendar(self.0) {
            Some(at) => write!(f, "{:04}-{:02}-{:02}", at.year(), u8::from(at.month()), at.day()),
            None => write!(f, "{} µs after 1970", self.0.0),
        }
    }
}

/// `at` as a calendar date of whole seconds; `None` beyond the years that X.509 can write.
pub(crate) fn calendar(at: WallTime) -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1_000_000))
        .ok()
        .filter(|date| (1950..=9999).contains(&date.year()))
}
