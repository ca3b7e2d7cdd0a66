//! Asks the loop, time and again, whether it still turns, and tells the health endpoint and the service manager.
//!
//! Invariant: the manager hears nothing unless the loop itself has answered: a process that only looks alive is restarted.

use huxiao_core::{Machine, Span};

use crate::drive::Handle;
use crate::health::Check;
use crate::shutdown::Shutdown;
use crate::systemd::Notifier;

/// How often the loop is asked if no watchdog wants it more often.
const EVERY: Span = Span::from_secs(2);

/// Runs until a shutdown is asked for or the loop has ended. `check` should be [`Relevance::Live`](crate::health::Relevance::Live).
pub async fn heartbeat<M>(handle: Handle<M>, check: Check, notifier: Notifier, shutdown: Shutdown)
where
    M: Machine + 'static,
    M::Input: Send,
{
    // A third of the watchdog's time: one answer may be late without a restart.
    let every = notifier.watchdog().map_or(EVERY, |watchdog| EVERY.min(watchdog / 3));
    let mut tick = tokio::time::interval(every.max(Span::from_millis(1)));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            _ = tick.tick() => {}
        }
        let asked = tokio::time::Instant::now();
        let mut answer = std::pin::pin!(handle.inspect(|_| ()));
        let answered = loop {
            tokio::select! {
                () = shutdown.wait() => return,
                answered = &mut answer => break answered,
                () = tokio::time::sleep(EVERY) => {
                    let seconds = asked.elapsed().as_secs();
                    check.failed(format!("the loop has not answered for {seconds} s"));
                    tracing::error!(seconds, "the node's loop does not answer: it is stuck or drowned in work");
                }
            }
        };
        if answered.is_err() {
            return check.failed("the loop has ended");
        }
        check.ok("the loop turns");
        notifier.alive();
    }
}

#[cfg(test)]
mod tests;
