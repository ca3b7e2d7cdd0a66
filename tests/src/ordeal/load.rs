//! The people: guards who press, screens that show, officers who take alarms, and who looks at the lamps.
//!
//! Invariant: everything that they see is written down at the moment at which they see it, by threads of its own, so that what one
//! of them does never delays what another is shown.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::casework;
use super::chronicle::{Chronicle, is_settled};
use super::history::{Answer, Observer, Press, Show, Taking};
use crate::lab::{Dice, http, sse};

/// How long after an alarm was shown an officer takes it.
const THINKS: Duration = Duration::from_millis(200);
/// How long after a stream has ended it is opened again.
const AGAIN: Duration = Duration::from_millis(30);
/// How long a guard waits before the same press is tried again.
const PRESS_AGAIN: Duration = Duration::from_millis(50);
/// Buttons and zones of a school.
const BUTTONS: u64 = 8;
const ZONES: u64 = 5;

/// Where the people of a region stand: bases of APIs, in the order in which the chronicle counts them.
pub struct Posts {
    /// Relays, one for each school.
    pub relays: Vec<String>,
    /// Seats.
    pub seats: Vec<String>,
}

/// The people at work. They go home when it is dropped.
pub struct Load {
    pressing: Arc<AtomicBool>,
    watching: Arc<AtomicBool>,
    complaints: Arc<Mutex<Vec<String>>>,
    streams: Streams,
    guards: Vec<JoinHandle<()>>,
    others: Vec<JoinHandle<()>>,
}

/// The open streams, to be closed when all is over.
type Streams = Arc<Mutex<Vec<sse::Closer>>>;

impl Load {
    /// Sets them to work: `rate` presses a second, evenly over the schools.
    #[must_use]
    pub fn start(chronicle: &Chronicle, posts: &Posts, rate: f64, seed: u64) -> Self {
        let mut load = Self {
            pressing: Arc::new(AtomicBool::new(true)),
            watching: Arc::new(AtomicBool::new(true)),
            complaints: Arc::default(),
            streams: Arc::default(),
            guards: Vec::new(),
            others: Vec::new(),
        };
        for (seat, base) in posts.seats.iter().enumerate() {
            load.staff(chronicle, seat, base);
        }
        for (relay, base) in posts.relays.iter().enumerate() {
            let (chronicle, base, watching) = (chronicle.clone(), base.clone(), load.watching.clone());
            let streams = load.streams.clone();
            load.others.push(thread::spawn(move || lamps(&chronicle, relay, &base, &watching, &streams)));
        }
        let pause = Duration::from_secs_f64(posts.relays.len() as f64 / rate);
        for (school, base) in posts.relays.iter().enumerate() {
            let (chronicle, base, pressing) = (chronicle.clone(), base.clone(), load.pressing.clone());
            let (complaints, dice) = (load.complaints.clone(), Dice::new(seed ^ (school as u64 + 1)));
            let guard = move || guard(&chronicle, school, &base, pause, dice, &pressing, &complaints);
            load.guards.push(thread::spawn(guard));
        }
        load
    }

    /// A screen, who tells the station that it shows something, and an officer.
    fn staff(&mut self, chronicle: &Chronicle, seat: usize, base: &str) {
        let (to_screen, shown) = mpsc::channel();
        let (to_officer, alarms) = mpsc::channel();
        let (watching, streams) = (self.watching.clone(), self.streams.clone());
        let (book, place) = (chronicle.clone(), base.to_owned());
        let screen = move || screen(&book, seat, &place, &watching, &streams, &[to_screen, to_officer]);
        self.others.push(thread::spawn(screen));
        let (place, complaints) = (base.to_owned(), self.complaints.clone());
        self.others.push(thread::spawn(move || says_displayed(&place, &shown, &complaints)));
        let (to_colleague, cases) = mpsc::channel();
        let (book, place, complaints) = (chronicle.clone(), base.to_owned(), self.complaints.clone());
        self.others.push(thread::spawn(move || officer(&book, seat, &place, &alarms, &to_colleague, &complaints)));
        let (book, place) = (chronicle.clone(), base.to_owned());
        self.others.push(thread::spawn(move || casework::work(&book, seat, &place, &cases)));
    }

    /// Nobody presses from now on. Comes back when the last press was answered.
    pub fn stop_pressing(&mut self) {
        self.pressing.store(false, Ordering::Relaxed);
        for guard in self.guards.drain(..) {
            guard.join().unwrap();
        }
    }

    /// Answers that nobody should have been given, so far.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap().clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.pressing.store(false, Ordering::Relaxed);
        self.watching.store(false, Ordering::Relaxed);
        self.streams.lock().unwrap_or_else(std::sync::PoisonError::into_inner).iter().for_each(sse::Closer::close);
        for thread in self.guards.drain(..).chain(self.others.drain(..)) {
            // Its own panic, if there was one, has been printed.
            let _ = thread.join();
        }
    }
}

