//! Why something is no plan.

use std::fmt;

use crate::id::{Name, SchoolId, StationId};
use crate::limits;
use crate::plan::area::AreaCode;
use crate::plan::hours::{Day, Hours};
use crate::plan::school::DeviceKind;
use crate::plan::times::Rung;
use crate::plan::words::Label;

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Subject {
    /// An area.
    Area(AreaCode),
    /// A station.
    Station(StationId),
    /// One school.
    School(SchoolId),
    /// All schools of a region that have no rule of their own.
    Region(Name),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Area(area) => write!(f, "area {area}"),
            Subject::Station(station) => write!(f, "station {station}"),
            Subject::School(school) => write!(f, "school {school}"),
            Subject::Region(region) => write!(f, "region {region}"),
        }
    }
}

/// Why rules are no plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Each is named once.
    #[error("{0} stands in the plan twice")]
    Twice(Subject),
    /// What is not there cannot be removed.
    #[error("{0} is not in the plan, so it cannot be removed")]
    Absent(Subject),
    /// An alarm from there would reach nobody.
    #[error("{0} has no station: give it at least one")]
    NoStation(Subject),
    /// Leave the rest to those stations; what stands in the record with every alarm has a bound.
    #[error("{of} has {count} stations; at most {limit} are taken", limit = limits::STATIONS_PER_SCHOOL)]
    TooManyStations {
        /// The school or region.
        of: Subject,
        /// How many it was given.
        count: usize,
    },
    /// Name each station once.
    #[error("{of} names station {station} twice")]
    StationTwice {
        /// The school or region.
        of: Subject,
        /// The station.
        station: StationId,
    },
    /// A plan that lists stations lists all of them, so that a slip of the pen is seen.
    #[error("{of} names station {station}, which the plan does not list")]
    UnknownStation {
        /// Who names it.
        of: Subject,
        /// The station.
        station: StationId,
    },
    /// An area is reached from the one around it.
    #[error("area {0} needs area {1} around it, which the plan does not list")]
    NoParent(AreaCode, AreaCode),
    /// List it, or leave it out there.
    #[error("{of} is in area {area}, which the plan does not list")]
    UnknownArea {
        /// Who is there.
        of: Subject,
        /// The area.
        area: AreaCode,
    },
    /// Whoever answers first comes anyway.
    #[error("{of} has station {station} for a neighbour, and among its own stations")]
    OwnNeighbour {
        /// The school.
        of: Subject,
        /// The station.
        station: StationId,
    },
    /// Split it, or leave some out.
    #[error("{of} has {count} {what}; at most {limit} are taken")]
    TooMany {
        /// Whose.
        of: Subject,
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
    /// Events name zones and devices by their codes.
    #[error("{of} has two {what} with the id {id}")]
    IdTwice {
        /// Whose.
        of: Subject,
        /// Of what.
        what: &'static str,
        /// The code.
        id: Name,
    },
    /// List it, or leave it out there.
    #[error("{of} has device {device} in zone {zone}, which it does not list")]
    UnknownZone {
        /// The school.
        of: Subject,
        /// The device.
        device: Name,
        /// The zone.
        zone: Name,
    },
    /// A camera without one shows nothing.
    #[error("{of} has camera {device} without gb28181 or rtsp")]
    NoPicture {
        /// The school.
        of: Subject,
        /// The camera.
        device: Name,
    },
    /// Only cameras have one.
    #[error("{of} has a picture for {device}, which is a {kind} and no camera")]
    StrayPicture {
        /// The school.
        of: Subject,
        /// The device.
        device: Name,
        /// What it is.
        kind: DeviceKind,
    },
    /// See [`Rung::bounds_secs`].
    #[error("{of} escalates to {rung} after {secs} s; it is from {} to {} s", .rung.bounds_secs().0, .rung.bounds_secs().1)]
    OutOfBounds {
        /// The school or area.
        of: Subject,
        /// Which step.
        rung: Rung,
        /// Its time.
        secs: u16,
    },
    /// Who stands higher is told later.
    #[error(
        "{of} escalates to {lower} after {lower_secs} s and to {higher} after {higher_secs} s; the second must be later"
    )]
    NotRising {
        /// The school or area.
        of: Subject,
        /// The earlier step.
        lower: Rung,
        /// Its time.
        lower_secs: u16,
        /// The later step.
        higher: Rung,
        /// Its time.
        higher_secs: u16,
    },
    /// From before to.
    #[error("{of} has {what} at {hours}: it must end after it begins, on the same day")]
    NoHours {
        /// The school.
        of: Subject,
        /// Of what.
        what: &'static str,
        /// The hours.
        hours: Hours,
    },
    /// A drill that lasts hides a real alarm.
    #[error("{of} has a drill of {minutes} min; at most {limit} are taken", limit = limits::PLAN_DRILL_MINUTES)]
    LongDrill {
        /// The school.
        of: Subject,
        /// How long it is.
        minutes: u16,
    },
    /// From the first day to the last.
    #[error("{of} has a holiday from {from} to {to}: it must not end before it begins")]
    Backwards {
        /// The area.
        of: Subject,
        /// The first day.
        from: Day,
        /// The last day.
        to: Day,
    },
    /// A post that is manned on no day, or a school that is taught on none, needs no hours.
    #[error("{of} has {what} hours on no day of the week")]
    NoDays {
        /// The school or the area.
        of: Subject,
        /// Of what.
        what: &'static str,
    },
    /// Shorter would cry wolf, longer would not tell.
    #[error("{of} tells of an empty post after {secs} s; it is from {} to {} s", limits::PLAN_ABSENT_SECS.0, limits::PLAN_ABSENT_SECS.1)]
    Absence {
        /// The school.
        of: Subject,
        /// How long.
        secs: u16,
    },
    /// A share of one.
    #[error("{of} has a threshold of {permille} thousandths for person list {list}; it is at most 1000")]
    Threshold {
        /// The school.
        of: Subject,
        /// The list.
        list: Name,
        /// The threshold.
        permille: u16,
    },
    /// Name each once, by something that is there.
    #[error("{of} mutes person {:?}: name each once, in 1 to {} bytes", .person.as_str(), limits::NAME_BYTES)]
    Muted {
        /// The school.
        of: Subject,
        /// Who.
        person: Label,
    },
    /// What is not tested does not work.
    #[error("{of} is tested every {days} days; it is from 1 to {limit}", limit = limits::PLAN_TEST_DAYS)]
    TestPeriod {
        /// The school.
        of: Subject,
        /// How many.
        days: u16,
    },
    /// Whoever shows it must be told which.
    #[error("{of} has a {what} without {missing}")]
    Missing {
        /// Whose.
        of: Subject,
        /// Of what.
        what: &'static str,
        /// What is not there.
        missing: &'static str,
    },
    /// The plan of a province has a bound.
    #[error("the plan has {count} {what}; at most {limit} are taken")]
    Full {
        /// Of what.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many are taken.
        limit: usize,
    },
}

