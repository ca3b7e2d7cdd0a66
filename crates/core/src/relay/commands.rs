//! Commands at a school: checked, kept, carried out once, and what became of them told.
//!
//! Invariants:
//! * Nothing is carried out whose signature is not that of the seat in whose name it is given, for this school.
//! * A command is carried out once, also across restarts: its row is on disk before it begins (what ends a broadcast, and what says that the
//!   danger is over, waits for no disk), and a command that is older than all that are remembered is not taken.
//! * None begins after its time to live: how much is left is what the broker node said with the copy, counted by the steady clock. After a
//!   restart the clock on the wall says what is left; if by that nothing is, which may be the clock's fault, the region is waited for.
//! * What was said of a command is said again until the record has it.

use std::collections::{BTreeMap, BTreeSet};

use crate::command::{CommandId, CommandReceipt, CommandStage, Instruction, NoticeAction, SealedCommand, Target};
use crate::courier::{Courier, Transmit};
use crate::event::{Class, Text};
use crate::id::{NodeName, PathId, PersistSeq};
use crate::limits;
use crate::message::{COMMANDS_SINCE, Message};
use crate::path::{Form, PathInfo};
use crate::receipt::RECEIPT_WIRE_BYTES;
use crate::relay::machine::Relay;
use crate::relay::playing::{Afterwards, Ended, Next, Queue, play};
use crate::relay::port::{Output, Report, Write};
use crate::signature::Purpose;
use crate::time::{Now, Span, Timestamp, WallTime};

/// How long after a restart the region may say how much time a command has left that the clock on the wall says is over.
const DOUBT: Span = Span::from_secs(60);

/// One command on a relay's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRow {
    /// Its place; never used for another.
    pub slot: u64,
    /// The command.
    pub sealed: SealedCommand,
    /// When it came, by this relay's clock.
    pub came_at: WallTime,
    /// When its time to live is over, by the same clock.
    pub deadline: WallTime,
    /// What this relay said of it, in order.
    pub receipts: Vec<CommandReceipt>,
    /// Which of that the record has not confirmed.
    pub unconfirmed: BTreeSet<CommandStage>,
}

impl CommandRow {
    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Option<CommandStage> {
        self.receipts.last().map(|said| said.stage)
    }

    /// Whether nothing more is to be done.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.stage().is_some_and(CommandStage::is_end)
    }
}

/// One command in memory.
#[derive(Debug, Clone)]
pub struct CommandView {
    row: CommandRow,
    deadline: Timestamp,
    /// Whether nothing but the wall's clock says that its time is over.
    doubtful: bool,
    begun: bool,
}

impl CommandView {
    /// All that is kept of it.
    #[must_use]
    pub fn row(&self) -> &CommandRow {
        &self.row
    }

    /// How long it still lives.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Span {
        self.deadline.since(now)
    }
}

/// The commands of a relay.
#[derive(Debug)]
pub(super) struct Commands {
    views: BTreeMap<CommandId, CommandView>,
    queue: Queue,
    /// When what has not begun expires.
    due: BTreeSet<(Timestamp, CommandId)>,
    courier: Courier<CommandId>,
    paths: BTreeMap<PathId, PathInfo>,
    writing: BTreeMap<PersistSeq, CommandId>,
    next_slot: u64,
}

impl Commands {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            views: BTreeMap::new(),
            queue: Queue::default(),
            due: BTreeSet::new(),
            courier: Courier::new(seed).of_statements(),
            paths: BTreeMap::new(),
            writing: BTreeMap::new(),
            next_slot: 1,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        let due = self.due.first().map(|(at, _)| *at);
        due.into_iter().chain(self.courier.poll_timeout()).min()
    }

    pub(super) fn path_up(&mut self, path: PathId, info: PathInfo) {
        self.paths.insert(path, info);
    }

    pub(super) fn path_down(&mut self, now: Now, path: PathId) {
        if self.paths.remove(&path).is_some() {
            self.courier.path_down(now.mono, path);
        }
    }

    pub(super) fn heard(&mut self, now: Now, path: PathId) {
        self.courier.heard(now.mono, path);
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.courier.check()?;
        self.queue.check()?;
        if self.views.len() > limits::RELAY_COMMANDS + limits::RELAY_COMMANDS_WAITING + 1 {
            return Err(format!("{} commands are remembered", self.views.len()));
        }
        for id in self.queue.ids() {
            if self.views.get(&id).is_none_or(|view| view.row.is_ended()) {
                return Err(format!("{id} waits to be heard, and has come to its end or is not known"));
            }
        }
        for (id, view) in &self.views {
            if view.row.unconfirmed.is_empty() == self.courier.carries(id) {
                return Err(format!("what was said of {id} is confirmed and carried, or neither"));
            }
        }
        Ok(())
    }
}

