//! Reads the layers, strongest last, and checks all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, ConfigErrors, Place};
use super::key::{Key, check_name, variable_of};
use super::parse::{Raw, value};
use super::{Config, Entry, Origin, paths};

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
        let mut work = Work {
            keys: self.keys,
            entries: BTreeMap::new(),
            named: BTreeSet::new(),
            errors: Vec::new(),
            unread: false,
        };
        for path in &self.files {
            work.file(path);
        }
        work.variables(&self.prefix, &self.variables);
        work.flags(&self.flags);
        // Last, since only now it is known which tables there are; nothing that is set is replaced.
        work.defaults();
        work.missing(&self.prefix);
        ConfigErrors::none_or(work.errors)?;
        Ok(Config { keys: self.keys, entries: work.entries, named: work.named })
    }
}

struct Work {
    keys: &'static [Key],
    entries: BTreeMap<String, Entry>,
    named: BTreeSet<(&'static str, String)>,
    errors: Vec<ConfigError>,
    /// Some file could not be looked at, so nobody knows what is missing.
    unread: bool,
}

impl Work {
    fn defaults(&mut self) {
        let mut wrong = BTreeSet::new();
        // Declared defaults are checked also where no table takes them.
        for key in self.keys {
            if let Some(Err(reason)) = key.default.map(|text| default(key, text)) {
                wrong.insert(key.path);
                self.errors.push(ConfigError::Default { key: key.path.into(), reason });
            }
        }
        for (path, key) in paths(self.keys, &self.named) {
            let Some(text) = key.default.filter(|_| !wrong.contains(key.path)) else { continue };
            if let Ok(value) = default(key, text) {
                self.entries.entry(path).or_insert(Entry { value, origin: Origin::Default });
            }
        }
    }

    fn find(&self, path: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.is_at(path))
    }

