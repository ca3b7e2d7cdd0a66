//! Where a case stands, and what may be done there.
//!
//! Invariant: [`next`] is the whole table. What hangs on more than the state (who asks, why, and when) is asked by the machine beside it.

use std::fmt;
use std::str::FromStr;

use crate::case::action::Verb;
use crate::case::refusal::CaseRefusal;

/// Where a case stands. Ordered: a later state is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum State {
    /// In the record, and no officer has it.
    #[default]
    Raised,
    /// An officer has it.
    Acknowledged,
    /// Somebody is ordered there.
    Dispatched,
    /// They are on their way.
    Enroute,
    /// They are there.
    Onscene,
    /// It is dealt with.
    Handled,
    /// Nothing more is to be done.
    Closed,
}

impl State {
    /// All states in order.
    pub const ALL: [State; 7] = [
        State::Raised,
        State::Acknowledged,
        State::Dispatched,
        State::Enroute,
        State::Onscene,
        State::Handled,
        State::Closed,
    ];

    /// Its name in APIs and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["raised", "acknowledged", "dispatched", "enroute", "onscene", "handled", "closed"][self as usize]
    }

    /// Its number in digests and on the wire, from 1. Never used for another.
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The state of this number.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| i32::from(state.number()) == number)
    }

    /// What it is called on a screen: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            State::Raised => ("待接警", "raised"),
            State::Acknowledged => ("已接警", "acknowledged"),
            State::Dispatched => ("已派警", "dispatched"),
            State::Enroute => ("途中", "en route"),
            State::Onscene => ("已到场", "on scene"),
            State::Handled => ("已处置", "handled"),
            State::Closed => ("已结案", "closed"),
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is not a state of a case"))
    }
}

/// The state after `verb` in `state`.
///
/// # Errors
/// [`CaseRefusal::NotTaken`] where an officer must have it first, [`CaseRefusal::NotNow`] where it is not its turn.
pub fn next(state: State, verb: Verb) -> Result<State, CaseRefusal> {
    use State::{Acknowledged, Closed, Dispatched, Enroute, Handled, Onscene, Raised};
    let not_now = Err(CaseRefusal::NotNow { verb, state });
    match (verb, state) {
        (Verb::Note | Verb::Number, state) => Ok(state),
        (Verb::Acknowledge | Verb::TakeOver, Raised) => Ok(Acknowledged),
        (Verb::Acknowledge, _) => not_now,
        (Verb::MakeLive, state) if state != Closed => Ok(state),
        (_, Raised) if verb != Verb::Reopen => Err(CaseRefusal::NotTaken),
        (Verb::Reopen, Closed) => Ok(Acknowledged),
        (Verb::Reopen, _) | (_, Closed) => not_now,
        (Verb::TakeOver, state) => Ok(state),
        (Verb::Transfer, _) => Ok(Raised),
        (Verb::Close, _) => Ok(Closed),
        (Verb::NeedHelp, Acknowledged | Dispatched | Enroute | Onscene) => Ok(state),
        (Verb::Dispatch, Acknowledged) => Ok(Dispatched),
        (Verb::Enroute, Dispatched) => Ok(Enroute),
        (Verb::Onscene, Dispatched | Enroute) => Ok(Onscene),
        (Verb::Handled, Onscene) => Ok(Handled),
        (Verb::NeedHelp | Verb::Dispatch | Verb::Enroute | Verb::Onscene | Verb::Handled | Verb::MakeLive, _) => {
            not_now
        }
    }
}
