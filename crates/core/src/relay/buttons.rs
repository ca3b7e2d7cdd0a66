//! Buttons that stick: a thousand presses a second are one case with a count, not a thousand alarms.
//!
//! Presses that are equal in everything and carry no key are of one button. The first [`limits::PRESSES_APART`] within
//! [`limits::STUCK_WINDOW`] are events of their own. Those beyond join the last of them; once in every window an event tells how many
//! have joined since, until a window passes without a press.
//!
//! Invariant: every press that joined is told of in the count of exactly one later event. What is counted but not told yet is at
//! most what came since the last event of that button, and is in memory only: a relay that stops loses that number, and no event.

use std::collections::{BTreeMap, VecDeque};

use crate::id::EventId;
use crate::limits;
use crate::relay::raise::Press;
use crate::time::Timestamp;

/// What is remembered of buttons, at most [`limits::BUTTONS_WATCHED`] of them: the one that was quiet longest is forgotten first.
/// One that sticks is not forgotten; where all do, the presses of another are events of their own.
#[derive(Debug, Default)]
pub(super) struct Buttons(BTreeMap<Press, Button>);

#[derive(Debug)]
struct Button {
    /// When its events of the last window were raised.
    apart: VecDeque<Timestamp>,
    /// Its last event.
    last: EventId,
    /// When it was last pressed.
    pressed: Timestamp,
    stuck: Option<Stuck>,
}

/// A button that sticks.
#[derive(Debug)]
struct Stuck {
    since: Timestamp,
    /// Presses that have joined and that no event tells of yet.
    joined: u32,
    /// Whether it was pressed since it was last looked at.
    pressed: bool,
    look_at: Timestamp,
    count_at: Timestamp,
}

impl Buttons {
    /// A press without a key: the event that it joins, if the button sticks. Otherwise it is an event of its own, which
    /// [`Buttons::raised`] is told.
    pub(super) fn pressed(&mut self, now: Timestamp, press: &Press) -> Option<EventId> {
        let button = self.0.get_mut(press)?;
        button.pressed = now;
        while button.apart.front().is_some_and(|at| *at + limits::STUCK_WINDOW <= now) {
            button.apart.pop_front();
        }
        if button.stuck.is_none() && button.apart.len() < limits::PRESSES_APART {
            return None;
        }
        let first_look = now + limits::STUCK_WINDOW;
        let new = Stuck { since: now, joined: 0, pressed: true, look_at: first_look, count_at: first_look };
        let stuck = button.stuck.get_or_insert(new);
        stuck.joined = stuck.joined.saturating_add(1);
        stuck.pressed = true;
        Some(button.last)
    }

    /// A press became the event `id` of its own.
    pub(super) fn raised(&mut self, now: Timestamp, press: Press, id: EventId) {
        if let Some(button) = self.0.get_mut(&press) {
            button.apart.push_back(now);
            button.last = id;
        } else if self.0.len() < limits::BUTTONS_WATCHED || self.forget_quietest() {
            self.0.insert(press, Button { apart: VecDeque::from([now]), last: id, pressed: now, stuck: None });
        }
    }

    /// The buttons of which an event is to tell how many presses have joined. The caller raises it and says so by
    /// [`Buttons::counted`], or by [`Buttons::uncounted`] that it could not.
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<(Press, u32)> {
        let mut due = Vec::new();
        for (press, button) in &mut self.0 {
            let Some(stuck) = button.stuck.as_mut().filter(|stuck| stuck.look_at <= now) else { continue };
            let quiet = !std::mem::take(&mut stuck.pressed);
            if quiet && stuck.joined == 0 {
                button.stuck = None;
                continue;
            }
            stuck.look_at = now + limits::STUCK_WINDOW;
            if quiet || stuck.count_at <= now {
                due.push((press.clone(), std::mem::take(&mut stuck.joined)));
                let long = now.since(stuck.since) >= limits::STUCK_FOR_LONG;
                stuck.count_at = now + if long { limits::STUCK_COUNT_RARELY } else { limits::STUCK_WINDOW };
            }
        }
        due
    }

    /// The event `id` tells of those that had joined; what joins from now on joins it.
    pub(super) fn counted(&mut self, press: &Press, id: EventId) {
        if let Some(button) = self.0.get_mut(press) {
            button.last = id;
        }
    }

    /// No event could be raised for these `joined` presses: they are told of with the next.
    pub(super) fn uncounted(&mut self, press: &Press, joined: u32) {
        if let Some(stuck) = self.0.get_mut(press).and_then(|button| button.stuck.as_mut()) {
            stuck.joined = stuck.joined.saturating_add(joined);
        }
    }

    /// When [`Buttons::due`] has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.values().filter_map(|button| button.stuck.as_ref()).map(|stuck| stuck.look_at).min()
    }

    /// How many presses of a button have joined that no event tells of yet.
    #[cfg(test)]
    pub(super) fn joined(&self, press: &Press) -> u32 {
        self.0.get(press).and_then(|button| button.stuck.as_ref()).map_or(0, |stuck| stuck.joined)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.0.len() > limits::BUTTONS_WATCHED {
            return Err(format!("{} buttons are watched", self.0.len()));
        }
        match self.0.iter().find(|(_, button)| button.apart.len() > limits::PRESSES_APART) {
            Some((press, _)) => Err(format!("{press:?} raised more events in one window than it may")),
            None => Ok(()),
        }
    }

    /// Forgets the button that was quiet longest. False if all stick.
    fn forget_quietest(&mut self) -> bool {
        let quiet = self.0.iter().filter(|(_, button)| button.stuck.is_none());
        let quietest = quiet.min_by_key(|(_, button)| button.pressed).map(|(press, _)| press.clone());
        quietest.is_some_and(|press| self.0.remove(&press).is_some())
    }
}
