//! What a process costs that has nothing to do: memory and time on the processor, as the kernel counts them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{BenchError, Trying};
use crate::figures::Quantity;
use crate::machine::kib;
use crate::report::Report;

const PART: &str = "idle relay";
/// How often the threads are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Watches process `id` for `span` and reports what it took.
///
/// # Errors
/// The kernel does not tell: the process has ended, or this is not Linux.
pub(crate) fn measure(id: u32, span: Duration, report: &mut Report) -> Result<(), BenchError> {
    let proc = PathBuf::from(format!("/proc/{id}"));
    let mut usage = Usage::begin(&proc)?;
    let began = Instant::now();
    while began.elapsed() < span {
        thread::sleep(LOOK_EVERY.min(span));
        usage.look(&proc)?;
    }
    let watched = began.elapsed();
    let percent = usage.total().as_secs_f64() / watched.as_secs_f64() * 100.0;
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

/// Time that the threads of a process have run since a beginning, from the scheduler's own count in nanoseconds (proc(5), schedstat): the
/// tick count of `stat` is too coarse for a process that hardly runs. The kernel forgets a thread's count with the thread, so each is
/// looked at often; what one runs between the last look and its end is missed.
#[derive(Debug, Default)]
struct Usage {
    /// For each thread what it had run at the beginning, and when it was last looked at.
    threads: BTreeMap<String, (u64, u64)>,
}

impl Usage {
    /// What has run so far does not count.
    fn begin(proc: &Path) -> Result<Self, BenchError> {
        let mut usage = Self::default();
        usage.look(proc)?;
        usage.threads.values_mut().for_each(|(first, last)| *first = *last);
        Ok(usage)
    }

    fn look(&mut self, proc: &Path) -> Result<(), BenchError> {
        let tasks = proc.join("task");
        for entry in fs::read_dir(&tasks).trying_on("read", &tasks)? {
            let entry = entry.trying_on("read", &tasks)?;
            // A thread may end while it is looked at.
            let text = fs::read_to_string(entry.path().join("schedstat")).unwrap_or_default();
            if let Some(nanos) = text.split(' ').next().and_then(|nanos| nanos.parse().ok()) {
                self.threads.entry(entry.file_name().to_string_lossy().into_owned()).or_insert((0, 0)).1 = nanos;
            }
        }
        Ok(())
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.threads.values().map(|(first, last)| last.saturating_sub(*first)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() {
        let (began, mut sum) = (Instant::now(), 0_u64);
        while began.elapsed() < Duration::from_millis(50) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }

    #[test]
    fn work_is_seen_also_of_a_thread_that_has_ended() {
        let own = PathBuf::from(format!("/proc/{}", std::process::id()));
        let mut usage = Usage::begin(&own).unwrap();
        assert_eq!(usage.total(), Duration::ZERO);
        let (done, end) = std::sync::mpsc::channel::<()>();
        let (worked, is_done) = std::sync::mpsc::channel();
        let worker = thread::spawn(move || {
            work();
            worked.send(()).unwrap();
            end.recv().unwrap_err();
        });
        is_done.recv().unwrap();
        usage.look(&own).unwrap();
        let seen = usage.total();
        assert!(seen > Duration::from_millis(1), "{seen:?}");
        drop(done);
        worker.join().unwrap();
        usage.look(&own).unwrap();
        assert!(usage.total() >= seen);
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        assert!(Usage::begin(Path::new("/proc/0")).is_err());
    }
}
