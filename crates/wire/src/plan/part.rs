//! The parts of a plan.

use std::fmt::Display;
use std::sync::Arc;

use huxiao_core::plan::{
    Area, AreaCode, Change, Contact, Day, Device, DeviceKind, Drill, Duty, GbCode, Holiday, Hours, Label, Line, Minute,
    Phone, Picture, Position, RtspAddr, School, SchoolHours, Station, Subject, Times, Watch, Weekdays, Zone,
};
use huxiao_core::{SchoolId, StationId, limits};

use crate::error::WireError;
use crate::field;
use crate::plan::person;
use crate::proto;
use crate::proto::plan_change::Body;

pub(super) fn raw(change: &Change) -> proto::PlanChange {
    let body = match change {
        Change::Area(area) => Body::Area(raw_area(area)),
        Change::Station(station) => Body::Station(proto::PlanStation {
            id: station.id.to_string(),
            name: station.name.to_string(),
            area: number_of(station.area),
            phone: station.phone.to_string(),
        }),
        Change::School(school) => Body::School(raw_school(school)),
        Change::Watch(watch) => {
            Body::Watch(proto::PlanWatch { region: watch.region.to_string(), stations: names_of(&watch.stations) })
        }
        Change::Remove(Subject::Area(code)) => Body::RemoveArea(code.number()),
        Change::Remove(Subject::Station(id)) => Body::RemoveStation(id.to_string()),
        Change::Remove(Subject::School(id)) => Body::RemoveSchool(id.to_string()),
        Change::Remove(Subject::Region(name)) => Body::RemoveRegion(name.to_string()),
    };
    proto::PlanChange { body: Some(body) }
}

pub(super) fn changes(raw: &[proto::PlanChange]) -> Result<Vec<Change>, WireError> {
    raw.iter().map(change).collect()
}

fn change(raw: &proto::PlanChange) -> Result<Change, WireError> {
    Ok(match &raw.body {
        Some(Body::Area(raw)) => Change::Area(Arc::new(area(raw)?)),
        Some(Body::Station(raw)) => Change::Station(Arc::new(station(raw)?)),
        Some(Body::School(raw)) => Change::School(Arc::new(school(raw)?)),
        Some(Body::Watch(raw)) => Change::Watch(Arc::new(Watch {
            region: field::name("plan.region.name", &raw.region)?,
            stations: names("plan.region.stations", &raw.stations, limits::STATIONS_PER_SCHOOL)?,
        })),
        Some(Body::RemoveArea(code)) => Change::Remove(Subject::Area(code_of("plan.remove_area", *code)?)),
        Some(Body::RemoveStation(id)) => {
            Change::Remove(Subject::Station(StationId(field::name("plan.remove_station", id)?)))
        }
        Some(Body::RemoveSchool(id)) => {
            Change::Remove(Subject::School(SchoolId(field::name("plan.remove_school", id)?)))
        }
        Some(Body::RemoveRegion(name)) => Change::Remove(Subject::Region(field::name("plan.remove_region", name)?)),
        None => return Err(field::bad("plan.change", "a newer version of huxiao wrote it; start that version")),
    })
}

fn raw_area(area: &Area) -> proto::PlanArea {
    proto::PlanArea {
        code: area.code.number(),
        name: area.name.to_string(),
        desk: area.desk.as_ref().map(ToString::to_string).unwrap_or_default(),
        times: raw_times(&area.times),
        school_hours: area.school_hours.iter().map(raw_school_hours).collect(),
        holidays: area.holidays.iter().map(raw_holiday).collect(),
    }
}

fn raw_school_hours(taught: &SchoolHours) -> proto::PlanSchoolHours {
    proto::PlanSchoolHours {
        days: taught.days.bits().into(),
        from: taught.hours.from.number().into(),
        to: taught.hours.to.number().into(),
    }
}

fn school_hours(raw: &proto::PlanSchoolHours) -> Result<SchoolHours, WireError> {
    Ok(SchoolHours {
        days: weekdays("plan.area.school_hours", raw.days)?,
        hours: hours("plan.area.school_hours", raw.from, raw.to)?,
    })
}

fn raw_holiday(holiday: &Holiday) -> proto::PlanHoliday {
    // Days of this and the next century.
    let number = |day: Day| u32::try_from(day.number()).unwrap_or(0);
    proto::PlanHoliday { from: number(holiday.from), to: number(holiday.to) }
}

