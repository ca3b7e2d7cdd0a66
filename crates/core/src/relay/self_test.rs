//! The daily self-test (每日自检): once a day an event goes the whole way to a station's screens and rings nobody.
//!
//! Each relay has its own time in the window of each day, drawn from its name and the day, so that a province's schools are spread over the window; one
//! that starts behind its time and within the window draws another one in what is left.
//!
//! Invariant: at most one a day. Which day was the last is seen in the outbox, where a finished event stays behind a thousand later ones.

use crate::event::{Details, Kind, Mode, Text};
use crate::id::RelayId;
use crate::plan::{Day, Hours, at_minute, on_the_wall};
use crate::relay::machine::Relay;
use crate::relay::raise::Press;
use crate::rng::Rng;
use crate::time::{Now, Span, Timestamp, WallTime};

/// How often, at the least, the clock on the wall is looked at: it may have been set.
const LOOK_EVERY: Span = Span::from_secs(60);

/// When the next one is.
#[derive(Debug)]
pub(super) struct SelfTests {
    window: Option<Hours>,
    /// The last day on which there was one, counted from 1970-01-01.
    last: Option<i64>,
    /// The day that is planned, and the time on it, if there is one.
    planned: Option<(i64, Option<WallTime>)>,
    look_at: Option<Timestamp>,
}

impl SelfTests {
    pub(super) fn new(now: Now, window: Option<Hours>) -> Self {
        let window = window.filter(|window| window.is_whole());
        Self { window, last: None, planned: None, look_at: window.map(|_| now.mono) }
    }

    /// One that the outbox held.
    pub(super) fn found(&mut self, raised_at: WallTime) {
        self.last = self.last.max(Some(on_the_wall(raised_at).0));
    }

    pub(super) fn poll_timeout(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// The day whose self-test is to be raised now, if one is.
    fn due(&mut self, now: Now, relay: &RelayId, rng: &mut Rng) -> Option<i64> {
        let window = self.window.filter(|_| self.look_at.is_some_and(|at| at <= now.mono))?;
        let (day, ..) = on_the_wall(now.wall);
        if self.planned.is_none_or(|(planned, _)| planned != day) {
            self.planned = Some((day, time_on(relay, day, window, now.wall, rng)));
        }
        let at = self.planned.and_then(|(_, at)| at).filter(|_| self.last < Some(day));
        let wait = at.and_then(|at| u64::try_from(at - now.wall).ok()).map(Span::from_micros);
        match (at, wait) {
            (Some(_), None | Some(Span::ZERO)) => {
                self.last = Some(day);
                self.look_at = Some(now.mono + LOOK_EVERY);
                Some(day)
            }
            (_, wait) => {
                self.look_at = Some(now.mono + wait.unwrap_or(LOOK_EVERY).min(LOOK_EVERY));
                None
            }
        }
    }
}

/// The time of a relay on a day: its own, or another one in what is left of the window; `None` if the window is over.
fn time_on(relay: &RelayId, day: i64, window: Hours, now: WallTime, rng: &mut Rng) -> Option<WallTime> {
    let day = Day::from_number(i32::try_from(day).ok()?).ok()?;
    let (from, to) = (at_minute(day, window.from), at_minute(day, window.to));
    let own = WallTime(from.0 + drawn(relay, day, to - from));
    if own >= now {
        return Some(own);
    }
    let left = u64::try_from(to - now).ok().filter(|left| *left > 0)?;
    Some(WallTime(now.0.saturating_add(i64::try_from(rng.below(left)).unwrap_or(0))))
}

/// How far into the window a relay's own time of a day is: the same after every start. FNV-1a, and one turn of the generator to mix it.
fn drawn(relay: &RelayId, day: Day, window: i64) -> i64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let name = relay.school.0.as_str().bytes().chain([0]).chain(relay.device.as_str().bytes());
    let hash = name.chain([0]).chain(day.number().to_be_bytes()).fold(0xcbf2_9ce4_8422_2325, step);
    let window = u64::try_from(window).unwrap_or(1).max(1);
    i64::try_from(Rng::new(hash).below(window)).unwrap_or(0)
}

