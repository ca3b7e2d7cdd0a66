//! The world: every node, line and session of a province on one virtual clock, from one seed.
//!
//! Invariant: the same seed and set-up give the same run, on every platform: no clock, no map without order, no float decides
//! anything here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use huxiao_core::broker::RecallTicket;
use huxiao_core::relay::Press;
use huxiao_core::{Cost, EventId, Lane, Machine, Now, Rng, Timestamp, UplinkId, WallTime, limits};

use crate::check::{Check, Failure, Outcome};
use crate::dial::Dialler;
use crate::disk::Disk;
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::line::Line;
use crate::net::{Session, Side};
use crate::node::{BrokerNode, Life, Node, RelayNode, SeatNode};
use crate::packet::Packet;
use crate::province::{Nature, Province};
use crate::region::{Region, Replica};
use crate::reign::TICK;
use crate::trace::Trace;

/// One second in the world's unit, the microsecond.
pub const SECOND: u64 = 1_000_000;
/// One minute.
pub const MINUTE: u64 = 60 * SECOND;
/// What the wall clocks show when a world begins.
const BEGINNING: i64 = 1_700_000_000_000_000;
/// Steps at one instant beyond which the world does not move on.
const STEPS_AT_ONCE: u32 = 100_000;

/// What happens at some time.
#[derive(Debug)]
pub enum Action {
    /// A press, by its place in [`World::presses`].
    Press(usize),
    /// A packet comes.
    Arrive(u64, Side, Packet),
    /// An end of a session has something to do.
    Transport(u64, Side),
    /// An older and a fresher session of one dialler have lived beside each other; how often the older had been heard before.
    Choose(u64, u64, u64),
    /// A dialler's turn, if its number is still that.
    Dial(usize, u64),
    /// A sync is over, if the node still lives that life.
    Synced(Node, u64),
    /// The engine of the record looks around.
    Tick,
    /// What was proposed comes to the region's leader.
    Kick,
    /// A broker node that still lives that life holds the leader's log of a term up to there.
    Held(usize, u64, u64, usize),
    /// It hears how much is committed.
    Apply(usize, u64),
    /// Its journal has been synced.
    Journalled(usize, u64),
    /// The archive answers it.
    Recalled(usize, u64, RecallTicket, Vec<EventId>),
    /// The power goes.
    Crash(Node),
    /// And comes back.
    Start(Node),
    /// A screen shows an event.
    Screen(usize, u64, EventId),
    /// An officer takes it.
    Officer(usize, EventId),
    /// Officers take all that nobody has taken.
    Sweep,
    /// All sessions of the seats end, and are dialled anew.
    CutSeats,
    /// A new plan is in force.
    Plan(Vec<Vec<usize>>),
    /// A fault begins.
    Begin(Fault),
    /// It ends.
    End(Fault),
    /// Whether an alarm has reached a station in time.
    Judge(EventId, usize),
    /// How often nodes woke and sent since the last count.
    Count,
}

struct Entry {
    at: u64,
    order: u64,
    action: Action,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

/// The world.
pub struct World {
    /// What stands where.
    pub province: Province,
    /// What sort of world it is.
    pub nature: Nature,
    /// All its dice.
    pub rng: Rng,
    /// The time.
    pub now: u64,
    /// From here on copies and writes are counted apart: nothing more has to be said.
    pub quiet_from: u64,
    /// Schools' relays.
    pub relays: Vec<RelayNode>,
    /// Broker nodes.
    pub brokers: Vec<BrokerNode>,
    /// The engine of their record.
    pub region: Region,
    /// Seats.
    pub seats: Vec<SeatNode>,
    /// Lines: the schools' uplinks in order, then one for each seat.
    pub lines: Vec<Line>,
    /// The first line of each school.
    pub first_line: Vec<usize>,
    /// Who keeps which sessions up.
    pub diallers: Vec<Dialler>,
    /// Sessions by number.
    pub sessions: BTreeMap<u64, Session>,
    /// The routes in force: for each school its stations.
    pub routes: Vec<Vec<usize>>,
    /// Since when.
    pub routes_since: u64,
    /// Presses to come or that came: by whom, what, with which key.
    pub presses: Vec<(usize, Press, Option<String>)>,
    /// What was seen.
    pub ledger: Ledger,
    /// What is told of it.
    pub trace: Trace,
    /// Every how many steps a machine is held against its invariants.
    pub check_every: u32,
    /// Of a hundred alarms that are shown, so many are taken by an officer soon.
    pub officers: u64,
    /// Whether alarms are held to the bounds of their links and nodes to those of their traffic, as they are unless a scenario only measures.
    pub judges: bool,
    /// What a relay may spend on copies of alarms, in bytes a second for each line.
    pub copy_rate: u32,
    pub(crate) dirty: Vec<(u64, Side)>,
    pub(crate) numbers: u64,
    pub(crate) steps: u32,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
}

impl World {
    /// A world in which every node starts at once.
    #[must_use]
    pub fn new(seed: u64, province: Province, nature: Nature) -> Self {
        let mut rng = Rng::new(seed);
        let relay = || RelayNode { life: Life::new(), machine: None, disk: Disk::default() };
        let seat = || SeatNode { life: Life::new(), machine: None, disk: Disk::default() };
        let broker = || BrokerNode { life: Life::new(), machine: None, replica: Replica::default(), mute: false };
        let mut world = Self {
            nature,
            now: 0,
            quiet_from: u64::MAX,
            relays: province.schools.iter().map(|_| relay()).collect(),
            brokers: (0..province.brokers).map(|_| broker()).collect(),
            region: Region::default(),
            seats: province.seats.iter().map(|_| seat()).collect(),
            lines: Vec::new(),
            first_line: Vec::new(),
            diallers: Vec::new(),
            sessions: BTreeMap::new(),
            routes: province.schools.iter().map(|school| school.stations.clone()).collect(),
            routes_since: 0,
            presses: Vec::new(),
            ledger: Ledger::new(province.seats.len()),
            trace: Trace::default(),
            check_every: 1,
            officers: 40,
            judges: true,
            copy_rate: limits::COPY_BYTES_PER_SECOND,
            dirty: Vec::new(),
            numbers: 0,
            steps: 0,
            queue: BinaryHeap::new(),
            order: 0,
            rng: Rng::new(rng.next_u64()),
            province,
        };
        world.lay_lines(&mut rng);
        for node in world.nodes() {
            world.at(0, Action::Start(node));
        }
        world.at(crate::bound::COUNT_EVERY, Action::Count);
        world.at(TICK, Action::Tick);
        world
    }

