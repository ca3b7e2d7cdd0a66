//! Commands from seats to schools: they go to the schools' relays at once, to the record, and what becomes of them back to the seats.
//!
//! As with alarms nobody waits for storage: a command to one school is on its way to each of its relays that is here in the step in which it
//! came. A notice waits for the record, which says what schools it is for, and goes out to [`limits::NOTICE_WINDOW`] of them at a time.
//! Without a quorum a command to one school is carried out all the same, and its seat is told that it is provisional; a notice is not taken.
//!
//! How long a command still lives, each node counts by its own steady clock from when it first saw it, and says so with each copy. The leader
//! proposes that one has expired, and the record decides.
//!
//! Invariants:
//! * Only seats of stations that the plan names for a school, or that have an open alarm of it, command it.
//! * At most [`limits::BROKER_COMMANDS`] commands wait for the record, and [`limits::BROKER_COMMAND_RECEIPTS`] receipts; those of more get
//!   no answer and are said again.
//! * A receipt is confirmed to its relay only when the record holds it, or has no use for it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{NotCommitted, Output, Report};
use crate::broker::waiting::{AGAIN_AFTER, AGAIN_IN_DOUBT, AGAIN_SOON};
use crate::command::{CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, SealedCommand, Target};
use crate::event::{Class, Text};
use crate::id::{NodeName, PathId, RelayId, SeatId};
use crate::limits;
use crate::message::{COMMANDS_SINCE, Message};
use crate::path::Form;
use crate::receipt::Standing;
use crate::record::{Command, CommandEntry};
use crate::signature::Purpose;
use crate::time::{Now, Span, Timestamp, WallTime};

/// How long receipts are gathered for one command of the record while others are under way to it.
pub(super) const GATHER: Span = Span::from_millis(50);
/// How often seats are told how far a notice is.
pub(super) const TELL_NOTICE_EVERY: Span = Span::from_millis(500);
/// After so long a receipt of a command that nobody here knows is of no use to the record.
pub(super) const FORGOTTEN_AFTER_MICROS: i64 = 600_000_000;

/// One statement: which command, which stage, whose.
pub(super) type Claim = (CommandId, CommandStage, NodeName);

/// The commands that wait for the record, and what is followed of those in it.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pub(super) pending: BTreeMap<CommandId, Pending>,
    /// When the time to live of each command that is open is over.
    pub(super) deadlines: BTreeMap<CommandId, Timestamp>,
    /// When the leader looks at them: at their deadlines, and again while the record has not decided.
    pub(super) due: BTreeSet<(Timestamp, CommandId)>,
    /// Receipts that wait for the record, and when they were proposed.
    pub(super) noting: BTreeMap<Claim, (CommandReceipt, Option<Timestamp>)>,
    /// When receipts that are gathered go to the record, or what went is looked at again.
    pub(super) note_at: Option<Timestamp>,
    /// The notices that go out, each with the relay that was looked at last.
    pub(super) fans: BTreeMap<CommandId, Option<RelayId>>,
    /// Relays that came since, and are to be given them.
    pub(super) waiting: BTreeSet<(CommandId, RelayId)>,
    /// To whom they are being carried.
    pub(super) carried: BTreeSet<(CommandId, RelayId)>,
    /// Notices of which seats are told, and when.
    pub(super) news: BTreeMap<CommandId, Timestamp>,
    /// When what waits is proposed again.
    pub(super) again_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) sealed: SealedCommand,
    pub(super) heard: WallTime,
    /// When it was proposed last; `None` if that is known to have come to nothing.
    pub(super) proposed: Option<Timestamp>,
    /// What its relays have said of it already, for its seat.
    pub(super) said: Vec<CommandReceipt>,
}

impl Commands {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(at, _)| *at);
        let news = self.news.values().min().copied();
        [due, news, self.note_at, self.again_at].into_iter().flatten().min()
    }

    /// A relay has no session here any longer: nothing is carried to it.
    pub(super) fn relay_gone(&mut self, relay: &RelayId) {
        self.carried.retain(|(_, other)| other != relay);
        self.waiting.retain(|(_, other)| other != relay);
    }

    /// Nothing of it is carried to this relay any longer.
    pub(super) fn not_carried(&mut self, id: CommandId, relay: &RelayId) {
        self.carried.remove(&(id, relay.clone()));
    }

    pub(super) fn forget(&mut self, id: &CommandId) {
        self.deadlines.remove(id);
        self.due.retain(|(_, other)| other != id);
        self.fans.remove(id);
        self.carried.retain(|(other, _)| other != id);
        self.waiting.retain(|(other, _)| other != id);
    }

    pub(super) fn soon(slot: &mut Option<Timestamp>, at: Timestamp) {
        *slot = Some(slot.map_or(at, |before| before.min(at)));
    }
}

