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

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::machine::{Broker, seats_of};
use crate::broker::port::{NotCommitted, Output, Report};
use crate::broker::waiting::{AGAIN_AFTER, AGAIN_IN_DOUBT, AGAIN_SOON};
use crate::command::{CommandId, CommandReceipt, CommandRefusal, CommandStage, CommandState, SealedCommand, Target};
use crate::event::{Class, Text};
use crate::id::{NodeName, PathId, RelayId, SchoolId, SeatId};
use crate::limits;
use crate::message::{COMMANDS_SINCE, Message};
use crate::path::Form;
use crate::receipt::Standing;
use crate::record::{Command, CommandEntry};
use crate::signature::Purpose;
use crate::time::{Now, Span, Timestamp, WallTime};

/// How long receipts are gathered for one command of the record while others are under way to it.
const GATHER: Span = Span::from_millis(50);
/// How often seats are told how far a notice is.
const TELL_NOTICE_EVERY: Span = Span::from_millis(500);
/// After so long a receipt of a command that nobody here knows is of no use to the record.
const FORGOTTEN_AFTER_MICROS: i64 = 600_000_000;

/// One statement: which command, which stage, whose.
type Claim = (CommandId, CommandStage, NodeName);

/// The commands that wait for the record, and what is followed of those in it.
#[derive(Debug, Default)]
pub(super) struct Commands {
    pending: BTreeMap<CommandId, Pending>,
    /// When the time to live of each command that is open is over.
    deadlines: BTreeMap<CommandId, Timestamp>,
    /// When the leader looks at them: at their deadlines, and again while the record has not decided.
    due: BTreeSet<(Timestamp, CommandId)>,
    /// Receipts that wait for the record, and when they were proposed.
    noting: BTreeMap<Claim, (CommandReceipt, Option<Timestamp>)>,
    /// When receipts that are gathered go to the record, or what went is looked at again.
    note_at: Option<Timestamp>,
    /// The notices that go out, each with the relay that was looked at last.
    fans: BTreeMap<CommandId, Option<RelayId>>,
    /// To whom they are being carried.
    carried: BTreeSet<(CommandId, RelayId)>,
    /// Notices of which seats are told, and when.
    news: BTreeMap<CommandId, Timestamp>,
    /// When what waits is proposed again.
    again_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Pending {
    sealed: SealedCommand,
    heard: WallTime,
    /// When it was proposed last; `None` if that is known to have come to nothing.
    proposed: Option<Timestamp>,
    /// What its relays have said of it already, for its seat.
    said: Vec<CommandReceipt>,
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
    }

    /// Nothing of it is carried to this relay any longer.
    pub(super) fn not_carried(&mut self, id: CommandId, relay: &RelayId) {
        self.carried.remove(&(id, relay.clone()));
    }

    fn forget(&mut self, id: &CommandId) {
        self.deadlines.remove(id);
        self.due.retain(|(_, other)| other != id);
        self.fans.remove(id);
        self.carried.retain(|(other, _)| other != id);
    }

