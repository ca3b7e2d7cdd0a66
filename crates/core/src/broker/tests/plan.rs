//! The record's plan comes into force while alarms are under way.

use std::sync::Arc;

use super::*;
use crate::plan::{Area, AreaCode, Change, Label, School, Times};
use crate::record::{ApplyPlan, PlanRefusal, StageId, StagePlan};

fn school(stations: &[&str], area: Option<&str>) -> Change {
    let stations = stations.iter().map(|text| StationId(name(text))).collect();
    let mut school = School::bare(SchoolId(name("s1")), stations);
    school.area = area.map(|code| code.parse().unwrap());
    Change::School(Arc::new(school))
}

fn area(code: &str, desk: &str) -> Change {
    let code: AreaCode = code.parse().unwrap();
    let desk = Some(StationId(name(desk)));
    Change::Area(Arc::new(Area {
        code,
        name: Label::default(),
        desk,
        times: Times::default(),
        school_hours: vec![],
        holidays: vec![],
    }))
}

impl Bench {
    /// A change of the plan comes through the log.
    pub(super) fn change(&mut self, stage: u8, base: u64, changes: Vec<Change>) {
        let id = StageId([stage; 16]);
        let part = StagePlan { stage: id, part: 0, parts: 1, changes: changes.into() };
        let order = ApplyPlan {
            stage: id,
            base,
            digest: [0; 32],
            by: "broker/r1/n2".parse().unwrap(),
            who: Label::new("王").unwrap(),
            at: WallTime(9),
            note: Text::default(),
        };
        for command in [Command::StagePlan(part), Command::ApplyPlan(order)] {
            self.index += 1;
            self.step(Input::Committed { index: self.index, command, replayed: false });
        }
    }
}

#[test]
fn the_next_press_goes_by_the_new_plan_and_what_is_under_way_stays() {
    let mut bench = Bench::started();
    let [p1, p3] = [PathId(2), PathId(3)];
    bench.greet(p1, &seat("p1", "a"), None);
    bench.greet(p3, &seat("p3", "a"), None);
    bench.raise(1, Kind::Panic);
    bench.commit();
    bench.change(1, 0, vec![school(&["p3"], None)]);
    assert!(bench.reports.contains(&Report::PlanInForce(1)));
    bench.raise(2, Kind::Panic);
    assert_eq!((bench.events_to(p1), bench.events_to(p3)), (vec![], vec![id(2)]));
    let stations: Vec<String> =
        bench.broker.admission(&id(1)).unwrap().stations.iter().map(ToString::to_string).collect();
    assert_eq!(stations, ["p1", "p2"]);
    // The node's own file says nothing any more.
    bench.step(Input::Plan(plan()));
    bench.raise(3, Kind::Panic);
    assert_eq!(bench.events_to(p3), [id(3)]);
}

#[test]
fn what_no_plan_had_a_station_for_gets_one_at_once() {
    let mut bench = Bench::new(Plan::default(), RecordState::default());
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet(PathId(2), &seat("p1", "a"), None);
    bench.raise(1, Kind::Panic);
    bench.commit();
    bench.raise(2, Kind::Panic);
    bench.proposals.clear();
    bench.change(1, 0, vec![school(&["p1"], None)]);
    // One waits for the record, the other is in it and gets its route through the log.
    assert_eq!(bench.events_to(PathId(2)), [id(2)]);
    assert!(matches!(bench.proposals[..], [Command::Route { .. }]), "{:?}", bench.proposals);
    bench.commit();
    assert_eq!(bench.events_to(PathId(2)), [id(1)]);
}

#[test]
fn an_alarm_about_life_and_limb_is_seen_by_the_desks_at_once_and_nothing_else_is() {
    let mut bench = Bench::started();
    let [p1, county, city, province] = [2, 3, 4, 5].map(PathId);
    for (path, station) in [(p1, "p1"), (county, "county"), (city, "city"), (province, "province")] {
        bench.greet(path, &seat(station, "a"), None);
    }
    let areas = [area("360000", "province"), area("361100", "city"), area("361102", "county")];
    bench.change(1, 0, areas.into_iter().chain([school(&["p1"], Some("361102"))]).collect());
    bench.raise(1, Kind::Panic);
    for path in [p1, county, city] {
        assert_eq!(bench.events_to(path), [id(1)], "{path:?}");
    }
    assert!(bench.events_to(province).is_empty());
    bench.raise(2, Kind::Assist);
    assert_eq!(bench.events_to(p1), [id(2)]);
    assert!(bench.events_to(county).is_empty() && bench.events_to(city).is_empty());
}

#[test]
fn a_refused_change_is_told_and_changes_nothing() {
    let mut bench = Bench::started();
    bench.greet(PathId(2), &seat("p1", "a"), None);
    bench.change(1, 4, vec![school(&["p3"], None)]);
    assert!(bench.reports.contains(&Report::PlanRefused(PlanRefusal::OtherBase { base: 4, now: 0 })));
    bench.raise(1, Kind::Panic);
    assert_eq!(bench.events_to(PathId(2)), [id(1)]);
}

#[test]
fn a_node_that_gets_the_record_as_a_whole_goes_by_its_plan() {
    let mut leader = Bench::started();
    leader.change(1, 0, vec![school(&["p3"], None)]);
    let mut bench = Bench::new(Plan::default(), RecordState::default());
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet(PathId(3), &seat("p3", "a"), None);
    bench.raise(1, Kind::Panic);
    assert!(bench.events_to(PathId(3)).is_empty());
    bench.step(Input::Restored(Box::new(leader.broker.record().clone())));
    assert_eq!(bench.events_to(PathId(3)), [id(1)], "it waited for a plan");
    // And it does after a start.
    let started = Bench::new(Plan::default(), leader.broker.record().clone());
    assert_eq!(started.broker.plan().schools(), 1);
}
