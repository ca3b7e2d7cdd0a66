//! What this node answers to the other nodes of its region.
//!
//! Invariants: a request about another record, for another store, or from a node whose certificate does not name the store that it speaks
//! for, is refused before the engine hears of it. What a peer sends can make no other node stop: a command that this version cannot read
//! is not ordered.

use std::sync::Arc;

use bytes::Bytes;
use huxiao_core::broker::Broker;
use huxiao_core::{Name, NodeName, limits};
use huxiao_link::peer::{Answering, Body, PeerFault, PeerService};
use huxiao_pki::Peer;
use huxiao_runtime::drive::WeakHandle;
use huxiao_wire::cluster::{
    AnswerBody, ArchivePart, Fault, FaultKind, Introduction, PEER_MINOR, PeerAnswer, PeerRequest, RequestBody,
    SnapshotHead, StoreId, decode_request, encode_answer,
};
use openraft::Snapshot;
use openraft::raft::AppendEntriesResponse;

use super::convert::{
    append_answer_out, append_in, id_in, id_out, member_out, membership_in, transfer_in, vote_answer_out, vote_in,
    vote_out, vote_request_in,
};
use super::members;
use super::node::Node;
use super::propose::{self, Lost};
use super::snapshots::Snapshots;
use super::types::{SnapshotMeta, StoredMembership};
use crate::archive::Archive;

/// Answers the other nodes.
pub(crate) struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    node: Arc<Node>,
    snapshots: Snapshots,
    archive: Archive,
    /// The machine, which knows who holds sessions here.
    handle: WeakHandle<Broker>,
}

impl Service {
    pub(crate) fn new(node: Arc<Node>, snapshots: Snapshots, archive: Archive, handle: WeakHandle<Broker>) -> Self {
        Self { inner: Arc::new(Inner { node, snapshots, archive, handle }) }
    }
}

impl PeerService for Service {
    fn call(&self, from: &Peer, request: Bytes, body: Body) -> Answering {
        let (inner, sender) = (self.inner.clone(), from.identity.node.clone());
        Box::pin(async move {
            let NodeName::Broker { node: name, .. } = sender else {
                return Err(PeerFault("only broker nodes speak here".to_owned()));
            };
            let request = decode_request(request).map_err(|error| PeerFault(error.to_string()))?;
            inner.node.peers().versions().heard(&name, request.minor);
            // What was begun is finished, even if the asker gives up: a snapshot is installed as a whole, a membership changed in steps.
            let work = tokio::spawn({
                let inner = inner.clone();
                async move { inner.answer(&name, request, body).await }
            });
            let body = match work.await {
                Ok(answered) => answered.unwrap_or_else(AnswerBody::Fault),
                Err(error) => {
                    AnswerBody::Fault(fault(FaultKind::Failed, format!("the answer came to no end: {error}")))
                }
            };
            Ok(encode_answer(&PeerAnswer { from: inner.node.fixed.store, minor: PEER_MINOR, body }))
        })
    }
}

