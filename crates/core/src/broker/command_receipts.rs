//! What became of commands: receipts go from relays to the record, together where there are many, and from there to the seats.
//!
//! Invariant: a receipt is confirmed to its relay only when the record holds it, or has no use for it.

use std::collections::{BTreeMap, BTreeSet};

use crate::broker::commands::{Claim, Commands, FORGOTTEN_AFTER_MICROS, GATHER, TELL_NOTICE_EVERY, claim, issued};
use crate::broker::machine::Broker;
use crate::broker::port::{Output, Report};
use crate::broker::waiting::AGAIN_AFTER;
use crate::command::{CommandId, CommandReceipt, CommandStage};
use crate::event::Class;
use crate::id::{NodeName, PathId, RelayId};
use crate::limits;
use crate::message::Message;
use crate::path::Form;
use crate::record::Command;
use crate::time::Now;

impl Broker {
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
    pub(super) fn note_command(&mut self, now: Now, receipt: CommandReceipt) {
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

    pub(super) fn propose_notes(&mut self, now: Now) {
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
}
