//! Sessions over lines: what machines send becomes packets, and packets that come become what machines are told.
//!
//! Invariants: a node is told of a session once when it begins and once when it ends, and nothing of it before or after. A broker node
//! says and believes nothing on a session before it knows who is there.

use std::sync::Arc;

use huxiao_core::{Class, Cost, Form, Lane, Message, PathId, PathInfo, UplinkId, broker, limits, relay, station};

use crate::check::Outcome;
use crate::line::{Nat, Way};
use crate::node::Node;
use crate::packet::{Frame, Load, Packet, fits_datagram};
use crate::quic::{End, Manner};
use crate::world::{Action, World};

/// An end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The one that dialled.
    Client,
    /// The broker node.
    Server,
}

impl Side {
    fn other(self) -> Self {
        if self == Side::Client { Side::Server } else { Side::Client }
    }

    fn way(self) -> Way {
        if self == Side::Client { Way::Up } else { Way::Down }
    }
}

/// One session.
#[derive(Debug)]
pub struct Session {
    /// Who dialled it.
    pub dialler: usize,
    /// The node that dialled.
    pub client: Node,
    /// The broker node.
    pub broker: usize,
    /// The line that it goes over.
    pub line: usize,
    /// What kind it is.
    pub info: PathInfo,
    /// Whether the handshake is done at the dialler's end.
    pub confirmed: bool,
    /// Its ends, while they live.
    pub ends: [Option<End>; 2],
    /// Whether the node at each end was told of it.
    up: [bool; 2],
    /// Whether the broker node ever had an end.
    served: bool,
    /// Parts of the answer that have come.
    answer: u8,
    /// What waits for the handshake, since it is no event.
    held: Vec<(Form, Load)>,
    born: u64,
    /// The mapping of its NAT that the broker node knows.
    mapping: u64,
}

fn micros(span: huxiao_core::Span) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Session {
    fn mapping_at(&self, now: u64, nat: Nat) -> u64 {
        (now - self.born) / nat.every
    }

    fn manner(&self, side: Side) -> Manner {
        let metered = self.info.cost == Cost::Metered;
        let idle = if metered { limits::METERED_IDLE_TIMEOUT } else { limits::IDLE_TIMEOUT };
        let keep_alive = match self.client {
            _ if side == Side::Server => None,
            Node::Seat(_) => Some(limits::STATION_KEEP_ALIVE),
            _ if metered => Some(limits::METERED_KEEP_ALIVE),
            _ => Some(limits::KEEP_ALIVE),
        };
        Manner { idle: micros(idle), keep_alive: keep_alive.map(micros), express: self.info.lane == Lane::Express }
    }
}

impl World {
    /// Begins a session from the end that dials. Gives its number.
    pub(crate) fn begin_session(&mut self, at: usize, ticket: Option<u64>) -> u64 {
        self.numbers += 1;
        let number = self.numbers;
        let dialler = &self.diallers[at];
        let info = PathInfo { uplink: dialler.uplink, cost: dialler.cost, ..PathInfo::plain(dialler.lane) };
        let mut session = Session {
            dialler: at,
            client: dialler.client,
            broker: dialler.broker,
            line: dialler.line,
            info,
            confirmed: false,
            ends: [None, None],
            up: [false, false],
            served: false,
            answer: 0,
            held: Vec::new(),
            born: self.now,
            mapping: 0,
        };
        let mut end = End::new(self.now, session.manner(Side::Client));
        end.push(Frame::Initial(ticket));
        session.ends[0] = Some(end);
        self.sessions.insert(number, session);
        self.dirty.push((number, Side::Client));
        number
    }

    /// Tells the node at an end that the session is there.
    pub(crate) fn tell_up(&mut self, number: u64, side: Side) -> Outcome {
        let Some(session) = self.sessions.get_mut(&number).filter(|session| !session.up[side as usize]) else {
            return Ok(());
        };
        session.up[side as usize] = true;
        let (path, info, client, at) = (PathId(number), session.info, session.client, session.broker);
        let node = self.province.broker(at);
        match (side, client) {
            (Side::Server, _) => {
                let peer = self.name_of(client);
                self.tell_broker(at, broker::Input::SessionUp { path, peer, info, expired: false })
            }
            (Side::Client, Node::Seat(at)) => self.tell_seat(at, station::Input::PathUp(path, node, info)),
            (Side::Client, Node::Relay(at)) => self.tell_relay(at, relay::Input::PathUp(path, node, info)),
            (Side::Client, Node::Broker(_)) => Ok(()),
        }
    }

    /// Puts what a machine sends on its session.
    pub(crate) fn send(&mut self, side: Side, path: PathId, class: Class, form: Form, message: Message) {
        self.count_copy(side, &message);
        let Some(session) = self.sessions.get_mut(&path.0) else { return };
        if session.ends[side as usize].is_none() {
            return;
        }
        let bytes = u32::try_from(huxiao_wire::encode(&message).len()).unwrap_or(u32::MAX);
        let early = matches!(message, Message::Event(_));
        let load = Load { class, message: Arc::new(message), bytes };
        if side == Side::Client && !session.confirmed && !early {
            session.held.push((form, load));
            return;
        }
        session.put(side, form, load);
        self.dirty.push((path.0, side));
    }

