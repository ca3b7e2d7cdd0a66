//! When an alarm goes further: the rungs of its two ladders, and how they are set. The first is climbed while nobody takes it, the second while
//! somebody has it and no one is sent, or has arrived.
//!
//! Invariant: each rung has a default and bounds, in whole seconds. What stands nearest to a school wins, rung by rung, and what comes of
//! that must rise, ladder by ladder.

use std::fmt;

use crate::plan::area::AreaCode;
use crate::time::Span;

/// One step of an alarm's ladders, counted from when the region has the alarm.
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
    /// An officer has it and nobody is sent: the county's desk is told to ask.
    DispatchNudge,
    /// Still nobody is sent: the county's desk owns it too.
    DispatchCounty,
    /// Still nobody is sent: the city's desk owns it too.
    DispatchCity,
    /// Nobody has arrived: the county's and the city's desks own it, and neighbours are told to help.
    Arrival,
}

impl Rung {
    /// All of them, as they follow one another.
    pub const ALL: [Rung; 8] = [
        Rung::Louder,
        Rung::County,
        Rung::City,
        Rung::Province,
        Rung::DispatchNudge,
        Rung::DispatchCounty,
        Rung::DispatchCity,
        Rung::Arrival,
    ];

    /// Those of an alarm that nobody takes.
    pub const UNTAKEN: [Rung; 4] = [Rung::Louder, Rung::County, Rung::City, Rung::Province];

    /// Those of an alarm that an officer has, until somebody is there.
    pub const TAKEN: [Rung; 4] = [Rung::DispatchNudge, Rung::DispatchCounty, Rung::DispatchCity, Rung::Arrival];

    /// Whether it is one of [`Rung::TAKEN`].
    #[must_use]
    pub fn is_of_taken(self) -> bool {
        self >= Rung::DispatchNudge
    }

    /// Its word in files and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Rung::Louder => "louder",
            Rung::County => "county",
            Rung::City => "city",
            Rung::Province => "province",
            Rung::DispatchNudge => "dispatch_nudge",
            Rung::DispatchCounty => "dispatch_county",
            Rung::DispatchCity => "dispatch_city",
            Rung::Arrival => "arrival",
        }
    }

    /// What holds where nobody says otherwise, in seconds.
    #[must_use]
    pub fn default_secs(self) -> u16 {
        match self {
            Rung::Louder => 15,
            Rung::County => 30,
            Rung::City | Rung::DispatchNudge => 60,
            Rung::Province | Rung::DispatchCounty => 120,
            Rung::DispatchCity => 180,
            // Ten minutes: a suburb. A town says 300, the country 1,200.
            Rung::Arrival => 600,
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
            Rung::DispatchNudge => (20, 300),
            Rung::DispatchCounty => (30, 600),
            Rung::DispatchCity => (60, 900),
            Rung::Arrival => (180, 1_800),
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
    /// See [`Rung::DispatchNudge`].
    pub dispatch_nudge: Option<u16>,
    /// See [`Rung::DispatchCounty`].
    pub dispatch_county: Option<u16>,
    /// See [`Rung::DispatchCity`].
    pub dispatch_city: Option<u16>,
    /// See [`Rung::Arrival`].
    pub arrival: Option<u16>,
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
            Rung::DispatchNudge => self.dispatch_nudge,
            Rung::DispatchCounty => self.dispatch_county,
            Rung::DispatchCity => self.dispatch_city,
            Rung::Arrival => self.arrival,
        }
    }

    /// Where it is written.
    pub fn slot(&mut self, rung: Rung) -> &mut Option<u16> {
        match rung {
            Rung::Louder => &mut self.louder,
            Rung::County => &mut self.county,
            Rung::City => &mut self.city,
            Rung::Province => &mut self.province,
            Rung::DispatchNudge => &mut self.dispatch_nudge,
            Rung::DispatchCounty => &mut self.dispatch_county,
            Rung::DispatchCity => &mut self.dispatch_city,
            Rung::Arrival => &mut self.arrival,
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
