//! How quick it was, fault by fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::history::{At, History};

/// The name of what lies between the faults.
pub const CALM: &str = "calm";

/// What one kind of fault came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Row {
    /// How often it was there.
    pub times: usize,
    /// Presses made meanwhile.
    pub presses: usize,
    /// Press → first screen of its station, sorted.
    pub first: Vec<Duration>,
    /// Press → last screen of its station, sorted.
    pub every: Vec<Duration>,
    /// Press → the relay hears that it is stored, sorted.
    pub stored: Vec<Duration>,
}

/// The figures by the name of the fault in whose spell the press was made.
#[must_use]
pub fn rows(history: &History) -> BTreeMap<&'static str, Row> {
    let mut rows: BTreeMap<&'static str, Row> = BTreeMap::new();
    for spell in &history.spells {
        rows.entry(spell.fault).or_default().times += 1;
    }
    let mut shows: BTreeMap<&str, Vec<At>> = BTreeMap::new();
    for show in history.shows.iter().filter(|show| !show.again) {
        shows.entry(&show.id).or_default().push(show.at);
    }
    for press in &history.presses {
        let spell = history.spells.iter().find(|spell| (spell.from..spell.to).contains(&press.at));
        let row = rows.entry(spell.map_or(CALM, |spell| spell.fault)).or_default();
        row.presses += 1;
        let since = |at: &At| at.saturating_sub(press.at);
        let seen = shows.get(press.id.as_str()).into_iter().flatten();
        row.first.extend(seen.clone().min().map(since));
        row.every.extend(seen.max().map(since));
        row.stored.extend(history.stored.get(&press.id).map(since));
    }
    for row in rows.values_mut() {
        [&mut row.first, &mut row.every, &mut row.stored].into_iter().for_each(|times| times.sort_unstable());
    }
    rows
}

/// The slowest press → first screen of all.
#[must_use]
pub fn slowest(rows: &BTreeMap<&'static str, Row>) -> Duration {
    rows.values().filter_map(|row| row.first.last()).max().copied().unwrap_or_default()
}

/// The rows as a table. Times in milliseconds.
#[must_use]
pub fn table(rows: &BTreeMap<&'static str, Row>) -> String {
    let mut out = format!(
        "{:<18} {:>5} {:>8} {:>22} {:>22} {:>22}\n",
        "fault", "times", "presses", "first screen p50/max", "every screen p50/max", "stored p50/max"
    );
    for (name, row) in rows {
        let pair = |times: &[Duration]| match (times.get(times.len() / 2), times.last()) {
            (Some(middle), Some(last)) => format!("{} / {}", middle.as_millis(), last.as_millis()),
            _ => "-".into(),
        };
        let (times, presses) = (row.times, row.presses);
        let [first, every, stored] = [&row.first, &row.every, &row.stored].map(|times| pair(times));
        // Writing to a String does not fail.
        let _ = writeln!(out, "{name:<18} {times:>5} {presses:>8} {first:>22} {every:>22} {stored:>22}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::history::{Press, Show, Spell};
    use super::*;

    #[test]
    fn a_press_counts_for_the_spell_in_which_it_was_made() {
        let ms = Duration::from_millis;
        let press = |id: &str, at: u64| Press { id: id.into(), school: 0, at: ms(at), kept: ms(at) };
        let show = |id: &str, seat: usize, at: u64| Show { id: id.into(), seat, at: ms(at), again: false };
        let history = History {
            presses: vec![press("a", 10), press("b", 100), press("c", 150), press("d", 300)],
            // The last one is shown long after the spell, and never at a second seat.
            shows: vec![show("a", 0, 14), show("a", 1, 16), show("b", 0, 130), show("b", 1, 120), show("c", 0, 950)],
            stored: [("a".to_owned(), ms(40))].into(),
            spells: vec![Spell { fault: "pause", from: ms(90), to: ms(200) }],
            ..History::default()
        };
        let rows = rows(&history);
        assert_eq!(rows["pause"].first, [ms(20), ms(800)]);
        assert_eq!(rows["pause"].every, [ms(30), ms(800)]);
        assert_eq!((rows["pause"].times, rows["pause"].presses), (1, 2));
        assert_eq!(rows[CALM].presses, 2);
        assert_eq!(rows[CALM].stored, [ms(30)]);
        assert_eq!(slowest(&rows), ms(800));
        let table = table(&rows);
        assert!(table.contains("800") && table.lines().count() == 3, "{table}");
    }
}
