//! The record's state: the same log gives the same state, and nothing open is ever forgotten.

use proptest::prelude::*;

use super::*;
use crate::event::{Kind, Text};
use crate::id::{Name, SeatId};
use crate::relay::tests_support::{event, seal};

const STATIONS: [&str; 2] = ["p1", "p2"];

fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn admit(number: u8, kind: Kind, routed: bool) -> Command {
    let mut event = event(kind);
    event.id = id(number);
    Command::Admit(Admission {
        sealed: seal(&event),
        trail: Trail::default(),
        at: WallTime(1),
        by: "broker/r1/n1".parse().unwrap(),
        stations: if routed { STATIONS.iter().map(|name| name.parse().unwrap()).collect() } else { vec![] },
    })
}

fn note(number: u8, stage: Stage, seat: usize) -> Command {
    let seat = SeatId { station: STATIONS[seat % 2].parse().unwrap(), seat: Name::new(&format!("d{seat}")).unwrap() };
    Command::Note(receipt(number, stage, NodeName::Station(seat)))
}

fn receipt(number: u8, stage: Stage, by: NodeName) -> Receipt {
    Receipt { event: id(number), stage, at: WallTime(2), by, officer: None, note: Text::default(), skew: None }
}

/// Applies to a state, and keeps the log as an engine would: without what was forgotten.
#[derive(Default)]
struct Engine {
    state: RecordState,
    log: BTreeMap<u64, Command>,
    index: u64,
    finished: BTreeSet<EventId>,
}

impl Engine {
    fn new(capacity: usize) -> Self {
        Self { state: RecordState::new(capacity), ..Self::default() }
    }

    fn commit(&mut self, command: Command) -> Effect {
        self.index += 1;
        self.log.insert(self.index, command.clone());
        let event = command.event();
        let effect = self.state.apply(self.index, command);
        if self.state.get(&event).is_some_and(Entry::is_finished) {
            self.finished.insert(event);
        }
        for index in self.state.evict() {
            assert!(self.log.remove(&index).is_some(), "{index} is forgotten twice");
        }
        self.state.check().unwrap();
        effect
    }
}

#[test]
fn the_first_admission_and_the_first_statement_of_a_seat_count() {
    let mut engine = Engine::new(10);
    assert_eq!(engine.commit(admit(1, Kind::Panic, true)), Effect::Admitted(id(1)));
    assert_eq!(engine.commit(admit(1, Kind::Panic, true)), Effect::Nothing);
    assert!(matches!(engine.commit(note(1, Stage::Acknowledged, 3)), Effect::Noted(_)));
    assert_eq!(engine.commit(note(1, Stage::Acknowledged, 3)), Effect::Nothing);
    assert!(matches!(engine.commit(note(1, Stage::Acknowledged, 4)), Effect::Noted(_)));
    let entry = engine.state.get(&id(1)).unwrap();
    let late = entry.notes[1].clone();
    assert_eq!(entry.owner(), Some(&entry.notes[0]));
    assert_eq!(entry.earlier_owner(&late), Some(&entry.notes[0]));
    assert_eq!(entry.receipts().len(), 4);
    assert!(!entry.receipts_for_stations().contains(&late), "stations hear of one owner");
    assert_eq!(engine.commit(note(9, Stage::Delivered, 3)), Effect::Nothing);
}

#[test]
fn no_number_of_seats_keeps_the_officers_answer_out_of_the_record() {
    let mut engine = Engine::new(10);
    engine.commit(admit(1, Kind::Panic, true));
    for seat in 0..60 {
        engine.commit(note(1, Stage::Delivered, seat));
        engine.commit(note(1, Stage::Displayed, seat));
    }
    assert!(matches!(engine.commit(note(1, Stage::Acknowledged, 59)), Effect::Noted(_)));
    let entry = engine.state.get(&id(1)).unwrap();
    assert!(entry.is_finished() && entry.receipts().len() <= limits::RECEIPTS_PER_EVENT);
    let unheard: NodeName = "station/p1/d59".parse().unwrap();
    assert!(entry.needs_no_more(&receipt(1, Stage::Delivered, unheard)), "a seat would say it for ever");
}

