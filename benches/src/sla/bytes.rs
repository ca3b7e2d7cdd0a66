//! What one alarm weighs on a line that loses nothing: from the press until the button knows that an officer has it.
//!
//! Invariant: alarms go one at a time, and each is counted only when nothing of it is left to be sent.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::Profile;

use super::Bench;
use super::findings::{Bound, Extra, Findings, Spread, Verdict};
use super::line::Line;
use super::system::{Carrier, Huxiao};
use crate::error::BenchError;
use crate::http::Connection;

const ALARMS: u32 = 20;
const QUICK_ALARMS: u32 = 8;
/// After the connections are made, for what they still find out about the line.
const REST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of one alarm on one path.
const TARGET: f64 = 4_096.0;

/// Weighs alarms on a line within a building and on a long one.
///
/// # Errors
/// The lab did not run, or an alarm did not come.
pub(super) fn measure(bench: &Bench<'_>, findings: &mut Findings) -> Result<(), BenchError> {
    let weighed = thread::scope(|scope| {
        let far = scope.spawn(|| weigh(bench, Profile::rural().lossless()));
        let near = weigh(bench, Profile::lan());
        [near, far.join().unwrap_or_else(|_| Err(BenchError::answer("weighing", "a panic")))]
    });
    for (weighed, name) in weighed.into_iter().zip(["lan", "rural without loss"]) {
        let (bytes, packets) = weighed?;
        let all = [("bytes", bytes.clone(), "bytes"), ("packets", packets, "packets")];
        for (what, samples, unit) in all {
            let what = format!("{name}: {what} of one alarm, press to officer's answer at the button, one path");
            findings.extras.extend(Spread::of(samples).map(|spread| Extra { what, spread, unit }));
        }
        if let Some(spread) = Spread::of(bytes) {
            let what = "bytes of one alarm on a clean line, answered end to end, one path, median";
            let (bound, samples) = (Some(Bound::AtMost(TARGET)), spread.samples);
            findings.verdicts.push(Verdict::new("T13", name, what, spread.median, bound, samples));
        }
    }
    Ok(())
}

/// Bytes and packets of each alarm.
fn weigh(bench: &Bench<'_>, profile: Profile) -> Result<(Vec<f64>, Vec<f64>), BenchError> {
    let line = Line::new(profile, bench.seed)?;
    let folder = bench.scratch.path().join(format!("bytes-{}", profile.name));
    let (tell, heard) = mpsc::channel();
    let mut huxiao = Huxiao::start(&line, bench.program, &folder, tell)?;
    let relay = huxiao.lab.relay().to_owned();
    thread::sleep(REST);
    let (mut bytes, mut packets) = (Vec::new(), Vec::new());
    let late = |what: &str| BenchError::Late { what: what.to_owned(), seconds: PATIENCE.as_secs() };
    for number in 1..=if bench.quick { QUICK_ALARMS } else { ALARMS } {
        let before = line.carried();
        line.near().enter(|| huxiao.press(number))?;
        heard.recv_timeout(PATIENCE).map_err(|_| late("an alarm on a clean line"))?;
        if !line.near().enter(|| finished(&relay))?? {
            return Err(late("the officer's answer at the button"));
        }
        // The last packets acknowledge each other.
        thread::sleep(profile.mean_delay() * 4 + Duration::from_millis(100));
        let carried = line.carried().since(before);
        bytes.push(carried.bytes as f64);
        packets.push(carried.packets as f64);
    }
    Ok((bytes, packets))
}

/// Waits until the relay has nothing open. To be called where it is.
fn finished(relay: &str) -> Result<bool, BenchError> {
    let began = Instant::now();
    let mut connection = Connection::open(relay)?;
    while began.elapsed() < PATIENCE {
        let open = connection.get("/v1/events?open=true&limit=1")?;
        if open["events"].as_array().is_some_and(Vec::is_empty) {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(false)
}
