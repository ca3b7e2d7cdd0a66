//! Bodies: what is too large for a message that others wait behind (pictures, audio), on its way between two nodes.
//!
//! A body is named by the SHA-256 of its content. It goes in chunks over bulk sessions only, in class P4, a few chunks at a time, so nothing of an
//! alarm ever stands behind it. Whoever receives says which chunks it has: so a session that broke costs no chunk that had come, and chunks may
//! come in any order and more than once.
//!
//! The name is also the key: a node gives a body to whoever asks for it by name, and names are told only to those who may see the event.
//!
//! Invariant: nobody holds a body under a name that is not that of its content. What does not match is dropped, and whoever sent it is not
//! listened to for a while.

mod incoming;
mod message;
mod mover;
mod outgoing;
mod port;
mod shelf;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::limits;

pub use message::{BodyMessage, BodyRefusal, Offer};
pub use mover::Mover;
pub use port::{Accepts, Content, Input, MoverConfig, Output, Report, Towards};

/// The name of a body: the SHA-256 of its content, 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BodyId(pub [u8; 32]);

impl BodyId {
    /// The name that `content` has.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }
}

impl fmt::Display for BodyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A text that is no name of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("that is no name of a body: 64 digits 0-9 a-f are needed")]
pub struct BodyIdError;

impl FromStr for BodyId {
    type Err = BodyIdError;

    fn from_str(text: &str) -> Result<Self, BodyIdError> {
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(BodyIdError);
        }
        let mut out = [0; 32];
        for (slot, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).map_err(|_| BodyIdError)?;
            *slot = u8::from_str_radix(digits, 16).map_err(|_| BodyIdError)?;
        }
        Ok(Self(out))
    }
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Media {
    /// A picture (ISO/IEC 10918-1).
    Jpeg,
    /// Speech in Ogg (RFC 7845).
    Opus,
    /// Speech as it is (RIFF).
    Wav,
}

impl Media {
    /// What `content` is by its first bytes; `None` for anything that is not carried.
    #[must_use]
    pub fn of(content: &[u8]) -> Option<Self> {
        if content.starts_with(&[0xFF, 0xD8, 0xFF]) {
            Some(Media::Jpeg)
        } else if content.starts_with(b"OggS") && content.get(28..36) == Some(b"OpusHead") {
            Some(Media::Opus)
        } else if content.starts_with(b"RIFF") && content.get(8..12) == Some(b"WAVE") {
            Some(Media::Wav)
        } else {
            None
        }
    }

    /// Its media type (RFC 6838).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Media::Jpeg => "image/jpeg",
            Media::Opus => "audio/ogg",
            Media::Wav => "audio/wav",
        }
    }

    /// The most bytes that one may have.
    #[must_use]
    pub fn limit(self) -> usize {
        match self {
            Media::Jpeg => limits::PICTURE_BYTES,
            Media::Opus | Media::Wav => limits::BODY_BYTES,
        }
    }
}

/// Which chunks of a body: bit `n` is chunk `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Chunks(pub u64);

impl Chunks {
    /// All chunks of a body of `size` bytes.
    pub(crate) fn all(size: usize) -> Self {
        match size.div_ceil(limits::BODY_CHUNK_BYTES) {
            0 => Self(0),
            count @ 1..64 => Self((1 << count) - 1),
            _ => Self(u64::MAX),
        }
    }

    pub(crate) fn add(&mut self, at: u8) {
        if at < 64 {
            self.0 |= 1 << at;
        }
    }

    pub(crate) fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Those of `self` that are not in `other`.
    pub(crate) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The first of them.
    pub(crate) fn first(self) -> Option<u8> {
        u8::try_from(self.0.trailing_zeros()).ok().filter(|at| *at < 64)
    }
}

/// Where chunk `at` of a body of `size` bytes lies; `None` if it has no such chunk.
pub(crate) fn place(size: usize, at: u8) -> Option<std::ops::Range<usize>> {
    let from = usize::from(at) * limits::BODY_CHUNK_BYTES;
    (from < size).then(|| from..size.min(from + limits::BODY_CHUNK_BYTES))
}
