//! What openraft says and hears, in the words of the peers' protocol, and back.
//!
//! Invariant: nothing is lost on the way and nothing made up. What the wire has checked (names, lengths, counts) is taken as it is; the
//! one thing that the engine refuses beyond that, a membership whose voters are no members, is an error here.

use std::collections::BTreeMap;

use huxiao_core::Name;
use huxiao_wire::cluster::{
    self, Append, AppendAnswer, RaftEntry, RaftLogId, RaftMembership, RaftPayload, RaftVote, StoreId, TransferLeader,
    VoteAnswer,
};
use openraft::EntryPayload;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse};

use super::types::{Entry, LogId, Member, Membership, Proposal, TypeConfig, Vote, log_id};

/// Why something cannot be said on the wire, or cannot be taken from there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConvertError {
    /// The voters of a membership are not all among its members.
    #[error("the membership makes no sense: {0}")]
    Membership(String),
    /// A member of the engine's has a name that is none: a defect, or an entry of another version.
    #[error("{name:?} is no name of a node: {why}")]
    Name {
        /// As it stands there.
        name: String,
        /// What is wrong with it.
        why: String,
    },
}

/// A vote for the wire.
pub(crate) fn vote_out(vote: &Vote) -> RaftVote {
    RaftVote { term: vote.leader_id.term, node: StoreId(vote.leader_id.node_id), committed: vote.committed }
}

/// A vote from the wire.
pub(crate) fn vote_in(vote: RaftVote) -> Vote {
    let RaftVote { term, node, committed } = vote;
    if committed { Vote::new_committed(term, node.0) } else { Vote::new(term, node.0) }
}

/// A log id for the wire.
pub(crate) fn id_out(id: &LogId) -> RaftLogId {
    RaftLogId { term: id.leader_id.term, leader: StoreId(id.leader_id.node_id), index: id.index }
}

/// A log id from the wire.
pub(crate) fn id_in(id: RaftLogId) -> LogId {
    log_id(id.term, id.leader.0, id.index)
}

/// A membership for the wire.
///
/// # Errors
/// [`ConvertError::Name`]
pub(crate) fn membership_out(membership: &Membership) -> Result<RaftMembership, ConvertError> {
    let configs =
        membership.get_joint_config().iter().map(|voters| voters.iter().copied().map(StoreId).collect()).collect();
    let nodes = membership
        .nodes()
        .map(|(id, member)| Ok((StoreId(*id), member_out(member)?)))
        .collect::<Result<_, ConvertError>>()?;
    Ok(RaftMembership { configs, nodes })
}

/// A membership from the wire.
///
/// # Errors
/// [`ConvertError::Membership`]
pub(crate) fn membership_in(membership: RaftMembership) -> Result<Membership, ConvertError> {
    let RaftMembership { configs, nodes } = membership;
    let configs = configs.into_iter().map(|voters| voters.into_iter().map(|StoreId(id)| id).collect()).collect();
    let nodes: BTreeMap<u64, Member> = nodes.into_iter().map(|(StoreId(id), member)| (id, member_in(member))).collect();
    Membership::new(configs, nodes).map_err(|error| ConvertError::Membership(error.to_string()))
}

/// A member for the wire.
///
/// # Errors
/// [`ConvertError::Name`]
pub(crate) fn member_out(member: &Member) -> Result<cluster::Member, ConvertError> {
    let name: Name = member.name.parse().map_err(|why: huxiao_core::NameError| ConvertError::Name {
        name: member.name.clone(),
        why: why.to_string(),
    })?;
    Ok(cluster::Member { name, addr: member.addr.clone() })
}

/// A member from the wire.
pub(crate) fn member_in(member: cluster::Member) -> Member {
    Member { name: member.name.to_string(), addr: member.addr }
}

/// Entries and their heartbeat, for the wire.
///
/// # Errors
/// [`ConvertError::Name`]
pub(crate) fn append_out(request: &AppendEntriesRequest<TypeConfig>, entries: usize) -> Result<Append, ConvertError> {
    let entries = request.entries.iter().take(entries).map(entry_out).collect::<Result<_, _>>()?;
    Ok(Append {
        vote: vote_out(&request.vote),
        prev: request.prev_log_id.as_ref().map(id_out),
        commit: request.leader_commit.as_ref().map(id_out),
        entries,
    })
}