impl Relay {
    /// The commands that this relay remembers, in the order of their ids.
    pub fn commands(&self) -> impl DoubleEndedIterator<Item = &CommandView> {
        self.commands.views.values()
    }

    /// One of them.
    #[must_use]
    pub fn command_of(&self, id: &CommandId) -> Option<&CommandView> {
        self.commands.views.get(id)
    }

    /// The command that says that the danger is over, if nothing has been pressed since.
    #[must_use]
    pub fn all_clear(&self) -> Option<&CommandView> {
        let says = |view: &&CommandView| match &view.row.sealed.command.instruction {
            Instruction::AllClear(_) | Instruction::Notice(NoticeAction::AllClear, _) => view.begun,
            _ => false,
        };
        let latest = self.commands.views.values().filter(says).max_by_key(|view| view.row.slot)?;
        let alarms = self.events.values().map(|view| &view.row.sealed.event).filter(|event| event.class == Class::P0);
        alarms.map(|event| event.raised_at).all(|raised| raised < latest.row.came_at).then_some(latest)
    }

    pub(super) fn restore_commands(&mut self, now: Now, rows: Vec<CommandRow>) {
        for row in rows {
            self.commands.next_slot = self.commands.next_slot.max(row.slot.saturating_add(1));
            let id = row.sealed.id();
            let (begun, ended, open) = (row.stage().is_some(), row.is_ended(), !row.unconfirmed.is_empty());
            let left = u64::try_from(row.deadline - now.wall).unwrap_or(0);
            // A clock that went back must not make it live longer than it was given.
            let left = Span::from_micros(left).min(row.sealed.command.ttl);
            let doubtful = left.is_zero() && !ended;
            let deadline = now.mono + if doubtful { DOUBT } else { left };
            self.commands.views.insert(id, CommandView { row, deadline, doubtful, begun: begun && ended });
            if open {
                self.commands.courier.offer(now.mono, id, Class::P1, false, RECEIPT_WIRE_BYTES);
            }
            if doubtful {
                self.commands.due.insert((deadline, id));
            } else if !ended {
                self.begin_command(now, id);
            }
        }
        self.forget_commands();
    }

    /// A node has greeted: what was said of commands goes to those that know them.
    pub(super) fn commands_on(&mut self, now: Now, path: PathId, minor: u32) {
        if let Some(info) = self.commands.paths.get(&path).copied().filter(|_| minor >= COMMANDS_SINCE) {
            self.commands.courier.path_up(now.mono, path, info);
        }
    }

