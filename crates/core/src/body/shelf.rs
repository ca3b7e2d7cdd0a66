//! What is held: on the disk, in the order of its age, and what is of the moment, in memory.
//!
//! Invariants: what is on the disk has at most so many bytes, is at most so many bodies and no older than it may be; of the moment there are at most
//! [`limits::BODY_LIVE_BYTES`], the newest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::body::port::Content;
use crate::body::{BodyId, Media};
use crate::limits;
use crate::time::{Span, WallTime};

#[derive(Debug, Default)]
pub(super) struct Shelf {
    held: BTreeMap<BodyId, (usize, WallTime)>,
    by_age: BTreeSet<(WallTime, BodyId)>,
    bytes: u64,
    live: BTreeMap<BodyId, (Media, Content)>,
    live_order: VecDeque<BodyId>,
    live_bytes: usize,
}

impl Shelf {
    pub(super) fn has(&self, id: &BodyId) -> bool {
        self.held.contains_key(id) || self.live.contains_key(id)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn live(&self, id: &BodyId) -> Option<&(Media, Content)> {
        self.live.get(id)
    }

    /// A body is on the disk. Gives what must leave it for that.
    pub(super) fn add(&mut self, id: BodyId, size: usize, since: WallTime, max_bytes: u64) -> Vec<BodyId> {
        if self.held.contains_key(&id) {
            return Vec::new();
        }
        self.held.insert(id, (size, since));
        self.by_age.insert((since, id));
        self.bytes += size as u64;
        let mut left = Vec::new();
        while (self.bytes > max_bytes || self.held.len() > limits::BODIES_HELD) && self.held.len() > 1 {
            let Some((_, oldest)) = self.by_age.iter().find(|(_, other)| *other != id).copied() else { break };
            self.remove(&oldest);
            left.push(oldest);
        }
        left
    }

    /// What is too old by now, at most `count` of it.
    pub(super) fn outdated(&mut self, now: WallTime, max_age: Span, count: usize) -> Vec<BodyId> {
        let limit = now.0.saturating_sub(i64::try_from(max_age.as_micros()).unwrap_or(i64::MAX));
        let old: Vec<BodyId> =
            self.by_age.iter().take(count).take_while(|(at, _)| at.0 < limit).map(|(_, id)| *id).collect();
        old.iter().for_each(|id| self.remove(id));
        old
    }

    /// It is not on the disk after all.
    pub(super) fn remove(&mut self, id: &BodyId) {
        if let Some((size, since)) = self.held.remove(id) {
            self.by_age.remove(&(since, *id));
            self.bytes -= size as u64;
        }
    }

    /// A body of the moment takes the place of the oldest ones.
    pub(super) fn add_live(&mut self, id: BodyId, media: Media, content: Content) {
        if self.has(&id) {
            return;
        }
        self.live_bytes += content.len();
        self.live.insert(id, (media, content));
        self.live_order.push_back(id);
        while self.live_bytes > limits::BODY_LIVE_BYTES {
            let Some(oldest) = self.live_order.pop_front() else { return };
            if let Some((_, content)) = self.live.remove(&oldest) {
                self.live_bytes -= content.len();
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: u64 = self.held.values().map(|(size, _)| *size as u64).sum();
        if bytes != self.bytes || self.by_age.len() != self.held.len() {
            return Err(format!("bodies of {bytes} bytes are held, {} are counted", self.bytes));
        }
        let live: usize = self.live.values().map(|(_, content)| content.len()).sum();
        if live != self.live_bytes || live > limits::BODY_LIVE_BYTES || self.live.len() != self.live_order.len() {
            return Err(format!("{live} bytes of the moment are held, {} are counted", self.live_bytes));
        }
        if self.held.len() > limits::BODIES_HELD.max(1) {
            return Err(format!("{} bodies are held", self.held.len()));
        }
        Ok(())
    }
}
