//! What a school's plan says of person warnings (人员预警): how sure a recognition system must be, and of whom it is not to tell.
//!
//! Invariant: rules only ever hold a warning back; what they say nothing of is raised.

use crate::id::Name;
use crate::plan::hours::{Day, on_the_wall};
use crate::plan::words::Label;
use crate::time::WallTime;

/// The list whose threshold holds for lists that are not named.
pub const DEFAULT_LIST: &str = "default";

/// How sure a recognition must be to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threshold {
    /// Of which list; [`DEFAULT_LIST`] for those without a line of their own.
    pub list: Name,
    /// In thousandths: a score below it is not told.
    pub permille: u16,
}

/// Somebody of whom it is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// Who, as the recognition system names it; at most [`limits::NAME_BYTES`](crate::limits::NAME_BYTES) bytes.
    pub person: Label,
    /// The last day on which it holds, by the clocks of China; for good if there is none.
    pub until: Option<Day>,
}

/// The rules of one school.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PersonRules {
    /// Thresholds, each list once.
    pub thresholds: Vec<Threshold>,
    /// Of whom it is not told, each once.
    pub mutes: Vec<Mute>,
}

/// Why a person warning is not raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Withheld {
    /// The plan says not to tell of this person.
    #[error("the school's plan mutes warnings of this person{}", .until.map_or_else(String::new, |day| format!(" up to {day}")))]
    Muted {
        /// The last day on which it holds.
        until: Option<Day>,
    },
    /// The recognition is not sure enough.
    #[error("the score is {score} thousandths, and the school's plan asks for {threshold}")]
    BelowThreshold {
        /// The score in thousandths.
        score: u16,
        /// What it must be at the least.
        threshold: u16,
    },
}

impl Withheld {
    /// Its word in answers and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Withheld::Muted { .. } => "muted",
            Withheld::BelowThreshold { .. } => "below_threshold",
        }
    }
}

impl PersonRules {
    /// Whether a warning is to be held back at `at`. `score` is in thousandths.
    #[must_use]
    pub fn judge(&self, list: &str, person: &str, score: u16, at: WallTime) -> Option<Withheld> {
        let (today, ..) = on_the_wall(at);
        let holds = |mute: &&Mute| mute.until.is_none_or(|day| i64::from(day.number()) >= today);
        if let Some(mute) = self.mutes.iter().filter(holds).find(|mute| mute.person.as_str() == person) {
            return Some(Withheld::Muted { until: mute.until });
        }
        let of = |list: &str| self.thresholds.iter().find(|threshold| threshold.list.as_str() == list);
        let threshold = of(list).or_else(|| of(DEFAULT_LIST))?.permille;
        (score < threshold).then_some(Withheld::BelowThreshold { score, threshold })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_rule_counts_and_what_no_rule_names_is_told() {
        let threshold = |list: &str, permille| Threshold { list: Name::new(list).unwrap(), permille };
        let mute = |person: &str, until: Option<&str>| Mute {
            person: Label::new(person).unwrap(),
            until: until.map(|day| day.parse().unwrap()),
        };
        let rules = PersonRules {
            thresholds: vec![threshold("wanted", 800), threshold("default", 900)],
            mutes: vec![mute("p-1", None), mute("p-2", Some("2026-11-30"))],
        };
        // 2026-11-30T15:59:59Z is one second before midnight in China.
        let (today, tomorrow) = (WallTime(1_796_054_399_000_000), WallTime(1_796_054_400_000_000));
        assert_eq!(rules.judge("wanted", "p-3", 800, today), None);
        let below = |score, threshold| Some(Withheld::BelowThreshold { score, threshold });
        assert_eq!(rules.judge("wanted", "p-3", 799, today), below(799, 800));
        assert_eq!(rules.judge("debtors", "p-3", 899, today), below(899, 900));
        assert_eq!(rules.judge("wanted", "p-1", 1_000, tomorrow), Some(Withheld::Muted { until: None }));
        assert_eq!(rules.judge("wanted", "p-2", 1_000, today).map(Withheld::as_str), Some("muted"));
        assert_eq!(rules.judge("wanted", "p-2", 1_000, tomorrow), None);
        assert_eq!(PersonRules::default().judge("wanted", "p-1", 0, today), None);
    }
}
