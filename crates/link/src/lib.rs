//! Sessions between nodes: QUIC connections, or TLS where UDP is dropped, with proven identities, over which messages go each on its own.
//!
//! Invariants:
//!
//! * Nobody's message is believed or delivered before a certificate of our authority has said whose it is, and every
//!   [`LinkEvent::Message`] of a path lies between its [`LinkEvent::Up`] and its [`LinkEvent::Down`].
//! * On QUIC every message is one frame on a unidirectional stream of its own or, of P0 and P1 on express, in a datagram that is sent
//!   once, now or never. A lost packet holds back the message it was part of and no other; messages arrive in any order and, after
//!   a rejected or repeated 0-RTT, more than once.
//! * [`Link::send`] never waits. Each class has a queue of its own and P0 has room of its own on the wire, so no amount
//!   of lower traffic makes an alarm wait or fail.
//! * Whatever a peer sends costs that peer only: a bad frame its stream, many bad frames its session, an unfinished
//!   handshake one of a bounded number of places from which newer ones push it out.
//!
//! A line that drops UDP is crossed by TLS over TCP. It is dialled beside QUIC, on the same port, carries the same frames between the
//! same identities, and is closed when QUIC was heard beside it for a while. What differs: messages go one behind the other, so that an
//! alarm waits for the frame that is under way; a message counts as sent when the system has taken it; a bad length or version costs the
//! session; there is no 0-RTT; and the peer cannot be told why a session ends.
//! [`PathInfo::carrier`](huxiao_core::PathInfo) says what carries a session.
//!
//! Express and bulk are two connections to the same port, told apart by ALPN. Express has a window that never speaks, since the courier
//! has a budget; bulk fills an idle line and leaves the line's queue to express. A dialler keeps redialling, every time from a new
//! local port, because the mapping of the old one in a NAT or a conntrack table may be what is broken: one dial after the other while nobody
//! waits, several beside each other in a [hurry](DialHandle::hurry), and one beside a session that has fallen silent in a
//! [race](DialHandle::race). A session [moves](DialHandle::rebind) with its uplink's address.
//!
//! The broker nodes of a region [call each other](peer) on the same port, beside all sessions and apart from them.

mod backoff;
mod codes;
mod config;
mod congestion;
mod counters;
mod dial;
mod event;
mod lanes;
mod link;
mod listen;
mod outgoing;
mod path;
pub mod peer;
mod registry;
mod tcp;
mod transport;

#[cfg(test)]
mod tests;

pub use backoff::Backoff;
pub use config::{Accept, Expect, LinkConfig, Target, Uplink};
pub use counters::Counters;
pub use dial::DialHandle;
pub use event::{DownReason, LinkError, LinkEvent, PathStats};
pub use lanes::{EventReceiver, EventSender, events};
pub use link::Link;
