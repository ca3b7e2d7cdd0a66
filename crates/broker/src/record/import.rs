//! Taking over what a node kept before it had a replicated record: the rows of its store's former log.
//!
//! Invariant: a row is removed only when the record has its command. Commands change nothing the second time, so a start in between does no
//! harm.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use huxiao_core::Class;
use huxiao_link::peer::PeerLane;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_store::{Batch, Key, Space, Store, StoreError};
use huxiao_wire::cluster::{AnswerBody, RequestBody, StoreId};

use super::convert::member_out;
use super::node::Node;
use super::peers::{PROPOSE_BYTES, Urgency};
use super::propose;

/// How long after a failure it is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Commands that are proposed together.
const BATCH: usize = 512;

/// The rows of the former log, in their order.
pub(crate) struct Former {
    rows: Vec<(Key, Bytes)>,
    store: Store,
}

/// Reads them.
///
/// # Errors
/// Those of reading the store.
pub(crate) fn read(store: &Store) -> Result<Former, StoreError> {
    let mut rows = Vec::new();
    store.scan(Space::Record, |key, value| {
        match huxiao_wire::decode_command(value) {
            Ok(_) => rows.push((key, Bytes::copy_from_slice(value))),
            Err(error) => tracing::error!(%key, %error, "a command of the former record cannot be read by this version; it stays on disk"),
        }
        ControlFlow::Continue(())
    })?;
    Ok(Former { rows, store: store.clone() })
}

impl Former {
    /// Proposes them one batch after another, until all are in the record or the node stops.
    pub(crate) async fn run(self, node: Arc<Node>, shutdown: Shutdown) {
        let all = self.rows.len();
        if all > 0 {
            tracing::info!(commands = all, "what this node kept before it had a replicated record goes into it");
        }
        let mut rows = self.rows.as_slice();
        while !rows.is_empty() {
            let (mut count, mut bytes) = (0, 0);
            for (_, command) in rows.iter().take(BATCH) {
                bytes += command.len();
                if count > 0 && bytes > PROPOSE_BYTES {
                    break;
                }
                count += 1;
            }
            let (batch, rest) = rows.split_at(count);
            match propose_all(&node, batch.iter().map(|(_, command)| command.clone()).collect()).await {
                Ok(()) => {
                    self.remove(batch.iter().map(|(key, _)| *key).collect());
                    rows = rest;
                    if rows.is_empty() {
                        tracing::info!(commands = all, "the record has them");
                    }
                }
                Err(why) => {
                    tracing::debug!(why, "what was kept before is not in the record yet");
                    tokio::select! {
                        () = shutdown.wait() => return,
                        () = tokio::time::sleep(PAUSE) => {}
                    }
                }
            }
        }
    }

    fn remove(&self, deletes: Vec<Key>) {
        self.store.commit(Batch { puts: Vec::new(), deletes, high: 0, class: Class::P0 }, |done| {
            if let Err(error) = done {
                tracing::warn!(%error, "rows of the former record stay on disk; they are taken over once more at the next start");
            }
        });
    }
}

async fn propose_all(node: &Node, commands: Vec<Bytes>) -> Result<(), String> {
    // Before the record has its name, its first command is not this one.
    if node.record().is_none() || node.is_degraded() {
        return Err("the record takes nothing yet".to_owned());
    }
    if node.leads() {
        return match propose::order_for_peer(node, commands).await {
            Ok(_) => Ok(()),
            Err(_) => Err("not ordered in time".to_owned()),
        };
    }
    let (id, member) = node.leader().ok_or("nobody leads")?;
    let member = member_out(&member).map_err(|error| error.to_string())?;
    let way = node.peers().to(&member, Some(StoreId(id)), PeerLane::Heavy);
    match way.ask(RequestBody::Propose(commands), Duration::from_secs(2), Urgency::Other).await {
        Ok(AnswerBody::Propose(_)) => Ok(()),
        Ok(other) => Err(way.other_kind(&other).to_string()),
        Err(error) => Err(error.to_string()),
    }
}
