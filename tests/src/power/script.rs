//! What a victim commits: for each producer an endless script of batches, as the role's own code makes them.
//!
//! Keys, classes, black-box flags and encodings are those of the relay's outbox, the broker's record and the station's inbox.
//! Each producer has numbers of its own, so after a cut its rows must be those after so many of its steps, whatever the others
//! did.
//!
//! Invariant: role, profile, seed and producer give the script; whoever judges the victim runs the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};

use huxiao_core::{Admission, Class, Command, EventId, InboxRow, Receipt, RelayRow, Rng, Stage, limits};
use huxiao_store::{BLACK_BOX_VALUE_BYTES, Batch, Key, Put, Space};

use super::rows;

/// Producers of a victim.
pub const PRODUCERS: u64 = 6;
/// Commits of one producer that may be under way.
pub const WINDOW: u64 = 4;
/// Rows of one producer at the most.
const LIVE: usize = 24;

/// Whose store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// An outbox.
    Relay,
    /// A record.
    Broker,
    /// An inbox.
    Station,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Relay, Self::Broker, Self::Station];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["relay", "broker", "station"][self as usize]
    }
}

/// What a victim's life is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// Short rows.
    Small,
    /// Long notes, so that the database's segments are filled and reused.
    Large,
    /// Long notes and alarms only, on a disk that is nearly full, so that the database is made smaller again and again.
    Tight,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 3] = [Self::Small, Self::Large, Self::Tight];

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ["small", "large", "tight"][self as usize]
    }

    pub(super) fn is_large(self) -> bool {
        self != Self::Small
    }
}

/// The producer whose row this is.
#[must_use]
pub fn owner(key: Key) -> u64 {
    key.seq % PRODUCERS
}

/// What a row's value is recognised by.
#[must_use]
pub fn hash(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
}

/// An event that the producer still has rows of.
#[derive(Clone)]
enum Item {
    Outbox(RelayRow),
    Inbox(InboxRow),
    /// An event in the record: its class, and the indexes of all commands about it.
    Case {
        event: EventId,
        class: Class,
        indexes: Vec<u64>,
        notes: usize,
    },
}

/// The script of one producer.
#[derive(Clone)]
pub struct Script {
    role: Role,
    profile: Profile,
    producer: u64,
    rng: Rng,
    steps: u64,
    numbers: u64,
    high: u64,
    items: Vec<Item>,
    rows: BTreeMap<Key, u64>,
}

