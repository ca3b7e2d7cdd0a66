//! The journal on disk: what this node saw and its officers did while the region's record could not take it.
//!
//! Invariant: a command is told to be in the journal only when its row is on stable storage, and its row is removed only when the
//! record has it.

use std::ops::ControlFlow;

use huxiao_core::Class;
use huxiao_core::broker::JournalId;
use huxiao_core::record::Command;
use huxiao_store::{BLACK_BOX_VALUE_BYTES, Batch, CommitError, Key, Put, Space, Store, StoreError};

/// The journal of one node.
#[derive(Clone)]
pub struct Journal {
    store: Store,
}

impl Journal {
    /// The journal in `store`, and what it holds, in the order in which it came.
    ///
    /// # Errors
    /// Those of reading the store.
    pub fn open(store: Store) -> Result<(Self, Vec<(JournalId, Command)>), StoreError> {
        let mut kept = Vec::new();
        store.scan(Space::Journal, |key, value| {
            match huxiao_wire::decode_command(value) {
                Ok(command) => kept.push((JournalId(key.seq), command)),
                Err(error) => {
                    tracing::error!(%key, %error, "a row of the journal cannot be read by this version; it stays on disk");
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok((Self { store }, kept))
    }

    /// Puts a command into row `id` and calls `done` once, on the store's thread if it gets so far. Never waits.
    pub fn put(&self, id: JournalId, command: &Command, done: impl FnOnce(Result<(), CommitError>) + Send + 'static) {
        let value = huxiao_wire::encode_command(command);
        let admitted = match command {
            Command::Admit(admission) => Some(admission.sealed.event.class),
            _ => None,
        };
        let black_box = admitted == Some(Class::P0) && value.len() <= BLACK_BOX_VALUE_BYTES;
        let put = Put { key: key(id), value, black_box };
        // What officers did is never shed.
        let class = admitted.unwrap_or(Class::P0);
        self.store.commit(Batch { puts: vec![put], deletes: Vec::new(), high: 0, class }, done);
    }

    /// Removes rows. One that cannot be removed is given out once more by the next opening, which does no harm: commands change
    /// nothing the second time.
    pub fn remove(&self, ids: impl IntoIterator<Item = JournalId>) {
        let deletes = ids.into_iter().map(key).collect();
        self.store.commit(Batch { puts: Vec::new(), deletes, high: 0, class: Class::P0 }, |done| {
            if let Err(error) = done {
                tracing::warn!(%error, "rows of the journal that the record has stay on disk until the next start");
            }
        });
    }
}

/// All stand in one lane: the order in which they came is what matters.
fn key(id: JournalId) -> Key {
    Key { space: Space::Journal, class: Class::P0, seq: id.0 }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::mpsc;

    use huxiao_core::{EventId, StationId, WallTime};
    use huxiao_store::{Config, Loss, Trial, open};

    use super::*;

    fn journal(dir: &Path) -> (Journal, Vec<(JournalId, Command)>, Vec<Loss>) {
        let config = Config { ballast_bytes: 0, black_box_blocks: 16, ..Config::new(dir, Trial::InProcess) };
        let opened = open(&config, WallTime(1_795_478_400_000_000)).unwrap();
        let (journal, kept) = Journal::open(opened.store).unwrap();
        (journal, kept, opened.losses)
    }

    fn route(number: u8) -> Command {
        let station = StationId(huxiao_core::Name::new("pcs-0042").unwrap());
        Command::Route { event: EventId::from_bytes([number; 16]), stations: vec![station] }
    }

    #[test]
    fn commands_come_back_in_order_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (held, kept, _) = journal(dir.path());
        assert_eq!(kept, []);
        let (told, tell) = mpsc::channel();
        for number in [2, 1, 3, 300] {
            let told = told.clone();
            let command = route(u8::try_from(number % 256).unwrap());
            held.put(JournalId(number), &command, move |done| told.send(done).unwrap());
            assert_eq!(tell.recv().unwrap(), Ok(()));
        }
        held.remove([JournalId(2), JournalId(77)]);
        held.store.close();
        let (held, kept, losses) = journal(dir.path());
        assert_eq!((kept.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), losses), (vec![1, 3, 300], vec![]));
        assert_eq!(kept[2].1, route(44));
        held.store.close();
    }

    #[test]
    fn a_row_of_another_version_stays_and_costs_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let (held, ..) = journal(dir.path());
        let foreign = Put { key: key(JournalId(1)), value: vec![250, 1], black_box: false };
        held.store
            .commit(Batch { puts: vec![foreign], deletes: vec![], high: 0, class: Class::P0 }, |done| done.unwrap());
        held.put(JournalId(2), &route(1), |done| done.unwrap());
        held.store.close();
        let (held, kept, _) = journal(dir.path());
        assert_eq!(kept, [(JournalId(2), route(1))]);
        assert!(held.store.get(key(JournalId(1))).unwrap().is_some());
    }
}
