//! TLS for sessions over TCP: the same certificates, the same verifiers and the same protocol names as over QUIC.
//!
//! Invariant: every session proves both ends anew. There are no tickets and no early data: what is sent early over TCP
//! may be repeated by whoever recorded it, and a round trip saved on a line that is a fallback is not worth a second way to be believed.

use std::sync::Arc;

use huxiao_core::Lane;
use huxiao_pki::{Credentials, Peer, PeerError, peer_identity};
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::server::NoServerSessionStorage;
use rustls::{CommonState, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::event::LinkError;
use crate::registry::wall_now;
use crate::transport::alpn;

/// Identities are what is verified, so that no name is needed; TLS wants one all the same.
const SERVER_NAME: &str = "tcp.huxiao.invalid";

/// What dials a lane.
pub(crate) fn connector(credentials: &Credentials, lane: Lane) -> Result<TlsConnector, LinkError> {
    let mut config = credentials.client_tls(alpn(lane)).map_err(setup)?;
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What takes sessions of both lanes in.
pub(crate) fn acceptor(credentials: &Credentials) -> Result<TlsAcceptor, LinkError> {
    let mut config: ServerConfig = credentials.server_tls(&[alpn(Lane::Express), alpn(Lane::Bulk)]).map_err(setup)?;
    config.max_early_data_size = 0;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The name that a dialler asks for.
pub(crate) fn server_name() -> Result<ServerName<'static>, LinkError> {
    ServerName::try_from(SERVER_NAME).map_err(|error| LinkError::Setup(error.to_string()))
}

/// The lane that a finished handshake settled on. `None` if the peer speaks no protocol of ours.
pub(crate) fn lane_of(tls: &CommonState) -> Option<Lane> {
    let protocol = tls.alpn_protocol()?;
    [Lane::Express, Lane::Bulk].into_iter().find(|lane| alpn(*lane) == protocol)
}

/// Who is at the other end of a finished handshake.
pub(crate) fn peer_of(tls: &CommonState) -> Result<Peer, PeerError> {
    peer_identity(tls.peer_certificates().unwrap_or_default(), wall_now())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn setup(error: rustls::Error) -> LinkError {
    LinkError::Setup(error.to_string())
}
