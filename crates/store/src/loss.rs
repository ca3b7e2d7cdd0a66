//! What a store reports when it came back with less than it had.
//!
//! Invariant: a loss is a value handed to whoever opened the store, never only a line in a log.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What kind of loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// The database cannot be opened or read.
    Unreadable,
    /// The database is gone.
    Missing,
    /// The last commits are not in the database.
    Shorter,
    /// Rows are damaged, or others than those that the database says it holds.
    Rows,
    /// The mark cannot be read, so nothing proves that the last commits are there. The rows that are there are whole.
    Mark,
    /// Blocks of the black box are damaged. The database itself is whole.
    BlackBox,
}

impl LossKind {
    /// Its name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LossKind::Unreadable => "unreadable",
            LossKind::Missing => "missing",
            LossKind::Shorter => "shorter",
            LossKind::Rows => "rows",
            LossKind::Mark => "mark",
            LossKind::BlackBox => "black_box",
        }
    }
}

/// `STORE_LOST`: what is missing, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What kind.
    pub kind: LossKind,
    /// First commit that may be missing; 0 if it cannot be told.
    pub from_commit: u64,
    /// Last commit that may be missing.
    pub to_commit: u64,
    /// Rows (for the black box: blocks) that are not there any more after what could be read was taken over and the black
    /// box refilled; a lower bound where the mark was lost too.
    pub count: u64,
    /// Rows that were put back from the black box.
    pub refilled: u64,
    /// Where the damaged database was moved.
    pub quarantined: Option<PathBuf>,
    /// What was found, in words.
    pub detail: String,
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; commits {} to {}", self.kind.as_str(), self.detail, self.from_commit, self.to_commit)?;
        write!(f, ", {} lost, {} refilled from the black box", self.count, self.refilled)?;
        match &self.quarantined {
            Some(dir) => write!(f, "; the damaged database is kept in {}", dir.display()),
            None => Ok(()),
        }
    }
}
