//! Notices to areas: given to the relays that are here, so many at a time, and to those that come later.
//!
//! Invariant: at most [`limits::NOTICE_WINDOW`] are on their way; each node looks at each of its relays once for each notice, and again when
//! one comes.

use std::ops::Bound;

use crate::broker::machine::Broker;
use crate::command::CommandId;
use crate::event::Class;
use crate::id::{NodeName, PathId, RelayId, SchoolId, SeatId};
use crate::limits;
use crate::message::{COMMANDS_SINCE, Message};
use crate::path::Form;
use crate::record::CommandEntry;
use crate::time::Now;

impl Broker {
    /// Gives notices to the next relays, as far as the window allows.
    pub(super) fn fan_out(&mut self, now: Now) {
        while self.commands.carried.len() < limits::NOTICE_WINDOW
            && let Some((id, relay)) = self.commands.waiting.pop_first()
        {
            let entry = self.record.commands().get(&id).cloned();
            let entry = entry.filter(|entry| entry.is_for(&NodeName::Relay(relay.clone())));
            if entry.is_some_and(|entry| self.carry_command(now, &relay, &entry.sealed)) {
                self.commands.carried.insert((id, relay));
            }
        }
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
    pub(super) fn next_of(&mut self, id: &CommandId, entry: &CommandEntry) -> Option<RelayId> {
        let last = self.commands.fans.get_mut(id)?;
        let from = match last.as_ref() {
            Some(last) => Bound::Excluded(last.clone()),
            None => Bound::Unbounded,
        };
        for (relay, gate) in self.relays.range((from, Bound::Unbounded)) {
            *last = Some(relay.clone());
            let carried = self.commands.carried.contains(&(*id, relay.clone()));
            if gate.minor >= COMMANDS_SINCE && !carried && entry.is_for(&NodeName::Relay(relay.clone())) {
                return Some(relay.clone());
            }
        }
        None
    }

    /// A seat asks how far the schools of a notice are.
    pub(super) fn notice_asked(&mut self, path: PathId, seat: &SeatId, id: CommandId, after: Option<SchoolId>) {
        let entry = self.record.commands().get(&id).filter(|entry| entry.sealed.command.by.station == seat.station);
        let Some(entry) = entry else { return };
        let page = entry.page(after.as_ref(), limits::NOTICE_PAGE);
        let answer = Message::NoticeSchools(id, after, page, entry.progress.schools);
        self.send(path, Class::P2, Form::Stream, answer);
    }
}
