//! The one loop that drives a [`Machine`]: select → handle → carry out.
//!
//! Invariants: the machine has one owner, the loop. After every input all outputs are drained and carried out in order before the
//! next input is looked at. A timer that is due goes before any input. A P0 message of the link waits for one other input at most,
//! whatever lower classes brought. Urgent inputs go before the rest, but 256 of them in a row let one of the rest through.
//!
//! ```text
//!   feed, sessions and P0 ┐ every second step, if one waits
//!   urgent ───────────────┤ never full; P0 presses, completed writes
//!   inspect ──────────────┤ reads the machine between two steps
//!   feed, by class ───────┤ back-pressure on the peers, each class for itself
//!   input (bounded) ──────┤ back-pressure on whoever sends; takes turns with the feed
//!   poll_timeout ─────────┴─► handle ─► poll_output* ─► Shell::carry_out ─► after_step
//! ```

use huxiao_core::{Machine, Now, Timestamp, limits};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::host::Feed;
use crate::metric::{self, Counter};
use crate::shutdown::Shutdown;

/// Steps that may go before a waiting normal input, one after another.
const URGENT_IN_A_ROW: u32 = 256;
/// Debug builds hold the machine to account after each of the first steps, and then now and then: a check looks at everything that the
/// machine holds, and a flood must not cost the square of its size.
const CHECKED_STEPS: u64 = 4_096;
const CHECKED_EVERY: u64 = 64;
/// After a check, as many times as long as it took belong to the node's work: a large record that is read in at start must not have a
/// debug build spend a minute on looking at it.
const WORK_PER_CHECK: u32 = 9;
/// Requests to read the machine that may wait.
const INSPECT_QUEUE: usize = 64;

/// What does the machine's bidding: the only place where its decisions touch the world.
pub trait Shell<M: Machine>: Send + 'static {
    /// Does one thing. Must not block: work that takes time is handed on, and its end comes back as an input.
    fn carry_out(&mut self, output: M::Output);

    /// Called after each step with the machine at rest: gauges and the like. Must be cheap.
    fn after_step(&mut self, _machine: &M) {}
}

/// The loop has ended; nothing sent to it will be handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node is stopping and takes nothing more")]
pub struct Stopped;

type Inspect<M> = Box<dyn FnOnce(&M) + Send>;

/// The way to a driven machine. The loop ends when the last one is dropped.
pub struct Handle<M: Machine> {
    normal: mpsc::Sender<M::Input>,
    urgent: mpsc::UnboundedSender<M::Input>,
    inspect: mpsc::Sender<Inspect<M>>,
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self { normal: self.normal.clone(), urgent: self.urgent.clone(), inspect: self.inspect.clone() }
    }
}

impl<M: Machine> std::fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").field("free_slots", &self.normal.capacity()).finish_non_exhaustive()
    }
}

/// A way to a driven machine that does not keep its loop going: for what the loop itself owns, its shell above all.
pub struct WeakHandle<M: Machine> {
    normal: mpsc::WeakSender<M::Input>,
    urgent: mpsc::WeakUnboundedSender<M::Input>,
    inspect: mpsc::WeakSender<Inspect<M>>,
}

impl<M: Machine> Clone for WeakHandle<M> {
    fn clone(&self) -> Self {
        Self { normal: self.normal.clone(), urgent: self.urgent.clone(), inspect: self.inspect.clone() }
    }
}

impl<M: Machine> WeakHandle<M> {
    /// The handle, as long as another one is held somewhere.
    #[must_use]
    pub fn upgrade(&self) -> Option<Handle<M>> {
        Some(Handle {
            normal: self.normal.upgrade()?,
            urgent: self.urgent.upgrade()?,
            inspect: self.inspect.upgrade()?,
        })
    }
}

impl<M: Machine> Handle<M> {
    /// The same way, without keeping the loop going.
    #[must_use]
    pub fn downgrade(&self) -> WeakHandle<M> {
        WeakHandle {
            normal: self.normal.downgrade(),
            urgent: self.urgent.downgrade(),
            inspect: self.inspect.downgrade(),
        }
    }

