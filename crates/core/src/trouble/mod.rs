//! What a region finds out by itself and raises as an event: a school that fell silent, a station that nobody watches, an outage, numbers of a
//! relay that never came, a store that came back shorter, a test that is overdue.
//!
//! ```text
//!  Supervisor, Numbers (each node sees the same) ─► Raiser at the leader ─► Command::TroubleBegan, TroubleOver ─► record ─► screens
//! ```
//!
//! A trouble is known by what it is [`About`]. The record has at most one open trouble about each thing, whoever proposes it and however often; so it
//! is raised once, whichever node leads, and a new leader goes on where the former one was. When it is over the record says so in the same step
//! in which it closes the case of its event, so that nobody has to close five hundred of them by hand.
//!
//! # Whom such an event names
//!
//! An event names a relay, as a school and a device. One about a school names that school and its relay, or `school` where it is about no relay. One about a station has the station's code
//! in the place of the school's and `station` in that of the relay's; one about an area has the area's six digits and `area`, one about all of a
//! region the region's name and `region`. Its kind says which ([`Subject`]), and no relay may raise such a kind. Its epoch and number are 0, which no
//! relay's are.
//!
//! Invariant: an open trouble's event stays in the record while there is room, and there is at most one open trouble about one thing.

mod calendar;
mod due;
mod numbers;

use std::collections::BTreeMap;
use std::fmt;

use crate::event::{Class, Event, Kind};
use crate::id::{EventId, Name, RelayId, SchoolId, StationId};
use crate::plan::AreaCode;
use crate::time::WallTime;

pub use calendar::silence_class;
pub use due::{AGAIN_AFTER, Change, Raiser, Seen, Told};
pub use numbers::{Gap, Numbers};

/// How far an outage reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// A county, or a city or a province whose schools are in no county.
    Area(AreaCode),
    /// The whole region: schools that the plan puts into no area, or many in as many counties.
    Region,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Area(code) => code.fmt(f),
            Scope::Region => f.write_str("region"),
        }
    }
}

/// What a trouble is about: its identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// A relay that no node hears.
    Silent(RelayId),
    /// A station that nobody watches.
    Unwatched(StationId),
    /// Many relays that fell silent together.
    Outage(Scope),
    /// Numbers of a relay's events that did not come.
    Gap(RelayId),
    /// A relay whose store came back with less than it had.
    StoreLoss(RelayId),
    /// A school whose equipment nobody has tested for longer than the plan allows.
    Untested(SchoolId),
}

