//! Reads the layers, strongest last, and checks all of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Place};
use super::key::Key;
use super::parse::{Raw, value};
use super::{Config, Entry, Origin};

/// Bytes of one configuration file; more than this is no configuration.
const FILE_BYTES: u64 = 1 << 20;
/// Tables within tables; no key is deeper, so nothing below is looked at.
const DEPTH: usize = 8;

/// Where a configuration comes from. Kept by a node, so that a reload reads the same places again.
#[derive(Debug, Clone)]
pub struct Loader {
    keys: &'static [Key],
    files: Vec<PathBuf>,
    prefix: String,
    variables: Vec<(String, OsString)>,
    flags: Vec<(String, String)>,
}

impl Loader {
    /// Nothing but the defaults of `keys` so far.
    #[must_use]
    pub fn new(keys: &'static [Key]) -> Self {
        Self { keys, files: Vec::new(), prefix: "HUXIAO".into(), variables: Vec::new(), flags: Vec::new() }
    }

    /// A file that must be there. A later one wins over an earlier one.
    #[must_use]
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.files.push(path.into());
        self
    }

    /// The environment, usually `std::env::vars_os()`. Looked at are the variables of declared keys, and whatever else begins with
    /// `prefix` and `_` and holds `__`: that is meant for us and misspelt.
    #[must_use]
    pub fn env<I>(mut self, prefix: &str, variables: I) -> Self
    where
        I: IntoIterator<Item = (OsString, OsString)>,
    {
        let start = format!("{prefix}_");
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            let meant = name.starts_with(&start) && name.contains("__");
            (meant || self.keys.iter().any(|key| key.variable(prefix) == name)).then_some((name, value))
        };
        let found: Vec<_> = variables.into_iter().filter_map(ours).collect();
        self.variables.extend(found);
        self.prefix = prefix.to_owned();
        self
    }

    /// Flags as (key, text). A later one wins.
    #[must_use]
    pub fn flags<K, V, I>(mut self, flags: I) -> Self
    where
        K: Into<String>,
        V: Into<String>,
        I: IntoIterator<Item = (K, V)>,
    {
        self.flags.extend(flags.into_iter().map(|(key, text)| (key.into(), text.into())));
        self
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    /// All mistakes of all layers at once, also of values that a stronger layer would have replaced.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut work = Work { keys: self.keys, entries: BTreeMap::new(), errors: Vec::new(), unread: false };
        work.defaults();
        for path in &self.files {
            work.file(path);
        }
        work.variables(&self.prefix, &self.variables);
        work.flags(&self.flags);
        work.missing(&self.prefix);
        ConfigErrors::none_or(work.errors)?;
        Ok(Config { keys: self.keys, entries: work.entries })
    }
}

struct Work {
    keys: &'static [Key],
    entries: BTreeMap<&'static str, Entry>,
    errors: Vec<ConfigError>,
    /// Some file could not be looked at, so nobody knows what is missing.
    unread: bool,
}

impl Work {
    fn defaults(&mut self) {
        for key in self.keys {
            let Some(text) = key.default else { continue };
            match value(&key.kind, &Raw::Loose(text.to_owned()), None) {
                Ok(value) => {
                    self.entries.insert(key.path, Entry { value, origin: Origin::Default });
                }
                Err(reason) => self.errors.push(ConfigError::Default { key: key.path.into(), reason }),
            }
        }
    }

    fn file(&mut self, path: &Path) {
        let text = match read(path) {
            Ok(text) => text,
            Err(reason) => {
                self.unread = true;
                return self.errors.push(ConfigError::Unreadable { path: path.to_owned(), reason });
            }
        };
        let file = File { path, text: &text };
        let (table, faults) = DeTable::parse_recoverable(&text);
        if faults.is_empty() {
            return self.table(&file, "", table.get_ref(), DEPTH);
        }
        self.unread = true;
        for fault in faults {
            let at = file.place(fault.span().unwrap_or(0..0));
            self.errors.push(ConfigError::Syntax { at, reason: fault.message().to_owned() });
        }
    }

    fn table(&mut self, file: &File<'_>, above: &str, table: &DeTable<'_>, depth: usize) {
        for (name, item) in table {
            let path =
                if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
            let key = self.keys.iter().find(|key| key.path == path);
            let is_table =
                self.keys.iter().any(|key| key.path.strip_prefix(&path).is_some_and(|rest| rest.starts_with('.')));
            match (key, item.get_ref()) {
                (None, DeValue::Table(inner)) if is_table && depth > 0 => self.table(file, &path, inner, depth - 1),
                (Some(key), _) => self.in_file(file, key, item),
                (None, _) => {
                    let depth = path.matches('.').count();
                    let nearest =
                        nearest(&path, self.keys_and_tables().filter(|name| name.matches('.').count() == depth));
                    self.errors.push(ConfigError::UnknownKey { at: file.place(name.span()), key: path, nearest });
                }
            }
        }
    }

