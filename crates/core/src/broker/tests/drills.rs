//! Drills at a node: announced to stations before relays hear of them, ended for everybody, and what is over is closed once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;
use crate::case::{Action, ActionId, CaseOrder, Reason, State};
use crate::drill::{CloseDrill, Drill, DrillId, DrillMode, DrillOrder, DrillRefusal, OpenDrill, Scope};
use crate::event::Mode;
use crate::message::DRILLS_SINCE;
use crate::plan::{Area, Change, Drill as Registered, Hours, Label, School, Times, at_minute};
use crate::time::Span;

const COUNTY: PathId = PathId(5);
const SEAT: PathId = PathId(2);
const SECOND: i64 = 1_000_000;

/// Two schools of one county, whose desk sees both; each has its station.
fn plan_of(drills: &[Registered]) -> Plan {
    let area = |code: &str, desk: Option<&str>| {
        let (code, name, desk) = (code.parse().unwrap(), Label::default(), desk.map(|desk| desk.parse().unwrap()));
        Change::Area(Arc::new(Area {
            code,
            name,
            desk,
            times: Times::default(),
            school_hours: vec![],
            holidays: vec![],
        }))
    };
    let school = |id: &str, station: &str| {
        let mut school = School::bare(SchoolId(name(id)), vec![StationId(name(station))]);
        (school.area, school.drills) = (Some("361102".parse().unwrap()), drills.to_vec());
        Change::School(Arc::new(school))
    };
    let parts = [
        area("360000", None),
        area("361100", None),
        area("361102", Some("county")),
        school("s1", "p1"),
        school("s2", "p2"),
    ];
    Plan::of_parts(&parts).unwrap()
}

impl Bench {
    /// A node that leads, with a relay of `s1`, a seat at its station and one at the county's desk. Its clock on the wall runs.
    fn drilling(drills: &[Registered]) -> Self {
        let mut bench = Self::new(plan_of(drills), RecordState::default());
        bench.wall = Some(0);
        bench.up(RELAY, NodeName::Relay(relay_id()));
        bench.greet_relay(WIRE_MINOR);
        bench.greet(SEAT, &seat("p1", "a"), None);
        bench.greet(COUNTY, &seat("county", "a"), None);
        bench.step(Input::Leads(true));
        bench
    }

    fn announced(&self, path: PathId) -> Vec<Arc<Drill>> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        to.flat_map(|(.., m)| if let Message::Drills(drills) = m { drills.clone() } else { vec![] }).collect()
    }

    fn modes(&self) -> Vec<DrillMode> {
        let to = self.sent.iter().filter(|(to, ..)| *to == RELAY);
        to.filter_map(|(.., m)| if let Message::DrillMode(mode) = m { Some((**mode).clone()) } else { None }).collect()
    }

    fn answered(&self, path: PathId) -> Vec<Result<DrillId, DrillRefusal>> {
        let to = self.sent.iter().filter(|(to, ..)| *to == path);
        let answer = |m: &Message| match m {
            Message::DrillAnswer(_, answer) => Some(answer.clone().map(|drill| drill.id())),
            _ => None,
        };
        to.filter_map(|(.., m)| answer(m)).collect()
    }

    fn orders_drill(&mut self, path: PathId, seat: &SeatId, number: u8, scope: &str) {
        let order = open(number, NodeName::Station(seat.clone()), scope);
        self.hear(path, Message::DrillOrder(Box::new(DrillOrder::Open(order))));
    }

    fn ends(&self) -> Vec<EventId> {
        let end = |command: &Command| if let Command::EndCase { event, .. } = command { Some(*event) } else { None };
        self.proposals.iter().filter_map(end).collect()
    }

    fn raise_as(&mut self, number: u8, mode: Mode) -> EventId {
        let mut event = event(Kind::Panic);
        (event.id, event.mode) = (id(number), mode);
        let copy = EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] };
        self.hear(RELAY, Message::Event(copy));
        self.commit();
        id(number)
    }
}

fn open(number: u8, by: NodeName, scope: &str) -> OpenDrill {
    let scope = Scope::area(scope).unwrap_or_else(|_| Scope::Schools([SchoolId(name(scope))].into()));
    OpenDrill {
        id: DrillId([number; 16]),
        scope,
        devices: [name("button")].into(),
        from: WallTime(0),
        length: Span::from_secs(600),
        by,
        approver: Label::new("王所长").unwrap(),
        note: Text::default(),
        planned: false,
        at: WallTime(0),
    }
}