    fn lay_lines(&mut self, rng: &mut Rng) {
        let province = self.province.clone();
        for (at, school) in province.schools.iter().enumerate() {
            self.first_line.push(self.lines.len());
            for (number, uplink) in school.uplinks.iter().enumerate() {
                let line = self.lines.len();
                self.lines.push(Line::new(uplink.profile, rng.below(MINUTE)));
                let id = UplinkId(u16::try_from(number).unwrap_or(u16::MAX));
                let lanes: &[Lane] =
                    if uplink.cost == Cost::Metered { &[Lane::Express] } else { &[Lane::Express, Lane::Bulk] };
                for (broker, lane) in
                    province.homes(at).into_iter().flat_map(|b| lanes.iter().map(move |lane| (b, *lane)))
                {
                    self.diallers.push(Dialler::new(Node::Relay(at), broker, line, (id, uplink.cost), lane));
                }
            }
        }
        for (at, seat) in province.seats.iter().enumerate() {
            let line = self.lines.len();
            self.lines.push(Line::new(seat.profile, rng.below(MINUTE)));
            for broker in 0..province.brokers {
                for lane in [Lane::Express, Lane::Bulk] {
                    let uplink = (UplinkId(0), Cost::Free);
                    self.diallers.push(Dialler::new(Node::Seat(at), broker, line, uplink, lane));
                }
            }
        }
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<Node> {
        let relays = (0..self.relays.len()).map(Node::Relay);
        let brokers = (0..self.brokers.len()).map(Node::Broker);
        relays.chain(brokers).chain((0..self.seats.len()).map(Node::Seat)).collect()
    }

    /// The line of a seat.
    #[must_use]
    pub fn seat_line(&self, seat: usize) -> usize {
        self.lines.len() - self.seats.len() + seat
    }

    /// The lines of a school.
    #[must_use]
    pub fn school_lines(&self, school: usize) -> std::ops::Range<usize> {
        let first = self.first_line[school];
        first..first + self.province.schools[school].uplinks.len()
    }

    /// Has something happen at `when`, or now if that has passed.
    pub fn at(&mut self, when: u64, action: Action) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: when.max(self.now), order: self.order, action }));
    }

    /// Has something happen within `longest`.
    pub fn soon(&mut self, longest: u64, action: Action) {
        let when = self.now + 1 + self.rng.below(longest);
        self.at(when, action);
    }

    /// One of `count`, at random.
    pub fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).unwrap_or(0)
    }

    /// The clocks.
    #[must_use]
    pub fn clock(&self) -> Now {
        Now { mono: Timestamp(self.now), wall: WallTime(BEGINNING + i64::try_from(self.now).unwrap_or(i64::MAX)) }
    }

    /// What all nodes have, of one.
    #[must_use]
    pub fn life(&self, node: Node) -> &Life {
        match node {
            Node::Relay(at) => &self.relays[at].life,
            Node::Broker(at) => &self.brokers[at].life,
            Node::Seat(at) => &self.seats[at].life,
        }
    }

    /// The same, to change it.
    pub fn life_mut(&mut self, node: Node) -> &mut Life {
        match node {
            Node::Relay(at) => &mut self.relays[at].life,
            Node::Broker(at) => &mut self.brokers[at].life,
            Node::Seat(at) => &mut self.seats[at].life,
        }
    }

    /// Whether a node is up.
    #[must_use]
    pub fn is_up(&self, node: Node) -> bool {
        self.life(node).up_since.is_some()
    }

    /// Lets the time pass until `end`.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub fn run_until(&mut self, end: u64) -> Outcome {
        let (mut instant, mut steps) = (self.now, 0_u32);
        loop {
            let (timer, node) = self.next_wake();
            let action = self.queue.peek().map_or(u64::MAX, |Reverse(entry)| entry.at);
            if timer.min(action) > end {
                self.now = end;
                return Ok(());
            }
            if timer <= action {
                self.now = self.now.max(timer);
                self.wake(node)?;
            } else if let Some(Reverse(entry)) = self.queue.pop() {
                self.now = entry.at;
                self.act(entry.action)?;
            }
            steps = if self.now == instant { steps + 1 } else { 0 };
            instant = self.now;
            if steps > STEPS_AT_ONCE {
                return Err(Failure::new(Check::Storm, "the world spins: time does not pass"));
            }
        }
    }

    fn next_wake(&self) -> (u64, Node) {
        let relays = self.relays.iter().enumerate().map(|(at, node)| (node.life.wake, Node::Relay(at)));
        let brokers = self.brokers.iter().enumerate().map(|(at, node)| (node.life.wake, Node::Broker(at)));
        let seats = self.seats.iter().enumerate().map(|(at, node)| (node.life.wake, Node::Seat(at)));
        let all = relays.chain(brokers).chain(seats).filter_map(|(wake, node)| Some((wake?, node)));
        all.min().unwrap_or((u64::MAX, Node::Relay(0)))
    }

    fn wake(&mut self, node: Node) -> Outcome {
        let now = self.clock();
        self.life_mut(node).wakes += 1;
        match node {
            Node::Relay(at) => self.relays[at].machine.iter_mut().for_each(|relay| relay.handle_timeout(now)),
            Node::Broker(at) => self.brokers[at].machine.iter_mut().for_each(|broker| broker.handle_timeout(now)),
            Node::Seat(at) => self.seats[at].machine.iter_mut().for_each(|seat| seat.handle_timeout(now)),
        }
        self.settle(node)?;
        if self.life(node).wake.is_some_and(|wake| wake <= self.now) {
            return Err(Failure::new(Check::Storm, format!("{node:?} asks to be woken for what it has just done")));
        }
        Ok(())
    }

    fn act(&mut self, action: Action) -> Outcome {
        match action {
            Action::Press(number) => self.press(number),
            Action::Arrive(session, side, packet) => self.arrive(session, side, packet),
            Action::Transport(session, side) => self.transport(session, side),
            Action::Choose(old, fresh, heard) => self.choose(old, fresh, heard),
            Action::Dial(dialler, number) => self.dial_turn(dialler, number),
            Action::Synced(node, life) if life == self.life(node).number => self.synced(node),
            Action::Screen(at, life, id) if life == self.seats[at].life.number => self.screen(at, id),
            Action::Synced(..) | Action::Screen(..) => Ok(()),
            Action::Tick => self.tick(),
            Action::Kick => self.kick(),
            Action::Held(at, life, term, upto) => self.held(at, life, term, upto),
            Action::Apply(at, life) => self.apply_if(at, life),
            Action::Journalled(at, life) => self.journalled(at, life),
            Action::Recalled(at, life, ticket, ids) => self.recalled(at, life, ticket, &ids),
            Action::Crash(node) => self.crash(node),
            Action::Start(node) => self.start(node),
            Action::Officer(at, id) => self.officer(at, id),
            Action::Sweep => {
                self.sweep();
                Ok(())
            }
            Action::CutSeats => self.cut_seats(),
            Action::Plan(routes) => self.new_plan(routes),
            Action::Begin(fault) => {
                self.befall(fault, true);
                Ok(())
            }
            Action::End(fault) => {
                self.befall(fault, false);
                Ok(())
            }
            Action::Judge(id, station) => self.judge_in_time(id, station),
            Action::Count => self.count(),
        }
    }

    /// A fault begins or ends.
    pub fn befall(&mut self, fault: Fault, begins: bool) {
        let now = self.now;
        self.trace.note(now, None, || format!("{} {fault:?}", if begins { "begins:" } else { "ends:" }));
        if let Some(line) = fault.line() {
            fault.befall(&mut self.lines[line], begins, now);
        }
        let step = |count: &mut u32| if begins { *count += 1 } else { *count = count.saturating_sub(1) };
        match fault {
            Fault::Isolated(at) => self.region.isolated.get_mut(at).into_iter().for_each(step),
            Fault::Split => step(&mut self.region.split),
            _ => {}
        }
        if let Fault::Disk(node) | Fault::Slow(node) = fault {
            let life = self.life_mut(node);
            let count = if matches!(fault, Fault::Disk(_)) { &mut life.disk_failing } else { &mut life.disk_slow };
            *count = if begins { *count + 1 } else { count.saturating_sub(1) };
            let well = life.disk_failing + life.disk_slow == 0;
            life.disk_well_since = if well { life.disk_well_since.or(Some(now)) } else { None };
        }
    }
}
