//! How long commands live: counted by each node's own steady clock; what is over is proposed by the leader, and decided by the record.
//!
//! Invariant: only the leader proposes that a command has expired, and as long as the record has not said so, again.

use std::collections::BTreeSet;

use crate::broker::commands::{Commands, Pending};
use crate::broker::machine::Broker;
use crate::broker::waiting::AGAIN_AFTER;
use crate::command::{CommandId, CommandReceipt, CommandStage};
use crate::event::Text;
use crate::limits;
use crate::record::CommandEntry;
use crate::time::{Now, Span};

impl Broker {
    /// A command may have expired, or be given up.
    pub(super) fn command_due(&mut self, now: Now, id: CommandId) {
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
    pub(super) fn follow_command(&mut self, now: Now, id: CommandId, left: Span) {
        self.commands.deadlines.entry(id).or_insert(now.mono + left.min(limits::COMMAND_TTL.1));
    }

    /// The same for one of the record that this node did not see come: by the clocks on the wall.
    pub(super) fn follow_entry(&mut self, now: Now, entry: &CommandEntry) {
        let age = u64::try_from(now.wall - entry.heard).unwrap_or(0);
        let left = entry.sealed.command.ttl.saturating_sub(Span::from_micros(age));
        self.follow_command(now, entry.sealed.id(), left);
    }

    pub(super) fn arm_command(&mut self, now: Now, id: CommandId) {
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
}