#[test]
fn stations_hear_of_a_drill_before_it_begins_and_relays_after_them() {
    let mut bench = Bench::drilling(&[]);
    bench.orders_drill(SEAT, &seat("p1", "a"), 1, "s1");
    assert_eq!((bench.announced(SEAT).len(), bench.modes()), (0, vec![]), "it is not in the record yet");
    bench.commit();
    for path in [SEAT, COUNTY] {
        let [drill] = &bench.announced(path)[..] else { panic!("one drill") };
        assert!(drill.from >= WallTime(5 * SECOND) && drill.until == WallTime(drill.from.0 + 600 * SECOND));
    }
    assert_eq!(bench.answered(SEAT), [Ok(DrillId([1; 16]))]);
    bench.wait(100);
    let [mode] = &bench.modes()[..] else { panic!("{:?}", bench.modes()) };
    assert!(mode.starts_in > Span::from_secs(4) && mode.lasts == Span::from_secs(600), "{mode:?}");
    assert_eq!(mode.devices, BTreeSet::from([name("button")]));
    // Again until it says that it goes by it.
    bench.wait(11_000);
    assert!((1..=3).contains(&bench.modes().len()), "{}", bench.modes().len());
    bench.hear(RELAY, Message::DrillHeard(DrillId([1; 16])));
    assert_eq!(bench.broker.drill(&DrillId([1; 16])).unwrap().relays, 1);
    bench.wait(30_000);
    assert_eq!(bench.modes(), []);
    // One that starts anew is told what is left of it.
    bench.greet_relay(WIRE_MINOR);
    let [mode] = &bench.modes()[..] else { panic!("told again") };
    assert!(mode.starts_in.is_zero() && mode.lasts < Span::from_secs(570), "{mode:?}");
    bench.greet_relay(DRILLS_SINCE - 1);
    assert_eq!(bench.modes(), [], "a relay that knows no drills raises what is meant");
    // So is a seat that comes later, and none that it does not touch.
    bench.greet(PathId(7), &seat("p1", "b"), None);
    assert_eq!(bench.announced(PathId(7)).len(), 1);
    bench.greet(PathId(8), &seat("p2", "b"), None);
    assert_eq!(bench.announced(PathId(8)), []);
}

#[test]
fn a_drill_that_is_ended_is_over_for_everybody() {
    let mut bench = Bench::drilling(&[]);
    bench.orders_drill(COUNTY, &seat("county", "a"), 1, "361102");
    bench.commit();
    bench.wait(10_000);
    bench.hear(RELAY, Message::DrillHeard(DrillId([1; 16])));
    let by = NodeName::Station(seat("p1", "a"));
    let close = |by| CloseDrill {
        id: DrillId([1; 16]),
        by,
        who: Label::new("王").unwrap(),
        note: Text::default(),
        at: WallTime(0),
    };
    bench.hear(SEAT, Message::DrillOrder(Box::new(DrillOrder::Close(close(by)))));
    assert_eq!(bench.answered(SEAT), [Err(DrillRefusal::NotYours)], "it is the county's, with another school in it");
    let by = NodeName::Station(seat("county", "a"));
    bench.hear(COUNTY, Message::DrillOrder(Box::new(DrillOrder::Close(close(by)))));
    bench.commit();
    let closed = |path| bench.announced(path).iter().filter(|drill| drill.closed.is_some()).count();
    assert_eq!((closed(SEAT), closed(COUNTY), bench.answered(COUNTY)), (1, 1, vec![Ok(DrillId([1; 16]))]));
    bench.wait(100);
    let [mode] = &bench.modes()[..] else { panic!("told that it is over") };
    assert!(mode.lasts.is_zero());
}

#[test]
fn who_may_not_and_what_cannot_be_is_refused_by_name() {
    let mut bench = Bench::drilling(&[]);
    let p1 = seat("p1", "a");
    for (number, scope, why) in [
        (1, "s2", DrillRefusal::NotYours),
        (2, "361102", DrillRefusal::NotYours),
        (3, "s9", DrillRefusal::NoSchool),
        (4, "4501", DrillRefusal::NoSchool),
    ] {
        bench.orders_drill(SEAT, &p1, number, scope);
        assert_eq!(bench.answered(SEAT), [Err(why)], "{scope}");
    }
    // In somebody else's name.
    bench.orders_drill(SEAT, &seat("county", "a"), 5, "361102");
    assert!(matches!(bench.reports.last(), Some(Report::Improper(..))));
    let why = Text::new("n2 and n3 are silent").unwrap();
    bench.step(Input::Quorum(Some(Degraded { since: WallTime(1), why })));
    bench.orders_drill(SEAT, &p1, 6, "s1");
    assert_eq!(bench.answered(SEAT), [Err(DrillRefusal::NoQuorum)]);
    assert_eq!(bench.proposals, []);
}

