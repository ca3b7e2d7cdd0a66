//! The courier: carries things to one receiver over whatever paths lead there, again and again, until it has a receipt.
//!
//! It is generic over the key of what it carries: a relay's events to its region, a broker's events to one seat, a station's
//! statements to its region. This is its plain form: everything on every path at once, then repeats with growing gaps over one
//! path after another.
//!
//! Invariants:
//! * An item leaves only by [`Courier::settle`]. There is no time-to-live and no silent drop.
//! * A higher class is always sent before a lower one, and P0 waits for no window.
//! * At most [`limits::COURIER_WINDOW`] items below P0 are under way at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::event::Class;
use crate::id::PathId;
use crate::lane::Lane;
use crate::limits;
use crate::rng::Rng;
use crate::time::{Span, Timestamp};

/// The gap before the first repeat. Paths are reliable while they live, so a repeat is for what a path swallowed.
const FIRST_GAP: Span = Span::from_millis(500);
/// The longest gap between repeats.
const LONGEST_GAP: Span = Span::from_secs(5);
/// How far a gap is moved at random, so that many senders do not repeat in step.
const JITTER_PERCENT: u32 = 20;

/// An order to put one copy of an item on one path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transmit<K> {
    /// What.
    pub key: K,
    /// Where.
    pub path: PathId,
    /// Its class.
    pub class: Class,
    /// 0 for the first time.
    pub attempt: u32,
}

#[derive(Debug, Clone)]
struct Item {
    class: Class,
    order: u64,
    lane: Lane,
    flight: Option<Flight>,
}

#[derive(Debug, Clone, Copy)]
struct Flight {
    due: Timestamp,
    attempt: u32,
}

/// Carries items of key `K` to one receiver.
#[derive(Debug, Clone)]
pub struct Courier<K> {
    items: BTreeMap<K, Item>,
    waiting: BTreeSet<(Class, u64, K)>,
    due: BTreeSet<(Timestamp, K)>,
    paths: BTreeMap<PathId, Lane>,
    flying_below_p0: usize,
    next_order: u64,
    rng: Rng,
    out: VecDeque<Transmit<K>>,
}

