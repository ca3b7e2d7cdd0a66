//! Taking sessions in over TCP.
//!
//! Invariants: as for QUIC ([`crate::listen`]), with places of its own: unfinished handshakes are bounded, a newcomer pushes out the
//! oldest, and nothing is delivered before a certificate was verified. That a stranger is where it seems to come from, the
//! kernel's own handshake has shown already.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use huxiao_core::{Carrier, PathInfo, Span};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::event::LinkError;
use crate::listen::Pending;
use crate::path::{self, Session};
use crate::registry::Shared;
use crate::tcp::session::{begin, refuse};
use crate::tcp::socket;
use crate::tcp::tls::{lane_of, peer_of};
use crate::tcp::traffic::Counted;

/// How long to let be when the system has no file descriptor or memory for another connection.
const SHORTAGE: Span = Span::from_millis(100);

/// A socket that listens on `addr`.
pub(crate) fn bind(addr: SocketAddr) -> Result<TcpListener, LinkError> {
    socket::listener(addr).map_err(|error| LinkError::BindTcp { addr, error })
}

/// Takes sessions in until the link closes.
pub(crate) async fn accept(shared: Arc<Shared>, listener: TcpListener, acceptor: TlsAcceptor) {
    let pending = Arc::new(Pending::default());
    let mut closing = shared.closing.subscribe();
    loop {
        let incoming = tokio::select! {
            incoming = listener.accept() => incoming,
            _ = closing.wait_for(|closing| *closing) => break,
        };
        match incoming {
            Ok((stream, remote)) => arrive(&shared, &pending, &acceptor, stream, remote),
            Err(error) if of_the_stranger(&error) => shared.tally.handshakes_failed.add(),
            Err(error) => {
                // Whoever has been longest at its handshake gives up its descriptor, for the next and for the disk.
                if pending.evict() {
                    shared.tally.handshakes_evicted.add();
                }
                shared.complain(|| format!("cannot take a TCP connection: {error}"));
                sleep(SHORTAGE).await;
            }
        }
    }
    pending.clear();
}

/// Whether only this one connection has failed.
fn of_the_stranger(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Decides what becomes of one connection attempt.
fn arrive(shared: &Arc<Shared>, pending: &Arc<Pending>, acceptor: &TlsAcceptor, stream: TcpStream, remote: SocketAddr) {
    shared.tally.handshakes.add();
    if !shared.has_room() {
        shared.tally.sessions_refused.add();
        shared.complain(|| format!("no room for a session with {remote}: there are {}", shared.config.sessions));
        return;
    }
    let evicted = pending.enter(shared.config.handshakes, |place| {
        let greeting = greet(Arc::clone(shared), Arc::clone(pending), place, acceptor.clone(), stream, remote);
        tokio::spawn(greeting).abort_handle()
    });
    if evicted {
        shared.tally.handshakes_evicted.add();
        shared.complain(|| format!("{} TCP handshakes under way, the oldest was given up", shared.config.handshakes));
    }
}

/// Finds out who is there and lives the session.
async fn greet(
    shared: Arc<Shared>,
    pending: Arc<Pending>,
    place: u64,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    remote: SocketAddr,
) {
    // Without it the handshake's second flight may wait for an acknowledgement of the first.
    let _ = stream.set_nodelay(true);
    let shaken = timeout(shared.config.handshake_timeout, acceptor.accept(Counted::new(stream))).await;
    if !pending.leave(place) {
        return;
    }
    let session = match shaken {
        Ok(Ok(stream)) => admit(&shared, stream).await,
        Ok(Err(error)) => {
            shared.tally.handshakes_failed.add();
            Err(error.to_string())
        }
        Err(_) => {
            shared.tally.handshakes_failed.add();
            Err("the handshake took too long".to_owned())
        }
    };
    match session {
        Ok(session) => {
            path::run(shared, session).await;
        }
        Err(why) => shared.complain(|| format!("no session with {remote} over TCP: {why}")),
    }
}

/// The session of a finished handshake whose peer is welcome.
async fn admit(shared: &Arc<Shared>, stream: TlsStream<Counted>) -> Result<Session, String> {
    let tls = stream.get_ref().1;
    let Some(lane) = lane_of(tls) else {
        shared.tally.handshakes_failed.add();
        refuse(stream).await;
        return Err("it speaks no protocol of ours".to_owned());
    };
    let peer = match peer_of(tls) {
        Ok(peer) => peer,
        Err(error) => {
            shared.tally.handshakes_failed.add();
            refuse(stream).await;
            return Err(error.to_string());
        }
    };
    if !shared.welcome(&peer) {
        shared.tally.peers_refused.add();
        refuse(stream).await;
        return Err(format!("{} is not accepted here", peer.identity));
    }
    let info = PathInfo { carrier: Carrier::Tcp, ..PathInfo::plain(lane) };
    begin(shared, stream, peer, info, None).map_err(|error| error.to_string())
}
