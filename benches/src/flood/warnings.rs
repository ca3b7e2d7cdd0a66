//! Recognition systems that warn of one person after the other, through the API of relays.
//!
//! Invariants: warnings are open-loop, each due at its moment whatever became of those before; each is of another person, so that none is
//! joined to another one for being of the same; what the relay answered to each is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::error::{BenchError, Trying};
use crate::figures::Samples;
use crate::http::{Answer, Connection};

/// Systems that warn at once, each by a connection of its own.
pub(super) const SYSTEMS: u16 = 4;
/// The list that the warnings are of, for which the plan has a threshold.
const LIST: &str = "wanted";
/// The threshold in thousandths, and by how much scores are above it at the most.
const THRESHOLD: u64 = 800;
const ABOVE: u64 = 200;

/// What the plan has at each school, so that its relay judges every warning.
pub(super) fn rules() -> String {
    format!("\n[[school.person_list]]\nlist = \"{LIST}\"\nthreshold = 0.{THRESHOLD}\n")
}

/// What relays answered.
#[derive(Default)]
pub(super) struct Tally {
    /// Taken as events of their own.
    pub(super) apart: u64,
    /// Taken into the count of a later one.
    pub(super) joined: u64,
    /// Held back by the plan: too unsure, or somebody of whom it is not told.
    pub(super) withheld: u64,
    /// Told to come later (429).
    pub(super) slowed: u64,
    /// Anything else, such as no room.
    pub(super) refused: u64,
    /// From the moment at which a warning was due to the answer.
    pub(super) took: Samples,
}

impl Tally {
    /// Those that the relays answer for.
    pub(super) fn taken(&self) -> u64 {
        self.apart + self.joined
    }

    /// All that were answered.
    pub(super) fn answered(&self) -> u64 {
        self.taken() + self.withheld + self.slowed + self.refused
    }

    /// Takes another one's counts in.
    pub(super) fn add(&mut self, other: &Self) {
        self.apart += other.apart;
        self.joined += other.joined;
        self.withheld += other.withheld;
        self.slowed += other.slowed;
        self.refused += other.refused;
        self.took.add(&other.took);
    }

    fn count(&mut self, answer: &Answer) -> Result<(), BenchError> {
        match answer.status {
            202 if answer.json("the relay")?["joined"] == true => self.joined += 1,
            202 => self.apart += 1,
            200 if answer.json("the relay")?["withheld"].is_string() => self.withheld += 1,
            429 => self.slowed += 1,
            _ => self.refused += 1,
        }
        Ok(())
    }
}

/// Warnings that are under way.
pub(super) struct Warnings {
    began: Instant,
    stop: Arc<AtomicBool>,
    systems: Vec<JoinHandle<Result<Tally, BenchError>>>,
}

impl Warnings {
    /// Begins to warn, so often a second in all, at these relays in turn.
    ///
    /// # Errors
    /// A relay does not answer.
    pub(super) fn begin(relays: &[&str], per_second: u32) -> Result<Self, BenchError> {
        let (stop, mut systems) = (Arc::new(AtomicBool::new(false)), Vec::new());
        let period = Duration::from_secs(1) * u32::from(SYSTEMS) / per_second.max(1);
        let began = Instant::now();
        for (number, relay) in (0..SYSTEMS).zip(relays.iter().cycle()) {
            let (to, stop) = (Connection::open(relay)?, stop.clone());
            let first = began + period * u32::from(number) / u32::from(SYSTEMS);
            let work = move || warn(to, first, period, &stop);
            systems.push(thread::Builder::new().name("warnings".into()).spawn(work).trying("start a thread")?);
        }
        Ok(Self { began, stop, systems })
    }

    /// Ends them: what was answered, and in what time.
    ///
    /// # Errors
    /// A relay broke a connection.
    pub(super) fn end(self) -> Result<(Tally, Duration), BenchError> {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally::default();
        for system in self.systems {
            let broken = |_| Err(BenchError::answer("a recognition system", "it broke off"));
            tally.add(&system.join().unwrap_or_else(broken)?);
        }
        Ok((tally, self.began.elapsed()))
    }
}

fn warn(mut to: Connection, first: Instant, period: Duration, stop: &AtomicBool) -> Result<Tally, BenchError> {
    static PERSONS: AtomicU64 = AtomicU64::new(1);
    let (mut tally, mut due) = (Tally::default(), first);
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let body = warning(PERSONS.fetch_add(1, Ordering::Relaxed));
        tally.count(&to.ask("POST", "/v1/events", &body)?)?;
        tally.took.record(due.elapsed());
        due += period;
    }
    Ok(tally)
}

/// The warning of the person of this number.
fn warning(number: u64) -> String {
    let score = format!("0.{}", THRESHOLD + number % ABOVE);
    let details = json!({ "person": format!("p-{number:08}"), "list": LIST, "score": score, "distance": "12", "camera": "gate-1" });
    json!({ "kind": "person", "device": "camera-1", "zone": "gate", "details": details }).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_warning_is_of_somebody_else_and_as_sure_as_the_plan_asks() {
        let read = |number| serde_json::from_str::<Value>(&warning(number)).unwrap();
        for number in [0, 1, 199, 200, 12_345] {
            let score: f64 = read(number)["details"]["score"].as_str().unwrap().parse().unwrap();
            assert!((0.8..1.0).contains(&score), "{score}");
        }
        assert_ne!(read(1)["details"]["person"], read(201)["details"]["person"]);
    }

    #[test]
    fn answers_are_counted_by_what_they_say() {
        let mut tally = Tally::default();
        for (status, body) in [
            (202, r#"{"id":"a","repeated":false,"joined":false}"#),
            (202, r#"{"id":"a","repeated":true,"joined":true}"#),
            (200, r#"{"id":null,"withheld":"muted","message":""}"#),
            (429, ""),
            (503, ""),
        ] {
            tally.count(&Answer { status, body: body.into() }).unwrap();
        }
        assert_eq!([tally.apart, tally.joined, tally.withheld, tally.slowed, tally.refused], [1; 5]);
        assert_eq!((tally.taken(), tally.answered()), (2, 5));
        assert!(tally.count(&Answer { status: 202, body: b"x".to_vec() }).is_err());
    }
}
