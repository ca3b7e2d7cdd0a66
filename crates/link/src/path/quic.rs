//! A session that a QUIC connection carries.
//!
//! Invariants:
//!
//! * Every frame has a stream or a datagram of its own, so what the line loses of one holds no other back.
//! * A stream does not begin while a datagram waits to leave, so the two copies of an alarm never share the one packet that is lost.
//! * Datagrams never wait for the driver: what it has no room for is dropped, and those of a higher class behind it are read.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use huxiao_core::{Class, Lane, Message, PathInfo, Span};
use huxiao_pki::{Peer, PeerError, peer_identity};
use huxiao_wire::{HEADER_BYTES, WireError, decode_frame, frame_len};
use quinn::{
    Connection, Endpoint, ReadError, ReadExactError, RecvStream, StoppedError, VarInt, WriteError, ZeroRttAccepted,
};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use crate::codes;
use crate::config::Uplink;
use crate::congestion::{Turns, Writer};
use crate::event::{DownReason, LinkError};
use crate::outgoing::Frame;
use crate::path::{Carry, Figures, Path, Session};
use crate::registry::{Shared, wall_now};
use crate::transport::{self, DATAGRAMS_NONE, frame_bytes};

/// Frames that are read at once on one path; the rest waits in the peer, who has that much stream credit less.
fn readers(lane: Lane) -> usize {
    match lane {
        Lane::Express => 128,
        // Each may hold a megabyte while the driver is busy.
        Lane::Bulk => 4,
    }
}

/// Room for a frame before its bytes have come: most are no longer.
const FRAME_ROOM: usize = 2 * 1_024;

/// A QUIC connection as the carrier of a session.
#[derive(Debug)]
pub(crate) struct Quic {
    pub(crate) connection: Connection,
    /// The socket that it was dialled from, which is no other connection's.
    endpoint: Option<Endpoint>,
}

impl Quic {
    /// One that was dialled.
    pub(crate) fn dialled(connection: Connection, endpoint: Endpoint) -> Self {
        Self { connection, endpoint: Some(endpoint) }
    }

    /// One that was taken in.
    pub(crate) fn accepted(connection: Connection) -> Self {
        Self { connection, endpoint: None }
    }

    /// Moves a connection that was dialled to a new socket on `uplink`. The peer hears of it at once.
    pub(crate) fn rebind(&self, uplink: &Uplink) -> Result<(), LinkError> {
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let remote = self.connection.remote_address();
        let socket = transport::outgoing(uplink, remote)?;
        endpoint.rebind(socket).map_err(|error| LinkError::Bind { addr: remote, error })
    }
}

/// How long a stream waits for datagrams to leave before it, at most: they go with the next turn of the connection's task, and
/// one that is not allowed to send now would send neither.
const APART: [Span; 2] = [Span::from_millis(1), Span::from_millis(2)];

impl Carry for Quic {
    fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    fn close(&self, why: &DownReason) {
        self.connection.close(why.code(), &[]);
    }

    fn figures(&self) -> Figures {
        let stats = self.connection.stats();
        let frames = &stats.frame_rx;
        Figures {
            rtt: Some(stats.path.rtt),
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_datagrams: stats.udp_rx.datagrams,
            sent_packets: stats.path.sent_packets,
            lost: stats.path.lost_packets,
            // Frames are counted once their packet was decrypted; packets are before, and anybody can send those.
            heard: frames.acks + frames.ping + frames.stream + frames.datagram,
        }
    }

    fn datagram(&self, frame: &Bytes) -> bool {
        // quinn would drop the oldest to make room; a stream for the newest loses none.
        frame.len() <= self.connection.datagram_send_buffer_space()
            && self.connection.send_datagram(frame.clone()).is_ok()
    }

    fn quic(&self) -> Option<&Quic> {
        Some(self)
    }
}

/// What became of a frame that was sent.
enum Fate {
    Received,
    Stopped(VarInt),
    Rejected,
    Lost,
}

/// Why a stream gave no message.
enum Fault {
    Frame(WireError),
    Reset,
    Lost,
}

