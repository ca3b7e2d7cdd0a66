//! One session: a QUIC connection whose peer is known, with its two halves.
//!
//! Invariant: what is received is delivered only after the peer was proven; on a dialled path taken up early, that is
//! when the handshake is over and the same identity answered as before.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use huxiao_core::{Class, Lane, Message, PathId, PathInfo};
use huxiao_pki::{Peer, PeerError, peer_identity};
use huxiao_wire::{HEADER_BYTES, WireError, decode_frame, frame_len};
use quinn::{
    Connection, ReadError, ReadExactError, ReadToEndError, RecvStream, StoppedError, VarInt, WriteError,
    ZeroRttAccepted,
};
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use crate::codes;
use crate::event::{DownReason, LinkEvent, PathStats};
use crate::outgoing::{Frame, Outgoing};
use crate::registry::{Shared, next_path, wall_now};
use crate::transport::frame_bytes;

/// Frames that are read at once on one path; the rest waits in the peer, who has that much stream credit less.
fn readers(lane: Lane) -> usize {
    match lane {
        Lane::Express => 128,
        // Each may hold a megabyte while the driver is busy.
        Lane::Bulk => 4,
    }
}

/// One session.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) id: PathId,
    pub(crate) peer: Peer,
    pub(crate) lane: Lane,
    pub(crate) info: PathInfo,
    pub(crate) dialled: bool,
    pub(crate) connection: Connection,
    pub(crate) outgoing: Outgoing,
    early: AtomicBool,
    bad_frames: AtomicU32,
    why: Mutex<Option<DownReason>>,
    since: Instant,
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

impl Path {
    /// A session over `connection` with `peer`, not yet known to anybody.
    pub(crate) fn new(
        shared: &Shared,
        connection: Connection,
        peer: Peer,
        info: PathInfo,
        dialled: bool,
        early: bool,
    ) -> Arc<Self> {
        let lane = info.lane;
        Arc::new(Self {
            id: next_path(),
            peer,
            lane,
            info,
            dialled,
            connection,
            outgoing: Outgoing::new(lane, shared.config.queue),
            early: AtomicBool::new(early),
            bad_frames: AtomicU32::new(0),
            why: Mutex::new(None),
            since: Instant::now(),
        })
    }

    /// Whether the handshake is still under way.
    pub(crate) fn is_early(&self) -> bool {
        self.early.load(Ordering::Acquire)
    }

    /// The other end's address.
    pub(crate) fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Ends the session for the reason given first.
    pub(crate) fn close(&self, why: DownReason) {
        let code = why.code();
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.outgoing.close();
        self.connection.close(code, &[]);
    }

    /// Its figures.
    pub(crate) fn stats(&self) -> PathStats {
        let stats = self.connection.stats();
        PathStats {
            path: self.id,
            peer: self.peer.clone(),
            info: self.info,
            remote: self.remote(),
            dialled: self.dialled,
            early: self.is_early(),
            rtt: stats.path.rtt,
            sent_bytes: stats.udp_tx.bytes,
            received_bytes: stats.udp_rx.bytes,
            sent_datagrams: stats.udp_tx.datagrams,
            received_datagrams: stats.udp_rx.datagrams,
            lost: stats.path.lost_packets,
            since: self.since.elapsed(),
        }
    }
}

/// Lives the session to its end, from [`LinkEvent::Up`] to [`LinkEvent::Down`]. `confirm` is there while the path is early.
pub(crate) async fn run(shared: Arc<Shared>, path: Arc<Path>, confirm: Option<ZeroRttAccepted>) -> DownReason {
    shared.up(&path).await;
    let receiving = async {
        if path.dialled {
            confirmed(&shared, &path, confirm).await;
            receive(&shared, &path).await;
        } else {
            tokio::join!(confirmed(&shared, &path, confirm), receive(&shared, &path));
        }
    };
    let ((), (), error) = tokio::join!(receiving, transmit(&shared, &path), path.connection.closed());
    let ours = path.why.lock().unwrap_or_else(PoisonError::into_inner).take();
    let why = ours.unwrap_or_else(|| error.into());
    shared.down(&path, &why).await;
    why
}

/// Waits for the end of an early path's handshake.
async fn confirmed(shared: &Shared, path: &Path, confirm: Option<ZeroRttAccepted>) {
    let Some(confirm) = confirm else { return };
    let Ok(accepted) = timeout(shared.config.handshake_timeout, confirm).await else {
        path.close(DownReason::HandshakeTimeout);
        return;
    };
    if path.connection.close_reason().is_some() {
        return;
    }
    if peer_of(&path.connection).map(|peer| peer.identity) != Ok(path.peer.identity.clone()) {
        path.close(DownReason::PeerChanged);
        return;
    }
    if path.dialled {
        if accepted { &shared.tally.early_accepted } else { &shared.tally.early_rejected }.add();
        debug!(path = path.id.0, accepted, "handshake of an early session is over");
    }
    path.early.store(false, Ordering::Release);
    path.outgoing.ready.notify_one();
}

