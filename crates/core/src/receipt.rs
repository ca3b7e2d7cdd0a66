//! Receipts: who says that an event reached which stage, and when. And the trail that tells where its time went.

use std::fmt;
use std::str::FromStr;

use crate::event::Text;
use crate::id::{EventId, Name, NodeName};
use crate::limits;
use crate::time::WallTime;

/// How far an event has come. Ordered: a later stage is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// On the relay's disk.
    Kept,
    /// Put on the wire by the relay.
    Sent,
    /// In a broker node's memory.
    Received,
    /// On stable storage of the region.
    Stored,
    /// On a station's disk.
    Delivered,
    /// On a screen.
    Displayed,
    /// Taken by an officer.
    Acknowledged,
    /// No officer had it, and none need take it any longer: the region closed its case by itself, a test or a drill being over.
    Closed,
}

impl Stage {
    /// All stages in order.
    pub const ALL: [Stage; 8] = [
        Stage::Kept,
        Stage::Sent,
        Stage::Received,
        Stage::Stored,
        Stage::Delivered,
        Stage::Displayed,
        Stage::Acknowledged,
        Stage::Closed,
    ];

    /// Its name in APIs, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["kept", "sent", "received", "stored", "delivered", "displayed", "acknowledged", "closed"][self as usize]
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text).ok_or_else(|| {
            let known: Vec<_> = Self::ALL.iter().map(|stage| stage.as_str()).collect();
            format!("{text:?} is not a stage; stages are {}", known.join(", "))
        })
    }
}

/// The statement that an event reached a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The event.
    pub event: EventId,
    /// The stage.
    pub stage: Stage,
    /// When, by the clock of the node that says so.
    pub at: WallTime,
    /// Who says so.
    pub by: NodeName,
    /// The officer, from [`Stage::Acknowledged`] on.
    pub officer: Option<Name>,
    /// What the officer noted; may be empty.
    pub note: Text,
    /// By how many microseconds the clock of `by` was ahead of its broker node's, as `by` measured it (negative: behind). `None` if
    /// it had not, or is a broker node itself.
    pub skew: Option<i64>,
    /// What the region's record says to it.
    pub standing: Standing,
}

/// What the region's record says to a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Standing {
    /// It is in the record, or of a kind that needs no record. Final.
    #[default]
    Settled,
    /// Said by a node without a quorum, and on that node's disk: not in the record yet. Ends no waiting for a settled one.
    Provisional,
    /// An acknowledgement, but another officer had the alarm first in the record's order. Final.
    Assisting,
}

impl Standing {
    /// All of them.
    pub const ALL: [Standing; 3] = [Standing::Settled, Standing::Provisional, Standing::Assisting];

    /// Its name in APIs, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["settled", "provisional", "assisting"][self as usize]
    }
}

impl Standing {
    /// What it says of an officer's answer: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Standing::Settled => ("已确认", "settled"),
            Standing::Provisional => ("暂记，待确认", "provisional"),
            Standing::Assisting => ("协助", "assisting"),
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Receipt {
    /// Whether the record has had its say.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.standing != Standing::Provisional
    }
}

/// About how many bytes one receipt is on the wire, with the headers of frame, QUIC, UDP and IP.
pub(crate) const RECEIPT_WIRE_BYTES: usize = 200;

/// One step of a trail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The node.
    pub node: NodeName,
    /// When the event came to it (or was raised there), by its clock.
    pub arrived: WallTime,
    /// When it sent this copy on; `None` while it has not.
    pub left: Option<WallTime>,
    /// As [`Receipt::skew`], for this node.
    pub skew: Option<i64>,
}

/// The nodes that one copy of an event passed, at most [`limits::TRAIL_STEPS`] of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trail(Vec<Step>);

impl Trail {
    /// A trail from steps; those beyond the limit are dropped.
    #[must_use]
    pub fn new(mut steps: Vec<Step>) -> Self {
        steps.truncate(limits::TRAIL_STEPS);
        Self(steps)
    }

    /// The steps so far, in order.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// This trail with the copy having come to `node` at `arrived`, on a clock of this `skew`.
    #[must_use]
    pub fn arrived(mut self, node: &NodeName, arrived: WallTime, skew: Option<i64>) -> Self {
        if self.0.len() < limits::TRAIL_STEPS {
            self.0.push(Step { node: node.clone(), arrived, left: None, skew });
        }
        self
    }

    /// This trail with the copy leaving its last node at `at`.
    #[must_use]
    pub fn leaving(mut self, at: WallTime) -> Self {
        if let Some(last) = self.0.last_mut() {
            last.left = Some(at);
        }
        self
    }
}

/// Adds `receipt` to what is known of its event, `list`. False if it says nothing new, or there is room only for news of a stage
/// that nobody has reached yet: the first of each stage always has a place, so no number of seats keeps an officer's answer out.
///
/// What the record says to a statement takes the place of what was known of it; what is provisional takes no place of what is final.
pub(crate) fn add_receipt(list: &mut Vec<Receipt>, receipt: Receipt) -> bool {
    let known = |have: &&mut Receipt| have.stage == receipt.stage && have.by == receipt.by;
    if let Some(have) = list.iter_mut().find(known) {
        let news = receipt.is_final() && have.standing != receipt.standing;
        if news {
            *have = receipt;
        }
        return news;
    }
    let room = list.len() < limits::RECEIPTS_PER_EVENT - Stage::ALL.len()
        || list.iter().all(|have| have.stage != receipt.stage);
    if !room {
        return false;
    }
    list.push(receipt);
    true
}
