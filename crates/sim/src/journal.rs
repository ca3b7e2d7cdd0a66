//! A node's own disk beside the log: its journal, its snapshots, and the archive.
//!
//! Invariant: what a crash finds in the journal is what was synced, and of what was being synced any part.

use huxiao_core::broker::{Input, JournalId, RecallTicket, SnapshotTicket};
use huxiao_core::record::RecordState;
use huxiao_core::{Command, EventId};

use crate::check::Outcome;
use crate::faced::Faced;
use crate::node::Node;
use crate::world::{Action, World};

impl World {
    pub(crate) fn snapshot(&mut self, at: usize, ticket: SnapshotTicket, record: RecordState) {
        let index = usize::try_from(ticket.0).unwrap_or(usize::MAX);
        let replica = &mut self.brokers[at].replica;
        replica.snapshot = Some((index, record));
        replica.saved = replica.saved.max(index);
    }

    pub(crate) fn journal(&mut self, at: usize, id: JournalId, command: Command) {
        let idle = self.brokers[at].replica.journalling.is_empty();
        self.brokers[at].replica.journalling.push((id, command));
        if idle {
            let (sync, life) = (self.sync_time(Node::Broker(at)), self.life(Node::Broker(at)).number);
            self.at(self.now + sync, Action::Journalled(at, life));
        }
    }

    pub(crate) fn unjournal(&mut self, at: usize, ids: &[JournalId]) {
        let replica = &mut self.brokers[at].replica;
        replica.journal.retain(|id, _| !ids.contains(id));
        replica.journalling.retain(|(id, _)| !ids.contains(id));
    }

    pub(crate) fn journalled(&mut self, at: usize, life: u64) -> Outcome {
        if self.life(Node::Broker(at)).number != life {
            return Ok(());
        }
        let failing = self.life(Node::Broker(at)).disk_failing > 0;
        for (id, command) in std::mem::take(&mut self.brokers[at].replica.journalling) {
            let input = if failing && self.rng.below(100) < 60 {
                Input::JournalFailed(id, "no space left on device".to_owned())
            } else {
                self.brokers[at].replica.journal.insert(id, command);
                Input::Journalled(id)
            };
            self.tell_broker(at, input)?;
        }
        Ok(())
    }

    pub(crate) fn recalled(&mut self, at: usize, life: u64, ticket: RecallTicket, ids: &[EventId]) -> Outcome {
        if self.life(Node::Broker(at)).number != life {
            return Ok(());
        }
        self.ledger.met.count(Faced::Recalled);
        let entries = ids.iter().filter_map(|id| self.region.archive.get(id).cloned()).collect();
        self.tell_broker(at, Input::Recalled(ticket, entries))
    }
}
