//! The record's engine alone: its log on disk and its calls between nodes, without a broker around it. What a region could do at most on
//! a machine, for a bench to hold a whole region against.
//!
//! Invariant: nodes of this kind never meet those of a real region: their record has no name, and only [`BareNode::start`] founds it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use huxiao_core::record::{Command, RecordLimits, RecordState};
use huxiao_core::{Name, NodeName};
use huxiao_link::Link;
use huxiao_link::peer::{Answering, Body, PeerFault, PeerService};
use huxiao_pki::Peer;
use huxiao_store::wal::{Wal, WalConfig};
use huxiao_wire::cluster::{AnswerBody, PEER_MINOR, PeerAnswer, RequestBody, StoreId, decode_request, encode_answer};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Config, Raft};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::convert::{append_answer_out, append_in, vote_answer_out, vote_request_in};
use super::folder::{FolderConfig, RecordFolder};
use super::machine::{Machine, Replica};
use super::network::Factory;
use super::peers::Peers;
use super::types::{Member, Proposal, TypeConfig};

/// How long a leader may take to be there.
const PATIENCE: Duration = Duration::from_secs(20);

/// The engine failed, in its words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the bare engine: {0}")]
pub struct BareError(String);

impl BareError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// A replica that keeps nothing but the count of what it was given.
#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl Replica for Counted {
    fn committed(&self, _: u64, _: Command, _: bool) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn restored(&self, _: RecordState) -> io::Result<()> {
        Ok(())
    }

    fn snapshot(&self) -> io::Result<oneshot::Receiver<Box<RecordState>>> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have ended.
        let _ = sender.send(Box::new(RecordState::new(RecordLimits::default())));
        Ok(receiver)
    }
}

type Engine = Raft<TypeConfig, Machine<Counted>>;

/// A node that is an engine and nothing else.
pub struct BareNode {
    raft: Engine,
    wal: Wal,
    store: u64,
    member: Member,
    applied: Counted,
}

impl BareNode {
    /// Opens the node `name` in the folder `dir`, with `link` listening at `addr`. `store` tells the nodes apart.
    ///
    /// # Errors
    /// [`BareError`]
    pub async fn start(link: &Link, dir: &Path, name: &Name, addr: &str, store: u64) -> Result<Self, BareError> {
        let config = FolderConfig {
            node: name.clone(),
            fresh: StoreId(store),
            wal: WalConfig { ballast_bytes: 0, ..WalConfig::default() },
            limits: RecordLimits::default(),
        };
        let folder = RecordFolder::open(dir, config).map_err(BareError::of)?;
        let applied = Counted::default();
        let machine = folder.machine(applied.clone());
        let RecordFolder { wal, log, progress, .. } = folder;
        let region = Name::new("bare").map_err(BareError::of)?;
        let engine: Config = super::open::engine_config(&region, false).map_err(BareError::of)?;
        let peers = Peers::new(link.clone(), region, StoreId(store), progress);
        let network = Factory::new(peers, store);
        let raft = Raft::new(store, Arc::new(engine), network, log, machine).await.map_err(BareError::of)?;
        let service = Arc::new(Service { raft: raft.clone(), store });
        let accept = |identity: &huxiao_core::Identity| matches!(identity.node, NodeName::Broker { .. });
        link.serve_peers(Arc::new(accept), service);
        let member = Member { name: name.to_string(), addr: addr.to_owned() };
        Ok(Self { raft, wal, store, member, applied })
    }

    /// Stops the engine, then closes its log.
    pub async fn stop(self) {
        // An engine that failed is at its end too.
        let _ = self.raft.shutdown().await;
        let wal = self.wal;
        // A thread that does not end is the system's to end.
        let _ = tokio::task::spawn_blocking(move || wal.close()).await;
    }
}

/// Makes one region of these nodes and waits for its leader; gives its place among them.
///
/// # Errors
/// [`BareError`]
pub async fn found(nodes: &[BareNode]) -> Result<usize, BareError> {
    let members: BTreeMap<u64, Member> = nodes.iter().map(|node| (node.store, node.member.clone())).collect();
    let first = nodes.first().ok_or_else(|| BareError("there are no nodes".to_owned()))?;
    first.raft.initialize(members).await.map_err(BareError::of)?;
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let leader = first.raft.metrics().borrow_watched().current_leader;
        if let Some(at) = nodes.iter().position(|node| Some(node.store) == leader) {
            return Ok(at);
        }
        sleep(Duration::from_millis(10)).await;
    }
    Err(BareError(format!("no leader within {} s", PATIENCE.as_secs())))
}

/// Has `writers` at once bring `command` into the log of the leader at `nodes[leader]`, each waiting for its last one to be committed before
/// the next. Gives how many were, and in what time.
///
/// # Errors
/// [`BareError`]
pub async fn write(
    nodes: &[BareNode],
    leader: usize,
    writers: usize,
    command: &Command,
    span: Duration,
) -> Result<(u32, Duration), BareError> {
    let node = nodes.get(leader).ok_or_else(|| BareError("there is no such node".to_owned()))?;
    let bytes = Bytes::from(huxiao_wire::encode_command(command));
    let (began, before) = (Instant::now(), node.applied.0.load(Ordering::Relaxed));
    let mut writing = JoinSet::new();
    for _ in 0..writers {
        let (raft, bytes) = (node.raft.clone(), bytes.clone());
        writing.spawn(async move {
            let mut written = 0_u32;
            while began.elapsed() < span {
                raft.client_write(Proposal(bytes.clone())).await.map_err(BareError::of)?;
                written += 1;
            }
            Ok::<u32, BareError>(written)
        });
    }
    let mut written = 0;
    while let Some(done) = writing.join_next().await {
        written += done.map_err(BareError::of)??;
    }
    let applied = node.applied.0.load(Ordering::Relaxed) - before;
    if applied < u64::from(written) {
        return Err(BareError(format!("{written} were said to be committed, and {applied} took effect")));
    }
    Ok((written, began.elapsed()))
}

/// Answers what a leader that nobody leaves behind asks.
struct Service {
    raft: Engine,
    store: u64,
}

impl PeerService for Service {
    fn call(&self, _: &Peer, request: Bytes, _: Body) -> Answering {
        let (raft, from) = (self.raft.clone(), StoreId(self.store));
        Box::pin(async move {
            let failed = |error: &dyn std::fmt::Display| PeerFault(error.to_string());
            let request = decode_request(request).map_err(|error| failed(&error))?;
            let body = match request.body {
                RequestBody::Append(append) => {
                    let append = append_in(append).map_err(|error| failed(&error))?;
                    let answer = raft.append_entries(append).await.map_err(|error| failed(&error))?;
                    AnswerBody::Append(append_answer_out(&answer))
                }
                RequestBody::Vote(vote) => {
                    let (pre, vote) = (vote.pre, vote_request_in(vote));
                    let answer = if pre { raft.pre_vote(vote).await } else { raft.vote(vote).await };
                    AnswerBody::Vote(vote_answer_out(&answer.map_err(|error| failed(&error))?))
                }
                _ => return Err(PeerFault("a bare engine answers appends and votes".to_owned())),
            };
            Ok(encode_answer(&PeerAnswer { from, minor: PEER_MINOR, body }))
        })
    }
}