impl Script {
    /// The script from its beginning.
    #[must_use]
    pub fn new(role: Role, profile: Profile, seed: u64, producer: u64) -> Self {
        let mut mixed = Rng::new(seed ^ producer.rotate_left(48));
        let rng = Rng::new(mixed.next_u64());
        Self { role, profile, producer, rng, steps: 0, numbers: 0, high: 0, items: Vec::new(), rows: BTreeMap::new() }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The highest sequence number in them.
    #[must_use]
    pub fn high(&self) -> u64 {
        self.high
    }

    /// The rows after them: each with the hash of its value.
    #[must_use]
    pub fn rows(&self) -> &BTreeMap<Key, u64> {
        &self.rows
    }

    /// Goes on until `steps` are taken.
    #[must_use]
    pub fn advanced(mut self, steps: u64) -> Self {
        while self.steps < steps {
            self.step();
        }
        self
    }

    /// The next batch.
    pub fn step(&mut self) -> Batch {
        let batch = self.make();
        self.steps += 1;
        self.high = self.high.max(batch.high);
        for key in &batch.deletes {
            self.rows.remove(key);
        }
        for put in &batch.puts {
            self.rows.insert(put.key, hash(&put.value));
        }
        batch
    }

    fn make(&mut self) -> Batch {
        let first = self.steps == 0;
        let roll = self.rng.below(100);
        if let Some(batch) = (first || roll < 4).then(|| self.fact()).flatten() {
            return batch;
        }
        if self.items.is_empty() || (roll < 50 && self.items.len() < LIVE) {
            return self.add();
        }
        let at = usize::try_from(self.rng.below(self.items.len() as u64)).unwrap();
        if roll < 85 && self.notes(at) < Stage::ALL.len() { self.note(at) } else { self.forget(at) }
    }

    /// A small fact of the node itself, if the role has any: the record's name, or a broker node's mark.
    fn fact(&mut self) -> Option<Batch> {
        let (class, value) = match self.role {
            Role::Broker if self.producer == 1 && self.steps == 0 => (Class::P0, self.rng.bytes16().to_vec()),
            // A nearly full disk takes no marks.
            Role::Station if self.profile != Profile::Tight => {
                let node = rows::broker(self.producer);
                let json = format!(r#"{{"node":"{node}","record":"{:032x}","index":{}}}"#, 9, self.steps);
                (Class::P3, json.into_bytes())
            }
            _ => return None,
        };
        let key = Key { space: Space::Meta, class, seq: self.producer };
        let put = Put { key, value, black_box: false };
        Some(Batch { puts: vec![put], deletes: Vec::new(), high: 0, class })
    }

    /// A number that no other producer gives.
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers * PRODUCERS + self.producer
    }

    fn add(&mut self) -> Batch {
        let seq = self.number();
        let (rng, profile) = (&mut self.rng, self.profile);
        let sealed = rows::event(rng, profile, seq);
        match self.role {
            Role::Relay => {
                let idempotency_key = (rng.below(3) == 0).then(|| format!("press-{seq}"));
                let row = RelayRow { slot: seq, sealed, idempotency_key, receipts: Vec::new() };
                self.items.push(Item::Outbox(row.clone()));
                outbox(&row)
            }
            Role::Station => {
                let (trail, received_at) = (rows::trail(rng), rows::time(rng));
                let (receipts, unconfirmed) = (Vec::new(), BTreeSet::from([Stage::Delivered]));
                let row = InboxRow {
                    seq,
                    sealed,
                    trail,
                    received_at,
                    receipts,
                    unconfirmed,
                    ownership: None,
                    case: None,
                    signature: None,
                };
                self.items.push(Item::Inbox(row.clone()));
                inbox(&row, true)
            }
            Role::Broker => {
                let (event, class) = (sealed.event.id, sealed.event.class);
                let (trail, at) = (rows::trail(rng), rows::time(rng));
                let stations = vec![rows::station()];
                let by = rows::broker(1);
                self.items.push(Item::Case { event, class, indexes: vec![seq], notes: 0 });
                record(
                    seq,
                    class,
                    &Command::Admit(Admission { sealed, trail, at, by, stations, owed: false, joins: false }),
                )
            }
        }
    }

    fn notes(&self, at: usize) -> usize {
        match &self.items[at] {
            Item::Outbox(row) => row.receipts.len(),
            Item::Inbox(row) => row.receipts.len(),
            Item::Case { notes, .. } => *notes,
        }
    }

    /// One more receipt: an overwritten row, or in the record one more row.
    fn note(&mut self, at: usize) -> Batch {
        let stage = Stage::ALL[self.notes(at)];
        let number = if self.role == Role::Broker { self.number() } else { 0 };
        let (rng, profile) = (&mut self.rng, self.profile);
        let mut receipt = |event| rows::receipt(rng, profile, event, stage);
        match &mut self.items[at] {
            Item::Outbox(row) => {
                row.receipts.push(receipt(row.sealed.event.id));
                outbox(row)
            }
            Item::Inbox(row) => {
                row.receipts.push(receipt(row.sealed.event.id));
                row.unconfirmed = if row.unconfirmed.contains(&stage) { BTreeSet::new() } else { [stage].into() };
                inbox(row, false)
            }
            Item::Case { event, indexes, notes, .. } => {
                let said: Receipt = receipt(*event);
                indexes.push(number);
                *notes += 1;
                record(number, Class::P0, &Command::Note(said))
            }
        }
    }

    fn forget(&mut self, at: usize) -> Batch {
        let removal = |deletes, high, class| Batch { puts: Vec::new(), deletes, high, class };
        match self.items.swap_remove(at) {
            Item::Outbox(row) => {
                let class = row.sealed.event.class;
                removal(vec![Key { space: Space::Outbox, class, seq: row.slot }], row.slot, class)
            }
            Item::Inbox(row) => {
                let key = Key { space: Space::Inbox, class: row.sealed.event.class, seq: row.seq };
                removal(vec![key], 0, Class::P0)
            }
            Item::Case { class, indexes, .. } => {
                debug_assert!(class <= Class::P4);
                removal(indexes.into_iter().map(record_key).collect(), 0, Class::P0)
            }
        }
    }
}

fn outbox(row: &RelayRow) -> Batch {
    let class = row.sealed.event.class;
    let first = !row.receipts.iter().any(|receipt| receipt.stage >= Stage::Received);
    put(Key { space: Space::Outbox, class, seq: row.slot }, huxiao_wire::encode_relay_row(row), first, class, class)
}

fn inbox(row: &InboxRow, first: bool) -> Batch {
    let class = row.sealed.event.class;
    let urgency = if row.owner().is_some() { Class::P0 } else { class };
    put(Key { space: Space::Inbox, class, seq: row.seq }, huxiao_wire::encode_inbox_row(row), first, class, urgency)
}

fn record_key(index: u64) -> Key {
    Key { space: Space::Record, class: Class::P0, seq: index }
}

fn record(index: u64, class: Class, command: &Command) -> Batch {
    let first = matches!(command, Command::Admit(_));
    put(record_key(index), huxiao_wire::encode_command(command), first, class, class)
}

fn put(key: Key, value: Vec<u8>, first: bool, class: Class, urgency: Class) -> Batch {
    assert!(value.len() <= limits::STORE_VALUE_BYTES, "an encoder made a row that no store takes");
    let black_box = class == Class::P0 && first && value.len() <= BLACK_BOX_VALUE_BYTES;
    Batch { puts: vec![Put { key, value, black_box }], deletes: Vec::new(), high: key.seq, class: urgency }
}
