//! One relay, one broker node, two stations of which one has two seats, and everything that can go wrong between them, in virtual
//! time from a seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use huxiao_core::relay::{Press, Relay};
use huxiao_core::station::Station;
use huxiao_core::{
    Class, Command, Event, EventId, Kind, Lane, Machine, Message, Mode, Name, NodeName, Now, Rng, SchoolId, Sealed,
    SeatId, StationId, Text, Timestamp, WallTime, broker,
};

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

pub(crate) enum Action {
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

pub(crate) struct Link {
    pub(crate) client: Node,
    pub(crate) lane: Lane,
    /// The live session, and whether it swallows what is sent.
    pub(crate) session: Option<(u64, bool)>,
    pub(crate) dialling: bool,
}

pub(crate) struct World {
    pub(crate) nature: Nature,
    pub(crate) rng: Rng,
    pub(crate) now: u64,
    pub(crate) queue: BTreeMap<(u64, u64), Action>,
    pub(crate) order: u64,
    pub(crate) lives: BTreeMap<Node, u64>,
    pub(crate) links: Vec<Link>,
    pub(crate) relay: Option<Relay>,
    pub(crate) relay_disk: Disk<Outbox>,
    pub(crate) broker: Option<broker::Broker>,
    pub(crate) log: BTreeMap<u64, Command>,
    pub(crate) proposals: Vec<Command>,
    pub(crate) forgets: Vec<u64>,
    pub(crate) committing: bool,
    pub(crate) record_id: u8,
    pub(crate) record_lost: bool,
    pub(crate) seats: Vec<Option<Station>>,
    pub(crate) seat_disks: Vec<Disk<Inbox>>,
    pub(crate) presses: Vec<(Press, Option<String>)>,
    pub(crate) kept: BTreeMap<EventId, Class>,
    pub(crate) by_key: BTreeMap<String, EventId>,
    pub(crate) stored: BTreeSet<EventId>,
    pub(crate) taken: BTreeSet<EventId>,
    pub(crate) shown_now: Vec<BTreeSet<EventId>>,
    pub(crate) shown_for_good: Vec<BTreeSet<EventId>>,
    pub(crate) copies: BTreeMap<EventId, usize>,
    pub(crate) copies_after_quiet: usize,
    pub(crate) writes_before_quiet: usize,
    pub(crate) writes_before_again: usize,
    pub(crate) tickets: u64,
}

pub(crate) fn broker_name() -> NodeName {
    NodeName::Broker { region: name("r1"), node: name("n1") }
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn school() -> SchoolId {
    SchoolId(name("s1"))
}

pub(crate) fn seat(at: usize) -> SeatId {
    SeatId { station: StationId(name(SEATS[at].0)), seat: name(SEATS[at].1) }
}

pub(crate) fn seal(event: &Event) -> Sealed {
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

    pub(crate) fn lay_out(&mut self) {
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

    pub(crate) fn at(&mut self, when: u64, action: Action) {
        self.order += 1;
        self.queue.insert((when.max(self.now), self.order), action);
    }

    pub(crate) fn soon(&mut self, longest: u64, action: Action) {
        let when = self.now + 1 + self.rng.below(longest);
        self.at(when, action);
    }

    pub(crate) fn troubled(&mut self, percent: u64) -> bool {
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

    pub(crate) fn writes(&self) -> usize {
        self.relay_disk.writes + self.seat_disks.iter().map(|disk| disk.writes).sum::<usize>()
    }

    pub(crate) fn next_timer(&self) -> (u64, Node) {
        let relay = self.relay.as_ref().and_then(Machine::poll_timeout).map(|at| (at.0, Node::Relay));
        let broker = self.broker.as_ref().and_then(Machine::poll_timeout).map(|at| (at.0, Node::Broker));
        let seats = self.seats.iter().enumerate();
        let seats = seats.filter_map(|(at, s)| Some((s.as_ref()?.poll_timeout()?.0, Node::Seat(at))));
        relay.into_iter().chain(broker).chain(seats).min().unwrap_or((END, Node::Relay))
    }

    pub(crate) fn wake(&mut self, node: Node) -> Result<(), String> {
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

    pub(crate) fn act(&mut self, action: Action) -> Result<(), String> {
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
}
