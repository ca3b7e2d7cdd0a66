//! Keeping sessions up: who dials whom, when again, and what haste changes. It follows `link`'s plan of dials, which is for real sockets.
//!
//! * A session that ended is dialled anew after 0.1 s, then 0.2, 0.4, … 5 s, half of that more or less at random.
//! * In haste (an alarm waits and nothing has come on any path) a dialler begins an attempt every two round trips, 250 ms at the least, and
//!   gives each up after three seconds, but for one that has the whole time of a handshake. With the ticket of an earlier session an
//!   attempt carries events in its first flight, and is a path at once.
//! * In a race (alarms are under way and nothing comes back) it does the same beside the session that there is. Five seconds after
//!   a fresh one is confirmed, the older one is closed, or the fresh one if the older has been heard again.
//! * A ticket is good for the life of the process that gave it, and lost with the one that held it.
//!
//! Invariant: of one dialler's attempts at most eight are unanswered, and each has its end.

use huxiao_core::{Cost, Lane, Span, UplinkId, limits};

use crate::check::Outcome;
use crate::net::Side;
use crate::node::Node;
use crate::world::{Action, SECOND, World};

/// The first and the last pause between two attempts.
pub const FIRST_PAUSE: u64 = SECOND / 10;
/// The same.
pub const LAST_PAUSE: u64 = 5 * SECOND;
/// How far a pause is moved at random, in percent.
pub const PAUSE_JITTER: u32 = 50;
/// Between two attempts in haste: at least, at most, and without any measured round trip.
pub const STAGGER: (u64, u64, u64) = (SECOND / 4, SECOND, SECOND / 2);
/// How long haste lasts after it was last asked for.
const HASTE: u64 = 6 * SECOND;
const ATTEMPTS: usize = 8;
/// How long a hurried attempt may take, unless three round trips are more.
const HURRIED_LIFE: u64 = 3 * SECOND;
/// How long a fresh session and the one that it was dialled beside live together; and from when on a session was a success.
const BOTH_LIVE: u64 = 5 * SECOND;

#[derive(Debug, Clone, Copy)]
struct Attempt {
    session: u64,
    until: u64,
    patient: bool,
}

/// Keeps one session up.
#[derive(Debug)]
pub struct Dialler {
    /// Who dials.
    pub client: Node,
    /// Whom.
    pub broker: usize,
    /// Over which line.
    pub line: usize,
    /// Which uplink that is to the machine.
    pub uplink: UplinkId,
    /// What it costs.
    pub cost: Cost,
    /// Which lane.
    pub lane: Lane,
    /// The session, and since when it is confirmed.
    current: Option<(u64, u64)>,
    attempts: Vec<Attempt>,
    ticket: Option<u64>,
    rtt: Option<u64>,
    pause: u64,
    due: u64,
    last: Option<u64>,
    haste_until: u64,
    race: bool,
    /// The number of the turn that is waited for: an older one is void.
    turn: u64,
}

impl Dialler {
    /// One that has not dialled yet.
    #[must_use]
    pub fn new(client: Node, broker: usize, line: usize, (uplink, cost): (UplinkId, Cost), lane: Lane) -> Self {
        Self {
            client,
            broker,
            line,
            uplink,
            cost,
            lane,
            current: None,
            attempts: Vec::new(),
            ticket: None,
            rtt: None,
            pause: FIRST_PAUSE,
            due: 0,
            last: None,
            haste_until: 0,
            race: false,
            turn: 0,
        }
    }

    fn stagger(&self) -> u64 {
        self.rtt.map_or(STAGGER.2, |rtt| (rtt * 2).clamp(STAGGER.0, STAGGER.1))
    }

    fn hurries(&self, now: u64) -> bool {
        let wanted = if self.current.is_some() { self.race } else { self.haste_until > now };
        wanted && self.attempts.len() < ATTEMPTS
    }

    fn is_idle(&self) -> bool {
        self.current.is_none() && self.attempts.is_empty()
    }

    /// When it has something to do.
    fn next(&self, now: u64) -> Option<u64> {
        let ends = self.attempts.iter().map(|attempt| attempt.until).min();
        let hurried = self.hurries(now).then(|| self.last.map_or(now, |last| last + self.stagger()));
        let due = self.is_idle().then_some(self.due);
        [ends, hurried, due].into_iter().flatten().min()
    }
}

fn handshake_timeout() -> u64 {
    u64::try_from(limits::HANDSHAKE_TIMEOUT.as_micros()).unwrap_or(u64::MAX)
}

impl World {
    /// Has a dialler take its next turn when it is time, in place of any that it waited for.
    fn plan_turn(&mut self, at: usize) {
        self.numbers += 1;
        self.diallers[at].turn = self.numbers;
        if let Some(next) = self.diallers[at].next(self.now) {
            self.at(next, Action::Dial(at, self.numbers));
        }
    }

    /// Begins to keep up the sessions of a node that has started.
    pub(crate) fn dial_all(&mut self, node: Node) {
        for at in 0..self.diallers.len() {
            if self.diallers[at].client == node {
                let due = self.now + self.rng.below(50_000);
                let dialler = &mut self.diallers[at];
                (dialler.ticket, dialler.rtt, dialler.pause, dialler.due) = (None, None, FIRST_PAUSE, due);
                (dialler.haste_until, dialler.race, dialler.last) = (0, false, None);
                self.plan_turn(at);
            }
        }
    }

