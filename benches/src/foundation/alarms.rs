//! Presses at the relay's API, and what becomes of each: seen at the station's stream and at the relay's.
//!
//! Invariant: an id that the relay has given out is remembered until [`Alarms::audit`] has found it, once, in the station's inbox.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::loopback::Pace;
use super::probe::ROW_BYTES;
use crate::error::{BenchError, Trying};
use crate::figures::Samples;
use crate::http::Connection;
use crate::lab::Lab;
use crate::sse::{Message, Stream};

/// How long one stage of one alarm may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ids that one fault names.
const NAMED: usize = 5;

/// The times of one round.
#[derive(Default)]
pub(crate) struct Round {
    /// From the press to the station's stream, on its disk.
    pub(crate) inbox: Samples,
    /// From the press to `stored` at the relay's stream.
    pub(crate) stored: Samples,
    /// From the press to the answer, on the relay's disk.
    pub(crate) kept: Samples,
    /// From the press to the last of these three.
    pub(crate) all: Samples,
    /// From the officer's answer at the station to `acknowledged` at the relay's stream.
    pub(crate) answer: Samples,
    /// From the relay's clock at the press to the broker's at `stored`: one clock here.
    pub(crate) stamped_stored: Samples,
    /// From the relay's clock at the press to the station's when it came there, on its way to the disk.
    pub(crate) stamped_arrived: Samples,
    /// From the relay's clock at the press to the station's at `delivered`.
    pub(crate) stamped_delivered: Samples,
}

impl Round {
    /// No times.
    pub(crate) fn new() -> Self {
        Self::default()
    }
}

/// Which stream a message is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Relay,
    Station,
}

type Heard = (Source, Result<Message, BenchError>);

/// A presser, an officer and their screens, each with a kept connection.
pub(crate) struct Alarms {
    presser: Connection,
    officer: Connection,
    heard: Receiver<Heard>,
    watch: Watch,
    ids: Vec<String>,
}

/// What the streams have said so far.
#[derive(Default)]
struct Watch {
    /// How often each alarm was shown.
    shown: BTreeMap<String, u32>,
    /// Alarms shown without being on disk, by number.
    early: BTreeMap<u64, String>,
    /// When an alarm was on the station's disk.
    inbox: BTreeMap<String, Instant>,
    /// How long an alarm took to the station, by the stamps of relay and station.
    arrived: BTreeMap<String, Duration>,
    /// When the relay said `stored`.
    stored: BTreeMap<String, Instant>,
    /// When it said `acknowledged`, and the event then.
    acknowledged: BTreeMap<String, (Instant, Value)>,
    /// Alarms that were shown before the station's disk had them.
    shown_early: u64,
    /// The station's stream has begun.
    live: bool,
}

impl Alarms {
    /// Opens the connections and both streams.
    ///
    /// # Errors
    /// A node does not answer.
    pub(crate) fn open(lab: &Lab) -> Result<Self, BenchError> {
        let (tell, heard) = mpsc::channel();
        let station = Stream::open(lab.station(), "/v1/events")?;
        let relay = Stream::open(lab.relay(), "/v1/events/stream")?;
        follow(Source::Station, station, tell.clone())?;
        follow(Source::Relay, relay, tell)?;
        let (presser, officer) = (Connection::open(lab.relay())?, Connection::open(lab.station())?);
        let mut alarms = Self { presser, officer, heard, watch: Watch::default(), ids: Vec::new() };
        // The station says when its stream has begun; the relay's begins before it answers.
        alarms.listen("the station's stream begins", Instant::now(), |watch| watch.live.then_some(()))?;
        Ok(alarms)
    }

    /// How many were pressed.
    pub(crate) fn pressed(&self) -> usize {
        self.ids.len()
    }

    /// Presses up to `count` times within `limit` at the pace of the bench, one at a time, and takes each alarm as an officer.
    ///
    /// # Errors
    /// One did not come in time, or a node failed. The times before it are in `round`.
    pub(crate) fn round(&mut self, count: u32, limit: Duration, round: &mut Round) -> Result<(), BenchError> {
        let mut pace = Pace::begin(count, limit);
        while pace.wait() {
            let body = press(self.ids.len());
            self.one(&body, round)?;
        }
        Ok(())
    }

