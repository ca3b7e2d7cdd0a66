//! Who holds a session with any node of the region, put together from what each node says.
//!
//! Invariant: a name is seen while at least one node that is heard has it. A node that has not answered for [`limits::PRESENCE_STALE`] has
//! nobody.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Name, NodeName};
use crate::limits;
use crate::supervision::presence::{PresenceAsk, PresencePart};
use crate::time::Timestamp;

/// Who came and who went, as the region sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// They hold a session with some node, and held none before.
    pub seen: Vec<NodeName>,
    /// They hold none any more.
    pub lost: Vec<NodeName>,
}

/// What one node has said.
#[derive(Debug)]
struct Told {
    epoch: u64,
    version: u64,
    names: BTreeSet<NodeName>,
    /// The whole list, as far as it has come.
    loading: Option<BTreeSet<NodeName>>,
    /// Whether a whole list has come.
    complete: bool,
    heard: Timestamp,
}

impl Told {
    fn nothing(now: Timestamp) -> Self {
        Self { epoch: 0, version: 0, names: BTreeSet::new(), loading: None, complete: false, heard: now }
    }
}

/// The roll of a region.
#[derive(Debug, Default)]
pub struct Roll {
    nodes: BTreeMap<Name, Told>,
    /// Nodes that have not been heard for too long: they have nobody.
    absent: BTreeSet<Name>,
    /// At how many nodes each of them is.
    seen: BTreeMap<NodeName, usize>,
}

impl Roll {
    /// What to ask a node.
    #[must_use]
    pub fn ask(&self, node: &Name) -> PresenceAsk {
        let Some(told) = self.nodes.get(node) else { return PresenceAsk::default() };
        let after = told.loading.as_ref().and_then(|names| names.last().cloned());
        PresenceAsk { epoch: told.epoch, version: told.version, after }
    }

    /// What it said to that.
    pub fn answer(&mut self, now: Timestamp, node: &Name, part: PresencePart) -> Changes {
        self.absent.remove(node);
        let told = self.nodes.entry(node.clone()).or_insert_with(|| Told::nothing(now));
        told.heard = now;
        let mut changes = Changes::default();
        if part.whole {
            let goes_on = told.loading.is_some() && (told.epoch, told.version) == (part.epoch, part.version);
            let mut names = told.loading.take().filter(|_| goes_on).unwrap_or_default();
            // A node that has more and gives nothing would be asked for ever.
            let more = part.more && !part.up.is_empty();
            names.extend(part.up);
            names.retain(is_watched);
            if names.len() > limits::BROKER_SESSIONS {
                names = names.into_iter().take(limits::BROKER_SESSIONS).collect();
            }
            if more && names.len() < limits::BROKER_SESSIONS {
                told.loading = Some(names);
            } else {
                told.complete = true;
                for gone in told.names.difference(&names) {
                    lose(&mut self.seen, gone, &mut changes);
                }
                for new in names.difference(&told.names) {
                    see(&mut self.seen, new, &mut changes);
                }
                told.names = names;
            }
        } else {
            for who in part.down {
                if told.names.remove(&who) {
                    lose(&mut self.seen, &who, &mut changes);
                }
            }
            for who in part.up.into_iter().filter(is_watched) {
                if told.names.len() < limits::BROKER_SESSIONS && told.names.insert(who.clone()) {
                    see(&mut self.seen, &who, &mut changes);
                }
            }
        }
        (told.epoch, told.version) = (part.epoch, part.version);
        changes
    }

    /// It is there, and does not say who is.
    pub fn refused(&mut self, now: Timestamp, node: &Name) {
        self.absent.remove(node);
        let told = self.nodes.entry(node.clone()).or_insert_with(|| Told::nothing(now));
        (told.heard, told.complete) = (now, false);
    }

    /// These are the nodes of the region. What others said counts no longer, nor what one said that has not been heard for too long.
    pub fn look(&mut self, now: Timestamp, members: &BTreeSet<Name>) -> Changes {
        let mut changes = Changes::default();
        for member in members.iter().filter(|member| !self.absent.contains(*member)) {
            self.nodes.entry(member.clone()).or_insert_with(|| Told::nothing(now));
        }
        let gone = |(node, told): (&Name, &Told)| {
            (!members.contains(node) || now.since(told.heard) >= limits::PRESENCE_STALE).then(|| node.clone())
        };
        let gone: Vec<Name> = self.nodes.iter().filter_map(gone).collect();
        for node in gone {
            let Some(told) = self.nodes.remove(&node) else { continue };
            told.names.iter().for_each(|who| lose(&mut self.seen, who, &mut changes));
            self.absent.insert(node);
        }
        self.absent.retain(|node| members.contains(node));
        changes
    }

    /// The nodes that are there, as far as is known, and have not said who is: while there is one, nobody can be called silent.
    pub fn blind(&self) -> impl Iterator<Item = &Name> {
        self.nodes.iter().filter(|(_, told)| !told.complete).map(|(node, _)| node)
    }
}

fn is_watched(who: &NodeName) -> bool {
    !matches!(who, NodeName::Broker { .. })
}

fn see(seen: &mut BTreeMap<NodeName, usize>, who: &NodeName, changes: &mut Changes) {
    let nodes = seen.entry(who.clone()).or_default();
    *nodes += 1;
    if *nodes == 1 {
        changes.seen.push(who.clone());
    }
}

fn lose(seen: &mut BTreeMap<NodeName, usize>, who: &NodeName, changes: &mut Changes) {
    let Some(nodes) = seen.get_mut(who) else { return };
    *nodes -= 1;
    if *nodes == 0 {
        seen.remove(who);
        changes.lost.push(who.clone());
    }
}
