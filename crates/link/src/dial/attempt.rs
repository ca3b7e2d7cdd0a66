//! One dial: from a name to a session.
//!
//! Invariant: nobody is believed who was not proven, in this handshake or in the one whose ticket this one resumes; and what
//! was proven must be what the target expects.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use huxiao_core::{Lane, Span};
use huxiao_pki::{Peer, Validity};
use quinn::ConnectionError;
use tokio::time::{timeout, timeout_at};

use crate::codes;
use crate::config::Target;
use crate::event::LinkError;
use crate::path::Session;
use crate::path::quic::{self, Quic, peer_of};
use crate::registry::{Shared, wall_now};
use crate::transport;

/// What distinguishes one dial from the next.
pub(super) struct Attempt {
    /// Its number: each of a name's addresses has its turn.
    pub(super) number: usize,
    /// How long it may take.
    pub(super) life: Span,
    /// Whether to spend a ticket on it.
    pub(super) ticket: bool,
    /// Who was proven to be there, if anybody ever was: with a ticket, the session begins before it is proven again.
    pub(super) known: Option<Peer>,
}

/// Dials a lane of a target.
pub(super) async fn establish(
    shared: Arc<Shared>,
    target: Target,
    lane: Lane,
    attempt: Attempt,
) -> Result<Session, LinkError> {
    shared.tally.dials.add();
    let began = Instant::now();
    let addr = resolve_in_time(&target.addr, target.uplink.local, attempt.number, attempt.life).await?;
    let deadline = (began + attempt.life).into();
    let endpoint = transport::dialler(&target.uplink, addr)?;
    let config = shared.client(lane, target.uplink.cost, attempt.ticket);
    let connecting = endpoint.connect_with(config, addr, &server_name(&target.addr))?;
    let info = target.uplink.info(lane);
    let (connection, confirm) = match connecting.into_0rtt() {
        Ok((connection, confirm)) => match attempt.known {
            Some(mut peer) if target.expect.admits(&peer.identity) && shared.welcome(&peer) => {
                shared.tally.early_offered.add();
                transport::set_lane(&connection, lane);
                if wall_now() > peer.not_after {
                    peer.validity = Validity::Expired;
                }
                return quic::begin(&shared, Quic::dialled(connection, endpoint), peer, info, Some(confirm));
            }
            _ => (connection, Some(confirm)),
        },
        Err(connecting) => {
            let connection = timeout_at(deadline, connecting).await.map_err(|_| LinkError::NoAnswer(addr))?;
            (connection.map_err(|error| handshake_error(addr, error))?, None)
        }
    };
    if let Some(confirm) = confirm {
        timeout_at(deadline, confirm).await.map_err(|_| LinkError::NoAnswer(addr))?;
    }
    if let Some(error) = connection.close_reason() {
        return Err(handshake_error(addr, error));
    }
    let peer = peer_of(&connection);
    let Some(peer) = peer.as_ref().ok().filter(|peer| target.expect.admits(&peer.identity) && shared.welcome(peer))
    else {
        connection.close(codes::NOT_ACCEPTED, &[]);
        shared.tally.peers_refused.add();
        let found = peer.map_or_else(|error| error.to_string(), |peer| peer.identity.to_string());
        return Err(LinkError::Unexpected { addr, found });
    };
    transport::set_lane(&connection, lane);
    quic::begin(&shared, Quic::dialled(connection, endpoint), peer.clone(), info, None)
}

fn handshake_error(addr: SocketAddr, error: ConnectionError) -> LinkError {
    match error {
        ConnectionError::TimedOut => LinkError::NoAnswer(addr),
        error => LinkError::Handshake { addr, why: error.into() },
    }
}

/// The address of `addr` for this attempt, if it is found within `patience`.
pub(crate) async fn resolve_in_time(
    addr: &str,
    local: Option<IpAddr>,
    attempt: usize,
    patience: Span,
) -> Result<SocketAddr, LinkError> {
    timeout(patience, resolve(addr, local, attempt)).await.unwrap_or_else(|_| {
        Err(LinkError::Resolve { addr: addr.to_owned(), why: "the resolver does not answer".to_owned() })
    })
}

/// The address of `addr` for this attempt: each of a name's addresses has its turn.
async fn resolve(addr: &str, local: Option<IpAddr>, attempt: usize) -> Result<SocketAddr, LinkError> {
    let fail = |why: String| LinkError::Resolve { addr: addr.to_owned(), why };
    let found = tokio::net::lookup_host(addr).await.map_err(|error| fail(error.to_string()))?;
    let usable = |addr: &SocketAddr| local.is_none_or(|local| local.is_ipv4() == addr.is_ipv4());
    let addrs: Vec<_> = found.filter(usable).collect();
    let turn = attempt.checked_rem(addrs.len()).and_then(|turn| addrs.get(turn));
    turn.copied().ok_or_else(|| fail("it has no address that can be reached from the local one".to_owned()))
}

/// The name under which TLS keeps the tickets of a target. Identities are what is verified; a name only has to tell
/// targets apart, also two ports of one address, because a ticket is good only for the process that gave it.
fn server_name(addr: &str) -> String {
    let mut hasher = DefaultHasher::new();
    addr.hash(&mut hasher);
    format!("t{:016x}.huxiao.invalid", hasher.finish())
}
