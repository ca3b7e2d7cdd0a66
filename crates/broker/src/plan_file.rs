//! Plan files: TOML in, [`Plan`] out, with every mistake named at once; and back.
//!
//! ```toml
//! [[school]]
//! id = "school-001"
//! name = "第一小学"          # for people; may be left out
//! stations = ["station-001"]
//!
//! # In a province: who watches for a region that forwards to it. A school that is named above goes to its own stations.
//! [[region]]
//! name = "east"
//! stations = ["province-001"]
//! ```
//!
//! That is the small form; `deploy/plan/jiangxi` shows areas, stations, and a school with everything in it. A plan may be cut into files as
//! one likes; a folder stands for all files in it and below that end in `.toml`.
//!
//! Invariant: files with a mistake give no plan at all; whoever reloads keeps the old one.

mod field;
mod part;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use huxiao_core::plan::{Change, Counts, Plan, PlanError, Subject};
use toml::de::{DeTable, DeValue};

use field::Reader;

pub use write::write as write_plan;

/// Folders in folders that are looked into.
const DEPTH: usize = 8;

/// Everything that is wrong with plan files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PlanErrors {
    mistakes: Vec<Mistake>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mistake {
    path: PathBuf,
    /// Line and column, both from 1.
    place: Option<(usize, usize)>,
    what: String,
}

impl PlanErrors {
    /// How many mistakes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.mistakes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.mistakes.is_empty()
    }

    fn add(&mut self, path: &Path, place: Option<(usize, usize)>, what: impl fmt::Display) {
        self.mistakes.push(Mistake { path: path.to_owned(), place, what: what.to_string() });
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Mistake { path, place, what }) in self.mistakes.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            match place {
                Some((row, column)) => write!(f, "{line}{}:{row}:{column}: {what}", path.display())?,
                None => write!(f, "{line}{}: {what}", path.display())?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for PlanErrors {}

/// Reads the plan in the file, or in all files of the folder, at `path`.
///
/// # Errors
/// [`PlanErrors`], all of them.
pub fn read(path: &Path) -> Result<Plan, PlanErrors> {
    PlanFiles::read(&[path.to_owned()])?.plan()
}

/// What plan files say, and where.
#[derive(Debug, Default)]
pub struct PlanFiles {
    parts: Vec<Change>,
    places: BTreeMap<Subject, (PathBuf, usize, usize)>,
    first: PathBuf,
    /// Mistakes in what stands there; those of the plan as a whole are found later.
    errors: PlanErrors,
}

impl PlanFiles {
    /// Reads files, and all files of folders.
    ///
    /// # Errors
    /// [`PlanErrors`]: something cannot be read at all. Mistakes in it are told by [`PlanFiles::plan`], with all others.
    pub fn read(paths: &[PathBuf]) -> Result<Self, PlanErrors> {
        let mut files = Self { first: paths.first().cloned().unwrap_or_default(), ..Self::default() };
        let mut unreadable = PlanErrors::default();
        for path in paths {
            for file in all_files(path, &mut unreadable) {
                match std::fs::read_to_string(&file) {
                    Ok(text) => files.take(&file, &text),
                    Err(why) => unreadable.add(&file, None, format_args!("cannot be read: {why}")),
                }
            }
        }
        if unreadable.is_empty() { Ok(files) } else { Err(unreadable) }
    }

    fn take(&mut self, path: &Path, text: &str) {
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let place = error.span().map(|span| field::place(text, span.start));
                return self.errors.add(path, place, error.message());
            }
        };
        let mut reader = Reader::new(text);
        let mut found = Vec::new();
        for (key, value) in root.get_ref() {
            let (kind, at) = (key.get_ref().as_ref(), value.span().start);
            let DeValue::Array(items) = value.get_ref() else {
                if part::KINDS.contains(&kind) {
                    reader.wrong(at, format_args!("write each {kind} as a table: [[{kind}]]"));
                } else {
                    reader.wrong(key.span().start, unknown_kind(kind));
                }
                continue;
            };
            if !part::KINDS.contains(&kind) {
                reader.wrong(key.span().start, unknown_kind(kind));
                continue;
            }
            for item in items {
                found.extend(part::read(&mut reader, kind, item).map(|change| (item.span().start, change)));
            }
        }
        for (at, change) in found {
            self.place(path, field::place(text, at), change);
        }
        for (at, what) in reader.finish() {
            self.errors.add(path, Some(field::place(text, at)), what);
        }
    }

    fn place(&mut self, path: &Path, (row, column): (usize, usize), change: Change) {
        let of = change.of();
        if let Some((other, first, _)) = self.places.get(&of) {
            let what = format!("{}; first in {}:{first}", PlanError::Twice(of), other.display());
            return self.errors.add(path, Some((row, column)), what);
        }
        self.places.insert(of, (path.to_owned(), row, column));
        self.parts.push(change);
    }

    /// The plan that they are.
    ///
    /// # Errors
    /// [`PlanErrors`], all of them.
    pub fn plan(&self) -> Result<Plan, PlanErrors> {
        self.onto(&Plan::default()).map(|(plan, _)| plan)
    }

    /// The plan that comes of putting what they say into `base`, in the place of what has the same codes there.
    ///
    /// # Errors
    /// [`PlanErrors`], all of them.
    pub fn onto(&self, base: &Plan) -> Result<(Plan, Counts), PlanErrors> {
        let made = base.changed(&self.parts);
        let mut errors = self.errors.clone();
        for found in made.as_ref().err().into_iter().flatten() {
            // What is missing may stand where the mistake is.
            if !self.errors.is_empty() && found.is_about_others() {
                continue;
            }
            match found.of().and_then(|of| self.places.get(&of)) {
                Some((path, row, column)) => errors.add(path, Some((*row, *column)), found),
                None => errors.add(&self.first, None, found),
            }
        }
        errors.mistakes.sort_by(|one, other| (&one.path, one.place).cmp(&(&other.path, other.place)));
        match made {
            Ok(made) if errors.is_empty() => Ok(made),
            _ => Err(errors),
        }
    }
}

fn unknown_kind(kind: &str) -> String {
    format!("unknown key {kind:?}; a plan holds [[area]], [[station]], [[school]] and [[region]] tables")
}

/// The file itself, or the files of the folder, in the order of their names.
fn all_files(path: &Path, errors: &mut PlanErrors) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let mut files = Vec::new();
    look_into(path, DEPTH, &mut files, errors);
    if files.is_empty() && errors.is_empty() {
        errors.add(path, None, "holds no file that ends in .toml");
    }
    files.sort_unstable();
    files
}

fn look_into(dir: &Path, depth: usize, files: &mut Vec<PathBuf>, errors: &mut PlanErrors) {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(why) => return errors.add(dir, None, format_args!("cannot be read: {why}")),
    };
    for entry in entries {
        match entry.map(|entry| entry.path()) {
            Ok(path) if path.is_dir() && depth == 0 => {
                errors.add(&path, None, format_args!("lies more than {DEPTH} folders deep"));
            }
            Ok(path) if path.is_dir() => look_into(&path, depth - 1, files, errors),
            Ok(path) if path.extension().is_some_and(|ending| ending == "toml") => files.push(path),
            Ok(_) => {}
            Err(why) => errors.add(dir, None, format_args!("cannot be read: {why}")),
        }
    }
}
