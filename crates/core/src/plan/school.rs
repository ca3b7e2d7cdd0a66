//! One school's plan (一校一方案): who answers for it, what stands where, and when what is expected of whom.
//!
//! Invariant: a [`School`] that is part of a [`Plan`](crate::plan::Plan) has been checked: its lists are bounded, its
//! codes stand once, and what it points at exists.

use std::fmt;
use std::str::FromStr;

use crate::id::{Name, SchoolId, StationId};
use crate::plan::area::AreaCode;
use crate::plan::hours::{Day, Hours, Weekdays, at_minute};
use crate::plan::person::PersonRules;
use crate::plan::times::Times;
use crate::plan::words::{Label, Phone};
use crate::time::WallTime;

/// A place on the earth, in millionths of a degree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    lat: i32,
    lon: i32,
}

/// Why numbers are no [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// Latitudes end at the poles.
    #[error("a latitude is from -90 to 90 degrees")]
    Latitude,
    /// Longitudes end opposite Greenwich.
    #[error("a longitude is from -180 to 180 degrees")]
    Longitude,
}

impl Position {
    /// Checks and takes millionths of a degree, north and east positive.
    ///
    /// # Errors
    /// [`PositionError`]
    pub fn from_micros(lat: i32, lon: i32) -> Result<Self, PositionError> {
        if !(-90_000_000..=90_000_000).contains(&lat) {
            return Err(PositionError::Latitude);
        }
        if !(-180_000_000..=180_000_000).contains(&lon) {
            return Err(PositionError::Longitude);
        }
        Ok(Self { lat, lon })
    }

    /// Millionths of a degree north of the equator.
    #[must_use]
    pub fn lat_micros(self) -> i32 {
        self.lat
    }

    /// Millionths of a degree east of Greenwich.
    #[must_use]
    pub fn lon_micros(self) -> i32 {
        self.lon
    }
}

/// The three lines of a school's defence (三道防线).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Line {
    /// 远端: the streets around it.
    Far,
    /// 门前: before its gate.
    Gate,
    /// 内部: inside.
    Inner,
}

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceKind {
    /// 一键报警器
    Button,
    /// 值守岗, whose absence is told
    GuardPost,
    /// 摄像机
    Camera,
    /// 音柱
    Speaker,
    /// 安检门
    SecurityGate,
}

macro_rules! worded {
    ($type:ty, $what:literal, [$($variant:ident = $word:literal),* $(,)?]) => {
        impl $type {
            /// All of them, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its word in files and answers.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = WordError;
            fn from_str(text: &str) -> Result<Self, WordError> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(WordError {
                        what: $what,
                        given: text.chars().take(32).collect(),
                        known: &[$($word),*],
                    }),
                }
            }
        }
    };
}

/// Why a word stands for nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}; there are {}", .known.join(", "))]
pub struct WordError {
    what: &'static str,
    given: String,
    known: &'static [&'static str],
}

worded!(Line, "line", [Far = "far", Gate = "gate", Inner = "inner"]);
worded!(
    DeviceKind,
    "kind of device",
    [
        Button = "button",
        GuardPost = "guard_post",
        Camera = "camera",
        Speaker = "speaker",
        SecurityGate = "security_gate",
    ]
);

/// A part of a school's grounds or of the streets around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// Its code, as events name it.
    pub id: Name,
    /// What people call it; empty if nobody said.
    pub name: Label,
    /// The line of defence that it belongs to.
    pub line: Line,
}

/// Where the picture of a camera is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Picture {
    /// From the video platform, by a code of GB/T 28181.
    Gb28181(GbCode),
    /// From the camera itself.
    Rtsp(RtspAddr),
}

/// Twenty digits of GB/T 28181.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GbCode(Label);

/// An address `rtsp://…` or `rtsps://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtspAddr(Label);

/// Why a text says no picture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// See the standard's appendix on codes.
    #[error("a GB/T 28181 code has twenty digits; {0:?} has not")]
    Gb28181(String),
    /// Only cameras' own protocol is known.
    #[error("a camera's address begins with rtsp:// or rtsps:// and names a host; {0:?} does not")]
    Rtsp(String),
}

