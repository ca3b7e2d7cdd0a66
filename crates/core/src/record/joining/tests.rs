//! Any order and repetition of presses, acknowledgements and orders leads to a legal state, and nothing that was pressed is lost.

use proptest::prelude::*;

use super::*;
use crate::case::{Action, ActionId, CaseOrder, Reason, State};
use crate::event::{Details, Text};
use crate::id::{Name, SeatId};
use crate::receipt::{Standing, Trail};
use crate::record::{Applied, Command, Effect, RecordLimits};
use crate::relay::tests_support::{event, seal};

const MINUTE: i64 = 60_000_000;

fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

#[derive(Debug, Clone)]
struct Press {
    number: u8,
    kind: Kind,
    mode: Mode,
    device: Option<&'static str>,
    person: Option<&'static str>,
    station: &'static str,
    at: i64,
}

fn press(number: u8, kind: Kind, device: &'static str, at: i64) -> Press {
    Press { number, kind, mode: Mode::Live, device: Some(device), person: None, station: "p1", at }
}

fn admit(press: &Press) -> Command {
    let mut event = event(press.kind.clone());
    event.id = id(press.number);
    event.mode = press.mode;
    event.device = press.device.map(|device| Name::new(device).unwrap());
    event.details = Details::new(press.person.map(|person| ("person", person))).unwrap();
    let joins = joins(&event);
    let (at, by) = (WallTime(press.at), "broker/r1/n1".parse().unwrap());
    let stations = vec![press.station.parse().unwrap(), "county".parse().unwrap()];
    Command::Admit(Admission { sealed: seal(&event), trail: Trail::default(), at, by, stations, owed: false, joins })
}

fn seat(station: &str) -> NodeName {
    NodeName::Station(SeatId { station: station.parse().unwrap(), seat: Name::new("d1").unwrap() })
}

fn ack(number: u8, station: &str) -> Command {
    Command::Note(Receipt {
        event: id(number),
        stage: Stage::Acknowledged,
        at: WallTime(2),
        by: seat(station),
        officer: Name::new("014").ok(),
        note: Text::default(),
        skew: None,
        standing: Standing::Settled,
    })
}

fn order(number: u8, action: Action, which: u8, heard: i64) -> Command {
    let mut order = [which; 16];
    order[0] = number;
    let order = CaseOrder {
        id: ActionId(order),
        event: id(number),
        action,
        by: seat("p1"),
        officer: Name::new("014").unwrap(),
        at: WallTime(heard),
        note: Text::new("备注").unwrap(),
    };
    Command::Case { order: Box::new(order), heard: WallTime(heard) }
}

#[derive(Default)]
struct Bench(RecordState, u64);

impl Bench {
    fn new() -> Self {
        Self(RecordState::new(RecordLimits::default()), 0)
    }

    fn commit(&mut self, command: Command) -> Applied {
        self.1 += 1;
        let applied = self.0.apply(self.1, command);
        self.0.check().unwrap();
        applied
    }

    fn bond_of(&self, number: u8) -> Bond {
        self.0.get(&id(number)).unwrap().bond
    }

    fn summary(&self, number: u8) -> Summary {
        self.0.get(&id(number)).unwrap().summary().unwrap()
    }
}

#[test]
fn a_repeated_press_joins_the_open_case_and_raises_it() {
    let mut bench = Bench::new();
    bench.commit(admit(&press(1, Kind::Panic, "b1", 0)));
    let applied = bench.commit(admit(&press(2, Kind::Panic, "b1", MINUTE)));
    assert_eq!(
        (applied.effect, applied.cases),
        (Effect::Admitted(id(2)), vec![id(1), id(2)]),
        "stations are told of both"
    );
    bench.commit(admit(&press(3, Kind::Panic, "b1", 2 * MINUTE)));
    assert_eq!((bench.bond_of(2), bench.bond_of(3)), (Bond::Repeat(id(1)), Bond::Repeat(id(1))));
    let case = bench.summary(1);
    assert_eq!((case.presses, case.level, case.state), (2, 1, State::Raised));
    assert!(!bench.0.get(&id(3)).unwrap().has_case());

    // One officer has all of it, whichever press the answer names.
    let applied = bench.commit(ack(2, "p1"));
    let also: Vec<EventId> = applied.also.iter().map(|receipt| receipt.event).collect();
    assert_eq!(also, [id(1), id(3)]);
    assert!([1, 2, 3].into_iter().all(|number| bench.0.get(&id(number)).unwrap().is_finished()));
    assert_eq!((bench.summary(1).state, bench.summary(3).state), (State::Acknowledged, State::Acknowledged));
    // One that comes later asks again.
    bench.commit(admit(&press(4, Kind::Panic, "b1", 3 * MINUTE)));
    assert_eq!(bench.bond_of(4), Bond::Repeat(id(1)));
    assert!(!bench.0.get(&id(4)).unwrap().is_finished());
    assert_eq!((bench.summary(1).presses, bench.summary(1).level), (3, 2));
    // What is ordered about a repeat is done to the case.
    let Effect::Acted(done, acted) = bench.commit(order(4, Action::Dispatch, 1, 0)).effect else { panic!("an order") };
    assert_eq!((done.event, acted.outcome), (id(1), Ok(2)));
    assert_eq!(bench.summary(1).state, State::Dispatched);
}

