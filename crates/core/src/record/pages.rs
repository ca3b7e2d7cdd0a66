//! Paging through all events that a region has, those of the record and those that have left it for the archive, while events come
//! in and leave.
//!
//! An event enters the record at an index and leaves it with an archive number. Both only rise, and are the same on all nodes. So a
//! [`Cursor`] is one of each: what has been looked at are the archived events up to its number, and all events up to its index
//! wherever they are.
//! 1. Archived events above the number come first, save those up to the index: they were looked at while the record had them.
//! 2. When there is none of them left, the record's events above the index come, in the order of their indexes.
//!
//! Invariant: whatever comes in or leaves between two pages, each event that stays in record or archive is looked at once, and none
//! twice. It holds because the record is read only at a moment at which no archived event is left to be looked at.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::event::{Class, Kind, Mode};
use crate::id::{RecordId, SchoolId};
use crate::record::entry::Entry;
use crate::record::state::RecordState;
use crate::time::WallTime;

/// How far somebody has paged. Printed and parsed as `ARCHIVED-INDEX-RECORD`; the default is the beginning of any record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// The record that was paged through.
    pub record: Option<RecordId>,
    /// Archived events up to this number have been looked at.
    pub archived: u64,
    /// Events up to this index have been looked at.
    pub index: u64,
}

/// Why there is no page behind a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// Give what an answer gave.
    #[error("{0:?} is no place to go on from: give what the last answer had as next")]
    Shape(String),
    /// The region has been restored from a backup since.
    #[error("the region has begun another record since this place was given: begin again")]
    OtherRecord,
    /// This node has applied less of the log than the one that gave the cursor.
    #[error("this node has not caught up with the one that gave this place yet: ask again, or ask another node")]
    Behind,
}

impl Cursor {
    /// Whether the event was looked at while the record had it.
    #[must_use]
    pub fn is_past(&self, entry: &Entry) -> bool {
        entry.index <= self.index
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-", self.archived, self.index)?;
        self.record.iter().flat_map(|record| record.0).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let read = || {
            let mut parts = text.split('-');
            let (archived, index, record) = (parts.next()?, parts.next()?, parts.next()?);
            let number = |text: &str| {
                text.bytes().all(|byte| byte.is_ascii_digit()).then_some(text).and_then(|text| text.parse().ok())
            };
            let record = if record.is_empty() { None } else { Some(record_id(record)?) };
            parts.next().is_none().then_some(Self { record, archived: number(archived)?, index: number(index)? })
        };
        read().ok_or_else(|| CursorError::Shape(text.chars().take(80).collect()))
    }
}

fn record_id(text: &str) -> Option<RecordId> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let mut id = [0; 16];
    if !rest.is_empty() || pairs.len() != id.len() {
        return None;
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(RecordId(id))
}

/// Which events are wanted. An empty list wants all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Those that came to the region at this time or later, by the clock of the node that they came to. The time of the press is by a
    /// relay's clock, and what a dead clock raises must not be missing in any account.
    pub since: Option<WallTime>,
    /// Those that came before this time.
    pub until: Option<WallTime>,
    /// Their classes.
    pub classes: Vec<Class>,
    /// Their kinds.
    pub kinds: Vec<Kind>,
    /// Their schools.
    pub schools: Vec<SchoolId>,
    /// Their modes.
    pub modes: Vec<Mode>,
}

impl EventFilter {
    /// Whether the event is wanted.
    #[must_use]
    pub fn matches(&self, entry: &Entry) -> bool {
        fn among<T: PartialEq>(list: &[T], one: &T) -> bool {
            list.is_empty() || list.contains(one)
        }
        let event = &entry.admission.sealed.event;
        self.touches(entry.admission.at, entry.admission.at)
            && among(&self.classes, &event.class)
            && among(&self.modes, &event.mode)
            && among(&self.kinds, &event.kind)
            && among(&self.schools, event.school())
    }

    /// Whether an event that came between `earliest` and `latest` (both included) may be wanted.
    #[must_use]
    pub fn touches(&self, earliest: WallTime, latest: WallTime) -> bool {
        self.since.is_none_or(|since| latest >= since) && self.until.is_none_or(|until| earliest < until)
    }
}

/// What to look at behind a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// First the archived events with numbers above the cursor's and up to this one.
    Archive {
        /// The cursor, with this record's id.
        from: Cursor,
        /// The number of the last event that has left the record.
        upto: u64,
    },
    /// These events of the record.
    Record(Slice),
}

/// Some events of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Those that are wanted, in the order of their indexes.
    pub entries: Vec<Arc<Entry>>,
    /// Behind all that has been looked at.
    pub next: Cursor,
    /// Whether there is more to look at.
    pub more: bool,
}

impl RecordState {
    /// What is to be looked at behind `cursor`: of the record no more than `looks` events, and no more than `limit` of them given.
    ///
    /// # Errors
    /// [`CursorError::OtherRecord`], [`CursorError::Behind`].
    pub fn page(&self, cursor: Cursor, filter: &EventFilter, looks: usize, limit: usize) -> Result<Page, CursorError> {
        if cursor != Cursor::default() && cursor.record != self.record() {
            return Err(CursorError::OtherRecord);
        }
        if cursor.archived > self.archived() || cursor.index > self.last_index() {
            return Err(CursorError::Behind);
        }
        let mut next = Cursor { record: self.record(), ..cursor };
        if next.archived < self.archived() {
            return Ok(Page::Archive { from: next, upto: self.archived() });
        }
        let (mut entries, mut looked, mut left) = (Vec::new(), 0, self.admitted_after(cursor.index));
        while looked < looks && entries.len() < limit {
            let Some(entry) = left.next() else {
                return Ok(Page::Record(Slice { entries, next, more: false }));
            };
            looked += 1;
            next.index = entry.index;
            if filter.matches(entry) {
                entries.push(entry.clone());
            }
        }
        let more = left.next().is_some();
        Ok(Page::Record(Slice { entries, next, more }))
    }

    /// The record's events admitted after `index`, in order.
    fn admitted_after(&self, index: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let from = index.saturating_add(1);
        // Each event stands in one of them.
        let lists = [self.unfinished.range(from..), self.closed.range(from), self.open.range(from)];
        let mut lists = lists.map(Iterator::peekable);
        let ids = std::iter::from_fn(move || {
            let heads = lists.each_mut().map(|list| list.peek().map(|(index, _)| **index));
            let first = heads.iter().enumerate().filter(|(_, head)| head.is_some()).min_by_key(|(_, head)| **head)?.0;
            lists[first].next().map(|(_, id)| id)
        });
        ids.filter_map(|id| self.entries.get(id))
    }
}
