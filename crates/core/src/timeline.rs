//! The way of one event, read on one clock: when it came to each point of its way, and how long each stretch took.
//!
//! Every node stamps what it says with its own clock, and clocks differ by more than an alarm takes. So each stamp comes with the
//! skew that its node had measured against its broker node ([`Receipt::skew`], [`Step::skew`](crate::Step::skew)), and is read on
//! that node's clock. A stamp of a node that has not measured yet is read as it stands, and what is reckoned from it is not exact.
//!
//! Invariant: no time is negative, and where every node has measured its skew rightly, none depends on how the clocks are set.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::id::{NodeName, Role};
use crate::receipt::{Receipt, Stage, Trail};
use crate::time::{Span, WallTime};

#[cfg(test)]
mod tests;

/// A point of an event's way. Ordered along the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Point {
    /// Pressed, or seen by a sensor.
    Raised,
    /// [`Stage::Kept`].
    Kept,
    /// [`Stage::Sent`], for the first time.
    Sent,
    /// [`Stage::Received`].
    Received,
    /// Passed on by the broker node, for the first time.
    Left,
    /// [`Stage::Stored`].
    Stored,
    /// In the station's memory.
    Arrived,
    /// [`Stage::Delivered`].
    Delivered,
    /// [`Stage::Displayed`].
    Displayed,
    /// [`Stage::Acknowledged`].
    Acknowledged,
    /// [`Stage::Closed`].
    Closed,
}

impl Point {
    /// All points in order.
    pub const ALL: [Point; 11] = [
        Point::Raised,
        Point::Kept,
        Point::Sent,
        Point::Received,
        Point::Left,
        Point::Stored,
        Point::Arrived,
        Point::Delivered,
        Point::Displayed,
        Point::Acknowledged,
        Point::Closed,
    ];

    /// Its name in APIs: that of its stage, where it is one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Point::Raised => "raised",
            Point::Left => "left",
            Point::Arrived => "arrived",
            Point::Kept => Stage::Kept.as_str(),
            Point::Sent => Stage::Sent.as_str(),
            Point::Received => Stage::Received.as_str(),
            Point::Stored => Stage::Stored.as_str(),
            Point::Delivered => Stage::Delivered.as_str(),
            Point::Displayed => Stage::Displayed.as_str(),
            Point::Acknowledged => Stage::Acknowledged.as_str(),
            Point::Closed => Stage::Closed.as_str(),
        }
    }

    /// The point of this name.
    #[must_use]
    pub fn known(name: &str) -> Option<Point> {
        Self::ALL.into_iter().find(|point| point.as_str() == name)
    }

    /// What it is called for people: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Point::Raised => ("按下", "Pressed"),
            Point::Kept => ("学校已存盘", "Kept at the school"),
            Point::Sent => ("学校已发出", "Sent by the school"),
            Point::Received => ("区域中心收到", "Received by the region"),
            Point::Left => ("区域中心转出", "Passed on by the region"),
            Point::Stored => ("区域中心已存盘", "Stored by the region"),
            Point::Arrived => ("到达派出所", "Came to the station"),
            Point::Delivered => ("派出所已存盘", "On the station's disk"),
            Point::Displayed => ("派出所已显示", "On a police screen"),
            Point::Acknowledged => ("派出所已接警", "An officer has it"),
            Point::Closed => ("自动结案", "Closed by itself"),
        }
    }

    /// What it may follow: the nearest first. At the same station, where that is said of a station.
    fn follows(self) -> &'static [Point] {
        use Point::{Acknowledged, Arrived, Closed, Delivered, Displayed, Kept, Left, Raised, Received, Sent, Stored};
        match self {
            Raised => &[],
            Kept | Sent => &[Raised],
            Received => &[Sent, Raised],
            Left | Stored => &[Received, Sent, Raised],
            Arrived => &[Left, Received, Sent, Raised],
            Delivered => &[Arrived, Left, Received, Sent, Raised],
            Displayed => &[Delivered, Arrived, Left, Received, Sent, Raised],
            Acknowledged => &[Displayed, Delivered, Arrived, Left, Received, Sent, Raised],
            // Said by the region.
            Closed => &[Stored, Received, Sent, Raised],
        }
    }

    fn is_at_a_station(self) -> bool {
        self >= Point::Arrived && self != Point::Closed
    }
}

impl From<Stage> for Point {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Kept => Point::Kept,
            Stage::Sent => Point::Sent,
            Stage::Received => Point::Received,
            Stage::Stored => Point::Stored,
            Stage::Delivered => Point::Delivered,
            Stage::Displayed => Point::Displayed,
            Stage::Acknowledged => Point::Acknowledged,
            Stage::Closed => Point::Closed,
        }
    }
}

/// One point of the way, and the stretch that ended there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lap {
    /// The point.
    pub point: Point,
    /// At which node.
    pub by: NodeName,
    /// How long after the press.
    pub at: Span,
    /// How long after the point that it follows: the nearest one before it that is known. Things that happen side by side follow the
    /// same point.
    pub took: Span,
    /// Whether both were read on one clock. Otherwise some clock is not known against the others, or is known wrongly: what came
    /// out negative is zero here.
    pub exact: bool,
}

