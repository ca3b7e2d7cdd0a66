//! One checked step from a raw field to a domain type: every bound on what a peer sends is applied here.
//!
//! Invariant: no error text repeats more of the peer's bytes than a name's length.

use std::fmt;

use huxiao_core::{EventId, Name, NodeName, RecordId, Stage, Standing, Text, limits};

use crate::error::WireError;
use crate::proto;

/// Bytes of a node name: the longest role, two names and two slashes.
const NODE_BYTES: usize = "station".len() + 2 * (1 + limits::NAME_BYTES);

/// A [`WireError::BadField`].
pub(crate) fn bad(field: &'static str, why: impl fmt::Display) -> WireError {
    WireError::BadField { field, why: why.to_string() }
}

/// Refuses a list of more than `limit` items.
pub(crate) fn at_most(field: &'static str, count: usize, limit: usize) -> Result<(), WireError> {
    if count > limit { Err(WireError::TooMany { field, count, limit }) } else { Ok(()) }
}

/// Refuses a field of more than `limit` bytes.
pub(crate) fn within(field: &'static str, len: usize, limit: usize) -> Result<(), WireError> {
    if len > limit { Err(bad(field, format_args!("at most {limit} bytes, this one has {len}"))) } else { Ok(()) }
}

/// A name that must be there.
pub(crate) fn name(field: &'static str, text: &str) -> Result<Name, WireError> {
    optional_name(field, text)?.ok_or(WireError::Missing(field))
}

/// A name, or nothing for an empty text.
pub(crate) fn optional_name(field: &'static str, text: &str) -> Result<Option<Name>, WireError> {
    if text.is_empty() {
        return Ok(None);
    }
    Name::new(text).map(Some).map_err(|why| bad(field, why))
}

/// Free text, possibly empty.
pub(crate) fn text(field: &'static str, text: &str) -> Result<Text, WireError> {
    Text::new(text).map_err(|why| bad(field, why))
}

/// A node's name.
pub(crate) fn node(field: &'static str, text: &str) -> Result<NodeName, WireError> {
    if text.is_empty() {
        return Err(WireError::Missing(field));
    }
    if text.len() > NODE_BYTES {
        return Err(bad(
            field,
            format_args!("a node name has at most {NODE_BYTES} bytes, this one has {}", text.len()),
        ));
    }
    text.parse().map_err(|why| bad(field, why))
}

/// Sixteen bytes, no more and no fewer.
pub(crate) fn bytes16(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], WireError> {
    if bytes.is_empty() {
        return Err(WireError::Missing(field));
    }
    bytes.try_into().map_err(|_| bad(field, format_args!("an id has 16 bytes, this one has {}", bytes.len())))
}

/// An event's id.
pub(crate) fn event_id(field: &'static str, bytes: &[u8]) -> Result<EventId, WireError> {
    bytes16(field, bytes).map(EventId::from_bytes)
}

/// A record's id.
pub(crate) fn record_id(field: &'static str, bytes: &[u8]) -> Result<RecordId, WireError> {
    bytes16(field, bytes).map(RecordId)
}

/// A stage. One that this version does not know is refused: a receipt means nothing without its stage.
pub(crate) fn stage(field: &'static str, number: i32) -> Result<Stage, WireError> {
    match proto::Stage::try_from(number) {
        Ok(proto::Stage::Unspecified) => Err(WireError::Missing(field)),
        Ok(proto::Stage::Kept) => Ok(Stage::Kept),
        Ok(proto::Stage::Sent) => Ok(Stage::Sent),
        Ok(proto::Stage::Received) => Ok(Stage::Received),
        Ok(proto::Stage::Stored) => Ok(Stage::Stored),
        Ok(proto::Stage::Delivered) => Ok(Stage::Delivered),
        Ok(proto::Stage::Displayed) => Ok(Stage::Displayed),
        Ok(proto::Stage::Acknowledged) => Ok(Stage::Acknowledged),
        Ok(proto::Stage::Closed) => Ok(Stage::Closed),
        Err(_) => Err(bad(field, format_args!("stage {number} is not known to this version"))),
    }
}

/// A stage's number.
pub(crate) fn stage_number(stage: Stage) -> i32 {
    i32::from(match stage {
        Stage::Kept => proto::Stage::Kept,
        Stage::Sent => proto::Stage::Sent,
        Stage::Received => proto::Stage::Received,
        Stage::Stored => proto::Stage::Stored,
        Stage::Delivered => proto::Stage::Delivered,
        Stage::Displayed => proto::Stage::Displayed,
        Stage::Acknowledged => proto::Stage::Acknowledged,
        Stage::Closed => proto::Stage::Closed,
    })
}

/// What the record says to a receipt. What this version does not know is provisional to it: that ends nothing.
pub(crate) fn standing(number: i32) -> Standing {
    match proto::Standing::try_from(number) {
        Ok(proto::Standing::Unspecified) => Standing::Settled,
        Ok(proto::Standing::Provisional) | Err(_) => Standing::Provisional,
        Ok(proto::Standing::Assisting) => Standing::Assisting,
    }
}

/// A standing's number.
pub(crate) fn standing_number(standing: Standing) -> i32 {
    i32::from(match standing {
        Standing::Settled => proto::Standing::Unspecified,
        Standing::Provisional => proto::Standing::Provisional,
        Standing::Assisting => proto::Standing::Assisting,
    })
}

/// `text` up to `limit` bytes, cut between characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}
