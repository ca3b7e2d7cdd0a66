//! What can go wrong between this program and a node's API.

use serde_json::Value;

use super::endpoint::Endpoint;

/// Why there is no good answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum HttpError {
    /// Nothing was sent: the node is not running, or the address is another's.
    #[error("cannot reach {endpoint}: {reason}; is the node running, and is this its address?")]
    Unreachable {
        /// Where.
        endpoint: Box<Endpoint>,
        /// What the system says.
        reason: String,
    },
    /// It was sent, and nobody knows what came of it.
    #[error("{endpoint} gave no answer: {reason}")]
    NoAnswer {
        /// Where.
        endpoint: Box<Endpoint>,
        /// What happened instead.
        reason: String,
    },
    /// The node refuses; its words say why.
    #[error("{endpoint} refused ({status} {code}): {message}")]
    Refused {
        /// Where.
        endpoint: Box<Endpoint>,
        /// The HTTP status.
        status: u16,
        /// The API's stable word, empty if the answer has none.
        code: String,
        /// The API's sentence.
        message: String,
        /// The whole answer, for what stands beside the error.
        body: Box<Value>,
    },
    /// Something else than a node of ours answers there.
    #[error("{endpoint} answered with something that is not a node's: {reason}")]
    Strange {
        /// Where.
        endpoint: Box<Endpoint>,
        /// What is strange.
        reason: String,
    },
}

impl HttpError {
    /// Whether the same request may do better in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            HttpError::Unreachable { .. } | HttpError::NoAnswer { .. } => true,
            HttpError::Refused { status, .. } => matches!(status, 503 | 408 | 429),
            HttpError::Strange { .. } => false,
        }
    }

    /// Whether the request may have been carried out all the same.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, HttpError::NoAnswer { .. })
    }
}
