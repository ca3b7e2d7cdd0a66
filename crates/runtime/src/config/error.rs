//! What can be wrong with a configuration. Every error names its place and says what would be right.

use std::fmt;
use std::path::PathBuf;

/// A position in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file as it was given.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.path.display(), self.line, self.column)
    }
}

/// One mistake. Ordered as they are listed: files by name and position, then the environment, then flags, then what is missing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ConfigError {
    /// Check the path and who may read it.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// The file is not TOML; nothing in it was looked at.
    #[error("{at}: not valid TOML: {reason}")]
    Syntax {
        /// Where.
        at: Place,
        /// What the parser says.
        reason: String,
    },
    /// A wrong value in a file.
    #[error("{at}: {key} = {value}: {reason}")]
    InFile {
        /// Where.
        at: Place,
        /// The key.
        key: String,
        /// What stands there.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// No key of this role has that name.
    #[error("{at}: unknown key {key}{}", hint(nearest.as_ref()))]
    UnknownKey {
        /// Where.
        at: Place,
        /// What stands there.
        key: String,
        /// The declared key that looks most like it.
        nearest: Option<String>,
    },
    /// A wrong value in the environment.
    #[error("environment variable {variable} = {value}: {reason}")]
    InVariable {
        /// The variable.
        variable: String,
        /// What stands there.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// The environment has a variable that looks like ours but sets no key.
    #[error("environment variable {variable} sets no known key{}", hint(nearest.as_ref()))]
    UnknownVariable {
        /// The variable.
        variable: String,
        /// The variable that looks most like it.
        nearest: Option<String>,
    },
    /// A wrong value in a flag.
    #[error("flag for {key} = {value}: {reason}")]
    InFlag {
        /// The key.
        key: String,
        /// What was given.
        value: String,
        /// What would be right.
        reason: String,
    },
    /// A flag for a key that this role does not have.
    #[error("flag for unknown key {key}{}", hint(nearest.as_ref()))]
    UnknownFlag {
        /// What was given.
        key: String,
        /// The declared key that looks most like it.
        nearest: Option<String>,
    },
    /// Give it in a file, in the environment or by a flag.
    #[error("{key} is not set and has no default; it must be {expected}. {help} Set it in a file or by {variable}")]
    Missing {
        /// The key.
        key: String,
        /// What belongs there.
        expected: String,
        /// What it does.
        help: String,
        /// The environment variable that would set it.
        variable: String,
    },
    /// A default that the key's own kind refuses: a defect of the program.
    #[error("the default of {key} is wrong: {reason}: report this defect")]
    Default {
        /// The key.
        key: String,
        /// What would be right.
        reason: String,
    },
}

fn hint(nearest: Option<&String>) -> String {
    nearest.map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

impl ConfigError {
    fn place(&self) -> Option<&Place> {
        match self {
            ConfigError::Syntax { at, .. } | ConfigError::InFile { at, .. } | ConfigError::UnknownKey { at, .. } => {
                Some(at)
            }
            _ => None,
        }
    }

    fn rank(&self) -> (u8, Option<&Place>, &str) {
        match self {
            ConfigError::Unreadable { .. } => (0, None, ""),
            ConfigError::Syntax { .. } | ConfigError::InFile { .. } | ConfigError::UnknownKey { .. } => {
                (1, self.place(), "")
            }
            ConfigError::InVariable { variable, .. } | ConfigError::UnknownVariable { variable, .. } => {
                (2, None, variable)
            }
            ConfigError::InFlag { key, .. } | ConfigError::UnknownFlag { key, .. } => (3, None, key),
            ConfigError::Missing { key, .. } | ConfigError::Default { key, .. } => (4, None, key),
        }
    }
}

/// All mistakes of a configuration, sorted; never empty. Shown one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// `Err` with all of them in order, `Ok` if there are none.
    pub(super) fn none_or(mut errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by(|a, b| a.rank().cmp(&b.rank()).then_with(|| a.cmp(b)));
        errors.dedup();
        Err(Self(errors))
    }

    /// The mistakes in order.
    #[must_use]
    pub fn list(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