#[test]
fn another_button_of_the_school_is_a_child_and_one_after_the_end_is_linked() {
    let mut bench = Bench::new();
    bench.commit(admit(&press(1, Kind::Panic, "b1", 0)));
    bench.commit(admit(&press(2, Kind::Fire, "b2", 1)));
    bench.commit(admit(&press(3, Kind::Panic, "b3", 2)));
    bench.commit(admit(&press(4, Kind::Fire, "b2", 3)));
    let bonds = [2, 3, 4].map(|number| bench.bond_of(number));
    assert_eq!(bonds, [Bond::Child(id(1)), Bond::Child(id(1)), Bond::Repeat(id(2))]);
    bench.commit(ack(1, "p1"));
    assert!(!bench.0.get(&id(2)).unwrap().is_finished(), "a child has an answer of its own");
    for number in 1..=3 {
        bench.commit(ack(number, "p1"));
        bench.commit(order(number, Action::Close(Reason::False), 1, 10 * MINUTE + i64::from(number)));
    }
    bench.commit(admit(&press(5, Kind::Panic, "b1", 11 * MINUTE)));
    assert_eq!(bench.bond_of(5), Bond::Follows(id(3)), "the one that was closed last");
    bench.commit(ack(5, "p1"));
    bench.commit(order(5, Action::Close(Reason::False), 1, 12 * MINUTE));
    bench.commit(admit(&press(6, Kind::Panic, "b1", 13 * MINUTE + 24 * 60 * MINUTE)));
    assert_eq!(bench.bond_of(6), Bond::Alone, "a day later it is another story");
}

#[test]
fn duress_tests_drills_and_other_stations_are_kept_apart() {
    let mut bench = Bench::new();
    bench.commit(admit(&press(1, Kind::Panic, "b1", 0)));
    let duress = press(2, Kind::Duress, "b1", 1);
    let test = Press { mode: Mode::Test, ..press(3, Kind::Panic, "b1", 2) };
    let drill = Press { mode: Mode::Drill, ..press(4, Kind::Panic, "b1", 3) };
    let again = Press { mode: Mode::Drill, ..press(5, Kind::Panic, "b1", 4) };
    let moved = Press { station: "p2", ..press(6, Kind::Panic, "b1", 5) };
    let nowhere = Press { device: None, ..press(7, Kind::Assist, "b1", 6) };
    for press in [duress, test, drill, again, moved, nowhere] {
        bench.commit(admit(&press));
    }
    let bonds: Vec<Bond> = (2..=7).map(|number| bench.bond_of(number)).collect();
    let expected = [Bond::Alone, Bond::Alone, Bond::Alone, Bond::Repeat(id(4)), Bond::Alone, Bond::Child(id(1))];
    assert_eq!(bonds, expected);
}

#[test]
fn what_an_older_version_admitted_joins_nothing() {
    let mut bench = Bench::new();
    for number in 1..=2 {
        let Command::Admit(admission) = admit(&press(number, Kind::Panic, "b1", 0)) else { panic!("an admission") };
        bench.commit(Command::Admit(Admission { joins: false, ..admission }));
    }
    assert_eq!(bench.bond_of(2), Bond::Alone);
}

