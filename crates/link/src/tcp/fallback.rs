//! When a TCP session is dialled beside QUIC, and when it is given back. Pure: it is told what happens and when.
//!
//! Invariants:
//!
//! * While QUIC is missing there is a TCP session, or one is being dialled, or the next dial has a time.
//! * While QUIC is up nothing is dialled, unless alarms are under way on it and nothing comes back.
//! * A session is given back only when QUIC was heard for a while after both were up, so that a QUIC which comes up and falls
//!   silent again costs nothing.

use std::time::Instant;

use huxiao_core::Span;

use crate::backoff::{Backoff, PROVEN_AFTER};

/// How often to look whether QUIC is heard, while there is a session to give back or a dial to give up.
const LOOK_EVERY: Span = Span::from_millis(250);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begin a dial.
    Dial,
    /// Give up the dial that is under way.
    GiveUp,
    /// End the session in good order: QUIC carries again.
    GiveBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tcp {
    Missing,
    Dialling { in_a_race: bool },
    Up { since: Instant },
    GivenBack,
}

/// One lane of one target.
#[derive(Debug)]
pub(crate) struct Fallback {
    after: Span,
    until: Span,
    backoff: Backoff,
    /// Since when QUIC is up, and when it was heard last.
    quic: Option<(Instant, Instant)>,
    missing_since: Instant,
    tcp: Tcp,
    /// Not before this, by the backoff.
    again: Instant,
    /// Not before this, whoever is in a hurry.
    earliest: Instant,
    hurried: bool,
}

impl Fallback {
    /// Neither of them is there, and QUIC is being dialled from `now` on. TCP is dialled when QUIC has been missing for `after`, and
    /// given back when it was heard for `until`.
    pub(crate) fn new(now: Instant, after: Span, until: Span, seed: u64) -> Self {
        Self {
            after,
            until,
            backoff: Backoff::new(seed),
            quic: None,
            missing_since: now,
            tcp: Tcp::Missing,
            again: now,
            earliest: now,
            hurried: false,
        }
    }

    /// Whether QUIC has a session whose handshake is over, and when the peer was heard on it last.
    pub(crate) fn quic(&mut self, now: Instant, heard: Option<Instant>) {
        self.quic = match (self.quic, heard) {
            (Some((since, _)), Some(heard)) => Some((since, heard)),
            (None, Some(heard)) => Some((now, heard)),
            (Some(_), None) => {
                self.missing_since = now;
                None
            }
            (None, None) => None,
        };
    }

    /// Alarms wait, and nothing comes back.
    pub(crate) fn hurry(&mut self) {
        self.hurried = self.tcp == Tcp::Missing;
    }

    /// The dial that was begun has led to a session.
    pub(crate) fn up(&mut self, now: Instant) {
        self.tcp = Tcp::Up { since: now };
    }

    /// The dial that was begun came to nothing, or the session is over.
    pub(crate) fn down(&mut self, now: Instant) {
        if let Tcp::Up { since } = self.tcp
            && now.saturating_duration_since(since) >= PROVEN_AFTER
        {
            self.backoff.reset();
        }
        self.tcp = Tcp::Missing;
        self.again = now + self.backoff.delay();
    }

