//! The nodes as the world holds them: a machine while it runs, its disk always, and what was counted of it.

use huxiao_core::broker::Broker;
use huxiao_core::relay::Relay;
use huxiao_core::station::Station;

use crate::disk::{Disk, Inbox, Outbox};
use crate::region::Replica;

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
    /// What it has of the record, and its journal.
    pub replica: Replica,
    /// Whether it keeps receipts to itself.
    pub mute: bool,
}