    /// Hands one input over; waits while [`limits::INPUT_QUEUE`] others wait. Once this returns `Ok`, the input is handled even
    /// if the node stops, as long as the time for draining lasts.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn input(&self, input: M::Input) -> Result<(), Stopped> {
        self.normal.send(input).await.map_err(|_| Stopped)
    }

    /// Hands one input over if there is room, for whoever may not wait and whose input comes again; `false` if it is dropped.
    #[must_use]
    pub fn offer(&self, input: M::Input) -> bool {
        self.normal.try_send(input).is_ok()
    }

    /// Hands one input over at once, before all that waits in [`Handle::input`].
    ///
    /// The queue behind it has no bound of its own. It is for inputs whose number is bounded where they are made: P0 presses
    /// (admitted by the API that takes them) and completions of writes (at most one for each `Persist` of the machine).
    ///
    /// # Errors
    /// [`Stopped`]
    pub fn urgent(&self, input: M::Input) -> Result<(), Stopped> {
        self.urgent.send(input).map_err(|_| Stopped)
    }

    /// Runs `read` on the machine between two steps and brings its answer back. `read` must be quick and must not panic: it
    /// runs in the loop.
    ///
    /// # Errors
    /// [`Stopped`]
    pub async fn inspect<R, F>(&self, read: F) -> Result<R, Stopped>
    where
        F: FnOnce(&M) -> R + Send + 'static,
        R: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Inspect<M> = Box::new(move |machine| {
            // Whoever asked may have gone away.
            let _ = answer.send(read(machine));
        });
        self.inspect.send(job).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// What the loop reads: the other end of a [`Handle`].
pub struct Inbox<M: Machine> {
    normal: mpsc::Receiver<M::Input>,
    urgent: mpsc::UnboundedReceiver<M::Input>,
    inspect: mpsc::Receiver<Inspect<M>>,
    feed: Option<Feed<M>>,
}

impl<M: Machine> Inbox<M> {
    /// The same, fed with what happens on a link too: also while the node drains, so that answers under way are still heard.
    #[must_use]
    pub fn fed_by(mut self, feed: Feed<M>) -> Self {
        self.feed = Some(feed);
        self
    }
}

impl<M: Machine> std::fmt::Debug for Inbox<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox")
            .field("urgent", &self.urgent.len())
            .field("normal", &self.normal.len())
            .finish_non_exhaustive()
    }
}

/// Both ends of the way to a machine that [`drive`] will own.
#[must_use]
pub fn channel<M: Machine>() -> (Handle<M>, Inbox<M>) {
    let (normal_in, normal) = mpsc::channel(limits::INPUT_QUEUE);
    let (urgent_in, urgent) = mpsc::unbounded_channel();
    let (inspect_in, inspect) = mpsc::channel(INSPECT_QUEUE);
    (
        Handle { normal: normal_in, urgent: urgent_in, inspect: inspect_in },
        Inbox { normal, urgent, inspect, feed: None },
    )
}

/// Drives `machine` until every [`Handle`] is dropped, or until a shutdown that was asked for is over; gives it back.
///
/// When a shutdown is asked for, [`Handle::input`] is closed at once. What it had taken, urgent inputs and timers go on being handled,
/// so that writes under way can still be confirmed.
pub async fn drive<M, S>(machine: M, shell: S, inbox: Inbox<M>, clock: Clock, shutdown: Shutdown) -> M
where
    M: Machine,
    S: Shell<M>,
{
    let mut driver = Driver { machine, shell, clock, complaint: None, steps: 0, check_after: Timestamp(0) };
    driver.settle();
    driver.run(inbox, &shutdown).await;
    driver.machine
}

