//! Wakes a flush that sled has forgotten.
//!
//! When a write fails on one of sled's own threads, sled notes the error but does not wake whoever waits in `flush` for that write:
//! it would wait for ever, and nobody would hear that the disk has failed. Another flush finds the error noted, wakes all that wait,
//! and ends. So while a flush takes long, others are started beside it, at growing intervals.
//!
//! Invariant: nothing is decided here. On a disk that is only slow, the other flushes wait as the first one does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How often a flush is looked after. One that takes less than this meets nothing of all this.
const TICK: Duration = Duration::from_secs(1);

/// Flushes begun and ended.
#[derive(Debug, Default)]
struct Flushes {
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Flushes {
    fn numbers(&self) -> (u64, u64) {
        (self.begun.load(Ordering::Acquire), self.ended.load(Ordering::Acquire))
    }
}

/// The thread that looks after the flushes of one database. It ends with this value.
#[derive(Debug)]
pub(crate) struct Nudge {
    flushes: Arc<Flushes>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Nudge {
    /// Starts the thread; `nudge` must not wait. Without a thread to be had there is no nudge, which is no reason not to open.
    pub(crate) fn start(nudge: impl Fn() + Send + 'static) -> Self {
        Self::start_with(TICK, nudge)
    }

    fn start_with(tick: Duration, nudge: impl Fn() + Send + 'static) -> Self {
        let flushes = Arc::new(Flushes::default());
        let watched = flushes.clone();
        let (stop, stopped) = mpsc::channel();
        let run = move || {
            let (mut seen, mut ticks) = ((0, 0), 0_u32);
            while stopped.recv_timeout(tick) == Err(RecvTimeoutError::Timeout) {
                let now = watched.numbers();
                let stuck = now.0 != now.1 && now == seen;
                ticks = if stuck { ticks.saturating_add(1) } else { 0 };
                seen = now;
                if ticks.is_power_of_two() {
                    nudge();
                }
            }
        };
        let thread = thread::Builder::new().name("store-nudge".into()).spawn(run).ok();
        Self { flushes, stop: Some(stop), thread }
    }

    /// Runs a flush under watch.
    pub(crate) fn watch<T>(&self, flush: impl FnOnce() -> T) -> T {
        self.flushes.begun.fetch_add(1, Ordering::AcqRel);
        let result = flush();
        self.flushes.ended.fetch_add(1, Ordering::AcqRel);
        result
    }
}

impl Drop for Nudge {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It holds the database open until it has ended. It cannot panic.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_that_takes_long_is_nudged_and_one_that_does_not_is_left_alone() {
        let (give, take) = mpsc::channel();
        let nudge = Nudge::start_with(Duration::from_millis(5), move || give.send(()).unwrap());
        (0..100).for_each(|_| nudge.watch(|| ()));
        thread::sleep(Duration::from_millis(40));
        assert!(take.try_recv().is_err(), "nothing is under way");
        nudge.watch(|| {
            take.recv_timeout(Duration::from_secs(20)).unwrap();
            take.recv_timeout(Duration::from_secs(20)).unwrap();
        });
    }
}
