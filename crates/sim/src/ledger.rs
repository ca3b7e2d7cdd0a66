//! What a world has seen: what was promised, to be held against what came of it.

use std::collections::{BTreeMap, BTreeSet};

use huxiao_core::{Class, EventId, NodeName, Stage};

use crate::faced::Met;

/// An event that was raised.
#[derive(Debug, Clone)]
pub struct Raised {
    /// When, first.
    pub at: u64,
    /// At which school.
    pub school: usize,
    /// Its class.
    pub class: Class,
    /// The stations that the plan named then.
    pub stations: Vec<usize>,
}

/// An event, or what somebody said of it.
pub type Entered = (EventId, Option<(Stage, NodeName)>);

/// What was seen.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Events that were raised.
    pub raised: BTreeMap<EventId, Raised>,
    /// Of those, the ones that their relay called kept.
    pub kept: BTreeSet<EventId>,
    /// The first event of each key.
    pub by_key: BTreeMap<String, EventId>,
    /// The event of each press that was called kept.
    pub of_press: BTreeMap<usize, EventId>,
    /// What each broker node called stored.
    pub stored: BTreeSet<(usize, EventId)>,
    /// What a node without a quorum said that it has: the event, or what somebody said of it.
    pub journalled: BTreeSet<(EventId, Stage, NodeName)>,
    /// What each node said to have entered its record, in each of its lives.
    pub entered: BTreeSet<(usize, u64, Entered)>,
    /// What the world had to do with.
    pub met: Met,
    /// What an officer was told to have.
    pub taken: BTreeSet<EventId>,
    /// What each seat has shown in this life, and with a disk that had it.
    pub shown_now: Vec<BTreeSet<EventId>>,
    /// The latter.
    pub shown_for_good: Vec<BTreeSet<EventId>>,
    /// When an event was first shown at a seat of a station.
    pub arrived: BTreeMap<(EventId, usize), u64>,
    /// When its relay first heard of each stage's end: stored, and acknowledged.
    pub told: BTreeMap<(EventId, Stage), u64>,
    /// How often relays sent each event.
    pub copies: BTreeMap<EventId, u64>,
    /// Copies of events that were sent when all was said.
    pub copies_after_quiet: u64,
    /// Schools and times of presses at which sessions led all the way.
    pub settled_presses: BTreeSet<(usize, u64)>,
    /// How near the busiest node of any ten minutes came to what is allowed, in percent: wakes, packets.
    pub busiest: (u64, u64),
    /// Presses that came, and those that nobody took.
    pub presses: u64,
}

impl Ledger {
    /// An empty one for so many seats.
    #[must_use]
    pub fn new(seats: usize) -> Self {
        Self {
            shown_now: vec![BTreeSet::new(); seats],
            shown_for_good: vec![BTreeSet::new(); seats],
            ..Self::default()
        }
    }
}