    /// A copy of a command has come, which may still begin within `left`.
    pub(super) fn command(&mut self, now: Now, path: PathId, sealed: SealedCommand, left: Span) {
        let id = sealed.id();
        if let Some(view) = self.commands.views.get_mut(&id) {
            if view.row.sealed.bytes != sealed.bytes {
                return self.report(Report::Forged(id, crate::signature::Flaw::Bytes));
            }
            let said = view.row.receipts.clone();
            if !said.is_empty() {
                self.send(path, Class::P1, Form::Datagram, Message::CommandReceipts(said));
            }
            return self.no_longer_doubtful(now, id, left);
        }
        let by = NodeName::Station(sealed.command.by.clone());
        if let Err(flaw) = self.verifier.verify(Purpose::Command, &sealed.bytes, &sealed.signature, &by) {
            self.report(Report::Forged(id, flaw));
            // Nothing is remembered of it: the id may be that of a command that is yet to come.
            return self.refuse_command(now, path, id, &format!("签名无效 the signature does not hold: {flaw}"));
        }
        if matches!(&sealed.command.target, Target::School(school) if *school != self.config.relay.school) {
            return self.refuse_command(now, path, id, "指令不是给本校的 the command is for another school");
        }
        let full = self.commands.views.len() >= limits::RELAY_COMMANDS;
        if full && self.commands.views.first_key_value().is_some_and(|(first, _)| id < *first) {
            return self.refuse_command(now, path, id, "指令过旧 older than all that this school remembers");
        }
        let left = left.min(sealed.command.ttl);
        let (slot, deadline) = (self.commands.next_slot, now.mono + left);
        self.commands.next_slot += 1;
        let wall = WallTime(now.wall.0.saturating_add(i64::try_from(left.as_micros()).unwrap_or(i64::MAX)));
        let (receipts, unconfirmed) = (Vec::new(), BTreeSet::new());
        let row = CommandRow { slot, sealed, came_at: now.wall, deadline: wall, receipts, unconfirmed };
        let urgent = matches!(row.sealed.command.instruction, Instruction::Stop(_) | Instruction::AllClear(_));
        self.commands.views.insert(id, CommandView { row, deadline, doubtful: false, begun: false });
        self.keep_command(id);
        if urgent && !left.is_zero() {
            self.begin_command(now, id);
        }
        self.forget_commands();
    }

    /// The region has said how much time a command has left.
    fn no_longer_doubtful(&mut self, now: Now, id: CommandId, left: Span) {
        let Some(view) = self.commands.views.get_mut(&id).filter(|view| view.doubtful && !left.is_zero()) else {
            return;
        };
        self.commands.due.remove(&(view.deadline, id));
        view.doubtful = false;
        view.deadline = now.mono + left.min(view.row.sealed.command.ttl);
        self.begin_command(now, id);
    }

    fn refuse_command(&mut self, now: Now, path: PathId, id: CommandId, why: &str) {
        let receipt = self.command_receipt(now, id, CommandStage::Refused, why, None);
        self.send(path, Class::P1, Form::Stream, Message::CommandReceipts(vec![receipt]));
    }

    fn command_receipt(
        &self,
        now: Now,
        command: CommandId,
        stage: CommandStage,
        detail: &str,
        took: Option<Span>,
    ) -> CommandReceipt {
        let detail = &detail[..detail.floor_char_boundary(limits::COMMAND_DETAIL_BYTES)];
        let detail = Text::new(detail).unwrap_or_default();
        CommandReceipt { command, stage, at: now.wall, by: self.me.clone(), detail, took, skew: self.prober.skew() }
    }

    fn keep_command(&mut self, id: CommandId) {
        let Some(view) = self.commands.views.get(&id) else { return };
        let write = Write::PutCommand(Box::new(view.row.clone()));
        let seq = self.next_persist();
        self.out.push_back(Output::Persist(seq, write));
        self.commands.writing.insert(seq, id);
    }

    /// A row of a command is on disk or, for the reason `failed`, is not. False if the number is none of a command's.
    pub(super) fn command_kept(&mut self, now: Now, seq: PersistSeq, failed: Option<&str>) -> bool {
        let Some(id) = self.commands.writing.remove(&seq) else { return false };
        let accepted = self.commands.views.get(&id).is_none_or(|view| view.row.stage().is_some());
        if accepted {
            return true;
        }
        let detail = failed.map(|why| format!("未能存盘 not kept on the disk: {why}")).unwrap_or_default();
        self.reach(now, id, CommandStage::Accepted, &detail, None);
        self.begin_command(now, id);
        true
    }

    /// A command reaches a stage, unless it is beyond it.
    fn reach(&mut self, now: Now, id: CommandId, stage: CommandStage, detail: &str, took: Option<Span>) {
        let receipt = self.command_receipt(now, id, stage, detail, took);
        let Some(view) = self.commands.views.get_mut(&id) else { return };
        if !view.row.stage().unwrap_or(CommandStage::Stored).may_follow(stage) {
            return;
        }
        self.commands.due.remove(&(view.deadline, id));
        view.row.receipts.push(receipt.clone());
        view.row.unconfirmed.insert(stage);
        self.commands.courier.withdraw(now.mono, &id);
        self.commands.courier.offer(now.mono, id, Class::P1, false, RECEIPT_WIRE_BYTES * view.row.unconfirmed.len());
        self.report(Report::Command(id, receipt));
        self.keep_command(id);
    }

