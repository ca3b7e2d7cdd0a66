//! What has gone over each line today, and how that stands to its budget.
//!
//! A day is one of China's (UTC+8, no summer time): that is how data is sold there. What is counted is what the sessions' packets weigh on
//! the line, IP and UDP headers included; handshakes that came to nothing and the last second of a session that broke are not in it.
//!
//! Invariant: the count of a day only rises, and a budget decides nothing: it is shown and warned about.

pub(crate) mod ledger;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use huxiao_core::{Carrier, PathId, WallTime};
use huxiao_link::PathStats;
use serde::{Deserialize, Serialize};

/// Microseconds that China's clocks are ahead of UTC.
const CHINA_MICROS: i64 = 8 * 3_600 * 1_000_000;
const DAY_MICROS: i64 = 24 * 3_600 * 1_000_000;
/// Bytes of the headers of an IPv4 packet and of the UDP datagram in it (RFC 791, RFC 768).
const HEADER_BYTES_V4: u64 = 20 + 8;
/// The same with IPv6 (RFC 8200).
const HEADER_BYTES_V6: u64 = 40 + 8;
/// Bytes of the headers that TCP has over UDP, with its time stamps (RFC 9293, RFC 7323).
const TCP_MORE: u64 = 32 - 8;
/// What a TCP segment carries on average, as it is not known: most are a receipt or a probe, some are full.
const TCP_SEGMENT: u64 = 512;
/// Lines and nodes that are remembered at once; a file that holds more is not ours.
const PAIRS: usize = 4_096;

/// Bytes both ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Bytes {
    pub(crate) fn total(self) -> u64 {
        self.sent.saturating_add(self.received)
    }

    fn plus(self, other: Self) -> Self {
        let (sent, received) = (self.sent.saturating_add(other.sent), self.received.saturating_add(other.received));
        Self { sent, received }
    }

    fn since(self, before: Self) -> Self {
        let (sent, received) = (self.sent.saturating_sub(before.sent), self.received.saturating_sub(before.received));
        Self { sent, received }
    }

    /// What a session has put on the line and taken from it so far.
    pub(crate) fn of(stats: &PathStats) -> Self {
        let header = match stats.remote {
            SocketAddr::V4(_) => HEADER_BYTES_V4,
            SocketAddr::V6(_) => HEADER_BYTES_V6,
        };
        let whole = |payload: u64, datagrams: u64| {
            let headers = match stats.info.carrier {
                Carrier::Quic => datagrams.saturating_mul(header),
                Carrier::Tcp => payload.div_ceil(TCP_SEGMENT).saturating_mul(header + TCP_MORE),
            };
            payload.saturating_add(headers)
        };
        Self {
            sent: whole(stats.sent_bytes, stats.sent_datagrams),
            received: whole(stats.received_bytes, stats.received_datagrams),
        }
    }
}

/// How far a budget is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Below four fifths, or there is none.
    Within,
    /// From four fifths on.
    Near,
    /// All of it is gone.
    Over,
}

impl Level {
    pub(crate) fn of(used: u64, budget: Option<u64>) -> Self {
        match budget {
            Some(budget) if used >= budget => Level::Over,
            Some(budget) if used >= budget - budget / 5 => Level::Near,
            _ => Level::Within,
        }
    }

    /// In Chinese and in English, for whoever pays; nothing while it is within.
    pub(crate) fn words(self) -> Option<(&'static str, &'static str)> {
        match self {
            Level::Within => None,
            Level::Near => Some(("今日流量已用八成以上", "More than four fifths of today's data are used")),
            Level::Over => {
                Some(("今日流量已超预算，报警照常发送", "Today's data budget is used up; alarms go out all the same"))
            }
        }
    }
}

/// A day's counts, as they are kept on disk: by line, and by the node at the other end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Day {
    /// Days since 1970-01-01 in China.
    day: i64,
    lines: BTreeMap<String, BTreeMap<String, Bytes>>,
}

impl Day {
    /// The day that it is in China.
    fn at(now: WallTime) -> i64 {
        now.0.saturating_add(CHINA_MICROS).div_euclid(DAY_MICROS)
    }

    /// Whether it can have been written by us.
    fn is_plausible(&self) -> bool {
        self.lines.values().map(BTreeMap::len).sum::<usize>() <= PAIRS
    }
}

/// Counts what goes over the lines.
#[derive(Debug)]
pub(crate) struct Traffic {
    today: Day,
    /// What each session had at the last look.
    seen: BTreeMap<PathId, Bytes>,
    changed: bool,
}

impl Traffic {
    /// Goes on from what was kept, if it is of this day.
    pub(crate) fn new(now: WallTime, kept: Option<Day>) -> Self {
        let day = Day::at(now);
        let today = kept.filter(|kept| kept.day == day).unwrap_or(Day { day, lines: BTreeMap::new() });
        Self { today, seen: BTreeMap::new(), changed: false }
    }

    /// Begins a new day if it is one; a clock that is set back to an earlier day begins that one anew.
    pub(crate) fn turn(&mut self, now: WallTime) {
        let day = Day::at(now);
        if day != self.today.day {
            self.today = Day { day, lines: BTreeMap::new() };
            self.changed = true;
        }
    }

