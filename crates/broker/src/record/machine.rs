//! From the raft log to the broker's loop: what is committed goes there in order, and what the loop made of it comes back as
//! snapshots.
//!
//! The state itself, `RecordState`, lives in the loop, which applies each command by itself. Here is only how far that has come.
//! Applying never waits for the loop: a command is handed over and answered for at once, since whoever proposed it hears of it in
//! the loop too. What may wait there is bounded by what the log holds.
//!
//! Invariants:
//! * The loop gets every command exactly once and in the log's order, or a whole record in the place of those before it. A
//!   command that this version cannot read stops the node: to skip it would make another record than the other nodes have.
//! * A snapshot holds exactly what was committed up to its last entry, because it is asked for between two entries and the loop
//!   takes its inputs in order.
//! * A snapshot is on stable storage before the engine hears of it, and the log forgets nothing before that.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::{Stream, StreamExt};
use huxiao_core::RecordId;
use huxiao_core::record::{Command, RecordState};
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::oneshot;

use super::snapshots::{SnapshotFile, Snapshots, blocking};
use super::types::{LogId, Proposal, SnapshotMeta, StoredMembership, TypeConfig};

/// Whoever owns the state that the log adds up to.
pub(crate) trait Replica: Send + Sync + 'static {
    /// Takes the command at `index`; `replayed` if it had been committed before this start.
    ///
    /// # Errors
    /// The owner has ended.
    fn committed(&self, index: u64, command: Command, replayed: bool) -> io::Result<()>;

    /// Takes a whole record in the place of its own.
    ///
    /// # Errors
    /// The owner has ended.
    fn restored(&self, state: RecordState) -> io::Result<()>;

    /// Gives the state as it is after all that it was handed before, when it has come so far and all that has left it for the
    /// archive is on stable storage there.
    ///
    /// # Errors
    /// The owner has ended.
    fn snapshot(&self) -> io::Result<oneshot::Receiver<Box<RecordState>>>;
}

/// How far the record is applied, for whoever wants to know. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    shared: Arc<Mutex<Reached>>,
}

#[derive(Default)]
struct Reached {
    applied: Option<LogId>,
    membership: StoredMembership,
    record: Option<RecordId>,
    fault: Option<String>,
}

impl Progress {
    pub(crate) fn new(meta: SnapshotMeta, record: Option<RecordId>) -> Self {
        let SnapshotMeta { last_log_id: applied, last_membership: membership } = meta;
        Self { shared: Arc::new(Mutex::new(Reached { applied, membership, record, fault: None })) }
    }

    fn lock(&self) -> MutexGuard<'_, Reached> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last entry that was handed to the loop.
    pub(crate) fn applied(&self) -> Option<LogId> {
        self.lock().applied
    }

    /// Which record it is; `None` until one is founded or comes.
    pub(crate) fn record(&self) -> Option<RecordId> {
        self.lock().record
    }

    /// Why the record stopped here, in words, if it did: the node must end and say so.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    fn meta(&self) -> SnapshotMeta {
        let reached = self.lock();
        SnapshotMeta { last_log_id: reached.applied, last_membership: reached.membership.clone() }
    }

    /// Notes why the record cannot go on; the first reason stays.
    fn stop(&self, why: String) -> io::Error {
        tracing::error!(why, "the record stops");
        let why = self.lock().fault.get_or_insert(why).clone();
        io::Error::other(why)
    }
}

/// The engine's state machine.
pub(crate) struct Machine<R> {
    replica: Arc<R>,
    progress: Progress,
    snapshots: Snapshots,
    /// Up to which index everything had been committed before this start.
    known: Option<u64>,
}

impl<R: Replica> Machine<R> {
    /// A machine that goes on behind what `progress` says, whose state `replica` has; `committed` is how far the log was known to be
    /// committed when it was opened.
    pub(crate) fn new(replica: R, progress: Progress, snapshots: Snapshots, committed: Option<LogId>) -> Self {
        Self { replica: Arc::new(replica), progress, snapshots, known: committed.map(|id| id.index) }
    }

    fn apply_one(&self, id: LogId, payload: EntryPayload<Proposal, u64, super::types::Member>) -> io::Result<()> {
        match payload {
            EntryPayload::Blank => {}
            EntryPayload::Membership(membership) => {
                self.progress.lock().membership = StoredMembership::new(Some(id), membership);
            }
            EntryPayload::Normal(Proposal(bytes)) => {
                let command = huxiao_wire::decode_command(&bytes).map_err(|why| {
                    self.progress.stop(format!("entry {id} of the record cannot be applied by this version: {why}"))
                })?;
                if let Command::Found { record } = command {
                    self.progress.lock().record.get_or_insert(record);
                }
                let replayed = self.known.is_some_and(|known| id.index <= known);
                self.replica.committed(id.index, command, replayed)?;
            }
        }
        self.progress.lock().applied = Some(id);
        Ok(())
    }
}

impl<R: Replica> RaftStateMachine<TypeConfig> for Machine<R> {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let SnapshotMeta { last_log_id, last_membership } = self.progress.meta();
        Ok((last_log_id, last_membership))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            self.apply_one(entry.log_id, entry.payload)?;
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // Asked for here, between two entries, and not when the builder is run, which is another task's business.
        Builder { meta: self.progress.meta(), state: Some(self.replica.snapshot()), snapshots: self.snapshots.clone() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotFile) -> io::Result<()> {
        let (folder, of) = (self.snapshots.clone(), meta.clone());
        let state = blocking(move || folder.install(&of, &snapshot)).await?;
        tracing::info!(last = ?meta.last_log_id, events = state.len(), "the leader's record takes the place of this node's");
        let record = state.record();
        self.replica.restored(state)?;
        let mut reached = self.progress.lock();
        reached.applied = meta.last_log_id;
        reached.membership = meta.last_membership.clone();
        reached.record = record;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, SnapshotFile>>> {
        Ok(self.snapshots.current().map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// Makes one snapshot.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    state: Option<io::Result<oneshot::Receiver<Box<RecordState>>>>,
    snapshots: Snapshots,
}

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, SnapshotFile>> {
        let state = self.state.take().ok_or_else(|| io::Error::other("a snapshot is built once"))??;
        let state = state.await.map_err(|_| io::Error::other("the broker gave no snapshot of its record; it ends"))?;
        let (folder, meta) = (self.snapshots.clone(), self.meta.clone());
        let snapshot = blocking(move || folder.write(&meta, &state)).await?;
        tracing::info!(last = ?self.meta.last_log_id, bytes = snapshot.bytes(), "the record is in a snapshot");
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
