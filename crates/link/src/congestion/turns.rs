//! Who writes next on a bulk connection, how much, and when.
//!
//! Invariants:
//!
//! * One writer has the turn at a time. The next is the first of the highest class that waits, and a frame that was begun is
//!   finished before a later one of its class is.
//! * A writer that is dropped leaves its place and its turn.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use huxiao_core::{Class, Span};
use quinn::Connection;
use tokio::sync::oneshot;
use tokio::time::sleep_until;

use crate::congestion::Mode;

/// How much of its lateness a turn makes up for.
const LATE: Span = Span::from_millis(5);

/// The turns of one connection.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    taken: bool,
    due: Option<Instant>,
    waiting: BTreeMap<(Class, u64), oneshot::Sender<Turn>>,
}

/// One frame's place among the others.
#[derive(Debug)]
pub(crate) struct Writer {
    turns: Arc<Turns>,
    place: (Class, u64),
}

/// Gives the turn on when it is dropped, also on its way to one who waits no more.
#[derive(Debug)]
struct Turn(Arc<Turns>);

impl Turns {
    /// A place for a frame of `class`, behind those that have theirs.
    pub(crate) fn writer(self: &Arc<Self>, class: Class) -> Writer {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        drop(state);
        Writer { turns: Arc::clone(self), place: (class, number) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Waits for a turn of this writer, who has `bytes` left, and gives back how many of these it is for.
    pub(crate) async fn next(&self, connection: &Connection, bytes: usize) -> usize {
        let turn = self.take().await;
        let due = self.turns.lock().due.filter(|_| connection.close_reason().is_none());
        if let Some(due) = due {
            sleep_until(due.into()).await;
        }
        let Ok(mode) = connection.congestion_state().into_any().downcast::<Mode>() else { return bytes };
        let (most, gap) = mode.yielding.turn(connection.rtt());
        let now = Instant::now();
        let mut state = self.turns.lock();
        mode.bulk.store(true, Ordering::Relaxed);
        mode.busy.store(!state.waiting.is_empty() || bytes > most, Ordering::Relaxed);
        // What a late timer has missed is made up for, but not in one go.
        let began = due.unwrap_or(now).max(now.checked_sub(gap.min(LATE)).unwrap_or(now));
        state.due = began.checked_add(gap);
        drop(state);
        drop(turn);
        most.min(bytes)
    }

    /// The turn, once it is this writer's.
    async fn take(&self) -> Turn {
        let told = {
            let mut state = self.turns.lock();
            if state.taken {
                let (tell, told) = oneshot::channel();
                state.waiting.insert(self.place, tell);
                Some(told)
            } else {
                state.taken = true;
                None
            }
        };
        match told {
            // It is never dropped without a word: whoever has the turn gives it on.
            Some(told) => told.await.unwrap_or_else(|_| Turn(Arc::clone(&self.turns))),
            None => Turn(Arc::clone(&self.turns)),
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.lock();
            let next = state.waiting.pop_first();
            state.taken = next.is_some();
            next
        };
        if let Some((_, next)) = next {
            // One who waits no more gives it back, and it is given on from here again.
            drop(next.send(Turn(Arc::clone(&self.0))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_highest_class_is_next_and_the_first_of_it() {
        let turns = Arc::<Turns>::default();
        let holder = turns.writer(Class::P4);
        let turn = holder.take().await;
        let (order, mut came) = tokio::sync::mpsc::unbounded_channel();
        // In the order of their places, whoever asks first.
        let places = [Class::P4, Class::P3, Class::P4, Class::P2].map(|class| turns.writer(class));
        for writer in places.into_iter().rev() {
            let order = order.clone();
            tokio::spawn(async move {
                let _turn = writer.take().await;
                order.send(writer.place).unwrap();
            });
            tokio::task::yield_now().await;
        }
        // One that is given up is passed over.
        let given_up = turns.writer(Class::P2);
        assert!(tokio::time::timeout(Span::from_millis(1), given_up.take()).await.is_err());
        drop(turn);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(came.recv().await.unwrap());
        }
        assert_eq!(seen, [(Class::P2, 4), (Class::P3, 2), (Class::P4, 1), (Class::P4, 3)]);
    }

    #[tokio::test]
    async fn a_turn_goes_on_when_its_holder_is_dropped() {
        let turns = Arc::<Turns>::default();
        let holder = turns.writer(Class::P4);
        let turn = holder.take().await;
        let next = turns.writer(Class::P4);
        let waiting = tokio::spawn(async move { drop(next.take().await) });
        tokio::task::yield_now().await;
        drop(turn);
        waiting.await.unwrap();
        drop(turns.writer(Class::P3).take().await);
    }
}
