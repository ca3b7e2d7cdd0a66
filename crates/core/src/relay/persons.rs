//! A recognition system that tells a thousand times a second: what it says of one person is one event each [`limits::PERSON_APART`], and of all of
//! them one a second beyond a first few.
//!
//! What is not an event of its own joins the person's last one, and the surest of it is told with the count of all, when it is that person's
//! turn. So nobody is passed over, and no flood fills the outbox or the line.
//!
//! Invariant: every warning that joined is in the count of exactly one later event. What is counted but not told yet is in memory only.

use std::collections::BTreeMap;

use crate::event::taxonomy::permille;
use crate::id::EventId;
use crate::limits;
use crate::relay::raise::Press;
use crate::time::Timestamp;

/// The warnings of one school, of at most [`limits::PERSONS_WATCHED`] people: whoever was quiet longest is forgotten first.
#[derive(Debug, Default)]
pub(super) struct Persons {
    known: BTreeMap<String, Seen>,
    /// What is held of people for whom there was no event yet.
    others: Option<Held>,
    /// Events that were raised beyond the rate, and when that was.
    raised: u32,
    since: Timestamp,
    last: Option<EventId>,
    /// There was no room; until when it is not tried again.
    full_until: Timestamp,
}

#[derive(Debug)]
struct Seen {
    last: EventId,
    at: Timestamp,
    held: Option<Held>,
}

/// Warnings that joined: the surest of them, and how many they are.
#[derive(Debug)]
struct Held {
    press: Press,
    count: u32,
}

fn score(press: &Press) -> u16 {
    press.details.get("score").and_then(permille).unwrap_or(0)
}

fn hold(held: &mut Option<Held>, press: &Press, count: u32) {
    match held {
        Some(held) => {
            held.count = held.count.saturating_add(count);
            if score(press) > score(&held.press) {
                held.press = press.clone();
            }
        }
        None => *held = Some(Held { press: press.clone(), count }),
    }
}

impl Persons {
    /// A warning: the event that it joins, unless it is to be one of its own, of which [`Persons::raised`] is told.
    pub(super) fn seen(&mut self, now: Timestamp, press: &Press) -> Option<EventId> {
        let may = self.may_raise(now);
        match press.details.get("person").and_then(|person| self.known.get_mut(person)) {
            Some(seen) if !may || now.since(seen.at) < limits::PERSON_APART => {
                hold(&mut seen.held, press, 1);
                Some(seen.last)
            }
            None if !may => {
                hold(&mut self.others, press, 1);
                self.last
            }
            _ => None,
        }
    }

    /// A warning became the event `id`.
    pub(super) fn raised(&mut self, now: Timestamp, press: &Press, id: EventId) {
        self.raised = self.raised.saturating_add(1);
        self.last = Some(id);
        let person = press.details.get("person").unwrap_or_default().to_owned();
        if !self.known.contains_key(&person) && self.known.len() >= limits::PERSONS_WATCHED {
            let quietest = self.known.iter().min_by_key(|(_, seen)| seen.at).map(|(person, _)| person.clone());
            if let Some(Held { press, count }) = quietest.and_then(|person| self.known.remove(&person)?.held) {
                hold(&mut self.others, &press, count);
            }
        }
        let seen = self.known.entry(person).or_insert(Seen { last: id, at: now, held: None });
        (seen.last, seen.at) = (id, now);
    }

    /// A warning with the count of those that it stands for, whose turn it is. The caller raises it and says so by [`Persons::raised`], or
    /// gives it back by [`Persons::not_raised`].
    pub(super) fn due(&mut self, now: Timestamp) -> Option<(Press, u32)> {
        if !self.may_raise(now) || now < self.full_until {
            return None;
        }
        let turn = |seen: &&mut Seen| seen.held.is_some() && now.since(seen.at) >= limits::PERSON_APART;
        let held = self.known.values_mut().filter(turn).min_by_key(|seen| seen.at).and_then(|seen| seen.held.take());
        let Held { press, count } = held.or_else(|| self.others.take())?;
        Some((press, count))
    }

    /// There was no room for what was due.
    pub(super) fn not_raised(&mut self, now: Timestamp, press: &Press, count: u32) {
        self.full_until = now + limits::PERSON_EVERY;
        let seen = press.details.get("person").and_then(|person| self.known.get_mut(person));
        hold(seen.map_or(&mut self.others, |seen| &mut seen.held), press, count);
    }

    /// When [`Persons::due`] may have something.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let turns = self.known.values().filter(|seen| seen.held.is_some()).map(|seen| seen.at + limits::PERSON_APART);
        let first = turns.chain(self.others.as_ref().map(|_| Timestamp(0))).min()?;
        let free = if self.raised < limits::PERSON_BURST { Timestamp(0) } else { self.since + limits::PERSON_EVERY };
        Some(first.max(free).max(self.full_until))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.known.len() > limits::PERSONS_WATCHED {
            return Err(format!("{} people are watched", self.known.len()));
        }
        if self.raised > limits::PERSON_BURST {
            return Err(format!("{} person warnings were raised where {} may be", self.raised, limits::PERSON_BURST));
        }
        Ok(())
    }

    /// Whether the rate has room for one more, as time has passed.
    fn may_raise(&mut self, now: Timestamp) -> bool {
        if self.raised == 0 {
            self.since = now;
        }
        while self.raised > 0 && now.since(self.since) >= limits::PERSON_EVERY {
            self.raised -= 1;
            self.since = if self.raised == 0 { now } else { self.since + limits::PERSON_EVERY };
        }
        self.raised < limits::PERSON_BURST
    }
}
