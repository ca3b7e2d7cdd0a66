//! The plan in JSON: for the API, and for commands that read a plan from files.

use huxiao_core::plan::{Counts, Explanation, Plan, Tally, TimeFrom};
use huxiao_core::record::PlanVersion;
use huxiao_core::{Class, SchoolId, WallTime};
use huxiao_runtime::time_format::rfc3339;
use serde_json::{Value, json};

pub use huxiao_runtime::plan_json::school;

pub(crate) use crate::record::hex;

/// The bytes that hexadecimal digits stand for; `None` unless there are exactly as many.
pub(crate) fn unhex<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    if text.len() != BYTES * 2 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

fn tally(tally: Tally) -> Value {
    json!({ "added": tally.added, "changed": tally.changed, "removed": tally.removed })
}

/// What a change of the plan comes to.
#[must_use]
pub fn counts(counts: &Counts) -> Value {
    json!({
        "areas": tally(counts.areas), "stations": tally(counts.stations),
        "schools": tally(counts.schools), "regions": tally(counts.regions),
    })
}

/// A change of the plan that was taken over.
pub(crate) fn version(change: &PlanVersion) -> Value {
    json!({
        "version": change.version, "index": change.index, "digest": hex(&change.digest), "by": change.by.to_string(),
        "who": change.who.as_str(), "at": rfc3339(change.at), "note": change.note.as_str(),
        "counts": counts(&change.counts),
    })
}

/// Who gets an alarm of a school, in which part, after how long, and why.
#[must_use]
pub fn route(plan: &Plan, school: &SchoolId, class: Class, at: WallTime) -> Value {
    let Explanation { known, silent, area, reaches, times, drill, duty } = plan.explain(school, class, at);
    let seconds = |span: std::time::Duration| span.as_secs();
    json!({
        "school": school.to_string(),
        "name": plan.school(school).map(|school| school.name.to_string()),
        "known": known, "class": class.as_str(), "at": rfc3339(at), "silent": silent,
        "area": area.map(|area| area.to_string()),
        "reaches": reaches.iter().map(|reach| json!({
            "station": reach.station.to_string(),
            "name": plan.station(&reach.station).map(|station| station.name.to_string()),
            "phone": plan.station(&reach.station).map(|station| station.phone.to_string()),
            "part": reach.part.as_str(),
            "sees_after_seconds": seconds(reach.sees_after),
            "owns_after_seconds": reach.owns_after.map(seconds),
            "why": reach.why,
        })).collect::<Vec<_>>(),
        "times": times.iter().map(|time| json!({
            "step": time.rung.as_str(), "after_seconds": seconds(time.after),
            "from": match time.from {
                TimeFrom::Default => "default".to_owned(),
                TimeFrom::Area(code) => format!("area {code}"),
                TimeFrom::School => "school".to_owned(),
            },
        })).collect::<Vec<_>>(),
        "drill": drill.map(|drill| json!({ "date": drill.day.to_string(), "hours": drill.hours.to_string() })),
        "duty": duty.map(|duty| json!({ "hours": duty.hours.to_string(), "absent_after_seconds": duty.absent_secs })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_for_bytes() {
        assert_eq!(unhex(&hex(&[0, 17, 255])), Some([0, 17, 255]));
        assert_eq!(unhex::<2>("0g00"), None);
        assert_eq!(unhex::<2>("000"), None);
    }
}
