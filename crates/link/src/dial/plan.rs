//! When a lane is dialled, and which of its sessions is kept. Pure: it is told what happens and when.
//!
//! Invariants:
//!
//! * While no session is proven, a dial is under way or the next one has a time.
//! * In no hurry, one dial is under way at a time. In a hurry [`MOST`] are at the most, begun [`Plan::stagger`] apart, and one
//!   of them has the whole time for a handshake: on a slow line, giving every one up would reach nobody.
//! * The first that is proven ends the others that are not.
//! * A proven session ends for a fresh one only after both have lived for [`BOTH_LIVE`], and only if it has heard nothing meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use huxiao_core::{PathId, Span};

use crate::backoff::{Backoff, PROVEN_AFTER};

/// Dials under way at once, sessions whose handshake is not over among them.
const MOST: usize = 8;
/// Between two dials in a hurry lie two round-trip times, as far as one is known, but at least the first of these and at most the second.
const STAGGER: (Span, Span) = (Span::from_millis(250), Span::from_secs(1));
/// The same where no round trip was ever measured.
const STAGGER_UNKNOWN: Span = Span::from_millis(500);
/// How long a hurried dial may take, unless three round trips are more.
const HURRIED_LIFE: Span = Span::from_secs(3);
/// How long a hurry lasts. Whoever has an alarm waiting says so again before that.
const HURRY_LASTS: Span = Span::from_secs(6);
/// So many times rarer is a dial that nobody waits for and that costs money: in the end once in five minutes. Each that has no answer
/// is some ten packets of 1,200 bytes.
const DEAR: u32 = 60;
/// How long a fresh session and those that it was dialled beside live together.
pub(super) const BOTH_LIVE: Span = Span::from_secs(5);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Begin a dial.
    Dial(Dial),
    /// Drop every dial that is under way.
    GiveUpDials,
    /// End a session.
    Close(PathId, Reason),
}

/// One dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dial {
    /// Its number.
    pub(super) attempt: usize,
    /// How long it may take.
    pub(super) life: Span,
    /// Whether to spend a session ticket on it.
    pub(super) ticket: bool,
    /// Whether it is one beside a session that lives.
    pub(super) race: bool,
}

/// Why a session is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its handshake did not come to an end in time.
    NoAnswer,
    /// Another one's did first.
    Slower,
    /// It heard nothing while a fresh one did.
    Silent,
    /// It is the fresh one, and the one that it was dialled beside is heard again.
    NotNeeded,
}

#[derive(Debug, Clone, Copy)]
struct UnderWay {
    until: Instant,
    patient: bool,
}

#[derive(Debug)]
struct Held {
    path: PathId,
    since: Instant,
    /// While the handshake is under way.
    early: Option<UnderWay>,
    closing: bool,
}

/// The diallings and sessions of one lane.
#[derive(Debug)]
pub(super) struct Plan {
    patience: Span,
    backoff: Backoff,
    /// When the next dial is due if nobody is in a hurry.
    due: Instant,
    /// The same if TCP carries the lane over a metered line meanwhile, and whether it does.
    due_dearly: Instant,
    dearly: bool,
    last: Option<Instant>,
    hurried: Option<Instant>,
    race: bool,
    rtt: Option<Span>,
    next: usize,
    dials: BTreeMap<usize, UnderWay>,
    sessions: Vec<Held>,
    /// Hurried dials since a session was proven.
    hurried_dials: u32,
    /// Whether a session begun with a ticket has come to nothing since.
    early_failed: bool,
    settle: Option<Settle>,
    out: VecDeque<Step>,
}

/// When it is decided which of several proven sessions stays, and what each had heard when the last of them came up.
#[derive(Debug)]
struct Settle {
    at: Instant,
    heard: BTreeMap<PathId, u64>,
}

