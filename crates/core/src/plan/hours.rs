//! Hours of the week and days of the calendar, as clocks on Chinese walls show them.
//!
//! Invariant: China has one time zone and no summer time, so eight hours are added to UTC and no table of zones is needed.

use std::fmt;
use std::str::FromStr;

use crate::time::WallTime;

/// Seconds that China is ahead of UTC.
const CHINA_SECS: i64 = 8 * 3_600;
const DAY_SECS: i64 = 86_400;

/// A minute of the day, 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Minute(u16);

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weekday {
    /// 周一
    Mon,
    /// 周二
    Tue,
    /// 周三
    Wed,
    /// 周四
    Thu,
    /// 周五
    Fri,
    /// 周六
    Sat,
    /// 周日
    Sun,
}

/// A set of weekdays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weekdays(u8);

/// A day of the calendar, counted from 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

/// A part of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    /// Its first minute.
    pub from: Minute,
    /// The minute behind its last.
    pub to: Minute,
}

/// Why something is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// Write it with two digits each.
    #[error("{0:?} is no time of the day: write 07:30, at most 24:00")]
    Minute(String),
    /// See [`Weekday::ALL`].
    #[error("{0:?} is no weekday: write mon, tue, wed, thu, fri, sat or sun")]
    Weekday(String),
    /// Beyond what a plan is made for, or a day that no month has.
    #[error("{0:?} is no day: write 2026-12-01, from 2000 to 2199")]
    Day(String),
}

fn cut(text: &str) -> String {
    text.chars().take(16).collect()
}

impl Minute {
    /// Checks and takes minutes since midnight.
    ///
    /// # Errors
    /// [`HoursError::Minute`]
    pub fn new(minutes: u16) -> Result<Self, HoursError> {
        if minutes <= 24 * 60 { Ok(Self(minutes)) } else { Err(HoursError::Minute(format!("minute {minutes}"))) }
    }

    /// Minutes since midnight.
    #[must_use]
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for Minute {
    type Err = HoursError;
    fn from_str(text: &str) -> Result<Self, HoursError> {
        let wrong = || HoursError::Minute(cut(text));
        let two = |part: &str| match part.len() {
            2 if part.bytes().all(|byte| byte.is_ascii_digit()) => part.parse::<u16>().ok(),
            _ => None,
        };
        let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
        let (hours, minutes) = (two(hours).ok_or_else(wrong)?, two(minutes).ok_or_else(wrong)?);
        if minutes >= 60 || hours * 60 + minutes > 24 * 60 { Err(wrong()) } else { Ok(Self(hours * 60 + minutes)) }
    }
}

impl fmt::Display for Minute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl Weekday {
    /// All of them, as they follow one another.
    pub const ALL: [Weekday; 7] =
        [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

    /// Its word in files and answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Weekday::Mon => "mon",
            Weekday::Tue => "tue",
            Weekday::Wed => "wed",
            Weekday::Thu => "thu",
            Weekday::Fri => "fri",
            Weekday::Sat => "sat",
            Weekday::Sun => "sun",
        }
    }
}

impl FromStr for Weekday {
    type Err = HoursError;
    fn from_str(text: &str) -> Result<Self, HoursError> {
        let found = Weekday::ALL.into_iter().find(|day| day.as_str() == text);
        found.ok_or_else(|| HoursError::Weekday(cut(text)))
    }
}

impl Weekdays {
    /// The set whose bits these are: Monday is the lowest of seven. `None` if there are others.
    #[must_use]
    pub fn from_bits(bits: u8) -> Option<Self> {
        (bits < 1 << 7).then_some(Self(bits))
    }

    /// Its bits, see [`Weekdays::from_bits`].
    #[must_use]
    pub fn bits(self) -> u8 {
        self.0
    }

    /// Adds a day.
    pub fn insert(&mut self, day: Weekday) {
        self.0 |= 1 << day as u8;
    }

    /// Whether it holds a day.
    #[must_use]
    pub fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day as u8) != 0
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Its days in order.
    pub fn iter(self) -> impl Iterator<Item = Weekday> {
        Weekday::ALL.into_iter().filter(move |day| self.contains(*day))
    }
}