impl Inner {
    async fn answer(&self, name: &Name, request: PeerRequest, body: Body) -> Result<AnswerBody, Fault> {
        let node = &self.node;
        let from = request.from.0;
        self.admit(name, &request)?;
        match request.body {
            RequestBody::Append(append) => {
                let leader = append.vote.node.0;
                let append = append_in(append).map_err(|error| failed(&error))?;
                let answer = node.raft().append_entries(append).await.map_err(|error| failed(&error))?;
                if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
                    node.hear_leader(leader);
                }
                Ok(AnswerBody::Append(append_answer_out(&answer)))
            }
            RequestBody::Vote(vote) => {
                node.hear(from);
                let (pre, vote) = (vote.pre, vote_request_in(vote));
                let raft = node.raft();
                let answer = if pre { raft.pre_vote(vote).await } else { raft.vote(vote).await };
                answer.map(|answer| AnswerBody::Vote(vote_answer_out(&answer))).map_err(|error| failed(&error))
            }
            RequestBody::Snapshot(head) => self.install(*head, body).await,
            RequestBody::TransferLeader(transfer) => {
                let answer = node.raft().handle_transfer_leader(transfer_in(transfer)).await;
                match answer.map_err(|error| failed(&error))? {
                    Ok(()) => Ok(AnswerBody::TransferLeader),
                    Err(error) => Err(fault(FaultKind::NotNow, error.to_string())),
                }
            }
            RequestBody::Introduce => {
                node.hear(from);
                Ok(AnswerBody::Introduce(Box::new(introduction(node))))
            }
            RequestBody::Propose(commands) => match propose::order_for_peer(node, commands).await {
                Ok(last) => Ok(AnswerBody::Propose(propose::place(last))),
                Err(Lost::NotLeader) => Err(not_leader(node)),
                Err(Lost::Unknown) => Err(fault(FaultKind::NotNow, "not ordered in time".to_owned())),
                Err(Lost::Failed(why)) => Err(fault(FaultKind::Failed, why)),
            },
            RequestBody::Change(change) => {
                let words = members::change(node, change).await.map_err(|error| error.fault(node))?;
                Ok(AnswerBody::Change(words))
            }
            RequestBody::Archive { after, limit } => self.archived(after, limit).await,
            RequestBody::Presence(ask) => {
                let stopping = || fault(FaultKind::NotNow, format!("{} is stopping", node.fixed.name));
                let handle = self.handle.upgrade().ok_or_else(stopping)?;
                let part = handle.inspect(move |broker| broker.presence(&ask)).await;
                part.map(AnswerBody::Presence).map_err(|_| stopping())
            }
        }
    }

    /// Whether this request is meant for this node and comes from whom it says.
    fn admit(&self, name: &Name, request: &PeerRequest) -> Result<(), Fault> {
        let node = &self.node;
        let own = node.fixed.store;
        if let Some(to) = request.to.filter(|to| *to != own) {
            let words = format!("{} is on store {own} now, and not on {to}", node.fixed.name);
            return Err(fault(FaultKind::OtherStore, words));
        }
        if request.group != 0 {
            return Err(fault(FaultKind::Unknown, format!("there is no raft group {}", request.group)));
        }
        if let Some((theirs, ours)) = request.record.zip(node.record())
            && theirs != ours
        {
            let words = format!("{} has another record: it belongs to another founding of the region", node.fixed.name);
            return Err(fault(FaultKind::OtherRecord, words));
        }
        if !node.is_named(request.from.0, name) {
            let words = format!("store {} does not belong to {name}", request.from);
            return Err(fault(FaultKind::NotMember, words));
        }
        Ok(())
    }

    async fn install(&self, head: SnapshotHead, body: Body) -> Result<AnswerBody, Fault> {
        let raft = self.node.raft();
        let leader = head.vote.node.0;
        self.node.hear_leader(leader);
        let meta = SnapshotMeta {
            last_log_id: head.last.map(id_in),
            last_membership: StoredMembership::new(
                head.membership_id.map(id_in),
                membership_in(head.membership).map_err(|error| failed(&error))?,
            ),
        };
        let file = self.snapshots.receive(body, head.bytes, head.sha256).await.map_err(|error| failed(&error))?;
        let snapshot = Snapshot { meta, snapshot: file };
        let answer = raft.install_full_snapshot(vote_in(head.vote), snapshot).await.map_err(|error| failed(&error))?;
        self.node.hear_leader(leader);
        Ok(AnswerBody::Snapshot(vote_out(&answer.vote)))
    }

    async fn archived(&self, after: u64, limit: u32) -> Result<AnswerBody, Fault> {
        let archive = self.archive.clone();
        let read = move || -> Result<ArchivePart, String> {
            let most = usize::try_from(limit).unwrap_or(usize::MAX).min(limits::ARCHIVE_ROWS);
            let found = archive.range(after, most, limits::PEER_FRAME_BYTES / 2).map_err(|error| error.to_string())?;
            let rows = found.into_iter().map(|(number, _, entry)| (number, Bytes::from(entry))).collect();
            Ok(ArchivePart { rows, end: archive.last() })
        };
        let part = tokio::task::spawn_blocking(read).await.map_err(|error| failed(&error))?;
        part.map(AnswerBody::Archive).map_err(|why| fault(FaultKind::Failed, why))
    }
}

/// What this node says of itself.
pub(crate) fn introduction(node: &Node) -> Introduction {
    let figures = node.figures();
    Introduction {
        name: node.fixed.name.clone(),
        record: node.record(),
        pristine: node.is_pristine(),
        peers: node.fixed.configured.keys().take(limits::REGION_MEMBERS).cloned().collect(),
        software: node.fixed.software.clone(),
        applied: figures.last_applied.as_ref().map(id_out),
        leader: figures.current_leader.map(StoreId),
    }
}

/// Says who leads instead.
pub(crate) fn not_leader(node: &Node) -> Fault {
    let leader = node.leader().and_then(|(id, member)| Some((StoreId(id), member_out(&member).ok()?)));
    let words = match &leader {
        Some((_, member)) => format!("{} does not lead: {} does", node.fixed.name, member.name),
        None => format!("{} does not lead, and knows of nobody who does", node.fixed.name),
    };
    Fault { kind: FaultKind::NotLeader, words, leader }
}

pub(crate) fn fault(kind: FaultKind, words: String) -> Fault {
    Fault { kind, words, leader: None }
}

fn failed(error: &impl std::fmt::Display) -> Fault {
    fault(FaultKind::Failed, error.to_string())
}
