//! What a role declares about each of its keys.

use huxiao_core::Span;

/// One key of a role's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Where it stands in the file, `relay.http` being `http` in `[relay]`. Lower case, digits and `_`; `.` between tables.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The value as one would write it in the environment; `None` if it must be given. The empty text is an empty list, or nothing
    /// for the kinds that may be empty.
    pub default: Option<&'static str>,
    /// Whether a reload puts a new value to use; otherwise a restart does.
    pub reloadable: bool,
    /// One line for people: what it does, and its unit if that is not in the kind.
    pub help: &'static str,
}

/// What a key holds, with its bounds (both ends are allowed).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text without control characters.
    Text,
    /// A [`Name`](huxiao_core::Name).
    Name,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Integer {
        /// The least.
        min: i64,
        /// The greatest.
        max: i64,
    },
    /// A length of time with its unit: `150ms`, `10s`, `5m`, `24h`, `7d`.
    Duration {
        /// The shortest.
        min: Span,
        /// The longest.
        max: Span,
    },
    /// A size with its unit: `512B`, `64KiB`, `16MiB`, `2GiB`. A bare number counts bytes.
    Bytes {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// An [`Address`](super::Address): `127.0.0.1:8480`, `broker-1.example:7443`, `[::1]:8480` or `unix:/run/huxiao.sock`.
    Address,
    /// An address, or the empty text for none.
    AddressOrEmpty,
    /// A path; in a file, a relative one starts at the file's folder.
    Path,
    /// A path, or the empty text for none.
    PathOrEmpty,
    /// Several of one kind: an array in a file, separated by commas elsewhere. At most 256.
    List(&'static Kind),
    /// One of these words.
    Choice(&'static [&'static str]),
}

/// Values that one list may hold.
pub(super) const LIST_LEN: usize = 256;

impl Key {
    /// The environment variable that sets it, for a prefix such as `HUXIAO`.
    #[must_use]
    pub fn variable(&self, prefix: &str) -> String {
        format!("{prefix}_{}", self.path.replace('.', "__").to_ascii_uppercase())
    }
}

impl Kind {
    /// What belongs there, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        use super::parse::{show_bytes, show_duration};
        match self {
            Kind::Text => "text".into(),
            Kind::Name => "a name of letters, digits and . _ -".into(),
            Kind::Bool => "true or false".into(),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Duration { min, max } => {
                format!(
                    "a length of time such as 150ms, 10s or 5m, from {} to {}",
                    show_duration(*min),
                    show_duration(*max)
                )
            }
            Kind::Bytes { min, max } => {
                format!("a size such as 64KiB or 16MiB, from {} to {}", show_bytes(*min), show_bytes(*max))
            }
            Kind::Address => "an address: host:port or unix:/path".into(),
            Kind::AddressOrEmpty => "an address (host:port or unix:/path), or empty for none".into(),
            Kind::Path => "a path".into(),
            Kind::PathOrEmpty => "a path, or empty for none".into(),
            Kind::List(item) => format!("a list, each of it {}", item.describe()),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }
}