impl Day {
    /// The day of that date. Hinnant's `days_from_civil`, which is public domain.
    ///
    /// # Errors
    /// [`HoursError::Day`]
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self, HoursError> {
        let date = || format!("{year:04}-{month:02}-{day:02}");
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let last = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => 0,
        };
        if !(2_000..2_200).contains(&year) || day == 0 || day > last {
            return Err(HoursError::Day(date()));
        }
        let (month, day) = (i32::from(month), i32::from(day));
        let year = i32::from(year) - i32::from(month <= 2);
        let (era, of_era) = (year / 400, year % 400);
        let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
        Ok(Self(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468))
    }

    /// The day that is so many after 1970-01-01.
    ///
    /// # Errors
    /// [`HoursError::Day`]
    pub fn from_number(number: i32) -> Result<Self, HoursError> {
        // 2000-01-01 and 2200-01-01.
        if (10_957..84_006).contains(&number) {
            Ok(Self(number))
        } else {
            Err(HoursError::Day(format!("day {number}")))
        }
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Year, month and day. Hinnant's `civil_from_days`.
    fn date(self) -> (i32, i32, i32) {
        let shifted = self.0 + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let shifted_month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        (year + era * 400 + i32::from(month <= 2), month, day)
    }
}

impl FromStr for Day {
    type Err = HoursError;
    fn from_str(text: &str) -> Result<Self, HoursError> {
        let wrong = || HoursError::Day(cut(text));
        let parts: Vec<&str> = text.split('-').collect();
        match parts[..] {
            [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2 => {
                let number = |part: &str| part.parse::<u16>().map_err(|_| wrong());
                let small = |part: &str| part.parse::<u8>().map_err(|_| wrong());
                Day::new(number(year)?, small(month)?, small(day)?)
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

impl Hours {
    /// Whether it has at least one minute.
    #[must_use]
    pub fn is_whole(self) -> bool {
        self.from < self.to
    }

    /// How long it is, in minutes.
    #[must_use]
    pub fn minutes(self) -> u16 {
        self.to.0.saturating_sub(self.from.0)
    }

    /// Whether a minute is in it.
    #[must_use]
    pub fn contains(self, minute: Minute) -> bool {
        self.from <= minute && minute < self.to
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{}", self.from, self.to)
    }
}

/// The instant at which clocks on Chinese walls show that minute of that day.
#[must_use]
pub fn at_minute(day: Day, minute: Minute) -> WallTime {
    let seconds = i64::from(day.0) * DAY_SECS + i64::from(minute.0) * 60 - CHINA_SECS;
    WallTime(seconds * 1_000_000)
}

/// What a clock on a Chinese wall and the calendar beside it show.
#[must_use]
pub fn on_the_wall(at: WallTime) -> (i64, Weekday, Minute) {
    let seconds = at.0.div_euclid(1_000_000).saturating_add(CHINA_SECS);
    let (day, of_day) = (seconds.div_euclid(DAY_SECS), seconds.rem_euclid(DAY_SECS));
    // 1970-01-01 was a Thursday.
    let weekday = usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0);
    let minute = u16::try_from(of_day / 60).unwrap_or(0);
    (day, Weekday::ALL[weekday], Minute(minute))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (text, number) in
            [("2000-01-01", 10_957), ("2026-11-30", 20_787), ("2024-02-29", 19_782), ("2199-12-31", 84_005)]
        {
            let day: Day = text.parse().unwrap();
            assert_eq!((day.number(), day.to_string().as_str()), (number, text));
            assert_eq!(Day::from_number(number), Ok(day));
        }
        for wrong in
            ["2026-02-29", "2026-13-01", "1999-12-31", "2200-01-01", "2026-1-1", "2026-00-10", "2026-01-00", "soon"]
        {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
        for number in 10_957..84_006 {
            let day = Day::from_number(number).unwrap();
            assert_eq!(day.to_string().parse(), Ok(day), "{number}");
        }
    }

    #[test]
    fn walls_in_china_are_eight_hours_ahead() {
        // 2026-11-29T23:30:00Z is a Monday morning there.
        let at = WallTime(1_795_995_000_000_000);
        let (day, weekday, minute) = on_the_wall(at);
        assert_eq!((day, weekday, minute.to_string().as_str()), (20_787, Weekday::Mon, "07:30"));
        assert_eq!(on_the_wall(WallTime(-1)).1, Weekday::Thu);
        assert_eq!(at_minute(Day(20_787), Minute(450)), at);
    }

    #[test]
    fn times_of_the_day() {
        assert_eq!("24:00".parse::<Minute>().unwrap().number(), 1_440);
        for wrong in ["24:01", "7:30", "07:60", "0730", "", "07:3a"] {
            assert!(wrong.parse::<Minute>().is_err(), "{wrong}");
        }
        let mut days = Weekdays::default();
        days.insert(Weekday::Sun);
        days.insert(Weekday::Mon);
        assert_eq!(days.iter().collect::<Vec<_>>(), [Weekday::Mon, Weekday::Sun]);
        assert_eq!((Weekdays::from_bits(days.bits()), Weekdays::from_bits(128)), (Some(days), None));
    }
}
