//! Layered, declared, checked configuration.
//!
//! Each role declares its [`Key`]s once; loading, `config show`, `config init`, `config check` and the documentation all come from that
//! declaration. Layers, strongest first: flag, environment (`HUXIAO_RELAY__HTTP`), files (a later one wins), default.
//!
//! A role may declare tables of which there are as many as the writer gives names to (`relay.uplinks.*.cost`); a table is there once
//! any layer names it, and what it does not say has its default.
//!
//! Invariant: a [`Config`] that exists holds a checked value for every declared key; there is no partly valid one. All mistakes of
//! all layers are reported at once, each with its place.

mod address;
mod error;
mod key;
mod load;
mod parse;
mod render;

pub use address::Address;
pub use error::{ConfigError, ConfigErrors, Place};
pub use key::{Key, Kind};
pub use load::Loader;
pub use render::{Change, Row, diff, init, show};

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;

use huxiao_core::{Name, Span};

/// A checked value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Of [`Kind::Text`] and [`Kind::Choice`].
    Text(String),
    /// Of [`Kind::Name`].
    Name(Name),
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Integer`].
    Integer(i64),
    /// Of [`Kind::Duration`].
    Duration(Span),
    /// Of [`Kind::Bytes`].
    Bytes(u64),
    /// Of [`Kind::Address`], and of [`Kind::AddressOrEmpty`] when there is one.
    Address(Address),
    /// Of [`Kind::IpOrEmpty`] when there is one.
    Ip(IpAddr),
    /// Of [`Kind::Path`], and of [`Kind::PathOrEmpty`] when there is one.
    Path(PathBuf),
    /// Of [`Kind::AddressOrEmpty`], [`Kind::IpOrEmpty`] and [`Kind::PathOrEmpty`] when the text is empty.
    Unset,
    /// Of [`Kind::List`].
    List(Vec<Value>),
}

/// Which layer gave a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag.
    Flag,
    /// The environment variable of this name.
    Env(String),
    /// A line of a file.
    File {
        /// The file as it was given.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The key's own default.
    Default,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    value: Value,
    origin: Origin,
}

/// A checked configuration.
///
/// The getters cannot fail on content: every key has a checked value. Asking for a key that was not declared, or for another
/// kind than the declared one, is a defect of the caller that does not depend on any file; it panics with the key's
/// name on the first run. Build the role's settings from it right after loading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    keys: &'static [Key],
    entries: BTreeMap<String, Entry>,
    /// The tables with names of the writer's own: what they stand under, and their names.
    named: BTreeSet<(&'static str, String)>,
}

macro_rules! getters {
    ($($(#[doc = $doc:literal])* $name:ident -> $type:ty, $pattern:pat => $out:expr;)*) => {$(
        $(#[doc = $doc])*
        #[must_use]
        #[track_caller]
        pub fn $name(&self, path: &str) -> $type {
            match self.value(path) {
                $pattern => $out,
                other => misuse(path, stringify!($name), other),
            }
        }
    )*};
}

impl Config {
    getters! {
        /// A text or a choice.
        text -> &str, Value::Text(text) => text;
        /// A name.
        name -> Name, Value::Name(name) => name.clone();
        /// A switch.
        flag -> bool, Value::Bool(on) => *on;
        /// A whole number.
        integer -> i64, Value::Integer(number) => *number;
        /// A length of time.
        duration -> Span, Value::Duration(span) => *span;
        /// A size in bytes.
        bytes -> u64, Value::Bytes(bytes) => *bytes;
        /// An address.
        address -> Address, Value::Address(address) => address.clone();
        /// A path.
        path -> PathBuf, Value::Path(path) => path.clone();
        /// The values of a list.
        list -> &[Value], Value::List(values) => values;
    }

    /// A whole number as a `usize`: zero below it, the greatest above it.
    #[must_use]
    #[track_caller]
    pub fn count(&self, path: &str) -> usize {
        let number = self.integer(path);
        usize::try_from(number).unwrap_or(if number < 0 { 0 } else { usize::MAX })
    }

    /// The address of a key of [`Kind::AddressOrEmpty`].
    #[must_use]
    #[track_caller]
    pub fn address_if_set(&self, path: &str) -> Option<Address> {
        match self.value(path) {
            Value::Unset => None,
            Value::Address(address) => Some(address.clone()),
            other => misuse(path, "address_if_set", other),
        }
    }

    /// The IP address of a key of [`Kind::IpOrEmpty`].
    #[must_use]
    #[track_caller]
    pub fn ip_if_set(&self, path: &str) -> Option<IpAddr> {
        match self.value(path) {
            Value::Unset => None,
            Value::Ip(address) => Some(*address),
            other => misuse(path, "ip_if_set", other),
        }
    }

    /// The path of a key of [`Kind::PathOrEmpty`].
    #[must_use]
    #[track_caller]
    pub fn path_if_set(&self, path: &str) -> Option<PathBuf> {
        match self.value(path) {
            Value::Unset => None,
            Value::Path(found) => Some(found.clone()),
            other => misuse(path, "path_if_set", other),
        }
    }

    /// The addresses of a list of addresses.
    #[must_use]
    #[track_caller]
    pub fn addresses(&self, path: &str) -> Vec<Address> {
        let pick = |value: &Value| match value {
            Value::Address(address) => address.clone(),
            other => misuse(path, "addresses", other),
        };
        self.list(path).iter().map(pick).collect()
    }

    /// The names of a list of names.
    #[must_use]
    #[track_caller]
    pub fn names(&self, path: &str) -> Vec<Name> {
        let pick = |value: &Value| match value {
            Value::Name(name) => name.clone(),
            other => misuse(path, "names", other),
        };
        self.list(path).iter().map(pick).collect()
    }

    /// The texts of a list of texts.
    #[must_use]
    #[track_caller]
    pub fn texts(&self, path: &str) -> Vec<String> {
        let pick = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            other => misuse(path, "texts", other),
        };
        self.list(path).iter().map(pick).collect()
    }

    /// The names of the tables under `above` (`relay.uplinks`), sorted.
    #[must_use]
    pub fn tables(&self, above: &str) -> Vec<&str> {
        self.named.iter().filter(|(under, _)| *under == above).map(|(_, name)| name.as_str()).collect()
    }

    /// The path of every value with its key, in the order of the declaration, table by table.
    fn paths(&self) -> Vec<(String, &'static Key)> {
        paths(self.keys, &self.named)
    }

    /// The checked value of a key, whatever its kind.
    #[must_use]
    #[track_caller]
    pub fn value(&self, path: &str) -> &Value {
        &self.entry(path).value
    }

    /// The same, if there is such a key; a table with a name may not be there.
    fn get(&self, path: &str) -> Option<&Value> {
        self.entries.get(path).map(|entry| &entry.value)
    }

    /// Which layer gave the value of a key.
    #[must_use]
    #[track_caller]
    pub fn origin(&self, path: &str) -> &Origin {
        &self.entry(path).origin
    }

    /// The declaration that it was checked against.
    #[must_use]
    pub fn keys(&self) -> &'static [Key] {
        self.keys
    }

    #[expect(
        clippy::panic,
        reason = "a key that was never declared is a defect of the calling code, whatever the files say"
    )]
    #[track_caller]
    fn entry(&self, path: &str) -> &Entry {
        match self.entries.get(path) {
            Some(entry) => entry,
            None => panic!("the configuration key {path:?} is read but not declared"),
        }
    }
}

/// The path of every key, those in named tables once for each of them.
fn paths(keys: &'static [Key], named: &BTreeSet<(&'static str, String)>) -> Vec<(String, &'static Key)> {
    let mut all = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        match key.named_in() {
            None => all.push((key.path.to_owned(), key)),
            // All of one table stand together, where the first key of its kind is declared.
            Some(above) if keys[..index].iter().all(|earlier| earlier.named_in() != Some(above)) => {
                let own = || keys.iter().filter(|key| key.named_in() == Some(above));
                for (_, name) in named.iter().filter(|(under, _)| *under == above) {
                    all.extend(own().map(|key| (key.path_in(name), key)));
                }
            }
            Some(_) => {}
        }
    }
    all
}

#[expect(clippy::panic, reason = "a getter of another kind than the declared one is a defect of the calling code")]
#[track_caller]
fn misuse(path: &str, getter: &str, value: &Value) -> ! {
    panic!("the configuration key {path:?} is read with {getter}(), but its kind holds {value:?}")
}

#[cfg(test)]
mod tests;
