//! A plan as the files that are read back to it.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use huxiao_core::plan::{
    Area, Change, Device, Drill, Duty, Holiday, Mute, Picture, Plan, Position, Rung, School, SchoolHours, Station,
    Threshold, Times, Watch, Zone,
};

/// The files of a plan by their names: areas and regions in one, the stations in one, the schools by their areas.
#[must_use]
pub fn write(plan: &Plan) -> BTreeMap<String, String> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for part in plan.parts() {
        let (file, text) = match &part {
            Change::Area(one) => ("areas.toml".to_owned(), area(one)),
            Change::Station(one) => ("stations.toml".to_owned(), station(one)),
            Change::School(one) => {
                let area = plan.area_of(one).map_or_else(|| "elsewhere".to_owned(), |code| code.to_string());
                (format!("schools-{area}.toml"), school(one))
            }
            Change::Watch(one) => ("regions.toml".to_owned(), watch(one)),
            // A plan has parts, and no removals.
            Change::Remove(_) => continue,
        };
        let file = files.entry(file).or_default();
        if !file.is_empty() {
            file.push('\n');
        }
        file.push_str(&text);
    }
    files
}

/// Lines of one table.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn table(kind: &str) -> Self {
        Self(format!("[[{kind}]]\n"))
    }

    fn raw(&mut self, key: &str, value: impl Display) {
        // A text takes everything.
        let _ = writeln!(self.0, "{key} = {value}");
    }

    /// A text, unless it is empty.
    fn text(&mut self, key: &str, value: impl Display) {
        let value = value.to_string();
        if !value.is_empty() {
            self.raw(key, quoted(&value));
        }
    }

    fn texts(&mut self, key: &str, values: impl IntoIterator<Item = impl Display>) {
        let values: Vec<String> = values.into_iter().map(|value| quoted(&value.to_string())).collect();
        if !values.is_empty() {
            self.raw(key, format_args!("[{}]", values.join(", ")));
        }
    }

    fn optional(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.text(key, value);
        }
    }

    fn times(&mut self, times: &Times) {
        let set = Rung::ALL.into_iter().filter_map(|rung| Some(format!("{rung} = \"{}s\"", times.get(rung)?)));
        let set: Vec<String> = set.collect();
        if !set.is_empty() {
            self.raw("escalation", format_args!("{{ {} }}", set.join(", ")));
        }
    }
}

/// A basic string of TOML. What a plan's texts may hold needs no other escapes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn area(area: &Area) -> String {
    let mut lines = Lines::table("area");
    lines.text("code", area.code);
    lines.text("name", &area.name);
    lines.optional("desk", area.desk.as_ref());
    lines.times(&area.times);
    area.school_hours.iter().for_each(|one| lines.0.push_str(&school_hours(one)));
    area.holidays.iter().for_each(|one| lines.0.push_str(&holiday(one)));
    lines.0
}

fn school_hours(taught: &SchoolHours) -> String {
    let mut lines = Lines::table("area.school_hours");
    lines.texts("weekdays", taught.days.iter().map(|day| day.as_str()));
    lines.text("from", taught.hours.from);
    lines.text("to", taught.hours.to);
    lines.0
}

fn holiday(holiday: &Holiday) -> String {
    let mut lines = Lines::table("area.holiday");
    lines.raw("from", holiday.from);
    lines.raw("to", holiday.to);
    lines.0
}

fn station(station: &Station) -> String {
    let mut lines = Lines::table("station");
    lines.text("id", &station.id);
    lines.text("name", &station.name);
    lines.optional("area", station.area);
    lines.text("phone", &station.phone);
    lines.0
}

fn watch(watch: &Watch) -> String {
    let mut lines = Lines::table("region");
    lines.text("name", &watch.region);
    lines.texts("stations", &watch.stations);
    lines.0
}

fn school(school: &School) -> String {
    let mut lines = Lines::table("school");
    lines.text("id", &school.id);
    lines.text("name", &school.name);
    lines.text("address", &school.address);
    if let Some(at) = school.position {
        lines.raw("position", position(at));
    }
    lines.optional("area", school.area);
    if school.silent {
        lines.raw("silent", true);
    }
    lines.texts("stations", &school.stations);
    lines.texts("neighbours", &school.neighbours);
    lines.times(&school.times);
    if let Some(days) = school.test_every_days {
        lines.raw("test_every_days", days);
    }
    school.zones.iter().for_each(|one| lines.0.push_str(&zone(one)));
    school.devices.iter().for_each(|one| lines.0.push_str(&device(one)));
    for contact in &school.contacts {
        let mut inner = Lines::table("school.contact");
        inner.text("name", &contact.name);
        inner.text("role", &contact.role);
        inner.text("phone", &contact.phone);
        lines.0.push_str(&inner.0);
    }
    school.duty.iter().for_each(|one| lines.0.push_str(&duty(one)));
    school.drills.iter().for_each(|one| lines.0.push_str(&drill(one)));
    for Threshold { list, permille } in &school.persons.thresholds {
        let mut inner = Lines::table("school.person_list");
        inner.text("list", list);
        inner.raw("threshold", format_args!("{}.{:03}", permille / 1_000, permille % 1_000));
        lines.0.push_str(&inner.0);
    }
    for Mute { person, until } in &school.persons.mutes {
        let mut inner = Lines::table("school.person_mute");
        inner.text("person", person);
        if let Some(day) = until {
            inner.raw("until", day);
        }
        lines.0.push_str(&inner.0);
    }
    lines.0
}

fn position(at: Position) -> String {
    format!("{{ lat = {}, lon = {} }}", degrees(at.lat_micros()), degrees(at.lon_micros()))
}

fn degrees(micros: i32) -> String {
    let (sign, size) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    format!("{sign}{}.{:06}", size / 1_000_000, size % 1_000_000)
}

fn zone(zone: &Zone) -> String {
    let mut lines = Lines::table("school.zone");
    lines.text("id", &zone.id);
    lines.text("name", &zone.name);
    lines.text("line", zone.line);
    lines.0
}

fn device(device: &Device) -> String {
    let mut lines = Lines::table("school.device");
    lines.text("id", &device.id);
    lines.text("kind", device.kind);
    lines.text("place", &device.place);
    lines.optional("zone", device.zone.as_ref());
    match &device.picture {
        Some(Picture::Gb28181(code)) => lines.text("gb28181", code.as_str()),
        Some(Picture::Rtsp(addr)) => lines.text("rtsp", addr.as_str()),
        None => {}
    }
    lines.0
}

fn duty(duty: &Duty) -> String {
    let mut lines = Lines::table("school.duty");
    lines.texts("weekdays", duty.days.iter().map(|day| day.as_str()));
    lines.text("from", duty.hours.from);
    lines.text("to", duty.hours.to);
    lines.text("absent_after", format_args!("{}s", duty.absent_secs));
    lines.0
}

fn drill(drill: &Drill) -> String {
    let mut lines = Lines::table("school.drill");
    lines.raw("date", drill.day);
    lines.text("from", drill.hours.from);
    lines.text("to", drill.hours.to);
    lines.0
}
