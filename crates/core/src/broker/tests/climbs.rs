//! An alarm that nobody takes goes up: in time, once, and not after somebody took it.

use std::sync::Arc;

use super::*;
use crate::event::Mode;
use crate::overdue::{Ownership, Rung};
use crate::plan::{Area, Change, School, Times};
use crate::time::Span;

const COUNTY: PathId = PathId(5);

/// A county, its city and its province, each with a desk, and one school of two stations with a neighbour.
fn ladder() -> Plan {
    let area = |code: &str, desk: &str| {
        let (code, name) = (code.parse().unwrap(), Default::default());
        let desk = Some(StationId(super::name(desk)));
        Change::Area(Arc::new(Area {
            code,
            name,
            desk,
            times: Times::default(),
            school_hours: vec![],
            holidays: vec![],
        }))
    };
    let stations = ["p1", "p2"].map(|station| StationId(name(station)));
    let mut school = School::bare(SchoolId(name("s1")), stations.into());
    school.area = Some("361102".parse().unwrap());
    school.neighbours = vec![StationId(name("p3"))];
    let parts = [
        area("360000", "province"),
        area("361100", "city"),
        area("361102", "county"),
        Change::School(Arc::new(school)),
    ];
    Plan::of_parts(&parts).unwrap()
}

impl Bench {
    /// A node that leads, with a seat at the school's station and one at the county's desk.
    fn leading() -> Self {
        let mut bench = Self::new(ladder(), RecordState::default());
        bench.up(RELAY, NodeName::Relay(relay_id()));
        bench.greet(PathId(2), &seat("p1", "a"), None);
        bench.greet(COUNTY, &seat("county", "a"), None);
        bench.step(Input::Leads(true));
        bench
    }

    /// The rungs that were proposed and not committed.
    fn rungs(&self) -> Vec<Rung> {
        let rung = |command: &Command| if let Command::Overdue { rung, .. } = command { Some(*rung) } else { None };
        self.proposals.iter().filter_map(rung).collect()
    }

    fn told(&self, path: PathId) -> Option<(Rung, Vec<String>)> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        let told = |(.., message): &(PathId, Class, Message)| match message {
            Message::Ownership(Ownership { rung, owners, .. }) => {
                Some((*rung, owners.iter().map(ToString::to_string).collect()))
            }
            _ => None,
        };
        to.filter_map(told).next_back()
    }

    fn stations(&self, event: EventId) -> Vec<String> {
        self.broker.record().get(&event).unwrap().admission.stations.iter().map(ToString::to_string).collect()
    }
}

fn of(rung: Rung, owners: &[&str]) -> Option<(Rung, Vec<String>)> {
    Some((rung, owners.iter().map(ToString::to_string).collect()))
}

#[test]
fn each_rung_is_reached_in_its_time_and_once() {
    let mut bench = Bench::leading();
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.wait(14_900);
    assert_eq!(bench.rungs(), []);
    for (millis, rung, owners) in [
        (200, Rung::Louder, &["p1"][..]),
        (15_000, Rung::County, &["p1", "county"]),
        (30_000, Rung::City, &["p1", "county", "city"]),
        (60_000, Rung::Province, &["p1", "county", "city", "province"]),
    ] {
        bench.wait(millis);
        assert_eq!(bench.rungs(), [rung]);
        bench.commit();
        assert_eq!(bench.told(PathId(2)), of(rung, owners));
        assert_eq!(bench.told(COUNTY), of(rung, owners), "who sees it is told too");
    }
    assert!(
        ["p1", "p2", "county", "city", "p3", "province"]
            .iter()
            .all(|one| bench.stations(event).contains(&(*one).to_owned()))
    );
    bench.wait(3_600_000);
    assert_eq!(bench.rungs(), [], "there is nobody above the province");
    let reports = bench.reports.iter().filter(|report| matches!(report, Report::Overdue(..))).count();
    assert_eq!(reports, 4);
}

#[test]
fn a_proposal_that_comes_to_nothing_is_made_again_and_counts_once() {
    let mut bench = Bench::leading();
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.wait(19_500);
    assert!(bench.rungs().len() >= 2, "{:?}", bench.rungs());
    bench.commit();
    assert_eq!(bench.broker.record().get(&event).unwrap().overdue.len(), 1);
}