    /// Sends what was queued, and sees to it that each end is called when it has something to do.
    pub(crate) fn flush(&mut self) {
        while let Some((number, side)) = self.dirty.pop() {
            let now = self.now;
            let Some(session) = self.sessions.get_mut(&number) else { continue };
            let Some(end) = &mut session.ends[side as usize] else { continue };
            let packets = end.flush(now);
            let next = end.next();
            let call = next < end.called_at;
            if call {
                end.called_at = next;
                self.at(next, Action::Transport(number, side));
            }
            for packet in packets {
                self.put_on_line(number, side, packet);
            }
        }
    }

    fn put_on_line(&mut self, number: u64, side: Side, packet: Packet) {
        let Some(session) = self.sessions.get(&number) else { return };
        let (at, broker) = (session.line, session.broker);
        let sender = if side == Side::Client { session.client } else { Node::Broker(broker) };
        let nat = self.lines[at].faults.nat;
        let lost_in_nat = nat.is_some_and(|nat| {
            let mapping = session.mapping_at(self.now, nat);
            if nat.black_hole { mapping > 0 } else { side == Side::Server && mapping != session.mapping }
        });
        let bytes = packet.bytes;
        let receipts = |frame: &Frame| matches!(frame, Frame::Datagram(load) | Frame::Stream { load, .. } if matches!(*load.message, Message::Receipts(_)));
        let swallowed =
            self.lines[at].faults.no_receipts > 0 && side == Side::Server && packet.frames.iter().any(receipts);
        let life = self.life_mut(sender);
        life.packets += 1;
        life.bytes += u64::from(bytes);
        let arrivals = self.lines[at].carry(self.now, side.way(), broker, bytes, &mut self.rng);
        if lost_in_nat || swallowed {
            return;
        }
        let [first, second] = arrivals;
        if let Some(second) = second {
            self.at(second, Action::Arrive(number, side.other(), packet.clone()));
        }
        if let Some(first) = first {
            self.at(first, Action::Arrive(number, side.other(), packet));
        }
    }

    /// A packet comes to an end.
    pub(crate) fn arrive(&mut self, number: u64, side: Side, packet: Packet) -> Outcome {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        if side == Side::Server {
            if let Some(nat) = self.lines[session.line].faults.nat {
                session.mapping = session.mapping_at(now, nat);
            }
            let broker = session.broker;
            let begins = packet.frames.iter().any(|frame| matches!(frame, Frame::Initial(_)));
            if !self.is_up(Node::Broker(broker)) {
                return Ok(());
            }
            let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
            if session.ends[1].is_none() {
                if session.served && !packet.reset {
                    self.put_on_line(number, Side::Server, Packet::reset());
                    return Ok(());
                }
                if !begins {
                    return Ok(());
                }
                session.served = true;
                session.ends[1] = Some(End::new(now, session.manner(Side::Server)));
            }
            let data = |frame: &Frame| matches!(frame, Frame::Stream { .. } | Frame::Datagram(_));
            let finishes = begins || packet.frames.iter().any(|frame| matches!(frame, Frame::Finished));
            if !session.up[1] && !finishes && packet.frames.iter().any(data) {
                // It cannot be read yet; its sender repeats what matters.
                return Ok(());
            }
        }
        let Some(end) = self.sessions.get_mut(&number).and_then(|session| session.ends[side as usize].as_mut()) else {
            return Ok(());
        };
        let step = end.receive(now, packet);
        self.dirty.push((number, side));
        // The handshake first: what comes with it is read after it.
        let (handshake, rest): (Vec<_>, Vec<_>) = step
            .frames
            .into_iter()
            .partition(|frame| matches!(frame, Frame::Initial(_) | Frame::Answer(..) | Frame::Finished));
        for frame in handshake {
            self.shake(number, side, &frame)?;
        }
        for frame in rest {
            if let Frame::Stream { load, .. } | Frame::Datagram(load) = frame {
                self.deliver(number, side, load)?;
            }
        }
        if step.dead {
            self.close(number, side, false)?;
        }
        self.flush();
        Ok(())
    }

