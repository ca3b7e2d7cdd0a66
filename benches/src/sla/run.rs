//! One run: one system on one line, from its start to what became of each press.
//!
//! Invariant: the line turns bad only when the system is connected and everybody else is ready, too; what is counted begins there.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Barrier;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use huxiao_benches::emulator::Profile;
use serde::Serialize;

use super::line::{Carried, Line};
use super::presses::Schedule;
use super::system::{Carrier, System};
use super::tally::{Arrival, Figures, Tally, Times};
use crate::error::BenchError;

/// Half a round trip so often after the last arrival, and a little: for receipts and repeats that are still on their way.
const SETTLE: u32 = 4;
const SETTLE_LEAST: Duration = Duration::from_millis(250);
/// A single packet that has not come by then never will.
const PACKET_PATIENCE: Duration = Duration::from_secs(3);

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Order {
    pub(crate) system: System,
    pub(crate) profile: Profile,
    pub(crate) seed: u64,
    /// The program to measure where the system is ours.
    pub(crate) program: PathBuf,
    /// A folder that is this run's own.
    pub(crate) folder: PathBuf,
    /// How long after the others it begins, so that not everybody presses at once and waits for the machine instead of the line.
    pub(crate) after: Duration,
}

/// A system that runs on its line.
pub(crate) struct Run {
    order: Order,
    heard: Receiver<Arrival>,
    tally: Tally,
    began: Instant,
    before: Carried,
    // The carrier goes before the line on which it stands.
    carrier: Box<dyn Carrier>,
    line: Line,
}

impl Run {
    /// Starts line and system and waits until they are connected.
    ///
    /// # Errors
    /// One of them does not run.
    pub(crate) fn start(order: Order) -> Result<Self, BenchError> {
        let profile = if order.system.meets_loss() { order.profile } else { order.profile.lossless() };
        let line = Line::new(profile, order.seed)?;
        let (tell, heard) = mpsc::channel();
        let carrier = order.system.start(&line, &order.program, &order.folder, tell)?;
        Ok(Self::of(order, line, carrier, heard))
    }

    /// A system that has been started on `line`, and is `heard`.
    pub(crate) fn of(order: Order, line: Line, carrier: Box<dyn Carrier>, heard: Receiver<Arrival>) -> Self {
        let (began, before) = (Instant::now(), line.carried());
        Self { order, heard, tally: Tally::default(), began, before, carrier, line }
    }

    /// Turns the line into what its profile says.
    pub(crate) fn begin(&mut self) {
        (self.began, self.before) = (Instant::now(), self.line.carried());
        self.line.begin();
    }

    /// Presses, and waits for what was pressed, at the most for `patience` after the last press.
    ///
    /// # Errors
    /// The school's namespace cannot be entered.
    pub(crate) fn press(&mut self, schedule: &Schedule, patience: Duration) -> Result<(), BenchError> {
        let first = self.tally.next();
        let carrier = &mut self.carrier;
        let pressed = self.line.near().enter(|| {
            carrier.wake();
            schedule.play(first, |number| carrier.press(number))
        })?;
        self.tally.pressed(&pressed);
        let patience = if self.order.system.promises() { patience } else { patience.min(PACKET_PATIENCE) };
        let until = Instant::now() + patience;
        let mut look = |until: Instant, done: &dyn Fn(&Tally) -> bool| {
            while !done(&self.tally)
                && let Ok(arrival) = self.heard.recv_timeout(until.saturating_duration_since(Instant::now()))
            {
                self.tally.arrived(arrival);
            }
        };
        look(until, &Tally::is_complete);
        let settled = Instant::now() + self.order.profile.mean_delay() * SETTLE + SETTLE_LEAST;
        look(settled, &|_| false);
        Ok(())
    }

    /// What became of it.
    pub(crate) fn finish(mut self) -> Outcome {
        let carried = self.line.carried().since(self.before);
        let pressed = self.tally.next() - 1;
        let mut remarks = self.carrier.audit(&self.line, pressed);
        if carried.overflowed > 0 {
            remarks.push(format!(
                "the emulator had no room for {} packets: the line was not what it should be",
                carried.overflowed
            ));
        }
        let darks = self.line.darks(self.began);
        let waits = waits_after_dark(&self.tally, &darks, self.order.profile.delay);
        let seconds = |at: Instant| at.saturating_duration_since(self.began).as_secs_f64();
        let each = |of: u64| of as f64 / f64::from(pressed.max(1));
        Outcome {
            profile: self.order.profile.name,
            system: self.order.system,
            figures: self.tally.figures(),
            bytes_per_alarm: each(carried.bytes),
            packets_per_alarm: each(carried.packets),
            after_dark: Times::of(&waits),
            waits,
            alarms: self
                .tally
                .alarms()
                .map(|(pressed, arrived)| Alarm {
                    pressed_s: seconds(pressed),
                    took_ms: arrived.map(|arrived| arrived.saturating_duration_since(pressed).as_secs_f64() * 1e3),
                })
                .collect(),
            darks: darks.iter().rev().map(|(from, to)| [seconds(*from), seconds(*to)]).collect(),
            remarks,
        }
    }
}