#[test]
fn a_drill_s_case_is_closed_when_the_drill_is_over_and_never_one_that_is_meant() {
    let mut bench = Bench::drilling(&[]);
    bench.orders_drill(SEAT, &seat("p1", "a"), 1, "s1");
    bench.commit();
    bench.wait(20_000);
    let (drill, live, made) =
        (bench.raise_as(1, Mode::Drill), bench.raise_as(2, Mode::Live), bench.raise_as(3, Mode::Drill));
    let by = NodeName::Station(seat("p1", "a"));
    let (officer, note) = (name("014"), Text::default());
    let (id, action) = (ActionId([9; 16]), Action::MakeLive);
    let order = CaseOrder { id, event: made, action, by, officer, at: WallTime(1), note };
    bench.hear(SEAT, Message::Case(Box::new(order)));
    bench.commit();
    assert!(bench.broker.record().get(&made).unwrap().is_live());
    let counts = bench.broker.drill(&DrillId([1; 16])).unwrap().counts;
    assert_eq!((counts.schools, counts.pressed, counts.presses), (1, 1, 2));
    bench.proposals.clear();
    bench.wait(640_000);
    assert_eq!(bench.ends(), [], "a minute is left to whoever looks at it");
    bench.proposals.clear();
    bench.wait(9_000);
    let ends: BTreeSet<EventId> = bench.ends().into_iter().collect();
    assert_eq!(ends, [drill].into());
    bench.proposals.retain(|command| matches!(command, Command::EndCase { .. }));
    bench.commit();
    assert_eq!(bench.stages_to(RELAY), [Stage::Closed]);
    assert!(bench.stages_to(SEAT).contains(&Stage::Closed));
    let case = &bench.broker.record().get(&drill).unwrap().case;
    assert_eq!((case.state, case.closed.unwrap().0), (State::Closed, Reason::Drill));
    bench.wait(600_000);
    assert_eq!(bench.ends(), [], "once");
    assert_eq!(bench.broker.record().get(&live).unwrap().case.state, State::Raised);
}

#[test]
fn the_next_leader_closes_what_the_last_one_did_not_and_nothing_twice() {
    let mut first = Bench::drilling(&[]);
    let event = first.raise_as(1, Mode::Test);
    let mut second = Bench::new(plan_of(&[]), first.broker.record().clone());
    second.wall = Some(0);
    first.wait(301_000);
    let command = first.proposals.iter().find(|command| matches!(command, Command::EndCase { .. })).unwrap().clone();
    second.now = first.now;
    second.wait(10_000);
    assert_eq!(second.ends(), [], "it does not lead");
    second.step(Input::Leads(true));
    second.wait(100);
    assert_eq!(second.ends(), [event], "the first one's came to nothing, as far as anybody knows");
    let own = std::mem::take(&mut second.proposals);
    // Both come into the log.
    second.proposals = [command].into_iter().chain(own).collect();
    second.commit();
    let entry = second.broker.record().get(&event).unwrap();
    assert_eq!(entry.case.history.len(), 1);
    second.wait(60_000);
    assert_eq!(second.ends(), []);
}

#[test]
fn what_the_plan_registers_is_announced_in_time_by_the_leader_and_once() {
    let (day, hours) =
        ("2026-12-01".parse().unwrap(), Hours { from: "10:00".parse().unwrap(), to: "10:20".parse().unwrap() });
    let mut bench = Bench::drilling(&[Registered { day, hours }]);
    let from = at_minute(day, hours.from);
    bench.wall = Some(from.0 - 700 * SECOND);
    bench.now = 0;
    bench.proposals.clear();
    bench.wait(60_000);
    assert_eq!(bench.proposals, []);
    bench.wait(70_000);
    let orders: Vec<_> = bench
        .proposals
        .iter()
        .filter_map(|c| if let Command::OpenDrill(o) = c { Some(o.clone()) } else { None })
        .collect();
    let order = orders.first().unwrap().clone();
    assert!(orders.iter().all(|other| other.id == order.id), "the same drill, however often it is proposed");
    assert_eq!((order.from, order.length, order.planned), (from, Span::from_secs(1_200), true));
    assert_eq!(order.scope, Scope::Schools([SchoolId(name("s1")), SchoolId(name("s2"))].into()));
    bench.commit();
    assert_eq!(bench.announced(SEAT).len(), 1);
    bench.wait(500_000);
    assert_eq!(bench.proposals, []);
    assert_eq!(bench.modes(), [], "relays hear of it a minute before");
    bench.wait(60_000);
    assert!(!bench.modes().is_empty());
}
