//! When an alarm that nobody takes goes further: the rungs of its ladder, and how they are set.
//!
//! Invariant: each rung has a default and bounds, in whole seconds. What stands nearest to a school wins, rung by rung, and what comes of
//! that must rise.

use std::fmt;

use crate::plan::area::AreaCode;
use crate::time::Span;

/// One step of an alarm's ladder, counted from when the region has the alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rung {
    /// The station rings louder.
    Louder,
    /// The county's desk owns it too.
    County,
    /// The city's desk does, and the neighbours are told.
    City,
    /// The province's desk does.
    Province,
}

impl Rung {
    /// All of them, as they follow one another.
    pub const ALL: [Rung; 4] = [Rung::Louder, Rung::County, Rung::City, Rung::Province];

    /// Its word in files and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Louder => "louder",
            Rung::County => "county",
            Rung::City => "city",
            Rung::Province => "province",
        }
    }

    /// What holds where nobody says otherwise, in seconds.
    #[must_use]
    pub fn default_secs(self) -> u16 {
        match self {
            Rung::Louder => 15,
            Rung::County => 30,
            Rung::City => 60,
            Rung::Province => 120,
        }
    }

    /// The least and the most that may be set, in seconds. An alarm must not wait for a quarter of an hour anywhere, and a desk must have
    /// the time to lift a receiver.
    #[must_use]
    pub fn bounds_secs(self) -> (u16, u16) {
        match self {
            Rung::Louder => (5, 60),
            Rung::County => (10, 180),
            Rung::City => (20, 300),
            Rung::Province => (30, 600),
        }
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What one level says of the rungs, in seconds; `None` where it leaves one to those above it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Times {
    /// See [`Rung::Louder`].
    pub louder: Option<u16>,
    /// See [`Rung::County`].
    pub county: Option<u16>,
    /// See [`Rung::City`].
    pub city: Option<u16>,
    /// See [`Rung::Province`].
    pub province: Option<u16>,
}

impl Times {
    /// What it says of a rung.
    #[must_use]
    pub fn get(&self, rung: Rung) -> Option<u16> {
        match rung {
            Rung::Louder => self.louder,
            Rung::County => self.county,
            Rung::City => self.city,
            Rung::Province => self.province,
        }
    }

    /// Where it is written.
    pub fn slot(&mut self, rung: Rung) -> &mut Option<u16> {
        match rung {
            Rung::Louder => &mut self.louder,
            Rung::County => &mut self.county,
            Rung::City => &mut self.city,
            Rung::Province => &mut self.province,
        }
    }
}

/// Where the time of a rung comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeFrom {
    /// Nobody set one.
    Default,
    /// An area around the school.
    Area(AreaCode),
    /// The school itself.
    School,
}

/// The time of a rung, and who set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RungTime {
    /// The rung.
    pub rung: Rung,
    /// After how long.
    pub after: Span,
    /// Who set it.
    pub from: TimeFrom,
}
