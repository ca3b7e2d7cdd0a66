//! The plan: which stations answer for which school; in a province, also which ones watch for a region whose schools it does not name.
//!
//! Invariant: a plan that exists gives every school and every region it names at least one station, and each station once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::id::{Name, SchoolId, StationId};
use crate::limits;

/// School → stations, in the order of responsibility.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    routes: BTreeMap<SchoolId, Vec<StationId>>,
    regions: BTreeMap<Name, Vec<StationId>>,
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One school.
    School(SchoolId),
    /// All schools of a region that have no rule of their own.
    Region(Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::School(school) => write!(f, "school {school}"),
            Subject::Region(region) => write!(f, "region {region}"),
        }
    }
}

/// Why rules are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Each is named once.
    #[error("{0} stands in the plan twice")]
    Twice(Subject),
    /// An alarm from there would reach nobody.
    #[error("{0} has no station: give it at least one")]
    NoStation(Subject),
    /// Leave the rest to those stations; what stands in the record with every alarm has a bound.
    #[error("{of} has {count} stations; at most {limit} are taken", limit = limits::STATIONS_PER_SCHOOL)]
    TooManyStations {
        /// The school or region.
        of: Subject,
        /// How many it was given.
        count: usize,
    },
    /// Name each station once.
    #[error("{of} names station {station} twice")]
    StationTwice {
        /// The school or region.
        of: Subject,
        /// The station.
        station: StationId,
    },
}

impl Plan {
    /// Adds the route of one school.
    ///
    /// # Errors
    /// See [`PlanError`]; the plan is unchanged then.
    pub fn add(&mut self, school: SchoolId, stations: Vec<StationId>) -> Result<(), PlanError> {
        checked(Subject::School(school.clone()), self.routes.contains_key(&school), &stations)?;
        self.routes.insert(school, stations);
        Ok(())
    }

    /// Adds who watches for a region: for its schools that have no route of their own.
    ///
    /// # Errors
    /// See [`PlanError`]; the plan is unchanged then.
    pub fn add_region(&mut self, region: Name, stations: Vec<StationId>) -> Result<(), PlanError> {
        checked(Subject::Region(region.clone()), self.regions.contains_key(&region), &stations)?;
        self.regions.insert(region, stations);
        Ok(())
    }

    /// The stations that answer for `school`; none if the plan does not know it.
    #[must_use]
    pub fn route(&self, school: &SchoolId) -> &[StationId] {
        self.routes.get(school).map_or(&[], Vec::as_slice)
    }

    /// The stations that see what `region` forwards of `school`: the school's own, or those that watch for the region.
    #[must_use]
    pub fn route_from(&self, region: &Name, school: &SchoolId) -> &[StationId] {
        self.routes.get(school).or_else(|| self.regions.get(region)).map_or(&[], Vec::as_slice)
    }

    /// The schools that it names.
    #[must_use]
    pub fn schools(&self) -> usize {
        self.routes.len()
    }

    /// The stations that it names, each once: those of schools and those that watch for regions.
    #[must_use]
    pub fn stations(&self) -> BTreeSet<&StationId> {
        self.routes.values().chain(self.regions.values()).flatten().collect()
    }

    /// The regions that it names.
    pub fn regions(&self) -> impl Iterator<Item = &Name> {
        self.regions.keys()
    }
}

fn checked(of: Subject, known: bool, stations: &[StationId]) -> Result<(), PlanError> {
    if known {
        return Err(PlanError::Twice(of));
    }
    if stations.is_empty() {
        return Err(PlanError::NoStation(of));
    }
    if stations.len() > limits::STATIONS_PER_SCHOOL {
        return Err(PlanError::TooManyStations { of, count: stations.len() });
    }
    match stations.iter().enumerate().find(|(at, station)| stations[..*at].contains(station)) {
        Some((_, station)) => Err(PlanError::StationTwice { of, station: station.clone() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn school(code: &str) -> SchoolId {
        code.parse().unwrap()
    }

    fn station(code: &str) -> StationId {
        code.parse().unwrap()
    }

    #[test]
    fn routes_in_order_and_knows_what_it_does_not_know() {
        let mut plan = Plan::default();
        plan.add(school("s1"), vec![station("b"), station("a")]).unwrap();
        assert_eq!(plan.route(&school("s1")), [station("b"), station("a")]);
        assert!(plan.route(&school("s2")).is_empty());
    }

    #[test]
    fn refuses_what_would_leave_a_school_alone() {
        let mut plan = Plan::default();
        assert_eq!(plan.add(school("s1"), vec![]), Err(PlanError::NoStation(Subject::School(school("s1")))));
        let twice = plan.add(school("s1"), vec![station("a"), station("a")]);
        assert!(matches!(twice, Err(PlanError::StationTwice { .. })));
        let crowd = (0..=limits::STATIONS_PER_SCHOOL).map(|at| station(&format!("p{at}"))).collect();
        assert!(matches!(plan.add(school("s1"), crowd), Err(PlanError::TooManyStations { .. })));
        plan.add(school("s1"), vec![station("a")]).unwrap();
        assert_eq!(plan.add(school("s1"), vec![station("b")]), Err(PlanError::Twice(Subject::School(school("s1")))));
        assert_eq!(plan.route(&school("s1")), [station("a")]);
    }

    #[test]
    fn a_region_is_watched_where_its_school_is_not_named() {
        let mut plan = Plan::default();
        let (east, west): (Name, Name) = ("east".parse().unwrap(), "west".parse().unwrap());
        plan.add_region(east.clone(), vec![station("p1"), station("p2")]).unwrap();
        plan.add(school("s1"), vec![station("p3")]).unwrap();
        assert_eq!(plan.route_from(&east, &school("s1")), [station("p3")]);
        assert_eq!(plan.route_from(&east, &school("s2")), [station("p1"), station("p2")]);
        assert!(plan.route_from(&west, &school("s2")).is_empty());
        assert!(plan.route(&school("s2")).is_empty(), "a region's own alarms have no fallback");
        let twice = plan.add_region(east.clone(), vec![station("p1")]);
        assert_eq!(twice, Err(PlanError::Twice(Subject::Region(east))));
        assert_eq!(plan.add_region(west.clone(), vec![]), Err(PlanError::NoStation(Subject::Region(west))));
    }
}
