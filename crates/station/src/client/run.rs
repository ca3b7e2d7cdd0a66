//! A client's beginning and its end: what it is given is checked, its store is opened, watched and closed.

use std::sync::{Arc, OnceLock};

use huxiao_core::Span;
use huxiao_link::{DialHandle, Link};
use huxiao_runtime::clock::Clock;
use huxiao_runtime::config::Address;
use huxiao_runtime::shutdown::Shutdown;
use huxiao_runtime::store_hooks;
use huxiao_store::{State, Store};
use tokio::task::JoinHandle;

use super::{ClientConfig, ClientError, ConnectError};

/// How often the store is asked how it is.
const STORE_EVERY: Span = Span::from_secs(1);

/// Whether broker nodes can be dialled at these addresses.
pub(super) fn check(brokers: &[String]) -> Result<(), ConnectError> {
    let refuse = |text: &str, why: &str| Err(ConnectError::Broker(text.to_owned(), why.to_owned()));
    if brokers.is_empty() {
        return refuse("", "name at least one broker node");
    }
    for text in brokers {
        match text.parse::<Address>() {
            Ok(Address::Socket(_) | Address::Host { .. }) => {}
            Ok(Address::Unix(_)) => return refuse(text, "sessions need a UDP address"),
            Err(why) => return refuse(text, &why),
        }
    }
    Ok(())
}

/// Opens the inbox's store.
pub(super) async fn open_store(config: &ClientConfig, clock: &Clock) -> Result<huxiao_store::Opened, ConnectError> {
    let mut settings = huxiao_store::Config::new(config.data_dir.join("store"), config.trial.clone());
    settings.observe = Some(Arc::new(|observation| store_hooks::observe(&observation)));
    let now = clock.wall();
    // Opening reads everything and may wait for the trial process: not on a thread that others need.
    let opened = tokio::task::spawn_blocking(move || huxiao_store::open(&settings, now))
        .await
        .map_err(|error| ConnectError::Aborted(error.to_string()))??;
    for loss in &opened.losses {
        tracing::error!(%loss, "STORE_LOST: the inbox came back with less than it had promised to hold");
    }
    Ok(opened)
}

/// A poisoned store stops the client.
pub(super) fn watch_store(store: Store, shutdown: Shutdown) -> Arc<OnceLock<String>> {
    let failed = Arc::new(OnceLock::new());
    let verdict = failed.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(STORE_EVERY);
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                _ = tick.tick() => {}
            }
            if let State::Poisoned { why } = store.health().state {
                tracing::error!(%why, "the store failed; the client stops");
                // The first reason stays.
                let _ = verdict.set(why);
                return shutdown.force();
            }
        }
    });
    failed
}

/// Waits for the loop's end and closes the rest in the order that loses nothing: sessions, then the store.
pub(super) async fn end(
    machine: JoinHandle<()>,
    link: Link,
    dials: Arc<Vec<DialHandle>>,
    store: Store,
    shutdown: Shutdown,
    failed: Arc<OnceLock<String>>,
) -> Result<(), ClientError> {
    let ended = machine.await;
    let unasked = !shutdown.requested();
    shutdown.request(Span::ZERO);
    link.shutdown().await;
    drop(dials);
    // Closing waits for the disk.
    let closed = tokio::task::spawn_blocking(move || store.close()).await;
    if let Some(why) = failed.get() {
        return Err(ClientError::Store(why.clone()));
    }
    match (ended, closed) {
        (Err(error), _) | (_, Err(error)) => Err(ClientError::Loop(error.to_string())),
        _ if unasked => Err(ClientError::Loop("nobody asked it to stop".to_owned())),
        _ => Ok(()),
    }
}
