//! Whether a press at this relay is meant: the drills that it was told of, and the switch to tests.
//!
//! ```text
//!  meant ──(a drill's window, its buttons)──► drill       the window ends by this relay's steady clock
//!    └─────(switched by hand, for minutes)──► test        and so does the switch
//! ```
//!
//! Invariant: whatever else is on, duress is meant, and so is a press that says so. Nothing that was pressed before a window, or after it, is in it.

use std::collections::{BTreeMap, VecDeque};

use crate::drill::{DrillId, DrillMode, Window, is_rehearsed};
use crate::event::{Class, Kind, Mode};
use crate::id::PathId;
use crate::limits;
use crate::message::Message;
use crate::path::Form;
use crate::relay::machine::Relay;
use crate::relay::port::Report;
use crate::relay::raise::Press;
use crate::time::{Now, Span, Timestamp};

/// Drills of which it is remembered that they were ended.
const ENDED: usize = 32;

/// What a relay goes by.
#[derive(Debug, Default)]
pub(super) struct Modes {
    windows: BTreeMap<DrillId, Window>,
    test_until: Option<Timestamp>,
    /// Drills that were ended before their time, the last ones: a message that was overtaken does not begin them again.
    ended: VecDeque<DrillId>,
    /// The mode that was reported last.
    told: Option<Mode>,
    /// When something begins or ends.
    next: Option<Timestamp>,
}

/// What a relay's presses are now, for whoever looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeView {
    /// What presses are, at the buttons that `drill` lists if it is that.
    pub mode: Mode,
    /// The drill that is on, the next one if none is, and how long until it begins (zero if it has) and until it ends.
    pub drill: Option<(Window, Span, Span)>,
    /// How long tests are still on, if they were switched on.
    pub test: Option<Span>,
}

impl Modes {
    /// What a press is that asks for nothing else.
    fn of(&self, now: Timestamp, kind: &Kind, device: Option<&crate::id::Name>) -> Mode {
        if self.windows.values().any(|window| window.covers(now, kind, device)) {
            Mode::Drill
        } else if self.test_until.is_some_and(|until| now < until) && (is_rehearsed(kind) || *kind == Kind::Test) {
            Mode::Test
        } else {
            Mode::Live
        }
    }

    /// The mode at `now` at a button that is listed.
    fn mode(&self, now: Timestamp) -> Mode {
        if self.windows.values().any(|window| window.is_on(now)) {
            Mode::Drill
        } else if self.test_until.is_some_and(|until| now < until) {
            Mode::Test
        } else {
            Mode::Live
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.next
    }

    /// When something begins or ends next.
    fn plan_next(&mut self, now: Timestamp) {
        let ahead = self.windows.values().flat_map(|window| [window.from, window.until]);
        self.next = ahead.chain(self.test_until).filter(|at| *at > now).min();
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let longest = Span::from_secs(u64::from(limits::PLAN_DRILL_MINUTES) * 60);
        if self.windows.len() > limits::DRILLS_OF_RELAY {
            return Err(format!("{} drills are known", self.windows.len()));
        }
        match self.windows.values().find(|window| window.until.since(window.from) > longest) {
            Some(window) => Err(format!("drill {} is longer than any", window.id)),
            None => Ok(()),
        }
    }
}

impl Relay {
    /// What a press is: `live` says that it is meant whatever else is on.
    pub(super) fn mode_of(&self, now: Now, press: &Press, live: bool) -> Mode {
        if live || press.kind == Kind::Duress {
            return Mode::Live;
        }
        match press.mode {
            Mode::Test => Mode::Test,
            // Who says that it is a drill is believed within a drill only, where it would be one anyway.
            Mode::Live | Mode::Drill => self.modes.of(now.mono, &press.kind, press.device.as_ref()),
        }
    }

    /// What presses are now.
    #[must_use]
    pub fn mode(&self, now: Timestamp) -> ModeView {
        let ahead = self.modes.windows.values().filter(|window| now < window.until);
        let next = ahead.min_by_key(|window| (window.from.max(now), window.until));
        ModeView {
            mode: self.modes.mode(now),
            drill: next.map(|window| (window.clone(), window.from.since(now), window.until.since(now))),
            test: self.modes.test_until.filter(|until| now < *until).map(|until| until.since(now)),
        }
    }

    /// A broker node says that a drill is about this school, or is over.
    pub(super) fn drill_told(&mut self, now: Now, path: PathId, told: DrillMode) {
        let id = told.id;
        if told.lasts.is_zero() {
            self.modes.windows.remove(&id);
            if !self.modes.ended.contains(&id) {
                self.modes.ended.push_back(id);
                if self.modes.ended.len() > ENDED {
                    self.modes.ended.pop_front();
                }
            }
        } else if !self.modes.ended.contains(&id) {
            let window = Window::new(now.mono, told);
            let known = self.modes.windows.get(&id).is_some_and(|known| known.until < window.until);
            // However long each copy was on its way, the earlier end counts: none makes a drill longer.
            if !known {
                self.modes.windows.insert(id, window);
            }
            while self.modes.windows.len() > limits::DRILLS_OF_RELAY {
                let first = self.modes.windows.values().min_by_key(|window| window.until).map(|window| window.id);
                first.map(|first| self.modes.windows.remove(&first));
            }
        }
        self.send(path, Class::P2, Form::Stream, Message::DrillHeard(id));
        self.modes_due(now);
    }

    /// Somebody at the school switches tests on for so long, or off (zero).
    pub(super) fn test_mode(&mut self, now: Now, span: Span) {
        let longest = Span::from_secs(u64::from(limits::TEST_MODE_MINUTES) * 60);
        self.modes.test_until = (!span.is_zero()).then(|| now.mono + span.min(longest));
        self.modes_due(now);
    }

    /// Forgets what is over, and tells people when the mode is another.
    pub(super) fn modes_due(&mut self, now: Now) {
        self.modes.windows.retain(|_, window| now.mono < window.until);
        self.modes.test_until = self.modes.test_until.filter(|until| now.mono < *until);
        self.modes.plan_next(now.mono);
        let mode = self.modes.mode(now.mono);
        let before = self.modes.told.replace(mode).unwrap_or(Mode::Live);
        if before != mode {
            let view = self.mode(now.mono);
            self.report(Report::Mode(view));
        }
    }
}
