//! How a command ends: the exit codes, and the sentence that goes with the bad ones.
//!
//! Invariant: every code below has one meaning in all commands, and every failure says what happened, where, and what to do.

use std::fmt;
use std::process::ExitCode;

/// What the shell is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// 0: done, or as it should be.
    Ok,
    /// 1: not done.
    Failed,
    /// 2: the command line cannot be understood (clap's own).
    Usage,
    /// 3: not known in time: perhaps done, perhaps not.
    Unknown,
    /// 10: looked at, and found unhealthy or damaged.
    Unhealthy,
    /// 78: the configuration is wrong (`EX_CONFIG` of sysexits(3)).
    Config,
    /// 130: ended by ctrl-c.
    Interrupted,
}

impl Code {
    /// The number.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Code::Ok => 0,
            Code::Failed => 1,
            Code::Usage => 2,
            Code::Unknown => 3,
            Code::Unhealthy => 10,
            Code::Config => 78,
            Code::Interrupted => 130,
        }
    }
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        ExitCode::from(code.number())
    }
}

/// A command that did not do what it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What the shell is told.
    pub code: Code,
    /// What happened, where, and what to do. Empty where there is nothing to say, as after ctrl-c.
    pub words: String,
}

impl Failure {
    /// A failure with this code.
    pub fn new(code: Code, words: impl fmt::Display) -> Self {
        Self { code, words: words.to_string() }
    }

    /// [`Code::Failed`].
    pub fn failed(words: impl fmt::Display) -> Self {
        Self::new(Code::Failed, words)
    }

    /// [`Code::Unknown`].
    pub fn unknown(words: impl fmt::Display) -> Self {
        Self::new(Code::Unknown, words)
    }

    /// [`Code::Config`].
    pub fn config(words: impl fmt::Display) -> Self {
        Self::new(Code::Config, words)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// How every command ends.
pub type Outcome = Result<Code, Failure>;