impl About {
    /// The kind of the event with which it begins.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            About::Silent(_) => Kind::Silent,
            About::Unwatched(_) => Kind::Unwatched,
            About::Outage(_) => Kind::Outage,
            About::Gap(_) => Kind::Gap,
            About::StoreLoss(_) => Kind::StoreLoss,
            About::Untested(_) => Kind::Untested,
        }
    }

    /// Whether a trouble begins with an event of this kind.
    #[must_use]
    pub fn begins_with(kind: &Kind) -> bool {
        matches!(kind, Kind::Silent | Kind::Unwatched | Kind::Outage | Kind::Gap | Kind::StoreLoss | Kind::Untested)
    }

    /// The kind of the event that says that it is over; `None` where no event does, only the receipt of the first one.
    #[must_use]
    pub fn over_kind(&self) -> Option<Kind> {
        match self {
            About::Silent(_) => Some(Kind::Back),
            About::Unwatched(_) => Some(Kind::Watched),
            About::Outage(_) => Some(Kind::OutageOver),
            About::Gap(_) | About::StoreLoss(_) | About::Untested(_) => None,
        }
    }

    /// Whether an event may say that it begins.
    #[must_use]
    pub fn fits(&self, event: &Event) -> bool {
        event.kind == self.kind() && event.is_of_region()
    }

    /// What is noted at its event when it is over: Chinese first.
    #[must_use]
    pub fn over_words(&self) -> &'static str {
        match self {
            About::Silent(_) => "学校已恢复，自动解除  the school is back: cleared by the region",
            About::Unwatched(_) => "已有人值守，自动解除  it is watched again: cleared by the region",
            About::Outage(_) => "断联已恢复，自动解除  the outage is over: cleared by the region",
            About::Gap(_) => "缺号已补齐或已过期，自动解除  the numbers came, or are given up: cleared by the region",
            About::Untested(_) => "已测试或不再要求，自动解除  it was tested, or need not be: cleared by the region",
            About::StoreLoss(_) => "已通报，自动解除  it has been told: cleared by the region",
        }
    }

    /// Its parts as words: what kind of thing, and its one or two names.
    #[must_use]
    pub fn parts(&self) -> (&'static str, String, String) {
        let relay = |relay: &RelayId| (relay.school.to_string(), relay.device.to_string());
        match self {
            About::Silent(id) => ("silent", relay(id).0, relay(id).1),
            About::Unwatched(station) => ("unwatched", station.to_string(), String::new()),
            About::Outage(scope) => ("outage", scope.to_string(), String::new()),
            About::Gap(id) => ("gap", relay(id).0, relay(id).1),
            About::StoreLoss(id) => ("store_loss", relay(id).0, relay(id).1),
            About::Untested(school) => ("untested", school.to_string(), String::new()),
        }
    }

    /// What these parts, as [`About::parts`] gives them, are.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn from_parts(what: &str, first: &str, second: &str) -> Result<Self, String> {
        let name = |text: &str| Name::new(text).map_err(|why| why.to_string());
        let relay = || Ok::<_, String>(RelayId { school: SchoolId(name(first)?), device: name(second)? });
        match what {
            "silent" => relay().map(About::Silent),
            "gap" => relay().map(About::Gap),
            "store_loss" => relay().map(About::StoreLoss),
            "untested" => Ok(About::Untested(SchoolId(name(first)?))),
            "unwatched" => Ok(About::Unwatched(StationId(name(first)?))),
            "outage" if first == "region" => Ok(About::Outage(Scope::Region)),
            "outage" => first
                .parse()
                .map(|code| About::Outage(Scope::Area(code)))
                .map_err(|why: crate::plan::AreaCodeError| why.to_string()),
            _ => Err(format!("{what:?} is no trouble that this version knows")),
        }
    }
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, first, second) = self.parts();
        if second.is_empty() { write!(f, "{what}/{first}") } else { write!(f, "{what}/{first}/{second}") }
    }
}

/// What kind of thing an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A school, by one of its relays.
    School,
    /// A station, whose code stands in the place of the school's.
    Station,
    /// An area of the plan, whose code stands there.
    Area,
    /// The region, whose name stands there.
    Region,
}

impl Subject {
    /// Its word in APIs, and in the place of the relay's name where it is no school.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Subject::School => "school",
            Subject::Station => "station",
            Subject::Area => "area",
            Subject::Region => "region",
        }
    }

    /// What it is called on a screen: Chinese, English.
    #[must_use]
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Subject::School => ("学校", "school"),
            Subject::Station => ("派出所", "station"),
            Subject::Area => ("区域", "area"),
            Subject::Region => ("大区", "region"),
        }
    }
}

impl Event {
    /// Whether its kind says that the region raised it, not a relay.
    #[must_use]
    pub fn is_of_region(&self) -> bool {
        self.kind.is_of_region() || (self.kind == Kind::StoreLoss && self.seq == 0)
    }

    /// What kind of thing it is about.
    #[must_use]
    pub fn subject(&self) -> Subject {
        match self.kind {
            Kind::Unwatched | Kind::Watched => Subject::Station,
            Kind::Outage | Kind::OutageOver if self.relay.device.as_str() == Subject::Area.as_str() => Subject::Area,
            Kind::Outage | Kind::OutageOver => Subject::Region,
            _ => Subject::School,
        }
    }
}

/// That an event of the record says that a trouble began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What it is about.
    pub about: About,
    /// When it was over, by the clock of the node that found so; `None` while it is not.
    pub over: Option<WallTime>,
}

/// A trouble that is not over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Its events, oldest first: a second one of a higher class where it has become more urgent.
    pub events: Vec<EventId>,
    /// The highest class of them.
    pub class: Class,
    /// When it began, by what its first event says.
    pub since: WallTime,
    /// Who was told of it.
    pub stations: Vec<StationId>,
}

/// The troubles that are not over.
pub type Troubles = BTreeMap<About, Open>;

#[cfg(test)]
mod tests;
