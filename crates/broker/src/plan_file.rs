//! The plan file: TOML in, [`Plan`] out, with every mistake named at once.
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
//! Invariant: a file with a mistake gives no plan at all; whoever reloads keeps the old one.

use std::fmt;
use std::path::{Path, PathBuf};

use huxiao_core::plan::Plan;
use huxiao_core::{Name, SchoolId, StationId};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Everything that is wrong with a plan file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanErrors {
    path: PathBuf,
    mistakes: Vec<(Option<(usize, usize)>, String)>,
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (place, what)) in self.mistakes.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            match place {
                Some((row, column)) => write!(f, "{line}{}:{row}:{column}: {what}", self.path.display())?,
                None => write!(f, "{line}{}: {what}", self.path.display())?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for PlanErrors {}

/// Reads the plan file at `path`.
///
/// # Errors
/// [`PlanErrors`], all of them.
pub fn read(path: &Path) -> Result<Plan, PlanErrors> {
    let fail = |what: String| PlanErrors { path: path.to_owned(), mistakes: vec![(None, what)] };
    let text = std::fs::read_to_string(path).map_err(|why| fail(format!("cannot be read: {why}")))?;
    parse(&text).map_err(|mistakes| PlanErrors { path: path.to_owned(), mistakes })
}

type Mistakes = Vec<(Option<(usize, usize)>, String)>;

fn parse(text: &str) -> Result<Plan, Mistakes> {
    let root = DeTable::parse(text).map_err(|error| {
        let place = error.span().map(|span| place(text, span.start));
        vec![(place, error.message().to_owned())]
    })?;
    let mut reader = Reader { text, plan: Plan::default(), mistakes: Vec::new() };
    for (key, value) in root.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("school", DeValue::Array(schools)) => schools.iter().for_each(|school| reader.school(school)),
            ("school", _) => reader.wrong(value.span().start, "write each school as a table: [[school]]".to_owned()),
            ("region", DeValue::Array(regions)) => regions.iter().for_each(|region| reader.region(region)),
            ("region", _) => reader.wrong(value.span().start, "write each region as a table: [[region]]".to_owned()),
            (other, _) => {
                let what = format!("unknown key {other:?}; a plan holds [[school]] and [[region]] tables");
                reader.wrong(key.span().start, what);
            }
        }
    }
    if reader.mistakes.is_empty() { Ok(reader.plan) } else { Err(reader.mistakes) }
}

struct Reader<'a> {
    text: &'a str,
    plan: Plan,
    mistakes: Mistakes,
}

impl Reader<'_> {
    fn wrong(&mut self, at: usize, what: String) {
        self.mistakes.push((Some(place(self.text, at)), what));
    }

    fn school(&mut self, value: &Spanned<DeValue<'_>>) {
        let start = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            return self.wrong(start, "write each school as a table: [[school]]".to_owned());
        };
        let before = self.mistakes.len();
        let (mut id, mut stations) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "id" => id = self.name(value),
                "stations" => stations = Some(self.stations(value)),
                "name" if value.get_ref().as_str().is_some() => {}
                "name" => self.wrong(value.span().start, "name is a text".to_owned()),
                other => {
                    let what = format!("unknown key {other:?}; a school has id, name and stations");
                    self.wrong(key.span().start, what);
                }
            }
        }
        if self.mistakes.len() > before {
            return;
        }
        match (id, stations) {
            (None, _) => self.wrong(start, "the school has no id".to_owned()),
            (Some(id), stations) => {
                if let Err(why) = self.plan.add(SchoolId(id), stations.unwrap_or_default()) {
                    self.wrong(start, why.to_string());
                }
            }
        }
    }

    fn region(&mut self, value: &Spanned<DeValue<'_>>) {
        let start = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            return self.wrong(start, "write each region as a table: [[region]]".to_owned());
        };
        let before = self.mistakes.len();
        let (mut name, mut stations) = (None, None);
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "name" => name = self.name(value),
                "stations" => stations = Some(self.stations(value)),
                other => {
                    self.wrong(key.span().start, format!("unknown key {other:?}; a region has name and stations"));
                }
            }
        }
        if self.mistakes.len() > before {
            return;
        }
        match (name, stations) {
            (None, _) => self.wrong(start, "the region has no name: its brokers' certificates have it".to_owned()),
            (Some(name), stations) => {
                if let Err(why) = self.plan.add_region(name, stations.unwrap_or_default()) {
                    self.wrong(start, why.to_string());
                }
            }
        }
    }

    fn stations(&mut self, value: &Spanned<DeValue<'_>>) -> Vec<StationId> {
        match value.get_ref() {
            DeValue::Array(items) => items.iter().filter_map(|item| self.name(item)).map(StationId).collect(),
            _ => {
                self.wrong(value.span().start, "stations is an array of station codes".to_owned());
                Vec::new()
            }
        }
    }

    fn name(&mut self, value: &Spanned<DeValue<'_>>) -> Option<Name> {
        let start = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(start, "a code is a text in quotation marks".to_owned());
            return None;
        };
        Name::new(text).map_err(|why| self.wrong(start, why.to_string())).ok()
    }
}

/// Line and column, both from 1, of a byte offset.
fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}