    fn keys_and_tables(&self) -> impl Iterator<Item = String> {
        let with_tables =
            |key: &'static Key| key.path.match_indices('.').map(|(at, _)| &key.path[..at]).chain([key.path]);
        self.keys.iter().flat_map(with_tables).map(str::to_owned)
    }

    fn in_file(&mut self, file: &File<'_>, key: &'static Key, item: &Spanned<DeValue<'_>>) {
        let at = file.place(item.span());
        let raw = raw(item.get_ref());
        match value(&key.kind, &raw, file.path.parent()) {
            Ok(value) => {
                let origin = Origin::File { path: file.path.to_owned(), line: at.line };
                self.entries.insert(key.path, Entry { value, origin });
            }
            Err(reason) => {
                self.errors.push(ConfigError::InFile { at, key: key.path.into(), value: raw.show(), reason });
            }
        }
    }

    fn variables(&mut self, prefix: &str, variables: &[(String, OsString)]) {
        for (name, text) in variables {
            let variable = name.clone();
            let Some(key) = self.keys.iter().find(|key| key.variable(prefix) == *name) else {
                let nearest = nearest(name, self.keys.iter().map(|key| key.variable(prefix)));
                self.errors.push(ConfigError::UnknownVariable { variable, nearest });
                continue;
            };
            let raw = Raw::Loose(text.to_string_lossy().into_owned());
            let checked = match text.to_str() {
                Some(_) => value(&key.kind, &raw, None),
                None => Err("this is not UTF-8".into()),
            };
            match checked {
                Ok(value) => {
                    self.entries.insert(key.path, Entry { value, origin: Origin::Env(variable) });
                }
                Err(reason) => self.errors.push(ConfigError::InVariable { variable, value: raw.show(), reason }),
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (path, text) in flags {
            let Some(key) = self.keys.iter().find(|key| key.path == path) else {
                let nearest = nearest(path, self.keys.iter().map(|key| key.path.to_owned()));
                self.errors.push(ConfigError::UnknownFlag { key: path.clone(), nearest });
                continue;
            };
            let raw = Raw::Loose(text.clone());
            match value(&key.kind, &raw, None) {
                Ok(value) => {
                    self.entries.insert(key.path, Entry { value, origin: Origin::Flag });
                }
                Err(reason) => {
                    self.errors.push(ConfigError::InFlag { key: path.clone(), value: raw.show(), reason });
                }
            }
        }
    }

    fn missing(&mut self, prefix: &str) {
        if self.unread {
            return;
        }
        for key in self.keys {
            let refused = |error: &ConfigError| match error {
                ConfigError::InFile { key: refused, .. }
                | ConfigError::InFlag { key: refused, .. }
                | ConfigError::Default { key: refused, .. } => refused == key.path,
                ConfigError::InVariable { variable, .. } => *variable == key.variable(prefix),
                _ => false,
            };
            if !self.entries.contains_key(key.path) && !self.errors.iter().any(refused) {
                self.errors.push(ConfigError::Missing {
                    key: key.path.into(),
                    expected: key.kind.describe(),
                    help: key.help.into(),
                    variable: key.variable(prefix),
                });
            }
        }
    }
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
}

impl File<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let mut end = span.start.min(self.text.len());
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let before = &self.text[..end];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // One byte more than allowed, to see that there is more.
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(format!("it has more than {FILE_BYTES} bytes: this is no configuration"));
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
}

fn raw(item: &DeValue<'_>) -> Raw {
    match item {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Boolean(on) => Raw::Bool(*on),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Other("a number too large"), Raw::Integer)
        }
        DeValue::Array(items) => Raw::Array(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("a number with a point"),
        DeValue::Datetime(_) => Raw::Other("a date or time"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

/// The candidate most like `given`, if one is like it at all.
fn nearest(given: &str, candidates: impl Iterator<Item = String>) -> Option<String> {
    let scored = candidates.map(|name| (strsim::damerau_levenshtein(given, &name), name));
    let (distance, name) = scored.min()?;
    (distance <= (name.len() / 3).max(2)).then_some(name)
}
