//! What waits to be sent on one path, and how much of it may be under way at once. No IO.
//!
//! Invariants:
//!
//! * A class's queue has room of its own: whatever waits below P0, P0's room is all there.
//! * What is under way below P0 (sent and not yet acknowledged) never fills the stream credit or the send window, so an
//!   alarm finds both open as long as the peer's driver takes its messages. One that takes none makes P0 wait too. The
//!   relation is checked when this file is compiled.
//! * While a path is early, nothing leaves it but events.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use huxiao_core::limits::BULK_FRAME_BYTES;
use huxiao_core::{Class, Lane};
use tokio::sync::Notify;

use crate::transport::STREAMS;

/// P0 streams under way at once.
const URGENT_STREAMS: usize = 128;
/// Streams under way at once of all classes below P0 together.
const OTHER_STREAMS: usize = 64;
/// Bytes under way at once of all classes below P0 together; one frame may exceed it if it is alone. On express it is what an
/// alarm may find before it in the queue of a slow line: 2 KiB are 64 ms at 256 kbit/s.
const OTHER_BYTES: [usize; 2] = [2 * 1_024, 2 * BULK_FRAME_BYTES];

const _: () = assert!(URGENT_STREAMS + OTHER_STREAMS < STREAMS as usize);

/// One message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) class: Class,
    pub(crate) bytes: Bytes,
    /// Whether it may leave before the handshake is over: raising an event twice is harmless, nothing else is known to be.
    pub(crate) early: bool,
}

/// The queues of one path.
#[derive(Debug)]
pub(crate) struct Outgoing {
    queues: Mutex<Queues>,
    /// Told whenever there may be something to take.
    pub(crate) ready: Notify,
    limit: usize,
    other_bytes: usize,
}

#[derive(Debug, Default)]
struct Queues {
    waiting: [VecDeque<Frame>; Class::ALL.len()],
    closed: bool,
    urgent_streams: usize,
    other_streams: usize,
    other_bytes: usize,
}

/// What became of a frame that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Push {
    Taken,
    Full,
    Closed,
}

impl Outgoing {
    /// Empty queues for a path of `lane`, each class holding up to `limit` frames.
    pub(crate) fn new(lane: Lane, limit: usize) -> Self {
        let other_bytes = OTHER_BYTES[usize::from(lane == Lane::Bulk)];
        Self { queues: Mutex::default(), ready: Notify::new(), limit, other_bytes }
    }

    /// Puts a frame at the end of its class's queue.
    pub(crate) fn push(&self, frame: Frame) -> Push {
        let mut queues = self.lock();
        if queues.closed {
            return Push::Closed;
        }
        let waiting = &mut queues.waiting[frame.class as usize];
        if waiting.len() >= self.limit {
            return Push::Full;
        }
        waiting.push_back(frame);
        drop(queues);
        self.ready.notify_one();
        Push::Taken
    }

    /// The next frame that may leave now, highest class first. It counts as under way until [`Outgoing::done`].
    pub(crate) fn take(&self, early: bool) -> Option<Frame> {
        let mut queues = self.lock();
        for class in Class::ALL {
            let waiting = &queues.waiting[class as usize];
            let next = waiting.iter().position(|frame| frame.early || !early);
            let Some((at, len)) = next.and_then(|at| waiting.get(at).map(|frame| (at, frame.bytes.len()))) else {
                continue;
            };
            let room = match class {
                Class::P0 => queues.urgent_streams < URGENT_STREAMS,
                _ => {
                    let fits = queues.other_streams == 0 || queues.other_bytes + len <= self.other_bytes;
                    queues.other_streams < OTHER_STREAMS && fits
                }
            };
            // No room for a frame of this class is none for a lower one: whatever fits beside it would only delay it.
            if !room && class != Class::P0 {
                return None;
            }
            if room {
                let frame = queues.waiting[class as usize].remove(at)?;
                queues.begin(&frame);
                return Some(frame);
            }
        }
        None
    }

    /// A frame that was taken is no longer under way.
    pub(crate) fn done(&self, frame: &Frame) {
        self.lock().end(frame);
    }

    /// A frame was taken, sent early and rejected: it goes first once the handshake is over, and not before.
    pub(crate) fn restore(&self, mut frame: Frame) {
        let mut queues = self.lock();
        queues.end(&frame);
        frame.early = false;
        queues.waiting[frame.class as usize].push_front(frame);
        drop(queues);
        self.ready.notify_one();
    }

