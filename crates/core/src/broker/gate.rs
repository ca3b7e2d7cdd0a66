//! One relay, or one region below, as a broker node sees it: its sessions, and the receipts that are on their way to it.
//!
//! `STORED` is not carried: a relay sends its event again until it has that, and each copy draws it. What comes after (a screen has
//! it, an officer has it) nobody asks for, so it is carried like an alarm until the relay says that it has come.
//!
//! Invariant: receipts of at most [`limits::RECEIPTS_CARRIED`] events are carried to one relay, and none without a session. What is not carried is
//! said once; a relay asks about its open events by itself, at the beginning of each session and every few seconds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::broker::older::CONFIRMS_SINCE;
use crate::command::CommandId;
use crate::courier::{Courier, Transmit};
use crate::event::Class;
use crate::id::{EventId, PathId};
use crate::lane::Lane;
use crate::limits;
use crate::message::COMMANDS_SINCE;
use crate::path::PathInfo;
use crate::plan::SchoolPart;
use crate::receipt::{RECEIPT_WIRE_BYTES, Receipt, Stage};
use crate::time::{Now, Span, Timestamp};

/// A copy of an event that is stored draws the receipt again after this long.
const TELL_AGAIN_AFTER: Span = Span::from_millis(100);
/// Receipts of which it is remembered that the relay has confirmed them.
const CONFIRMED: usize = 64;
/// Events of which it is remembered when the relay was told.
const TOLD: usize = 64;

/// What a relay was told of its school's plan.
#[derive(Debug)]
pub(super) struct PlanTold {
    pub(super) part: SchoolPart,
    /// Whether it has that on its disk, by its own word.
    pub(super) kept: bool,
    /// How often it was told before in vain.
    pub(super) tries: u32,
}

/// What is on its way to a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    /// All receipts of an event that it has not confirmed.
    Receipts(EventId),
    /// A command that it has said nothing of.
    Command(CommandId),
}

/// What is to be sent to a relay now.
pub(super) enum Load {
    Receipts(Vec<Receipt>),
    Command(CommandId),
}

/// The node's side of one relay.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) paths: BTreeMap<PathId, PathInfo>,
    /// The wire minor that it speaks; 0 while it has not said so.
    pub(super) minor: u32,
    /// What it was told last of its school's plan.
    pub(super) plan: Option<PlanTold>,
    /// When its courier wants to be woken, as the node's timer table has it.
    pub(super) wake: Option<Timestamp>,
    /// One item an event: all that it has not confirmed travels together.
    courier: Courier<Item>,
    carried: BTreeMap<EventId, Vec<Receipt>>,
    commands: BTreeSet<CommandId>,
    /// What it has confirmed last, and whether that was final: a receipt is told when a seat says it and again when the record has it.
    confirmed: VecDeque<(EventId, Stage, bool)>,
    /// When it was last told that an event is stored: its copies come faster than it can hear that.
    told: BTreeMap<EventId, Timestamp>,
}

