//! A school and its plan in JSON, as every role's API shows it.

use huxiao_core::plan::{Device, Picture, School};
use serde_json::{Value, json};

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
        "person_lists": school.persons.thresholds.iter().map(|threshold| json!({
            "list": threshold.list.as_str(), "threshold": f64::from(threshold.permille) / 1e3,
        })).collect::<Vec<_>>(),
        "person_mutes": school.persons.mutes.iter().map(|mute| json!({
            "person": mute.person.as_str(), "until": mute.until.map(|day| day.to_string()),
        })).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("rtsp://admin:pa@ss@10.1.2.3/main"), "rtsp://***@10.1.2.3/main");
        assert_eq!(without_password("rtsp://10.1.2.3/a@b"), "rtsp://10.1.2.3/a@b");
    }
}
