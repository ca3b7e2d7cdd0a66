//! Which schools' equipment nobody has tested for longer than the plan allows.
//!
//! Invariant: a school that the plan names is either tested in time or listed; one that was never tested is listed.

use crate::limits;
use crate::plan::{AreaCode, AreaLevel, Plan, School};
use crate::record::drills::{Tested, Tests};
use crate::time::{Span, WallTime};

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
        let every_days = days.or(school.test_every_days).unwrap_or(limits::TEST_EVERY_DAYS);
        let tested = tests.of(&school.id);
        let limit = Span::from_secs(u64::from(every_days) * 86_400);
        let ago = tested.by_hand.map(|at| Span::from_micros(u64::try_from(now - at).unwrap_or(0)));
        let area = plan.area_of(school);
        let city = area.and_then(|area| area.upwards().find(|code| code.level() == AreaLevel::City));
        ago.is_none_or(|ago| ago > limit).then_some(Untested { school, city, every_days, tested })
    })
}
