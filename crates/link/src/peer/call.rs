//! One call on a connection that is there.
//!
//! Invariant: a call that is given up, by time or because its future was dropped, breaks its stream off. The peer never takes half a
//! request or half a body for a whole one, and stops working on it.

use bytes::{Bytes, BytesMut};
use huxiao_core::Span;
use huxiao_wire::WireError;
use quinn::{Connection, RecvStream, SendStream, WriteError};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::codes;
use crate::peer::PeerError;
use crate::peer::frame::{self, Fault, Status};

/// How much of a body is read and given to the connection at once.
const PIECE_BYTES: usize = 64 * 1_024;

/// Why a call came to nothing.
pub(super) enum Failed {
    /// Nothing has left: another connection may do it.
    NotSent,
    /// It may have been taken.
    Sent(PeerError),
}

impl From<PeerError> for Failed {
    fn from(error: PeerError) -> Self {
        Failed::Sent(error)
    }
}

/// The stream of a call, which is broken off if it is dropped before its end.
struct Stream {
    send: SendStream,
    recv: RecvStream,
    over: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.over {
            // Either may be over by itself, which is fine.
            let _ = self.send.reset(codes::GIVEN_UP);
            let _ = self.recv.stop(codes::GIVEN_UP);
        }
    }
}

impl Stream {
    /// A stream, when the peer lets there be one more.
    async fn open(connection: &Connection, priority: i32, deadline: Instant) -> Result<Self, Failed> {
        match timeout_at(deadline, connection.open_bi()).await {
            Ok(Ok((send, recv))) => {
                // It is open: it can only be over if the connection is, which is found out next.
                let _ = send.set_priority(priority);
                Ok(Self { send, recv, over: false })
            }
            Ok(Err(_)) => Err(Failed::NotSent),
            Err(_) => Err(PeerError::Unreachable("it takes no more calls now".to_owned()).into()),
        }
    }

    async fn answer(&mut self) -> Result<Bytes, PeerError> {
        let answer = frame::read_answer(&mut self.recv).await;
        match answer {
            Ok((status, bytes)) => {
                self.over = true;
                match status {
                    Status::Answered => Ok(bytes),
                    Status::Refused | Status::Failed => {
                        Err(PeerError::Refused(String::from_utf8_lossy(&bytes).into_owned()))
                    }
                }
            }
            Err(Fault::Lost | Fault::Reset | Fault::Frame(WireError::Truncated { .. })) => Err(PeerError::Closed),
            Err(Fault::Frame(error)) => Err(PeerError::Refused(format!("its answer cannot be read: {error}"))),
        }
    }
}

/// Sends a request and waits for its answer.
pub(super) async fn plain(
    connection: &Connection,
    request: Bytes,
    priority: i32,
    deadline: Instant,
) -> Result<Bytes, Failed> {
    let mut stream = Stream::open(connection, priority, deadline).await?;
    let exchange = async {
        match frame::write_request(&mut stream.send, request).await {
            Ok(()) => drop(stream.send.finish()),
            // It has read enough, and says why.
            Err(WriteError::Stopped(_)) => {}
            Err(_) => return Err(PeerError::Closed),
        }
        stream.answer().await
    };
    Ok(timeout_at(deadline, exchange).await.unwrap_or(Err(PeerError::TimedOut))?)
}

/// Sends a request and what follows it, and waits for the answer. Gives up when nothing moves for `patience`.
pub(super) async fn with_body(
    connection: &Connection,
    request: Bytes,
    body: &mut (impl AsyncRead + Unpin),
    patience: Span,
) -> Result<Bytes, Failed> {
    let mut stream = Stream::open(connection, 0, Instant::now() + patience).await?;
    match timeout(patience, frame::write_request(&mut stream.send, request)).await {
        Err(_) => return Err(PeerError::TimedOut.into()),
        Ok(Ok(()) | Err(WriteError::Stopped(_))) => {}
        Ok(Err(_)) => return Err(PeerError::Closed.into()),
    }
    write_body(&mut stream.send, body, patience).await?;
    Ok(timeout(patience, stream.answer()).await.unwrap_or(Err(PeerError::TimedOut))?)
}

/// Sends a body and ends the stream, or stops when the peer wants no more of it.
async fn write_body(
    send: &mut SendStream,
    body: &mut (impl AsyncRead + Unpin),
    patience: Span,
) -> Result<(), PeerError> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE_BYTES);
        let read = timeout(patience, body.read_buf(&mut buffer)).await;
        match read {
            Err(_) => return Err(PeerError::Body("it gave nothing for too long".to_owned())),
            Ok(Err(error)) => return Err(PeerError::Body(error.to_string())),
            Ok(Ok(0)) => {
                // If it is over, then by the peer's doing, who says why.
                let _ = send.finish();
                return Ok(());
            }
            Ok(Ok(_)) => {}
        }
        match timeout(patience, send.write_chunk(buffer.split().freeze())).await {
            Err(_) => return Err(PeerError::TimedOut),
            Ok(Ok(())) => {}
            Ok(Err(WriteError::Stopped(_))) => return Ok(()),
            Ok(Err(_)) => return Err(PeerError::Closed),
        }
    }
}
