//! What `dev --press` prints: where the time went, and what did not arrive.

use serde_json::{Map, Value, json};

use super::press::{Journey, MEASURED};

/// The percentiles shown, in hundredths of a percent of the sample.
const SHOWN: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)];

/// The figures of one stage in milliseconds, in the order of [`SHOWN`]; none if no alarm reached it.
fn figures(journeys: &[Journey], stage: &str) -> Option<[f64; SHOWN.len()]> {
    let of_stage = |journey: &Journey| journey.took_ms.iter().find(|(name, _)| *name == stage).map(|(_, ms)| *ms);
    let mut sample: Vec<f64> = journeys.iter().filter_map(of_stage).collect();
    sample.sort_by(f64::total_cmp);
    let last = sample.last().copied()?;
    // Nearest rank: with few alarms the higher percentiles are the slowest one, and the number of alarms stands beside them.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a sample of thousands"
    )]
    let rank = |share: f64| ((share * sample.len() as f64).ceil() as usize).saturating_sub(1);
    Some(SHOWN.map(|(_, share)| sample.get(rank(share)).copied().unwrap_or(last)))
}

/// The rows of the table: stage, how many reached it, percentiles.
pub(super) fn rows(journeys: &[Journey]) -> Vec<Vec<String>> {
    let row = |stage: &str| {
        let reached = journeys.iter().filter(|journey| !journey.missing().contains(&stage)).count();
        let mut row = vec![stage.to_owned(), reached.to_string()];
        match figures(journeys, stage) {
            Some(figures) => row.extend(figures.map(|ms| format!("{ms:.2}"))),
            None => row.extend(SHOWN.map(|_| "–".to_owned())),
        }
        row
    };
    MEASURED.into_iter().map(row).collect()
}

/// The heads of those rows.
pub(super) fn heads() -> Vec<&'static str> {
    ["stage", "alarms"].into_iter().chain(SHOWN.map(|(name, _)| name)).collect()
}

/// The same for machines.
pub(super) fn json(journeys: &[Journey]) -> Value {
    let mut stages = Map::new();
    for stage in MEASURED {
        if let Some(figures) = figures(journeys, stage) {
            let named = SHOWN
                .iter()
                .zip(figures)
                .map(|((name, _), ms)| (format!("{name}_ms"), json!((ms * 1e3).round() / 1e3)));
            stages.insert(stage.replace(' ', "_"), Value::Object(named.collect()));
        }
    }
    let missing: Vec<Value> = incomplete(journeys)
        .map(|journey| json!({ "id": journey.id, "school": journey.school, "missing": journey.missing() }))
        .collect();
    json!({ "pressed": journeys.len(), "whole_way": journeys.len() - missing.len(), "stages": stages, "incomplete": missing })
}

/// The alarms that did not make the whole way.
pub(super) fn incomplete(journeys: &[Journey]) -> impl Iterator<Item = &Journey> {
    journeys.iter().filter(|journey| !journey.missing().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journeys() -> Vec<Journey> {
        let whole = |at: u32| Journey {
            id: at.to_string(),
            school: "s".into(),
            took_ms: MEASURED.map(|stage| (stage, f64::from(at))).to_vec(),
        };
        let mut all: Vec<Journey> = (1..=100).map(whole).collect();
        all.push(Journey { id: "x".into(), school: "s".into(), took_ms: vec![("kept", 1.0), ("sent", 1.0)] });
        all
    }

    #[test]
    fn percentiles_are_of_what_reached_the_stage() {
        assert_eq!(figures(&journeys(), "stored"), Some([50.0, 90.0, 99.0, 100.0]));
        assert_eq!(figures(&[], "stored"), None);
        let rows = rows(&journeys());
        assert_eq!(rows[0][..2], ["kept", "101"]);
        assert_eq!(rows[6][..2], ["lamp told", "100"]);
        assert!(rows.iter().all(|row| row.len() == heads().len()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let json = json(&journeys());
        assert_eq!((&json["pressed"], &json["whole_way"]), (&json!(101), &json!(100)));
        assert_eq!(json["incomplete"][0]["missing"][0], "stored");
        assert_eq!(json["stages"]["lamp_told"]["p99_ms"], 99.0);
    }
}
