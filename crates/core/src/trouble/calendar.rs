//! How urgent it is that a school is silent: by its duty hours, its school hours and the holidays of the plan.
//!
//! Invariant: the longer the silence and the fuller the school, the higher the class; a night is never more urgent than a school day.

use crate::event::Class;
use crate::id::SchoolId;
use crate::limits;
use crate::plan::{Plan, on_the_wall};
use crate::time::{Span, WallTime};

/// The class of the event that says that `school` has been silent for `silent`, at `at`: P1 in the hours in which its gate is guarded (when
/// pupils come and go), P1 in its school hours after [`limits::SILENT_URGENT_AFTER`], P2 else.
#[must_use]
pub fn silence_class(plan: &Plan, school: &SchoolId, silent: Span, at: WallTime) -> Class {
    let (day, weekday, minute) = on_the_wall(at);
    let Some(known) = plan.school(school) else { return Class::P2 };
    if plan.is_holiday(school, day) {
        return Class::P2;
    }
    let guarded = known.duty.iter().any(|duty| duty.days.contains(weekday) && duty.hours.contains(minute));
    let taught = plan.is_taught(school, weekday, minute) && silent >= limits::SILENT_URGENT_AFTER;
    if guarded || taught { Class::P1 } else { Class::P2 }
}