/// Sends what waits until the connection is over.
async fn transmit(shared: &Shared, path: &Path) {
    let mut writes = JoinSet::new();
    loop {
        // A server knows its peer from the ticket, and what it sends can be read by nobody else: it need not wait.
        while let Some(frame) = path.outgoing.take(path.dialled && path.is_early()) {
            writes.spawn(write(path.connection.clone(), frame));
        }
        tokio::select! {
            () = path.outgoing.ready.notified() => {}
            Some(Ok((frame, fate))) = writes.join_next() => settle(shared, path, frame, &fate),
            _ = path.connection.closed() => break,
        }
    }
    path.outgoing.close();
    while let Some(done) = writes.join_next().await {
        if let Ok((frame, fate)) = done {
            settle(shared, path, frame, &fate);
        }
    }
    shared.tally.messages_lost.more(path.outgoing.clear());
}

/// Sends one frame on a stream of its own and waits until the peer has it whole.
async fn write(connection: Connection, frame: Frame) -> (Frame, Fate) {
    let fate = match write_stream(&connection, &frame).await {
        Ok(None) => Fate::Received,
        Ok(Some(code)) | Err(WriteError::Stopped(code)) => Fate::Stopped(code),
        Err(WriteError::ZeroRttRejected) => Fate::Rejected,
        Err(WriteError::ConnectionLost(_) | WriteError::ClosedStream) => Fate::Lost,
    };
    (frame, fate)
}

async fn write_stream(connection: &Connection, frame: &Frame) -> Result<Option<VarInt>, WriteError> {
    let mut stream = connection.open_uni().await?;
    stream.set_priority(i32::from(Class::P4.number()) - i32::from(frame.class.number()))?;
    stream.write_chunk(frame.bytes.clone()).await?;
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
async fn receive(shared: &Arc<Shared>, path: &Arc<Path>) {
    let mut frames = JoinSet::new();
    loop {
        tokio::select! {
            stream = path.connection.accept_uni(), if frames.len() < readers(path.lane) => match stream {
                Ok(stream) => { frames.spawn(read(Arc::clone(shared), Arc::clone(path), stream)); }
                Err(_) => break,
            },
            Some(_) = frames.join_next() => {}
        }
    }
    while frames.join_next().await.is_some() {}
}

/// Reads one stream to its end.
async fn read(shared: Arc<Shared>, path: Arc<Path>, mut stream: RecvStream) {
    let patience = shared.config.frame_timeout * if path.lane == Lane::Bulk { 10 } else { 1 };
    let (name, code, counts) = match timeout(patience, read_frame(&mut stream, frame_bytes(path.lane))).await {
        Ok(Ok(message)) => {
            shared.tally.messages_received.add();
            return shared.tell(LinkEvent::Message { path: path.id, message }).await;
        }
        Ok(Err(Fault::Lost)) => return,
        Ok(Err(Fault::Reset)) => return shared.tally.streams_reset.add(),
        Ok(Err(Fault::Frame(error))) => {
            debug!(path = path.id.0, peer = %path.peer.identity, %error, "bad frame");
            (error.name(), VarInt::from_u32(error.code()), !error.is_skippable())
        }
        Err(_) => ("timeout", codes::FRAME_TIMEOUT, true),
    };
    shared.tally.bad_frame(name);
    // A stream that was read to its end cannot be stopped any more, and need not be.
    let _ = stream.stop(code);
    if counts {
        strike(&shared, &path, name);
    }
}

fn strike(shared: &Shared, path: &Path, name: &'static str) {
    let count = path.bad_frames.fetch_add(1, Ordering::Relaxed) + 1;
    shared.complain(|| format!("bad frame ({name}) from {} at {}, {count} by now", path.peer.identity, path.remote()));
    if count > shared.config.bad_frames {
        path.close(DownReason::BadFrames);
    }
}

async fn read_frame(stream: &mut RecvStream, limit: usize) -> Result<Message, Fault> {
    let mut header = [0; HEADER_BYTES];
    stream.read_exact(&mut header).await?;
    let len = frame_len(&header, limit)?;
    let body = stream.read_to_end(len - HEADER_BYTES).await?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + body.len());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(&body);
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

impl From<ReadToEndError> for Fault {
    fn from(error: ReadToEndError) -> Self {
        match error {
            // How many more there are is not read to be told.
            ReadToEndError::TooLong => WireError::Trailing(1).into(),
            ReadToEndError::Read(error) => error.into(),
        }
    }
}
