//! One field after the other: what stands there, or the mistake with its place.

use std::fmt::Display;

use huxiao_core::event::taxonomy;
use huxiao_core::plan::{AreaCode, Day, Label, Minute, Phone};
use huxiao_core::{Name, StationId};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// Collects the mistakes of one file.
pub(super) struct Reader<'t> {
    text: &'t str,
    mistakes: Vec<(usize, String)>,
}

/// The fields of one table.
pub(super) struct Fields<'a> {
    table: &'a DeTable<'a>,
    /// Where it begins.
    pub(super) start: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table.iter().find(|(name, _)| name.get_ref().as_ref() == key).map(|(_, value)| value)
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, mistakes: Vec::new() }
    }

    pub(super) fn wrong(&mut self, at: usize, what: impl Display) {
        self.mistakes.push((at, what.to_string()));
    }

    /// How many mistakes there are by now.
    pub(super) fn mistakes(&self) -> usize {
        self.mistakes.len()
    }

    pub(super) fn finish(self) -> Vec<(usize, String)> {
        self.mistakes
    }

    /// The fields of a table that has no other keys than these.
    pub(super) fn fields<'a>(&mut self, value: &'a Value<'a>, what: &str, known: &[&str]) -> Option<Fields<'a>> {
        let start = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong(start, format_args!("write each {what} as a table with {}", known.join(", ")));
            return None;
        };
        for (key, _) in table {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let of = if what.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
                let list = known.join(", ");
                self.wrong(key.span().start, format_args!("unknown key {name:?}; {of} {what} has {list}"));
            }
        }
        // A table of the form [[school]] begins where its brackets do.
        Some(Fields { table, start: start.min(self.text.len()) })
    }

    /// Reads a text with `parse`; `None` if it is not there or wrong.
    fn parsed<T, E: Display>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        shape: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = fields.get(key)?;
        self.parse_value(value, shape, parse)
    }

    fn parse_value<T, E: Display>(
        &mut self,
        value: &Value<'_>,
        shape: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let at = value.span().start;
        let Some(text) = value.get_ref().as_str() else {
            self.wrong(at, shape);
            return None;
        };
        parse(text).map_err(|why| self.wrong(at, why)).ok()
    }

    pub(super) fn name(&mut self, fields: &Fields<'_>, key: &str) -> Option<Name> {
        self.parsed(fields, key, "a code is a text in quotation marks", Name::new)
    }

    /// A name that must be there.
    pub(super) fn needed_name(&mut self, fields: &Fields<'_>, key: &str, what: &str) -> Option<Name> {
        if fields.get(key).is_none() {
            self.wrong(fields.start, format_args!("the {what} has no {key}"));
        }
        self.name(fields, key)
    }

    pub(super) fn label(&mut self, fields: &Fields<'_>, key: &str) -> Label {
        self.parsed(fields, key, &format!("{key} is a text"), Label::new).unwrap_or_default()
    }

    pub(super) fn phone(&mut self, fields: &Fields<'_>, key: &str) -> Phone {
        self.parsed(fields, key, &format!("{key} is a text in quotation marks"), Phone::new).unwrap_or_default()
    }

    pub(super) fn area(&mut self, fields: &Fields<'_>, key: &str) -> Option<AreaCode> {
        self.parsed(fields, key, "an area code is a text in quotation marks, such as \"361102\"", str::parse)
    }

    pub(super) fn word<T: std::str::FromStr<Err: Display>>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        what: &str,
    ) -> Option<T> {
        if fields.get(key).is_none() {
            self.wrong(fields.start, format_args!("the {what} has no {key}"));
        }
        self.parsed(fields, key, &format!("{key} is a word in quotation marks"), str::parse)
    }

    pub(super) fn text<T, E: Display>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.parsed(fields, key, &format!("{key} is a text"), parse)
    }

    pub(super) fn yes(&mut self, fields: &Fields<'_>, key: &str) -> bool {
        let Some(value) = fields.get(key) else { return false };
        value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(value.span().start, format_args!("{key} is true or false"));
            false
        })
    }

    /// A whole number that fits.
    pub(super) fn number(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        let value = fields.get(key)?;
        let number = value.get_ref().as_integer().filter(|number| number.radix() == 10);
        let number = number.and_then(|number| number.as_str().replace('_', "").parse().ok());
        if number.is_none() {
            self.wrong(value.span().start, format_args!("{key} is a whole number from 0 to {}", u16::MAX));
        }
        number
    }

    /// A length of time such as `30s` or `2m`, in seconds.
    pub(super) fn seconds(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        let shape = format!("{key} is a length of time such as \"30s\" or \"2m\"");
        let parse = |text: &str| {
            let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
            let factor = match unit {
                "s" => 1,
                "m" => 60,
                _ => return Err(shape.clone()),
            };
            let number = number.parse::<u16>().ok().and_then(|number| number.checked_mul(factor));
            number.ok_or_else(|| shape.clone())
        };
        self.parsed(fields, key, &shape, parse)
    }

    /// A time of the day that must be there.
    pub(super) fn minute(&mut self, fields: &Fields<'_>, key: &str, what: &str) -> Option<Minute> {
        if fields.get(key).is_none() {
            self.wrong(fields.start, format_args!("the {what} has no {key}"));
        }
        self.parsed(fields, key, &format!("{key} is a time in quotation marks, such as \"07:30\""), str::parse)
    }

    /// A day: a date of TOML or a text.
    pub(super) fn day(&mut self, fields: &Fields<'_>, key: &str, what: &str) -> Option<Day> {
        let Some(value) = fields.get(key) else {
            self.wrong(fields.start, format_args!("the {what} has no {key}"));
            return None;
        };
        if let Some(date) = value.get_ref().as_datetime().and_then(|at| at.date.filter(|_| at.time.is_none())) {
            let day = Day::new(date.year, date.month, date.day);
            return day.map_err(|why| self.wrong(value.span().start, why)).ok();
        }
        self.parse_value(value, &format!("{key} is a date such as 2026-12-01"), str::parse)
    }

    /// Degrees, as millionths, read exactly.
    pub(super) fn degrees(&mut self, fields: &Fields<'_>, key: &str) -> Option<i32> {
        let Some(value) = fields.get(key) else {
            self.wrong(fields.start, format_args!("the position has no {key}"));
            return None;
        };
        let text = match value.get_ref() {
            DeValue::Float(number) => Some(number.as_str()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            _ => None,
        };
        let micros = text.and_then(micros);
        if micros.is_none() {
            let what = format_args!(
                "{key} is a number of degrees with at most six digits behind the point, such as 28.454863"
            )
            .to_string();
            self.wrong(value.span().start, what);
        }
        micros
    }

    /// A share of one with at most three digits behind the point, in thousandths.
    pub(super) fn share(&mut self, fields: &Fields<'_>, key: &str) -> Option<u16> {
        let Some(value) = fields.get(key) else {
            self.wrong(fields.start, format_args!("there is no {key}"));
            return None;
        };
        let text = match value.get_ref() {
            DeValue::Float(number) => Some(number.as_str()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str()),
            DeValue::String(text) => Some(text.as_ref()),
            _ => None,
        };
        let share = text.and_then(taxonomy::permille);
        if share.is_none() {
            let what = format!("{key} is a number from 0.0 to 1.0 with at most three digits behind the point");
            self.wrong(value.span().start, what);
        }
        share
    }

    /// The items of an array.
    pub(super) fn items<'a>(&mut self, fields: &Fields<'a>, key: &str, of: &str) -> &'a [Value<'a>] {
        let Some(value) = fields.get(key) else { return &[] };
        match value.get_ref() {
            DeValue::Array(items) => items,
            _ => {
                self.wrong(value.span().start, format_args!("{key} is an array of {of}"));
                &[]
            }
        }
    }

    pub(super) fn stations(&mut self, fields: &Fields<'_>, key: &str) -> Vec<StationId> {
        let items = self.items(fields, key, "station codes");
        let names = items.iter().filter_map(|item| self.code(item));
        names.map(StationId).collect()
    }

    fn code(&mut self, value: &Value<'_>) -> Option<Name> {
        self.parse_value(value, "a code is a text in quotation marks", Name::new)
    }

    /// One word of an array.
    pub(super) fn item<T: std::str::FromStr<Err: Display>>(&mut self, value: &Value<'_>, shape: &str) -> Option<T> {
        self.parse_value(value, shape, str::parse)
    }
}

/// Millionths of what a decimal number says; `None` if it is written otherwise, or says more.
fn micros(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if part.len() > 6 || !whole.bytes().chain(part.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i32 = format!("{whole}{part:0<6}").parse().ok()?;
    Some(sign * number)
}

/// Line and column, both from 1, of a byte offset.
pub(super) fn place(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_are_read_exactly() {
        for (text, wanted) in [
            ("28.454863", Some(28_454_863)),
            ("-0.000001", Some(-1)),
            ("117", Some(117_000_000)),
            ("28.4", Some(28_400_000)),
            ("+1.5", Some(1_500_000)),
            ("28.4548631", None),
            ("2e1", None),
            ("nan", None),
            ("99999", None),
        ] {
            assert_eq!(micros(text), wanted, "{text}");
        }
    }
}
