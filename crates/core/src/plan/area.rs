//! Areas by the codes of GB/T 2260, and the police stations in them.
//!
//! Invariant: an [`AreaCode`] has six digits and says its level and its parent by itself, so that no tree can be drawn wrongly.

use std::fmt;
use std::str::FromStr;

use crate::id::{Name, StationId};
use crate::plan::hours::{Day, Hours, Weekdays};
use crate::plan::times::Times;
use crate::plan::words::{Label, Phone};

/// Six digits of GB/T 2260: two for the province, two for the city, two for the county.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AreaCode(u32);

/// How large an area is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AreaLevel {
    /// 省: the last four digits are zeros.
    Province,
    /// 市: the last two are.
    City,
    /// 县 or 区.
    County,
}

/// Why something is no [`AreaCode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no area code: six digits of GB/T 2260 such as 361102, the first of which is no zero")]
pub struct AreaCodeError(String);

impl AreaCode {
    /// Checks and takes a number of six digits.
    ///
    /// # Errors
    /// [`AreaCodeError`]
    pub fn new(code: u32) -> Result<Self, AreaCodeError> {
        if (110_000..=829_999).contains(&code) { Ok(Self(code)) } else { Err(AreaCodeError(code.to_string())) }
    }

    /// The six digits as a number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// How large it is.
    #[must_use]
    pub fn level(self) -> AreaLevel {
        match (self.0 % 10_000, self.0 % 100) {
            (0, _) => AreaLevel::Province,
            (_, 0) => AreaLevel::City,
            _ => AreaLevel::County,
        }
    }

    /// The area around it; `None` for a province.
    #[must_use]
    pub fn parent(self) -> Option<Self> {
        match self.level() {
            AreaLevel::Province => None,
            AreaLevel::City => Some(Self(self.0 - self.0 % 10_000)),
            AreaLevel::County => Some(Self(self.0 - self.0 % 100)),
        }
    }

    /// Itself and what is around it, from the inside out.
    pub fn upwards(self) -> impl Iterator<Item = Self> {
        std::iter::successors(Some(self), |code| code.parent())
    }
}

impl fmt::Display for AreaCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

impl FromStr for AreaCode {
    type Err = AreaCodeError;
    fn from_str(text: &str) -> Result<Self, AreaCodeError> {
        let wrong = || AreaCodeError(text.chars().take(16).collect());
        if text.len() != 6 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        text.parse().ok().and_then(|code| Self::new(code).ok()).ok_or_else(wrong)
    }
}

/// A province, a city or a county.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// Its code.
    pub code: AreaCode,
    /// What people call it; empty if nobody said.
    pub name: Label,
    /// The station whose seats are its duty desk: 县局, 市局 or 省厅.
    pub desk: Option<StationId>,
    /// When alarms of its schools escalate, where nothing nearer to a school says so.
    pub times: Times,
    /// When its schools are taught, where nothing nearer says so; where nobody does, Monday to Friday from 07:00 to 18:00.
    pub school_hours: Vec<SchoolHours>,
    /// Days on which they are not, beside those that areas around it name.
    pub holidays: Vec<Holiday>,
}

/// When schools are taught: on these days of the week, in these hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchoolHours {
    /// On which days of the week.
    pub days: Weekdays,
    /// From when to when.
    pub hours: Hours,
}

/// Days on which no school is taught, the first and the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holiday {
    /// The first.
    pub from: Day,
    /// The last.
    pub to: Day,
}

/// A police station, or a duty desk, as the plan knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Its code.
    pub id: StationId,
    /// What people call it; empty if nobody said.
    pub name: Label,
    /// Where it is: its county, or the city or province whose desk it is.
    pub area: Option<AreaCode>,
    /// By which people reach it; empty if nobody said.
    pub phone: Phone,
}

/// Who watches for a region, that is for those of its schools that the plan does not name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// The region, as its brokers' certificates call it.
    pub region: Name,
    /// The stations, in the order of responsibility.
    pub stations: Vec<StationId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digits_say_where_an_area_belongs() {
        let code = |text: &str| text.parse::<AreaCode>().unwrap();
        assert_eq!(
            code("361102").upwards().map(|code| code.to_string()).collect::<Vec<_>>(),
            ["361102", "361100", "360000"]
        );
        assert_eq!(
            ["360000", "361100", "361102"].map(|text| code(text).level()),
            [AreaLevel::Province, AreaLevel::City, AreaLevel::County]
        );
        for wrong in ["", "36110", "3611020", "36110a", "060000", "999999", "３６１１０２", "+61102"] {
            assert!(wrong.parse::<AreaCode>().is_err(), "{wrong}");
        }
    }
}
