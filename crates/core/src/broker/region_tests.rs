//! Several broker nodes and one log: whatever quorums are lost, proposals forgotten and nodes started anew, what a node said it has is in the
//! record in the end, the same one everywhere, with one owner for each alarm, and both officers of a conflict know.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::Machine;
use crate::case::{Action, ActionId, CaseOrder, CaseRefusal, Reason, genesis, verify};
use crate::escalate::Escalate;
use crate::event::{Kind, Text};
use crate::id::{EventId, Name, NodeName, PathId, RecordId, SchoolId, SeatId, StationId};
use crate::lane::Lane;
use crate::message::{Degraded, EventCopy, Hello, Message, WIRE_MINOR};
use crate::path::PathInfo;
use crate::plan::Plan;
use crate::receipt::{Receipt, Stage, Standing, Trail};
use crate::record::{Command, Entry, RecordLimits, RecordState};
use crate::relay::tests_support::{event, relay_id, seal};
use crate::time::{Now, Timestamp, WallTime};

const NODES: usize = 3;
const RELAY: PathId = PathId(1);
const SEATS: [(&str, PathId); 2] = [("p1", PathId(2)), ("p2", PathId(3))];

#[derive(Debug, Clone, Copy)]
enum Op {
    Press(usize, u8),
    Say(usize, u8, Stage, usize),
    /// A seat wants another station to see the event.
    Escalate(usize, u8, usize),
    /// A seat acts on the case, with one of so many orders.
    Case(usize, u8, usize, u8),
    /// The node loses its quorum, or has it again.
    Quorum(usize, bool),
    /// What the node proposed comes into the log; or is forgotten by a leader that dies, which its proposer may or may not hear.
    Commit(usize),
    Forget(usize),
    /// The node applies so many commands more.
    Apply(usize, usize),
    /// What the node journals is on its disk.
    Journal(usize),
    /// The node starts anew from what it has on disk.
    Restart(usize),
    /// The node is given the record of the whole log.
    Restore(usize),
    Wait(usize),
}

struct Member {
    broker: Broker,
    now: u64,
    applied: usize,
    proposals: Vec<Command>,
    journalling: Vec<(JournalId, Command)>,
    journal: Vec<(JournalId, Command)>,
}

struct Region {
    members: Vec<Member>,
    log: Vec<Command>,
    archive: Vec<Entry>,
    limits: RecordLimits,
    received: BTreeSet<EventId>,
    stored: BTreeSet<EventId>,
    /// What each seat was told of an acknowledgement: the seat, the event, by whom, and its standing.
    told: BTreeSet<(usize, EventId, NodeName, Standing)>,
    said: BTreeSet<(EventId, Stage, usize)>,
    /// What each seat was told of an order about a case.
    answers: BTreeMap<(PathId, ActionId), Result<u64, CaseRefusal>>,
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn seat(at: usize) -> SeatId {
    SeatId { station: StationId(name(SEATS[at].0)), seat: name("a") }
}

fn id(number: u8) -> EventId {
    EventId::from_bytes([number; 16])
}

fn machine(at: usize, record: RecordState, journal: Vec<(JournalId, Command)>) -> Broker {
    let mut plan = Plan::default();
    plan.add(SchoolId(name("s1")), SEATS.iter().map(|(station, _)| StationId(name(station))).collect()).unwrap();
    let node = name(&format!("n{at}"));
    let config = BrokerConfig { region: name("r1"), node, province: None, seed: at as u64, software: String::new() };
    Broker::new(config, plan, record, journal)
}

impl Region {
    fn new(limits: RecordLimits) -> Self {
        let members = (0..NODES).map(|at| Member {
            broker: machine(at, RecordState::new(limits), vec![]),
            now: 0,
            applied: 0,
            proposals: vec![],
            journalling: vec![],
            journal: vec![],
        });
        let mut region = Self {
            members: members.collect(),
            log: vec![Command::Found { record: RecordId([1; 16]) }],
            archive: vec![],
            limits,
            received: BTreeSet::new(),
            stored: BTreeSet::new(),
            told: BTreeSet::new(),
            said: BTreeSet::new(),
            answers: BTreeMap::new(),
        };
        (0..NODES).for_each(|at| region.open(at));
        region
    }