/// The receipts of a command of the record, to be confirmed once it has taken effect.
pub(super) fn command_told(command: &Command) -> Vec<Claim> {
    match command {
        Command::NoteCommand(receipts) => receipts.iter().map(claim).collect(),
        _ => Vec::new(),
    }
}

pub(super) fn claim(receipt: &CommandReceipt) -> Claim {
    (receipt.command, receipt.stage, receipt.by.clone())
}

impl Broker {
    /// A seat says a command.
    pub(super) fn command_ordered(&mut self, now: Now, path: PathId, seat: &SeatId, sealed: SealedCommand) {
        if sealed.command.by != *seat {
            let me = NodeName::Station(seat.clone());
            return self.report(Report::Improper(me, "a command in somebody else's name"));
        }
        let id = sealed.id();
        if let Some(state) = self.command_state(&id) {
            return self.send(path, Class::P1, Form::Stream, Message::CommandState(Box::new(state)));
        }
        if self.commands.pending.contains_key(&id) {
            return;
        }
        if let Some(why) = self.judge_command(&sealed) {
            self.report(Report::CommandRefused(sealed, why));
            return self.send(path, Class::P1, Form::Stream, Message::CommandRefused(id, why));
        }
        if self.commands.pending.len() >= limits::BROKER_COMMANDS {
            return;
        }
        self.report(Report::Commanded(sealed.clone()));
        self.follow_command(now, id, sealed.command.ttl);
        let pending = Pending { sealed: sealed.clone(), heard: now.wall, proposed: None, said: Vec::new() };
        self.commands.pending.insert(id, pending);
        self.offer_command(now, &sealed);
        self.propose_command(now, id);
        if self.condition.is_some() {
            self.tell_provisional_command(&id);
        }
    }

    /// What keeps this node from taking a command.
    pub(super) fn judge_command(&self, sealed: &SealedCommand) -> Option<CommandRefusal> {
        let command = &sealed.command;
        let by = NodeName::Station(command.by.clone());
        if let Some(verifier) = &self.verifier
            && verifier.verify(Purpose::Command, &sealed.bytes, &sealed.signature, &by).is_err()
        {
            return Some(CommandRefusal::BadSignature);
        }
        let station = &command.by.station;
        match &command.target {
            Target::School(school) if self.plan().may_command(station, school) => {}
            Target::School(school) => {
                let has = |entry: &crate::record::Entry| entry.admission.stations.contains(station);
                if !self.record.open_cases_of(school).any(has) {
                    let known = self.plan().school(school).is_some();
                    return Some(if known { CommandRefusal::NotYours } else { CommandRefusal::NoSchool });
                }
            }
            Target::Area(_) if self.condition.is_some() => return Some(CommandRefusal::NoQuorum),
            Target::Area(_) if self.record.plan().version() == 0 => return Some(CommandRefusal::NoPlan),
            Target::Area(area) if self.plan().commanded(station, *area).is_empty() => {
                return Some(CommandRefusal::NoSchool);
            }
            Target::Area(_) => {}
        }
        self.record.commands().has_room_for(sealed).err()
    }

    pub(super) fn propose_command(&mut self, now: Now, id: CommandId) {
        let Some(pending) = self.commands.pending.get_mut(&id) else { return };
        pending.proposed = Some(now.mono);
        let (sealed, heard, by) = (Box::new(pending.sealed.clone()), pending.heard, self.me.clone());
        Commands::soon(&mut self.commands.again_at, now.mono + AGAIN_AFTER);
        self.out.push_back(Output::Propose(Command::AdmitCommand { sealed, heard, by }));
    }

    /// How a command stands, in the record or here.
    pub(super) fn command_state(&self, id: &CommandId) -> Option<CommandState> {
        if let Some(entry) = self.record.commands().get(id) {
            return Some(entry.state());
        }
        self.condition.as_ref()?;
        let pending = self.commands.pending.get(id)?;
        let receipts = pending.said.clone();
        let steps = receipts.len() as u64;
        let (sealed, progress) = (pending.sealed.clone(), None);
        Some(CommandState { sealed, receipts, progress, standing: Standing::Provisional, steps })
    }

