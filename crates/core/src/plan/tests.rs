//! A plan that exists is valid, and says who gets an alarm.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::event::Class;
use crate::limits;
use crate::time::WallTime;

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

fn code(text: &str) -> AreaCode {
    text.parse().unwrap()
}

fn area(text: &str, desk: Option<&str>, times: Times) -> Change {
    let desk = desk.map(station);
    Change::Area(Arc::new(Area {
        code: code(text),
        name: Label::default(),
        desk,
        times,
        school_hours: vec![],
        holidays: vec![],
    }))
}

fn listed(text: &str, area: Option<&str>) -> Change {
    let (name, phone) = (Label::default(), Phone::default());
    Change::Station(Arc::new(Station { id: station(text), name, area: area.map(code), phone }))
}

fn put(school: School) -> Change {
    Change::School(Arc::new(school))
}

fn bare(id: &str, stations: &[&str]) -> School {
    School::bare(school(id), stations.iter().map(|text| station(text)).collect())
}

/// A county in its city and its province, each with a desk, and a station in it.
fn tree() -> Vec<Change> {
    let county = Times { county: Some(20), ..Times::default() };
    vec![
        area("360000", Some("prov"), Times { province: Some(300), ..Times::default() }),
        area("361100", Some("city"), Times::default()),
        area("361102", Some("county"), county),
        listed("prov", Some("360000")),
        listed("city", Some("361100")),
        listed("county", Some("361102")),
        listed("p1", Some("361102")),
        listed("p2", Some("361102")),
    ]
}

fn with(parts: impl IntoIterator<Item = Change>) -> Result<Plan, Vec<PlanError>> {
    let parts: Vec<Change> = tree().into_iter().chain(parts).collect();
    Plan::of_parts(&parts)
}

#[test]
fn an_alarm_goes_up_the_tree_and_the_nearest_time_wins() {
    let mut own = bare("s1", &["p1"]);
    own.times.louder = Some(10);
    own.neighbours = vec![station("p2")];
    let plan = with([put(own), put(bare("s2", &["city"]))]).unwrap();
    let up = plan.escalation(&school("s1"));
    assert_eq!(Rung::UNTAKEN.map(|rung| rung.after(&up).as_secs()), [10, 20, 60, 300]);
    assert_eq!([up.county, up.city, up.province], ["county", "city", "prov"].map(|text| Some(station(text))));
    assert_eq!(up.neighbours, [station("p2")]);
    assert_eq!(plan.desks(&school("s1")).collect::<Vec<_>>(), [&station("county"), &station("city")]);
    // A school of the city itself has no county.
    let up = plan.escalation(&school("s2"));
    assert_eq!((up.county, up.city), (None, Some(station("city"))));
    // One that nobody knows has the default times, and nobody.
    let up = plan.escalation(&school("s3"));
    assert_eq!((Rung::Province.after(&up).as_secs(), up.city), (120, None));
}

#[test]
fn the_answer_names_everybody_with_part_and_time() {
    let mut own = bare("s1", &["p1", "p2"]);
    own.neighbours = vec![station("city")];
    let (day, hours) = ("2026-12-04".parse().unwrap(), |from: &str, to: &str| Hours {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    });
    own.drills = vec![Drill { day, hours: hours("10:00", "10:30") }];
    let mut days = Weekdays::default();
    days.insert(Weekday::Fri);
    own.duty = vec![Duty { days, hours: hours("07:00", "18:00"), absent_secs: 60 }];
    let plan = with([put(own)]).unwrap();
    // 2026-12-04T02:05:00Z: Friday, 10:05 in China.
    let at = WallTime(1_796_349_900_000_000);
    let said = plan.explain(&school("s1"), Class::P0, at);
    let lines: Vec<String> = said
        .reaches
        .iter()
        .map(|reach| {
            let owns = reach.owns_after.map_or_else(|| "never".to_owned(), |span| span.as_secs().to_string());
            format!("{} {} {} {owns}", reach.station, reach.part, reach.sees_after.as_secs())
        })
        .collect();
    assert_eq!(
        lines,
        [
            "p1 owner 0 0",
            "p2 backup 0 never",
            "county county_desk 0 20",
            "city city_desk 0 60",
            "city neighbour 60 never",
            "prov province_desk 300 300",
        ]
    );
    assert!(said.drill.is_some() && said.duty.is_some() && said.known);
    assert_eq!(said.times.map(|time| time.from)[1], TimeFrom::Area(code("361102")));
    let said = plan.explain(&school("s1"), Class::P1, WallTime(0));
    assert_eq!(said.reaches[2].sees_after.as_secs(), 20, "what is no matter of life and limb waits for its turn");
    assert!(said.drill.is_none() && said.duty.is_none());
    assert_eq!(plan.explain(&school("s1"), Class::P3, at).reaches.len(), 2);
    assert!(!plan.explain(&school("s9"), Class::P0, at).known);
}

#[test]
fn every_mistake_is_found_at_once() {
    let mut own = bare("s1", &["p1", "p9"]);
    own.area = Some(code("361199"));
    own.neighbours = vec![station("p1")];
    own.times.city = Some(15);
    own.test_every_days = Some(0);
    own.devices = vec![Device {
        id: "c1".parse().unwrap(),
        kind: DeviceKind::Camera,
        place: Label::default(),
        zone: Some("gate".parse().unwrap()),
        picture: None,
    }];
    let found = with([put(own), area("370102", None, Times::default())]).unwrap_err();
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        [
            "school s1 has station p1 for a neighbour, and among its own stations",
            "school s1 escalates to city after 15 s; it is from 20 to 300 s",
            "school s1 is tested every 0 days; it is from 1 to 92",
            "school s1 has device c1 in zone gate, which it does not list",
            "school s1 has camera c1 without gb28181 or rtsp",
            "area 370102 needs area 370100 around it, which the plan does not list",
            "school s1 names station p9, which the plan does not list",
            "school s1 is in area 361199, which the plan does not list",
            "school s1 escalates to county after 30 s and to city after 15 s; the second must be later",
        ]
    );
}

