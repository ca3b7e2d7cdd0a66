//! The plan in JSON: for the API, and for commands that read a plan from files.

use huxiao_core::plan::{Counts, Device, Explanation, Picture, Plan, School, Tally, TimeFrom};
use huxiao_core::record::PlanVersion;
use huxiao_core::{Class, SchoolId, WallTime};
use huxiao_runtime::time_format::rfc3339;
use serde_json::{Value, json};

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

fn degrees(micros: i32) -> f64 {
    f64::from(micros) / 1e6
}

/// A picture's address without what stands before its host: that may be a password.
fn without_password(addr: &str) -> String {
    let Some((scheme, rest)) = addr.split_once("://") else { return addr.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match host.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://***@{host}{path}"),
        None => addr.to_owned(),
    }
}

fn device(device: &Device) -> Value {
    let (gb28181, rtsp) = match &device.picture {
        Some(Picture::Gb28181(code)) => (Some(code.as_str()), None),
        Some(Picture::Rtsp(addr)) => (None, Some(without_password(addr.as_str()))),
        None => (None, None),
    };
    json!({
        "id": device.id.as_str(), "kind": device.kind.as_str(), "place": device.place.as_str(),
        "zone": device.zone.as_ref().map(|zone| zone.as_str()), "gb28181": gb28181, "rtsp": rtsp,
    })
}

/// A school and its plan. Addresses of cameras are shown without passwords.
#[must_use]
pub fn school(school: &School) -> Value {
    let names = |stations: &[huxiao_core::StationId]| stations.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "id": school.id.to_string(), "name": school.name.as_str(), "address": school.address.as_str(),
        "position": school.position.map(|at| json!({ "lat": degrees(at.lat_micros()), "lon": degrees(at.lon_micros()) })),
        "area": school.area.map(|area| area.to_string()),
        "silent": school.silent,
        "stations": names(&school.stations), "neighbours": names(&school.neighbours),
        "escalation": {
            "louder": school.times.louder, "county": school.times.county,
            "city": school.times.city, "province": school.times.province,
            "dispatch_nudge": school.times.dispatch_nudge, "dispatch_county": school.times.dispatch_county,
            "dispatch_city": school.times.dispatch_city, "arrival": school.times.arrival,
        },
        "test_every_days": school.test_every_days,
        "zones": school.zones.iter().map(|zone| json!({
            "id": zone.id.as_str(), "name": zone.name.as_str(), "line": zone.line.as_str(),
        })).collect::<Vec<_>>(),
        "devices": school.devices.iter().map(device).collect::<Vec<_>>(),
        "contacts": school.contacts.iter().map(|contact| json!({
            "name": contact.name.as_str(), "role": contact.role.as_str(), "phone": contact.phone.as_str(),
        })).collect::<Vec<_>>(),
        "duty": school.duty.iter().map(|duty| json!({
            "weekdays": duty.days.iter().map(|day| day.as_str()).collect::<Vec<_>>(),
            "from": duty.hours.from.to_string(), "to": duty.hours.to.to_string(), "absent_after_seconds": duty.absent_secs,
        })).collect::<Vec<_>>(),
        "drills": school.drills.iter().map(|drill| json!({
            "date": drill.day.to_string(), "from": drill.hours.from.to_string(), "to": drill.hours.to.to_string(),
        })).collect::<Vec<_>>(),
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

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("rtsp://admin:pa@ss@10.1.2.3/main"), "rtsp://***@10.1.2.3/main");
        assert_eq!(without_password("rtsp://10.1.2.3/a@b"), "rtsp://10.1.2.3/a@b");
    }
}
