//! Keeping sessions up: who dials whom, when again, and what haste changes.
//!
//! * A session that ended is dialled anew after 1 s, then 2, 4, … 30 s, half of that more or less at random.
//! * In haste (an alarm waits without any path) a dialler begins an attempt every 250 ms until one is answered, four at most at a time. With
//!   the ticket of an earlier session an attempt carries events in its first flight, and is a path at once.
//! * In a race (alarms are under way and nothing comes back) one fresh session is dialled beside the one that there is, which is
//!   closed five seconds after the fresh one is confirmed.
//! * A ticket is good for the life of the process that gave it, and lost with the one that held it.
//!
//! Invariant: of one dialler's attempts at most four are unanswered, each for ten seconds at most.

use huxiao_core::{Cost, Lane, Span, UplinkId, limits};

use crate::check::Outcome;
use crate::net::Side;
use crate::node::Node;
use crate::world::{Action, SECOND, World};

/// The first and the last pause between two attempts.
pub const FIRST_PAUSE: u64 = SECOND;
/// The same.
pub const LAST_PAUSE: u64 = 30 * SECOND;
/// How far a pause is moved at random, in percent.
pub const PAUSE_JITTER: u32 = 50;
/// Between two attempts in haste.
pub const STAGGER: u64 = SECOND / 4;
/// How long haste lasts after it was last asked for.
const HASTE: u64 = SECOND;
const ATTEMPTS: usize = 4;
/// How long a session that was beaten in a race is kept.
const BEATEN: u64 = 5 * SECOND;

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
    current: Option<u64>,
    attempts: Vec<(u64, u64)>,
    ticket: Option<u64>,
    pause: u64,
    haste_until: u64,
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
            pause: FIRST_PAUSE,
            haste_until: 0,
            turn: 0,
        }
    }
}

fn handshake_timeout() -> u64 {
    u64::try_from(limits::HANDSHAKE_TIMEOUT.as_micros()).unwrap_or(u64::MAX)
}

impl World {
    /// Has a dialler take its turn at `when`, in place of any turn that it waited for.
    pub(crate) fn turn_at(&mut self, at: usize, when: u64) {
        self.numbers += 1;
        self.diallers[at].turn = self.numbers;
        self.at(when, Action::Dial(at, self.numbers));
    }

    /// Begins to keep up the sessions of a node that has started.
    pub(crate) fn dial_all(&mut self, node: Node) {
        for at in 0..self.diallers.len() {
            if self.diallers[at].client == node {
                let dialler = &mut self.diallers[at];
                (dialler.ticket, dialler.pause, dialler.haste_until) = (None, FIRST_PAUSE, 0);
                let when = self.now + self.rng.below(50_000);
                self.turn_at(at, when);
            }
        }
    }

    /// It is a dialler's turn.
    pub(crate) fn dial_turn(&mut self, at: usize, turn: u64) -> Outcome {
        let now = self.now;
        if self.diallers[at].turn != turn || !self.is_up(self.diallers[at].client) {
            return Ok(());
        }
        let stale: Vec<u64> =
            self.diallers[at].attempts.iter().filter(|(_, until)| *until <= now).map(|(number, _)| *number).collect();
        for number in stale {
            self.close(number, Side::Client, false)?;
        }
        let dialler = &self.diallers[at];
        // The end of the last attempt has given out another turn.
        if dialler.turn != turn || dialler.current.is_some() {
            return Ok(());
        }
        let haste = dialler.haste_until > now;
        if dialler.attempts.is_empty() || (haste && dialler.attempts.len() < ATTEMPTS) {
            self.attempt(at)?;
        }
        let dialler = &self.diallers[at];
        let stale_at = dialler.attempts.iter().map(|(_, until)| *until).min().unwrap_or(now + SECOND);
        let next = if haste { stale_at.min(now + STAGGER) } else { stale_at };
        // The turn may have been given anew meanwhile, by an attempt that ended at once.
        if self.diallers[at].turn == turn {
            self.turn_at(at, next);
        }
        Ok(())
    }

    fn attempt(&mut self, at: usize) -> Outcome {
        let ticket = self.diallers[at].ticket;
        let number = self.begin_session(at, ticket);
        let until = self.now + handshake_timeout();
        self.diallers[at].attempts.push((number, until));
        if ticket.is_some() {
            self.tell_up(number, Side::Client)?;
        }
        self.flush();
        Ok(())
    }

