//! Tells the station which events are on a screen, without holding up the screen.
//!
//! Invariant: what was handed over is told until the station has heard it or says that it does not know the event; only the end of
//! the program ends the attempts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::Pauses;
use crate::http::{Client, Endpoint};

/// Statements under way at once: enough that a burst does not wait for one sync after another.
const WORKERS: usize = 4;
/// Statements that may wait. Beyond it, printing waits too: the station is stopped or drowned then.
const WAITING: usize = 4_096;

/// The way to the station for "displayed".
#[derive(Debug)]
pub struct Reporter {
    queue: mpsc::Sender<String>,
    workers: JoinSet<()>,
}

impl Reporter {
    /// Starts to work.
    #[must_use]
    pub fn start(station: &Endpoint) -> Self {
        let (queue, waiting) = mpsc::channel(WAITING);
        let waiting = Arc::new(Mutex::new(waiting));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            workers.spawn(work(Client::new(station.clone()), waiting.clone()));
        }
        Self { queue, workers }
    }

    /// This event is on a screen now.
    pub async fn displayed(&self, id: String) {
        // The workers end only after the queue.
        let _ = self.queue.send(id).await;
    }

    /// Waits until all is told, `within` at the most. False if some is not.
    pub async fn finish(mut self, within: Duration) -> bool {
        drop(self.queue);
        let all = async { while self.workers.join_next().await.is_some() {} };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

async fn work(mut client: Client, waiting: Arc<Mutex<mpsc::Receiver<String>>>) {
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(id) = next else { return };
        let path = format!("/v1/events/{id}/displayed");
        let mut pauses = Pauses::new();
        while let Err(error) = client.post(&path, &[], None).await {
            if !error.may_pass() {
                crate::output::say(&format!("{id} was printed, but cannot be told as displayed: {error}"));
                break;
            }
            pauses.pause().await;
        }
    }
}