    fn one(&mut self, body: &str, round: &mut Round) -> Result<(), BenchError> {
        let began = Instant::now();
        let answer = self.presser.ask("POST", "/v1/events", body)?;
        let kept = Instant::now();
        let id = answer.json("the relay")?["id"].as_str().map(str::to_owned);
        let Some(id) = id.filter(|_| answer.status == 202) else {
            let answer = format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body));
            return Err(BenchError::answer("the relay to a press", answer));
        };
        self.ids.push(id.clone());
        let what = format!("{id} on the station's disk, and stored at the relay");
        let both = |watch: &Watch| Some((*watch.inbox.get(&id)?, *watch.stored.get(&id)?));
        let (inbox, stored) = self.listen(&what, began, both)?;
        let all = kept.max(inbox).max(stored);
        let times =
            [(&mut round.inbox, inbox), (&mut round.stored, stored), (&mut round.kept, kept), (&mut round.all, all)];
        for (samples, at) in times {
            samples.record(at.saturating_duration_since(began));
        }
        self.take(&id, round)
    }

    /// The officer takes it; waits until the button knows.
    fn take(&mut self, id: &str, round: &mut Round) -> Result<(), BenchError> {
        let began = Instant::now();
        let answer = self.officer.ask("POST", &format!("/v1/events/{id}/ack"), "{\"officer\":\"014\"}")?;
        if answer.status != 200 {
            return Err(BenchError::answer(format!("the station to the answer to {id}"), answer.status.to_string()));
        }
        let what = format!("{id} acknowledged at the relay");
        let (at, event) = self.listen(&what, began, |watch| watch.acknowledged.get(id).cloned())?;
        round.answer.record(at.saturating_duration_since(began));
        let since = |stage: &str| between(&event["raised_at"], &event["stages"][stage]);
        since("stored").into_iter().for_each(|took| round.stamped_stored.record(took));
        since("delivered").into_iter().for_each(|took| round.stamped_delivered.record(took));
        self.watch.arrived.remove(id).into_iter().for_each(|took| round.stamped_arrived.record(took));
        self.watch.forget(id);
        Ok(())
    }

    /// Listens to both streams until `found` finds something.
    fn listen<T>(&mut self, what: &str, began: Instant, found: impl Fn(&Watch) -> Option<T>) -> Result<T, BenchError> {
        loop {
            if let Some(found) = found(&self.watch) {
                return Ok(found);
            }
            let left = PATIENCE.saturating_sub(began.elapsed());
            let late = |_| BenchError::Late { what: what.to_owned(), seconds: PATIENCE.as_secs() };
            let (source, message) = self.heard.recv_timeout(left).map_err(late)?;
            self.watch.take(source, &message?)?;
        }
    }

    /// Holds the station's inbox against what was pressed. Each fault in words.
    pub(crate) fn audit(&mut self, lab: &Lab) -> Vec<String> {
        let began = Instant::now();
        let inbox = loop {
            let late = began.elapsed() > PATIENCE;
            match inbox(lab.station()) {
                Ok(inbox) if late || self.ids.iter().all(|id| inbox.contains_key(id)) => break inbox,
                Err(error) if late => return vec![format!("the station's inbox cannot be read: {error}")],
                Ok(_) | Err(_) => thread::sleep(Duration::from_millis(100)),
            }
        };
        let mut faults = Vec::new();
        // Whatever the streams said meanwhile.
        while let Ok((source, Ok(message))) = self.heard.try_recv() {
            faults.extend(self.watch.take(source, &message).err().map(|error| error.to_string()));
        }
        faults.extend(judge(&self.ids, &inbox, &self.watch.shown));
        faults
    }

    /// Alarms that were shown before the station's disk had them.
    pub(crate) fn early(&self) -> u64 {
        self.watch.shown_early
    }
}

