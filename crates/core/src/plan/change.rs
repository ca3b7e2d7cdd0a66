//! How one plan becomes another: parts put and parts removed, as one step that is valid or does not happen.
//!
//! Invariant: [`Plan::changed`] gives a valid plan or every mistake; the plan it is called on never changes.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::plan::Plan;
use crate::plan::area::{Area, Station, Watch};
use crate::plan::check::{self, Found};
use crate::plan::error::{PlanError, Subject};
use crate::plan::school::School;

/// One part of a plan that is put, in the place of what had its code, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// An area.
    Area(Arc<Area>),
    /// A station.
    Station(Arc<Station>),
    /// A school.
    School(Arc<School>),
    /// Who watches for a region.
    Watch(Arc<Watch>),
    /// Away with it.
    Remove(Subject),
}

impl Change {
    /// What it is about.
    #[must_use]
    pub fn of(&self) -> Subject {
        match self {
            Change::Area(area) => Subject::Area(area.code),
            Change::Station(station) => Subject::Station(station.id.clone()),
            Change::School(school) => Subject::School(school.id.clone()),
            Change::Watch(watch) => Subject::Region(watch.region.clone()),
            Change::Remove(of) => of.clone(),
        }
    }
}

/// How many of a kind were added, changed and removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// New ones.
    pub added: u32,
    /// Ones that are otherwise now.
    pub changed: u32,
    /// Ones that are gone.
    pub removed: u32,
}

/// What a change of the plan comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Areas.
    pub areas: Tally,
    /// Stations.
    pub stations: Tally,
    /// Schools.
    pub schools: Tally,
    /// Regions.
    pub regions: Tally,
}

impl Counts {
    /// Whether nothing is otherwise.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn of(&mut self, subject: &Subject) -> &mut Tally {
        match subject {
            Subject::Area(_) => &mut self.areas,
            Subject::Station(_) => &mut self.stations,
            Subject::School(_) => &mut self.schools,
            Subject::Region(_) => &mut self.regions,
        }
    }
}

impl Plan {
    /// The plan that these changes, one after the other, make of this one, and what they come to. Only what comes of all of them must be a
    /// plan: a school may be put before its station is.
    ///
    /// # Errors
    /// Every [`PlanError`]: at least one.
    pub fn changed<'a>(&self, changes: impl IntoIterator<Item = &'a Change>) -> Result<(Plan, Counts), Vec<PlanError>> {
        let mut next = self.clone();
        let mut counts = Counts::default();
        let (mut found, mut puts, mut spreads) = (Found::new(), Vec::new(), false);
        for change in changes {
            let of = change.of();
            let tally = match change {
                Change::Remove(_) => {
                    spreads = true;
                    if next.take(&of) {
                        counts.of(&of).removed += 1;
                    } else {
                        found.push(PlanError::Absent(of));
                    }
                    continue;
                }
                Change::Area(area) => {
                    // Its times hold for all schools in it.
                    spreads = true;
                    put(&mut next.areas, area.code, area)
                }
                Change::Station(station) => put(&mut next.stations, station.id.clone(), station),
                Change::School(school) => put(&mut next.schools, school.id.clone(), school),
                Change::Watch(watch) => put(&mut next.regions, watch.region.clone(), watch),
            };
            match tally {
                Put::Added => counts.of(&of).added += 1,
                Put::Changed => counts.of(&of).changed += 1,
                Put::Same => continue,
            }
            puts.push(change);
        }
        // A first station makes a list of them, which must hold all that are named; a station that moves may move schools.
        spreads |= counts.stations.changed > 0 || self.stations.is_empty() != next.stations.is_empty();
        next.check_sizes(&mut found);
        next.check_put(&puts, spreads, &mut found);
        if spreads {
            next.check_references(&mut found);
        }
        if found.is_empty() { Ok((next, counts)) } else { Err(found) }
    }

    /// Checks what was put, each by itself and, unless the whole plan is looked at anyway, beside the others.
    fn check_put(&self, puts: &[&Change], spreads: bool, found: &mut Found) {
        for change in puts {
            match change {
                Change::Area(area) => check::area(area, found),
                Change::School(school) => {
                    check::school(school, found);
                    if !spreads {
                        self.check_school(school, found);
                    }
                }
                Change::Watch(watch) => {
                    check::watch(watch, found);
                    if !spreads {
                        self.check_watch(watch, found);
                    }
                }
                Change::Station(station) if !spreads => self.check_station(station, found),
                Change::Station(_) | Change::Remove(_) => {}
            }
        }
    }

    fn check_references(&self, found: &mut Found) {
        self.areas.values().for_each(|area| self.check_area(area, found));
        self.stations.values().for_each(|station| self.check_station(station, found));
        self.schools.values().for_each(|school| self.check_school(school, found));
        self.regions.values().for_each(|watch| self.check_watch(watch, found));
    }

    /// Everything in it as changes to an empty plan, in the one order of its parts: areas, stations, schools, regions, each by code.
    pub fn parts(&self) -> impl Iterator<Item = Change> {
        let areas = self.areas.values().cloned().map(Change::Area);
        let stations = self.stations.values().cloned().map(Change::Station);
        let schools = self.schools.values().cloned().map(Change::School);
        areas.chain(stations).chain(schools).chain(self.regions.values().cloned().map(Change::Watch))
    }

    /// The plan of these parts.
    ///
    /// # Errors
    /// Every [`PlanError`].
    pub fn of_parts<'a>(parts: impl IntoIterator<Item = &'a Change>) -> Result<Plan, Vec<PlanError>> {
        Plan::default().changed(parts).map(|(plan, _)| plan)
    }

    /// The changes that make `to` of this plan: the fewest.
    #[must_use]
    pub fn difference(&self, to: &Plan) -> Vec<Change> {
        let mut changes = Vec::new();
        compare(&self.areas, &to.areas, Change::Area, |code| Subject::Area(*code), &mut changes);
        compare(&self.stations, &to.stations, Change::Station, |id| Subject::Station(id.clone()), &mut changes);
        compare(&self.schools, &to.schools, Change::School, |id| Subject::School(id.clone()), &mut changes);
        compare(&self.regions, &to.regions, Change::Watch, |name| Subject::Region(name.clone()), &mut changes);
        changes
    }

    fn take(&mut self, of: &Subject) -> bool {
        match of {
            Subject::Area(code) => self.areas.remove(code).is_some(),
            Subject::Station(id) => self.stations.remove(id).is_some(),
            Subject::School(id) => self.schools.remove(id).is_some(),
            Subject::Region(name) => self.regions.remove(name).is_some(),
        }
    }
}

enum Put {
    Added,
    Changed,
    Same,
}

fn put<K: Ord, V: PartialEq>(map: &mut BTreeMap<K, Arc<V>>, key: K, value: &Arc<V>) -> Put {
    match map.insert(key, value.clone()) {
        None => Put::Added,
        Some(old) if Arc::ptr_eq(&old, value) || old == *value => Put::Same,
        Some(_) => Put::Changed,
    }
}

fn compare<K: Ord, V: PartialEq>(
    from: &BTreeMap<K, Arc<V>>,
    to: &BTreeMap<K, Arc<V>>,
    put: impl Fn(Arc<V>) -> Change,
    name: impl Fn(&K) -> Subject,
    changes: &mut Vec<Change>,
) {
    for (key, value) in to {
        if !from.get(key).is_some_and(|old| Arc::ptr_eq(old, value) || old == value) {
            changes.push(put(value.clone()));
        }
    }
    changes.extend(from.keys().filter(|key| !to.contains_key(key)).map(|key| Change::Remove(name(key))));
}