#[test]
fn an_acknowledgement_that_the_record_holds_ends_it_whichever_came_first_to_the_log() {
    let mut bench = Bench::leading();
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.wait(29_900);
    bench.proposals.clear();
    // The answer is under way when the county's turn comes.
    bench.say(PathId(2), &seat("p1", "a"), event, Stage::Acknowledged);
    bench.wait(200);
    assert_eq!(bench.rungs(), [], "an answer that waits for the record is an answer");
    bench.commit();
    let late = Command::Overdue {
        event,
        rung: Rung::County,
        owners: vec![StationId(name("county"))],
        told: vec![],
        by: NodeName::Broker { region: name("r1"), node: name("n2") },
        at: WallTime(9),
    };
    bench.proposals.push(late);
    bench.commit();
    assert_eq!(bench.told(PathId(2)), None);
    let entry = bench.broker.record().get(&event).unwrap();
    assert!(entry.overdue.iter().all(|overdue| overdue.rung < Rung::County), "{:?}", entry.overdue);
    bench.wait(3_600_000);
    assert!(bench.rungs().iter().all(|rung| rung.is_of_taken()), "{:?}", bench.rungs());
}

#[test]
fn with_nobody_at_the_station_the_county_owns_it_at_once() {
    let mut bench = Bench::new(ladder(), RecordState::default());
    bench.up(RELAY, NodeName::Relay(relay_id()));
    bench.greet(COUNTY, &seat("county", "a"), None);
    bench.step(Input::Leads(true));
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    assert_eq!(bench.rungs(), [Rung::County]);
    bench.commit();
    assert_eq!(bench.told(COUNTY), of(Rung::County, &["p1", "county"]));
    // The seat that comes late is told, and nothing goes down again.
    bench.greet(PathId(2), &seat("p1", "a"), None);
    assert_eq!(bench.told(PathId(2)), of(Rung::County, &["p1", "county"]));
    bench.wait(59_900);
    assert_eq!(bench.rungs(), []);
    bench.wait(200);
    assert_eq!(bench.rungs(), [Rung::City]);
    assert!(bench.stations(event).len() >= 3);
}

#[test]
fn a_node_that_follows_proposes_nothing_and_goes_on_in_time_when_it_leads() {
    let mut bench = Bench::leading();
    bench.step(Input::Leads(false));
    bench.raise(1, Kind::Panic);
    bench.commit();
    bench.wait(25_000);
    assert_eq!(bench.rungs(), []);
    bench.step(Input::Leads(true));
    assert_eq!(bench.rungs(), [Rung::Louder], "what was due meanwhile is due at once");
    bench.commit();
    bench.wait(4_900);
    assert_eq!(bench.rungs(), []);
    bench.wait(200);
    assert_eq!(bench.rungs(), [Rung::County], "thirty seconds after the alarm, not after the election");
    bench.commit();
    bench.step(Input::Leads(false));
    bench.step(Input::Leads(true));
    assert_eq!(bench.rungs(), []);
}

#[test]
fn a_node_that_starts_goes_by_the_age_of_what_it_finds() {
    let mut bench = Bench::leading();
    bench.raise(1, Kind::Panic);
    bench.commit();
    let (record, index) = (bench.broker.record().clone(), bench.index);
    let config =
        BrokerConfig { region: name("r1"), node: name("n1"), province: None, seed: 2, software: "test".to_owned() };
    let mut bench = Bench { broker: Broker::new(config, ladder(), record, vec![]), index, ..Bench::started() };
    let now = Now { mono: Timestamp(5), wall: WallTime(9 + i64::try_from(Span::from_secs(70).as_micros()).unwrap()) };
    bench.broker.handle(now, Input::Leads(true));
    bench.drain();
    assert_eq!(bench.rungs(), [Rung::City], "all that is due, in one step");
    bench.commit();
    let overdue = bench.broker.record().get(&id(1)).unwrap().overdue.clone();
    let owners: Vec<String> = overdue[0].owners.iter().map(ToString::to_string).collect();
    assert_eq!(owners, ["county", "city"], "nobody on the way up is left out");
}

#[test]
fn a_test_rings_nobody_further_and_a_drill_does() {
    for (mode, rungs) in [(Mode::Test, &[][..]), (Mode::Drill, &[Rung::Louder])] {
        let mut bench = Bench::leading();
        let mut event = event(Kind::Panic);
        (event.id, event.mode) = (id(1), mode);
        let copy = EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] };
        bench.hear(RELAY, Message::Event(copy));
        bench.commit();
        bench.wait(15_100);
        assert_eq!(bench.rungs(), rungs, "{mode:?}");
    }
}

