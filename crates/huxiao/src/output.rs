//! Where words and data go: data to standard output, everything else to standard error.
//!
//! Invariant: a reader that has closed its end of standard output ends the command quietly; it is no failure.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;
use serde_json::Value;

use crate::exit::{Code, Failure, Outcome};

/// How data is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// One JSON value.
    Json,
}

/// How a stream of data is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lines {
    /// One JSON object a line.
    Ndjson,
    /// For people.
    Table,
}

impl Lines {
    /// What was asked for; otherwise what suits a terminal or a pipe.
    #[must_use]
    pub fn or_by_terminal(asked: Option<Self>) -> Self {
        let suited = if io::stdout().is_terminal() { Lines::Table } else { Lines::Ndjson };
        asked.unwrap_or(suited)
    }
}

/// Why nothing more could be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The reader has what it wanted.
    #[error("nobody reads the output any more")]
    Closed,
    /// A full disk, for one.
    #[error("the output could not be written: {0}")]
    Io(io::Error),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { PrintError::Closed } else { PrintError::Io(error) }
    }
}

impl PrintError {
    /// How a command ends on it.
    pub fn outcome(self) -> Outcome {
        match self {
            PrintError::Closed => Ok(Code::Ok),
            PrintError::Io(_) => Err(Failure::failed(self)),
        }
    }
}

/// Prints `text` and flushes it.
///
/// # Errors
/// [`PrintError`]
pub fn print(text: &str) -> Result<(), PrintError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// Prints `text` as the whole result of a command that then ends with `code`.
///
/// # Errors
/// [`Failure`]: the output could not be written.
pub fn finish(code: Code, text: &str) -> Outcome {
    match print(text) {
        Ok(()) | Err(PrintError::Closed) => Ok(code),
        Err(error) => error.outcome(),
    }
}

/// Prints `value` indented as the whole result of a command that then ends with `code`.
///
/// # Errors
/// [`Failure`]: the output could not be written.
pub fn finish_json(code: Code, value: &Value) -> Outcome {
    finish(code, &format!("{value:#}\n"))
}

/// Whether the reader of standard output has gone away: what a command that prints rarely would otherwise learn too late.
#[must_use]
pub fn reader_is_gone() -> bool {
    let stdout = io::stdout();
    let mut watched = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    // A terminal, a file or a pipe that cannot be asked counts as there: the next write will tell.
    poll(&mut watched, Some(&at_once)).is_ok() && watched[0].revents().intersects(PollFlags::ERR)
}

/// Says something to the person at the terminal. A standard error that cannot be written to is no reason to stop.
pub fn say(words: &str) {
    let _ = writeln!(io::stderr().lock(), "{words}");
}

/// Whether a person watches standard error.
#[must_use]
pub fn is_watched() -> bool {
    io::stderr().is_terminal()
}

/// How many columns the terminal has that standard output is; `None` if it is none.
#[must_use]
pub fn columns() -> Option<usize> {
    let stdout = io::stdout();
    let size = stdout.is_terminal().then(|| tcgetwinsize(&stdout).ok()).flatten()?;
    // A terminal that does not know says 0.
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// An empty table in the one style of this program: no frame, so that it can be cut and searched.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    if !header.is_empty() {
        table.set_header(header.to_vec());
    }
    table
}

/// The text of a table, without its padding at the ends of lines.
#[must_use]
pub fn render(table: &Table) -> String {
    let bare = |line: String| format!("{}\n", line.strip_prefix(' ').unwrap_or(&line).trim_end());
    table.lines().map(bare).collect()
}

/// `name  value` lines.
#[must_use]
pub fn pairs(rows: &[(&str, String)]) -> String {
    let mut table = table(&[]);
    for (name, value) in rows {
        table.add_row([*name, value]);
    }
    render(&table)
}