impl PlanError {
    /// Whether it is about what stands elsewhere in the plan, so that it may be right once that is.
    #[must_use]
    pub fn is_about_others(&self) -> bool {
        matches!(
            self,
            PlanError::UnknownStation { .. }
                | PlanError::NoParent(..)
                | PlanError::UnknownArea { .. }
                | PlanError::NotRising { .. }
        )
    }

    /// What it is about; `None` for what is about the plan as a whole.
    #[must_use]
    pub fn of(&self) -> Option<Subject> {
        match self {
            PlanError::Twice(of) | PlanError::Absent(of) | PlanError::NoStation(of) => Some(of.clone()),
            PlanError::NoParent(area, _) => Some(Subject::Area(*area)),
            PlanError::Full { .. } => None,
            PlanError::TooManyStations { of, .. }
            | PlanError::StationTwice { of, .. }
            | PlanError::UnknownStation { of, .. }
            | PlanError::UnknownArea { of, .. }
            | PlanError::OwnNeighbour { of, .. }
            | PlanError::TooMany { of, .. }
            | PlanError::IdTwice { of, .. }
            | PlanError::UnknownZone { of, .. }
            | PlanError::NoPicture { of, .. }
            | PlanError::StrayPicture { of, .. }
            | PlanError::OutOfBounds { of, .. }
            | PlanError::NotRising { of, .. }
            | PlanError::NoHours { of, .. }
            | PlanError::LongDrill { of, .. }
            | PlanError::Backwards { of, .. }
            | PlanError::NoDays { of, .. }
            | PlanError::Absence { of, .. }
            | PlanError::TestPeriod { of, .. }
            | PlanError::Threshold { of, .. }
            | PlanError::Muted { of, .. }
            | PlanError::Missing { of, .. } => Some(of.clone()),
        }
    }
}
