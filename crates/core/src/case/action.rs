//! What an officer can do about an alarm, and the order in which it is said.
//!
//! Invariant: an order has an id of its own, so saying it again is harmless.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::Text;
use crate::id::{EventId, Name, NodeName, StationId};
use crate::limits;
use crate::time::WallTime;

/// The identity of one order: sixteen bytes that whoever gives it draws at random. Printed as a UUID.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(pub [u8; 16]);

impl ActionId {
    /// That of an acknowledgement, which comes without an order. No order has it.
    pub const NONE: ActionId = ActionId([0; 16]);
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        uuid::Uuid::from_bytes(self.0).as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ActionId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::try_parse(text).map(|id| Self(id.into_bytes()))
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $type:ident: $what:literal { $($(#[$each:meta])* $variant:ident $name:literal $zh:literal $en:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$each])* $variant,)*
        }

        impl $type {
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$variant),*];

            /// Its name in APIs and logs.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// What it is called on a screen: Chinese, English.
            #[must_use]
            pub fn words(self) -> (&'static str, &'static str) {
                match self { $($type::$variant => ($zh, $en),)* }
            }

            /// Its number in digests and on the wire, from 1. Never used for another.
            #[must_use]
            pub fn number(self) -> u8 {
                self as u8 + 1
            }

            /// The one of this number.
            #[must_use]
            pub fn from_number(number: i32) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| i32::from(one.number()) == number)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().copied().find(|one| one.as_str() == text);
                found.ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|one| one.as_str()).collect();
                    format!(concat!("{:?} is not ", $what, "; there are {}"), text, known.join(", "))
                })
            }
        }
    };
}

pub(crate) use named;

named! {
    /// What is done, without its particulars.
    Verb: "an action" {
        /// An officer takes the alarm: the acknowledgement, as the record has it.
        Acknowledge "acknowledge" "接警" "acknowledge",
        /// Another officer becomes the owner.
        TakeOver "take_over" "接手" "take over",
        /// Somebody is ordered there.
        Dispatch "dispatch" "派警" "dispatch",
        /// They are on their way.
        Enroute "enroute" "出发" "en route",
        /// They have arrived.
        Onscene "onscene" "到场" "on scene",
        /// More help is needed: the level rises.
        NeedHelp "need_help" "请求增援" "need help",
        /// It is dealt with.
        Handled "handled" "处置完毕" "handled",
        /// Nothing more is to be done.
        Close "close" "结案" "close",
        /// It was closed too early.
        Reopen "reopen" "重新打开" "reopen",
        /// Another station is to take it.
        Transfer "transfer" "移交" "transfer",
        /// Something worth knowing.
        Note "note" "备注" "note",
        /// The number that the 110 centre gave it.
        Number "number" "110警情编号" "110 number",
        /// A drill or a test that is none: it is meant from now on.
        MakeLive "make_live" "转真实" "make live",
    }
}

named! {
    /// Why a case is closed.
    Reason: "a reason to close" {
        /// It was meant, and is dealt with.
        Real "real" "属实" "real",
        /// Nothing was the matter.
        False "false" "误报" "false alarm",
        /// Somebody came upon the button.
        Accidental "accidental" "误碰" "accidental",
        /// The equipment was tested.
        Test "test" "测试" "test",
        /// A rehearsal.
        Drill "drill" "演练" "drill",
        /// Something else, which the note says.
        Other "other" "其他" "other",
    }
}

/// The number that the 110 centre gave a case: 1 to [`limits::CASE_NUMBER_BYTES`] bytes without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CaseNumber(Arc<str>);

/// Why a text is no [`CaseNumber`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CaseNumberError {
    /// Give it.
    #[error("the 110 number is empty")]
    Empty,
    /// Shorten it.
    #[error("a 110 number has at most {limit} bytes, this one has {0}", limit = limits::CASE_NUMBER_BYTES)]
    TooLong(usize),
    /// Remove the character.
    #[error("a 110 number holds no control characters; found {0:?}")]
    Control(char),
}

