//! Keeps nodes running, as systemd does with the units of `deploy/systemd`: whatever ends is started again after a second.
//!
//! Invariants: a node that is held down stays down; a node that ends by itself is noted, unless the fault that is in force may end it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::lab::Node;

/// `RestartSec` of the units.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

struct Charge {
    node: Node,
    /// Whether it is to stay down.
    held: bool,
    /// Whether the fault in force may end it.
    may_fall: bool,
    /// Whether it was asked to stop and has not ended yet.
    stopping: bool,
    again_at: Option<Instant>,
}

#[derive(Default)]
struct Shared {
    charges: Mutex<BTreeMap<String, Charge>>,
    falls: Mutex<Vec<String>>,
    ending: AtomicBool,
}

impl Shared {
    fn charges(&self) -> MutexGuard<'_, BTreeMap<String, Charge>> {
        self.charges.lock().unwrap()
    }

    fn look(&self) {
        for (name, charge) in self.charges().iter_mut() {
            if let Some(status) = charge.node.fallen() {
                charge.again_at = Some(Instant::now() + RESTART_AFTER);
                if charge.stopping {
                    charge.stopping = false;
                    if !status.success() {
                        self.falls.lock().unwrap().push(format!("{name} was asked to stop and ended with {status}"));
                    }
                } else if !charge.may_fall {
                    self.falls.lock().unwrap().push(format!("{name} ended by itself with {status}"));
                }
            }
            let due = charge.again_at.is_none_or(|at| at <= Instant::now());
            if !charge.held && !charge.node.is_started() && due {
                charge.again_at = None;
                charge.node.start();
            }
        }
    }
}

/// The supervisor. Its nodes end with it.
pub struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Takes the nodes over and starts those that do not run.
    #[must_use]
    pub fn start(nodes: Vec<Node>) -> Self {
        let shared = Arc::new(Shared::default());
        for node in nodes {
            let charge = Charge { node, held: false, may_fall: false, stopping: false, again_at: None };
            shared.charges().insert(charge.node.name().to_owned(), charge);
        }
        let looked_at = shared.clone();
        let thread = thread::spawn(move || {
            while !looked_at.ending.load(Ordering::Relaxed) {
                looked_at.look();
                thread::sleep(LOOK);
            }
        });
        Self { shared, thread: Some(thread) }
    }

    fn with<T>(&self, name: &str, run: impl FnOnce(&mut Charge) -> T) -> T {
        run(self.shared.charges().get_mut(name).unwrap_or_else(|| panic!("nobody keeps {name}")))
    }

    /// Kills it, as a power switch would. It is started again in a second, unless it is held down.
    pub fn kill(&self, name: &str) {
        self.with(name, |charge| {
            charge.node.put_down();
            charge.again_at = Some(Instant::now() + RESTART_AFTER);
        });
    }

    /// Kills it and keeps it down until it is released.
    pub fn hold_down(&self, name: &str) {
        self.with(name, |charge| charge.held = true);
        self.kill(name);
    }

    /// Stops it in good order and keeps it down until it is released. What it ended with is noted if it is not a success.
    pub fn stop(&self, name: &str, within: Duration) {
        self.with(name, |charge| {
            charge.held = true;
            charge.stopping = charge.node.is_started();
            if charge.stopping {
                charge.node.signal(Signal::TERM);
            }
        });
        let began = Instant::now();
        // The thread that looks after all of them sees it end.
        while self.with(name, |charge| charge.stopping) {
            if began.elapsed() > within {
                self.shared.falls.lock().unwrap().push(format!("{name} did not stop within {within:?}"));
                self.with(name, |charge| charge.stopping = false);
                return self.kill(name);
            }
            thread::sleep(LOOK);
        }
    }

    /// Lets it run again, at once.
    pub fn release(&self, name: &str) {
        self.with(name, |charge| {
            charge.held = false;
            charge.again_at = None;
        });
    }

    /// Has it stand still, or go on.
    pub fn freeze(&self, name: &str, frozen: bool) {
        let signal = if frozen { Signal::STOP } else { Signal::CONT };
        self.with(name, |charge| {
            if charge.node.is_started() {
                charge.node.signal(signal);
            }
        });
    }

    /// Whether it may end by itself from now on without that being noted.
    pub fn excuse(&self, name: &str, may_fall: bool) {
        self.with(name, |charge| charge.may_fall = may_fall);
    }

    /// What nodes did that none may, so far: ends by themselves, and panics in their logs.
    #[must_use]
    pub fn misdeeds(&self) -> Vec<String> {
        let mut found = self.shared.falls.lock().unwrap().clone();
        for (name, charge) in self.shared.charges().iter() {
            let log = charge.node.log();
            let panics = log.lines().filter(|line| line.contains("panicked at"));
            found.extend(panics.take(3).map(|line| format!("{name}: {line}")));
        }
        found
    }

    /// The last lines of a node's log.
    #[must_use]
    pub fn tail(&self, name: &str, lines: usize) -> String {
        self.with(name, |charge| {
            let log = charge.node.log();
            let all: Vec<&str> = log.lines().collect();
            all[all.len().saturating_sub(lines)..].join("\n")
        })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.ending.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Its own panic, if there was one, has been printed.
            let _ = thread.join();
        }
        let mut charges = self.shared.charges.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        charges.values_mut().for_each(|charge| charge.node.put_down());
    }
}
