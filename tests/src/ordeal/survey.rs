//! What everybody says in the end, once all is healed and nobody presses any more.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::chronicle::{Chronicle, settled_owner};
use super::history::{History, Recorded};
use super::judge::judge;
use super::load;
use super::site::Site;
use crate::lab::http;

/// How long what was promised for the end may take to come true.
const PATIENCE: Duration = Duration::from_secs(90);
/// How often everybody is asked at the least: what was asked about long ago says nothing of now.
const PASSES: usize = 3;

/// Asks until nothing is left to find, or for as long as anybody may hope; then the history is complete.
pub fn survey(site: &Site, chronicle: &Chronicle) {
    let began = Instant::now();
    let all_stored = |history: &History| history.presses.iter().all(|press| history.stored.contains_key(&press.id));
    while !all_stored(&chronicle.open()) && began.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(100));
    }
    let began = Instant::now();
    // All of them once; then only those about which there is a doubt.
    let mut doubtful: BTreeSet<String> = chronicle.open().presses.iter().map(|press| press.id.clone()).collect();
    chronicle.open().end.records = vec![BTreeMap::new(); site.brokers.len()];
    chronicle.open().end.owners = vec![BTreeMap::new(); site.posts.seats.len()];
    for pass in 1.. {
        ask(site, chronicle, &doubtful);
        let history = chronicle.open().clone();
        doubtful = in_doubt(&history);
        if doubtful.is_empty() || (pass >= PASSES && began.elapsed() > PATIENCE) {
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// The alarms of which not everything is as it should be yet.
fn in_doubt(history: &History) -> BTreeSet<String> {
    let found: Vec<String> = judge(history).iter().map(ToString::to_string).collect();
    let ids = history.presses.iter().map(|press| &press.id);
    ids.filter(|id| found.iter().any(|words| words.contains(id.as_str()))).cloned().collect()
}

/// Asks everybody at once, each by a thread of its own: a long run has tens of thousands of alarms.
fn ask(site: &Site, chronicle: &Chronicle, ids: &BTreeSet<String>) {
    let get = |base: &str, id: &str| {
        let answer = http::get(base, &format!("/v1/events/{id}")).ok()?;
        (answer.status == 200).then(|| answer.json())
    };
    let acted: BTreeSet<String> = chronicle.open().actings.iter().map(|acting| acting.id.clone()).collect();
    let acted = &acted;
    std::thread::scope(|scope| {
        for (node, broker) in site.brokers.iter().enumerate() {
            scope.spawn(move || {
                for id in ids {
                    let entry = get(&broker.base, id);
                    let case = acted.contains(id).then(|| get(&broker.base, &format!("{id}/case"))).flatten();
                    let record = &mut chronicle.open().end.records[node];
                    match entry {
                        Some(entry) => drop(record.insert(id.clone(), recorded(&entry, case.as_ref()))),
                        None => drop(record.remove(id)),
                    }
                }
            });
        }
        for (seat, base) in site.posts.seats.iter().enumerate() {
            scope.spawn(move || {
                for (id, event) in ids.iter().filter_map(|id| Some((id, get(base, id)?))) {
                    let owner = event["receipts"].as_array().and_then(|receipts| settled_owner(receipts));
                    chronicle.open().end.owners[seat].insert(id.clone(), owner.map(str::to_owned));
                }
            });
        }
        for (relay, base) in site.posts.relays.iter().enumerate() {
            // A finished one may have left its relay; what its stream said last stands then.
            scope.spawn(move || {
                for event in ids.iter().filter_map(|id| get(base, id)) {
                    load::look(chronicle, relay, &event);
                }
            });
        }
    });
}

/// What a broker node's API tells of an event, and of its case if that was asked for, as it must be equal everywhere.
fn recorded(entry: &Value, case: Option<&Value>) -> Recorded {
    let receipts = entry["receipts"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let line = |receipt: &Value| {
        let [stage, by, officer, at, standing] =
            ["stage", "by", "officer", "at", "standing"].map(|key| text(&receipt[key]));
        format!("{stage} {by} {officer} {at} {standing}")
    };
    let acknowledged = receipts.iter().filter(|receipt| receipt["stage"] == "acknowledged");
    let mut lines: Vec<String> = receipts.iter().map(line).collect();
    lines.sort_unstable();
    let steps: Vec<&Value> = case.and_then(|case| case["steps"].as_array()).into_iter().flatten().collect();
    // It is made of all steps.
    let digest = steps.last().map_or_else(String::new, |step| format!("; case {}", step["digest"]));
    Recorded {
        index: entry["index"].as_u64().unwrap_or_default(),
        owner: settled_owner(&receipts).map(str::to_owned),
        acknowledged: acknowledged.map(|receipt| text(&receipt["by"])).collect(),
        steps: steps.iter().map(|step| (text(&step["action"]), text(&step["by"]))).collect(),
        content: format!("for {}: {}{digest}", entry["stations"], lines.join(", ")),
    }
}
