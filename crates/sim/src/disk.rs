//! Disks that take their time, fail, and lose at a crash what they had not said was safe.

use std::collections::{BTreeMap, VecDeque};

use huxiao_core::{EventId, InboxRow, NodeName, PersistSeq, RelayRow, Resume, Rng};
use huxiao_core::{relay, station};

/// What a node's writes add up to.
pub trait Content: Default {
    /// One of them.
    type Write;
    /// Takes one in.
    fn apply(&mut self, write: Self::Write);
}

/// Rows by number, and the number of each event's row.
#[derive(Debug)]
pub struct Rows<R> {
    rows: BTreeMap<u64, R>,
    numbers: BTreeMap<EventId, u64>,
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), numbers: BTreeMap::new() }
    }
}

impl<R> Rows<R> {
    fn put(&mut self, number: u64, id: EventId, row: R) {
        self.rows.insert(number, row);
        self.numbers.insert(id, number);
    }

    fn forget(&mut self, number: u64) {
        if self.rows.remove(&number).is_some() {
            self.numbers.retain(|_, of| *of != number);
        }
    }

    /// All rows, in order.
    pub fn all(&self) -> impl Iterator<Item = &R> {
        self.rows.values()
    }

    /// The row of this number.
    #[must_use]
    pub fn at(&self, number: u64) -> Option<&R> {
        self.rows.get(&number)
    }

    /// The row of an event.
    #[must_use]
    pub fn of(&self, id: &EventId) -> Option<&R> {
        self.rows.get(self.numbers.get(id)?)
    }
}

/// A relay's rows by slot.
#[derive(Default)]
pub struct Outbox(pub Rows<RelayRow>);

impl Content for Outbox {
    type Write = relay::Write;
    fn apply(&mut self, write: relay::Write) {
        match write {
            relay::Write::Put(row) => self.0.put(row.slot, row.sealed.event.id, row),
            relay::Write::Forget(_, slot) => self.0.forget(slot),
            // Nobody commands schools here.
            relay::Write::PutCommand(_) | relay::Write::ForgetCommand(_) => {}
        }
    }
}

/// A seat's rows by number, and its marks.
#[derive(Default)]
pub struct Inbox {
    /// Rows by number.
    pub rows: Rows<InboxRow>,
    /// Up to where it has everything, by node.
    pub marks: BTreeMap<NodeName, Resume>,
}

impl Content for Inbox {
    type Write = station::Write;
    fn apply(&mut self, write: station::Write) {
        match write {
            station::Write::Put(row) => self.rows.put(row.seq, row.sealed.event.id, row),
            station::Write::Forget(_, seq) => self.rows.forget(seq),
            station::Write::Mark(node, resume) => drop(self.marks.insert(node, resume)),
        }
    }
}

/// One disk: what is safe on it, and what waits.
pub struct Disk<C: Content> {
    /// What is safe.
    pub content: C,
    queue: VecDeque<(PersistSeq, C::Write)>,
    /// How many of the queue are being synced now.
    syncing: usize,
    /// How many writes there were.
    pub writes: usize,
}

impl<C: Content> Default for Disk<C> {
    fn default() -> Self {
        Self { content: C::default(), queue: VecDeque::new(), syncing: 0, writes: 0 }
    }
}

impl<C: Content> Disk<C> {
    /// Takes a write. True if a sync must be started.
    pub fn write(&mut self, seq: PersistSeq, write: C::Write) -> bool {
        self.writes += 1;
        self.queue.push_back((seq, write));
        self.start()
    }

    fn start(&mut self) -> bool {
        let idle = self.syncing == 0;
        if idle {
            self.syncing = self.queue.len();
        }
        idle && self.syncing > 0
    }

    /// The sync is over. The writes that it was about, and whether another one must be started.
    pub fn synced(&mut self, failed: bool) -> (Vec<PersistSeq>, bool) {
        let mut done = Vec::new();
        for (seq, write) in self.queue.drain(..std::mem::take(&mut self.syncing)) {
            done.push(seq);
            if !failed {
                self.content.apply(write);
            }
        }
        (done, self.start())
    }

    /// The power goes. Some of what was under way may have reached the disk all the same, in order.
    pub fn crash(&mut self, rng: &mut Rng) {
        let luck = rng.below(self.queue.len() as u64 + 1);
        for _ in 0..luck {
            if let Some((_, write)) = self.queue.pop_front() {
                self.content.apply(write);
            }
        }
        self.queue.clear();
        self.syncing = 0;
    }
}
