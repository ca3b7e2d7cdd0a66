//! Which schools a drill is about: those of an area, or some that are named.

use std::collections::BTreeSet;
use std::fmt;

use crate::id::{SchoolId, StationId};
use crate::limits;
use crate::plan::{AreaCode, Plan, School};

/// Which schools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All whose area is this one or lies in it.
    Area(AreaCode),
    /// These.
    Schools(BTreeSet<SchoolId>),
}

/// Why a text is no area.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no area: write two, four or six digits of GB/T 2260, such as 3611 for a city and 361102 for a county"
)]
pub struct ScopeError(String);

impl Scope {
    /// All schools of an area, of which the leading digits are given: two of a province, four of a city, six of a county.
    ///
    /// # Errors
    /// [`ScopeError`]
    pub fn area(text: &str) -> Result<Self, ScopeError> {
        let wrong = || ScopeError(text.chars().take(16).collect());
        let zeros = match text.len() {
            2 => "0000",
            4 => "00",
            6 => "",
            _ => return Err(wrong()),
        };
        format!("{text}{zeros}").parse().map(Scope::Area).map_err(|_| wrong())
    }

    /// Whether it names no school at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Scope::Schools(schools) if schools.is_empty())
    }

    /// Whether it lists more schools than one drill may.
    #[must_use]
    pub fn is_too_long(&self) -> bool {
        matches!(self, Scope::Schools(schools) if schools.len() > limits::DRILL_SCHOOLS)
    }

    /// Whether a school of the plan is among them.
    #[must_use]
    pub fn holds(&self, plan: &Plan, school: &SchoolId) -> bool {
        match self {
            Scope::Schools(schools) => schools.contains(school) && plan.school(school).is_some(),
            Scope::Area(area) => plan.school(school).is_some_and(|school| is_in(plan, school, *area)),
        }
    }

    /// The schools of the plan that are among them, in the order of their codes.
    pub fn schools<'a>(&'a self, plan: &'a Plan) -> impl Iterator<Item = &'a School> {
        let (listed, area) = match self {
            Scope::Schools(schools) => (Some(schools), None),
            Scope::Area(area) => (None, Some(*area)),
        };
        let listed = listed.into_iter().flatten().filter_map(|id| plan.school(id));
        let all = area.into_iter().flat_map(move |area| {
            plan.school_ids().filter_map(|id| plan.school(id)).filter(move |school| is_in(plan, school, area))
        });
        listed.chain(all).map(AsRef::as_ref)
    }

    /// The stations that it touches: those of its schools, and the desks that see their alarms.
    #[must_use]
    pub fn stations(&self, plan: &Plan) -> BTreeSet<StationId> {
        let mut stations: BTreeSet<StationId> = BTreeSet::new();
        for school in self.schools(plan) {
            for station in school.stations.iter().chain(plan.desks(&school.id)) {
                if !stations.contains(station) {
                    stations.insert(station.clone());
                }
            }
        }
        stations
    }

    /// Whether a station may rehearse with all of its schools: each is the station's own, or of an area whose desk the station is.
    #[must_use]
    pub fn is_for(&self, plan: &Plan, station: &StationId) -> bool {
        self.schools(plan).all(|school| {
            let desk = || {
                let area = plan.area_of(school).into_iter().flat_map(AreaCode::upwards);
                area.filter_map(|code| plan.area(code)).any(|area| area.desk.as_ref() == Some(station))
            };
            school.stations.contains(station) || desk()
        })
    }
}

fn is_in(plan: &Plan, school: &School, area: AreaCode) -> bool {
    plan.area_of(school).is_some_and(|own| own.upwards().any(|code| code == area))
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Area(area) => write!(f, "area {area}"),
            Scope::Schools(schools) => {
                let mut first = true;
                for school in schools {
                    write!(f, "{}{school}", if std::mem::take(&mut first) { "" } else { ", " })?;
                }
                Ok(())
            }
        }
    }
}
