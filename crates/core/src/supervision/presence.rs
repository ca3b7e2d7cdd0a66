//! Who holds sessions with one node, as the other nodes ask for it: all of it at first, then what has changed.
//!
//! Invariant: whoever asks with what the last answer gave knows in the end who is here, whatever came and went meanwhile: changes that happen
//! while the whole list is given are given after it.

use std::collections::{BTreeMap, VecDeque};

use crate::id::NodeName;
use crate::limits;

/// How far somebody knows who is at a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresenceAsk {
    /// The life of the node that it knows; 0 for none.
    pub epoch: u64,
    /// The changes of it that it knows.
    pub version: u64,
    /// If it is being given the whole list: the last name that it got.
    pub after: Option<NodeName>,
}

/// A part of who is at a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PresencePart {
    /// This life of the node.
    pub epoch: u64,
    /// The changes that are known after it.
    pub version: u64,
    /// Whether it is a part of the whole list, instead of what has changed.
    pub whole: bool,
    /// Those who hold a session here; at most [`limits::PRESENCE_NAMES`] together with `down`.
    pub up: Vec<NodeName>,
    /// Those who hold none any more.
    pub down: Vec<NodeName>,
    /// Whether there is more to ask for at once.
    pub more: bool,
}

/// What has changed at one node lately.
#[derive(Debug)]
pub struct Presence {
    /// Names in one answer.
    most: usize,
    /// Changes that are remembered.
    kept: usize,
    epoch: u64,
    /// How many changes there have been.
    version: u64,
    /// The last of them.
    changes: VecDeque<(NodeName, bool)>,
}

impl Presence {
    /// That of a node in the life of this number, which no other life of it has and which is not 0.
    #[must_use]
    pub fn new(epoch: u64) -> Self {
        let (most, kept) = (limits::PRESENCE_NAMES, limits::PRESENCE_CHANGES);
        Self { most, kept, epoch: epoch.max(1), version: 0, changes: VecDeque::new() }
    }

    /// One that gives and remembers little.
    #[cfg(test)]
    pub(super) fn small(epoch: u64, most: usize, kept: usize) -> Self {
        Self { most, kept, ..Self::new(epoch) }
    }

    /// Somebody's first session is here, or the last one is gone.
    pub fn note(&mut self, who: NodeName, here: bool) {
        self.version += 1;
        self.changes.push_back((who, here));
        if self.changes.len() > self.kept {
            self.changes.pop_front();
        }
    }

    /// What whoever asks so does not know. `here` gives those who are here now, in the order of their names, from behind `ask.after` on if this node
    /// is in the life that is asked about ([`Presence::goes_on`]).
    #[must_use]
    pub fn answer(&self, ask: &PresenceAsk, mut here: impl Iterator<Item = NodeName>) -> PresencePart {
        let known = ask.epoch == self.epoch && ask.version <= self.version;
        let missing = if known { usize::try_from(self.version - ask.version).ok() } else { None };
        let missing = missing.filter(|missing| ask.after.is_none() && *missing <= self.changes.len());
        let Some(missing) = missing else {
            let up: Vec<NodeName> = here.by_ref().take(self.most).collect();
            // A list that is given in parts is as old as its first.
            let version = if self.goes_on(ask) { ask.version } else { self.version };
            return PresencePart {
                epoch: self.epoch,
                version,
                whole: true,
                up,
                down: Vec::new(),
                more: here.next().is_some(),
            };
        };
        let given = missing.min(self.most);
        let changes = self.changes.range(self.changes.len() - missing..).take(given);
        let last: BTreeMap<&NodeName, bool> = changes.map(|(who, here)| (who, *here)).collect();
        let (up, down): (Vec<_>, Vec<_>) = last.into_iter().partition(|(_, here)| *here);
        let names = |list: Vec<(&NodeName, bool)>| list.into_iter().map(|(who, _)| who.clone()).collect();
        PresencePart {
            epoch: self.epoch,
            version: ask.version + given as u64,
            whole: false,
            up: names(up),
            down: names(down),
            more: given < missing,
        }
    }

    /// Whether the whole list goes on behind `ask.after`, instead of beginning.
    #[must_use]
    pub fn goes_on(&self, ask: &PresenceAsk) -> bool {
        ask.after.is_some() && ask.epoch == self.epoch && ask.version <= self.version
    }
}