    /// Carries a command out, or has it wait for its turn.
    fn begin_command(&mut self, now: Now, id: CommandId) {
        let Some(view) = self.commands.views.get_mut(&id) else { return };
        if view.begun || view.row.is_ended() {
            return;
        }
        if view.deadline <= now.mono {
            return self.expire_command(now, id);
        }
        view.begun = true;
        let (command, slot, deadline) = (view.row.sealed.command.clone(), view.row.slot, view.deadline);
        match &command.instruction {
            Instruction::Stop(which) => {
                self.stop_playing(now, &command, *which);
                self.reach(now, id, CommandStage::Finished, "", None);
            }
            Instruction::Test => self.reach(now, id, CommandStage::Finished, "", None),
            Instruction::AllClear(text) if text.is_empty() => self.reach(now, id, CommandStage::Finished, "", None),
            Instruction::View(camera) => {
                self.reach(now, id, CommandStage::Playing, "", None);
                self.out.push_back(Output::View(id, camera.clone()));
            }
            Instruction::Broadcast { .. } | Instruction::AllClear(_) | Instruction::Notice(..) => {
                if let Some(by) = self.stopped_before(&id) {
                    return self.reach(now, id, CommandStage::Stopped, &format!("被指令停止 stopped by {by}"), None);
                }
                let left_out = self.commands.queue.push(&command, slot);
                self.commands.due.insert((deadline, id));
                if let Some(last) = left_out {
                    self.reach(now, last, CommandStage::Failed, "等待播放的内容过多 too much waits to be heard", None);
                }
                self.play_next(now);
                if self.commands.queue.waits(&id) {
                    self.reach(now, id, CommandStage::Queued, "", None);
                    self.commands.due.insert((deadline, id));
                }
            }
        }
    }

    /// The command that stopped this one before it came: messages may overtake each other.
    fn stopped_before(&self, id: &CommandId) -> Option<CommandId> {
        let command = &self.commands.views.get(id)?.row.sealed.command;
        let stops = |other: &&CommandView| {
            let stop = &other.row.sealed.command;
            match &stop.instruction {
                Instruction::Stop(Some(which)) => which == id,
                Instruction::Stop(None) => stop.by == command.by && stop.issued_at > command.issued_at,
                _ => false,
            }
        };
        self.commands.views.values().find(stops).map(|stop| stop.row.sealed.id())
    }

    fn stop_playing(&mut self, now: Now, stop: &crate::command::SchoolCommand, which: Option<CommandId>) {
        let meant: Vec<CommandId> =
            self.commands.queue.ids().filter(|id| which.is_none_or(|which| which == *id)).collect();
        let mut silence = Vec::new();
        for id in meant {
            if self.commands.queue.remove(&id, &mut silence) {
                self.reach(now, id, CommandStage::Stopped, &format!("被指令停止 stopped by {}", stop.id), None);
            }
        }
        self.out.extend(silence.into_iter().map(Output::Silence));
    }

    fn play_next(&mut self, now: Now) {
        while let Some(next) = self.commands.queue.next() {
            match next {
                Next::Silence(id) => self.out.push_back(Output::Silence(id)),
                Next::Begin(id) => {
                    let Some(view) = self.commands.views.get(&id) else { continue };
                    let left = view.left(now.mono);
                    let resumed = view.row.stage() == Some(CommandStage::Playing);
                    let play = play(&view.row.sealed.command, left).filter(|_| !left.is_zero() || resumed);
                    match play {
                        Some(play) => {
                            self.commands.due.remove(&(view.deadline, id));
                            self.reach(now, id, CommandStage::Playing, "", None);
                            self.out.push_back(Output::Play(Box::new(play)));
                        }
                        None => {
                            // Nothing is heard, so nothing will say that it has ended.
                            let _ = self.commands.queue.ended(&id);
                            self.expire_command(now, id);
                        }
                    }
                }
            }
        }
    }

