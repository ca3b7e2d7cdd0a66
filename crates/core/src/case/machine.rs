//! The case itself: what an order does to it.
//!
//! Invariant: [`Case::act`] either adds one step and says its number, or changes nothing but the list of what was refused lately.

use std::collections::VecDeque;

use crate::case::action::{Action, ActionId, CaseNumber, CaseOrder, Reason, Verb};
use crate::case::digest::{Digest, digest_of, genesis};
use crate::case::history::History;
use crate::case::refusal::CaseRefusal;
use crate::case::state::{State, next};
use crate::case::step::Step;
use crate::case::summary::{LastStep, Summary};
use crate::event::{Sealed, Text};
use crate::id::{Name, NodeName, StationId};
use crate::limits;
use crate::receipt::Receipt;
use crate::record::Bond;
use crate::time::WallTime;

/// Whose a case is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The seat at which it was taken.
    pub by: NodeName,
    /// The officer.
    pub officer: Option<Name>,
}

impl Owner {
    /// The station of the seat.
    #[must_use]
    pub fn station(&self) -> Option<&StationId> {
        station_of(&self.by)
    }
}

fn station_of(by: &NodeName) -> Option<&StationId> {
    match by {
        NodeName::Station(seat) => Some(&seat.station),
        NodeName::Relay(_) | NodeName::Broker { .. } => None,
    }
}

/// A case with its history.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Case {
    /// Where it stands.
    pub state: State,
    /// How often more help was asked for; at most [`limits::CASE_LEVEL`].
    pub level: u8,
    /// Whose it is.
    pub owner: Option<Owner>,
    /// Whether the school asked for it to be cancelled.
    pub cancel_requested: bool,
    /// What the 110 centre calls it.
    pub number_110: Option<CaseNumber>,
    /// Why and when it was closed, by the clock of the node that heard it; while it is.
    pub closed: Option<(Reason, WallTime)>,
    /// Whether an officer said of a drill or a test that it is meant.
    pub live: bool,
    /// Its steps.
    pub history: History,
    /// Orders that were refused lately, oldest first, at most [`limits::CASE_REFUSED`]: a copy of one that comes late has the same answer.
    pub refused: VecDeque<(ActionId, CaseRefusal)>,
}