#[test]
fn what_others_point_at_cannot_be_taken_away() {
    let plan = with([put(bare("s1", &["p1"]))]).unwrap();
    for (of, wanted) in [
        (Subject::Station(station("p1")), "school s1 names station p1, which the plan does not list"),
        (Subject::Area(code("361100")), "area 361102 needs area 361100 around it, which the plan does not list"),
    ] {
        let found = plan.changed(&[Change::Remove(of)]).unwrap_err();
        assert!(found.iter().any(|mistake| mistake.to_string() == wanted), "{found:?}");
    }
    // A time that an area sets must suit every school in it.
    let mut own = bare("s1", &["p1"]);
    own.times.county = Some(50);
    let plan = plan.changed(&[put(own)]).unwrap().0;
    let tighter = area("361100", Some("city"), Times { city: Some(40), ..Times::default() });
    let found = plan.changed(&[tighter]).unwrap_err();
    assert!(matches!(found[..], [PlanError::NotRising { .. }]), "{found:?}");
    // A first station makes a list, which must then be whole.
    let mut small = Plan::default();
    small.add(school("s1"), vec![station("p1")]).unwrap();
    assert!(small.changed(&[listed("p2", None)]).is_err());
    assert!(small.changed(&[listed("p1", None)]).is_ok());
}

#[test]
fn a_made_up_province_is_the_same_for_the_same_seed() {
    let size = Province { schools: 300, stations: 40, seed: 7 };
    let plan = province(&size).unwrap();
    assert_eq!((plan.schools(), plan.stations(), plan.areas()), (300, 40 + 112, 112));
    assert_eq!(plan, province(&size).unwrap());
    assert_ne!(plan, province(&Province { seed: 8, ..size }).unwrap());
    for id in plan.school_ids() {
        let up = plan.escalation(id);
        assert!(up.county.is_some() && up.city.is_some() && up.province.is_some(), "{id}");
    }
    let too_many = Province { schools: limits::PLAN_SCHOOLS + 1, stations: 1, seed: 1 };
    assert!(matches!(province(&too_many).unwrap_err()[..], [PlanError::Full { what: "schools", .. }]));
}

/// Changes to a small world, many of them wrong.
fn changes() -> impl Strategy<Value = Vec<Change>> {
    let stations = prop::collection::vec(prop::sample::select(vec!["p1", "p2", "p3"]), 0..3);
    let areas = prop::sample::select(vec!["360000", "361100", "361102"]);
    let secs = prop::option::of(prop::sample::select(vec![15_u16, 30, 60, 100]));
    let times = (secs.clone(), secs).prop_map(|(county, city)| Times { county, city, ..Times::default() });
    let desk = prop::option::of(prop::sample::select(vec!["p1", "p3"]));
    let one = prop_oneof![
        (0..4_u8, stations, prop::option::of(areas.clone()), times.clone()).prop_map(|(id, stations, area, times)| {
            let mut school = bare(&format!("s{id}"), &stations);
            (school.area, school.times) = (area.map(code), times);
            put(school)
        }),
        (areas.clone(), desk, times).prop_map(|(text, desk, times)| area(text, desk, times)),
        (prop::sample::select(vec!["p1", "p2"]), prop::option::of(areas.clone()))
            .prop_map(|(id, area)| listed(id, area)),
        (0..4_u8).prop_map(|id| Change::Remove(Subject::School(school(&format!("s{id}"))))),
        areas.prop_map(|text| Change::Remove(Subject::Area(code(text)))),
        prop::sample::select(vec!["p1", "p2"]).prop_map(|id| Change::Remove(Subject::Station(station(id)))),
    ];
    prop::collection::vec(one, 1..4)
}

proptest! {
    #[test]
    fn a_plan_stays_one_whatever_is_done_to_it(rounds in prop::collection::vec(changes(), 1..12)) {
        let mut plan = Plan::default();
        for changes in rounds {
            let Ok((next, _)) = plan.changed(&changes) else { continue };
            // What was checked in part is right as a whole.
            let parts: Vec<Change> = next.parts().collect();
            let whole = Plan::of_parts(&parts);
            prop_assert_eq!(whole.as_ref(), Ok(&next));
            prop_assert!(next.school_ids().all(|id| !next.route(id).is_empty()));
            // The difference is the way from the one to the other, and there is none between equals.
            let way = plan.difference(&next);
            prop_assert_eq!(&plan.changed(&way).unwrap().0, &next);
            prop_assert!(next.difference(&next).is_empty());
            for id in next.school_ids() {
                let up = next.escalation(id);
                for ladder in [Rung::UNTAKEN, Rung::TAKEN] {
                    prop_assert!(ladder.windows(2).all(|pair| pair[0].after(&up) < pair[1].after(&up)));
                }
                let said = next.explain(id, Class::P0, WallTime(0));
                let sees: Vec<_> = said.reaches.iter().filter(|reach| reach.sees_after.is_zero()).collect();
                prop_assert!(sees.len() >= next.route(id).len());
            }
            plan = next;
        }
    }
}
