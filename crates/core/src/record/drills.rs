//! What the record does about drills and tests: it announces and ends drills, closes their cases, and remembers when each school was tested.
//!
//! Invariant: nothing here touches the case of an event that is meant, or that an officer has made so.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::case::{Reason, State};
use crate::drill::{CloseDrill, DrillBook, OpenDrill};
use crate::event::{Kind, Mode, Text};
use crate::id::{EventId, NodeName, SchoolId};
use crate::limits;
use crate::receipt::{Receipt, Stage, Standing, add_receipt};
use crate::record::command::Admission;
use crate::record::entry::Entry;
use crate::record::state::{Effect, RecordState};
use crate::time::{Span, WallTime};

/// When a school's equipment was tested last, by the clock of the broker node that took the test in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tested {
    /// By hand: a test press, or an alarm pressed as a test.
    pub by_hand: Option<WallTime>,
    /// By the relay itself.
    pub by_itself: Option<WallTime>,
}

/// When each school was tested last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tests(BTreeMap<SchoolId, Tested>);

impl Tests {
    /// When a school was tested last.
    #[must_use]
    pub fn of(&self, school: &SchoolId) -> Tested {
        self.0.get(school).copied().unwrap_or_default()
    }

    /// All schools that were ever tested, in the order of their codes.
    pub fn iter(&self) -> impl Iterator<Item = (&SchoolId, &Tested)> {
        self.0.iter()
    }

    /// An event came in: if it is a test, its school was tested then.
    fn admitted(&mut self, admission: &Admission) {
        let event = &admission.sealed.event;
        if event.mode != Mode::Test {
            return;
        }
        if !self.0.contains_key(event.school()) && self.0.len() >= limits::SCHOOLS_TESTED && !self.forget_oldest() {
            return;
        }
        let tested = self.0.entry(event.school().clone()).or_default();
        let at = if event.kind == Kind::SelfTest { &mut tested.by_itself } else { &mut tested.by_hand };
        *at = (*at).max(Some(admission.at));
    }

    fn forget_oldest(&mut self) -> bool {
        let last = |tested: &Tested| tested.by_hand.max(tested.by_itself);
        let oldest = self.0.iter().min_by_key(|(_, tested)| last(tested)).map(|(school, _)| school.clone());
        oldest.is_some_and(|school| self.0.remove(&school).is_some())
    }

    pub(super) fn from_rows(rows: Vec<(SchoolId, Tested)>) -> Result<Self, String> {
        let count = rows.len();
        let tests: BTreeMap<SchoolId, Tested> = rows.into_iter().collect();
        if tests.len() != count || count > limits::SCHOOLS_TESTED {
            return Err(format!("{count} schools were tested, {} of them are different ones", tests.len()));
        }
        Ok(Self(tests))
    }

    pub(super) fn rows(&self) -> Vec<(SchoolId, Tested)> {
        self.0.iter().map(|(school, tested)| (school.clone(), *tested)).collect()
    }
}

impl RecordState {
    /// The drills of the record.
    #[must_use]
    pub fn drills(&self) -> &DrillBook {
        &self.drills
    }

    /// When each school was tested last.
    #[must_use]
    pub fn tests(&self) -> &Tests {
        &self.tests
    }

    pub(super) fn tested(&mut self, admission: &Admission) {
        self.tests.admitted(admission);
    }

    pub(super) fn open_drill(&mut self, order: OpenDrill) -> Effect {
        let id = order.id;
        match self.drills.open(order) {
            None => Effect::Nothing,
            Some(Ok(drill)) => Effect::DrillOpened(drill),
            Some(Err(why)) => Effect::DrillRefused(id, why),
        }
    }

    pub(super) fn close_drill(&mut self, order: CloseDrill) -> Effect {
        self.drills.close(order).map_or(Effect::Nothing, Effect::DrillClosed)
    }

    /// The case of a test or a drill is closed by itself.
    pub(super) fn end_case(
        &mut self,
        index: u64,
        event: EventId,
        (by, at): (NodeName, WallTime),
        changed: &mut Vec<EventId>,
    ) -> Effect {
        let test_case = self.limits().test_case;
        let Some(entry) = self.entries.get_mut(&event).filter(|entry| entry.ends_by_itself(at, test_case)) else {
            return Effect::Nothing;
        };
        let entry = Arc::make_mut(entry);
        let before = entry.case.history.weight();
        let ended = entry.end(index, by, at);
        self.case_bytes += entry.case.history.weight() - before;
        changed.push(event);
        self.file(event);
        Effect::Ended(event, ended)
    }
}

impl Entry {
    /// Whether it is meant: it was raised so, or an officer made it so.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.admission.sealed.event.mode == Mode::Live || self.case.live
    }

    /// Whether its case may be closed by itself at `at`: it is a test that came in `test_case` before, or a drill, and not closed yet. When a drill is
    /// over is for the proposing node to know.
    #[must_use]
    pub fn ends_by_itself(&self, at: WallTime, test_case: Span) -> bool {
        let age = u64::try_from(at - self.admission.at).map(Span::from_micros);
        let old_enough = match self.admission.sealed.event.mode {
            Mode::Live => false,
            Mode::Drill => age.is_ok(),
            Mode::Test => age.is_ok_and(|age| age >= test_case),
        };
        let ours = self.admission.forwarded_by().is_none();
        old_enough && ours && self.has_case() && !self.is_live() && self.is_open_here()
    }

    fn is_open_here(&self) -> bool {
        self.case.state != State::Closed && !self.case.was_ended()
    }

    /// Closes its case by itself. The receipt that says so, if no officer has it: of one that an officer has, the case alone says it.
    fn end(&mut self, index: u64, by: NodeName, at: WallTime) -> Option<Receipt> {
        let reason = if self.admission.sealed.event.mode == Mode::Test { Reason::Test } else { Reason::Drill };
        self.case.end(&self.admission.sealed, index, (reason, Text::default()), (by.clone(), at));
        if self.is_finished() {
            return None;
        }
        let (event, note) = (self.admission.sealed.event.id, Text::default());
        let stage = Stage::Closed;
        let closed = Receipt { event, stage, at, by, officer: None, note, skew: None, standing: Standing::Settled };
        // The first of each stage has a place.
        add_receipt(&mut self.notes, closed.clone());
        Some(closed)
    }
}
