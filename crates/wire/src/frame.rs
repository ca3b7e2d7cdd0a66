//! Frames: a header of version and length, then one Protocol Buffers message.
//!
//! Invariant: nothing is allocated for a length or a count before it has been held against its limit.

use huxiao_core::{Message, limits};
use prost::Message as _;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::WireError;
use crate::message;
use crate::proto;

/// Bytes of a frame's header: the version, then the length of what follows in 24 bits, most significant byte first.
pub const HEADER_BYTES: usize = 4;
/// The frame format that this version speaks. Another one is another ALPN.
pub const VERSION: u8 = 1;

/// The longest that a header can state.
const LENGTH_MAX: usize = 0x00FF_FFFF;
/// Fields inside one frame's body: a full list, and room for whatever fields a newer version sends beside it.
const BODY_FIELDS: usize = limits::LIST_ITEMS + 64;

/// Encodes one message as one frame.
///
/// Messages are taken as they are: for one that may be longer than a frame of its lane (a list with long notes),
/// [`encode_within`] is the one to use.
#[must_use]
pub fn encode(message: &Message) -> Vec<u8> {
    let frame = proto::Frame { body: Some(message::to_body(message)) };
    let length = frame.encoded_len();
    // Only a list of many thousand items is longer than a header can state. It is then stated as the most a header can,
    // which every reader refuses.
    let [_, high, mid, low] = u32::try_from(length.min(LENGTH_MAX)).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + length);
    bytes.extend_from_slice(&[VERSION, high, mid, low]);
    frame.encode_raw(&mut bytes);
    bytes
}

/// Encodes one message as as many frames as it needs, none longer than `limit` bytes, header included.
///
/// Lists are split, which changes nothing of what they say. What is no list, or a list of one, is one frame whatever its
/// length (within the limits of `huxiao_core` it always fits an express frame).
#[must_use]
pub fn encode_within(message: &Message, limit: usize) -> Vec<Vec<u8>> {
    match message {
        Message::Receipts(list) => split(list, limit, &|part| Message::Receipts(part.to_vec())),
        Message::Confirmed(list) => split(list, limit, &|part| Message::Confirmed(part.to_vec())),
        Message::Inquire(list) => split(list, limit, &|part| Message::Inquire(part.to_vec())),
        Message::Unknown(list) => split(list, limit, &|part| Message::Unknown(part.to_vec())),
        Message::Cases(list) => split(list, limit, &|part| Message::Cases(part.to_vec())),
        Message::CommandReceipts(list) => split(list, limit, &|part| Message::CommandReceipts(part.to_vec())),
        Message::CommandConfirmed(list) => split(list, limit, &|part| Message::CommandConfirmed(part.to_vec())),
        Message::Drills(list) => split(list, limit, &|part| Message::Drills(part.to_vec())),
        Message::Hello(_)
        | Message::Event(_)
        | Message::Refused(..)
        | Message::Probe(_)
        | Message::Echo(_)
        | Message::Mark(_)
        | Message::Condition(_)
        | Message::Escalate(_)
        | Message::Escalated(..)
        | Message::Ownership(_)
        | Message::Case(_)
        | Message::CaseTaken(..)
        | Message::CaseRefused(..)
        | Message::CaseAsk(..)
        | Message::CaseSteps(..)
        | Message::SchoolPlan(_)
        | Message::PlanKept(_)
        | Message::SeatState { .. }
        | Message::CommandOrder(_)
        | Message::Command(..)
        | Message::CommandState(_)
        | Message::CommandRefused(..)
        | Message::NoticeAsk(..)
        | Message::NoticeSchools(..)
        | Message::Body(_)
        | Message::Pictures(_)
        | Message::PicturesKept(..)
        | Message::Look(_)
        | Message::DrillMode(_)
        | Message::DrillHeard(_)
        | Message::DrillOrder(_)
        | Message::DrillAnswer(..) => vec![encode(message)],
    }
}

/// Frames of at most `limit` bytes and [`limits::LIST_ITEMS`] items: halves what is too long until it fits.
fn split<T>(list: &[T], limit: usize, wrap: &dyn Fn(&[T]) -> Message) -> Vec<Vec<u8>> {
    if list.len() <= limits::LIST_ITEMS {
        let frame = encode(&wrap(list));
        if frame.len() <= limit || list.len() <= 1 {
            return vec![frame];
        }
    }
    let (left, right) = list.split_at(list.len() / 2);
    let mut frames = split(left, limit, wrap);
    frames.extend(split(right, limit, wrap));
    frames
}

/// The length of the whole frame, header included, that begins with `header`: how much to read from a stream.
///
/// # Errors
/// [`WireError::UnknownVersion`]; [`WireError::Oversized`] if the frame is longer than `limit`.
pub fn frame_len(header: &[u8; HEADER_BYTES], limit: usize) -> Result<usize, WireError> {
    let [version, high, mid, low] = *header;
    if version != VERSION {
        return Err(WireError::UnknownVersion(version));
    }
    let len = HEADER_BYTES + (usize::from(high) << 16 | usize::from(mid) << 8 | usize::from(low));
    if len > limit { Err(WireError::Oversized { len, limit }) } else { Ok(len) }
}

/// Decodes exactly one frame of at most `limit` bytes, header included, with nothing behind it.
///
/// # Errors
/// Any [`WireError`]. On [`WireError::UnknownBody`] the frame is to be skipped and counted, and its stream goes on.
pub fn decode_frame(bytes: &[u8], limit: usize) -> Result<Message, WireError> {
    let Some((header, body)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(WireError::Truncated { have: bytes.len(), need: HEADER_BYTES });
    };
    let len = frame_len(header, limit)?;
    if bytes.len() < len {
        return Err(WireError::Truncated { have: bytes.len(), need: len });
    }
    if bytes.len() > len {
        return Err(WireError::Trailing(bytes.len() - len));
    }
    count_fields(body)?;
    match proto::Frame::decode(body)?.body {
        Some(body) => message::from_body(body),
        None if body.is_empty() => Err(WireError::Missing("frame.body")),
        None => Err(WireError::UnknownBody),
    }
}

/// Refuses a frame of very many small items before memory is spent on them: two bytes of input would cost a hundred.
fn count_fields(mut frame: &[u8]) -> Result<(), WireError> {
    let mut count = 0;
    while frame.has_remaining() {
        let (tag, wire_type) = decode_key(&mut frame)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut frame, DecodeContext::default())?;
            continue;
        }
        let length = decode_varint(&mut frame)?;
        let Some((mut body, rest)) = usize::try_from(length).ok().and_then(|length| frame.split_at_checked(length))
        else {
            return Err(WireError::Protobuf("a field is longer than its frame".to_owned()));
        };
        frame = rest;
        // A body that this version does not know may hold anything; decoding skips it and spends nothing on it.
        if !KNOWN_BODIES.contains(&tag) {
            continue;
        }
        while body.has_remaining() {
            let (tag, wire_type) = decode_key(&mut body)?;
            skip_field(wire_type, tag, &mut body, DecodeContext::default())?;
            count += 1;
            if count > BODY_FIELDS {
                return Err(WireError::TooMany { field: "frame", count, limit: BODY_FIELDS });
            }
        }
    }
    Ok(())
}

/// The numbers of the bodies in `session.proto`.
const KNOWN_BODIES: std::ops::RangeInclusive<u32> = 1..=49;
