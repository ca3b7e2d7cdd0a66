//! How a command stands, as a region tells its stations.

use crate::command::order::{CommandId, SealedCommand};
use crate::command::receipt::{CommandReceipt, CommandStage};
use crate::id::SchoolId;
use crate::receipt::Standing;

/// How a command stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandState {
    /// The command.
    pub sealed: SealedCommand,
    /// What was said of it, in the record's order; of a notice only what broker nodes say.
    pub receipts: Vec<CommandReceipt>,
    /// How many schools are how far: of a notice.
    pub progress: Option<Progress>,
    /// Whether it is in the record, or only known to a node without a quorum.
    pub standing: Standing,
    /// How often something was said of it. Of two statements about a command, the one with more is the later.
    pub steps: u64,
}

impl CommandState {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> CommandId {
        self.sealed.id()
    }

    /// The furthest stage: an end if there is one, otherwise the last.
    #[must_use]
    pub fn stage(&self) -> Option<CommandStage> {
        if let Some(progress) = &self.progress {
            return progress.stage();
        }
        self.receipts.iter().map(|receipt| receipt.stage).max_by_key(|stage| (*stage == CommandStage::Finished, *stage))
    }

    /// Whether this says more than `known` of the same command.
    #[must_use]
    pub fn is_newer_than(&self, known: &CommandState) -> bool {
        // What is in the record goes before what is said without it.
        let rank = |state: &CommandState| (state.standing != Standing::Provisional, state.steps);
        rank(self) > rank(known)
    }
}

/// How many schools of a notice are how far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Schools that it is for.
    pub schools: u32,
    /// Those whose relay has it on its disk, whatever became of it then.
    pub accepted: u32,
    /// Those where it is being heard.
    pub playing: u32,
    /// Those where it was.
    pub finished: u32,
    /// Those where it came to nothing: failed, stopped or refused.
    pub failed: u32,
    /// Those that it did not reach in time.
    pub expired: u32,
}

impl Progress {
    /// Schools that have not come to an end.
    #[must_use]
    pub fn open(&self) -> u32 {
        self.schools.saturating_sub(self.finished).saturating_sub(self.failed).saturating_sub(self.expired)
    }

    /// How far the notice is as a whole.
    #[must_use]
    pub fn stage(&self) -> Option<CommandStage> {
        Some(match self {
            _ if self.open() == 0 && self.finished > 0 => CommandStage::Finished,
            _ if self.open() == 0 => CommandStage::Expired,
            _ if self.playing > 0 || self.finished > 0 => CommandStage::Playing,
            _ if self.accepted > 0 => CommandStage::Accepted,
            _ => CommandStage::Stored,
        })
    }

    /// Counts a school that was at `before` and is at `after` now.
    pub(crate) fn moved(&mut self, before: Option<CommandStage>, after: CommandStage) {
        let held = |stage: Option<CommandStage>| {
            stage.is_some_and(|stage| {
                !matches!(stage, CommandStage::Stored | CommandStage::Expired | CommandStage::Refused)
            })
        };
        // What expired at the school had been accepted there before.
        if held(Some(after)) && !held(before) {
            self.accepted += 1;
        }
        if before == Some(CommandStage::Playing) {
            self.playing = self.playing.saturating_sub(1);
        }
        match after {
            CommandStage::Playing => self.playing += 1,
            CommandStage::Finished => self.finished += 1,
            CommandStage::Failed | CommandStage::Stopped | CommandStage::Refused => self.failed += 1,
            CommandStage::Expired => self.expired += 1,
            CommandStage::Stored | CommandStage::Accepted | CommandStage::Queued => {}
        }
    }
}

/// How far one school is with a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchoolStage {
    /// The school.
    pub school: SchoolId,
    /// `None` while nothing has come from it.
    pub stage: Option<CommandStage>,
}
