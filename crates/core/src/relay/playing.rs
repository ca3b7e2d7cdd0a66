//! What a school hears: one thing at a time, what goes before others first.
//!
//! Invariants:
//! * Nothing begins before what it interrupts has ended.
//! * At most [`limits::RELAY_COMMANDS_WAITING`] wait; of more, the last of the lowest rank does not.

use std::collections::BTreeSet;

use crate::command::{CommandId, CommandKind, Content, Instruction, NoticeAction, Priority, SchoolCommand};
use crate::event::Text;
use crate::id::{Name, SeatId};
use crate::limits;
use crate::time::Span;

/// Something that is to be heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Play {
    /// The command by which it is.
    pub id: CommandId,
    /// What kind of command that is.
    pub kind: CommandKind,
    /// What is to be heard.
    pub content: Content,
    /// The parts of the school where; none for all of it.
    pub zones: Vec<Name>,
    /// The device that is to say it, if one is named.
    pub device: Option<Name>,
    /// How loud, in percent.
    pub volume: Option<u8>,
    /// Its priority.
    pub priority: Priority,
    /// The seat and the officer.
    pub by: (SeatId, Name),
    /// Within so long from now on it must have begun: for what must be waited for first.
    pub left: Span,
}

/// How something came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// As it was meant to: for how long it was heard, and what came of it, if there is something to say.
    Done(Span, Text),
    /// It could not be heard, or not to its end: why.
    Failed(Text),
    /// It was ended by [`Output::Silence`](crate::relay::Output::Silence) after so long.
    Silenced(Span),
}

/// What goes first. A lower one interrupts a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    AllClear,
    Danger,
    Prompt,
    Live,
    Drill,
    Routine,
}

impl Rank {
    fn of(command: &SchoolCommand) -> Self {
        match &command.instruction {
            Instruction::Broadcast { priority, .. } => match priority {
                Priority::Prompt => Rank::Prompt,
                Priority::Live => Rank::Live,
                Priority::Drill => Rank::Drill,
                Priority::Routine => Rank::Routine,
            },
            Instruction::Notice(NoticeAction::AllClear, _) | Instruction::AllClear(_) => Rank::AllClear,
            Instruction::Notice(NoticeAction::Information, _) => Rank::Live,
            Instruction::Notice(..) => Rank::Danger,
            Instruction::Stop(_) | Instruction::View(_) | Instruction::Test => Rank::Routine,
        }
    }
}

/// What is heard for a command; `None` of one by which nothing is.
pub(super) fn play(command: &SchoolCommand, left: Span) -> Option<Play> {
    let (content, priority, volume) = match &command.instruction {
        Instruction::Broadcast { content, priority, volume } => (content.clone(), *priority, *volume),
        Instruction::Notice(_, text) => (Content::Text(text.clone()), Priority::Prompt, None),
        Instruction::AllClear(text) if !text.is_empty() => (Content::Text(text.clone()), Priority::Prompt, None),
        Instruction::AllClear(_) | Instruction::Stop(_) | Instruction::View(_) | Instruction::Test => return None,
    };
    Some(Play {
        id: command.id,
        kind: command.instruction.kind(),
        content,
        zones: command.zones.clone(),
        device: command.device.clone(),
        volume,
        priority,
        by: (command.by.clone(), command.officer.clone()),
        left,
    })
}

/// What waits and what is heard.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeSet<(Rank, u64, CommandId)>,
    playing: Option<Now>,
}

/// What is heard now.
#[derive(Debug, Clone, Copy)]
struct Now {
    rank: Rank,
    slot: u64,
    id: CommandId,
    /// Whether it was told to end, and whether it is to be heard again then.
    ending: Option<Afterwards>,
}

/// What becomes of something that was told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Afterwards {
    /// It waits again: something of a higher rank was in its way.
    Again,
    /// It was stopped for good.
    Stopped,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Begin with this.
    Begin(CommandId),
    /// Have this end.
    Silence(CommandId),
}

impl Queue {
    /// Puts something in its place. Gives what does not fit any longer.
    pub(super) fn push(&mut self, command: &SchoolCommand, slot: u64) -> Option<CommandId> {
        self.waiting.insert((Rank::of(command), slot, command.id));
        if self.waiting.len() <= limits::RELAY_COMMANDS_WAITING {
            return None;
        }
        self.waiting.pop_last().map(|(.., id)| id)
    }

    /// What is to be done now, if anything is.
    pub(super) fn next(&mut self) -> Option<Next> {
        let first = self.waiting.first().copied();
        match (&mut self.playing, first) {
            (None, Some((rank, slot, id))) => {
                self.waiting.pop_first();
                self.playing = Some(Now { rank, slot, id, ending: None });
                Some(Next::Begin(id))
            }
            (Some(playing), Some((rank, ..))) if playing.ending.is_none() && rank < playing.rank => {
                playing.ending = Some(Afterwards::Again);
                Some(Next::Silence(playing.id))
            }
            _ => None,
        }
    }

    /// Has this not be heard: true if it waited, and nothing more is to be done; what is heard is told to end by `silence`.
    pub(super) fn remove(&mut self, id: &CommandId, silence: &mut Vec<CommandId>) -> bool {
        if let Some(playing) = self.playing.as_mut().filter(|playing| playing.id == *id) {
            if playing.ending.is_none() {
                silence.push(*id);
            }
            playing.ending = Some(Afterwards::Stopped);
            return false;
        }
        let before = self.waiting.len();
        self.waiting.retain(|(.., waiting)| waiting != id);
        self.waiting.len() < before
    }

    /// It has ended: what was to become of it. `None` if nobody told it to end; an error if it was not heard.
    pub(super) fn ended(&mut self, id: &CommandId) -> Result<Option<Afterwards>, ()> {
        let playing = self.playing.take_if(|playing| playing.id == *id).ok_or(())?;
        if playing.ending == Some(Afterwards::Again) {
            self.waiting.insert((playing.rank, playing.slot, playing.id));
        }
        Ok(playing.ending)
    }

    /// What waits or is heard.
    pub(super) fn ids(&self) -> impl Iterator<Item = CommandId> {
        self.waiting.iter().map(|(.., id)| *id).chain(self.playing.map(|playing| playing.id))
    }

    pub(super) fn waits(&self, id: &CommandId) -> bool {
        self.waiting.iter().any(|(.., waiting)| waiting == id)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let twice = self.playing.is_some_and(|playing| self.waits(&playing.id));
        let idle = self.playing.is_none() && !self.waiting.is_empty();
        if twice || idle || self.waiting.len() > limits::RELAY_COMMANDS_WAITING + 1 {
            return Err(format!("{} commands wait to be heard, wrongly", self.waiting.len()));
        }
        Ok(())
    }
}