fn holiday(raw: &proto::PlanHoliday) -> Result<Holiday, WireError> {
    Ok(Holiday { from: day("plan.area.holiday", raw.from)?, to: day("plan.area.holiday", raw.to)? })
}

fn day(field: &'static str, number: u32) -> Result<Day, WireError> {
    let day = i32::try_from(number).map_err(|_| field::bad(field, "it is beyond the calendar"))?;
    Day::from_number(day).map_err(|why| field::bad(field, why))
}

fn weekdays(field: &'static str, bits: u32) -> Result<Weekdays, WireError> {
    let days = u8::try_from(bits).ok().and_then(Weekdays::from_bits);
    days.ok_or_else(|| field::bad(field, "a week has seven days"))
}

fn area(raw: &proto::PlanArea) -> Result<Area, WireError> {
    field::at_most("plan.area.school_hours", raw.school_hours.len(), limits::PLAN_SCHOOL_HOURS)?;
    field::at_most("plan.area.holidays", raw.holidays.len(), limits::PLAN_HOLIDAYS)?;
    Ok(Area {
        code: code_of("plan.area.code", raw.code)?,
        name: label("plan.area.name", &raw.name)?,
        desk: field::optional_name("plan.area.desk", &raw.desk)?.map(StationId),
        times: times("plan.area.times", raw.times.as_ref())?,
        school_hours: raw.school_hours.iter().map(school_hours).collect::<Result<_, _>>()?,
        holidays: raw.holidays.iter().map(holiday).collect::<Result<_, _>>()?,
    })
}

fn station(raw: &proto::PlanStation) -> Result<Station, WireError> {
    Ok(Station {
        id: StationId(field::name("plan.station.id", &raw.id)?),
        name: label("plan.station.name", &raw.name)?,
        area: optional_code("plan.station.area", raw.area)?,
        phone: phone("plan.station.phone", &raw.phone)?,
    })
}

/// Nothing for times that say nothing, so that equal parts have equal bytes.
fn raw_times(times: &Times) -> Option<proto::PlanTimes> {
    let of = |secs: Option<u16>| secs.map(u32::from);
    (*times != Times::default()).then(|| proto::PlanTimes {
        louder: of(times.louder),
        county: of(times.county),
        city: of(times.city),
        province: of(times.province),
        dispatch_nudge: of(times.dispatch_nudge),
        dispatch_county: of(times.dispatch_county),
        dispatch_city: of(times.dispatch_city),
        arrival: of(times.arrival),
    })
}

fn times(field: &'static str, raw: Option<&proto::PlanTimes>) -> Result<Times, WireError> {
    let Some(raw) = raw else { return Ok(Times::default()) };
    let of = |secs: Option<u32>| secs.map(|secs| short(field, secs)).transpose();
    Ok(Times {
        louder: of(raw.louder)?,
        county: of(raw.county)?,
        city: of(raw.city)?,
        province: of(raw.province)?,
        dispatch_nudge: of(raw.dispatch_nudge)?,
        dispatch_county: of(raw.dispatch_county)?,
        dispatch_city: of(raw.dispatch_city)?,
        arrival: of(raw.arrival)?,
    })
}

pub(super) fn raw_school(school: &School) -> proto::PlanSchool {
    let position = |position: Position| proto::PlanPosition { lat: position.lat_micros(), lon: position.lon_micros() };
    proto::PlanSchool {
        id: school.id.to_string(),
        name: school.name.to_string(),
        address: school.address.to_string(),
        position: school.position.map(position),
        area: number_of(school.area),
        silent: school.silent,
        stations: names_of(&school.stations),
        neighbours: names_of(&school.neighbours),
        times: raw_times(&school.times),
        test_every_days: school.test_every_days.unwrap_or(0).into(),
        zones: school.zones.iter().map(raw_zone).collect(),
        devices: school.devices.iter().map(raw_device).collect(),
        contacts: school.contacts.iter().map(raw_contact).collect(),
        duty: school.duty.iter().map(raw_duty).collect(),
        drills: school.drills.iter().map(raw_drill).collect(),
        thresholds: school.persons.thresholds.iter().map(person::raw_threshold).collect(),
        mutes: school.persons.mutes.iter().map(person::raw_mute).collect(),
    }
}

