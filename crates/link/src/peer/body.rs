//! What follows a request on its stream.
//!
//! Invariant: whoever reads it comes to an end: it is bounded, and a peer that sends nothing for a while is given up.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use huxiao_core::{Span, limits};
use quinn::RecvStream;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// How long a body may say nothing. A sender whose disk is slow is slow, but not that slow.
const STALL: Span = Span::from_secs(10);

/// What follows a request, read to its end as any [`AsyncRead`]. Its digest is for the reader to check.
///
/// A body that the caller breaks off, or that is longer than [`limits::PEER_BODY_BYTES`], ends with an error and never as if it were
/// whole.
#[derive(Default)]
pub struct Body {
    head: Bytes,
    stream: Option<RecvStream>,
    taken: u64,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// None at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// What begins with `head` and goes on as the rest of `stream`.
    pub(super) fn new(head: Bytes, stream: RecvStream) -> Self {
        Self { head, stream: Some(stream), ..Self::default() }
    }

    /// Counts what was read.
    fn take(&mut self, bytes: usize) -> io::Result<()> {
        self.stalled = None;
        self.taken = self.taken.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if self.taken > limits::PEER_BODY_BYTES {
            let words = format!("the body is longer than {} bytes", limits::PEER_BODY_BYTES);
            return Err(io::Error::new(io::ErrorKind::InvalidData, words));
        }
        Ok(())
    }

    /// Waits for the end of the peer's patience.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + STALL)));
        ready!(stalled.as_mut().poll(cx));
        let words = format!("nothing more of the body came for {} s", STALL.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, words)))
    }
}

impl AsyncRead for Body {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.head.is_empty() {
            let piece = buf.remaining().min(self.head.len());
            buf.put_slice(&self.head.split_to(piece));
            return Poll::Ready(self.take(piece));
        }
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        match AsyncRead::poll_read(Pin::new(stream), cx, buf) {
            Poll::Ready(Ok(())) => {
                let piece = buf.filled().len() - before;
                Poll::Ready(self.take(piece))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_stalled(cx),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("taken", &self.taken).finish_non_exhaustive()
    }
}
