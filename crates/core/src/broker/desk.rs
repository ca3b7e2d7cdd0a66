//! One seat of a station as a broker node sees it: its sessions, what it is still to be given, and the mark it can resume at.

use std::collections::BTreeMap;

use crate::courier::Courier;
use crate::event::Class;
use crate::id::{EventId, PathId};
use crate::lane::Lane;
use crate::limits;
use crate::path::PathInfo;
use crate::time::Timestamp;

/// The node's side of one seat.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) courier: Courier<EventId>,
    pub(super) paths: BTreeMap<PathId, PathInfo>,
    /// Whether the seat has said how much it has. Before that it is given nothing, since nobody knows what it lacks.
    pub(super) greeted: bool,
    /// Whether somebody would hear it ring, by its own word.
    pub(super) audible: bool,
    /// The wire minor that it speaks; 0 while it has not said so.
    pub(super) minor: u32,
    /// When its courier wants to be woken, as the node's timer table has it.
    pub(super) wake: Option<Timestamp>,
    /// Events in the courier by their index in the record, where they have one.
    outstanding: BTreeMap<u64, EventId>,
    indexes: BTreeMap<EventId, u64>,
    told_mark: u64,
}

/// What people want to know of a seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeskView {
    /// Sessions that it holds with this node.
    pub sessions: usize,
    /// Events on their way to it, by class, highest first.
    pub pending: [usize; Class::ALL.len()],
    /// Up to which index of the record it has everything.
    pub mark: u64,
}

impl Desk {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            courier: Courier::new(seed).with_rate(limits::SEAT_COPY_BYTES_PER_SECOND),
            paths: BTreeMap::new(),
            greeted: false,
            audible: true,
            minor: 0,
            wake: None,
            outstanding: BTreeMap::new(),
            indexes: BTreeMap::new(),
            told_mark: 0,
        }
    }

    /// The seat has said that it has everything up to `mark`, which is what it knows, whatever it was told before: it may have lost its
    /// inbox, or a message.
    pub(super) fn greet(&mut self, mark: u64) {
        self.greeted = true;
        self.told_mark = mark;
    }

    /// Gives the seat an event of this class and of about so many bytes; `index` is known once the record has it.
    pub(super) fn offer(
        &mut self,
        now: Timestamp,
        event: EventId,
        (class, bytes): (Class, usize),
        index: Option<u64>,
        backlog: bool,
    ) {
        if let Some(index) = index {
            if let Some(old) = self.indexes.insert(event, index) {
                self.outstanding.remove(&old);
            }
            self.outstanding.insert(index, event);
        }
        self.courier.offer(now, event, class, backlog, bytes);
    }

    /// The seat has it.
    pub(super) fn settle(&mut self, now: Timestamp, event: &EventId) {
        self.courier.settle(now, event);
        if let Some(index) = self.indexes.remove(event) {
            self.outstanding.remove(&index);
        }
    }

    /// The index up to which the seat has everything, in a record whose last index is `last`.
    pub(super) fn mark(&self, last: u64) -> u64 {
        self.outstanding.first_key_value().map_or(last, |(index, _)| index.saturating_sub(1))
    }

    /// The mark to tell the seat now, if it is worth a message: when it lacks nothing and does not know that.
    pub(super) fn news(&mut self, last: u64) -> Option<u64> {
        if !self.outstanding.is_empty() || last <= self.told_mark {
            return None;
        }
        self.told_mark = last;
        Some(last)
    }

    /// Its express sessions.
    pub(super) fn express(&self) -> impl Iterator<Item = PathId> {
        self.paths.iter().filter(|(_, info)| info.lane == Lane::Express).map(|(path, _)| *path)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        if self.paths.is_empty() {
            return Err("it is listed without a session".to_owned());
        }
        if self.courier.poll_timeout() != self.wake {
            return Err("its timer is not that of its courier".to_owned());
        }
        if !self.outstanding.values().all(|id| self.courier.carries(id)) || self.outstanding.len() != self.indexes.len()
        {
            return Err("it lacks an event that nobody carries to it".to_owned());
        }
        Ok(())
    }

    pub(super) fn view(&self, last: u64) -> DeskView {
        DeskView { sessions: self.paths.len(), pending: self.courier.pending(), mark: self.mark(last) }
    }
}