/// The same from the wire.
///
/// # Errors
/// [`ConvertError::Membership`]
pub(crate) fn append_in(append: Append) -> Result<AppendEntriesRequest<TypeConfig>, ConvertError> {
    let Append { vote, prev, commit, entries } = append;
    Ok(AppendEntriesRequest {
        vote: vote_in(vote),
        prev_log_id: prev.map(id_in),
        entries: entries.into_iter().map(entry_in).collect::<Result<_, _>>()?,
        leader_commit: commit.map(id_in),
    })
}

/// What became of entries, for the wire.
pub(crate) fn append_answer_out(answer: &AppendEntriesResponse<TypeConfig>) -> AppendAnswer {
    match answer {
        AppendEntriesResponse::Success => AppendAnswer::Success,
        AppendEntriesResponse::PartialSuccess(last) => AppendAnswer::Partial(last.as_ref().map(id_out)),
        AppendEntriesResponse::Conflict => AppendAnswer::Conflict,
        AppendEntriesResponse::HigherVote(vote) => AppendAnswer::Higher(vote_out(vote)),
    }
}

/// The same from the wire.
pub(crate) fn append_answer_in(answer: AppendAnswer) -> AppendEntriesResponse<TypeConfig> {
    match answer {
        AppendAnswer::Success => AppendEntriesResponse::Success,
        AppendAnswer::Partial(last) => AppendEntriesResponse::PartialSuccess(last.map(id_in)),
        AppendAnswer::Conflict => AppendEntriesResponse::Conflict,
        AppendAnswer::Higher(vote) => AppendEntriesResponse::HigherVote(vote_in(vote)),
    }
}

/// A request for a vote, for the wire; `pre` if it is only the question.
pub(crate) fn vote_request_out(request: &VoteRequest<TypeConfig>, pre: bool) -> cluster::VoteRequest {
    cluster::VoteRequest {
        vote: vote_out(&request.vote),
        last: request.last_log_id.as_ref().map(id_out),
        pre,
        transfer: request.leadership_transfer,
    }
}

/// The same from the wire.
pub(crate) fn vote_request_in(request: cluster::VoteRequest) -> VoteRequest<TypeConfig> {
    let mut vote = VoteRequest::new(vote_in(request.vote), request.last.map(id_in));
    vote.leadership_transfer = request.transfer;
    vote
}

/// The answer to it, for the wire.
pub(crate) fn vote_answer_out(answer: &VoteResponse<TypeConfig>) -> VoteAnswer {
    VoteAnswer {
        vote: vote_out(&answer.vote),
        granted: answer.vote_granted,
        last: answer.last_log_id.as_ref().map(id_out),
    }
}

/// The same from the wire.
pub(crate) fn vote_answer_in(answer: VoteAnswer) -> VoteResponse<TypeConfig> {
    VoteResponse::new(vote_in(answer.vote), answer.last.map(id_in), answer.granted)
}

/// The handing over of the lead, for the wire.
pub(crate) fn transfer_out(request: &TransferLeaderRequest<TypeConfig>) -> TransferLeader {
    TransferLeader {
        vote: vote_out(request.from_leader()),
        heir: StoreId(*request.to_node_id()),
        last: request.last_log_id().map(id_out),
    }
}

/// The same from the wire.
pub(crate) fn transfer_in(transfer: TransferLeader) -> TransferLeaderRequest<TypeConfig> {
    TransferLeaderRequest::new(vote_in(transfer.vote), transfer.heir.0, transfer.last.map(id_in))
}

/// One entry for the wire.
///
/// # Errors
/// [`ConvertError::Name`]
pub(crate) fn entry_out(entry: &Entry) -> Result<RaftEntry, ConvertError> {
    let payload = match &entry.payload {
        EntryPayload::Blank => RaftPayload::Blank,
        EntryPayload::Normal(Proposal(bytes)) => RaftPayload::Command(bytes.clone()),
        EntryPayload::Membership(membership) => RaftPayload::Membership(membership_out(membership)?),
    };
    Ok(RaftEntry { id: id_out(&entry.log_id), payload })
}

/// One entry from the wire.
///
/// # Errors
/// [`ConvertError::Membership`]
pub(crate) fn entry_in(entry: RaftEntry) -> Result<Entry, ConvertError> {
    let payload = match entry.payload {
        RaftPayload::Blank => EntryPayload::Blank,
        RaftPayload::Command(bytes) => EntryPayload::Normal(Proposal(bytes)),
        RaftPayload::Membership(membership) => EntryPayload::Membership(membership_in(membership)?),
    };
    Ok(Entry { log_id: id_in(entry.id), payload })
}
