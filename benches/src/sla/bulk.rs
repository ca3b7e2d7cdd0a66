//! Alarms on a narrow line, alone and beside megabytes of events of the lowest class.
//!
//! Invariant: both lines are the same, at the same time, with the same presses; one school has more to tell.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use huxiao_benches::emulator::{Profile, Rate};
use huxiao_core::{Class, Kind};

use super::Bench;
use super::findings::{Bound, Extra, Findings, Spread, Verdict};
use super::line::Line;
use super::presses::{Schedule, body};
use super::run::{Order, Outcome, Run};
use super::system::{Huxiao, System};
use crate::error::{BenchError, Trying};
use crate::http::Connection;

/// Bytes that are to be carried beside the alarms.
const BYTES: usize = 5_000_000;
/// One alarm in this time, so that all of them meet the transfer.
const EVERY: Duration = Duration::from_millis(500);
/// What the transfer is ahead of the first press.
const AHEAD: Duration = Duration::from_secs(5);

/// What became of both.
pub(super) struct Bulk {
    alone: Outcome,
    beside: Outcome,
    /// Events that the relay had taken beside the alarms, and their bytes.
    taken: (usize, usize),
    kind: &'static str,
}

/// The line: `rural` with a rate.
fn profile() -> Profile {
    let rate = Rate { bits_per_second: 256_000, queue_bytes: 64 * 1_024 };
    Profile { name: "rural, 256 kbit/s", rate: Some(rate), ..Profile::rural() }
}

/// The kind with the lowest class that a relay's API takes, and the class.
fn lowest() -> (&'static str, Class) {
    let kinds = Kind::ALL.iter().filter_map(|kind| Some((kind.as_str(), kind.class()?)));
    kinds.max_by_key(|(_, class)| *class).unwrap_or(("status", Class::P3))
}

/// Presses on both lines.
///
/// # Errors
/// One of the labs did not run.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Bulk, BenchError> {
    let (kind, _) = lowest();
    let schedule = Schedule::new(bench.presses, EVERY, bench.seed);
    let (alone, beside) = thread::scope(|scope| {
        let alone = scope.spawn(|| one(bench, "bulk-alone", &schedule, None));
        let beside = one(bench, "bulk-beside", &schedule, Some(kind));
        (alone.join().unwrap_or_else(|_| Err(BenchError::answer("a run", "a panic"))), beside)
    });
    let ((alone, _), (beside, taken)) = (alone?, beside?);
    Ok(Bulk { alone, beside, taken, kind })
}

/// One lab; events of `kind` beside the alarms, if it is said.
fn one(
    bench: &Bench<'_>,
    folder: &str,
    schedule: &Schedule,
    kind: Option<&'static str>,
) -> Result<(Outcome, (usize, usize)), BenchError> {
    let folder = bench.scratch.path().join(folder);
    let (program, seed) = (bench.program.to_path_buf(), bench.seed);
    let order = Order { system: System::Huxiao, profile: profile(), seed, program, folder, after: Duration::ZERO };
    let line = Line::new(order.profile, seed)?;
    let (tell, heard) = mpsc::channel();
    let huxiao = Huxiao::start(&line, &order.program, &order.folder, tell)?;
    let relay = huxiao.lab.relay().to_owned();
    let (go, gone) = mpsc::channel::<()>();
    let over = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&over);
    let post = move || match (gone.recv(), kind) {
        (Ok(()), Some(kind)) => post(&relay, kind, &is_over),
        _ => Ok((0, 0)),
    };
    let posting =
        line.near().enter(|| thread::Builder::new().name("bulk".into()).spawn(post))?.trying("start a thread")?;
    let mut run = Run::of(order, line, Box::new(huxiao), heard);
    run.begin();
    // The poster waits for it.
    let _ = go.send(());
    thread::sleep(AHEAD);
    let pressed = run.press(schedule, bench.patience);
    // Not before: the relay must still be there for the poster.
    over.store(true, Ordering::Relaxed);
    let taken = posting.join().unwrap_or_else(|_| Err(BenchError::answer("the poster of events", "a panic")));
    pressed?;
    Ok((run.finish(), taken?))
}

/// Posts events until there are [`BYTES`] of them or it is over, as fast as the relay's disk takes them. To be called where the relay is.
fn post(relay: &str, kind: &str, is_over: &AtomicBool) -> Result<(usize, usize), BenchError> {
    let mut connection = Connection::open(relay)?;
    let (mut taken, mut bytes) = (0, 0);
    while bytes < BYTES && !is_over.load(Ordering::Relaxed) {
        // Each differs: equal ones would be a device that repeats itself, and be counted together.
        let event = body(kind, &format!("bulk {taken} "), huxiao_core::limits::NOTE_BYTES);
        let answer = connection.ask("POST", "/v1/events", &event)?;
        match answer.status {
            202 => {}
            // Its room for this class is used up: that much is under way.
            503 => break,
            status => return Err(BenchError::answer("the relay to an event", format!("{status}"))),
        }
        taken += 1;
        bytes += event.len();
    }
    Ok((taken, bytes))
}

impl Bulk {
    /// Puts it into words and figures.
    pub(super) fn tell(self, findings: &mut Findings) {
        let Self { alone, beside, taken: (events, bytes), kind } = self;
        let (_, class) = lowest();
        let what = format!(
            "p99 on {} beside {:.1} MB of {class} events ({kind}), over p99 without",
            alone.profile,
            bytes as f64 / 1e6
        );
        let times = [alone.figures.times, beside.figures.times];
        for (outcome, name) in [(&alone, "alarms alone"), (&beside, "alarms beside the transfer")] {
            let times = outcome.figures.times;
            let name = |percentile: &str| format!("{}: {name}, {percentile}", outcome.profile);
            for (percentile, value) in [("p50", times.p50_ms), ("p99", times.p99_ms)] {
                let spread = value.and_then(|value| Spread::of(vec![value]));
                let spread = spread.map(|spread| Spread { samples: times.samples, ..spread });
                findings.extras.extend(spread.map(|spread| Extra { what: name(percentile), spread, unit: "ms" }));
            }
            let lost = outcome.figures.lost;
            if lost > 0 {
                findings
                    .faults
                    .push(format!("{}: {lost} alarms had not reached the station when the run ended", name("lost")));
            }
            if outcome.figures.repeats > 0 {
                findings.faults.push(format!("{}: {} times", name("shown twice"), outcome.figures.repeats));
            }
            let remarks = outcome.remarks.iter().map(|remark| format!("{}: {remark}", name("remark")));
            findings.notes.extend(remarks);
        }
        findings.notes.push(format!("bulk: the relay took {events} events of {bytes} bytes in all beside the alarms"));
        if let (Some(without), Some(with)) = (times[0].p99_ms, times[1].p99_ms) {
            let bound = Some(Bound::AtMost(1.2));
            let verdict = Verdict::new("bulk", alone.profile, what, with / without, bound, times[1].samples);
            findings.verdicts.push(verdict);
        }
        findings.narrow = vec![alone, beside];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_events_are_of_the_lowest_class_that_there_is() {
        let (kind, class) = lowest();
        assert_eq!(Kind::known(kind).unwrap().class(), Some(class));
        assert!(Kind::ALL.iter().all(|kind| kind.class().unwrap() <= class));
    }
}
