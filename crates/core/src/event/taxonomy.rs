//! What each kind of event is: its lane, what it must say, how long it is kept, who is to answer it, and what other systems call it.
//!
//! One table, from which commands and documentation are made, and by which a relay checks what it raises. A node that only carries an event
//! does not check it: a newer relay may say more.
//!
//! Sources: retention and answers by the taxonomy of the project's domain; event codes of SIA DC-05 (Contact ID); methods and types of alarm
//! (m, t) of GB/T 28181.
//!
//! Invariant: each kind of [`Kind::ALL`] has exactly one line.

use crate::event::{Class, Details, Kind};

/// What a detail's text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Any text.
    Text,
    /// A name: letters, digits, dot, dash and underscore.
    Name,
    /// A share, 0.0 to 1.0, with at most three digits behind the point.
    Share,
    /// A whole number.
    Number,
    /// A time of RFC 3339.
    Time,
    /// One of these words.
    Word(&'static [&'static str]),
}

impl Form {
    /// What it is called in tables and messages.
    #[must_use]
    pub fn words(self) -> String {
        match self {
            Form::Text => "text".to_owned(),
            Form::Name => "name".to_owned(),
            Form::Share => "0.0 to 1.0".to_owned(),
            Form::Number => "whole number".to_owned(),
            Form::Time => "time (RFC 3339)".to_owned(),
            Form::Word(words) => words.join(" or "),
        }
    }

    fn admits(self, text: &str) -> bool {
        match self {
            Form::Text => true,
            Form::Name => crate::id::Name::new(text).is_ok(),
            Form::Share => permille(text).is_some(),
            Form::Number => text.len() <= 18 && text.parse::<i64>().is_ok(),
            // The date and time of RFC 3339 by their shape: a clock on the wall is not this crate's.
            Form::Time => {
                let shape = |pattern: &str| {
                    text.len() > pattern.len()
                        && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| match wanted {
                            b'0' => byte.is_ascii_digit(),
                            other => byte == other,
                        })
                };
                shape("0000-00-00T00:00:00") && (text.ends_with('Z') || text[19..].contains(['+', '-']))
            }
            Form::Word(words) => words.contains(&text),
        }
    }
}

/// Thousandths of a share that is written as `0.85`, `1`, or `.5`; `None` for anything else.
#[must_use]
pub fn permille(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if part.len() > 3 || whole.len() > 1 || whole.len() + part.len() == 0 || !digits(whole) || !digits(part) {
        return None;
    }
    let thousandths: u16 = format!("{whole:0>1}{part:0<3}").parse().ok()?;
    (thousandths <= 1_000).then_some(thousandths)
}

/// One detail of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Detail {
    /// Its name.
    pub name: &'static str,
    /// What its text must be.
    pub form: Form,
    /// Whether an event of the kind must have it.
    pub required: bool,
}

const fn needs(name: &'static str, form: Form) -> Detail {
    Detail { name, form, required: true }
}

const fn may(name: &'static str, form: Form) -> Detail {
    Detail { name, form, required: false }
}

/// Details that every kind may have.
pub const COMMON: &[Detail] =
    &[may("camera", Form::Text), may("place", Form::Text), may("who", Form::Text), may("source", Form::Text)];

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The kind.
    pub kind: Kind,
    /// Its own details, beside [`COMMON`].
    pub details: &'static [Detail],
    /// How many days it is kept at the least.
    pub keep_days: u16,
    /// What is expected of whom: Chinese, English.
    pub answer: (&'static str, &'static str),
    /// Its event code in Contact ID (SIA DC-05); empty if there is none.
    pub contact_id: &'static str,
    /// Its method and type of alarm in GB/T 28181; empty if there is none.
    pub gb28181: &'static str,
}

impl Line {
    /// Its lane.
    #[must_use]
    pub fn class(&self) -> Class {
        // A line is of a kind that this version knows.
        self.kind.class().unwrap_or(Class::P2)
    }
}

const ONE_YEAR: u16 = 365;
const THREE_YEARS: u16 = 1_095;
const HALF_YEAR: u16 = 180;

const OFFICER: (&str, &str) = ("民警接警并反馈学校", "an officer takes it and the school is told");
const SCHOOL: (&str, &str) = ("学校确认", "the school answers");
const NOBODY: (&str, &str) = ("仅记录", "it is recorded");
const REPAIR: (&str, &str) = ("维修", "somebody repairs it");

