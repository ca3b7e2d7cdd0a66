//! The types that openraft is set up with, under the names that the record uses for them.
//!
//! A node's id is its store's: a random number that was made with the folder of its log. A node that lost its log has another
//! id, so it can never vote a second time in a term in which the lost one has voted.

use std::fmt;

use bytes::Bytes;
use openraft::type_config::alias;
use openraft::vote::RaftLeaderId as _;

openraft::declare_raft_types!(
    /// What the region's raft group is made of.
    pub(crate) TypeConfig:
        D = Proposal,
        R = (),
        NodeId = u64,
        Node = Member,
);

/// One command of the record, as bytes of `huxiao_wire::encode_command`. The engine never looks into it, and copies share it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a command of {} bytes", self.0.len())
    }
}

impl fmt::Debug for Proposal {
    /// As short as for people: what is in it may name a school.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A node of the region, as the record's membership knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// The node's name, as in its certificate.
    pub(crate) name: String,
    /// Where the others reach it: host and port.
    pub(crate) addr: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.addr)
    }
}

/// One entry of the log: a command, a membership, or a new leader's blank.
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
/// An entry's place, and the leader that put it there.
pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
/// Whom this node follows or has voted for.
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
/// The leader of a term.
pub(crate) type LeaderId = alias::LeaderIdOf<TypeConfig>;
/// The members, and the entry that made them so.
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
/// The members.
pub(crate) type Membership = openraft::Membership<u64, Member>;
/// Up to which entry a snapshot goes, and the members there.
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;

/// The log id of `index` in the term `term` of the leader `leader` (a store's id).
pub(crate) fn log_id(term: u64, leader: u64, index: u64) -> LogId {
    LogId::new(LeaderId::new(term, leader).to_committed(), index)
}