    /// Gives a command to all relays of its school that are here.
    pub(super) fn offer_command(&mut self, now: Now, sealed: &SealedCommand) {
        let Target::School(school) = &sealed.command.target else { return };
        let relays = self.relays.range(RelayId::first_of(school)..).map(|(relay, _)| relay.clone());
        let relays: Vec<RelayId> = relays.take_while(|relay| relay.school == *school).collect();
        for relay in relays {
            self.carry_command(now, &relay, sealed);
        }
    }

    pub(super) fn carry_command(&mut self, now: Now, relay: &RelayId, sealed: &SealedCommand) -> bool {
        let (id, class, bytes) = (sealed.id(), sealed.command.instruction.class(), sealed.wire_bytes());
        let Some(gate) = self.relays.get_mut(relay) else { return false };
        let carried = gate.command(now, id, class, bytes);
        if carried {
            self.drain_gate(now, relay);
        }
        carried
    }

    /// Puts one copy of a command on the wire. False if there is nothing to send any longer.
    pub(super) fn send_command(
        &mut self,
        now: Now,
        (path, class, form): (PathId, Class, Form),
        id: &CommandId,
    ) -> bool {
        let recorded = self.record.commands().get(id).map(|entry| &entry.sealed);
        let sealed = recorded.or_else(|| self.commands.pending.get(id).map(|pending| &pending.sealed)).cloned();
        let left = self.commands.deadlines.get(id).map(|deadline| deadline.since(now.mono)).unwrap_or_default();
        let Some(sealed) = sealed.filter(|_| !left.is_zero()) else { return false };
        self.send(path, class, form, Message::Command(Box::new(sealed), left));
        true
    }

    /// A relay has come, and has said which version it is of: it is given what is open for it.
    pub(super) fn offer_commands(&mut self, now: Now, relay: &RelayId) {
        if self.relays.get(relay).is_none_or(|gate| gate.minor < COMMANDS_SINCE) {
            return;
        }
        let me = NodeName::Relay(relay.clone());
        let open: Vec<_> =
            self.record.commands().open_for(&relay.school).filter(|entry| entry.is_for(&me)).cloned().collect();
        for entry in open {
            let id = entry.sealed.id();
            self.follow_entry(now, &entry);
            if !entry.is_notice() {
                self.carry_command(now, relay, &entry.sealed);
            } else if let Entry::Vacant(new) = self.commands.fans.entry(id) {
                new.insert(None);
            } else {
                // Its turn may be over.
                self.commands.waiting.insert((id, relay.clone()));
            }
        }
        let pending = self.commands.pending.values().map(|pending| &pending.sealed);
        let own = |sealed: &&SealedCommand| matches!(&sealed.command.target, Target::School(school) if *school == relay.school);
        let pending: Vec<SealedCommand> = pending.filter(own).cloned().collect();
        for sealed in pending {
            self.carry_command(now, relay, &sealed);
        }
        self.fan_out(now);
    }

    /// A command is in the record.
    pub(super) fn command_admitted(&mut self, now: Now, id: CommandId, replayed: bool) {
        let waited = self.commands.pending.remove(&id);
        let Some(entry) = self.record.commands().get(&id).cloned() else { return };
        if replayed {
            self.follow_entry(now, &entry);
        } else {
            self.follow_command(now, id, entry.sealed.command.ttl);
            self.report(Report::CommandStage(entry.sealed.command.instruction.kind(), stored(&entry)));
        }
        self.tell_command(&entry);
        if entry.is_notice() {
            self.commands.fans.insert(id, None);
            self.fan_out(now);
        } else if waited.is_none() {
            self.offer_command(now, &entry.sealed);
        }
        self.arm_command(now, id);
    }

    /// The record does not take a command.
    pub(super) fn command_refused(&mut self, sealed: &SealedCommand, why: CommandRefusal) {
        let id = sealed.id();
        self.commands.pending.remove(&id);
        self.commands.forget(&id);
        self.report(Report::CommandRefused(sealed.clone(), why));
        if let Some(desk) = self.desks.get(&sealed.command.by) {
            let refused = Message::CommandRefused(id, why);
            self.out.extend(desk.express().map(|path| Output::Send(path, Class::P1, Form::Stream, refused.clone())));
        }
    }

