//! Much at once: how many events a second the region makes durable, and how soon a node that missed them has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Extent, PART, cluster};
use crate::error::{BenchError, Trying};
use crate::figures::{Quantity, Rate};
use crate::http::Connection;
use crate::lab::Lab;
use crate::report::Report;

/// Pressers at the relay's API.
const PRESSERS: usize = 8;
/// How long the flood may take, and the catching up.
const PATIENCE: Duration = Duration::from_secs(300);

/// One node is away while the record grows; then it comes back.
pub(super) fn catch_up(extent: Extent, program: &Path, lab: &mut Lab, report: &mut Report) -> Result<(), BenchError> {
    let away = (0..lab.brokers().len()).rev().find(|at| cluster::leader(lab) != Some(*at)).unwrap_or(0);
    crate::say(&format!("{} entries of the record without {} …", extent.missed, lab.broker_name(away)));
    lab.kill_broker(away);
    let live = lab.brokers().into_iter().enumerate().find(|(at, _)| *at != away);
    let Some(live) = live.map(|(_, base)| base.to_owned()) else { return Ok(()) };
    let (from, began) = (cluster::applied(&live), Instant::now());
    let pressed = flood(lab, &live, from + extent.missed)?;
    let (entries, took) = (cluster::applied(&live).saturating_sub(from), began.elapsed());
    let count = u32::try_from(pressed).unwrap_or(u32::MAX);
    report.rates.extend(Rate::new(PART, "events (P3) through one relay's API", "a majority", &[(count, took)]));
    let count = u32::try_from(entries).unwrap_or(u32::MAX);
    report.rates.extend(Rate::new(PART, "entries of the record meanwhile", "a majority", &[(count, took)]));
    let back = Instant::now();
    lab.start_broker(program, away)?;
    let base = lab.brokers()[away].to_owned();
    while cluster::applied(&base) < cluster::applied(&live) {
        if back.elapsed() > PATIENCE {
            return Err(BenchError::Late { what: "the node has caught up".to_owned(), seconds: PATIENCE.as_secs() });
        }
        thread::sleep(Duration::from_millis(20));
    }
    let name = format!("a node that was away for {entries} entries: from its start until it has them");
    report.quantities.push(Quantity { part: PART, name, value: back.elapsed().as_secs_f64(), unit: "s", target: None });
    cluster::await_sound(lab)
}

/// Reports until the node at `live` has applied `target`. How many were taken.
fn flood(lab: &Lab, live: &str, target: u64) -> Result<usize, BenchError> {
    let (over, taken) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut pressers = Vec::new();
    for presser in 0..PRESSERS {
        let (over, taken, base) = (Arc::clone(&over), Arc::clone(&taken), lab.relay().to_owned());
        let work = move || -> Result<(), BenchError> {
            let mut to = Connection::open(&base)?;
            for number in 0_u64.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let note = format!("report {number} of {presser}");
                let body = json!({ "kind": "status", "device": format!("sensor-{presser}"), "note": note });
                match to.ask("POST", "/v1/events", &body.to_string())?.status {
                    202 => drop(taken.fetch_add(1, Ordering::Relaxed)),
                    // Its outbox is full, or the bucket of requests: what is there goes first.
                    429 | 503 | 507 => thread::sleep(Duration::from_millis(20)),
                    other => return Err(BenchError::answer("the relay to a report", other.to_string())),
                }
            }
            Ok(())
        };
        pressers.push(thread::Builder::new().name("presser".into()).spawn(work).trying("start a thread")?);
    }
    let began = Instant::now();
    while cluster::applied(live) < target && began.elapsed() < PATIENCE && !pressers.iter().any(|p| p.is_finished()) {
        thread::sleep(Duration::from_millis(50));
    }
    over.store(true, Ordering::Relaxed);
    for presser in pressers {
        presser.join().unwrap_or_else(|_| Err(BenchError::answer("a presser", "it broke off")))?;
    }
    if cluster::applied(live) < target {
        return Err(BenchError::Late { what: format!("entry {target} of the record"), seconds: PATIENCE.as_secs() });
    }
    Ok(taken.load(Ordering::Relaxed))
}