impl Relay {
    /// Raises the day's self-test when it is time.
    pub(super) fn self_test(&mut self, now: Now) {
        let Some(day) = self.self_tests.due(now, &self.config.relay, &mut self.rng) else { return };
        let (kind, mode) = (Kind::SelfTest, Mode::Test);
        let press = Press { kind, mode, device: None, zone: None, note: Text::default(), details: Details::default() };
        self.raise_by_itself(now, press, format!("self-test/{day}"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rng::Rng;

    const SECOND: i64 = 1_000_000;
    /// 2026-11-30 05:00 in China.
    const FIVE: i64 = 1_795_986_000 * SECOND;

    fn window() -> Hours {
        Hours { from: "05:00".parse().unwrap(), to: "06:30".parse().unwrap() }
    }

    fn relay(number: u64) -> RelayId {
        RelayId { school: format!("s{number}").parse().unwrap(), device: "gate".parse().unwrap() }
    }

    /// Runs a relay's tests from one instant to another as a driver does, and says when they were.
    fn run(tests: &mut SelfTests, relay: &RelayId, from: i64, to: i64) -> Vec<i64> {
        let (mut raised, mut rng) = (Vec::new(), Rng::new(9));
        let mut at = from;
        while at < to {
            let now = Now { mono: Timestamp(u64::try_from(at - from).unwrap()), wall: WallTime(at) };
            tests.look_at.get_or_insert(now.mono);
            raised.extend(tests.due(now, relay, &mut rng).map(|_| at));
            at = from + i64::try_from(tests.poll_timeout().unwrap().0).unwrap();
        }
        raised
    }

    fn begun(wall: i64) -> SelfTests {
        SelfTests::new(Now { mono: Timestamp(0), wall: WallTime(wall) }, Some(window()))
    }

    #[test]
    fn once_a_day_within_the_window_and_spread_over_it() {
        let day = 86_400 * SECOND;
        let mut minutes = std::collections::BTreeSet::new();
        for number in 0..200 {
            let raised = run(&mut begun(FIVE - 3_600 * SECOND), &relay(number), FIVE - 3_600 * SECOND, FIVE + 2 * day);
            assert_eq!(raised.len(), 2, "{raised:?}");
            for (number, at) in (0..).zip(&raised) {
                let into = at - FIVE - number * day;
                assert!((0..90 * 60 * SECOND).contains(&into), "{into}");
                minutes.insert(into / (60 * SECOND));
            }
        }
        assert!(minutes.len() > 75, "all over the window: {} of 90 minutes", minutes.len());
    }

    #[test]
    fn not_again_after_a_restart_and_not_behind_the_window() {
        let mut tests = begun(FIVE);
        tests.found(WallTime(FIVE + SECOND));
        assert_eq!(run(&mut tests, &relay(1), FIVE, FIVE + 6 * 3_600 * SECOND), []);
        let after = FIVE + 91 * 60 * SECOND;
        assert_eq!(run(&mut begun(after), &relay(1), after, after + 6 * 3_600 * SECOND), []);
        let mut off = SelfTests::new(Now::default(), None);
        assert_eq!((off.due(Now::default(), &relay(1), &mut Rng::new(1)), off.poll_timeout()), (None, None));
    }

    proptest! {
        #[test]
        fn whoever_starts_within_the_window_tests_in_what_is_left_of_it(number in 0..1_000_u64, into in 0..5_399_i64) {
            let start = FIVE + into * SECOND;
            let raised = run(&mut begun(start), &relay(number), start, start + 4 * 3_600 * SECOND);
            prop_assert_eq!(raised.len(), 1);
            prop_assert!(raised[0] >= start && raised[0] < FIVE + 90 * 60 * SECOND);
        }
    }
}
