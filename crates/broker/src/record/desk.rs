//! Between the engine and the broker's loop: hands over what is committed, and gives snapshots to whom they belong.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use huxiao_core::broker::{Broker, Input, SnapshotTicket};
use huxiao_core::record::{Command, RecordState};
use huxiao_runtime::drive::{Stopped, WeakHandle};
use tokio::sync::oneshot;

use super::machine::Replica;

/// Where snapshots that the loop gives meet whoever asked for them. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct SnapshotDesk {
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    last: u64,
    tickets: BTreeMap<SnapshotTicket, oneshot::Sender<Box<RecordState>>>,
}

impl SnapshotDesk {
    fn ask(&self) -> (SnapshotTicket, oneshot::Receiver<Box<RecordState>>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.last += 1;
        let ticket = SnapshotTicket(waiting.last);
        let (sender, receiver) = oneshot::channel();
        waiting.tickets.insert(ticket, sender);
        (ticket, receiver)
    }

    /// Gives the snapshot to whoever asked. To be called when all that left the record before is on stable storage in the archive:
    /// the log goes on without it from here on.
    pub(crate) fn deliver(&self, ticket: SnapshotTicket, state: Box<RecordState>) {
        if let Some(sender) = self.take(ticket) {
            // Whoever asked may have ended.
            let _ = sender.send(state);
        }
    }

    /// There is none, since the archive does not have what left the record.
    pub(crate) fn refuse(&self, ticket: SnapshotTicket) {
        drop(self.take(ticket));
    }

    fn take(&self, ticket: SnapshotTicket) -> Option<oneshot::Sender<Box<RecordState>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).tickets.remove(&ticket)
    }
}

/// The broker's loop, as the engine sees it. Does not keep the loop going.
pub(crate) struct LoopReplica {
    handle: WeakHandle<Broker>,
    desk: SnapshotDesk,
}

impl LoopReplica {
    pub(crate) fn new(handle: WeakHandle<Broker>, desk: SnapshotDesk) -> Self {
        Self { handle, desk }
    }

    fn tell(&self, input: Input) -> io::Result<()> {
        let told = self.handle.upgrade().ok_or(Stopped).and_then(|handle| handle.urgent(input));
        told.map_err(io::Error::other)
    }
}

impl Replica for LoopReplica {
    fn committed(&self, index: u64, command: Command, replayed: bool) -> io::Result<()> {
        self.tell(Input::Committed { index, command, replayed })
    }

    fn restored(&self, state: RecordState) -> io::Result<()> {
        self.tell(Input::Restored(Box::new(state)))
    }

    fn snapshot(&self) -> io::Result<oneshot::Receiver<Box<RecordState>>> {
        let (ticket, receiver) = self.desk.ask();
        if let Err(error) = self.tell(Input::Snapshot(ticket)) {
            self.desk.refuse(ticket);
            return Err(error);
        }
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_gets_the_snapshot_that_it_asked_for_or_hears_that_there_is_none() {
        let desk = SnapshotDesk::default();
        let [(one, first), (other, second), (_, third)] = [desk.ask(), desk.ask(), desk.ask()];
        let mut state = RecordState::default();
        state.apply(5, Command::Found { record: huxiao_core::RecordId([1; 16]) });
        desk.deliver(other, Box::new(state));
        desk.deliver(one, Box::default());
        desk.deliver(one, Box::default());
        assert_eq!((first.await.unwrap().last_index(), second.await.unwrap().last_index()), (0, 5));
        drop(desk);
        third.await.unwrap_err();
    }

    #[tokio::test]
    async fn a_refusal_ends_the_waiting() {
        let desk = SnapshotDesk::default();
        let (ticket, waiting) = desk.ask();
        desk.refuse(ticket);
        waiting.await.unwrap_err();
    }
}
