//! Raft's own values, from and to their Protocol Buffers form.

use std::collections::{BTreeMap, BTreeSet};

use huxiao_core::limits;

use crate::cluster::{CONFIGS, Member, RaftEntry, RaftLogId, RaftMembership, RaftPayload, RaftVote, StoreId};
use crate::error::WireError;
use crate::field;
use crate::proto;
use crate::proto::raft_entry::Payload;

pub(super) fn raw_vote(vote: &RaftVote) -> proto::RaftVote {
    proto::RaftVote { term: vote.term, node: vote.node.0, committed: vote.committed }
}

pub(super) fn vote(raw: &proto::RaftVote) -> RaftVote {
    RaftVote { term: raw.term, node: StoreId(raw.node), committed: raw.committed }
}

/// A vote that must be there.
pub(super) fn needed_vote(field: &'static str, raw: Option<&proto::RaftVote>) -> Result<RaftVote, WireError> {
    raw.map(vote).ok_or(WireError::Missing(field))
}

pub(super) fn raw_log_id(id: &RaftLogId) -> proto::RaftLogId {
    proto::RaftLogId { term: id.term, leader: id.leader.0, index: id.index }
}

pub(super) fn log_id(raw: &proto::RaftLogId) -> RaftLogId {
    RaftLogId { term: raw.term, leader: StoreId(raw.leader), index: raw.index }
}

pub(super) fn raw_entry(entry: &RaftEntry) -> proto::RaftEntry {
    let payload = match &entry.payload {
        RaftPayload::Blank => None,
        RaftPayload::Command(bytes) => Some(Payload::Command(bytes.clone())),
        RaftPayload::Membership(membership) => Some(Payload::Membership(raw_membership(membership))),
    };
    proto::RaftEntry { id: Some(raw_log_id(&entry.id)), payload }
}

/// An entry. That one without a payload is really blank, and not of a kind that this version does not know, is for
/// [`count`](super::count) to see: in `raw` both look the same.
pub(super) fn entry(raw: proto::RaftEntry) -> Result<RaftEntry, WireError> {
    let id = raw.id.as_ref().map(log_id).ok_or(WireError::Missing("entry.id"))?;
    let payload = match raw.payload {
        None => RaftPayload::Blank,
        Some(Payload::Command(bytes)) => {
            field::within("entry.command", bytes.len(), limits::EXPRESS_FRAME_BYTES)?;
            RaftPayload::Command(bytes)
        }
        Some(Payload::Membership(raw)) => RaftPayload::Membership(membership(&raw)?),
    };
    Ok(RaftEntry { id, payload })
}

pub(super) fn raw_membership(membership: &RaftMembership) -> proto::RaftMembership {
    let voters = |set: &BTreeSet<StoreId>| proto::RaftVoters { stores: set.iter().map(|id| id.0).collect() };
    proto::RaftMembership {
        configs: membership.configs.iter().map(voters).collect(),
        nodes: membership.nodes.iter().map(|(id, member)| raw_member(*id, member)).collect(),
    }
}

pub(super) fn membership(raw: &proto::RaftMembership) -> Result<RaftMembership, WireError> {
    field::at_most("membership.configs", raw.configs.len(), CONFIGS)?;
    field::at_most("membership.nodes", raw.nodes.len(), limits::REGION_MEMBERS)?;
    let mut configs = Vec::with_capacity(raw.configs.len());
    for set in &raw.configs {
        field::at_most("membership.configs.stores", set.stores.len(), limits::REGION_MEMBERS)?;
        let stores: BTreeSet<_> = set.stores.iter().copied().map(StoreId).collect();
        if stores.len() != set.stores.len() {
            return Err(field::bad("membership.configs.stores", "a store stands there twice"));
        }
        configs.push(stores);
    }
    let mut nodes = BTreeMap::new();
    for one in &raw.nodes {
        let (id, member) = member(one)?;
        if nodes.insert(id, member).is_some() {
            return Err(field::bad("membership.nodes", format_args!("the store {id} stands there twice")));
        }
    }
    if let Some(id) = configs.iter().flatten().find(|id| !nodes.contains_key(id)) {
        return Err(field::bad("membership.configs", format_args!("the store {id} votes and is no member")));
    }
    Ok(RaftMembership { configs, nodes })
}

pub(super) fn raw_member(id: StoreId, member: &Member) -> proto::RaftMember {
    proto::RaftMember { store: id.0, name: member.name.to_string(), addr: member.addr.clone() }
}

pub(super) fn member(raw: &proto::RaftMember) -> Result<(StoreId, Member), WireError> {
    let id = store(raw.store).ok_or(WireError::Missing("member.store"))?;
    Ok((id, named("member.name", &raw.name, &raw.addr)?))
}

/// A member by name and address.
pub(super) fn named(field: &'static str, name: &str, addr: &str) -> Result<Member, WireError> {
    field::within("member.addr", addr.len(), limits::ADDR_BYTES)?;
    if addr.is_empty() {
        return Err(WireError::Missing("member.addr"));
    }
    if let Some(found) = addr.chars().find(|c| c.is_control() || c.is_whitespace()) {
        return Err(field::bad("member.addr", format_args!("no blanks or control characters; found {found:?}")));
    }
    Ok(Member { name: field::name(field, name)?, addr: addr.to_owned() })
}

/// A store; 0 is none.
pub(super) fn store(raw: u64) -> Option<StoreId> {
    (raw != 0).then_some(StoreId(raw))
}
