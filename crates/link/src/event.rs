//! What a link tells its driver.

use std::io;
use std::net::SocketAddr;

use huxiao_core::{Message, PathId, PathInfo, Span};
use huxiao_pki::Peer;
use quinn::{ConnectError, ConnectionError};

use crate::codes;

/// What happened on the link.
#[derive(Debug)]
pub enum LinkEvent {
    /// A session begins. Messages may be sent on it from now on.
    Up {
        /// Its number.
        path: PathId,
        /// Who is at the other end, as its certificate says. From a peer whose certificate is not
        /// [`Valid`](huxiao_pki::Validity::Valid), take P0 and nothing else.
        peer: Peer,
        /// What kind of session.
        info: PathInfo,
        /// The other end's address.
        remote: SocketAddr,
        /// The session was taken up from an earlier one before its handshake was over (0-RTT). On a dialled path, nothing
        /// has come back yet: it may turn out to be dead, and until the handshake is over only [`Message::Event`] leaves on
        /// it; the rest waits inside the link. [`PathStats::early`] says when that is past.
        early: bool,
    },
    /// A message came. May be a repeat of an earlier one.
    Message {
        /// On which session.
        path: PathId,
        /// The message.
        message: Message,
    },
    /// A session is over. What was given to it and not received is gone: whoever keeps messages sends them elsewhere.
    Down {
        /// Which session.
        path: PathId,
        /// Why.
        why: DownReason,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DownReason {
    /// Nothing came for the idle time-out: the line, a NAT mapping or the peer's machine is gone.
    #[error("nothing came from the peer for the idle time-out")]
    TimedOut,
    /// The peer ended it, for the reason that its code names.
    #[error("the peer closed the session: {} (code {code:#x})", codes::words(*code))]
    ClosedByPeer {
        /// The application error code.
        code: u64,
    },
    /// Its process is another one than that which this session was with.
    #[error("the peer does not know the session any more; it has restarted")]
    PeerRestarted,
    /// The handshake of a session taken up early did not come to an end.
    #[error("the peer did not answer within the time for a handshake")]
    HandshakeTimeout,
    /// An address or a name now leads to another node. The next dial finds out who it is.
    #[error("another node answered than the one that this session was taken up with")]
    PeerChanged,
    /// The peer's software or the path damages frames.
    #[error("the peer sent too many frames that cannot be read")]
    BadFrames,
    /// The same identity opened newer ones than it may have at once.
    #[error("the peer opened newer sessions than it may have at once")]
    Superseded,
    /// This node is stopping, or no longer dials there.
    #[error("this node closed the session on its way out")]
    Shutdown,
    /// The driver's own decision.
    #[error("closed here: {0}")]
    Closed(String),
    /// QUIC, TLS or TCP failed.
    #[error("the connection failed: {0}")]
    Transport(String),
}

impl DownReason {
    /// Its name in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            DownReason::TimedOut => "timed_out",
            DownReason::ClosedByPeer { .. } => "closed_by_peer",
            DownReason::PeerRestarted => "peer_restarted",
            DownReason::HandshakeTimeout => "handshake_timeout",
            DownReason::PeerChanged => "peer_changed",
            DownReason::BadFrames => "bad_frames",
            DownReason::Superseded => "superseded",
            DownReason::Shutdown => "shutdown",
            DownReason::Closed(_) => "closed",
            DownReason::Transport(_) => "transport",
        }
    }

    /// The code with which the peer is told.
    pub(crate) fn code(&self) -> quinn::VarInt {
        match self {
            DownReason::Shutdown => codes::SHUTDOWN,
            DownReason::PeerChanged => codes::NOT_ACCEPTED,
            DownReason::BadFrames => codes::BAD_FRAMES,
            DownReason::Superseded => codes::SUPERSEDED,
            DownReason::HandshakeTimeout => codes::HANDSHAKE_TIMEOUT,
            DownReason::TimedOut
            | DownReason::ClosedByPeer { .. }
            | DownReason::PeerRestarted
            | DownReason::Closed(_)
            | DownReason::Transport(_) => codes::CLOSED,
        }
    }
}

impl From<ConnectionError> for DownReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::TimedOut => DownReason::TimedOut,
            ConnectionError::Reset => DownReason::PeerRestarted,
            ConnectionError::ApplicationClosed(close) => {
                DownReason::ClosedByPeer { code: close.error_code.into_inner() }
            }
            other => DownReason::Transport(other.to_string()),
        }
    }
}

/// A session's figures, as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStats {
    /// Its number.
    pub path: PathId,
    /// Who is at the other end.
    pub peer: Peer,
    /// What kind of session.
    pub info: PathInfo,
    /// The other end's address, which moves when the peer's does.
    pub remote: SocketAddr,
    /// Whether this node dialled.
    pub dialled: bool,
    /// Whether the handshake is still under way.
    pub early: bool,
    /// The round-trip time, if what carries the session knows it.
    pub rtt: Option<Span>,
    /// Bytes sent: of UDP payload on QUIC, of TLS records on TCP.
    pub sent_bytes: u64,
    /// Bytes received, likewise.
    pub received_bytes: u64,
    /// UDP datagrams sent: each is a packet on the line, with headers that `sent_bytes` does not count. None on TCP.
    pub sent_datagrams: u64,
    /// UDP datagrams received, likewise.
    pub received_datagrams: u64,
    /// Packets sent. None on TCP, where the system keeps count and not the link.
    pub sent_packets: u64,
    /// Of those, lost.
    pub lost: u64,
    /// How long the session has been up.
    pub since: Span,
    /// How long ago the peer was last heard; no finer than the figures are asked for.
    pub heard: Span,
}

/// Why a link cannot listen, or a dial came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The address is in use, is not one of this machine, or needs rights.
    #[error("cannot open UDP {addr}: {error}")]
    Bind {
        /// The local address.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The same for TCP, by which sessions come whose line drops UDP.
    #[error("cannot open TCP {addr}: {error}")]
    BindTcp {
        /// The local address.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// There is no such device, it is down, the address is not one of its, or this system cannot bind to a device.
    #[error("cannot open UDP {addr} on the device {device}: {error}")]
    Device {
        /// The uplink's device.
        device: String,
        /// The local address.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// Check the name, the resolver and the line.
    #[error("cannot resolve {addr}: {why}")]
    Resolve {
        /// What was to be resolved.
        addr: String,
        /// What the system said.
        why: String,
    },
    /// Nothing answered: the line is down, UDP is blocked on the way, or nobody listens there.
    #[error("no answer from {0} within the time for a handshake")]
    NoAnswer(SocketAddr),
    /// The text says which side refused which certificate.
    #[error("no session with {addr}: {why}")]
    Handshake {
        /// The other end.
        addr: SocketAddr,
        /// Why.
        why: DownReason,
    },
    /// Another node than the one that was meant to be there, or none that this node may speak to.
    #[error("{addr} is {found}, which is not a node that was expected there")]
    Unexpected {
        /// The other end.
        addr: SocketAddr,
        /// Whose certificate it showed.
        found: String,
    },
    /// The node has as many sessions as it takes.
    #[error("no room for another session")]
    Full,
    /// The link was shut down.
    #[error("the link is shut down")]
    ShutDown,
    /// TLS or QUIC could not be configured: a fault of the build, not of its surroundings.
    #[error("QUIC cannot be set up: {0}")]
    Setup(String),
}

impl From<ConnectError> for LinkError {
    fn from(error: ConnectError) -> Self {
        LinkError::Setup(error.to_string())
    }
}
