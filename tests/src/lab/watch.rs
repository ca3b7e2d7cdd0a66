//! A duty room's screen: follows a station's stream, comes back by itself after the last number it saw, and shows each alarm once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http;
use super::sse::{Closer, Stream};

/// What a screen does with what it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Looks on.
    Passive,
    /// Tells the station that it shows each alarm.
    Shows,
}

#[derive(Default)]
struct Seen {
    /// Ids in the order in which they were first shown.
    order: Vec<String>,
    /// Which event has which number.
    by_seq: BTreeMap<u64, String>,
    known: BTreeSet<String>,
    /// What broke the rules.
    faults: Vec<String>,
    stages: Vec<Value>,
    last: Option<u64>,
    closer: Option<Closer>,
    ended: bool,
    live: u64,
}

/// A screen that follows a station until it is dropped.
pub struct Watch {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Follows the station at `base` from its first row on.
    #[must_use]
    pub fn start(base: &str, manner: Manner) -> Self {
        let seen: Arc<(Mutex<Seen>, Condvar)> = Arc::default();
        let (shared, base) = (seen.clone(), base.to_owned());
        let thread = std::thread::spawn(move || follow(&shared, &base, manner));
        Self { seen, thread: Some(thread) }
    }

    /// Ids in the order in which they were first shown.
    #[must_use]
    pub fn shown(&self) -> Vec<String> {
        self.seen.0.lock().unwrap().order.clone()
    }

    /// Waits until all of `ids` have been shown.
    pub fn wait_shown(&self, ids: &[String], within: Duration) {
        let began = Instant::now();
        let mut seen = self.seen.0.lock().unwrap();
        while !ids.iter().all(|id| seen.known.contains(id)) {
            let left = within.saturating_sub(began.elapsed());
            let missing: Vec<_> = ids.iter().filter(|id| !seen.known.contains(*id)).collect();
            assert!(!left.is_zero(), "{} of {} were never shown: {missing:?}", missing.len(), ids.len());
            seen = self.seen.1.wait_timeout(seen, left).unwrap().0;
        }
    }

    /// How often the stream has said that its history is told.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.seen.0.lock().unwrap().live
    }

    /// The stage messages so far.
    #[must_use]
    pub fn stages(&self) -> Vec<Value> {
        self.seen.0.lock().unwrap().stages.clone()
    }

    /// Nothing was shown twice under two numbers, no number was used for two events.
    pub fn assert_clean(&self) {
        let seen = self.seen.0.lock().unwrap();
        assert!(seen.faults.is_empty(), "{:#?}", seen.faults);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        {
            let mut seen = self.seen.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            seen.ended = true;
            if let Some(closer) = &seen.closer {
                closer.close();
            }
        }
        if let Some(thread) = self.thread.take() {
            // Its own panic, if there was one, has been printed.
            let _ = thread.join();
        }
    }
}

fn follow(shared: &(Mutex<Seen>, Condvar), base: &str, manner: Manner) {
    while !shared.0.lock().unwrap().ended {
        let last = shared.0.lock().unwrap().last;
        let path = if last.is_none() { "/v1/events?from_seq=1" } else { "/v1/events" };
        // A node that is down is what some tests are about: it will be back.
        if let Ok(mut stream) = Stream::open(base, path, last) {
            {
                let mut seen = shared.0.lock().unwrap();
                if seen.ended {
                    return;
                }
                seen.closer = Some(stream.closer());
            }
            while let Ok(message) = stream.next_message() {
                let show = take(&mut shared.0.lock().unwrap(), &message);
                shared.1.notify_all();
                if let Some(id) = show.filter(|_| manner == Manner::Shows) {
                    // If the node is gone before it hears, it shows the event again, and is told again.
                    let _ = http::post(base, &format!("/v1/events/{id}/displayed"), &[], &json!({}));
                }
            }
        }
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Notes a message. The id of an alarm that the screen is to show.
fn take(seen: &mut Seen, message: &super::sse::Message) -> Option<String> {
    match message.name.as_str() {
        "live" => seen.live += 1,
        "stage" => seen.stages.push(message.json()),
        "alarm" => {
            let id = message.json()["id"].as_str().unwrap().to_owned();
            if let Some(seq) = message.id {
                let before = seen.by_seq.iter().find(|(_, known)| **known == id).map(|(seq, _)| *seq);
                if let Some(before) = before {
                    seen.faults.push(format!("{id} was sent with number {seq} after it had been sent with {before}"));
                }
                if let Some(other) = seen.by_seq.insert(seq, id.clone()).filter(|other| *other != id) {
                    seen.faults.push(format!("number {seq} is {id} and was {other}"));
                }
                seen.last = seen.last.max(Some(seq));
            }
            if seen.known.insert(id.clone()) {
                seen.order.push(id.clone());
            }
            return Some(id);
        }
        _ => {}
    }
    None
}
