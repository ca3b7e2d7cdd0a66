//! What the process does on a signal: TERM or INT drains, a second one ends at once, HUP reads the configuration again.
//!
//! Invariant: a bad configuration changes nothing: the node goes on with the one that it has and logs every mistake.

use std::io;

use huxiao_core::Span;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::Change;
use crate::metric::{self, Counter};
use crate::shutdown::Shutdown;
use crate::systemd::Notifier;

/// The signals of this process, caught from the moment of [`Signals::catch`] on.
#[derive(Debug)]
pub struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    /// Begins to catch them; must be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// Acts on signals until `shutdown` is over. The first TERM or INT gives the node `drain` to finish; the second ends it.
    ///
    /// `reload` reads the configuration again ([`Loader::load`](crate::config::Loader::load)), puts what is reloadable to use and
    /// returns what differs ([`diff`](crate::config::diff)). On mistakes, one a line, it must have changed nothing.
    pub async fn run<F>(mut self, shutdown: Shutdown, drain: Span, notifier: Notifier, mut reload: F)
    where
        F: FnMut() -> Result<Vec<Change>, String> + Send,
    {
        loop {
            tokio::select! {
                () = shutdown.over() => return,
                _ = self.term.recv() => stop("TERM", &shutdown, drain, &notifier),
                _ = self.int.recv() => stop("INT", &shutdown, drain, &notifier),
                _ = self.hup.recv(), if !shutdown.requested() => {
                    notifier.reloading();
                    notifier.ready(&told(reload()));
                }
            }
        }
    }
}

fn stop(name: &str, shutdown: &Shutdown, drain: Span, notifier: &Notifier) {
    if shutdown.requested() {
        tracing::warn!(signal = name, "asked to stop again: ending at once");
        shutdown.force();
    } else {
        tracing::info!(signal = name, seconds = drain.as_secs(), "asked to stop: draining");
        notifier.stopping("draining");
        shutdown.request(drain);
    }
}

/// Logs what a reload came to; the sentence is for the service manager.
fn told(outcome: Result<Vec<Change>, String>) -> String {
    match outcome {
        Ok(changes) => {
            metric::increment(Counter::Reloads, &["ok"]);
            for change in &changes {
                let (key, old, new) = (&change.key, &change.old, &change.new);
                if change.reloadable {
                    tracing::info!(key, %old, %new, "configuration: taken over");
                } else {
                    tracing::warn!(key, %old, %new, "configuration: needs a restart");
                }
            }
            let waiting = changes.iter().filter(|change| !change.reloadable).count();
            tracing::info!(changes = changes.len(), waiting, "configuration read again");
            match waiting {
                0 => "configuration read again".into(),
                _ => format!("configuration read again; {waiting} changes need a restart"),
            }
        }
        Err(mistakes) => {
            metric::increment(Counter::Reloads, &["refused"]);
            for mistake in mistakes.lines() {
                tracing::error!("configuration not taken over, the old one stays: {mistake}");
            }
            format!("the old configuration stays: {} mistakes in the new one, see the log", mistakes.lines().count())
        }
    }
}

#[cfg(test)]
mod tests;