/// Every pressed alarm must be in the inbox, once, and have been shown, once.
fn judge(pressed: &[String], inbox: &BTreeMap<String, u32>, shown: &BTreeMap<String, u32>) -> Vec<String> {
    let count = |map: &BTreeMap<String, u32>, id: &String| map.get(id).copied().unwrap_or(0);
    let mut faults = Vec::new();
    let mut find = |what: &str, is: &dyn Fn(&String) -> bool| {
        let found: Vec<&str> = pressed.iter().filter(|id| is(id)).map(String::as_str).collect();
        if !found.is_empty() {
            let named = &found[..found.len().min(NAMED)];
            faults.push(format!("{} of {} alarms {what}: {}", found.len(), pressed.len(), named.join(" ")));
        }
    };
    find("were lost: not in the station's inbox", &|id| count(inbox, id) == 0);
    find("stand in the station's inbox twice", &|id| count(inbox, id) > 1);
    find("were never shown", &|id| count(shown, id) == 0);
    find("were shown twice", &|id| count(shown, id) > 1);
    faults
}

/// How often each id stands in a station's inbox.
fn inbox(base: &str) -> Result<BTreeMap<String, u32>, BenchError> {
    let mut connection = Connection::open(base)?;
    let (mut rows, mut from) = (BTreeMap::new(), 1);
    loop {
        let page = connection.get(&format!("/v1/events?from_seq={from}&limit=500"))?;
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for id in events.iter().filter_map(|event| event["id"].as_str()) {
            *rows.entry(id.to_owned()).or_insert(0) += 1;
        }
        match page["next_seq"].as_u64() {
            Some(next) if next > from && !events.is_empty() => from = next,
            _ => return Ok(rows),
        }
    }
}

impl Watch {
    fn take(&mut self, source: Source, message: &Message) -> Result<(), BenchError> {
        let data: Value = serde_json::from_str(&message.data)
            .map_err(|error| BenchError::answer(format!("the {source:?}'s stream"), error.to_string()))?;
        let id = || data["id"].as_str().unwrap_or_default().to_owned();
        match (source, message.name.as_str()) {
            (Source::Station, "live") => self.live = true,
            (Source::Station, "alarm") => {
                *self.shown.entry(id()).or_insert(0) += 1;
                let took = between(&data["raised_at"], &data["received_at"]);
                self.arrived.extend(took.map(|took| (id(), took)));
                if data["durable"] == true {
                    self.inbox.insert(id(), message.at);
                } else {
                    self.shown_early += 1;
                    self.early.insert(data["seq"].as_u64().unwrap_or(0), id());
                }
            }
            (Source::Station, "durable") => {
                let id = self.early.remove(&data["seq"].as_u64().unwrap_or(0));
                self.inbox.extend(id.map(|id| (id, message.at)));
            }
            (Source::Relay, "stage") => match data["change"]["stage"].as_str() {
                Some("stored") => drop(self.stored.insert(id(), message.at)),
                Some("acknowledged") => drop(self.acknowledged.insert(id(), (message.at, data.clone()))),
                _ => {}
            },
            (Source::Relay, "refused" | "not_kept") => {
                return Err(BenchError::answer("the relay", format!("{} for {}", message.name, id())));
            }
            _ => {}
        }
        Ok(())
    }

    /// Lets go of an alarm's times.
    fn forget(&mut self, id: &str) {
        self.inbox.remove(id);
        self.arrived.remove(id);
        self.stored.remove(id);
        self.acknowledged.remove(id);
    }
}

/// Reads a stream on a thread of its own, which ends with the stream.
fn follow(source: Source, mut stream: Stream, tell: Sender<Heard>) -> Result<(), BenchError> {
    let read = move || {
        loop {
            let message = stream.next();
            let over = message.is_err();
            if tell.send((source, message)).is_err() || over {
                return;
            }
        }
    };
    thread::Builder::new().name(format!("{source:?}")).spawn(read).trying("start a thread")?;
    Ok(())
}