/// What is not urgent: presses and the like, and the link's events, in turns decided by lot while both wait.
async fn other<M: Machine>(normal: &mut mpsc::Receiver<M::Input>, feed: &mut Option<Feed<M>>) -> M::Input {
    let fed = async {
        match feed {
            Some(feed) => feed.next().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        Some(input) = normal.recv() => input,
        input = fed => input,
    }
}

struct Driver<M: Machine, S> {
    machine: M,
    shell: S,
    clock: Clock,
    /// The last broken invariant that was logged, so that one defect does not fill the log.
    complaint: Option<String>,
    steps: u64,
    /// The next check is not before this.
    check_after: Timestamp,
}

impl<M: Machine, S: Shell<M>> Driver<M, S> {
    async fn run(&mut self, mut inbox: Inbox<M>, shutdown: &Shutdown) {
        let (over, asked) = (shutdown.over(), shutdown.wait());
        // Kept over all turns and moved only when the machine's own time-out moves: arming a timer takes a lock.
        let timer = tokio::time::sleep_until(self.clock.instant(Timestamp(u64::MAX)));
        tokio::pin!(over, asked, timer);
        let mut armed_for = None;
        let mut draining = false;
        let mut in_a_row = 0;
        loop {
            let now = self.clock.now();
            if self.machine.poll_timeout().is_some_and(|due| due <= now.mono) {
                self.timeout(now);
            }
            // The loop's other steps are the work of lower classes too: their writes that completed, for one.
            if let Some(input) = inbox.feed.as_mut().and_then(Feed::try_first) {
                self.step(input);
            }
            if in_a_row >= URGENT_IN_A_ROW {
                in_a_row = 0;
                self.let_others_through(&mut inbox);
            }
            let due = self.machine.poll_timeout();
            if due != armed_for {
                armed_for = due;
                timer.as_mut().reset(self.clock.instant(due.unwrap_or(Timestamp(u64::MAX))));
            }
            in_a_row += 1;
            tokio::select! {
                biased;
                () = &mut over => return,
                input = inbox.urgent.recv() => match input {
                    Some(input) => self.step(input),
                    // All handles are gone, and with them every other sender: handle what is left, then end.
                    None => match inbox.normal.try_recv() {
                        Ok(input) => self.step(input),
                        Err(_) => return,
                    },
                },
                () = &mut asked, if !draining => {
                    draining = true;
                    inbox.normal.close();
                }
                () = &mut timer, if due.is_some() => {}
                Some(read) = inbox.inspect.recv() => read(&self.machine),
                input = other(&mut inbox.normal, &mut inbox.feed) => {
                    in_a_row = 0;
                    self.step(input);
                }
            }
        }
    }

    fn let_others_through(&mut self, inbox: &mut Inbox<M>) {
        if let Ok(read) = inbox.inspect.try_recv() {
            read(&self.machine);
        }
        if let Some(input) = inbox.feed.as_mut().and_then(Feed::try_next) {
            self.step(input);
        }
        if let Ok(input) = inbox.normal.try_recv() {
            self.step(input);
        }
    }

    fn step(&mut self, input: M::Input) {
        let now = self.clock.now();
        self.machine.handle(now, input);
        self.settle();
    }

    fn timeout(&mut self, now: Now) {
        self.machine.handle_timeout(now);
        self.settle();
    }

    fn settle(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            self.shell.carry_out(output);
        }
        self.steps += 1;
        if cfg!(debug_assertions) && (self.steps < CHECKED_STEPS || self.steps.is_multiple_of(CHECKED_EVERY)) {
            let begun = self.clock.now().mono;
            if begun >= self.check_after {
                self.hold_to_account();
                let over = self.clock.now().mono;
                self.check_after = over + over.since(begun) * WORK_PER_CHECK;
            }
        }
        self.shell.after_step(&self.machine);
    }

    /// A broken invariant is a defect of ours: it is said and counted. It does not stop a node that may still carry alarms.
    fn hold_to_account(&mut self) {
        let complaint = self.machine.check().err();
        if let Some(text) = &complaint {
            metric::increment(Counter::MachineViolations, &[]);
            if self.complaint != complaint {
                tracing::error!(violation = %text, "an invariant of the machine does not hold: report this defect");
            }
        }
        self.complaint = complaint;
    }
}

#[cfg(test)]
mod tests;
