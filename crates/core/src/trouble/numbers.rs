//! The numbers of relays' events, and which of them did not come.
//!
//! Copies come in any order, and what was caught up behind an outage comes by class and not by number: a number is missing only when for
//! [`limits::GAP_AFTER`] nothing has come that fills a hole of its relay. Each node follows what enters the record, so all see the same; one that has
//! just started knows of no hole from before, and says so ([`Numbers::knows`]).
//!
//! Invariant: of each relay at most [`limits::NUMBERS_EPOCHS`] epochs with at most [`limits::NUMBERS_HOLES`] holes each are remembered.

use std::collections::{BTreeMap, VecDeque};

use crate::id::RelayId;
use crate::limits;
use crate::time::{Now, Span, Timestamp, WallTime};

/// Numbers of one epoch that did not come: the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hole {
    from: u64,
    to: u64,
}

#[derive(Debug)]
struct Epoch {
    number: u64,
    /// From which number on it is known what came: of those below it nobody here can tell.
    from: u64,
    highest: u64,
    holes: Vec<Hole>,
}

#[derive(Debug)]
struct Track {
    /// Oldest first.
    epochs: VecDeque<Epoch>,
    /// When a hole was made or filled last.
    moved: Timestamp,
    /// When a number came a second time, with another event, and which: epoch and number.
    reused: Option<(Timestamp, u64, u64)>,
}

/// What is missing of a relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The relay.
    pub relay: RelayId,
    /// The boot epoch.
    pub epoch: u64,
    /// The first and the last number of each stretch that is missing, at most [`limits::NUMBERS_HOLES`].
    pub missing: Vec<(u64, u64)>,
}

/// The numbers that came.
#[derive(Debug)]
pub struct Numbers {
    relays: BTreeMap<RelayId, Track>,
    began: Timestamp,
}

impl Numbers {
    /// None yet.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { relays: BTreeMap::new(), began: now }
    }

    /// Whether holes that were told of at `since` are known here, or so old that nobody waits for them.
    #[must_use]
    pub fn knows(&self, now: Now, since: WallTime) -> bool {
        let age = Span::from_micros(u64::try_from(now.wall - since).unwrap_or(0));
        age >= limits::GAP_KEPT || now.mono.since(self.began) >= age + limits::GAP_AFTER
    }

    /// An event with this number was in the record before: nothing is known of those before it.
    pub fn recall(&mut self, relay: &RelayId, epoch: u64, seq: u64) {
        let Some(track) = self.track(relay) else { return };
        match track.epochs.iter_mut().find(|known| known.number == epoch) {
            Some(known) => {
                known.highest = known.highest.max(seq);
                known.from = known.highest + 1;
            }
            None => track.begin(epoch, seq + 1, seq, Vec::new()),
        }
    }

    /// A new event with this number has come into the record.
    pub fn came(&mut self, now: Timestamp, relay: &RelayId, epoch: u64, seq: u64) {
        let news = !self.relays.contains_key(relay);
        let Some(track) = self.track(relay) else { return };
        let latest = track.epochs.back().map_or(0, |known| known.number);
        if let Some(known) = track.epochs.iter_mut().find(|known| known.number == epoch) {
            match known.take(seq) {
                Taken::Next => {}
                Taken::Moved => track.moved = now,
                Taken::Twice => track.reused = Some((now, epoch, seq)),
            }
        } else if news || epoch < latest {
            // The first that is heard of it; or from before what is remembered.
            track.begin(epoch, seq, seq, Vec::new());
        } else {
            let holes = if seq > 1 { vec![Hole { from: 1, to: seq - 1 }] } else { Vec::new() };
            track.moved = now;
            track.begin(epoch, 1, seq, holes);
        }
    }

    /// What has been missing for so long that it will hardly come.
    pub fn gaps(&self, now: Timestamp) -> impl Iterator<Item = Gap> {
        self.relays.iter().filter_map(move |(relay, track)| {
            let waited = now.since(track.moved);
            if !(limits::GAP_AFTER..limits::GAP_KEPT).contains(&waited) {
                return None;
            }
            let epoch = track.epochs.iter().rev().find(|epoch| !epoch.holes.is_empty())?;
            let missing = epoch.holes.iter().map(|hole| (hole.from, hole.to)).collect();
            Some(Gap { relay: relay.clone(), epoch: epoch.number, missing })
        })
    }

    /// Whether a relay has a hole that is neither filled nor given up.
    #[must_use]
    pub fn has_hole(&self, now: Timestamp, relay: &RelayId) -> bool {
        self.relays.get(relay).is_some_and(|track| {
            now.since(track.moved) < limits::GAP_KEPT && track.epochs.iter().any(|epoch| !epoch.holes.is_empty())
        })
    }

    /// The relays that gave a number to two events lately, with epoch and number: they have forgotten what they had counted.
    pub fn reused(&self, now: Timestamp) -> impl Iterator<Item = (&RelayId, u64, u64)> {
        self.relays.iter().filter_map(move |(relay, track)| {
            let (at, epoch, seq) = track.reused?;
            (now.since(at) < limits::STORE_LOSS_TOLD).then_some((relay, epoch, seq))
        })
    }

    fn track(&mut self, relay: &RelayId) -> Option<&mut Track> {
        if !self.relays.contains_key(relay) {
            if self.relays.len() >= limits::BROKER_SESSIONS {
                return None;
            }
            let track = Track { epochs: VecDeque::new(), moved: Timestamp::default(), reused: None };
            self.relays.insert(relay.clone(), track);
        }
        self.relays.get_mut(relay)
    }
}