/// Presses on. Each press has a key of its own and is tried again until it is kept: a guard does not give up.
fn guard(
    chronicle: &Chronicle,
    school: usize,
    base: &str,
    pause: Duration,
    mut dice: Dice,
    pressing: &AtomicBool,
    complaints: &Mutex<Vec<String>>,
) {
    let mut next = Instant::now();
    for number in 0_u64.. {
        // Between half a pause and one and a half.
        next = (next + pause / 2 + dice.time(pause)).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
        if !pressing.load(Ordering::Relaxed) {
            return;
        }
        // Each press is judged by itself, so none repeats another one.
        let button = format!("button-{}-{number}", dice.below(BUTTONS));
        let zone = format!("zone-{}", dice.below(ZONES));
        let body = json!({ "kind": "panic", "device": button, "zone": zone, "note": format!("press {number}") });
        let key = format!("{school}-{number}");
        let at = chronicle.now();
        loop {
            match http::post(base, "/v1/events", &[("Idempotency-Key", &key)], &body) {
                Ok(answer) if answer.status == 202 => {
                    let id = answer.json()["id"].as_str().unwrap().to_owned();
                    chronicle.open().presses.push(Press { id, school, at, kept: chronicle.now() });
                    break;
                }
                Ok(answer) => complaints.lock().unwrap().push(format!("a press at school {school}: {answer:?}")),
                Err(why) => complaints.lock().unwrap().push(format!("a press at school {school}: {why}")),
            }
            thread::sleep(PRESS_AGAIN);
        }
    }
}

/// Follows a seat's stream, and passes on what is new to whoever acts on it.
fn screen(
    chronicle: &Chronicle,
    seat: usize,
    base: &str,
    watching: &AtomicBool,
    streams: &Streams,
    people: &[Sender<(String, Instant)>],
) {
    let (mut last, mut known) = (None, BTreeSet::new());
    // Shown without a number yet: the station may show them again to whoever resumes.
    let mut passing = BTreeSet::new();
    while watching.load(Ordering::Relaxed) {
        let path = if last.is_none() { "/v1/events?from_seq=1" } else { "/v1/events" };
        if let Some(mut stream) = open(base, path, last, watching, streams) {
            let resumed = last;
            let mut here = BTreeSet::new();
            while let Ok(message) = stream.next_message() {
                let at = chronicle.now();
                let body = message.json();
                match message.name.as_str() {
                    "alarm" => {
                        let id = body["id"].as_str().unwrap().to_owned();
                        let had = message.id.is_some_and(|seq| Some(seq) <= resumed);
                        let again = !here.insert(id.clone()) || had || (known.contains(&id) && !passing.contains(&id));
                        if message.id.is_none() {
                            passing.insert(id.clone())
                        } else {
                            passing.remove(&id)
                        };
                        last = last.max(message.id);
                        chronicle.open().shows.push(Show { id: id.clone(), seat, at, again });
                        hear(chronicle, at, seat, &body);
                        if known.insert(id.clone()) {
                            people.iter().for_each(|person| drop(person.send((id.clone(), Instant::now()))));
                        }
                    }
                    "durable" => last = last.max(message.id),
                    "stage" => {
                        let id = body["id"].as_str().unwrap().to_owned();
                        chronicle.heard(at, Observer::Seat(seat), &id, &[body]);
                    }
                    _ => {}
                }
            }
        }
        thread::sleep(AGAIN);
    }
}

fn hear(chronicle: &Chronicle, at: Duration, seat: usize, event: &Value) {
    let (id, receipts) = (event["id"].as_str().unwrap(), event["receipts"].as_array().unwrap());
    chronicle.heard(at, Observer::Seat(seat), id, receipts);
}

/// Opens a stream that is closed when all is over.
fn open(base: &str, path: &str, last: Option<u64>, watching: &AtomicBool, streams: &Streams) -> Option<sse::Stream> {
    let stream = sse::Stream::open(base, path, last).ok()?;
    // In this order: whoever ends it all says so before it closes what is listed.
    streams.lock().unwrap().push(stream.closer());
    watching.load(Ordering::Relaxed).then_some(stream)
}

fn says_displayed(base: &str, shown: &Receiver<(String, Instant)>, complaints: &Mutex<Vec<String>>) {
    while let Ok((id, _)) = shown.recv() {
        post_until(&format!("{base} shows {id}"), complaints, || {
            http::post(base, &format!("/v1/events/{id}/displayed"), &[], &json!({}))
        });
    }
}

