//! Nodes are killed, and restarted in good order, while alarms are pressed.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::storm::{Outcome, Storm};
use super::{Extent, PART, cluster};
use crate::error::BenchError;
use crate::figures::{Latency, Quantity, Samples};
use crate::lab::Lab;
use crate::report::Report;

/// How long after a storm's beginning nodes are killed.
const CALM: Duration = Duration::from_secs(1);
/// How long another node may take to lead.
const PATIENCE: Duration = Duration::from_secs(30);

/// T6 and T7: each node in turn, the leader with a look at who leads next, all in turn as at an upgrade, then two of three.
pub(super) fn measure(extent: Extent, program: &Path, lab: &mut Lab, report: &mut Report) -> Result<(), BenchError> {
    let mut number = 1_000_000;
    let mut slowest = Vec::new();
    for at in 0..lab.brokers().len() {
        let leads = cluster::leader(lab) == Some(at);
        let who = format!("{} killed{}", lab.broker_name(at), if leads { " (it led)" } else { "" });
        crate::say(&format!("{who} …"));
        let storm = Storm::begin(lab, number, extent.storm)?;
        thread::sleep(CALM);
        let killed = Instant::now();
        lab.kill_broker(at);
        if leads {
            let took = next_leader(lab, at, killed)?;
            let value = took.as_secs_f64() * 1e3;
            let name = "kill -9 of the leader → another node says that it leads".to_owned();
            report.quantities.push(Quantity { part: PART, name, value, unit: "ms", target: None });
        }
        thread::sleep((extent.storm / 2).saturating_sub(killed.elapsed()));
        lab.start_broker(program, at)?;
        let outcome = storm.end(&who, true)?;
        number += outcome.pressed;
        slowest.extend(tell(&who, outcome, report));
        cluster::await_sound(lab)?;
    }
    if let Some(value) = slowest.into_iter().reduce(f64::max) {
        let (name, target) =
            ("a node killed under 20 presses/s: slowest press → screen".to_owned(), Some("T6 ≤ 250 ms"));
        report.quantities.push(Quantity { part: PART, name, value, unit: "ms", target });
    }
    number += rolling(extent, program, lab, number, report)?;
    quorum_lost(extent, program, lab, number, report)
}

/// What an upgrade does: each node in turn ends in good order and is started again, once the others have it back.
fn rolling(
    extent: Extent,
    program: &Path,
    lab: &mut Lab,
    number: usize,
    report: &mut Report,
) -> Result<usize, BenchError> {
    let what = "all three restarted in turn";
    crate::say(&format!("{what} …"));
    let storm = Storm::begin(lab, number, extent.storm * 2)?;
    for at in 0..lab.brokers().len() {
        thread::sleep(CALM);
        lab.stop_broker(at)?;
        lab.start_broker(program, at)?;
        cluster::await_sound(lab)?;
    }
    let outcome = storm.end(what, true)?;
    let pressed = outcome.pressed;
    if let Some(value) = tell(what, outcome, report) {
        let (name, target) = ("rolling restart: slowest press → screen".to_owned(), Some("T6 ≤ 250 ms"));
        report.quantities.push(Quantity { part: PART, name, value, unit: "ms", target });
    }
    Ok(pressed)
}

/// Two of three die; alarms go on; the two come back and everything becomes stored.
fn quorum_lost(
    extent: Extent,
    program: &Path,
    lab: &mut Lab,
    number: usize,
    report: &mut Report,
) -> Result<(), BenchError> {
    let what = "two of three killed";
    crate::say(&format!("{what} …"));
    let storm = Storm::begin(lab, number, extent.storm)?;
    thread::sleep(CALM);
    let gone = [0, 1];
    gone.into_iter().for_each(|at| lab.kill_broker(at));
    thread::sleep(extent.storm / 2);
    for at in gone {
        lab.start_broker(program, at)?;
    }
    let outcome = storm.end(what, true)?;
    if outcome.stored.len() < outcome.pressed {
        let missing = outcome.pressed - outcome.stored.len();
        report.faults.push(format!("{what}: {missing} of {} alarms were not stored after the heal", outcome.pressed));
    }
    if let Some(value) = tell(what, outcome, report) {
        let (name, target) = ("quorum lost: slowest press → screen".to_owned(), Some("T7 ≤ 250 ms"));
        report.quantities.push(Quantity { part: PART, name, value, unit: "ms", target });
    }
    cluster::await_sound(lab)
}

/// How long after `killed` another node than `dead` says that it leads.
fn next_leader(lab: &Lab, dead: usize, killed: Instant) -> Result<Duration, BenchError> {
    while killed.elapsed() < PATIENCE {
        if cluster::leader(lab).is_some_and(|leader| leader != dead) {
            return Ok(killed.elapsed());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Err(BenchError::Late { what: "another leader".to_owned(), seconds: PATIENCE.as_secs() })
}

/// Puts the outcome of a storm into the report; gives its slowest alarm in milliseconds.
fn tell(what: &str, outcome: Outcome, report: &mut Report) -> Option<f64> {
    let samples = |times: &[Duration]| {
        let mut samples = Samples::new();
        times.iter().for_each(|took| samples.record(*took));
        [samples]
    };
    let shown = Latency::new(PART, format!("{what}: press → screen"), "nothing", &samples(&outcome.shown));
    let stored = Latency::new(PART, format!("{what}: press → STORED"), "a majority", &samples(&outcome.stored));
    report.faults.extend(outcome.faults);
    let slowest = shown.as_ref().map(|shown| shown.max_ms);
    report.latencies.extend([shown, stored].into_iter().flatten());
    slowest
}