/// The way of `event` as far as `trail` (of its first copy) and `receipts` tell, along the way.
#[must_use]
pub fn timeline(event: &Event, trail: &Trail, receipts: &[Receipt]) -> Vec<Lap> {
    let readings = read(stamps(event, trail, receipts));
    // The press is always told of: the event itself does.
    let Some(press) = readings.first() else { return Vec::new() };
    readings.iter().map(|reading| reading.lap(press, &readings)).collect()
}

/// How long after the press `receipt`, one of `receipts`, says that the event reached its stage; as [`Lap::at`].
#[must_use]
pub fn since_press(event: &Event, trail: &Trail, receipts: &[Receipt], receipt: &Receipt) -> Option<Span> {
    let point = Point::from(receipt.stage);
    timeline(event, trail, receipts)
        .into_iter()
        .find(|lap| lap.point == point && lap.by == receipt.by)
        .map(|lap| lap.at)
}

/// What a node says of when, by its own clock.
struct Stamp {
    point: Point,
    by: NodeName,
    at: WallTime,
    skew: Option<i64>,
}

fn stamps(event: &Event, trail: &Trail, receipts: &[Receipt]) -> Vec<Stamp> {
    let relay = NodeName::Relay(event.relay.clone());
    let mut stamps = vec![Stamp { point: Point::Raised, by: relay, at: event.raised_at, skew: None }];
    for step in trail.steps() {
        let told = match step.node.role() {
            Role::Relay => [None, step.left.map(|at| (Point::Sent, at))],
            Role::Broker => [Some((Point::Received, step.arrived)), step.left.map(|at| (Point::Left, at))],
            Role::Station => [Some((Point::Arrived, step.arrived)), None],
        };
        let stamp = |(point, at)| Stamp { point, by: step.node.clone(), at, skew: step.skew };
        stamps.extend(told.into_iter().flatten().map(stamp));
    }
    let of_event = receipts.iter().filter(|receipt| receipt.event == event.id);
    stamps.extend(of_event.map(|receipt| Stamp {
        point: receipt.stage.into(),
        by: receipt.by.clone(),
        at: receipt.at,
        skew: receipt.skew,
    }));
    stamps
}

/// A stamp read on the region's clock or, where its node's skew is not known, on the node's own.
struct Reading {
    point: Point,
    by: NodeName,
    /// Microseconds.
    at: i128,
    on_the_regions_clock: bool,
}

/// Reads the stamps: one of each point and node, the earliest, along the way.
fn read(stamps: Vec<Stamp>) -> Vec<Reading> {
    // A node that had not measured its skew when it said one thing, may have when it said another.
    let mut skews: BTreeMap<NodeName, i64> = BTreeMap::new();
    for stamp in &stamps {
        if let Some(skew) = stamp.skew {
            skews.entry(stamp.by.clone()).or_insert(skew);
        }
    }
    let mut readings: BTreeMap<(Point, NodeName), Reading> = BTreeMap::new();
    for Stamp { point, by, at, skew } in stamps {
        // Broker nodes keep each other's time: theirs is the region's.
        let own = (by.role() == Role::Broker).then_some(0);
        let skew = skew.or_else(|| skews.get(&by).copied()).or(own);
        let at = i128::from(at.0) - i128::from(skew.unwrap_or(0));
        let reading = Reading { point, by: by.clone(), at, on_the_regions_clock: skew.is_some() };
        let earliest = readings.entry((point, by)).or_insert(Reading { at, ..reading });
        earliest.at = earliest.at.min(at);
    }
    let mut readings: Vec<Reading> = readings.into_values().collect();
    readings.sort_by_key(|reading| (reading.point, reading.at));
    readings
}

impl Reading {
    fn lap(&self, press: &Reading, all: &[Reading]) -> Lap {
        let before = self.before(all).unwrap_or(press);
        let (at, took) = (self.at - press.at, self.at - before.at);
        // A record knows of its admission only when it was received: it tells that twice.
        let told_twice = self.point == Point::Stored && before.point == Point::Received && took == 0;
        Lap {
            point: self.point,
            by: self.by.clone(),
            at: span(at),
            took: span(took),
            exact: self.is_on_the_clock_of(press)
                && self.is_on_the_clock_of(before)
                && (0..=at).contains(&took)
                && !told_twice,
        }
    }

    /// The point that it follows.
    fn before<'a>(&self, all: &'a [Reading]) -> Option<&'a Reading> {
        self.point.follows().iter().find_map(|point| {
            let mut there = all.iter().filter(|other| other.point == *point);
            let found = match there.clone().find(|other| other.by == self.by) {
                None if point.is_at_a_station() => None,
                None => there.next(),
                here => here,
            };
            // By the clock of one node what is later did not come before: a screen may show what is not on disk yet.
            found.filter(|other| other.by != self.by || other.at <= self.at)
        })
    }

    fn is_on_the_clock_of(&self, other: &Reading) -> bool {
        self.by == other.by || (self.on_the_regions_clock && other.on_the_regions_clock)
    }
}

fn span(micros: i128) -> Span {
    Span::from_micros(u64::try_from(micros.max(0)).unwrap_or(u64::MAX))
}
