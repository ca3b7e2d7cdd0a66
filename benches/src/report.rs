//! Everything that a bench found, as a table for people or as one JSON value.

use std::io::Write;

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::{BenchError, Trying};
use crate::figures::{Latency, Quantity, Rate, Ratio};
use crate::machine::Machine;

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON value
    Json,
}

/// What a bench found.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The subcommand.
    pub(crate) bench: &'static str,
    /// Whether it was the short one.
    pub(crate) quick: bool,
    /// What it ran on.
    pub(crate) machine: Machine,
    /// What was measured, in words: programs and their versions.
    pub(crate) subjects: Vec<String>,
    pub(crate) latencies: Vec<Latency>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) quantities: Vec<Quantity>,
    pub(crate) ratios: Vec<Ratio>,
    /// How to read the figures.
    pub(crate) notes: Vec<String>,
    /// What was not measured, and why.
    pub(crate) skipped: Vec<String>,
    /// Alarms that were lost or came twice. Anything here fails the bench.
    pub(crate) faults: Vec<String>,
    /// How long it took.
    pub(crate) took_seconds: f64,
}

impl Report {
    /// An empty one.
    pub(crate) fn new(bench: &'static str, quick: bool, machine: Machine) -> Self {
        Self {
            bench,
            quick,
            machine,
            subjects: Vec::new(),
            latencies: Vec::new(),
            rates: Vec::new(),
            quantities: Vec::new(),
            ratios: Vec::new(),
            notes: Vec::new(),
            skipped: Vec::new(),
            faults: Vec::new(),
            took_seconds: 0.0,
        }
    }

    /// Prints it to standard output. A reader that has gone is no failure.
    ///
    /// # Errors
    /// The output could not be written.
    pub(crate) fn print(&self, format: Format) -> Result<(), BenchError> {
        let text = match format {
            Format::Table => self.table(),
            // Numbers, texts and lists: nothing that JSON cannot hold.
            Format::Json => serde_json::to_string_pretty(self).unwrap_or_default() + "\n",
        };
        print(&text)
    }

    fn table(&self) -> String {
        let mut out = format!("machine: {}\n", self.machine.line());
        for subject in &self.subjects {
            out.push_str(&format!("measured: {subject}\n"));
        }
        let mut times = plain(&["", "time, ms", "p50", "p99", "max", "samples", "on stable storage by then"], 2..=5);
        for it in &self.latencies {
            let samples = format!("{} in {}", it.samples, it.rounds.len());
            let [p50, p99, max] = [it.p50_ms, it.p99_ms, it.max_ms].map(|ms| format!("{ms:.2}"));
            times.add_row([it.part, &it.name, &p50, &p99, &max, &samples, it.synced]);
        }
        let mut rates = plain(&["", "rate", "per second", "samples", "on stable storage by then"], 2..=3);
        for it in &self.rates {
            let samples = format!("{} in {}", it.samples, it.rounds.len());
            rates.add_row([it.part, &it.name, &format!("{:.0}", it.per_second), &samples, it.synced]);
        }
        let mut ratios = plain(&["ratio, within each round", "median", "from", "to", "rounds", "target"], 1..=4);
        for it in &self.ratios {
            let [median, low, high] = [it.median, it.low, it.high].map(|ratio| format!("{ratio:.2}"));
            ratios.add_row([&it.name, &median, &low, &high, &it.rounds.to_string(), it.target.unwrap_or("")]);
        }
        let mut quantities = plain(&["", "figure", "value", "unit", "target"], 2..=2);
        for it in &self.quantities {
            quantities.add_row([it.part, &it.name, &number(it.value), it.unit, it.target.unwrap_or("")]);
        }
        let tables = [times, rates, ratios, quantities];
        for table in tables.iter().filter(|table| table.row_count() > 0) {
            out.push('\n');
            out.extend(table.lines().map(|line| format!("{}\n", line.trim_end())));
        }
        out.push('\n');
        let words = [("note", &self.notes), ("skipped", &self.skipped), ("FAULT", &self.faults)];
        for (what, texts) in words {
            out.extend(texts.iter().map(|text| format!("{what}: {text}\n")));
        }
        out.push_str(&format!("took {:.0} s\n", self.took_seconds));
        out
    }
}

/// Prints to standard output. A reader that has gone is no failure.
///
/// # Errors
/// The output could not be written.
pub(crate) fn print(text: &str) -> Result<(), BenchError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other.trying("write to standard output"),
    }
}

/// Small figures with their digits, large ones without.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        size if size < 1.0 => format!("{value:.3}"),
        size if size < 100.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// A table without a frame, whose `right` columns are numbers.
pub(crate) fn plain(header: &[&str], right: std::ops::RangeInclusive<usize>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.to_vec());
    for at in right {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Samples;
    use std::path::Path;
    use std::time::Duration;

    #[test]
    fn every_finding_is_shown_in_both_forms() {
        let mut report = Report::new("foundation", true, Machine::here(Path::new("/")));
        let mut samples = Samples::new();
        samples.record(Duration::from_micros(1_500));
        report.latencies.extend(Latency::new("loopback", "press → inbox", "the station's disk", &[samples]));
        report.rates.extend(Rate::new("store", "commits", "the disk", &[(500, Duration::from_secs(1))]));
        report.ratios.extend(Ratio::new("ours over theirs", Some("T4 ≤ 1.0"), std::iter::once((3.0, 4.0))));
        let (name, value) = ("memory".to_owned(), 12.5);
        report.quantities.push(Quantity { part: "idle relay", name, value, unit: "MiB", target: None });
        report.skipped.push("Mosquitto: not installed".into());
        report.faults.push("an alarm was lost".into());
        let table = report.table();
        for part in
            ["press → inbox", "1.50", "commits", "500", "0.75", "T4 ≤ 1.0", "12.50", "skipped: Mosq", "FAULT: an"]
        {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["latencies"][0]["samples"], 1);
        assert_eq!(json["ratios"][0]["median"], 0.75);
        assert_eq!(json["faults"][0], "an alarm was lost");
    }
}