pub(super) fn school(raw: &proto::PlanSchool) -> Result<School, WireError> {
    field::at_most("plan.school.zones", raw.zones.len(), limits::PLAN_ZONES)?;
    field::at_most("plan.school.devices", raw.devices.len(), limits::PLAN_DEVICES)?;
    field::at_most("plan.school.contacts", raw.contacts.len(), limits::PLAN_CONTACTS)?;
    field::at_most("plan.school.duty", raw.duty.len(), limits::PLAN_DUTY_HOURS)?;
    field::at_most("plan.school.drills", raw.drills.len(), limits::PLAN_DRILLS)?;
    let position = raw
        .position
        .as_ref()
        .map(|at| Position::from_micros(at.lat, at.lon).map_err(|why| field::bad("plan.school.position", why)));
    let days = (raw.test_every_days != 0).then(|| short("plan.school.test_every_days", raw.test_every_days));
    Ok(School {
        id: SchoolId(field::name("plan.school.id", &raw.id)?),
        name: label("plan.school.name", &raw.name)?,
        address: label("plan.school.address", &raw.address)?,
        position: position.transpose()?,
        area: optional_code("plan.school.area", raw.area)?,
        silent: raw.silent,
        stations: names("plan.school.stations", &raw.stations, limits::STATIONS_PER_SCHOOL)?,
        neighbours: names("plan.school.neighbours", &raw.neighbours, limits::PLAN_NEIGHBOURS)?,
        times: times("plan.school.times", raw.times.as_ref())?,
        test_every_days: days.transpose()?,
        zones: raw.zones.iter().map(zone).collect::<Result<_, _>>()?,
        devices: raw.devices.iter().map(device).collect::<Result<_, _>>()?,
        contacts: raw.contacts.iter().map(contact).collect::<Result<_, _>>()?,
        duty: raw.duty.iter().map(duty).collect::<Result<_, _>>()?,
        drills: raw.drills.iter().map(drill).collect::<Result<_, _>>()?,
        persons: person::rules(raw)?,
    })
}

fn raw_zone(zone: &Zone) -> proto::PlanZone {
    let line = match zone.line {
        Line::Far => proto::PlanLine::Far,
        Line::Gate => proto::PlanLine::Gate,
        Line::Inner => proto::PlanLine::Inner,
    };
    proto::PlanZone { id: zone.id.to_string(), name: zone.name.to_string(), line: line.into() }
}

fn zone(raw: &proto::PlanZone) -> Result<Zone, WireError> {
    let line = match proto::PlanLine::try_from(raw.line) {
        Ok(proto::PlanLine::Far) => Line::Far,
        Ok(proto::PlanLine::Gate) => Line::Gate,
        Ok(proto::PlanLine::Inner) => Line::Inner,
        Ok(proto::PlanLine::Unspecified) => return Err(WireError::Missing("plan.zone.line")),
        Err(_) => return Err(unknown("plan.zone.line", raw.line)),
    };
    Ok(Zone { id: field::name("plan.zone.id", &raw.id)?, name: label("plan.zone.name", &raw.name)?, line })
}

fn raw_device(device: &Device) -> proto::PlanDevice {
    let kind = match device.kind {
        DeviceKind::Button => proto::PlanDeviceKind::Button,
        DeviceKind::GuardPost => proto::PlanDeviceKind::GuardPost,
        DeviceKind::Camera => proto::PlanDeviceKind::Camera,
        DeviceKind::Speaker => proto::PlanDeviceKind::Speaker,
        DeviceKind::SecurityGate => proto::PlanDeviceKind::SecurityGate,
    };
    let (gb28181, rtsp) = match &device.picture {
        None => ("", ""),
        Some(Picture::Gb28181(code)) => (code.as_str(), ""),
        Some(Picture::Rtsp(addr)) => ("", addr.as_str()),
    };
    proto::PlanDevice {
        id: device.id.to_string(),
        kind: kind.into(),
        place: device.place.to_string(),
        zone: device.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
        gb28181: gb28181.to_owned(),
        rtsp: rtsp.to_owned(),
    }
}

