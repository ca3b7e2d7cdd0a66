//! Who gets an alarm of a school, in which role, after how long, and why: the plan in answers, for people who ask before it is needed.
//!
//! Invariant: what is said here is read off the same functions by which alarms go, so the answer and the way cannot differ.

use std::fmt;

use crate::event::Class;
use crate::id::{SchoolId, StationId};
use crate::plan::Plan;
use crate::plan::area::{AreaCode, AreaLevel};
use crate::plan::hours::on_the_wall;
use crate::plan::school::{Drill, Duty};
use crate::plan::times::{Rung, RungTime};
use crate::time::{Span, WallTime};

/// The part that a station has in an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The first of the school's stations.
    Owner,
    /// Another one of them.
    Backup,
    /// The desk of its county.
    CountyDesk(AreaCode),
    /// The desk of its city.
    CityDesk(AreaCode),
    /// The desk of its province.
    ProvinceDesk(AreaCode),
    /// A station nearby.
    Neighbour,
}

impl Part {
    /// Its word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Part::Owner => "owner",
            Part::Backup => "backup",
            Part::CountyDesk(_) => "county_desk",
            Part::CityDesk(_) => "city_desk",
            Part::ProvinceDesk(_) => "province_desk",
            Part::Neighbour => "neighbour",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One station that gets an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The station.
    pub station: StationId,
    /// Its part.
    pub part: Part,
    /// After how long it sees the alarm, as long as nobody has taken it.
    pub sees_after: Span,
    /// After how long it owns it too; `None` if never.
    pub owns_after: Option<Span>,
    /// Why, for people.
    pub why: String,
}

/// What the plan says of an alarm of a school.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the plan names the school. If not, its alarms wait in the record for a plan that does.
    pub known: bool,
    /// Whether nothing at the school shows or sounds it.
    pub silent: bool,
    /// The area by which desks and times are found.
    pub area: Option<AreaCode>,
    /// Who gets it: those who see it first come first.
    pub reaches: Vec<Reach>,
    /// The times of the ladders, and who set them, in the order of [`Rung::ALL`].
    pub times: [RungTime; Rung::ALL.len()],
    /// The registered drill that is on at that time.
    pub drill: Option<Drill>,
    /// The duty hours that are on at that time.
    pub duty: Option<Duty>,
}

impl Plan {
    /// What becomes of an alarm of `class` that `school` raises at `at`, as long as nobody takes it.
    #[must_use]
    pub fn explain(&self, school: &SchoolId, class: Class, at: WallTime) -> Explanation {
        let Some(known) = self.school(school) else {
            let times = self.times_from(None, None);
            let (reaches, drill, duty) = (Vec::new(), None, None);
            return Explanation { known: false, silent: false, area: None, reaches, times, drill, duty };
        };
        let (day, weekday, minute) = on_the_wall(at);
        let drill =
            known.drills.iter().find(|drill| i64::from(drill.day.number()) == day && drill.hours.contains(minute));
        let duty = known.duty.iter().find(|duty| duty.days.contains(weekday) && duty.hours.contains(minute));
        Explanation {
            known: true,
            silent: known.silent,
            area: self.area_of(known),
            reaches: self.reaches(school, class),
            times: self.times_of(known),
            drill: drill.copied(),
            duty: duty.copied(),
        }
    }

    fn reaches(&self, school: &SchoolId, class: Class) -> Vec<Reach> {
        let (route, escalation) = (self.route(school), self.escalation(school));
        let mut reaches: Vec<Reach> = Vec::new();
        for (at, station) in route.iter().enumerate() {
            let (part, why) = match at {
                0 => (Part::Owner, format!("the first station of school {school}")),
                _ => (Part::Backup, format!("station {} of school {school}", at + 1)),
            };
            let owns_after = (at == 0).then_some(Span::ZERO);
            reaches.push(Reach { station: station.clone(), part, sees_after: Span::ZERO, owns_after, why });
        }
        // What is no alarm is nobody's to take, so it does not go further.
        if class > Class::P1 {
            return reaches;
        }
        let area = self.school(school).and_then(|school| self.area_of(school));
        let at_once: Vec<&StationId> = if class == Class::P0 { self.desks(school).collect() } else { Vec::new() };
        let code = |level| area.and_then(|area| area.upwards().find(|code| code.level() == level));
        for (level, desk, after, rung) in [
            (AreaLevel::County, &escalation.county, Rung::County.after(&escalation), Rung::County),
            (AreaLevel::City, &escalation.city, Rung::City.after(&escalation), Rung::City),
            (AreaLevel::Province, &escalation.province, Rung::Province.after(&escalation), Rung::Province),
        ] {
            let (Some(desk), Some(code)) = (desk, code(level)) else { continue };
            let part = match level {
                AreaLevel::County => Part::CountyDesk(code),
                AreaLevel::City => Part::CityDesk(code),
                AreaLevel::Province => Part::ProvinceDesk(code),
            };
            let sees_after = if at_once.contains(&desk) { Span::ZERO } else { after };
            let why = format!("the desk of {rung} {code}; owns it too if nobody has taken it");
            reaches.push(Reach { station: desk.clone(), part, sees_after, owns_after: Some(after), why });
        }
        for station in &escalation.neighbours {
            let why = format!("a neighbour of school {school}; told with the city's desk if nobody has taken it");
            let sees_after = Rung::City.after(&escalation);
            reaches.push(Reach { station: station.clone(), part: Part::Neighbour, sees_after, owns_after: None, why });
        }
        reaches.sort_by_key(|reach| reach.sees_after);
        reaches
    }
}