impl GbCode {
    /// Checks and takes twenty digits.
    ///
    /// # Errors
    /// [`PictureError::Gb28181`]
    pub fn new(text: &str) -> Result<Self, PictureError> {
        let wrong = || PictureError::Gb28181(text.chars().take(32).collect());
        if text.len() != 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        Label::new(text).map(Self).map_err(|_| wrong())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl RtspAddr {
    /// Checks and takes an address.
    ///
    /// # Errors
    /// [`PictureError::Rtsp`]
    pub fn new(text: &str) -> Result<Self, PictureError> {
        let wrong = || PictureError::Rtsp(text.chars().take(64).collect());
        let rest = text.strip_prefix("rtsp://").or_else(|| text.strip_prefix("rtsps://")).ok_or_else(wrong)?;
        if rest.is_empty() || rest.starts_with('/') || !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong());
        }
        Label::new(text).map(Self).map_err(|_| wrong())
    }

    /// The address. It may hold a password: not for logs.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// A device of a school.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its code, as events name it.
    pub id: Name,
    /// What it is.
    pub kind: DeviceKind,
    /// Where it is, in words.
    pub place: Label,
    /// The zone in which it is.
    pub zone: Option<Name>,
    /// Where a camera's picture is fetched; cameras have one, nothing else has.
    pub picture: Option<Picture>,
}

/// Somebody of the school whom people call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub name: Label,
    /// What for: headmaster, head of security, …
    pub role: Label,
    /// The number.
    pub phone: Phone,
}

/// When the guard post must be manned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    /// On which days of the week.
    pub days: Weekdays,
    /// From when to when.
    pub hours: Hours,
    /// After how many seconds an empty post is told.
    pub absent_secs: u16,
}

/// A drill that was registered: in this window its presses are drills, and no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drill {
    /// On which day.
    pub day: Day,
    /// From when to when.
    pub hours: Hours,
}

impl Drill {
    /// When it begins and when it ends.
    #[must_use]
    pub fn window(&self) -> (WallTime, WallTime) {
        (at_minute(self.day, self.hours.from), at_minute(self.day, self.hours.to))
    }
}

/// A school and its plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct School {
    /// Its code.
    pub id: SchoolId,
    /// What people call it; empty if nobody said.
    pub name: Label,
    /// Where the post finds it; empty if nobody said.
    pub address: Label,
    /// Where a map shows it.
    pub position: Option<Position>,
    /// Its county; without one, its first station's counts.
    pub area: Option<AreaCode>,
    /// Whether nothing at the school shows or sounds an alarm.
    pub silent: bool,
    /// The stations that see its alarms, all at once; the first owns them.
    pub stations: Vec<StationId>,
    /// Stations nearby that come to help when it gets late.
    pub neighbours: Vec<StationId>,
    /// When its alarms escalate, where it says so itself.
    pub times: Times,
    /// After how many days without one a test is overdue.
    pub test_every_days: Option<u16>,
    /// Its zones.
    pub zones: Vec<Zone>,
    /// Its devices.
    pub devices: Vec<Device>,
    /// Its people.
    pub contacts: Vec<Contact>,
    /// When its guard post must be manned.
    pub duty: Vec<Duty>,
    /// Its registered drills.
    pub drills: Vec<Drill>,
    /// Of whom it tells, and how sure it must be.
    pub persons: PersonRules,
}

impl School {
    /// A school of which no more is known than who answers for it.
    #[must_use]
    pub fn bare(id: SchoolId, stations: Vec<StationId>) -> Self {
        Self {
            id,
            name: Label::default(),
            address: Label::default(),
            position: None,
            area: None,
            silent: false,
            stations,
            neighbours: Vec::new(),
            times: Times::default(),
            test_every_days: None,
            zones: Vec::new(),
            devices: Vec::new(),
            contacts: Vec::new(),
            duty: Vec::new(),
            drills: Vec::new(),
            persons: PersonRules::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_for_one_thing_each() {
        for kind in DeviceKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
        }
        let error = "lamp".parse::<Line>().unwrap_err().to_string();
        assert_eq!(error, "\"lamp\" is no line; there are far, gate, inner");
    }

    #[test]
    fn places_and_pictures_have_their_bounds() {
        assert!(Position::from_micros(28_454_863, 117_943_433).is_ok());
        assert_eq!(Position::from_micros(90_000_001, 0), Err(PositionError::Latitude));
        assert_eq!(Position::from_micros(0, -180_000_001), Err(PositionError::Longitude));
        assert!(GbCode::new("36110200111310000001").is_ok() && GbCode::new("3611020011131000000").is_err());
        assert!(RtspAddr::new("rtsp://10.1.2.3:554/main").is_ok());
        for wrong in ["http://10.1.2.3", "rtsp://", "rtsp:///x", "rtsp://a b"] {
            assert!(RtspAddr::new(wrong).is_err(), "{wrong}");
        }
    }
}
