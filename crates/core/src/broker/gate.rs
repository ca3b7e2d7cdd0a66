//! One relay as a broker node sees it: its sessions, and the receipts that are on their way to it.
//!
//! `STORED` is not carried: a relay sends its event again until it has that, and each copy draws it. What comes after (a screen has
//! it, an officer has it) nobody asks for, so it is carried like an alarm until the relay says that it has come.
//!
//! Invariant: at most [`limits::RECEIPTS_CARRIED`] receipts are carried to one relay, and none without a session. What is not carried is
//! said once; a relay asks about its open events by itself, at the beginning of each session and every few seconds.

use std::collections::BTreeMap;

use crate::courier::{Courier, Transmit};
use crate::event::Class;
use crate::id::{EventId, PathId};
use crate::lane::Lane;
use crate::limits;
use crate::path::PathInfo;
use crate::receipt::{RECEIPT_WIRE_BYTES, Receipt, Stage};
use crate::time::{Now, Timestamp};

/// The node's side of one relay.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) paths: BTreeMap<PathId, PathInfo>,
    /// Whether it says which receipts have come. Before wire minor 2, relays did not.
    pub(super) confirms: bool,
    /// When its courier wants to be woken, as the node's timer table has it.
    pub(super) wake: Option<Timestamp>,
    courier: Courier<(EventId, Stage)>,
    carried: BTreeMap<(EventId, Stage), Receipt>,
}

impl Gate {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            paths: BTreeMap::new(),
            confirms: false,
            wake: None,
            courier: Courier::new(seed),
            carried: BTreeMap::new(),
        }
    }

    pub(super) fn path_up(&mut self, now: Now, path: PathId, info: PathInfo) {
        self.paths.insert(path, info);
        if info.lane == Lane::Express {
            self.courier.path_up(now.mono, path, info);
        }
    }

    pub(super) fn path_down(&mut self, now: Now, path: PathId) {
        self.paths.remove(&path);
        self.courier.path_down(now.mono, path);
    }

    pub(super) fn heard(&mut self, now: Now, path: PathId) {
        self.courier.heard(now.mono, path);
    }

    /// Its express sessions.
    pub(super) fn express(&self) -> impl Iterator<Item = PathId> {
        self.paths.iter().filter(|(_, info)| info.lane == Lane::Express).map(|(path, _)| *path)
    }

    /// Carries a receipt to the relay, from whichever seat it came first. False if it must be said at once instead.
    pub(super) fn carry(&mut self, now: Now, class: Class, receipt: &Receipt) -> bool {
        let key = (receipt.event, receipt.stage);
        let room = self.carried.len() < limits::RECEIPTS_CARRIED;
        if !self.confirms || !room || self.carried.contains_key(&key) || !self.courier.has_path() {
            return false;
        }
        self.carried.insert(key, receipt.clone());
        self.courier.offer(now.mono, key, class.min(Class::P1), false, RECEIPT_WIRE_BYTES);
        true
    }

    /// The relay has it.
    pub(super) fn confirmed(&mut self, now: Now, key: (EventId, Stage)) {
        self.courier.settle(now.mono, &key);
        self.carried.remove(&key);
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.courier.handle_timeout(now.mono);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.courier.poll_timeout()
    }

    /// The next receipt to send, and how.
    pub(super) fn poll_output(&mut self) -> Option<(Transmit<(EventId, Stage)>, Receipt)> {
        loop {
            let transmit = self.courier.poll_output()?;
            if let Some(receipt) = self.carried.get(&transmit.key) {
                return Some((transmit, receipt.clone()));
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        if self.paths.is_empty() {
            return Err("it is listed without a session".to_owned());
        }
        if self.courier.poll_timeout() != self.wake {
            return Err("its timer is not that of its courier".to_owned());
        }
        if self.courier.pending().iter().sum::<usize>() != self.carried.len()
            || self.carried.len() > limits::RECEIPTS_CARRIED
        {
            return Err("receipts are carried that are not held, or too many".to_owned());
        }
        Ok(())
    }
}
