//! What a process costs that has nothing to do: memory and time on the processor, as the kernel counts them.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{BenchError, Trying};
use crate::figures::Quantity;
use crate::machine::kib;
use crate::report::Report;

const PART: &str = "idle relay";

/// Watches process `id` for `span` and reports what it took.
///
/// # Errors
/// The kernel does not tell: the process has ended, or this is not Linux.
pub(crate) fn measure(id: u32, span: Duration, report: &mut Report) -> Result<(), BenchError> {
    let proc = PathBuf::from(format!("/proc/{id}"));
    let (before, began) = (on_processor(&proc)?, Instant::now());
    thread::sleep(span);
    let (after, watched) = (on_processor(&proc)?, began.elapsed());
    let percent = after.saturating_sub(before).as_secs_f64() / watched.as_secs_f64() * 100.0;
    let read = |name: &str| fs::read_to_string(proc.join(name)).trying_on("read", &proc.join(name));
    let mut put = |name: String, value, unit, target| {
        report.quantities.push(Quantity { part: PART, name, value, unit, target });
    };
    if let Some(kib) = kib(&read("status")?, "VmRSS") {
        put("VmRSS".to_owned(), mib(kib), "MiB", Some("T12 ≤ 20 MiB"));
    }
    match read("smaps_rollup").ok().and_then(|text| kib(&text, "Pss")) {
        Some(kib) => put("PSS (shared pages by share)".to_owned(), mib(kib), "MiB", None),
        None => report.skipped.push("PSS of the relay: the kernel does not tell".to_owned()),
    }
    let name = format!("processor time over {:.0} s", watched.as_secs_f64());
    report.quantities.push(Quantity {
        part: PART,
        name,
        value: percent,
        unit: "% of a core",
        target: Some("T12 ≤ 0.2"),
    });
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a process' memory in KiB is exact in an f64")]
fn mib(kib: u64) -> f64 {
    kib as f64 / 1_024.0
}

/// Time that all threads of a process have run, from the scheduler's own count in nanoseconds (proc(5), schedstat): the tick
/// count of `stat` is too coarse for a process that hardly runs. Threads that have ended are not in it.
fn on_processor(proc: &Path) -> Result<Duration, BenchError> {
    let tasks = proc.join("task");
    let mut total = 0;
    for entry in fs::read_dir(&tasks).trying_on("read", &tasks)? {
        let path = entry.trying_on("read", &tasks)?.path().join("schedstat");
        // A thread may end while it is looked at.
        let text = fs::read_to_string(&path).unwrap_or_default();
        total += text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(Duration::from_nanos(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seen() {
        let own = PathBuf::from(format!("/proc/{}", std::process::id()));
        let before = on_processor(&own).unwrap();
        let began = Instant::now();
        let mut sum = 0_u64;
        while began.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(on_processor(&own).unwrap() > before, "{sum}");
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(on_processor(Path::new("/proc/0")).is_err());
    }
}
