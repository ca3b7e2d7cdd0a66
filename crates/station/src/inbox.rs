//! The inbox on disk: rows of [`InboxRow`] in class lanes, and how far each broker node says that the inbox reaches.
//!
//! Invariants:
//! * A row's key is its class and its number, so no two events share a row.
//! * Marks are believed only while every row that they vouch for is there. After any loss they are removed, before a broker
//!   node can be told of one: a node without a mark gives everything again, and what is known is dropped by its id.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use huxiao_core::station::{InboxRow, Write};
use huxiao_core::{Class, NodeName, RecordId, Resume};
use huxiao_store::{BLACK_BOX_VALUE_BYTES, Batch, CommitError, Key, Loss, LossKind, Put, Space, Store, StoreError};
use serde::{Deserialize, Serialize};

/// The class of marks: of use, but nothing that a nearly full disk should take before an alarm.
const MARK_CLASS: Class = Class::P3;

/// What the inbox held when the station stopped.
pub(crate) struct Kept {
    /// Its rows.
    pub(crate) rows: Vec<InboxRow>,
    /// Rows that this version cannot read. They stay where they are.
    pub(crate) unreadable: usize,
    /// The highest number that any row has.
    pub(crate) high: u64,
    /// The marks and where they stand.
    pub(crate) marks: Marks,
}

/// Reads the inbox.
pub(crate) fn read(store: &Store) -> Result<Kept, StoreError> {
    let mut kept = Kept { rows: Vec::new(), unreadable: 0, high: 0, marks: Marks::read(store)? };
    store.scan(Space::Inbox, |key, value| {
        kept.high = kept.high.max(key.seq);
        match huxiao_wire::decode_inbox_row(value) {
            Ok(row) if row.seq == key.seq => kept.rows.push(row),
            Ok(row) => {
                kept.unreadable += 1;
                tracing::error!(%key, alarm_id = %row.sealed.event.id, "a row of the inbox stands in the wrong place; it stays on disk");
            }
            Err(error) => {
                kept.unreadable += 1;
                tracing::error!(%key, %error, "a row of the inbox cannot be read by this version; it stays on disk");
            }
        }
        ControlFlow::Continue(())
    })?;
    Ok(kept)
}

/// Whether rows may be missing that a mark vouches for.
pub(crate) fn has_gaps(kept: &Kept, losses: &[Loss]) -> bool {
    kept.unreadable > 0 || losses.iter().any(|loss| loss.kind != LossKind::BlackBox)
}

/// A row as the store takes it. `first` is whether no earlier write of it has come to the disk.
pub(crate) fn put(row: &InboxRow, first: bool) -> Batch {
    let class = row.sealed.event.class;
    let value = huxiao_wire::encode_inbox_row(row);
    // The black box holds what came, once; what became of it stands in the database and with the region.
    let black_box = class == Class::P0 && first && value.len() <= BLACK_BOX_VALUE_BYTES;
    let put = Put { key: key(class, row.seq), value, black_box };
    // What an officer did is never shed, whatever the alarm was.
    let urgency = if row.owner().is_some() { Class::P0 } else { class };
    Batch { puts: vec![put], deletes: Vec::new(), high: row.seq, class: urgency }
}

/// A change of the inbox as the store takes it.
pub(crate) fn batch(write: &Write, first: bool, marks: &mut Marks) -> Batch {
    match write {
        Write::Put(row) => put(row, first),
        Write::Forget(class, seq) => removal(vec![key(*class, *seq)]),
        Write::Mark(node, resume) => {
            let put = Put { key: marks.key(node), value: MarkRow::new(node, *resume).encode(), black_box: false };
            Batch { puts: vec![put], deletes: Vec::new(), high: 0, class: MARK_CLASS }
        }
    }
}

fn removal(deletes: Vec<Key>) -> Batch {
    Batch { puts: Vec::new(), deletes, high: 0, class: Class::P0 }
}

fn key(class: Class, seq: u64) -> Key {
    Key { space: Space::Inbox, class, seq }
}

