//! A recording of an older minor, played to today's machines.

use huxiao_core::broker::{self, Broker, Report};
use huxiao_core::case::{Action, ActionId, CaseOrder, Reason, State};
use huxiao_core::lamp::Lamp;
use huxiao_core::relay::{self, Relay, RelayRow};
use huxiao_core::station::{self, AckTicket, Station};
use huxiao_core::{
    Command, Degraded, EventId, Lane, Machine, Message, NodeName, PathId, PathInfo, Receipt, Sealed, Stage, Standing,
    Text, WallTime, limits,
};
use huxiao_wire::{HEADER_BYTES, decode_frame, encode};

use super::known::{MINOR_2, MINOR_3, MINOR_4, unknown};
use super::{OLDER, recording, room};

/// Minors that know nothing of a standing.
const WITHOUT_STANDING: [u32; 1] = [2];

fn decode(bytes: &[u8]) -> Message {
    decode_frame(bytes, limits::EXPRESS_FRAME_BYTES).unwrap()
}

/// Holds that a node of an older minor knows all of a message.
#[track_caller]
fn is_known(minor: u32, message: &Message) {
    let known = match minor {
        2 => MINOR_2,
        3 => MINOR_3,
        _ => MINOR_4,
    };
    assert_eq!(unknown(known, "Frame", &encode(message)[HEADER_BYTES..]), None, "{message:?}");
}

fn frames(minor: u32, of: impl Fn(&str) -> bool) -> Vec<(String, Message)> {
    recording(minor).into_iter().filter(|(who, _)| of(who)).map(|(who, bytes)| (who, decode(&bytes))).collect()
}

/// The alarm that the recording is about.
fn alarm(minor: u32) -> Sealed {
    let copies = frames(minor, |who| who == "relay>node").into_iter();
    let mut alarms = copies.filter_map(|(_, m)| if let Message::Event(copy) = m { Some(copy.sealed) } else { None });
    alarms.next().unwrap()
}

fn by(peer: usize) -> NodeName {
    room::peer_name(peer)
}

#[test]
fn every_frame_is_read_and_comes_back_byte_for_byte() {
    for minor in OLDER {
        for (who, bytes) in recording(minor) {
            let message = decode(&bytes);
            assert_eq!(encode(&message), bytes, "{who}: {message:?}");
        }
    }
}

/// A node of today, and what it said to its three peers of an older minor.
struct Node {
    minor: u32,
    broker: Broker,
    now: u64,
    index: u64,
    proposed: Vec<Command>,
    commits: bool,
    told: Vec<(PathId, Receipt)>,
    done: Vec<(PathId, EventId, Stage)>,
    received: usize,
}

impl Node {
    fn new(minor: u32) -> Self {
        let (broker, told, done) = (room::node(), vec![], vec![]);
        let mut node =
            Self { minor, broker, now: 0, index: 1, proposed: vec![], commits: true, told, done, received: 0 };
        for peer in 0..room::PEERS.len() {
            let (path, peer, info) = (room::path(peer), by(peer), PathInfo::plain(Lane::Express));
            node.step(broker::Input::SessionUp { path, peer, info, expired: false });
        }
        node
    }

    fn step(&mut self, input: broker::Input) {
        self.now += 5_000;
        self.broker.handle(room::clock(self.now), input);
        self.drain();
        self.broker.handle_timeout(room::clock(self.now));
        self.drain();
        self.broker.check().unwrap();
    }

