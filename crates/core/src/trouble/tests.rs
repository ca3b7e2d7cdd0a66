//! What the region raises: once, to whom it concerns, as urgently as the calendar says, and cleared when it is over; whoever leads.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::Machine;
use crate::broker::{Broker, BrokerConfig, Input, Output};
use crate::case::State;
use crate::event::{Mode, Sealed};
use crate::id::{NodeName, SeatId};
use crate::limits;
use crate::plan::{Area, Change as PlanChange, Duty, Hours, Plan, School, Station, Weekdays};
use crate::receipt::{Receipt, Stage, Standing};
use crate::record::{Command, RecordLimits, RecordState};
use crate::supervision::Supervisor;
use crate::time::{Now, Span, Timestamp};

/// Monday, 2026-11-30, 10:00 in China.
const MONDAY_TEN: i64 = 1_796_004_000;

fn at(seconds: u64) -> Now {
    let wall = WallTime((MONDAY_TEN + i64::try_from(seconds).unwrap()) * 1_000_000);
    Now { mono: Timestamp(0) + Span::from_secs(seconds), wall }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn relay(number: usize) -> NodeName {
    format!("relay/s{number}/gate").parse().unwrap()
}

fn relay_id(number: usize) -> RelayId {
    let NodeName::Relay(relay) = relay(number) else { panic!("a relay") };
    relay
}

fn seal(event: &Event) -> Sealed {
    Sealed { event: Arc::new(event.clone()), bytes: Arc::from(event.id.as_bytes().as_slice()), signature: None }
}

/// Two counties of one city, forty schools in the first and five in the second, a station for each county; the first school is guarded from 10:00 to
/// 11:00 on Mondays.
fn plan() -> Plan {
    let area = |code: &str, desk: &str| {
        PlanChange::Area(Arc::new(Area {
            code: code.parse().unwrap(),
            name: Default::default(),
            desk: Some(StationId(name(desk))),
            times: Default::default(),
            school_hours: vec![],
            holidays: vec![],
        }))
    };
    let station = |id: &str, area: &str| {
        let (id, area) = (StationId(name(id)), area.parse().ok());
        PlanChange::Station(Arc::new(Station { id, name: Default::default(), area, phone: Default::default() }))
    };
    let mut parts = vec![
        area("360000", "province"),
        area("361100", "city"),
        area("361102", "county-1"),
        area("361103", "county-2"),
        station("province", "360000"),
        station("city", "361100"),
        station("county-1", "361102"),
        station("county-2", "361103"),
        station("p1", "361102"),
        station("p2", "361103"),
    ];
    for number in 0..45 {
        let home = if number < 40 { "p1" } else { "p2" };
        let mut school = School::bare(SchoolId(name(&format!("s{number}"))), vec![StationId(name(home))]);
        if number == 0 {
            let hours = Hours { from: "10:00".parse().unwrap(), to: "11:00".parse().unwrap() };
            school.duty = vec![Duty { days: Weekdays::from_bits(1).unwrap(), hours, absent_secs: 60 }];
        }
        parts.push(PlanChange::School(Arc::new(school)));
    }
    Plan::of_parts(&parts).unwrap()
}

/// A node with its eyes on the region.
struct Node {
    broker: Broker,
    supervisor: Supervisor,
    raiser: Raiser,
    plan: Arc<Plan>,
}

impl Node {
    fn new(node: &str, record: RecordState, now: Now) -> Self {
        let config =
            BrokerConfig { region: name("r1"), node: name(node), province: None, seed: 3, software: String::new() };
        let plan = Arc::new(plan());
        let mut supervisor = Supervisor::new();
        supervisor.plan(now, &plan);
        let raiser = Raiser::new(now, name("r1"), 5);
        Self { broker: Broker::new(config, (*plan).clone(), record, vec![]), supervisor, raiser, plan }
    }

    /// A look, and what this node proposes by it.
    fn look(&mut self, now: Now) -> Vec<Command> {
        let mut seen = self.broker.seen(now);
        seen.overdue = self.broker.overdue_tests(now);
        self.supervisor.recall(now, &seen.open);
        self.supervisor.tick(now);
        let told = self.raiser.look(now, &self.plan, &self.supervisor, &seen);
        let told = told.into_iter().map(|change| change.sealed(seal)).collect();
        self.broker.handle(now, Input::Troubles(told));
        self.proposals()
    }

    fn proposals(&mut self) -> Vec<Command> {
        let mut proposals = Vec::new();
        while let Some(output) = self.broker.poll_output() {
            if let Output::Propose(command @ (Command::TroubleBegan { .. } | Command::TroubleOver { .. })) = output {
                proposals.push(command);
            }
        }
        self.broker.check().unwrap();
        proposals
    }

    /// The events of the record, in its order: kind, class, whom it names, stations.
    fn told(&self) -> Vec<(String, Class, String, Vec<String>)> {
        let mut entries: Vec<_> = self.broker.record().entries().collect();
        entries.sort_by_key(|entry| entry.index);
        let row = |entry: &&Arc<crate::record::Entry>| {
            let event = &entry.admission.sealed.event;
            let stations = entry.admission.stations.iter().map(ToString::to_string).collect();
            (event.kind.to_string(), event.class, event.school().to_string(), stations)
        };
        entries.iter().map(row).collect()
    }
}

struct World {
    nodes: Vec<Node>,
    leader: usize,
    index: u64,
    now: u64,
}

impl World {
    fn new() -> Self {
        let mut nodes: Vec<Node> = ["n1", "n2"].map(|node| Node::new(node, RecordState::default(), at(0))).into();
        nodes[0].broker.handle(at(0), Input::Leads(true));
        nodes.iter_mut().for_each(|node| drop(node.proposals()));
        let mut world = Self { nodes, leader: 0, index: 0, now: 0 };
        (0..45).for_each(|number| world.see(&relay(number)));
        for station in ["p1", "p2", "county-1", "county-2", "city", "province"] {
            world.see(&seat(station));
        }
        world
    }

    fn see(&mut self, who: &NodeName) {
        let now = at(self.now);
        self.nodes.iter_mut().for_each(|node| node.supervisor.see(now, who));
    }

    fn lose(&mut self, who: &NodeName) {
        let now = at(self.now);
        self.nodes.iter_mut().for_each(|node| node.supervisor.lose(now, who));
    }

    fn lead(&mut self, leader: usize) {
        let now = at(self.now);
        for (number, node) in self.nodes.iter_mut().enumerate() {
            node.broker.handle(now, Input::Leads(number == leader));
            node.proposals();
        }
        self.leader = leader;
    }

    /// Lets seconds pass; with `commits`, what is proposed enters the record, else it is lost.
    fn pass(&mut self, seconds: u64, commits: bool) {
        for _ in 0..seconds {
            self.now += 1;
            let now = at(self.now);
            let mut proposed = Vec::new();
            for (number, node) in self.nodes.iter_mut().enumerate() {
                let proposals = node.look(now);
                assert!(proposals.is_empty() || number == self.leader, "only who leads proposes");
                proposed.extend(proposals);
            }
            if commits {
                self.commit(proposed);
            }
        }
    }

    fn commit(&mut self, commands: Vec<Command>) {
        for command in commands {
            self.index += 1;
            for node in &mut self.nodes {
                let input = Input::Committed { index: self.index, command: command.clone(), replayed: false };
                node.broker.handle(at(self.now), input);
                assert!(node.proposals().is_empty());
            }
        }
    }

    fn told(&self) -> Vec<(String, Class, String, Vec<String>)> {
        assert_eq!(self.nodes[0].told(), self.nodes[1].told());
        self.nodes[self.leader].told()
    }

    fn kinds(&self) -> Vec<String> {
        self.told().into_iter().map(|(kind, class, ..)| format!("{kind} {class}")).collect()
    }
}

fn seat(station: &str) -> NodeName {
    NodeName::Station(SeatId { station: StationId(name(station)), seat: name("a") })
}

#[test]
fn a_silent_school_is_told_to_its_station_within_45_seconds_and_once_and_cleared_when_it_is_back() {
    let mut world = World::new();
    world.lose(&relay(1));
    world.pass(39, true);
    assert_eq!(world.kinds(), [""; 0]);
    world.pass(6, true);
    assert_eq!(world.told(), [("silent".to_owned(), Class::P2, "s1".to_owned(), vec!["p1".to_owned()])]);
    world.pass(100, true);
    assert_eq!(world.kinds().len(), 1);
    // Three minutes of a school day: it is urgent now, and an alarm that an officer can take.
    world.pass(60, true);
    assert_eq!(world.kinds(), ["silent P2", "silent P1"]);
    world.see(&relay(1));
    world.pass(15, true);
    assert_eq!(world.kinds().len(), 2, "three good looks");
    world.pass(10, true);
    assert_eq!(world.kinds(), ["silent P2", "silent P1", "back P3"]);
    let record = world.nodes[0].broker.record();
    assert!(record.troubles().is_empty());
    let urgent = record.entries().find(|entry| entry.admission.sealed.event.class == Class::P1).unwrap();
    assert_eq!((urgent.case.state, urgent.is_closed()), (State::Closed, true));
    assert!(urgent.notes.iter().any(|note| note.stage == Stage::Closed && matches!(note.by, NodeName::Broker { .. })));
    // Again, and it is another one.
    world.lose(&relay(1));
    world.pass(45, true);
    assert_eq!(world.kinds().last().unwrap(), "silent P2");
}

#[test]
fn while_the_gate_is_guarded_a_silent_school_is_urgent_at_once() {
    let mut world = World::new();
    world.lose(&relay(0));
    world.pass(45, true);
    assert_eq!(world.kinds(), ["silent P1"]);
}

#[test]
fn at_night_and_on_holidays_it_is_not_urgent_and_areas_say_what_a_school_day_is() {
    let plan = plan();
    let school = SchoolId(name("s1"));
    let class = |plan: &Plan, hours: i64| {
        silence_class(plan, &school, Span::from_secs(600), WallTime((MONDAY_TEN + hours * 3_600) * 1_000_000))
    };
    let classes: Vec<Class> = [0, 7, 8, -4, -3, 24 * 5].into_iter().map(|hours| class(&plan, hours)).collect();
    assert_eq!(
        classes,
        [Class::P1, Class::P1, Class::P2, Class::P2, Class::P1, Class::P2],
        "17:00, 18:00, 06:00, 07:00, Saturday"
    );
    let guarded = SchoolId(name("s0"));
    let monday_ten = WallTime(MONDAY_TEN * 1_000_000);
    assert_eq!(silence_class(&plan, &guarded, Span::from_secs(30), monday_ten), Class::P1);
    let day = "2026-11-30".parse().unwrap();
    let mut city = (**plan.area("361100".parse().unwrap()).unwrap()).clone();
    city.holidays = vec![crate::plan::Holiday { from: day, to: day }];
    let (off, _) = plan.changed(&[PlanChange::Area(Arc::new(city.clone()))]).unwrap();
    assert_eq!((class(&off, 0), class(&off, 24)), (Class::P2, Class::P1));
    assert_eq!(silence_class(&off, &guarded, Span::from_secs(30), monday_ten), Class::P2);
    city.holidays.clear();
    let hours = Hours { from: "19:00".parse().unwrap(), to: "21:00".parse().unwrap() };
    city.school_hours = vec![crate::plan::SchoolHours { days: Weekdays::from_bits(127).unwrap(), hours }];
    let (evening, _) = plan.changed(&[PlanChange::Area(Arc::new(city))]).unwrap();
    assert_eq!((class(&evening, 0), class(&evening, 10)), (Class::P2, Class::P1));
}

#[test]
fn a_leader_that_dies_between_raising_and_committing_leaves_one_event() {
    let mut world = World::new();
    world.lose(&relay(1));
    world.pass(39, true);
    // What the first leader proposes from now on is lost, with it.
    world.pass(3, false);
    assert_eq!(world.kinds(), [""; 0]);
    world.lead(1);
    world.pass(3, true);
    assert_eq!(world.kinds(), ["silent P2"]);
    // The first one's proposal had not been lost after all.
    let late = world.nodes[1].broker.record().entries().next().unwrap().admission.clone();
    let mut event = (*late.sealed.event).clone();
    event.id = EventId::generate(WallTime(1), &mut crate::rng::Rng::new(77));
    let admission = Box::new(crate::record::Admission { sealed: seal(&event), ..late });
    world.commit(vec![Command::TroubleBegan { about: About::Silent(relay_id(1)), admission }]);
    assert_eq!(world.kinds(), ["silent P2"]);
    world.lead(0);
    world.pass(30, true);
    assert_eq!(world.kinds(), ["silent P2"]);
}

#[test]
fn a_node_that_starts_and_leads_goes_by_the_record() {
    let mut world = World::new();
    world.lose(&relay(1));
    world.lose(&seat("p2"));
    world.pass(90, true);
    assert_eq!(world.kinds(), ["silent P2", "unwatched P1"]);
    // The other node starts anew: it has seen neither of them.
    let (record, now) = (world.nodes[0].broker.record().clone(), at(world.now));
    world.nodes[1] = Node::new("n2", record, now);
    let there: Vec<NodeName> = (0..45).filter(|number| *number != 1).map(relay).collect();
    for who in there.iter().chain(&["p1", "county-1", "county-2", "city", "province"].map(seat)) {
        world.nodes[1].supervisor.see(now, who);
    }
    world.lead(1);
    world.pass(300, true);
    let kinds = world.kinds();
    assert_eq!(kinds, ["silent P2", "unwatched P1", "silent P1"], "nothing is over, and the silence has become urgent");
    world.see(&relay(1));
    world.see(&seat("p2"));
    world.pass(25, true);
    assert_eq!(world.kinds()[3..], ["back P3", "watched P3"]);
    assert!(world.nodes[0].broker.record().troubles().is_empty());
}

#[test]
fn a_station_that_nobody_watches_is_told_to_its_county_and_a_desk_to_the_one_above() {
    let mut world = World::new();
    world.lose(&seat("p1"));
    world.lose(&seat("county-2"));
    world.pass(62, true);
    let told = world.told();
    let rows: Vec<_> =
        told.iter().map(|(kind, class, of, to)| format!("{kind} {class} {of} {}", to.join(","))).collect();
    assert_eq!(rows, ["unwatched P1 county-2 city", "unwatched P1 p1 county-1"]);
    let entries: Vec<_> = world.nodes[0].broker.record().entries().cloned().collect();
    assert!(entries.iter().all(|entry| entry.admission.sealed.event.subject() == Subject::Station));
    // An officer of the county takes it; then somebody comes, and it is closed all the same.
    let id = entries.iter().find(|entry| entry.admission.stations[0].to_string() == "county-1").unwrap();
    let (event, by) = (id.admission.sealed.event.id, seat("county-1"));
    let receipt = Receipt {
        event,
        stage: Stage::Acknowledged,
        at: at(world.now).wall,
        by,
        officer: Some(name("o1")),
        note: Default::default(),
        skew: None,
        standing: Standing::Settled,
    };
    world.commit(vec![Command::Note(receipt)]);
    world.see(&seat("p1"));
    world.pass(22, true);
    let entry = world.nodes[0].broker.record().get(&event).unwrap();
    assert_eq!(entry.case.state, State::Closed);
    assert_eq!(entry.case.owner.as_ref().unwrap().by, seat("county-1"), "whoever had it keeps it");
}

#[test]
fn ten_schools_of_a_county_are_one_outage_and_a_fifth_of_a_small_one_is_another() {
    let mut world = World::new();
    (0..12).for_each(|number| world.lose(&relay(number)));
    (40..43).for_each(|number| world.lose(&relay(number)));
    world.pass(60, true);
    let rows: Vec<_> =
        world.told().iter().map(|(kind, class, of, to)| format!("{kind} {class} {of} {}", to.join(","))).collect();
    assert_eq!(rows, ["outage P1 361102 county-1,city", "outage P1 361103 county-2,city"]);
    let entries: Vec<_> = world.nodes[0].broker.record().entries().cloned().collect();
    let large = entries.iter().find(|entry| entry.admission.sealed.event.school().to_string() == "361102").unwrap();
    let note = large.admission.sealed.event.note.to_string();
    assert!(note.contains("12 of 40") && note.contains("30%") && note.contains("s11"), "{note}");
    assert_eq!(large.admission.sealed.event.subject(), Subject::Area);
    // All but one of the large one's are back: it is over, and the last is silent by itself.
    (1..12).chain(40..43).for_each(|number| world.see(&relay(number)));
    world.pass(60, true);
    let kinds = world.kinds();
    assert_eq!(kinds.iter().filter(|kind| *kind == "outage_over P3").count(), 2, "{kinds:?}");
    let silent: Vec<_> = world.told().into_iter().filter(|(kind, ..)| kind == "silent").map(|row| row.2).collect();
    assert_eq!(silent, ["s0"]);
}

#[test]
fn a_gap_in_a_relays_numbers_is_told_and_cleared_when_it_is_filled() {
    let mut world = World::new();
    let event = |number: u8, seq: u64| {
        let mut event = crate::relay::tests_support::event(Kind::Panic);
        event.id = EventId::from_bytes([number; 16]);
        (event.relay, event.seq) = (relay_id(2), seq);
        let by = NodeName::Broker { region: name("r1"), node: name("n1") };
        let (trail, stations) = (crate::receipt::Trail::default(), vec![StationId(name("p1"))]);
        Command::Admit(crate::record::Admission {
            sealed: seal(&event),
            trail,
            at: at(0).wall,
            by,
            stations,
            owed: false,
            joins: false,
        })
    };
    world.commit(vec![event(1, 1), event(2, 4)]);
    world.pass(290, true);
    assert_eq!(world.kinds().len(), 2);
    world.pass(15, true);
    assert_eq!(world.kinds()[2], "gap P2");
    let gap = world.nodes[1].broker.record().entries().find(|entry| entry.trouble.is_some()).cloned().unwrap();
    assert!(gap.admission.sealed.event.note.as_str().contains("2–3"));
    world.commit(vec![event(3, 2), event(4, 3)]);
    world.pass(3, true);
    let record = world.nodes[0].broker.record();
    assert!(record.troubles().is_empty());
    let gap = record.get(&gap.admission.sealed.event.id).unwrap();
    assert!(gap.is_closed() && gap.trouble.as_ref().unwrap().over.is_some());
    // A number that was another event's: the store has forgotten.
    world.commit(vec![event(5, 3)]);
    world.pass(3, true);
    assert_eq!(world.kinds().last().unwrap(), "store_loss P2");
}

#[test]
fn an_overdue_test_is_told_once_and_cleared_by_the_next_one() {
    let mut world = World::new();
    let press = |number: u8, days_ago: i64| {
        let mut event = crate::relay::tests_support::event(Kind::Panic);
        event.id = EventId::from_bytes([number; 16]);
        (event.relay, event.seq, event.mode) = (relay_id(2), u64::from(number), Mode::Test);
        let when = WallTime(at(0).wall.0 - days_ago * 86_400_000_000);
        Command::Admit(crate::record::Admission {
            sealed: seal(&event),
            trail: crate::receipt::Trail::default(),
            at: when,
            by: NodeName::Broker { region: name("r1"), node: name("n1") },
            stations: vec![StationId(name("p1"))],
            owed: false,
            joins: false,
        })
    };
    // Of a school that nobody ever tested nothing is said.
    world.pass(3, true);
    assert_eq!(world.kinds(), [""; 0]);
    world.commit(vec![press(1, i64::from(limits::TEST_EVERY_DAYS) + 1)]);
    world.pass(3, false);
    world.lead(1);
    world.pass(5, true);
    world.lead(0);
    world.pass(5, true);
    let told = world.told();
    assert_eq!(told[1..], [("untested".to_owned(), Class::P2, "s2".to_owned(), vec!["p1".to_owned()])]);
    assert!(world.nodes[0].broker.record().troubles().contains_key(&About::Untested(relay_id(2).school)));
    world.commit(vec![press(2, 0)]);
    world.pass(5, true);
    assert!(world.nodes[1].broker.record().troubles().is_empty());
    assert_eq!(world.kinds().len(), 3, "no event says that it is over but the test itself");
}

#[test]
fn what_a_trouble_is_about_is_read_back() {
    let area = About::Outage(Scope::Area("361102".parse().unwrap()));
    let all = [
        About::Silent(relay_id(1)),
        About::Unwatched(StationId(name("p1"))),
        area,
        About::Outage(Scope::Region),
        About::Gap(relay_id(1)),
        About::StoreLoss(relay_id(1)),
        About::Untested(relay_id(1).school),
    ];
    for about in all {
        let (what, first, second) = about.parts();
        assert_eq!(About::from_parts(what, &first, &second), Ok(about));
    }
    for (what, first, second) in
        [("quiet", "s1", "g"), ("silent", "s1", ""), ("outage", "36", ""), ("unwatched", "", "")]
    {
        assert!(About::from_parts(what, first, second).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever begins and is over in whatever order, however often it is said and whatever officers do meanwhile: at most one trouble about a thing is
    /// open, what is over is closed, and a record that is read back is the same.
    #[test]
    fn any_order_of_troubles_leads_to_a_legal_state(
        steps in prop::collection::vec((0..6_u8, 0..3_usize, any::<bool>()), 1..80),
    ) {
        let limits = RecordLimits { finished: 6, open_cases: 10, events: 16, ..RecordLimits::default() };
        let mut record = RecordState::new(limits);
        let (mut index, mut number) = (0, 0_u8);
        for (what, of, urgent) in steps {
            number = number.wrapping_add(1);
            index += 1;
            let about = About::Silent(relay_id(of));
            let mut event = crate::relay::tests_support::event(if what < 3 { Kind::Silent } else { Kind::Back });
            event.id = EventId::from_bytes([number; 16]);
            (event.relay, event.epoch, event.seq) = (relay_id(of), 0, 0);
            event.class = if what >= 3 { Class::P3 } else if urgent { Class::P1 } else { Class::P2 };
            let by = NodeName::Broker { region: name("r1"), node: name("n1") };
            let (trail, stations) = (crate::receipt::Trail::default(), vec![StationId(name("p1"))]);
            let (sealed, at) = (seal(&event), WallTime(i64::from(number)));
            let admission = Box::new(crate::record::Admission { sealed, trail, at, by: by.clone(), stations, owed: false, joins: false });
            let open = record.troubles().get(&about).cloned();
            let command = match what {
                0..=2 => Command::TroubleBegan { about: about.clone(), admission },
                3 => Command::TroubleOver { about: about.clone(), admission: Some(admission).filter(|_| urgent), by, at },
                _ => {
                    let Some(event) = open.as_ref().and_then(|open| open.events.last().copied()) else { continue };
                    let (officer, note, standing) = (Some(name("o1")), Default::default(), Standing::Settled);
                    let stage = if what == 4 { Stage::Delivered } else { Stage::Acknowledged };
                    Command::Note(Receipt { event, stage, at, by: seat("p1"), officer, note, skew: None, standing })
                }
            };
            record.apply(index, command);
            prop_assert_eq!(record.check(), Ok(()));
            let after = record.troubles().get(&about);
            match what {
                0..=2 => {
                    // With no room for it, it may have left at once.
                    prop_assert!(after.is_none_or(|after| after.class <= event.class));
                    if let Some(open) = open.filter(|open| open.class <= event.class) {
                        prop_assert_eq!(after, Some(&open), "said before");
                    }
                }
                3 => {
                    prop_assert!(after.is_none());
                    for id in open.iter().flat_map(|open| &open.events) {
                        prop_assert!(record.get(id).is_none_or(|entry| entry.is_closed()));
                    }
                }
                _ => {}
            }
            let again = RecordState::from_image(record.image(), limits).unwrap();
            prop_assert_eq!(&again, &record);
        }
    }
}
