//! One school's own part of the plan, as its region tells it to the school's relays.
//!
//! Invariant: [`SchoolPart::replaces`] never lets what is older take the place of what is newer from the same record.

use std::sync::Arc;

use crate::id::RecordId;
use crate::plan::school::School;

/// Which version of which record's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanMark {
    /// The record; `None` before it was founded.
    pub record: Option<RecordId>,
    /// The version; 0 is the node's own file, since the record has no plan.
    pub version: u64,
}

/// A school's part of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolPart {
    /// Of which plan.
    pub mark: PlanMark,
    /// What it says of the school; `None` if it does not name it.
    pub school: Option<Arc<School>>,
}

impl SchoolPart {
    /// Whether a relay that has `held` takes this in its place. Versions of one record rise; of version 0, the files of nodes, whatever
    /// was said last counts.
    #[must_use]
    pub fn replaces(&self, held: Option<&SchoolPart>) -> bool {
        let Some(held) = held else { return true };
        if self.mark.record != held.mark.record {
            return true;
        }
        self.mark.version > held.mark.version || self.mark.version == 0 && held.mark.version == 0 && self != held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_version_never_takes_the_place_of_a_newer_one() {
        let part = |record: u8, version, school: &str| SchoolPart {
            mark: PlanMark { record: Some(RecordId([record; 16])), version },
            school: Some(Arc::new(School::bare(school.parse().unwrap(), vec!["p1".parse().unwrap()]))),
        };
        assert!(part(1, 0, "s1").replaces(None));
        assert!(part(1, 3, "s1").replaces(Some(&part(1, 2, "s1"))));
        assert!(!part(1, 2, "s1").replaces(Some(&part(1, 3, "s1"))));
        assert!(!part(1, 3, "s1").replaces(Some(&part(1, 3, "s1"))));
        assert!(!part(1, 0, "s1").replaces(Some(&part(1, 1, "s1"))), "a file never replaces the record's plan");
        assert!(part(1, 0, "s2").replaces(Some(&part(1, 0, "s1"))));
        assert!(part(2, 1, "s1").replaces(Some(&part(1, 9, "s1"))), "another life of the record");
    }
}