    fn drain(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                broker::Output::Propose(command) if self.commits => self.commit(command),
                broker::Output::Propose(command) => self.proposed.push(command),
                broker::Output::Journal(id, _) => {
                    self.broker.handle(room::clock(self.now), broker::Input::Journalled(id));
                }
                broker::Output::Send(path, _, _, message) => self.said(path, message),
                broker::Output::Report(Report::Received(..)) => self.received += 1,
                broker::Output::Report(report @ (Report::Improper(..) | Report::Refused(..))) => panic!("{report:?}"),
                _ => {}
            }
        }
    }

    fn commit(&mut self, command: Command) {
        self.index += 1;
        let committed = broker::Input::Committed { index: self.index, command, replayed: false };
        self.broker.handle(room::clock(self.now), committed);
    }

    fn said(&mut self, path: PathId, message: Message) {
        is_known(self.minor, &message);
        match message {
            Message::Receipts(receipts) => self.told.extend(receipts.into_iter().map(|receipt| (path, receipt))),
            Message::Event(copy) => self.told.extend(copy.receipts.into_iter().map(|receipt| (path, receipt))),
            Message::Confirmed(stages) => self.done.extend(stages.into_iter().map(|(id, stage)| (path, id, stage))),
            _ => {}
        }
    }

    fn play(&mut self, minor: u32) {
        for (who, message) in frames(minor, |who| who.ends_with(">node")) {
            let peer = room::PEERS.iter().position(|peer| who.starts_with(peer)).unwrap();
            self.step(broker::Input::Message(room::path(peer), message));
        }
    }

    /// An officer of the first station closes the case.
    fn close(&mut self, event: EventId) {
        let order = CaseOrder {
            id: ActionId([1; 16]),
            event,
            action: Action::Close(Reason::False),
            by: by(1),
            officer: room::name("officer-1"),
            at: WallTime(1),
            note: Text::default(),
        };
        self.commit(Command::Case { order: Box::new(order), heard: WallTime(1) });
        self.drain();
        let case = &self.broker.record().get(&event).unwrap().case;
        assert_eq!(case.state, State::Closed);
    }

    /// Which officers a peer was told of.
    fn officers(&self, peer: usize) -> Vec<&NodeName> {
        let told = self.told.iter().filter(|(path, _)| *path == room::path(peer));
        let mut told: Vec<_> =
            told.filter(|(_, receipt)| receipt.stage == Stage::Acknowledged).map(|(_, receipt)| &receipt.by).collect();
        told.dedup();
        told
    }

    fn has_it_all(&self, id: EventId) {
        let entry = self.broker.record().get(&id).unwrap();
        assert_eq!(self.received, 1, "it came in once");
        assert_eq!(entry.owner().map(|owner| &owner.by), Some(&by(1)));
        for seat in [1, 2] {
            for stage in [Stage::Delivered, Stage::Displayed, Stage::Acknowledged] {
                assert!(entry.has(stage, &by(seat)), "{stage} by {}", by(seat));
                // Since there is a standing, whoever came second is told that it assists instead.
                let assists = |(path, receipt): &(PathId, Receipt)| {
                    *path == room::path(seat) && receipt.by == by(seat) && receipt.standing == Standing::Assisting
                };
                let done = self.done.contains(&(room::path(seat), id, stage)) || self.told.iter().any(assists);
                assert!(done, "{} is not told that {stage} need not be said again", by(seat));
            }
        }
        if WITHOUT_STANDING.contains(&self.minor) {
            assert_eq!(self.officers(0), [&by(1)], "the school is told of the one who has it");
            assert_eq!(self.officers(2), [&by(1)], "and so is whoever came second");
            assert!(self.officers(1).iter().all(|officer| **officer == by(1)), "whoever has it hears of nobody else");
        } else {
            assert!((0..=2).all(|peer| peer == 1 || self.officers(peer).contains(&&by(1))), "all hear who has it");
        }
        let stored = |(path, receipt): &(PathId, Receipt)| *path == room::path(0) && receipt.stage == Stage::Stored;
        assert!(self.told.iter().any(stored));
    }
}

#[test]
fn older_relays_and_seats_are_served_by_todays_node() {
    for minor in OLDER {
        let mut node = Node::new(minor);
        node.play(minor);
        // Of cases they hear nothing, whoever acts on them.
        node.close(alarm(minor).event.id);
        node.has_it_all(alarm(minor).event.id);
    }
}

#[test]
fn older_relays_and_seats_hear_nothing_final_from_a_node_without_quorum() {
    for minor in WITHOUT_STANDING {
        let mut node = Node::new(minor);
        node.commits = false;
        let why = Text::new("n2 and n3 are silent").unwrap();
        node.step(broker::Input::Quorum(Some(Degraded { since: WallTime(1), why })));
        node.play(minor);
        assert!(!node.told.is_empty(), "screens are told of all the same");
        let ends = |(_, receipt): &&(PathId, Receipt)| matches!(receipt.stage, Stage::Stored | Stage::Acknowledged);
        assert_eq!(node.told.iter().find(ends), None, "a reader that knows no standing would take it for the end");
        assert_eq!(node.done, []);
        node.commits = true;
        node.step(broker::Input::Quorum(None));
        let waited = std::mem::take(&mut node.proposed);
        waited.into_iter().for_each(|command| node.commit(command));
        node.drain();
        // Whatever is not confirmed, they say again.
        node.play(minor);
        node.has_it_all(alarm(minor).event.id);
    }
}