    fn shake(&mut self, number: u64, side: Side, frame: &Frame) -> Outcome {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        let broker = session.broker;
        match (side, frame) {
            (Side::Server, Frame::Initial(ticket)) => {
                let life = self.brokers[broker].life.number;
                let good = *ticket == Some(life);
                // A ticket that is no good is answered as though there had been none, and says so.
                let parts = if good { 1 } else { 3 };
                let Some(end) = &mut session.ends[1] else { return Ok(()) };
                (0..parts).for_each(|part| end.push(Frame::Answer(part, parts, good || ticket.is_none())));
                if good { self.tell_up(number, Side::Server) } else { Ok(()) }
            }
            (Side::Server, Frame::Finished) => self.tell_up(number, Side::Server),
            (Side::Client, Frame::Answer(_, parts, good)) => {
                session.answer += 1;
                if !good {
                    return self.ticket_refused(number);
                }
                if session.answer < *parts || session.confirmed {
                    return Ok(());
                }
                session.confirmed = true;
                if let Some(end) = &mut session.ends[0] {
                    end.push(Frame::Finished);
                }
                for (form, load) in std::mem::take(&mut session.held) {
                    session.put(Side::Client, form, load);
                }
                self.tell_up(number, Side::Client)?;
                self.confirmed(number)
            }
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, number: u64, side: Side, load: Load) -> Outcome {
        let Some(session) = self.sessions.get(&number).filter(|session| session.up[side as usize]) else {
            return Ok(());
        };
        let (path, client, at) = (PathId(number), session.client, session.broker);
        let message = Arc::unwrap_or_clone(load.message);
        match (side, client) {
            (Side::Server, _) => self.tell_broker(at, broker::Input::Message(path, message)),
            (Side::Client, Node::Seat(at)) => self.tell_seat(at, station::Input::Message(path, message)),
            (Side::Client, Node::Relay(at)) => self.tell_relay(at, relay::Input::Message(path, message)),
            (Side::Client, Node::Broker(_)) => Ok(()),
        }
    }

    /// An end has something to do by itself.
    pub(crate) fn transport(&mut self, number: u64, side: Side) -> Outcome {
        let now = self.now;
        let Some(end) = self.sessions.get_mut(&number).and_then(|session| session.ends[side as usize].as_mut()) else {
            return Ok(());
        };
        if end.called_at > now {
            return Ok(());
        }
        end.called_at = u64::MAX;
        let dead = end.next() <= now && end.timeout(now);
        self.dirty.push((number, side));
        if dead {
            self.close(number, side, false)?;
        }
        self.flush();
        Ok(())
    }

    /// A session ends at one end, which may tell the other.
    pub(crate) fn close(&mut self, number: u64, side: Side, tells: bool) -> Outcome {
        let Some(session) = self.sessions.get_mut(&number) else { return Ok(()) };
        let Some(mut end) = session.ends[side as usize].take() else { return Ok(()) };
        let up = std::mem::take(&mut session.up[side as usize]);
        let (path, client, broker) = (PathId(number), session.client, session.broker);
        if tells {
            end.push(Frame::Close);
            for packet in end.flush(self.now) {
                self.put_on_line(number, side, packet);
            }
        }
        let gone = self.sessions.get(&number).is_some_and(|session| session.ends.iter().all(Option::is_none));
        match (side, client) {
            (Side::Server, _) if up && self.brokers[broker].machine.is_some() => {
                self.tell_broker(broker, broker::Input::SessionDown(path))?;
            }
            (Side::Client, Node::Seat(at)) if up && self.seats[at].machine.is_some() => {
                self.tell_seat(at, station::Input::PathDown(path))?;
            }
            (Side::Client, Node::Relay(at)) if up && self.relays[at].machine.is_some() => {
                self.tell_relay(at, relay::Input::PathDown(path))?;
            }
            _ => {}
        }
        if side == Side::Client {
            self.ended(number);
        }
        if gone {
            self.sessions.remove(&number);
        }
        Ok(())
    }

    /// Ends all sessions of a node that has lost its power, of which it can tell nobody.
    pub(crate) fn drop_sessions(&mut self, node: Node) -> Outcome {
        let (mut clients, mut servers) = (Vec::new(), Vec::new());
        for (number, session) in &self.sessions {
            if session.client == node && session.ends[0].is_some() {
                clients.push(*number);
            }
            if Node::Broker(session.broker) == node && session.ends[1].is_some() {
                servers.push(*number);
            }
        }
        for number in clients {
            self.close(number, Side::Client, false)?;
        }
        for number in servers {
            self.close(number, Side::Server, false)?;
        }
        Ok(())
    }

    /// Whether an express session of `client` with a broker node is confirmed.
    #[must_use]
    pub fn has_session(&self, client: Node, broker: usize) -> bool {
        self.sessions.values().any(|session| {
            session.client == client
                && session.broker == broker
                && session.confirmed
                && session.ends[0].is_some()
                && session.info.lane == Lane::Express
        })
    }

    /// The uplink of a session, for traces.
    #[must_use]
    pub fn uplink_of(&self, path: PathId) -> Option<(UplinkId, usize)> {
        self.sessions.get(&path.0).map(|session| (session.info.uplink, session.broker))
    }
}

impl Session {
    fn put(&mut self, side: Side, form: Form, load: Load) {
        if let Some(end) = &mut self.ends[side as usize] {
            if form == Form::Datagram && fits_datagram(load.bytes) {
                end.push(Frame::Datagram(load));
            } else {
                end.stream(&load);
            }
        }
    }
}
