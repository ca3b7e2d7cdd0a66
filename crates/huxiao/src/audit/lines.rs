//! The lines of an export.
//!
//! Invariant: a line has one spelling. Whoever reads one writes it again and compares, so nothing in it is unchecked.

use huxiao_runtime::case_json::{StepJson, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A case begins.
    Case(CaseLine),
    /// Its next step.
    Step(StepJson),
    /// All is said.
    End(EndLine),
}

/// How a case begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseLine {
    /// The event's id.
    pub(super) id: String,
    /// The event's bytes, in hexadecimal digits.
    pub(super) event: String,
    /// How many steps follow.
    pub(super) steps: u64,
    /// The digest of the last of them.
    pub(super) digest: String,
}

/// The end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EndLine {
    /// How many cases there are.
    pub(super) cases: u64,
    /// How many lines come before this one.
    pub(super) lines: u64,
    /// SHA-256 of them, each with its line break.
    pub(super) sha256: String,
}

impl Line {
    /// The line, with its line break.
    pub(super) fn text(&self) -> String {
        // Strings, numbers and structures: nothing that JSON cannot hold.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What is known of the lines so far.
#[derive(Default)]
pub(super) struct Tally {
    hash: Sha256,
    pub(super) cases: u64,
    pub(super) lines: u64,
}

impl Tally {
    /// A line comes, with its line break.
    pub(super) fn take(&mut self, line: &Line, text: &str) {
        self.hash.update(text);
        self.lines += 1;
        self.cases += u64::from(matches!(line, Line::Case(_)));
    }

    /// The line that belongs behind them.
    pub(super) fn end(&self) -> EndLine {
        EndLine { cases: self.cases, lines: self.lines, sha256: hex(&self.hash.clone().finalize()) }
    }
}
