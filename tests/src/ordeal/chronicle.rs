//! The one book in which all threads of a run write down what they see, and its clock.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use serde_json::Value;

use super::history::{At, History, Observer, Word};

/// A shared history. Clones write into the same.
#[derive(Clone)]
pub struct Chronicle {
    began: Instant,
    history: Arc<Mutex<History>>,
}

impl Chronicle {
    /// A history that begins now with these seats, of which `answering` names those of each school.
    #[must_use]
    pub fn begin(seats: Vec<String>, answering: Vec<Vec<usize>>) -> Self {
        let history = History { seats, answering, ..History::default() };
        Self { began: Instant::now(), history: Arc::new(Mutex::new(history)) }
    }

    /// The time of this run.
    #[must_use]
    pub fn now(&self) -> At {
        self.began.elapsed()
    }

    /// The history, to be written or read.
    pub fn open(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap()
    }

    /// Notes whom `receipts`, as an API shows them, name as the owner of `id` for good. What a seat says of itself is left out: it
    /// says so before anybody else knows.
    pub fn heard(&self, at: At, by: Observer, id: &str, receipts: &[Value]) {
        let mut history = self.open();
        let own = if let Observer::Seat(seat) = by { history.seats.get(seat).cloned() } else { None };
        let Some(owner) = settled_owner(receipts).filter(|owner| own.as_deref() != Some(*owner)) else { return };
        let known = |word: &Word| word.by == by && word.id == id && word.owner == owner;
        // The last words are the likeliest.
        if !history.words.iter().rev().any(known) {
            history.words.push(Word { id: id.to_owned(), at, by, owner: owner.to_owned() });
        }
    }
}

/// Whether what a receipt says stands for good. One that says nothing of its standing does.
#[must_use]
pub fn is_settled(receipt: &Value) -> bool {
    receipt["standing"].as_str().is_none_or(|standing| standing == "settled")
}

/// The seat that owns an alarm for good, by its receipts.
#[must_use]
pub fn settled_owner(receipts: &[Value]) -> Option<&str> {
    let owning = |receipt: &&Value| receipt["stage"] == "acknowledged" && is_settled(receipt);
    receipts.iter().find(owning).and_then(|receipt| receipt["by"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_settled_and_not_said_of_oneself_is_a_word() {
        let chronicle = Chronicle::begin(vec!["station/s1/desk-1".into(), "station/s1/desk-2".into()], Vec::new());
        let ack = |by: &str, standing: &str| json!({ "stage": "acknowledged", "by": by, "standing": standing });
        let hear = |by, receipts: &[Value]| chronicle.heard(At::ZERO, by, "a", receipts);
        hear(Observer::Relay(0), &[ack("station/s1/desk-1", "provisional")]);
        hear(Observer::Seat(0), &[ack("station/s1/desk-1", "settled")]);
        hear(Observer::Relay(0), &[json!({ "stage": "displayed", "by": "station/s1/desk-1" })]);
        assert!(chronicle.open().words.is_empty());
        let both = [ack("station/s1/desk-1", "assisting"), ack("station/s1/desk-2", "settled")];
        hear(Observer::Seat(0), &both);
        hear(Observer::Seat(0), &both);
        hear(Observer::Relay(1), &[json!({ "stage": "acknowledged", "by": "station/s1/desk-1" })]);
        let words: Vec<_> = chronicle.open().words.iter().map(|word| (word.by, word.owner.clone())).collect();
        let expected = [(Observer::Seat(0), "station/s1/desk-2"), (Observer::Relay(1), "station/s1/desk-1")];
        assert_eq!(words, expected.map(|(by, owner)| (by, owner.to_owned())));
    }
}
