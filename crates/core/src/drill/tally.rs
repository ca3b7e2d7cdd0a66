//! How far a drill has come: which schools have pressed, and how fast a screen showed it and an officer took it.
//!
//! Invariant: what is told twice counts once: a school's figures are those of its first press that got so far.

use std::collections::BTreeMap;

use crate::id::SchoolId;
use crate::time::Span;

/// What came of one school's presses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Answered {
    /// How many rehearsals came of it.
    pub presses: u32,
    /// How long after its press the first of them was on a screen.
    pub displayed: Option<Span>,
    /// How long after its press an officer took the first of them.
    pub taken: Option<Span>,
}

/// What came of the presses of all schools of one drill.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<SchoolId, Answered>);

/// The figures of a drill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Schools in its scope.
    pub schools: usize,
    /// Those that pressed.
    pub pressed: usize,
    /// Their presses.
    pub presses: u64,
    /// Those of which a screen showed a press.
    pub displayed: usize,
    /// Those of which an officer took a press.
    pub taken: usize,
    /// From press to screen, the median and the 95th of a hundred.
    pub displayed_after: Option<(Span, Span)>,
    /// From press to officer, the same.
    pub taken_after: Option<(Span, Span)>,
}

impl Tally {
    /// A rehearsal of this school came in.
    pub fn pressed(&mut self, school: &SchoolId) {
        let answered = self.0.entry(school.clone()).or_default();
        answered.presses = answered.presses.saturating_add(1);
    }

    /// One of them is on a screen, so long after its press.
    pub fn displayed(&mut self, school: &SchoolId, after: Span) {
        if let Some(answered) = self.0.get_mut(school) {
            answered.displayed.get_or_insert(after);
        }
    }

    /// An officer has one of them, so long after its press.
    pub fn taken(&mut self, school: &SchoolId, after: Span) {
        if let Some(answered) = self.0.get_mut(school) {
            answered.taken.get_or_insert(after);
        }
    }

    /// What came of a school's presses; `None` if it has not pressed.
    #[must_use]
    pub fn of(&self, school: &SchoolId) -> Option<&Answered> {
        self.0.get(school)
    }

    /// The figures, of `schools` in the scope.
    #[must_use]
    pub fn counts(&self, schools: usize) -> Counts {
        let spans = |of: fn(&Answered) -> Option<Span>| {
            let mut spans: Vec<Span> = self.0.values().filter_map(of).collect();
            spans.sort_unstable();
            spans
        };
        let (displayed, taken) = (spans(|answered| answered.displayed), spans(|answered| answered.taken));
        Counts {
            schools,
            pressed: self.0.len(),
            presses: self.0.values().map(|answered| u64::from(answered.presses)).sum(),
            displayed: displayed.len(),
            taken: taken.len(),
            displayed_after: quantiles(&displayed),
            taken_after: quantiles(&taken),
        }
    }
}

/// The median and the 95th of a hundred of sorted spans, by nearest rank.
fn quantiles(sorted: &[Span]) -> Option<(Span, Span)> {
    let at = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).max(1) - 1).copied();
    at(50).zip(at(95))
}
