//! What every part of a plan must be like, alone and beside the others. All mistakes are found, not the first.

use std::collections::BTreeSet;

use crate::id::StationId;
use crate::limits;
use crate::plan::Plan;
use crate::plan::area::{Area, Station, Watch};
use crate::plan::error::{PlanError, Subject};
use crate::plan::person::PersonRules;
use crate::plan::school::{DeviceKind, School};
use crate::plan::times::{Rung, Times};

/// Mistakes as they are found.
pub(super) type Found = Vec<PlanError>;

/// What can be said of a school without looking at anything else.
pub(super) fn school(school: &School, found: &mut Found) {
    let of = || Subject::School(school.id.clone());
    stations(&of(), &school.stations, found);
    too_many(&of(), "neighbours", school.neighbours.len(), limits::PLAN_NEIGHBOURS, found);
    twice(&of(), &school.neighbours, found);
    for station in school.neighbours.iter().filter(|station| school.stations.contains(station)) {
        found.push(PlanError::OwnNeighbour { of: of(), station: station.clone() });
    }
    bounds(&of(), &school.times, found);
    if let Some(days) = school.test_every_days.filter(|days| !(1..=limits::PLAN_TEST_DAYS).contains(days)) {
        found.push(PlanError::TestPeriod { of: of(), days });
    }
    zones_and_devices(school, found);
    too_many(&of(), "contacts", school.contacts.len(), limits::PLAN_CONTACTS, found);
    for contact in &school.contacts {
        for (missing, empty) in [("name", contact.name.is_empty()), ("phone", contact.phone.is_empty())] {
            if empty {
                found.push(PlanError::Missing { of: of(), what: "contact", missing });
            }
        }
    }
    hours(school, found);
    persons(school, found);
}

fn persons(school: &School, found: &mut Found) {
    let of = || Subject::School(school.id.clone());
    let PersonRules { thresholds, mutes } = &school.persons;
    too_many(&of(), "person lists", thresholds.len(), limits::PLAN_PERSON_LISTS, found);
    too_many(&of(), "muted persons", mutes.len(), limits::PLAN_PERSON_MUTES, found);
    let (mut lists, mut muted) = (BTreeSet::new(), BTreeSet::new());
    for threshold in thresholds {
        if !lists.insert(&threshold.list) {
            found.push(PlanError::IdTwice { of: of(), what: "person lists", id: threshold.list.clone() });
        }
        if threshold.permille > 1_000 {
            found.push(PlanError::Threshold { of: of(), list: threshold.list.clone(), permille: threshold.permille });
        }
    }
    for mute in mutes {
        let name = mute.person.as_str();
        if name.is_empty() || name.len() > limits::NAME_BYTES || !muted.insert(name) {
            found.push(PlanError::Muted { of: of(), person: mute.person.clone() });
        }
    }
}

fn zones_and_devices(school: &School, found: &mut Found) {
    let of = || Subject::School(school.id.clone());
    too_many(&of(), "zones", school.zones.len(), limits::PLAN_ZONES, found);
    too_many(&of(), "devices", school.devices.len(), limits::PLAN_DEVICES, found);
    let mut zones = BTreeSet::new();
    for zone in &school.zones {
        if !zones.insert(&zone.id) {
            found.push(PlanError::IdTwice { of: of(), what: "zones", id: zone.id.clone() });
        }
    }
    let mut devices = BTreeSet::new();
    for device in &school.devices {
        let id = || device.id.clone();
        if !devices.insert(&device.id) {
            found.push(PlanError::IdTwice { of: of(), what: "devices", id: id() });
        }
        if let Some(zone) = device.zone.as_ref().filter(|zone| !zones.contains(zone)) {
            found.push(PlanError::UnknownZone { of: of(), device: id(), zone: zone.clone() });
        }
        match (device.kind, &device.picture) {
            (DeviceKind::Camera, None) => found.push(PlanError::NoPicture { of: of(), device: id() }),
            (DeviceKind::Camera, Some(_)) | (_, None) => {}
            (kind, Some(_)) => found.push(PlanError::StrayPicture { of: of(), device: id(), kind }),
        }
    }
}

fn hours(school: &School, found: &mut Found) {
    let of = || Subject::School(school.id.clone());
    too_many(&of(), "duty hours", school.duty.len(), limits::PLAN_DUTY_HOURS, found);
    too_many(&of(), "drills", school.drills.len(), limits::PLAN_DRILLS, found);
    for duty in &school.duty {
        if !duty.hours.is_whole() {
            found.push(PlanError::NoHours { of: of(), what: "duty", hours: duty.hours });
        }
        if duty.days.is_empty() {
            found.push(PlanError::NoDays { of: of(), what: "duty" });
        }
        let (least, most) = limits::PLAN_ABSENT_SECS;
        if !(least..=most).contains(&duty.absent_secs) {
            found.push(PlanError::Absence { of: of(), secs: duty.absent_secs });
        }
    }
    for drill in &school.drills {
        if !drill.hours.is_whole() {
            found.push(PlanError::NoHours { of: of(), what: "a drill", hours: drill.hours });
        } else if drill.hours.minutes() > limits::PLAN_DRILL_MINUTES {
            found.push(PlanError::LongDrill { of: of(), minutes: drill.hours.minutes() });
        }
    }
}

