//! A configuration for people: what is set and by whom, a file to start from, what a reload changes.

use std::fmt::Write as _;

use super::key::{Key, Kind};
use super::{Config, Origin};

/// One line of `config show`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: String,
    /// Its value as one would write it in the environment.
    pub value: String,
    /// Which layer gave it, in words; `None` if that was not asked for.
    pub origin: Option<String>,
}

/// All values of `config`, in the order of the declaration.
#[must_use]
pub fn show(config: &Config, with_origin: bool) -> Vec<Row> {
    let row = |(key, _): (String, &Key)| Row {
        value: config.value(&key).to_text(),
        origin: with_origin.then(|| match config.origin(&key) {
            Origin::Flag => "flag".to_owned(),
            Origin::Env(variable) => format!("environment, {variable}"),
            Origin::File { path, line } => format!("{}:{line}", path.display()),
            Origin::Default => "default".to_owned(),
        }),
        key,
    };
    config.paths().into_iter().map(row).collect()
}

/// A file with every key of a role: what it does, what belongs there and its default, commented out. With what is required filled
/// in, it loads, and gives the defaults.
#[must_use]
pub fn init(keys: &[Key], role: &str) -> String {
    let mut out = format!(
        "# Configuration of a Huxiao {role}. Each key is shown with its default; remove the # to change it.\n\
         # A flag wins over the environment, the environment over this file. Check it with: huxiao config check\n"
    );
    let table_of = |key: &Key| key.path.rsplit_once('.').map_or("", |(table, _)| table);
    let mut tables: Vec<&str> = Vec::new();
    for key in keys {
        if !tables.contains(&table_of(key)) {
            tables.push(table_of(key));
        }
    }
    // Keys before the first header belong to no table: they must come first.
    tables.sort_by_key(|table| !table.is_empty());
    for table in tables {
        // Writing to a String does not fail.
        let _ = match table.split_once(".*") {
            _ if table.is_empty() => Ok(()),
            None => write!(out, "\n[{table}]\n"),
            Some((above, below)) => write!(
                out,
                "\n# As many tables as needed, each with a name of its own: lower case letters, digits and _.\n#[{above}.name{below}]\n"
            ),
        };
        for key in keys.iter().filter(|key| table_of(key) == table) {
            describe(&mut out, key);
        }
    }
    out
}

fn describe(out: &mut String, key: &Key) {
    let name = key.path.rsplit_once('.').map_or(key.path, |(_, name)| name);
    let when = if key.reloadable { "taken over on reload" } else { "needs a restart" };
    let _ = write!(out, "\n# {}\n# {}; {when}.\n", key.help, capitalised(&key.kind.describe()));
    let _ = match key.default {
        Some(default) => writeln!(out, "#{name} = {}", literal(&key.kind, default)),
        None => writeln!(out, "# Required.\n#{name} ="),
    };
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

fn literal(kind: &Kind, text: &str) -> String {
    match kind {
        Kind::Bool | Kind::Integer { .. } => text.to_owned(),
        Kind::List(item) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            format!("[{}]", parts.map(|part| literal(item, part)).collect::<Vec<_>>().join(", "))
        }
        _ => toml::Value::String(text.to_owned()).to_string(),
    }
}

/// One key that two configurations disagree on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// What it was; empty for a table that is new.
    pub old: String,
    /// What it is now; empty for a table that is gone.
    pub new: String,
    /// Whether a reload puts it to use; otherwise a restart does.
    pub reloadable: bool,
}

/// What `new` changes against `old`, both of the same role.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut paths = new.paths();
    let gone = old.paths().into_iter().filter(|(path, _)| new.get(path).is_none());
    paths.extend(gone);
    let text = |config: &Config, path: &str| config.get(path).map(|value| value.to_text()).unwrap_or_default();
    let differs = |(path, _): &(String, &Key)| old.get(path) != new.get(path);
    let change = |(path, key): (String, &Key)| Change {
        old: text(old, &path),
        new: text(new, &path),
        reloadable: key.reloadable,
        key: path,
    };
    paths.into_iter().filter(differs).map(change).collect()
}
