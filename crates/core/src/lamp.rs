//! The lamp at the button: what the presser may believe.
//!
//! ```text
//!  dark ──► kept ──► on its way ──► on screen ──► acknowledged
//!             └───────────┴──(10 s without a screen)──► dial 110 ──► on screen ──► acknowledged
//!  a test or a drill that no officer took ──► over
//! ```
//!
//! Invariant: a lamp never goes back, except that a screen or an officer ends "dial 110".

use crate::event::{Class, Event, Kind};
use crate::limits;
use crate::receipt::Stage;
use crate::time::Timestamp;

/// What the lamp shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lamp {
    /// Nothing: not kept yet, or a kind that must not betray the presser.
    Dark,
    /// On the relay's disk.
    Kept,
    /// Put on the wire.
    OnItsWay,
    /// No screen has it in time: dial 110 (拨打110).
    Dial110,
    /// On a police screen.
    OnScreen,
    /// An officer has it.
    Acknowledged,
    /// A test or a drill that no officer took is over.
    Over,
}

impl Lamp {
    /// Its word in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Lamp::Dark => "dark",
            Lamp::Kept => "kept",
            Lamp::OnItsWay => "on_its_way",
            Lamp::Dial110 => "dial_110",
            Lamp::OnScreen => "on_screen",
            Lamp::Acknowledged => "acknowledged",
            Lamp::Over => "over",
        }
    }

    /// What the guard reads: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Lamp::Dark => ("", ""),
            Lamp::Kept => ("已保存", "Kept here"),
            Lamp::OnItsWay => ("发送中", "On its way"),
            Lamp::Dial110 => ("请拨打110", "Dial 110"),
            Lamp::OnScreen => ("派出所已收到", "On a police screen"),
            Lamp::Acknowledged => ("派出所已接警", "An officer has it"),
            Lamp::Over => ("测试或演练结束", "The test or drill is over"),
        }
    }
}

/// The lamp of one event.
#[derive(Debug, Clone)]
pub struct LampState {
    dial_110_at: Option<Timestamp>,
    silent: bool,
    furthest: Option<Stage>,
    overdue: bool,
}

impl LampState {
    /// The lamp of an event raised (or found in the outbox after a start) at `now`.
    ///
    /// Only alarms (P0, P1) ask for a screen; duress shows nothing at all.
    #[must_use]
    pub fn new(now: Timestamp, event: &Event) -> Self {
        let silent = event.kind == Kind::Duress;
        let asks_for_screen = event.class <= Class::P1 && !silent;
        Self {
            dial_110_at: asks_for_screen.then(|| now + limits::DIAL_110_AFTER),
            silent,
            furthest: None,
            overdue: false,
        }
    }

    /// The event has reached `stage`. True if the lamp changed.
    pub fn reached(&mut self, stage: Stage) -> bool {
        let before = self.show();
        self.furthest = self.furthest.max(Some(stage));
        before != self.show()
    }

    /// Time has come to `now`. True if the lamp changed.
    pub fn tick(&mut self, now: Timestamp) -> bool {
        let before = self.show();
        self.overdue |= self.deadline().is_some_and(|deadline| now >= deadline);
        before != self.show()
    }

    /// When [`LampState::tick`] will change something.
    #[must_use]
    pub fn deadline(&self) -> Option<Timestamp> {
        let waiting = !self.overdue && self.furthest < Some(Stage::Displayed);
        self.dial_110_at.filter(|_| waiting)
    }

    /// What the lamp shows.
    #[must_use]
    pub fn show(&self) -> Lamp {
        if self.silent {
            return Lamp::Dark;
        }
        match self.furthest {
            Some(Stage::Acknowledged) => Lamp::Acknowledged,
            Some(Stage::Closed) => Lamp::Over,
            Some(Stage::Displayed) => Lamp::OnScreen,
            _ if self.overdue => Lamp::Dial110,
            Some(Stage::Sent | Stage::Received | Stage::Stored | Stage::Delivered) => Lamp::OnItsWay,
            Some(Stage::Kept) => Lamp::Kept,
            None => Lamp::Dark,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lamp(kind: Kind) -> LampState {
        LampState::new(Timestamp(0), &crate::relay::tests_support::event(kind))
    }

    #[test]
    fn goes_through_its_stages_and_never_back() {
        let mut lamp = lamp(Kind::Panic);
        assert_eq!(lamp.show(), Lamp::Dark);
        let mut seen = Vec::new();
        for stage in Stage::ALL.into_iter().filter(|stage| *stage != Stage::Closed) {
            lamp.reached(stage);
            seen.push(lamp.show());
        }
        assert_eq!(seen.first(), Some(&Lamp::Kept));
        assert_eq!(seen.last(), Some(&Lamp::Acknowledged));
        assert!(seen.is_sorted());
        assert!(!lamp.reached(Stage::Kept), "an old receipt changes nothing");
        assert!(lamp.reached(Stage::Closed));
        assert_eq!(lamp.show(), Lamp::Over);
    }

    #[test]
    fn says_dial_110_after_ten_seconds_without_a_screen_and_recovers() {
        let mut lamp = lamp(Kind::Panic);
        lamp.reached(Stage::Delivered);
        assert_eq!(lamp.deadline(), Some(Timestamp(10_000_000)));
        assert!(!lamp.tick(Timestamp(9_999_999)));
        assert!(lamp.tick(Timestamp(10_000_000)));
        assert_eq!((lamp.show(), lamp.deadline()), (Lamp::Dial110, None));
        assert!(lamp.reached(Stage::Displayed));
        assert_eq!(lamp.show(), Lamp::OnScreen);
    }

    #[test]
    fn duress_shows_nothing_ever() {
        let mut lamp = lamp(Kind::Duress);
        Stage::ALL.into_iter().for_each(|stage| assert!(!lamp.reached(stage)));
        lamp.tick(Timestamp(u64::MAX));
        assert_eq!((lamp.show(), lamp.deadline()), (Lamp::Dark, None));
    }

    #[test]
    fn a_status_report_never_asks_to_dial_110() {
        let mut lamp = lamp(Kind::Status);
        lamp.tick(Timestamp(u64::MAX));
        assert_eq!(lamp.show(), Lamp::Dark);
    }
}
