//! What a courier must know of a session that its driver has.
//!
//! A *path* is one local uplink towards one remote node. Several sessions may run over one uplink (two lanes, two nodes, a fresh
//! one beside one that is silent); what they share is the line, and so the budget of what may be sent on it.

use crate::lane::Lane;
use crate::time::Span;

/// One of the node's own lines, by its place in the node's configuration. A node that takes sessions in has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UplinkId(pub u16);

/// What carries a session's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carrier {
    /// QUIC over UDP: streams and datagrams.
    Quic,
    /// TLS over TCP, for lines that drop UDP: every message in turn behind the one before.
    Tcp,
}

impl Carrier {
    /// Its word in APIs, metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Carrier::Quic => "quic",
            Carrier::Tcp => "tcp",
        }
    }
}

/// Whether a line is paid for by what goes over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Cost {
    /// It is not.
    #[default]
    Free,
    /// It is: only P0 and P1 go over it, and keep-alives are rarer.
    Metered,
}

impl Cost {
    /// Its word in configurations, APIs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cost::Free => "free",
            Cost::Metered => "metered",
        }
    }
}

/// How a copy travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Form {
    /// On a stream: the session repeats what the line loses, as long as it lives, in its own time.
    Stream,
    /// As a datagram: once, now or never. What does not fit one, or a session that has none, takes a stream instead.
    Datagram,
}

/// A session, as a courier sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PathInfo {
    /// Its lane.
    pub lane: Lane,
    /// Over which line.
    pub uplink: UplinkId,
    /// What carries it.
    pub carrier: Carrier,
    /// What the line costs.
    pub cost: Cost,
    /// The round trip that its handshake took; zero where none was measured.
    pub rtt: Span,
}

impl PathInfo {
    /// A QUIC session of `lane` over a free line, the only one.
    #[must_use]
    pub fn plain(lane: Lane) -> Self {
        Self { lane, uplink: UplinkId(0), carrier: Carrier::Quic, cost: Cost::Free, rtt: Span::ZERO }
    }
}
