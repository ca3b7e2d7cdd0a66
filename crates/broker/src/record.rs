//! The record's engine: what makes commands durable and puts them into one order.
//!
//! [`Engine`] is all that the rest of the broker knows of it. [`LocalRecord`] is the engine of a region of one node: the
//! order is that of the calls, and durable is what is on this node's disk.
//!
//! Invariant: a command is given back exactly once, as committed with an index higher than all before, or as not committed.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use huxiao_core::broker::{Broker, Input};
use huxiao_core::record::Command;
use huxiao_core::{Class, RecordId, Rng};
use huxiao_runtime::drive::{Handle, WeakHandle};
use huxiao_store::{BLACK_BOX_VALUE_BYTES, Batch, CommitError, Key, Put, Space, Store, StoreError};

/// The row that names the record.
const NAME_ROW: Key = Key { space: Space::Meta, class: Class::P0, seq: 1 };

/// Makes commands durable and orders them. It answers with [`Input::Committed`] or [`Input::NotCommitted`].
pub trait Engine: Send + 'static {
    /// Takes a command. Never waits.
    fn propose(&self, command: Command);

    /// The commands at these indexes are needed no longer. Never waits.
    fn forget(&self, indexes: Vec<u64>);
}

/// The engine of a region of one node.
#[derive(Clone)]
pub struct LocalRecord {
    store: Store,
    handle: WeakHandle<Broker>,
    next: Arc<AtomicU64>,
}

/// What the record's rows held.
pub(crate) struct Kept {
    pub(crate) id: Option<RecordId>,
    pub(crate) commands: Vec<(u64, Command)>,
}

/// Reads the log in order.
pub(crate) fn read(store: &Store) -> Result<Kept, StoreError> {
    let name = store.get(NAME_ROW)?;
    let id = name.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok()).map(RecordId);
    let mut commands = Vec::new();
    store.scan(Space::Record, |key, value| {
        match huxiao_wire::decode_command(value) {
            Ok(command) => commands.push((key.seq, command)),
            Err(error) => tracing::error!(%key, %error, "a command of the record cannot be read by this version; it stays on disk"),
        }
        ControlFlow::Continue(())
    })?;
    Ok(Kept { id, commands })
}

impl LocalRecord {
    /// An engine that gives `next` to the next command.
    #[must_use]
    pub fn new(store: Store, handle: &Handle<Broker>, next: u64) -> Self {
        Self { store, handle: handle.downgrade(), next: Arc::new(AtomicU64::new(next)) }
    }

    /// Gives a record that has no name one, made of the node's seed and the number of its start.
    pub(crate) fn name_record(&self, seed: u64, epoch: u64) -> RecordId {
        let id = RecordId(Rng::new(seed ^ epoch.rotate_left(32)).bytes16());
        let put = Put { key: NAME_ROW, value: id.0.to_vec(), black_box: false };
        let batch = Batch { puts: vec![put], deletes: Vec::new(), high: 0, class: Class::P0 };
        self.store.commit(batch, |done| {
            if let Err(error) = done {
                // Stations then get what they have once more after the next start, and drop it.
                tracing::error!(%error, "the record's name could not be kept");
            }
        });
        id
    }
}

impl Engine for LocalRecord {
    fn propose(&self, command: Command) {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let class = match &command {
            Command::Admit(admission) => admission.sealed.event.class,
            // What officers did is never shed.
            Command::Note(_) | Command::Route { .. } => Class::P0,
        };
        let value = huxiao_wire::encode_command(&command);
        let admits_p0 = class == Class::P0 && matches!(command, Command::Admit(_));
        let black_box = admits_p0 && value.len() <= BLACK_BOX_VALUE_BYTES;
        let put = Put { key: key(index), value, black_box };
        let batch = Batch { puts: vec![put], deletes: Vec::new(), high: index, class };
        // Held until the write is done, so that the loop does not end before it.
        let handle = self.handle.upgrade();
        self.store.commit(batch, move |done| {
            let input = match done {
                Ok(()) => Input::Committed(index, command),
                Err(error) => {
                    let shed = matches!(error, CommitError::Shed(_));
                    Input::NotCommitted { command, shed, why: error.to_string() }
                }
            };
            // A loop that has ended needs no answer.
            let _ = handle.map(|handle| handle.urgent(input));
        });
    }

    fn forget(&self, indexes: Vec<u64>) {
        let deletes = indexes.into_iter().map(key).collect();
        let batch = Batch { puts: Vec::new(), deletes, high: 0, class: Class::P0 };
        self.store.commit(batch, |done| {
            if let Err(error) = done {
                tracing::warn!(%error, "commands of finished events stay on disk for now");
            }
        });
    }
}

/// All commands stand in one lane: their order is what matters.
fn key(index: u64) -> Key {
    Key { space: Space::Record, class: Class::P0, seq: index }
}
