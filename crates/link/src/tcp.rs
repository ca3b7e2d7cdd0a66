//! Sessions over TLS and TCP: the fallback for lines that drop UDP.
//!
//! The same frames go over it, from the same queues, between the same identities. It is dialled beside QUIC, not after QUIC
//! has failed ([`fallback`] decides when), and given back when QUIC carries again.
//!
//! Invariants:
//!
//! * One session of each lane and target goes over TCP at most, and only beside a QUIC that shows nothing or has not yet
//!   shown for [`fallback_until`](crate::LinkConfig::fallback_until) that it lives.
//! * Frames go one behind the other. So what is below P0 waits in its queue and not in the kernel: one frame is under way, and
//!   long lists go in small ones ([`SPLIT_BYTES`]). An alarm waits for no more than that, and for what the line has already.
//! * A peer is believed, refused, bounded and counted as over QUIC. What costs a stream there costs the session here if it
//!   hides where the next frame begins.
//! * Whoever ends a session in good order first sends what waits, and takes what the other still sends, for [`LINGER`]. TCP has
//!   no place for a reason: the other side learns that it was closed and not why.
//!
//! There are no frames for keeping a session alive. On express the machines' probes come often enough that silence for the idle
//! time-out is the end. On bulk nothing may have to be said for hours: there the kernel's keep-alive and its user time-out find out.

use huxiao_core::{Carrier, Lane, PathInfo, Span};

pub(crate) mod dial;
pub(crate) mod fallback;
pub(crate) mod listen;
mod reader;
mod session;
mod socket;
pub(crate) mod tls;
mod traffic;

/// How long an end in good order may take.
const LINGER: Span = Span::from_secs(1);
/// Lists on express are split into frames of at most this. On a line of 64 kbit/s an alarm waits half a second for one.
pub(crate) const SPLIT_BYTES: usize = 4 * 1_024;

/// The longest frame that a list may make on such a session, when its lane allows `limit`.
pub(crate) fn split_bytes(info: PathInfo, limit: usize) -> usize {
    match (info.carrier, info.lane) {
        (Carrier::Tcp, Lane::Express) => limit.min(SPLIT_BYTES),
        (Carrier::Tcp, Lane::Bulk) | (Carrier::Quic, _) => limit,
    }
}
