//! What was done to a region and what was seen of it, by whom and when: the matter of the judgement.
//!
//! Invariant: only what a client saw over an API is in here. Nothing is concluded while it is written down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Time since the run began, on the one clock of the process that drives it.
pub type At = Duration;

/// One press that its relay took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    /// The event.
    pub id: String,
    /// Which school, counted from zero.
    pub school: usize,
    /// When the guard pressed.
    pub at: At,
    /// When the relay had answered `202`.
    pub kept: At,
}

/// An alarm came to a screen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Show {
    /// The event.
    pub id: String,
    /// At which seat, counted from zero.
    pub seat: usize,
    /// When.
    pub at: At,
    /// Whether the station had been told that this screen has it: it resumed after its number, or it is the same stream.
    pub again: bool,
}

/// Who said something of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Observer {
    /// A broker node's record.
    Broker(usize),
    /// A relay, to the guard.
    Relay(usize),
    /// A seat, to its officer.
    Seat(usize),
}

/// Somebody said that an alarm has an owner for good: a settled acknowledgement that is not one of an assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The event.
    pub id: String,
    /// When it was heard.
    pub at: At,
    /// Who said it.
    pub by: Observer,
    /// The seat that owns the alarm, by the name in its certificate.
    pub owner: String,
}

/// An officer took an alarm, or tried to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taking {
    /// The event.
    pub id: String,
    /// At which seat.
    pub seat: usize,
    /// When the officer pressed the key.
    pub at: At,
    /// What the seat answered at once.
    pub answer: Answer,
}

/// A seat's first answer to its officer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Noted: it is on its way to the record.
    Noted,
    /// Another seat has it, as far as this one knows.
    Taken,
    /// Neither: it may or may not come to the record.
    Unknown(String),
}

/// An officer did something about the case of an alarm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acting {
    /// The event.
    pub id: String,
    /// At which seat.
    pub seat: usize,
    /// What, by its name in the API.
    pub action: &'static str,
    /// The number of its step in the case, as the seat was told; nothing if it was refused, or nobody confirmed it.
    pub step: Option<u64>,
}

/// An alarm as one node's record holds it in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the log.
    pub index: u64,
    /// The seat that owns it.
    pub owner: Option<String>,
    /// Every seat whose acknowledgement it has.
    pub acknowledged: BTreeSet<String>,
    /// The steps of its case, in order: what was done, and at which seat. Asked for only where officers acted.
    pub steps: Vec<(String, String)>,
    /// Everything else that must be equal on every node, as text.
    pub content: String,
}

/// What everybody says once all is healed and still.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdicts {
    /// Each broker node's record.
    pub records: Vec<BTreeMap<String, Recorded>>,
    /// Each event's lamp, at its relay.
    pub lamps: BTreeMap<String, String>,
    /// Whom each seat names as an alarm's owner.
    pub owners: Vec<BTreeMap<String, Option<String>>>,
}

/// The part of a run in which one fault was in force, its healing included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spell {
    /// The fault's name.
    pub fault: &'static str,
    /// When it began.
    pub from: At,
    /// When all was well again.
    pub to: At,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Names of the seats, by the number that is used here.
    pub seats: Vec<String>,
    /// Which seats answer for which school.
    pub answering: Vec<Vec<usize>>,
    /// Presses that were taken.
    pub presses: Vec<Press>,
    /// What screens were shown.
    pub shows: Vec<Show>,
    /// What officers did.
    pub takings: Vec<Taking>,
    /// What they did about cases.
    pub actings: Vec<Acting>,
    /// Who said whom an alarm belongs to.
    pub words: Vec<Word>,
    /// When a relay first heard that the region has an event on disk.
    pub stored: BTreeMap<String, At>,
    /// The spells of trouble, in order.
    pub spells: Vec<Spell>,
    /// How it all ended.
    pub end: Verdicts,
}

impl History {
    /// A seat's number.
    #[must_use]
    pub fn seat(&self, name: &str) -> Option<usize> {
        self.seats.iter().position(|seat| seat == name)
    }
}
