//! The way of one alarm as a waterfall: a line for each point of it, a bar for the stretch that ended there.
//!
//! Invariant: every point that the node tells of has its line, whatever it is called and whatever its figures are.

use comfy_table::{Cell, CellAlignment};
use huxiao_core::Point;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use crate::output;

/// Columns of the bars where there is no terminal to fit.
pub const BARS: usize = 60;
/// Columns that bars have at the least, however narrow the terminal.
const FEWEST: usize = 10;

/// One point of the way, as a node's `timeline` tells it.
#[derive(Debug, Clone)]
pub struct Lap {
    stage: String,
    by: String,
    at_ms: f64,
    took_ms: f64,
    exact: bool,
}

impl Lap {
    /// The points that an event's `timeline` holds. What is none of them is left out.
    #[must_use]
    pub fn all(event: &Value) -> Vec<Lap> {
        let lap = |lap: &Value| {
            let span = |name: &str| lap[name].as_f64().unwrap_or_default().max(0.0);
            Some(Lap {
                stage: lap["stage"].as_str()?.to_owned(),
                by: lap["by"].as_str().unwrap_or_default().to_owned(),
                at_ms: span("at_ms"),
                took_ms: span("took_ms"),
                exact: lap["exact"].as_bool().unwrap_or_default(),
            })
        };
        event["timeline"].as_array().into_iter().flatten().filter_map(lap).collect()
    }

    /// Its name.
    #[must_use]
    pub fn stage(&self) -> &str {
        &self.stage
    }

    /// Milliseconds since the press.
    #[must_use]
    pub fn at_ms(&self) -> f64 {
        self.at_ms
    }

    fn words(&self) -> String {
        Point::known(&self.stage).map(Point::words).map_or_else(|| self.stage.clone(), |(zh, en)| format!("{zh}  {en}"))
    }

    /// From where the stretch began to where it ended, on a line of `width` columns for `whole` milliseconds. What takes no time to
    /// speak of is a thin line.
    fn bar(&self, whole: f64, width: usize) -> String {
        let begun = column((self.at_ms - self.took_ms) / whole, width).min(width.saturating_sub(1));
        let length = column(self.at_ms / whole, width).saturating_sub(begun);
        let bar = if length == 0 { "▏".to_owned() } else { "█".repeat(length) };
        format!("{}{bar}", "·".repeat(begun))
    }
}

/// The waterfall on a terminal of `columns`; on bars of [`BARS`] where there is none. Empty without laps.
#[must_use]
pub fn waterfall(laps: &[Lap], columns: Option<usize>) -> String {
    if laps.is_empty() {
        return String::new();
    }
    let bars = columns.map_or(BARS, |columns| {
        let others = widest(&lines(laps, FEWEST)) - FEWEST;
        columns.saturating_sub(others).max(FEWEST)
    });
    let mut text = lines(laps, bars);
    if laps.iter().any(|lap| !lap.exact) {
        text.push_str("~ a clock was not compared, or runs wrong\n");
    }
    text
}

fn lines(laps: &[Lap], bars: usize) -> String {
    let whole = laps.iter().map(|lap| lap.at_ms).fold(0.0, f64::max);
    let mut table = output::table(&["stage", "by", "way", "took", "since pressed"]);
    for lap in laps {
        let figure = |ms| Cell::new(duration(ms, lap.exact)).set_alignment(CellAlignment::Right);
        let bar = lap.bar(whole, bars);
        // The same width whatever the bar, so that the figures do not move with the terminal.
        let bar = format!("{bar}{}", " ".repeat(bars.saturating_sub(bar.width())));
        table.add_row([
            Cell::new(lap.words()),
            Cell::new(&lap.by),
            Cell::new(bar),
            figure(lap.took_ms),
            figure(lap.at_ms),
        ]);
    }
    output::render(&table)
}

fn widest(text: &str) -> usize {
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 0 and the columns of a terminal; a part of nothing is column 0"
)]
fn column(part: f64, width: usize) -> usize {
    ((part.clamp(0.0, 1.0) * width as f64).round() as usize).min(width)
}

/// A span for people, `~` before what is not exact.
fn duration(ms: f64, exact: bool) -> String {
    let mark = if exact { "" } else { "~" };
    match ms {
        ms if ms < 999.95 => format!("{mark}{ms:.1} ms"),
        ms => format!("{mark}{:.2} s", ms / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn laps() -> Vec<Lap> {
        let lap = |stage: &str, at: f64, took: f64, exact: bool| serde_json::json!({"stage": stage, "by": "relay/s/gate", "at_ms": at, "took_ms": took, "exact": exact});
        let timeline = [
            lap("raised", 0.0, 0.0, true),
            lap("kept", 100.0, 100.0, true),
            lap("received", 250.0, 250.0, true),
            lap("displayed", 500.0, 250.0, true),
            lap("beamed", 1_000.0, 500.0, false),
        ];
        Lap::all(&serde_json::json!({ "timeline": timeline }))
    }

    #[test]
    fn every_stretch_has_its_bar_at_its_place() {
        let bars: Vec<_> = laps().iter().map(|lap| lap.bar(1_000.0, 20)).collect();
        assert_eq!(bars, ["▏", "██", "█████", "·····█████", "··········██████████"]);
    }

    #[test]
    fn lines_say_what_it_is_in_both_languages_how_long_it_took_and_whether_that_is_sure() {
        let text = waterfall(&laps(), None);
        for words in [
            "按下  Pressed",
            "派出所已显示  On a police screen",
            "beamed",
            "100.0 ms",
            "~500.0 ms",
            "~1.00 s",
            "~ a clock",
        ] {
            assert!(text.contains(words), "{words} in\n{text}");
        }
        assert_eq!(text.lines().count(), 1 + 5 + 1);
        assert!(!waterfall(&laps()[..4], None).contains('~'));
        assert_eq!(waterfall(&[], None), "");
    }

    #[test]
    fn bars_fill_the_terminal_and_no_more() {
        for columns in [90, 120, 200] {
            let text = waterfall(&laps()[..4], Some(columns));
            assert_eq!(widest(&text), columns, "\n{text}");
        }
        let narrow = waterfall(&laps(), Some(5));
        assert!(narrow.contains("██"), "{narrow}");
    }

    #[test]
    fn figures_that_cannot_be_are_shown_as_far_as_they_go() {
        for figure in [serde_json::json!(-5.0), serde_json::json!(1e308), Value::Null, serde_json::json!("x")] {
            let event = serde_json::json!({ "timeline": [3, {"stage": "kept", "at_ms": figure, "took_ms": figure}] });
            let text = waterfall(&Lap::all(&event), Some(80));
            assert!(text.contains("学校已存盘"), "{text}");
        }
    }
}
