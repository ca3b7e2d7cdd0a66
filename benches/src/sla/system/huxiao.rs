//! Huxiao on the line: the relay at the school; broker, station and an officer at the police side.
//!
//! Invariant: what the station's stream showed is held against its inbox at the end, so that a shown alarm that is not kept, or is kept
//! twice, is said.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Carrier;
use crate::error::{BenchError, Trying};
use crate::http::Connection;
use crate::lab::{Lab, Site};
use crate::place::Place;
use crate::sla::line::Line;
use crate::sla::presses::{alarm, number};
use crate::sla::tally::Arrival;
use crate::sse::Stream;

/// Where the broker listens at its end of the line.
const BROKER_PORT: u16 = 4_433;
/// A connection that has rested for longer may just be closed by the node, which gives idle ones up after ten seconds.
const RESTED: Duration = Duration::from_secs(5);
/// Connections of the button that are open before the first press.
const READY: usize = 4;
const PRESS: &str = "/v1/events";

/// A running lab with a presser and an officer.
pub(crate) struct Huxiao {
    pub(crate) lab: Lab,
    presser: Presser,
    /// Alarms that the station showed before its disk had them.
    early: Arc<AtomicU64>,
}

impl Huxiao {
    /// Starts it. What the station shows is told to `arrivals` and taken by an officer at once.
    ///
    /// # Errors
    /// The program failed.
    pub(crate) fn start(
        line: &Line,
        program: &Path,
        scratch: &Path,
        arrivals: Sender<Arrival>,
    ) -> Result<Self, BenchError> {
        let broker = (line.far_ip(), BROKER_PORT).into();
        let site =
            Site { school: Place::Inside(line.near()), police: Place::Inside(line.far()), brokers: vec![broker] };
        let lab = Lab::start(program, scratch, &site)?;
        let early = Arc::new(AtomicU64::new(0));
        line.far().enter(|| watch(lab.station(), arrivals, Arc::clone(&early)))??;
        let presser = line.near().enter(|| Presser::open(lab.relay(), READY))??;
        Ok(Self { lab, presser, early })
    }
}

impl Carrier for Huxiao {
    fn wake(&mut self) {
        self.presser.wake();
    }

    fn press(&mut self, number: u32) {
        self.presser.press(&alarm(number));
    }

    fn audit(&mut self, line: &Line, pressed: u32) -> Vec<String> {
        let mut words = self.presser.refusals();
        let early = self.early.load(Ordering::Relaxed);
        if early > 0 {
            words.push(format!(
                "{early} alarms were shown before the station's disk had them, as they should on a slow disk"
            ));
        }
        match line.far().enter(|| inbox(self.lab.station())) {
            Ok(Ok((inbox, others))) => {
                let count = |is: &dyn Fn(u32) -> bool| {
                    (1..=pressed).filter(|number| is(inbox.get(number).copied().unwrap_or(0))).count()
                };
                if others > 0 {
                    words.push(format!("{others} other events are in the station's inbox"));
                }
                let (none, twice) = (count(&|rows| rows == 0), count(&|rows| rows > 1));
                if none > 0 {
                    words.push(format!("{none} alarms are not in the station's inbox"));
                }
                if twice > 0 {
                    words.push(format!("{twice} alarms stand in the station's inbox twice"));
                }
            }
            Ok(Err(error)) => words.push(format!("the station's inbox cannot be read: {error}")),
            Err(error) => words.push(error.to_string()),
        }
        words
    }
}

/// Presses over kept connections: an answer waits for the relay's disk, and the next press not for the answer.
pub(crate) struct Presser {
    base: String,
    rested: Arc<Mutex<Vec<(Connection, Instant)>>>,
    asked: Sender<Connection>,
    refusals: Receiver<String>,
}