impl Track {
    fn begin(&mut self, number: u64, from: u64, highest: u64, holes: Vec<Hole>) {
        let at = self.epochs.partition_point(|epoch| epoch.number < number);
        self.epochs.insert(at, Epoch { number, from, highest, holes });
        if self.epochs.len() > limits::NUMBERS_EPOCHS {
            self.epochs.pop_front();
        }
    }
}

enum Taken {
    Next,
    Moved,
    Twice,
}

impl Epoch {
    fn take(&mut self, seq: u64) -> Taken {
        if seq > self.highest {
            let next = seq == self.highest + 1;
            if !next {
                self.holes.push(Hole { from: self.highest + 1, to: seq - 1 });
                self.bound();
            }
            self.highest = seq;
            return if next { Taken::Next } else { Taken::Moved };
        }
        if seq < self.from {
            return Taken::Next;
        }
        let Some(at) = self.holes.iter().position(|hole| (hole.from..=hole.to).contains(&seq)) else {
            return Taken::Twice;
        };
        let Hole { from, to } = self.holes.remove(at);
        let parts = [(from, seq.saturating_sub(1)), (seq + 1, to)];
        for (from, to) in parts.into_iter().rev().filter(|(from, to)| from <= to && *from > 0) {
            self.holes.insert(at, Hole { from, to });
        }
        self.bound();
        Taken::Moved
    }

    /// Too many holes become fewer, wider ones: a number in it that came is then taken for missing, and its repeat never comes, which is why the two
    /// that are nearest to each other are joined.
    fn bound(&mut self) {
        while self.holes.len() > limits::NUMBERS_HOLES {
            let nearest = (1..self.holes.len()).min_by_key(|at| self.holes[*at].from - self.holes[*at - 1].to);
            let Some(at) = nearest else { return };
            let second = self.holes.remove(at);
            self.holes[at - 1].to = second.to;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::relay::tests_support::relay_id;

    fn late(at: u64) -> Timestamp {
        Timestamp(0) + Span::from_secs(at)
    }

    #[test]
    fn a_number_that_does_not_come_is_missing_after_a_while_and_not_when_it_has_come() {
        let mut numbers = Numbers::new(late(0));
        numbers.came(late(0), &relay_id(), 3, 7);
        numbers.came(late(1), &relay_id(), 3, 10);
        assert_eq!(numbers.gaps(late(200)).count(), 0);
        let gap = numbers.gaps(late(301)).next().unwrap();
        assert_eq!((gap.epoch, gap.missing), (3, vec![(8, 9)]));
        numbers.came(late(310), &relay_id(), 3, 9);
        assert_eq!(numbers.gaps(late(400)).count(), 0, "something came: the rest may yet");
        assert_eq!(numbers.gaps(late(700)).next().unwrap().missing, [(8, 8)]);
        numbers.came(late(710), &relay_id(), 3, 8);
        assert!(!numbers.has_hole(late(711), &relay_id()));
        // A new life begins at one.
        numbers.came(late(720), &relay_id(), 4, 3);
        assert_eq!(numbers.gaps(late(1_100)).next().unwrap().missing, [(1, 2)]);
        assert_eq!(numbers.gaps(late(100_000)).count(), 0, "at last it is given up");
    }

    #[test]
    fn a_number_that_two_events_have_is_a_store_that_forgot() {
        let mut numbers = Numbers::new(late(0));
        (1..=5).for_each(|seq| numbers.came(late(0), &relay_id(), 3, seq));
        assert_eq!(numbers.reused(late(1)).count(), 0);
        numbers.came(late(10), &relay_id(), 3, 4);
        assert_eq!(numbers.reused(late(11)).collect::<Vec<_>>(), [(&relay_id(), 3, 4)]);
        assert_eq!(numbers.reused(late(100_000)).count(), 0);
    }

    #[test]
    fn what_comes_late_from_before_the_first_that_was_heard_is_no_number_used_twice() {
        let mut numbers = Numbers::new(late(0));
        [3, 1, 2, 4].into_iter().for_each(|seq| numbers.came(late(0), &relay_id(), 3, seq));
        assert_eq!((numbers.reused(late(1)).count(), numbers.has_hole(late(1), &relay_id())), (0, false));
        // After a start, what the record has says nothing of what is still on its way.
        let mut numbers = Numbers::new(late(0));
        numbers.recall(&relay_id(), 3, 5);
        [4, 6, 7].into_iter().for_each(|seq| numbers.came(late(0), &relay_id(), 3, seq));
        assert_eq!(numbers.reused(late(1)).count(), 0);
        numbers.came(late(2), &relay_id(), 3, 6);
        assert_eq!(numbers.reused(late(3)).count(), 1, "but this one was seen here");
    }

    proptest! {
        /// In whatever order numbers come, what is missing is what did not come, as long as the holes are few; and there are never too many.
        #[test]
        fn what_is_missing_is_what_did_not_come(order in prop::collection::vec(1..24_u64, 1..60)) {
            let mut numbers = Numbers::new(late(0));
            numbers.recall(&relay_id(), 1, 0);
            let mut came = BTreeSet::new();
            for seq in order {
                if came.insert(seq) {
                    numbers.came(late(1), &relay_id(), 1, seq);
                }
                let last = *came.last().unwrap();
                let expected: BTreeSet<u64> = (1..last).filter(|seq| !came.contains(seq)).collect();
                let track = &numbers.relays[&relay_id()].epochs[0];
                let told: BTreeSet<u64> = track.holes.iter().flat_map(|hole| hole.from..=hole.to).collect();
                prop_assert!(track.holes.len() <= limits::NUMBERS_HOLES);
                prop_assert!(told.is_superset(&expected));
                prop_assert!(track.holes.windows(2).all(|pair| pair[0].to < pair[1].from));
                if track.holes.len() < limits::NUMBERS_HOLES {
                    prop_assert!(told.len() <= expected.len() + came.len());
                }
            }
        }
    }
}
