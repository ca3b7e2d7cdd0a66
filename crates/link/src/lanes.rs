//! The way from a link's sessions to its driver: one queue for each class, the highest first.
//!
//! Invariants:
//!
//! * An alarm waits for alarms alone: whatever of lower classes waits here, or waits to come in here, stands in queues of its own.
//! * A path's `Up` comes out before all of its messages, and its `Down` after the last of them.
//! * Every queue has a bound; whoever brings more waits in turn. A lower class that waits is not forgotten: one in
//!   [`LOWER_EVERY`] goes to the lowest.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use huxiao_core::{Class, Message, PathId};
use tokio::sync::{Notify, Semaphore, TryAcquireError, mpsc};

use crate::event::{DownReason, LinkEvent};

/// Beginnings and ends of sessions that may wait.
const CONTROL_ROOM: usize = 1_024;
/// P0 messages that may wait.
const URGENT_ROOM: usize = 1_024;
/// Messages of each class below P0 that may wait.
const OTHER_ROOM: usize = 256;
/// Of so many messages, one is taken from the lowest class that waits.
const LOWER_EVERY: u32 = 64;

/// Both ends of a queue by class, for [`Link::new`](crate::Link::new) and for its driver.
#[must_use]
pub fn events() -> (EventSender, EventReceiver) {
    let others = [URGENT_ROOM, OTHER_ROOM, OTHER_ROOM, OTHER_ROOM, OTHER_ROOM];
    let shared = Arc::new(Shared {
        lanes: Mutex::default(),
        some: Notify::new(),
        control: Semaphore::new(CONTROL_ROOM),
        rooms: others.map(Semaphore::new),
    });
    (EventSender(Sink::Lanes(Arc::clone(&shared))), EventReceiver(shared))
}

/// Where a link says what happens.
#[derive(Debug, Clone)]
pub struct EventSender(Sink);

#[derive(Debug, Clone)]
enum Sink {
    Lanes(Arc<Shared>),
    Arrival(mpsc::Sender<LinkEvent>),
}

/// A plain channel keeps the order of arrival, for a driver to whom all classes are one. The link ends when its receiver is dropped.
impl From<mpsc::Sender<LinkEvent>> for EventSender {
    fn from(sender: mpsc::Sender<LinkEvent>) -> Self {
        Self(Sink::Arrival(sender))
    }
}

impl EventSender {
    /// Says that something happened, once there is room for it. `false` if the link should end, because its driver has.
    ///
    /// A driver by class that has gone hears nothing more, and the link lives until it is shut down: what the driver had sent
    /// last is still on its way.
    pub async fn send(&self, event: LinkEvent) -> bool {
        match &self.0 {
            Sink::Arrival(sender) => sender.send(event).await.is_ok(),
            Sink::Lanes(shared) => {
                // An error means that the receiver is gone.
                if let Ok(permit) = shared.room(&event).acquire().await {
                    permit.forget();
                    shared.lock().push(event);
                    shared.some.notify_one();
                }
                true
            }
        }
    }

    /// Says that something happened, if there is room for it at once.
    pub(crate) fn offer(&self, event: LinkEvent) -> Offer {
        match &self.0 {
            Sink::Arrival(sender) => match sender.try_send(event) {
                Ok(()) => Offer::Taken,
                Err(mpsc::error::TrySendError::Full(_)) => Offer::Full,
                Err(mpsc::error::TrySendError::Closed(_)) => Offer::Gone,
            },
            Sink::Lanes(shared) => match shared.room(&event).try_acquire() {
                Ok(permit) => {
                    permit.forget();
                    shared.lock().push(event);
                    shared.some.notify_one();
                    Offer::Taken
                }
                Err(TryAcquireError::NoPermits) => Offer::Full,
                // The receiver is gone, and the link lives until it is shut down.
                Err(TryAcquireError::Closed) => Offer::Taken,
            },
        }
    }
}