    /// What is to be done now. To be asked until it is nothing.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<Step> {
        match (self.tcp, self.quic) {
            (Tcp::Missing, quic) => {
                let in_a_race = quic.is_some();
                let due = if self.hurried { self.earliest } else { self.due().filter(|_| !in_a_race)? };
                if now < due {
                    return None;
                }
                self.hurried = false;
                self.earliest = now + self.after;
                self.tcp = Tcp::Dialling { in_a_race };
                Some(Step::Dial)
            }
            (Tcp::Dialling { in_a_race: false }, Some(_)) => {
                self.tcp = Tcp::Missing;
                Some(Step::GiveUp)
            }
            (Tcp::Up { since }, Some((quic, heard))) if heard >= quic.max(since) + self.until => {
                self.tcp = Tcp::GivenBack;
                Some(Step::GiveBack)
            }
            (Tcp::Dialling { .. } | Tcp::Up { .. } | Tcp::GivenBack, _) => None,
        }
    }

    /// When to ask again at the latest, if nothing happens before.
    pub(crate) fn timeout(&self, now: Instant) -> Option<Instant> {
        match (self.tcp, self.quic) {
            (Tcp::Missing, _) if self.hurried => Some(self.earliest),
            (Tcp::Missing, None) => self.due(),
            (Tcp::Up { .. }, _) | (Tcp::Dialling { in_a_race: false }, None) => Some(now + LOOK_EVERY),
            (Tcp::Missing, Some(_)) | (Tcp::Dialling { .. } | Tcp::GivenBack, _) => None,
        }
    }

    /// When the next dial is due. `None` if that is beyond all time.
    fn due(&self) -> Option<Instant> {
        Some(self.missing_since.checked_add(self.after)?.max(self.again))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Span = Span::from_millis(300);
    const UNTIL: Span = Span::from_secs(10);

    fn fallback() -> (Fallback, Instant) {
        let now = Instant::now();
        (Fallback::new(now, AFTER, UNTIL, 1), now)
    }

    #[test]
    fn a_quic_that_comes_up_in_time_has_nothing_beside_it() {
        let (mut fallback, now) = fallback();
        assert_eq!(fallback.poll(now), None);
        assert_eq!(fallback.timeout(now), Some(now + AFTER));
        fallback.quic(now + AFTER / 2, Some(now + AFTER / 2));
        assert_eq!(fallback.poll(now + AFTER * 100), None);
        assert_eq!(fallback.timeout(now), None);
    }

    #[test]
    fn it_is_dialled_beside_a_quic_that_does_not_come_up_again_and_again() {
        let (mut fallback, mut now) = fallback();
        for round in 0..20 {
            now = fallback.timeout(now).unwrap();
            assert_eq!(fallback.poll(now), Some(Step::Dial), "round {round}");
            assert_eq!(fallback.poll(now + UNTIL), None, "one dial at a time");
            fallback.down(now);
            assert!(fallback.timeout(now).unwrap() <= now + Span::from_millis(7_500));
        }
    }

    #[test]
    fn quic_ends_a_dial_and_outlives_a_session() {
        let (mut fallback, start) = fallback();
        let mut now = start + AFTER;
        assert_eq!(fallback.poll(now), Some(Step::Dial));
        fallback.quic(now, Some(now));
        assert_eq!(fallback.poll(now), Some(Step::GiveUp));
        fallback.quic(now, None);
        now += AFTER;
        assert_eq!(fallback.poll(now), Some(Step::Dial));
        fallback.up(now);
        let up = now + UNTIL;
        fallback.quic(up, Some(up));
        assert_eq!(fallback.poll(up), None, "up is not yet heard");
        fallback.quic(up + UNTIL * 2, Some(up + UNTIL / 2));
        assert_eq!(fallback.poll(up + UNTIL * 2), None, "it fell silent after half the time");
        fallback.quic(up + UNTIL * 3, Some(up + UNTIL));
        assert_eq!(fallback.poll(up + UNTIL * 3), Some(Step::GiveBack));
        assert_eq!(fallback.poll(up + UNTIL * 3), None);
        fallback.down(up + UNTIL * 3);
        assert_eq!(fallback.timeout(up + UNTIL * 3), None);
    }

    #[test]
    fn a_quic_that_flaps_keeps_the_session() {
        let (mut fallback, start) = fallback();
        let mut now = start + AFTER;
        assert_eq!(fallback.poll(now), Some(Step::Dial));
        fallback.up(now);
        for _ in 0..10 {
            fallback.quic(now, Some(now));
            now += UNTIL - AFTER;
            fallback.quic(now, Some(now));
            assert_eq!(fallback.poll(now), None);
            fallback.quic(now, None);
        }
    }

    #[test]
    fn alarms_without_an_answer_do_not_wait_and_do_not_storm() {
        let (mut fallback, start) = fallback();
        fallback.quic(start, Some(start));
        fallback.hurry();
        assert_eq!(fallback.poll(start), Some(Step::Dial), "QUIC is up, and says nothing");
        fallback.quic(start, Some(start));
        assert_eq!(fallback.poll(start), None, "it is raced, not given up");
        let (mut dials, mut now) = (0, start);
        while now < start + AFTER * 10 {
            fallback.down(now);
            fallback.hurry();
            dials += u32::from(fallback.poll(now) == Some(Step::Dial));
            now += Span::from_millis(1);
        }
        assert!((9..=10).contains(&dials), "{dials} dials in ten times 300 ms");
        if fallback.poll(now + AFTER) == Some(Step::Dial) {
            fallback.down(now + AFTER);
        }
        assert_eq!(fallback.poll(now + UNTIL), None, "nobody is in a hurry any more, and QUIC is there");
    }
}
