//! Asking the other nodes of the region: one question, one answer, under this node's and the other's store id.
//!
//! Invariant: an answer is believed only if it comes from the store that was asked, over a connection whose certificate names the node
//! that was asked.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use huxiao_core::{Name, NodeName, Span, limits};
use huxiao_link::Link;
use huxiao_link::peer::{PeerError, PeerHandle, PeerLane, PeerTarget};
use huxiao_wire::cluster::{
    AnswerBody, Fault, FaultKind, Member, PEER_MINOR, PeerAnswer, PeerRequest, RequestBody, StoreId, decode_answer,
    encode_request,
};
use tokio::io::AsyncRead;

use super::machine::Progress;
use super::versions::Versions;

/// What goes out first among the calls of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// Heartbeats, votes: without them there is no leader.
    Heartbeat = 2,
    /// What an alarm's `stored` waits for.
    Record = 1,
    /// Everything else.
    Other = 0,
}

/// Why there is no answer of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AskError {
    /// The question never got there.
    #[error("{name} cannot be reached at {addr}: {why}")]
    Unreachable {
        /// Who was asked.
        name: Name,
        /// Where.
        addr: String,
        /// What the link says.
        why: String,
    },
    /// The question may have got there, and may have been carried out.
    #[error("{name} gave no answer: {why}")]
    NoAnswer {
        /// Who was asked.
        name: Name,
        /// What the link says.
        why: String,
    },
    /// It was understood and refused.
    #[error("{name} refuses: {}", fault.words)]
    Refused {
        /// Who was asked.
        name: Name,
        /// Its reason.
        fault: Fault,
    },
    /// What came is no answer to what was asked.
    #[error("{name} gave an answer that makes no sense: {why}")]
    Nonsense {
        /// Who was asked.
        name: Name,
        /// What is wrong with it.
        why: String,
    },
}

impl AskError {
    /// The reason of a refusal.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        match self {
            AskError::Refused { fault, .. } => Some(fault),
            AskError::Unreachable { .. } | AskError::NoAnswer { .. } | AskError::Nonsense { .. } => None,
        }
    }

    /// Whether the node is there and of another mind, as opposed to not there.
    pub(crate) fn was_heard(&self) -> bool {
        matches!(self, AskError::Refused { .. } | AskError::Nonsense { .. })
    }
}

/// The way to the other nodes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    versions: Versions,
    link: Link,
    region: Name,
    store: StoreId,
    progress: Progress,
    /// The ways in use. A connection lasts as long as somebody holds its handle, and one that is dialled for each question would cost every
    /// question a handshake.
    handles: Mutex<Vec<(PeerTarget, PeerHandle)>>,
}

/// Ways that are kept: three lanes' worth of the largest region, and what moved since the start.
const KEPT: usize = 4 * limits::REGION_MEMBERS;

/// The way to one node.
#[derive(Clone)]
pub(crate) struct Way {
    peers: Peers,
    handle: PeerHandle,
    name: Name,
    addr: String,
    store: Option<StoreId>,
}

impl Peers {
    /// The way from the node of this store.
    pub(crate) fn new(link: Link, region: Name, store: StoreId, progress: Progress) -> Self {
        Self {
            shared: Arc::new(Shared {
                versions: Versions::default(),
                link,
                region,
                store,
                progress,
                handles: Mutex::default(),
            }),
        }
    }

    /// The way to `member`; `store` if it must be that one.
    pub(crate) fn to(&self, member: &Member, store: Option<StoreId>, lane: PeerLane) -> Way {
        let expect = NodeName::Broker { region: self.shared.region.clone(), node: member.name.clone() };
        let target = PeerTarget { addr: member.addr.clone(), expect, lane };
        let handle = self.handle(target);
        Way { peers: self.clone(), handle, name: member.name.clone(), addr: member.addr.clone(), store }
    }

    /// Which commands the other nodes read.
    pub(crate) fn versions(&self) -> &Versions {
        &self.shared.versions
    }

