//! Cases and their steps as every role's API, and an exported history, show them.
//!
//! Invariant: [`StepJson`] holds all of a [`Step`]: what it was made of, [`StepJson::step`] gives back, as long as its years have four digits.

use std::fmt::Write as _;

use huxiao_core::case::{Action, ActionId, Digest, Owner, State, Step, Summary, Verb};
use huxiao_core::record::Bond;
use huxiao_core::{Name, NodeName, Text};
use serde::{Deserialize, Serialize};

use crate::event_json::Words;
use crate::time_format::{parse_rfc3339, rfc3339};

/// How a case stands.
#[derive(Debug, Clone, Serialize)]
pub struct CaseJson {
    state: &'static str,
    state_text: Words,
    level: u8,
    owner: Option<CaseOwnerJson>,
    cancel_requested: bool,
    number_110: Option<String>,
    /// Why it was closed, while it is.
    close_reason: Option<&'static str>,
    steps: u64,
    last: Option<LastStepJson>,
    /// How many presses have joined it as repeats; `level` has risen by them.
    presses: u32,
    /// Whether the alarm repeats its parent and has no case but that one's.
    repeat: bool,
    /// The alarm whose case was open when this one came, or whose repeat it is.
    parent: Option<String>,
    /// The alarm whose case was closed shortly before this one came.
    linked: Option<String>,
    /// Whether an officer said of a drill or a test that it is meant.
    live: bool,
}

/// Whose a case is.
#[derive(Debug, Clone, Serialize)]
pub struct CaseOwnerJson {
    by: String,
    officer: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
struct LastStepJson {
    action: &'static str,
    action_text: Words,
    by: String,
    officer: Option<String>,
    at: String,
}

impl CaseOwnerJson {
    /// The members of `owner`.
    #[must_use]
    pub fn new(owner: &Owner) -> Self {
        Self { by: owner.by.to_string(), officer: owner.officer.as_ref().map(ToString::to_string) }
    }
}

impl CaseJson {
    /// The members of `case`.
    #[must_use]
    pub fn new(case: &Summary) -> Self {
        Self {
            state: case.state.as_str(),
            state_text: case.state.words().into(),
            level: case.level,
            owner: case.owner.as_ref().map(CaseOwnerJson::new),
            cancel_requested: case.cancel_requested,
            number_110: case.number_110.as_ref().map(|number| number.as_str().to_owned()),
            close_reason: case.reason.map(|reason| reason.as_str()),
            steps: case.steps,
            last: case.last.as_ref().map(|last| LastStepJson {
                action: last.verb.as_str(),
                action_text: last.verb.words().into(),
                by: last.by.to_string(),
                officer: last.officer.as_ref().map(ToString::to_string),
                at: rfc3339(last.at),
            }),
            presses: case.presses,
            repeat: case.bond.root().is_some(),
            parent: match case.bond {
                Bond::Repeat(id) | Bond::Child(id) => Some(id.to_string()),
                Bond::Alone | Bond::Follows(_) => None,
            },
            linked: match case.bond {
                Bond::Follows(id) => Some(id.to_string()),
                Bond::Alone | Bond::Repeat(_) | Bond::Child(_) => None,
            },
            live: case.live,
        }
    }
}

/// One step of a case's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepJson {
    number: u64,
    index: u64,
    id: String,
    action: String,
    detail: String,
    state: String,
    level: u8,
    by: String,
    officer: Option<String>,
    at: String,
    heard: String,
    note: String,
    digest: String,
}

impl StepJson {
    /// The members of `step`.
    #[must_use]
    pub fn new(step: &Step) -> Self {
        Self {
            number: step.number,
            index: step.index,
            id: step.id.to_string(),
            action: step.action.verb().as_str().to_owned(),
            detail: step.action.detail().to_owned(),
            state: step.state.as_str().to_owned(),
            level: step.level,
            by: step.by.to_string(),
            officer: step.officer.as_ref().map(ToString::to_string),
            at: rfc3339(step.at),
            heard: rfc3339(step.heard),
            note: step.note.to_string(),
            digest: hex(&step.digest),
        }
    }

    /// The step that it shows.
    ///
    /// # Errors
    /// Which member is none.
    pub fn step(&self) -> Result<Step, String> {
        let wrong = |member: &str, why: String| format!("{member}: {why}");
        let verb: Verb = self.action.parse().map_err(|why| wrong("action", why))?;
        let officer = self.officer.as_deref().map(Name::new).transpose();
        let by: Result<NodeName, _> = self.by.parse();
        let id: Result<ActionId, _> = self.id.parse();
        Ok(Step {
            number: self.number,
            index: self.index,
            id: id.map_err(|why| wrong("id", why.to_string()))?,
            action: Action::from_parts(verb, &self.detail).map_err(|why| wrong("detail", why))?,
            state: self.state.parse::<State>().map_err(|why| wrong("state", why))?,
            level: self.level,
            by: by.map_err(|why| wrong("by", why.to_string()))?,
            officer: officer.map_err(|why| wrong("officer", why.to_string()))?,
            at: parse_rfc3339(&self.at).map_err(|why| wrong("at", why.to_string()))?,
            heard: parse_rfc3339(&self.heard).map_err(|why| wrong("heard", why.to_string()))?,
            note: Text::new(&self.note).map_err(|why| wrong("note", why.to_string()))?,
            digest: digest(&self.digest)
                .ok_or_else(|| wrong("digest", "it is not 64 hexadecimal digits".to_owned()))?,
        })
    }
}

/// Bytes as hexadecimal digits, small ones.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of hexadecimal digits; `None` if it is something else.
#[must_use]
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// The digest in hexadecimal digits.
#[must_use]
pub fn digest(text: &str) -> Option<Digest> {
    unhex(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use huxiao_core::WallTime;
    use huxiao_core::case::CaseNumber;

    use super::*;

    #[test]
    fn a_step_comes_back_as_it_was() {
        let number = CaseNumber::new("110-20260301-7").unwrap();
        let step = Step {
            number: 3,
            index: 70_000,
            id: ActionId([0xa5; 16]),
            action: Action::Number(number),
            state: State::Onscene,
            level: 1,
            by: "station/p1/a".parse().unwrap(),
            officer: Some(Name::new("014").unwrap()),
            at: WallTime(1_772_353_800_123_456),
            heard: WallTime(1_772_353_800_123_999),
            note: Text::new("两人\n\"到场\"").unwrap(),
            digest: [7; 32],
        };
        let json = StepJson::new(&step);
        let text = serde_json::to_string(&json).unwrap();
        let back: StepJson = serde_json::from_str(&text).unwrap();
        assert_eq!((back.step(), &back), (Ok(step), &json));
        for (member, bad) in [("action", "fly"), ("detail", ""), ("by", "x"), ("at", "now"), ("digest", "00")] {
            let mut value = serde_json::to_value(&json).unwrap();
            value[member] = bad.into();
            let why = serde_json::from_value::<StepJson>(value).unwrap().step().unwrap_err();
            assert!(why.starts_with(member), "{why}");
        }
    }

    #[test]
    fn what_are_no_digits_is_refused() {
        assert_eq!(unhex(&hex(&[0, 9, 0xaf, 255])), Some(vec![0, 9, 0xaf, 255]));
        for bad in ["0", "0g", "+1", "é"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