/// The table, in the order of [`Kind::ALL`].
pub const TABLE: &[Line] = &[
    line(Kind::Panic, &[], THREE_YEARS, OFFICER, "120", "m2"),
    line(
        Kind::Duress,
        &[],
        THREE_YEARS,
        ("民警接警，现场无任何提示", "an officer takes it; nothing at the school shows it"),
        "121",
        "m2",
    ),
    line(Kind::Meeting, &[], THREE_YEARS, OFFICER, "120", "m2"),
    line(Kind::Medical, &[], THREE_YEARS, ("民警接警并通知120", "an officer takes it and 120 is told"), "100", "m2"),
    line(Kind::Fire, &[], THREE_YEARS, ("民警接警并通知119", "an officer takes it and 119 is told"), "115", "m2"),
    line(Kind::Assist, &[], ONE_YEAR, ("校内人员到场", "staff of the school come"), "101", ""),
    line(
        Kind::Cancel,
        &[may("reason", Form::Text)],
        THREE_YEARS,
        ("民警核实后决定", "an officer looks and decides"),
        "406",
        "",
    ),
    line(
        Kind::Absent,
        &[needs("since", Form::Time), needs("post", Form::Name), may("sensor", SENSOR), may("limit", Form::Number)],
        ONE_YEAR,
        ("学校补岗，派出所督促", "the school mans the post, the station sees to it"),
        "750",
        "",
    ),
    line(
        Kind::Person,
        &[
            needs("person", Form::Text),
            needs("list", Form::Name),
            needs("score", Form::Share),
            may("distance", Form::Number),
        ],
        HALF_YEAR,
        OFFICER,
        "751",
        "m5",
    ),
    line(Kind::Crowd, &[may("value", Form::Number)], HALF_YEAR, OFFICER, "", "m5"),
    line(Kind::Gate, &[may("item", Form::Text), may("person", Form::Text)], HALF_YEAR, SCHOOL, "752", ""),
    line(Kind::Tamper, &[], ONE_YEAR, REPAIR, "137", "m2"),
    line(Kind::Reset, &[], THREE_YEARS, NOBODY, "465", ""),
    line(Kind::Mains, &[may("value", Form::Text)], ONE_YEAR, REPAIR, "301", ""),
    line(Kind::Battery, &[may("value", Form::Text)], ONE_YEAR, REPAIR, "302", ""),
    line(Kind::Fault, &[may("value", Form::Text)], ONE_YEAR, REPAIR, "300", "m6"),
    line(Kind::Test, &[], THREE_YEARS, ("屏幕显示即可", "a screen shows it"), "601", ""),
    line(
        Kind::Silent,
        &[],
        ONE_YEAR,
        ("派出所核查，恢复后自动结案", "the station looks; it closes by itself"),
        "356",
        "",
    ),
    line(
        Kind::Unwatched,
        &[],
        ONE_YEAR,
        ("县局督促，恢复后自动结案", "the county sees to it; it closes by itself"),
        "",
        "",
    ),
    line(Kind::Outage, &[], THREE_YEARS, ("指挥中心接报", "the desk takes it"), "356", ""),
    line(Kind::Gap, &[may("value", Form::Text)], ONE_YEAR, REPAIR, "", ""),
    line(Kind::StoreLoss, &[may("value", Form::Text)], ONE_YEAR, REPAIR, "", ""),
    line(
        Kind::Untested,
        &[],
        THREE_YEARS,
        ("学校按一次测试，测试后自动结案", "the school presses a test; it closes by itself"),
        "",
        "",
    ),
    line(Kind::Back, &[], ONE_YEAR, NOBODY, "356", ""),
    line(Kind::Watched, &[], ONE_YEAR, NOBODY, "", ""),
    line(Kind::OutageOver, &[], THREE_YEARS, NOBODY, "356", ""),
    line(Kind::SelfTest, &[], THREE_YEARS, ("屏幕显示即可，不响铃", "a screen shows it and does not ring"), "602", ""),
    line(
        Kind::Return,
        &[
            needs("post", Form::Name),
            may("since", Form::Time),
            may("sensor", SENSOR),
            may("reason", Form::Word(RETURN_REASONS)),
        ],
        ONE_YEAR,
        NOBODY,
        "750",
        "",
    ),
    line(Kind::Status, &[may("value", Form::Text)], HALF_YEAR, NOBODY, "", ""),
];

/// The source of a silent alarm that was raised by the PIN that says so: at the school it looks like the request that it came with.
pub const DURESS_PIN: &str = "duress_pin";
/// What may have seen a guard.
pub const SENSORS: &[&str] = &["card", "key", "camera"];
const SENSOR: Form = Form::Word(SENSORS);
/// Why an absence is over: the guard is back, the hours of duty are, or the plan asks for no guard any longer.
pub const RETURN_REASONS: &[&str] = &["check_in", "hours_end", "plan"];