    fn handle(&self, target: PeerTarget) -> PeerHandle {
        let mut handles = self.shared.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, handle)) = handles.iter().find(|(kept, _)| *kept == target) {
            return handle.clone();
        }
        if handles.len() >= KEPT {
            // Whoever still uses them holds them.
            handles.clear();
        }
        let handle = self.shared.link.peer(&target);
        handles.push((target, handle.clone()));
        handle
    }

    fn request(&self, to: Option<StoreId>, body: RequestBody) -> Vec<u8> {
        encode_request(&PeerRequest {
            record: self.shared.progress.record(),
            group: 0,
            from: self.shared.store,
            to,
            minor: PEER_MINOR,
            body,
        })
    }
}

impl Way {
    /// Asks, and waits at most `within` for the answer.
    ///
    /// # Errors
    /// [`AskError`]
    pub(crate) async fn ask(&self, body: RequestBody, within: Span, urgency: Urgency) -> Result<AnswerBody, AskError> {
        let request = self.peers.request(self.store, body);
        let answer = self.handle.call(request, within, urgency as i32).await;
        self.read_from(answer).map(|(_, body)| body)
    }

    /// The same, followed by what `body` gives.
    ///
    /// # Errors
    /// [`AskError`]
    pub(crate) async fn send(
        &self,
        head: RequestBody,
        body: impl AsyncRead + Send + Unpin,
        within: Span,
    ) -> Result<AnswerBody, AskError> {
        let request = self.peers.request(self.store, head);
        let answer = self.handle.call_with_body(request, body, within).await;
        self.read_from(answer).map(|(_, body)| body)
    }

    /// Which node it leads to.
    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// What a wrong kind of answer is.
    pub(crate) fn other_kind(&self, answer: &AnswerBody) -> AskError {
        let text = format!("{answer:?}");
        let kind = text.split(['(', '{', ' ']).next().unwrap_or_default();
        self.nonsense(format!("{kind} to a question of another kind"))
    }

    fn nonsense(&self, why: String) -> AskError {
        AskError::Nonsense { name: self.name.clone(), why }
    }

    fn read_from(&self, answer: Result<Bytes, PeerError>) -> Result<(StoreId, AnswerBody), AskError> {
        let name = self.name.clone();
        let bytes = answer.map_err(|error| match error {
            PeerError::Unreachable(why) => AskError::Unreachable { name: name.clone(), addr: self.addr.clone(), why },
            PeerError::Refused(words) => {
                let fault = Fault { kind: FaultKind::Failed, words, leader: None };
                AskError::Refused { name: name.clone(), fault }
            }
            other => AskError::NoAnswer { name: name.clone(), why: other.to_string() },
        })?;
        let answer: PeerAnswer = decode_answer(bytes).map_err(|error| self.nonsense(error.to_string()))?;
        self.peers.versions().heard(&name, answer.minor);
        if let Some(expected) = self.store
            && answer.from != expected
            && !matches!(answer.body, AnswerBody::Fault(_))
        {
            return Err(self.nonsense(format!("it is store {} and not {expected}", answer.from)));
        }
        match answer.body {
            AnswerBody::Fault(fault) => Err(AskError::Refused { name, fault }),
            body => Ok((answer.from, body)),
        }
    }
}

/// Bytes of commands that go to the leader in one call, with room for what is around them.
pub(crate) const PROPOSE_BYTES: usize = limits::PEER_FRAME_BYTES / 2;

impl Way {
    /// Asks a node who it is; gives its store too.
    ///
    /// # Errors
    /// [`AskError`]
    pub(crate) async fn ask_who(&self) -> Result<(StoreId, huxiao_wire::cluster::Introduction), AskError> {
        let request = self.peers.request(self.store, RequestBody::Introduce);
        let answer = self.handle.call(request, super::founding::INTRODUCTION, Urgency::Other as i32).await;
        let (from, body) = self.read_from(answer)?;
        match body {
            AnswerBody::Introduce(intro) if intro.name == self.name => Ok((from, *intro)),
            AnswerBody::Introduce(intro) => Err(self.nonsense(format!("it calls itself {}", intro.name))),
            other => Err(self.other_kind(&other)),
        }
    }
}
