//! Taking sessions in, and keeping those who never finish a handshake from keeping out those who do.
//!
//! Invariants:
//!
//! * Unfinished handshakes are bounded, and a newcomer pushes out the oldest. An honest handshake lasts two round trips,
//!   so it is the oldest only against an attacker who completes address validation thousands of times a second.
//! * Nothing is delivered for a connection before its certificate was verified, in this handshake or, with a ticket that
//!   this very process issued, in the one it resumes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use huxiao_core::PathInfo;
use huxiao_pki::Peer;
use quinn::{Connection, Endpoint, Incoming, ZeroRttAccepted};
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::codes;
use crate::event::LinkError;
use crate::path::quic::{self, Quic, peer_of};
use crate::path::{self, Session};
use crate::peer;
use crate::registry::Shared;
use crate::tcp::{self, tls};
use crate::transport::{Purpose, settle};

/// After this many arrivals in a row, others get a turn.
const ARRIVALS_PER_TURN: u32 = 64;

/// Ports that are tried when any will do.
const PORTS: u32 = 16;

/// The handshakes under way.
#[derive(Default)]
pub(crate) struct Pending(Mutex<Places>);

#[derive(Default)]
struct Places {
    next: u64,
    taken: BTreeMap<u64, AbortHandle>,
}

/// Takes sessions in until the link closes.
pub(crate) async fn accept(shared: Arc<Shared>, endpoint: Endpoint) {
    let pending = Arc::new(Pending::default());
    let mut closing = shared.closing.subscribe();
    let mut arrivals = 0_u32;
    loop {
        let incoming = tokio::select! {
            incoming = endpoint.accept() => incoming,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        let Some(incoming) = incoming else { break };
        arrive(&shared, &pending, incoming);
        arrivals += 1;
        if arrivals.is_multiple_of(ARRIVALS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    pending.clear();
}

/// Decides what becomes of one connection attempt.
fn arrive(shared: &Arc<Shared>, pending: &Arc<Pending>, incoming: Incoming) {
    shared.tally.handshakes.add();
    let remote = incoming.remote_address();
    if !shared.has_room() {
        shared.tally.sessions_refused.add();
        shared.complain(|| format!("no room for a session with {remote}: there are {}", shared.config.sessions));
        return incoming.refuse();
    }
    if pending.len() >= shared.config.retry_above && !incoming.remote_address_validated() {
        shared.tally.handshakes_retried.add();
        if let Err(error) = incoming.retry() {
            error.into_incoming().ignore();
        }
        return;
    }
    let evicted = pending.enter(shared.config.handshakes, |place| {
        let (shared, pending) = (Arc::clone(shared), Arc::clone(pending));
        tokio::spawn(async move { greet(shared, pending, place, incoming).await }).abort_handle()
    });
    if evicted {
        shared.tally.handshakes_evicted.add();
        shared.complain(|| format!("{} handshakes under way, the oldest was given up", shared.config.handshakes));
    }
}

/// Finds out who is there and lives the session. Between the last await of the handshake and the session's first there is
/// none: a task that has left its place is never pushed out of it.
async fn greet(shared: Arc<Shared>, pending: Arc<Pending>, place: u64, incoming: Incoming) {
    let remote = incoming.remote_address();
    let shaken = shake(&shared, incoming).await;
    if !pending.leave(place) {
        // Pushed out at this very instant; dropping the connection closes it.
        return;
    }
    let admitted = match shaken {
        Ok((connection, confirm)) => admit(&shared, &connection, confirm),
        Err(why) => {
            shared.tally.handshakes_failed.add();
            Err(why)
        }
    };
    match admitted {
        Ok(Admitted::Session(session)) => {
            path::run(shared, session).await;
        }
        Ok(Admitted::Peer(accepted, confirm)) => peer::run(shared, accepted, confirm).await,
        Err(why) => shared.complain(|| format!("no session with {remote}: {why}")),
    }
}

/// What a connection is that was let in.
enum Admitted {
    Session(Session),
    Peer(Arc<peer::Accepted>, Option<ZeroRttAccepted>),
}

/// What becomes of a connection whose peer is known and welcome.
fn admit(shared: &Arc<Shared>, connection: &Connection, confirm: Option<ZeroRttAccepted>) -> Result<Admitted, String> {
    let refuse = |code, why: String| {
        connection.close(code, &[]);
        why
    };
    let Some(purpose) = settle(connection) else {
        shared.tally.handshakes_failed.add();
        return Err(refuse(codes::NOT_ACCEPTED, "it speaks no protocol of ours".to_owned()));
    };
    let peer = peer_of(connection).map_err(|error| {
        shared.tally.handshakes_failed.add();
        refuse(codes::NOT_ACCEPTED, error.to_string())
    })?;
    let unwelcome = |peer: &Peer| {
        shared.tally.peers_refused.add();
        refuse(codes::NOT_ACCEPTED, format!("{} is not accepted here", peer.identity))
    };
    match purpose {
        Purpose::Session(_) if !shared.welcome(&peer) => Err(unwelcome(&peer)),
        Purpose::Session(lane) => {
            quic::begin(shared, Quic::accepted(connection.clone()), peer, PathInfo::plain(lane), confirm)
                .map(Admitted::Session)
                .map_err(|error| refuse(codes::FULL, error.to_string()))
        }
        Purpose::Peer => match peer::begin(shared, connection, peer.clone()) {
            Some(accepted) => Ok(Admitted::Peer(accepted, confirm)),
            None => Err(unwelcome(&peer)),
        },
    }
}

/// Goes as far into the handshake as is needed to know the peer: to the first flight if it resumes, else to the end.
async fn shake(shared: &Shared, incoming: Incoming) -> Result<(Connection, Option<ZeroRttAccepted>), String> {
    let connecting = incoming.accept().map_err(|error| error.to_string())?;
    let (connection, confirm) = match connecting.into_0rtt() {
        Ok(both) => both,
        // Never so on this side, says quinn; if it were, there would just be no early path.
        Err(connecting) => {
            let connection = timeout(shared.config.handshake_timeout, connecting).await.map_err(|_| too_late())?;
            return Ok((connection.map_err(|error| error.to_string())?, None));
        }
    };
    // A verified identity that is there before the handshake is over comes out of a ticket.
    if connection.peer_identity().is_some() {
        return Ok((connection, Some(confirm)));
    }
    if timeout(shared.config.handshake_timeout, confirm).await.is_err() {
        connection.close(codes::HANDSHAKE_TIMEOUT, &[]);
        return Err(too_late());
    }
    match connection.close_reason() {
        Some(error) => Err(error.to_string()),
        None => Ok((connection, None)),
    }
}

fn too_late() -> String {
    "the handshake took too long".to_owned()
}

impl Pending {
    fn len(&self) -> usize {
        self.lock().taken.len()
    }

    /// Starts a handshake in a place of its own; true if the oldest one had to go for it.
    pub(crate) fn enter(&self, limit: usize, start: impl FnOnce(u64) -> AbortHandle) -> bool {
        let mut places = self.lock();
        let evicted = if places.taken.len() >= limit { places.taken.pop_first() } else { None };
        if let Some((_, oldest)) = &evicted {
            oldest.abort();
        }
        let place = places.next;
        places.next += 1;
        // The lock is held, so the new task cannot leave its place before it has it.
        let task = start(place);
        places.taken.insert(place, task);
        evicted.is_some()
    }

    /// Gives the oldest handshake up; false if there is none.
    pub(crate) fn evict(&self) -> bool {
        let oldest = self.lock().taken.pop_first();
        oldest.inspect(|(_, oldest)| oldest.abort()).is_some()
    }

    /// Gives a place back; false if it was taken away before.
    pub(crate) fn leave(&self, place: u64) -> bool {
        self.lock().taken.remove(&place).is_some()
    }

    pub(crate) fn clear(&self) {
        for (_, task) in std::mem::take(&mut self.lock().taken) {
            task.abort();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a listener on UDP and on the same port of TCP, and says where it listens.
pub(crate) fn open(shared: &Arc<Shared>, addr: SocketAddr) -> Result<SocketAddr, LinkError> {
    let acceptor = tls::acceptor(&shared.credentials)?;
    let mut attempt = 0;
    let (listener, local, endpoint) = loop {
        attempt += 1;
        // TCP first: what comes to nothing here is gone at once, and a UDP endpoint only when its task has ended.
        let listener = tcp::listen::bind(addr)?;
        let local = listener.local_addr().map_err(|error| LinkError::BindTcp { addr, error })?;
        match crate::transport::listener(&shared.credentials, shared.server()?, local) {
            Ok(endpoint) => break (listener, local, endpoint),
            // The system chose a port that is free on TCP alone. It will choose another one.
            Err(_) if addr.port() == 0 && attempt < PORTS => {}
            Err(error) => return Err(error),
        }
    };
    shared.keep(endpoint.clone());
    tokio::spawn(accept(Arc::clone(shared), endpoint));
    tokio::spawn(tcp::listen::accept(Arc::clone(shared), listener, acceptor));
    Ok(local)
}
