//! What happens on a link as the inputs of a machine, by class.

use huxiao_core::Machine;
use huxiao_link::{EventReceiver, LinkEvent};

/// The link's side of an [`Inbox`](crate::drive::Inbox). Between the sessions' readers and the machine there is no other queue than
/// the link's own, which keeps the classes apart.
pub struct Feed<M: Machine> {
    events: EventReceiver,
    translate: Box<dyn FnMut(LinkEvent) -> Option<M::Input> + Send>,
}

impl<M: Machine> Feed<M> {
    /// What `events` says, as `translate` has it; `None` for what the machine need not know.
    pub fn new(events: EventReceiver, translate: impl FnMut(LinkEvent) -> Option<M::Input> + Send + 'static) -> Self {
        Self { events, translate: Box::new(translate) }
    }

    /// A session that began or ended, or a P0 message, if one waits.
    pub(crate) fn try_first(&mut self) -> Option<M::Input> {
        while let Some(event) = self.events.try_recv_first() {
            if let Some(input) = (self.translate)(event) {
                return Some(input);
            }
        }
        None
    }

    /// The next of any class, the highest first, if one waits.
    pub(crate) fn try_next(&mut self) -> Option<M::Input> {
        while let Some(event) = self.events.try_recv() {
            if let Some(input) = (self.translate)(event) {
                return Some(input);
            }
        }
        None
    }

    /// The next of any class, the highest first. Loses nothing if it is dropped while it waits.
    pub(crate) async fn next(&mut self) -> M::Input {
        loop {
            let event = self.events.recv().await;
            if let Some(input) = (self.translate)(event) {
                return input;
            }
        }
    }
}