impl Plan {
    /// Nothing is there yet. A handshake that nobody waits for may take `patience`.
    pub(super) fn new(now: Instant, patience: Span, seed: u64) -> Self {
        Self {
            patience,
            backoff: Backoff::new(seed),
            due: now,
            due_dearly: now,
            dearly: false,
            last: None,
            hurried: None,
            race: false,
            rtt: None,
            next: 0,
            dials: BTreeMap::new(),
            sessions: Vec::new(),
            hurried_dials: 0,
            early_failed: false,
            settle: None,
            out: VecDeque::new(),
        }
    }

    /// An alarm waits.
    pub(super) fn hurry(&mut self, now: Instant) {
        self.hurried = now.checked_add(HURRY_LASTS);
    }

    /// Alarms are under way and nothing comes back.
    pub(super) fn race(&mut self, now: Instant) {
        if self.has_proven() {
            self.race = true;
        } else {
            self.hurry(now);
        }
    }

    /// Whether TCP carries the lane, over a line that is paid for by what goes over it.
    pub(super) fn carried_dearly(&mut self, dearly: bool) {
        self.dearly = dearly;
    }

    /// A dial has led to a session, whose handshake is over or (`early`) is not.
    pub(super) fn established(&mut self, now: Instant, attempt: usize, path: PathId, early: bool) {
        let dial = self.dials.remove(&attempt);
        let known = dial.is_some();
        let under_way = dial.unwrap_or(UnderWay { until: now, patient: false });
        self.sessions.push(Held { path, since: now, early: Some(under_way), closing: false });
        if !known {
            // It was given up, and was done before it heard of that.
            self.close(path, Reason::Slower);
        } else if !early {
            self.proven(now, path);
        }
    }

    /// The handshake of an early session is over.
    pub(super) fn proven(&mut self, now: Instant, path: PathId) {
        let Some(held) = self.sessions.iter_mut().find(|held| held.path == path && !held.closing) else { return };
        held.early = None;
        self.hurried = None;
        self.race = false;
        self.hurried_dials = 0;
        self.early_failed = false;
        if !self.dials.is_empty() {
            self.dials.clear();
            self.out.push_back(Step::GiveUpDials);
        }
        let slower: Vec<_> = self.sessions.iter().filter(|held| held.early.is_some()).map(|held| held.path).collect();
        for path in slower {
            self.close(path, Reason::Slower);
        }
        let beside = self.sessions.iter().filter(|held| held.early.is_none() && !held.closing).count();
        if beside > 1
            && let Some(at) = now.checked_add(BOTH_LIVE)
        {
            self.settle = Some(Settle { at, heard: BTreeMap::new() });
        }
    }

    /// A round-trip time was measured.
    pub(super) fn measured(&mut self, rtt: Option<Span>) {
        self.rtt = rtt.or(self.rtt);
    }

    /// A dial came to nothing.
    pub(super) fn failed(&mut self, now: Instant, attempt: usize) {
        if self.dials.remove(&attempt).is_some() {
            self.rest(now);
        }
    }

    /// A session is over.
    pub(super) fn ended(&mut self, now: Instant, path: PathId) {
        let Some(at) = self.sessions.iter().position(|held| held.path == path) else { return };
        let held = self.sessions.remove(at);
        if held.early.is_some() {
            self.early_failed |= !self.has_proven();
        } else if now.saturating_duration_since(held.since) >= PROVEN_AFTER {
            self.backoff.reset();
        }
        self.rest(now);
    }

    /// What is to be done now. To be asked until it is nothing. `heard` rises with everything that a session hears.
    pub(super) fn poll(&mut self, now: Instant, heard: &dyn Fn(PathId) -> u64) -> Option<Step> {
        if self.out.is_empty() {
            self.expire(now);
            self.choose(now, heard);
            self.begin(now);
        }
        self.out.pop_front()
    }

    /// When to ask again, if nothing happens before.
    pub(super) fn wake(&self) -> Option<Instant> {
        let expiring = self.sessions.iter().filter(|held| !held.closing).filter_map(|held| Some(held.early?.until));
        let hurried = self.may_hurry().then(|| self.last.and_then(|last| last.checked_add(self.stagger()))).flatten();
        let due = (!self.has_proven() && self.under_way() == 0).then_some(self.due());
        let settle = self.settle.as_ref().map(|settle| settle.at);
        expiring.chain(hurried).chain(due).chain(settle).min()
    }