    fn soon(slot: &mut Option<Timestamp>, at: Timestamp) {
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

fn claim(receipt: &CommandReceipt) -> Claim {
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
    fn judge_command(&self, sealed: &SealedCommand) -> Option<CommandRefusal> {
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

    fn propose_command(&mut self, now: Now, id: CommandId) {
        let Some(pending) = self.commands.pending.get_mut(&id) else { return };
        pending.proposed = Some(now.mono);
        let (sealed, heard, by) = (Box::new(pending.sealed.clone()), pending.heard, self.me.clone());
        Commands::soon(&mut self.commands.again_at, now.mono + AGAIN_AFTER);
        self.out.push_back(Output::Propose(Command::AdmitCommand { sealed, heard, by }));
    }

    /// How a command stands, in the record or here.
    fn command_state(&self, id: &CommandId) -> Option<CommandState> {
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
    fn offer_command(&mut self, now: Now, sealed: &SealedCommand) {
        let Target::School(school) = &sealed.command.target else { return };
        let relays = self.relays.range(RelayId::first_of(school)..).map(|(relay, _)| relay.clone());
        let relays: Vec<RelayId> = relays.take_while(|relay| relay.school == *school).collect();
        for relay in relays {
            self.carry_command(now, &relay, sealed);
        }
    }

    fn carry_command(&mut self, now: Now, relay: &RelayId, sealed: &SealedCommand) -> bool {
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
            } else if let Some(last) = self.commands.fans.get_mut(&id) {
                // It is met again when its turn comes.
                if last.as_ref().is_some_and(|last| last >= relay) {
                    *last = None;
                }
            } else {
                self.commands.fans.insert(id, None);
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

    /// Gives notices to the next relays, as far as the window allows.
    fn fan_out(&mut self, now: Now) {
        let fans: Vec<CommandId> = self.commands.fans.keys().copied().collect();
        for id in fans {
            let Some(entry) = self.record.commands().get(&id).cloned() else {
                self.commands.forget(&id);
                continue;
            };
            while self.commands.carried.len() < limits::NOTICE_WINDOW {
                let Some(next) = self.next_of(&id, &entry) else { break };
                if self.carry_command(now, &next, &entry.sealed) {
                    self.commands.carried.insert((id, next));
                }
            }
        }
    }

    /// The next relay here that a notice is for, and to which it is not being carried.
    fn next_of(&mut self, id: &CommandId, entry: &CommandEntry) -> Option<RelayId> {
        let last = self.commands.fans.get_mut(id)?;
        let from = match last.as_ref() {
            Some(last) => std::ops::Bound::Excluded(last.clone()),
            None => std::ops::Bound::Unbounded,
        };
        for (relay, gate) in self.relays.range((from, std::ops::Bound::Unbounded)) {
            *last = Some(relay.clone());
            let carried = self.commands.carried.contains(&(*id, relay.clone()));
            if gate.minor >= COMMANDS_SINCE && !carried && entry.is_for(&NodeName::Relay(relay.clone())) {
                return Some(relay.clone());
            }
        }
        None
    }

    /// A relay says what became of commands.
    pub(super) fn command_receipts(&mut self, now: Now, path: PathId, relay: &RelayId, receipts: Vec<CommandReceipt>) {
        let me = NodeName::Relay(relay.clone());
        let mut confirmed = Vec::new();
        for receipt in receipts {
            let (id, stage) = (receipt.command, receipt.stage);
            if receipt.by != me || stage == CommandStage::Stored {
                return self.report(Report::Improper(me, "a receipt of a command in somebody else's name"));
            }
            if let Some(gate) = self.relays.get_mut(relay) {
                gate.command_settled(now, &id);
            }
            self.commands.carried.remove(&(id, relay.clone()));
            match self.record.commands().get(&id) {
                Some(entry) if entry.takes(&receipt) => self.note_command(now, receipt),
                Some(_) => confirmed.push((id, stage)),
                None => match self.commands.pending.get_mut(&id) {
                    Some(pending) => {
                        // It is said again until the record has the command.
                        let known = pending.said.iter().any(|said| said.by == receipt.by && said.stage == stage);
                        if !known && pending.said.len() < limits::COMMAND_RECEIPTS {
                            pending.said.push(receipt);
                            self.tell_provisional_command(&id);
                        }
                    }
                    None if self.condition.is_none() && now.wall.0 - issued(&id) > FORGOTTEN_AFTER_MICROS => {
                        confirmed.push((id, stage));
                    }
                    None => {}
                },
            }
        }
        self.drain_gate(now, relay);
        if !confirmed.is_empty() {
            self.send(path, Class::P1, Form::Datagram, Message::CommandConfirmed(confirmed));
        }
        self.fan_out(now);
    }

    /// Has a receipt come into the record.
    fn note_command(&mut self, now: Now, receipt: CommandReceipt) {
        let room = self.commands.noting.len() < limits::BROKER_COMMAND_RECEIPTS;
        if !room || self.commands.noting.contains_key(&claim(&receipt)) {
            return;
        }
        let busy = self.commands.noting.values().any(|(_, proposed)| proposed.is_some());
        self.commands.noting.insert(claim(&receipt), (receipt, None));
        if busy {
            Commands::soon(&mut self.commands.note_at, now.mono + GATHER);
        } else {
            self.propose_notes(now);
        }
    }

    fn propose_notes(&mut self, now: Now) {
        let mut waiting: Vec<CommandReceipt> = Vec::new();
        for (receipt, proposed) in self.commands.noting.values_mut() {
            if proposed.is_none_or(|at| now.mono.since(at) >= AGAIN_AFTER) {
                *proposed = Some(now.mono);
                waiting.push(receipt.clone());
            }
        }
        self.commands.note_at = (!self.commands.noting.is_empty()).then(|| now.mono + AGAIN_AFTER);
        for part in waiting.chunks(limits::COMMAND_RECEIPTS_AT_ONCE) {
            self.out.push_back(Output::Propose(Command::NoteCommand(part.to_vec())));
        }
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

    /// Statements about commands are in the record.
    pub(super) fn command_noted(&mut self, now: Now, receipts: &[CommandReceipt], replayed: bool) {
        let mut changed: BTreeSet<CommandId> = BTreeSet::new();
        for receipt in receipts {
            let Some(entry) = self.record.commands().get(&receipt.command) else { continue };
            changed.insert(receipt.command);
            let kind = entry.sealed.command.instruction.kind();
            if !replayed {
                self.report(Report::CommandStage(kind, receipt.clone()));
            }
        }
        for id in changed {
            let Some(entry) = self.record.commands().get(&id).cloned() else { continue };
            if entry.is_notice() && !entry.is_ended() {
                self.commands.news.entry(id).or_insert(now.mono + TELL_NOTICE_EVERY);
            } else {
                self.commands.news.remove(&id);
                self.tell_command(&entry);
            }
            if entry.is_ended() {
                self.commands.forget(&id);
            }
        }
    }

    /// A command of the record with receipts has taken effect, whatever of it was news: those who said them are told.
    pub(super) fn command_told(&mut self, now: Now, told: Vec<Claim>) {
        if told.is_empty() {
            return;
        }
        let mut by_relay: BTreeMap<RelayId, Vec<(CommandId, CommandStage)>> = BTreeMap::new();
        for claim in told {
            self.commands.noting.remove(&claim);
            // What is said of a command before the record has it is said again.
            if self.record.commands().get(&claim.0).is_some()
                && let NodeName::Relay(relay) = claim.2
            {
                by_relay.entry(relay).or_default().push((claim.0, claim.1));
            }
        }
        for (relay, confirmed) in by_relay {
            let Some(gate) = self.relays.get(&relay) else { continue };
            let message = Message::CommandConfirmed(confirmed);
            let send = |path| Output::Send(path, Class::P1, Form::Datagram, message.clone());
            self.out.extend(gate.express().map(send));
        }
        if self.commands.noting.values().any(|(_, proposed)| proposed.is_none()) {
            self.propose_notes(now);
        } else if self.commands.noting.is_empty() {
            self.commands.note_at = None;
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

    /// Does what has become due: proposes again, gives up what has expired, tells of notices.
    pub(super) fn look_at_commands(&mut self, now: Now) {
        if self.commands.again_at.is_some_and(|at| at <= now.mono) {
            self.commands.again_at = None;
            let over = |id: &CommandId| self.commands.deadlines.get(id).is_none_or(|deadline| *deadline <= now.mono);
            let over: Vec<CommandId> = self.commands.pending.keys().filter(|id| over(id)).copied().collect();
            for id in over {
                self.commands.pending.remove(&id);
                self.commands.forget(&id);
            }
            let due = |pending: &Pending| pending.proposed.is_none_or(|at| now.mono.since(at) >= AGAIN_AFTER);
            let due: Vec<CommandId> =
                self.commands.pending.iter().filter(|(_, pending)| due(pending)).map(|(id, _)| *id).collect();
            due.into_iter().for_each(|id| self.propose_command(now, id));
            if !self.commands.pending.is_empty() {
                Commands::soon(&mut self.commands.again_at, now.mono + AGAIN_AFTER);
            }
        }
        if self.commands.note_at.is_some_and(|at| at <= now.mono) {
            self.propose_notes(now);
        }
        while let Some((at, id)) = self.commands.due.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.commands.due.remove(&(at, id));
            self.command_due(now, id);
        }
        let news = self.commands.news.iter().filter(|(_, at)| **at <= now.mono).map(|(id, _)| *id);
        for id in news.collect::<Vec<_>>() {
            self.commands.news.remove(&id);
            if let Some(entry) = self.record.commands().get(&id).cloned() {
                self.tell_command(&entry);
            }
        }
    }

    /// A command may have expired, or be given up.
    fn command_due(&mut self, now: Now, id: CommandId) {
        let (Some(entry), Some(deadline)) =
            (self.record.commands().get(&id).cloned(), self.commands.deadlines.get(&id).copied())
        else {
            return;
        };
        let end = |stage, detail: &str| CommandReceipt {
            command: id,
            stage,
            at: now.wall,
            by: self.me.clone(),
            detail: Text::new(detail).unwrap_or_default(),
            took: None,
            skew: None,
        };
        let given_up = deadline + limits::COMMAND_GIVE_UP;
        let receipt = if now.mono < given_up {
            end(CommandStage::Expired, "学校未在有效期内连线 the school did not come in time")
        } else {
            end(CommandStage::Failed, "学校未回报结果 the school has not said what came of it")
        };
        if !self.leads || now.mono < deadline {
            return;
        }
        if entry.takes(&receipt) {
            self.note_command(now, receipt);
            self.commands.due.insert((now.mono + AGAIN_AFTER, id));
        } else if now.mono < given_up {
            self.commands.due.insert((given_up, id));
        }
    }

    /// A command lives for so long from now on, unless that is known.
    fn follow_command(&mut self, now: Now, id: CommandId, left: Span) {
        self.commands.deadlines.entry(id).or_insert(now.mono + left.min(limits::COMMAND_TTL.1));
    }

    /// The same for one of the record that this node did not see come: by the clocks on the wall.
    fn follow_entry(&mut self, now: Now, entry: &CommandEntry) {
        let age = u64::try_from(now.wall - entry.heard).unwrap_or(0);
        let left = entry.sealed.command.ttl.saturating_sub(Span::from_micros(age));
        self.follow_command(now, entry.sealed.id(), left);
    }

    fn arm_command(&mut self, now: Now, id: CommandId) {
        if let Some(deadline) = self.commands.deadlines.get(&id).filter(|_| self.leads) {
            self.commands.due.insert(((*deadline).max(now.mono), id));
        }
    }

    /// This node leads now, or no longer; it lost its quorum, or has it again; or has another record.
    pub(super) fn follow_commands(&mut self, now: Now) {
        let open: Vec<_> = self.record.commands().open().cloned().collect();
        let kept: BTreeSet<CommandId> = open.iter().map(|entry| entry.sealed.id()).collect();
        self.commands.pending.retain(|id, _| self.record.commands().get(id).is_none());
        let gone =
            self.commands.deadlines.keys().filter(|id| !kept.contains(id) && !self.commands.pending.contains_key(id));
        for id in gone.copied().collect::<Vec<_>>() {
            self.commands.forget(&id);
        }
        self.commands.due.clear();
        for entry in &open {
            self.follow_entry(now, entry);
            if entry.is_notice() {
                self.commands.fans.entry(entry.sealed.id()).or_insert(None);
            }
            self.arm_command(now, entry.sealed.id());
        }
        let pending: Vec<CommandId> = self.commands.pending.keys().copied().collect();
        pending.iter().for_each(|id| self.tell_provisional_command(id));
    }

    /// Tells all seats that have to do with a command how it stands.
    fn tell_command(&mut self, entry: &CommandEntry) {
        self.tell_state(entry.state());
    }

    /// The same of one that is in no record while there is no quorum.
    fn tell_provisional_command(&mut self, id: &CommandId) {
        if self.condition.is_some()
            && let Some(state) = self.command_state(id)
        {
            self.tell_state(state);
        }
    }

    fn tell_state(&mut self, state: CommandState) {
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

    /// A seat asks how far the schools of a notice are.
    pub(super) fn notice_asked(&mut self, path: PathId, seat: &SeatId, id: CommandId, after: Option<SchoolId>) {
        let entry = self.record.commands().get(&id).filter(|entry| entry.sealed.command.by.station == seat.station);
        let Some(entry) = entry else { return };
        let page = entry.page(after.as_ref(), limits::NOTICE_PAGE);
        let answer = Message::NoticeSchools(id, after, page, entry.progress.schools);
        self.send(path, Class::P2, Form::Stream, answer);
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
fn issued(id: &CommandId) -> i64 {
    let [a, b, c, d, e, f, ..] = *id.as_bytes();
    i64::from_be_bytes([0, 0, a, b, c, d, e, f]).saturating_mul(1_000)
}

fn stored(entry: &CommandEntry) -> CommandReceipt {
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