impl Case {
    /// Whether it is as every case begins.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        *self == Self::default()
    }

    /// How many steps it has.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.history.next_number() - 1
    }

    /// What became of an order, if anything did; of one that another order's id was put on, that it is refused.
    #[must_use]
    pub fn outcome(&self, order: &CaseOrder) -> Option<Result<u64, CaseRefusal>> {
        let refused = self.refused.iter().find(|(have, _)| *have == order.id).map(|(_, why)| Err(*why));
        let carried_out = |step: &Step| {
            let same = step.by == order.by && step.action == order.action;
            if same { Ok(step.number) } else { Err(CaseRefusal::IdUsed) }
        };
        refused.or_else(|| self.history.find(&order.id).map(carried_out))
    }

    /// The case as it stands, without its history.
    #[must_use]
    pub fn summary(&self, event: crate::id::EventId) -> Summary {
        let last = self.history.last().map(|step| LastStep {
            verb: step.action.verb(),
            by: step.by.clone(),
            officer: step.officer.clone(),
            at: step.at,
        });
        Summary {
            event,
            state: self.state,
            level: self.level,
            owner: self.owner.clone(),
            cancel_requested: self.cancel_requested,
            number_110: self.number_110.clone(),
            reason: self.closed.map(|(reason, _)| reason),
            steps: self.steps(),
            last,
            bond: Bond::Alone,
            presses: 0,
            live: self.live,
        }
    }

    /// An acknowledgement has come into the record. False if the case is somebody's: then its officer assists.
    pub(crate) fn acknowledge(&mut self, event: &Sealed, index: u64, receipt: &Receipt) -> bool {
        let Ok(state) = next(self.state, Verb::Acknowledge) else { return false };
        let order = Said {
            id: ActionId::NONE,
            action: Action::Acknowledge,
            by: receipt.by.clone(),
            officer: receipt.officer.clone(),
            times: (receipt.at, receipt.at),
            note: receipt.note.clone(),
        };
        self.take(event, index, state, order);
        true
    }

    /// It is closed by the region itself, for `reason`: nobody is asked, and room is not.
    pub(crate) fn end(
        &mut self,
        event: &Sealed,
        index: u64,
        (reason, note): (Reason, Text),
        (by, at): (NodeName, WallTime),
    ) {
        let action = Action::Close(reason);
        let said = Said { id: ActionId::NONE, action, by: by.clone(), officer: None, times: (at, at), note };
        // Whoever closes a case has it: of one that nobody took, that is the node.
        self.owner.get_or_insert(Owner { by, officer: None });
        self.take(event, index, State::Closed, said);
    }

    /// The school asks for it to be cancelled. False if that is known, or it is closed.
    pub(crate) fn request_cancel(&mut self) -> bool {
        let news = !self.cancel_requested && self.state != State::Closed;
        self.cancel_requested |= news;
        news
    }

    /// Carries an order out that came to a node at `heard`: the number of its step, new or as it was. `full` says that the record has room for the
    /// end of cases only.
    ///
    /// # Errors
    /// [`CaseRefusal`]; the same again for the same order.
    pub(crate) fn act(
        &mut self,
        event: &Sealed,
        index: u64,
        (order, heard): (&CaseOrder, WallTime),
        full: bool,
    ) -> Result<u64, CaseRefusal> {
        if let Some(outcome) = self.outcome(order) {
            return outcome;
        }
        let state = match self.judge(order, heard, full) {
            Ok(state) => state,
            Err(why) => return Err(self.refuse(order.id, why)),
        };
        let said = Said {
            id: order.id,
            action: order.action.clone(),
            by: order.by.clone(),
            officer: Some(order.officer.clone()),
            times: (order.at, heard),
            note: order.note.clone(),
        };
        Ok(self.take(event, index, state, said))
    }

    /// Remembers that an order is refused.
    pub(crate) fn refuse(&mut self, id: ActionId, why: CaseRefusal) -> CaseRefusal {
        self.refused.push_back((id, why));
        if self.refused.len() > limits::CASE_REFUSED {
            self.refused.pop_front();
        }
        why
    }

    /// Whether an order may be carried out, and where the case stands then.
    pub(crate) fn judge(&self, order: &CaseOrder, heard: WallTime, full: bool) -> Result<State, CaseRefusal> {
        let verb = order.action.verb();
        if verb == Verb::Acknowledge {
            return Err(CaseRefusal::NotNow { verb, state: self.state });
        }
        let state = next(self.state, verb)?;
        if !self.has_room(verb, full) {
            return Err(CaseRefusal::NoRoom);
        }
        let station = station_of(&order.by);
        let owns = self.owner.as_ref().is_some_and(|owner| owner.station() == station);
        match &order.action {
            Action::Note | Action::Number(_) => return Ok(state),
            // Whoever sees that it is no rehearsal says so.
            Action::MakeLive => return if self.live { Err(CaseRefusal::Live) } else { Ok(state) },
            Action::TakeOver => {
                // Before anybody acknowledged it, the school waits for that.
                if !self.was_taken() {
                    return Err(CaseRefusal::NotTaken);
                }
                let officer = self.owner.as_ref().and_then(|owner| owner.officer.as_ref());
                return if owns && officer == Some(&order.officer) { Err(CaseRefusal::Owns) } else { Ok(state) };
            }
            // What the region closed by itself is nobody's.
            _ if !(owns || order.action == Action::Reopen && self.is_the_regions()) => {
                return Err(CaseRefusal::NotOwner);
            }
            Action::NeedHelp if self.level >= limits::CASE_LEVEL => return Err(CaseRefusal::TopLevel),
            Action::Transfer(to) if Some(to) == station => return Err(CaseRefusal::Owns),
            Action::Close(reason) => {
                let why = match reason {
                    Reason::Other => true,
                    Reason::Real => self.state != State::Handled,
                    Reason::False | Reason::Accidental | Reason::Test | Reason::Drill => false,
                };
                if why && order.note.is_empty() {
                    return Err(CaseRefusal::NeedsNote);
                }
            }
            Action::Reopen => {
                let limit = i64::try_from(limits::CASE_REOPEN.as_micros()).unwrap_or(i64::MAX);
                if self.closed.is_some_and(|(_, closed)| heard - closed > limit) {
                    return Err(CaseRefusal::TooLate);
                }
            }
            _ => {}
        }
        Ok(state)
    }

    /// Whether nobody had it and the region closed it by itself.
    fn is_the_regions(&self) -> bool {
        matches!(self.owner, Some(Owner { by: NodeName::Broker { .. }, .. }))
    }

    /// Whether the region closed it by itself before: what an officer reopens is left to the officer.
    pub(crate) fn was_ended(&self) -> bool {
        let by_itself = |step: &Step| matches!(step.by, NodeName::Broker { .. });
        self.history.steps().any(by_itself)
    }

    /// Whether anybody ever had it.
    fn was_taken(&self) -> bool {
        self.owner.is_some() || self.history.steps().any(|step| step.action.verb() == Verb::Acknowledge)
    }

    /// Whether another step of this kind has a place. The last places are for those that bring a case to its end.
    fn has_room(&self, verb: Verb, full: bool) -> bool {
        let ends = matches!(
            verb,
            Verb::Dispatch | Verb::Enroute | Verb::Onscene | Verb::Handled | Verb::Close | Verb::MakeLive
        );
        let room = limits::CASE_STEPS - if ends { 0 } else { limits::CASE_STEPS_TO_END };
        self.history.len() < room && (ends || !full)
    }

    /// Adds a step that is allowed.
    fn take(&mut self, event: &Sealed, index: u64, state: State, said: Said) -> u64 {
        let Said { id, action, by, officer, times: (at, heard), note } = said;
        let owner = || Some(Owner { by: by.clone(), officer: officer.clone() });
        match &action {
            Action::Acknowledge | Action::TakeOver => self.owner = owner(),
            Action::NeedHelp => self.level = self.level.saturating_add(1),
            Action::Close(reason) => self.closed = Some((*reason, heard)),
            Action::Reopen => {
                self.closed = None;
                if self.is_the_regions() {
                    self.owner = owner();
                }
            }
            Action::Transfer(_) => self.owner = None,
            Action::Number(number) => self.number_110 = Some(number.clone()),
            Action::MakeLive => self.live = true,
            Action::Dispatch | Action::Enroute | Action::Onscene | Action::Handled | Action::Note => {}
        }
        self.state = state;
        let number = self.history.next_number();
        let (level, digest) = (self.level, Digest::default());
        let mut step = Step { number, index, id, action, state, level, by, officer, at, heard, note, digest };
        let before = self.history.last().map_or_else(|| genesis(&event.bytes), |last| last.digest);
        step.digest = digest_of(&before, &step);
        // Its number is the next.
        self.history.push(step);
        number
    }

    /// Holds the case against its invariants.
    ///
    /// # Errors
    /// The first that does not hold.
    pub(crate) fn check(&self) -> Result<(), String> {
        let taken = self.state != State::Raised;
        if taken != self.owner.is_some() {
            return Err(format!("a case is {} and its owner is {:?}", self.state, self.owner));
        }
        if (self.state == State::Closed) != self.closed.is_some() {
            return Err(format!("a case is {} and closed for {:?}", self.state, self.closed));
        }
        if self.history.len() > limits::CASE_STEPS || self.refused.len() > limits::CASE_REFUSED {
            return Err(format!("a case has {} steps", self.history.len()));
        }
        if self.history.last().is_some_and(|last| (last.state, last.level) != (self.state, self.level)) {
            return Err("a case stands elsewhere than its last step says".to_owned());
        }
        Ok(())
    }
}

/// What makes a step.
struct Said {
    id: ActionId,
    action: Action,
    by: NodeName,
    officer: Option<Name>,
    times: (WallTime, WallTime),
    note: Text,
}