    /// Notes the table with a name of the writer's own that `path` is, or stands in, and says what is wrong with its name.
    fn name_table(&mut self, path: &str) -> Result<(), String> {
        let above = self.keys.iter().filter(|key| key.is_at(path) || key.is_below(path)).find_map(Key::named_in);
        let Some(above) = above else { return Ok(()) };
        let Some(name) = path.split('.').nth(above.split('.').count()) else { return Ok(()) };
        check_name(name)?;
        self.named.insert((above, name.to_owned()));
        Ok(())
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
            let own = name.get_ref();
            // A quoted name may hold anything; with a point in it, it would be taken for a table and a key.
            let path = if above.is_empty() { own.to_string() } else { format!("{above}.{own}") };
            let known = !own.contains('.');
            let key = self.find(&path).filter(|_| known);
            let is_table = known && self.keys.iter().any(|key| key.is_below(&path));
            match (key, item.get_ref()) {
                (None, DeValue::Table(inner)) if is_table && depth > 0 => match self.name_table(&path) {
                    Ok(()) => self.table(file, &path, inner, depth - 1),
                    Err(reason) => {
                        let at = file.place(name.span());
                        self.errors.push(ConfigError::InFile { at, key: path, value: "(a table)".into(), reason });
                    }
                },
                (Some(key), _) => self.in_file(file, path, key, item),
                (None, _) => {
                    let nearest = nearest(&path, self.keys_and_tables_like(&path)).filter(|_| known);
                    self.errors.push(ConfigError::UnknownKey { at: file.place(name.span()), key: path, nearest });
                }
            }
        }
    }

    /// Keys and tables as deep as `path`, under the names that it has.
    fn keys_and_tables_like(&self, path: &str) -> impl Iterator<Item = String> {
        let depth = path.split('.').count();
        let with_tables =
            |key: &'static Key| key.path.match_indices('.').map(|(at, _)| &key.path[..at]).chain([key.path]);
        let as_deep = self.keys.iter().flat_map(with_tables).filter(move |name| name.split('.').count() == depth);
        as_deep.map(|name| under_the_names_of(name, path)).filter(move |name| name != path)
    }

    fn in_file(&mut self, file: &File<'_>, path: String, key: &'static Key, item: &Spanned<DeValue<'_>>) {
        let at = file.place(item.span());
        let raw = raw(item.get_ref());
        match value(&key.kind, &raw, file.path.parent()) {
            Ok(value) => {
                let origin = Origin::File { path: file.path.to_owned(), line: at.line };
                self.entries.insert(path, Entry { value, origin });
            }
            Err(reason) => self.errors.push(ConfigError::InFile { at, key: path, value: raw.show(), reason }),
        }
    }

    /// The key that the variable `given` sets, and its path.
    fn find_variable(&self, prefix: &str, given: &str) -> Option<(&'static Key, String)> {
        let plain = |key: &&Key| key.named_in().is_none() && key.variable(prefix) == given;
        if let Some(key) = self.keys.iter().find(plain) {
            return Some((key, key.path.to_owned()));
        }
        let named = |key: &'static Key| Some((key, key.path_in(&key.name_in_variable(given, prefix)?)));
        self.keys.iter().find_map(named).filter(|(key, path)| key.is_at(path))
    }

    fn variables(&mut self, prefix: &str, variables: &[(String, OsString)]) {
        for (name, text) in variables {
            let variable = name.clone();
            let Some((key, path)) = self.find_variable(prefix, name) else {
                let as_path = name.strip_prefix(&format!("{prefix}_")).unwrap_or(name).to_ascii_lowercase();
                let as_path = as_path.replace("__", ".");
                let like = |key: &Key| variable_of(&under_the_names_of(key.path, &as_path), prefix);
                let nearest = nearest(name, self.keys.iter().map(like));
                self.errors.push(ConfigError::UnknownVariable { variable, nearest });
                continue;
            };
            let raw = Raw::Loose(text.to_string_lossy().into_owned());
            let checked = match text.to_str() {
                Some(_) => self.name_table(&path).and_then(|()| value(&key.kind, &raw, None)),
                None => Err("this is not UTF-8".into()),
            };
            match checked {
                Ok(value) => {
                    self.entries.insert(path, Entry { value, origin: Origin::Env(variable) });
                }
                Err(reason) => self.errors.push(ConfigError::InVariable { variable, value: raw.show(), reason }),
            }
        }
    }

    fn flags(&mut self, flags: &[(String, String)]) {
        for (path, text) in flags {
            let Some(key) = self.find(path) else {
                let nearest = nearest(path, self.keys.iter().map(|key| under_the_names_of(key.path, path)));
                self.errors.push(ConfigError::UnknownFlag { key: path.clone(), nearest });
                continue;
            };
            let raw = Raw::Loose(text.clone());
            match self.name_table(path).and_then(|()| value(&key.kind, &raw, None)) {
                Ok(value) => {
                    self.entries.insert(path.clone(), Entry { value, origin: Origin::Flag });
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
        for (path, key) in paths(self.keys, &self.named) {
            let variable = variable_of(&path, prefix);
            let refused = |error: &ConfigError| match error {
                ConfigError::InFile { key: refused, .. } | ConfigError::InFlag { key: refused, .. } => *refused == path,
                ConfigError::Default { key: refused, .. } => refused == key.path,
                ConfigError::InVariable { variable: refused, .. } => *refused == variable,
                _ => false,
            };
            if !self.entries.contains_key(&path) && !self.errors.iter().any(refused) {
                self.errors.push(ConfigError::Missing {
                    key: path,
                    expected: key.kind.describe(),
                    help: key.help.into(),
                    variable,
                });
            }
        }
    }
}

fn default(key: &Key, text: &str) -> Result<super::Value, String> {
    value(&key.kind, &Raw::Loose(text.to_owned()), None)
}

/// The declared path `declared` with the names that `given` has where it leaves them to the writer.
fn under_the_names_of(declared: &str, given: &str) -> String {
    let given: Vec<&str> = given.split('.').collect();
    let parts = declared.split('.').enumerate();
    let part = |(index, part)| if part == "*" { given.get(index).copied().unwrap_or("name") } else { part };
    parts.map(part).collect::<Vec<_>>().join(".")
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
