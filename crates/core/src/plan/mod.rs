//! The plan (一校一方案): areas, stations and schools, which stations answer for which school, and how an alarm goes further when nobody
//! takes it; in a province, also which stations watch for a region whose schools the plan does not name.
//!
//! ```text
//! 360000 省 ─ 361100 市 ─ 361102 县      the desk and the times of an area hold for all schools in it, the nearest wins
//!                           └ school ─ stations (the first owns, all see at once), neighbours, zones, devices, people
//! ```
//!
//! Invariant: a plan that exists is valid. Every school and every region that it names has at least one station, each of them once; if it
//! lists stations, all that are named are listed; an area has the one around it; times rise.

mod area;
mod change;
mod check;
mod command;
mod error;
mod explain;
mod generate;
mod hours;
mod part;
mod person;
mod school;
mod times;
mod words;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::id::{Name, SchoolId, StationId};
use crate::limits;
use crate::time::Span;

pub use area::{Area, AreaCode, AreaCodeError, AreaLevel, Holiday, SchoolHours, Station, Watch};
pub use change::{Change, Counts, Tally};
pub use error::{PlanError, Subject};
pub use explain::{Explanation, Part, Reach};
pub use generate::{Province, province};
pub use hours::{Day, Hours, HoursError, Minute, Weekday, Weekdays, at_minute, on_the_wall};
pub use part::{PlanMark, SchoolPart};
pub use person::{DEFAULT_LIST, Mute, PersonRules, Threshold, Withheld};
pub use school::{
    Contact, Device, DeviceKind, Drill, Duty, GbCode, Line, Picture, PictureError, Position, PositionError, RtspAddr,
    School, WordError, Zone,
};
pub use times::{Rung, RungTime, TimeFrom, Times};
pub use words::{Label, Phone, WordsError};

/// The plan. Copies share their parts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    areas: BTreeMap<AreaCode, Arc<Area>>,
    stations: BTreeMap<StationId, Arc<Station>>,
    schools: BTreeMap<SchoolId, Arc<School>>,
    regions: BTreeMap<Name, Arc<Watch>>,
}

/// Who must see an alarm of a school next, and when, as long as nobody takes it or nobody is sent. Counted from when the region has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// When each rung is due, in the order of [`Rung::ALL`].
    pub after: [Span; Rung::ALL.len()],
    /// The desk of its county, if there is one.
    pub county: Option<StationId>,
    /// The desk of its city, if there is one.
    pub city: Option<StationId>,
    /// The desk of its province, if there is one.
    pub province: Option<StationId>,
    /// Stations nearby that come to help.
    pub neighbours: Vec<StationId>,
}

impl Escalation {
    /// Whether there is anybody to whom an alarm could go.
    #[must_use]
    pub fn leads_anywhere(&self) -> bool {
        let desks = [&self.county, &self.city, &self.province];
        desks.into_iter().any(Option::is_some) || !self.neighbours.is_empty()
    }
}

impl Plan {
    /// Adds a school of which no more is known than who answers for it.
    ///
    /// # Errors
    /// The first [`PlanError`]; the plan is unchanged then.
    pub fn add(&mut self, school: SchoolId, stations: Vec<StationId>) -> Result<(), PlanError> {
        if self.schools.contains_key(&school) {
            return Err(PlanError::Twice(Subject::School(school)));
        }
        let (school, mut found) = (School::bare(school, stations), Vec::new());
        check::school(&school, &mut found);
        self.check_school(&school, &mut found);
        first_of(found, "schools", (self.schools.len(), limits::PLAN_SCHOOLS))?;
        self.schools.insert(school.id.clone(), Arc::new(school));
        Ok(())
    }

    /// Adds who watches for a region: for its schools that have no route of their own.
    ///
    /// # Errors
    /// The first [`PlanError`]; the plan is unchanged then.
    pub fn add_region(&mut self, region: Name, stations: Vec<StationId>) -> Result<(), PlanError> {
        if self.regions.contains_key(&region) {
            return Err(PlanError::Twice(Subject::Region(region)));
        }
        let (watch, mut found) = (Watch { region, stations }, Vec::new());
        check::watch(&watch, &mut found);
        self.check_watch(&watch, &mut found);
        first_of(found, "regions", (self.regions.len(), limits::PLAN_REGIONS))?;
        self.regions.insert(watch.region.clone(), Arc::new(watch));
        Ok(())
    }

    /// The stations that answer for `school`; none if the plan does not know it.
    #[must_use]
    pub fn route(&self, school: &SchoolId) -> &[StationId] {
        self.schools.get(school).map_or(&[], |school| &school.stations)
    }

    /// The stations that see what `region` forwards of `school`: the school's own, or those that watch for the region.
    #[must_use]
    pub fn route_from(&self, region: &Name, school: &SchoolId) -> &[StationId] {
        match self.schools.get(school) {
            Some(school) => &school.stations,
            None => self.regions.get(region).map_or(&[], |watch| &watch.stations),
        }
    }

    /// The desks that see an alarm about life and limb of `school` at once, beside its stations: those of its county and its city.
    pub fn desks(&self, school: &SchoolId) -> impl Iterator<Item = &StationId> {
        let area = self.schools.get(school).and_then(|school| self.area_of(school));
        let levels = [AreaLevel::County, AreaLevel::City];
        levels.into_iter().filter_map(move |level| self.desk(area, level))
    }

