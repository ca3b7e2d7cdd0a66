//! What a role declares about each of its keys.

use huxiao_core::Span;

/// One key of a role's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Where it stands in the file, `relay.http` being `http` in `[relay]`. Lower case, digits and `_`; `.` between tables. One part
    /// may be `*`: there stands a name of the writer's own, and there may be as many such tables as he likes.
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
    /// An IP address without a port, or the empty text for none.
    IpOrEmpty,
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
/// Bytes of a table's own name.
const NAME_BYTES: usize = 32;

/// What a table's own name must be made of. The same as that of every key, so that the environment can set it too.
///
/// # Errors
/// What would be right.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(fits) {
        return Ok(());
    }
    Err(format!("a name of a table is made of lower case letters, digits and _, at most {NAME_BYTES} of them"))
}

impl Key {
    /// The environment variable that sets it, for a prefix such as `HUXIAO`. In place of a name of the writer's own stands `NAME`.
    #[must_use]
    pub fn variable(&self, prefix: &str) -> String {
        variable_of(&self.path.replace('*', "name"), prefix)
    }

    /// The tables above those with names of the writer's own, if the key stands in such a one: `relay.uplinks`.
    #[must_use]
    pub fn named_in(&self) -> Option<&'static str> {
        self.path.split_once(".*").map(|(above, _)| above)
    }

    /// Its path in the table called `name`.
    #[must_use]
    pub fn path_in(&self, name: &str) -> String {
        self.path.replacen('*', name, 1)
    }

    /// Whether `path` is this key's, under whatever name.
    pub(super) fn is_at(&self, path: &str) -> bool {
        self.parts_fit(path) && self.path.split('.').count() == path.split('.').count()
    }

    /// Whether `path` is a table in which this key stands, directly or further down.
    pub(super) fn is_below(&self, path: &str) -> bool {
        self.parts_fit(path) && self.path.split('.').count() > path.split('.').count()
    }

    fn parts_fit(&self, path: &str) -> bool {
        self.path.split('.').zip(path.split('.')).all(|(own, given)| own == "*" || own == given)
    }

    /// The name that the environment variable `given` has in place of this key's `*`.
    pub(super) fn name_in_variable(&self, given: &str, prefix: &str) -> Option<String> {
        let (before, after) = self.path.split_once('*')?;
        let [before, after] = [before, after].map(|part| part.replace('.', "__").to_ascii_uppercase());
        let name = given.strip_prefix(&format!("{prefix}_{before}"))?.strip_suffix(&after)?;
        Some(name.to_ascii_lowercase())
    }
}

/// The environment variable that sets the key at `path`.
pub(super) fn variable_of(path: &str, prefix: &str) -> String {
    format!("{prefix}_{}", path.replace('.', "__").to_ascii_uppercase())
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
            Kind::IpOrEmpty => "an IP address such as 192.168.1.20, or empty for none".into(),
            Kind::Path => "a path".into(),
            Kind::PathOrEmpty => "a path, or empty for none".into(),
            Kind::List(item) => format!("a list, each of it {}", item.describe()),
            Kind::Choice(words) => format!("one of {}", words.join(", ")),
        }
    }
}