    /// It is a dialler's turn.
    pub(crate) fn dial_turn(&mut self, at: usize, turn: u64) -> Outcome {
        let now = self.now;
        if self.diallers[at].turn != turn || !self.is_up(self.diallers[at].client) {
            return Ok(());
        }
        let late = self.diallers[at].attempts.iter().filter(|attempt| attempt.until <= now);
        let late: Vec<u64> = late.map(|attempt| attempt.session).collect();
        for session in late {
            self.close(session, Side::Client, false)?;
        }
        let dialler = &self.diallers[at];
        let hurried = dialler.hurries(now) && dialler.last.is_none_or(|last| last + dialler.stagger() <= now);
        if hurried {
            let life = HURRIED_LIFE.max(dialler.rtt.unwrap_or(0) * 3);
            let patient = !dialler.attempts.iter().any(|attempt| attempt.patient);
            self.attempt(at, if patient { handshake_timeout() } else { life }, patient)?;
        } else if dialler.is_idle() && dialler.due <= now {
            self.attempt(at, handshake_timeout(), true)?;
        }
        self.plan_turn(at);
        Ok(())
    }

    fn attempt(&mut self, at: usize, life: u64, patient: bool) -> Outcome {
        let now = self.now;
        let ticket = self.diallers[at].ticket;
        let session = self.begin_session(at, ticket);
        let dialler = &mut self.diallers[at];
        dialler.last = Some(now);
        dialler.attempts.push(Attempt { session, until: now + life, patient });
        if ticket.is_some() {
            self.tell_up(session, Side::Client)?;
        }
        self.flush();
        Ok(())
    }

    /// An alarm waits and nothing has come on any path.
    pub(crate) fn hurry(&mut self, node: Node) {
        for at in self.express_diallers(node) {
            self.diallers[at].haste_until = self.now + HASTE;
            self.plan_turn(at);
        }
    }

    /// Alarms are under way and nothing comes back.
    pub(crate) fn race(&mut self, node: Node) {
        for at in self.express_diallers(node) {
            let dialler = &mut self.diallers[at];
            if dialler.current.is_some() {
                dialler.race = true;
            } else {
                dialler.haste_until = self.now + HASTE;
            }
            self.plan_turn(at);
        }
    }

    fn express_diallers(&self, node: Node) -> Vec<usize> {
        let express = |dialler: &Dialler| dialler.client == node && dialler.lane == Lane::Express;
        (0..self.diallers.len()).filter(|at| express(&self.diallers[*at])).collect()
    }

    /// How often an end of a session has heard something.
    fn heard(&self, session: u64) -> Option<u64> {
        self.sessions.get(&session)?.ends[0].as_ref().map(|end| end.heard)
    }

    /// An attempt was answered: it is the session now.
    pub(crate) fn confirmed(&mut self, session: u64) -> Outcome {
        let now = self.now;
        let Some(at) = self.sessions.get(&session).map(|session| session.dialler) else { return Ok(()) };
        let life = self.brokers[self.diallers[at].broker].life.number;
        let rtt = self.sessions.get(&session).and_then(|session| session.ends[0].as_ref()?.rtt());
        let dialler = &mut self.diallers[at];
        dialler.attempts.retain(|attempt| attempt.session != session);
        (dialler.ticket, dialler.rtt) = (Some(life), rtt.or(dialler.rtt));
        (dialler.haste_until, dialler.race) = (0, false);
        let old = dialler.current.replace((session, now));
        let others: Vec<u64> = dialler.attempts.iter().map(|attempt| attempt.session).collect();
        if let Some((old, _)) = old {
            let heard = self.heard(old).unwrap_or(0);
            self.at(now + BOTH_LIVE, Action::Choose(old, session, heard));
        }
        for other in others {
            self.close(other, Side::Client, true)?;
        }
        self.plan_turn(at);
        Ok(())
    }

    /// Two sessions have lived beside each other: the older one stays if it was heard meanwhile.
    pub(crate) fn choose(&mut self, old: u64, fresh: u64, heard: u64) -> Outcome {
        let Some(at) = self.sessions.get(&fresh).map(|session| session.dialler) else { return Ok(()) };
        let lives = self.heard(old).is_some_and(|now| now > heard);
        if lives && self.diallers[at].current.is_some_and(|(current, _)| current == fresh) {
            self.diallers[at].current = Some((old, self.now));
            return self.close(fresh, Side::Client, true);
        }
        self.close(old, Side::Client, true)
    }

    /// The node's ticket is no good: the session came to nothing, and the next is dialled in full, at once.
    pub(crate) fn ticket_refused(&mut self, session: u64) -> Outcome {
        let Some(at) = self.sessions.get(&session).map(|session| session.dialler) else { return Ok(()) };
        self.diallers[at].ticket = None;
        self.close(session, Side::Client, true)?;
        self.diallers[at].due = self.now;
        self.plan_turn(at);
        Ok(())
    }

    /// A session or an attempt has ended at the end that dialled it.
    pub(crate) fn ended(&mut self, session: u64) {
        let now = self.now;
        let Some(at) = self.sessions.get(&session).map(|session| session.dialler) else { return };
        let dialler = &mut self.diallers[at];
        dialler.attempts.retain(|attempt| attempt.session != session);
        if let Some((current, since)) = dialler.current.filter(|(current, _)| *current == session) {
            debug_assert_eq!(current, session);
            dialler.current = None;
            if now - since >= BOTH_LIVE {
                dialler.pause = FIRST_PAUSE;
            }
        }
        if dialler.is_idle() {
            let around = dialler.pause;
            dialler.pause = (around * 2).min(LAST_PAUSE);
            let pause = self.rng.jitter(Span::from_micros(around), PAUSE_JITTER);
            self.diallers[at].due = now + u64::try_from(pause.as_micros()).unwrap_or(LAST_PAUSE);
        }
        self.plan_turn(at);
    }
}