    /// Relay and seats come to a node.
    fn open(&mut self, at: usize) {
        let info = PathInfo::plain(Lane::Express);
        let relay = NodeName::Relay(relay_id());
        self.step(at, Input::SessionUp { path: RELAY, peer: relay, info, expired: false });
        let hello = || Hello { software: String::new(), wire_minor: WIRE_MINOR, resume: None };
        self.step(at, Input::Message(RELAY, Message::Hello(hello())));
        for (number, (_, path)) in SEATS.into_iter().enumerate() {
            let peer = NodeName::Station(seat(number));
            self.step(at, Input::SessionUp { path, peer, info, expired: false });
            self.step(at, Input::Message(path, Message::Hello(hello())));
        }
    }

    fn step(&mut self, at: usize, input: Input) {
        let member = &mut self.members[at];
        member.broker.handle(Now { mono: Timestamp(member.now), wall: WallTime(1) }, input);
        self.drain(at);
    }

    fn drain(&mut self, at: usize) {
        while let Some(output) = self.members[at].broker.poll_output() {
            let member = &mut self.members[at];
            match output {
                Output::Propose(command) => member.proposals.push(command),
                Output::Journal(id, command) => member.journalling.push((id, command)),
                Output::Unjournal(ids) => {
                    member.journalling.retain(|(id, _)| !ids.contains(id));
                    member.journal.retain(|(id, _)| !ids.contains(id));
                }
                Output::Archive(_, entry) => {
                    if !self.archive.contains(&entry) {
                        self.archive.push(*entry);
                    }
                }
                Output::Recall(ticket, ids) => {
                    let wanted = |entry: &&Entry| ids.contains(&entry.admission.sealed.event.id);
                    let entries = self.archive.iter().filter(wanted).cloned().collect();
                    self.members[at].broker.handle(Now::default(), Input::Recalled(ticket, entries));
                }
                Output::Send(path, _, _, Message::Receipts(receipts)) => self.hear(path, &receipts),
                Output::Send(path, _, _, Message::Event(copy)) => self.hear(path, &copy.receipts),
                Output::Send(path, _, _, Message::CaseTaken(id, step, _)) => self.answered(path, id, Ok(step)),
                Output::Send(path, _, _, Message::CaseRefused(id, why, _)) => self.answered(path, id, Err(why)),
                Output::Send(..) | Output::Report(_) | Output::RaceProvince => {}
                Output::Snapshot(..) => panic!("nobody asked for one"),
            }
        }
        self.members[at].broker.check().unwrap();
    }

    fn hear(&mut self, path: PathId, receipts: &[Receipt]) {
        for receipt in receipts {
            if path == RELAY && receipt.standing == Standing::Provisional {
                self.received.insert(receipt.event);
            }
            if path == RELAY && receipt.stage == Stage::Stored {
                self.stored.insert(receipt.event);
            }
            if let Some(seat) = SEATS.iter().position(|(_, to)| *to == path)
                && receipt.stage == Stage::Acknowledged
            {
                self.told.insert((seat, receipt.event, receipt.by.clone(), receipt.standing));
            }
        }
    }

    fn act(&mut self, op: Op) {
        match op {
            Op::Press(at, number) => {
                let mut event = event(Kind::Panic);
                event.id = id(number);
                let copy = EventCopy { sealed: seal(&event), trail: Trail::default(), receipts: vec![] };
                self.step(at, Input::Message(RELAY, Message::Event(copy)));
            }
            Op::Say(at, number, stage, seat) => self.say(at, id(number), stage, seat),
            Op::Escalate(at, number, by) => {
                let order = Escalate {
                    event: id(number),
                    stations: vec![StationId(name("p9"))],
                    by: NodeName::Station(seat(by)),
                    officer: Some(name("o")),
                    at: WallTime(3),
                    note: Text::default(),
                };
                self.step(at, Input::Message(SEATS[by].1, Message::Escalate(order)));
            }
            Op::Case(at, number, by, order) => self.order(at, number, by, order),
            Op::Quorum(at, true) => self.step(at, Input::Quorum(None)),
            Op::Quorum(at, false) => {
                let why = Text::new("alone").unwrap();
                self.step(at, Input::Quorum(Some(Degraded { since: WallTime(1), why })));
            }
            Op::Commit(at) => {
                if self.members[at].broker.condition().is_none() {
                    let proposals = std::mem::take(&mut self.members[at].proposals);
                    self.log.extend(proposals);
                }
            }
            Op::Forget(at) => {
                for (number, command) in std::mem::take(&mut self.members[at].proposals).into_iter().enumerate() {
                    if number % 2 == 0 {
                        self.step(at, Input::NotCommitted { command, why: NotCommitted::Unknown });
                    }
                }
            }
            Op::Apply(at, count) => {
                for _ in 0..count {
                    let applied = self.members[at].applied;
                    let Some(command) = self.log.get(applied).cloned() else { return };
                    self.members[at].applied += 1;
                    self.step(at, Input::Committed { index: applied as u64 + 1, command, replayed: false });
                }
            }
            Op::Journal(at) => {
                for (id, command) in std::mem::take(&mut self.members[at].journalling) {
                    self.members[at].journal.push((id, command));
                    self.step(at, Input::Journalled(id));
                }
            }
            Op::Restart(..) | Op::Restore(..) | Op::Wait(..) => self.pass(op),
        }
    }

