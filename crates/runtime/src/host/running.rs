//! A node at work, and how it comes to its end.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use huxiao_core::Span;
use huxiao_link::Link;
use huxiao_store::{State, Store};
use tokio::task::{JoinError, JoinHandle, JoinSet};

use super::Host;
use crate::config::{Address, Config};
use crate::health::Check;
use crate::shutdown::Shutdown;
use crate::store_hooks;

/// How often the store is asked how it is.
const STORE_EVERY: Span = Span::from_secs(1);
/// How often a canary is written, synced and read back. Each costs the disk one sync.
const CANARY_EVERY: Span = Span::from_secs(60);
/// How long a node may take to stop whose store is poisoned or that has lost one of its tasks.
const BROKEN_DRAIN: Span = Span::from_secs(2);

/// Takes over what is reloadable from a new configuration; on an error nothing has changed.
pub type Reload = Box<dyn FnMut(&Config) -> Result<(), String> + Send>;

/// Why a node did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// Start it again: what is on the disk can only be known by opening it anew.
    #[error("the store failed and the node stopped so that its supervisor starts it again: {0}")]
    Store(String),
    /// A defect: see the log.
    #[error("the node's loop ended by itself: {0}")]
    Loop(String),
    /// A defect: see the log. A node that goes on without its API or its sessions would only look alive.
    #[error("a part of the node ended by itself, and the node stopped so that its supervisor starts it again: {0}")]
    Part(String),
}

/// A node at work.
pub struct Running {
    http: Address,
    quic: Option<SocketAddr>,
    host: Host,
    link: Link,
    dials: Box<dyn Send + Sync>,
    store: Store,
    machine: JoinHandle<()>,
    tasks: JoinSet<Result<(), String>>,
    failed: Arc<OnceLock<String>>,
    reload: Reload,
}

impl Running {
    pub(super) fn new(
        http: Address,
        host: Host,
        link: Link,
        store: Store,
        machine: JoinHandle<()>,
        tasks: JoinSet<Result<(), String>>,
        failed: Arc<OnceLock<String>>,
    ) -> Self {
        Self {
            http,
            quic: None,
            host,
            link,
            dials: Box::new(()),
            store,
            machine,
            tasks,
            failed,
            reload: Box::new(|_| Ok(())),
        }
    }

    /// The same, listening for sessions at `quic`.
    #[must_use]
    pub fn listening(mut self, quic: SocketAddr) -> Self {
        self.quic = Some(quic);
        self
    }

    /// The same, with what keeps its sessions up for as long as it is held. It is held until what was given to them has left.
    #[must_use]
    pub fn dialling(mut self, dials: impl Send + Sync + 'static) -> Self {
        self.dials = Box::new(dials);
        self
    }

    /// The same, with what to do at a reload.
    #[must_use]
    pub fn reloading(mut self, reload: Reload) -> Self {
        self.reload = reload;
        self
    }

    /// Where its HTTP API is.
    #[must_use]
    pub fn http(&self) -> &Address {
        &self.http
    }

    /// Where it listens for sessions; a broker does.
    #[must_use]
    pub fn quic(&self) -> Option<SocketAddr> {
        self.quic
    }

    /// Takes the reload out, for whoever handles signals.
    #[must_use]
    pub fn take_reload(&mut self) -> Reload {
        std::mem::replace(&mut self.reload, Box::new(|_| Ok(())))
    }

    /// Waits until the node has stopped, in the order that loses nothing.
    ///
    /// # Errors
    /// [`StopError`]: the process should end with a status that its supervisor sees.
    pub async fn finished(mut self) -> Result<(), StopError> {
        let mut lost = None;
        let ended = loop {
            tokio::select! {
                biased;
                ended = &mut self.machine => break ended,
                Some(part) = self.tasks.join_next() => {
                    if let Some(why) = by_itself(part, &self.host.shutdown) {
                        tracing::error!(why, "a part of the node ended by itself; the node stops, to be started again by its supervisor");
                        lost.get_or_insert(why);
                        self.host.shutdown.request(BROKEN_DRAIN);
                    }
                }
            }
        };
        let unasked = !self.host.shutdown.requested();
        self.host.shutdown.request(Span::ZERO);
        self.link.shutdown().await;
        drop(self.dials);
        while self.tasks.join_next().await.is_some() {}
        let store = self.store;
        // Closing waits for the disk.
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        if let Some(why) = self.failed.get() {
            return Err(StopError::Store(why.clone()));
        }
        match (ended, closed) {
            (Err(error), _) | (_, Err(error)) => Err(StopError::Loop(error.to_string())),
            _ if lost.is_some() => Err(StopError::Part(lost.unwrap_or_default())),
            _ if unasked => Err(StopError::Loop("nobody asked it to stop".to_owned())),
            _ => Ok(()),
        }
    }
}

/// Why a task of the node is over, if it should not be.
fn by_itself(part: Result<Result<(), String>, JoinError>, shutdown: &Shutdown) -> Option<String> {
    match part {
        Err(error) => Some(error.to_string()),
        Ok(Err(why)) => Some(why),
        Ok(Ok(())) => (!shutdown.requested()).then(|| "its work came to an end while the node ran".to_owned()),
    }
}

/// The two checks of a store.
pub(super) struct StoreChecks {
    /// What it says of itself.
    pub(super) state: Check,
    /// Whether a record can be written, synced and read back: whether the node is armed.
    pub(super) canary: Check,
}

/// Watches the store; a poisoned one stops the node, and `failed` says why.
pub(super) async fn watch_store(store: Store, checks: StoreChecks, shutdown: Shutdown, failed: Arc<OnceLock<String>>) {
    let mut tick = tokio::time::interval(STORE_EVERY);
    let mut next_canary = tokio::time::Instant::now();
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        if tokio::time::Instant::now() >= next_canary {
            next_canary = tokio::time::Instant::now() + CANARY_EVERY;
            sing(store.clone(), checks.canary.clone());
        }
        let health = store.health();
        store_hooks::show(&checks.state, &health);
        if let State::Poisoned { why } = health.state {
            tracing::error!(%why, "the store failed; the node stops, to be started again by its supervisor");
            // The first reason stays.
            let _ = failed.set(why);
            return shutdown.request(BROKEN_DRAIN);
        }
    }
}

/// Sends a canary in. It waits for the disk, so on a thread that nobody else needs.
fn sing(store: Store, check: Check) {
    tokio::task::spawn_blocking(move || match store.canary() {
        Ok(took) => {
            check.ok(format!("a record was written, synced and read back in {:.1} ms", took.as_secs_f64() * 1e3));
        }
        Err(error) => check.failed(error.to_string()),
    });
}
