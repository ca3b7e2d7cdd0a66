//! The way of one alarm over loopback, through three processes, beside Mosquitto.
//!
//! Invariants:
//! * Both sides are driven alike: 300 bytes, one at a time, one every 20 ms, one kept connection in and one out, times taken by the bench
//!   from before its write to after its read. Rounds alternate.
//! * Every press is looked for until it is found: one that stays away, or that comes twice, is a fault and fails the bench.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::alarms::{Alarms, Round};
use super::mosquitto::{self, Mosquitto};
use super::{Extent, idle, probe};
use crate::error::BenchError;
use crate::figures::{Latency, Ratio, Samples};
use crate::lab::{Lab, Site};
use crate::report::Report;
use crate::scratch::Scratch;

const PART: &str = "loopback";
/// One press, one message in this time.
const PERIOD: Duration = Duration::from_millis(20);
/// Presses and messages before anything is counted.
const WARM_UP: u32 = 20;
/// Syncs of the bare disk before and again after our part of each round, and round trips of the bare loopback before it.
const PROBES: u32 = 50;

/// One thing every [`PERIOD`]; what is late is not made up for.
pub(crate) struct Pace {
    left: u32,
    next: Instant,
    until: Instant,
}

impl Pace {
    /// For `count` things, fewer if they take longer than `limit`. The first is due at once.
    pub(crate) fn begin(count: u32, limit: Duration) -> Self {
        let now = Instant::now();
        Self { left: count, next: now, until: now + limit }
    }

    /// Waits until the next is due; false if there is none.
    pub(crate) fn wait(&mut self) -> bool {
        let now = Instant::now();
        if self.left == 0 || now > self.until {
            return false;
        }
        thread::sleep(self.next.saturating_duration_since(now));
        self.next = self.next.max(now) + PERIOD;
        self.left -= 1;
        true
    }
}

#[derive(Default)]
struct Rounds {
    ours: Vec<Round>,
    theirs: Vec<mosquitto::Round>,
    appends: Vec<Samples>,
    trips: Vec<Samples>,
}

/// Measures an idle relay first, then alarms.
///
/// # Errors
/// The nodes or Mosquitto do not start. What happens to alarms is in the report, not an error.
pub(crate) fn measure(
    extent: &Extent,
    scratch: &Scratch,
    program: &Path,
    report: &mut Report,
) -> Result<(), BenchError> {
    let lab = Lab::start(program, scratch.path(), &Site::loopback(1)?)?;
    idle::measure(lab.relay_id(), extent.idle, report)?;
    let mut ours = Alarms::open(&lab)?;
    let mut theirs = Mosquitto::start(scratch)?;
    match &theirs {
        Some(mosquitto) => report.subjects.push(format!("{}, QoS 1", mosquitto.version)),
        None => report.skipped.push("Mosquitto: it is not installed (apt-get install mosquitto)".into()),
    }
    let mut rounds = Rounds::default();
    let went = alternate(extent, scratch, &mut ours, theirs.as_mut(), &mut rounds, report);
    report.faults.extend(went.err().map(|error| error.to_string()));
    report.faults.extend(ours.audit(&lab));
    let found = if report.faults.is_empty() { "each found once and acknowledged" } else { "see the faults" };
    report.notes.push(format!("loopback: {} alarms pressed, {found}", ours.pressed()));
    if ours.early() > 0 {
        report.notes.push(format!("loopback: {} alarms were shown before the station's disk had them", ours.early()));
    }
    if let Some(repeats) = theirs.map(|theirs| theirs.repeats).filter(|repeats| *repeats > 0) {
        report.notes.push(format!("mosquitto: {repeats} messages came twice"));
    }
    tell(&rounds, report);
    Ok(())
}

/// The rounds, by turns.
fn alternate(
    extent: &Extent,
    scratch: &Scratch,
    ours: &mut Alarms,
    mut theirs: Option<&mut Mosquitto>,
    rounds: &mut Rounds,
    report: &mut Report,
) -> Result<(), BenchError> {
    ours.round(WARM_UP, extent.round_limit, &mut Round::new())?;
    if let Some(theirs) = theirs.as_deref_mut() {
        theirs.round(WARM_UP, extent.round_limit)?;
    }
    for round in 0..extent.rounds {
        if round > 0 && Instant::now() > extent.until {
            report.notes.push(format!("loopback: time was up after {round} of {} rounds", extent.rounds));
            break;
        }
        let mut appends = probe::appends(scratch.path(), PROBES, extent.commit_limit)?;
        rounds.trips.push(probe::round_trips(PROBES)?);
        let mut times = Round::new();
        let went = ours.round(extent.presses, extent.round_limit, &mut times);
        // What came before a loss counts too.
        rounds.ours.push(times);
        went?;
        probe::more_appends(scratch.path(), PROBES, extent.commit_limit, &mut appends)?;
        rounds.appends.push(appends);
        if let Some(theirs) = theirs.as_deref_mut() {
            rounds.theirs.push(theirs.round(extent.presses, extent.round_limit)?);
        }
    }
    Ok(())
}