impl<K: Ord + Copy> Courier<K> {
    /// A courier with nothing to carry and no path.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            items: BTreeMap::new(),
            waiting: BTreeSet::new(),
            due: BTreeSet::new(),
            paths: BTreeMap::new(),
            flying_below_p0: 0,
            next_order: 0,
            rng: Rng::new(seed),
            out: VecDeque::new(),
        }
    }

    /// Takes an item to carry. `backlog` is what waited while its receiver was away. Offering it again changes nothing.
    pub fn offer(&mut self, now: Timestamp, key: K, class: Class, backlog: bool) {
        if self.items.contains_key(&key) {
            return;
        }
        self.next_order += 1;
        let item = Item { class, order: self.next_order, lane: Lane::of(class, backlog), flight: None };
        self.waiting.insert((class, item.order, key));
        self.items.insert(key, item);
        self.fill(now);
    }

    /// The receipt for `key` has come: it is carried no longer. False if it was not carried.
    pub fn settle(&mut self, now: Timestamp, key: &K) -> bool {
        let Some(item) = self.items.remove(key) else { return false };
        self.waiting.remove(&(item.class, item.order, *key));
        if let Some(flight) = item.flight {
            self.due.remove(&(flight.due, *key));
            self.flying_below_p0 -= usize::from(item.class != Class::P0);
        }
        self.fill(now);
        true
    }

    /// A path to the receiver is there: everything pending that belongs on it goes out again, highest class first.
    pub fn path_up(&mut self, now: Timestamp, path: PathId, lane: Lane) {
        self.paths.insert(path, lane);
        self.ground(|item| item.lane == lane);
        self.fill(now);
    }

    /// A path is gone. With the last one, everything waits.
    pub fn path_down(&mut self, path: PathId) {
        self.paths.remove(&path);
        if self.paths.is_empty() {
            self.ground(|_| true);
        }
    }

    /// Repeats what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some((due, key)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.remove(&(due, key));
            self.repeat(now, key);
        }
    }

    /// When something is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The next copy to send.
    pub fn poll_output(&mut self) -> Option<Transmit<K>> {
        self.out.pop_front()
    }

    /// Whether `key` is carried.
    #[must_use]
    pub fn carries(&self, key: &K) -> bool {
        self.items.contains_key(key)
    }

    /// How many items of each class are carried, highest first.
    #[must_use]
    pub fn pending(&self) -> [usize; Class::ALL.len()] {
        let mut count = [0; Class::ALL.len()];
        self.items.values().for_each(|item| count[item.class as usize] += 1);
        count
    }

    /// Whether any path leads to the receiver.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.paths.is_empty()
    }

    /// Holds the courier against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub fn check(&self) -> Result<(), String> {
        let flying = self.items.values().filter(|item| item.flight.is_some());
        let below = flying.clone().filter(|item| item.class != Class::P0).count();
        if below != self.flying_below_p0 || below > limits::COURIER_WINDOW {
            return Err(format!("{below} items below P0 under way, {} counted", self.flying_below_p0));
        }
        if flying.count() != self.due.len() || self.items.len() != self.due.len() + self.waiting.len() {
            return Err("an item is neither waiting nor under way, or both".to_owned());
        }
        if self.paths.is_empty() && !self.due.is_empty() {
            return Err("items are under way without a path".to_owned());
        }
        let p0_waits = self.waiting.first().is_some_and(|(class, ..)| *class == Class::P0);
        if p0_waits && !self.paths.is_empty() {
            return Err("a P0 item waits though there is a path".to_owned());
        }
        Ok(())
    }

    fn fill(&mut self, now: Timestamp) {
        while let Some(&(class, order, key)) = self.waiting.first() {
            let room = class == Class::P0 || self.flying_below_p0 < limits::COURIER_WINDOW;
            if self.paths.is_empty() || !room {
                return;
            }
            self.waiting.remove(&(class, order, key));
            self.flying_below_p0 += usize::from(class != Class::P0);
            self.transmit(now, key, 0);
        }
    }

    fn repeat(&mut self, now: Timestamp, key: K) {
        let attempt = self.items.get(&key).and_then(|item| item.flight).map_or(0, |flight| flight.attempt + 1);
        self.transmit(now, key, attempt);
    }

    fn transmit(&mut self, now: Timestamp, key: K, attempt: u32) {
        let due = now + self.gap(attempt);
        let Some(item) = self.items.get_mut(&key) else { return };
        item.flight = Some(Flight { due, attempt });
        self.due.insert((due, key));
        let (class, lane) = (item.class, item.lane);
        let mut paths: Vec<PathId> = self.paths.iter().filter(|(_, l)| **l == lane).map(|(path, _)| *path).collect();
        if paths.is_empty() {
            paths = self.paths.keys().copied().collect();
        }
        if attempt > 0 {
            let turn = usize::try_from(attempt).unwrap_or(0) % paths.len().max(1);
            paths = paths.get(turn).copied().into_iter().collect();
        }
        self.out.extend(paths.into_iter().map(|path| Transmit { key, path, class, attempt }));
    }

    fn gap(&mut self, attempt: u32) -> Span {
        let mut gap = FIRST_GAP;
        for _ in 0..attempt.min(16) {
            gap = (gap * 3 / 2).min(LONGEST_GAP);
        }
        self.rng.jitter(gap, JITTER_PERCENT)
    }

    /// Takes items that are under way back into waiting.
    fn ground(&mut self, which: impl Fn(&Item) -> bool) {
        for (due, key) in std::mem::take(&mut self.due) {
            match self.items.get_mut(&key) {
                Some(item) if which(item) => {
                    item.flight = None;
                    self.flying_below_p0 -= usize::from(item.class != Class::P0);
                    self.waiting.insert((item.class, item.order, key));
                }
                _ => drop(self.due.insert((due, key))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
