//! The courier: carries things to one receiver over whatever paths lead there, again and again, until it has a receipt.
//!
//! It is generic over the key of what it carries: a relay's events to its region, a broker's events to one seat, a station's
//! statements to its region, a broker's receipts to a relay. On a link that loses one packet in six and delays the rest unevenly,
//! several copies beat any single packet: the fastest of those that arrive counts, and the receiver removes the others by their id.
//!
//! An alarm (P0, P1) goes at once on every path: as a datagram, and a moment later on a stream, so that the two do not share one
//! packet. Copies follow as datagrams over one path after another: at 20, 50, 95, 160, … ms, closer together where losses are known
//! and farther apart where none are; [`YOUNG_GAP`] apart at most while the item is young (longer where the way there and back takes
//! longer), and then ever more slowly, [`LONGEST_GAP`] at most, until it is settled. What is below P1 goes on a stream of one path,
//! and again over the next one if no receipt comes. Statements ([`Courier::of_statements`]) are repeated like alarms, but have no
//! stream copy and wait until an answer is due.
//!
//! Invariants:
//! * An item leaves only by [`Courier::settle`] or [`Courier::withdraw`]. There is no time-to-live and no silent drop.
//! * A higher class is always sent before a lower one. An alarm waits for nothing while the line's budget lasts, and beyond it for
//!   no more than [`limits::COURIER_WINDOW`] others whose receipts are outstanding.
//! * An item below P0 waits only for [`limits::COURIER_WINDOW`] others of its class or of higher ones, never for lower ones.
//! * Copies of alarms beyond the first stay within a budget for each line, however many are pending; they take turns. First copies do not
//!   keep them from it for longer than [`LONGEST_GAP`] while the line shows life; and beyond the budget the two take turns, so that alarms
//!   whose receipts never come do not keep new ones from being sent.
//! * Nothing below P1 goes over a metered line.
//! * With an alarm pending, any sign of life after a silence has everything pending sent at once, highest class first.

mod answers;
mod flight;
mod line;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::courier::answers::{Answer, Answers};
use crate::courier::line::{Line, Purpose};
use crate::courier::schedule::{Circumstances, Pace};
use crate::event::Class;
use crate::id::PathId;
use crate::lane::Lane;
use crate::limits;
use crate::path::{Carrier, Cost, Form, PathInfo, UplinkId};
use crate::probe::Losses;
use crate::rng::Rng;
use crate::time::{Span, Timestamp};

/// Between the first datagram and the stream copy: enough for the two to leave in packets of their own.
const STREAM_AFTER: Span = Span::from_millis(2);
/// The longest gap between copies of an alarm while it is young.
pub const YOUNG_GAP: Span = Span::from_millis(250);
/// The longest gap between repeats.
pub const LONGEST_GAP: Span = Span::from_secs(5);
/// With alarms under way, this long without anything heard on any path has fresh sessions dialled beside the old ones. Doubled after each
/// such race up to [`LONGEST_GAP`], until something is settled.
pub const RACE_AFTER: Span = Span::from_millis(800);
/// With alarms under way, this long (or three round trips) without anything heard on any path has whoever else there is dialled: a node that is
/// dead says nothing, and another may live.
pub const DESERTED_AFTER: Span = Span::from_millis(120);
/// After this long without anything heard, the next thing heard is a sign of life.
const SILENCE: Span = Span::from_millis(500);
/// A path that has been silent for this much longer than the liveliest one gets one turn in four.
const STALE: Span = Span::from_secs(1);
/// A line with so long a round trip may well be a thin one: until receipts tell, it gets little.
const FAR: Span = Span::from_millis(500);
/// Alarms that go on a new path at once, on a stream too.
const SCOUTS: usize = 2;
/// A copy that left so recently is not sent again for a sign of life.
const JUST_SENT: Span = Span::from_millis(20);

/// An order to put one copy of an item on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<K> {
    /// What.
    pub key: K,
    /// Where.
    pub path: PathId,
    /// Its class.
    pub class: Class,
    /// How.
    pub form: Form,
    /// 0 for the first time.
    pub attempt: u32,
}

