//! One dial of a peer: from an address to a proven connection, or to why there is none.
//!
//! Invariant: what comes out is with the very node that was meant, in this handshake: there are no tickets and no early data here.

use std::sync::Arc;

use huxiao_core::Role;
use huxiao_pki::Peer;
use quinn::{Connection, Endpoint};
use tokio::time::{Instant, timeout_at};

use crate::codes;
use crate::config::Uplink;
use crate::dial::resolve_in_time;
use crate::event::LinkError;
use crate::path::quic::peer_of;
use crate::peer::PeerTarget;
use crate::registry::Shared;
use crate::transport;

/// Identities are what is verified, so that no name is needed; TLS wants one all the same.
const SERVER_NAME: &str = "peer.huxiao.invalid";

/// A connection, the socket that is its own, and who is there.
pub(super) struct Dialled {
    pub(super) connection: Connection,
    pub(super) endpoint: Endpoint,
    pub(super) peer: Peer,
}

/// Dials `target` for the `attempt`th time: each of a name's addresses has its turn.
pub(super) async fn dial(shared: &Arc<Shared>, target: &PeerTarget, attempt: usize) -> Result<Dialled, LinkError> {
    shared.tally.peer_dials.add();
    let patience = shared.config.peer_handshake_timeout;
    let deadline = Instant::now() + patience;
    let addr = resolve_in_time(&target.addr, None, attempt, patience).await?;
    let endpoint = transport::dialler(&Uplink::default(), addr)?;
    let config = shared.peer_client()?;
    let connecting = endpoint.connect_with(config, addr, SERVER_NAME)?;
    let connection = timeout_at(deadline, connecting)
        .await
        .map_err(|_| LinkError::NoAnswer(addr))?
        .map_err(|error| LinkError::Handshake { addr, why: error.into() })?;
    let peer = peer_of(&connection);
    let meant = |peer: &&Peer| {
        let identity = &peer.identity;
        identity.node == target.expect
            && identity.node.role() == Role::Broker
            && identity != shared.credentials.identity()
    };
    match peer.as_ref().ok().filter(meant) {
        Some(peer) => Ok(Dialled { connection, endpoint, peer: peer.clone() }),
        None => {
            connection.close(codes::NOT_ACCEPTED, &[]);
            shared.tally.peers_refused.add();
            let found = peer.map_or_else(|error| error.to_string(), |peer| peer.identity.to_string());
            Err(LinkError::Unexpected { addr, found })
        }
    }
}