    /// A command to the record came to nothing. True if it was about commands to schools.
    pub(super) fn command_not_committed(&mut self, now: Now, command: &Command, why: &NotCommitted) -> bool {
        let soon = now.mono + if *why == NotCommitted::NoQuorum { AGAIN_SOON } else { AGAIN_IN_DOUBT };
        let soon = if self.condition.is_some() { now.mono + AGAIN_AFTER } else { soon };
        match command {
            Command::AdmitCommand { sealed, .. } => {
                if let Some(pending) = self.commands.pending.get_mut(&sealed.id()) {
                    pending.proposed = None;
                    Commands::soon(&mut self.commands.again_at, soon);
                }
                true
            }
            Command::NoteCommand(receipts) => {
                for receipt in receipts {
                    if let Some((_, proposed)) = self.commands.noting.get_mut(&claim(receipt)) {
                        *proposed = None;
                        Commands::soon(&mut self.commands.note_at, soon);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// Tells all seats that have to do with a command how it stands.
    pub(super) fn tell_command(&mut self, entry: &CommandEntry) {
        self.tell_state(entry.state());
    }

    /// The same of one that is in no record while there is no quorum.
    pub(super) fn tell_provisional_command(&mut self, id: &CommandId) {
        if self.condition.is_some()
            && let Some(state) = self.command_state(id)
        {
            self.tell_state(state);
        }
    }

    pub(super) fn tell_state(&mut self, state: CommandState) {
        let command = &state.sealed.command;
        let case = command.case.and_then(|event| self.record.get(&event));
        let case = case.filter(|entry| Target::School(entry.admission.sealed.event.school().clone()) == command.target);
        let mut stations: BTreeSet<_> = case.into_iter().flat_map(|entry| entry.admission.stations.clone()).collect();
        stations.insert(command.by.station.clone());
        let message = Message::CommandState(Box::new(state));
        for station in &stations {
            for (_, desk) in seats_of(&mut self.desks, station).filter(|(_, desk)| desk.minor >= COMMANDS_SINCE) {
                let send = |path| Output::Send(path, Class::P1, Form::Stream, message.clone());
                self.out.extend(desk.express().map(send));
            }
        }
    }

    /// A seat has come: it is told of the latest commands of its station.
    pub(super) fn tell_commands(&mut self, path: PathId, seat: &SeatId) {
        if self.desks.get(seat).is_none_or(|desk| desk.minor < COMMANDS_SINCE) {
            return;
        }
        let latest = self.record.commands().of_station(&seat.station, limits::COMMANDS_TOLD);
        let states: Vec<CommandState> = latest.map(|entry| entry.state()).collect();
        for state in states.into_iter().rev() {
            self.send(path, Class::P2, Form::Stream, Message::CommandState(Box::new(state)));
        }
    }

    pub(super) fn check_commands(&self) -> Result<(), String> {
        let commands = &self.commands;
        if commands.pending.len() > limits::BROKER_COMMANDS || commands.carried.len() > limits::NOTICE_WINDOW {
            return Err(format!(
                "{} commands wait, {} notices are carried",
                commands.pending.len(),
                commands.carried.len()
            ));
        }
        if let Some(id) = commands.pending.keys().find(|id| self.record.commands().get(id).is_some()) {
            return Err(format!("command {id} waits for the record, which has it"));
        }
        if let Some(id) = commands.pending.keys().find(|id| !commands.deadlines.contains_key(id)) {
            return Err(format!("command {id} waits, and nobody knows how long it lives"));
        }
        if !commands.pending.is_empty() && commands.again_at.is_none() {
            return Err("commands wait for the record, and nobody looks at them".to_owned());
        }
        if !commands.noting.is_empty() && commands.note_at.is_none() {
            return Err("receipts of commands wait for the record, and nobody looks at them".to_owned());
        }
        if let Some((_, relay)) = commands.carried.iter().find(|(_, relay)| !self.relays.contains_key(relay)) {
            return Err(format!("a notice is carried to {relay:?}, which has no session"));
        }
        Ok(())
    }
}

/// When a command was given, by the clock of its seat, as its id has it.
pub(super) fn issued(id: &CommandId) -> i64 {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    i64::from_be_bytes([0, 0, a, b, c, d, e, f]).saturating_mul(1_000)
}

pub(super) fn stored(entry: &CommandEntry) -> CommandReceipt {
    CommandReceipt {
        command: entry.sealed.id(),
        stage: CommandStage::Stored,
        at: entry.heard,
        by: entry.by.clone(),
        detail: Text::default(),
        took: None,
        skew: None,
    }
}
