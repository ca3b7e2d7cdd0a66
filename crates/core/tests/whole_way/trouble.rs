//! Links that fall and rise, nodes that crash and start again from what their disks hold.

use huxiao_core::plan::Plan;
use huxiao_core::record::RecordState;
use huxiao_core::relay::{Relay, RelayConfig};
use huxiao_core::station::{Station, StationConfig};
use huxiao_core::{
    Command, Message, NodeName, PathId, PathInfo, RecordId, RelayId, StationId, broker, limits, relay, station,
};

use crate::disk::Disk;
use crate::world::{Action, CALM, Node, QUIET, SECOND, World, broker_name, name, school, seal, seat};

impl World {
    pub(crate) fn dial(&mut self, link: usize) -> Result<(), String> {
        self.links[link].dialling = false;
        let (client, lane) = (self.links[link].client, self.links[link].lane);
        let up = self.broker.is_some() && self.is_up(client);
        if self.links[link].session.is_some() || !up {
            return Ok(());
        }
        if self.troubled(30) {
            self.redial(link);
            return Ok(());
        }
        self.order += 1;
        let session = self.order;
        self.links[link].session = Some((session, false));
        if self.now < CALM {
            let until = self.now + self.rng.below(40 * SECOND);
            if self.rng.below(3) == 0 {
                let from = self.now + self.rng.below(until - self.now + 1);
                self.at(from, Action::Swallow(link, session));
            }
            self.at(until.min(CALM), Action::Cut(link, session));
        }
        let peer = match client {
            Node::Seat(at) => NodeName::Station(seat(at)),
            _ => NodeName::Relay(RelayId { school: school(), device: name("gate") }),
        };
        self.tell_broker(broker::Input::SessionUp {
            path: PathId(session),
            peer,
            info: PathInfo::plain(lane),
            expired: false,
        })?;
        match client {
            Node::Seat(at) => {
                self.tell_seat(at, station::Input::PathUp(PathId(session), broker_name(), PathInfo::plain(lane)))
            }
            _ => self.tell_relay(relay::Input::PathUp(PathId(session), broker_name(), PathInfo::plain(lane))),
        }
    }

    pub(crate) fn is_up(&self, node: Node) -> bool {
        match node {
            Node::Relay => self.relay.is_some(),
            Node::Broker => self.broker.is_some(),
            Node::Seat(at) => self.seats[at].is_some(),
        }
    }

    pub(crate) fn redial(&mut self, link: usize) {
        if !self.links[link].dialling {
            self.links[link].dialling = true;
            let longest = if self.troubled(20) { 30 * SECOND } else { 2 * SECOND };
            self.soon(longest, Action::Dial(link));
        }
    }

    pub(crate) fn cut(&mut self, link: usize) -> Result<(), String> {
        let Some((session, _)) = self.links[link].session.take() else { return Ok(()) };
        let path = PathId(session);
        self.redial(link);
        // Either end may notice first; what is said in between goes nowhere.
        if self.broker.is_some() {
            self.tell_broker(broker::Input::SessionDown(path))?;
        }
        match self.links[link].client {
            Node::Seat(at) if self.seats[at].is_some() => self.tell_seat(at, station::Input::PathDown(path)),
            Node::Relay if self.relay.is_some() => self.tell_relay(relay::Input::PathDown(path)),
            _ => Ok(()),
        }
    }

    pub(crate) fn send(&mut self, path: PathId, to_broker: bool, message: &Message) {
        if let Message::Event(copy) = message {
            *self.copies.entry(copy.sealed.event.id).or_default() += 1;
            self.copies_after_quiet += usize::from(self.now > QUIET);
        }
        let found = self.links.iter().position(|link| link.session.is_some_and(|(session, _)| session == path.0));
        let Some(link) = found.filter(|link| self.links[*link].session.is_some_and(|(_, swallows)| !swallows)) else {
            return;
        };
        let copies = 1 + u64::from(self.troubled(10));
        for _ in 0..copies {
            let longest = if self.troubled(10) { 3 * SECOND } else { 60_000 };
            let message = message.clone();
            self.soon(longest, Action::Deliver { link, session: path.0, to_broker, message });
        }
    }

