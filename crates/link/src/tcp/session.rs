//! A session that TLS over TCP carries.
//!
//! Invariant: a message counts as sent when the kernel has taken the last byte of it, and is given up when the session ends
//! before. Whether it arrived, only a receipt says, as on every carrier.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use huxiao_core::{Cost, Lane, PathInfo};
use huxiao_pki::Peer;
use tokio::io::{AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_rustls::TlsStream;
use tracing::debug;

use crate::codes;
use crate::event::{DownReason, LinkError};
use crate::path::{Carry, Figures, Path, Session};
use crate::registry::Shared;
use crate::tcp::reader::{Bounds, Fault, Reader};
use crate::tcp::traffic::{Counted, Traffic};
use crate::tcp::{LINGER, socket};
use crate::transport::frame_bytes;

/// How far a session is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Not at all.
    Open,
    /// What waits is sent and what still comes is taken, for [`LINGER`].
    Closing,
    /// At once.
    Over,
}

/// A TLS stream as the carrier of a session.
#[derive(Debug)]
struct Tcp {
    remote: SocketAddr,
    traffic: Arc<Traffic>,
    phase: watch::Sender<Phase>,
}

impl Carry for Tcp {
    fn remote(&self) -> SocketAddr {
        self.remote
    }

    fn close(&self, why: &DownReason) {
        let phase = match why {
            DownReason::Shutdown | DownReason::Closed(_) | DownReason::ClosedByPeer { .. } => Phase::Closing,
            DownReason::TimedOut
            | DownReason::PeerRestarted
            | DownReason::HandshakeTimeout
            | DownReason::PeerChanged
            | DownReason::BadFrames
            | DownReason::Superseded
            | DownReason::Transport(_) => Phase::Over,
        };
        advance(&self.phase, phase);
    }

    fn figures(&self) -> Figures {
        let received = self.traffic.received();
        Figures { sent_bytes: self.traffic.sent(), received_bytes: received, heard: received, ..Figures::default() }
    }
}

fn advance(phase: &watch::Sender<Phase>, to: Phase) {
    phase.send_if_modified(|phase| {
        let on = to > *phase;
        *phase = to.max(*phase);
        on
    });
}

/// A session with `peer` over `stream`, entered into the table. `dialled` is the cost of the line, on the side that dialled.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    stream: impl Into<TlsStream<Counted>>,
    peer: Peer,
    info: PathInfo,
    dialled: Option<Cost>,
) -> Result<Session, LinkError> {
    let stream = stream.into();
    let counted = stream.get_ref().0;
    let failed = |addr| move |error: io::Error| LinkError::Handshake { addr, why: broken(&error) };
    let remote = counted.stream().peer_addr().map_err(failed(SocketAddr::from(([0; 4], 0))))?;
    socket::settle(counted.stream(), info.lane, dialled).map_err(failed(remote))?;
    let phase = watch::Sender::new(Phase::Open);
    let carrier = Tcp { remote, traffic: counted.traffic(), phase: phase.clone() };
    let path = Path::new(shared, Box::new(carrier), peer, info, dialled.is_some(), false);
    shared.enter(&path)?;
    let life = Box::pin(live(Arc::clone(shared), Arc::clone(&path), stream, phase, dialled));
    Ok(Session { path, life })
}

/// Says goodbye to a peer with whom there will be no session.
pub(crate) async fn refuse(stream: impl Into<TlsStream<Counted>>) {
    // Whoever does not listen is told nothing.
    let _ = tokio::time::timeout(LINGER, stream.into().shutdown()).await;
}

/// Both halves of the session, to its end.
async fn live(
    shared: Arc<Shared>,
    path: Arc<Path>,
    stream: TlsStream<Counted>,
    phase: watch::Sender<Phase>,
    dialled: Option<Cost>,
) -> DownReason {
    let bulk = path.lane == Lane::Bulk;
    let bounds = Bounds {
        frame: frame_bytes(path.lane),
        frame_timeout: shared.config.frame_timeout * if bulk { 10 } else { 1 },
        idle_timeout: (!bulk).then(|| socket::idle_timeout(dialled)),
    };
    let (read, write) = split(stream);
    let reader = Reader::new(read, bounds);
    let halves = async {
        tokio::join!(receive(&shared, &path, reader, phase.subscribe()), transmit(&shared, &path, write, &phase));
    };
    let mut halves = std::pin::pin!(halves);
    tokio::select! {
        () = &mut halves => {}
        () = linger(&phase) => halves.await,
    }
    // Each half says why it ends before it does; this is for none to be without a reason.
    DownReason::Transport("the connection ended".to_owned())
}