fn tell(rounds: &Rounds, report: &mut Report) {
    let ours = |name: &str, synced, pick: fn(&Round) -> &Samples| {
        let samples: Vec<Samples> = rounds.ours.iter().map(|round| pick(round).clone()).collect();
        Latency::new(PART, name, synced, &samples)
    };
    let theirs = |name: &str, pick: fn(&mosquitto::Round) -> &Samples| {
        let samples: Vec<Samples> = rounds.theirs.iter().map(|round| pick(round).clone()).collect();
        Latency::new(PART, name, "nothing", &samples)
    };
    let inbox = ours("press → on the station's disk, at the screen", "station", |round| &round.inbox);
    let stored = ours("press → STORED, at the relay's reader", "broker", |round| &round.stored);
    let kept = ours("press → 202 Accepted, at the presser", "relay", |round| &round.kept);
    let all = ours("press → all three of these", "relay, broker, station", |round| &round.all);
    let answer =
        ours("officer's answer → acknowledged, at the relay's reader", "station, broker", |round| &round.answer);
    let by_stamps = "raised → stored, by the nodes' stamps";
    let stamped_stored = ours(by_stamps, "broker", |round| &round.stamped_stored);
    let by_stamps = "raised → at the station, by the nodes' stamps";
    let stamped_arrived = ours(by_stamps, "nothing", |round| &round.stamped_arrived);
    let by_stamps = "raised → delivered, by the nodes' stamps";
    let stamped_inbox = ours(by_stamps, "station", |round| &round.stamped_delivered);
    let received = theirs("Mosquitto QoS 1: publish → received", |round| &round.received);
    let acknowledged = theirs("Mosquitto QoS 1: publish → PUBACK", |round| &round.acknowledged);
    let append = Latency::new(PART, "the bare disk: append + fdatasync", "the file", &rounds.appends);
    let trip = Latency::new(PART, "the bare loopback: UDP there and back", "nothing", &rounds.trips);

    let times = |name, target, above: &Option<Latency>, below: &Option<Latency>, pick| {
        Ratio::of_times(name, target, above.as_ref(), below.as_ref(), pick)
    };
    let mut put = |ratio: Option<Ratio>| report.ratios.extend(ratio);
    let name = "press → station inbox over Mosquitto's publish → received, p99";
    put(times(name, Some("T4 ≤ 1.0"), &inbox, &received, |round| round.p99_ms));
    let name = "press → station inbox over Mosquitto's publish → received, p50";
    put(times(name, None, &inbox, &received, |round| round.p50_ms));
    let name = "press → STORED over Mosquitto's publish → PUBACK, p50";
    put(times(name, None, &stored, &acknowledged, |round| round.p50_ms));
    if let (Some(stored), Some(append), Some(trip)) = (&stored, &append, &trip) {
        let bare = append.rounds.iter().zip(&trip.rounds).map(|(append, trip)| append.p50_ms + trip.p50_ms);
        let pairs = stored.rounds.iter().map(|round| round.p50_ms).zip(bare);
        let name = "press → STORED over one fdatasync + one round trip, p50";
        put(Ratio::new(name, Some("T5 ≤ 3 (set for three broker nodes: see `region`; here one)"), pairs));
    }
    let all = [
        inbox,
        received,
        stored,
        acknowledged,
        kept,
        all,
        answer,
        stamped_arrived,
        stamped_inbox,
        stamped_stored,
        append,
        trip,
    ];
    report.latencies.splice(0..0, all.into_iter().flatten());
    report.notes.push(NOTE.to_owned());
    if !rounds.theirs.is_empty() {
        report.notes.push(MOSQUITTO.to_owned());
    }
}

const NOTE: &str = "both sides carry 300 bytes (ours: the HTTP body; theirs: the MQTT payload), one every 20 ms and the next only when \
    all of the last has come; times are the bench's own, from before its write to after its read";
const MOSQUITTO: &str = "Mosquitto runs with persistence on, which writes its database at exit and every 30 minutes: nothing of a message \
    is on disk when it is received or acknowledged";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_and_ends() {
        let began = Instant::now();
        let mut pace = Pace::begin(3, Duration::from_secs(60));
        let times: Vec<_> = std::iter::from_fn(|| pace.wait().then(|| began.elapsed())).collect();
        assert_eq!(times.len(), 3);
        assert!(times[1] >= PERIOD && times[2] >= PERIOD * 2, "{times:?}");
        let mut pace = Pace::begin(1_000_000, Duration::from_millis(50));
        let count = std::iter::from_fn(|| pace.wait().then_some(())).count();
        assert!((1..=4).contains(&count), "{count}");
    }
}
