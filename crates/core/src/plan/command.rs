//! Who may command which school: the stations that answer for it, and the desks of the areas around it.

use crate::command::AreaPrefix;
use crate::id::{SchoolId, StationId};
use crate::plan::Plan;
use crate::plan::area::AreaLevel;
use crate::plan::school::School;

impl Plan {
    /// Whether seats of `station` may command `school`: one of its stations, or the desk of its county, city or province.
    #[must_use]
    pub fn may_command(&self, station: &StationId, school: &SchoolId) -> bool {
        self.schools.get(school).is_some_and(|school| self.commands(station, school))
    }

    /// The schools in an area that `station` may command, in the order of their codes.
    #[must_use]
    pub fn commanded(&self, station: &StationId, area: AreaPrefix) -> Vec<SchoolId> {
        let inside = |school: &School| self.area_of(school).is_some_and(|code| area.holds(code));
        let found = self.schools.values().filter(|school| inside(school) && self.commands(station, school));
        found.map(|school| school.id.clone()).collect()
    }

    fn commands(&self, station: &StationId, school: &School) -> bool {
        let area = self.area_of(school);
        let levels = [AreaLevel::County, AreaLevel::City, AreaLevel::Province];
        school.stations.contains(station) || levels.into_iter().any(|level| self.desk(area, level) == Some(station))
    }
}
