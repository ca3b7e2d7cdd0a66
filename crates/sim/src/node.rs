//! The nodes as the world holds them: a machine while it runs, its disk always, and what was counted of it.

use std::collections::BTreeMap;

use huxiao_core::broker::Broker;
use huxiao_core::relay::Relay;
use huxiao_core::station::Station;
use huxiao_core::{Command, Rng};

use crate::disk::{Disk, Inbox, Outbox};

/// One node, by its place among its like.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Node {
    /// A school's relay.
    Relay(usize),
    /// A broker node.
    Broker(usize),
    /// A station's seat.
    Seat(usize),
}

/// What all nodes have.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// How often it has crashed.
    pub number: u64,
    /// Since when it has been up.
    pub up_since: Option<u64>,
    /// Faults of its disk that are on: it takes little, or takes its time.
    pub disk_failing: u32,
    /// The same.
    pub disk_slow: u32,
    /// Since when its disk has been well.
    pub disk_well_since: Option<u64>,
    /// When its machine wants to be woken.
    pub wake: Option<u64>,
    /// How often it was woken.
    pub wakes: u64,
    /// Packets that it sent.
    pub packets: u64,
    /// Bytes that it sent.
    pub bytes: u64,
    /// The first two as they were at the last count.
    pub counted: (u64, u64),
}

impl Life {
    /// A node that is to be started.
    #[must_use]
    pub fn new() -> Self {
        Self { disk_well_since: Some(0), ..Self::default() }
    }

    /// Since when it has been up with a disk that works.
    #[must_use]
    pub fn well_since(&self) -> Option<u64> {
        Some(self.up_since?.max(self.disk_well_since?))
    }
}

/// A relay.
pub struct RelayNode {
    /// What all have.
    pub life: Life,
    /// While it is up.
    pub machine: Option<Relay>,
    /// Its outbox.
    pub disk: Disk<Outbox>,
}

/// A seat.
pub struct SeatNode {
    /// What all have.
    pub life: Life,
    /// While it is up.
    pub machine: Option<Station>,
    /// Its inbox.
    pub disk: Disk<Inbox>,
}

/// A broker node.
pub struct BrokerNode {
    /// What all have.
    pub life: Life,
    /// While it is up.
    pub machine: Option<Broker>,
    /// Its record's log.
    pub log: Log,
    /// Whether it keeps receipts to itself.
    pub mute: bool,
}

/// The log of a record, and the engine that puts commands into it.
#[derive(Default)]
pub struct Log {
    /// What is durable.
    pub entries: BTreeMap<u64, Command>,
    /// What waits for the sync.
    pub proposals: Vec<Command>,
    /// What may go.
    pub forgets: Vec<u64>,
    /// Whether a sync is under way.
    pub committing: bool,
    /// Which record it is.
    pub record: u8,
    /// Whether it has been lost once.
    pub lost: bool,
}

impl Log {
    /// An engine that counts on from the last entry that it finds.
    pub fn append(&mut self, command: Command) -> u64 {
        let index = self.entries.last_key_value().map_or(1, |(last, _)| last + 1);
        self.entries.insert(index, command);
        index
    }

    /// The power goes: some of what waited is there all the same, in order.
    pub fn crash(&mut self, rng: &mut Rng, loses_all: bool) {
        let luck = rng.below(self.proposals.len() as u64 + 1);
        let luck = usize::try_from(luck).unwrap_or(usize::MAX);
        for command in std::mem::take(&mut self.proposals).into_iter().take(luck) {
            self.append(command);
        }
        for index in std::mem::take(&mut self.forgets) {
            if rng.below(2) == 0 {
                self.entries.remove(&index);
            }
        }
        self.committing = false;
        if loses_all && !self.lost {
            self.lost = true;
            self.entries.clear();
            self.record += 1;
        }
    }
}