/// The certificate's identity at the other end of `connection`.
pub(crate) fn peer_of(connection: &Connection) -> Result<Peer, PeerError> {
    let chain = connection.peer_identity().and_then(|any| any.downcast::<Vec<CertificateDer<'static>>>().ok());
    peer_identity(chain.as_deref().map_or(&[], Vec::as_slice), wall_now())
}

/// A session with `peer` over a connection, entered into the table. `confirm` is there while its handshake is under way.
pub(crate) fn begin(
    shared: &Arc<Shared>,
    carrier: Quic,
    peer: Peer,
    info: PathInfo,
    confirm: Option<ZeroRttAccepted>,
) -> Result<Session, LinkError> {
    let (connection, dialled) = (carrier.connection.clone(), carrier.endpoint.is_some());
    let rtt = if confirm.is_none() { connection.rtt() } else { Span::ZERO };
    let info = PathInfo { rtt, ..info };
    let carrier = Box::new(carrier);
    let path = Path::new(shared, carrier, peer, info, dialled, confirm.is_some());
    shared.enter(&path)?;
    let life = Box::pin(live(Arc::clone(shared), Arc::clone(&path), connection, confirm));
    Ok(Session { path, life })
}

/// Both halves of the session, until the connection is over.
async fn live(
    shared: Arc<Shared>,
    path: Arc<Path>,
    connection: Connection,
    confirm: Option<ZeroRttAccepted>,
) -> DownReason {
    let receiving = async {
        let streams = receive(&shared, &path, &connection);
        let datagrams = receive_datagrams(&shared, &path, &connection);
        if path.dialled {
            confirmed(&shared, &path, &connection, confirm).await;
            tokio::join!(streams, datagrams);
        } else {
            tokio::join!(confirmed(&shared, &path, &connection, confirm), streams, datagrams);
        }
    };
    let ((), (), error) = tokio::join!(receiving, transmit(&shared, &path, &connection), connection.closed());
    error.into()
}

/// Waits for the end of an early path's handshake.
async fn confirmed(shared: &Shared, path: &Path, connection: &Connection, confirm: Option<ZeroRttAccepted>) {
    let Some(confirm) = confirm else { return };
    let Ok(accepted) = timeout(shared.config.handshake_timeout, confirm).await else {
        path.close(DownReason::HandshakeTimeout);
        return;
    };
    if connection.close_reason().is_some() {
        return;
    }
    if peer_of(connection).map(|peer| peer.identity) != Ok(path.peer.identity.clone()) {
        path.close(DownReason::PeerChanged);
        return;
    }
    if path.dialled {
        if accepted { &shared.tally.early_accepted } else { &shared.tally.early_rejected }.add();
        info!(path = path.id.0, peer = %path.peer.identity, lane = path.lane.as_str(), accepted, "early session proven");
    }
    path.confirm();
}

/// Sends what waits until the connection is over.
async fn transmit(shared: &Shared, path: &Path, connection: &Connection) {
    let mut writes = JoinSet::new();
    let turns = (path.lane == Lane::Bulk).then(Arc::<Turns>::default);
    loop {
        while let Some(frame) = path.outgoing.take(path.holds_back()) {
            let writer = turns.as_ref().map(|turns| turns.writer(frame.class));
            writes.spawn(write(connection.clone(), frame, writer));
        }
        tokio::select! {
            () = path.outgoing.ready.notified() => {}
            Some(Ok((frame, fate))) = writes.join_next() => settle(shared, path, frame, &fate),
            _ = connection.closed() => break,
        }
    }
    path.outgoing.close();
    while let Some(done) = writes.join_next().await {
        if let Ok((frame, fate)) = done {
            settle(shared, path, frame, &fate);
        }
    }
}

/// Sends one frame on a stream of its own and waits until the peer has it whole.
async fn write(connection: Connection, frame: Frame, turns: Option<Writer>) -> (Frame, Fate) {
    for pause in APART {
        if connection.datagram_send_buffer_space() >= DATAGRAMS_NONE {
            break;
        }
        sleep(pause).await;
    }
    let fate = match write_stream(&connection, &frame, turns.as_ref()).await {
        Ok(None) => Fate::Received,
        Ok(Some(code)) | Err(WriteError::Stopped(code)) => Fate::Stopped(code),
        Err(WriteError::ZeroRttRejected) => Fate::Rejected,
        Err(WriteError::ConnectionLost(_) | WriteError::ClosedStream) => Fate::Lost,
    };
    (frame, fate)
}

async fn write_stream(
    connection: &Connection,
    frame: &Frame,
    turns: Option<&Writer>,
) -> Result<Option<VarInt>, WriteError> {
    let mut stream = connection.open_uni().await?;
    stream.set_priority(i32::from(Class::P4.number()) - i32::from(frame.class.number()))?;
    let mut rest = frame.bytes.clone();
    while !rest.is_empty() {
        let turn = match turns {
            Some(turns) => turns.next(connection, rest.len()).await,
            None => rest.len(),
        };
        stream.write_chunk(rest.split_to(turn)).await?;
    }
    stream.finish()?;
    match stream.stopped().await {
        Ok(stopped) => Ok(stopped),
        Err(StoppedError::ConnectionLost(error)) => Err(error.into()),
        Err(StoppedError::ZeroRttRejected) => Err(WriteError::ZeroRttRejected),
    }
}

fn settle(shared: &Shared, path: &Path, frame: Frame, fate: &Fate) {
    match fate {
        Fate::Rejected => return path.outgoing.restore(frame),
        Fate::Received => shared.tally.messages_sent.add(),
        Fate::Lost => shared.tally.messages_lost.add(),
        Fate::Stopped(code) => {
            shared.tally.messages_stopped.add();
            debug!(path = path.id.0, class = %frame.class, %code, "the peer did not take a message");
        }
    }
    path.outgoing.done(&frame);
}

/// Reads streams, each for itself, until the connection is over and what had come whole is delivered.
async fn receive(shared: &Arc<Shared>, path: &Arc<Path>, connection: &Connection) {
    let mut frames = JoinSet::new();
    loop {
        tokio::select! {
            stream = connection.accept_uni(), if frames.len() < readers(path.lane) => match stream {
                Ok(stream) => { frames.spawn(read(Arc::clone(shared), Arc::clone(path), stream)); }
                Err(_) => break,
            },
            Some(_) = frames.join_next() => {}
        }
    }
    while frames.join_next().await.is_some() {}
}

/// Reads datagrams until the connection is over.
async fn receive_datagrams(shared: &Shared, path: &Path, connection: &Connection) {
    if path.lane != Lane::Express {
        return;
    }
    while let Ok(datagram) = connection.read_datagram().await {
        match decode_frame(&datagram, frame_bytes(path.lane)) {
            Ok(message) => path.offer(shared, message),
            Err(error) => {
                debug!(path = path.id.0, peer = %path.peer.identity, %error, "bad datagram");
                path.bad_frame(shared, error.name(), !error.is_skippable());
            }
        }
    }
}

/// Reads one stream to its end.
async fn read(shared: Arc<Shared>, path: Arc<Path>, mut stream: RecvStream) {
    let patience = shared.config.frame_timeout * if path.lane == Lane::Bulk { 10 } else { 1 };
    let (name, code, counts) = match timeout(patience, read_frame(&mut stream, frame_bytes(path.lane))).await {
        Ok(Ok(message)) => return path.deliver(&shared, message).await,
        Ok(Err(Fault::Lost)) => return,
        Ok(Err(Fault::Reset)) => return shared.tally.streams_reset.add(),
        Ok(Err(Fault::Frame(error))) => {
            debug!(path = path.id.0, peer = %path.peer.identity, %error, "bad frame");
            (error.name(), VarInt::from_u32(error.code()), !error.is_skippable())
        }
        Err(_) => ("timeout", codes::FRAME_TIMEOUT, true),
    };
    // A stream that was read to its end cannot be stopped any more, and need not be.
    let _ = stream.stop(code);
    path.bad_frame(&shared, name, counts);
}

/// Reads one frame and makes sure that nothing is behind it.
///
/// In order from the first byte to the last: after a change to unordered reading, as `read_to_end` does it, quinn-proto 0.11 gives
/// out once more what had been read before, if a repeat of it had come by then, and later panics over the sum. Where delays differ,
/// packets that are only late are repeated all the time.
async fn read_frame(stream: &mut RecvStream, limit: usize) -> Result<Message, Fault> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let len = frame_len(&header, limit)?;
    // What is only announced takes no memory.
    let mut frame = Vec::with_capacity(len.min(FRAME_ROOM));
    frame.extend_from_slice(&header);
    while frame.len() < len
        && let Some(chunk) = stream.read_chunk(len - frame.len(), true).await?
    {
        frame.extend_from_slice(&chunk.bytes);
    }
    if frame.len() == len && stream.read_chunk(1, true).await?.is_some() {
        // How many more there are is not read to be told.
        return Err(WireError::Trailing(1).into());
    }
    Ok(decode_frame(&frame, limit)?)
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Fault::Frame(error)
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(_) => Fault::Lost,
            ReadError::Reset(_)
            | ReadError::ClosedStream
            | ReadError::IllegalOrderedRead
            | ReadError::ZeroRttRejected => Fault::Reset,
        }
    }
}

impl From<ReadExactError> for Fault {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::FinishedEarly(have) => WireError::Truncated { have, need: HEADER_BYTES }.into(),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}
