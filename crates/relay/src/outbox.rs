//! The outbox on disk: rows of [`RelayRow`] in class lanes.
//!
//! Invariant: a row's key is its class and slot, so a lane is read in the order in which its events were raised.

use std::ops::ControlFlow;

use crate::commands;
use huxiao_core::Class;
use huxiao_core::relay::{RelayRow, Write};
use huxiao_store::{BLACK_BOX_VALUE_BYTES, Batch, Key, Put, Space, Store, StoreError};

/// What the outbox held when the relay stopped. A row that this version cannot read is left where it is and said.
pub(crate) fn read(store: &Store) -> Result<Vec<RelayRow>, StoreError> {
    let mut rows = Vec::new();
    store.scan(Space::Outbox, |key, value| {
        match huxiao_wire::decode_relay_row(value) {
            Ok(row) => rows.push(row),
            Err(error) => {
                tracing::error!(%key, %error, "a row of the outbox cannot be read by this version; it stays on disk");
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(rows)
}

/// A change of the outbox as the store takes it.
pub(crate) fn batch(write: &Write) -> Batch {
    match write {
        Write::Put(row) => {
            let class = row.sealed.event.class;
            // The black box holds what was pressed, once; what became of it stands in the database and with the region.
            let first = !row.receipts.iter().any(|receipt| receipt.stage >= huxiao_core::Stage::Received);
            let value = huxiao_wire::encode_relay_row(row);
            let black_box = class == Class::P0 && first && value.len() <= BLACK_BOX_VALUE_BYTES;
            let put = Put { key: key(class, row.slot), value, black_box };
            Batch { puts: vec![put], deletes: Vec::new(), high: row.slot, class }
        }
        Write::Forget(class, slot) => {
            Batch { puts: Vec::new(), deletes: vec![key(*class, *slot)], high: *slot, class: *class }
        }
        Write::PutCommand(row) => commands::put(row),
        Write::ForgetCommand(slot) => commands::forget(*slot),
    }
}

fn key(class: Class, slot: u64) -> Key {
    Key { space: Space::Outbox, class, seq: slot }
}
