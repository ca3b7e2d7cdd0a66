//! Presses at a steady pace, whatever happens to the region meanwhile, and what the screen and the relay say of them.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{BenchError, Trying};
use crate::foundation::alarms::press;
use crate::http::Connection;
use crate::lab::Lab;
use crate::sse::Stream;

/// One press in this time: 20 a second.
const PERIOD: Duration = Duration::from_millis(50);
/// How long after the last press an alarm may still come, and its receipt.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the presses of a storm.
pub(crate) struct Outcome {
    /// Presses that the relay has taken.
    pub(crate) pressed: usize,
    /// From the press to the screen, each.
    pub(crate) shown: Vec<Duration>,
    /// From the press to `stored` at the relay's reader, each.
    pub(crate) stored: Vec<Duration>,
    /// What must not be: lost, or shown twice.
    pub(crate) faults: Vec<String>,
}

enum Said {
    Pressed(String, Instant),
    Shown(String, Instant),
    Stored(String, Instant),
}

/// A storm under way.
pub(crate) struct Storm {
    said: Receiver<Said>,
    presser: JoinHandle<Result<(), BenchError>>,
}

impl Storm {
    /// Begins to press, `first` being the number of the first press, for `span`.
    ///
    /// # Errors
    /// A node does not answer.
    pub(crate) fn begin(lab: &Lab, first: usize, span: Duration) -> Result<Self, BenchError> {
        let (tell, said) = mpsc::channel();
        let mut station = Stream::open(lab.station(), "/v1/events")?;
        while station.next()?.name != "live" {}
        follow(station, tell.clone(), |name, data, at| {
            // What else comes to that screen is nothing that was pressed here.
            (name == "alarm" && data["kind"] == "panic").then(|| Some(Said::Shown(id(data)?, at))).flatten()
        })?;
        follow(Stream::open(lab.relay(), "/v1/events/stream")?, tell.clone(), |name, data, at| {
            let stored = name == "stage" && data["change"]["stage"] == "stored";
            stored.then(|| Some(Said::Stored(id(data)?, at))).flatten()
        })?;
        let base = lab.relay().to_owned();
        let work = move || {
            let mut to = Connection::open(&base)?;
            let began = Instant::now();
            let mut due = began;
            for number in first.. {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if began.elapsed() > span {
                    break;
                }
                // The time is that at which it was due: a presser that is held up has pressed all the same.
                let at = due;
                due += PERIOD;
                let answer = to.ask("POST", "/v1/events", &press(number))?;
                let body = answer.json("the relay")?;
                match id(&body).filter(|_| answer.status == 202) {
                    Some(id) => drop(tell.send(Said::Pressed(id, at))),
                    None => return Err(BenchError::answer("the relay to a press", answer.status.to_string())),
                }
            }
            Ok(())
        };
        let presser = thread::Builder::new().name("presser".into()).spawn(work).trying("start a thread")?;
        Ok(Self { said, presser })
    }

    /// Waits for the last press and for what becomes of it.
    ///
    /// # Errors
    /// The relay did not take a press.
    pub(crate) fn end(self, what: &str, await_stored: bool) -> Result<Outcome, BenchError> {
        let pressed = self.presser.join().unwrap_or_else(|_| Err(BenchError::answer("the presser", "it broke off")));
        let until = Instant::now() + PATIENCE;
        let mut heard = Heard::default();
        while let Ok(said) = self.said.recv_timeout(until.saturating_duration_since(Instant::now())) {
            heard.take(said);
            if pressed.is_ok() && heard.is_complete(await_stored) && heard.drained(&self.said) {
                break;
            }
        }
        pressed?;
        Ok(heard.judge(what))
    }
}

#[derive(Default)]
struct Heard {
    pressed: BTreeMap<String, Instant>,
    shown: BTreeMap<String, Vec<Instant>>,
    stored: BTreeMap<String, Instant>,
}

impl Heard {
    fn take(&mut self, said: Said) {
        match said {
            Said::Pressed(id, at) => drop(self.pressed.insert(id, at)),
            Said::Shown(id, at) => self.shown.entry(id).or_default().push(at),
            Said::Stored(id, at) => drop(self.stored.entry(id).or_insert(at)),
        }
    }

    fn is_complete(&self, await_stored: bool) -> bool {
        self.pressed.keys().all(|id| self.shown.contains_key(id) && (!await_stored || self.stored.contains_key(id)))
    }

    /// Whether nothing more comes for a moment: a second show of the last alarm would.
    fn drained(&mut self, said: &Receiver<Said>) -> bool {
        match said.recv_timeout(Duration::from_millis(500)) {
            Ok(said) => {
                self.take(said);
                false
            }
            Err(_) => true,
        }
    }

    fn judge(self, what: &str) -> Outcome {
        let mut outcome =
            Outcome { pressed: self.pressed.len(), shown: Vec::new(), stored: Vec::new(), faults: Vec::new() };
        for (id, at) in &self.pressed {
            match self.shown.get(id).map_or(&[][..], Vec::as_slice) {
                [] => outcome.faults.push(format!("{what}: {id} was lost: no screen has shown it")),
                [shown] => outcome.shown.push(shown.saturating_duration_since(*at)),
                more => outcome.faults.push(format!("{what}: {id} was shown {} times", more.len())),
            }
            outcome.stored.extend(self.stored.get(id).map(|stored| stored.saturating_duration_since(*at)));
        }
        outcome
    }
}

fn id(data: &Value) -> Option<String> {
    data["id"].as_str().map(str::to_owned)
}

/// Reads a stream on a thread of its own, which ends with the stream or with the storm.
fn follow(
    mut stream: Stream,
    tell: Sender<Said>,
    read: impl Fn(&str, &Value, Instant) -> Option<Said> + Send + 'static,
) -> Result<(), BenchError> {
    let work = move || {
        while let Ok(message) = stream.next() {
            let data = serde_json::from_str(&message.data).unwrap_or_default();
            if read(&message.name, &data, message.at).is_some_and(|said| tell.send(said).is_err()) {
                return;
            }
        }
    };
    thread::Builder::new().name("stream".into()).spawn(work).trying("start a thread")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_shown_twice_is_said_and_the_rest_is_timed() {
        let (now, mut heard) = (Instant::now(), Heard::default());
        for name in ["a", "b", "c"] {
            heard.take(Said::Pressed(name.into(), now));
        }
        heard.take(Said::Shown("a".into(), now + Duration::from_millis(5)));
        heard.take(Said::Stored("a".into(), now + Duration::from_millis(7)));
        assert!(!heard.is_complete(false));
        heard.take(Said::Shown("b".into(), now));
        heard.take(Said::Shown("b".into(), now));
        let outcome = heard.judge("a storm");
        assert_eq!(
            (outcome.pressed, outcome.shown, outcome.stored),
            (3, vec![Duration::from_millis(5)], vec![Duration::from_millis(7)])
        );
        assert!(outcome.faults.len() == 2 && outcome.faults[0].contains("b was shown 2 times"), "{:?}", outcome.faults);
    }
}
