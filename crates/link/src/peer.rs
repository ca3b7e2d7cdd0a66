//! Calls between the broker nodes of one region: a request, what may follow it, and an answer.
//!
//! They share the port of the sessions and their certificates, and nothing else: another ALPN, bidirectional streams, other time-outs.
//! A connection is of one kind from its handshake to its end.
//!
//! * A call is a bidirectional stream of its own: the request's length in four bytes, most significant first, the request, then, until
//!   the stream's end, whatever belongs to it (a snapshot). Back come a byte of status, a length in four bytes, and the answer, or with
//!   another status than 0 the words of why there is none.
//! * A node dials each peer twice, so that what is large ([`PeerLane::Heavy`]) has a congestion window of its own and nothing that is
//!   [`Quick`](PeerLane::Quick) waits for it. Connections are dialled when they are first needed, kept, and found to be dead within
//!   three seconds.
//! * There is no way over TCP here: the nodes of a region stand on lines of their own, and UDP between them must be let through.
//!
//! Invariants:
//!
//! * A request is sent once. [`PeerError::Unreachable`] says that none of it has left; after every other error the peer may have taken it.
//! * Whom a call reaches is the node that it was meant for, proven by its certificate, and not whoever has the address now. A service hears
//!   nobody but brokers that its `accept` takes.
//! * What a peer sends costs that peer only: a request that cannot be read its stream, many of them its connection; what is announced
//!   takes no memory before it comes, and of what has come no more than `serve::REQUEST_BYTES` waits at once.
//! * A service that panics, or never answers, costs one call.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use huxiao_core::{NodeName, Span};
use huxiao_pki::Peer;

use crate::config::Accept;
use crate::link::Link;

mod body;
mod call;
mod dial;
mod frame;
mod pool;
mod serve;
mod table;

pub use body::Body;
pub use pool::PeerHandle;
pub(crate) use serve::{begin, run};
pub(crate) use table::{Accepted, Peers};

/// What a service will say to a call.
pub type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, PeerFault>> + Send>>;

/// What answers the calls of peers.
pub trait PeerService: Send + Sync + 'static {
    /// Answers `request`, which came from `from` and is followed by `body`. Whether `from` may ask that is the service's to decide; its
    /// certificate may have [expired](huxiao_pki::Validity).
    ///
    /// The future is dropped when the caller gives up or the connection ends. What must be carried to its end then is to be spawned.
    fn call(&self, from: &Peer, request: Bytes, body: Body) -> Answering;
}

/// Why a service has no answer, in words. They reach the caller as [`PeerError::Refused`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PeerFault(pub String);

/// Whom to call, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PeerTarget {
    /// `host:port`, resolved anew at each dial.
    pub addr: String,
    /// The node that must be there, a broker.
    pub expect: NodeName,
    /// Over which of the two connections.
    pub lane: PeerLane,
}

/// The connections that a node has with a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PeerLane {
    /// What is short and what others wait for: heartbeats, votes, log entries, proposals.
    Quick,
    /// What is large: snapshots, parts of the archive.
    Heavy,
}

impl PeerLane {
    /// Its name in logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            PeerLane::Quick => "quick",
            PeerLane::Heavy => "heavy",
        }
    }
}

impl fmt::Display for PeerLane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no connection. Nothing of the request has left this node.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// No answer came in time. The peer may have taken the request all the same.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// The peer's words, or this node's own if the request is too long for any peer.
    #[error("the peer refused: {0}")]
    Refused(String),
    /// What was to follow the request could not be read here.
    #[error("what was to follow the request could not be read here: {0}")]
    Body(String),
    /// The peer broke the call off, or the connection or the link ended during it. The peer may have taken the request all the same.
    #[error("the call broke off before its answer")]
    Closed,
}

impl PeerError {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            PeerError::Unreachable(_) => "unreachable",
            PeerError::TimedOut => "timed_out",
            PeerError::Refused(_) => "refused",
            PeerError::Body(_) => "body",
            PeerError::Closed => "closed",
        }
    }
}

/// The figures of a connection with a peer, or of the lack of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerStats {
    /// Who is there, or should be.
    pub node: NodeName,
    /// Over which connection this node calls it; `None` for one by which the peer calls this node.
    pub lane: Option<PeerLane>,
    /// Where it is dialled, or came from.
    pub addr: String,
    /// Whether the connection is up.
    pub up: bool,
    /// Why it is not, for people; `None` also if nobody has called yet.
    pub problem: Option<String>,
    /// The other end's address, while it is up.
    pub remote: Option<SocketAddr>,
    /// The round-trip time, while it is up.
    pub rtt: Option<Span>,
    /// How long it has been up.
    pub since: Option<Span>,
    /// Bytes of UDP payload sent on it.
    pub sent_bytes: u64,
    /// Bytes of UDP payload received on it.
    pub received_bytes: u64,
    /// Packets lost on it.
    pub lost: u64,
}

impl Link {
    /// Has `service` answer the calls of those brokers that `accept` takes, before or after [`Link::listen`], until shutdown. Until it is
    /// there, peers are refused. A later service takes the place of an earlier one, for connections that begin from then on.
    pub fn serve_peers(&self, accept: Accept, service: Arc<dyn PeerService>) {
        self.shared.peers.serve(accept, service);
    }

    /// A handle to call a peer with. Handles to equal targets share one connection, which ends with the last of them.
    #[must_use]
    pub fn peer(&self, target: &PeerTarget) -> PeerHandle {
        PeerHandle::new(&self.shared, target)
    }

    /// The figures of all connections with peers: those by which this node calls, up or not, and those by which it is called.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerStats> {
        self.shared.peers.stats()
    }
}