    /// Whether nothing more is taken in.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes nothing more in.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    /// Frames that still wait, given up.
    pub(crate) fn clear(&self) -> usize {
        self.lock().waiting.iter_mut().map(|waiting| waiting.drain(..).count()).sum()
    }

    /// Whether nothing waits and nothing is under way.
    pub(crate) fn is_idle(&self) -> bool {
        let queues = self.lock();
        queues.waiting.iter().all(VecDeque::is_empty) && queues.urgent_streams + queues.other_streams == 0
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn begin(&mut self, frame: &Frame) {
        if frame.class == Class::P0 {
            self.urgent_streams += 1;
        } else {
            self.other_streams += 1;
            self.other_bytes += frame.bytes.len();
        }
    }

    fn end(&mut self, frame: &Frame) {
        if frame.class == Class::P0 {
            self.urgent_streams = self.urgent_streams.saturating_sub(1);
        } else {
            self.other_streams = self.other_streams.saturating_sub(1);
            self.other_bytes = self.other_bytes.saturating_sub(frame.bytes.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use huxiao_core::limits::EXPRESS_FRAME_BYTES;

    use super::*;

    fn frame(class: Class, len: usize, early: bool) -> Frame {
        Frame { class, bytes: Bytes::from(vec![0; len]), early }
    }

    #[test]
    fn the_highest_class_goes_first() {
        let outgoing = Outgoing::new(Lane::Express, 10);
        for class in [Class::P3, Class::P0, Class::P2, Class::P1] {
            assert_eq!(outgoing.push(frame(class, 1, true)), Push::Taken);
        }
        let order: Vec<_> = std::iter::from_fn(|| outgoing.take(false)).map(|frame| frame.class).collect();
        assert_eq!(order, [Class::P0, Class::P1, Class::P2, Class::P3]);
    }

    #[test]
    fn a_full_class_leaves_the_room_of_p0_alone() {
        let outgoing = Outgoing::new(Lane::Express, 3);
        while outgoing.push(frame(Class::P1, 1, true)) == Push::Taken {}
        assert_eq!(outgoing.push(frame(Class::P1, 1, true)), Push::Full);
        for _ in 0..3 {
            assert_eq!(outgoing.push(frame(Class::P0, 1, true)), Push::Taken);
        }
        assert_eq!(outgoing.push(frame(Class::P0, 1, true)), Push::Full);
    }

    #[test]
    fn lower_classes_under_way_leave_room_for_p0() {
        let outgoing = Outgoing::new(Lane::Express, 1_000);
        for _ in 0..1_000 {
            outgoing.push(frame(Class::P2, 2 * 1_024, true));
        }
        let under_way: Vec<_> = std::iter::from_fn(|| outgoing.take(false)).collect();
        assert_eq!(under_way.len(), 1, "as much as may be under way below P0");
        outgoing.push(frame(Class::P0, 300, true));
        assert_eq!(outgoing.take(false).unwrap().class, Class::P0);
        outgoing.done(&under_way[0]);
        assert!(outgoing.take(false).is_some(), "room given back is used again");
    }

    #[test]
    fn early_paths_let_events_pass_what_waits_before_them() {
        let outgoing = Outgoing::new(Lane::Express, 10);
        outgoing.push(frame(Class::P0, 1, false));
        outgoing.push(frame(Class::P0, 2, true));
        let event = outgoing.take(true).unwrap();
        assert_eq!(event.bytes.len(), 2);
        assert_eq!(outgoing.take(true), None);

        outgoing.restore(event);
        assert_eq!(outgoing.take(true), None, "what was rejected waits for the handshake");
        assert_eq!(outgoing.take(false).unwrap().bytes.len(), 2, "and goes first then");
        assert_eq!(outgoing.take(false).unwrap().bytes.len(), 1);
        assert!(!outgoing.is_idle());
    }

    #[test]
    fn one_frame_beyond_the_budget_goes_alone() {
        let outgoing = Outgoing::new(Lane::Express, 10);
        outgoing.push(frame(Class::P4, EXPRESS_FRAME_BYTES, true));
        outgoing.push(frame(Class::P4, 1, true));
        let large = outgoing.take(false).unwrap();
        assert_eq!(outgoing.take(false), None);
        outgoing.done(&large);
        assert!(outgoing.take(false).is_some());
    }
}