    /// An alarm waits and there is no path.
    pub(crate) fn hurry(&mut self, node: Node) -> Outcome {
        for at in self.express_diallers(node) {
            self.haste(at);
        }
        Ok(())
    }

    fn haste(&mut self, at: usize) {
        let now = self.now;
        let dialler = &mut self.diallers[at];
        let was = dialler.haste_until > now;
        dialler.haste_until = now + HASTE;
        if !was && dialler.current.is_none() {
            self.turn_at(at, now);
        }
    }

    /// Alarms are under way and nothing comes back.
    pub(crate) fn race(&mut self, node: Node) -> Outcome {
        for at in self.express_diallers(node) {
            let dialler = &self.diallers[at];
            if dialler.current.is_none() {
                self.haste(at);
            } else if dialler.attempts.is_empty() {
                self.attempt(at)?;
                let number = self.diallers[at].attempts.last().map(|(number, _)| *number);
                // The session beside which it stands keeps the dialler from taking turns, so its end is seen to here.
                if let Some(number) = number {
                    self.at(self.now + handshake_timeout(), Action::GiveUp(number));
                }
            }
        }
        Ok(())
    }

    /// Ends an attempt that nobody has answered.
    pub(crate) fn give_up(&mut self, number: u64) -> Outcome {
        match self.sessions.get(&number) {
            Some(session) if !session.confirmed => self.close(number, Side::Client, false),
            _ => Ok(()),
        }
    }

    fn express_diallers(&self, node: Node) -> Vec<usize> {
        let express = |dialler: &Dialler| dialler.client == node && dialler.lane == Lane::Express;
        (0..self.diallers.len()).filter(|at| express(&self.diallers[*at])).collect()
    }

    /// An attempt was answered: it is the session now.
    pub(crate) fn confirmed(&mut self, number: u64) -> Outcome {
        let Some(at) = self.sessions.get(&number).map(|session| session.dialler) else { return Ok(()) };
        let life = self.brokers[self.diallers[at].broker].life.number;
        let dialler = &mut self.diallers[at];
        dialler.attempts.retain(|(attempt, _)| *attempt != number);
        (dialler.ticket, dialler.pause) = (Some(life), FIRST_PAUSE);
        let old = dialler.current.replace(number);
        let others: Vec<u64> = dialler.attempts.iter().map(|(attempt, _)| *attempt).collect();
        if let Some(old) = old {
            self.at(self.now + BEATEN, Action::Close(old));
        }
        for other in others {
            self.close(other, Side::Client, true)?;
        }
        Ok(())
    }

    /// The node's ticket is no good: the session came to nothing, and the next is dialled in full, at once.
    pub(crate) fn ticket_refused(&mut self, number: u64) -> Outcome {
        if let Some(at) = self.sessions.get(&number).map(|session| session.dialler) {
            self.diallers[at].ticket = None;
            self.close(number, Side::Client, true)?;
            if self.diallers[at].current.is_none() && self.diallers[at].attempts.is_empty() {
                self.turn_at(at, self.now);
            }
        }
        Ok(())
    }

    /// A session or an attempt has ended at the end that dialled it.
    pub(crate) fn ended(&mut self, number: u64) -> Outcome {
        let Some(at) = self.sessions.get(&number).map(|session| session.dialler) else { return Ok(()) };
        let dialler = &mut self.diallers[at];
        let attempts = dialler.attempts.len();
        dialler.attempts.retain(|(attempt, _)| *attempt != number);
        let was_current = dialler.current == Some(number);
        if was_current {
            dialler.current = None;
        }
        let was_attempt = dialler.attempts.len() < attempts;
        let nothing = dialler.current.is_none() && dialler.attempts.is_empty();
        if nothing && (was_current || was_attempt) {
            let around = dialler.pause;
            dialler.pause = (around * 2).min(LAST_PAUSE);
            let haste = dialler.haste_until > self.now;
            let pause = self.rng.jitter(Span::from_micros(around), PAUSE_JITTER);
            let pause = u64::try_from(pause.as_micros()).unwrap_or(LAST_PAUSE);
            let when = self.now + if haste { STAGGER } else { pause };
            self.turn_at(at, when);
        }
        Ok(())
    }
}