#[test]
fn an_older_node_serves_todays_relay() {
    for minor in OLDER {
        let sealed = alarm(minor);
        let id = sealed.event.id;
        let row = RelayRow { slot: 1, sealed, idempotency_key: None, receipts: vec![] };
        let mut relay = Relay::new(room::clock(room::PRESS), room::relay_config(), vec![row]);
        let info = PathInfo::plain(Lane::Express);
        let mut inputs = vec![relay::Input::PathUp(room::path(0), room::broker_name(), info)];
        let said = frames(minor, |who| who == "node>relay").into_iter();
        inputs.extend(said.map(|(_, message)| relay::Input::Message(room::path(0), message)));
        for (at, input) in inputs.into_iter().enumerate() {
            let now = room::clock(room::PRESS + 5_000 * at as u64);
            relay.handle(now, input);
            while let Some(output) = relay.poll_output() {
                match output {
                    relay::Output::Send(_, _, _, message) => is_known(minor, &message),
                    relay::Output::Persist(seq, _) => relay.handle(now, relay::Input::Persisted(seq)),
                    _ => {}
                }
            }
            relay.check().unwrap();
        }
        let view = relay.get(&id).unwrap();
        assert!(view.is_stored() && view.is_finished());
        assert_eq!(view.lamp(), Lamp::Acknowledged);
        let taken: Vec<_> = view.acknowledgements().iter().map(|taken| (taken.by.clone(), taken.standing)).collect();
        let second = (!WITHOUT_STANDING.contains(&minor)).then(|| (by(2), Standing::Assisting));
        let expected: Vec<_> = [(by(1), Standing::Settled)].into_iter().chain(second).collect();
        assert_eq!(taken, expected);
        assert_eq!(relay.pending(), [0; 5]);
    }
}

#[test]
fn an_older_node_serves_todays_seats() {
    for (minor, peer) in OLDER.into_iter().flat_map(|minor| [(minor, 1), (minor, 2)]) {
        let id = alarm(minor).event.id;
        let mut seat = Station::new(room::clock(0), room::station_config(peer), vec![]);
        let info = PathInfo::plain(Lane::Express);
        let mut inputs = vec![station::Input::PathUp(room::path(peer), room::broker_name(), info)];
        let me = format!("node>seat-{peer}");
        let said = frames(minor, |who| who == me).into_iter();
        inputs.extend(said.map(|(_, message)| station::Input::Message(room::path(peer), message)));
        let mut shown = 0;
        for (at, input) in inputs.into_iter().enumerate() {
            let now = room::clock(5_000 * at as u64);
            seat.handle(now, input);
            while let Some(output) = seat.poll_output() {
                match output {
                    station::Output::Send(_, _, _, message) => is_known(minor, &message),
                    station::Output::Persist(seq, _) => seat.handle(now, station::Input::Persisted(seq)),
                    station::Output::Show { .. } => {
                        shown += 1;
                        seat.handle(now, station::Input::Displayed(vec![id]));
                        let (ticket, officer) = (AckTicket(1), room::name(&format!("officer-{peer}")));
                        let note = Text::default();
                        seat.handle(now, station::Input::Acknowledge { ticket, event: id, officer, note });
                    }
                    _ => {}
                }
            }
            seat.check().unwrap();
        }
        let row = seat.get(&id).unwrap();
        assert_eq!((shown, seat.unconfirmed()), (1, 0), "seat {peer}: shown once, and nothing is said for ever");
        assert_eq!(row.owner().map(|owner| &owner.by), Some(&by(1)), "seat {peer}");
        let assisting: Vec<_> = row.assisting().map(|assisting| assisting.by.clone()).collect();
        let first = peer == 1 && WITHOUT_STANDING.contains(&minor);
        assert_eq!(assisting, if first { vec![] } else { vec![by(2)] }, "minor {minor}, seat {peer}");
    }
}