    /// What was heard, or looked at, has come to its end.
    pub(super) fn command_ended(&mut self, now: Now, id: CommandId, ended: Ended) {
        let afterwards = self.commands.queue.ended(&id);
        match (afterwards, ended) {
            // It ended by itself before it could be told to; or it goes on later.
            (Ok(Some(Afterwards::Again)), Ended::Silenced(_)) => {}
            (Ok(Some(Afterwards::Again)), ended) => {
                self.commands.queue.remove(&id, &mut Vec::new());
                self.end_command(now, id, &ended);
            }
            (Ok(Some(Afterwards::Stopped)), Ended::Failed(_)) => self.reach(now, id, CommandStage::Stopped, "", None),
            (_, ended) => self.end_command(now, id, &ended),
        }
        self.play_next(now);
    }

    fn end_command(&mut self, now: Now, id: CommandId, ended: &Ended) {
        match ended {
            Ended::Done(took, detail) => self.reach(now, id, CommandStage::Finished, detail.as_str(), Some(*took)),
            Ended::Failed(why) => self.reach(now, id, CommandStage::Failed, why.as_str(), None),
            Ended::Silenced(took) => self.reach(now, id, CommandStage::Stopped, "", Some(*took)),
        }
    }

    fn expire_command(&mut self, now: Now, id: CommandId) {
        let begun = self.commands.views.get(&id).is_some_and(|view| view.row.stage() == Some(CommandStage::Playing));
        let (stage, why) = if begun {
            (CommandStage::Failed, "中断后已过有效期 it was interrupted, and its time was over before it could go on")
        } else {
            (CommandStage::Expired, "有效期已过 its time to live was over before it could begin")
        };
        self.reach(now, id, stage, why, None);
    }

    /// Does what has become due: what has not begun in time never does.
    pub(super) fn look_at_commands(&mut self, now: Now) {
        while let Some((at, id)) = self.commands.due.first().copied().filter(|(at, _)| *at <= now.mono) {
            self.commands.due.remove(&(at, id));
            let doubtful = self.commands.views.get(&id).is_some_and(|view| view.doubtful);
            if self.commands.queue.waits(&id) && self.commands.queue.remove(&id, &mut Vec::new()) || doubtful {
                if let Some(view) = self.commands.views.get_mut(&id) {
                    view.doubtful = false;
                }
                self.expire_command(now, id);
            }
        }
        self.commands.courier.handle_timeout(now.mono);
    }

    /// The record has these receipts, or no use for them.
    pub(super) fn command_confirmed(&mut self, now: Now, confirmed: Vec<(CommandId, CommandStage)>) {
        for (id, stage) in confirmed {
            let Some(view) = self.commands.views.get_mut(&id) else { continue };
            if !view.row.unconfirmed.remove(&stage) {
                continue;
            }
            if view.row.unconfirmed.is_empty() {
                self.commands.courier.settle(now.mono, &id);
            }
            self.keep_command(id);
        }
        self.forget_commands();
    }

    /// Says what is to be said of commands.
    pub(super) fn say_receipts(&mut self) {
        while let Some(Transmit { key: id, path, class, form, .. }) = self.commands.courier.poll_output() {
            let Some(view) = self.commands.views.get(&id) else { continue };
            let open = |said: &&CommandReceipt| view.row.unconfirmed.contains(&said.stage);
            let said: Vec<CommandReceipt> = view.row.receipts.iter().filter(open).cloned().collect();
            if !said.is_empty() {
                self.send(path, class, form, Message::CommandReceipts(said));
            }
        }
        // Who else could be dialled is for the alarms to say.
        self.commands.courier.poll_race();
        self.commands.courier.poll_deserted();
    }

    /// Forgets the oldest that have come to their end, beyond what is remembered.
    fn forget_commands(&mut self) {
        while self.commands.views.len() > limits::RELAY_COMMANDS {
            let ended = self.commands.views.iter().find(|(_, view)| view.row.is_ended()).map(|(id, _)| *id);
            let Some(view) = ended.and_then(|id| self.commands.views.remove(&id)) else { return };
            let id = view.row.sealed.id();
            self.commands.courier.withdraw(Timestamp(0), &id);
            self.commands.writing.retain(|_, other| *other != id);
            let seq = self.next_persist();
            self.out.push_back(Output::Persist(seq, Write::ForgetCommand(view.row.slot)));
        }
    }
}

#[cfg(test)]
mod tests;
