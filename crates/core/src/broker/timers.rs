//! When whose courier wants to be woken: each peer stands here at most once, under the time that its courier last named.

use std::collections::BTreeSet;

use crate::id::NodeName;
use crate::time::Timestamp;

/// When whose courier wants to be woken.
#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Timestamp, NodeName)>);

impl Timers {
    /// Puts `new` in the place of `old`.
    pub(super) fn set(&mut self, peer: NodeName, old: Option<Timestamp>, new: Option<Timestamp>) {
        if old == new {
            return;
        }
        let mut entry = (Timestamp(0), peer);
        if let Some(old) = old {
            entry.0 = old;
            self.0.remove(&entry);
        }
        if let Some(new) = new {
            entry.0 = new;
            self.0.insert(entry);
        }
    }

    pub(super) fn due(&self, now: Timestamp) -> Vec<NodeName> {
        self.0.iter().take_while(|(at, _)| *at <= now).map(|(_, peer)| peer.clone()).collect()
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(super) fn has(&self, at: Timestamp, peer: &NodeName) -> bool {
        self.0.contains(&(at, peer.clone()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
