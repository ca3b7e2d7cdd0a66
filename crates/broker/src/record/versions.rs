//! Which commands each node of the region can read, as it last said: while a region is upgraded node by node, its older nodes must not find in
//! the log what would stop them.
//!
//! Invariant: a command leaves a node, towards the leader or into the log, only if no member is known to be too old for it. A member that has
//! not been heard since this node started counts as new enough: one that is dead must not hold the region up.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use huxiao_core::Name;
use huxiao_core::case::Verb;
use huxiao_core::record::Command;
use huxiao_wire::cluster::PEER_MINOR;

use super::types::Membership;

/// The minor version of the peers' protocol that each node speaks.
#[derive(Default)]
pub(crate) struct Versions(Mutex<BTreeMap<Name, u32>>);

impl Versions {
    /// A node has said which minor version it speaks.
    pub(crate) fn heard(&self, name: &Name, minor: u32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if minor >= PEER_MINOR {
            // The usual case: nothing to remember.
            known.remove(name);
        } else if known.get(name) != Some(&minor) {
            known.insert(name.clone(), minor);
        }
    }

    /// A member that cannot read `command`, in words; `None` if there is none.
    pub(crate) fn too_old(&self, members: &Membership, command: &Command) -> Option<String> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        let needed = read_since(command);
        let names = members.nodes().filter_map(|(_, member)| Name::new(&member.name).ok());
        let old = names.into_iter().find(|name| known.get(name).is_some_and(|minor| *minor < needed))?;
        Some(format!("{old} still runs a version that cannot read this: it can be done once every node is upgraded"))
    }

    /// `command` as all members can read it. An alarm waits for nobody's upgrade: until then, it joins no case. True if it was changed.
    pub(crate) fn fit(&self, members: &Membership, command: &mut Command) -> bool {
        let Command::Admit(admission) = command else { return false };
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !admission.joins || known.is_empty() {
            return false;
        }
        let names = members.nodes().filter_map(|(_, member)| Name::new(&member.name).ok());
        let old = names.into_iter().any(|name| known.get(&name).is_some_and(|minor| *minor < PEER_MINOR));
        admission.joins = !old;
        old
    }
}

/// The first minor version of the peers' protocol whose nodes read `command`, and make the same of it. A plan has parts by now that older nodes
/// pass over.
fn read_since(command: &Command) -> u32 {
    match command {
        Command::Found { .. }
        | Command::Admit(_)
        | Command::Note(_)
        | Command::Route { .. }
        | Command::Escalate { .. }
        | Command::Forwarded { .. } => 0,
        Command::Overdue { rung, .. } if !rung.is_of_taken() => 0,
        Command::Case { order, .. } if order.action.verb() < Verb::MakeLive => 0,
        _ => PEER_MINOR,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use huxiao_core::record::{ApplyPlan, StageId};
    use huxiao_core::{RecordId, Text, WallTime};

    use super::super::types::Member;
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn members(names: &[&str]) -> Membership {
        let nodes: BTreeMap<u64, Member> =
            (1..).zip(names).map(|(id, name)| (id, Member { name: (*name).to_owned(), addr: String::new() })).collect();
        let voters: BTreeSet<u64> = nodes.keys().copied().collect();
        Membership::new(vec![voters], nodes).unwrap()
    }

    #[test]
    fn what_an_old_member_cannot_read_waits_for_it_and_for_nobody_else() {
        let versions = Versions::default();
        let (new, old) = (
            Command::ApplyPlan(ApplyPlan {
                stage: StageId([1; 16]),
                base: 0,
                digest: [0; 32],
                by: "broker/r1/a".parse().unwrap(),
                who: huxiao_core::plan::Label::default(),
                at: WallTime(0),
                note: Text::default(),
            }),
            Command::Found { record: RecordId([1; 16]) },
        );
        let all = members(&["a", "b", "c"]);
        assert_eq!(versions.too_old(&all, &new), None, "nobody was heard");
        versions.heard(&name("b"), PEER_MINOR);
        versions.heard(&name("c"), 0);
        let words = versions.too_old(&all, &new).unwrap();
        assert!(words.starts_with("c still runs"), "{words}");
        assert_eq!(versions.too_old(&all, &old), None, "what it can read goes on");
        assert_eq!(versions.too_old(&members(&["a", "b"]), &new), None, "it is no member");
        versions.heard(&name("c"), PEER_MINOR + 1);
        assert_eq!(versions.too_old(&all, &new), None, "it was upgraded");
    }
}
