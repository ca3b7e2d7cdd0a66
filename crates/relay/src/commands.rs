//! Commands on disk: rows of [`CommandRow`], apart from the outbox, by their slots.

use std::ops::ControlFlow;

use huxiao_core::Class;
use huxiao_core::relay::CommandRow;
use huxiao_store::{Batch, Key, Put, Space, Store, StoreError};

/// What came in from the region stands where a station has its inbox. Kept even on a disk that is nearly full: there are few, and a stop must
/// not be lost.
const CLASS: Class = Class::P0;

/// The commands that were kept when the relay stopped. A row that this version cannot read is left where it is and said.
pub(crate) fn read(store: &Store) -> Result<Vec<CommandRow>, StoreError> {
    let mut rows = Vec::new();
    store.scan(Space::Inbox, |key, value| {
        match huxiao_wire::decode_command_row(value) {
            Ok(row) => rows.push(row),
            Err(error) => {
                tracing::error!(%key, %error, "a command cannot be read by this version; it stays on disk");
            }
        }
        ControlFlow::Continue(())
    })?;
    rows.sort_by_key(|row| row.slot);
    Ok(rows)
}

/// A row as the store takes it.
pub(crate) fn put(row: &CommandRow) -> Batch {
    let put = Put { key: key(row.slot), value: huxiao_wire::encode_command_row(row), black_box: false };
    Batch { puts: vec![put], deletes: Vec::new(), high: 0, class: CLASS }
}

/// A row that is no more.
pub(crate) fn forget(slot: u64) -> Batch {
    Batch { puts: Vec::new(), deletes: vec![key(slot)], high: 0, class: CLASS }
}

fn key(seq: u64) -> Key {
    Key { space: Space::Inbox, class: CLASS, seq }
}