    pub(crate) fn deliver(
        &mut self,
        link: usize,
        session: u64,
        to_broker: bool,
        message: Message,
    ) -> Result<(), String> {
        if self.links[link].session != Some((session, false)) {
            return Ok(());
        }
        let path = PathId(session);
        match self.links[link].client {
            _ if to_broker => self.tell_broker(broker::Input::Message(path, message)),
            Node::Seat(at) => self.tell_seat(at, station::Input::Message(path, message)),
            _ => self.tell_relay(relay::Input::Message(path, message)),
        }
    }

    pub(crate) fn crash(&mut self, node: Node) -> Result<(), String> {
        if !self.is_up(node) {
            return Ok(());
        }
        *self.lives.entry(node).or_default() += 1;
        match node {
            Node::Relay => {
                self.relay = None;
                self.relay_disk.crash(&mut self.rng);
            }
            Node::Broker => {
                self.broker = None;
                self.crash_log();
            }
            Node::Seat(at) => {
                self.seats[at] = None;
                self.shown_now[at].clear();
                self.seat_disks[at].crash(&mut self.rng);
                if self.nature.loses_inboxes && self.rng.below(2) == 0 {
                    self.seat_disks[at] = Disk::default();
                    self.shown_for_good[at].clear();
                }
            }
        }
        for link in 0..self.links.len() {
            if node == Node::Broker || self.links[link].client == node {
                self.cut(link)?;
            }
        }
        self.soon(20 * SECOND, Action::Start(node));
        Ok(())
    }

    pub(crate) fn crash_log(&mut self) {
        let luck = self.rng.below(self.proposals.len() as u64 + 1);
        let proposals = std::mem::take(&mut self.proposals);
        for command in proposals.into_iter().take(usize::try_from(luck).unwrap()) {
            self.append(command);
        }
        for index in std::mem::take(&mut self.forgets) {
            if self.rng.below(2) == 0 {
                self.log.remove(&index);
            }
        }
        self.committing = false;
        if self.nature.loses_record && !self.record_lost {
            self.record_lost = true;
            self.log.clear();
            self.record_id += 1;
        }
    }

    /// An engine that counts on from the last entry that it finds.
    pub(crate) fn append(&mut self, command: Command) -> u64 {
        let index = self.log.last_key_value().map_or(1, |(last, _)| last + 1);
        self.log.insert(index, command);
        index
    }

    pub(crate) fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        if !self.nature.late_plan {
            plan.add(school(), vec![StationId(name("p1")), StationId(name("p2"))]).unwrap();
        }
        plan
    }

    pub(crate) fn start(&mut self, node: Node) -> Result<(), String> {
        let (now, seed) = (self.clock(), self.rng.next_u64());
        match node {
            Node::Relay => {
                let rows: Vec<_> = self.relay_disk.content.0.values().cloned().collect();
                let config = RelayConfig {
                    relay: RelayId { school: school(), device: name("gate") },
                    epoch: self.life(node) + 1,
                    next_slot: 1,
                    copy_rate: limits::COPY_BYTES_PER_SECOND,
                    seed,
                    seal,
                    software: "world".to_owned(),
                };
                self.relay = Some(Relay::new(now, config, rows));
            }
            Node::Broker => {
                let mut record = RecordState::new(if self.nature.small_record { 3 } else { 1_000 });
                for (index, command) in self.log.clone() {
                    record.apply(index, command);
                }
                let config = broker::BrokerConfig {
                    region: name("r1"),
                    node: name("n1"),
                    record: RecordId([self.record_id; 16]),
                    seed,
                    software: "world".to_owned(),
                };
                self.broker = Some(broker::Broker::new(config, self.plan(), record));
            }
            Node::Seat(at) => {
                let inbox = &self.seat_disks[at].content;
                let rows: Vec<_> = inbox.rows.values().cloned().collect();
                let marks = inbox.marks.clone();
                let config = StationConfig { seat: seat(at), next_seq: 1, marks, seed, software: "world".to_owned() };
                for row in &rows {
                    let life = self.life(node);
                    self.soon(2 * SECOND, Action::Screen(at, life, row.sealed.event.id));
                }
                self.seats[at] = Some(Station::new(now, config, rows));
            }
        }
        for link in 0..self.links.len() {
            if node == Node::Broker || self.links[link].client == node {
                self.redial(link);
            }
        }
        self.settle(node)
    }
}