impl Presser {
    /// Opens `ready` connections to the relay. To be called where the relay is.
    ///
    /// # Errors
    /// The relay does not answer.
    pub(crate) fn open(base: &str, ready: usize) -> Result<Self, BenchError> {
        let opened: Result<Vec<_>, BenchError> =
            (0..ready).map(|_| Ok((Connection::open(base)?, Instant::now()))).collect();
        let rested = Arc::new(Mutex::new(opened?));
        let (asked, answers) = mpsc::channel::<Connection>();
        let (refuse, refusals) = mpsc::channel();
        let back = Arc::clone(&rested);
        let read = move || {
            for mut connection in answers {
                let refusal = match connection.finish(PRESS) {
                    Ok(answer) if answer.status == 202 => {
                        back.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
                        None
                    }
                    Ok(answer) => Some(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body))),
                    Err(error) => Some(error.to_string()),
                };
                // Nobody asks any more: the run is over.
                refusal.into_iter().for_each(|refusal| drop(refuse.send(refusal)));
            }
        };
        thread::Builder::new().name("answers".into()).spawn(read).trying("start a thread")?;
        Ok(Self { base: base.to_owned(), rested, asked, refusals })
    }

    /// Opens a fresh connection to the relay, as a panel does that keeps one up. To be called where the relay is.
    fn wake(&mut self) {
        // One that cannot be opened now is opened at the press.
        if let Ok(connection) = Connection::open(&self.base) {
            self.rested.lock().unwrap_or_else(PoisonError::into_inner).push((connection, Instant::now()));
        }
    }

    /// Presses. To be called where the relay is.
    pub(crate) fn press(&mut self, body: &str) {
        let rested = self.rested.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let fresh = rested.filter(|(_, since)| since.elapsed() < RESTED).map(|(connection, _)| Ok(connection));
        let sent = fresh.unwrap_or_else(|| Connection::open(&self.base)).and_then(|mut connection| {
            connection.begin("POST", PRESS, "application/json", body)?;
            Ok(connection)
        });
        // What could not be handed over never arrives, and is counted as lost. The reader of answers lives as long as this.
        let _ = sent.map(|connection| self.asked.send(connection));
    }

    /// What the relay said instead of taking a press.
    pub(crate) fn refusals(&mut self) -> Vec<String> {
        let refusals: Vec<String> = self.refusals.try_iter().collect();
        let first = refusals.first().map(|first| format!("the relay refused {} presses: {first}", refusals.len()));
        first.into_iter().collect()
    }
}

/// Follows the station's stream. To be called where the station is.
fn watch(base: &str, arrivals: Sender<Arrival>, early: Arc<AtomicU64>) -> Result<(), BenchError> {
    let mut stream = Stream::open(base, PRESS)?;
    let mut officer = Officer::start(base)?;
    while stream.next()?.name != "live" {}
    let read = move || {
        while let Ok(message) = stream.next() {
            let alarm = (message.name == "alarm").then(|| serde_json::from_str::<Value>(&message.data).ok()).flatten();
            let Some(alarm) = alarm else { continue };
            let text = |member: &str| alarm[member].as_str().unwrap_or_default();
            let Some(number) = number(text("note")) else { continue };
            if arrivals.send(Arrival { number, at: message.at }).is_err() {
                return;
            }
            if alarm["durable"] != true {
                early.fetch_add(1, Ordering::Relaxed);
            }
            officer.take(text("id"));
        }
    };
    thread::Builder::new().name("station".into()).spawn(read).trying("start a thread")?;
    Ok(())
}

/// Takes every alarm as soon as it is there, so that its receipts travel too.
struct Officer(Sender<String>);

impl Officer {
    /// To be called where the station is.
    ///
    /// # Errors
    /// The system gave no thread.
    fn start(base: &str) -> Result<Self, BenchError> {
        let (take, taken) = mpsc::channel::<String>();
        let base = base.to_owned();
        let work = move || {
            let mut kept: Option<(Connection, Instant)> = None;
            for id in taken {
                let fresh = kept.take().filter(|(_, since)| since.elapsed() < RESTED);
                let connection = fresh.map_or_else(|| Connection::open(&base), |(connection, _)| Ok(connection));
                // An answer that fails leaves the alarm open, which costs only bytes of the system itself.
                kept = connection.ok().and_then(|mut connection| {
                    connection.ask("POST", &format!("{PRESS}/{id}/ack"), "{\"officer\":\"014\"}").ok()?;
                    Some((connection, Instant::now()))
                });
            }
        };
        thread::Builder::new().name("officer".into()).spawn(work).trying("start a thread")?;
        Ok(Self(take))
    }

    /// Takes the alarm of this id.
    fn take(&mut self, id: &str) {
        // The thread ends with this only.
        let _ = self.0.send(id.to_owned());
    }
}

/// How often each alarm stands in the station's inbox, and how many other events do. To be called where the station is.
fn inbox(base: &str) -> Result<(BTreeMap<u32, u32>, u64), BenchError> {
    let mut connection = Connection::open(base)?;
    let (mut rows, mut others, mut from) = (BTreeMap::new(), 0, 1);
    loop {
        let page = connection.get(&format!("{PRESS}?from_seq={from}&limit=500"))?;
        let events = page["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for event in events {
            match number(event["note"].as_str().unwrap_or_default()) {
                Some(number) => *rows.entry(number).or_insert(0) += 1,
                None => others += 1,
            }
        }
        match page["next_seq"].as_u64() {
            Some(next) if next > from && !events.is_empty() => from = next,
            _ => return Ok((rows, others)),
        }
    }
}