const fn line(
    kind: Kind,
    details: &'static [Detail],
    keep_days: u16,
    answer: (&'static str, &'static str),
    contact_id: &'static str,
    gb28181: &'static str,
) -> Line {
    Line { kind, details, keep_days, answer, contact_id, gb28181 }
}

/// The line of a kind; `None` for one of a newer version.
#[must_use]
pub fn line_of(kind: &Kind) -> Option<&'static Line> {
    TABLE.iter().find(|line| line.kind == *kind)
}

/// What is wrong with the details of an event that is to be raised.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DetailError {
    /// Add it.
    #[error("kind {kind} needs the detail {name} ({form})")]
    Missing {
        /// The kind.
        kind: Kind,
        /// The detail.
        name: &'static str,
        /// What its text must be.
        form: String,
    },
    /// Leave it out.
    #[error("kind {kind} has no detail {name:?}; it may have {known}")]
    Unknown {
        /// The kind.
        kind: Kind,
        /// The detail.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// Write it otherwise.
    #[error("detail {name} is {text:?}; it must be {form}")]
    Wrong {
        /// The detail.
        name: &'static str,
        /// What it was.
        text: String,
        /// What its text must be.
        form: String,
    },
}

/// Holds the details of an event that is to be raised against the table. A kind of a newer version may say anything.
///
/// # Errors
/// [`DetailError`]: the first that is wrong.
pub fn check(kind: &Kind, details: &Details) -> Result<(), DetailError> {
    let Some(line) = line_of(kind) else { return Ok(()) };
    for (name, text) in details.iter() {
        let Some(known) = line.details.iter().chain(COMMON).find(|detail| detail.name == name) else {
            let names: Vec<&str> = line.details.iter().chain(COMMON).map(|detail| detail.name).collect();
            let (kind, name) = (kind.clone(), name.to_owned());
            return Err(DetailError::Unknown { kind, name, known: names.join(", ") });
        };
        if !known.form.admits(text) {
            let text = text.chars().take(32).collect();
            return Err(DetailError::Wrong { name: known.name, text, form: known.form.words() });
        }
    }
    match line.details.iter().find(|detail| detail.required && details.get(detail.name).is_none()) {
        Some(missing) => {
            Err(DetailError::Missing { kind: kind.clone(), name: missing.name, form: missing.form.words() })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_one_line_in_order() {
        let kinds: Vec<&Kind> = TABLE.iter().map(|line| &line.kind).collect();
        assert_eq!(kinds, Kind::ALL.iter().collect::<Vec<_>>());
        for line in TABLE {
            let own = line.details.iter().filter(|detail| COMMON.iter().any(|common| common.name == detail.name));
            assert_eq!(own.count(), 0, "{} repeats a common detail", line.kind);
            assert!(line.keep_days >= HALF_YEAR, "{}", line.kind);
        }
    }

    #[test]
    fn shares_are_thousandths() {
        for (text, wanted) in [
            ("0.85", Some(850)),
            ("1", Some(1_000)),
            ("1.0", Some(1_000)),
            ("0", Some(0)),
            (".5", Some(500)),
            ("0.", Some(0)),
        ] {
            assert_eq!(permille(text), wanted, "{text}");
        }
        for wrong in ["", ".", "1.001", "2", "0.1234", "-0.1", "1e0", "85", "0,5"] {
            assert_eq!(permille(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_by_name() {
        let refused = |kind: Kind, details: &[(&str, &str)]| {
            check(&kind, &Details::new(details.iter().copied()).unwrap()).map_err(|why| why.to_string())
        };
        assert_eq!(refused(Kind::Panic, &[]), Ok(()));
        assert_eq!(refused(Kind::Person, &[("person", "p-17"), ("list", "wanted"), ("score", "0.93")]), Ok(()));
        assert_eq!(
            refused(Kind::Person, &[("person", "p-17"), ("list", "wanted")]).unwrap_err(),
            "kind person needs the detail score (0.0 to 1.0)"
        );
        assert_eq!(
            refused(Kind::Person, &[("person", "p"), ("list", "wanted"), ("score", "93")]).unwrap_err(),
            "detail score is \"93\"; it must be 0.0 to 1.0"
        );
        assert_eq!(
            refused(Kind::Panic, &[("colour", "red")]).unwrap_err(),
            "kind panic has no detail \"colour\"; it may have camera, place, who, source"
        );
        let times = [
            ("2026-11-30T07:30:00Z", true),
            ("2026-11-30T15:30:00.5+08:00", true),
            ("07:30", false),
            ("2026-11-30T07:30:00", false),
        ];
        for (time, good) in times {
            assert_eq!(refused(Kind::Absent, &[("since", time), ("post", "gate")]).is_ok(), good, "{time}");
        }
    }
}
