//! The findings as tables for people.

use comfy_table::Table;

use super::findings::{Bound, Findings};
use super::run::Outcome;
use super::tally::Times;
use crate::report::{number, plain};

/// All of it.
pub(crate) fn text(findings: &Findings) -> String {
    let mut out = format!("machine: {}\nmeasured: {}\n", findings.machine.line(), findings.program);
    out.extend(findings.settings.iter().map(|setting| format!("peer: {setting}\n")));
    for profile in super::run::profiles(&findings.outcomes) {
        let of = findings.outcomes.iter().filter(|outcome| outcome.profile == profile);
        append(&mut out, &runs(profile, of));
    }
    append(&mut out, &waits(&findings.outcomes));
    append(&mut out, &extras(findings));
    append(&mut out, &verdicts(findings));
    out.push('\n');
    for outcome in &findings.outcomes {
        let of = |remark: &String| format!("{}, {}: {remark}\n", outcome.profile, outcome.system.title());
        out.extend(outcome.remarks.iter().map(of));
    }
    let words = [("note", &findings.notes), ("skipped", &findings.skipped), ("FAULT", &findings.faults)];
    for (what, texts) in words {
        out.extend(texts.iter().map(|text| format!("{what}: {text}\n")));
    }
    out.push_str(&format!("seed {}, took {:.0} s\n", findings.seed, findings.took_seconds));
    out
}

fn append(out: &mut String, table: &Table) {
    if table.row_count() > 0 {
        out.push('\n');
        out.extend(table.lines().map(|line| format!("{}\n", line.trim_end())));
    }
}

fn runs<'a>(profile: &str, outcomes: impl Iterator<Item = &'a Outcome>) -> Table {
    let title = format!("{profile}: press → police side, ms");
    let header = [
        title.as_str(),
        "p50",
        "p90",
        "p99",
        "max",
        "p99 of",
        "delivered",
        "lost",
        "twice",
        "bytes/alarm",
        "packets/alarm",
    ];
    let mut table = plain(&header, 1..=10);
    for Outcome { system, figures, bytes_per_alarm, packets_per_alarm, .. } in outcomes {
        let [p50, p90, p99, max] = percentiles(&figures.times);
        let [samples, delivered, lost, repeats] =
            [figures.times.samples, figures.delivered, figures.lost, figures.repeats].map(|count| count.to_string());
        let (bytes, packets) = (format!("{bytes_per_alarm:.0}"), format!("{packets_per_alarm:.1}"));
        let title = system.title().to_owned();
        table.add_row([title, p50, p90, p99, max, samples, delivered, lost, repeats, bytes, packets]);
    }
    table
}

fn waits(outcomes: &[Outcome]) -> Table {
    let mut table =
        plain(&["wait after the dark, line's delay not counted, ms", "p50", "p90", "p99", "max", "p99 of"], 1..=5);
    for outcome in outcomes.iter().filter(|outcome| outcome.system.promises() && outcome.after_dark.samples > 0) {
        let [p50, p90, p99, max] = percentiles(&outcome.after_dark);
        let name = format!("{}: {}", outcome.profile, outcome.system.title());
        table.add_row([name, p50, p90, p99, max, outcome.after_dark.samples.to_string()]);
    }
    table
}

/// An alarm that never came has no time.
fn percentiles(times: &Times) -> [String; 4] {
    let short = |ms: f64| if ms < 10.0 { format!("{ms:.2}") } else { format!("{ms:.0}") };
    let say = |ms: Option<f64>| ms.map_or_else(|| "never".to_owned(), short);
    [times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms].map(say)
}

fn extras(findings: &Findings) -> Table {
    let mut table = plain(&["figure", "median", "least", "most", "samples", "unit"], 1..=4);
    for extra in &findings.extras {
        let spread = extra.spread;
        let [median, least, most] = [spread.median, spread.least, spread.most].map(number);
        table.add_row([&extra.what, &median, &least, &most, &spread.samples.to_string(), extra.unit]);
    }
    table
}

fn verdicts(findings: &Findings) -> Table {
    let mut table = plain(&["target", "profile", "figure", "value", "samples", "asked", ""], 3..=4);
    for verdict in &findings.verdicts {
        let asked = match verdict.bound {
            Some(Bound::AtMost(most)) => format!("≤ {most}"),
            Some(Bound::AtLeast(least)) => format!("≥ {least}"),
            None => String::new(),
        };
        let met = verdict.met.map_or("", |met| if met { "met" } else { "MISSED" });
        let (value, samples) = (number(verdict.value), verdict.samples.to_string());
        table.add_row([verdict.target, &verdict.profile, &verdict.what, &value, &samples, &asked, met]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;
    use crate::sla::findings::example::outcome;
    use crate::sla::findings::{Extra, Spread, verdicts as judge};
    use crate::sla::run::Alarm;
    use crate::sla::system::System;
    use std::path::Path;

    #[test]
    fn every_finding_is_shown_in_both_forms() {
        let mut ours = outcome("bad", System::Huxiao, Some(250.4));
        ours.alarms = vec![Alarm { pressed_s: 1.5, took_ms: Some(2.000_4) }, Alarm { pressed_s: 3.0, took_ms: None }];
        ours.remarks = vec!["all well".into()];
        (ours.after_dark.samples, ours.after_dark.p50_ms) = (7, Some(31.0));
        let outcomes = vec![outcome("bad", System::Clean, Some(280.0)), ours, outcome("bad", System::Nats, None)];
        let spread = Spread { samples: 3, least: 1.0, median: 1_234.0, most: 5.0 };
        let findings = Findings {
            bench: "sla",
            quick: true,
            seed: 7,
            machine: Machine::here(Path::new("/")),
            program: "huxiao 0".into(),
            settings: vec!["NATS: as it comes".into()],
            verdicts: judge(&outcomes),
            outcomes,
            narrow: Vec::new(),
            extras: vec![Extra { what: "a start".into(), spread, unit: "ms" }],
            notes: vec!["read it so".into()],
            skipped: vec!["Mosquitto: not installed".into()],
            faults: vec!["bad: an alarm was lost".into()],
            took_seconds: 61.0,
        };
        let table = text(&findings);
        for part in [
            "bad: press → police side, ms",
            "Huxiao",
            "250",
            "never",
            "bad: Huxiao",
            "31",
            "a start",
            "1234",
            "T1",
            "≤ 1",
            "met",
            "bad, Huxiao: all well",
            "peer: NATS",
            "note: read",
            "skipped: Mosq",
            "FAULT: bad",
            "seed 7, took 61 s",
        ] {
            assert!(table.contains(part), "{part} in\n{table}");
        }
        let json = serde_json::to_value(&findings).unwrap();
        assert_eq!(json["outcomes"][1]["alarms"], serde_json::json!([[1.5, 2.0], [3.0, null]]));
        assert_eq!(json["outcomes"][1]["system"], "huxiao");
        assert_eq!(json["outcomes"][1]["p99_ms"], 250.4);
        assert_eq!(json["outcomes"][2]["p99_ms"], serde_json::Value::Null);
        assert_eq!(json["verdicts"][0]["bound"]["at_most"], 1.0);
        assert_eq!(json["verdicts"][0]["met"], true);
        assert_eq!(json["extras"][0]["median"], 1_234.0);
    }
}
