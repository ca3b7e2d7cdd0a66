//! What every node does the same way: its surroundings, its start, and its end.
//!
//! A role crate adds its machine, its shell and its routes; opening the store, proving who one is, listening, serving and
//! stopping in the right order stand here once.
//!
//! Invariant: a node stops in the order in which nothing can be lost: intake first, then the machine drains, then the
//! sessions, and the store last.

mod base;
mod feed;
mod keys;
mod running;

use huxiao_link::LinkError;
use huxiao_pki::{CredentialsError, Validity};
use huxiao_store::{OpenError, StoreError, Trial};

pub use base::{Base, Opened, is_armed};
pub use feed::Feed;
pub use keys::{COMMON_KEYS, join_keys};
pub use running::{Reload, Running, StopError};

use crate::clock::Clock;
use crate::http::BindError;
use crate::metric::Exposition;
use crate::shutdown::Shutdown;
use crate::systemd::Notifier;

/// The surroundings of a node: made by the program, or by a test that plays one.
#[derive(Clone)]
pub struct Host {
    /// The clocks.
    pub clock: Clock,
    /// By which it is stopped.
    pub shutdown: Shutdown,
    /// Where its metrics are read.
    pub exposition: Exposition,
    /// Its service manager.
    pub notifier: Notifier,
    /// The program's version.
    pub version: &'static str,
    /// The commit that the program was built from, or `unknown`.
    pub commit: &'static str,
    /// How its store is tried before it is opened.
    pub trial: Trial,
    /// Seed of all that is random.
    pub seed: u64,
}

impl Host {
    /// What the node calls itself in greetings.
    #[must_use]
    pub fn software(&self) -> String {
        format!("huxiao/{} ({})", self.version, self.commit)
    }
}

/// Why a node cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The files named under `[tls]`.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The folder named under `[data]`.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A row cannot be read. A restart repairs what can be repaired, or puts the store into quarantine.
    #[error(transparent)]
    Row(#[from] StoreError),
    /// The QUIC side.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The HTTP side.
    #[error(transparent)]
    Http(#[from] BindError),
    /// Something of the role's own: its plan, for one.
    #[error("{0}")]
    Role(String),
}

/// What to say of a certificate's dates; nothing while they are in order.
fn dates(validity: Validity) -> Option<&'static str> {
    match validity {
        Validity::Valid => None,
        Validity::Expired => Some("has expired: brokers take only P0 from this node; renew it"),
        Validity::NotYetValid => Some("is not valid yet: this node's clock is wrong, or the certificate's dates are"),
    }
}

#[cfg(test)]
mod tests;