impl Gate {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            paths: BTreeMap::new(),
            minor: 0,
            plan: None,
            wake: None,
            courier: Courier::new(seed).of_statements(),
            carried: BTreeMap::new(),
            commands: BTreeSet::new(),
            confirmed: VecDeque::new(),
            told: BTreeMap::new(),
        }
    }

    /// Whether it says which receipts have come.
    pub(super) fn confirms(&self) -> bool {
        self.minor >= CONFIRMS_SINCE
    }

    pub(super) fn path_up(&mut self, now: Now, path: PathId, info: PathInfo) {
        self.paths.insert(path, info);
        // It may have begun anew and know nothing.
        self.confirmed.clear();
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

    /// Carries a receipt to the relay, from whichever seat it came first, unless it has it. False if it must be said at once instead.
    pub(super) fn carry(&mut self, now: Now, class: Class, receipt: &Receipt) -> bool {
        let id = receipt.event;
        let known = self.carried.get(&id);
        let room = known.is_some() || self.carried.len() < limits::RECEIPTS_CARRIED;
        if !self.confirms() || !room || !self.courier.has_path() {
            return false;
        }
        let said = |other: &Receipt| other.stage == receipt.stage && (other.is_final() || !receipt.is_final());
        let carried = known.is_some_and(|carried| carried.iter().any(said));
        let heard = |is_final| self.confirmed.contains(&(id, receipt.stage, is_final));
        if carried || heard(true) || (!receipt.is_final() && heard(false)) {
            return true;
        }
        let carried = self.carried.entry(id).or_default();
        // What is final takes the place of what was provisional.
        carried.retain(|other| other.stage != receipt.stage);
        carried.push(receipt.clone());
        let bytes = RECEIPT_WIRE_BYTES + (carried.len() - 1) * RECEIPT_WIRE_BYTES / 2;
        // Offered anew, it goes at once, and what was not confirmed of the event goes along.
        self.courier.withdraw(now.mono, &Item::Receipts(id));
        self.courier.offer(now.mono, Item::Receipts(id), class.min(Class::P1), false, bytes);
        true
    }

    /// The relay has it.
    pub(super) fn confirmed(&mut self, now: Now, (id, stage): (EventId, Stage)) {
        let Some(carried) = self.carried.get_mut(&id) else { return };
        let Some(at) = carried.iter().position(|receipt| receipt.stage == stage) else { return };
        let is_final = carried.remove(at).is_final();
        self.confirmed.push_back((id, stage, is_final));
        if self.confirmed.len() > CONFIRMED {
            self.confirmed.pop_front();
        }
        if carried.is_empty() {
            self.carried.remove(&id);
            self.courier.settle(now.mono, &Item::Receipts(id));
        }
    }

    /// The peer does not know this event: nothing of it is carried any longer.
    pub(super) fn drop_event(&mut self, now: Now, id: &EventId) {
        if self.carried.remove(id).is_some() {
            self.courier.withdraw(now.mono, &Item::Receipts(*id));
        }
    }

    /// Carries a command to the relay until it says something of it. False if it cannot be carried: the relay is of an older version, or has too
    /// many to come.
    pub(super) fn command(&mut self, now: Now, id: CommandId, class: Class, bytes: usize) -> bool {
        let room = self.commands.len() < limits::COMMANDS_OF_SCHOOL + limits::COMMANDS_RESERVED;
        if self.minor < COMMANDS_SINCE || !room || !self.courier.has_path() {
            return false;
        }
        if self.commands.insert(id) {
            self.courier.offer(now.mono, Item::Command(id), class.min(Class::P1), false, bytes);
        }
        true
    }

    /// The relay has said something of it.
    pub(super) fn command_settled(&mut self, now: Now, id: &CommandId) -> bool {
        let carried = self.commands.remove(id);
        if carried {
            self.courier.settle(now.mono, &Item::Command(*id));
        }
        carried
    }

    /// Whether the relay is to be told now that an event is stored. It sends copies until it hears that, and they come faster than it can.
    pub(super) fn tells(&mut self, now: Now, id: EventId) -> bool {
        if self.told.get(&id).is_some_and(|at| now.mono.since(*at) < TELL_AGAIN_AFTER) {
            return false;
        }
        if self.told.len() >= TOLD {
            self.told.retain(|_, at| now.mono.since(*at) < TELL_AGAIN_AFTER);
        }
        // A flood of events within that time is told of without being remembered.
        if self.told.len() < TOLD {
            self.told.insert(id, now.mono);
        }
        true
    }

    pub(super) fn handle_timeout(&mut self, now: Now) {
        self.courier.handle_timeout(now.mono);
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.courier.poll_timeout()
    }

    /// What is to be sent next, and how.
    pub(super) fn poll_output(&mut self) -> Option<(Transmit<Item>, Load)> {
        loop {
            let transmit = self.courier.poll_output()?;
            match transmit.key {
                Item::Command(id) => return Some((transmit, Load::Command(id))),
                Item::Receipts(id) => {
                    if let Some(receipts) = self.carried.get(&id) {
                        return Some((transmit, Load::Receipts(receipts.clone())));
                    }
                }
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
        if self.courier.pending().iter().sum::<usize>() != self.carried.len() + self.commands.len()
            || self.carried.len() > limits::RECEIPTS_CARRIED
        {
            return Err("receipts are carried that are not held, or too many".to_owned());
        }
        Ok(())
    }
}
