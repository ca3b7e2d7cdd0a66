//! The two frames of a call: a request with its length, and an answer with its status and length.
//!
//! Invariant: a length is held against the limit before anything is read for it, and what is only announced takes no memory.

use bytes::{Bytes, BytesMut};
use huxiao_core::limits::PEER_FRAME_BYTES;
use huxiao_wire::WireError;
use quinn::{ReadError, ReadExactError, RecvStream, SendStream, WriteError};

/// Bytes of a length.
const LENGTH_BYTES: usize = 4;
/// Room for a frame before its bytes have come.
const FRAME_ROOM: usize = 64 * 1_024;

/// What an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// The service's answer.
    Answered,
    /// The service's words of why it has none.
    Refused,
    /// Words about a service that came to nothing.
    Failed,
}

impl Status {
    fn number(self) -> u8 {
        match self {
            Status::Answered => 0,
            Status::Refused => 1,
            Status::Failed => 2,
        }
    }

    /// A status. One that this version does not know is no answer either.
    fn of(number: u8) -> Self {
        match number {
            0 => Status::Answered,
            1 => Status::Refused,
            _ => Status::Failed,
        }
    }
}

/// Why a stream gave no frame.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is none, or too long.
    Frame(WireError),
    /// The other side broke it off.
    Reset,
    /// The connection is over.
    Lost,
}

/// The length of what comes next, within the limit.
pub(super) async fn read_length(stream: &mut RecvStream) -> Result<usize, Fault> {
    let mut length = [0; LENGTH_BYTES];
    stream.read_exact(&mut length).await?;
    let len = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    let limit = PEER_FRAME_BYTES;
    if len > limit { Err(WireError::Oversized { len, limit }.into()) } else { Ok(len) }
}

/// The next `len` bytes. In order, for the reason given at [`crate::path::quic`]'s reader.
pub(super) async fn read_bytes(stream: &mut RecvStream, len: usize) -> Result<Bytes, Fault> {
    if len == 0 {
        return Ok(Bytes::new());
    }
    let truncated = |have| WireError::Truncated { have, need: len };
    let first = stream.read_chunk(len, true).await?.ok_or_else(|| truncated(0))?.bytes;
    if first.len() == len {
        // Most requests come in one packet, and need not be copied out of it.
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(len.min(FRAME_ROOM).max(first.len()));
    whole.extend_from_slice(&first);
    while whole.len() < len {
        let chunk = stream.read_chunk(len - whole.len(), true).await?.ok_or_else(|| truncated(whole.len()))?;
        whole.extend_from_slice(&chunk.bytes);
    }
    Ok(whole.freeze())
}

/// An answer, whole.
pub(super) async fn read_answer(stream: &mut RecvStream) -> Result<(Status, Bytes), Fault> {
    let mut status = [0; 1];
    stream.read_exact(&mut status).await?;
    let len = read_length(stream).await?;
    Ok((Status::of(status[0]), read_bytes(stream, len).await?))
}

/// Sends a request. What follows it may be written next.
pub(super) async fn write_request(stream: &mut SendStream, request: Bytes) -> Result<(), WriteError> {
    let head = Bytes::copy_from_slice(&length(request.len()));
    stream.write_all_chunks(&mut [head, request]).await
}

/// Sends an answer and ends the stream.
pub(super) async fn write_answer(stream: &mut SendStream, status: Status, answer: Vec<u8>) -> Result<(), WriteError> {
    let [a, b, c, d] = length(answer.len());
    let head = Bytes::copy_from_slice(&[status.number(), a, b, c, d]);
    stream.write_all_chunks(&mut [head, Bytes::from(answer)]).await?;
    stream.finish().map_err(|_| WriteError::ClosedStream)
}

/// A length; what is longer than any can state is refused by every reader.
fn length(len: usize) -> [u8; LENGTH_BYTES] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
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
            ReadExactError::FinishedEarly(have) => WireError::Truncated { have, need: LENGTH_BYTES }.into(),
            ReadExactError::ReadError(error) => error.into(),
        }
    }
}
