//! The engine's calls to other nodes, over the link's peer connections.
//!
//! Entries, heartbeats and votes go over the quick connection, snapshots over the heavy one, which has a congestion window of its
//! own: a hundred megabytes of snapshot delay no heartbeat.
//!
//! Invariant: the engine hears of an entry as appended only from the store that it was sent to.

use std::future::Future;
use std::io;

use huxiao_core::Span;
use huxiao_link::peer::PeerLane;
use huxiao_wire::cluster::{AnswerBody, RequestBody, SnapshotHead, StoreId, fitting};
use openraft::RPCTypes;
use openraft::alias::{SnapshotOf, VoteOf};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};

use super::convert::{
    ConvertError, append_answer_in, append_out, id_out, member_out, membership_out, transfer_out, vote_answer_in,
    vote_in, vote_out, vote_request_out,
};
use super::peers::{AskError, Peers, Urgency, Way};
use super::snapshots::SnapshotFile;
use super::types::{Member, TypeConfig};

/// Makes a [`Network`] for each member.
pub(crate) struct Factory {
    peers: Peers,
    me: u64,
}

impl Factory {
    pub(crate) fn new(peers: Peers, me: u64) -> Self {
        Self { peers, me }
    }

    fn client(&self, target: u64, node: &Member, lane: PeerLane, urgency: Urgency) -> Network {
        let way = member_out(node).map(|member| self.peers.to(&member, Some(StoreId(target)), lane));
        Network { way, me: self.me, target, urgency }
    }
}

impl RaftNetworkFactory<TypeConfig> for Factory {
    type Network = Network;

    async fn new_client(&mut self, target: u64, node: &Member) -> Network {
        self.client(target, node, PeerLane::Quick, Urgency::Record)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &Member) -> Network {
        self.client(target, node, PeerLane::Quick, Urgency::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &Member) -> Network {
        self.client(target, node, PeerLane::Heavy, Urgency::Other)
    }
}

/// The engine's way to one member.
pub(crate) struct Network {
    way: Result<Way, ConvertError>,
    me: u64,
    target: u64,
    urgency: Urgency,
}

impl Network {
    fn way(&self) -> Result<&Way, RPCError<TypeConfig>> {
        self.way.as_ref().map_err(|error| RPCError::Unreachable(Unreachable::new(error)))
    }

    async fn ask(
        &self,
        body: RequestBody,
        kind: RPCTypes,
        option: &RPCOption,
    ) -> Result<AnswerBody, RPCError<TypeConfig>> {
        let way = self.way()?;
        let within = option.soft_ttl();
        way.ask(body, within, self.urgency).await.map_err(|error| self.failed(error, kind, within))
    }

    fn failed(&self, error: AskError, action: RPCTypes, timeout: Span) -> RPCError<TypeConfig> {
        match error {
            AskError::NoAnswer { .. } => {
                RPCError::Timeout(Timeout { action, id: self.me, target: self.target, timeout })
            }
            // A node that refuses is asked again after a pause too: what it refuses now it may take later.
            error => RPCError::Unreachable(Unreachable::new(&error)),
        }
    }

    fn odd(&self, answer: &AnswerBody) -> RPCError<TypeConfig> {
        match self.way() {
            Ok(way) => RPCError::Network(NetworkError::new(&way.other_kind(answer))),
            Err(error) => error,
        }
    }
}

fn unsayable(error: &ConvertError) -> RPCError<TypeConfig> {
    RPCError::Unreachable(Unreachable::new(error))
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let mut append = append_out(&rpc, rpc.entries.len()).map_err(|error| unsayable(&error))?;
        let all = append.entries.len();
        let fit = fitting(&append.entries);
        append.entries.truncate(fit);
        let last = append.entries.last().map(|entry| entry.id).or(append.prev);
        match self.ask(RequestBody::Append(append), RPCTypes::AppendEntries, &option).await? {
            // The rest did not fit into one frame; the engine sends it next.
            AnswerBody::Append(huxiao_wire::cluster::AppendAnswer::Success) if fit < all => {
                Ok(AppendEntriesResponse::PartialSuccess(last.map(super::convert::id_in)))
            }
            AnswerBody::Append(answer) => Ok(append_answer_in(answer)),
            other => Err(self.odd(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = RequestBody::Vote(vote_request_out(&rpc, false));
        match self.ask(body, RPCTypes::Vote, &option).await? {
            AnswerBody::Vote(answer) => Ok(vote_answer_in(answer)),
            other => Err(self.odd(&other)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = RequestBody::Vote(vote_request_out(&rpc, true));
        match self.ask(body, RPCTypes::Vote, &option).await? {
            AnswerBody::Vote(answer) => Ok(vote_answer_in(answer)),
            other => Err(self.odd(&other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: VoteOf<TypeConfig>,
        snapshot: SnapshotOf<TypeConfig, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let way = self.way()?;
        let meta = &snapshot.meta;
        let file = &snapshot.snapshot;
        let head = SnapshotHead {
            vote: vote_out(&vote),
            last: meta.last_log_id.as_ref().map(id_out),
            membership_id: meta.last_membership.log_id().as_ref().map(id_out),
            membership: membership_out(meta.last_membership.membership()).map_err(|error| unsayable(&error))?,
            bytes: file.bytes(),
            sha256: file.sha256(),
        };
        let body = file.read().await.map_err(|error: io::Error| Unreachable::new(&error))?;
        let within = option.hard_ttl();
        let sent = way.send(RequestBody::Snapshot(Box::new(head)), body, within);
        let answer = tokio::select! {
            answer = sent => answer.map_err(|error| self.failed(error, RPCTypes::InstallSnapshot, within))?,
            closed = cancel => return Err(closed.into()),
        };
        match answer {
            AnswerBody::Snapshot(vote) => Ok(SnapshotResponse::new(vote_in(vote))),
            other => Err(self.odd(&other).into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        let body = RequestBody::TransferLeader(transfer_out(&req));
        match self.ask(body, RPCTypes::TransferLeader, &option).await? {
            AnswerBody::TransferLeader => Ok(Ok(())),
            other => Err(self.odd(&other)),
        }
    }
}
