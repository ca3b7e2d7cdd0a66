//! Tests and drills that are over: their cases are closed by themselves.
//!
//! The leader follows the open cases of what is not meant, by the clock on the wall, and proposes their end; the record decides, and closes each once.
//! A new leader begins from what its record holds.
//!
//! Invariant: at most [`limits::ENDINGS_UNDER_WAY`] are under way to the record at once; a drill of a whole province is closed a window at a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::machine::Broker;
use crate::broker::port::{Output, Report};
use crate::event::Mode;
use crate::id::EventId;
use crate::limits;
use crate::receipt::Receipt;
use crate::record::{Command, Entry};
use crate::time::{Now, Span, Timestamp, WallTime};

/// How soon what was proposed, or could not be, is looked at again.
const AGAIN_AFTER: Span = Span::from_secs(2);
/// How often, at the least, the clock on the wall is looked at: it may have been set.
const LOOK_EVERY: Span = Span::from_secs(60);

/// The open cases of tests and drills.
#[derive(Debug, Default)]
pub(super) struct Endings {
    of: BTreeMap<EventId, Timestamp>,
    due: BTreeSet<(Timestamp, EventId)>,
    /// Those whose end is under way to the record.
    asked: BTreeSet<EventId>,
}

impl Endings {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    fn set(&mut self, id: EventId, at: Timestamp) {
        if let Some(old) = self.of.insert(id, at) {
            self.due.remove(&(old, id));
        }
        self.due.insert((at, id));
    }

    fn remove(&mut self, id: &EventId) {
        self.asked.remove(id);
        if let Some(at) = self.of.remove(id) {
            self.due.remove(&(at, *id));
        }
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Whether one more may be proposed.
    fn ask(&mut self, id: EventId) -> bool {
        let room = self.asked.len() < limits::ENDINGS_UNDER_WAY || self.asked.contains(&id);
        if room {
            self.asked.insert(id);
        }
        room
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.of.len() != self.due.len() || self.asked.iter().any(|id| !self.of.contains_key(id)) {
            return Err("the timers of cases that close by themselves are not those of the cases".to_owned());
        }
        Ok(())
    }
}

impl Broker {
    /// Follows a case from now on, if it is one that closes by itself and this node leads.
    pub(super) fn mind(&mut self, now: Now, id: EventId) {
        if !self.leads {
            return;
        }
        match self.record.get(&id).and_then(|entry| self.over_at(entry)) {
            Some(over) => {
                let span = Span::from_micros(u64::try_from(over - now.wall).unwrap_or(0));
                self.endings.set(id, now.mono + span.min(LOOK_EVERY));
            }
            None => self.endings.remove(&id),
        }
    }

    /// This node leads now, or no longer, or has another record; or a drill has ended, or another plan says who was in it.
    pub(super) fn mind_all(&mut self, now: Now) {
        if !self.leads {
            return self.endings.clear();
        }
        let rehearsed = |entry: &&std::sync::Arc<Entry>| entry.admission.sealed.event.mode != Mode::Live;
        let ids: Vec<EventId> =
            self.record.entries().filter(rehearsed).map(|entry| entry.admission.sealed.event.id).collect();
        self.endings.clear();
        ids.into_iter().for_each(|id| self.mind(now, id));
    }

    /// When the case of an entry is to be closed by itself; `None` if it never is.
    fn over_at(&self, entry: &Entry) -> Option<WallTime> {
        let (admission, test_case) = (&entry.admission, self.record.limits().test_case);
        if !entry.ends_by_itself(WallTime(i64::MAX), test_case) {
            return None;
        }
        let later = |at: WallTime, span: Span| {
            WallTime(at.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
        };
        Some(match admission.sealed.event.mode {
            Mode::Live => return None,
            Mode::Test => later(admission.at, test_case),
            Mode::Drill => {
                let longest = || later(admission.at, Span::from_secs(u64::from(limits::PLAN_DRILL_MINUTES) * 60));
                let end = self.drill_end(admission.sealed.event.school(), admission.at).unwrap_or_else(longest);
                // What came at the last moment is there to be seen, too.
                later(end.max(admission.at), limits::DRILL_GRACE)
            }
        })
    }

    /// A case is none that closes by itself any longer.
    pub(super) fn endings_forget(&mut self, id: &EventId) {
        self.endings.remove(id);
    }

    /// Proposes the end of what is over.
    pub(super) fn endings_due(&mut self, now: Now) {
        while let Some((_, id)) = self.endings.due.first().copied().filter(|(at, _)| *at <= now.mono) {
            let over = self.record.get(&id).and_then(|entry| self.over_at(entry));
            match over {
                Some(over) if over <= now.wall => {
                    let proposes = self.leads && self.condition.is_none() && self.endings.ask(id);
                    self.endings.set(id, now.mono + AGAIN_AFTER);
                    if proposes {
                        let (by, at) = (self.me.clone(), now.wall);
                        self.out.push_back(Output::Propose(Command::EndCase { event: id, by, at }));
                    }
                }
                Some(_) => self.mind(now, id),
                None => self.endings.remove(&id),
            }
        }
    }

    /// A case is closed by itself: whoever has the alarm is told, and its school.
    pub(super) fn ended(&mut self, now: Now, entry: &Entry, receipt: Option<&Receipt>, replayed: bool) {
        let id = entry.admission.sealed.event.id;
        self.endings.remove(&id);
        self.unfollow(&id);
        if !replayed {
            self.report(Report::Ended(entry.admission.sealed.clone()));
        }
        if let Some(receipt) = receipt {
            self.tell_noted(now, entry, receipt);
            self.confirm_below(id, receipt.stage);
        }
        self.track(now, id);
    }
}
