//! Why an officer's order about a case is not carried out: each reason with its name and its words.

use crate::case::action::Verb;
use crate::case::state::State;
use crate::limits;

/// Why an order is not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum CaseRefusal {
    /// The node that was asked does not have the event as one of this station. Another may.
    #[error("the region does not know it as an event of this station")]
    Unknown,
    /// It has left the record.
    #[error("the event has left the region's record for the archive; its case can only be looked at")]
    Archived,
    /// Steps of a case are in the record or nowhere.
    #[error("the region has no quorum now, and nothing enters its record: act by telephone, and say it again later")]
    NoQuorum,
    /// Below P1 nobody need take anything.
    #[error("the event is no alarm (P0, P1), so it has no case")]
    NoCase,
    /// The record of the region that the school belongs to has it.
    #[error("the case is kept in the region that the school belongs to; act at a station there")]
    Elsewhere,
    /// Another station's officer owns it.
    #[error("another station's officer owns the case; take it over first")]
    NotOwner,
    /// Nobody has it.
    #[error("nobody has taken the alarm; acknowledge it first, or take it over after a transfer")]
    NotTaken,
    /// It is not its turn.
    #[error("{verb} is not possible while the case is {state}")]
    NotNow {
        /// What was to be done.
        verb: Verb,
        /// Where the case stands.
        state: State,
    },
    /// The reason needs words.
    #[error("say why in the note: it is needed for other, and for real before it was handled")]
    NeedsNote,
    /// It was closed too long ago.
    #[error("a case can be reopened within {minutes} minutes of its closing only", minutes = limits::CASE_REOPEN.as_secs() / 60)]
    TooLate,
    /// The officer, or the station that it is to go to, has it.
    #[error("whoever is to have the case has it already")]
    Owns,
    /// There is nobody above.
    #[error("the level is the highest that there is, {limit}", limit = limits::CASE_LEVEL)]
    TopLevel,
    /// Its history, the record, or the event's list of stations is full.
    #[error(
        "there is no room for it: of a case that is too long only its end is taken, and an event has so many stations at most"
    )]
    NoRoom,
    /// Nobody doubts it.
    #[error("it is meant already")]
    Live,
    /// Two orders under one id are one order: whoever made the second would be told that the first is done.
    #[error("another order was given under this id; give this one an id of its own")]
    IdUsed,
    /// A reason that this version has no name for.
    #[error("refused for a reason that this version does not know")]
    Other,
}

impl CaseRefusal {
    /// Its number on the wire and in the record, from 1. Never used for another.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            CaseRefusal::Unknown => 1,
            CaseRefusal::Archived => 2,
            CaseRefusal::NoQuorum => 3,
            CaseRefusal::NoCase => 4,
            CaseRefusal::Elsewhere => 5,
            CaseRefusal::NotOwner => 6,
            CaseRefusal::NotTaken => 7,
            CaseRefusal::NotNow { .. } => 8,
            CaseRefusal::NeedsNote => 9,
            CaseRefusal::TooLate => 10,
            CaseRefusal::Owns => 11,
            CaseRefusal::TopLevel => 12,
            CaseRefusal::NoRoom => 13,
            CaseRefusal::Other => 14,
            CaseRefusal::Live => 15,
            CaseRefusal::IdUsed => 16,
        }
    }

    /// The reason of this number; those of [`CaseRefusal::NotNow`] come with it. One that this version does not know is still a refusal.
    #[must_use]
    pub fn from_number(number: i32, not_now: Option<(Verb, State)>) -> Self {
        let plain = [
            CaseRefusal::Unknown,
            CaseRefusal::Archived,
            CaseRefusal::NoQuorum,
            CaseRefusal::NoCase,
            CaseRefusal::Elsewhere,
            CaseRefusal::NotOwner,
            CaseRefusal::NotTaken,
            CaseRefusal::NeedsNote,
            CaseRefusal::TooLate,
            CaseRefusal::Owns,
            CaseRefusal::TopLevel,
            CaseRefusal::NoRoom,
            CaseRefusal::Live,
            CaseRefusal::IdUsed,
        ];
        let not_now = not_now.map(|(verb, state)| CaseRefusal::NotNow { verb, state });
        let mut known = plain.into_iter().chain(not_now);
        known.find(|why| i32::from(why.number()) == number).unwrap_or(CaseRefusal::Other)
    }

    /// Whether another node may say otherwise: whoever asks goes on asking.
    #[must_use]
    pub fn is_soft(self) -> bool {
        matches!(self, CaseRefusal::Unknown | CaseRefusal::NoQuorum)
    }

    /// Its name in APIs and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            CaseRefusal::Unknown => "not_ours",
            CaseRefusal::Archived => "archived",
            CaseRefusal::NoQuorum => "no_quorum",
            CaseRefusal::NoCase => "no_case",
            CaseRefusal::Elsewhere => "elsewhere",
            CaseRefusal::NotOwner => "not_owner",
            CaseRefusal::NotTaken => "not_taken",
            CaseRefusal::NotNow { .. } => "not_now",
            CaseRefusal::NeedsNote => "needs_note",
            CaseRefusal::TooLate => "too_late",
            CaseRefusal::Owns => "owns",
            CaseRefusal::TopLevel => "top_level",
            CaseRefusal::NoRoom => "no_room",
            CaseRefusal::Live => "live",
            CaseRefusal::IdUsed => "id_used",
            CaseRefusal::Other => "other",
        }
    }
}