    /// Takes in what a session has moved so far, and gives back what is new of it.
    pub(crate) fn count(&mut self, path: PathId, line: &str, node: &str, so_far: Bytes) -> Bytes {
        let new = so_far.since(self.seen.insert(path, so_far).unwrap_or_default());
        if new.total() > 0 {
            let nodes = self.today.lines.entry(line.to_owned()).or_default();
            let count = nodes.entry(node.to_owned()).or_default();
            *count = count.plus(new);
            self.changed = true;
        }
        new
    }

    /// Forgets the sessions that are over.
    pub(crate) fn keep_only(&mut self, is_open: impl Fn(PathId) -> bool) {
        self.seen.retain(|path, _| is_open(*path));
    }

    /// Today's bytes of a line.
    pub(crate) fn line(&self, line: &str) -> Bytes {
        let nodes = self.today.lines.get(line).into_iter().flat_map(BTreeMap::values);
        nodes.fold(Bytes::default(), |sum, bytes| sum.plus(*bytes))
    }

    /// Today's bytes between a line and a node.
    pub(crate) fn pair(&self, line: &str, node: &str) -> Bytes {
        self.today.lines.get(line).and_then(|nodes| nodes.get(node)).copied().unwrap_or_default()
    }

    /// When today began.
    pub(crate) fn began(&self) -> WallTime {
        WallTime(self.today.day.saturating_mul(DAY_MICROS).saturating_sub(CHINA_MICROS))
    }

    /// What must be kept, if anything has changed since it was last asked.
    pub(crate) fn take_changed(&mut self) -> Option<Day> {
        std::mem::take(&mut self.changed).then(|| self.today.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: WallTime = WallTime(20_000 * DAY_MICROS + 4 * 3_600 * 1_000_000);
    const ONE: PathId = PathId(1);
    const TWO: PathId = PathId(2);

    fn bytes(sent: u64, received: u64) -> Bytes {
        Bytes { sent, received }
    }

    #[test]
    fn only_what_is_new_is_counted_session_by_session() {
        let mut traffic = Traffic::new(NOON, None);
        assert_eq!(traffic.count(ONE, "lte", "a:1", bytes(100, 50)), bytes(100, 50));
        assert_eq!(traffic.count(ONE, "lte", "a:1", bytes(130, 50)), bytes(30, 0));
        assert_eq!(traffic.count(TWO, "lte", "b:1", bytes(10, 10)), bytes(10, 10));
        assert_eq!((traffic.pair("lte", "a:1"), traffic.line("lte")), (bytes(130, 50), bytes(140, 60)));
        assert_eq!(traffic.count(ONE, "lte", "a:1", bytes(7, 0)), bytes(0, 0), "nothing is taken back");
        traffic.keep_only(|path| path == TWO);
        assert_eq!((traffic.seen.len(), traffic.line("lte"), traffic.line("fibre")), (1, bytes(140, 60), bytes(0, 0)));
    }

    #[test]
    fn a_day_begins_at_midnight_in_china() {
        let midnight = WallTime(20_000 * DAY_MICROS + 16 * 3_600 * 1_000_000);
        let mut traffic = Traffic::new(NOON, None);
        traffic.count(ONE, "lte", "a:1", bytes(100, 0));
        traffic.turn(WallTime(midnight.0 - 1));
        assert_eq!(traffic.line("lte"), bytes(100, 0));
        traffic.turn(midnight);
        assert_eq!((traffic.line("lte"), traffic.began()), (bytes(0, 0), midnight));
        assert_eq!(traffic.count(ONE, "lte", "a:1", bytes(101, 0)), bytes(1, 0), "yesterday's are not counted again");
        traffic.turn(WallTime(i64::MAX));
        traffic.turn(WallTime(i64::MIN));
        assert_eq!(traffic.line("lte"), bytes(0, 0));
    }

    #[test]
    fn the_days_count_survives_a_restart_and_yesterdays_does_not() {
        let mut traffic = Traffic::new(NOON, None);
        assert_eq!(traffic.take_changed(), None);
        traffic.count(ONE, "lte", "a:1", bytes(100, 7));
        let kept = traffic.take_changed().unwrap();
        assert_eq!(traffic.take_changed(), None, "nothing has changed since");
        let next = Traffic::new(WallTime(NOON.0 + 60_000_000), Some(kept.clone()));
        assert_eq!(next.line("lte"), bytes(100, 7));
        assert_eq!(Traffic::new(WallTime(NOON.0 + DAY_MICROS), Some(kept)).line("lte"), bytes(0, 0));
    }

    #[test]
    fn a_budget_is_near_from_four_fifths_on() {
        let level = |used| Level::of(used, Some(100));
        assert_eq!([0, 79, 80, 99, 100, u64::MAX].map(level), {
            use Level::{Near, Over, Within};
            [Within, Within, Near, Near, Over, Over]
        });
        assert_eq!((Level::of(u64::MAX, None), Level::of(3, Some(1))), (Level::Within, Level::Over));
        assert!(Level::Within.words().is_none() && Level::Over.words().is_some());
    }
}
