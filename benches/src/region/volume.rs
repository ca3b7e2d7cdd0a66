//! Much at once: how many events a second the region makes durable, and how soon a node that missed them has them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Extent, PART, cluster, throughput};
use crate::error::BenchError;
use crate::figures::{Quantity, Rate};
use crate::lab::Lab;
use crate::report::Report;

/// How long the flood may take, and the catching up.
const PATIENCE: Duration = Duration::from_secs(300);

/// One node is away while the record grows; then it comes back.
pub(super) fn catch_up(
    extent: Extent,
    program: &Path,
    scratch: &Path,
    lab: &mut Lab,
    report: &mut Report,
) -> Result<(), BenchError> {
    let away = (0..lab.brokers().len()).rev().find(|at| cluster::leader(lab) != Some(*at)).unwrap_or(0);
    crate::say(&format!("{} entries of the record without {} …", extent.missed, lab.broker_name(away)));
    lab.kill_broker(away);
    let live = lab.brokers().into_iter().enumerate().find(|(at, _)| *at != away);
    let Some(live) = live.map(|(_, base)| base.to_owned()) else { return Ok(()) };
    let (from, began) = (cluster::applied(&live), Instant::now());
    let stored = flood(lab, away, &live, from + extent.missed, &scratch.join("away"))?;
    let (entries, took) = (cluster::applied(&live).saturating_sub(from), began.elapsed());
    report.rates.extend(Rate::new(PART, "alarms (P0) STORED by two of three nodes", "a majority", &[(stored, took)]));
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

/// Has relays raise alarms at the nodes but `away` until the one at `live` has applied `target`. How many were stored.
fn flood(lab: &Lab, away: usize, live: &str, target: u64, dir: &Path) -> Result<u32, BenchError> {
    let nodes: Vec<usize> = (0..lab.brokers().len()).filter(|at| *at != away).collect();
    let (over, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
    let runtime = throughput::runtime()?;
    let fleet = runtime.block_on(throughput::Fleet::connect(dir, lab, &nodes))?;
    let raising = runtime.spawn({
        let (over, now) = (Arc::clone(&over), tokio::time::Instant::now());
        async move { fleet.raise(now, now + PATIENCE, &over).await }
    });
    while cluster::applied(live) < target && began.elapsed() < PATIENCE && !raising.is_finished() {
        thread::sleep(Duration::from_millis(50));
    }
    over.store(true, Ordering::Relaxed);
    let stored = runtime.block_on(raising).unwrap_or_else(|_| Err(BenchError::answer("a relay", "it broke off")))?;
    if cluster::applied(live) < target {
        return Err(BenchError::Late { what: format!("entry {target} of the record"), seconds: PATIENCE.as_secs() });
    }
    Ok(stored)
}