impl CaseNumber {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`CaseNumberError`]
    pub fn new(text: &str) -> Result<Self, CaseNumberError> {
        if text.is_empty() {
            return Err(CaseNumberError::Empty);
        }
        if text.len() > limits::CASE_NUMBER_BYTES {
            return Err(CaseNumberError::TooLong(text.len()));
        }
        match text.chars().find(|c| c.is_control()) {
            Some(bad) => Err(CaseNumberError::Control(bad)),
            None => Ok(Self(text.into())),
        }
    }

    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an officer does about an alarm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// See [`Verb::Acknowledge`]. No order says it: it comes with the acknowledgement's receipt.
    Acknowledge,
    /// See [`Verb::TakeOver`].
    TakeOver,
    /// See [`Verb::Dispatch`].
    Dispatch,
    /// See [`Verb::Enroute`].
    Enroute,
    /// See [`Verb::Onscene`].
    Onscene,
    /// See [`Verb::NeedHelp`].
    NeedHelp,
    /// See [`Verb::Handled`].
    Handled,
    /// See [`Verb::Close`].
    Close(Reason),
    /// See [`Verb::Reopen`].
    Reopen,
    /// See [`Verb::Transfer`]: the station that is to take it.
    Transfer(StationId),
    /// See [`Verb::Note`].
    Note,
    /// See [`Verb::Number`].
    Number(CaseNumber),
    /// See [`Verb::MakeLive`].
    MakeLive,
}

impl Action {
    /// What is done, without its particulars.
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Action::Acknowledge => Verb::Acknowledge,
            Action::TakeOver => Verb::TakeOver,
            Action::Dispatch => Verb::Dispatch,
            Action::Enroute => Verb::Enroute,
            Action::Onscene => Verb::Onscene,
            Action::NeedHelp => Verb::NeedHelp,
            Action::Handled => Verb::Handled,
            Action::Close(_) => Verb::Close,
            Action::Reopen => Verb::Reopen,
            Action::Transfer(_) => Verb::Transfer,
            Action::Note => Verb::Note,
            Action::Number(_) => Verb::Number,
            Action::MakeLive => Verb::MakeLive,
        }
    }

    /// Its particulars as text: the reason, the station or the number; empty for those that have none.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Action::Close(reason) => reason.as_str(),
            Action::Transfer(station) => station.0.as_str(),
            Action::Number(number) => number.as_str(),
            _ => "",
        }
    }

    /// The action of this verb with these particulars, as [`Action::detail`] gives them.
    ///
    /// # Errors
    /// What is wrong with the particulars.
    pub fn from_parts(verb: Verb, detail: &str) -> Result<Self, String> {
        let plain = match verb {
            Verb::Close => return detail.parse().map(Action::Close),
            Verb::Transfer => return detail.parse().map(Action::Transfer).map_err(|why| format!("the station: {why}")),
            Verb::Number => return CaseNumber::new(detail).map(Action::Number).map_err(|why| why.to_string()),
            Verb::Acknowledge => Action::Acknowledge,
            Verb::TakeOver => Action::TakeOver,
            Verb::Dispatch => Action::Dispatch,
            Verb::Enroute => Action::Enroute,
            Verb::Onscene => Action::Onscene,
            Verb::NeedHelp => Action::NeedHelp,
            Verb::Handled => Action::Handled,
            Verb::Reopen => Action::Reopen,
            Verb::Note => Action::Note,
            Verb::MakeLive => Action::MakeLive,
        };
        if detail.is_empty() { Ok(plain) } else { Err(format!("{verb} has no particulars; these are {detail:?}")) }
    }
}

/// An officer's order about a case, from a seat to its region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseOrder {
    /// Which order it is.
    pub id: ActionId,
    /// The alarm.
    pub event: EventId,
    /// What is to be done. Never [`Action::Acknowledge`].
    pub action: Action,
    /// The seat at which it was said.
    pub by: NodeName,
    /// The officer who said it.
    pub officer: Name,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// What the officer notes; may be empty.
    pub note: Text,
}
