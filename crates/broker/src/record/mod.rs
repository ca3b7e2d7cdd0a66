//! The region's record on openraft: what makes commands durable on a majority of the region's nodes, and puts them into one order.
//!
//! [`Engine`] and [`Region`] are all that the rest of the broker knows of it, and this folder is the one place that names openraft.
//!
//! ```text
//!  machine ─ Propose ─► propose ─► leader's engine ─► log (WAL, fdatasync) ─► majority ─► machine.rs ─ Committed ─► machine
//!                          │ not the leader: over the peers' connection        ▲ network, service
//!                          └ nothing known after 400 ms: NotCommitted          │
//!  watch: quorum, lead ─► machine, health, metrics      founding: the first    members: who belongs to it
//! ```
//!
//! Invariants:
//! * A command is given to the machine as committed exactly once and in the log's order; what is said of a command that was not committed is
//!   advice, and it may be committed yet.
//! * Nothing here decides about alarms, and nothing here is waited for by one.

mod backup;
pub mod bare;
mod convert;
mod desk;
mod folder;
mod founding;
mod identity;
mod import;
mod judge;
mod log;
mod machine;
mod members;
mod network;
mod node;
mod open;
mod peers;
mod propose;
mod repeats;
mod service;
mod snapshot;
mod snapshots;
mod status;
mod stop;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub(crate) mod types;
mod versions;
mod watch;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use huxiao_core::record::Command;
use huxiao_core::supervision::{PresenceAsk, PresencePart};
use huxiao_core::{Name, Span};
use huxiao_link::peer::PeerLane;
use huxiao_wire::cluster::{AnswerBody, Change, RequestBody, StoreId};

pub use backup::{RestoreError, Restored, restore};
pub(crate) use desk::SnapshotDesk;
pub(crate) use open::{RegionConfig, Surroundings};
pub(crate) use status::hex;
pub use status::{DegradedJson, RegionStatus};

use self::convert::member_out;
use self::members::ChangeError;
use self::node::Node;
use self::open::Disk;
use self::peers::Urgency;

/// Makes commands durable and orders them. It answers with [`Input::Committed`](huxiao_core::broker::Input::Committed) or
/// [`Input::NotCommitted`](huxiao_core::broker::Input::NotCommitted).
pub trait Engine: Send + 'static {
    /// Takes a command. Never waits.
    fn propose(&self, command: Command);
}

/// This node's part of its region's record. Cheap to clone; clones are the same one.
#[derive(Clone)]
pub struct Region {
    node: Arc<Node>,
    disk: Arc<Disk>,
}

impl Engine for Region {
    fn propose(&self, command: Command) {
        self.node.proposer().propose(command);
    }
}

/// Why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Not now; later perhaps.
    #[error("{0}")]
    NotNow(String),
    /// It contradicts what is so.
    #[error("{0}")]
    Wrong(String),
    /// It was begun, and nobody knows what came of it.
    #[error("{0}")]
    Unknown(String),
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Where it is.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: [u8; 32],
    /// The last entry that it holds.
    pub index: u64,
    /// Of which record it is.
    pub record: Option<String>,
}

impl Region {
    /// How the region is, as this node sees it.
    #[must_use]
    pub fn status(&self) -> RegionStatus {
        status::read(&self.node, self.disk.json())
    }

    /// Where a member is reached.
    #[must_use]
    pub fn address_of(&self, name: &Name) -> Option<String> {
        let membership = self.node.membership();
        membership.nodes().find(|(_, member)| member.name == name.as_str()).map(|(_, member)| member.addr.clone())
    }

    /// This node's name in its region.
    #[must_use]
    pub fn me(&self) -> &Name {
        &self.node.fixed.name
    }

    /// Whether this node leads.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.node.leads()
    }

    /// The other nodes of the region.
    #[must_use]
    pub fn others(&self) -> BTreeSet<Name> {
        let membership = self.node.membership();
        let others = membership.nodes().filter(|(id, _)| **id != self.node.id());
        // A member's name is one: it came from a certificate or a checked order.
        others.filter_map(|(_, member)| member.name.parse().ok()).collect()
    }

    /// Asks another node who holds sessions there. `None` if it cannot be asked now.
    ///
    /// # Errors
    /// It is there and does not say: an older version, or another fault, in words.
    pub async fn presence(&self, name: &Name, ask: PresenceAsk) -> Result<Option<PresencePart>, String> {
        const WITHIN: Span = Span::from_secs(1);
        let membership = self.node.membership();
        let Some((id, member)) = membership.nodes().find(|(_, member)| member.name == name.as_str()) else {
            return Ok(None);
        };
        let member = member_out(member).map_err(|error| error.to_string())?;
        let way = self.node.peers().to(&member, Some(StoreId(*id)), PeerLane::Quick);
        match way.ask(RequestBody::Presence(ask), WITHIN, Urgency::Other).await {
            Ok(AnswerBody::Presence(part)) => Ok(Some(part)),
            Ok(other) => Err(way.other_kind(&other).to_string()),
            Err(error) if error.was_heard() => Err(error.to_string()),
            Err(_) => Ok(None),
        }
    }

    /// Has an order carried out by the leader, wherever it was given. Gives words for people.
    ///
    /// # Errors
    /// [`OrderError`]
    pub async fn order(&self, change: Change) -> Result<String, OrderError> {
        members::order(&self.node, change).await.map_err(|error| match error {
            ChangeError::NotLeader => OrderError::NotNow(error.to_string()),
            ChangeError::NotNow(words) => OrderError::NotNow(words),
            ChangeError::Wrong(words) => OrderError::Wrong(words),
            ChangeError::Unknown(words) => OrderError::Unknown(words),
        })
    }

    /// Archived events with numbers above `after`, from whichever other node has them: encoded entries with their numbers, at most `limit`.
    ///
    /// # Errors
    /// Nobody has them, or nobody answers; in words.
    pub async fn archived(&self, after: u64, limit: u32) -> Result<Vec<(u64, Bytes)>, String> {
        const WITHIN: Span = Span::from_secs(10);
        let membership = self.node.membership();
        let mut whys = Vec::new();
        for (id, member) in membership.nodes().filter(|(id, _)| **id != self.node.id()) {
            let member = member_out(member).map_err(|error| error.to_string())?;
            let way = self.node.peers().to(&member, Some(StoreId(*id)), PeerLane::Heavy);
            match way.ask(RequestBody::Archive { after, limit }, WITHIN, Urgency::Other).await {
                Ok(AnswerBody::Archive(part)) if part.rows.is_empty() => {
                    whys.push(format!("{} has none of them", way.name()));
                }
                Ok(AnswerBody::Archive(part)) => return Ok(part.rows),
                Ok(other) => whys.push(way.other_kind(&other).to_string()),
                Err(error) => whys.push(error.to_string()),
            }
        }
        if whys.is_empty() {
            whys.push("there is no other node".to_owned());
        }
        Err(whys.join("; "))
    }
}
