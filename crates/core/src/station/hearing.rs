//! Whether anybody would hear this seat ring. A seat counts as audible until it says otherwise; a console that promises to sound for a while, and
//! promises it again and again, is audible for as long as it does.
//!
//! Invariant: every broker node that understands it knows what the seat said last.

use std::collections::BTreeSet;

use crate::event::Class;
use crate::id::PathId;
use crate::lane::Lane;
use crate::message::{FUNCTIONS_SINCE, Message};
use crate::path::Form;
use crate::station::machine::Station;
use crate::time::{Now, Span, Timestamp};

/// What the seat says of itself.
#[derive(Debug)]
pub(super) struct Hearing {
    audible: bool,
    /// Until when, if that was promised for a while.
    until: Option<Timestamp>,
    /// Express sessions of nodes that understand it.
    paths: BTreeSet<PathId>,
}

impl Default for Hearing {
    fn default() -> Self {
        Self { audible: true, until: None, paths: BTreeSet::new() }
    }
}

impl Hearing {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.until
    }

    pub(super) fn path_down(&mut self, path: PathId) {
        self.paths.remove(&path);
    }
}

impl Station {
    /// Whether anybody would hear this seat ring, by its own word.
    #[must_use]
    pub fn is_audible(&self) -> bool {
        self.hearing.audible
    }

    /// The seat can be heard, for a while or until it says otherwise; or it cannot.
    pub(super) fn audible(&mut self, now: Now, on: bool, lasts: Option<Span>) {
        self.hearing.until = lasts.filter(|_| on).map(|span| now.mono + span);
        if self.hearing.audible != on {
            self.hearing.audible = on;
            let paths: Vec<PathId> = self.hearing.paths.iter().copied().collect();
            paths.into_iter().for_each(|path| self.say_audible(path));
        }
    }

    /// A promise has run out.
    pub(super) fn hearing_due(&mut self, now: Now) {
        if self.hearing.until.is_some_and(|until| until <= now.mono) {
            self.audible(now, false, None);
        }
    }

    /// A node has greeted on this path.
    pub(super) fn hearing_on(&mut self, path: PathId, minor: u32) {
        let express = self.paths.get(&path).is_some_and(|(_, info)| info.lane == Lane::Express);
        if express && minor >= FUNCTIONS_SINCE && self.hearing.paths.insert(path) {
            self.say_audible(path);
        }
    }

    fn say_audible(&mut self, path: PathId) {
        let audible = self.hearing.audible;
        self.send(path, Class::P1, Form::Stream, Message::SeatState { audible });
    }
}