/// What can be said of an area without looking at anything else.
pub(super) fn area(area: &Area, found: &mut Found) {
    let of = || Subject::Area(area.code);
    bounds(&of(), &area.times, found);
    too_many(&of(), "school hours", area.school_hours.len(), limits::PLAN_SCHOOL_HOURS, found);
    too_many(&of(), "holidays", area.holidays.len(), limits::PLAN_HOLIDAYS, found);
    for taught in &area.school_hours {
        if !taught.hours.is_whole() {
            found.push(PlanError::NoHours { of: of(), what: "school", hours: taught.hours });
        }
        if taught.days.is_empty() {
            found.push(PlanError::NoDays { of: of(), what: "school" });
        }
    }
    for holiday in area.holidays.iter().filter(|holiday| holiday.from > holiday.to) {
        found.push(PlanError::Backwards { of: of(), from: holiday.from, to: holiday.to });
    }
}

/// What can be said of who watches for a region without looking at anything else.
pub(super) fn watch(watch: &Watch, found: &mut Found) {
    stations(&Subject::Region(watch.region.clone()), &watch.stations, found);
}

fn stations(of: &Subject, stations: &[StationId], found: &mut Found) {
    if stations.is_empty() {
        found.push(PlanError::NoStation(of.clone()));
    }
    if stations.len() > limits::STATIONS_PER_SCHOOL {
        found.push(PlanError::TooManyStations { of: of.clone(), count: stations.len() });
    }
    twice(of, stations, found);
}

fn twice(of: &Subject, stations: &[StationId], found: &mut Found) {
    // A handful; a list beyond its bound has been named already.
    for (at, station) in stations.iter().enumerate().take(limits::LIST_ITEMS) {
        if stations[..at].contains(station) {
            found.push(PlanError::StationTwice { of: of.clone(), station: station.clone() });
        }
    }
}

fn bounds(of: &Subject, times: &Times, found: &mut Found) {
    for rung in Rung::ALL {
        let (least, most) = rung.bounds_secs();
        if let Some(secs) = times.get(rung).filter(|secs| !(least..=most).contains(secs)) {
            found.push(PlanError::OutOfBounds { of: of.clone(), rung, secs });
        }
    }
}

fn too_many(of: &Subject, what: &'static str, count: usize, limit: usize, found: &mut Found) {
    if count > limit {
        found.push(PlanError::TooMany { of: of.clone(), what, count, limit });
    }
}

impl Plan {
    /// What a school points at must be there, and its times must rise.
    pub(super) fn check_school(&self, school: &School, found: &mut Found) {
        let of = || Subject::School(school.id.clone());
        self.check_stations(&of, school.stations.iter().chain(&school.neighbours), found);
        if let Some(area) = school.area.filter(|area| !self.areas.contains_key(area)) {
            found.push(PlanError::UnknownArea { of: of(), area });
        }
        self.check_rising(&of, self.times_of(school).map(|time| (time.rung, time.after.as_secs())), found);
    }

    pub(super) fn check_area(&self, area: &Area, found: &mut Found) {
        let of = || Subject::Area(area.code);
        if let Some(parent) = area.code.parent().filter(|parent| !self.areas.contains_key(parent)) {
            found.push(PlanError::NoParent(area.code, parent));
        }
        self.check_stations(&of, area.desk.iter(), found);
        let times = self.times_from(None, Some(area.code));
        self.check_rising(&of, times.map(|time| (time.rung, time.after.as_secs())), found);
    }

    pub(super) fn check_station(&self, station: &Station, found: &mut Found) {
        if let Some(area) = station.area.filter(|area| !self.areas.contains_key(area)) {
            found.push(PlanError::UnknownArea { of: Subject::Station(station.id.clone()), area });
        }
    }

    pub(super) fn check_watch(&self, watch: &Watch, found: &mut Found) {
        self.check_stations(&|| Subject::Region(watch.region.clone()), watch.stations.iter(), found);
    }

    fn check_stations<'a>(
        &self,
        of: &dyn Fn() -> Subject,
        named: impl Iterator<Item = &'a StationId>,
        found: &mut Found,
    ) {
        if self.stations.is_empty() {
            return;
        }
        for station in named.filter(|station| !self.stations.contains_key(station)) {
            found.push(PlanError::UnknownStation { of: of(), station: station.clone() });
        }
    }

    fn check_rising(&self, of: &dyn Fn() -> Subject, times: [(Rung, u64); Rung::ALL.len()], found: &mut Found) {
        // Set values are 16 bits wide.
        let secs = |time: u64| u16::try_from(time).unwrap_or(u16::MAX);
        for pair in times.windows(2) {
            if let [(lower, low), (higher, high)] = *pair
                && lower.is_of_taken() == higher.is_of_taken()
                && low >= high
            {
                let (lower_secs, higher_secs) = (secs(low), secs(high));
                found.push(PlanError::NotRising { of: of(), lower, lower_secs, higher, higher_secs });
            }
        }
    }

    /// That no list is longer than the whole plan may have.
    pub(super) fn check_sizes(&self, found: &mut Found) {
        for (what, count, limit) in [
            ("areas", self.areas.len(), limits::PLAN_AREAS),
            ("stations", self.stations.len(), limits::PLAN_STATIONS),
            ("schools", self.schools.len(), limits::PLAN_SCHOOLS),
            ("regions", self.regions.len(), limits::PLAN_REGIONS),
        ] {
            if count > limit {
                found.push(PlanError::Full { what, count, limit });
            }
        }
    }
}