/// Ends an end that takes too long.
async fn linger(phase: &watch::Sender<Phase>) {
    reached(&mut phase.subscribe(), Phase::Closing).await;
    sleep(LINGER).await;
    advance(phase, Phase::Over);
}

async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender outlives every wait: the life of the session holds it.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

/// Reads frames and delivers them until there is a reason to end.
async fn receive(
    shared: &Shared,
    path: &Path,
    mut reader: Reader<ReadHalf<TlsStream<Counted>>>,
    mut phase: watch::Receiver<Phase>,
) {
    loop {
        let next = tokio::select! {
            biased;
            () = reached(&mut phase, Phase::Over) => return,
            next = reader.next() => next,
        };
        let end = match next {
            Ok(message) => {
                path.deliver(shared, message).await;
                continue;
            }
            Err(Fault::Frame(error)) => {
                debug!(path = path.id.0, peer = %path.peer.identity, %error, "bad frame");
                path.bad_frame(shared, error.name(), !error.is_skippable());
                continue;
            }
            Err(Fault::Lost(error)) => {
                debug!(path = path.id.0, peer = %path.peer.identity, %error, "no frame can be told from here on");
                path.bad_frame(shared, error.name(), true);
                DownReason::BadFrames
            }
            Err(Fault::Slow) => {
                path.bad_frame(shared, "timeout", true);
                DownReason::BadFrames
            }
            Err(Fault::Idle) => DownReason::TimedOut,
            Err(Fault::End) => DownReason::ClosedByPeer { code: codes::UNSAID.into_inner() },
            Err(Fault::Cut(error)) => {
                shared.tally.streams_reset.add();
                broken(&error)
            }
            Err(Fault::Broken(error)) => broken(&error),
        };
        return path.close(end);
    }
}

/// Sends what waits, the highest class first, one frame at a time; then says goodbye.
async fn transmit(
    shared: &Shared,
    path: &Path,
    mut stream: WriteHalf<TlsStream<Counted>>,
    phase: &watch::Sender<Phase>,
) {
    let (mut closing, mut over) = (phase.subscribe(), phase.subscribe());
    loop {
        while let Some(frame) = path.outgoing.take(false) {
            let written = tokio::select! {
                biased;
                () = reached(&mut over, Phase::Over) => None,
                written = put(&mut stream, &frame.bytes) => Some(written),
            };
            path.outgoing.done(&frame);
            match written {
                Some(Ok(())) => shared.tally.messages_sent.add(),
                Some(Err(error)) => {
                    shared.tally.messages_lost.add();
                    return path.close(broken(&error));
                }
                None => return shared.tally.messages_lost.add(),
            }
        }
        // Nothing more is taken in by now, and nothing waits.
        if *closing.borrow() >= Phase::Closing {
            break;
        }
        tokio::select! {
            () = path.outgoing.ready.notified() => {}
            () = reached(&mut closing, Phase::Closing) => {}
        }
    }
    tokio::select! {
        biased;
        () = reached(&mut over, Phase::Over) => {}
        // The other side may be gone already.
        _ = stream.shutdown() => {}
    }
}

/// Ends when the kernel has taken all of `bytes`, or cannot.
async fn put(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// Why a connection broke, in the words of sessions.
pub(crate) fn broken(error: &io::Error) -> DownReason {
    match error.kind() {
        // The kernel's user time-out or keep-alive.
        io::ErrorKind::TimedOut => DownReason::TimedOut,
        io::ErrorKind::UnexpectedEof => DownReason::Transport("TCP: it was cut off".to_owned()),
        _ => DownReason::Transport(format!("TCP: {error}")),
    }
}
