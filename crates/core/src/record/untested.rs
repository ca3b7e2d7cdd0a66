//! Which schools' equipment nobody has tested for longer than the plan allows.
//!
//! Invariant: a school that the plan names is either tested in time or listed; one that was never tested is listed.

use crate::id::SchoolId;
use crate::limits;
use crate::plan::{AreaCode, AreaLevel, Plan, School};
use crate::record::drills::{Tested, Tests};
use crate::time::{Now, Span, WallTime};

/// A school whose test is overdue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untested<'a> {
    /// The school.
    pub school: &'a School,
    /// Its city, if the plan says where it is.
    pub city: Option<AreaCode>,
    /// After how many days without one a test by hand is overdue.
    pub every_days: u16,
    /// When it was tested last.
    pub tested: Tested,
}

/// The schools of `plan` whose last test by hand is longer ago than the plan says, or than `days` where that is given, in the order of their codes.
pub fn untested<'a>(
    plan: &'a Plan,
    tests: &'a Tests,
    now: WallTime,
    days: Option<u16>,
) -> impl Iterator<Item = Untested<'a>> {
    plan.school_ids().filter_map(|id| plan.school(id)).filter_map(move |school| {
        let every_days = every_days(school, days);
        let tested = tests.of(&school.id);
        let area = plan.area_of(school);
        let city = area.and_then(|area| area.upwards().find(|code| code.level() == AreaLevel::City));
        let late = tested.by_hand.is_none_or(|last| is_late(last, now, every_days));
        late.then_some(Untested { school, city, every_days, tested })
    })
}

/// When a school of `plan` was tested by hand last, if that is longer ago than the plan says.
#[must_use]
pub fn overdue_since(plan: &Plan, tests: &Tests, now: Now, school: &SchoolId) -> Option<WallTime> {
    let every_days = every_days(plan.school(school)?, None);
    tests.of(school).by_hand.filter(|last| is_late(*last, now.wall, every_days))
}

/// After how many days a test of a school is overdue; `days` goes before what the plan says.
fn every_days(school: &School, days: Option<u16>) -> u16 {
    days.or(school.test_every_days).unwrap_or(limits::TEST_EVERY_DAYS)
}

fn is_late(last: WallTime, now: WallTime, every_days: u16) -> bool {
    let limit = Span::from_secs(u64::from(every_days) * 86_400);
    Span::from_micros(u64::try_from(now - last).unwrap_or(0)) > limit
}
