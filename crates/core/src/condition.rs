//! Which broker nodes say that they are without a quorum, as a relay or a station hears it.
//!
//! Invariant: what is known of a node ends with the session that said it; a node says it again when a session begins.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{NodeName, PathId};
use crate::message::Degraded;

/// What the nodes that hold sessions say of themselves.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    nodes: BTreeMap<PathId, NodeName>,
    degraded: BTreeMap<PathId, Degraded>,
}

impl Conditions {
    pub(crate) fn path_up(&mut self, path: PathId, node: NodeName) {
        self.nodes.insert(path, node);
    }

    pub(crate) fn path_down(&mut self, path: PathId) {
        self.nodes.remove(&path);
        self.degraded.remove(&path);
    }

    /// A node has said how it is. The node, if that is news of it.
    pub(crate) fn told(&mut self, path: PathId, degraded: Option<&Degraded>) -> Option<NodeName> {
        let node = self.nodes.get(&path)?.clone();
        let before = self.of_node(&node).cloned();
        // It is the node that speaks, whichever session it is heard on.
        let its = self.nodes.iter().filter(|(_, other)| **other == node).map(|(path, _)| *path);
        for path in its {
            match degraded {
                Some(degraded) => drop(self.degraded.insert(path, degraded.clone())),
                None => drop(self.degraded.remove(&path)),
            }
        }
        (before.as_ref() != degraded).then_some(node)
    }

    fn of_node(&self, node: &NodeName) -> Option<&Degraded> {
        self.degraded.iter().find(|(path, _)| self.nodes.get(path) == Some(node)).map(|(_, degraded)| degraded)
    }

    /// The nodes without a quorum, and what they say.
    pub(crate) fn degraded(&self) -> BTreeMap<&NodeName, &Degraded> {
        self.degraded.iter().filter_map(|(path, degraded)| Some((self.nodes.get(path)?, degraded))).collect()
    }

    /// What is to be told to people: since when and why, if every node that can be reached is without a quorum.
    pub(crate) fn worst(&self) -> Option<&Degraded> {
        let nodes: BTreeSet<&NodeName> = self.nodes.values().collect();
        let degraded = self.degraded();
        let all = !nodes.is_empty() && nodes.iter().all(|node| degraded.contains_key(node));
        degraded.into_values().min_by_key(|degraded| degraded.since).filter(|_| all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Text;
    use crate::time::WallTime;

    fn degraded(since: i64) -> Degraded {
        Degraded { since: WallTime(since), why: Text::new("2 of 3 nodes are silent").unwrap() }
    }

    #[test]
    fn a_region_is_degraded_when_every_node_that_answers_is() {
        let mut conditions = Conditions::default();
        let (one, two): (NodeName, NodeName) = ("broker/r1/n1".parse().unwrap(), "broker/r1/n2".parse().unwrap());
        conditions.path_up(PathId(1), one.clone());
        conditions.path_up(PathId(2), one.clone());
        conditions.path_up(PathId(3), two.clone());
        assert_eq!(conditions.told(PathId(1), Some(&degraded(5))), Some(one.clone()));
        assert_eq!(conditions.told(PathId(2), Some(&degraded(5))), None, "known already");
        assert_eq!(conditions.worst(), None, "the other one takes commands");
        assert_eq!(conditions.told(PathId(3), Some(&degraded(4))), Some(two));
        assert_eq!(conditions.worst(), Some(&degraded(4)));
        conditions.path_down(PathId(3));
        assert_eq!(conditions.degraded().into_keys().collect::<Vec<_>>(), [&one]);
        assert_eq!(conditions.told(PathId(2), None), Some(one));
        assert_eq!(conditions.worst(), None);
        assert_eq!(conditions.told(PathId(9), None), None, "nobody said that");
    }
}