/// How far the inbox reaches by each broker node's count, and the row in which that stands: one a node, numbered as they come.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    places: BTreeMap<NodeName, u64>,
    resumes: BTreeMap<NodeName, Resume>,
    next: u64,
}

impl Marks {
    fn read(store: &Store) -> Result<Self, StoreError> {
        let mut marks = Self::default();
        store.scan(Space::Meta, |key, value| {
            marks.next = marks.next.max(key.seq + 1);
            match MarkRow::decode(value) {
                Some((node, resume)) => {
                    marks.places.insert(node.clone(), key.seq);
                    marks.resumes.insert(node, resume);
                }
                None => tracing::warn!(%key, "a mark cannot be read: its broker node will give everything again"),
            }
            ControlFlow::Continue(())
        })?;
        Ok(marks)
    }

    /// What the machine is told of them.
    pub(crate) fn resumes(&self) -> BTreeMap<NodeName, Resume> {
        self.resumes.clone()
    }

    /// Removes all of them for good.
    pub(crate) async fn forget(&mut self, store: &Store) -> Result<(), CommitError> {
        let deletes: Vec<Key> = self.places.values().map(|place| mark_key(*place)).collect();
        self.places.clear();
        self.resumes.clear();
        if deletes.is_empty() {
            return Ok(());
        }
        let (done, gone) = tokio::sync::oneshot::channel();
        store.commit(removal(deletes), move |result| {
            // The other end waits below.
            let _ = done.send(result);
        });
        gone.await.unwrap_or(Err(CommitError::Closed))
    }

    fn key(&mut self, node: &NodeName) -> Key {
        let place = *self.places.entry(node.clone()).or_insert_with(|| {
            self.next += 1;
            self.next - 1
        });
        mark_key(place)
    }
}

fn mark_key(seq: u64) -> Key {
    Key { space: Space::Meta, class: MARK_CLASS, seq }
}

/// A mark on disk, as JSON: it is written seldom, and a person can read it.
#[derive(Serialize, Deserialize)]
struct MarkRow {
    /// `broker/<region>/<node>`.
    node: String,
    /// The record's id, 32 hexadecimal digits.
    record: String,
    /// The mark's index in it.
    index: u64,
}

impl MarkRow {
    fn new(node: &NodeName, resume: Resume) -> Self {
        let record = format!("{:032x}", u128::from_be_bytes(resume.record.0));
        Self { node: node.to_string(), record, index: resume.index }
    }

    fn encode(&self) -> Vec<u8> {
        // Two strings and a number: nothing that JSON cannot hold.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn decode(bytes: &[u8]) -> Option<(NodeName, Resume)> {
        let row: Self = serde_json::from_slice(bytes).ok()?;
        if row.record.len() != 32 {
            return None;
        }
        let record = RecordId(u128::from_str_radix(&row.record, 16).ok()?.to_be_bytes());
        Some((row.node.parse().ok()?, Resume { record, index: row.index }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_what_is_none_is_refused() {
        let node: NodeName = "broker/r1/b1".parse().unwrap();
        for (record, index) in [([0; 16], 0), ([0xab; 16], u64::MAX), ([1; 16], 7)] {
            let resume = Resume { record: RecordId(record), index };
            assert_eq!(MarkRow::decode(&MarkRow::new(&node, resume).encode()), Some((node.clone(), resume)));
        }
        for bad in [
            "",
            "{}",
            "null",
            r#"{"node":"broker/r1/b1","record":"00","index":1}"#,
            r#"{"node":"b1","record":"00000000000000000000000000000000","index":1}"#,
            r#"{"node":"broker/r1/b1","record":"0000000000000000000000000000000g","index":1}"#,
            r#"{"node":"broker/r1/b1","record":"00000000000000000000000000000000","index":-1}"#,
        ] {
            assert_eq!(MarkRow::decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn each_node_has_one_place_for_its_mark() {
        let mut marks = Marks::default();
        let (one, two): (NodeName, NodeName) = ("broker/r1/b1".parse().unwrap(), "broker/r1/b2".parse().unwrap());
        let first = marks.key(&one);
        assert_ne!(first, marks.key(&two));
        assert_eq!(first, marks.key(&one));
    }
}