/// Tries until there is an answer, a few times.
fn post_until(
    what: &str,
    complaints: &Mutex<Vec<String>>,
    mut ask: impl FnMut() -> std::io::Result<http::Answer>,
) -> Option<http::Answer> {
    let mut said = String::new();
    for _ in 0..5 {
        match ask() {
            Ok(answer) if answer.status < 500 => return Some(answer),
            Ok(answer) => said = format!("{answer:?}"),
            Err(why) => said = why.to_string(),
        }
        thread::sleep(PRESS_AGAIN);
    }
    complaints.lock().unwrap().push(format!("{what}: {said}"));
    None
}

/// Takes some of what its screen shows, a moment later.
fn officer(
    chronicle: &Chronicle,
    seat: usize,
    base: &str,
    alarms: &Receiver<(String, Instant)>,
    colleague: &Sender<(String, Instant)>,
    complaints: &Mutex<Vec<String>>,
) {
    while let Ok((id, shown)) = alarms.recv() {
        let colleagues = chronicle.open().answering.iter().find(|seats| seats.contains(&seat)).cloned();
        if !takes(&id, seat, &colleagues.unwrap_or_default()) {
            continue;
        }
        thread::sleep((shown + THINKS).saturating_duration_since(Instant::now()));
        let at = chronicle.now();
        let body = json!({ "officer": format!("0{seat}4"), "note": "on our way" });
        let answer = post_until(&format!("{base} takes {id}"), complaints, || {
            http::post(base, &format!("/v1/events/{id}/ack"), &[], &body)
        });
        let answer = match answer {
            Some(answer) if answer.status == 200 => Answer::Noted,
            Some(answer) if answer.error() == "taken" => Answer::Taken,
            other => Answer::Unknown(format!("{other:?}")),
        };
        if answer == Answer::Noted {
            // Whoever does not wait for it has gone home.
            drop(colleague.send((id.clone(), Instant::now())));
        }
        chronicle.open().takings.push(Taking { id, seat, at, answer });
    }
}

/// Who of the `seats` that see an alarm takes it, by the id alone, so that nobody has to ask the other: one in five is taken by all at
/// once, one in five by nobody.
fn takes(id: &str, seat: usize, seats: &[usize]) -> bool {
    let mut dice = Dice::new(sum_of(id));
    match dice.below(5) {
        0 => true,
        1 => false,
        _ => *dice.pick(seats) == seat,
    }
}

/// A number of this alarm, the same for everybody.
pub(super) fn sum_of(id: &str) -> u64 {
    id.bytes().fold(14_695_981_039_346_656_037, |sum, byte| {
        // FNV-1a.
        (sum ^ u64::from(byte)).wrapping_mul(1_099_511_628_211)
    })
}

/// Follows a relay: its lamps, and what it hears of stages.
fn lamps(chronicle: &Chronicle, relay: usize, base: &str, watching: &AtomicBool, streams: &Streams) {
    while watching.load(Ordering::Relaxed) {
        if let Some(mut stream) = open(base, "/v1/events/stream", None, watching, streams) {
            // What was missed while there was no stream.
            if let Ok(list) = http::get(base, "/v1/events?limit=1000") {
                list.json()["events"].as_array().unwrap().iter().for_each(|event| look(chronicle, relay, event));
            }
            while let Ok(message) = stream.next_message() {
                look(chronicle, relay, &message.json());
            }
        }
        thread::sleep(AGAIN);
    }
}

/// An event as its relay shows it.
pub(super) fn look(chronicle: &Chronicle, relay: usize, event: &Value) {
    let at = chronicle.now();
    let (Some(id), Some(receipts)) = (event["id"].as_str(), event["receipts"].as_array()) else { return };
    chronicle.heard(at, Observer::Relay(relay), id, receipts);
    let mut history = chronicle.open();
    // A relay whose event is finished asks no more: an owner by the record says as well that the record has it.
    let says_stored = |receipt: &Value| receipt["stage"] == "stored" || receipt["stage"] == "acknowledged";
    if receipts.iter().any(|receipt| says_stored(receipt) && is_settled(receipt)) {
        history.stored.entry(id.to_owned()).or_insert(at);
    }
    history.end.lamps.insert(id.to_owned(), event["lamp"].as_str().unwrap_or_default().to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_are_taken_by_one_by_all_or_by_nobody() {
        let mut counts = [0; 3];
        for number in 0..1_000 {
            let id = format!("alarm-{number}");
            counts[[0, 1].into_iter().filter(|seat| takes(&id, *seat, &[0, 1])).count()] += 1;
        }
        let [nobody, one, both] = counts;
        assert!(nobody > 100 && both > 100 && one > 400, "{counts:?}");
    }
}
