//! From what stands in a layer to a checked [`Value`].
//!
//! Invariant: what is refused is refused with a sentence that names the bound.

use std::path::{Path, PathBuf};

use huxiao_core::{Name, Span};

use super::Value;
use super::key::{Kind, LIST_LEN};

/// What stands in a layer, before its meaning is known.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// From a flag, the environment or a default: everything is text there.
    Loose(String),
    /// A string in a file.
    Text(String),
    /// A whole number in a file.
    Integer(i64),
    /// A switch in a file.
    Bool(bool),
    /// An array in a file.
    Array(Vec<Raw>),
    /// Something that no key takes, by its TOML type's name.
    Other(&'static str),
}

impl Raw {
    /// How it is shown in an error. Cut, so that one bad value does not fill the screen.
    pub(super) fn show(&self) -> String {
        let full = match self {
            Raw::Loose(text) | Raw::Text(text) => format!("{text:?}"),
            Raw::Integer(number) => number.to_string(),
            Raw::Bool(on) => on.to_string(),
            Raw::Array(items) => format!("[{}]", items.iter().map(Raw::show).collect::<Vec<_>>().join(", ")),
            Raw::Other(name) => format!("({name})"),
        };
        if full.chars().count() <= 80 { full } else { full.chars().take(79).chain(['…']).collect() }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Raw::Loose(text) | Raw::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Checks `raw` against `kind`. A relative path starts at `folder`, if there is one.
pub(super) fn value(kind: &Kind, raw: &Raw, folder: Option<&Path>) -> Result<Value, String> {
    let wrong = || Err(format!("this must be {}", kind.describe()));
    match (kind, raw) {
        (Kind::Bool, Raw::Bool(on)) => Ok(Value::Bool(*on)),
        (Kind::Bool, Raw::Loose(text)) => text.parse().map_or_else(|_| wrong(), |on| Ok(Value::Bool(on))),
        (Kind::Integer { min, max }, Raw::Integer(number)) if (min..=max).contains(&number) => {
            Ok(Value::Integer(*number))
        }
        (Kind::Integer { .. }, Raw::Loose(text)) => match text.parse() {
            Ok(number) => value(kind, &Raw::Integer(number), folder),
            Err(_) => wrong(),
        },
        (Kind::Bytes { min, max }, Raw::Integer(number)) => match u64::try_from(*number) {
            Ok(bytes) if (*min..=*max).contains(&bytes) => Ok(Value::Bytes(bytes)),
            _ => wrong(),
        },
        (Kind::List(item), Raw::Array(items)) => list(item, items, folder),
        (Kind::List(item), Raw::Loose(text)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            list(item, &parts.map(|part| Raw::Loose(part.to_owned())).collect::<Vec<_>>(), folder)
        }
        _ => match raw.text() {
            Some(text) => of_text(kind, text, folder),
            None => wrong(),
        },
    }
}

fn list(item: &Kind, items: &[Raw], folder: Option<&Path>) -> Result<Value, String> {
    if items.len() > LIST_LEN {
        return Err(format!("a list has at most {LIST_LEN} values, this one has {}", items.len()));
    }
    let each = |(index, raw): (usize, &Raw)| {
        value(item, raw, folder).map_err(|reason| format!("value {}, {}: {reason}", index + 1, raw.show()))
    };
    items.iter().enumerate().map(each).collect::<Result<_, _>>().map(Value::List)
}

fn of_text(kind: &Kind, text: &str, folder: Option<&Path>) -> Result<Value, String> {
    let wrong = || format!("this must be {}", kind.describe());
    match kind {
        Kind::Text if text.chars().any(char::is_control) => Err("a text holds no control characters".into()),
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Name => Name::new(text).map(Value::Name).map_err(|error| error.to_string()),
        Kind::Duration { min, max } => match duration(text) {
            Some(span) if (*min..=*max).contains(&span) => Ok(Value::Duration(span)),
            _ => Err(wrong()),
        },
        Kind::Bytes { min, max } => match bytes(text) {
            Some(size) if (*min..=*max).contains(&size) => Ok(Value::Bytes(size)),
            _ => Err(wrong()),
        },
        Kind::AddressOrEmpty | Kind::IpOrEmpty | Kind::PathOrEmpty if text.is_empty() => Ok(Value::Unset),
        Kind::IpOrEmpty => text.parse().map(Value::Ip).map_err(|_| wrong()),
        Kind::Address | Kind::AddressOrEmpty => text.parse().map(Value::Address),
        Kind::Path | Kind::PathOrEmpty if text.contains('\0') => Err("a path holds no zero byte".into()),
        Kind::Path | Kind::PathOrEmpty if text.is_empty() => Err("a path cannot be empty".into()),
        Kind::Path | Kind::PathOrEmpty => Ok(Value::Path(match folder {
            Some(folder) => folder.join(text),
            None => PathBuf::from(text),
        })),
        Kind::Choice(words) if words.contains(&text) => Ok(Value::Text(text.to_owned())),
        Kind::Choice(_) | Kind::Bool | Kind::Integer { .. } | Kind::List(_) => Err(wrong()),
    }
}

const TIME_UNITS: [(&str, u64); 6] =
    [("us", 1), ("ms", 1_000), ("s", 1_000_000), ("m", 60_000_000), ("h", 3_600_000_000), ("d", 86_400_000_000)];
const SIZE_UNITS: [(&str, u64); 5] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn duration(text: &str) -> Option<Span> {
    measured(text, &TIME_UNITS).map(Span::from_micros)
}

fn bytes(text: &str) -> Option<u64> {
    text.parse().ok().or_else(|| measured(text, &SIZE_UNITS))
}

fn show_measured(amount: u64, units: &[(&str, u64)]) -> String {
    let fits = |(_, factor): &&(&str, u64)| amount >= *factor && amount.is_multiple_of(*factor);
    match units.iter().rev().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => format!("{amount}{}", units[0].0),
    }
}

/// A span as one would write it, in the largest unit that leaves a whole number.
pub(super) fn show_duration(span: Span) -> String {
    if span.is_zero() {
        return "0s".into();
    }
    show_measured(u64::try_from(span.as_micros()).unwrap_or(u64::MAX), &TIME_UNITS)
}

/// A size as one would write it.
pub(super) fn show_bytes(bytes: u64) -> String {
    show_measured(bytes, &SIZE_UNITS)
}

impl Value {
    /// The value as one would write it in the environment.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Value::Text(text) => text.clone(),
            Value::Name(name) => name.to_string(),
            Value::Bool(on) => on.to_string(),
            Value::Integer(number) => number.to_string(),
            Value::Duration(span) => show_duration(*span),
            Value::Bytes(bytes) => show_bytes(*bytes),
            Value::Address(address) => address.to_string(),
            Value::Ip(address) => address.to_string(),
            Value::Path(path) => path.display().to_string(),
            Value::Unset => String::new(),
            Value::List(values) => values.iter().map(Value::to_text).collect::<Vec<_>>().join(","),
        }
    }
}
