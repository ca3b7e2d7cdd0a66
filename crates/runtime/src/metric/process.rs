//! The process's own figures, from `/proc` (proc(5)); where there is no `/proc`, they are left out.

use std::time::Instant;

use super::{Gauge, set};

pub(super) fn measure(since: Instant) {
    set(Gauge::ProcessUptime, &[], since.elapsed().as_secs_f64());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kib) = field(&status, "VmRSS:") {
        set(Gauge::ProcessResident, &[], kib * 1_024.0);
    }
    if let Some(threads) = field(&status, "Threads:") {
        set(Gauge::ProcessThreads, &[], threads);
    }
    if let Ok(folder) = std::fs::read_dir("/proc/self/fd") {
        let open = u32::try_from(folder.count()).unwrap_or(u32::MAX);
        // The folder itself is open while it is counted.
        set(Gauge::ProcessOpenFiles, &[], f64::from(open.saturating_sub(1)));
    }
}

fn field(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
