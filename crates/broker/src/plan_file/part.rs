//! The four kinds of tables of a plan.

use std::sync::Arc;

use huxiao_core::plan::{
    Area, Change, Contact, Device, DeviceKind, Drill, Duty, GbCode, Holiday, Hours, Mute, PersonRules, Picture,
    Position, RtspAddr, Rung, School, SchoolHours, Station, Threshold, Times, Watch, Weekday, Weekdays, Zone,
};
use huxiao_core::{SchoolId, StationId, limits};

use super::field::{Fields, Reader, Value};

/// The kinds of tables.
pub(super) const KINDS: [&str; 4] = ["area", "station", "school", "region"];

/// Reads one of them; `None` if there is a mistake in it.
pub(super) fn read(reader: &mut Reader<'_>, kind: &str, value: &Value<'_>) -> Option<Change> {
    let before = reader.mistakes();
    let part = match kind {
        "area" => area(reader, value).map(|area| Change::Area(Arc::new(area))),
        "station" => station(reader, value).map(|station| Change::Station(Arc::new(station))),
        "school" => school(reader, value).map(|school| Change::School(Arc::new(school))),
        _ => watch(reader, value).map(|watch| Change::Watch(Arc::new(watch))),
    };
    part.filter(|_| reader.mistakes() == before)
}

