//! What a link has done since it began. The runtime makes metrics of it; this crate knows none.
//!
//! Invariant: every refusal and every loss counts somewhere, so that what came in and what went out add up.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A snapshot of a link's counters. All only rise.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
            /// Frames that could not be taken, by the name of what was wrong with them.
            pub bad_frames: BTreeMap<&'static str, u64>,
            /// Calls of peers of the region that ended, by how: `answered`, or the name of their [`PeerError`](crate::peer::PeerError).
            pub peer_calls: BTreeMap<&'static str, u64>,
            /// Calls of peers that ended here, by how: `answered`, `refused`, `failed`, or `given_up` by the caller.
            pub peer_answers: BTreeMap<&'static str, u64>,
        }

        /// The counters themselves.
        #[derive(Debug, Default)]
        pub(crate) struct Tally {
            $(pub(crate) $name: Count,)*
            bad_frames: ByName,
            peer_calls: ByName,
            peer_answers: ByName,
        }

        impl Tally {
            /// The figures of now.
            pub(crate) fn snapshot(&self) -> Counters {
                Counters {
                    $($name: self.$name.0.load(Ordering::Relaxed),)*
                    bad_frames: self.bad_frames.snapshot(),
                    peer_calls: self.peer_calls.snapshot(),
                    peer_answers: self.peer_answers.snapshot(),
                }
            }
        }
    };
}

counters! {
    /// Sessions that came up.
    sessions_up,
    /// Sessions that went down.
    sessions_down,
    /// Connection attempts that reached this node.
    handshakes,
    /// Of those, sent back to prove their address.
    handshakes_retried,
    /// Of those, pushed out by newer ones.
    handshakes_evicted,
    /// Of those, failed: time-out, wrong certificate, wrong protocol.
    handshakes_failed,
    /// Peers with a good certificate that are not welcome.
    peers_refused,
    /// Sessions not begun because there were too many.
    sessions_refused,
    /// Sessions closed because the same identity opened newer ones.
    sessions_superseded,
    /// Dials begun.
    dials,
    /// Dials that came to nothing.
    dials_failed,
    /// Dials over TCP begun, beside those.
    tcp_dials,
    /// Of those, that came to nothing.
    tcp_dials_failed,
    /// Sessions over TCP that were given back because QUIC carries again.
    tcp_given_back,
    /// Of the dials, those beside a session that heard nothing.
    races,
    /// Dialled sessions moved to a new local socket.
    migrations,
    /// Dialled sessions that began before their handshake was over (0-RTT).
    early_offered,
    /// Of those, accepted by the server.
    early_accepted,
    /// Of those, not accepted: what had been sent was sent again.
    early_rejected,
    /// Messages delivered to the driver.
    messages_received,
    /// Messages that the peer has acknowledged to have received whole.
    messages_sent,
    /// Messages sent as datagrams. They are not acknowledged, and count nowhere else.
    datagrams_sent,
    /// Messages delivered to the driver that came as datagrams; they count as received messages too.
    datagrams_received,
    /// Datagrams that were read and given up: the driver had no room for them. A copy that is worth waiting for comes on a stream.
    datagrams_dropped,
    /// Messages refused because the queue of their class was full.
    messages_refused,
    /// Messages given to a session that ended before the peer acknowledged them.
    messages_lost,
    /// Messages whose stream the peer stopped: it could not read them, or had enough.
    messages_stopped,
    /// Streams that ended before their frame did, by the peer's or the path's doing.
    streams_reset,
    /// Connections with peers of the region that came up, dialled and taken in.
    peers_up,
    /// Connections with peers of the region that went down.
    peers_down,
    /// Dials of peers of the region begun.
    peer_dials,
    /// Of those, that came to nothing.
    peer_dials_failed,
}

impl Tally {
    /// Counts a frame that could not be taken.
    pub(crate) fn bad_frame(&self, name: &'static str) {
        self.bad_frames.add(name);
    }

    /// Counts a call that this node made.
    pub(crate) fn peer_call(&self, outcome: &'static str) {
        self.peer_calls.add(outcome);
    }

    /// Counts a call that a peer made.
    pub(crate) fn peer_answer(&self, outcome: &'static str) {
        self.peer_answers.add(outcome);
    }
}

/// Counters by name, for what is rare or has many outcomes.
#[derive(Debug, Default)]
struct ByName(Mutex<BTreeMap<&'static str, u64>>);

impl ByName {
    fn add(&self, name: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() += 1;
    }

    fn snapshot(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    /// One more.
    pub(crate) fn add(&self) {
        self.more(1);
    }

    /// Several more.
    pub(crate) fn more(&self, count: usize) {
        self.0.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
