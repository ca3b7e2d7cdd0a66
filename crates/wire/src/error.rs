//! Why bytes are no message, with a stable code for peers and a stable name for metrics.

/// What is wrong with bytes from a peer or a disk.
///
/// All but [`WireError::UnknownBody`] end the stream they came on; none harms anything else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// More bytes are to come, or the sender was cut off.
    #[error("the frame ends before its length: {have} of {need} bytes")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that are needed, as far as is known by now.
        need: usize,
    },
    /// Send less at once, or use the bulk lane.
    #[error("{len} bytes are more than the {limit} allowed here")]
    Oversized {
        /// Bytes stated or given.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The peer speaks another major version, or this is not a frame (or disk row) at all.
    #[error("format version {0} is not known to this version of huxiao")]
    UnknownVersion(u8),
    /// One datagram holds one frame.
    #[error("{0} bytes follow the end of the frame")]
    Trailing(usize),
    /// The sender's encoder is broken or the bytes were damaged.
    #[error("not a protobuf message of huxiao.v1: {0}")]
    Protobuf(String),
    /// The sender left out what cannot be done without.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// The sender put something there that does not belong.
    #[error("{field} cannot be taken: {why}")]
    BadField {
        /// Which field, from the outside in.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Split the list over several messages.
    #[error("{field} has {count} items, at most {limit} are allowed")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// Items found (counting may have stopped there).
        count: usize,
        /// Items allowed.
        limit: usize,
    },
    /// A message that a newer minor version has added. Not the sender's fault: skip it and count it.
    #[error("the frame holds a message that this version does not know; it is skipped")]
    UnknownBody,
}

impl WireError {
    /// The application error code with which a stream is reset or stopped (RFC 9000 §20.2). Never changes its meaning.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            WireError::Truncated { .. } => 0x101,
            WireError::Oversized { .. } => 0x102,
            WireError::UnknownVersion(_) => 0x103,
            WireError::Trailing(_) => 0x104,
            WireError::Protobuf(_) => 0x105,
            WireError::Missing(_) => 0x106,
            WireError::BadField { .. } => 0x107,
            WireError::TooMany { .. } => 0x108,
            WireError::UnknownBody => 0x109,
        }
    }

    /// Its name as a metric label.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            WireError::Truncated { .. } => "truncated",
            WireError::Oversized { .. } => "oversized",
            WireError::UnknownVersion(_) => "unknown_version",
            WireError::Trailing(_) => "trailing",
            WireError::Protobuf(_) => "protobuf",
            WireError::Missing(_) => "missing",
            WireError::BadField { .. } => "bad_field",
            WireError::TooMany { .. } => "too_many",
            WireError::UnknownBody => "unknown_body",
        }
    }

    /// Whether the stream may go on: true only for what a newer version is allowed to say.
    #[must_use]
    pub fn is_skippable(&self) -> bool {
        matches!(self, WireError::UnknownBody)
    }
}

impl From<prost::DecodeError> for WireError {
    fn from(error: prost::DecodeError) -> Self {
        WireError::Protobuf(error.to_string())
    }
}
