//! One relay, one broker node, two stations of which one has two seats, and everything that can go wrong between them, in virtual
//! time from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use huxiao_core::plan::Plan;
use huxiao_core::record::RecordState;
use huxiao_core::relay::{Press, Raised, Relay, RelayConfig, Ticket};
use huxiao_core::station::{AckTicket, Station, StationConfig};
use huxiao_core::{
    Class, Command, Event, EventId, Kind, Lane, Machine, Message, Mode, Name, NodeName, Now, PathId, PersistSeq,
    RecordId, RelayId, Rng, SchoolId, Sealed, SeatId, Stage, StationId, Text, Timestamp, WallTime,
};
use huxiao_core::{broker, relay, station};

use crate::disk::{Disk, Inbox, Outbox};

pub(crate) const SECOND: u64 = 1_000_000;
/// Faults stop here, and all links and disks are well.
pub(crate) const CALM: u64 = 90 * SECOND;
/// Officers take here whatever nobody has taken, twice: what was refused for want of room comes a minute later.
const SWEEPS: [u64; 2] = [CALM + 40 * SECOND, CALM + 130 * SECOND];
/// From here on nothing more may be said or written.
pub(crate) const QUIET: u64 = SWEEPS[1] + 60 * SECOND;
/// Here the seats' sessions are cut and made once more: they must be given nothing.
const AGAIN: u64 = QUIET + 30 * SECOND;
pub(crate) const END: u64 = AGAIN + 30 * SECOND;

pub(crate) const SEATS: [(&str, &str); 3] = [("p1", "a"), ("p1", "b"), ("p2", "a")];