    /// What takes time, or a node's life.
    fn pass(&mut self, op: Op) {
        match op {
            Op::Restart(at) => {
                let member = &mut self.members[at];
                let (record, journal) = (member.broker.record().clone(), member.journal.clone());
                (member.proposals, member.journalling) = (vec![], vec![]);
                member.broker = machine(at, record, journal);
                self.drain(at);
                self.open(at);
            }
            Op::Restore(at) => {
                let mut record = RecordState::new(self.limits);
                for (index, command) in self.log.iter().enumerate() {
                    let left = record.apply(index as u64 + 1, command.clone()).archived;
                    self.archive.extend(left.into_iter().map(|(_, entry)| (*entry).clone()));
                }
                self.members[at].applied = self.log.len();
                self.step(at, Input::Restored(Box::new(record)));
            }
            Op::Wait(at) => {
                let until = self.members[at].now + 2_500_000;
                while let Some(due) = self.members[at].broker.poll_timeout().filter(|due| due.0 <= until) {
                    let member = &mut self.members[at];
                    member.now = member.now.max(due.0);
                    member.broker.handle_timeout(Now { mono: Timestamp(member.now), wall: WallTime(1) });
                    self.drain(at);
                }
                self.members[at].now = until;
            }
            _ => {}
        }
    }

    fn say(&mut self, at: usize, event: EventId, stage: Stage, seat_at: usize) {
        let by = NodeName::Station(seat(seat_at));
        let officer = (stage == Stage::Acknowledged).then(|| name("o"));
        let standing = Standing::Settled;
        let note = Text::default();
        let receipt = Receipt { event, stage, at: WallTime(3), by, officer, note, skew: None, standing };
        self.said.insert((event, stage, seat_at));
        self.step(at, Input::Message(SEATS[seat_at].1, Message::Receipts(vec![receipt])));
    }

    /// A seat's order about a case: the same each time, and the other seat's is another.
    fn order(&mut self, at: usize, number: u8, by: usize, order: u8) {
        let actions = [
            Action::Dispatch,
            Action::Enroute,
            Action::Onscene,
            Action::TakeOver,
            Action::Transfer(StationId(name("p2"))),
            Action::Close(Reason::False),
            Action::Reopen,
            Action::Note,
        ];
        let mut id = [number; 16];
        (id[1], id[2]) = (u8::from(by == 0), order);
        let order = CaseOrder {
            id: ActionId(id),
            event: self::id(number),
            action: actions[usize::from(order) % actions.len()].clone(),
            by: NodeName::Station(seat(by)),
            officer: name(SEATS[by].0),
            at: WallTime(3),
            note: Text::default(),
        };
        self.step(at, Input::Message(SEATS[by].1, Message::Case(Box::new(order))));
    }

    /// What a seat was told of an order: its step, or why there is none.
    fn answered(&mut self, path: PathId, id: ActionId, answer: Result<u64, CaseRefusal>) {
        // Who cannot say may be asked again.
        if answer.is_err_and(CaseRefusal::is_soft) {
            return;
        }
        let known = self.answers.entry((path, id)).or_insert(answer);
        assert!(
            *known == answer || answer == Err(CaseRefusal::Archived),
            "{id} was answered {known:?}, then {answer:?}"
        );
    }