#[test]
fn warnings_of_one_person_within_five_minutes_are_one_case() {
    let mut bench = Bench::new();
    let person = |number, person, device, at| Press { person: Some(person), ..press(number, Kind::Person, device, at) };
    bench.commit(admit(&person(1, "p-17", "cam1", 0)));
    bench.commit(admit(&person(2, "p-17", "cam2", 4 * MINUTE)));
    bench.commit(admit(&person(3, "p-18", "cam1", 4 * MINUTE)));
    bench.commit(admit(&person(4, "p-17", "cam1", 9 * MINUTE)));
    bench.commit(admit(&person(5, "p-17", "cam1", 15 * MINUTE)));
    let bonds: Vec<Bond> = (2..=5).map(|number| bench.bond_of(number)).collect();
    assert_eq!(bonds, [Bond::Repeat(id(1)), Bond::Alone, Bond::Repeat(id(1)), Bond::Alone]);
    bench.commit(admit(&press(6, Kind::Panic, "b1", 16 * MINUTE)));
    assert_eq!(bench.bond_of(6), Bond::Alone, "a press is no child of a warning");
}

#[derive(Debug, Clone)]
enum Step {
    Press(Press),
    Ack(u8, &'static str),
    Order(u8, Action, u8, i64),
}

fn step() -> impl Strategy<Value = Step> {
    let kinds = prop::sample::select(vec![
        Kind::Panic,
        Kind::Fire,
        Kind::Duress,
        Kind::Person,
        Kind::Tamper,
        Kind::Cancel,
        Kind::Fault,
    ]);
    let modes = prop::sample::select(vec![Mode::Live, Mode::Live, Mode::Live, Mode::Drill, Mode::Test]);
    let device = prop::sample::select(vec![Some("b1"), Some("b2"), None]);
    let person = prop::sample::select(vec![Some("p-17"), Some("p-18"), None]);
    let station = prop::sample::select(vec!["p1", "p1", "p2"]);
    let at = 0_i64..(40 * 60 * MINUTE);
    let press = (1_u8..20, kinds, modes, device, person, station.clone(), at.clone()).prop_map(
        |(number, kind, mode, device, person, station, at)| {
            Step::Press(Press { number, kind, mode, device, person, station, at })
        },
    );
    let actions =
        vec![Action::Dispatch, Action::Close(Reason::False), Action::Reopen, Action::Transfer("p2".parse().unwrap())];
    let order = (1_u8..20, prop::sample::select(actions), 0_u8..4, at)
        .prop_map(|(of, action, which, heard)| Step::Order(of, action, which, heard));
    prop_oneof![4 => press, 2 => (1_u8..20, station).prop_map(|(of, station)| Step::Ack(of, station)), 2 => order]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_order_and_repetition_leads_to_a_legal_state(steps in prop::collection::vec(step(), 1..60), small in any::<bool>()) {
        let limits = if small { RecordLimits { finished: 2, open_cases: 3, events: 8, archived_ids: 100, ..RecordLimits::default() } } else { RecordLimits::default() };
        let mut bench = Bench(RecordState::new(limits), 0);
        let (mut admitted, mut left, mut presses) = (BTreeSet::new(), 0, BTreeMap::<EventId, u32>::new());
        let mut bonds = BTreeMap::new();
        for step in steps {
            let pressed = match &step { Step::Press(press) => Some(id(press.number)), _ => None };
            let command = match step {
                Step::Press(press) => admit(&press),
                Step::Ack(of, station) => ack(of, station),
                Step::Order(of, action, which, heard) => order(of, action, which, heard),
            };
            let applied = bench.commit(command);
            left += applied.archived.iter().filter(|(_, entry)| entry.part.at == 0).count();
            if let Some(id) = pressed.filter(|_| matches!(applied.effect, Effect::Admitted(_))) {
                admitted.insert(id);
                let entry = bench.0.get(&id).cloned().or_else(|| applied.archived.iter().map(|(_, entry)| (**entry).clone()).find(|entry| entry.admission.sealed.event.id == id));
                let bond = entry.unwrap().bond;
                prop_assert!(bond.to().is_none_or(|to| admitted.contains(&to) && to != id), "bonded to what was there");
                bonds.insert(id, bond);
                if let Some(root) = bond.root() {
                    *presses.entry(root).or_default() += 1;
                }
            }
            // Nothing is lost, no bond ever changes, and every press is counted once.
            prop_assert_eq!(bench.0.len() + left, admitted.len());
            for entry in bench.0.entries() {
                let id = entry.admission.sealed.event.id;
                prop_assert_eq!(entry.bond, bonds[&id]);
                prop_assert_eq!(entry.presses, presses.get(&id).copied().unwrap_or_default());
                prop_assert!(entry.summary().is_none_or(|case| case.level <= limits::CASE_LEVEL));
            }
        }
        // A snapshot holds all of it.
        let back = RecordState::from_image(bench.0.image(), limits).unwrap();
        prop_assert_eq!(back, bench.0);
    }
}
