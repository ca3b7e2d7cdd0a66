//! `huxiao store salvage`: whatever rows can still be read, printed or put into a new store.
//!
//! Invariant: the new store is opened by the same code as a node's, so what it takes is checked and synced; the folder with the
//! damaged one is only read.

use std::path::{Path, PathBuf};
use std::sync::mpsc;

use clap::Args;
use huxiao_core::Class;
use huxiao_runtime::clock::Clock;
use huxiao_store::{
    BLACK_BOX_VALUE_BYTES, Batch, Config, Found, Opened, Put, Salvaged, Space, Store, Trial, open, salvage,
};
use serde_json::json;

use super::rows;
use crate::args::Global;
use crate::exit::{Code, Failure, Outcome};
use crate::output::{self, Lines, PrintError};

/// Rows in one commit of the new store: half of what a store takes for its black box at once.
const ROWS_AT_ONCE: usize = 64;

/// Arguments of `store salvage`.
#[derive(Debug, Args)]
pub struct SalvageArgs {
    /// A store, a quarantined one, or any folder with such files
    dir: PathBuf,
    /// Put the rows into a new store in this folder, which must be empty or not exist, instead of printing them
    #[arg(long, value_name = "NEWDIR")]
    into: Option<PathBuf>,
    /// How each row is shown; ndjson in a pipe, table on a terminal
    #[arg(long, value_enum)]
    output: Option<Lines>,
}

/// Runs it.
///
/// # Errors
/// [`Failure`]: the folder cannot be read, or the new store not be written.
pub fn run(args: &SalvageArgs, global: &Global) -> Outcome {
    let unreadable = |error| Failure::failed(format!("{} cannot be read: {error}", args.dir.display()));
    let (salvaged, code) = match &args.into {
        Some(into) => {
            let mut found = Vec::new();
            let salvaged = salvage(&args.dir, |row| found.push(row)).map_err(unreadable)?;
            put_into(into, &found)?;
            output::print(&format!("{}\n", json!({ "into": into.display().to_string(), "salvaged": salvaged })))
                .or_else(|error| error.outcome().map(drop))?;
            global.say(&format!(
                "the new store is in {}; to use it, stop the node and put it in the place of data.dir/store",
                into.display()
            ));
            (salvaged, Code::Ok)
        }
        None => {
            let mut printer = Printer::new(Lines::or_by_terminal(args.output));
            let salvaged = salvage(&args.dir, |row| printer.row(&row)).map_err(unreadable)?;
            match printer.end() {
                Err(PrintError::Closed) => return Ok(Code::Ok),
                ended => ended.or_else(|error| error.outcome().map(drop))?,
            }
            (salvaged, Code::Ok)
        }
    };
    global.say(&summary(&salvaged));
    Ok(code)
}

fn summary(salvaged: &Salvaged) -> String {
    let Salvaged { rows, frames, from_black_box, unreadable_files } = salvaged;
    format!(
        "{rows} rows ({from_black_box} from the black box), from {frames} frames in the database's bytes; \
         {unreadable_files} files could not be read to their end. Rows that had been removed may be among them"
    )
}

/// Prints rows until nobody reads.
struct Printer {
    format: Lines,
    /// For people: collected, so that the columns line up.
    lines: Vec<[String; 5]>,
    failed: Option<PrintError>,
}

impl Printer {
    fn new(format: Lines) -> Self {
        Self { format, lines: Vec::new(), failed: None }
    }

    fn row(&mut self, found: &Found) {
        match self.format {
            _ if self.failed.is_some() => {}
            Lines::Ndjson => self.failed = output::print(&format!("{}\n", rows::row(found))).err(),
            Lines::Table => self.lines.push(rows::line(found)),
        }
    }

    fn end(self) -> Result<(), PrintError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.format == Lines::Ndjson {
            return Ok(());
        }
        let mut table = output::table(&["row", "commit", "origin", "bytes", "content"]);
        table.add_rows(self.lines);
        output::print(&output::render(&table))
    }
}

/// Makes a store in `dir` that holds `rows`.
fn put_into(dir: &Path, rows: &[Found]) -> Result<(), Failure> {
    let cannot = |why: &dyn std::fmt::Display| Failure::failed(format!("{}: {why}", dir.display()));
    let is_free = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(cannot(&error)),
    };
    if !is_free {
        return Err(cannot(&"not empty: a new store is made in a folder that is empty or does not exist"));
    }
    // It is new and empty: there is nothing to try.
    let config = Config::new(dir, Trial::InProcess);
    let Opened { store, .. } = open(&config, Clock::system().wall()).map_err(|error| cannot(&error))?;
    for chunk in rows.chunks(ROWS_AT_ONCE) {
        commit(&store, batch(chunk)).map_err(|error| cannot(&error))?;
    }
    store.close();
    Ok(())
}

fn batch(rows: &[Found]) -> Batch {
    let put = |row: &Found| Put {
        key: row.key,
        value: row.value.clone(),
        // Events as they were pressed or admitted; what became of them is in the database alone, as in a node.
        black_box: row.key.class == Class::P0
            && !matches!(row.key.space, Space::Meta | Space::Archive)
            && row.value.len() <= BLACK_BOX_VALUE_BYTES,
    };
    // The others' numbers are not taken from the node's count.
    let numbered = |row: &&Found| matches!(row.key.space, Space::Outbox | Space::Inbox | Space::Record);
    let high = rows.iter().filter(numbered).map(|row| row.key.seq).max().unwrap_or(0);
    // Rescued rows are written even on a disk that is nearly full.
    Batch { puts: rows.iter().map(put).collect(), deletes: Vec::new(), high, class: Class::P0 }
}

fn commit(store: &Store, batch: Batch) -> Result<(), String> {
    let (told, heard) = mpsc::channel();
    store.commit(batch, move |done| {
        // The other end waits below.
        let _ = told.send(done);
    });
    match heard.recv() {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the store stopped before it answered".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use huxiao_store::{Key, Origin};

    use super::*;

    fn rows() -> Vec<Found> {
        let key = |seq| Key { space: Space::Outbox, class: Class::P0, seq };
        let value = |seq: u64| format!("row {seq}").into_bytes();
        (1..=600).map(|seq| Found { key: key(seq), commit: seq, value: value(seq), origin: Origin::Database }).collect()
    }

    #[test]
    fn what_was_rescued_is_in_the_new_store_and_can_be_rescued_again() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        put_into(&dir, &rows()).unwrap();
        let report = huxiao_store::check(&dir);
        assert!(report.consistent && report.rows == 600 && report.high == 600, "{report:?}");
        let mut again = Vec::new();
        salvage(&dir, |row| again.push((row.key, row.value))).unwrap();
        assert_eq!(again, rows().into_iter().map(|row| (row.key, row.value)).collect::<Vec<_>>());
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine"), "x").unwrap();
        assert!(put_into(folder.path(), &rows()).unwrap_err().words.contains("not empty"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