/// What became of an event that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    Taken,
    /// There is no room for it now.
    Full,
    /// The link should end, because its driver has.
    Gone,
}

/// Where a driver hears what happens.
#[derive(Debug)]
pub struct EventReceiver(Arc<Shared>);

impl EventReceiver {
    /// The next event; waits for it. Loses nothing if it is dropped while it waits.
    pub async fn recv(&mut self) -> LinkEvent {
        loop {
            if let Some(event) = self.try_recv() {
                return event;
            }
            // What was said since is remembered, and ends this wait at once.
            self.0.some.notified().await;
        }
    }

    /// The next event, if one waits.
    pub fn try_recv(&mut self) -> Option<LinkEvent> {
        self.take(Lanes::next)
    }

    /// The next event, if one waits that nothing may delay: a session that begins or ends, or a P0 message.
    pub fn try_recv_first(&mut self) -> Option<LinkEvent> {
        self.take(Lanes::first)
    }

    fn take(&mut self, pick: impl FnOnce(&mut Lanes) -> Option<LinkEvent>) -> Option<LinkEvent> {
        let event = pick(&mut self.0.lock())?;
        self.0.room(&event).add_permits(1);
        Some(event)
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        self.0.control.close();
        self.0.rooms.iter().for_each(Semaphore::close);
        *self.0.lock() = Lanes::default();
    }
}

#[derive(Debug)]
struct Shared {
    lanes: Mutex<Lanes>,
    some: Notify,
    control: Semaphore,
    rooms: [Semaphore; Class::ALL.len()],
}

impl Shared {
    fn room(&self, event: &LinkEvent) -> &Semaphore {
        match event {
            LinkEvent::Message { message, .. } => &self.rooms[class_of(message) as usize],
            LinkEvent::Up { .. } | LinkEvent::Down { .. } => &self.control,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Greetings, receipts and questions are sent as P1, and are received so.
fn class_of(message: &Message) -> Class {
    match message {
        Message::Event(copy) => copy.sealed.event.class,
        _ => Class::P1,
    }
}

#[derive(Debug, Default)]
struct Lanes {
    /// Beginnings, and those ends of whose path no message waits.
    control: VecDeque<LinkEvent>,
    messages: [VecDeque<(PathId, Message)>; Class::ALL.len()],
    /// Messages of each path that wait.
    of_path: HashMap<PathId, usize>,
    /// Ends of paths of which messages wait.
    ends: HashMap<PathId, DownReason>,
    taken: u32,
}

impl Lanes {
    fn push(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Message { path, message } => {
                *self.of_path.entry(path).or_default() += 1;
                self.messages[class_of(&message) as usize].push_back((path, message));
            }
            LinkEvent::Down { path, why } if self.of_path.contains_key(&path) => {
                self.ends.insert(path, why);
            }
            event @ (LinkEvent::Up { .. } | LinkEvent::Down { .. }) => self.control.push_back(event),
        }
    }

    fn first(&mut self) -> Option<LinkEvent> {
        self.control.pop_front().or_else(|| self.message(Class::P0))
    }

    fn next(&mut self) -> Option<LinkEvent> {
        if let Some(event) = self.control.pop_front() {
            return Some(event);
        }
        self.taken = self.taken.wrapping_add(1);
        let mut waiting = Class::ALL.into_iter().filter(|class| !self.messages[*class as usize].is_empty());
        let class = if self.taken.is_multiple_of(LOWER_EVERY) { waiting.next_back() } else { waiting.next() };
        self.message(class?)
    }

    fn message(&mut self, class: Class) -> Option<LinkEvent> {
        let (path, message) = self.messages[class as usize].pop_front()?;
        if let Some(count) = self.of_path.get_mut(&path) {
            *count -= 1;
            if *count == 0 {
                self.of_path.remove(&path);
                self.control.extend(self.ends.remove(&path).map(|why| LinkEvent::Down { path, why }));
            }
        }
        Some(LinkEvent::Message { path, message })
    }
}

#[cfg(test)]
mod tests;
