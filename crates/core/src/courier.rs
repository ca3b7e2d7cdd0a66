//! The courier: carries things to one receiver over whatever paths lead there, again and again, until it has a receipt.
//!
//! It is generic over the key of what it carries: a relay's events to its region, a broker's events to one seat, a station's
//! statements to its region. This is its plain form: everything on every path at once, then repeats with growing gaps over one
//! path after another.
//!
//! Invariants:
//! * An item leaves only by [`Courier::settle`]. There is no time-to-live and no silent drop.
//! * A higher class is always sent before a lower one, and P0 waits for no window.
//! * An item below P0 waits only for [`limits::COURIER_WINDOW`] others of its class or of higher ones, never for lower ones.
//! * However many items are under way, there are not more than some 200 repeats a second in the long run.

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
/// The share of time that each item under way has in the longest gap, where there are many: 200 repeats a second in all.
const REPEAT_SPACING: Span = Span::from_millis(5);
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
    /// Items carried, and those of them under way, by class.
    carried: [usize; Class::ALL.len()],
    flying: [usize; Class::ALL.len()],
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
            carried: [0; Class::ALL.len()],
            flying: [0; Class::ALL.len()],
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
        self.carried[class as usize] += 1;
        self.items.insert(key, item);
        self.fill(now);
    }

    /// The receipt for `key` has come: it is carried no longer. False if it was not carried.
    pub fn settle(&mut self, now: Timestamp, key: &K) -> bool {
        let Some(item) = self.items.remove(key) else { return false };
        self.waiting.remove(&(item.class, item.order, *key));
        self.carried[item.class as usize] -= 1;
        if let Some(flight) = item.flight {
            self.due.remove(&(flight.due, *key));
            self.flying[item.class as usize] -= 1;
        }
        self.fill(now);
        true
    }

    /// A path to the receiver is there: everything under way that belongs on it goes out on it too, highest class first. What
    /// waited because there was no path goes out on all of them.
    pub fn path_up(&mut self, now: Timestamp, path: PathId, lane: Lane) {
        self.paths.insert(path, lane);
        let mut flying: Vec<(Class, u64, K, u32)> = Vec::new();
        for (_, key) in &self.due {
            if let Some(Item { class, order, lane: of, flight: Some(flight) }) = self.items.get(key)
                && *of == lane
            {
                flying.push((*class, *order, *key, flight.attempt));
            }
        }
        flying.sort_unstable_by_key(|(class, order, ..)| (*class, *order));
        self.out.extend(flying.into_iter().map(|(class, _, key, attempt)| Transmit { key, path, class, attempt }));
        self.fill(now);
    }

    /// A path is gone. What went by the last one of its lane goes out on what is left at once; without any, everything waits.
    pub fn path_down(&mut self, now: Timestamp, path: PathId) {
        let Some(lane) = self.paths.remove(&path) else { return };
        if self.paths.is_empty() {
            self.ground(|_| true);
        } else if !self.paths.values().any(|other| *other == lane) {
            self.ground(|item| item.lane == lane);
            self.fill(now);
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
        self.carried
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
        if let Some(class) =
            Class::ALL.into_iter().skip(1).find(|class| flying[*class as usize] > limits::COURIER_WINDOW)
        {
            return Err(format!("{} items of {class} are under way at once", flying[class as usize]));
        }
        let under_way: usize = flying.iter().sum();
        if under_way != self.due.len() || self.items.len() != self.due.len() + self.waiting.len() {
            return Err("an item is neither waiting nor under way, or both".to_owned());
        }
        if self.paths.is_empty() && !self.due.is_empty() {
            return Err("items are under way without a path".to_owned());
        }
        match self.waiting.first() {
            Some((class, ..)) if !self.paths.is_empty() && self.has_room(*class) => {
                Err(format!("an item of {class} waits though there is a path and room"))
            }
            _ => Ok(()),
        }
    }

    fn fill(&mut self, now: Timestamp) {
        while let Some(&(class, order, key)) = self.waiting.first() {
            // What is behind in the queue has no more room than what is before it.
            if self.paths.is_empty() || !self.has_room(class) {
                return;
            }
            self.waiting.remove(&(class, order, key));
            self.flying[class as usize] += 1;
            self.transmit(now, key, 0);
        }
    }

    fn has_room(&self, class: Class) -> bool {
        let ahead: usize = self.flying[1..=(class as usize).max(1)].iter().sum();
        class == Class::P0 || ahead < limits::COURIER_WINDOW
    }

    fn repeat(&mut self, now: Timestamp, key: K) {
        let flight = self.items.get(&key).and_then(|item| item.flight);
        self.transmit(now, key, flight.map_or(0, |flight| flight.attempt.saturating_add(1)));
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
            gap = gap * 3 / 2;
            if gap >= LONGEST_GAP {
                let many = u32::try_from(self.due.len()).unwrap_or(u32::MAX);
                gap = LONGEST_GAP.max(REPEAT_SPACING * many);
                break;
            }
        }
        self.rng.jitter(gap, JITTER_PERCENT)
    }

    /// Takes items that are under way back into waiting.
    fn ground(&mut self, which: impl Fn(&Item) -> bool) {
        for (due, key) in std::mem::take(&mut self.due) {
            match self.items.get_mut(&key) {
                Some(item) if which(item) => {
                    item.flight = None;
                    self.flying[item.class as usize] -= 1;
                    self.waiting.insert((item.class, item.order, key));
                }
                _ => drop(self.due.insert((due, key))),
            }
        }
    }
}

#[cfg(test)]
mod tests;