#[test]
fn the_last_index_stays_in_the_log_so_that_no_index_is_used_twice() {
    let mut engine = Engine::new(10);
    engine.commit(admit(1, Kind::Panic, true));
    engine.commit(admit(1, Kind::Panic, true));
    assert_eq!(
        engine.log.keys().copied().collect::<Vec<_>>(),
        [1, 2],
        "2 is the end of the log, and a mark may name it"
    );
    engine.commit(note(1, Stage::Delivered, 0));
    assert_eq!(engine.log.keys().copied().collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn an_unrouted_event_is_for_a_station_from_the_index_of_its_route_on() {
    let mut engine = Engine::new(10);
    engine.commit(admit(1, Kind::Panic, false));
    engine.commit(admit(2, Kind::Panic, true));
    assert_eq!(engine.state.unrouted().count(), 1);
    let station: StationId = "p1".parse().unwrap();
    engine.commit(Command::Route { event: id(1), stations: vec![station.clone()] });
    assert_eq!(engine.state.unrouted().count(), 0);
    let after: Vec<u64> = engine.state.for_station(&station, 2).map(|(index, _)| index).collect();
    assert_eq!(after, [3], "a seat that has all up to 2 lacks the event that was routed at 3");
    assert_eq!(engine.commit(Command::Route { event: id(1), stations: vec![station] }), Effect::Nothing);
}

fn command() -> impl Strategy<Value = Command> {
    let kinds = prop_oneof![Just(Kind::Panic), Just(Kind::Assist), Just(Kind::Status)];
    prop_oneof![
        3 => (0..40_u8, kinds, any::<bool>()).prop_map(|(number, kind, routed)| admit(number, kind, routed)),
        4 => (0..40_u8, 4..7_usize, 0..6_usize).prop_map(|(number, stage, seat)| note(number, Stage::ALL[stage], seat)),
        1 => (0..40_u8).prop_map(|number| Command::Route { event: id(number), stations: vec!["p2".parse().unwrap()] }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// A node that starts anew from the log, shortened as it is, knows what the one that stopped knew; and what is open stays.
    #[test]
    fn a_shortened_log_gives_the_same_state(commands in prop::collection::vec(command(), 1..200), capacity in 1..20_usize) {
        let mut engine = Engine::new(capacity);
        let mut open = BTreeSet::new();
        for command in commands {
            let admitted = engine.commit(command);
            if let Effect::Admitted(id) = admitted {
                open.insert(id);
                engine.finished.remove(&id);
            }
            open.retain(|id| !engine.finished.contains(id));
            for id in &open {
                prop_assert!(engine.state.get(id).is_some(), "{} was open, and is forgotten", id);
            }
            prop_assert_eq!(engine.state.unfinished().count(), open.len());
            prop_assert!(engine.state.len() <= capacity.max(open.len()));
        }
        let mut again = RecordState::new(capacity);
        for (index, command) in engine.log.clone() {
            again.apply(index, command);
        }
        // What the end of the log holds for its index alone may bring an old event back; nothing else may differ.
        let last = engine.log.last_key_value().map(|(_, command)| command.event());
        for id in (0..40).map(id).filter(|id| Some(*id) != last) {
            prop_assert_eq!(engine.state.get(&id), again.get(&id));
        }
        prop_assert_eq!(engine.state.last_index(), again.last_index());
        // Each command a second time changes nothing.
        for (_, command) in engine.log.clone() {
            if engine.state.get(&command.event()).is_some() {
                engine.index += 1;
                let effect = engine.state.apply(engine.index, command);
                prop_assert_eq!(effect, Effect::Nothing);
            }
        }
        engine.state.check().map_err(TestCaseError::fail)?;
    }
}
