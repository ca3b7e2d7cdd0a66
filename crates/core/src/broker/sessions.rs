//! Sessions with a broker node: they come and go path by path, and a peer is there as long as it has one.

use crate::broker::desk::Desk;
use crate::broker::gate::Gate;
use crate::broker::machine::{Broker, Session};
use crate::broker::port::Report;
use crate::event::Class;
use crate::id::{NodeName, PathId};
use crate::lane::Lane;
use crate::message::{Hello, Message, WIRE_MINOR};
use crate::path::{Form, PathInfo};
use crate::time::Now;

impl Broker {
    /// A peer holds a session on this path: from the first one on it is present.
    pub(super) fn session_up(&mut self, now: Now, path: PathId, peer: NodeName, info: PathInfo, expired: bool) {
        match &peer {
            NodeName::Relay(relay) => {
                if !self.relays.contains_key(relay) {
                    self.presence.note(peer.clone(), true);
                }
                let seed = self.rng.next_u64();
                let gate = self.relays.entry(relay.clone()).or_insert_with(|| Gate::new(seed));
                gate.path_up(now, path, info);
                self.drain_gate(now, relay);
            }
            NodeName::Station(seat) => {
                if !self.desks.contains_key(seat) {
                    self.presence.note(peer.clone(), true);
                }
                let seed = self.rng.next_u64();
                let desk = self.desks.entry(seat.clone()).or_insert_with(|| Desk::new(seed));
                desk.paths.insert(path, info);
                desk.courier.path_up(now.mono, path, info);
                self.drain_desk(now, seat);
            }
            NodeName::Broker { region, .. } if self.is_province(region) => {
                self.sessions.insert(path, Session { peer: peer.clone(), expired, repeats_condition: false });
                return self.province_up(now, path, peer, info);
            }
            NodeName::Broker { region, .. } if self.accepted.contains(region) => {
                self.region_up(now, path, region, info);
            }
            NodeName::Broker { .. } => {
                return self.report(Report::Improper(
                    peer,
                    "a broker node of a region that this one does not take events from, nor forwards any to",
                ));
            }
        }
        self.sessions.insert(path, Session { peer, expired, repeats_condition: false });
        if info.lane == Lane::Express {
            let hello = Hello { software: self.config.software.clone(), wire_minor: WIRE_MINOR, resume: None };
            self.send(path, Class::P1, Form::Stream, Message::Hello(hello));
        }
    }

    /// A path is lost; with its last one the peer is gone.
    pub(super) fn session_down(&mut self, now: Now, path: PathId) {
        let Some(session) = self.sessions.remove(&path) else { return };
        match session.peer {
            NodeName::Relay(relay) => {
                let Some(gate) = self.relays.get_mut(&relay) else { return };
                gate.path_down(now, path);
                if gate.paths.is_empty() {
                    let wake = gate.wake;
                    self.relays.remove(&relay);
                    self.plans.gone(&relay);
                    self.tell_plans(now);
                    self.commands.relay_gone(&relay);
                    self.presence.note(NodeName::Relay(relay.clone()), false);
                    self.timers.set(NodeName::Relay(relay), wake, None);
                } else {
                    self.drain_gate(now, &relay);
                }
            }
            NodeName::Station(seat) => {
                if let Some(desk) = self.desks.get_mut(&seat) {
                    desk.paths.remove(&path);
                    desk.courier.path_down(now.mono, path);
                    if desk.paths.is_empty() {
                        let (wake, audible) = (desk.wake, desk.audible);
                        self.desks.remove(&seat);
                        if audible {
                            self.presence.note(NodeName::Station(seat.clone()), false);
                        }
                        self.timers.set(NodeName::Station(seat), wake, None);
                    } else {
                        self.drain_desk(now, &seat);
                    }
                }
            }
            NodeName::Broker { region, .. } if self.is_province(&region) => self.province_down(now, path),
            NodeName::Broker { region, .. } => self.region_down(now, path, &region),
        }
    }
}