/// How much longer than the line needs each alarm took after the end of a dark time that it had to wait for: one that was pressed
/// before that end and came after it, or never.
fn waits_after_dark(tally: &Tally, darks: &[(Instant, Instant)], one_way: Duration) -> Vec<Option<Duration>> {
    let wait = |(pressed, arrived): (Instant, Option<Instant>)| {
        let met = |(from, to): &&(Instant, Instant)| match arrived {
            Some(arrived) => pressed < *to && arrived >= *to,
            None => pressed >= *from && pressed < *to,
        };
        // The first end after the press.
        let (_, end) = darks.iter().filter(met).min_by_key(|(_, end)| *end)?;
        Some(arrived.map(|arrived| arrived.saturating_duration_since(*end + one_way)))
    };
    tally.alarms().filter_map(wait).collect()
}

/// One press. In JSON a pair, in the order of the members.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alarm {
    /// When, from the run's beginning.
    pub(crate) pressed_s: f64,
    /// How long it took; nothing if it never came.
    pub(crate) took_ms: Option<f64>,
}

impl Serialize for Alarm {
    /// Microseconds are what the clock is good for.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let rounded = |value: f64| (value * 1e3).round() / 1e3;
        (rounded(self.pressed_s), self.took_ms.map(rounded)).serialize(serializer)
    }
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Outcome {
    pub(crate) profile: &'static str,
    pub(crate) system: System,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// Bytes of IP packets sent into the line, both ways, from the first press to the last receipt, over the number of presses.
    pub(crate) bytes_per_alarm: f64,
    /// The packets.
    pub(crate) packets_per_alarm: f64,
    /// How much longer alarms took that had to wait for the end of a dark time: from that end on, without the line's own delay.
    pub(crate) after_dark: Times,
    #[serde(skip)]
    pub(crate) waits: Vec<Option<Duration>>,
    /// Every press: when it was, in seconds from the run's beginning, and how many milliseconds it took; nothing if it never came.
    pub(crate) alarms: Vec<Alarm>,
    /// When the line was dark: beginning and end, in seconds from the run's beginning.
    pub(crate) darks: Vec<[f64; 2]>,
    /// What else there is to say.
    pub(crate) remarks: Vec<String>,
}

impl Outcome {
    /// Takes in what the same system did on another line with the same profile and as many presses.
    fn add(&mut self, other: Self) {
        let lines = |alarms: &[Alarm]| alarms.len() as f64;
        let (ours, theirs) = (lines(&self.alarms), lines(&other.alarms));
        let mean = |a: f64, b: f64| (a * ours + b * theirs) / (ours + theirs).max(1.0);
        self.bytes_per_alarm = mean(self.bytes_per_alarm, other.bytes_per_alarm);
        self.packets_per_alarm = mean(self.packets_per_alarm, other.packets_per_alarm);
        self.alarms.extend(other.alarms);
        self.waits.extend(other.waits);
        self.remarks.extend(other.remarks);
        let times: Vec<Option<Duration>> =
            self.alarms.iter().map(|alarm| Some(Duration::from_secs_f64(alarm.took_ms? / 1e3))).collect();
        self.after_dark = Times::of(&self.waits);
        self.figures = Figures {
            times: Times::of(&times),
            delivered: self.figures.delivered + other.figures.delivered,
            lost: self.figures.lost + other.figures.lost,
            repeats: self.figures.repeats + other.figures.repeats,
        };
    }
}

/// One outcome for each system on each profile, whatever the number of its lines.
pub(crate) fn pooled(outcomes: Vec<Outcome>) -> Vec<Outcome> {
    let mut pooled: Vec<Outcome> = Vec::new();
    for outcome in outcomes {
        let same = |one: &&mut Outcome| (one.profile, one.system) == (outcome.profile, outcome.system);
        match pooled.iter_mut().find(same) {
            Some(one) => one.add(outcome),
            None => pooled.push(outcome),
        }
    }
    pooled
}

/// Runs all of `orders` at the same time, each on a line of its own, with the presses that `schedule` gives it.
pub(crate) fn together(
    orders: &[Order],
    schedule: &(dyn Fn(&Order) -> Schedule + Sync),
    patience: Duration,
) -> Vec<Result<Outcome, BenchError>> {
    let ready = Barrier::new(orders.len());
    let one = |order: &Order| {
        let gate = Gate(&ready);
        let started = Run::start(order.clone());
        drop(gate);
        let mut run = started?;
        thread::sleep(order.after);
        run.begin();
        run.press(&schedule(order), patience)?;
        Ok(run.finish())
    };
    spread(orders, &one)
}

/// Waits for all others when it is dropped: also when its thread fails or panics, so that nobody waits in vain.
struct Gate<'a>(&'a Barrier);

impl Drop for Gate<'_> {
    fn drop(&mut self) {
        self.0.wait();
    }
}