/// What sort of world it is.
#[derive(Clone, Copy, Default)]
pub(crate) struct Nature {
    /// Disks answer before they have written: a lie that the checks must find out.
    pub(crate) lying_disks: bool,
    /// The record may be lost as a whole, once.
    pub(crate) loses_record: bool,
    /// Inboxes may be lost as a whole.
    pub(crate) loses_inboxes: bool,
    /// The record holds few events.
    pub(crate) small_record: bool,
    /// The plan does not know the school until faults are over.
    pub(crate) late_plan: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Node {
    Relay,
    Broker,
    Seat(usize),
}

enum Action {
    Press(usize),
    Deliver { link: usize, session: u64, to_broker: bool, message: Message },
    Synced(Node, u64),
    Dial(usize),
    Swallow(usize, u64),
    Cut(usize, u64),
    Crash(Node),
    Start(Node),
    Screen(usize, u64, EventId),
    Officer(usize, EventId),
    Sweep,
    CutAll,
    Plan,
}

struct Link {
    client: Node,
    lane: Lane,
    /// The live session, and whether it swallows what is sent.
    session: Option<(u64, bool)>,
    dialling: bool,
}

pub(crate) struct World {
    pub(crate) nature: Nature,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    queue: BTreeMap<(u64, u64), Action>,
    order: u64,
    lives: BTreeMap<Node, u64>,
    links: Vec<Link>,
    pub(crate) relay: Option<Relay>,
    relay_disk: Disk<Outbox>,
    pub(crate) broker: Option<broker::Broker>,
    log: BTreeMap<u64, Command>,
    proposals: Vec<Command>,
    forgets: Vec<u64>,
    committing: bool,
    record_id: u8,
    pub(crate) record_lost: bool,
    pub(crate) seats: Vec<Option<Station>>,
    seat_disks: Vec<Disk<Inbox>>,
    presses: Vec<(Press, Option<String>)>,
    pub(crate) kept: BTreeMap<EventId, Class>,
    by_key: BTreeMap<String, EventId>,
    pub(crate) stored: BTreeSet<EventId>,
    pub(crate) taken: BTreeSet<EventId>,
    shown_now: Vec<BTreeSet<EventId>>,
    shown_for_good: Vec<BTreeSet<EventId>>,
    pub(crate) copies: BTreeMap<EventId, usize>,
    pub(crate) copies_after_quiet: usize,
    pub(crate) writes_before_quiet: usize,
    pub(crate) writes_before_again: usize,
    tickets: u64,
}

pub(crate) fn broker_name() -> NodeName {
    NodeName::Broker { region: name("r1"), node: name("n1") }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn school() -> SchoolId {
    SchoolId(name("s1"))
}

pub(crate) fn seat(at: usize) -> SeatId {
    SeatId { station: StationId(name(SEATS[at].0)), seat: name(SEATS[at].1) }
}

fn seal(event: &Event) -> Sealed {
    Sealed { event: Arc::new(event.clone()), bytes: Arc::from(event.id.as_bytes().as_slice()) }
}

impl World {
    pub(crate) fn new(seed: u64, nature: Nature) -> Self {
        let mut world = Self {
            nature,
            rng: Rng::new(seed),
            now: 0,
            queue: BTreeMap::new(),
            order: 0,
            lives: BTreeMap::new(),
            links: Vec::new(),
            relay: None,
            relay_disk: Disk::default(),
            broker: None,
            log: BTreeMap::new(),
            proposals: Vec::new(),
            forgets: Vec::new(),
            committing: false,
            record_id: 1,
            record_lost: false,
            seats: SEATS.iter().map(|_| None).collect(),
            seat_disks: SEATS.iter().map(|_| Disk::default()).collect(),
            presses: Vec::new(),
            kept: BTreeMap::new(),
            by_key: BTreeMap::new(),
            stored: BTreeSet::new(),
            taken: BTreeSet::new(),
            shown_now: vec![BTreeSet::new(); SEATS.len()],
            shown_for_good: vec![BTreeSet::new(); SEATS.len()],
            copies: BTreeMap::new(),
            copies_after_quiet: 0,
            writes_before_quiet: 0,
            writes_before_again: 0,
            tickets: 0,
        };
        world.lay_out();
        world
    }

    fn lay_out(&mut self) {
        let mut link = |client, lane| self.links.push(Link { client, lane, session: None, dialling: false });
        link(Node::Relay, Lane::Express);
        link(Node::Relay, Lane::Express);
        link(Node::Relay, Lane::Bulk);
        for at in 0..SEATS.len() {
            link(Node::Seat(at), Lane::Express);
            link(Node::Seat(at), Lane::Bulk);
        }
        for node in [Node::Relay, Node::Broker, Node::Seat(0), Node::Seat(1), Node::Seat(2)] {
            self.at(0, Action::Start(node));
            for _ in 0..self.rng.below(4) {
                let when = self.rng.below(CALM);
                self.at(when, Action::Crash(node));
            }
        }
        for _ in 0..6 + self.rng.below(8) {
            let kinds = [Kind::Panic, Kind::Duress, Kind::Assist, Kind::Fault, Kind::Status];
            let kind = kinds[usize::try_from(self.rng.below(5)).unwrap()].clone();
            let press = Press { kind, mode: Mode::Live, device: None, zone: None, note: Text::default() };
            let key = (self.rng.below(10) < 6).then(|| format!("key-{}", self.presses.len()));
            let when = self.rng.below(CALM);
            let number = self.presses.len();
            self.presses.push((press, key));
            self.at(when, Action::Press(number));
            if self.rng.below(10) < 4 {
                let again = when + self.rng.below(20 * SECOND);
                self.at(again, Action::Press(number));
            }
        }
        SWEEPS.into_iter().for_each(|when| self.at(when, Action::Sweep));
        self.at(AGAIN, Action::CutAll);
        if self.nature.late_plan {
            let when = self.rng.below(CALM + 5 * SECOND);
            self.at(when, Action::Plan);
        }
    }

    fn at(&mut self, when: u64, action: Action) {
        self.order += 1;
        self.queue.insert((when.max(self.now), self.order), action);
    }

    fn soon(&mut self, longest: u64, action: Action) {
        let when = self.now + 1 + self.rng.below(longest);
        self.at(when, action);
    }

    fn troubled(&mut self, percent: u64) -> bool {
        self.now < CALM && self.rng.below(100) < percent
    }

    pub(crate) fn clock(&self) -> Now {
        Now { mono: Timestamp(self.now), wall: WallTime(1_700_000_000_000_000 + i64::try_from(self.now).unwrap()) }
    }

    pub(crate) fn life(&self, node: Node) -> u64 {
        self.lives.get(&node).copied().unwrap_or(0)
    }

    pub(crate) fn run(&mut self) -> Result<(), String> {
        let mut steps = 0;
        while self.now < END {
            steps += 1;
            if steps > 400_000 {
                return Err("the world spins".to_owned());
            }
            let action = self.queue.first_key_value().map_or(END, |((at, _), _)| *at);
            let (timer, node) = self.next_timer();
            if timer <= action {
                self.now = self.now.max(timer);
                if self.now < END {
                    self.wake(node)?;
                }
            } else if let Some(((at, _), action)) = self.queue.pop_first() {
                self.now = at;
                self.act(action)?;
            } else {
                self.now = END;
            }
            if self.now < QUIET {
                self.writes_before_quiet = self.writes();
            }
            if self.now < AGAIN {
                self.writes_before_again = self.writes();
            }
        }
        Ok(())
    }

    fn writes(&self) -> usize {
        self.relay_disk.writes + self.seat_disks.iter().map(|disk| disk.writes).sum::<usize>()
    }

    fn next_timer(&self) -> (u64, Node) {
        let relay = self.relay.as_ref().and_then(Machine::poll_timeout).map(|at| (at.0, Node::Relay));
        let broker = self.broker.as_ref().and_then(Machine::poll_timeout).map(|at| (at.0, Node::Broker));
        let seats = self.seats.iter().enumerate();
        let seats = seats.filter_map(|(at, s)| Some((s.as_ref()?.poll_timeout()?.0, Node::Seat(at))));
        relay.into_iter().chain(broker).chain(seats).min().unwrap_or((END, Node::Relay))
    }

    fn wake(&mut self, node: Node) -> Result<(), String> {
        let now = self.clock();
        let next = match node {
            Node::Relay => self.relay.as_mut().and_then(|relay| {
                relay.handle_timeout(now);
                relay.poll_timeout()
            }),
            Node::Broker => self.broker.as_mut().and_then(|broker| {
                broker.handle_timeout(now);
                broker.poll_timeout()
            }),
            Node::Seat(at) => self.seats[at].as_mut().and_then(|seat| {
                seat.handle_timeout(now);
                seat.poll_timeout()
            }),
        };
        if next.is_some_and(|next| next <= now.mono) {
            return Err(format!("{node:?} asks to be woken for what it has just done"));
        }
        self.settle(node)
    }

    fn act(&mut self, action: Action) -> Result<(), String> {
        match action {
            Action::Press(number) => self.press(number),
            Action::Deliver { link, session, to_broker, message } => self.deliver(link, session, to_broker, message),
            Action::Synced(node, life) if life == self.life(node) => self.synced(node),
            Action::Screen(at, life, id) if life == self.life(Node::Seat(at)) => self.screen(at, id),
            Action::Synced(..) | Action::Screen(..) => Ok(()),
            Action::Dial(link) => self.dial(link),
            Action::Swallow(link, session) => {
                if let Some((live, swallows)) = &mut self.links[link].session {
                    *swallows |= *live == session;
                }
                Ok(())
            }
            Action::Cut(link, session) if self.links[link].session.is_some_and(|(live, _)| live == session) => {
                self.cut(link)
            }
            Action::Cut(..) => Ok(()),
            Action::Crash(node) => self.crash(node),
            Action::Start(node) => self.start(node),
            Action::Officer(at, id) => self.officer(at, id),
            Action::Sweep => self.sweep(),
            Action::CutAll => (3..self.links.len()).try_for_each(|link| self.cut(link)),
            Action::Plan => {
                self.nature.late_plan = false;
                let plan = self.plan();
                self.tell_broker(broker::Input::Plan(plan))
            }
        }
    }

    // ------------------------------------------------------------------ links

    fn dial(&mut self, link: usize) -> Result<(), String> {
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
        self.tell_broker(broker::Input::SessionUp { path: PathId(session), peer, lane, expired: false })?;
        match client {
            Node::Seat(at) => self.tell_seat(at, station::Input::PathUp(PathId(session), broker_name(), lane)),
            _ => self.tell_relay(relay::Input::PathUp(PathId(session), lane)),
        }
    }

    fn is_up(&self, node: Node) -> bool {
        match node {
            Node::Relay => self.relay.is_some(),
            Node::Broker => self.broker.is_some(),
            Node::Seat(at) => self.seats[at].is_some(),
        }
    }

    fn redial(&mut self, link: usize) {
        if !self.links[link].dialling {
            self.links[link].dialling = true;
            let longest = if self.troubled(20) { 30 * SECOND } else { 2 * SECOND };
            self.soon(longest, Action::Dial(link));
        }
    }

    fn cut(&mut self, link: usize) -> Result<(), String> {
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

    fn send(&mut self, path: PathId, to_broker: bool, message: Message) {
        if let Message::Event(copy) = &message {
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

    fn deliver(&mut self, link: usize, session: u64, to_broker: bool, message: Message) -> Result<(), String> {
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

    // ------------------------------------------------------------------ lives

    fn crash(&mut self, node: Node) -> Result<(), String> {
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

    fn crash_log(&mut self) {
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
    fn append(&mut self, command: Command) -> u64 {
        let index = self.log.last_key_value().map_or(1, |(last, _)| last + 1);
        self.log.insert(index, command);
        index
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        if !self.nature.late_plan {
            plan.add(school(), vec![StationId(name("p1")), StationId(name("p2"))]).unwrap();
        }
        plan
    }

    fn start(&mut self, node: Node) -> Result<(), String> {
        let (now, seed) = (self.clock(), self.rng.next_u64());
        match node {
            Node::Relay => {
                let rows: Vec<_> = self.relay_disk.content.0.values().cloned().collect();
                let config = RelayConfig {
                    relay: RelayId { school: school(), device: name("gate") },
                    epoch: self.life(node) + 1,
                    next_slot: 1,
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

    // ------------------------------------------------------------------ people

    fn press(&mut self, number: usize) -> Result<(), String> {
        let (press, idempotency_key) = self.presses[number].clone();
        if self.relay.is_none() {
            return Ok(());
        }
        self.tell_relay(relay::Input::Raise { ticket: Ticket(number as u64), press, idempotency_key })
    }

    fn screen(&mut self, at: usize, id: EventId) -> Result<(), String> {
        let alarm =
            self.seats[at].as_ref().and_then(|seat| seat.get(&id)).map(|row| row.sealed.event.class <= Class::P1);
        if alarm == Some(true) && self.rng.below(10) < 4 {
            self.soon(20 * SECOND, Action::Officer(at, id));
            if self.rng.below(3) == 0 {
                self.soon(20 * SECOND, Action::Officer(at, id));
            }
        }
        self.tell_seat(at, station::Input::Displayed(vec![id]))
    }

    fn officer(&mut self, at: usize, event: EventId) -> Result<(), String> {
        self.tickets += 1;
        let ticket = AckTicket(self.tickets);
        let officer = name(&format!("officer-{at}"));
        self.tell_seat(at, station::Input::Acknowledge { ticket, event, officer, note: Text::default() })
    }

    fn sweep(&mut self) -> Result<(), String> {
        for at in 0..SEATS.len() {
            let open: Vec<EventId> =
                self.seats[at].iter().flat_map(Station::unacknowledged).map(|row| row.sealed.event.id).collect();
            for id in open {
                // Several may reach for the same alarm at once.
                let at = usize::try_from(self.rng.below(3)).unwrap();
                self.soon(SECOND, Action::Officer(at, id));
            }
        }
        Ok(())
    }

    // ------------------------------------------------------------------ machines

    fn tell_relay(&mut self, input: relay::Input) -> Result<(), String> {
        let now = self.clock();
        if let Some(relay) = &mut self.relay {
            relay.handle(now, input);
        }
        self.settle(Node::Relay)
    }

    fn tell_broker(&mut self, input: broker::Input) -> Result<(), String> {
        let now = self.clock();
        if let Some(broker) = &mut self.broker {
            broker.handle(now, input);
        }
        self.settle(Node::Broker)
    }

    fn tell_seat(&mut self, at: usize, input: station::Input) -> Result<(), String> {
        let now = self.clock();
        if let Some(seat) = &mut self.seats[at] {
            seat.handle(now, input);
        }
        self.settle(Node::Seat(at))
    }

    /// Carries a machine's outputs out and holds it against its invariants.
    fn settle(&mut self, node: Node) -> Result<(), String> {
        match node {
            Node::Relay => {
                while let Some(output) = self.relay.as_mut().and_then(Relay::poll_output) {
                    self.relay_says(output)?;
                }
                self.relay.as_ref().map_or(Ok(()), Machine::check)?;
            }
            Node::Broker => {
                while let Some(output) = self.broker.as_mut().and_then(broker::Broker::poll_output) {
                    self.broker_says(output)?;
                }
                self.broker.as_ref().map_or(Ok(()), Machine::check)?;
            }
            Node::Seat(at) => {
                while let Some(output) = self.seats[at].as_mut().and_then(Station::poll_output) {
                    self.seat_says(at, output)?;
                }
                self.seats[at].as_ref().map_or(Ok(()), Machine::check)?;
            }
        }
        Ok(())
    }

    fn relay_says(&mut self, output: relay::Output) -> Result<(), String> {
        match output {
            relay::Output::Persist(seq, write) => {
                if self.relay_disk.write(seq, write) {
                    self.sync(Node::Relay);
                }
                if self.nature.lying_disks
                    && let Some(relay) = &mut self.relay
                {
                    let now = Now { mono: Timestamp(self.now), wall: WallTime(0) };
                    relay.handle(now, relay::Input::Persisted(seq));
                }
            }
            relay::Output::Send(path, _, message) => self.send(path, true, message),
            relay::Output::Answer(ticket, Ok(Raised { id, .. })) => self.is_kept(ticket, id)?,
            relay::Output::Answer(_, Err(relay::RaiseError::NotKept { .. })) | relay::Output::Report(_) => {}
            relay::Output::Answer(_, Err(error)) => return Err(format!("a press was not taken: {error}")),
        }
        Ok(())
    }

    fn is_kept(&mut self, ticket: Ticket, id: EventId) -> Result<(), String> {
        let row = self.relay_disk.content.0.values().find(|row| row.sealed.event.id == id);
        let Some(row) = row else { return Err(format!("{id} was said to be kept before the disk had it")) };
        self.kept.insert(id, row.sealed.event.class);
        let number = usize::try_from(ticket.0).unwrap();
        if let Some(key) = self.presses[number].1.clone() {
            let first = *self.by_key.entry(key.clone()).or_insert(id);
            if first != id {
                return Err(format!("{key} raised {first}, and then {id}"));
            }
        }
        Ok(())
    }

    fn broker_says(&mut self, output: broker::Output) -> Result<(), String> {
        match output {
            broker::Output::Propose(command) => {
                self.proposals.push(command);
                if !std::mem::replace(&mut self.committing, true) {
                    self.sync(Node::Broker);
                }
            }
            broker::Output::Forget(indexes) => self.forgets.extend(indexes),
            broker::Output::Send(path, _, message) => {
                if let Message::Receipts(receipts) = &message {
                    for receipt in receipts.iter().filter(|receipt| receipt.stage == Stage::Stored) {
                        let admits = |command: &Command| {
                            matches!(command, Command::Admit(_)) && command.event() == receipt.event
                        };
                        if !self.log.values().any(admits) {
                            return Err(format!(
                                "{} was said to be stored, and the log does not hold it",
                                receipt.event
                            ));
                        }
                        self.stored.insert(receipt.event);
                    }
                }
                self.send(path, false, message);
            }
            broker::Output::Report(broker::Report::Improper(who, why)) => return Err(format!("{who}: {why}")),
            broker::Output::Report(_) => {}
        }
        Ok(())
    }

    fn seat_says(&mut self, at: usize, output: station::Output) -> Result<(), String> {
        match output {
            station::Output::Persist(seq, write) => {
                if self.seat_disks[at].write(seq, write) {
                    self.sync(Node::Seat(at));
                }
            }
            station::Output::Send(path, _, message) => {
                if let Message::Receipts(receipts) = &message {
                    for receipt in receipts.iter().filter(|receipt| receipt.stage == Stage::Delivered) {
                        let mut rows = self.seat_disks[at].content.rows.values();
                        if !rows.any(|row| row.sealed.event.id == receipt.event) {
                            return Err(format!("{} was said to be delivered before the disk had it", receipt.event));
                        }
                    }
                }
                self.send(path, true, message);
            }
            station::Output::Show { row, durable } => {
                let id = row.sealed.event.id;
                if !self.shown_now[at].insert(id) || self.shown_for_good[at].contains(&id) {
                    return Err(format!("seat {at} shows {id} twice"));
                }
                if durable {
                    self.shown_for_good[at].insert(id);
                }
                let life = self.life(Node::Seat(at));
                self.soon(2 * SECOND, Action::Screen(at, life, id));
            }
            station::Output::NowDurable(seq) => {
                let row =
                    self.seat_disks[at].content.rows.get(&seq).ok_or("a row is said to be durable, and is not")?;
                self.shown_for_good[at].insert(row.sealed.event.id);
            }
            station::Output::Answer(_, Ok(done)) => {
                let row =
                    self.seat_disks[at].content.rows.values().find(|row| row.sealed.event.id == done.receipt.event);
                if !row.is_some_and(|row| row.receipts.iter().any(|r| r.stage == Stage::Acknowledged)) {
                    return Err(format!("{}: an officer was answered before the disk had it", done.receipt.event));
                }
                self.taken.insert(done.receipt.event);
            }
            station::Output::Answer(_, Err(_)) | station::Output::Report(_) => {}
        }
        Ok(())
    }

    // ------------------------------------------------------------------ disks

    fn sync(&mut self, node: Node) {
        let life = self.life(node);
        let longest = if self.troubled(10) { 2 * SECOND } else { 5_000 };
        self.soon(longest, Action::Synced(node, life));
    }

    fn synced(&mut self, node: Node) -> Result<(), String> {
        let failed = self.troubled(8);
        let why = || "no space left on device".to_owned();
        let outcome = |seq: PersistSeq| if failed { Err(seq) } else { Ok(seq) };
        match node {
            Node::Relay => {
                let (done, more) = self.relay_disk.synced(failed);
                for seq in done {
                    self.tell_relay(match outcome(seq) {
                        Ok(seq) => relay::Input::Persisted(seq),
                        Err(seq) => relay::Input::PersistFailed(seq, why()),
                    })?;
                }
                if more {
                    self.sync(node);
                }
            }
            Node::Seat(at) => {
                let (done, more) = self.seat_disks[at].synced(failed);
                for seq in done {
                    self.tell_seat(
                        at,
                        match outcome(seq) {
                            Ok(seq) => station::Input::Persisted(seq),
                            Err(seq) => station::Input::PersistFailed(seq, why()),
                        },
                    )?;
                }
                if more {
                    self.sync(node);
                }
            }
            Node::Broker => return self.commit(failed),
        }
        Ok(())
    }

    fn commit(&mut self, failed: bool) -> Result<(), String> {
        let life = self.life(Node::Broker);
        let batch = std::mem::take(&mut self.proposals);
        let indexed: Vec<(u64, Command)> = if failed {
            Vec::new()
        } else {
            batch.iter().map(|command| (self.append(command.clone()), command.clone())).collect()
        };
        for index in std::mem::take(&mut self.forgets) {
            self.log.remove(&index);
        }
        self.committing = false;
        for (index, command) in indexed {
            self.tell_broker(broker::Input::Committed(index, command))?;
        }
        for command in batch.into_iter().filter(|_| failed) {
            let p0 = matches!(&command, Command::Admit(admission) if admission.sealed.event.class == Class::P0);
            let shed = !p0 && self.rng.below(4) == 0;
            self.tell_broker(broker::Input::NotCommitted { command, shed, why: "no space".to_owned() })?;
        }
        debug_assert_eq!(life, self.life(Node::Broker));
        Ok(())
    }
}
