//! What a driver decides about its sessions.

use std::net::IpAddr;
use std::sync::Arc;

use huxiao_core::limits::{BROKER_SESSIONS, HANDSHAKE_TIMEOUT, PEER_HANDSHAKE_TIMEOUT};
use huxiao_core::{Cost, Identity, Lane, Name, NodeName, PathInfo, Role, Span, UplinkId};

/// Whether an identity whose certificate is in order may have a session with this node. Asked at the beginning of every
/// session, resumed or not, dialled or not: the place for roles and for revocation. Must not block.
pub type Accept = Arc<dyn Fn(&Identity) -> bool + Send + Sync>;

/// Bounds and rules of a [`Link`](crate::Link).
#[derive(Clone)]
pub struct LinkConfig {
    /// Who may have a session.
    pub accept: Accept,
    /// Sessions at once, dialled and accepted.
    pub sessions: usize,
    /// Handshakes of accepted connections under way at once. One more pushes out the oldest, since an honest handshake is
    /// over in two round trips and the oldest is the likeliest to be none.
    pub handshakes: usize,
    /// With more handshakes under way than this, a newcomer must first show that it can be reached at the address from
    /// which it seems to come (Retry, RFC 9000 §8.1.2). One round trip more for it, nothing kept for it meanwhile.
    pub retry_above: usize,
    /// Sessions that one identity may have on one lane. One more closes its oldest.
    pub sessions_per_identity: usize,
    /// Messages of one class that may wait on one path.
    pub queue: usize,
    /// How long a handshake may take.
    pub handshake_timeout: Span,
    /// How long one may take that this node begins with a [peer](crate::peer).
    pub peer_handshake_timeout: Span,
    /// How long an express frame may take from its stream's beginning to its end. A bulk frame may take ten times as long.
    pub frame_timeout: Span,
    /// Bad frames of one session before it is closed. Frames that a newer version may send are not counted.
    pub bad_frames: u32,
    /// How long after a QUIC session is missing TCP is dialled beside it.
    pub fallback_after: Span,
    /// How long QUIC must have been heard beside a TCP session before that one is closed.
    pub fallback_until: Span,
    /// How long [`Link::shutdown`](crate::Link::shutdown) waits for what is on its way.
    pub shutdown_timeout: Span,
}

impl LinkConfig {
    /// The bounds of a broker node, for sessions with whomever `accept` takes.
    pub fn new(accept: impl Fn(&Identity) -> bool + Send + Sync + 'static) -> Self {
        Self {
            accept: Arc::new(accept),
            sessions: BROKER_SESSIONS,
            handshakes: 1_024,
            retry_above: 64,
            // Of each of a node's lines: one over QUIC, a fresh one beside it, one over TCP; and those whose end is not known here yet.
            sessions_per_identity: 16,
            queue: 256,
            handshake_timeout: HANDSHAKE_TIMEOUT,
            peer_handshake_timeout: PEER_HANDSHAKE_TIMEOUT,
            // 64 KiB at 32 kbit/s take 16 s.
            frame_timeout: Span::from_secs(30),
            bad_frames: 16,
            // A handshake over a good mobile line, and one repeat over a bad one.
            fallback_after: Span::from_millis(300),
            fallback_until: Span::from_secs(10),
            shutdown_timeout: Span::from_secs(3),
        }
    }

    /// The same, for sessions with nodes of these roles.
    #[must_use]
    pub fn accepting(roles: &'static [Role]) -> Self {
        Self::new(move |identity| roles.contains(&identity.node.role()))
    }
}

/// One of this machine's lines.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uplink {
    /// Its number: what its sessions are told apart by.
    pub id: UplinkId,
    /// The network device that its packets leave by, whatever the system's routes say. Linux only.
    pub device: Option<String>,
    /// The local address to dial from. `None` leaves it to the system.
    pub local: Option<IpAddr>,
    /// What it costs.
    pub cost: Cost,
}

impl Uplink {
    /// A QUIC session of `lane` over it, as couriers see it.
    pub(crate) fn info(&self, lane: Lane) -> PathInfo {
        PathInfo { uplink: self.id, cost: self.cost, ..PathInfo::plain(lane) }
    }
}

/// Where to dial, and whom to expect there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// `host:port`, resolved anew at each dial.
    pub addr: String,
    /// The line to dial over.
    pub uplink: Uplink,
    /// Who must answer.
    pub expect: Expect,
    /// One session is kept on each of these.
    pub lanes: Vec<Lane>,
}

/// Who must answer at a [`Target`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// What it is.
    pub role: Role,
    /// For a broker: of which region, if that is known.
    pub region: Option<Name>,
}

impl Expect {
    /// A broker, of `region` if given.
    #[must_use]
    pub fn broker(region: Option<Name>) -> Self {
        Self { role: Role::Broker, region }
    }

    /// Whether `identity` is expected.
    #[must_use]
    pub fn admits(&self, identity: &Identity) -> bool {
        let region = match &identity.node {
            NodeName::Broker { region, .. } => Some(region),
            NodeName::Relay(_) | NodeName::Station(_) => None,
        };
        identity.node.role() == self.role && (self.region.is_none() || self.region.as_ref() == region)
    }
}
