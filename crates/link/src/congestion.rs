//! One congestion controller with two modes, chosen after the handshake.
//!
//! Express has a fixed window. An alarm is a few hundred bytes: on a radio link that loses packets for reasons of its own, a
//! controller that halves its window at each loss delays the alarm and relieves nobody, and after a minute of silence a
//! growing window has nothing to grow from. What keeps express from harming a line is before it: the courier's budget for
//! copies, and the few kilobytes that classes below P0 may have under way (see [`crate::outgoing`]). The window itself is so
//! large that it never speaks: on a line that has gone dead everything sent counts as under way until something is heard,
//! and the copy that gets through when it heals must not wait behind those that did not. Nor does quinn's pacer speak, which
//! spreads a window over a round trip: it lets ten packets go at once and the rest at megabytes a second. Bulk is what a congestion controller was made for, and gets Cubic.
//!
//! A server fixes a connection's transport settings before it has seen the ALPN that names the lane. So both lanes begin
//! as express, and [`choose`] switches the mode, which every copy of a connection's controller shares.
//!
//! Invariant: an express window never changes.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use huxiao_core::Lane;
use quinn::Connection;
use quinn::congestion::{Controller, ControllerFactory, CubicConfig};
use quinn_proto::RttEstimator;

/// Bytes under way on an express connection: twice what the budget for copies lets go until the idle time-out ends a silent
/// connection (30 s of 8,000 bytes).
pub(crate) const EXPRESS_WINDOW: u64 = 512 * 1_024;

/// Makes the controllers.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    cubic: Arc<CubicConfig>,
}

struct Mode {
    bulk: Arc<AtomicBool>,
    cubic: Box<dyn Controller>,
}

/// Puts a connection into the mode of its lane.
pub(crate) fn choose(connection: &Connection, lane: Lane) {
    if let Ok(mode) = connection.congestion_state().into_any().downcast::<Mode>() {
        mode.bulk.store(lane == Lane::Bulk, Ordering::Relaxed);
    }
}

impl ControllerFactory for Modes {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let cubic = Arc::clone(&self.cubic).build(now, current_mtu);
        Box::new(Mode { bulk: Arc::default(), cubic })
    }
}

impl Mode {
    fn bulk(&self) -> bool {
        self.bulk.load(Ordering::Relaxed)
    }
}

impl Controller for Mode {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.cubic.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.cubic.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest: Option<u64>) {
        self.cubic.on_end_acks(now, in_flight, app_limited, largest);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.cubic.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.cubic.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.bulk() { self.cubic.window() } else { EXPRESS_WINDOW }
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Mode { bulk: Arc::clone(&self.bulk), cubic: self.cubic.clone_box() })
    }

    fn initial_window(&self) -> u64 {
        if self.bulk() { self.cubic.initial_window() } else { EXPRESS_WINDOW }
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_shrinks_bulk_and_leaves_express_alone() {
        let now = Instant::now();
        let mut express = Arc::new(Modes::default()).build(now, 1_200);
        let before = express.window();
        express.on_congestion_event(now, now, true, 12_000);
        assert_eq!(express.window(), before);

        // The copy that a connection hands out shares the mode with the connection's own.
        let copy = express.clone_box().into_any().downcast::<Mode>().unwrap();
        copy.bulk.store(true, Ordering::Relaxed);
        assert!(express.window() < before, "Cubic has seen the persistent congestion all along");
    }
}