#[derive(Debug, Clone)]
struct Item {
    class: Class,
    order: u64,
    lane: Lane,
    bytes: u32,
    /// When it was first sent, however often it was taken back since.
    first: Option<Timestamp>,
    flight: Option<Flight>,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    attempt: u32,
    sent: Timestamp,
    gap: Span,
    /// When the next copy is due; `None` while it waits for the line's budget.
    due: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
struct Path {
    info: PathInfo,
    heard: Timestamp,
    /// Whether anything has ever come on it: one taken up early may lead nowhere.
    answered: bool,
    /// What it is known to lose.
    losses: Losses,
    /// Its round trip, from probes; zero if nobody knows.
    rtt: Span,
}

/// Carries items of key `K` to one receiver.
#[derive(Debug, Clone)]
pub struct Courier<K> {
    items: BTreeMap<K, Item>,
    waiting: BTreeSet<(Class, u64, K)>,
    due: BTreeSet<(Timestamp, K)>,
    /// Alarms whose next copy is due and beyond the budget: they take turns, the one that waits longest first.
    starved: BTreeSet<(Class, Timestamp, K)>,
    paths: BTreeMap<PathId, Path>,
    lines: BTreeMap<UplinkId, Line>,
    rate: u32,
    /// Whether a copy that was overdue went while alarms waited to be sent at all: then it is their turn.
    owed_first: bool,
    /// Items carried, and those of them under way, by class.
    carried: [usize; Class::ALL.len()],
    flying: [usize; Class::ALL.len()],
    next_order: u64,
    rng: Rng,
    /// When anything was last heard, or alarms were first under way since none were.
    heard: Timestamp,
    /// When a silence last ended, by a sign of life or a new path.
    revived: Timestamp,
    /// How quickly receipts came.
    answers: Answers,
    /// Whether it carries statements.
    statements: bool,
    race_at: Option<Timestamp>,
    race_gap: Span,
    race: bool,
    /// Whether the receiver can be reached by others than are dialled.
    others: bool,
    /// When nothing heard counts as desertion; `None` once it does, while nothing is under way, and where no round trip is known.
    deserted_at: Option<Timestamp>,
    /// Nothing was heard by then and nothing since, and no handshake with anybody else has come back.
    deserted: bool,
    /// It has yet to be said.
    deserted_news: bool,
    out: VecDeque<Transmit<K>>,
}

fn urgent(class: Class) -> bool {
    class <= Class::P1
}

impl<K: Ord + Copy> Courier<K> {
    /// A courier with nothing to carry and no path.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            items: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            starved: BTreeSet::new(),
            paths: BTreeMap::new(),
            lines: BTreeMap::new(),
            rate: limits::COPY_BYTES_PER_SECOND,
            owed_first: false,
            carried: [0; Class::ALL.len()],
            flying: [0; Class::ALL.len()],
            next_order: 0,
            rng: Rng::new(seed),
            heard: Timestamp(0),
            revived: Timestamp(0),
            answers: Answers::default(),
            statements: false,
            race_at: None,
            race_gap: RACE_AFTER,
            race: false,
            others: false,
            deserted_at: None,
            deserted: false,
            deserted_news: false,
            out: VecDeque::new(),
        }
    }

    /// The same with a budget of `rate` bytes a second for the copies on each line, in place of [`limits::COPY_BYTES_PER_SECOND`].
    #[must_use]
    pub fn with_rate(mut self, rate: u32) -> Self {
        self.rate = rate;
        self
    }

    /// The same for a receiver that others can be dialled for too ([`Courier::poll_deserted`]).
    #[must_use]
    pub fn with_others(mut self, others: bool) -> Self {
        self.others = others;
        self
    }

    /// The same for statements about what their receiver knows of: they are not repeated before an answer is due.
    #[must_use]
    pub fn of_statements(mut self) -> Self {
        self.statements = true;
        self
    }

    /// Takes an item of about `bytes` on the wire to carry. `backlog` is what waited while its receiver was away. Offering it again
    /// changes nothing.
    pub fn offer(&mut self, now: Timestamp, key: K, class: Class, backlog: bool, bytes: usize) {
        if self.items.contains_key(&key) {
            return;
        }
        self.next_order += 1;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let lane = Lane::of(class, backlog);
        let item = Item { class, order: self.next_order, lane, bytes, first: None, flight: None };
        self.waiting.insert((class, item.order, key));
        self.carried[class as usize] += 1;
        self.items.insert(key, item);
        self.fill(now);
    }

    /// The receipt for `key` has come: it is carried no longer. False if it was not carried.
    pub fn settle(&mut self, now: Timestamp, key: &K) -> bool {
        if let Some(item) = self.items.get(key).cloned() {
            self.race_gap = RACE_AFTER;
            self.learn(now, &item);
        }
        self.withdraw(now, key)
    }

    /// Carries `key` no longer, though no receipt for it has come. False if it was not carried.
    pub fn withdraw(&mut self, now: Timestamp, key: &K) -> bool {
        let Some(item) = self.items.remove(key) else { return false };
        self.waiting.remove(&(item.class, item.order, *key));
        self.carried[item.class as usize] -= 1;
        if let Some(flight) = item.flight {
            self.unlist(*key, item.class, flight);
            self.flying[item.class as usize] -= 1;
            self.out.retain(|transmit| transmit.key != *key);
        }
        self.fill(now);
        self.watch(now);
        true
    }

    /// A path to the receiver is there: alarms under way go out on it too, highest class first. What waited because there was no path
    /// goes out on all of them.
    pub fn path_up(&mut self, now: Timestamp, path: PathId, info: PathInfo) {
        // Beside paths that live it is one more for the turns to come, and no news of the line.
        let revives = self.paths.is_empty() || self.is_silent(now) || self.deserted;
        if revives {
            self.revived = now;
        }
        // It is neither livelier nor staler than those that are there.
        let heard = self.paths.values().map(|path| path.heard).max().unwrap_or(now);
        self.paths.insert(path, Path { info, heard, answered: false, losses: Losses::Unknown, rtt: Span::ZERO });
        let (rtt, rate) = ((!info.rtt.is_zero()).then_some(info.rtt), self.rate);
        self.lines.entry(info.uplink).or_insert_with(|| Line::new(now, rate)).refill(now);
        self.set_probed(path, Losses::Unknown, rtt);
        // A handshake that came back is a sign of life of its line, if not of those who are silent on it. Once: somebody who takes sessions in
        // and says nothing must not have the budget filled again and again.
        let proven = self.deserted && info.lane == Lane::Express && !info.rtt.is_zero();
        if proven {
            self.deserted = false;
            self.lines.get_mut(&info.uplink).map(Line::replenish);
        }
        if info.lane == Lane::Express && revives {
            // It may lead nowhere, and many like it may follow: the first alarms find out. The others wait for its first sign of life,
            // with the reserve that is kept for that.
            for (place, key) in self.urgent_flights(|_| true).into_iter().enumerate() {
                let scout = proven || place < SCOUTS;
                self.flush(now, key, path, if scout { Purpose::Flush } else { Purpose::Repeat });
                if scout || info.carrier == Carrier::Tcp {
                    self.onto(key, path);
                }
            }
        }
        self.fill(now);
        self.watch(now);
    }

    /// A path is gone. What went by the last one that may carry it goes out on what is left at once; without any, it waits.
    pub fn path_down(&mut self, now: Timestamp, path: PathId) {
        let Some(Path { info, .. }) = self.paths.remove(&path) else { return };
        if !self.paths.values().any(|other| other.info.uplink == info.uplink) {
            self.lines.remove(&info.uplink);
        }
        self.out.retain(|transmit| transmit.path != path);
        let stranded =
            |item: &Item| !self.paths.values().any(|p| p.info.lane == item.lane && may_carry(p.info, item.class));
        let stranded: Vec<K> = if self.paths.is_empty() {
            self.flights().map(|(key, _)| *key).collect()
        } else {
            self.flights().filter(|(_, item)| item.lane == info.lane && stranded(item)).map(|(key, _)| *key).collect()
        };
        stranded.into_iter().for_each(|key| self.ground(key));
        // Where no datagrams are left to be budgeted, what waited for the budget goes on by what there is.
        for (class, sent, key) in std::mem::take(&mut self.starved) {
            match self.items.get(&key).and_then(|item| self.budget_at(item)) {
                Some(_) => drop(self.starved.insert((class, sent, key))),
                None => self.list(now, key),
            }
        }
        self.fill(now);
        self.watch(now);
    }

    /// Something came on this path. After a silence that is a sign of life, and everything pending goes out on it.
    pub fn heard(&mut self, now: Timestamp, path: PathId) {
        let Some(alive) = self.paths.get_mut(&path) else { return };
        alive.heard = now;
        alive.answered = true;
        let silent = self.is_silent(now) || self.deserted;
        self.heard = now;
        (self.deserted, self.deserted_at) = (false, None);
        // Races go on with growing gaps until something is settled: a receiver that is heard and settles nothing (one that is told to keep
        // quiet, a middlebox that takes the receipts out) would be dialled afresh every second for ever.
        // And silence is counted from the next copy on: nobody answers what was not sent.
        self.race_at = None;
        if silent {
            self.revived = now;
            for key in self.urgent_flights(|flight| now.since(flight.sent) >= JUST_SENT) {
                self.flush(now, key, path, Purpose::Flush);
            }
        }
        self.send_overdue(now);
    }

    /// What probes say of a path: the more it loses, the more closely the first copies follow one another; and silence is judged by
    /// its round trip until receipts tell more.
    pub fn set_probed(&mut self, path: PathId, losses: Losses, rtt: Option<Span>) {
        let Some(path) = self.paths.get_mut(&path) else { return };
        path.losses = losses;
        let before = path.rtt;
        // What stood in a queue says nothing of the way.
        path.rtt = match rtt {
            Some(rtt) if before.is_zero() => rtt,
            Some(rtt) => before.min(rtt),
            None => before,
        };
        if path.rtt >= FAR && before < FAR && self.answers.best().is_zero() {
            self.lines.get_mut(&path.info.uplink).map(Line::careful);
        }
    }

    /// Repeats what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        self.refill(now);
        while let Some((due, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, key));
            self.repeat(now, key);
        }
        while let Some(&(class, sent, key)) = self.starved.first() {
            let Some(path) = self.turn(key, Purpose::Repeat) else { break };
            self.starved.remove(&(class, sent, key));
            self.copy(now, key, path);
        }
        self.fill(now);
        if self.deserted_at.is_some_and(|at| at <= now) {
            self.deserted_at = None;
            (self.deserted, self.deserted_news) = (true, true);
        }
        if self.race_at.is_some_and(|at| at <= now) {
            self.race = true;
            self.race_at = Some(now + self.race_gap);
            self.race_gap = (self.race_gap * 2).min(LONGEST_GAP);
        }
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(due, _)| *due);
        let starved = self.starved.first().and_then(|(_, _, key)| self.items.get(key));
        let budget = starved.and_then(|item| self.budget_at(item));
        let waiting = self.waiting.first().filter(|(class, ..)| urgent(*class));
        let first = waiting.and_then(|_| self.lines.values().map(|line| line.ready_at(Purpose::First, 0)).min());
        [due, budget, first, self.race_at, self.deserted_at].into_iter().flatten().min()
    }

    /// The next copy to send.
    pub fn poll_output(&mut self) -> Option<Transmit<K>> {
        self.out.pop_front()
    }

    /// Whether fresh sessions are to be dialled beside the silent ones. Says so once.
    pub fn poll_race(&mut self) -> bool {
        std::mem::take(&mut self.race)
    }

    /// Whether nothing comes back from anybody who is dialled, and others are to be. Says so once.
    pub fn poll_deserted(&mut self) -> bool {
        std::mem::take(&mut self.deserted_news)
    }

    /// Whether `key` is carried.
    #[must_use]
    pub fn carries(&self, key: &K) -> bool {
        self.items.contains_key(key)
    }

    /// How many items of each class are carried, highest first.
    #[must_use]
    pub fn pending(&self) -> [usize; Class::ALL.len()] {
        self.carried
    }

    /// Whether any path leads to the receiver.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Whether anything has come on any of the paths that there are.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        self.paths.values().any(|path| path.answered)
    }

    /// Holds the courier against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let (mut carried, mut flying) = ([0; Class::ALL.len()], [0; Class::ALL.len()]);
        for item in self.items.values() {
            carried[item.class as usize] += 1;
            flying[item.class as usize] += usize::from(item.flight.is_some());
        }
        if carried != self.carried || flying != self.flying {
            return Err(format!(
                "{carried:?} items of each class, {flying:?} of them under way, but counted otherwise"
            ));
        }
        let lower = Class::ALL.into_iter().filter(|class| !urgent(*class));
        if let Some(class) = lower.into_iter().find(|class| flying[*class as usize] > limits::COURIER_WINDOW) {
            return Err(format!("{} items of {class} are under way at once", flying[class as usize]));
        }
        let under_way: usize = flying.iter().sum();
        let listed = self.due.len() + self.starved.len();
        if under_way != listed || self.items.len() != listed + self.waiting.len() {
            return Err("an item is neither waiting nor under way, or both".to_owned());
        }
        if self.paths.is_empty() && (listed > 0 || self.race_at.is_some()) {
            return Err("items are under way without a path".to_owned());
        }
        if self.lines.keys().any(|line| !self.paths.values().any(|path| path.info.uplink == *line)) {
            return Err("a line's budget outlives its paths".to_owned());
        }
        match self.waiting.first() {
            Some((class, ..)) if self.may_fly(*class) && self.has_room(*class) => {
                Err(format!("an item of {class} waits though there is a path and room"))
            }
            _ => Ok(()),
        }
    }
}

fn may_carry(info: PathInfo, class: Class) -> bool {
    urgent(class) || info.cost == Cost::Free
}

#[cfg(test)]
mod tests;