/// The body of the press of this number: exactly [`ROW_BYTES`] bytes. No two are alike: equal ones at this pace would be a button
/// that sticks, and one alarm.
pub(crate) fn press(number: usize) -> String {
    let body = |note: &str| json!({ "kind": "panic", "device": "button-1", "zone": "gate", "note": note }).to_string();
    let width = ROW_BYTES - body("").len();
    body(&format!("{number:0width$}"))
}

/// From one RFC 3339 time to another; nothing if one is missing or they are in the wrong order.
fn between(from: &Value, to: &Value) -> Option<Duration> {
    let parse = |value: &Value| value.as_str()?.parse::<jiff::Timestamp>().ok();
    Duration::try_from(parse(to)?.duration_since(parse(from)?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_press_has_the_size_that_the_other_side_has() {
        assert_eq!([press(0).len(), press(12_345).len()], [ROW_BYTES; 2]);
        let parsed: Value = serde_json::from_str(&press(7)).unwrap();
        assert_eq!(parsed["kind"], "panic");
    }

    #[test]
    fn what_is_lost_or_doubled_is_said() {
        let ids: Vec<String> = ["a", "b", "c"].map(str::to_owned).to_vec();
        let map =
            |counts: &[(&str, u32)]| counts.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        let once = map(&[("a", 1), ("b", 1), ("c", 1)]);
        assert_eq!(judge(&ids, &once, &once), Vec::<String>::new());
        let lost = judge(&ids, &map(&[("a", 1), ("c", 1)]), &once);
        assert!(lost.len() == 1 && lost[0].contains("1 of 3 alarms were lost") && lost[0].ends_with(": b"), "{lost:?}");
        let twice = judge(&ids, &once, &map(&[("a", 2), ("b", 1)]));
        assert!(twice.len() == 2 && twice[0].contains("never shown") && twice[1].contains("shown twice"), "{twice:?}");
        assert_eq!(judge(&ids, &map(&[("a", 2), ("b", 2), ("c", 2)]), &once).len(), 1);
    }

    #[test]
    fn streams_are_understood() {
        let mut watch = Watch::default();
        let mut take = |source, name: &str, data: Value| {
            watch.take(source, &Message { name: name.into(), data: data.to_string(), at: Instant::now() })
        };
        take(Source::Station, "live", json!({})).unwrap();
        take(Source::Station, "alarm", json!({ "id": "a", "seq": 1, "durable": true })).unwrap();
        take(Source::Station, "alarm", json!({ "id": "b", "seq": 2, "durable": false })).unwrap();
        take(Source::Relay, "stage", json!({ "id": "a", "change": { "stage": "stored" } })).unwrap();
        take(Source::Relay, "stage", json!({ "id": "a", "change": { "stage": "received" } })).unwrap();
        take(Source::Relay, "stage", json!({ "id": "a", "change": { "stage": "acknowledged" } })).unwrap();
        assert!(take(Source::Relay, "not_kept", json!({ "id": "a" })).is_err());
        assert!(watch.live && watch.inbox.contains_key("a") && !watch.inbox.contains_key("b"));
        assert_eq!((watch.shown["a"], watch.shown["b"], watch.shown_early), (1, 1, 1));
        assert!(watch.stored.contains_key("a") && watch.acknowledged.contains_key("a"));
        let durable = Message { name: "durable".into(), data: json!({ "seq": 2 }).to_string(), at: Instant::now() };
        watch.take(Source::Station, &durable).unwrap();
        assert!(watch.inbox.contains_key("b"));
        watch.forget("a");
        assert!(watch.stored.is_empty() && watch.acknowledged.is_empty() && watch.inbox.len() == 1);
    }

    #[test]
    fn times_between_stamps() {
        let (early, late) = (json!("2026-03-01T08:30:00.000100Z"), json!("2026-03-01T08:30:00.001350Z"));
        assert_eq!(between(&early, &late), Some(Duration::from_micros(1_250)));
        assert_eq!(between(&late, &early), None);
        assert_eq!(between(&early, &Value::Null), None);
    }
}
