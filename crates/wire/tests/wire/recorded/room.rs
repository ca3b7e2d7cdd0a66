//! One school, one broker node and two seats that talk to each other without loss, and whose frames are written down.
//!
//! What is here is what a recording is made with, and it is kept small so that it compiles against an older minor with few changes: where the
//! node is told and asked, see [`Room::node_says`] and [`node`].

use std::collections::BTreeMap;

use huxiao_core::broker::{Broker, BrokerConfig};
use huxiao_core::plan::Plan;
use huxiao_core::record::RecordState;
use huxiao_core::relay::{self, Press, Relay, RelayConfig, Ticket};
use huxiao_core::station::{self, AckTicket, Station, StationConfig};
use huxiao_core::{
    Command, EventId, Kind, Lane, Machine, Message, Mode, Name, NodeName, Now, PathId, PathInfo, RecordId, RelayId,
    SchoolId, SeatId, StationId, Text, Timestamp, WallTime, broker, limits,
};

/// What speaks: the school's relay, the first and the second officer's seat.
pub(crate) const PEERS: [&str; 3] = ["relay", "seat-1", "seat-2"];
/// One way.
const WAY: u64 = 5_000;
/// When the school presses, and when each officer takes the alarm: the second before it can know of the first.
pub(crate) const PRESS: u64 = 1_000_000;
const TAKEN: [u64; 2] = [3_000_000, 3_002_000];
const END: u64 = 25_000_000;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn path(peer: usize) -> PathId {
    PathId(peer as u64 + 1)
}

pub(crate) fn seat(peer: usize) -> SeatId {
    SeatId { station: StationId(name(&format!("p{peer}"))), seat: name("a") }
}

pub(crate) fn peer_name(peer: usize) -> NodeName {
    match peer {
        0 => NodeName::Relay(RelayId { school: SchoolId(name("s1")), device: name("gate") }),
        seat_of => NodeName::Station(seat(seat_of)),
    }
}

pub(crate) fn broker_name() -> NodeName {
    NodeName::Broker { region: name("r1"), node: name("n1") }
}

pub(crate) fn plan() -> Plan {
    let mut plan = Plan::default();
    plan.add(SchoolId(name("s1")), vec![StationId(name("p1")), StationId(name("p2"))]).unwrap();
    plan
}

pub(crate) fn clock(now: u64) -> Now {
    Now { mono: Timestamp(now), wall: WallTime(1_760_000_000_000_000 + i64::try_from(now).unwrap()) }
}

pub(crate) fn relay_config() -> RelayConfig {
    RelayConfig {
        relay: RelayId { school: SchoolId(name("s1")), device: name("gate") },
        epoch: 1,
        next_slot: 1,
        copy_rate: limits::COPY_BYTES_PER_SECOND,
        plan: None,
        spare_nodes: false,
        self_test: None,
        seed: 7,
        seal: huxiao_wire::seal,
        software: "huxiao 0.1.0".to_owned(),
    }
}

pub(crate) fn station_config(peer: usize) -> StationConfig {
    let (marks, software) = (BTreeMap::new(), "huxiao 0.1.0".to_owned());
    StationConfig { seat: seat(peer), next_seq: 1, marks, seed: peer as u64, software }
}

/// A node with a record of its own.
pub(crate) fn node() -> Broker {
    let (region, node, software) = (name("r1"), name("n1"), "huxiao 0.1.0".to_owned());
    let config = BrokerConfig { region, node, province: None, seed: 9, software };
    let mut record = RecordState::default();
    record.apply(1, Command::Found { record: RecordId([3; 16]) });
    Broker::new(config, plan(), record, vec![])
}

/// One frame: who said it to whom, and its bytes.
pub(crate) type Said = (String, Vec<u8>);

/// All four, and what is on its way between them.
pub(crate) struct Room {
    broker: Broker,
    relay: Relay,
    seats: [Station; 2],
    index: u64,
    now: u64,
    /// By when it comes: the peer, whether it goes to the node, and the message.
    way: BTreeMap<(u64, u64), (usize, bool, Message)>,
    number: u64,
    alarm: Option<EventId>,
    pub(crate) said: Vec<Said>,
}

impl Room {
    pub(crate) fn new() -> Self {
        let mut room = Self {
            broker: node(),
            relay: Relay::new(clock(0), relay_config(), vec![]),
            seats: [1, 2].map(|peer| Station::new(clock(0), station_config(peer), vec![])),
            index: 1,
            now: 0,
            way: BTreeMap::new(),
            number: 0,
            alarm: None,
            said: Vec::new(),
        };
        let info = PathInfo::plain(Lane::Express);
        for peer in 0..PEERS.len() {
            let up = broker::Input::SessionUp { path: path(peer), peer: peer_name(peer), info, expired: false };
            room.broker.handle(clock(0), up);
            if peer == 0 {
                room.relay.handle(clock(0), relay::Input::PathUp(path(peer), broker_name(), info));
            } else {
                room.seats[peer - 1].handle(clock(0), station::Input::PathUp(path(peer), broker_name(), info));
            }
        }
        room
    }

