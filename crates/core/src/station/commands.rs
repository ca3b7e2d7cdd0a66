//! Officers' commands to schools: said to the region again and again until its record has them; and how commands stand, as the region says.
//!
//! A command is kept in the region's record and nowhere here: its officer is answered when it is there, or hears within
//! [`limits::COMMAND_TIMEOUT`] that nobody has confirmed it. A seat that comes is told of the latest ones again.
//!
//! Invariant: each command is answered once, and at most [`limits::COMMANDS_OPEN`] are open; at most [`limits::COMMANDS_KNOWN`] are known.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{CommandId, CommandRefusal, CommandState, SchoolStage, SealedCommand};
use crate::event::Class;
use crate::id::{NodeName, PathId, SchoolId};
use crate::lane::Lane;
use crate::limits;
use crate::message::{COMMANDS_SINCE, Message};
use crate::path::Form;
use crate::receipt::Standing;
use crate::station::machine::Station;
use crate::station::port::{AckTicket, CommandFailure, Output, Report};
use crate::time::{Now, Span, Timestamp};

/// How often a command, or a question, is said while no answer comes.
const SAY_AGAIN_AFTER: Span = Span::from_millis(500);

/// The commands that no answer has come for, those that are known, and the sessions on which they can be said.
#[derive(Debug, Default)]
pub(super) struct Commands {
    open: Vec<Open>,
    questions: Vec<Question>,
    /// Express sessions whose node knows commands.
    paths: BTreeSet<PathId>,
    known: BTreeMap<CommandId, CommandState>,
}

#[derive(Debug)]
struct Open {
    /// `None` once its officer was answered.
    ticket: Option<AckTicket>,
    sealed: SealedCommand,
    /// What nodes said that other nodes may say otherwise.
    soft: BTreeMap<PathId, CommandRefusal>,
    again_at: Timestamp,
    until: Timestamp,
}

#[derive(Debug)]
struct Question {
    ticket: AckTicket,
    id: CommandId,
    after: Option<SchoolId>,
    again_at: Timestamp,
    until: Timestamp,
}

impl Commands {
    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let open = self.open.iter().map(|open| open.again_at.min(open.until));
        open.chain(self.questions.iter().map(|open| open.again_at.min(open.until))).min()
    }

    pub(super) fn path_down(&mut self, path: PathId) {
        self.paths.remove(&path);
        for open in &mut self.open {
            open.soft.remove(&path);
        }
    }
}

impl Station {
    /// The commands that this seat knows of, in the order of their ids.
    pub fn commands(&self) -> impl DoubleEndedIterator<Item = &CommandState> {
        self.commands.known.values()
    }

    /// How one stands.
    #[must_use]
    pub fn command_of(&self, id: &CommandId) -> Option<&CommandState> {
        self.commands.known.get(id)
    }

    /// An officer commands schools.
    pub(super) fn command(&mut self, now: Now, ticket: AckTicket, sealed: SealedCommand) {
        let id = sealed.id();
        let known = self.commands.known.get(&id).filter(|state| state.standing != Standing::Provisional).cloned();
        let answer = match known {
            Some(state) => Some(Ok(Box::new(state))),
            None if NodeName::Station(sealed.command.by.clone()) != self.me => {
                Some(Err(CommandFailure::Refused { id, why: CommandRefusal::BadSignature }))
            }
            None if self.commands.open.len() >= limits::COMMANDS_OPEN => Some(Err(CommandFailure::Busy)),
            None => None,
        };
        if let Some(answer) = answer {
            return self.out.push_back(Output::Commanded(ticket, answer));
        }
        let (again_at, until) = (now.mono + SAY_AGAIN_AFTER, now.mono + limits::COMMAND_TIMEOUT);
        self.say_command(&sealed);
        self.commands.open.push(Open { ticket: Some(ticket), sealed, soft: BTreeMap::new(), again_at, until });
    }

    fn say_command(&mut self, sealed: &SealedCommand) {
        let class = sealed.command.instruction.class().min(Class::P1);
        for path in self.commands.paths.clone() {
            self.send(path, class, Form::Stream, Message::CommandOrder(Box::new(sealed.clone())));
        }
    }

    /// A node has greeted: if it knows commands, it is told what is open.
    pub(super) fn commands_on(&mut self, path: PathId, minor: u32) {
        let express = self.paths.get(&path).is_some_and(|(_, info)| info.lane == Lane::Express);
        if minor < COMMANDS_SINCE || !express {
            self.commands.paths.remove(&path);
        } else if self.commands.paths.insert(path) {
            let open: Vec<SealedCommand> = self.commands.open.iter().map(|open| open.sealed.clone()).collect();
            for sealed in open {
                self.send(path, Class::P1, Form::Stream, Message::CommandOrder(Box::new(sealed)));
            }
        }
    }

