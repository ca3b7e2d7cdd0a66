//! Frames out of a byte stream.
//!
//! Invariants:
//!
//! * Nothing is allocated for a length before it was held against the lane's limit, and no more than has come.
//! * A frame that has begun is over within the frame time-out, and one begins within the idle time-out where that is watched:
//!   a peer that sends half a header and then nothing holds its place no longer than one that sends nothing at all.
//! * A frame whose length cannot be believed (an unknown version, more than the limit) ends the session: over TCP nothing
//!   says where the next one begins. Whatever is wrong inside a frame's length costs that frame alone.

use std::io;

use huxiao_core::{Message, Span};
use huxiao_wire::{HEADER_BYTES, WireError, decode_frame, frame_len};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// Room that a frame's buffer has at once; a longer one grows as it comes.
const FIRST_ROOM: usize = 4 * 1_024;

/// How long to wait, and how long a frame may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Bytes of a frame, header included.
    pub(crate) frame: usize,
    /// From a frame's first byte to its last.
    pub(crate) frame_timeout: Span,
    /// From one frame to the next. `None` leaves it to the kernel to find out whether the peer is there.
    pub(crate) idle_timeout: Option<Span>,
}

/// Why there is no message.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The frame is bad; the next one begins right behind it.
    Frame(WireError),
    /// It cannot be known where the next frame begins.
    Lost(WireError),
    /// The frame did not come in time.
    Slow,
    /// No frame came in time.
    Idle,
    /// The peer said goodbye between two frames.
    End,
    /// The peer said goodbye, or was cut off, in the middle of a frame.
    Cut(io::Error),
    /// The connection broke between two frames.
    Broken(io::Error),
}

/// Reads frames.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    stream: R,
    bounds: Bounds,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader at a frame's beginning.
    pub(crate) fn new(stream: R, bounds: Bounds) -> Self {
        Self { stream, bounds }
    }

    /// The next message. If this is dropped while it waits, the stream cannot be read any further.
    ///
    /// # Errors
    /// After [`Fault::Frame`] the next one can be read; after all others nothing more comes.
    pub(crate) async fn next(&mut self) -> Result<Message, Fault> {
        let mut header = [0; HEADER_BYTES];
        let first = self.stream.read(&mut header[..1]);
        let begun = match self.bounds.idle_timeout {
            Some(patience) => timeout(patience, first).await.map_err(|_| Fault::Idle)?,
            None => first.await,
        };
        if begun.map_err(Fault::Broken)? == 0 {
            return Err(Fault::End);
        }
        let whole = async {
            self.stream.read_exact(&mut header[1..]).await.map_err(Fault::Cut)?;
            let len = frame_len(&header, self.bounds.frame).map_err(Fault::Lost)?;
            let mut frame = Vec::with_capacity(len.min(FIRST_ROOM));
            frame.extend_from_slice(&header);
            let body = len - HEADER_BYTES;
            // At most what memory can address, which a frame's limit is far below.
            let mut limited = (&mut self.stream).take(u64::try_from(body).unwrap_or(u64::MAX));
            let read = limited.read_to_end(&mut frame).await.map_err(Fault::Cut)?;
            if read < body { Err(Fault::Cut(io::ErrorKind::UnexpectedEof.into())) } else { Ok(frame) }
        };
        let frame = timeout(self.bounds.frame_timeout, whole).await.map_err(|_| Fault::Slow)??;
        decode_frame(&frame, self.bounds.frame).map_err(Fault::Frame)
    }
}

#[cfg(test)]
mod tests {
    use huxiao_core::{Echo, Rng, WallTime};
    use huxiao_wire::{VERSION, encode};
    use tokio::io::AsyncWriteExt;

    use super::*;

    const BOUNDS: Bounds =
        Bounds { frame: 1_000, frame_timeout: Span::from_millis(200), idle_timeout: Some(Span::from_millis(400)) };

    /// What a reader makes of `bytes`, to the first fault after which nothing comes; then the peer is gone.
    async fn read(bytes: &[u8]) -> (Vec<Message>, usize, Fault) {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let sending = async {
            let _ = ours.write_all(bytes).await;
            drop(ours);
        };
        let reading = async {
            let mut reader = Reader::new(theirs, BOUNDS);
            let (mut messages, mut bad) = (Vec::new(), 0);
            loop {
                match reader.next().await {
                    Ok(message) => messages.push(message),
                    Err(Fault::Frame(_)) => bad += 1,
                    Err(fault) => return (messages, bad, fault),
                }
            }
        };
        tokio::join!(sending, reading).1
    }

    #[tokio::test]
    async fn frames_come_one_behind_the_other() {
        let messages = [
            Message::Probe(7),
            Message::Echo(Echo { number: 7, received: WallTime(1), sent: WallTime(2) }),
            Message::Probe(8),
        ];
        let bytes: Vec<u8> = messages.iter().flat_map(encode).collect();
        let (read, bad, fault) = read(&bytes).await;
        assert_eq!((read.as_slice(), bad), (messages.as_slice(), 0));
        assert!(matches!(fault, Fault::End), "{fault:?}");
    }

    #[tokio::test]
    async fn what_is_wrong_inside_its_length_costs_one_frame() {
        let mut bytes = vec![VERSION, 0, 0, 5, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, VERSION, 0, 0, 0];
        bytes.extend(encode(&Message::Probe(1)));
        let (read, bad, _) = read(&bytes).await;
        assert_eq!((read.as_slice(), bad), ([Message::Probe(1)].as_slice(), 2));
    }

    #[tokio::test]
    async fn a_length_that_cannot_be_believed_is_the_end() {
        for (header, name) in [([VERSION, 0, 4, 0], "oversized"), ([b'G', b'E', b'T', b' '], "unknown_version")] {
            let (_, _, fault) = read(&[&header[..], &[0; 2_000]].concat()).await;
            assert!(matches!(&fault, Fault::Lost(error) if error.name() == name), "{name}: {fault:?}");
        }
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_frame_is_told_from_one_between_two() {
        let bytes = encode(&Message::Probe(1));
        for len in 1..bytes.len() {
            let (_, _, fault) = read(&bytes[..len]).await;
            assert!(matches!(fault, Fault::Cut(_)), "{len} bytes: {fault:?}");
        }
    }

    #[tokio::test]
    async fn half_a_header_and_then_silence_is_given_up() {
        let (mut ours, theirs) = tokio::io::duplex(64);
        let mut reader = Reader::new(theirs, BOUNDS);
        ours.write_all(&[VERSION, 0]).await.unwrap();
        assert!(matches!(reader.next().await, Err(Fault::Slow)));

        let (_ours, theirs) = tokio::io::duplex(64);
        assert!(matches!(Reader::new(theirs, BOUNDS).next().await, Err(Fault::Idle)));
    }

    #[tokio::test]
    async fn noise_of_any_kind_comes_to_an_end() {
        for seed in 0..200 {
            let mut rng = Rng::new(seed);
            let mut noise: Vec<u8> = (0..rng.below(3_000)).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
            if let Some(first) = noise.first_mut().filter(|_| seed % 2 == 0) {
                *first = VERSION;
            }
            read(&noise).await;
        }
    }
}