#[test]
fn without_a_quorum_seats_are_told_all_the_same_and_the_record_catches_up() {
    let mut bench = Bench::leading();
    bench.greet(PathId(6), &seat("province", "a"), None);
    bench.step(Input::Leads(false));
    let degraded = Degraded { since: WallTime(7), why: Text::new("only 1 of 3 nodes answers").unwrap() };
    bench.step(Input::Quorum(Some(degraded)));
    let event = bench.raise(1, Kind::Panic);
    assert!(bench.events_to(PathId(6)).is_empty());
    bench.wait(30_100);
    assert_eq!(bench.told(PathId(2)), of(Rung::County, &["p1", "county"]));
    assert_eq!(bench.rungs(), []);
    bench.wait(90_000);
    assert!(bench.events_to(PathId(6)).contains(&event), "the province sees it, though no record has it");
    bench.step(Input::Quorum(None));
    bench.step(Input::Leads(true));
    bench.commit();
    assert_eq!(bench.rungs(), [Rung::Province]);
    bench.commit();
    assert_eq!(bench.broker.record().get(&event).unwrap().rung(), Some(Rung::Province));
}

#[test]
fn where_the_plan_names_nobody_to_go_to_nothing_enters_the_record() {
    let mut bench = Bench::started();
    bench.greet(PathId(2), &seat("p1", "a"), None);
    bench.step(Input::Leads(true));
    bench.raise(1, Kind::Panic);
    bench.commit();
    bench.wait(300_000);
    assert_eq!(bench.rungs(), [], "older nodes of the region would end at it");
}

impl Bench {
    fn order(&mut self, number: u8, event: EventId, action: crate::case::Action) {
        use crate::case::{ActionId, CaseOrder};
        let by = NodeName::Station(seat("p1", "a"));
        let (id, officer, note) = (ActionId([number; 16]), name("officer"), Text::default());
        let order = CaseOrder { id, event, action, by, officer, at: WallTime(5), note };
        self.proposals.push(Command::Case { order: Box::new(order), heard: WallTime(6) });
        self.commit();
    }
}

#[test]
fn where_somebody_has_it_and_nobody_is_sent_it_goes_up_and_where_nobody_arrives_too() {
    use crate::case::Action;
    let mut bench = Bench::leading();
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    bench.wait(5_000);
    bench.say(PathId(2), &seat("p1", "a"), event, Stage::Acknowledged);
    bench.commit();
    bench.wait(54_800);
    assert_eq!(bench.rungs(), []);
    for (millis, rung, owners) in [
        (300, Rung::DispatchNudge, &["p1"][..]),
        (60_000, Rung::DispatchCounty, &["p1", "county"]),
        (60_000, Rung::DispatchCity, &["p1", "county", "city"]),
    ] {
        bench.wait(millis);
        assert_eq!(bench.rungs(), [rung]);
        bench.commit();
        assert_eq!(bench.told(COUNTY), of(rung, owners));
    }
    bench.order(1, event, Action::Dispatch);
    bench.order(2, event, Action::Enroute);
    bench.wait(419_000);
    assert_eq!(bench.rungs(), []);
    bench.wait(2_000);
    assert_eq!(bench.rungs(), [Rung::Arrival]);
    // They arrive while it is under way: whichever the log has first counts.
    let late = std::mem::take(&mut bench.proposals);
    bench.order(3, event, Action::Onscene);
    bench.proposals = late;
    bench.commit();
    assert_eq!(bench.broker.record().get(&event).unwrap().rung(), Some(Rung::DispatchCity));
    bench.wait(3_600_000);
    assert_eq!(bench.rungs(), []);
}

#[test]
fn whoever_takes_it_late_has_time_to_send_somebody() {
    let mut bench = Bench::leading();
    let event = bench.raise(1, Kind::Panic);
    bench.commit();
    for _ in 0..12 {
        bench.wait(10_000);
        bench.commit();
    }
    bench.say(PathId(2), &seat("p1", "a"), event, Stage::Acknowledged);
    bench.commit();
    bench.wait(14_900);
    assert_eq!(bench.rungs(), []);
    bench.wait(200);
    assert_eq!(bench.rungs(), [Rung::DispatchCounty], "what is due together is one step");
    bench.commit();
    // A new leader goes on where the former one was.
    bench.step(Input::Leads(false));
    bench.wait(60_000);
    assert_eq!(bench.rungs(), []);
    bench.step(Input::Leads(true));
    assert_eq!(bench.rungs(), [Rung::DispatchCity]);
    bench.commit();
    bench.order(1, event, crate::case::Action::Close(crate::case::Reason::False));
    bench.wait(3_600_000);
    assert_eq!(bench.rungs(), []);
}
