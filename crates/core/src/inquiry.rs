//! Asking how far events have come, for those whose answer may have been missed: round after round, a few at a time.
//!
//! Invariant: while anything is asked about, there is a next time to ask; each is asked about within a bounded number of rounds,
//! and a round is one message, however many events are open.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::id::{EventId, PathId};
use crate::limits;
use crate::time::{Span, Timestamp};

/// How often one message of questions is sent.
const INQUIRE_EVERY: Span = Span::from_secs(10);

/// The events that are asked about, by a number that rises with their age here.
#[derive(Debug, Default)]
pub(crate) struct Inquiry {
    open: BTreeMap<u64, EventId>,
    /// The last number asked about: the next round goes on below it, and starts anew with the newest.
    asked_down_to: Option<u64>,
    rounds: usize,
    at: Option<Timestamp>,
}

impl Inquiry {
    /// Asks about this event from now on. Nothing changes if it is asked about already.
    pub(crate) fn add(&mut self, now: Timestamp, number: u64, event: EventId) {
        self.open.insert(number, event);
        self.at = self.at.or(Some(now + INQUIRE_EVERY));
    }

    /// Asks about it no longer.
    pub(crate) fn remove(&mut self, number: u64) {
        self.open.remove(&number);
        if self.open.is_empty() {
            self.at = None;
        }
    }

    pub(crate) fn contains(&self, number: u64) -> bool {
        self.open.contains_key(&number)
    }

    pub(crate) fn numbers(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.open.keys().copied()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.at
    }

    /// The newest, for a peer that has just come.
    pub(crate) fn newest(&self) -> Vec<EventId> {
        self.open.values().rev().take(limits::LIST_ITEMS).copied().collect()
    }

    /// If it is time: what to ask next, and which of `paths` to ask on.
    pub(crate) fn due(&mut self, now: Timestamp, paths: &[PathId]) -> Option<(PathId, Vec<EventId>)> {
        if self.at.is_none_or(|at| at > now) {
            return None;
        }
        self.at = Some(now + INQUIRE_EVERY);
        let path = *paths.get(self.rounds.checked_rem(paths.len())?)?;
        self.rounds = self.rounds.wrapping_add(1);
        let below = self.asked_down_to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut round: Vec<_> = self.open.range((Bound::Unbounded, below)).rev().take(limits::LIST_ITEMS).collect();
        if round.is_empty() {
            round = self.open.iter().rev().take(limits::LIST_ITEMS).collect();
        }
        self.asked_down_to = round.last().map(|(number, _)| **number);
        Some((path, round.into_iter().map(|(_, id)| *id).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_open_event_is_asked_about_though_there_are_more_than_fit_a_message() {
        let mut inquiry = Inquiry::default();
        let total = limits::LIST_ITEMS as u64 * 2 + 10;
        let id = |number: u64| EventId::from_bytes(u128::from(number).to_be_bytes());
        (1..=total).for_each(|number| inquiry.add(Timestamp(0), number, id(number)));
        let mut asked = std::collections::BTreeSet::new();
        let mut paths = std::collections::BTreeSet::new();
        for _ in 0..3 {
            let now = inquiry.poll_timeout().unwrap();
            let (path, ids) = inquiry.due(now, &[PathId(1), PathId(2)]).unwrap();
            assert!(ids.len() <= limits::LIST_ITEMS);
            asked.extend(ids);
            paths.insert(path);
            assert!(inquiry.poll_timeout() > Some(now), "never twice at once");
        }
        assert_eq!((asked.len() as u64, paths.len()), (total, 2));
        assert_eq!(inquiry.due(Timestamp(40_000_000), &[PathId(1)]).unwrap().1[0], id(total), "and round again");
        (1..=total).for_each(|number| inquiry.remove(number));
        assert_eq!(inquiry.poll_timeout(), None);
    }

    #[test]
    fn without_a_path_it_waits_and_does_not_spin() {
        let mut inquiry = Inquiry::default();
        inquiry.add(Timestamp(0), 1, EventId::from_bytes([1; 16]));
        assert!(inquiry.due(Timestamp(10_000_000), &[]).is_none());
        assert_eq!(inquiry.poll_timeout(), Some(Timestamp(20_000_000)));
    }
}
