//! One congestion controller with three modes, chosen after the handshake.
//!
//! Express has a fixed window. An alarm is a few hundred bytes: on a radio link that loses packets for reasons of its own, a
//! controller that halves its window at each loss delays the alarm and relieves nobody, and after a minute of silence a
//! growing window has nothing to grow from. What keeps express from harming a line is before it: the courier's budget for
//! copies, and the few kilobytes that classes below P0 may have under way (see [`crate::outgoing`]). The window itself is so
//! large that it never speaks: on a line that has gone dead everything sent counts as under way until something is heard,
//! and the copy that gets through when it heals must not wait behind those that did not. Nor does quinn's pacer speak, which
//! spreads a window over a round trip: it lets ten packets go at once and the rest at megabytes a second.
//!
//! Bulk yields: it fills a line that is idle and leaves the line's queue to express (see [`yielding`]).
//!
//! Between peers of a region, whose lines are wired and whose answers may be megabytes, CUBIC as quinn has it.
//!
//! A server fixes a connection's transport settings before it has seen the ALPN that names the lane. So all begin as express,
//! and [`choose`] and [`choose_peer`] switch the mode, which every copy of a connection's controller shares. A dialler of a peer knows
//! from the start and has CUBIC alone ([`cubic`]).
//!
//! Invariants:
//!
//! * An express window never changes.
//! * A connection that moved to a path of which nothing is known has a new controller, which is in the mode of express until
//!   bulk takes its next [turn](Writer::next).

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use huxiao_core::{Lane, Span};
use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, Cubic, CubicConfig};
use quinn_proto::RttEstimator;

use crate::congestion::yielding::Yielding;

mod turns;
mod yielding;

pub(crate) use turns::{Turns, Writer};

/// Bytes under way on an express connection: twice what the budget for copies lets go until the idle time-out ends a silent
/// connection (30 s of 8,000 bytes).
pub(crate) const EXPRESS_WINDOW: u64 = 512 * 1_024;

/// Bytes under way between peers before anything was acknowledged: what a heartbeat or a batch of commands needs at once.
const PEER_WINDOW: u64 = 128 * 1_024;

/// The controller of a connection that is known to be with a peer of the region.
pub(crate) fn cubic() -> Arc<CubicConfig> {
    let mut config = CubicConfig::default();
    config.initial_window(PEER_WINDOW);
    Arc::new(config)
}

/// Makes the controllers.
#[derive(Debug, Default)]
pub(crate) struct Modes;

#[derive(Clone)]
struct Mode {
    bulk: Arc<AtomicBool>,
    peer: Arc<AtomicBool>,
    cubic: Cubic,
    /// Whether bulk has more to send than its turn.
    busy: Arc<AtomicBool>,
    yielding: Yielding,
    /// The smoothed round-trip time that quinn showed last, and the sample that has led to it.
    rtt: Span,
    sample: Option<Span>,
}

/// Puts a connection into the mode of its lane.
pub(crate) fn choose(connection: &Connection, lane: Lane) {
    if let Ok(mode) = connection.congestion_state().into_any().downcast::<Mode>() {
        mode.bulk.store(lane == Lane::Bulk, Ordering::Relaxed);
    }
}

/// Puts a connection that was taken in from a peer of the region into its mode.
pub(crate) fn choose_peer(connection: &Connection) {
    if let Ok(mode) = connection.congestion_state().into_any().downcast::<Mode>() {
        mode.peer.store(true, Ordering::Relaxed);
    }
}

impl ControllerFactory for Modes {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Mode {
            bulk: Arc::default(),
            peer: Arc::default(),
            cubic: Cubic::new(cubic(), now, current_mtu),
            busy: Arc::default(),
            yielding: Yielding::new(current_mtu),
            rtt: Span::ZERO,
            sample: None,
        })
    }
}

/// The round trip that has moved the smoothed one from `before` to `now` (RFC 9002 §5.3: by an eighth). quinn shows only the
/// smoothed one, and only there the time is taken off by which the peer put its acknowledgement off.
fn sample(before: Span, now: Span) -> Option<Span> {
    if before.is_zero() { None } else { (now * 8).checked_sub(before * 7) }
}

impl Mode {
    fn bulk(&self) -> bool {
        self.bulk.load(Ordering::Relaxed)
    }

    fn peer(&self) -> bool {
        self.peer.load(Ordering::Relaxed)
    }
}

impl Controller for Mode {
    fn on_sent(&mut self, now: Instant, _: u64, _: u64) {
        self.yielding.on_sent(now);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        if self.peer() {
            return self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
        }
        let smoothed = rtt.get();
        if smoothed != self.rtt {
            self.sample = sample(self.rtt, smoothed);
            self.rtt = smoothed;
        }
        self.yielding.on_ack(bytes, app_limited && !self.busy.load(Ordering::Relaxed));
    }

    fn on_end_acks(&mut self, now: Instant, _: u64, _: bool, _: Option<u64>) {
        self.yielding.on_end_acks(now, self.rtt, self.sample.take());
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost: u64) {
        if self.peer() {
            return self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost);
        }
        self.yielding.on_loss(now, sent, is_persistent_congestion);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.yielding.on_mtu(new_mtu);
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.peer() {
            return self.cubic.window();
        }
        if self.bulk() { self.yielding.window() } else { EXPRESS_WINDOW }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        if self.bulk() { self.yielding.initial_window() } else { EXPRESS_WINDOW }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_found_again_in_what_it_was_smoothed_to() {
        let before = Span::from_micros(120_345);
        for took in [60, 119, 121, 400].map(Span::from_millis) {
            let found = sample(before, (before * 7 + took) / 8).unwrap();
            assert!(found.abs_diff(took) < Span::from_micros(1), "{took:?}, found {found:?}");
        }
        assert_eq!(sample(Span::ZERO, before), None, "nothing was smoothed yet");
    }

    #[test]
    fn a_loss_shrinks_bulk_and_leaves_express_alone() {
        let now = Instant::now();
        let mut express = Arc::new(Modes).build(now, 1_200);
        let before = express.window();
        express.on_congestion_event(now, now, true, 12_000);
        assert_eq!(express.window(), before);

        // The copy that a connection hands out shares the mode with the connection's own.
        let copy = express.clone_box().into_any().downcast::<Mode>().unwrap();
        copy.bulk.store(true, Ordering::Relaxed);
        assert_eq!(express.window(), 6_000, "bulk has seen the persistent congestion all along");
    }
}
