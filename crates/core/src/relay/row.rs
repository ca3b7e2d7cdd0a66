//! What a relay keeps of one event on disk.

use crate::event::Sealed;
use crate::receipt::Receipt;

/// One event in the outbox, with all that its relay knows of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayRow {
    /// Its place in the outbox: rises with each event over the life of the relay, never reused. With the class it is the key.
    pub slot: u64,
    /// The event.
    pub sealed: Sealed,
    /// The key by which the presser may repeat the request without raising a second event.
    pub idempotency_key: Option<String>,
    /// The stages it has reached, in the order in which the relay heard of them.
    pub receipts: Vec<Receipt>,
}
