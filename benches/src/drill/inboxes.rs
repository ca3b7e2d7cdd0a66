//! What the stations show, and when: the other end of a drill.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::{BenchError, Trying};
use crate::figures::Samples;
use crate::lab::Lab;
use crate::sse::Stream;

/// How long nothing may come before it is believed that nothing comes twice.
const QUIET: Duration = Duration::from_millis(500);

/// The streams of all stations.
pub(super) struct Inboxes {
    shown: Receiver<(String, Instant)>,
}

impl Inboxes {
    /// Follows every station of the lab.
    ///
    /// # Errors
    /// A station gives no stream.
    pub(super) fn open(lab: &Lab) -> Result<Self, BenchError> {
        let (tell, shown) = mpsc::channel();
        for base in lab.stations() {
            let mut stream = Stream::open(base, "/v1/events")?;
            while stream.next()?.name != "live" {}
            let tell = tell.clone();
            let work = move || {
                while let Ok(message) = stream.next() {
                    let data: Value = serde_json::from_str(&message.data).unwrap_or_default();
                    let id = data["id"].as_str().filter(|_| message.name == "alarm").map(str::to_owned);
                    if id.is_some_and(|id| tell.send((id, message.at)).is_err()) {
                        return;
                    }
                }
            };
            thread::Builder::new().name("station".into()).spawn(work).trying("start a thread")?;
        }
        Ok(Self { shown })
    }

    /// Waits until every alarm is shown, or for `patience`; gives the times and what must not be. `pressed` has the ids, each with the moment
    /// at which the press was due.
    pub(super) fn await_all(
        &mut self,
        pressed: &BTreeMap<String, Instant>,
        patience: Duration,
    ) -> (Samples, Vec<String>) {
        let until = Instant::now() + patience;
        let mut shown: BTreeMap<String, (Instant, u32)> = BTreeMap::new();
        loop {
            let wait = until.saturating_duration_since(Instant::now());
            let wait = if shown.len() >= pressed.len() { wait.min(QUIET) } else { wait };
            let Ok((id, at)) = self.shown.recv_timeout(wait) else { break };
            if pressed.contains_key(&id) {
                shown.entry(id).or_insert((at, 0)).1 += 1;
            }
        }
        let (mut samples, mut faults) = (Samples::new(), Vec::new());
        for (id, due) in pressed {
            match shown.get(id) {
                None => faults.push(format!("{id} was lost: no station has shown it")),
                Some((at, times)) => {
                    samples.record(at.saturating_duration_since(*due));
                    if *times > 1 {
                        faults.push(format!("{id} was shown {times} times"));
                    }
                }
            }
        }
        (samples, faults)
    }
}