    /// All faults are over: what waits is proposed, committed and applied until nothing waits. Seats say again what was not confirmed.
    fn heal(&mut self) {
        (0..NODES).for_each(|at| self.act(Op::Quorum(at, true)));
        for _ in 0..6 {
            for at in 0..NODES {
                self.act(Op::Journal(at));
                self.act(Op::Wait(at));
                self.act(Op::Commit(at));
            }
            (0..NODES).for_each(|at| self.act(Op::Apply(at, usize::MAX)));
            let said: Vec<_> = self.said.iter().copied().collect();
            said.into_iter().for_each(|(event, stage, seat)| self.say(0, event, stage, seat));
        }
    }
}

fn op() -> impl Strategy<Value = Op> {
    let node = || 0..NODES;
    prop_oneof![
        4 => (node(), 1..6_u8).prop_map(|(at, number)| Op::Press(at, number)),
        5 => (node(), 1..6_u8, 4..7_usize, 0..2_usize)
            .prop_map(|(at, number, stage, seat)| Op::Say(at, number, Stage::ALL[stage], seat)),
        1 => (node(), 1..6_u8, 0..2_usize).prop_map(|(at, number, by)| Op::Escalate(at, number, by)),
        4 => (node(), 1..6_u8, 0..2_usize, 0..16_u8).prop_map(|(at, number, by, order)| Op::Case(at, number, by, order)),
        3 => (node(), any::<bool>()).prop_map(|(at, quorum)| Op::Quorum(at, quorum)),
        4 => node().prop_map(Op::Commit),
        2 => node().prop_map(Op::Forget),
        5 => (node(), 1..8_usize).prop_map(|(at, count)| Op::Apply(at, count)),
        4 => node().prop_map(Op::Journal),
        1 => node().prop_map(Op::Restart),
        1 => node().prop_map(Op::Restore),
        2 => node().prop_map(Op::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_region_comes_together_after_whatever_befell_its_nodes(
        ops in prop::collection::vec(op(), 1..80),
        finished in prop_oneof![Just(0_usize), Just(100)],
    ) {
        let mut region = Region::new(RecordLimits { finished, open_cases: finished, ..RecordLimits::default() });
        let mut owners: Vec<(EventId, NodeName)> = Vec::new();
        for op in ops {
            region.act(op);
            for member in &region.members {
                for entry in member.broker.record().entries() {
                    let (event, owner) = (entry.admission.sealed.event.id, entry.owner().map(|owner| owner.by.clone()));
                    let Some(owner) = owner else { continue };
                    let known = owners.iter().find(|(id, _)| *id == event);
                    prop_assert!(known.is_none_or(|(_, known)| *known == owner), "{} has two owners", event);
                    if known.is_none() {
                        owners.push((event, owner));
                    }
                }
            }
        }
        region.heal();
        let record = region.members[0].broker.record().clone();
        for member in &region.members {
            prop_assert_eq!(member.broker.record(), &record, "the same log, and another record");
            prop_assert_eq!(member.broker.waiting(), 0);
            prop_assert!(member.journal.is_empty() && member.journalling.is_empty());
        }
        for id in region.received.iter().chain(&region.stored) {
            prop_assert!(record.get(id).is_some() || record.is_archived(id), "{} is not in the record", id);
        }
        let entries: Vec<&Entry> =
            record.entries().map(AsRef::as_ref).chain(region.archive.iter()).collect();
        for entry in entries {
            let event = entry.admission.sealed.event.id;
            prop_assert!(entry.escalations.len() <= 1, "{} was escalated to one station twice", event);
            let mut last = (0, genesis(&entry.admission.sealed.bytes));
            for step in entry.case.history.steps() {
                prop_assert_eq!(verify(last.0, &last.1, step), Ok(()));
                last = (step.number, step.digest);
            }
            let Some(owner) = entry.owner() else { continue };
            for assisting in entry.notes.iter().filter(|note| note.standing == Standing::Assisting) {
                for (at, _) in SEATS.iter().enumerate() {
                    for (by, standing) in [(&owner.by, Standing::Settled), (&assisting.by, Standing::Assisting)] {
                        let own = *by == NodeName::Station(seat(at)) && standing == Standing::Settled;
                        let told = region.told.contains(&(at, event, by.clone(), standing));
                        // The owner is confirmed instead of being told of itself.
                        prop_assert!(own || told, "seat {} was not told of {} by {}: {}", at, event, by, standing);
                    }
                }
            }
        }
    }
}
