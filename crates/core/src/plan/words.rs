//! The texts of a plan that are for people.
//!
//! Invariant: a [`Label`] and a [`Phone`] have bounded length and no control characters, so they stand in any list and any line.

use std::fmt;
use std::sync::Arc;

use crate::limits;

/// A short text on one line: a name, an address, a place. May be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

/// A telephone number as people write it. May be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Phone(Arc<str>);

/// Why a text is no [`Label`] or [`Phone`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WordsError {
    /// Shorten it.
    #[error("this text has {len} bytes; at most {limit} are taken")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// How many are taken.
        limit: usize,
    },
    /// Write it on one line, without control characters.
    #[error("this text holds the control character {0:?}; write it on one line")]
    Control(char),
    /// Remove the blanks.
    #[error("this text begins or ends with a blank")]
    Blank,
    /// Only what is dialled belongs there.
    #[error("a phone number is made of digits, + - # ( ) and blanks; {0:?} is not one of them")]
    NotDialled(char),
}

fn checked(text: &str, limit: usize) -> Result<(), WordsError> {
    if text.len() > limit {
        return Err(WordsError::TooLong { len: text.len(), limit });
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(WordsError::Control(bad));
    }
    if text.trim() != text { Err(WordsError::Blank) } else { Ok(()) }
}

impl Label {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`WordsError`]
    pub fn new(text: &str) -> Result<Self, WordsError> {
        checked(text, limits::PLAN_LABEL_BYTES)?;
        Ok(Self(text.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Phone {
    /// Checks and takes `text`.
    ///
    /// # Errors
    /// [`WordsError`]
    pub fn new(text: &str) -> Result<Self, WordsError> {
        checked(text, limits::PLAN_PHONE_BYTES)?;
        match text.chars().find(|c| !(c.is_ascii_digit() || matches!(c, '+' | '-' | '#' | '(' | ')' | ' '))) {
            Some(bad) => Err(WordsError::NotDialled(bad)),
            None => Ok(Self(text.into())),
        }
    }

    /// The number.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_on_one_line() {
        assert_eq!(Label::new("门卫室").unwrap().as_str(), "门卫室");
        assert!(matches!(Label::new(&"门".repeat(65)), Err(WordsError::TooLong { len: 195, .. })));
        assert_eq!(Label::new("a\nb"), Err(WordsError::Control('\n')));
        assert_eq!(Label::new(" a"), Err(WordsError::Blank));
        assert_eq!(Phone::new("0793-8210110").unwrap().as_str(), "0793-8210110");
        assert_eq!(Phone::new("call 110"), Err(WordsError::NotDialled('c')));
    }
}