fn device(raw: &proto::PlanDevice) -> Result<Device, WireError> {
    let kind = match proto::PlanDeviceKind::try_from(raw.kind) {
        Ok(proto::PlanDeviceKind::Button) => DeviceKind::Button,
        Ok(proto::PlanDeviceKind::GuardPost) => DeviceKind::GuardPost,
        Ok(proto::PlanDeviceKind::Camera) => DeviceKind::Camera,
        Ok(proto::PlanDeviceKind::Speaker) => DeviceKind::Speaker,
        Ok(proto::PlanDeviceKind::SecurityGate) => DeviceKind::SecurityGate,
        Ok(proto::PlanDeviceKind::Unspecified) => return Err(WireError::Missing("plan.device.kind")),
        Err(_) => return Err(unknown("plan.device.kind", raw.kind)),
    };
    let picture = match (raw.gb28181.as_str(), raw.rtsp.as_str()) {
        ("", "") => None,
        (code, "") => Some(Picture::Gb28181(GbCode::new(code).map_err(|why| field::bad("plan.device.gb28181", why))?)),
        ("", addr) => Some(Picture::Rtsp(RtspAddr::new(addr).map_err(|why| field::bad("plan.device.rtsp", why))?)),
        _ => return Err(field::bad("plan.device.rtsp", "a camera has gb28181 or rtsp, not both")),
    };
    Ok(Device {
        id: field::name("plan.device.id", &raw.id)?,
        kind,
        place: label("plan.device.place", &raw.place)?,
        zone: field::optional_name("plan.device.zone", &raw.zone)?,
        picture,
    })
}

fn raw_contact(contact: &Contact) -> proto::PlanContact {
    proto::PlanContact {
        name: contact.name.to_string(),
        role: contact.role.to_string(),
        phone: contact.phone.to_string(),
    }
}

fn contact(raw: &proto::PlanContact) -> Result<Contact, WireError> {
    Ok(Contact {
        name: label("plan.contact.name", &raw.name)?,
        role: label("plan.contact.role", &raw.role)?,
        phone: phone("plan.contact.phone", &raw.phone)?,
    })
}

fn raw_duty(duty: &Duty) -> proto::PlanDuty {
    proto::PlanDuty {
        days: duty.days.bits().into(),
        from: duty.hours.from.number().into(),
        to: duty.hours.to.number().into(),
        absent_secs: duty.absent_secs.into(),
    }
}

fn duty(raw: &proto::PlanDuty) -> Result<Duty, WireError> {
    Ok(Duty {
        days: weekdays("plan.duty.days", raw.days)?,
        hours: hours("plan.duty.hours", raw.from, raw.to)?,
        absent_secs: short("plan.duty.absent_secs", raw.absent_secs)?,
    })
}

fn raw_drill(drill: &Drill) -> proto::PlanDrill {
    proto::PlanDrill {
        // Days of this and the next century.
        day: u32::try_from(drill.day.number()).unwrap_or(0),
        from: drill.hours.from.number().into(),
        to: drill.hours.to.number().into(),
    }
}

fn drill(raw: &proto::PlanDrill) -> Result<Drill, WireError> {
    Ok(Drill { day: day("plan.drill.day", raw.day)?, hours: hours("plan.drill.hours", raw.from, raw.to)? })
}

fn hours(field: &'static str, from: u32, to: u32) -> Result<Hours, WireError> {
    let minute = |number| Minute::new(short(field, number)?).map_err(|why| field::bad(field, why));
    Ok(Hours { from: minute(from)?, to: minute(to)? })
}

pub(super) fn short(field: &'static str, number: u32) -> Result<u16, WireError> {
    u16::try_from(number).map_err(|_| field::bad(field, format_args!("{number} is too much")))
}

fn unknown(field: &'static str, number: i32) -> WireError {
    field::bad(field, format_args!("{number} is not known to this version"))
}

fn number_of(code: Option<AreaCode>) -> u32 {
    code.map_or(0, AreaCode::number)
}

fn code_of(field: &'static str, code: u32) -> Result<AreaCode, WireError> {
    AreaCode::new(code).map_err(|why| field::bad(field, why))
}

fn optional_code(field: &'static str, code: u32) -> Result<Option<AreaCode>, WireError> {
    (code != 0).then(|| code_of(field, code)).transpose()
}

fn names_of(stations: &[impl Display]) -> Vec<String> {
    stations.iter().map(ToString::to_string).collect()
}

fn names(field: &'static str, raw: &[String], limit: usize) -> Result<Vec<StationId>, WireError> {
    field::at_most(field, raw.len(), limit)?;
    raw.iter().map(|text| field::name(field, text).map(StationId)).collect()
}

pub(super) fn label(field: &'static str, text: &str) -> Result<Label, WireError> {
    Label::new(text).map_err(|why| field::bad(field, why))
}

fn phone(field: &'static str, text: &str) -> Result<Phone, WireError> {
    Phone::new(text).map_err(|why| field::bad(field, why))
}