fn area(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Area> {
    let fields = reader.fields(value, "area", &["code", "name", "desk", "escalation", "school_hours", "holiday"])?;
    if fields.get("code").is_none() {
        reader.wrong(fields.start, "the area has no code");
    }
    let (code, name) = (reader.area(&fields, "code"), reader.label(&fields, "name"));
    let (desk, times) = (reader.name(&fields, "desk").map(StationId), times(reader, &fields));
    let school_hours = tables(reader, &fields, ("area", "school_hours"), school_hours);
    let holidays = tables(reader, &fields, ("area", "holiday"), holiday);
    Some(Area { code: code?, name, desk, times, school_hours, holidays })
}

fn school_hours(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<SchoolHours> {
    let fields = reader.fields(value, "school_hours", &["weekdays", "from", "to"])?;
    let (days, hours) = (weekdays(reader, &fields), hours(reader, &fields, "school_hours"));
    Some(SchoolHours { days, hours: hours? })
}

fn holiday(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Holiday> {
    let fields = reader.fields(value, "holiday", &["from", "to"])?;
    let (from, to) = (reader.day(&fields, "from", "holiday"), reader.day(&fields, "to", "holiday"));
    Some(Holiday { from: from?, to: to? })
}

fn station(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Station> {
    let fields = reader.fields(value, "station", &["id", "name", "area", "phone"])?;
    let (id, name) = (reader.needed_name(&fields, "id", "station"), reader.label(&fields, "name"));
    let (area, phone) = (reader.area(&fields, "area"), reader.phone(&fields, "phone"));
    Some(Station { id: StationId(id?), name, area, phone })
}

fn watch(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Watch> {
    let fields = reader.fields(value, "region", &["name", "stations"])?;
    let (region, stations) = (reader.name(&fields, "name"), reader.stations(&fields, "stations"));
    if fields.get("name").is_none() {
        reader.wrong(fields.start, "the region has no name: its brokers' certificates have it");
    }
    Some(Watch { region: region?, stations })
}

/// The keys of a school.
const SCHOOL: [&str; 17] = [
    "id",
    "name",
    "address",
    "position",
    "area",
    "silent",
    "stations",
    "neighbours",
    "escalation",
    "test_every_days",
    "zone",
    "device",
    "contact",
    "duty",
    "drill",
    "person_list",
    "person_mute",
];

fn school(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<School> {
    let fields = reader.fields(value, "school", &SCHOOL)?;
    let before = reader.mistakes();
    let id = reader.name(&fields, "id");
    let (name, address) = (reader.label(&fields, "name"), reader.label(&fields, "address"));
    let position = fields.get("position").and_then(|value| position(reader, value));
    let (area, silent) = (reader.area(&fields, "area"), reader.yes(&fields, "silent"));
    let (stations, neighbours) = (reader.stations(&fields, "stations"), reader.stations(&fields, "neighbours"));
    let (times, test_every_days) = (times(reader, &fields), reader.number(&fields, "test_every_days"));
    let (zones, devices) = (list(reader, &fields, "zone", zone), list(reader, &fields, "device", device));
    let (contacts, duty) = (list(reader, &fields, "contact", contact), list(reader, &fields, "duty", duty));
    let drills = list(reader, &fields, "drill", drill);
    let thresholds = list(reader, &fields, "person_list", threshold);
    let persons = PersonRules { thresholds, mutes: list(reader, &fields, "person_mute", mute) };
    // That it has none is no news beside other mistakes: the key may be written wrongly.
    if fields.get("id").is_none() && reader.mistakes() == before {
        reader.wrong(fields.start, "the school has no id");
    }
    Some(School {
        id: SchoolId(id?),
        name,
        address,
        position,
        area,
        silent,
        stations,
        neighbours,
        times,
        test_every_days,
        zones,
        devices,
        contacts,
        duty,
        drills,
        persons,
    })
}

/// The tables under one key of a school.
fn list<T>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    key: &str,
    read: fn(&mut Reader<'_>, &Value<'_>) -> Option<T>,
) -> Vec<T> {
    tables(reader, fields, ("school", key), read)
}

fn tables<T>(
    reader: &mut Reader<'_>,
    fields: &Fields<'_>,
    (of, key): (&str, &str),
    read: fn(&mut Reader<'_>, &Value<'_>) -> Option<T>,
) -> Vec<T> {
    let items = reader.items(fields, key, &format!("tables: [[{of}.{key}]]"));
    items.iter().filter_map(|item| read(reader, item)).collect()
}

fn times(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Times {
    let mut times = Times::default();
    let Some(value) = fields.get("escalation") else { return times };
    let Some(fields) = reader.fields(value, "escalation", &Rung::ALL.map(Rung::as_str)) else { return times };
    for rung in Rung::ALL {
        *times.slot(rung) = reader.seconds(&fields, rung.as_str());
    }
    times
}

fn position(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Position> {
    let fields = reader.fields(value, "position", &["lat", "lon"])?;
    let (lat, lon) = (reader.degrees(&fields, "lat"), reader.degrees(&fields, "lon"));
    Position::from_micros(lat?, lon?).map_err(|why| reader.wrong(fields.start, why)).ok()
}

fn zone(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Zone> {
    let fields = reader.fields(value, "zone", &["id", "name", "line"])?;
    let (id, name) = (reader.needed_name(&fields, "id", "zone"), reader.label(&fields, "name"));
    let line = reader.word(&fields, "line", "zone");
    Some(Zone { id: id?, name, line: line? })
}

fn device(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Device> {
    let fields = reader.fields(value, "device", &["id", "kind", "place", "zone", "gb28181", "rtsp"])?;
    let id = reader.needed_name(&fields, "id", "device");
    let kind: Option<DeviceKind> = reader.word(&fields, "kind", "device");
    let (place, zone) = (reader.label(&fields, "place"), reader.name(&fields, "zone"));
    let code = reader.text(&fields, "gb28181", GbCode::new).map(Picture::Gb28181);
    let addr = reader.text(&fields, "rtsp", RtspAddr::new).map(Picture::Rtsp);
    if let (Some(_), Some(both)) = (&code, fields.get("rtsp")) {
        reader.wrong(both.span().start, "a camera has gb28181 or rtsp, not both");
    }
    Some(Device { id: id?, kind: kind?, place, zone, picture: code.or(addr) })
}

fn contact(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Contact> {
    let fields = reader.fields(value, "contact", &["name", "role", "phone"])?;
    let (name, role) = (reader.label(&fields, "name"), reader.label(&fields, "role"));
    Some(Contact { name, role, phone: reader.phone(&fields, "phone") })
}

fn hours(reader: &mut Reader<'_>, fields: &Fields<'_>, what: &str) -> Option<Hours> {
    let (from, to) = (reader.minute(fields, "from", what), reader.minute(fields, "to", what));
    Some(Hours { from: from?, to: to? })
}

/// After this many seconds an empty post is told where nobody says otherwise.
const ABSENT_SECS: u16 = 60;

fn weekdays(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Weekdays {
    let mut days = Weekdays::default();
    let items = reader.items(fields, "weekdays", "weekdays, such as [\"mon\", \"tue\"]");
    for value in items.iter().take(limits::LIST_ITEMS) {
        let day: Option<Weekday> = reader.item(value, "a weekday is a word in quotation marks");
        day.into_iter().for_each(|day| days.insert(day));
    }
    days
}

fn duty(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Duty> {
    let fields = reader.fields(value, "duty", &["weekdays", "from", "to", "absent_after"])?;
    let days = weekdays(reader, &fields);
    let hours = hours(reader, &fields, "duty");
    let absent_secs = reader.seconds(&fields, "absent_after").unwrap_or(ABSENT_SECS);
    Some(Duty { days, hours: hours?, absent_secs })
}

fn drill(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Drill> {
    let fields = reader.fields(value, "drill", &["date", "from", "to"])?;
    let (day, hours) = (reader.day(&fields, "date", "drill"), hours(reader, &fields, "drill"));
    Some(Drill { day: day?, hours: hours? })
}

fn threshold(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Threshold> {
    let fields = reader.fields(value, "person_list", &["list", "threshold"])?;
    let (list, permille) = (reader.needed_name(&fields, "list", "person_list"), reader.share(&fields, "threshold"));
    Some(Threshold { list: list?, permille: permille? })
}

fn mute(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Mute> {
    let fields = reader.fields(value, "person_mute", &["person", "until"])?;
    let until = fields.get("until").map(|_| reader.day(&fields, "until", "person_mute"));
    let person = reader.label(&fields, "person");
    // A date that is none has been said, and must not mute for good.
    Some(Mute { person, until: until.map_or(Some(None), |day| day.map(Some))? })
}
