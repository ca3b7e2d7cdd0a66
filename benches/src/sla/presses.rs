//! When each alarm is pressed and what it holds: the same for every system, from one seed.
//!
//! Invariant: every alarm of a run has [`ALARM_BYTES`] bytes with its number in them, and the next press never waits for the last
//! alarm: a slow system meets the same presses as a fast one.

use std::thread;
use std::time::{Duration, Instant};

use huxiao_core::Rng;
use serde_json::json;

/// Bytes of one alarm as its sender hands it over.
pub(crate) const ALARM_BYTES: usize = 300;
/// Before the number in an alarm's text.
const MARK: &str = "alarm #";
/// Digits of the number.
const DIGITS: usize = 6;

/// The instants of a run's presses, as times since its beginning, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule(Vec<Duration>);

impl Schedule {
    /// `count` presses, one in every `every`, at a random instant in the first two fifths of it, by the dice of `seed`.
    pub(crate) fn new(count: u32, every: Duration, seed: u64) -> Self {
        let mut dice = Rng::new(seed);
        let swing = every / 5;
        let mut instant = |number: u32| {
            let later = dice.below(u64::try_from(2 * swing.as_micros()).unwrap_or(u64::MAX));
            every * number + Duration::from_micros(later)
        };
        Self((0..count).map(&mut instant).collect())
    }

    /// Calls `press` with the number of each alarm, counted from `first`, at its instant; gives the instants at which each call
    /// began. A call that takes long delays no instant but those that it overruns.
    pub(crate) fn play(&self, first: u32, mut press: impl FnMut(u32)) -> Vec<Instant> {
        let began = Instant::now();
        let mut pressed = Vec::with_capacity(self.0.len());
        for (number, offset) in (first..).zip(&self.0) {
            thread::sleep((began + *offset).saturating_duration_since(Instant::now()));
            pressed.push(Instant::now());
            press(number);
        }
        pressed
    }
}

/// The alarm of this number as the body of a press at a relay; its bytes are what the others carry, too.
pub(crate) fn alarm(number: u32) -> String {
    body("panic", &format!("{MARK}{number:0DIGITS$} "), ALARM_BYTES)
}

/// The number of the alarm whose text this is, or whose text is in it.
pub(crate) fn number(text: &str) -> Option<u32> {
    let at = text.find(MARK)? + MARK.len();
    text.get(at..at + DIGITS)?.parse().ok()
}

/// A press of `kind` with a note that begins with `words` and fills the body up to `bytes`.
pub(crate) fn body(kind: &str, words: &str, bytes: usize) -> String {
    let body = |note: &str| json!({ "kind": kind, "device": "button-1", "zone": "gate", "note": note }).to_string();
    let fill = bytes.saturating_sub(body(words).len());
    body(&format!("{words}{}", "x".repeat(fill)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_instants_near_their_beat() {
        let every = Duration::from_millis(1_500);
        let schedule = Schedule::new(300, every, 7);
        assert_eq!(schedule, Schedule::new(300, every, 7));
        assert_ne!(schedule, Schedule::new(300, every, 8));
        assert!(schedule.0.is_sorted());
        for (number, offset) in (0..).zip(&schedule.0) {
            let beat = every * number;
            assert!(*offset >= beat && *offset <= beat + every * 2 / 5, "{number}: {offset:?}");
        }
    }

    #[test]
    fn an_alarm_has_its_size_and_its_number() {
        for of in [0, 1, 299, 65_535] {
            let alarm = alarm(of);
            assert_eq!(alarm.len(), ALARM_BYTES);
            assert_eq!(number(&alarm), Some(of));
        }
        assert_eq!(number("alarm #12"), None);
        assert_eq!(number("alarm #12345é"), None);
        assert_eq!(number("nothing"), None);
    }

    #[test]
    fn a_slow_press_does_not_move_the_others() {
        let schedule = Schedule(vec![Duration::ZERO, Duration::from_millis(10), Duration::from_millis(80)]);
        let mut numbers = Vec::new();
        let began = Instant::now();
        let pressed = schedule.play(5, |number| {
            numbers.push(number);
            if number == 5 {
                thread::sleep(Duration::from_millis(30));
            }
        });
        assert_eq!(numbers, [5, 6, 7]);
        assert!(pressed[1] - pressed[0] >= Duration::from_millis(30));
        assert!(pressed[2] - began >= Duration::from_millis(80));
    }
}
