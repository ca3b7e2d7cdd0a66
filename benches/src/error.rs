//! Why a bench could not be carried out. That something was slow is no error.

use std::io;
use std::path::Path;

use huxiao_benches::emulator::EmulatorError;

/// See the variants.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The system did not do something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, and on what.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A program that the bench needs ended badly. Its own words are there.
    #[error("{program} ended with {status}; it said:\n{output}")]
    Program {
        /// The command.
        program: String,
        /// How it ended.
        status: String,
        /// The last of its output.
        output: String,
    },
    /// Something did not happen in time. If the machine is not overloaded, look into the logs named in the text.
    #[error("not within {seconds} s: {what}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
    },
    /// A peer answered what its protocol does not allow, or refused.
    #[error("{from} answered {answer}")]
    Answer {
        /// Who, and to what.
        from: String,
        /// What.
        answer: String,
    },
    /// The store under test refused a commit or an opening.
    #[error("the store under test: {0}")]
    Store(String),
    /// Plain sled, beside which the store is measured, failed.
    #[error("plain sled: {0}")]
    Sled(#[from] sled::Error),
    /// Two nodes of the bench did not get on with each other.
    #[error("calls between nodes: {0}")]
    Peer(String),
    /// There is no emulated network.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
}

impl BenchError {
    /// An answer that is none.
    pub(crate) fn answer(from: impl Into<String>, answer: impl Into<String>) -> Self {
        Self::Answer { from: from.into(), answer: answer.into() }
    }
}

/// Says what was tried when the system refused.
pub(crate) trait Trying<T> {
    /// `what` in words: "start mosquitto".
    ///
    /// # Errors
    /// [`BenchError::Io`]
    fn trying(self, what: impl Into<String>) -> Result<T, BenchError>;

    /// `what` and the path.
    ///
    /// # Errors
    /// [`BenchError::Io`]
    fn trying_on(self, what: &str, path: &Path) -> Result<T, BenchError>;
}

impl<T> Trying<T> for io::Result<T> {
    fn trying(self, what: impl Into<String>) -> Result<T, BenchError> {
        self.map_err(|source| BenchError::Io { what: what.into(), source })
    }

    fn trying_on(self, what: &str, path: &Path) -> Result<T, BenchError> {
        self.trying(format!("{what} {}", path.display()))
    }
}