    /// Presses, takes the alarm twice, and lets the time pass.
    pub(crate) fn run(&mut self) {
        self.drain();
        let mut todo = vec![(PRESS, 0), (TAKEN[0], 1), (TAKEN[1], 2)];
        loop {
            let timers = [self.broker.poll_timeout(), self.relay.poll_timeout()];
            let timers = timers.into_iter().chain(self.seats.iter().map(Machine::poll_timeout)).flatten();
            let timer = timers.map(|at| at.0).min().unwrap_or(END);
            let comes = self.way.first_key_value().map_or(END, |((at, _), _)| *at);
            let act = todo.first().map_or(END, |(at, _)| *at);
            let next = timer.min(comes).min(act);
            if next >= END {
                return;
            }
            self.now = self.now.max(next);
            let now = clock(self.now);
            if act == next {
                match todo.remove(0).1 {
                    0 => self.press(now),
                    peer => self.take(now, peer),
                }
            } else if comes == next {
                let ((..), (peer, to_node, message)) = self.way.pop_first().unwrap();
                match (peer, to_node) {
                    (_, true) => self.broker.handle(now, broker::Input::Message(path(peer), message)),
                    (0, false) => self.relay.handle(now, relay::Input::Message(path(0), message)),
                    _ => self.seats[peer - 1].handle(now, station::Input::Message(path(peer), message)),
                }
            } else {
                self.broker.handle_timeout(now);
                self.relay.handle_timeout(now);
                self.seats.iter_mut().for_each(|seat| seat.handle_timeout(now));
            }
            self.drain();
        }
    }

    fn press(&mut self, now: Now) {
        let (mode, note) = (Mode::Live, Text::new("门卫按下").unwrap());
        let press = Press {
            kind: Kind::Panic,
            mode,
            device: Some(name("button-1")),
            zone: None,
            note,
            details: huxiao_core::Details::default(),
        };
        self.relay.handle(now, relay::Input::Raise { ticket: Ticket(1), press, idempotency_key: None, live: false });
    }

    fn take(&mut self, now: Now, peer: usize) {
        let (ticket, officer) = (AckTicket(1), name(&format!("officer-{peer}")));
        let (event, note) = (self.alarm.unwrap(), Text::default());
        let seat = &mut self.seats[peer - 1];
        seat.handle(now, station::Input::Acknowledge { ticket, event, officer, note });
    }

    fn send(&mut self, peer: usize, to_node: bool, message: Message) {
        let bytes = huxiao_wire::encode(&message);
        let who = if to_node { format!("{}>node", PEERS[peer]) } else { format!("node>{}", PEERS[peer]) };
        self.said.push((who, bytes));
        self.number += 1;
        self.way.insert((self.now + WAY, self.number), (peer, to_node, message));
    }

    fn drain(&mut self) {
        loop {
            let before = (self.said.len(), self.index);
            while self.node_says() {}
            let now = clock(self.now);
            while let Some(output) = self.relay.poll_output() {
                match output {
                    relay::Output::Persist(seq, _) => self.relay.handle(now, relay::Input::Persisted(seq)),
                    relay::Output::Send(_, _, _, message) => self.send(0, true, message),
                    _ => {}
                }
            }
            for at in 0..self.seats.len() {
                while let Some(output) = self.seats[at].poll_output() {
                    let seat = &mut self.seats[at];
                    match output {
                        station::Output::Persist(seq, _) => seat.handle(now, station::Input::Persisted(seq)),
                        station::Output::Send(_, _, _, message) => self.send(at + 1, true, message),
                        station::Output::Show { row, .. } => {
                            let id = row.sealed.event.id;
                            self.alarm = Some(id);
                            seat.handle(now, station::Input::Displayed(vec![id]));
                        }
                        _ => {}
                    }
                }
            }
            if before == (self.said.len(), self.index) {
                return;
            }
        }
    }

    /// Carries out one thing that the node wants done. What it proposes is committed.
    fn node_says(&mut self) -> bool {
        let Some(output) = self.broker.poll_output() else { return false };
        match output {
            broker::Output::Propose(command) => {
                self.index += 1;
                let committed = broker::Input::Committed { index: self.index, command, replayed: false };
                self.broker.handle(clock(self.now), committed);
            }
            broker::Output::Send(to, _, _, message) => {
                self.send(usize::try_from(to.0).unwrap() - 1, false, message);
            }
            _ => {}
        }
        true
    }
}
