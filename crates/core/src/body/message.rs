//! What two nodes say to each other about bodies.

use crate::body::{BodyId, Chunks, Media};

/// One word about a body. Goes over bulk sessions, in class P4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyMessage {
    /// This body could be given. Answered by `Have`, `Taken` or `Refused`.
    Offer(Offer),
    /// One chunk of it. Answered by `Have`, `Taken` or `Refused`.
    Chunk {
        /// The body.
        id: BodyId,
        /// Which chunk, from 0.
        at: u8,
        /// Its bytes: all chunks but the last are full.
        data: Vec<u8>,
    },
    /// These chunks have come; go on.
    Have(BodyId, Chunks),
    /// The whole body is here, and will be found again.
    Taken(BodyId),
    /// It is not taken: send no more of it.
    Refused(BodyId, BodyRefusal),
    /// Give this body. Answered by `Offer` or `Absent`.
    Ask(BodyId),
    /// It is not here (yet). Should it come within ten minutes, it is offered.
    Absent(BodyId),
}

/// A body that could be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub id: BodyId,
    /// Its bytes.
    pub size: usize,
    /// What it is.
    pub media: Media,
    /// Whether it is of the moment: shown to whoever looks now, and kept by nobody.
    pub live: bool,
}

/// Why a body is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum BodyRefusal {
    /// Others are on their way: offer it again in a while.
    #[error("too many bodies are on their way")]
    Busy,
    /// Over the limit of its media type, or empty.
    #[error("it is empty or too large")]
    Size,
    /// The content is not what its name says, or it is not of its media type.
    #[error("its content is not what it was said to be")]
    Mismatch,
    /// Nobody here has asked for it.
    #[error("nobody asked for it")]
    Unwanted,
    /// The sender has sent too much today, or sent what did not match.
    #[error("nothing more is taken from this sender for now")]
    Sender,
    /// The receiver's disk does not take it.
    #[error("the receiver cannot keep it")]
    Disk,
    /// Something this version has no name for.
    #[error("refused for a reason that this version does not know")]
    Other,
}

impl BodyRefusal {
    /// Its word in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            BodyRefusal::Busy => "busy",
            BodyRefusal::Size => "size",
            BodyRefusal::Mismatch => "mismatch",
            BodyRefusal::Unwanted => "unwanted",
            BodyRefusal::Sender => "sender",
            BodyRefusal::Disk => "disk",
            BodyRefusal::Other => "other",
        }
    }

    /// Whether the same offer may be taken later.
    pub(crate) fn passes(self) -> bool {
        matches!(self, BodyRefusal::Busy | BodyRefusal::Sender | BodyRefusal::Disk)
    }
}