    /// How an alarm of `school` goes further. For a school that the plan does not name: by the default times, to nobody.
    #[must_use]
    pub fn escalation(&self, school: &SchoolId) -> Escalation {
        let known = self.schools.get(school);
        let area = known.and_then(|school| self.area_of(school));
        let times = self.times_from(known.map(|school| &school.times), area);
        let desk = |level| self.desk(area, level).cloned();
        Escalation {
            after: times.map(|time| time.after),
            county: desk(AreaLevel::County),
            city: desk(AreaLevel::City),
            province: desk(AreaLevel::Province),
            neighbours: known.map(|school| school.neighbours.clone()).unwrap_or_default(),
        }
    }

    /// Whether that day, counted from 1970-01-01, is a holiday of the school.
    #[must_use]
    pub fn is_holiday(&self, school: &SchoolId, day: i64) -> bool {
        let on = |holiday: &Holiday| (i64::from(holiday.from.number())..=i64::from(holiday.to.number())).contains(&day);
        self.areas_of(school).any(|area| area.holidays.iter().any(on))
    }

    /// Whether the school is taught on that day of the week at that minute, should the day be no holiday.
    #[must_use]
    pub fn is_taught(&self, school: &SchoolId, weekday: Weekday, minute: Minute) -> bool {
        match self.areas_of(school).find(|area| !area.school_hours.is_empty()) {
            Some(area) => {
                area.school_hours.iter().any(|taught| taught.days.contains(weekday) && taught.hours.contains(minute))
            }
            None => !matches!(weekday, Weekday::Sat | Weekday::Sun) && (420..1_080).contains(&minute.number()),
        }
    }

    /// The areas around a school, from the inside out.
    fn areas_of(&self, school: &SchoolId) -> impl Iterator<Item = &Arc<Area>> {
        let area = self.schools.get(school).and_then(|school| self.area_of(school));
        area.into_iter().flat_map(AreaCode::upwards).filter_map(|code| self.areas.get(&code))
    }

    /// The school, if the plan names it.
    #[must_use]
    pub fn school(&self, school: &SchoolId) -> Option<&Arc<School>> {
        self.schools.get(school)
    }

    /// The station, if the plan lists it.
    #[must_use]
    pub fn station(&self, station: &StationId) -> Option<&Arc<Station>> {
        self.stations.get(station)
    }

    /// The area, if the plan lists it.
    #[must_use]
    pub fn area(&self, code: AreaCode) -> Option<&Arc<Area>> {
        self.areas.get(&code)
    }

    /// How many schools it names.
    #[must_use]
    pub fn schools(&self) -> usize {
        self.schools.len()
    }

    /// The stations that must be watched, each once: those of schools, those that watch for regions, and the desks of areas.
    #[must_use]
    pub fn answering_stations(&self) -> BTreeSet<&StationId> {
        let schools = self.schools.values().flat_map(|school| &school.stations);
        let regions = self.regions.values().flat_map(|watch| &watch.stations);
        schools.chain(regions).chain(self.areas.values().filter_map(|area| area.desk.as_ref())).collect()
    }

    /// How many stations it lists.
    #[must_use]
    pub fn stations(&self) -> usize {
        self.stations.len()
    }

    /// How many areas it lists.
    #[must_use]
    pub fn areas(&self) -> usize {
        self.areas.len()
    }

    /// The codes of the schools that it names.
    pub fn school_ids(&self) -> impl Iterator<Item = &SchoolId> {
        self.schools.keys()
    }

    /// The regions that it names.
    pub fn regions(&self) -> impl Iterator<Item = &Name> {
        self.regions.keys()
    }

    /// The area of a school: its own, or its first station's.
    #[must_use]
    pub fn area_of(&self, school: &School) -> Option<AreaCode> {
        let by_station = || self.stations.get(school.stations.first()?)?.area;
        school.area.or_else(by_station)
    }

    /// The desk of that level of or around `area`.
    pub(crate) fn desk(&self, area: Option<AreaCode>, level: AreaLevel) -> Option<&StationId> {
        let code = area?.upwards().find(|code| code.level() == level)?;
        self.areas.get(&code)?.desk.as_ref()
    }

    /// The times of a school, in the order of [`Rung::ALL`].
    fn times_of(&self, school: &School) -> [RungTime; Rung::ALL.len()] {
        self.times_from(Some(&school.times), self.area_of(school))
    }

    fn times_from(&self, own: Option<&Times>, area: Option<AreaCode>) -> [RungTime; Rung::ALL.len()] {
        let secs = |secs: u16| Span::from_secs(secs.into());
        Rung::ALL.map(|rung| {
            if let Some(set) = own.and_then(|times| times.get(rung)) {
                return RungTime { rung, after: secs(set), from: TimeFrom::School };
            }
            let mut around = area.into_iter().flat_map(AreaCode::upwards);
            let set = around.find_map(|code| Some((code, self.areas.get(&code)?.times.get(rung)?)));
            match set {
                Some((code, set)) => RungTime { rung, after: secs(set), from: TimeFrom::Area(code) },
                None => RungTime { rung, after: secs(rung.default_secs()), from: TimeFrom::Default },
            }
        })
    }
}

/// The first mistake, if one was found; otherwise that there is no room for one more.
fn first_of(found: Vec<PlanError>, what: &'static str, (count, limit): (usize, usize)) -> Result<(), PlanError> {
    match found.into_iter().next() {
        Some(first) => Err(first),
        None if count >= limit => Err(PlanError::Full { what, count: count + 1, limit }),
        None => Ok(()),
    }
}
