//! How far a command has come.

use crate::case::named;
use crate::command::order::CommandId;
use crate::event::Text;
use crate::id::NodeName;
use crate::time::{Span, WallTime};

named! {
    /// A stage of a command.
    CommandStage: "a stage of a command" {
        /// In the region's record.
        Stored "stored" "已受理" "stored",
        /// On the disk of the school's relay.
        Accepted "accepted" "学校已收到" "accepted by the school",
        /// Waits at the school for what goes before it.
        Queued "queued" "等待播放" "queued",
        /// Is being carried out.
        Playing "playing" "正在执行" "playing",
        /// Was carried out.
        Finished "finished" "已完成" "finished",
        /// Could not be carried out; the detail says why.
        Failed "failed" "失败" "failed",
        /// Was ended by another command.
        Stopped "stopped" "已停止" "stopped",
        /// Its time to live was over before it could begin.
        Expired "expired" "已过期" "expired",
        /// The school does not do it; the detail says why.
        Refused "refused" "已拒绝" "refused",
    }
}

impl CommandStage {
    /// Whether nothing comes after it.
    #[must_use]
    pub fn is_end(self) -> bool {
        self >= CommandStage::Finished
    }

    /// Whether a relay that has said `self` last may go on with `next`. Stages may be left out, since what is quick is told at once.
    ///
    /// | after | may follow |
    /// | --- | --- |
    /// | nothing, stored | accepted, queued, playing, and every end |
    /// | accepted | queued, playing, and every end but refused |
    /// | queued | playing, and every end but refused |
    /// | playing | finished, failed, stopped |
    /// | an end | nothing |
    #[must_use]
    pub fn may_follow(self, next: CommandStage) -> bool {
        use CommandStage::{Accepted, Expired, Failed, Finished, Playing, Queued, Refused, Stopped, Stored};
        match self {
            Stored => next > Stored,
            Accepted => matches!(next, Queued | Playing | Finished | Failed | Stopped | Expired),
            Queued => matches!(next, Playing | Finished | Failed | Stopped | Expired),
            Playing => matches!(next, Finished | Failed | Stopped),
            Finished | Failed | Stopped | Expired | Refused => false,
        }
    }

    /// Its line in a metric or a log, for an end that is not the wished one.
    #[must_use]
    pub fn is_trouble(self) -> bool {
        matches!(self, CommandStage::Failed | CommandStage::Expired | CommandStage::Refused)
    }
}

/// The statement that a command reached a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandReceipt {
    /// The command.
    pub command: CommandId,
    /// The stage.
    pub stage: CommandStage,
    /// When, by the clock of `by`.
    pub at: WallTime,
    /// Who says so: a relay of the school, or a broker node ([`CommandStage::Stored`], [`CommandStage::Expired`]).
    pub by: NodeName,
    /// Why, or what came of it, for people; at most [`COMMAND_DETAIL_BYTES`](crate::limits::COMMAND_DETAIL_BYTES); may be empty.
    pub detail: Text,
    /// How long it was heard, at [`CommandStage::Finished`] and [`CommandStage::Stopped`].
    pub took: Option<Span>,
    /// By how many microseconds the clock of `by` was ahead of the region's, if it knew.
    pub skew: Option<i64>,
}