    fn has_proven(&self) -> bool {
        self.sessions.iter().any(|held| held.early.is_none() && !held.closing)
    }

    fn under_way(&self) -> usize {
        self.dials.len() + self.sessions.iter().filter(|held| held.early.is_some()).count()
    }

    fn due(&self) -> Instant {
        if self.dearly { self.due_dearly } else { self.due }
    }

    fn stagger(&self) -> Span {
        self.rtt.map_or(STAGGER_UNKNOWN, |rtt| (rtt * 2).clamp(STAGGER.0, STAGGER.1))
    }

    /// Whether dials may begin as fast as [`Plan::stagger`] allows.
    fn may_hurry(&self) -> bool {
        let wanted = if self.has_proven() { self.race } else { self.hurried.is_some() };
        wanted && self.under_way() < MOST
    }

    /// After something came to nothing: the next dial has its time when no other is under way.
    fn rest(&mut self, now: Instant) {
        if !self.has_proven() && self.under_way() == 0 {
            let delay = self.backoff.delay();
            self.due = now + delay;
            self.due_dearly = now + delay * DEAR;
        }
    }

    fn close(&mut self, path: PathId, reason: Reason) {
        if let Some(held) = self.sessions.iter_mut().find(|held| held.path == path && !held.closing) {
            held.closing = true;
            self.out.push_back(Step::Close(path, reason));
        }
    }

    fn expire(&mut self, now: Instant) {
        let late = |held: &&Held| held.early.is_some_and(|early| early.until <= now);
        let late: Vec<_> = self.sessions.iter().filter(late).map(|held| held.path).collect();
        for path in late {
            self.close(path, Reason::NoAnswer);
        }
        if self.hurried.is_some_and(|until| until <= now) {
            self.hurried = None;
        }
    }

    /// Decides between proven sessions once they have lived beside each other.
    fn choose(&mut self, now: Instant, heard: &dyn Fn(PathId) -> u64) {
        let proven: Vec<_> =
            self.sessions.iter().filter(|held| held.early.is_none() && !held.closing).map(|held| held.path).collect();
        let Some(settle) = &mut self.settle else { return };
        for path in &proven {
            settle.heard.entry(*path).or_insert_with(|| heard(*path));
        }
        if now < settle.at {
            return;
        }
        let lives = |path: &PathId| settle.heard.get(path).is_some_and(|before| heard(*path) > *before);
        let kept = proven.iter().copied().find(lives).or(proven.last().copied());
        self.settle = None;
        let Some(kept) = kept else { return };
        for path in proven {
            if path < kept {
                self.close(path, Reason::Silent);
            } else if path > kept {
                self.close(path, Reason::NotNeeded);
            }
        }
    }

    fn begin(&mut self, now: Instant) {
        let hurried = self.may_hurry() && self.last.is_none_or(|last| now >= last + self.stagger());
        let due = !self.has_proven() && self.under_way() == 0 && self.due() <= now;
        if !hurried && !due {
            return;
        }
        let race = self.has_proven();
        self.race = false;
        self.last = Some(now);
        let under_way = self.dials.values().copied().chain(self.sessions.iter().filter_map(|held| held.early));
        let patient = under_way.into_iter().all(|other| !other.patient);
        let hasty = HURRIED_LIFE.max(self.rtt.unwrap_or_default() * 3).min(self.patience);
        let life = if patient { self.patience } else { hasty };
        let ticket = if self.hurried.is_some() || race {
            // They are few, and what is dialled later is the likelier to get through: the first, second, fourth, eighth.
            self.hurried_dials = self.hurried_dials.saturating_add(1);
            self.hurried_dials.is_power_of_two()
        } else {
            !self.early_failed
        };
        let attempt = self.next;
        self.next = self.next.wrapping_add(1);
        self.dials.insert(attempt, UnderWay { until: now + life, patient });
        self.out.push_back(Step::Dial(Dial { attempt, life, ticket, race }));
    }
}

#[cfg(test)]
mod tests;
