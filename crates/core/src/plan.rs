//! The plan: which stations answer for which school.
//!
//! Invariant: a plan that exists gives every school it names at least one station, and each station once.

use std::collections::BTreeMap;

use crate::id::{SchoolId, StationId};
use crate::limits;

/// School → stations, in the order of responsibility.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    routes: BTreeMap<SchoolId, Vec<StationId>>,
}

/// Why rules are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Each school is named once.
    #[error("school {0} stands in the plan twice")]
    Twice(SchoolId),
    /// An alarm of this school would reach nobody.
    #[error("school {0} has no station: give it at least one")]
    NoStation(SchoolId),
    /// Leave the rest to those stations; what stands in the record with every alarm has a bound.
    #[error("school {school} has {count} stations; at most {limit} are taken", limit = limits::STATIONS_PER_SCHOOL)]
    TooManyStations {
        /// The school.
        school: SchoolId,
        /// How many it was given.
        count: usize,
    },
    /// Name each station once.
    #[error("school {school} names station {station} twice")]
    StationTwice {
        /// The school.
        school: SchoolId,
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
        if self.routes.contains_key(&school) {
            return Err(PlanError::Twice(school));
        }
        if stations.is_empty() {
            return Err(PlanError::NoStation(school));
        }
        if stations.len() > limits::STATIONS_PER_SCHOOL {
            return Err(PlanError::TooManyStations { school, count: stations.len() });
        }
        let twice = stations.iter().enumerate().find(|(at, station)| stations[..*at].contains(station));
        if let Some((_, station)) = twice {
            return Err(PlanError::StationTwice { school, station: station.clone() });
        }
        self.routes.insert(school, stations);
        Ok(())
    }

    /// The stations that answer for `school`; none if the plan does not know it.
    #[must_use]
    pub fn route(&self, school: &SchoolId) -> &[StationId] {
        self.routes.get(school).map_or(&[], Vec::as_slice)
    }

    /// The schools that it names.
    #[must_use]
    pub fn schools(&self) -> usize {
        self.routes.len()
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
        assert_eq!(plan.add(school("s1"), vec![]), Err(PlanError::NoStation(school("s1"))));
        let twice = plan.add(school("s1"), vec![station("a"), station("a")]);
        assert!(matches!(twice, Err(PlanError::StationTwice { .. })));
        let crowd = (0..=limits::STATIONS_PER_SCHOOL).map(|at| station(&format!("p{at}"))).collect();
        assert!(matches!(plan.add(school("s1"), crowd), Err(PlanError::TooManyStations { .. })));
        plan.add(school("s1"), vec![station("a")]).unwrap();
        assert_eq!(plan.add(school("s1"), vec![station("b")]), Err(PlanError::Twice(school("s1"))));
        assert_eq!(plan.route(&school("s1")), [station("a")]);
    }
}
