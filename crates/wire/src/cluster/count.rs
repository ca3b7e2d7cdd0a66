//! A look over the bytes of a request before memory is spent on them.
//!
//! Invariant: after it, decoding costs no more than a small multiple of the input. Two bytes can announce a list item of a
//! hundred; and a field that this version does not know would be left out without a word, which is fine beside what a message says
//! and not where it is what a log entry holds.

use std::ops::RangeInclusive;

use huxiao_core::limits;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::error::WireError;
use crate::field;

/// Bytes of all memberships in one request: some dozen of the largest, where one or two of a few hundred bytes are usual.
const MEMBERSHIP_BYTES: usize = 256 * 1_024;
/// Bytes of a request or an answer apart from its log entries or archive rows.
const HEAD_BYTES: usize = 256 * 1_024;

/// The numbers of `cluster.proto` that this goes by.
mod tag {
    pub(super) const APPEND: u32 = 16;
    pub(super) const PROPOSE: u32 = 21;
    pub(super) const ARCHIVE: u32 = 23;
    pub(super) const PRESENCE: u32 = 24;
    pub(super) const APPEND_ENTRIES: u32 = 4;
    pub(super) const PROPOSE_COMMANDS: u32 = 1;
    pub(super) const ARCHIVE_ROWS: u32 = 1;
    pub(super) const PRESENCE_UP: u32 = 4;
    pub(super) const PRESENCE_DOWN: u32 = 5;
    pub(super) const ENTRY_MEMBERSHIP: u32 = 3;
}

/// What an entry may consist of. Its payload is one of a few; what comes later is another payload.
const ENTRY_FIELDS: RangeInclusive<u32> = 1..=3;

/// Looks at a request.
pub(super) fn request(bytes: &[u8]) -> Result<(), WireError> {
    let mut seen = Seen::default();
    each(bytes, &mut |number, field| match (number, field) {
        (tag::APPEND, Some(append)) => seen.append(append),
        (tag::PROPOSE, Some(propose)) => each(propose, &mut |number, field| match (number, field) {
            (tag::PROPOSE_COMMANDS, Some(_)) => seen.item("propose.commands", limits::PEER_ENTRIES),
            (_, field) => seen.head(field),
        }),
        (_, field) => seen.head(field),
    })
}

/// Looks at an answer.
pub(super) fn answer(bytes: &[u8]) -> Result<(), WireError> {
    let mut seen = Seen::default();
    each(bytes, &mut |number, field| match (number, field) {
        (tag::ARCHIVE, Some(part)) => each(part, &mut |number, field| match (number, field) {
            (tag::ARCHIVE_ROWS, Some(_)) => seen.item("archive.rows", limits::ARCHIVE_ROWS),
            (_, field) => seen.head(field),
        }),
        (tag::PRESENCE, Some(part)) => each(part, &mut |number, field| match (number, field) {
            (tag::PRESENCE_UP | tag::PRESENCE_DOWN, Some(_)) => seen.item("presence.names", limits::PRESENCE_NAMES),
            (_, field) => seen.head(field),
        }),
        (_, field) => seen.head(field),
    })
}

/// Looks at one entry.
pub(super) fn entry(bytes: &[u8]) -> Result<(), WireError> {
    Seen::default().entry(bytes)
}

/// What was seen so far. Protocol Buffers puts the parts of one field together, however often it comes.
#[derive(Default)]
struct Seen {
    items: usize,
    membership: usize,
    head: usize,
}

impl Seen {
    fn append(&mut self, append: &[u8]) -> Result<(), WireError> {
        each(append, &mut |number, field| match (number, field) {
            (tag::APPEND_ENTRIES, Some(entry)) => {
                self.item("append.entries", limits::PEER_ENTRIES)?;
                self.entry(entry)
            }
            (_, field) => self.head(field),
        })
    }

    fn entry(&mut self, entry: &[u8]) -> Result<(), WireError> {
        each(entry, &mut |number, field| {
            if !ENTRY_FIELDS.contains(&number) {
                let words = "a newer version of huxiao made it; start that version";
                return Err(field::bad("entry.payload", words));
            }
            if let (tag::ENTRY_MEMBERSHIP, Some(membership)) = (number, field) {
                self.membership = self.membership.saturating_add(membership.len());
                field::within("entry.membership", self.membership, MEMBERSHIP_BYTES)?;
            }
            Ok(())
        })
    }

    fn item(&mut self, field: &'static str, limit: usize) -> Result<(), WireError> {
        self.items += 1;
        field::at_most(field, self.items, limit)
    }

    fn head(&mut self, field: Option<&[u8]>) -> Result<(), WireError> {
        self.head = self.head.saturating_add(field.map_or(0, <[u8]>::len));
        field::within("request", self.head, HEAD_BYTES)
    }
}

/// What looks at a field: its number, and its bytes if it has a length.
type Look<'a> = &'a mut dyn FnMut(u32, Option<&[u8]>) -> Result<(), WireError>;

/// Shows each field of a message to `look`.
fn each(mut message: &[u8], look: Look<'_>) -> Result<(), WireError> {
    while message.has_remaining() {
        let (number, wire_type) = decode_key(&mut message)?;
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut message, DecodeContext::default())?;
            look(number, None)?;
            continue;
        }
        let length = decode_varint(&mut message)?;
        let Some((field, rest)) = usize::try_from(length).ok().and_then(|length| message.split_at_checked(length))
        else {
            return Err(WireError::Protobuf("a field is longer than its message".to_owned()));
        };
        message = rest;
        look(number, Some(field))?;
    }
    Ok(())
}