/// Runs all of `orders` one press at a time: in each of `rounds`, every system presses while the others rest.
pub(crate) fn in_turns(
    orders: &[Order],
    schedules: &[Schedule],
    patience: Duration,
) -> Vec<Result<Outcome, BenchError>> {
    let mut runs: Vec<Result<Run, BenchError>> = orders.iter().cloned().map(Run::start).collect();
    runs.iter_mut().flatten().for_each(Run::begin);
    for schedule in schedules {
        for run in &mut runs {
            let pressed = run.as_mut().map(|run| run.press(schedule, patience));
            if let Ok(Err(error)) = pressed {
                *run = Err(error);
            }
        }
    }
    runs.into_iter().map(|run| run.map(Run::finish)).collect()
}

/// Each order on a thread of its own.
fn spread<T: Send>(
    orders: &[Order],
    one: &(dyn Fn(&Order) -> Result<T, BenchError> + Sync),
) -> Vec<Result<T, BenchError>> {
    thread::scope(|scope| {
        let running: Vec<_> = orders.iter().map(|order| scope.spawn(move || one(order))).collect();
        let panicked = || Err(BenchError::answer("a run", "a panic"));
        running.into_iter().map(|run| run.join().unwrap_or_else(|_| panicked())).collect()
    })
}

/// The profiles of some outcomes, each once.
pub(crate) fn profiles(outcomes: &[Outcome]) -> Vec<&'static str> {
    let met: BTreeSet<&str> = outcomes.iter().map(|outcome| outcome.profile).collect();
    Profile::ALL.into_iter().filter(|name| met.contains(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_that_is_installed_carries_every_alarm_over_a_clean_line() {
        if let Err(why) = huxiao_benches::emulator::Emulator::available() {
            return println!("skipped: {why}");
        }
        let scratch = tempfile::tempdir().unwrap();
        let peers = [System::Clean, System::Mosquitto, System::Bridge, System::Nats, System::Quic];
        let there = peers.into_iter().filter(|peer| match peer.missing() {
            Some(why) => {
                println!("skipped: {why}");
                false
            }
            None => true,
        });
        let order = |system: System| {
            let folder = scratch.path().join(system.title());
            Order { system, profile: Profile::town(), seed: 1, program: PathBuf::new(), folder, after: Duration::ZERO }
        };
        let orders: Vec<Order> = there.map(order).collect();
        let schedule = |_: &Order| Schedule::new(10, Duration::from_millis(20), 1);
        let outcomes = together(&orders, &schedule, Duration::from_secs(30));
        assert_eq!(outcomes.len(), orders.len());
        for outcome in outcomes {
            let outcome = outcome.unwrap();
            let name = outcome.system.title();
            assert_eq!((outcome.figures.delivered, outcome.figures.lost), (10, 0), "{name}");
            // Fifteen milliseconds at the least, and the alarm itself with its headers.
            assert!(outcome.figures.times.p50_ms.unwrap() >= 15.0, "{name}");
            assert!(outcome.bytes_per_alarm >= 328.0, "{name}: {}", outcome.bytes_per_alarm);
            assert_eq!(outcome.alarms.len(), 10);
        }
    }

    #[test]
    fn lines_of_one_system_are_pooled_and_others_are_not() {
        use crate::sla::findings::example::outcome;
        let second = Duration::from_secs(1);
        let line = |took: &[Option<f64>], bytes| {
            let mut line = outcome("bad", System::Nats, None);
            line.alarms = took.iter().map(|took_ms| Alarm { pressed_s: 1.0, took_ms: *took_ms }).collect();
            (line.figures.delivered, line.figures.lost, line.bytes_per_alarm) = (2, 1, bytes);
            line.waits = vec![Some(second), None];
            line
        };
        let lines = vec![
            line(&[Some(100.0), Some(300.0), None], 500.0),
            outcome("bad", System::Quic, None),
            line(&[Some(200.0), Some(400.0), None], 700.0),
        ];
        let pooled = pooled(lines);
        assert_eq!(pooled.len(), 2);
        let Figures { times, delivered, lost, .. } = pooled[0].figures;
        assert_eq!((times.samples, delivered, lost, times.p50_ms, times.p90_ms), (6, 4, 2, Some(300.0), None));
        assert!((pooled[0].bytes_per_alarm - 600.0).abs() < 1e-9);
        assert_eq!((pooled[0].after_dark.samples, pooled[0].after_dark.p50_ms), (4, Some(1_000.0)));
    }

    #[test]
    fn waits_are_counted_from_the_end_of_the_dark() {
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let at = |s: u32| began + s * second;
        let darks = [(at(112), at(120)), (at(52), at(60))];
        let mut tally = Tally::default();
        // In the light; before the dark and caught by it; in the dark; in the dark and never; in the light and never.
        tally.pressed(&[at(10), at(51), at(55), at(113), at(70)]);
        for (number, s) in [(1, 11), (2, 63), (3, 61)] {
            tally.arrived(Arrival { number, at: at(s) });
        }
        let waits = waits_after_dark(&tally, &darks, second / 2);
        assert_eq!(waits, [Some(second * 5 / 2), Some(second / 2), None]);
        assert_eq!(waits_after_dark(&tally, &[], second), []);
    }
}