    /// Says again what is due, and gives up what is overdue.
    pub(super) fn commands_again(&mut self, now: Now) {
        for open in self.commands.open.extract_if(.., |open| open.until <= now.mono).collect::<Vec<_>>() {
            let id = open.sealed.id();
            // Only where everybody who can be asked has refused it is it certain.
            let sure =
                !self.commands.paths.is_empty() && self.commands.paths.iter().all(|path| open.soft.contains_key(path));
            let why = open.soft.values().max().copied().filter(|_| sure);
            let failure = why.map_or(CommandFailure::NotConfirmed(id), |why| CommandFailure::Refused { id, why });
            self.out.extend(open.ticket.map(|ticket| Output::Commanded(ticket, Err(failure))));
        }
        let mut due = Vec::new();
        for open in self.commands.open.iter_mut().filter(|open| open.again_at <= now.mono) {
            // Its officer has been answered: from then on the region need only not lose it.
            let gap = if open.ticket.is_some() { SAY_AGAIN_AFTER } else { SAY_AGAIN_AFTER * 10 };
            open.again_at = now.mono + gap;
            due.push(open.sealed.clone());
        }
        due.iter().for_each(|sealed| self.say_command(sealed));
        for open in self.commands.questions.extract_if(.., |open| open.until <= now.mono).collect::<Vec<_>>() {
            self.out.push_back(Output::Schools(open.ticket, Err(CommandFailure::NotConfirmed(open.id))));
        }
        let mut asks = Vec::new();
        for open in self.commands.questions.iter_mut().filter(|open| open.again_at <= now.mono) {
            open.again_at = now.mono + SAY_AGAIN_AFTER;
            asks.push((open.id, open.after.clone()));
        }
        for (id, after) in asks {
            for path in self.commands.paths.clone() {
                self.send(path, Class::P2, Form::Stream, Message::NoticeAsk(id, after.clone()));
            }
        }
    }

    /// How a command stands, by some node. What is older than what is known says nothing.
    pub(super) fn command_heard(&mut self, state: CommandState) {
        let id = state.id();
        let provisional = state.standing == Standing::Provisional;
        let mut answered: Vec<AckTicket> = Vec::new();
        for open in self.commands.open.iter_mut().filter(|open| open.sealed.id() == id) {
            if let Some(ticket) = open.ticket.take() {
                answered.push(ticket);
                // It is said on until a record has it, or nobody may carry it out any longer.
                open.until = open.until + open.sealed.command.ttl;
            }
        }
        if !provisional {
            self.commands.open.retain(|open| open.sealed.id() != id);
        }
        for ticket in answered {
            self.out.push_back(Output::Commanded(ticket, Ok(Box::new(state.clone()))));
        }
        if self.commands.known.get(&id).is_some_and(|known| !state.is_newer_than(known)) {
            return;
        }
        self.out.push_back(Output::Report(Report::Command(Box::new(state.clone()))));
        self.commands.known.insert(id, state);
        if self.commands.known.len() > limits::COMMANDS_KNOWN {
            self.commands.known.pop_first();
        }
    }

    /// A command is not taken, as this node says.
    pub(super) fn command_refused(&mut self, path: PathId, id: CommandId, why: CommandRefusal) {
        let paths = self.commands.paths.clone();
        let settled = |open: &mut Open| {
            if open.sealed.id() != id {
                return false;
            }
            open.soft.insert(path, why);
            !why.is_soft() || paths.iter().all(|path| open.soft.contains_key(path))
        };
        for open in self.commands.open.extract_if(.., settled).collect::<Vec<_>>() {
            let failure = CommandFailure::Refused { id, why };
            self.out.extend(open.ticket.map(|ticket| Output::Commanded(ticket, Err(failure))));
        }
    }

    /// The schools of a notice behind `after` are wanted.
    pub(super) fn ask_schools(&mut self, now: Now, ticket: AckTicket, id: CommandId, after: Option<SchoolId>) {
        if self.commands.questions.len() >= limits::COMMANDS_OPEN {
            return self.out.push_back(Output::Schools(ticket, Err(CommandFailure::Busy)));
        }
        // The youngest session: an older one may be dead, and its end not noticed yet.
        if let Some(path) = self.commands.paths.last().copied() {
            self.send(path, Class::P2, Form::Stream, Message::NoticeAsk(id, after.clone()));
        }
        let (again_at, until) = (now.mono + SAY_AGAIN_AFTER, now.mono + limits::COMMAND_TIMEOUT);
        self.commands.questions.push(Question { ticket, id, after, again_at, until });
    }

    /// A node has answered.
    pub(super) fn schools_heard(
        &mut self,
        id: CommandId,
        after: Option<&SchoolId>,
        schools: Vec<SchoolStage>,
        total: u32,
    ) {
        let fits = |open: &mut Question| open.id == id && open.after.as_ref() == after;
        let mut answered = self.commands.questions.extract_if(.., fits).collect::<Vec<_>>();
        let last = answered.pop();
        for open in answered {
            self.out.push_back(Output::Schools(open.ticket, Ok((schools.clone(), total))));
        }
        self.out.extend(last.map(|open| Output::Schools(open.ticket, Ok((schools, total)))));
    }
}

#[cfg(test)]
mod tests;
