//! Nodes that lose their power, and start again from what their disks hold.

use huxiao_core::plan::Plan;
use huxiao_core::record::{RecordLimits, RecordState};
use huxiao_core::relay::{Relay, RelayConfig};
use huxiao_core::station::{Station, StationConfig};
use huxiao_core::{Machine, NodeName, broker};

use crate::check::Outcome;
use crate::disk::Disk;
use crate::faced::Faced;
use crate::net::Side;
use crate::node::Node;
use crate::province::{node, region};
use crate::world::{Action, SECOND, World};

/// How long a node is down at most.
const DOWN: u64 = 20 * SECOND;
/// How much a record holds that is to forget soon, and how much any other.
const SMALL: usize = 5;
const LARGE: usize = 20_000;

impl World {
    /// What a node is called.
    #[must_use]
    pub fn name_of(&self, node: Node) -> NodeName {
        match node {
            Node::Relay(at) => NodeName::Relay(self.province.relay(at)),
            Node::Broker(at) => self.province.broker(at),
            Node::Seat(at) => NodeName::Station(self.province.seat(at)),
        }
    }

    pub(crate) fn crash(&mut self, node: Node) -> Outcome {
        if !self.is_up(node) {
            return Ok(());
        }
        self.stop(node)?;
        self.soon(DOWN, Action::Start(node));
        Ok(())
    }

    /// Takes a node's power. It stays down.
    ///
    /// # Errors
    /// A promise that another node broke at once.
    pub fn stop(&mut self, node: Node) -> Outcome {
        let now = self.now;
        self.trace.note(now, None, || format!("{node:?} loses its power"));
        let life = self.life_mut(node);
        life.number += 1;
        (life.up_since, life.wake) = (None, None);
        match node {
            Node::Relay(at) => {
                self.relays[at].machine = None;
                self.relays[at].disk.crash(&mut self.rng);
            }
            Node::Broker(at) => {
                self.ledger.met.count(Faced::Crash);
                self.brokers[at].machine = None;
                self.brokers[at].replica.crash(&mut self.rng);
                if self.nature.loses_record {
                    self.lose_record(at);
                }
            }
            Node::Seat(at) => {
                self.seats[at].machine = None;
                self.ledger.shown_now[at].clear();
                self.seats[at].disk.crash(&mut self.rng);
                if self.nature.loses_inboxes && self.rng.below(2) == 0 {
                    self.seats[at].disk = Disk::default();
                    self.ledger.shown_for_good[at].clear();
                }
            }
        }
        self.drop_sessions(node)
    }

    /// The plan in force.
    #[must_use]
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (at, stations) in self.routes.iter().enumerate().filter(|(_, stations)| !stations.is_empty()) {
            let stations = stations.iter().map(|station| self.province.station(*station)).collect();
            // Each school stands here once, and no station twice: that is how provinces are made.
            let added = plan.add(self.province.school(at), stations);
            debug_assert!(added.is_ok(), "{added:?}");
        }
        plan
    }

    pub(crate) fn new_plan(&mut self, routes: Vec<Vec<usize>>) -> Outcome {
        let now = self.now;
        self.trace.note(now, None, || format!("a new plan: {routes:?}"));
        (self.routes, self.routes_since) = (routes, now);
        for at in 0..self.brokers.len() {
            let plan = self.plan();
            self.tell_broker(at, broker::Input::Plan(plan))?;
        }
        Ok(())
    }

    pub(crate) fn start(&mut self, node: Node) -> Outcome {
        if self.is_up(node) {
            return Ok(());
        }
        let (now, seed) = (self.clock(), self.rng.next_u64());
        let at_once = self.now;
        self.trace.note(at_once, None, || format!("{node:?} starts"));
        let life = self.life_mut(node);
        life.up_since = Some(at_once);
        let number = life.number;
        match node {
            Node::Relay(at) => {
                let rows = self.relays[at].disk.content.0.all().cloned().collect();
                let config = RelayConfig {
                    relay: self.province.relay(at),
                    epoch: number + 1,
                    next_slot: 1,
                    copy_rate: self.copy_rate,
                    plan: None,
                    // Its two homes are all that there is to dial here.
                    spare_nodes: false,
                    self_test: None,
                    seed,
                    seal: huxiao_wire::seal,
                    software: "sim".to_owned(),
                };
                self.relays[at].machine = Some(Relay::new(now, config, rows));
            }
            Node::Broker(at) => self.start_broker(at, seed),
            Node::Seat(at) => {
                let inbox = &self.seats[at].disk.content;
                let rows: Vec<_> = inbox.rows.all().cloned().collect();
                let marks = inbox.marks.clone();
                let seat = self.province.seat(at);
                let config = StationConfig { seat, next_seq: 1, marks, seed, software: "sim".to_owned() };
                for row in &rows {
                    self.soon(2 * SECOND, Action::Screen(at, number, row.sealed.event.id));
                }
                self.seats[at].machine = Some(Station::new(now, config, rows));
            }
        }
        self.dial_all(node);
        self.settle(node)
    }

    fn start_broker(&mut self, at: usize, seed: u64) {
        let plan = self.plan();
        let finished = if self.nature.small_record { SMALL } else { LARGE };
        let empty = RecordState::new(RecordLimits { finished, open_cases: finished, ..RecordLimits::default() });
        let (record, after) = self.found(at, empty);
        let journal: Vec<_> =
            self.brokers[at].replica.journal.iter().map(|(id, command)| (*id, command.clone())).collect();
        if !journal.is_empty() {
            self.ledger.met.count(Faced::Recovered);
        }
        let config =
            broker::BrokerConfig { region: region(), node: node(at), province: None, seed, software: "sim".to_owned() };
        let (now, mut machine) = (self.clock(), broker::Broker::new(config, plan, record, journal));
        for (index, command) in after {
            machine.handle(now, broker::Input::Committed { index, command, replayed: true });
        }
        self.brokers[at].machine = Some(machine);
    }

    /// Ends all sessions of the seats, as a restart of their switch would.
    pub(crate) fn cut_seats(&mut self) -> Outcome {
        let of_seats = self.sessions.iter().filter(|(_, session)| matches!(session.client, Node::Seat(_)));
        let numbers: Vec<u64> = of_seats.map(|(number, _)| *number).collect();
        for number in numbers {
            self.close(number, Side::Client, false)?;
            self.close(number, Side::Server, false)?;
        }
        Ok(())
    }
}
