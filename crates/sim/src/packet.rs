//! What travels: packets of frames, and how many bytes each is on the wire.

use std::sync::Arc;

use huxiao_core::{Class, Message};

/// The bytes of IP, UDP and a QUIC short header with its tag.
pub const PACKET_OVERHEAD: u32 = 20 + 8 + 11 + 16;
/// The most that the frames of a packet take: what is left of a packet of 1,280 bytes, which every line passes.
pub const PAYLOAD: u32 = 1_280 - PACKET_OVERHEAD;
/// A first flight is padded to this, and so is the answer.
pub const PADDED: u32 = 1_228;
const STREAM_HEADER: u32 = 8;
const DATAGRAM_HEADER: u32 = 3;
const ACK_BYTES: u32 = 6;

/// A message as it stands on a stream or in a datagram.
#[derive(Debug, Clone)]
pub struct Load {
    /// Its class: the priority of its stream.
    pub class: Class,
    /// What it says.
    pub message: Arc<Message>,
    /// How long its encoding is.
    pub bytes: u32,
}

/// A part of a packet.
#[derive(Debug, Clone)]
pub enum Frame {
    /// The beginning of a handshake; with the life of the node whose ticket it bears, if it bears one.
    Initial(Option<u64>),
    /// One of so many parts of the answer; `false`: the ticket is no good.
    Answer(u8, u8, bool),
    /// The end of a handshake.
    Finished,
    /// One of so many parts of a message on the stream of this number: repeated until it is acknowledged.
    Stream {
        /// The stream.
        id: u64,
        /// This part and their count.
        part: (u16, u16),
        /// The message.
        load: Load,
    },
    /// A message that is sent once.
    Datagram(Load),
    /// Nothing, to be acknowledged.
    Ping,
    /// The session is over.
    Close,
}

/// Which of the last 64 packets up to the largest have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// The largest number that has come.
    pub largest: u64,
    /// Bit n: the packet n below it has come.
    pub mask: u64,
}

/// One packet.
#[derive(Debug, Clone)]
pub struct Packet {
    /// Its number in its direction.
    pub number: u64,
    /// What is in it.
    pub frames: Vec<Frame>,
    /// What its sender has.
    pub ack: Option<Ack>,
    /// How long it is on the wire.
    pub bytes: u32,
    /// That its receiver knows nothing of the session: a stateless reset.
    pub reset: bool,
}

impl Frame {
    /// How much of a packet it takes.
    #[must_use]
    pub fn bytes(&self) -> u32 {
        match self {
            Frame::Initial(_) => 400,
            // A certificate and its chain take three packets; an answer to a ticket needs none.
            Frame::Answer(_, parts, _) => {
                if *parts > 1 {
                    PAYLOAD
                } else {
                    350
                }
            }
            Frame::Finished => 900,
            Frame::Stream { part: (at, parts), load, .. } => {
                let rest = load.bytes.saturating_sub(u32::from(*at) * CHUNK);
                STREAM_HEADER + if at + 1 < *parts { CHUNK } else { rest }
            }
            Frame::Datagram(load) => DATAGRAM_HEADER + load.bytes,
            Frame::Ping | Frame::Close => 1,
        }
    }

    /// Whether it is repeated when it is lost.
    #[must_use]
    pub fn is_reliable(&self) -> bool {
        matches!(self, Frame::Initial(_) | Frame::Answer(..) | Frame::Finished | Frame::Stream { .. })
    }

    /// What goes first: the handshake, then datagrams, then streams by class.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Frame::Initial(_) | Frame::Answer(..) | Frame::Finished | Frame::Ping | Frame::Close => 0,
            Frame::Datagram(_) => 1,
            Frame::Stream { load, .. } => 2 + load.class as u8,
        }
    }
}

/// Of a message that is longer than a packet, this much goes into each.
pub const CHUNK: u32 = PAYLOAD - STREAM_HEADER - ACK_BYTES;

/// Whether a message fits a datagram.
#[must_use]
pub fn fits_datagram(bytes: u32) -> bool {
    bytes + DATAGRAM_HEADER + ACK_BYTES <= PAYLOAD
}

impl Packet {
    /// A packet of these frames.
    #[must_use]
    pub fn new(number: u64, frames: Vec<Frame>, ack: Option<Ack>) -> Self {
        let payload: u32 = frames.iter().map(Frame::bytes).sum();
        let bytes = PACKET_OVERHEAD + payload + if ack.is_some() { ACK_BYTES } else { 0 };
        let padded = frames.iter().any(|frame| matches!(frame, Frame::Initial(_) | Frame::Answer(..)));
        Self { number, frames, ack, bytes: if padded { bytes.max(PADDED) } else { bytes }, reset: false }
    }

    /// A stateless reset.
    #[must_use]
    pub fn reset() -> Self {
        Self { number: 0, frames: Vec::new(), ack: None, bytes: 28 + 43, reset: true }
    }

    /// Whether its receiver must acknowledge it.
    #[must_use]
    pub fn elicits(&self) -> bool {
        self.frames.iter().any(|frame| !matches!(frame, Frame::Close))
    }
}
