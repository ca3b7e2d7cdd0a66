//! What can go wrong with a client, for each thing that a program asks of it.

use huxiao_core::station::{AckError, CaseError, EscalateError};
use huxiao_link::LinkError;
use huxiao_pki::CredentialsError;
use huxiao_runtime::drive::Stopped;
use huxiao_store::{OpenError, StoreError};

/// Why a client cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The three PEM files.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Use a certificate of the role station.
    #[error("the certificate is not a station's")]
    NotAStation,
    /// Name at least one broker node, each as `host:port`.
    #[error("broker {0:?}: {1}")]
    Broker(String, String),
    /// The folder named `data_dir`.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A row cannot be read. Connecting again repairs what can be repaired.
    #[error(transparent)]
    Row(#[from] StoreError),
    /// The QUIC side.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// Opening the inbox did not come to an end: a defect of ours, or the runtime is going down.
    #[error("opening the inbox did not come to an end: {0}")]
    Aborted(String),
}

/// Why an alarm was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AcknowledgeError {
    /// Give the officer's number in letters, digits and `.`, `_`, `-`.
    #[error("officer: {0}")]
    Officer(#[from] huxiao_core::NameError),
    /// Shorten the note, or take control characters out of it.
    #[error("note: {0}")]
    Note(#[from] huxiao_core::EventError),
    /// The station's answer.
    #[error(transparent)]
    Refused(#[from] AckError),
    /// The client is being shut down, or its store failed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why more stations were not made to see an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEscalated {
    /// Give the officer's number in letters, digits and `.`, `_`, `-`.
    #[error("officer: {0}")]
    Officer(#[from] huxiao_core::NameError),
    /// Shorten the note, or take control characters out of it.
    #[error("note: {0}")]
    Note(#[from] huxiao_core::EventError),
    /// Name at least one station, and not more than the limit.
    #[error("name 1 to {limit} stations, these are {0}", limit = huxiao_core::limits::STATIONS_PER_SCHOOL)]
    Stations(usize),
    /// The station's answer.
    #[error(transparent)]
    Refused(#[from] EscalateError),
    /// The client is being shut down, or its store failed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why nothing was done about an alarm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotActed {
    /// Give the officer's number in letters, digits and `.`, `_`, `-`.
    #[error("officer: {0}")]
    Officer(#[from] huxiao_core::NameError),
    /// Shorten the note, or take control characters out of it.
    #[error("note: {0}")]
    Note(#[from] huxiao_core::EventError),
    /// Acknowledge it as such.
    #[error("an alarm is taken with acknowledge, not with an order about its case")]
    Acknowledge,
    /// The region's answer, or none.
    #[error(transparent)]
    Refused(#[from] CaseError),
    /// The client is being shut down, or its store failed.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Why a client ended other than it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// Connect again: what is on the disk can only be known by opening it anew.
    #[error("the store failed and the client stopped: {0}")]
    Store(String),
    /// A defect of ours: see the log.
    #[error("the client's loop ended by itself: {0}")]
    Loop(String),
}
